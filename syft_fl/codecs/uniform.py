"""The uniform quantiser: equally spaced levels between the smallest and the largest entry of a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.backends import Rows, backend_of
from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, symbol_dtype
from syft_fl.codecs.entries import refuse_damaged
from syft_fl.codecs.groups import Block, Span, count_groups, require_block, spans_of
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.rounding import Dither
from syft_fl.codecs.scales import float_type, multipliers
from syft_fl.errors import CodecError
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout

__all__ = ["Uniform"]

_NEAR_THE_END = 2.0**125  # beyond it, sums and differences of float32 numbers may overflow
_NEAR_ZERO = 2.0**-100  # far below it, float32 numbers lose their precision


@CODECS
@schema
class Uniform(BatchQuantiser):
    r"""``bits`` bits an entry, on an affine grid of :math:`2^b` levels; the ends of every grid are sent too.

    .. math:: \hat x = \ell + k\,\Delta, \quad \Delta = (u - \ell)/(2^b - 1), \quad k \in \{0, …, 2^b - 1\}

    with :math:`\ell, u` the smallest and the largest entry of the group. Rounding to the nearest level is off by at
    most :math:`\Delta/2`. Stochastic rounding (Suresh et al. 2017, "stochastic k-level quantisation") takes the
    level below or above so that the mean is :math:`x`; it is off by less than :math:`\Delta`, with variance
    :math:`\Delta^2 p(1-p) \le \Delta^2/4`, :math:`p` the fraction of a step. To either comes the rounding of float32
    arithmetic, below :math:`2^{-20}` of the larger end; to the mean also what :class:`~syft_fl.codecs.rounding.Dither`
    says. A group of equal entries arrives as it is.

    Attributes:
        bits: per entry, 1 … 16.
        rounding: ``"nearest"``, or ``"stochastic"`` for an unbiased codec.
        block: which entries share a grid; each group costs 64 bits for its two ends (32 if symmetric).
        ends: ``"affine"`` sends both ends; ``"symmetric"`` sends the largest magnitude :math:`m`, the grid being
            :math:`-m … m` of :math:`2^b - 1` levels, so that zero is one (at 1 bit: two levels): half the side
            information, and a step up to twice as wide.
        coder: how symbols become bits.

    Payload: float32 lower ends (if affine), float32 upper ends, symbols; with ``Fixed`` words
    ``64 * groups + bits * entries`` bits. Tensors without an entry have no group.

    Source: Suresh, Yu, Kumar, McMahan 2017, "Distributed Mean Estimation with Limited Communication", section 2.
    Differs from it in: groups instead of one grid for the whole vector.
    """

    kind: ClassVar[str] = "uniform"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 4
    paper: ClassVar[str] = "Suresh et al. 2017, Distributed Mean Estimation with Limited Communication"
    bound: ClassVar[str] = "|error| <= step / 2 (nearest), < step and unbiased (stochastic)"

    bits: int = 8
    rounding: Literal["nearest", "stochastic"] = "nearest"
    block: Block = "tensor"
    ends: Literal["affine", "symmetric"] = "affine"
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require(
            1 <= self.bits <= 16, "bits", self.bits, "in 1 … 16", "to send entries whole use kind = 'float32'"
        )
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(self._top + 1, centre=(self._top + 1) // 2)

    def side_bytes(self, layout: Layout) -> int:
        return (8 if self.ends == "affine" else 4) * count_groups(self._spans(layout))

    def quantise_rows(self, entries: Rows, ctxs: Sequence[Context]) -> tuple[NDArray[np.uint8], Rows]:
        spans = self._spans(ctxs[0].layout)
        backend = backend_of(entries)
        lower, upper = backend.ends(entries, spans)
        if self.ends == "symmetric":
            upper = np.maximum(upper, -lower) + np.float32(0)
            lower = -upper
        stochastic = self.rounding == "stochastic"
        factors = multipliers(_reach(lower, upper), self._top * (Dither.ONE if stochastic else 1))
        dither = None
        if stochastic:
            dither = Dither([ctx.key / "dither" for ctx in ctxs], entries.shape[1], backend)
        symbols = backend.empty(entries.shape, symbol_dtype(self.bits))
        lowest, multiplied = backend.put(lower), backend.put(factors)
        for piece in backend.pieces(spans, vectors=len(entries)):
            steps = backend.cast(piece.rows(entries), factors.dtype) - piece.column(lowest)
            steps *= piece.column(multiplied)
            if dither is None:
                backend.rint(steps)
                piece.rows(symbols)[...] = steps
            else:
                dither.round(steps, piece, top=self._top, out=symbols)
        sent = np.concatenate([lower, upper], axis=1) if self.ends == "affine" else upper
        return sent.astype("<f4", copy=False).view(np.uint8), symbols

    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Rows, ctxs: Sequence[Context], entries: Rows
    ) -> None:
        spans = self._spans(ctxs[0].layout)
        ends = sides.view("<f4")
        groups = count_groups(spans)
        lower, upper = (ends[:, :groups], ends[:, groups:]) if self.ends == "affine" else (-ends, ends)
        refuse_damaged(lower, "the lower end of a group")
        refuse_damaged(upper, "the upper end of a group")
        if (lower > upper).any():
            raise CodecError(
                "a group in the payload has its lower end above its upper end; the bytes are damaged"
            )
        backend = backend_of(symbols)
        steps = _steps(lower, upper, self._top)
        wide = steps.dtype != np.float32
        lowest, apart = backend.put(lower), backend.put(steps)
        for piece in backend.pieces(spans, vectors=len(entries)):
            rows = piece.rows(entries)
            values = backend.empty(rows.shape, steps.dtype) if wide else rows
            values[...] = piece.rows(symbols)
            values *= piece.column(apart)
            values += piece.column(lowest)
            if wide:
                rows[...] = values

    @property
    def _top(self) -> int:
        """The highest symbol. Symmetric grids leave one word unused, so that zero is a level (but at 1 bit)."""
        return (1 << self.bits) - (2 if self.ends == "symmetric" and self.bits > 1 else 1)

    def _spans(self, layout: Layout) -> list[Span]:
        return spans_of(layout, self.block)


def _reach(lower: NDArray[np.float32], upper: NDArray[np.float32]) -> NDArray[Any]:
    """[vectors, groups] distances between the ends, in float64 where float32 could overflow."""
    far = (lower < -_NEAR_THE_END) | (upper > _NEAR_THE_END)
    return np.subtract(upper, lower, dtype=float_type(far))


def _steps(lower: NDArray[np.float32], upper: NDArray[np.float32], top: int) -> NDArray[Any]:
    """[vectors, groups] distances between levels, in float64 where float32 has not the range."""
    reach = _reach(lower, upper)
    steps: NDArray[Any] = np.divide(reach, top, dtype=np.float64)
    if reach.dtype == np.float64:
        return steps
    return steps.astype(float_type((steps < _NEAR_ZERO) & (steps > 0)), copy=False)
