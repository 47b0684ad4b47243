"""Short floating-point formats: bfloat16, the two 8-bit floats, and mantissas with a shared exponent."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Context, Gaps, Memory, Part, Payload
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, Symbols, symbol_dtype
from syft_fl.codecs.entries import checked_body, checked_entries, refuse_damaged
from syft_fl.codecs.erasure import blanked, cut, entries_of_groups, lost_groups, share_of, touched
from syft_fl.codecs.groups import Block, count_groups, pieces, require_block, spans_of
from syft_fl.codecs.quantiser import Quantiser
from syft_fl.codecs.scales import largest, read_scales
from syft_fl.errors import CodecError
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, Vector

__all__ = ["FP8", "BFloat16", "BlockFloat"]


@CODECS
@schema
class BFloat16:
    r"""The upper half of binary32, little-endian, rounded to nearest: 16 bits an entry.

    The range is that of float32; the error is at most :math:`2^{-8}|x|` (:math:`2^{-134}` where float32 is denormal).
    Entries that would round to infinity become the largest finite number. Of what came in part, entries with a bit in a
    gap are 0.
    """

    kind: ClassVar[str] = "bfloat16"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training"
    bound: ClassVar[str] = "|error| <= 2**-8 |x| + 2**-134"

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        checked_entries(x, ctx)
        top = torch.finfo(torch.bfloat16).max
        halves = x.detach().clamp(-top, top).to(torch.bfloat16).view(torch.int16).numpy()
        return Payload(halves.astype("<i2", copy=False).tobytes(), 16 * x.numel()), ctx.memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        body = checked_body(payload, 16 * ctx.layout.length, self.kind)
        halves = torch.from_numpy(np.frombuffer(body, "<i2").astype(np.int16))
        x = halves.view(torch.bfloat16).to(torch.float32)
        if not math.isfinite(float(x.sum())):
            refuse_damaged(x.numpy(), "an entry")
        return x, ctx.memory

    @property
    def erasable(self) -> bool:
        return True

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        x, memory = self.decode(Payload(blanked(payload.body, gaps), payload.bits), ctx=ctx)
        missing = touched(gaps, width=16, count=x.numel())
        x.numpy()[missing] = 0
        return Part(x, memory, share_of(missing))


_FP8 = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


@CODECS
@schema
class FP8:
    r"""8-bit floats, rounded to nearest, under a scale for each group: 8 bits an entry.

    ``e4m3`` has 4 bits of exponent and 3 of mantissa (largest 448, smallest :math:`2^{-9}`), ``e5m2`` 5 and 2 (57344,
    :math:`2^{-16}`). An update's entries are far below both ranges' upper ends, so every group is scaled to have
    its largest magnitude at the largest number: :math:`x = s\,f`. The error is at most half a unit in the last
    place, :math:`2^{-4}|x|` or :math:`2^{-3}|x|`, plus half the smallest number times the scale.

    Attributes:
        format: ``"e4m3"`` or ``"e5m2"``.
        block: which entries share a scale of 32 bits.

    Payload: float32 scales (largest magnitude of the group), then one byte an entry. Of what came in part, entries in a
    gap are 0, and so are groups whose scale is in one.

    Source: Micikevicius et al. 2022, "FP8 Formats for Deep Learning", sections 3 and 4. Differs from it in: nothing.
    """

    kind: ClassVar[str] = "fp8"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Micikevicius et al. 2022, FP8 Formats for Deep Learning"
    bound: ClassVar[str] = "|error| <= 2**-4 |x| (e4m3) or 2**-3 |x| (e5m2), plus half the smallest number"

    format: Literal["e4m3", "e5m2"] = "e4m3"
    block: Block = "tensor"

    def __post_init__(self) -> None:
        require_block(self.block)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        entries = checked_entries(x, ctx)
        spans = spans_of(ctx.layout, self.block)
        scales = largest(entries, spans)
        divisors = np.where(scales > 0, scales, 1)
        dtype = _FP8[self.format]
        codes = np.empty(entries.size, np.uint8)
        for piece in pieces(spans):
            parts = piece.rows(entries) / piece.column(divisors)
            parts *= np.float32(torch.finfo(dtype).max)
            piece.rows(codes)[...] = torch.from_numpy(parts).to(dtype).view(torch.uint8).numpy()
        body = scales.astype("<f4", copy=False).tobytes() + codes.tobytes()
        return Payload(body, 8 * len(body)), ctx.memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        spans = spans_of(ctx.layout, self.block)
        groups = count_groups(spans)
        body = checked_body(payload, 32 * groups + 8 * ctx.layout.length, self.kind)
        scales = read_scales(body[: 4 * groups], "scale of a group")
        dtype = _FP8[self.format]
        numbers = torch.arange(256, dtype=torch.uint8).view(dtype).to(torch.float32).numpy()
        entries = numbers.take(np.frombuffer(body[4 * groups :], np.uint8))
        refuse_damaged(entries, "an entry")
        for piece in pieces(spans):
            values = piece.rows(entries)
            values /= np.float32(torch.finfo(dtype).max)
            values *= piece.column(scales)
        return torch.from_numpy(entries), ctx.memory

    @property
    def erasable(self) -> bool:
        return True

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        spans = spans_of(ctx.layout, self.block)
        side_bits = 32 * count_groups(spans)
        x, memory = self.decode(Payload(blanked(payload.body, gaps), payload.bits), ctx=ctx)
        missing = touched(cut(gaps, side_bits, payload.bits), width=8, count=x.numel())
        lost = lost_groups(cut(gaps, 0, side_bits), spans, number_bytes=4, numbers=1)
        missing |= entries_of_groups(lost, spans, x.numel())
        x.numpy()[missing] = 0
        return Part(x, memory, share_of(missing))


@CODECS
@schema
class BlockFloat(Quantiser):
    r"""Block floating point: whole numbers of ``bits`` bits under an exponent that a block shares.

    .. math:: \hat x = k\,2^{e - b + 1}, \quad k \in \{-2^{b-1}, …, 2^{b-1} - 1\}, \quad
        e = \lfloor\log_2 \max|x|\rfloor + 1

    Rounded to nearest: off by at most half a step of :math:`2^{e-b+1}`, and by up to a step where rounding would
    leave the range. Exponents below :math:`-126` are sent as that.

    Attributes:
        bits: per entry, sign included, 2 … 16.
        block: which entries share an exponent of 8 bits.
        coder: how symbols become bits.

    Payload: exponents plus 126 in a byte each, then symbols :math:`k + 2^{b-1}`.

    Source: Wilkinson 1963, "Rounding Errors in Algebraic Processes", chapter 1; for training Drumond, Lin, Jaggi,
    Falsafi 2018, "Training DNNs with Hybrid Block Floating Point". Differs from it in: nothing.
    """

    kind: ClassVar[str] = "block-float"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 1
    paper: ClassVar[str] = "Drumond et al. 2018, Hybrid Block Floating Point"
    bound: ClassVar[str] = "|error| <= step / 2, a step at the upper end; step = 2**(e - bits + 1)"

    bits: int = 8
    block: Block = 64
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 16, "bits", self.bits, "in 2 … 16", "at 1 bit use kind = 'sign'")
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(1 << self.bits, centre=1 << (self.bits - 1))

    def side_bytes(self, layout: Layout) -> int:
        return count_groups(spans_of(layout, self.block))

    def quantise(self, entries: NDArray[np.float32], ctx: Context) -> tuple[bytes, Symbols]:
        spans = spans_of(ctx.layout, self.block)
        exponents = np.maximum(np.frexp(largest(entries, spans))[1], _LOWEST)
        half = 1 << (self.bits - 1)
        # Powers of two, so that products are exact; up to 2**141 of the least exponent.
        factors = np.ldexp(1.0, self.bits - 1 - exponents)
        if factors.max(initial=0) <= _MAX:
            factors = factors.astype(np.float32)
        symbols = np.empty(entries.size, symbol_dtype(self.bits))
        for piece in pieces(spans):
            levels = piece.rows(entries) * piece.column(factors)
            np.minimum(np.rint(levels, out=levels), half - 1, out=levels)
            piece.rows(symbols)[...] = levels + half
        return (exponents - _LOWEST).astype(np.uint8).tobytes(), symbols

    def restore(self, side: memoryview, symbols: Symbols, ctx: Context) -> NDArray[np.float32]:
        exponents = np.frombuffer(side, np.uint8).astype(np.int32) + _LOWEST
        if exponents.size and int(exponents.max()) > _HIGHEST:
            raise CodecError("an exponent in the payload is above that of any float32; the bytes are damaged")
        steps = np.ldexp(np.float32(1), exponents - (self.bits - 1))
        entries = np.empty(symbols.size, np.float32)
        for piece in pieces(spans_of(ctx.layout, self.block)):
            values = piece.rows(entries)
            values[...] = piece.rows(symbols)
            values -= 1 << (self.bits - 1)
            with np.errstate(over="ignore"):
                values *= piece.column(steps)
        # The lowest level at the highest exponent is -2**128, just beyond float32.
        return np.clip(entries, -_MAX, _MAX, out=entries)


_LOWEST, _HIGHEST = -126, 128
_MAX = np.finfo(np.float32).max
