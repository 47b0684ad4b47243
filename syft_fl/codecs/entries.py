"""The two ends of every codec: entries that may be encoded, bytes that may be decoded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import Context, Payload
from syft_fl.errors import CodecError
from syft_fl.vectors import Layout, Vector

__all__ = ["checked_body", "checked_entries", "refuse_damaged"]


def checked_entries(x: Vector, ctx: Context) -> NDArray[np.float32]:
    """The entries of a vector that fits the layout and is finite; shares the vector's memory.

    Raises:
        CodecError: not a float32 vector of the layout's length, or an entry is NaN or infinite.
    """
    if x.dtype != torch.float32 or x.shape != (ctx.layout.length,):
        raise CodecError(
            f"{x.dtype} tensor of shape {tuple(x.shape)} can't be encoded; "
            f"this layout needs a float32 vector of {ctx.layout.length} entries"
        )
    # A finite sum has finite terms, and costs a fraction of a mask; a sum that overflows is looked at closely.
    if not math.isfinite(float(x.sum())):
        _refuse_non_finite(x, ctx.layout)
    entries: NDArray[np.float32] = x.detach().numpy()
    return entries


def _refuse_non_finite(x: Vector, layout: Layout) -> None:
    wrong = torch.nonzero(~torch.isfinite(x)).flatten()
    if wrong.numel() == 0:
        return
    first = int(wrong[0])
    where = next(slot.name for slot in layout.slots if slot.start <= first < slot.stop)
    raise CodecError(
        f"{wrong.numel()} of {x.numel()} entries are NaN or infinite, the first at index {first} "
        f"({float(x[first])} in {where!r}); training has diverged: lower the learning rate, "
        "or check what computes the update"
    )


def checked_body(payload: Payload, bits: int, kind: str) -> memoryview:
    """The bytes, to be sliced without a copy, of a payload that has as many bits as the layout asks for.

    Raises:
        CodecError: it has more or fewer.
    """
    if payload.bits != bits:
        raise CodecError(
            f"payload of {payload.bits} bits is not what codec {kind!r} writes for this layout ({bits} bits); "
            "both ends must have the same codec settings and the same architecture"
        )
    return memoryview(payload.body)


def refuse_damaged(numbers: NDArray[Any], what: str) -> None:
    """Check numbers that came out of a payload.

    Args:
        numbers: any shape, float.
        what: what they are, for the message.

    Raises:
        CodecError: one is NaN or infinite.
    """
    if not np.isfinite(numbers).all():
        raise CodecError(f"{what} in the payload is NaN or infinite; the bytes are damaged")
