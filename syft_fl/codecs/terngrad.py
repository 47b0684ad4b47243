"""TernGrad: -1, 0 or 1 times the largest magnitude of a group, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.backends import Rows, backend_of
from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed
from syft_fl.codecs.groups import Block, count_groups, require_block, spans_of
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.rounding import Dither
from syft_fl.codecs.scales import multipliers, read_scales
from syft_fl.schema import schema
from syft_fl.vectors import Layout

__all__ = ["TernGrad"]


@CODECS
@schema
class TernGrad(BatchQuantiser):
    r"""Three values an entry; unbiased.

    .. math:: Q(v_i) = s \operatorname{sgn}(v_i)\, b_i, \quad s = \|v\|_\infty, \quad P(b_i = 1) = |v_i|/s

    so that the variance of a group is exactly :math:`\|v\|_\infty\|v\|_1 - \|v\|^2`: one large entry alone decides the
    noise of all. (The paper clips entries at 2.5 standard deviations before.)

    Attributes:
        block: which entries share a scale of 32 bits.
        coder: how symbols become bits; with ``Fixed`` words 2 bits an entry, where :math:`\log_2 3 = 1.585` would do.

    Payload: float32 scales, then symbols (0: minus, 1: zero, 2: plus).

    Source: Wen, Xu, Yan, Wu, Wang, Chen, Li 2017, "TernGrad: Ternary Gradients to Reduce Communication in Distributed
    Deep Learning", equations 2 to 4. Differs from it in: no clipping.
    """

    kind: ClassVar[str] = "terngrad"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 4
    paper: ClassVar[str] = "Wen et al. 2017, TernGrad, equations 2 to 4"
    bound: ClassVar[str] = "unbiased; variance |v|_max |v|_1 - |v|**2 per group"

    block: Block = "tensor"
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(3, centre=1)

    def side_bytes(self, layout: Layout) -> int:
        return 4 * count_groups(spans_of(layout, self.block))

    def quantise_rows(self, entries: Rows, ctxs: Sequence[Context]) -> tuple[NDArray[np.uint8], Rows]:
        spans = spans_of(ctxs[0].layout, self.block)
        backend = backend_of(entries)
        scales = backend.largest(entries, spans)
        dither = Dither([ctx.key / "dither" for ctx in ctxs], entries.shape[1], backend)
        symbols = backend.empty(entries.shape, np.uint8)
        factors = backend.put(multipliers(scales, Dither.ONE))
        for piece in backend.pieces(spans, vectors=len(entries)):
            values = piece.rows(entries) * piece.column(factors)
            dither.round(values, piece, top=1, plus=1, out=symbols)
        return scales.astype("<f4", copy=False).view(np.uint8), symbols

    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Rows, ctxs: Sequence[Context], entries: Rows
    ) -> None:
        backend = backend_of(symbols)
        scales = backend.put(read_scales(sides, "scale of a group"))
        for piece in backend.pieces(spans_of(ctxs[0].layout, self.block), vectors=len(entries)):
            values = piece.rows(entries)
            values[...] = piece.rows(symbols)
            values -= 1
            values *= piece.column(scales)
