"""The radio of each scenario that comes with the package, against its link budget worked out by hand.

The budgets below are those of the files' headers, written down again: nothing is read from the files. What is common to
a UE's place, line of sight, shadow and fading is integrated over their laws, so that the median of all UEs is known and
not guessed; what the package draws must agree with it within the error of 800 draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import gamma, ncx2, norm

from syft_fl.experiment import load_scenario, scenarios
from syft_fl.experiment.cell_survey import survey_cell
from syft_fl.federation import Population
from syft_fl.keys import Key
from syft_fl.radio import Cell, Neighbours, NoInterference, Wireless

Floats = NDArray[np.float64]

SEEDS, UES = 40, 20
QUANTILES = (np.arange(48) + 0.5) / 48


@dataclass(frozen=True)
class Path:
    """What is lost [dB] over a distance on the ground [m], in line of sight and without; how likely; and shadows."""

    seen_db: Callable[[Floats], Floats]
    hidden_db: Callable[[Floats], Floats] | None = None
    sight: Callable[[Floats], Floats] = np.ones_like
    shadow_seen_db: float = 0.0
    shadow_hidden_db: float = 0.0


def decades(intercept_db: float, slope_db: float, shadow_db: float) -> Path:
    return Path(lambda d: intercept_db + slope_db * np.log10(d / 1000.0), shadow_seen_db=shadow_db)


def street(ghz: float) -> Path:
    """TR 38.901, UMi, antennas at 10 and 1.5 m; in cells of 115 m the breakpoint (210 m at 3.5 GHz) is far."""

    def slant(d: Floats) -> Floats:
        return np.log10(np.hypot(d, 8.5))

    def seen(d: Floats) -> Floats:
        return 32.4 + 21.0 * slant(d) + 20.0 * math.log10(ghz)

    def hidden(d: Floats) -> Floats:
        return np.maximum(seen(d), 22.4 + 35.3 * slant(d) + 21.3 * math.log10(ghz))

    def sight(d: Floats) -> Floats:
        return np.where(d <= 18.0, 1.0, 18.0 / d + np.exp(-d / 36.0) * (1.0 - 18.0 / d))

    return Path(seen, hidden, sight, 4.0, 7.82)


def office(ghz: float) -> Path:
    """TR 38.901, InH, mixed office, antennas at 3 and 1 m."""

    def slant(d: Floats) -> Floats:
        return np.log10(np.hypot(d, 2.0))

    def seen(d: Floats) -> Floats:
        return 32.4 + 17.3 * slant(d) + 20.0 * math.log10(ghz)

    def hidden(d: Floats) -> Floats:
        return np.maximum(seen(d), 17.3 + 38.3 * slant(d) + 24.9 * math.log10(ghz))

    def sight(d: Floats) -> Floats:
        near = np.exp(-np.maximum(d - 1.2, 0.0) / 4.7)
        return np.where(d < 6.5, near, 0.32 * np.exp(-(d - 6.5) / 32.6))

    return Path(seen, hidden, sight, 3.0, 8.03)


def free_space(ghz: float, height_m: float, shadow_db: float) -> Path:
    return Path(
        lambda d: 92.45 + 20.0 * np.log10(np.hypot(d, height_m) / 1000.0 * ghz), shadow_seen_db=shadow_db
    )


def disc(radius_m: float, hole_m: float) -> Floats:
    return np.sqrt(hole_m**2 + (np.arange(200) + 0.5) / 200 * (radius_m**2 - hole_m**2))


def hexagon(radius_m: float, hole_m: float) -> Floats:
    x, y = np.meshgrid(*2 * [np.linspace(-radius_m, radius_m, 61)])
    inside = (np.abs(y) <= math.sqrt(0.75) * radius_m) & (np.abs(x) + np.abs(y) / math.sqrt(3) <= radius_m)
    distances_m = np.hypot(x, y)[inside]
    return distances_m[distances_m >= hole_m]


def rician(k_db: float) -> Floats:
    k = 10 ** (k_db / 10)
    return ncx2.ppf(QUANTILES, 2, 2 * k) / (2 * (k + 1))


STILL = np.ones(1)
RAYLEIGH = -np.log1p(-QUANTILES)
NAKAGAMI_4 = gamma.ppf(QUANTILES, 4) / 4


@dataclass(frozen=True)
class Budget:
    """Power [dBm], antennas [dB], band [Hz] of one transmission, and the noise's density there [dBm/Hz]."""

    power_dbm: float
    antennas_db: float
    band_hz: float
    noise_dbm_per_hz: float

    def snr_db(self, loss_db: Floats) -> Floats:
        noise_dbm = self.noise_dbm_per_hz + 10 * math.log10(self.band_hz)
        return self.power_dbm + self.antennas_db - loss_db - noise_dbm


def with_interference(noise_dbm_per_hz: float, power_w: float, band_hz: float) -> float:
    return 10 * math.log10(10 ** (noise_dbm_per_hz / 10) + power_w * 1e3 / band_hz)


CHEN_UP = with_interference(-174, 5.42e-8, 1e6)
CHEN_DOWN = with_interference(-174, 1.8e-7, 20e6)
CHEN = decades(60.0, 20.0, 0.0)
YANG = decades(128.1, 37.6, 8.0)
BLOCK_HZ = 12 * 15e3
LEO = free_space(2.0, 600e3 - 1.5, 0.72)

BUDGETS = {
    "wifi-office": (
        disc(20, 1), office(5.25), NAKAGAMI_4,
        Budget(15, 0, 80e6, -167), Budget(20, 0, 80e6, -167),
    ),
    "lte-macro": (
        hexagon(289, 35), decades(128.1, 37.6, 8.0), RAYLEIGH,
        Budget(23, 14 - 20, 50 * BLOCK_HZ, -169), Budget(46, 14 - 20, 50 * BLOCK_HZ, -165),
    ),
    "nr-umi-3.5GHz": (
        hexagon(115, 10), street(3.5), NAKAGAMI_4,
        Budget(23, 8, 273 * 2 * BLOCK_HZ, -169), Budget(44, 8, 273 * 2 * BLOCK_HZ, -165),
    ),
    "nr-mmwave-28GHz": (
        hexagon(115, 10), street(28.0), rician(9.0),
        Budget(23, 26 + 11, 264 * 8 * BLOCK_HZ, -167), Budget(35, 26 + 11, 264 * 8 * BLOCK_HZ, -164),
    ),
    "nb-iot": (
        hexagon(1000, 35), decades(120.9, 37.6, 8.0), RAYLEIGH,
        Budget(23, 18 - 3 - 4 - 40, 15e3, -171), Budget(43, 18 - 3 - 4 - 40, 180e3, -169),
    ),
    "leo-satellite": (
        disc(25e3, 100), LEO, rician(10.2),
        # Up: G/T = 1.1 dB/K, and -198.6 dBm/Hz/K of Boltzmann's constant. Down: 34 dBW/MHz of EIRP.
        Budget(23, 0, 25 * BLOCK_HZ / 10, -198.6 - 1.1),
        Budget(64 + 10 * math.log10(52 * BLOCK_HZ / 1e6), 0, 52 * BLOCK_HZ, -167),
    ),
    "chen-2021": (disc(500, 10), CHEN, RAYLEIGH, Budget(10, 0, 1e6, CHEN_UP), Budget(30, 0, 20e6, CHEN_DOWN)),
    "yang-2021": (disc(282.1, 10), YANG, STILL, Budget(10, 0, 0.4e6, -174), Budget(43, 0, 20e6, -174)),
}  # fmt: skip


def expected_median_db(distances_m: Floats, path: Path, fading: Floats, budget: Budget) -> float:
    """The median over all places, sights, shadows and fading gains, weighted by their probabilities."""
    shadows = norm.ppf(QUANTILES)
    gains_db = 10 * np.log10(fading)
    sight = path.sight(distances_m)
    levels, weights = [], []
    for loss, shadow_db, weight in (
        (path.seen_db, path.shadow_seen_db, sight),
        (path.hidden_db, path.shadow_hidden_db, 1.0 - sight),
    ):
        if loss is None:
            continue
        level = budget.snr_db(loss(distances_m))[:, None, None] + shadow_db * shadows[:, None] + gains_db
        levels.append(level.ravel())
        weights.append(np.broadcast_to(weight[:, None, None], level.shape).ravel())
    level, weight = np.concatenate(levels), np.concatenate(weights)
    order = np.argsort(level)
    total = np.cumsum(weight[order])
    return float(level[order][np.searchsorted(total, total[-1] / 2)])


def test_every_scenario_has_its_budget_here() -> None:
    assert sorted(BUDGETS) == list(scenarios())


@pytest.mark.parametrize("name", sorted(BUDGETS))
def test_the_median_snr_is_the_link_budgets(name: str) -> None:
    distances_m, path, fading, up, down = BUDGETS[name]
    scenario = load_scenario(name)
    chosen = scenario.population.chosen
    # Twenty UEs in each of forty cells, since neighbours share shadows and lines of sight.
    many = replace(scenario, population=Population(ues=max(UES, chosen), cohort=chosen))
    surveys = [survey_cell(many.with_seed(seed), blocks=1) for seed in range(SEEDS)]
    for direction, budget in (("uplink", up), ("downlink", down)):
        snr = np.array([getattr(survey, direction).snr for survey in surveys])[:, :, 0]
        levels_db = 10 * np.log10(snr)
        # A median's standard error from the spread of the cells' own medians, which are independent.
        own_db = np.median(levels_db, axis=1)
        standard_error_db = 1.2533 * own_db.std(ddof=1) / math.sqrt(SEEDS)
        expected_db = expected_median_db(distances_m, path, fading, budget)
        assert float(np.median(levels_db)) == pytest.approx(expected_db, abs=5 * standard_error_db + 0.1)


def test_antennas_add_to_the_path_and_not_to_the_power() -> None:
    plain, pointed = (
        Wireless(antenna_gain_db=gain_db).link(Cell(), Key(3), "uplink") for gain_db in (None, 13.0)
    )
    where = {"share": 0.5, "block": 2, "time_s": 0.0}
    assert pointed.snr("ue4", **where) == pytest.approx(10**1.3 * plain.snr("ue4", **where), rel=1e-12)
    assert pointed.mean_gain("ue4", time_s=0.0) == pytest.approx(10**1.3 * plain.mean_gain("ue4", time_s=0.0))
    assert pointed.transmit_power_w("ue4", **where) == plain.transmit_power_w("ue4", **where)
    assert pointed.noise_w("ue4", **where) == plain.noise_w("ue4", **where)


def test_antennas_point_at_neighbours_too() -> None:
    where = {"share": 1.0, "block": 1, "time_s": 0.0}
    around = Neighbours(load=1.0)
    for direction in ("uplink", "downlink"):
        plain, pointed, quiet = (
            Wireless(antenna_gain_db=gain_db, interference=interference)
            .link(Cell(), Key(3), direction)
            .noise_w("ue4", **where)
            for gain_db, interference in ((None, around), (13.0, around), (13.0, NoInterference()))
        )
        assert pointed - quiet == pytest.approx(10**1.3 * (plain - quiet))
