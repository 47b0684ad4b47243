r"""Lattices of good quantisers: nearest points, uniform dither on the cell, and points as whole numbers.

=============  =========  ==================================  =============================  ===============
name           dimension  points, in steps of the axes        second moment :math:`G`        covering radius
=============  =========  ==================================  =============================  ===============
``cubic``      1          whole numbers                       1/12 = 0.083333                0.5
``hexagonal``  2          of an even sum; axes as √3 to 1     5/(36 √3) = 0.080188           0.6204
``d4``         4          of an even sum                      13/(120 √2) = 0.076603         0.8409
``e8``         8          of an even sum, and those plus 1/2  929/12960 = 0.071682           1
=============  =========  ==================================  =============================  ===============

All are scaled to cells of volume 1, so that at one cell size they take about the same bits, and the mean square error
of each entry is :math:`G` times the squared cell size: E8 is better than the cubic lattice by 0.65 dB. (No lattice is
better than :math:`1/(2\pi e)`, by 1.53 dB.)

Vectors are columns: an array [dimension, vectors] has each axis in a row, and coordinates count steps of their axis.

Source: Conway, Sloane 1982, "Fast quantizing and decoding algorithms for lattice quantizers and codes"; the moments:
Conway, Sloane 1982, "Voronoi regions of lattices, second moments of polytopes, and quantization". Differs from it in:
the two halves of E8 are compared without making both points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LATTICES", "Integers", "Lattice", "LatticeName"]

LatticeName = Literal["cubic", "hexagonal", "d4", "e8"]

Columns = NDArray[np.float32]
"""[dimension, vectors] coordinates, each in steps of its axis."""

_WHOLE = np.float32(1.5 * 2**23)
"""Added to a number below 2**22, leaves no bits for a fraction: the last one is that of the rounded number."""

_SIGN = np.int32(-(2**31))


class Integers(NamedTuple):
    """Points as whole numbers that no longer depend on each other: all that must be sent."""

    main: NDArray[np.int16]
    """[axes, vectors] of all axes, or of all but the last where sums are even."""
    last: NDArray[np.int16] | None
    """[vectors] of the last axis, whose parity the others tell; for E8 also which half the point is of."""


@dataclass(frozen=True)
class Lattice:
    """One lattice, with cells of volume 1.

    Attributes:
        axes: [dimension] step of the coordinates on each axis.
        even: whether the sum of coordinates must be even.
        halves: whether there are also all these points plus 1/2 on each axis.
        second_moment: mean square of one component of a vector uniform on the cell.
        radius: length of the longest vector in the cell.
    """

    axes: tuple[float, ...]
    even: bool
    halves: bool
    second_moment: float
    radius: float

    @property
    def dimension(self) -> int:
        """Entries that are quantised together."""
        return len(self.axes)

    def nearest(self, at: Columns) -> Columns:
        """The nearest point to each vector.

        Args:
            at: [dimension, vectors] magnitudes up to 2**21. Not changed.
        """
        sums = at + _WHOLE
        points: Columns = sums - _WHOLE
        if not self.even:
            return points
        offsets = at - points
        far = np.abs(offsets)
        odd = np.bitwise_xor.reduce(sums.view(np.int32), axis=0) & 1 != 0
        if self.halves:
            return _nearest_of_halves(points, offsets, far, odd)
        # Where the sum is odd one coordinate goes to the second nearest number: the one that this costs least.
        price = 0.5 - far
        price *= np.square(self.axes, dtype=np.float32)[:, None]
        least = price.min(axis=0)
        least = np.where(odd, least, np.float32(-1))
        moved = _first_of_each(price == least, int(np.count_nonzero(odd)))
        points += _mirrored(moved.astype(np.float32), offsets)
        return points

    def dither(self, words: np.random.BitGenerator, vectors: int) -> Columns:
        """[dimension, vectors] uniform on the cell around 0, from 16 random bits for each axis.

        The draws are on a grid and all arithmetic on them is exact, so that both ends have the same.
        """
        size = self.dimension * vectors
        draws = words.random_raw(-(-size // 4)).view(np.uint16)[:size].astype(np.float32)
        draws += np.float32(0.5 - 2.0**15)
        draws *= np.float32(2.0**-16)
        box = draws.reshape(self.dimension, vectors)
        if self.even:
            # A box of 1 x … x 1 x 2 and its translates by points of an even sum fill the space once.
            box[-1] *= 2
            box -= self.nearest(box)
        return box

    def integers(self, points: Columns, dither: Columns) -> Integers:
        r"""Points as numbers around 0, given the dither that was added before the point was sought.

        What arrives at the other end is the point less the dither, :math:`k + r` with a whole :math:`k` and a rest
        :math:`r` that both ends know. Where it is negative, :math:`-k` is sent: a source symmetric around 0 then has a
        narrower histogram, as nearly as if it were one histogram for each :math:`|r|`.
        """
        if not self.even:
            return Integers(_mirrored(points, -dither).astype(np.int16), None)
        half = _halves_of(points) if self.halves else None
        shift = _shift(half, dither)
        main = _mirrored(points[:-1] - shift, shift - dither[:-1]).astype(np.int16)
        offset = np.float32(0.5) * half if half is not None else np.float32(0)
        whole = points[-1] - offset
        parity = (whole.astype(np.int32) & 1).astype(np.float32)
        rest, steps = _last_rest(parity + offset, dither[-1])
        last = _mirrored((whole - parity) * np.float32(0.5) + steps, rest).astype(np.int16)
        return Integers(main, last if half is None else 2 * last + half)

    def points(self, sent: Integers, dither: Columns) -> Columns:
        """The points of :meth:`integers`."""
        if sent.last is None:
            return _mirrored(sent.main.astype(np.float32), -dither)
        half = sent.last & 1 if self.halves else None
        last = sent.last >> 1 if self.halves else sent.last
        points = np.empty(dither.shape, np.float32)
        shift = _shift(half, dither)
        main = _mirrored(sent.main.astype(np.float32), shift - dither[:-1])
        np.add(main, shift, out=points[:-1])
        # The parity of the sum of whole numbers, and 1 for each half that was taken down instead of up.
        odd = np.bitwise_xor.reduce(sent.main, axis=0) & 1
        if half is not None:
            odd ^= half & (np.bitwise_xor.reduce(dither[:-1].view(np.int32), axis=0) < 0)
        offset = odd.astype(np.float32)
        if half is not None:
            offset += np.float32(0.5) * half
        rest, steps = _last_rest(offset, dither[-1])
        points[-1] = 2 * (_mirrored(last.astype(np.float32), rest) - steps) + offset
        return points


def _nearest_of_halves(points: Columns, offsets: Columns, far: Columns, odd: NDArray[np.bool_]) -> Columns:
    r"""The nearest point to each vector among those of an even sum, and those plus 1/2.

    Distances :math:`a` to whole numbers are :math:`1/2 - a` to the others, so with eight axes the squared distances
    differ by :math:`2 - \sum a`; and by :math:`1 - 2\max a` and :math:`2\min a` where a sum is odd and the farthest
    coordinate must move on.

    Args:
        points: [8, vectors] whole numbers next to the vectors; overwritten with the result.
        offsets, far: of the vectors from these, and their magnitudes.
        odd: [vectors] whether the sum is odd.
    """
    least, most = far.min(axis=0), far.max(axis=0)
    # The half beside a whole number is above it or below it, and it counts as the number below.
    odd_half = odd ^ (np.bitwise_xor.reduce(offsets.view(np.int32), axis=0) < 0)
    gain = far.sum(axis=0)
    gain -= 2
    gain -= 2 * least * odd_half
    gain += (1 - 2 * most) * odd
    half = gain > 0
    moves = np.where(half, odd_half, odd)
    which = np.where(moves, np.where(half, least, most), np.float32(-1))
    moved = _first_of_each(far == which, int(np.count_nonzero(moves)))
    # Towards the vector and on past it by 1; or by 1/2, and the moved one by 1/2 to the other side.
    steps = np.multiply(moved, 1 - 2 * half.astype(np.float32))
    steps += np.float32(0.5) * half
    points += _mirrored(steps, offsets)
    return points


def _first_of_each(mask: NDArray[np.bool_], columns: int) -> NDArray[np.bool_]:
    """[axes, vectors] the first true in each column, of which ``columns`` have one or more; may overwrite the mask."""
    if np.count_nonzero(mask) > columns:
        several = np.flatnonzero(np.count_nonzero(mask, axis=0) > 1)
        first = mask[:, several].argmax(axis=0)
        mask[:, several] = np.arange(mask.shape[0])[:, None] == first
    return mask


def _mirrored(numbers: Columns, rest: Columns) -> Columns:
    """Whole numbers, negated where the rest is negative; again, and they are as before."""
    signs = rest.view(np.int32) & _SIGN
    signs ^= numbers.view(np.int32)
    return signs.view(np.float32)


def _halves_of(points: Columns) -> NDArray[np.int16]:
    """[vectors] 1 where the coordinates are halves, else 0."""
    half: NDArray[np.int16] = (np.rint(points[0]) != points[0]).astype(np.int16)
    return half


def _shift(half: NDArray[np.int16] | None, dither: Columns) -> Any:
    """[axes, vectors] what is not whole in a point's coordinates: 0, or of ±1/2 what leaves the lesser rest."""
    return np.float32(0) if half is None else _mirrored(np.float32(0.5) * half, dither[:-1])


def _last_rest(offset: Columns, dither: NDArray[np.float32]) -> tuple[Columns, Columns]:
    """Of the last axis: what both ends know of its coordinate, within ±1, and how many steps of two that leaves."""
    rest = offset - dither
    steps: Columns = np.rint(rest * np.float32(0.5))
    rest -= 2 * steps
    return rest, steps


_HEXAGONAL = math.sqrt(2 * math.sqrt(3))  # edge of a square as large as the cell of generator [2 0; 1 √3]

LATTICES: dict[LatticeName, Lattice] = {
    "cubic": Lattice((1.0,), even=False, halves=False, second_moment=1 / 12, radius=0.5),
    "hexagonal": Lattice(
        (math.sqrt(3) / _HEXAGONAL, 1 / _HEXAGONAL),
        even=True,
        halves=False,
        second_moment=5 / (36 * math.sqrt(3)),
        radius=2 / math.sqrt(3) / _HEXAGONAL,
    ),
    "d4": Lattice(
        (2**-0.25,) * 4, even=True, halves=False, second_moment=13 / (120 * math.sqrt(2)), radius=2**-0.25
    ),
    "e8": Lattice((1.0,) * 8, even=True, halves=True, second_moment=929 / 12960, radius=1.0),
}
"""By name."""
