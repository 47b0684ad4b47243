"""Vectors of several UEs at once: the bytes of one call each, in fewer calls.

A call of a codec costs some ten calls of numpy whatever the vector's length, more than the arithmetic of a small model.
:class:`~syft_fl.codecs.quantiser.BatchQuantiser` does that arithmetic for a few UEs side by side, as many as fit in a
cache; any other codec goes UE by UE, as does a coder other than ``Fixed``.

What goes side by side, with ``Fixed`` words, also goes where the vectors are (:func:`is_everywhere`): on a card nothing
comes to the host but what is measured of groups, and packed bytes. For any other codec vectors are brought to the host.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.backends import Rows, backend_of
from syft_fl.codecs.codec import Codec, Context, Memory, Payload
from syft_fl.codecs.coders import Fixed
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.scales import VectorsDifferError
from syft_fl.devices import CPU
from syft_fl.errors import CodecError

__all__ = ["decode_batch", "encode_batch", "is_everywhere", "side_by_side"]

_ENTRIES = 2**19  # of all vectors that are done side by side


def side_by_side(codec: Codec, length: int) -> int:
    """How many vectors of so many entries a codec does side by side; 1: one after another."""
    return max(_ENTRIES // max(length, 1), 1) if isinstance(codec, BatchQuantiser) else 1


def is_everywhere(codec: Codec) -> bool:
    """Whether a codec computes where vectors are; else it needs them on the host."""
    return isinstance(codec, BatchQuantiser) and isinstance(codec.coder, Fixed)


def encode_batch(codec: Codec, xs: torch.Tensor, ctxs: Sequence[Context]) -> list[tuple[Payload, Memory]]:
    """What ``codec.encode`` gives for each vector, bit for bit.

    Args:
        codec: of all vectors.
        xs: [ues, entries] float32, contiguous. Not changed. On a card, too.
        ctxs: [ues] what both ends of each link know.

    Raises:
        CodecError: an entry is NaN or infinite; or a vector is not of its layout's length.
    """
    _check_count(len(xs), ctxs)
    xs = xs.detach() if is_everywhere(codec) else xs.detach().cpu()
    return [one for part in _parts(ctxs) for one in _encoded(codec, xs[part], ctxs[part])]


def decode_batch(
    codec: Codec, payloads: Sequence[Payload], ctxs: Sequence[Context], *, device: torch.device = CPU
) -> tuple[torch.Tensor, list[Memory]]:
    """What ``codec.decode`` gives for each payload, bit for bit: [ues, entries] float32, and memories.

    Args:
        codec: of all vectors.
        payloads: [ues]
        ctxs: [ues] what both ends of each link know; all layouts have one length.
        device: where the vectors are wanted.

    Raises:
        CodecError: the bytes of a payload are not what ``encode`` writes for its layout.
    """
    _check_count(len(payloads), ctxs)
    xs = torch.empty(len(ctxs), ctxs[0].layout.length if ctxs else 0, device=device)
    rows = xs.numpy() if xs.device == CPU else xs
    memories: list[Memory] = []
    for part in _parts(ctxs):
        together = (
            isinstance(codec, BatchQuantiser)
            and is_everywhere(codec)
            and _decoded(codec, payloads[part], ctxs[part], rows[part])
        )
        if together:
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


def _encoded(codec: Codec, xs: torch.Tensor, ctxs: Sequence[Context]) -> list[tuple[Payload, Memory]]:
    """Payloads and memories of vectors of one layout."""
    alone = len(ctxs) == 1
    # A sum that is no number is looked at vector by vector, on the host, for the message.
    if isinstance(codec, BatchQuantiser) and _fits(xs, ctxs) and math.isfinite(float(xs.sum())):
        try:
            sides, symbols = codec.quantise_rows(xs.numpy() if xs.device == CPU else xs, ctxs)
        except VectorsDifferError:
            pass
        else:
            payloads = _written(codec, sides, symbols)
            return [(payload, ctx.memory) for payload, ctx in zip(payloads, ctxs, strict=True)]
    if alone or xs.device == CPU:
        return [codec.encode(x.cpu(), ctx=ctx) for x, ctx in zip(xs, ctxs, strict=True)]
    return [one for i, ctx in enumerate(ctxs) for one in _encoded(codec, xs[i : i + 1], [ctx])]


def _written(codec: BatchQuantiser, sides: NDArray[np.uint8], symbols: Rows) -> list[Payload]:
    alphabet = codec.alphabet()
    if isinstance(codec.coder, Fixed):
        bits = 8 * sides.shape[1] + alphabet.bits * symbols.shape[1]
        packed = backend_of(symbols).packed(symbols, alphabet.bits)
        bodies = np.concatenate([sides, packed], axis=1)
        return [Payload(body.tobytes(), bits) for body in bodies]
    written = [codec.coder.write(row, alphabet) for row in symbols]
    return [
        Payload(b"".join((side.tobytes(), of.body)), 8 * side.size + of.bits)
        for side, of in zip(sides, written, strict=True)
    ]


def _decoded(codec: BatchQuantiser, payloads: Sequence[Payload], ctxs: Sequence[Context], rows: Rows) -> bool:
    """Whether [ues, entries] have got their values; if not, payloads must be read one by one, on the host."""
    layout, alphabet = ctxs[0].layout, codec.alphabet()
    size = codec.side_bytes(layout)
    bits = 8 * size + alphabet.bits * layout.length
    if any(payload.bits != bits for payload in payloads):
        return False
    bodies = np.frombuffer(b"".join(payload.body for payload in payloads), np.uint8).reshape(
        len(payloads), -1
    )
    symbols = backend_of(rows).unpacked(bodies[:, size:], alphabet.bits, count=layout.length)
    if alphabet.size < 1 << alphabet.bits and layout.length and int(symbols.max()) >= alphabet.size:
        return False
    try:
        codec.restore_rows(np.ascontiguousarray(bodies[:, :size]), symbols, ctxs, rows)
    except (CodecError, VectorsDifferError):
        return False  # one by one, the first damaged payload is refused as it would be alone
    return True


def _fits(xs: torch.Tensor, ctxs: Sequence[Context]) -> bool:
    """Whether vectors are such as rows can be made of; on the host one alone needs none."""
    return (
        (len(ctxs) > 1 or xs.device != CPU)
        and xs.dtype == torch.float32
        and xs.shape[1:] == (ctxs[0].layout.length,)
    )


def _check_count(count: int, ctxs: Sequence[Any]) -> None:
    if count != len(ctxs):
        raise CodecError(f"{count} vectors can't go with {len(ctxs)} contexts; each needs its own")
