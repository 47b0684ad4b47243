"""What must hold of mean gains whatever their code: the published formulas, their probabilities, the law of shadows.

The formulas of TR 38.901 are written down here a second time, one number at a time, from its tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import Cell, FreeSpace, InF, InH, LogDistance, RMa, Shannon, UMa, UMi
from syft_fl.radio.paths import Tr38901
from syft_fl.radio.paths.shadowing import spatial_normals
from syft_fl.units import linear_to_db

KEY = Key(38901)
DISTANCES_M = (10.0, 17.0, 18.0, 60.0, 141.0, 300.0, 777.0, 1500.0, 4999.0)
FREQUENCIES_HZ = (0.5e9, 2e9, 3.5e9, 28e9, 100e9)
log = math.log10


def uma(d: float, f: float, h_bs: float, h_ut: float, los: bool) -> float:
    d3, turn = math.hypot(d, h_bs - h_ut), 4 * (h_bs - 1) * (h_ut - 1) * f * 1e9 / 3e8
    seen = 28.0 + 22 * log(d3) + 20 * log(f)
    if d > turn:
        seen = 28.0 + 40 * log(d3) + 20 * log(f) - 9 * log(turn**2 + (h_bs - h_ut) ** 2)
    return seen if los else max(seen, 13.54 + 39.08 * log(d3) + 20 * log(f) - 0.6 * (h_ut - 1.5))


def umi(d: float, f: float, h_bs: float, h_ut: float, los: bool) -> float:
    d3, turn = math.hypot(d, h_bs - h_ut), 4 * (h_bs - 1) * (h_ut - 1) * f * 1e9 / 3e8
    seen = 32.4 + 21 * log(d3) + 20 * log(f)
    if d > turn:
        seen = 32.4 + 40 * log(d3) + 20 * log(f) - 9.5 * log(turn**2 + (h_bs - h_ut) ** 2)
    return seen if los else max(seen, 22.4 + 35.3 * log(d3) + 21.3 * log(f) - 0.3 * (h_ut - 1.5))


def rma(d: float, f: float, h_bs: float, h_ut: float, los: bool, h: float = 5.0, w: float = 20.0) -> float:
    def first(x: float) -> float:
        slope, offset = min(0.03 * h**1.72, 10), min(0.044 * h**1.72, 14.77)
        return 20 * log(40 * math.pi * x * f / 3) + slope * log(x) - offset + 0.002 * log(h) * x

    d3, turn = math.hypot(d, h_bs - h_ut), 2 * math.pi * h_bs * h_ut * f * 1e9 / 3e8
    seen = first(d3) if d <= turn else first(turn) + 40 * log(d3 / turn)
    hidden = 161.04 - 7.1 * log(w) + 7.5 * log(h) - (24.37 - 3.7 * (h / h_bs) ** 2) * log(h_bs)
    hidden += (43.42 - 3.1 * log(h_bs)) * (log(d3) - 3) + 20 * log(f) - (3.2 * log(11.75 * h_ut) ** 2 - 4.97)
    return seen if los else max(seen, hidden)


def inh(d: float, f: float, h_bs: float, h_ut: float, los: bool) -> float:
    d3 = math.hypot(d, h_bs - h_ut)
    seen = 32.4 + 17.3 * log(d3) + 20 * log(f)
    return seen if los else max(seen, 38.3 * log(d3) + 17.30 + 24.9 * log(f))


def inf(hall: str) -> Callable[[float, float, float, float, bool], float]:
    def loss(d: float, f: float, h_bs: float, h_ut: float, los: bool) -> float:
        d3 = math.hypot(d, h_bs - h_ut)
        seen = 31.84 + 21.50 * log(d3) + 19.00 * log(f)
        sparse_low = 33 + 25.5 * log(d3) + 20 * log(f)
        hidden = {
            "SL": max(seen, sparse_low),
            "DL": max(seen, sparse_low, 18.6 + 35.7 * log(d3) + 20 * log(f)),
            "SH": max(seen, 32.4 + 23.0 * log(d3) + 20 * log(f)),
            "DH": max(seen, 33.63 + 21.9 * log(d3) + 20 * log(f)),
        }
        return seen if los else hidden[hall]

    return loss


PUBLISHED: list[tuple[Tr38901, Callable[..., float], tuple[float, float]]] = [
    (UMa(), uma, (25.0, 1.5)),
    (UMa(h_bs_m=30.0, h_ut_m=10.0), uma, (30.0, 10.0)),
    (UMi(), umi, (10.0, 1.5)),
    (UMi(h_ut_m=20.0), umi, (10.0, 20.0)),
    (RMa(), rma, (35.0, 1.5)),
    (RMa(h_bs_m=100.0, h_ut_m=5.0), rma, (100.0, 5.0)),
    (InH(), inh, (3.0, 1.0)),
    (InH(office="open", h_bs_m=5.0, h_ut_m=1.5), inh, (5.0, 1.5)),
    (InF(hall="SL"), inf("SL"), (1.5, 1.5)),
    (InF(hall="DL"), inf("DL"), (1.5, 1.5)),
    (InF(hall="SH"), inf("SH"), (8.0, 1.5)),
    (InF(hall="DH", h_bs_m=9.0, h_ut_m=1.0), inf("DH"), (9.0, 1.0)),
]
every_scenario = pytest.mark.parametrize("model", [model for model, _, _ in PUBLISHED], ids=repr)


@pytest.mark.parametrize(
    ("model", "formula", "heights_m"),
    PUBLISHED,
    ids=lambda value: getattr(value, "__qualname__", repr(value))[:60],
)
@pytest.mark.parametrize("los", [True, False])
def test_losses_are_those_of_the_published_table(
    model: Tr38901, formula: Callable[..., float], heights_m: tuple[float, float], los: bool
) -> None:
    for frequency_hz in FREQUENCIES_HZ:
        if isinstance(model, RMa) and frequency_hz > 30e9:
            continue
        expected = [formula(d, frequency_hz / 1e9, *heights_m, los) for d in DISTANCES_M]
        found = replace(model, frequency_hz=frequency_hz).loss_db(np.array(DISTANCES_M), los=los)
        assert found == pytest.approx(expected, abs=1e-9)


def test_rural_loss_is_the_number_that_another_implementation_prints() -> None:
    # MATLAB's documentation of nrPathLoss: base station (0, 0, 30) m, UE (1000, 1000, 1.5) m.
    model = RMa(frequency_hz=3.5e9, h_bs_m=30.0, building_m=7.0, street_m=25.0)
    assert float(model.loss_db(math.hypot(1000, 1000), los=True)) == pytest.approx(110.1615, abs=6e-5)


@pytest.mark.parametrize(("houses_m", "street_m"), [(5.0, 50.0), (20.0, 5.0), (50.0, 20.0)])
def test_rural_loss_knows_houses_and_streets(houses_m: float, street_m: float) -> None:
    model = RMa(frequency_hz=0.8e9, building_m=houses_m, street_m=street_m)
    for los in (True, False):
        expected = [rma(d, 0.8, 35.0, 1.5, los, houses_m, street_m) for d in DISTANCES_M]
        assert model.loss_db(np.array(DISTANCES_M), los=los) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("distance_m", "loss_db"), [(100, 90.50), (250, 105.46), (500, 116.78), (1000, 128.10), (10_000, 165.70)]
)
def test_log_distance_has_the_published_values(distance_m: float, loss_db: float) -> None:
    assert float(LogDistance().loss_db(distance_m)) == pytest.approx(loss_db, abs=0.006)


@pytest.mark.parametrize(
    ("distance_m", "frequency_hz", "loss_db"),
    [(1000, 1e9, 92.45), (1, 2.4e9, 40.05), (384_400e3, 2.2e9, 210.99)],  # the last one: the moon
)
def test_free_space_has_the_published_values(distance_m: float, frequency_hz: float, loss_db: float) -> None:
    model = FreeSpace(frequency_hz=frequency_hz, h_bs_m=0.0, h_ut_m=0.0)
    assert float(model.loss_db(distance_m)) == pytest.approx(loss_db, abs=0.006)


def test_a_satellite_overhead_is_as_far_as_it_is_high() -> None:
    low = FreeSpace(h_bs_m=600e3, h_ut_m=0.0)
    assert float(low.loss_db(10.0)) == pytest.approx(
        20 * log(4 * math.pi * 600e3 * 2e9 / 299_792_458), abs=1e-6
    )


def test_log_distance_is_the_shannon_links_mean_gain_draw_by_draw() -> None:
    cell, model = Cell(), LogDistance()
    link = Shannon(fading="none", power_dbm=30.0, noise_dbm_per_hz=30.0, bandwidth_hz=1.0).link(
        cell, KEY, "uplink"
    )
    for ue in ("ue0", "ue1", "ue2"):
        snr = link.snr(ue, share=1.0, block=0, time_s=0.0)
        assert model.gain(ue, cell=cell, key=KEY) == pytest.approx(snr, rel=1e-12)


@every_scenario
def test_loss_grows_with_distance_and_is_no_less_without_line_of_sight(model: Tr38901) -> None:
    distances_m = np.geomspace(10.0, 5000.0, 4001)
    seen, hidden = (model.loss_db(distances_m, los=los) for los in (True, False))
    assert (np.diff(seen) > 0).all()
    assert (np.diff(hidden) > 0).all()
    assert (hidden >= seen).all()
    mixed = np.arange(4001) % 2 == 0
    assert (model.loss_db(distances_m, los=mixed) == np.where(mixed, seen, hidden)).all()


@pytest.mark.parametrize("model", [UMa(), UMi(), RMa()], ids=lambda model: model.kind)
def test_loss_does_not_jump_at_the_breakpoint(model: Tr38901) -> None:
    steps = np.diff(model.loss_db(np.arange(10.0, 5000.0, 0.1), los=True))
    assert steps.max() < 0.2
    assert steps.min() > 0
    # Up to it 21 or 22 dB for ten times the distance, beyond it 40.
    slopes = [
        float(np.diff(model.loss_db([d, 1.001 * d], los=True))[0]) / log(1.001) for d in (100.0, 4900.0)
    ]
    assert slopes[0] < 25
    assert slopes[1] == pytest.approx(40.0, abs=0.1)


PROBABILITIES = [
    (UMa(), {10: 1, 18: 1, 36: 0.5 + 0.5 * math.exp(-36 / 63), 180: 0.1 + 0.9 * math.exp(-180 / 63)}),
    (UMi(), {10: 1, 18: 1, 36: 0.5 + 0.5 * math.exp(-1), 180: 0.1 + 0.9 * math.exp(-5)}),
    (RMa(), {10: 1, 1010: math.exp(-1), 3010: math.exp(-3)}),
    (InH(), {1: 1, 5.9: math.exp(-1), 6.5: 0.32, 39.1: 0.32 * math.exp(-1)}),
    (InH(office="open"), {4: 1, 40.4: math.exp(-0.5), 260.7: 0.54 * math.exp(-1)}),
    (InF(hall="SL"), {10: 0.8, 30: 0.8**3}),
    (InF(hall="DL", clutter_density=0.5), {2: 0.5, 20: 0.5**10}),
    # Ten metres of a sparse hall; the base station looks 13 times as far over clutter of 2 m: (8 - 1.5) / (2 - 1.5).
    (InF(hall="SH"), {130: 0.8, 260: 0.64}),
    (InF(hall="DH", h_ut_m=2.0, h_bs_m=10.0), {4: 0.4, 8: 0.16}),
]


@pytest.mark.parametrize(
    ("model", "values"), PROBABILITIES, ids=lambda value: getattr(value, "__qualname__", repr(value))[:60]
)
def test_probability_of_a_line_of_sight_has_the_published_values(
    model: Tr38901, values: dict[float, float]
) -> None:
    found = model.los_probability(np.array(list(values), np.float64))
    assert found == pytest.approx(list(values.values()), abs=1e-12)


@pytest.mark.parametrize("correlated", [True, False])
@pytest.mark.parametrize(("kind", "distance_m"), [(UMa, 70.0), (UMi, 40.0), (InH, 20.0)])
def test_ues_see_the_base_station_as_often_as_the_probability_says(
    kind: type[Tr38901], distance_m: float, correlated: bool
) -> None:
    n, model = 1500, kind(correlated=correlated)
    cell = Cell(radius_m=100.0, distances_m=(distance_m,))
    seen = [model.sees("ue0", cell=cell, key=KEY / "sight" / i) for i in range(n)]
    probability = float(model.los_probability(distance_m))
    assert np.mean(seen) == pytest.approx(probability, abs=5 * math.sqrt(probability * (1 - probability) / n))


@pytest.mark.parametrize("correlated", [True, False])
@pytest.mark.parametrize(
    ("model", "sigma_db"),
    [
        (UMa(los="always"), 4.0),
        (UMa(los="never"), 6.0),
        (UMi(los="never"), 7.82),
        (RMa(los="always"), 4.0),
        (RMa(los="always", frequency_hz=0.5e9, h_bs_m=10.0, h_ut_m=1.0), 6.0),  # beyond a breakpoint of 105 m
        (RMa(los="never"), 8.0),
        (InF(hall="SH", los="always"), 4.3),
        (InF(hall="DL", los="never"), 7.2),
    ],
    ids=lambda value: getattr(value, "__qualname__", repr(value))[:40],
)
def test_shadowing_is_normal_in_decibels_around_the_loss(
    model: Tr38901, sigma_db: float, correlated: bool
) -> None:
    n, model = 1500, replace(model, correlated=correlated)
    cell = Cell(radius_m=300.0, distances_m=(200.0,))
    levels_db = np.array(
        [linear_to_db(model.gain("ue0", cell=cell, key=KEY / "shadow" / i)) for i in range(n)]
    )
    scaled = (levels_db + float(model.loss_db(200.0, los=model.los == "always"))) / sigma_db
    assert stats.kstest(scaled, "norm").pvalue > 1e-4
    assert scaled.std() == pytest.approx(1, abs=5 / math.sqrt(2 * n))


def test_shadows_correlate_as_the_exponential_of_the_distance() -> None:
    n, correlation_m = 3000, 37.0
    apart = np.array([0.05, 0.2, 0.5, 1.0, 2.0, 4.0])
    bearings = np.array([0.0, 1.1, 4.0])[:, None]
    there = np.stack([apart * np.cos(bearings), apart * np.sin(bearings)], axis=-1).reshape(-1, 2)
    places = np.array([300.0, -120.0]) + correlation_m * np.vstack([np.zeros((1, 2)), there])
    values = np.array(
        [spatial_normals(KEY / "field" / i, places, correlation_m=correlation_m) for i in range(n)]
    )
    assert values.mean(axis=0) == pytest.approx(0, abs=5 / math.sqrt(n))
    assert stats.kstest(values[:, 0], "norm").pvalue > 1e-4
    found = (values[:, :1] * values[:, 1:]).mean(axis=0)
    # The product of two unit normals with correlation r has a variance of 1 + r^2.
    expected = np.tile(np.exp(-apart), 3)
    assert (np.abs(found - expected) < 5 * np.sqrt((1 + expected**2) / n)).all()


def test_shadows_of_distant_places_are_independent_and_of_unit_variance() -> None:
    keys, side = 200, 14
    axis = np.arange(side) * 80.0  # eight correlation distances: exp(-8) is nothing
    places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    values = np.array([spatial_normals(KEY / "far" / i, places, correlation_m=10.0) for i in range(keys)])
    n = values.size
    assert values.mean() == pytest.approx(0, abs=5 / math.sqrt(n))
    assert values.var() == pytest.approx(1, abs=5 * math.sqrt(2 / n))
    # Fourth moments of n independent normals: 3, with a variance of 96 / n; 512 waves: 3 - 1.5 / 512.
    assert (values**4).mean() == pytest.approx(3 - 1.5 / 512, abs=5 * math.sqrt(96 / n))
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-4
    assert (values[:, 1:] * values[:, :-1]).mean() == pytest.approx(0, abs=5 / math.sqrt(n))


def test_one_field_has_the_same_law_over_the_ground() -> None:
    correlation_m, side = 10.0, 80
    axis = np.arange(side) * 7.0
    places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    values = spatial_normals(KEY / "ground", places, correlation_m=correlation_m).reshape(side, side)
    # 560 m square, of which about (560 / 25)^2 = 500 patches are independent of each other.
    assert values.mean() == pytest.approx(0, abs=5 / math.sqrt(500))
    assert values.var() == pytest.approx(1, abs=5 * math.sqrt(2 / 500))
    for lag in (1, 2):
        products = np.concatenate(
            [(values[:, lag:] * values[:, :-lag]).ravel(), (values[lag:] * values[:-lag]).ravel()]
        )
        assert products.mean() == pytest.approx(math.exp(-0.7 * lag), abs=5 / math.sqrt(500))


@pytest.mark.parametrize(
    ("model", "seen_m", "hidden_m", "sight_m"),
    [
        (UMa(), 37.0, 50.0, 50.0),
        (UMi(), 10.0, 13.0, 50.0),
        (RMa(), 37.0, 120.0, 60.0),
        (InH(), 10.0, 6.0, 10.0),
        (InF(hall="SH"), 10.0, 10.0, 5.0),
        (InF(hall="DL"), 10.0, 10.0, 1.0),
    ],
    ids=repr,
)
def test_correlation_distances_are_those_of_the_published_table(
    model: Tr38901, seen_m: float, hidden_m: float, sight_m: float
) -> None:
    found = model.correlation_m(los=True), model.correlation_m(los=False), model.los_correlation_m()
    assert found == (seen_m, hidden_m, sight_m)


@pytest.mark.parametrize(
    ("model", "seen_db", "hidden_db"),
    [
        (UMa(), 4.0, 6.0),
        (UMi(), 4.0, 7.82),
        (InH(), 3.0, 8.03),
        (InF(hall="SL"), 4.3, 5.7),
        (InF(hall="DL"), 4.3, 7.2),
        (InF(hall="SH"), 4.3, 5.9),
        (InF(hall="DH"), 4.3, 4.0),
    ],
    ids=repr,
)
def test_shadowing_is_as_strong_as_the_published_table_says(
    model: Tr38901, seen_db: float, hidden_db: float
) -> None:
    distances_m = np.array([10.0, 20.0, 100.0])
    assert model.shadowing_db(distances_m, los=True).tolist() == [seen_db] * 3
    assert model.shadowing_db(distances_m, los=False).tolist() == [hidden_db] * 3
    mixed = model.shadowing_db(distances_m, los=np.array([True, False, True]))
    assert mixed.tolist() == [seen_db, hidden_db, seen_db]


def test_rural_shadows_are_stronger_beyond_the_breakpoint() -> None:
    model = RMa(frequency_hz=0.8e9)  # breakpoint at 2 pi 35 1.5 0.8 / 0.3 = 879.6 m
    distances_m = np.array([10.0, 879.0, 880.0, 5000.0])
    assert model.shadowing_db(distances_m, los=True).tolist() == [4.0, 4.0, 6.0, 6.0]
    assert model.shadowing_db(distances_m, los=False).tolist() == [8.0] * 4


def test_neighbours_share_a_shadow_that_distant_ues_do_not() -> None:
    cell = Cell(placement={"kind": "given", "positions_m": [[100.0, 0.0], [100.5, 0.0], [-100.0, 0.0]]})
    model = UMa(los="never")
    loss_db = [float(model.loss_db(d, los=False)) for d in (100.0, 100.5, 100.0)]
    levels = np.array(
        [
            [
                linear_to_db(model.gain(f"ue{k}", cell=cell, key=KEY / "near" / i)) + loss_db[k]
                for k in range(3)
            ]
            for i in range(400)
        ]
    )
    found = np.corrcoef(levels.T)
    assert found[0, 1] > 0.97  # exp(-0.5 / 50) = 0.99
    assert abs(found[0, 2]) < 5 / math.sqrt(400)  # exp(-200 / 50) = 0.02


def test_a_walkers_shadow_changes_slowly() -> None:
    speed = {"speed_min_m_per_s": 1.0, "speed_max_m_per_s": 1.0}
    cell = Cell(placement={"kind": "random-waypoint", **speed})
    model = UMa(los="never")
    times_s = np.arange(0.0, 600.0)
    gains_db = np.array([linear_to_db(model.gain("ue0", cell=cell, key=KEY, time_s=t)) for t in times_s])
    distances_m = np.array([cell.distance_m("ue0", KEY, t) for t in times_s])
    shadows_db = gains_db + model.loss_db(distances_m, los=False)
    # Over 1 m of the walk a shadow of 6 dB changes by 6 sqrt(2 (1 - exp(-1 / 50))) = 1.19 dB rms.
    expected_db = 6.0 * math.sqrt(2 * (1 - math.exp(-1 / 50)))
    steps_db = np.diff(shadows_db)
    assert math.sqrt((steps_db**2).mean()) == pytest.approx(expected_db, rel=0.25)
    assert np.ptp(shadows_db) > 6.0


def test_without_correlation_a_ue_takes_its_shadow_along() -> None:
    cell = Cell(placement={"kind": "random-waypoint"})
    model = UMa(los="never", correlated=False)
    shadows_db = [
        linear_to_db(model.gain("ue0", cell=cell, key=KEY, time_s=t))
        + float(model.loss_db(cell.distance_m("ue0", KEY, t), los=False))
        for t in (0.0, 100.0, 1000.0)
    ]
    assert all(a == pytest.approx(b) for a, b in pairwise(shadows_db))


@pytest.mark.parametrize(
    ("model", "cell", "rule"),
    [
        (UMa(), Cell(min_distance_m=5.0), r"cell.min_distance_m = 5.0 must be at least 10; path = 'uma'"),
        (UMi(), Cell(radius_m=6000.0), r"cell.radius_m = 6000.0 must be at most 5000; path = 'umi'"),
        (RMa(), Cell(radius_m=6000.0), r"cell.radius_m = 6000.0 must be at most 5000"),
        (RMa(los="always"), Cell(radius_m=11_000.0), r"cell.radius_m = 11000.0 must be at most 10000"),
        (
            InH(),
            Cell(),
            r"cell.radius_m = 500.0 must be at most 149.987; path = 'inh' was made for 1 … 150 m",
        ),
        (InF(), Cell(radius_m=601.0), r"cell.radius_m = 601.0 must be at most 599.9"),
    ],
    ids=repr,
)
def test_distances_that_a_scenario_was_not_made_for_are_refused(
    model: Tr38901, cell: Cell, rule: str
) -> None:
    for ask in (lambda: model.check(cell), lambda: model.gain("ue0", cell=cell, key=KEY)):
        with pytest.raises(ConfigError, match=rule):
            ask()


@pytest.mark.parametrize(
    ("kind", "fields", "name"),
    [
        (UMa, {"frequency_hz": 0.4e9}, "frequency_hz"),
        (UMi, {"frequency_hz": 101e9}, "frequency_hz"),
        (RMa, {"frequency_hz": 31e9}, "frequency_hz"),
        (UMa, {"h_ut_m": 14.0}, "h_ut_m"),
        (UMi, {"h_ut_m": 1.0}, "h_ut_m"),
        (UMa, {"h_bs_m": 1.0}, "h_bs_m"),
        (RMa, {"h_bs_m": 9.0}, "h_bs_m"),
        (RMa, {"building_m": 4.0}, "building_m"),
        (RMa, {"street_m": 51.0}, "street_m"),
        (InH, {"h_ut_m": 0.0}, "h_ut_m"),
        (InF, {"hall": "SH", "h_bs_m": 1.9}, "h_bs_m"),
        (InF, {"hall": "SL", "h_bs_m": 8.0}, "h_bs_m"),
        (InF, {"clutter_density": 1.0}, "clutter_density"),
        (InF, {"clutter_m": 0.0}, "clutter_m"),
        (InF, {"clutter_height_m": 1.0}, "clutter_height_m"),
        (LogDistance, {"shadowing_db": -1.0}, "shadowing_db"),
        (LogDistance, {"correlation_m": math.inf}, "correlation_m"),
        (LogDistance, {"intercept_db": math.nan}, "intercept_db"),
        (FreeSpace, {"frequency_hz": 0.0}, "frequency_hz"),
        (FreeSpace, {"h_bs_m": -1.0}, "h_bs_m"),
        (UMa, {"los": "perhaps"}, "los"),
    ],
)
def test_settings_that_a_model_was_not_made_for_are_refused_by_name(
    kind: type, fields: dict[str, object], name: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name} = "):
        kind(**fields)
