"""UVeQFed: entries quantised several at a time, to the points of a lattice, with a dither that both ends know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Context, Memory, Payload
from syft_fl.codecs.coders import ANS, CODERS, Alphabet, Coder, Symbols, symbol_dtype
from syft_fl.codecs.entries import checked_body, checked_entries
from syft_fl.codecs.groups import Block, Span, count_groups, pieces, require_block, spans_of
from syft_fl.codecs.lattices import LATTICES, Integers, Lattice, LatticeName
from syft_fl.codecs.scales import FLOAT32_MAX, group_widths, l2_norms, largest, read_scales
from syft_fl.errors import CodecError
from syft_fl.schema import require, schema
from syft_fl.vectors import Vector

__all__ = ["UVeQFed"]

_REACH = 2**14
"""No entry is more cells than this from 0: coordinates then fit in 16 bits, and keep ten bits of their fraction."""

_LEAST = np.float32(2.0**-149)
_PIECE_ENTRIES = 2**16  # the dozen temporaries of a quarter of a megabyte stay near the processor


@CODECS
@schema
class UVeQFed:
    r"""Universal vector quantisation: the nearest lattice point of entries and dither, entropy coded.

    .. math:: \hat x = \Delta\left(Q_\Lambda(x/\Delta + u) - u\right), \quad u \sim U(\text{cell of } \Lambda), \quad
        \Delta = \text{step} \cdot \text{rms of the group}

    with the lattice scaled to cells of volume 1. The error is uniform on :math:`-\Delta` times the cell whatever
    :math:`x` is: unbiased, with variance exactly :math:`G\Delta^2` for each entry, :math:`G` the lattice's second
    moment (0.0833, 0.0802, 0.0766, 0.0717), and never longer than :math:`\Delta` times its covering radius (0.5 an
    entry, 0.62, 0.84, 1 for 2, 4, 8 entries together). Nothing clips: where an entry lies beyond 16384 cells, the
    cells of its group grow until it does not.

    Attributes:
        lattice: ``"cubic"`` (one entry at a time), ``"hexagonal"`` (the paper's), ``"d4"`` or ``"e8"``.
        step: edge of a cube as large as a cell, in root mean squares of the group; 2**-10 … 64. Gaussian entries take
            about :math:`\tfrac12\log_2(2\pi e(1 + G\,\text{step}^2)) - \log_2\text{step}` bits whatever the lattice:
            3.1 at 0.5, 2.1 at 1, 1.3 at 2. Half the step costs one bit more.
        block: which entries share a scale of 32 bits.
        coder: how whole numbers become bits. Their alphabet follows the vector, so a model that must be known
            beforehand (``"static"``) is refused.

    Payload: float32 cells :math:`\Delta`; the largest of the lattice's whole numbers in 16 bits; the numbers. Where the
    last axis has numbers of its own (:class:`~syft_fl.codecs.lattices.Integers`: not ``"cubic"``), the cells are
    followed by their largest in 16 bits and the bits that the others take in 32; they come last, after a whole byte.

    Entries that stand together in a vector for the lattice are those of one place in the 2, 4 or 8 equal parts of a
    stretch of 65536 entries; a last stretch is filled up with zeros.

    Source: Shlezinger, Chen, Eldar, Poor, Cui 2021, "UVeQFed: Universal Vector Quantization for Federated Learning",
    section III. Differs from it in: the scale is the root mean square of a group, where theirs is a multiple of the
    vector's norm; nothing overloads; lattices in 4 and 8 dimensions; whole numbers are mirrored by what both ends know
    of the dither, which brings them within 0.025 bit an entry, from 2 bits on, of coding conditioned on the dither.
    """

    kind: ClassVar[str] = "uveqfed"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = (
        "Shlezinger et al. 2021, UVeQFed: Universal Vector Quantization for Federated Learning"
    )
    bound: ClassVar[str] = (
        "unbiased; variance G cell**2 an entry whatever the input; |error| <= radius * cell"
    )

    lattice: LatticeName = "hexagonal"
    step: float = 1.0
    block: Block = "tensor"
    coder: Annotated[Coder, CODERS] = ANS()

    def __post_init__(self) -> None:
        require(
            2.0**-10 <= self.step <= 64,
            "step",
            self.step,
            "in 2**-10 … 64",
            "1 takes about 2.1 bits an entry",
        )
        require_block(self.block)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        entries = checked_entries(x, ctx)
        if not entries.size:
            return Payload(b"", 0), ctx.memory
        lattice = LATTICES[self.lattice]
        spans = spans_of(ctx.layout, self.block)
        cells = self._cells(entries, spans)
        units = _divided(entries, cells, spans, lattice)
        words = (ctx.key / "dither").numpy().bit_generator
        vectors = units.size // lattice.dimension
        sent = _empty(lattice, vectors)
        for part in _parts(vectors, lattice):
            at = _rows(units, part, lattice.dimension) / _column(lattice)
            dither = lattice.dither(words, part.stop - part.start)
            found = lattice.integers(lattice.nearest(np.add(at, dither, out=at)), dither)
            _rows(sent.main, part, found.main.shape[0])[...] = found.main
            if sent.last is not None and found.last is not None:
                sent.last[part] = found.last
        return _written(cells, sent, self.coder), ctx.memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        length = ctx.layout.length
        if not length:
            checked_body(payload, 0, self.kind)
            return torch.empty(0, dtype=torch.float32), ctx.memory
        lattice = LATTICES[self.lattice]
        spans = spans_of(ctx.layout, self.block)
        vectors = -(-length // lattice.dimension)
        cells, (main, last) = _read(payload, count_groups(spans), lattice, vectors, self.coder)
        words = (ctx.key / "dither").numpy().bit_generator
        entries = np.empty(vectors * lattice.dimension, np.float32)
        for part in _parts(vectors, lattice):
            dither = lattice.dither(words, part.stop - part.start)
            rows = _rows(main, part, main.size // vectors)
            points = lattice.points(Integers(rows, None if last is None else last[part]), dither)
            points -= dither
            np.multiply(points, _column(lattice), out=_rows(entries, part, lattice.dimension))
        entries = entries[:length]
        for piece in pieces(spans):
            values = piece.rows(entries)
            with np.errstate(over="ignore"):
                values *= piece.column(cells)
            np.clip(values, -FLOAT32_MAX, FLOAT32_MAX, out=values)
        return torch.from_numpy(entries), ctx.memory

    def _cells(self, entries: NDArray[np.float32], spans: list[Span]) -> NDArray[np.float32]:
        """[groups] edges of a cube as large as a cell; 0 where all entries are."""
        rms = l2_norms(entries, spans) / np.sqrt(group_widths(spans))
        tops = largest(entries, spans).astype(np.float64)
        cells = np.minimum(np.maximum(self.step * rms, tops / _REACH), FLOAT32_MAX).astype(np.float32)
        return np.where(tops > 0, np.maximum(cells, _LEAST), 0).astype(np.float32)


def _divided(
    entries: NDArray[np.float32], cells: NDArray[np.float32], spans: list[Span], lattice: Lattice
) -> NDArray[np.float32]:
    """[vectors * dimension] entries in units of their cells, and zeros to fill up the last vectors."""
    units = np.zeros(-(-entries.size // lattice.dimension) * lattice.dimension, np.float32)
    divisors = np.where(cells > 0, cells, 1)
    for piece in pieces(spans):
        np.divide(piece.rows(entries), piece.column(divisors), out=piece.rows(units))
    return units


def _column(lattice: Lattice) -> NDArray[np.float32]:
    return np.array(lattice.axes, np.float32)[:, None]


def _parts(vectors: int, lattice: Lattice) -> Iterator[slice]:
    step = _PIECE_ENTRIES // lattice.dimension
    for start in range(0, vectors, step):
        yield slice(start, min(start + step, vectors))


def _rows(numbers: NDArray[Any], part: slice, axes: int) -> NDArray[Any]:
    """The part's vectors as [axes, vectors]; a view."""
    return numbers[part.start * axes : part.stop * axes].reshape(axes, -1)


def _empty(lattice: Lattice, vectors: int) -> Integers:
    """Room for the whole numbers of so many vectors, flat."""
    if not lattice.even:
        return Integers(np.empty(lattice.dimension * vectors, np.int16), None)
    return Integers(np.empty((lattice.dimension - 1) * vectors, np.int16), np.empty(vectors, np.int16))


def _written(cells: NDArray[np.float32], sent: Integers, coder: Coder) -> Payload:
    scales = cells.astype("<f4", copy=False).tobytes()
    top, main = _write_numbers(sent.main, coder)
    if sent.last is None:
        return Payload(scales + top + main.body, 8 * (len(scales) + len(top)) + main.bits)
    last_top, last = _write_numbers(sent.last, coder)
    before = b"".join((scales, last_top, main.bits.to_bytes(4, "little"), top, main.body))
    return Payload(before + last.body, 8 * len(before) + last.bits)


def _write_numbers(numbers: NDArray[np.int16], coder: Coder) -> tuple[bytes, Payload]:
    """The largest magnitude in two bytes, and the numbers as symbols of the alphabet that it makes."""
    top = max(int(numbers.max()), -int(numbers.min()))
    symbols: Symbols = (numbers + np.int16(top)).view(np.uint16).astype(symbol_dtype((2 * top).bit_length()))
    return top.to_bytes(2, "little"), coder.write(symbols, _alphabet(top))


def _alphabet(top: int) -> Alphabet:
    return Alphabet(2 * top + 1, centre=top)


def _read(
    payload: Payload, groups: int, lattice: Lattice, vectors: int, coder: Coder
) -> tuple[NDArray[np.float32], Integers]:
    """Cells and whole numbers that :func:`_written` wrote."""
    body = memoryview(payload.body)
    side = 4 * groups + (8 if lattice.even else 2)
    if payload.bits < 8 * side:
        raise CodecError(
            f"payload of {payload.bits} bits ends within the {side} bytes of cells and sizes; "
            "both ends must have the same codec settings and the same architecture"
        )
    cells = read_scales(body[: 4 * groups], "cell of a group")
    last, bits = None, payload.bits - 8 * side
    if lattice.even:
        main_bits = int.from_bytes(body[side - 6 : side - 2], "little")
        main_end = side + -(-main_bits // 8)
        if payload.bits < 8 * main_end:
            raise CodecError(f"{bits} bits can't hold numbers of {main_bits} bits; the bytes are damaged")
        last_bits, bits = payload.bits - 8 * main_end, main_bits
        last = _read_numbers(body[side - 8 : side - 6], body[main_end:], last_bits, vectors, coder)
        body = body[:main_end]
    count = vectors * (lattice.dimension - lattice.even)
    main = _read_numbers(body[side - 2 : side], body[side:], bits, count, coder)
    return cells, Integers(main, last)


def _read_numbers(
    size: memoryview, body: memoryview, bits: int, count: int, coder: Coder
) -> NDArray[np.int16]:
    top = int.from_bytes(size, "little")
    if top >= 2**15:
        raise CodecError(f"numbers up to {top} in the payload are not below 32768; the bytes are damaged")
    symbols = coder.read(body, bits, _alphabet(top), count=count)
    numbers: NDArray[np.int16] = symbols.astype(np.uint16).view(np.int16)
    numbers -= np.int16(top)
    return numbers
