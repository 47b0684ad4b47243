"""QSGD: an l2 norm per bucket, and per entry a sign and a level drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.backends import Rows, backend_of
from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, symbol_dtype
from syft_fl.codecs.groups import Block, Span, count_groups, require_block, spans_of
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.rounding import Dither
from syft_fl.codecs.scales import multipliers, read_scales
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout

__all__ = ["QSGD"]


@CODECS
@schema
class QSGD(BatchQuantiser):
    r"""Sign and level of every entry relative to the l2 norm of its bucket; unbiased.

    .. math:: Q(v_i) = \|v\|_2 \cdot \operatorname{sgn}(v_i) \cdot \xi_i / s

    where :math:`\xi_i` is :math:`s|v_i|/\|v\|_2` rounded up or down at random, so that its mean is that number.
    With :math:`p_i` its fractional part the variance of a bucket of :math:`n` entries is exactly

    .. math:: \frac{\|v\|^2}{s^2} \sum_i p_i (1 - p_i) \le \min(n/s^2, \sqrt n/s)\,\|v\|^2 .

    **Choice of the block.** The error relative to :math:`\|v\|^2` grows with the bucket: at :math:`n > s^2` it is of
    the order of :math:`\sqrt n/s`. A million entries in one bucket at 7 levels have a variance of over a hundred times
    :math:`\|v\|^2`: the update drowns in noise, and a plain average of few UEs diverges. With 512 entries and 7
    levels the bound is 3.2 :math:`\|v\|^2` (on Gaussian entries it is about 1.6), with ``block`` at most
    :math:`s^2` it is at most :math:`\|v\|^2`. The price is a norm of 32 bits for each bucket: 1/16 bit an entry
    at 512.

    Attributes:
        levels: :math:`s`, 1 … 32767. With ``Fixed`` words ``ceil(log2(2 * levels + 1))`` bits an entry: 1 level (three
            symbols) takes 2, 7 take 4, 127 take 8. A power of two wastes a bit: 16 levels are 33 symbols and take 6.
        block: which entries make a bucket.
        coder: how symbols become bits.

    Payload: float32 norms, then symbols (level with its sign, plus :math:`s`). A norm beyond the largest float32
    number is sent as that number; as no entry is larger, the codec stays unbiased, to the resolution of
    :class:`~syft_fl.codecs.rounding.Dither`: entries below :math:`2^{-17}` of the step :math:`\|v\|/s` always
    arrive as 0.

    Source: Alistarh, Grubic, Li, Tomioka, Vojnovic 2017, "QSGD: Communication-Efficient SGD via Gradient
    Quantization and Encoding", section 3.1 and theorem 3.2. Differs from it in: the coder is chosen freely.
    """

    kind: ClassVar[str] = "qsgd"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 4
    paper: ClassVar[str] = "Alistarh et al. 2017, QSGD, theorem 3.2"
    bound: ClassVar[str] = "unbiased; variance <= min(n / s**2, sqrt(n) / s) |v|**2 per bucket of n"

    levels: int = 7
    block: Block = 512
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require(
            1 <= self.levels <= 32767, "levels", self.levels, "in 1 … 32767", "beyond, use kind = 'float32'"
        )
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(2 * self.levels + 1, centre=self.levels)

    def side_bytes(self, layout: Layout) -> int:
        return 4 * count_groups(self._spans(layout))

    def quantise_rows(self, entries: Rows, ctxs: Sequence[Context]) -> tuple[NDArray[np.uint8], Rows]:
        spans = self._spans(ctxs[0].layout)
        backend = backend_of(entries)
        norms = backend.l2_norms(entries, spans)
        dither = Dither([ctx.key / "dither" for ctx in ctxs], entries.shape[1], backend)
        symbols = backend.empty(entries.shape, symbol_dtype((2 * self.levels).bit_length()))
        factors = backend.put(multipliers(norms, self.levels * Dither.ONE))
        for piece in backend.pieces(spans, vectors=len(entries)):
            levels = piece.rows(entries) * piece.column(factors)
            dither.round(levels, piece, top=self.levels, plus=self.levels, out=symbols)
        return norms.astype("<f4", copy=False).view(np.uint8), symbols

    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Rows, ctxs: Sequence[Context], entries: Rows
    ) -> None:
        norms = read_scales(sides, "norm of a bucket")
        backend = backend_of(symbols)
        levels, scales = backend.put(np.array([[self.levels]], np.float32)), backend.put(norms)
        for piece in backend.pieces(self._spans(ctxs[0].layout), vectors=len(entries)):
            values = piece.rows(entries)
            values[...] = piece.rows(symbols)
            values -= self.levels
            # First into -1 … 1: a norm near the largest float32 number then can't overflow.
            values /= levels
            values *= piece.column(scales)

    def _spans(self, layout: Layout) -> list[Span]:
        return spans_of(layout, self.block)
