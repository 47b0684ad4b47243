"""Levels in geometric progression: small entries keep their relative precision."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, Symbols
from syft_fl.codecs.groups import Block, count_groups, pieces, require_block, spans_of
from syft_fl.codecs.nearest import NearestLevel
from syft_fl.codecs.quantiser import Quantiser
from syft_fl.codecs.scales import largest, read_scales
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout

__all__ = ["Logarithmic"]


@CODECS
@schema
class Logarithmic(Quantiser):
    r"""``bits`` bits an entry: a sign and one of :math:`L = 2^{b-1} - 1` magnitudes in geometric progression, or zero.

    .. math:: \pm m\,q^{k}, \quad k = 0 … L - 1, \quad q = 10^{-D/(L-1)}

    with :math:`m` the largest magnitude of the group and :math:`D` the ``decades`` that the levels span. An entry
    goes to the nearer of its two neighbours, so above the smallest level :math:`m\,10^{-D}` the error is at most
    :math:`(1-q)/(1+q)` of the entry, and below it at most half that level.

    Attributes:
        bits: per entry, 2 … 8.
        decades: :math:`D`, the factor between largest and smallest level as a power of ten.
        block: which entries share a scale of 32 bits.
        coder: how symbols become bits.

    Payload: float32 scales, then symbols: level with its sign, plus :math:`L`.

    Source: the companding of speech codecs (Cattermole 1969, "Principles of Pulse Code Modulation", chapter 3), as
    used for gradients by Miyashita, Lee, Murmann 2016, "Convolutional Neural Networks using Logarithmic Data
    Representation". Differs from it in: any ratio, nearest in value instead of in the logarithm.
    """

    kind: ClassVar[str] = "logarithmic"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 4
    paper: ClassVar[str] = "Miyashita, Lee, Murmann 2016, Logarithmic Data Representation"
    bound: ClassVar[str] = "|error| <= (1 - q) / (1 + q) |x| above the smallest level, half that level below"

    bits: int = 4
    decades: float = 2.0
    block: Block = "tensor"
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 8, "bits", self.bits, "in 2 … 8", "at 1 bit use kind = 'sign'")
        require(
            0 < self.decades <= 30,
            "decades",
            self.decades,
            "above 0 and at most 30",
            "2 spans a factor of 100",
        )
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(2 * self._levels + 1, centre=self._levels)

    def side_bytes(self, layout: Layout) -> int:
        return 4 * count_groups(spans_of(layout, self.block))

    def quantise(self, entries: NDArray[np.float32], ctx: Context) -> tuple[bytes, Symbols]:
        spans = spans_of(ctx.layout, self.block)
        scales = largest(entries, spans)
        divisors = np.where(scales > 0, scales, 1)
        nearest = NearestLevel(self._values())
        symbols = np.empty(entries.size, np.uint8)
        for piece in pieces(spans):
            parts = piece.rows(entries) / piece.column(divisors)
            piece.rows(symbols)[...] = nearest(parts)
        return scales.astype("<f4", copy=False).tobytes(), symbols

    def restore(self, side: memoryview, symbols: Symbols, ctx: Context) -> NDArray[np.float32]:
        scales = read_scales(side, "scale of a group")
        entries = self._values().astype(np.float32).take(symbols)
        for piece in pieces(spans_of(ctx.layout, self.block)):
            rows = piece.rows(entries)
            rows *= piece.column(scales)
        return entries

    @property
    def _levels(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def _values(self) -> NDArray[np.float64]:
        """[2 L + 1] levels relative to the scale, rising."""
        steps = np.arange(self._levels) / max(self._levels - 1, 1)
        magnitudes = 10.0 ** (-self.decades * steps)
        return np.concatenate([-magnitudes, [0.0], magnitudes[::-1]])
