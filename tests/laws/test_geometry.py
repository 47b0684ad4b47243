"""What must hold of places and walks whatever their code: areas, bearings, speeds, and answers in any order."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import PLACEMENTS, Cell, Shannon, Tdma
from syft_fl.radio.steps import next_step_s, step_number

KEY = Key(2003)
N = 6000
R = 500.0


def places_of(cell: Cell, n: int = N, time_s: float = 0.0) -> np.ndarray:
    return np.array([cell.position_m(f"ue{k}", KEY, time_s) for k in range(n)])


def walking(**fields: Any) -> Cell:
    return Cell(placement={"kind": "random-waypoint"} | fields)


def trace(folder: Path, *rows: str, header: str = "time_s,ue,x_m,y_m", **cell: Any) -> Cell:
    path = folder / "trace.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return Cell(placement={"kind": "trace", "file": str(path)}, **cell)


def test_distances_in_a_disc_are_those_they_have_always_been() -> None:
    cell = Cell(radius_m=800.0, min_distance_m=35.0)
    for k in range(100):
        drawn = (KEY / "distance" / f"ue{k}").uniform()
        assert cell.distance_m(f"ue{k}", KEY) == math.sqrt(35.0**2 + drawn * (800.0**2 - 35.0**2))


@pytest.mark.parametrize(
    "cell",
    [
        Cell(),
        Cell(distances_m=tuple(10.0 + 490 * k / N for k in range(N))),
        Cell(placement={"kind": "ring", "inner_m": 300.0}),
        Cell(placement={"kind": "hexagon"}),
        walking(),
    ],
    ids=lambda cell: cell.placement.kind,
)
def test_a_ues_position_is_at_its_distance_in_any_direction(cell: Cell) -> None:
    places = places_of(cell)
    distances_m = np.array([cell.distance_m(f"ue{k}", KEY) for k in range(N)])
    assert np.hypot(*places.T) == pytest.approx(distances_m, rel=1e-12)
    assert distances_m.min() >= cell.min_distance_m
    assert distances_m.max() <= cell.radius_m
    # Sixfold symmetric: no bearing is preferred among the six.
    turns = np.mod(np.arctan2(places[:, 1], places[:, 0]) / (math.pi / 3), 6).astype(int)
    assert np.bincount(turns, minlength=6) == pytest.approx(N / 6, abs=5 * math.sqrt(N * 5 / 36))


@pytest.mark.parametrize("placement", [{"kind": "disc"}, {"kind": "ring", "inner_m": 300.0}], ids=str)
def test_ues_are_uniform_over_a_ring(placement: dict[str, Any]) -> None:
    cell = Cell(placement=placement)
    inner_m = placement.get("inner_m", 10.0)
    places = places_of(cell)
    shares = ((places**2).sum(axis=1) - inner_m**2) / (R**2 - inner_m**2)
    assert stats.kstest(shares, "uniform").pvalue > 1e-4
    bearings = np.mod(np.arctan2(places[:, 1], places[:, 0]), math.tau) / math.tau
    assert stats.kstest(bearings, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(shares, bearings)[0, 1]) < 5 / math.sqrt(N)


def test_a_ring_without_width_puts_all_ues_at_one_distance() -> None:
    cell = Cell(placement={"kind": "ring", "inner_m": 500.0})
    assert {cell.distance_m(f"ue{k}", KEY) for k in range(50)} == {500.0}


def test_ues_are_uniform_over_a_hexagon() -> None:
    x, y = places_of(Cell(placement={"kind": "hexagon"}, min_distance_m=1e-6)).T / R
    # Corners at east and every 60 degrees: three pairs of edges at a distance of sqrt(3) / 2.
    for turn in (30, 90, 150):
        across = x * math.cos(math.radians(turn)) + y * math.sin(math.radians(turn))
        assert np.abs(across).max() <= math.sqrt(0.75) + 1e-12
        # Width at |across| = a is 2 - 2 a / sqrt(3) sides of the hexagon's 1.5 * sqrt(3).
        share = lambda a: (2 * a - a**2 / math.sqrt(3)) * 2 / (1.5 * math.sqrt(3))  # noqa: E731
        assert stats.kstest(np.abs(across), share).pvalue > 1e-4
    squares = x**2 + y**2
    assert squares.mean() == pytest.approx(5 / 12, abs=5 * squares.std() / math.sqrt(N))
    inscribed = math.pi / (2 * math.sqrt(3))
    assert (squares < 0.75).mean() == pytest.approx(
        inscribed, abs=5 * math.sqrt(inscribed * (1 - inscribed) / N)
    )
    for low in (0.1, 0.5, 0.8):  # discs around the centre, within the hexagon
        area = math.pi * low**2 / (1.5 * math.sqrt(3))
        assert (squares < low**2).mean() == pytest.approx(area, abs=5 * math.sqrt(area * (1 - area) / N))


def test_given_positions_belong_to_the_number_at_the_end_of_the_name() -> None:
    cell = Cell(placement={"kind": "given", "positions_m": [[300, 400], [-20.5, 0.0]]})
    assert cell.position_m("phone-01", KEY) == (-20.5, 0.0)
    assert cell.distance_m("ue0", KEY) == 500.0
    assert cell.steady_until_s(time_s=3.0) == math.inf
    with pytest.raises(ConfigError, match=r"placement.positions_m has 2 entries, none for 'ue2'"):
        cell.position_m("ue2", KEY)


def test_a_ue_is_where_it_is_whoever_else_is_there_and_elsewhere_under_another_key() -> None:
    for placement in ("disc", {"kind": "ring", "inner_m": 20.0}, "hexagon", "random-waypoint"):
        cell = Cell(placement=placement)
        alone = cell.position_m("ue7", KEY, 100.0)
        assert places_of(cell, 8, 100.0)[7] == pytest.approx(alone, abs=0)
        assert cell.position_m("ue7", Key(1), 100.0) != alone
        assert cell.position_m("ue8", KEY, 100.0) != alone


@pytest.mark.parametrize("within", ["disc", "hexagon"])
def test_a_walker_starts_where_it_would_stand(within: str) -> None:
    still, moving = Cell(placement=within), walking(within=within)
    assert moving.moves
    assert not still.moves
    assert places_of(moving, 50) == pytest.approx(places_of(still, 50), abs=0)


def test_walks_are_the_same_asked_in_any_order() -> None:
    cell = walking(pause_s=20.0, speed_max_m_per_s=30.0)
    asked = [(f"ue{k}", 37.0 * t) for k in range(5) for t in range(40)]
    shuffled = random.Random(0).sample(asked, len(asked))
    # Another key has another memo, so the first answers are not the second ones remembered.
    found = {question: cell.position_m(question[0], KEY / "order", question[1]) for question in shuffled}
    fresh = walking(pause_s=20.0, speed_max_m_per_s=30.0, step_s=0.5)
    again = {question: fresh.position_m(question[0], KEY / "order", question[1]) for question in asked}
    assert found == again


@settings(max_examples=50, deadline=None)
@given(time_s=st.floats(0, 1e5), step_s=st.sampled_from([0.1, 1.0, 7.3]))
def test_walkers_hold_still_for_a_step_and_go_no_faster_than_they_may(time_s: float, step_s: float) -> None:
    cell = walking(speed_max_m_per_s=20.0, step_s=step_s)
    until_s = cell.steady_until_s(time_s=time_s)
    assert time_s < until_s <= time_s + step_s * (1 + 1e-9)
    here = cell.position_m("ue0", KEY, time_s)
    assert cell.position_m("ue0", KEY, math.nextafter(until_s, 0.0)) == here
    assert math.dist(here, cell.position_m("ue0", KEY, until_s)) <= 20.0 * step_s * (1 + 1e-6)


def test_a_walk_crosses_the_disc_as_long_as_two_random_points_are_apart() -> None:
    # Mean distance of two uniform points in a disc: 128 R / (45 pi). At 100 km/s a walker is at its place at once.
    cell = walking(speed_min_m_per_s=1e5, speed_max_m_per_s=1e5, pause_s=10.0)
    rests = np.array([[cell.position_m(f"ue{k}", KEY, 10.0 * n + 5.0) for n in range(6)] for k in range(400)])
    lengths_m = np.hypot(*np.diff(rests, axis=1).reshape(-1, 2).T)
    error_m = 5 * lengths_m.std() / math.sqrt(len(lengths_m) / 2)  # neighbours share a point
    assert lengths_m.mean() == pytest.approx(128 * R / (45 * math.pi), abs=error_m)


def test_mean_speed_over_time_is_that_of_slow_legs_that_last_longer() -> None:
    # Legs' speeds are uniform in v0 ... v1; weighted with how long they last the mean is (v1 - v0) / ln(v1 / v0).
    cell = walking(speed_min_m_per_s=1.0, speed_max_m_per_s=10.0)
    speeds = np.array(
        [
            math.dist(*(cell.position_m(f"ue{k}", KEY, t) for t in (start_s, start_s + 1.0)))
            for k in range(150)
            for start_s in np.arange(1000.0, 5000.0, 400.0)
        ]
    )
    # A walker asked every 400 s is on another leg each time or two.
    expected = 9.0 / math.log(10.0)
    assert speeds.mean() == pytest.approx(expected, abs=5 * speeds.std() / math.sqrt(len(speeds) / 2))


def test_walkers_rest_at_their_places() -> None:
    cell = walking(pause_s=1e6, speed_min_m_per_s=5.0, speed_max_m_per_s=5.0)
    rest = cell.position_m("ue0", KEY, 5000.0)
    assert cell.position_m("ue0", KEY, 900_000.0) == rest
    assert cell.position_m("ue0", KEY, 1_001_000.0) != rest


def test_walkers_gather_in_the_middle() -> None:
    # A uniform start has a mean square of R^2 / 2; the stationary law of random waypoints is denser inside.
    cell = walking(speed_min_m_per_s=5.0, speed_max_m_per_s=10.0)
    squares = (places_of(cell, 1000, 2000.0) ** 2).sum(axis=1) / R**2
    assert squares.mean() < 0.5 - 10 * squares.std() / math.sqrt(1000)


def test_a_trace_is_followed_straight_from_row_to_row(tmp_path: Path) -> None:
    cell = trace(tmp_path, "10,ue0,100,0", "0,ue0,0,50", "20,ue0,100,0", "5,ue1,-20,-30")
    found = [cell.position_m("ue0", KEY, t) for t in (0.0, 5.0, 10.0, 15.0, 99.0)]
    assert found == [(0.0, 50.0), (50.0, 25.0), (100.0, 0.0), (100.0, 0.0), (100.0, 0.0)]
    assert [cell.position_m("ue1", KEY, t) for t in (0.0, 50.0)] == [(-20.0, -30.0)] * 2
    # Between steps of a second a UE counts as where it was.
    assert cell.position_m("ue0", KEY, 5.99) == (50.0, 25.0)
    assert cell.steady_until_s(time_s=5.99) == 6.0


def test_a_ue_that_passes_under_the_base_station_counts_as_at_the_smallest_distance(tmp_path: Path) -> None:
    cell = trace(tmp_path, "0,ue0,-100,0", "200,ue0,100,0")
    assert cell.position_m("ue0", KEY, 100.0) == (0.0, 0.0)
    assert cell.distance_m("ue0", KEY, 100.0) == 10.0
    assert cell.distance_m("ue0", KEY, 50.0) == 50.0


def test_a_trace_that_is_rewritten_is_read_again(tmp_path: Path) -> None:
    assert trace(tmp_path, "0,ue0,30,40").distance_m("ue0", KEY) == 50.0
    assert trace(tmp_path, "0,ue0,300,400").distance_m("ue0", KEY) == 500.0


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["0,ue0,1,2"], "time,ue,x_m,y_m", "it lacks time_s"),
        (["0,ue0,1"], "time_s,ue,x_m,y_m", "line 2 = '0,ue0,1,None' must be a time, a UE and two coord"),
        (["0,ue0,1,inf"], "time_s,ue,x_m,y_m", "line 2 = '0,ue0,1,inf'"),
        (["0,ue0,1,2", "0,ue0,3,4"], "time_s,ue,x_m,y_m", "time of ue0 = 0.0 must be there once"),
        (["0,ue0,400,400"], "time_s,ue,x_m,y_m", "distance of ue0 at 0 s = 565.68.* at most radius_m = 500"),
        ([], "time_s,ue,x_m,y_m", "at least one row"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(
    tmp_path: Path, rows: list[str], header: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        trace(tmp_path, *rows, header=header)


def test_a_trace_without_a_file_or_a_ue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"placement.file = 'nowhere.csv' can't be read \(No such file"):
        Cell(placement={"kind": "trace", "file": "nowhere.csv"})
    with pytest.raises(ConfigError, match=r"has no row for 'ue1'; did you mean 'ue0'\? valid: ue0"):
        trace(tmp_path, "0,ue0,20,20").position_m("ue1", KEY)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"placement": {"kind": "ring", "inner_m": 5.0}},
            r"placement.inner_m = 5.0 must be in 10.0 … 500.0 m",
        ),
        (
            {"placement": "hexagon", "min_distance_m": 450.0},
            r"min_distance_m = 450.0 must be below 433.013 m",
        ),
        (
            {"placement": {"kind": "given", "positions_m": [[1.0, 2.0]]}},
            r"placement.positions_m\[0\] = \(1.0, 2.0\) must be 10.0 … 500.0 m from \(0, 0\)",
        ),
        ({"placement": "hexagon", "distances_m": [100.0]}, r"must be empty where placement is 'hexagon'"),
        ({"placement": {"kind": "random-waypoint", "speed_min_m_per_s": 0.0}}, r"speed_min_m_per_s = 0.0"),
        ({"placement": {"kind": "random-waypoint", "speed_max_m_per_s": 0.1}}, r"speed_max_m_per_s = 0.1"),
        ({"placement": {"kind": "random-waypoint", "pause_s": -1.0}}, r"pause_s = -1.0"),
        ({"placement": {"kind": "random-waypoint", "step_s": 0.0}}, r"step_s = 0.0"),
        (
            {"placement": {"kind": "random-waypoint", "within": "random-waypoint"}},
            r"within = 'random-waypoint'",
        ),
        ({"placement": "random-waypoint", "radius_m": 10.0}, r"radius_m = 10.0 must be above"),
        ({"placement": "random-waypoint", "distances_m": [100.0]}, r"distances_m = "),
        ({"placement": "square"}, r"is no placement; .*valid: disc, given, hexagon"),
    ],
)
def test_places_outside_the_cell_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cell(**fields)


def test_every_placement_is_tested_here() -> None:
    ours = {cls.kind for cls in PLACEMENTS if cls.__module__.startswith("syft_fl.")}
    assert ours == {"disc", "ring", "hexagon", "given", "random-waypoint", "trace"}


def test_a_link_follows_a_ue_that_moves(tmp_path: Path) -> None:
    cell = trace(tmp_path, "0,ue0,50,0", "100,ue0,450,0")
    link = Shannon(fading="none", shadowing_db=0.0).link(cell, KEY, "uplink")
    rates = [link.rate_bps("ue0", share=1.0, block=0, time_s=t) for t in (0.0, 0.9, 1.0, 50.0, 100.0)]
    assert rates[0] == rates[1] > rates[2] > rates[3] > rates[4]
    assert link.steady_until_s(time_s=0.9) == 1.0
    # Bits are the integral of the rate, step by step, while the UE walks away.
    medium = Tdma().open(link, users=1)
    medium.offer(["ue0"], 500_000_000, now_s=0.0)
    (transfer,) = medium.advance(1e6)
    whole_s = math.floor(transfer.end_s)
    carried = sum(link.rate_bps("ue0", share=1.0, block=0, time_s=float(t)) for t in range(whole_s))
    carried += link.rate_bps("ue0", share=1.0, block=0, time_s=transfer.end_s) * (transfer.end_s - whole_s)
    assert carried == pytest.approx(500_000_000)


@given(time_s=st.floats(0, 1e7), step_s=st.floats(1e-5, 1e3))
def test_steps_neither_overlap_nor_leave_gaps(time_s: float, step_s: float) -> None:
    number = step_number(time_s, step_s)
    assert number * step_s <= time_s < (number + 1) * step_s == next_step_s(time_s, step_s)
    assert step_number(next_step_s(time_s, step_s), step_s) == number + 1
