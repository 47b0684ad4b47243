r"""The count sketch: a vector added up in a few short rows, of which its largest entries are found again.

Which place of a row an entry is added to, and with which sign, is drawn once for a run: from the seed in the message's
key, which all UEs have in common, and not from the rest of it, which is the message's own. So the sketches of all UEs
and all rounds add up, which is what the base station makes use of. (Were they drawn anew in each round, nothing could
be owed from one round to the next.)

Both come from :math:`(a\,\pi(i) + b) \bmod 2^{64}`, whose 32 highest bits are pairwise independent over all :math:`a`
and :math:`b` (Dietzfelbinger 1996, "Universal hashing and k-wise independent random variables via integer arithmetic
without primes"), which is all that the theorems ask for; a fixed permutation :math:`\pi` keeps what a layer has at
regular distances from meeting a regular hash. Nothing is stored, and no table is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Codec, Context, Memory, Payload
from syft_fl.codecs.entries import checked_body, checked_entries
from syft_fl.codecs.floats import Float32
from syft_fl.codecs.nested import inner_context, merged
from syft_fl.codecs.scales import FLOAT32_MAX
from syft_fl.keys import Key
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, Slot, Vector

__all__ = ["CountSketch"]

Sketch = NDArray[np.float64]
"""[rows, columns]"""

_PIECE_ENTRIES = 2**16  # hashes and estimates of so many at a time stay in cache
_OWED, _VELOCITY = "owed", "velocity"


@CODECS
@schema
class CountSketch:
    r"""Sums of entries at random places with random signs, from which the largest entries are recovered.

    Row :math:`r` of :math:`c` columns holds :math:`S_r[j] = \sum_{h_r(i) = j} \sigma_r(i)\,x_i`, and
    :math:`\sigma_r(i)\,S_r[h_r(i)]` estimates :math:`x_i` without bias, with a variance of at most :math:`\|x\|^2/c`;
    the median over rows is off by more than :math:`\sqrt{8/c}\,\|x\|` with a chance that falls exponentially with the
    rows. The decoder keeps the entries with the largest estimates; all others are 0.

    Sketches add up, so the base station may add the UEs' before it recovers anything (:meth:`aggregate`): what is too
    small in each vector but common to many stands out in the sum. The transport does so where the uplink has ``delta``
    and no ``error_feedback`` of the UEs, and the updates are averaged. What is not recovered is then owed by the base
    station, as a sketch, and is part of the next sum; with a ``momentum``, so is a share of all sums before.

    Attributes:
        rows: whose median is taken, 1 … 63; an odd number is best.
        share: numbers in the sketch for each entry of the vector, above 0; the columns follow from it.
        recover: share of the entries that the decoder keeps, above 0 and up to 1. The more, the sooner is sent what is
            owed; and each has an error of its own.
        rest: what a base station does to the sum that it recovered entries of: it takes these away (``subtracted``),
            as the paper's algorithm says; empties the places they are added to, in the momentum too (``zeroed``), as
            its authors' program does, for noise can't build up there; or starts anew each round (``dropped``).
        momentum: of the sums, 0 … 1 (1 excluded).
        codec: what writes the sketch; it sees a tensor of [rows, columns].

    Payload: the codec's, of the sketch.

    Source: Charikar, Chen, Farach-Colton 2002, "Finding frequent items in data streams", section 3; Rothchild et al.
    2020, "FetchSGD: Communication-Efficient Federated Learning with Sketching", algorithm 1. Differs from it in: UEs
    sketch what they learnt in a round (the learning rate is theirs), not a gradient.
    """

    kind: ClassVar[str] = "count-sketch"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Rothchild et al. 2020, FetchSGD; Charikar et al. 2002, Finding frequent items"
    bound: ClassVar[str] = "an estimate is unbiased, variance <= |x|**2 / columns in a row"

    rows: int = 5
    share: float = 0.25
    recover: float = 0.02
    rest: Literal["zeroed", "subtracted", "dropped"] = "zeroed"
    momentum: float = 0.0
    codec: Annotated[Codec, CODECS] = Float32()

    def __post_init__(self) -> None:
        require(1 <= self.rows <= 63, "rows", self.rows, "in 1 … 63", "five are usual")
        require(0 < self.share < math.inf, "share", self.share, "above 0 and finite")
        require(0 < self.recover <= 1, "recover", self.recover, "above 0 and at most 1", "0.02 keeps 2 %")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in 0 … 1, 1 excluded", "0 is none")

    def columns(self, entries: int) -> int:
        """Columns of the sketch of so many entries; at least 1."""
        return max(1, round(self.share * entries / self.rows))

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        entries = checked_entries(x, ctx)
        if not entries.size:
            return Payload(b"", 0), ctx.memory
        sketch = _rounded(self._sketch(entries, ctx))
        payload, inner = self.codec.encode(torch.from_numpy(sketch.ravel()), ctx=self._inside(ctx))
        return payload, merged(ctx.memory, inner)

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        if not ctx.layout.length:
            checked_body(payload, 0, self.kind)
            return torch.empty(0, dtype=torch.float32), ctx.memory
        read, inner = self.codec.decode(payload, ctx=self._inside(ctx))
        indices, values = self._recovered(self._table(read), ctx)
        return _sparse(indices, values, ctx.layout), merged(ctx.memory, inner)

    def aggregate(
        self,
        payloads: Sequence[Payload],
        weights: Sequence[float],
        *,
        ctxs: Sequence[Context],
        memory: Memory,
    ) -> tuple[Vector, Memory]:
        ctx = ctxs[0]
        if not ctx.layout.length:
            return torch.empty(0, dtype=torch.float32), memory
        total = np.zeros((self.rows, self.columns(ctx.layout.length)))
        for payload, weight, of in zip(payloads, weights, ctxs, strict=True):
            total += weight * self._table(self.codec.decode(payload, ctx=self._inside(of))[0])
        if self.momentum:
            total += self.momentum * _kept(memory, _VELOCITY, total)
        owed = total if self.rest == "dropped" else total + _kept(memory, _OWED, total)
        indices, values = self._recovered(owed, ctx)
        found = np.flatnonzero(values)
        indices, values = indices[found], values[found]
        kept = dict(memory)
        if self.rest == "subtracted":
            kept[_OWED] = torch.from_numpy(owed - self._sketch(values, ctx, indices))
        if self.rest == "zeroed":
            for row, of_total, hashes in zip(owed, total, self._hashes(indices, ctx), strict=True):
                row[hashes >> 1] = of_total[hashes >> 1] = 0.0
            kept[_OWED] = torch.from_numpy(owed)
        if self.momentum:
            kept[_VELOCITY] = torch.from_numpy(total)
        return _sparse(indices, values, ctx.layout), kept

    def _inside(self, ctx: Context) -> Context:
        shape = (self.rows, self.columns(ctx.layout.length))
        return inner_context(ctx, Layout((Slot("sketch", shape, 0),)))

    def _table(self, read: Vector) -> Sketch:
        return read.numpy().reshape(self.rows, -1).astype(np.float64)

    def _sketch(
        self, entries: NDArray[np.float32], ctx: Context, indices: NDArray[np.int64] | None = None
    ) -> Sketch:
        """Of entries at some indices, or of a whole vector."""
        columns = self.columns(ctx.layout.length)
        signed = np.zeros((self.rows, 2 * columns))
        for start in range(0, entries.size, _PIECE_ENTRIES):
            piece = slice(start, min(start + _PIECE_ENTRIES, entries.size))
            at = np.arange(piece.start, piece.stop) if indices is None else indices[piece]
            for row, hashes in zip(signed, self._hashes(at, ctx), strict=True):
                row += np.bincount(hashes, entries[piece], minlength=2 * columns)
        # Entries of either sign are added up apart.
        return signed[:, 0::2] - signed[:, 1::2]

    def _recovered(self, sketch: Sketch, ctx: Context) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Indices, rising, and values of the entries with the largest estimates."""
        table = _rounded(sketch)
        signed = np.stack([table, -table], axis=-1).reshape(self.rows, -1)
        estimates = np.empty(ctx.layout.length, np.float32)
        for start in range(0, estimates.size, _PIECE_ENTRIES):
            part = estimates[start : start + _PIECE_ENTRIES]
            hashes = self._hashes(np.arange(start, start + part.size), ctx)
            part[...] = _median([row[places] for row, places in zip(signed, hashes, strict=True)])
        indices = _largest(np.abs(estimates), math.ceil(self.recover * estimates.size))
        return indices, estimates[indices]

    def _hashes(self, indices: NDArray[np.int64], ctx: Context) -> Iterator[NDArray[np.int64]]:
        """For each row, [indices] twice the place that an entry is added to, and 1 more where it is subtracted."""
        columns = np.uint64(self.columns(ctx.layout.length))
        shuffled = _shuffled(indices)
        for row in range(self.rows):
            # The seed is what all messages of a run have in common.
            key = Key(ctx.key.seed) / self.kind / row
            a, b = (np.uint64((key / name).integer(64)) for name in ("a", "b"))
            hashes = shuffled * a  # modulo 2**64
            hashes += b
            hashes >>= 32
            signs = hashes & 1
            hashes >>= 1
            hashes *= columns
            hashes >>= 31
            hashes <<= 1
            hashes |= signs
            yield hashes.view(np.int64)


def _shuffled(indices: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Indices below 2**32 in another order: the last steps of MurmurHash3, which no two numbers come out of alike."""
    mixed = indices.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed ^= mixed >> shift
        mixed *= np.uint32(factor)
    mixed ^= mixed >> 16
    return mixed.astype(np.uint64)


def _median(estimates: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """[entries] median of [rows] of [entries], which are overwritten."""
    rows = len(estimates)
    # Sorted by comparing neighbours in turns (odd-even transposition), whole rows at once.
    for turn in range(rows):
        for low in range(turn % 2, rows - 1, 2):
            one, other = estimates[low], estimates[low + 1]
            estimates[low], estimates[low + 1] = np.minimum(one, other), np.maximum(one, other, out=other)
    middle = estimates[rows // 2]
    return middle if rows % 2 else estimates[rows // 2 - 1] * np.float32(0.5) + middle * np.float32(0.5)


def _largest(magnitudes: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """[count] indices of the largest magnitudes, rising; of equal ones the first."""
    if count >= magnitudes.size:
        return np.arange(magnitudes.size)
    least = np.partition(magnitudes, -count)[-count]
    above = np.flatnonzero(magnitudes > least)
    equal = np.flatnonzero(magnitudes == least)[: count - above.size]
    return np.sort(np.concatenate([above, equal]))


def _sparse(indices: NDArray[np.int64], values: NDArray[np.float32], layout: Layout) -> Vector:
    entries = np.zeros(layout.length, np.float32)
    entries[indices] = values
    return torch.from_numpy(entries)


def _rounded(sketch: Sketch) -> NDArray[np.float32]:
    return np.clip(sketch, -FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)


def _kept(memory: Memory, name: str, like: Sketch) -> Any:
    """A sketch that was kept; nothing where there is none of this shape."""
    kept = memory.get(name)
    return kept.numpy() if isinstance(kept, torch.Tensor) and kept.shape == like.shape else 0.0
