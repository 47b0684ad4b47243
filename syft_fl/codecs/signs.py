"""One bit an entry: the sign, and what the signs of a group stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, Symbols
from syft_fl.codecs.entries import refuse_damaged
from syft_fl.codecs.groups import Block, Span, count_groups, pieces, require_block, spans_of
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.scales import group_sums, group_widths, read_scales
from syft_fl.schema import schema
from syft_fl.vectors import Layout

__all__ = ["OneBit", "ScaledSign"]


@CODECS
@schema
class ScaledSign(BatchQuantiser):
    r"""The sign of every entry, times the mean magnitude of its group; biased, for use with error feedback.

    .. math:: C(v) = \frac{\|v\|_1}{d} \operatorname{sgn}(v), \qquad
        \|v - C(v)\|^2 = \|v\|^2 - \|v\|_1^2/d

    for a group of :math:`d` entries. On Gaussian entries that is :math:`1 - 2/\pi` of :math:`\|v\|^2`, and no scale
    would do better. The sign of 0 is +.

    Attributes:
        block: which entries share a scale of 32 bits.
        coder: how signs become bits.

    Payload: float32 scales, then signs (1: not negative).

    Source: Karimireddy, Rebjock, Stich, Jaggi 2019, "Error Feedback Fixes SignSGD and other Gradient Compression
    Schemes", section 5. Differs from it in: nothing.
    """

    kind: ClassVar[str] = "sign"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 4
    paper: ClassVar[str] = "Karimireddy et al. 2019, Error Feedback Fixes SignSGD"
    bound: ClassVar[str] = "|error|**2 = |v|**2 - |v|_1**2 / d per group of d"

    block: Block = "tensor"
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(2)

    def side_bytes(self, layout: Layout) -> int:
        return 4 * count_groups(spans_of(layout, self.block))

    def quantise_rows(
        self, entries: NDArray[np.float32], ctxs: Sequence[Context]
    ) -> tuple[NDArray[np.uint8], Symbols]:
        spans = spans_of(ctxs[0].layout, self.block)
        # Vector by vector, so that the order of a sum does not depend on what is beside it.
        scales = np.stack([group_sums(np.abs(row), spans) for row in entries]) / group_widths(spans)
        return scales.astype("<f4").view(np.uint8), (entries >= 0).view(np.uint8)

    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Symbols, ctxs: Sequence[Context]
    ) -> NDArray[np.float32]:
        scales = read_scales(sides, "scale of a group")
        return _pick(symbols, -scales, scales, spans_of(ctxs[0].layout, self.block))


@CODECS
@schema
class OneBit(BatchQuantiser):
    r"""Whether an entry is negative; arrives as the mean of its group's negative or other entries.

    Both means minimise the square error, :math:`\|v\|^2 - n_-\mu_-^2 - n_+\mu_+^2`, given the signs. Biased, for use
    with error feedback.

    Attributes:
        block: which entries share the two means of 32 bits each. The paper's choice is ``"channel"``.
        coder: how signs become bits.

    Payload: float32 means of negative entries, float32 means of the others, then signs (1: not negative).

    Source: Seide, Fu, Droppo, Li, Yu 2014, "1-Bit Stochastic Gradient Descent and its Application to Data-Parallel
    Distributed Training of Speech DNNs", section 3. Differs from it in: the groups are chosen freely.
    """

    kind: ClassVar[str] = "one-bit"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 4
    paper: ClassVar[str] = "Seide et al. 2014, 1-Bit Stochastic Gradient Descent"
    bound: ClassVar[str] = "|error|**2 = |v|**2 - n_neg mean_neg**2 - n_pos mean_pos**2 per group"

    block: Block = "channel"
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(2)

    def side_bytes(self, layout: Layout) -> int:
        return 8 * count_groups(spans_of(layout, self.block))

    def quantise_rows(
        self, entries: NDArray[np.float32], ctxs: Sequence[Context]
    ) -> tuple[NDArray[np.uint8], Symbols]:
        spans = spans_of(ctxs[0].layout, self.block)
        signs = entries >= 0
        sums, magnitudes, counts = (
            np.stack([group_sums(row, spans) for row in of]) for of in (entries, np.abs(entries), signs)
        )
        # Sum and sum of magnitudes give the sums of either sign without a second pass.
        positive = (magnitudes + sums) / 2 / np.maximum(counts, 1)
        negative = (sums - magnitudes) / 2 / np.maximum(group_widths(spans) - counts, 1)
        means = np.concatenate([np.minimum(negative, 0), np.maximum(positive, 0)], axis=1)
        return means.astype("<f4").view(np.uint8), signs.view(np.uint8)

    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Symbols, ctxs: Sequence[Context]
    ) -> NDArray[np.float32]:
        means = sides.view("<f4")
        refuse_damaged(means, "the mean of a group")
        groups = means.shape[1] // 2
        return _pick(symbols, means[:, :groups], means[:, groups:], spans_of(ctxs[0].layout, self.block))


def _pick(
    symbols: Symbols, zeros: NDArray[np.float32], ones: NDArray[np.float32], spans: list[Span]
) -> NDArray[np.float32]:
    """[vectors, entries] of each group its value for symbol 0 or 1."""
    entries = np.empty(symbols.shape, np.float32)
    bits, start = entries.view(np.int32), np.ascontiguousarray(zeros, np.float32).view(np.int32)
    change = start ^ np.ascontiguousarray(ones, np.float32).view(np.int32)
    for piece in pieces(spans, vectors=len(entries)):
        rows = piece.rows(bits)
        # -1 has all bits: a tenth of what a choice entry by entry takes, which no processor can foresee.
        np.negative(piece.rows(symbols), out=rows, dtype=np.int32)
        rows &= piece.column(change)
        rows ^= piece.column(start)
    return entries
