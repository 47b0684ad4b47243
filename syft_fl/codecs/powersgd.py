"""Low rank: a matrix as the product of two thin ones, found by a step of power iteration in each message.

Sums are numpy's ``einsum`` in double precision, and orthonormal vectors come from Gram and Schmidt's steps over the few
factors: a product or a QR decomposition by BLAS may add in another order on another number of threads, and the factors,
which are remembered, would carry that into every later message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Codec, Context, Memory, Payload
from syft_fl.codecs.entries import checked_entries
from syft_fl.codecs.floats import Float32
from syft_fl.codecs.nested import inner_context, merged
from syft_fl.codecs.scales import FLOAT32_MAX
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, Slot, Vector

__all__ = ["PowerSGD"]

_START = "start"
_VANISHED = 1e-10  # of a vector's length: what is left beside the others is rounding


@CODECS
@schema
class PowerSGD:
    r"""A matrix :math:`M` of m by n as :math:`PQ^\top` of rank r; other tensors as they are.

    .. math:: P \leftarrow \text{orthonormal}(MQ), \quad Q \leftarrow M^\top P

    from the :math:`Q` of the sender's last message (its warm start, in link memory), so successive messages are steps
    of one power iteration. What arrives is :math:`PP^\top M`: exact where :math:`M` has rank r, never longer than
    :math:`M`; and of a matrix that stays the same, the error falls from step to step, to that of the best matrix of
    rank r (its singular value decomposition). It is biased: use it with error feedback.

    A convolution's weights are a matrix of [out, in · height · width]. Tensors of one dimension, and those that two
    factors would not make smaller, are written as they are: :math:`r(m+n) < mn` numbers for each of the others.

    The decoder needs no memory. Where the transport keeps none at the sender either (the downlink) each message starts
    from random vectors; there more ``steps`` stand in for it.

    Attributes:
        rank: r, at least 1.
        steps: of power iteration in each message, at least 1.
        warm_start: whether a message starts from the last one's factor, or from random vectors each time.
        codec: what writes the factors and the other tensors, as one vector. It sees a matrix's factors as tensors of
            [r, m] and [r, n], so a scale for each channel is one for each of the r vectors; named ``weight``, they are
            ``weight.p`` and ``weight.q``, by which ``layered`` can tell them from what is no factor.

    Payload: the codec's, of :math:`P` and :math:`Q` in each matrix's place.

    Source: Vogels, Karimireddy, Jaggi 2019, "PowerSGD: Practical Low-Rank Gradient Compression for Distributed
    Optimization", algorithms 1 and 2. Differs from it in: each UE's matrix has factors of its own, since an uplink's
    messages are not summed half way between :math:`P` and :math:`Q`; the warm start is made orthonormal, which spans
    the same space, and vectors that vanished from it (of a matrix of low rank) are drawn anew instead of staying 0.
    """

    kind: ClassVar[str] = "powersgd"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = (
        "Vogels, Karimireddy, Jaggi 2019, PowerSGD: Practical Low-Rank Gradient Compression, algorithm 1"
    )
    bound: ClassVar[str] = "squared error <= |M|**2 a matrix; 0 at rank <= r; in time that of the best rank r"

    rank: int = 4
    steps: int = 1
    warm_start: bool = True
    codec: Annotated[Codec, CODECS] = Float32()

    def __post_init__(self) -> None:
        require(self.rank >= 1, "rank", self.rank, "at least 1", "the more, the more bits")
        require(self.steps >= 1, "steps", self.steps, "at least 1", "each takes two products by the matrix")

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        entries = checked_entries(x, ctx)
        written = _Written.of(ctx.layout, self.rank)
        numbers = np.empty(written.layout.length, np.float32)
        for slot, there in written.others:
            _of(numbers, there)[...] = _of(entries, slot)
        remembered = self._remembered(ctx, written)
        starts = []
        for matrix, remembers in zip(written.matrices, remembered, strict=True):
            p, q = self._factors(_of(entries, matrix.slot), matrix, remembers, ctx)
            _of(numbers, matrix.p)[...] = p
            _of(numbers, matrix.q)[...] = q
            starts.append(_of(numbers, matrix.q).ravel())
        payload, inner = self.codec.encode(torch.from_numpy(numbers), ctx=inner_context(ctx, written.layout))
        memory = merged(ctx.memory, inner)
        if self.warm_start and starts:
            memory = {**memory, _START: torch.from_numpy(np.concatenate(starts))}
        return payload, memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        written = _Written.of(ctx.layout, self.rank)
        read, inner = self.codec.decode(payload, ctx=inner_context(ctx, written.layout))
        numbers = read.numpy()
        entries = np.empty(ctx.layout.length, np.float32)
        for slot, there in written.others:
            _of(entries, slot)[...] = _of(numbers, there)
        for slot, p, q in written.matrices:
            product = np.einsum("ki,kj->ij", _of(numbers, p), _of(numbers, q), dtype=np.float64)
            np.clip(product, -FLOAT32_MAX, FLOAT32_MAX, out=product)
            _of(entries, slot)[...] = product.reshape(slot.shape)
        return torch.from_numpy(entries), merged(ctx.memory, inner)

    def _remembered(self, ctx: Context, written: _Written) -> list[NDArray[np.float32] | None]:
        """[r, n] warm start of each matrix; None of those that have none."""
        kept = ctx.memory.get(_START)
        sizes = [matrix.q.length for matrix in written.matrices]
        if not self.warm_start or not isinstance(kept, torch.Tensor) or kept.numel() != sum(sizes):
            return [None] * len(sizes)
        parts = np.split(kept.numpy(), np.cumsum(sizes[:-1]))
        return [part.reshape(m.q.shape) for part, m in zip(parts, written.matrices, strict=True)]

    def _factors(
        self,
        tensor: NDArray[np.float32],
        matrix: _Matrix,
        remembered: NDArray[np.float32] | None,
        ctx: Context,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[r, m] orthonormal vectors, or 0 where the rank is less than r; and [r, n], within float32."""
        entries = tensor.reshape(len(tensor), -1).astype(np.float64)

        def drawn() -> NDArray[np.float64]:
            return (ctx.key / _START / matrix.slot.name).numpy().standard_normal(matrix.q.shape)

        q = drawn() if remembered is None else _orthonormal(remembered.astype(np.float64), drawn)
        for _ in range(self.steps):
            p = _orthonormal(np.einsum("ij,kj->ki", entries, q))
            q = np.einsum("ij,ki->kj", entries, p)
        # A column of entries near the limit may be longer than it; what is cut off makes no error larger.
        return p, np.clip(q, -FLOAT32_MAX, FLOAT32_MAX)


class _Matrix(NamedTuple):
    """A tensor that is written as two factors, and where these are: [r, m] and [r, n]."""

    slot: Slot
    p: Slot
    q: Slot


class _Written(NamedTuple):
    """What the codec inside sees of a layout."""

    layout: Layout
    matrices: list[_Matrix]
    others: list[tuple[Slot, Slot]]

    @classmethod
    def of(cls, layout: Layout, rank: int) -> _Written:
        slots: list[Slot] = []
        matrices: list[_Matrix] = []
        others: list[tuple[Slot, Slot]] = []

        def place(name: str, *shape: int) -> Slot:
            slots.append(Slot(name, shape, slots[-1].stop if slots else 0))
            return slots[-1]

        for slot in layout.slots:
            m = slot.shape[0] if len(slot.shape) > 1 else 1
            n = slot.length // max(m, 1)
            if rank * (m + n) < m * n:
                p, q = place(f"{slot.name}.p", rank, m), place(f"{slot.name}.q", rank, n)
                matrices.append(_Matrix(slot, p, q))
            else:
                others.append((slot, place(slot.name, *slot.shape)))
        return cls(Layout(tuple(slots)), matrices, others)


def _of(entries: NDArray[np.float32], slot: Slot) -> NDArray[np.float32]:
    """A tensor's entries in its shape; a view."""
    return entries[slot.start : slot.stop].reshape(slot.shape)


def _orthonormal(
    vectors: NDArray[np.float64], spare: Callable[[], NDArray[np.float64]] | None = None
) -> NDArray[np.float64]:
    """[r, n] orthonormal vectors that span what r vectors do; 0, or one to spare, for each that adds nothing."""
    found = np.zeros_like(vectors)
    spares: NDArray[np.float64] | None = None
    for k in range(len(vectors)):
        found[k] = _beside(vectors[k], found[:k])
        if spare is not None and not found[k].any():
            spares = spare() if spares is None else spares
            found[k] = _beside(spares[k], found[:k])
    return found


def _beside(vector: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a vector has beside orthonormal others, at length 1; 0 if that is no more than rounding."""
    largest = np.abs(vector).max(initial=0.0)
    if not largest:
        return vector
    rest = vector / largest  # no square of a denormal vanishes
    length = np.sqrt(np.einsum("i,i->", rest, rest))
    for _ in range(2):  # a second time takes away the first one's rounding
        rest = rest - np.einsum("k,ki->i", np.einsum("ki,i->k", others, rest), others)
    left = np.sqrt(np.einsum("i,i->", rest, rest))
    return rest / left if left > _VANISHED * length else np.zeros_like(rest)
