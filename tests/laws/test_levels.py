"""What the other quantisers must obey: best levels, rotations, ternary values, signs and dither, as published."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from syft_fl.codecs import (
    Codec,
    Context,
    Dithered,
    Drive,
    Eden,
    LloydMax,
    Rotated,
    ScaledSign,
    TernGrad,
    Uniform,
)
from syft_fl.codecs.lloyd_max import lloyd_max_levels
from syft_fl.keys import Key
from syft_fl.vectors import Layout

KEY = Key(2025)
LEAST_ERROR = {1: 0.3633802276, 2: 0.1174818478, 3: 0.0345477608, 4: 0.0095010080}
"""Of a unit Gaussian's Lloyd–Max quantiser (Max 1960; at 4 bits the printed table is slightly low)."""


def gaussian(entries: int, name: str = "gaussian") -> np.ndarray:
    return (KEY / name).numpy().standard_normal(entries).astype(np.float32).astype(np.float64)


def send(codec: Codec, x: np.ndarray, name: str = "ue0") -> np.ndarray:
    ctx = Context(Layout.flat(x.size), KEY / name)
    payload, _ = codec.encode(torch.from_numpy(x.astype(np.float32)), ctx=ctx)
    return codec.decode(payload, ctx=ctx)[0].double().numpy()


def energy(x: np.ndarray) -> float:
    return float(np.sum(x * x))


def relative_error(codec: Codec, x: np.ndarray, name: str = "ue0") -> float:
    return energy(send(codec, x, name) - x) / energy(x)


@pytest.mark.parametrize(("bits", "published"), LEAST_ERROR.items())
def test_lloyd_max_levels_have_the_published_error(bits: int, published: float) -> None:
    levels, chances = lloyd_max_levels("gaussian", bits)
    # Levels are their cells' means, so the error is the variance less the levels' energy.
    assert 1 - np.sum(chances * levels**2) == pytest.approx(published, abs=1e-10)


@pytest.mark.parametrize(("bits", "published"), [(1, 1.0), (2, 1.9111), (3, 2.8249), (4, 3.7653)])
def test_lloyd_max_indices_have_the_published_entropy(bits: int, published: float) -> None:
    _, chances = lloyd_max_levels("gaussian", bits)
    assert -np.sum(chances * np.log2(chances)) == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_lloyd_max_levels_are_the_means_of_their_cells(law: str, bits: int) -> None:
    levels, chances = lloyd_max_levels(law, bits)
    of = stats.norm() if law == "gaussian" else stats.laplace(scale=math.sqrt(0.5))
    borders = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    assert np.allclose(np.diff(of.cdf(borders)), chances, atol=1e-12)
    for low, high, level, chance in list(zip(borders, borders[1:], levels, chances, strict=False))[:4]:
        points = np.linspace(max(low, -40), min(high, 40), 200_001)
        middles = (points[1:] + points[:-1]) / 2
        mean = np.sum(middles * np.diff(of.cdf(points))) / chance
        assert level == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize(("bits", "published"), LEAST_ERROR.items())
def test_lloyd_max_on_gaussian_entries_is_off_by_the_published_error(bits: int, published: float) -> None:
    x = 3e-3 * gaussian(2**18)
    assert relative_error(LloydMax(bits=bits), x) == pytest.approx(published, rel=0.02)
    assert relative_error(LloydMax(bits=bits, law="fitted"), x) == pytest.approx(published, rel=0.03)


def test_fitted_levels_suit_data_that_no_law_describes() -> None:
    x = np.sign(gaussian(2**14)) * (1 + 1e-3 * gaussian(2**14, "small"))
    assert relative_error(LloydMax(bits=2, law="fitted"), x) < 1e-6
    assert relative_error(LloydMax(bits=2), x) > 1e-2


SOURCES = {
    "gaussian": gaussian(2**16),
    "laplace": (KEY / "laplace").numpy().laplace(size=2**16),
    "uniform": (KEY / "uniform").numpy().uniform(-1, 1, 2**16) ** 3,
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("bits", "least"), LEAST_ERROR.items())
def test_eden_error_is_that_of_the_best_levels_over_one_minus_it(
    source: str, bits: int, least: float
) -> None:
    x = SOURCES[source]
    # In blocks of 8192 the scatter is below 1 %.
    assert relative_error(Eden(bits=float(bits)), x) == pytest.approx(least / (1 - least), rel=0.03)
    assert relative_error(Eden(bits=float(bits), scale="least-error"), x) == pytest.approx(least, rel=0.03)


def test_drive_is_eden_at_one_bit() -> None:
    x = gaussian(10_000)
    assert np.array_equal(send(Drive(), x), send(Eden(bits=1.0), x))
    assert relative_error(Drive(), x) == pytest.approx(math.pi / 2 - 1, rel=0.05)
    assert relative_error(Drive(scale="least-error"), x) == pytest.approx(1 - 2 / math.pi, rel=0.05)


def test_one_bit_of_a_lone_entry_is_exact() -> None:
    x = np.zeros(8192)
    x[4321] = -0.7
    assert relative_error(Drive(), x) < 1e-10


@pytest.mark.parametrize("bits", [0.5, 1.0, 2.0, 3.5])
def test_the_mean_of_n_eden_senders_is_n_times_as_good(bits: int) -> None:
    x, senders = gaussian(2**14), 32
    codec = Eden(bits=bits, block=4096)
    sent = [send(codec, x, f"ue{i}") for i in range(senders)]
    alone = np.mean([energy(y - x) for y in sent])
    assert energy(np.mean(sent, axis=0) - x) == pytest.approx(alone / senders, rel=0.1)


@pytest.mark.parametrize("bits", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("entries", [1_199_882, 11_173, 2**17])
def test_eden_pads_nothing(bits: float, entries: int) -> None:
    ctx = Context(Layout.flat(entries), KEY)
    payload, _ = Eden(bits=bits).encode(torch.ones(entries), ctx=ctx)
    whole_blocks, tail = divmod(entries, 8192)
    side = 32 * (whole_blocks + bin(tail).count("1"))
    assert payload.bits == bits * entries + side
    assert payload.bits <= 1.01 * bits * entries or entries < 100_000


@pytest.mark.parametrize("levels", [2, 4, 16])
def test_a_rotated_uniform_quantiser_keeps_the_published_bound_where_a_plain_one_fails(levels: int) -> None:
    d, senders = 1024, 10
    plain = Uniform(bits=int(math.log2(levels)), rounding="stochastic", block="vector")
    # One entry far from the others: the grid of the plain quantiser is spoilt.
    xs = [gaussian(d, f"x{i}") * 0.01 + 10.0 * (np.arange(d) == 7) for i in range(senders)]
    mean_energy = np.mean([energy(x) for x in xs])
    bound = (2 * math.log(d) + 2) / (senders * (levels - 1) ** 2) * mean_energy

    def error(codec: Codec) -> float:
        return energy(np.mean([send(codec, x, f"ue{i}") - x for i, x in enumerate(xs)], axis=0))

    assert error(Rotated(codec=plain, block=d)) <= bound
    assert error(plain) > 0


def test_terngrad_error_is_its_exact_variance() -> None:
    x, sends = gaussian(4096), 200
    expected = np.max(np.abs(x)) * np.sum(np.abs(x)) / energy(x) - 1
    measured = np.mean([relative_error(TernGrad(), x, f"ue{i}") for i in range(sends)])
    part = np.abs(x) / np.abs(x).max()
    spread = math.sqrt(np.sum(part * (1 - part) * (1 - 2 * part) ** 2)) * np.abs(x).max() ** 2 / energy(x)
    assert measured == pytest.approx(expected, abs=5 * spread / math.sqrt(sends) + 1e-4 * expected)


@pytest.mark.parametrize("entries", [10, 1000, 65536])
def test_scaled_signs_are_off_by_the_published_share(entries: int) -> None:
    x = gaussian(entries)
    expected = 1 - np.sum(np.abs(x)) ** 2 / (entries * energy(x))
    assert relative_error(ScaledSign(), x) == pytest.approx(expected, rel=1e-5)
    if entries > 10_000:
        assert expected == pytest.approx(1 - 2 / math.pi, rel=0.02)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_error_of_subtractive_dither_is_uniform_and_independent_of_the_input(bits: int) -> None:
    x = np.concatenate([[4.0], np.repeat([0.0, 0.01, 1.0, -2.5], 10_000), gaussian(10_000).clip(-4, 4)])
    step = 4.0 / (2 ** (bits - 1) - 1)
    error = (send(Dithered(bits=bits), x) - x) / step
    parts = [error[1:][i * 10_000 : (i + 1) * 10_000] for i in range(5)]
    for part in parts:
        assert stats.kstest(part, stats.uniform(-0.5, 1).cdf).pvalue > 1e-5
    assert abs(np.corrcoef(error, x)[0, 1]) < 5 / math.sqrt(x.size)
