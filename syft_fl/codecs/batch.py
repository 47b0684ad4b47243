"""Vectors of several UEs at once: the bytes of one call each, in fewer calls.

A call of a codec costs some ten calls of numpy whatever the vector's length, more than the arithmetic of a small model.
:class:`~syft_fl.codecs.quantiser.BatchQuantiser` does that arithmetic for a few UEs side by side, as many as fit in a
cache; any other codec goes UE by UE, as does a coder other than ``Fixed``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import Codec, Context, Memory, Payload
from syft_fl.codecs.coders import Fixed, Symbols
from syft_fl.codecs.coders.packing import pack_rows, unpack_rows
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.scales import VectorsDifferError
from syft_fl.errors import CodecError
from syft_fl.vectors import Vector

__all__ = ["decode_batch", "encode_batch", "side_by_side"]

_ENTRIES = 2**19  # of all vectors that are done side by side


def side_by_side(codec: Codec, length: int) -> int:
    """How many vectors of so many entries a codec does side by side; 1: one after another."""
    return max(_ENTRIES // max(length, 1), 1) if isinstance(codec, BatchQuantiser) else 1


def encode_batch(codec: Codec, xs: torch.Tensor, ctxs: Sequence[Context]) -> list[tuple[Payload, Memory]]:
    """What ``codec.encode`` gives for each vector, bit for bit.

    Args:
        codec: of all vectors.
        xs: [ues, entries] float32, contiguous. Not changed. From a card they are brought here in one piece.
        ctxs: [ues] what both ends of each link know.

    Raises:
        CodecError: an entry is NaN or infinite; or a vector is not of its layout's length.
    """
    _check_count(len(xs), ctxs)
    xs = xs.cpu()
    encoded: list[tuple[Payload, Memory]] = []
    for part in _parts(ctxs):
        some = xs[part]
        together = None
        # A sum that is no number is looked at vector by vector, for the message.
        if isinstance(codec, BatchQuantiser) and _fits(some, ctxs[part]) and math.isfinite(float(some.sum())):
            together = _encoded(codec, some.detach().numpy(), ctxs[part])
        encoded += together or [codec.encode(x, ctx=ctx) for x, ctx in zip(some, ctxs[part], strict=True)]
    return encoded


def decode_batch(
    codec: Codec, payloads: Sequence[Payload], ctxs: Sequence[Context]
) -> tuple[torch.Tensor, list[Memory]]:
    """What ``codec.decode`` gives for each payload, bit for bit: [ues, entries] float32, and memories.

    Args:
        codec: of all vectors.
        payloads: [ues]
        ctxs: [ues] what both ends of each link know; all layouts have one length.

    Raises:
        CodecError: the bytes of a payload are not what ``encode`` writes for its layout.
    """
    _check_count(len(payloads), ctxs)
    xs = torch.empty(len(ctxs), ctxs[0].layout.length if ctxs else 0)
    memories: list[Memory] = []
    for part in _parts(ctxs):
        rows = None
        if isinstance(codec, BatchQuantiser) and isinstance(codec.coder, Fixed):
            rows = _decoded(codec, payloads[part], ctxs[part])
        if rows is not None:
            xs[part] = torch.from_numpy(rows)
            memories += [ctx.memory for ctx in ctxs[part]]
            continue
        for to, payload, ctx in zip(xs[part], payloads[part], ctxs[part], strict=True):
            x, memory = codec.decode(payload, ctx=ctx)
            to.copy_(x)
            memories.append(memory)
    return xs, memories


def _parts(ctxs: Sequence[Context]) -> Iterator[slice]:
    """UEs that are done side by side: neighbours of one layout, few enough for a cache."""
    start = 0
    while start < len(ctxs):
        layout = ctxs[start].layout
        most = min(len(ctxs), start + max(_ENTRIES // max(layout.length, 1), 1))
        stop = start + 1
        while stop < most and (ctxs[stop].layout is layout or ctxs[stop].layout == layout):
            stop += 1
        yield slice(start, stop)
        start = stop


def _encoded(
    codec: BatchQuantiser, entries: NDArray[np.float32], ctxs: Sequence[Context]
) -> list[tuple[Payload, Memory]] | None:
    """Payloads and memories; None if the vectors must be done one by one."""
    try:
        sides, symbols = codec.quantise_rows(entries, ctxs)
    except VectorsDifferError:
        return None
    payloads = _written(codec, sides, symbols)
    return [(payload, ctx.memory) for payload, ctx in zip(payloads, ctxs, strict=True)]


def _written(codec: BatchQuantiser, sides: NDArray[np.uint8], symbols: Symbols) -> list[Payload]:
    alphabet = codec.alphabet()
    if isinstance(codec.coder, Fixed):
        bits = 8 * sides.shape[1] + alphabet.bits * symbols.shape[1]
        bodies = np.concatenate([sides, pack_rows(symbols, alphabet.bits)], axis=1)
        return [Payload(body.tobytes(), bits) for body in bodies]
    written = [codec.coder.write(row, alphabet) for row in symbols]
    return [
        Payload(b"".join((side.tobytes(), of.body)), 8 * side.size + of.bits)
        for side, of in zip(sides, written, strict=True)
    ]


def _decoded(
    codec: BatchQuantiser, payloads: Sequence[Payload], ctxs: Sequence[Context]
) -> NDArray[np.float32] | None:
    """[ues, entries]; None if the payloads must be read one by one."""
    layout, alphabet = ctxs[0].layout, codec.alphabet()
    size = codec.side_bytes(layout)
    bits = 8 * size + alphabet.bits * layout.length
    if len(ctxs) == 1 or any(payload.bits != bits for payload in payloads):
        return None
    bodies = np.frombuffer(b"".join(payload.body for payload in payloads), np.uint8).reshape(
        len(payloads), -1
    )
    symbols = unpack_rows(bodies[:, size:], alphabet.bits, count=layout.length)
    if symbols.size and int(symbols.max()) >= alphabet.size:
        return None
    try:
        return codec.restore_rows(np.ascontiguousarray(bodies[:, :size]), symbols, ctxs)
    except (CodecError, VectorsDifferError):
        return None  # one by one, the first damaged payload is refused as it would be alone


def _fits(xs: Vector, ctxs: Sequence[Context]) -> bool:
    return len(ctxs) > 1 and xs.dtype == torch.float32 and xs.shape[1:] == (ctxs[0].layout.length,)


def _check_count(count: int, ctxs: Sequence[Any]) -> None:
    if count != len(ctxs):
        raise CodecError(f"{count} vectors can't go with {len(ctxs)} contexts; each needs its own")
