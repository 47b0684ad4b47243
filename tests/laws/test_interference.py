"""What must hold of neighbour cells: where they stand, how much of them arrives, and what it does to the ratio."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import pytest
from claims.radio import frequency

from syft_fl.keys import Key
from syft_fl.radio import (
    Cell,
    Fractional,
    LogDistance,
    Neighbours,
    NoFading,
    RandomWaypoint,
    Rayleigh,
    RMa,
    TargetSnr,
    Tdma,
    UMa,
    Wireless,
)
from syft_fl.radio.interference import sites_m
from syft_fl.radio.wireless import WirelessLink
from syft_fl.units import db_to_linear, dbm_to_watt

KEY = Key(1947)
BLOCKS = 1500
CELL = Cell(radius_m=400.0, min_distance_m=20.0)
APART_M = math.sqrt(3.0) * 400.0
CALM = {"path": LogDistance(shadowing_db=0.0), "fading": NoFading()}
WIDTH_HZ = 1e6
AT = {"share": 1.0, "block": 0, "time_s": 0.0}


def linked(
    interference: Neighbours | None = None, *, direction: str = "uplink", cell: Cell = CELL, **parts: Any
) -> WirelessLink:
    around = {} if interference is None else {"interference": interference}
    link = Wireless(**{**CALM, **parts}, **around).link(cell, KEY, direction)
    assert isinstance(link, WirelessLink)
    return link


def densities(link: WirelessLink, blocks: int = BLOCKS) -> np.ndarray:
    """[blocks] interference [W/Hz] that ue0's signal meets."""
    thermal_w = WIDTH_HZ * dbm_to_watt(-174.0)
    noises_w = [link.noise_w("ue0", share=1.0, block=block, time_s=0.0) for block in range(blocks)]
    return (np.array(noises_w) - thermal_w) / WIDTH_HZ


def loss_gain(distance_m: np.ndarray) -> np.ndarray:
    return 10 ** -(12.81 + 3.76 * np.log10(distance_m / 1000.0))


def over_hexagons(
    gain: Callable[[np.ndarray], np.ndarray],
    *,
    rings: int = 1,
    power_w: Callable[[np.ndarray], np.ndarray] | None = None,
) -> float:
    """Sum over neighbour cells of the mean received power [W] of a UE that is anywhere in them, by quadrature."""
    radius_m, count = APART_M / math.sqrt(3.0), 801
    axis = (np.arange(count) + 0.5) / count * 2.0 - 1.0
    x_m, y_m = (radius_m * side for side in np.meshgrid(axis, axis))
    inside = (abs(y_m) <= math.sqrt(0.75) * radius_m) & (
        math.sqrt(3.0) * abs(x_m) + abs(y_m) <= math.sqrt(3.0) * radius_m
    )
    inside &= np.hypot(x_m, y_m) >= 20.0
    x_m, y_m = x_m[inside], y_m[inside]
    sent_w = np.full(len(x_m), 0.01) if power_w is None else power_w(np.hypot(x_m, y_m))
    # Six cells at each distance and, in the second ring, six more at the square root of three.
    sites = (
        [(APART_M, 0.5)]
        if rings == 1
        else [(APART_M, 0.5), (2 * APART_M, 0.5), (math.sqrt(3) * APART_M, 0.0)]
    )
    total_w = 0.0
    for distance_m, turn in sites:
        site_x_m, site_y_m = (
            distance_m * math.cos(turn * math.pi / 3),
            distance_m * math.sin(turn * math.pi / 3),
        )
        total_w += 6.0 * float((sent_w * gain(np.hypot(site_x_m + x_m, site_y_m + y_m))).mean())
    return total_w


def assert_mean(values: np.ndarray, expected: float) -> None:
    """Within five standard errors, and these small enough for the claim to say something."""
    error = values.std() / math.sqrt(len(values))
    assert error < 0.06 * expected
    assert values.mean() == pytest.approx(expected, abs=5 * error)


@pytest.mark.parametrize(("rings", "count"), [(1, 6), (2, 18), (3, 36)])
def test_sites_stand_on_the_hexagonal_lattice(rings: int, count: int) -> None:
    places = sites_m(rings, 700.0)
    assert len(places) == count
    everybody = [(0.0, 0.0), *places]
    apart_m = [math.dist(a, b) for a, b in combinations(everybody, 2)]
    assert min(apart_m) == pytest.approx(700.0)
    # Each but those of the last ring has six neighbours at the inter-site distance.
    for number, place in enumerate(everybody):
        near = sum(math.dist(place, other) < 701.0 for other in everybody) - 1
        assert near == 6 if number < count + 1 - 6 * rings else near in (3, 4)
    first = [math.hypot(*place) for place in places[:6]]
    assert first == pytest.approx([700.0] * 6)
    bearings = sorted(math.degrees(math.atan2(y, x)) % 360 for x, y in places[:6])
    assert bearings == pytest.approx([30.0, 90.0, 150.0, 210.0, 270.0, 330.0])
    if rings == 2:
        outer = sorted(math.hypot(*place) for place in places[6:])
        assert outer == pytest.approx([700.0 * math.sqrt(3)] * 6 + [1400.0] * 6)


class Witness:
    """A path model of one's own, which notes where from a signal comes."""

    kind: ClassVar[str] = "witness"

    def __init__(self) -> None:
        self.seen: dict[str, tuple[float, float]] = {}

    def check(self, cell: Cell) -> None: ...

    def gain(self, ue: str, *, cell: Cell, key: Key, time_s: float = 0.0) -> float:
        self.seen[ue] = cell.position_m(ue, key, time_s)
        return 1e-12


def test_interfering_ues_are_uniform_over_the_hexagon_of_their_own_site() -> None:
    witness, blocks = Witness(), 300
    densities(linked(Neighbours(rings=2), path=witness), blocks)
    sites = np.array([(0.0, 0.0), *sites_m(3, APART_M)])
    assert len(witness.seen) == 18 * blocks
    offsets_m = np.empty((18 * blocks, 2))
    for number, (ue, place) in enumerate(witness.seen.items()):
        nearest = int(np.hypot(*(sites - place).T).argmin())
        assert ue.startswith(f"site{nearest}/")
        offsets_m[number] = place - sites[nearest]
    # Second moments of a regular hexagon about its centre: 5/24 of the squared radius along each axis.
    moment_m2 = 5 / 24 * 400.0**2
    for axis_m in offsets_m.T:
        assert axis_m.mean() == pytest.approx(0.0, abs=5 * math.sqrt(moment_m2 / len(axis_m)))
        spread = (axis_m**2).std() / math.sqrt(len(axis_m))
        assert (axis_m**2).mean() == pytest.approx(moment_m2, abs=5 * spread)
    assert np.hypot(*offsets_m.T).min() >= 20.0


@pytest.mark.parametrize("rings", [1, 2])
@pytest.mark.parametrize("load", [1.0, 0.3])
def test_mean_uplink_interference_is_the_integral_of_the_path_law_over_the_hexagons(
    rings: int, load: float
) -> None:
    found = densities(linked(Neighbours(rings=rings, load=load)))
    expected_w = load * over_hexagons(loss_gain, rings=rings)
    assert_mean(found, expected_w / WIDTH_HZ)


def test_the_inter_site_distance_and_the_power_are_what_is_asked_for() -> None:
    default, given = (
        densities(linked(model), 50)
        for model in (Neighbours(), Neighbours(inter_site_m=APART_M, power_dbm=13.0))
    )
    assert given / default == pytest.approx(np.full(50, db_to_linear(3.0)))
    # With all distances twice as long a power law loses the same everywhere.
    wide = densities(linked(Neighbours(), cell=Cell(radius_m=800.0, min_distance_m=40.0)), 50)
    assert wide / default == pytest.approx(np.full(50, 2**-3.76), rel=1e-6)


@pytest.mark.parametrize(
    ("parts", "factor"),
    [
        ({"fading": Rayleigh()}, 1.0),
        ({"path": LogDistance(shadowing_db=4.0)}, math.exp((0.4 * math.log(10)) ** 2 / 2)),
    ],
    ids=["fading", "shadowing"],
)
def test_interferers_fade_and_have_shadows_of_their_own(parts: dict[str, Any], factor: float) -> None:
    found = densities(linked(Neighbours(), **parts))
    assert_mean(found, factor * over_hexagons(loss_gain) / WIDTH_HZ)
    assert found.std() > 1.1 * densities(linked(Neighbours())).std()


def test_interferers_have_a_line_of_sight_as_often_as_the_path_model_says() -> None:
    path = RMa(shadowing=False, correlated=False)

    def mean_gain(distance_m: np.ndarray) -> np.ndarray:
        seen, hidden = (10 ** (-path.loss_db(distance_m, los=los) / 10) for los in (True, False))
        chance = path.los_probability(distance_m)
        return chance * seen + (1 - chance) * hidden

    assert_mean(densities(linked(Neighbours(), path=path)), over_hexagons(mean_gain) / WIDTH_HZ)


def test_neighbours_obey_the_links_power_control() -> None:
    control = Fractional(p0_dbm=-95.0, alpha=0.8)

    def power_w(distance_m: np.ndarray) -> np.ndarray:
        level_w = dbm_to_watt(-95.0) * (WIDTH_HZ / 180e3)
        return np.minimum(0.01, level_w * loss_gain(distance_m) ** -0.8)

    found = densities(linked(Neighbours(), power_control=control))
    expected_w = over_hexagons(loss_gain, power_w=power_w)
    assert expected_w < 0.5 * over_hexagons(loss_gain)
    assert_mean(found, expected_w / WIDTH_HZ)


def test_neighbours_in_a_closed_loop_aim_at_the_ratio_over_thermal_noise() -> None:
    def power_w(distance_m: np.ndarray) -> np.ndarray:
        return np.minimum(0.01, db_to_linear(6.0) * dbm_to_watt(-114.0) / loss_gain(distance_m))

    found = densities(linked(Neighbours(), power_control=TargetSnr(snr_db=6.0)))
    assert_mean(found, over_hexagons(loss_gain, power_w=power_w) / WIDTH_HZ)


@pytest.mark.parametrize("rings", [1, 2])
def test_downlink_interference_is_the_path_law_from_every_site(rings: int) -> None:
    link = linked(Neighbours(rings=rings, power_dbm=43.0), direction="downlink")
    for ue in (f"ue{k}" for k in range(10)):
        place = CELL.position_m(ue, KEY)
        distances_m = np.array([math.dist(place, site) for site in sites_m(rings, APART_M)])
        expected_w = WIDTH_HZ * dbm_to_watt(-174.0) + dbm_to_watt(43.0) * loss_gain(distances_m).sum()
        assert link.noise_w(ue, **AT) == pytest.approx(expected_w)


def test_downlink_interference_follows_a_ue_that_walks() -> None:
    cell = Cell(radius_m=400.0, placement=RandomWaypoint(speed_min_m_per_s=20.0, speed_max_m_per_s=30.0))
    link = linked(Neighbours(), direction="downlink", cell=cell)
    for time_s in (0.0, 3.3, 17.0, 3.9):
        place = cell.position_m("ue0", KEY, time_s)
        distances_m = np.array([math.dist(place, site) for site in sites_m(1, APART_M)])
        expected_w = WIDTH_HZ * dbm_to_watt(-174.0) + 0.01 * loss_gain(distances_m).sum()
        assert link.noise_w("ue0", share=1.0, block=0, time_s=time_s) == pytest.approx(expected_w)


@pytest.mark.parametrize("direction", ["uplink", "downlink"])
def test_the_ratio_falls_by_what_interference_adds_to_the_noise(direction: str) -> None:
    quiet, busy = (linked(model, direction=direction) for model in (None, Neighbours(load=0.6)))
    for block in range(20):
        for share in (1.0, 0.1):
            asked = {"share": share, "block": block, "time_s": 0.0}
            rise = busy.noise_w("ue3", **asked) / quiet.noise_w("ue3", **asked)
            assert rise >= 1
            assert quiet.snr("ue3", **asked) / busy.snr("ue3", **asked) == pytest.approx(rise)
            assert busy.transmit_power_w("ue3", **asked) == quiet.transmit_power_w("ue3", **asked)
    # Density is even: the rise is the same in every share.
    assert busy.noise_w("ue3", **AT) == pytest.approx(10 * busy.noise_w("ue3", **(AT | {"share": 0.1})))


@pytest.mark.parametrize("direction", ["uplink", "downlink"])
@pytest.mark.parametrize("block", ["round", "time"])
def test_without_load_nothing_changes_bit_for_bit(direction: str, block: str) -> None:
    parts = {"path": LogDistance(), "fading": Rayleigh(block="time"), "direction": direction}
    alone, idle = linked(**parts), linked(Neighbours(rings=2, load=0.0, block=block), **parts)
    for number in range(40):
        asked = {"share": 0.3, "block": number, "time_s": 0.17 * number}
        for question in ("rate_bps", "snr", "transmit_power_w", "noise_w"):
            assert getattr(idle, question)("ue1", **asked) == getattr(alone, question)("ue1", **asked)


@pytest.mark.parametrize("direction", ["uplink", "downlink"])
def test_more_load_puts_more_cells_on_the_air_and_takes_none_off(direction: str) -> None:
    blocks = 400
    found = [densities(linked(Neighbours(load=a), direction=direction), blocks) for a in (0.2, 0.5, 1.0)]
    assert (np.diff(found, axis=0) >= -1e-12 * found[-1]).all()
    # A block is silent where all six are.
    silent = float((found[0] < 1e-9 * found[-1]).mean())
    assert silent == pytest.approx(0.8**6, abs=frequency(0.8**6, blocks))


def test_blocks_are_rounds_or_stretches_of_time() -> None:
    rounds, times = (linked(Neighbours(block=b, block_s=0.2)) for b in ("round", "time"))
    noises = {
        name: [link.noise_w("ue0", share=1.0, block=b, time_s=t) for b, t in ((0, 0.0), (0, 0.3), (1, 0.1))]
        for name, link in (("round", rounds), ("time", times))
    }
    first, later, other = noises["round"]
    assert first == later != other
    first, later, other = noises["time"]
    assert first == other != later
    assert rounds.steady_until_s(time_s=0.3) == math.inf
    assert times.steady_until_s(time_s=0.3) == 0.4


def test_all_ues_of_a_cell_meet_the_same_uplink_interference_and_each_its_own_in_the_downlink() -> None:
    uplink, downlink = (linked(Neighbours(), direction=d) for d in ("uplink", "downlink"))
    assert len({uplink.noise_w(f"ue{k}", **AT) for k in range(5)}) == 1
    assert len({downlink.noise_w(f"ue{k}", **AT) for k in range(5)}) == 5


def test_our_own_ues_stay_where_they_are_and_as_shadowed_whoever_is_around() -> None:
    for path in (LogDistance(), UMa()):
        alone, busy = (linked(model, path=path, fading=Rayleigh()) for model in (None, Neighbours(rings=2)))
        for ue in (f"ue{k}" for k in range(10)):
            assert busy.mean_gain(ue, time_s=0.0) == alone.mean_gain(ue, time_s=0.0)
            asked = {"block": 4, "time_s": 0.0}
            assert busy.fading_gain(ue, **asked) == alone.fading_gain(ue, **asked)


def test_a_message_takes_longer_beside_busy_neighbours_block_by_block() -> None:
    model = Neighbours(block="time", block_s=0.05, load=0.5)
    ends_s = []
    for link in (linked(), linked(model)):
        medium = Tdma().open(link, users=1)
        medium.offer(["ue0"], 3_000_000, now_s=0.0)
        (transfer,) = medium.advance(1e6)
        ends_s.append(transfer.end_s)
    busy, sent, time_s = linked(model), 0.0, 0.0
    while time_s < ends_s[1]:
        until_s = min(busy.steady_until_s(time_s=time_s), ends_s[1])
        sent += (until_s - time_s) * busy.rate_bps("ue0", **(AT | {"time_s": time_s}))
        time_s = until_s
    assert sent == pytest.approx(3_000_000)
    assert ends_s[1] > ends_s[0]
