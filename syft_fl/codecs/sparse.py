"""Sparse codecs: few entries are sent, the others are 0: the largest, some by chance, or those large enough."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Codec, Context, Erasable, Gaps, Memory, Part, Payload
from syft_fl.codecs.coders import read_indices, write_indices
from syft_fl.codecs.coders.indices import Indices
from syft_fl.codecs.entries import checked_entries
from syft_fl.codecs.erasure import why_not_erasable
from syft_fl.codecs.floats import Float32
from syft_fl.codecs.groups import spans_of
from syft_fl.codecs.nested import inner_context, merged
from syft_fl.codecs.parts import chained, taken
from syft_fl.codecs.scales import FLOAT32_MAX
from syft_fl.codecs.selection import drawn_indices, largest_indices
from syft_fl.errors import CodecError
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, Vector

__all__ = ["RandK", "Threshold", "TopK"]

_LEAST = np.float32(2.0**-149)


@CODECS
@schema
class TopK:
    r"""The entries of largest magnitude; all others arrive as 0.

    .. math:: \|x - C(x)\|^2 \le (1 - k/d)\,\|x\|^2

    for every vector, if values are sent whole. Of Gaussian entries, 0.916 of the energy is lost with 1 of 100 sent,
    0.561 with 1 of 10: biased, so made for error feedback, which sends later what is not sent now.

    Attributes:
        fraction: sent, above 0 … 1; at least one entry is.
        block: of what: ``"vector"``, the largest of all; or ``"tensor"``, those of each tensor, so that none is
            forgotten.
        codec: what writes the entries sent; it sees them as one vector. With ``"sign"`` they are of two values (sparse
            ternary compression: Sattler, Wiedemann, Müller, Samek 2020).

    Payload: the indices (:mod:`syft_fl.codecs.coders.indices`: 8.11 bits each with 1 of 100 sent), then, from a whole
    byte on, the codec's.

    Source: Aji, Heafield 2017, "Sparse Communication for Distributed Gradient Descent"; Stich, Cordonnier,
    Jaggi 2018, "Sparsified SGD with Memory", definition 2.1 and lemma A.1. Differs from them in: nothing; of equal
    magnitudes the first is sent.
    """

    kind: ClassVar[str] = "top-k"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Stich, Cordonnier, Jaggi 2018, Sparsified SGD with Memory, definition 2.1"
    bound: ClassVar[str] = "|error|**2 <= (1 - k/d) |x|**2, and the error of the codec behind it"

    fraction: float = 0.01
    block: Literal["vector", "tensor"] = "vector"
    codec: Annotated[Codec, CODECS] = Float32()

    def __post_init__(self) -> None:
        _require_fraction("fraction", self.fraction)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        entries = checked_entries(x, ctx)
        indices = np.concatenate(
            [
                span.start
                + largest_indices(entries[span.start : span.stop], _share(self.fraction, span.width))
                for span in spans_of(ctx.layout, self.block)
            ]
            or [np.arange(0)]
        )
        values, memory = _written(self.codec, entries, indices, ctx)
        return chained([write_indices(indices, entries.size), values]), memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        count = sum(_share(self.fraction, span.width) for span in spans_of(ctx.layout, self.block))
        indices, values = _indices(payload, count, ctx)
        return _read(self.codec, values, indices, ctx)


@CODECS
@schema
class RandK:
    r"""Entries drawn by chance; all others arrive as 0. Both ends draw the same ones, so no index is sent.

    .. math:: C(x)_i = \frac dk x_i \text{ with probability } \frac kd,\ \text{else } 0

    Unbiased, with variance :math:`(d/k - 1)\,x_i^2`. With ``scale = "none"``, :math:`x_i` is sent for
    :math:`(d/k)\,x_i`: biased, with :math:`E\|x - C(x)\|^2 = (1 - k/d)\,\|x\|^2`, which error feedback makes good.

    Attributes:
        fraction: sent, above 0 … 1; at least one entry is.
        scale: ``"unbiased"`` or ``"none"``.
        codec: what writes the entries sent; it sees them as one vector. The mean over keys is the vector only if this
            one's is.

    Payload: the codec's. Of what came in part, values that the codec misses are 0. Divided by the share :math:`r/k`
    that came, the factor is :math:`d/r` in the end: as if only :math:`r` had been drawn.

    Source: Konečný, Richtárik 2018, "Randomized Distributed Mean Estimation: Accuracy vs. Communication", the encoder
    of fixed support (unbiased); Stich, Cordonnier, Jaggi 2018, "Sparsified SGD with Memory", definition 2.1 (none).
    Differs from them in: the indices are drawn from the message's key.
    """

    kind: ClassVar[str] = "rand-k"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = (
        "Konečný and Richtárik 2018, Randomized Distributed Mean Estimation; Stich et al. 2018, definition 2.1"
    )
    bound: ClassVar[str] = "unbiased; variance (d/k - 1) x**2. With scale none: (1 - k/d) |x|**2 in the mean"

    fraction: float = 0.01
    scale: Literal["unbiased", "none"] = "unbiased"
    codec: Annotated[Codec, CODECS] = Float32()

    def __post_init__(self) -> None:
        _require_fraction("fraction", self.fraction)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        return _written(self.codec, checked_entries(x, ctx), self._drawn(ctx), ctx)

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        indices = self._drawn(ctx)
        values, memory = self.codec.decode(payload, ctx=_inner(ctx, indices))
        return _spread(values, indices, ctx, factor=self._factor(ctx, indices)), merged(ctx.memory, memory)

    @property
    def erasable(self) -> bool:
        return not why_not_erasable(self.codec)

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        assert isinstance(self.codec, Erasable)
        indices = self._drawn(ctx)
        part = self.codec.decode_part(payload, gaps, ctx=_inner(ctx, indices))
        if part is None:
            return None
        x = _spread(part.vector, indices, ctx, factor=self._factor(ctx, indices))
        return Part(x, merged(ctx.memory, part.memory), part.share)

    def _factor(self, ctx: Context, indices: Indices) -> float:
        return ctx.layout.length / max(indices.size, 1) if self.scale == "unbiased" else 1.0

    def _drawn(self, ctx: Context) -> Indices:
        length = ctx.layout.length
        return drawn_indices(ctx.key / "indices", _share(self.fraction, length), length)


@CODECS
@schema
class Threshold:
    r"""The entries whose magnitude reaches a threshold; all others arrive as 0. How many are sent follows the vector.

    No entry is off by as much as the threshold, if values are sent whole. Of Gaussian entries with a threshold of
    :math:`t` root mean squares a part :math:`2Q(t)` is sent, and :math:`1 - 2Q(t) - 2t\varphi(t)` of the energy lost:
    0.0027 and 0.971 at 3, 0.0455 and 0.739 at 2.

    Attributes:
        threshold: above 0.
        measure: what it counts in: ``"rms"``, root mean squares of the vector; or ``"absolute"``, what entries count
            in.
        most: no more than this fraction is sent, above 0 … 1, the largest; at least one entry may be.
        codec: what writes the entries sent; it sees them as one vector.

    Payload: how many, in as many whole bytes as the length of the vector needs; the indices
    (:mod:`syft_fl.codecs.coders.indices`); then, from a whole byte on, the codec's.

    Source: Strom 2015, "Scalable Distributed DNN Training Using Commodity GPU Cloud Computing" (absolute).
    Differs from it in: values are sent, where it sends plus or minus the threshold.
    """

    kind: ClassVar[str] = "threshold"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Strom 2015, Scalable Distributed DNN Training Using Commodity GPU Cloud Computing"
    bound: ClassVar[str] = "|error| below the threshold, and the error of the codec behind it"

    threshold: float = 3.0
    measure: Literal["rms", "absolute"] = "rms"
    most: float = 1.0
    codec: Annotated[Codec, CODECS] = Float32()

    def __post_init__(self) -> None:
        ok = 0 < self.threshold < math.inf
        require(ok, "threshold", self.threshold, "above 0 and finite", "to send all, use kind = 'float32'")
        _require_fraction("most", self.most)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        entries = checked_entries(x, ctx)
        indices = np.flatnonzero(np.abs(entries) >= self._level(entries))
        most = _share(self.most, entries.size)
        if indices.size > most:
            indices = indices[largest_indices(entries[indices], most)]
        size = _count_bytes(entries.size)
        count = Payload(indices.size.to_bytes(size, "little"), 8 * size)
        values, memory = _written(self.codec, entries, indices, ctx)
        return chained([count, write_indices(indices, entries.size), values]), memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        first, behind = taken(payload, 8 * _count_bytes(ctx.layout.length))
        count = int.from_bytes(first.body, "little")
        most = _share(self.most, ctx.layout.length)
        if count > most:
            raise CodecError(f"{count} entries in the payload are more than {most}; the bytes are damaged")
        indices, values = _indices(behind, count, ctx)
        return _read(self.codec, values, indices, ctx)

    def _level(self, entries: NDArray[np.float32]) -> np.float32:
        """The threshold that counts; above 0, so that zeros are not sent."""
        level = self.threshold
        if self.measure == "rms" and entries.size:
            # No BLAS, whose sums depend on the number of threads.
            energy = float(np.einsum("i,i->", entries, entries, dtype=np.float64))
            level *= math.sqrt(energy / entries.size)
        return max(np.float32(min(level, FLOAT32_MAX)), _LEAST)


def _require_fraction(name: str, fraction: float) -> None:
    require(0 < fraction <= 1, name, fraction, "above 0 and at most 1", "0.01 is one entry of a hundred")


def _share(fraction: float, length: int) -> int:
    """Entries that a fraction is of so many: at least one of any."""
    return min(max(round(fraction * length), 1), length)


def _count_bytes(length: int) -> int:
    """Bytes that hold any number up to ``length``; 0 where it is 0."""
    return -(-length.bit_length() // 8)


def _written(
    codec: Codec, entries: NDArray[np.float32], indices: Indices, ctx: Context
) -> tuple[Payload, Memory]:
    """The entries sent, by the codec behind."""
    values = torch.from_numpy(entries[indices])
    payload, memory = codec.encode(values, ctx=_inner(ctx, indices))
    return payload, merged(ctx.memory, memory)


def _indices(payload: Payload, count: int, ctx: Context) -> tuple[Indices, Payload]:
    """Indices at the start of a payload, and what is behind them."""
    indices, bits = read_indices(memoryview(payload.body), ctx.layout.length, count=count)
    return indices, taken(payload, bits)[1]


def _read(codec: Codec, payload: Payload, indices: Indices, ctx: Context) -> tuple[Vector, Memory]:
    """The vector of the entries sent, by the codec behind."""
    values, memory = codec.decode(payload, ctx=_inner(ctx, indices))
    return _spread(values, indices, ctx, factor=1.0), merged(ctx.memory, memory)


def _inner(ctx: Context, indices: Indices) -> Context:
    return inner_context(ctx, Layout.flat(indices.size))


def _spread(values: Vector, indices: Indices, ctx: Context, *, factor: float) -> Vector:
    """The vector of the entries sent, each times a factor."""
    numbers = values.numpy()
    if factor != 1:
        with np.errstate(over="ignore"):
            numbers = np.clip(numbers * np.float32(factor), -FLOAT32_MAX, FLOAT32_MAX)
    x = torch.zeros(ctx.layout.length, dtype=torch.float32)
    x.numpy()[indices] = numbers
    return x
