"""Lloyd–Max: the levels that make the mean square error least, for a law or for the data themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import scipy  # its parts load when they are first used
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, Symbols
from syft_fl.codecs.entries import refuse_damaged
from syft_fl.codecs.groups import Block, count_groups, pieces, require_block, spans_of
from syft_fl.codecs.nearest import NearestLevel
from syft_fl.codecs.quantiser import Quantiser
from syft_fl.codecs.scales import FLOAT32_MAX, group_sums, group_widths, read_scales
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout

__all__ = ["LloydMax", "lloyd_max_levels"]

Numbers = NDArray[np.float64]

_LLOYD_STEPS, _NEWTON_STEPS = 50, 20
_FIT_ROUNDS = 100
_FIT_KNOTS = 1024


@CODECS
@schema
class LloydMax(Quantiser):
    r"""The :math:`2^b` levels of least mean square error, under a scale for each group; biased towards 0.

    Levels :math:`y_k` and borders :math:`t_k` satisfy :math:`t_k = (y_{k-1} + y_k)/2` and
    :math:`y_k = E[x \mid t_k < x < t_{k+1}]`. For a unit Gaussian the error is 0.3634, 0.1175, 0.03455, 0.009501 at 1
    to 4 bits, times the group's variance.

    Attributes:
        bits: per entry, 1 … 8.
        law: ``"gaussian"`` or ``"laplace"``: levels known to both ends, scaled by each group's root mean
            square (entries are taken to have mean 0, as updates nearly do); ``"fitted"``: levels fitted to this
            very vector, and sent: :math:`32 \cdot 2^b` bits more.
        block: which entries share a scale of 32 bits.
        coder: how symbols become bits; ``range`` with a static model knows the law's probabilities.

    Payload: float32 scales, float32 levels (if fitted), then symbols.

    Source: Max 1960, "Quantizing for Minimum Distortion"; Lloyd 1982, "Least Squares Quantization in PCM", method I.
    Differs from it in: of two starts the better is taken, one with cells of as many entries each and one with cells of
    about the same error (Panter, Dite 1951), as the first alone ends far from the best levels where there are many;
    a fit ends after 100 rounds.
    """

    kind: ClassVar[str] = "lloyd-max"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Max 1960, Quantizing for Minimum Distortion"
    bound: ClassVar[str] = (
        "mean square error 0.3634, 0.1175, 0.03455, 0.009501 of a Gaussian's variance at 1 … 4 bits"
    )

    bits: int = 4
    law: Literal["gaussian", "laplace", "fitted"] = "gaussian"
    block: Block = "tensor"
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require(1 <= self.bits <= 8, "bits", self.bits, "in 1 … 8", "beyond, use kind = 'uniform'")
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        size = 1 << self.bits
        if self.law == "fitted":
            return Alphabet(size, centre=size // 2)
        return Alphabet(size, centre=size // 2, prior=lloyd_max_levels(self.law, self.bits)[1])

    def side_bytes(self, layout: Layout) -> int:
        levels = 4 << self.bits if self.law == "fitted" and layout.length else 0
        return 4 * count_groups(spans_of(layout, self.block)) + levels

    def quantise(self, entries: NDArray[np.float32], ctx: Context) -> tuple[bytes, Symbols]:
        spans = spans_of(ctx.layout, self.block)
        squares = group_sums(np.square(entries, dtype=np.float64), spans)
        scales = np.minimum(np.sqrt(squares / group_widths(spans)), FLOAT32_MAX).astype(np.float32)
        divisors = np.where(scales > 0, scales, 1)
        side = scales.astype("<f4", copy=False).tobytes()
        if self.law == "fitted" and entries.size:
            parts = np.empty(entries.size, np.float32)
            for piece in pieces(spans):
                np.divide(piece.rows(entries), piece.column(divisors), out=piece.rows(parts))
            levels = _fitted(parts, self.bits)
            side += levels.astype("<f4", copy=False).tobytes()
            nearest = NearestLevel(levels)
        else:
            nearest = _nearest_of(self.law, self.bits)
        symbols = np.empty(entries.size, np.uint8)
        for piece in pieces(spans):
            piece.rows(symbols)[...] = nearest(piece.rows(entries) / piece.column(divisors))
        return side, symbols

    def restore(self, side: memoryview, symbols: Symbols, ctx: Context) -> NDArray[np.float32]:
        spans = spans_of(ctx.layout, self.block)
        groups = count_groups(spans)
        scales = read_scales(side[: 4 * groups], "scale of a group")
        if self.law == "fitted" and symbols.size:
            levels = np.frombuffer(side[4 * groups :], "<f4").astype(np.float32)
            refuse_damaged(levels, "a level")
        else:
            levels = _levels(self.law, self.bits)
        entries = levels.take(symbols)
        for piece in pieces(spans):
            rows = piece.rows(entries)
            with np.errstate(over="ignore"):
                rows *= piece.column(scales)
        return np.clip(entries, -FLOAT32_MAX, FLOAT32_MAX, out=entries)


@functools.cache
def lloyd_max_levels(law: str, bits: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels of least mean square error for a law of mean 0 and variance 1.

    Args:
        law: ``"gaussian"`` or ``"laplace"``.
        bits: 1 … 8.

    Returns:
        [2**bits] levels, rising, and [2**bits] probabilities of their cells.
    """
    # By symmetry, the positive half; started where the density of good levels goes as the cube root of the law's.
    half = 1 << (bits - 1)
    quantiles = (np.arange(half) + 0.5) / half
    levels = np.sqrt(3) * np.sqrt(2) * scipy.special.erfinv(quantiles)
    if law == "laplace":
        levels = -3 / np.sqrt(2) * np.log1p(-quantiles)
    law_ = _LAWS[law]
    for _ in range(_LLOYD_STEPS):
        levels = _centroids(law_, levels)[0]
    for _ in range(_NEWTON_STEPS):
        levels = _newton_step(law_, levels)
    chances = _centroids(law_, levels)[1]
    return np.concatenate([-levels[::-1], levels]), np.concatenate([chances[::-1], chances])


class _Law(NamedTuple):
    """Of the positive half line: density, probability below, mean of x where x is below (up to a constant)."""

    density: Callable[[Numbers], Numbers]
    below: Callable[[Numbers], Numbers]
    mean_below: Callable[[Numbers], Numbers]


def _borders(levels: Numbers) -> Numbers:
    return np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [np.inf]])


def _centroids(law: _Law, levels: Numbers) -> tuple[Numbers, Numbers]:
    """[levels] means of the cells, and their probabilities."""
    borders = _borders(levels)
    chances = np.diff(law.below(borders))
    return np.diff(law.mean_below(borders)) / chances, chances


def _newton_step(law: _Law, levels: Numbers) -> Numbers:
    """Levels nearer to being their cells' means. Lloyd's own steps would take a million rounds at 8 bits."""
    means, chances = _centroids(law, levels)
    inner = (levels[1:] + levels[:-1]) / 2
    density = law.density(inner)
    # How a mean moves with its cell's borders, which move by half of a level's move.
    by_upper = density * (inner - means[:-1]) / chances[:-1] / 2
    by_lower = density * (means[1:] - inner) / chances[1:] / 2
    banded = np.zeros((3, levels.size))
    banded[0, 1:] = -by_upper
    banded[1] = 1.0
    banded[1, :-1] -= by_upper
    banded[1, 1:] -= by_lower
    banded[2, :-1] = -by_lower
    step: Numbers = scipy.linalg.solve_banded((1, 1), banded, levels - means)
    return levels - step


def _laplace_mean_below(t: Numbers) -> Numbers:
    far = np.exp(-np.sqrt(2) * t)
    near = np.where(np.isinf(t), 0.0, t)  # times 0 at infinity
    found: Numbers = -(near * far + far / np.sqrt(2)) / 2
    return found


_LAWS = {
    "gaussian": _Law(
        density=lambda t: np.exp(-t * t / 2) / np.sqrt(2 * np.pi),
        below=lambda t: scipy.special.ndtr(t),
        mean_below=lambda t: -np.exp(-t * t / 2) / np.sqrt(2 * np.pi),
    ),
    "laplace": _Law(
        density=lambda t: np.exp(-np.sqrt(2) * t) / np.sqrt(2),
        below=lambda t: 1 - np.exp(-np.sqrt(2) * t) / 2,
        mean_below=_laplace_mean_below,
    ),
}


def _levels(law: str, bits: int) -> NDArray[np.float32]:
    """[2**bits] levels of a law, as both ends use them (of an empty vector, which is never fitted, any)."""
    return lloyd_max_levels("gaussian" if law == "fitted" else law, bits)[0].astype(np.float32)


@functools.cache
def _nearest_of(law: str, bits: int) -> NearestLevel:
    return NearestLevel(_levels(law, bits))


def _fitted(parts: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """[2**bits] levels, rising, for these very entries (at unit scale)."""
    rising = np.sort(parts)
    sums = np.concatenate([[0.0], np.cumsum(rising, dtype=np.float64)])
    best: tuple[float, Numbers] = (-1.0, np.empty(0))
    for start in (_equally_filled(rising, 1 << bits), _equally_bad(rising, 1 << bits)):
        found = _lloyd(rising, sums, start)
        if found[0] > best[0]:
            best = found
    return best[1].astype(np.float32)


def _equally_filled(rising: NDArray[np.float32], size: int) -> Numbers:
    """[size] levels in cells of as many entries each: no cluster is missed."""
    places = (np.arange(size) + 0.5) / size * rising.size
    return rising[places.astype(np.int64)].astype(np.float64)


def _equally_bad(rising: NDArray[np.float32], size: int) -> Numbers:
    """[size] levels in cells of about the same error: as many as the cube root of the density asks for."""
    knots = np.append(rising[:: max(rising.size // _FIT_KNOTS, 1)], rising[-1]).astype(np.float64)
    levels_below = np.append(0.0, np.cumsum(np.diff(knots) ** (2 / 3)))
    levels: Numbers = np.interp((np.arange(size) + 0.5) / size * levels_below[-1], levels_below, knots)
    return levels


def _lloyd(rising: NDArray[np.float32], sums: Numbers, levels: Numbers) -> tuple[float, Numbers]:
    """Levels that are the means of their cells, and their energy: what it lacks of the entries' is the error."""
    for _ in range(_FIT_ROUNDS):
        # float32 as the entries are: numpy would convert those.
        borders = ((levels[1:] + levels[:-1]) / 2).astype(np.float32)
        ends = np.concatenate([[0], np.searchsorted(rising, borders), [rising.size]])
        counts = np.diff(ends)
        means = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), levels)
        if np.array_equal(means, levels):
            break
        levels = np.sort(means)
    return float(np.sum(counts * means**2)), levels
