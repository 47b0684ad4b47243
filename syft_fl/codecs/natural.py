"""Powers of two: natural compression and natural dithering."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, Symbols, symbol_dtype
from syft_fl.codecs.groups import Block, count_groups, pieces, require_block, spans_of
from syft_fl.codecs.quantiser import Quantiser
from syft_fl.codecs.scales import l2_norms, read_scales
from syft_fl.errors import CodecError
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout

__all__ = ["NaturalCompression", "NaturalDithering"]

_MANTISSA_BITS = 23
_SIGN_AND_EXPONENT = np.uint32(0xFF800000)
_MANTISSA = np.uint32(0x007FFFFF)
_TOP_EXPONENT = 254


@CODECS
@schema
class NaturalCompression(Quantiser):
    r"""Every entry at random up or down to a power of two: sign and exponent, 9 bits; unbiased.

    .. math:: C(x) = \operatorname{sgn}(x)\cdot\begin{cases}2^{\lceil a\rceil} & \text{with } p =
        |x|/2^{\lfloor a\rfloor} - 1\\ 2^{\lfloor a\rfloor} & \text{else}\end{cases},\quad a = \log_2|x|

    The variance is :math:`(2^{\lceil a\rceil} - |x|)(|x| - 2^{\lfloor a\rfloor}) \le x^2/8`. In float32 that is a
    matter of the bits: 23 random ones are added to the mantissa, which is then cut off; so chances are exact. Below
    :math:`2^{-126}`, where exponents end, an entry goes to 0 or :math:`2^{-126}`; from :math:`2^{127}` on it becomes
    :math:`2^{127}`, the largest power there is (the one place where the codec is biased).

    Attributes:
        coder: how symbols become bits. Exponents of an update are far from uniform: ``range`` needs about half.

    Payload: symbols of sign (high bit) and exponent field.

    Source: Horváth, Ho, Horváth, Sahu, Canini, Richtárik 2019, "Natural Compression for Distributed Deep Learning",
    definition 1 and theorem 1. Differs from it in: nothing.
    """

    kind: ClassVar[str] = "natural"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Horváth et al. 2019, Natural Compression, theorem 1"
    bound: ClassVar[str] = "unbiased; variance <= |x|**2 / 8"

    coder: Annotated[Coder, CODERS] = Fixed()

    def alphabet(self) -> Alphabet:
        return Alphabet(512)

    def side_bytes(self, layout: Layout) -> int:
        return 0

    def quantise(self, entries: NDArray[np.float32], ctx: Context) -> tuple[bytes, Symbols]:
        draws = (ctx.key / "dither").numpy().bit_generator.random_raw(-(-entries.size // 2)).view(np.uint32)
        bits = draws[: entries.size] & _MANTISSA
        bits += entries.view(np.uint32)
        symbols = (bits >> np.uint32(_MANTISSA_BITS)).astype(np.uint16)
        # The mantissa's carry may have made an infinity of the largest numbers.
        return b"", np.minimum(symbols & 255, _TOP_EXPONENT, out=symbols & 255) | (symbols & 256)

    def restore(self, side: memoryview, symbols: Symbols, ctx: Context) -> NDArray[np.float32]:
        if symbols.size and int((symbols & 255).max()) > _TOP_EXPONENT:
            raise CodecError("an exponent in the payload is that of an infinity; the bytes are damaged")
        return (symbols.astype(np.uint32) << np.uint32(_MANTISSA_BITS)).view(np.float32)


@CODECS
@schema
class NaturalDithering(Quantiser):
    r"""QSGD with levels that are powers of two: :math:`0, 2^{1-s}, …, 1/2, 1` times the norm; unbiased.

    An entry's :math:`|v_i|/\|v\|` goes at random to the level above or below, so that the mean is that number. For
    the same number of symbols the variance is far below that of equally spaced levels, as most entries are
    small: at most :math:`1/8 + \min(\sqrt n\,2^{1-s}, n\,2^{2-2s})` of :math:`\|v\|^2`.

    Attributes:
        levels: :math:`s`, 1 … 127, besides zero. With ``Fixed`` words ``ceil(log2(2 * levels + 1))`` bits an entry.
        block: which entries share a norm of 32 bits.
        coder: how symbols become bits.

    Payload: float32 norms, then symbols: level with its sign, plus :math:`s`.

    Source: Horváth et al. 2019, "Natural Compression for Distributed Deep Learning", section 4 and theorem 7 with
    p = 2. Differs from it in: groups instead of one norm for the whole vector.
    """

    kind: ClassVar[str] = "natural-dithering"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 4
    paper: ClassVar[str] = "Horváth et al. 2019, Natural Compression, section 4"
    bound: ClassVar[str] = (
        "unbiased; variance <= (1/8 + min(sqrt(n) 2**(1-s), n 2**(2-2s))) |v|**2 per group of n"
    )

    levels: int = 7
    block: Block = 512
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require(1 <= self.levels <= 127, "levels", self.levels, "in 1 … 127", "beyond, use kind = 'natural'")
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(2 * self.levels + 1, centre=self.levels)

    def side_bytes(self, layout: Layout) -> int:
        return 4 * count_groups(spans_of(layout, self.block))

    def quantise(self, entries: NDArray[np.float32], ctx: Context) -> tuple[bytes, Symbols]:
        spans = spans_of(ctx.layout, self.block)
        norms = l2_norms(entries, spans)
        divisors = np.where(norms > 0, norms, 1)
        # 24 bits: a chance of the lowest level is exact to 2**-24 of it.
        words = (ctx.key / "dither").numpy().bit_generator
        symbols = np.empty(entries.size, symbol_dtype((2 * self.levels).bit_length()))
        for piece in pieces(spans):
            parts = piece.rows(entries) / piece.column(divisors)
            minus = parts.view(np.int32) >> 31  # -1 or 0
            np.abs(parts, out=parts)
            draws = words.random_raw(-(-parts.size // 2)).view(np.uint32)[: parts.size].reshape(parts.shape)
            levels = self._levels_of(parts, draws)
            levels ^= minus
            levels -= minus
            levels += self.levels
            piece.rows(symbols)[...] = levels
        return norms.astype("<f4", copy=False).tobytes(), symbols

    def _levels_of(self, parts: NDArray[np.float32], draws: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Levels 0 … s of parts of a norm in 0 … 1; both are overwritten."""
        np.minimum(parts, 1, out=parts)
        # Between 0 and the lowest level as between that and its double, one level further down.
        lowest = np.float32(2.0 ** (1 - self.levels))
        small = parts < lowest
        parts += small * lowest
        # Of two neighbours 2^k and 2^(k+1) the mantissa is the chance of the upper one: add and cut off.
        draws &= _MANTISSA
        draws += parts.view(np.uint32)
        draws >>= np.uint32(_MANTISSA_BITS)
        levels: NDArray[np.int32] = draws.view(np.int32)
        levels -= 127 - self.levels
        levels -= small
        return levels

    def restore(self, side: memoryview, symbols: Symbols, ctx: Context) -> NDArray[np.float32]:
        norms = read_scales(side, "norm of a group")
        numbers = np.arange(-self.levels, self.levels + 1)
        values = np.sign(numbers) * 2.0 ** (np.abs(numbers) - self.levels)
        entries = values.astype(np.float32)[symbols]
        for piece in pieces(spans_of(ctx.layout, self.block)):
            rows = piece.rows(entries)
            rows *= piece.column(norms)
        return entries
