"""One bit an entry: the sign, and what the signs of a group stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.backends import Rows, backend_of
from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed
from syft_fl.codecs.entries import refuse_damaged
from syft_fl.codecs.groups import Block, count_groups, require_block, spans_of
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.scales import read_scales
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

    def quantise_rows(self, entries: Rows, ctxs: Sequence[Context]) -> tuple[NDArray[np.uint8], Rows]:
        spans = spans_of(ctxs[0].layout, self.block)
        backend = backend_of(entries)
        scales = backend.mean_magnitudes(entries, spans)
        return scales.astype("<f4", copy=False).view(np.uint8), backend.signs(entries)

    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Rows, ctxs: Sequence[Context], entries: Rows
    ) -> None:
        scales = read_scales(sides, "scale of a group")
        backend_of(symbols).choose(symbols, -scales, scales, spans_of(ctxs[0].layout, self.block), entries)


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

    def quantise_rows(self, entries: Rows, ctxs: Sequence[Context]) -> tuple[NDArray[np.uint8], Rows]:
        spans = spans_of(ctxs[0].layout, self.block)
        backend = backend_of(entries)
        signs = backend.signs(entries)
        means = backend.signed_means(entries, signs, spans)
        return means.astype("<f4", copy=False).view(np.uint8), signs

    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Rows, ctxs: Sequence[Context], entries: Rows
    ) -> None:
        means = sides.view("<f4")
        refuse_damaged(means, "the mean of a group")
        groups = means.shape[1] // 2
        spans = spans_of(ctxs[0].layout, self.block)
        backend_of(symbols).choose(symbols, means[:, :groups], means[:, groups:], spans, entries)
