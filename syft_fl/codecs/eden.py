"""DRIVE and EDEN: rotate, quantise to the best levels of a Gaussian, and scale so that the mean is the vector."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Context, Gaps, Memory, Part, Payload
from syft_fl.codecs.coders.packing import pack, touched_symbols, unpack
from syft_fl.codecs.entries import checked_body, checked_entries
from syft_fl.codecs.erasure import blanked, cut, lost_groups
from syft_fl.codecs.groups import Span, count_groups
from syft_fl.codecs.lloyd_max import lloyd_max_levels
from syft_fl.codecs.nearest import NearestLevel
from syft_fl.codecs.rotation import Rotation, require_rotation_block, rotation_pieces, rotation_spans
from syft_fl.codecs.scales import FLOAT32_MAX, group_widths, l2_norms, read_scales
from syft_fl.keys import Key
from syft_fl.schema import require, schema
from syft_fl.vectors import Vector

__all__ = ["Drive", "Eden"]


@CODECS
@schema
class Eden:
    r"""EDEN: rotate, quantise to the best levels of a Gaussian, and scale so that the mean over rotations is the
    vector.

    .. math:: \hat x = R^{-1}\bigl(S\,Q(\eta R x)\bigr), \quad \eta = \sqrt B/\|x\|, \quad
        S = \frac{\|x\|^2}{\langle Rx, Q\rangle}

    per block of :math:`B`. Unbiased over uniform rotations, with :math:`E\|\hat x - x\|^2 \to \|x\|^2 D_b/(1 - D_b)`,
    :math:`D_b` the error of the Lloyd–Max quantiser: 0.5708, 0.1331, 0.0358, 0.0096 of :math:`\|x\|^2` at 1 to 4
    bits. With ``scale = "least-error"``, :math:`S = \langle Rx, Q\rangle/\|Q\|^2` gives :math:`D_b` itself, and a
    bias. A Hadamard rotation is as good as a uniform one on spread-out vectors; on a sparse one it is not (of a
    single entry not at all: that arrives exactly at 1 bit).

    Fractional rates: of each block as many entries take the next higher number of bits as are needed for the mean;
    below 1 bit the others are not sent at all. Which ones is drawn from the message's key.

    Attributes:
        bits: per entry, above 0 … 8.
        scale: ``"unbiased"`` or ``"least-error"``.
        block: entries rotated together, a power of two; each block costs a scale of 32 bits.

    Payload: float32 scales, then symbols of ``ceil(bits)`` bits, then those of ``floor(bits)``. Of what came in part,
    coordinates with a bit in a gap are 0 before the rotation is undone, and blocks without their scale are. Of
    :math:`n` coordinates of a block :math:`r` came: over rotations, every entry then arrives as :math:`r/n` of itself,
    whichever these are, so that dividing by this share leaves the codec unbiased. At fractional rates a coordinate
    counts as much of the share as its quantiser keeps, :math:`1 - D_b`.

    Source: Vargaftik, Ben Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher 2022, "EDEN: Communication-Efficient and
    Robust Distributed Mean Estimation for Federated Learning", section 3. Differs from it in: the shorter blocks at
    the end; entries of fractional rates are mixed within a block.
    """

    kind: ClassVar[str] = "eden"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Vargaftik et al. 2022, EDEN, section 3"
    bound: ClassVar[str] = "unbiased over rotations; error D_b / (1 - D_b) |x|**2, D_b that of Lloyd–Max"

    bits: float = 2.0
    scale: Literal["unbiased", "least-error"] = "unbiased"
    block: int = 8192

    def __post_init__(self) -> None:
        require(
            0 < self.bits <= 8, "bits", self.bits, "above 0 and at most 8", "beyond, use kind = 'uniform'"
        )
        require_rotation_block(self.block)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        return _encode(checked_entries(x, ctx), self.bits, self.block, self.scale, ctx), ctx.memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        return _decode(payload, self.bits, self.block, ctx, self.kind).vector, ctx.memory

    @property
    def erasable(self) -> bool:
        return True

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        return _decode(payload, self.bits, self.block, ctx, self.kind, gaps)


@CODECS
@schema
class Drive:
    r"""DRIVE: the signs of a rotated vector, one bit an entry.

    .. math:: \hat x = R^{-1}\bigl(S \operatorname{sgn}(Rx)\bigr), \quad S = \frac{\|x\|^2}{\|Rx\|_1}
        \text{ (unbiased)} \quad\text{or}\quad \frac{\|Rx\|_1}{d} \text{ (least error)}

    The error tends to :math:`\pi/2 - 1` and :math:`1 - 2/\pi` of :math:`\|x\|^2`. It is :class:`Eden` at 1 bit.

    Attributes:
        scale, block: as in :class:`Eden`.

    Payload: float32 scales, then signs; what came in part as in :class:`Eden`.

    Source: Vargaftik, Ben Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher 2021, "DRIVE: One-bit Distributed Mean
    Estimation", algorithm 1. Differs from it in: the shorter blocks at the end.
    """

    kind: ClassVar[str] = "drive"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Vargaftik et al. 2021, DRIVE, algorithm 1"
    bound: ClassVar[str] = (
        "unbiased over rotations with error (pi/2 - 1) |x|**2; or biased with (1 - 2/pi) |x|**2"
    )

    scale: Literal["unbiased", "least-error"] = "unbiased"
    block: int = 8192

    def __post_init__(self) -> None:
        require_rotation_block(self.block)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        return _encode(checked_entries(x, ctx), 1.0, self.block, self.scale, ctx), ctx.memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        return _decode(payload, 1.0, self.block, ctx, self.kind).vector, ctx.memory

    @property
    def erasable(self) -> bool:
        return True

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        return _decode(payload, 1.0, self.block, ctx, self.kind, gaps)


def _encode(entries: NDArray[np.float32], bits: float, block: int, scale: str, ctx: Context) -> Payload:
    spans = rotation_spans(entries.size, block)
    pieces, rates = rotation_pieces(spans), _rates(bits)
    norms = l2_norms(entries, spans)
    divisors = np.where(norms > 0, norms, 1)
    rotation, shuffle = Rotation(ctx.key), _Shuffle(ctx.key, rates)
    symbols = [np.empty(rate.count(spans), np.uint8) for rate in rates]
    rooms = [rate.parts(pieces, of) for rate, of in zip(rates, symbols, strict=True)]
    inner, energies = np.zeros((2, norms.size))
    for piece in pieces:
        # The norm of a block is now the root of its width: entries have variance 1.
        rotated = shuffle.mix(rotation.forward(piece.rows(entries), piece.column(divisors)))
        for rate, room in zip(rates, rooms, strict=True):
            part = rotated[:, rate.columns(piece.width)]
            chosen = rate.nearest(part)
            next(room)[...] = chosen
            levels = rate.levels.take(chosen)
            piece.column(inner)[:, 0] += _dots(part, levels)
            if scale == "least-error":
                piece.column(energies)[:, 0] += _dots(levels, levels)
    widths = group_widths(spans)
    above, below = (inner, energies) if scale == "least-error" else (widths, inner)
    factors = above / np.where(below > 0, below, np.inf) * norms / np.sqrt(widths)
    body = np.minimum(factors, FLOAT32_MAX).astype("<f4").tobytes()
    body += b"".join(pack(of, rate.bits) for rate, of in zip(rates, symbols, strict=True))
    return Payload(body, _payload_bits(spans, rates))


def _dots(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """[blocks] inner products in double precision; not by BLAS, whose sums depend on the number of threads."""
    found: NDArray[np.float64] = np.einsum("ij,ij->i", first, second, dtype=np.float64)
    return found


def _decode(payload: Payload, bits: float, block: int, ctx: Context, kind: str, gaps: Gaps = ()) -> Part:
    spans = rotation_spans(ctx.layout.length, block)
    pieces, rates = rotation_pieces(spans), _rates(bits)
    body = checked_body(payload, _payload_bits(spans, rates), kind)
    if gaps:
        body = memoryview(blanked(body, gaps))
    stop = 4 * count_groups(spans)
    scales = read_scales(body[:stop], "scale of a block")
    lost = lost_groups(cut(gaps, 0, 8 * stop), spans, number_bytes=4, numbers=1)
    scales = np.where(lost, np.float32(0), scales)
    rooms, missing = [], []
    for rate in rates:
        count = rate.count(spans)
        start, stop = stop, stop + -(-rate.bits * count // 8)
        rooms.append(rate.parts(pieces, unpack(body[start:stop], rate.bits, count=count)))
        touched = touched_symbols(cut(gaps, 8 * start, 8 * start + rate.bits * count), rate.bits, count=count)
        missing.append(rate.parts(pieces, touched))
    rotation, shuffle = Rotation(ctx.key), _Shuffle(ctx.key, rates)
    entries = np.empty(ctx.layout.length, np.float32)
    came = sent = 0.0
    for piece in pieces:
        values = piece.rows(entries)
        levels = np.zeros(values.shape, np.float32)
        for rate, room, missed in zip(rates, rooms, missing, strict=True):
            chosen = (rate.levels * piece.width**-0.5).astype(np.float32).take(next(room))
            if gaps:
                there = ~(next(missed) | piece.column(lost))
                chosen *= there
                came += rate.kept * np.count_nonzero(there)
                sent += rate.kept * there.size
            levels[:, rate.columns(piece.width)] = chosen
        with np.errstate(over="ignore"):
            np.multiply(rotation.back(shuffle.unmix(levels)), piece.column(scales), out=values)
        np.clip(values, -FLOAT32_MAX, FLOAT32_MAX, out=values)
    return Part(torch.from_numpy(entries), ctx.memory, came / sent if sent else 1.0)


def _payload_bits(spans: list[Span], rates: list[_Rate]) -> int:
    """Scales, and the streams: all but the last one end with a byte."""
    used = 32 * count_groups(spans)
    for rate in rates:
        used = -(-used // 8) * 8 + rate.bits * rate.count(spans)
    return used


class _Rate(NamedTuple):
    """The entries that are sent with one number of bits: some columns of each block, once these are mixed.

    Attributes:
        bits: an entry, 1 … 8.
        first, end: of the columns, as shares of the width.
    """

    bits: int
    first: float
    end: float

    @property
    def levels(self) -> NDArray[np.float32]:
        return lloyd_max_levels("gaussian", self.bits)[0].astype(np.float32)

    @property
    def nearest(self) -> NearestLevel:
        return _nearest(self.bits)

    @property
    def kept(self) -> float:
        """Mean of a Gaussian entry times its level: what the quantiser keeps of the variance, 1 - D_b."""
        levels, chances = lloyd_max_levels("gaussian", self.bits)
        return float(np.sum(chances * levels**2))

    def columns(self, width: int) -> slice:
        """Which ones, of blocks of ``width``."""
        return slice(round(self.first * width), round(self.end * width))

    def parts(self, pieces: list[Span], symbols: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """[blocks, columns] those of one piece after the other; views."""
        stop = 0
        for piece in pieces:
            blocks, columns = (piece.stop - piece.start) // piece.width, self.columns(piece.width)
            start, stop = stop, stop + blocks * (columns.stop - columns.start)
            yield symbols[start:stop].reshape(blocks, -1)

    def count(self, spans: list[Span]) -> int:
        """Entries in all."""
        columns = [self.columns(span.width) for span in spans]
        return sum(
            (span.stop - span.start) // span.width * (of.stop - of.start)
            for span, of in zip(spans, columns, strict=True)
        )


def _rates(bits: float) -> list[_Rate]:
    """The higher one first; no bits are no rate."""
    floor = math.floor(bits)
    upper = bits - floor
    rates = [_Rate(floor + 1, 0.0, upper), _Rate(floor, upper, 1.0)]
    return [rate for rate in rates if rate.bits and rate.first < rate.end]


@functools.cache
def _nearest(bits: int) -> NearestLevel:
    return NearestLevel(lloyd_max_levels("gaussian", bits)[0])


class _Shuffle:
    """Columns in an order drawn from the message's key, so that which ones take the higher rate is chance.

    Args:
        key: the message's.
        rates: where there is but one for all, columns stay where they are.
    """

    def __init__(self, key: Key, rates: list[_Rate]) -> None:
        self._needed = not (len(rates) == 1 and rates[0].end - rates[0].first == 1)
        # An affine map by an odd number permutes a power of two.
        self._odd = np.uint64(2 * (key / "rates" / "factor").integer(40) + 1)
        self._offset = np.uint64((key / "rates" / "offset").integer(40))
        self._orders: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

    def mix(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """[blocks, width] with the columns in that order."""
        return rows.take(self._order(rows.shape[1])[0], axis=1) if self._needed else rows

    def unmix(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """[blocks, width] with the columns as they were."""
        return rows.take(self._order(rows.shape[1])[1], axis=1) if self._needed else rows

    def _order(self, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Which column comes at each place, and at which place each column."""
        if width not in self._orders:
            mapped = np.arange(width, dtype=np.uint64) * self._odd + self._offset
            places = (mapped % np.uint64(width)).astype(np.intp)
            self._orders[width] = np.argsort(places), places
        return self._orders[width]
