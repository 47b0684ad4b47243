"""What lattices and UVeQFed must obey: nearest points, second moments, an error that is uniform on the cell."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from syft_fl.codecs import CODECS, QSGD, Codec, Context, Rotated, Uniform, UVeQFed
from syft_fl.codecs.coders import ANS
from syft_fl.codecs.lattices import LATTICES, Lattice
from syft_fl.keys import Key
from syft_fl.vectors import Layout

KEY = Key(2026)

GENERATORS = {
    "cubic": [[1]],
    # Shlezinger et al. 2021; its axes in the other order.
    "hexagonal": [[0, 2], [math.sqrt(3), 1]],
    # Conway, Sloane 1999, "Sphere Packings, Lattices and Groups", chapter 4.
    "d4": [[-1, -1, 0, 0], [1, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1]],
    "e8": [
        [2, 0, 0, 0, 0, 0, 0, 0],
        *([0] * i + [-1, 1] + [0] * (6 - i) for i in range(6)),
        [0.5] * 8,
    ],
}
"""Rows span the lattice."""

MOMENTS = {"cubic": 0.083333, "hexagonal": 0.0801875, "d4": 0.076603, "e8": 0.0716821}
"""Conway, Sloane 1982, "Voronoi regions of lattices", table I."""

NEIGHBOURS = {"cubic": 2, "hexagonal": 6, "d4": 24, "e8": 240}
"""Kissing numbers. The faces of these lattices' cells are those towards the nearest points (chapter 21)."""

every_lattice = pytest.mark.parametrize("name", GENERATORS)


def generator(name: str) -> np.ndarray:
    """Scaled to a cell of volume 1."""
    rows = np.array(GENERATORS[name], float)
    return rows / abs(np.linalg.det(rows)) ** (1 / len(rows))


def neighbours(name: str) -> np.ndarray:
    """[neighbours, dimension] the shortest vectors of the lattice, at volume 1."""
    basis = generator(name)
    # Candidates: coordinates that the shortest vectors have, of which those in the lattice are kept.
    least = {"cubic": 1.0, "hexagonal": 2.0, "d4": math.sqrt(2), "e8": math.sqrt(2)}[name]
    scale = abs(np.linalg.det(np.array(GENERATORS[name], float))) ** (-1 / len(basis))
    steps = np.array([-1, 0, 1] if name != "hexagonal" else range(-2, 3))
    whole = np.array(list(itertools.product(steps, repeat=len(basis))), float)
    if name == "hexagonal":
        whole = whole @ np.array(GENERATORS[name])
    if name == "e8":
        whole = np.concatenate([whole, np.array(list(itertools.product([-0.5, 0.5], repeat=8)))])
    short = scale * whole[np.isclose(np.sum(whole**2, axis=1), least**2)]
    return short[is_in_lattice(short, name)]


def is_in_lattice(points: np.ndarray, name: str) -> np.ndarray:
    coefficients = points @ np.linalg.inv(generator(name))
    return np.abs(coefficients - np.rint(coefficients)).max(axis=1) < 1e-3


def gauge(vectors: np.ndarray, name: str) -> np.ndarray:
    """[vectors] by how much the cell must be scaled to reach each of [dimension, vectors]; at most 1 inside."""
    faces = neighbours(name)
    return np.max(2 * faces @ vectors / np.sum(faces**2, axis=1)[:, None], axis=0)


def lengths(columns: np.ndarray, lattice: Lattice) -> np.ndarray:
    """[dimension, vectors] coordinates as lengths instead of steps."""
    return columns.astype(np.float64) * np.array(lattice.axes)[:, None]


def gaussian(entries: int, name: str = "gaussian") -> np.ndarray:
    return (KEY / name).numpy().standard_normal(entries).astype(np.float32).astype(np.float64)


def send(codec: Codec, x: np.ndarray, name: str = "ue0") -> tuple[np.ndarray, float]:
    """What arrives, and how many bits each entry took."""
    ctx = Context(Layout.flat(x.size), KEY / name)
    payload, _ = codec.encode(torch.from_numpy(x.astype(np.float32)), ctx=ctx)
    return codec.decode(payload, ctx=ctx)[0].double().numpy(), payload.bits / x.size


def mean_square(x: np.ndarray) -> float:
    return float(np.mean(x * x))


@every_lattice
def test_the_cell_has_as_many_faces_as_the_lattice_has_neighbours(name: str) -> None:
    assert len(neighbours(name)) == NEIGHBOURS[name]


@every_lattice
@pytest.mark.parametrize("spread", [0.3, 5.0, 1000.0])
def test_the_point_found_is_in_the_lattice_and_none_is_nearer(name: str, spread: float) -> None:
    lattice = LATTICES[name]
    draws = (KEY / name).numpy().standard_normal((lattice.dimension, 4000))
    at = (spread * draws / np.array(lattice.axes)[:, None]).astype(np.float32)
    points = lattice.nearest(at)
    assert is_in_lattice(lengths(points, lattice).T, name).all()
    assert gauge(lengths(at - points, lattice), name).max() <= 1 + 1e-6


@every_lattice
def test_vectors_as_near_to_several_points_get_one_of_them(name: str) -> None:
    lattice = LATTICES[name]
    grid = [-1.0, -0.5, 0.0, 0.25, 0.5] if lattice.dimension < 8 else [-0.5, 0.0, 0.5]
    at = np.array(list(itertools.product(grid, repeat=lattice.dimension)), np.float32).T
    points = lattice.nearest(np.ascontiguousarray(at))
    assert is_in_lattice(lengths(points, lattice).T, name).all()
    assert gauge(lengths(at - points, lattice), name).max() <= 1 + 1e-6


@every_lattice
def test_dither_is_uniform_on_the_cell_with_the_published_second_moment(name: str) -> None:
    lattice, vectors = LATTICES[name], 100_000
    drawn = lengths(lattice.dither((KEY / name).numpy().bit_generator, vectors), lattice)
    squares = np.mean(drawn**2, axis=0)
    assert lattice.second_moment == pytest.approx(MOMENTS[name], rel=1e-5)
    assert squares.mean() == pytest.approx(MOMENTS[name], abs=5 * squares.std() / math.sqrt(vectors))
    assert np.abs(drawn.mean(axis=1)).max() < 5 * math.sqrt(MOMENTS[name] / vectors)
    # A cell scaled by t has t**n of the volume.
    assert stats.kstest(gauge(drawn[:, :20_000], name) ** lattice.dimension, "uniform").pvalue > 1e-5
    assert math.sqrt(np.sum(drawn**2, axis=0).max()) <= lattice.radius


@every_lattice
@pytest.mark.parametrize("spread", [0.0, 0.3, 3.0, 5000.0])
def test_whole_numbers_give_back_the_point(name: str, spread: float) -> None:
    lattice = LATTICES[name]
    random = (KEY / name).numpy()
    dither = lattice.dither(random.bit_generator, 5000)
    at = (spread * random.standard_normal(dither.shape)).astype(np.float32)
    points = lattice.nearest(at + dither)
    sent = lattice.integers(points, dither)
    assert np.array_equal(lattice.points(sent, dither), points)
    if not spread:  # of nothing, nothing is sent
        assert not sent.main.any()
        assert sent.last is None or not sent.last.any()


SOURCES = {
    "gaussian": 1e-3 * gaussian(2**15),
    "constant": np.full(2**15, 7.0),
    "sparse": np.where(np.arange(2**15) % 100 == 0, gaussian(2**15), 0.0),
    "skewed": np.exp(2 * gaussian(2**15)),
    "a ramp": np.linspace(-3.0, 1e4, 2**15).astype(np.float32).astype(np.float64),
}


@every_lattice
@pytest.mark.parametrize("source", SOURCES)
def test_the_error_is_uniform_on_the_cell_whatever_the_input(name: str, source: str) -> None:
    x = SOURCES[source]
    codec = UVeQFed(lattice=name, step=0.7)
    cell = 0.7 * math.sqrt(mean_square(x))
    error = (send(codec, x)[0] - x) / cell
    n, entries = LATTICES[name].dimension, x.size
    columns = error.reshape(n, -1)
    assert stats.kstest(gauge(columns, name) ** n, "uniform").pvalue > 1e-5
    squares = np.mean(columns**2, axis=0)
    assert squares.mean() == pytest.approx(MOMENTS[name], abs=5 * squares.std() / math.sqrt(squares.size))
    assert abs(error.mean()) < 5 * math.sqrt(MOMENTS[name] / entries)
    if source != "constant":
        assert abs(np.corrcoef(error, x)[0, 1]) < 5 / math.sqrt(entries)


@every_lattice
@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_bits_are_those_of_theory(name: str, step: float) -> None:
    """Zamir, Feder 1992: h(x + dither) less the logarithm of the cell; here without conditioning on the dither."""
    _, bits = send(UVeQFed(lattice=name, step=step), gaussian(2**17))
    theory = 0.5 * math.log2(2 * math.pi * math.e * (1 + MOMENTS[name] * step**2)) - math.log2(step)
    assert theory - 0.01 < bits < theory + 0.035


@every_lattice
def test_at_high_rates_the_gap_to_shannon_is_that_of_the_second_moment(name: str) -> None:
    x = gaussian(2**17)
    arrived, bits = send(UVeQFed(lattice=name, step=0.1), x)
    gap_db = 10 * math.log10(mean_square(arrived - x) / mean_square(x)) + 20 * bits * math.log10(2)
    # 1.533, 1.366, 1.167 and 0.879 dB.
    assert gap_db == pytest.approx(10 * math.log10(2 * math.pi * math.e * MOMENTS[name]), abs=0.06)


RIVALS: dict[str, Codec] = {
    "qsgd 1": QSGD(levels=1, block=64, coder=ANS()),
    "qsgd 7": QSGD(levels=7, block=64, coder=ANS()),
    "qsgd 16": QSGD(levels=16, block=512, coder=ANS()),
    "qsgd 127": QSGD(levels=127, block=512, coder=ANS()),
    "rotated 1": Rotated(codec=Uniform(bits=1, rounding="stochastic", block=512, coder=ANS())),
    "rotated 2": Rotated(codec=Uniform(bits=2, rounding="stochastic", block=512, coder=ANS())),
    "rotated 4": Rotated(codec=Uniform(bits=4, rounding="stochastic", block=8192, coder=ANS())),
}
"""Each with the coder that serves it best, and unbiased as UVeQFed is."""


@pytest.mark.parametrize("name", ["hexagonal", "d4", "e8"])
@pytest.mark.parametrize("rival", RIVALS)
def test_at_the_same_rate_the_error_is_below_that_of_its_rivals(name: str, rival: str) -> None:
    """Shlezinger et al. 2021, section V: below QSGD, rotated uniform quantisers and subsampling."""
    x = gaussian(2**14)
    theirs, bits = send(RIVALS[rival], x)
    step = 2.0 ** (2.047 - bits)
    ours, taken = send(UVeQFed(lattice=name, step=step), x)
    while taken > bits:
        step *= 1.05
        ours, taken = send(UVeQFed(lattice=name, step=step), x)
    assert mean_square(ours - x) < 0.9 * mean_square(theirs - x)


@pytest.mark.parametrize("name", ["hexagonal", "d4", "e8"])
@pytest.mark.parametrize("value_bits", [3, 4, 8])
def test_the_error_is_below_that_of_subsampling_even_if_its_values_were_exact(
    name: str, value_bits: int
) -> None:
    x = gaussian(2**14)
    for step in (1.0, 1.4, 2.0):
        arrived, bits = send(UVeQFed(lattice=name, step=step), x)
        # Of d entries k are sent, indices from the key, and weighted by d/k: off by d/k - 1 of the energy.
        assert mean_square(arrived - x) / mean_square(x) < value_bits / bits - 1


@every_lattice
def test_a_finer_lattice_is_better_at_the_same_cell(name: str) -> None:
    """Which costs it no bits: 0.17, 0.37 and 0.65 dB."""
    x = gaussian(2**16)
    plain, plain_bits = send(UVeQFed(lattice="cubic", step=0.5), x)
    arrived, bits = send(UVeQFed(lattice=name, step=0.5), x)
    ratio = mean_square(arrived - x) / mean_square(plain - x)
    assert ratio == pytest.approx(MOMENTS[name] / MOMENTS["cubic"], rel=0.02)
    assert bits == pytest.approx(plain_bits, abs=0.01)


@every_lattice
def test_a_far_entry_widens_the_cells_of_its_group_instead_of_being_clipped(name: str) -> None:
    x = gaussian(2**10)
    x[5] = 1e6
    arrived, _ = send(UVeQFed(lattice=name, step=2.0**-10, block=512), x)
    error = np.abs(arrived - x)
    assert error[:512].max() <= LATTICES[name].radius * 1e6 / 2**14 + 1
    assert error[512:].max() <= LATTICES[name].radius * 2.0**-10 * 1.1


def test_zeros_between_entries_cost_little_at_coarse_steps() -> None:
    x = np.where(np.arange(2**14) % 100 == 0, 10.0, 0.0)
    for name in LATTICES:
        _, bits = send(UVeQFed(lattice=name, step=4.0), x)
        assert bits < 0.2  # their places alone: 0.08


def test_all_kinds_are_tested() -> None:
    assert set(LATTICES) == set(GENERATORS)
    assert all(CODECS.build({"kind": "uveqfed", "lattice": name}) for name in LATTICES)
