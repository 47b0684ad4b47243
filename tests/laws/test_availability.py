"""What must hold of when UEs are on, and of what fails: steady state, sojourns, memory, days, the order of asking."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syft_fl.errors import ClockError, ConfigError
from syft_fl.federation import (
    AVAILABILITIES,
    Availability,
    AvailabilityTrace,
    Failures,
    MarkovAvailability,
    PeriodicAvailability,
)
from syft_fl.federation.availability import _sojourns
from syft_fl.keys import Key

KEY = Key(9)
MARKOV = MarkovAvailability(mean_on_s=30.0, mean_off_s=10.0)
SHARE, FORGETS_S = 0.75, 7.5  # p, and 1/(1/a + 1/b)
PERIODIC = PeriodicAvailability(period_s=24.0, on_s=7.0)
TRACE = AvailabilityTrace(intervals=(((1.0, 2.5), (2.5, 4.0), (7.0, 9.0)), ((0.0, 3.0), (5.0, 10.0))))
ALL = [
    MARKOV,
    MarkovAvailability(mean_on_s=0.3, mean_off_s=4.0),
    PERIODIC,
    PeriodicAvailability(period_s=0.7, on_s=0.2, phase="common"),
    PeriodicAvailability(period_s=3.0, on_s=3.0),
    TRACE,
    AvailabilityTrace(intervals=TRACE.intervals, period_s=10.0),
    AvailabilityTrace(intervals=TRACE.intervals, period_s=8.1),
    AvailabilityTrace(intervals=((),), period_s=8.0),
]


def margin(share: float, count: int) -> float:
    """Five standard errors of a share."""
    return 5 * math.sqrt(share * (1 - share) / count)


def changes_s(model: Availability, ue: str, until_s: float) -> list[float]:
    found: list[float] = []
    time_s = model.next_change_s(ue, 0.0, key=KEY)
    while time_s < until_s:
        found.append(time_s)
        time_s = model.next_change_s(ue, time_s, key=KEY)
    return found


# Whatever the kind.


def test_every_registered_availability_is_under_test() -> None:
    assert {type(model) for model in ALL} == set(AVAILABILITIES)


@pytest.mark.parametrize("model", ALL, ids=str)
@pytest.mark.parametrize("ue", ["ue0", "ue1", "ue7"])
def test_a_ue_changes_at_the_next_change_and_not_before(model: Availability, ue: str) -> None:
    time_s, until_s = 0.0, 60.0
    for _ in range(400):
        next_s = model.next_change_s(ue, time_s, key=KEY)
        assert next_s > time_s
        state = model.on(ue, time_s, key=KEY)
        end_s = min(next_s, until_s)
        for between_s in np.linspace(time_s, math.nextafter(end_s, 0), 7):
            assert model.on(ue, float(between_s), key=KEY) is state
            assert model.next_change_s(ue, float(between_s), key=KEY) == next_s
        if next_s >= until_s:
            return
        assert model.on(ue, next_s, key=KEY) is not state
        time_s = next_s


@pytest.mark.parametrize("model", ALL, ids=str)
def test_a_scan_of_a_minute_finds_no_change_that_was_not_announced(model: Availability) -> None:
    times_s = np.arange(0.0, 60.0, 0.01).tolist()
    states = [model.on("ue1", time_s, key=KEY) for time_s in times_s]
    seen = [later for later, (was, now) in enumerate(pairwise(states), 1) if was != now]
    announced = changes_s(model, "ue1", times_s[-1])
    # One that is switched off and on within a step is not seen.
    steps = [math.ceil(change_s / 0.01 - 1e-9) for change_s in announced]
    assert seen == [step for step in sorted(set(steps)) if steps.count(step) % 2]


@pytest.mark.parametrize("model", ALL, ids=str)
def test_the_answers_are_the_same_in_any_order_of_asking(model: Availability) -> None:
    questions = [(f"ue{n % 5}", time_s) for n, time_s in enumerate(np.geomspace(1e-3, 5e3, 200).tolist())]

    def answers(order: list[int]) -> dict[int, tuple[bool, float]]:
        _sojourns.cache_clear()  # as in a process that has just begun
        return {
            n: (
                model.on(*questions[n], key=KEY),
                model.next_change_s(*questions[n], key=KEY),
            )
            for n in order
        }

    forwards = answers(list(range(200)))
    assert answers(list(reversed(range(200)))) == forwards
    assert answers(np.random.default_rng(0).permutation(200).tolist()) == forwards


@pytest.mark.parametrize("model", [MARKOV, PERIODIC], ids=str)
def test_ues_and_keys_have_their_own_times(model: Availability) -> None:
    found = {model.next_change_s(f"ue{n}", 0.0, key=Key(seed)) for n in range(20) for seed in range(2)}
    assert len(found) == 40


# Markov.


@pytest.mark.parametrize("time_s", [0.0, 3.0, 400.0])
def test_at_any_time_the_share_that_is_on_is_that_of_the_mean_times(time_s: float) -> None:
    count = 4000
    on = np.array([MARKOV.on(f"ue{n}", time_s, key=KEY) for n in range(count)])
    assert on.mean() == pytest.approx(SHARE, abs=margin(SHARE, count))


def test_over_a_long_time_a_ue_is_on_for_the_same_share() -> None:
    # The variance of a mean over time T is 2 p (1 - p) times the time it forgets in, over T.
    until_s = 2e5
    edges_s = [0.0, *changes_s(MARKOV, "ue0", until_s), until_s]
    lengths_s = np.diff(edges_s)
    begins_on = MARKOV.on("ue0", 0.0, key=KEY)
    share = lengths_s[0 if begins_on else 1 :: 2].sum() / until_s
    error = math.sqrt(2 * SHARE * (1 - SHARE) * FORGETS_S / until_s)
    assert share == pytest.approx(SHARE, abs=5 * error)


def test_sojourns_are_exponential_with_the_means_that_were_asked_for() -> None:
    edges_s = changes_s(MARKOV, "ue3", 2e5)
    lengths_s = np.diff(edges_s)
    on_first = MARKOV.on("ue3", edges_s[0], key=KEY)
    for mean_s, sojourns_s in (
        (MARKOV.mean_on_s, lengths_s[0 if on_first else 1 :: 2]),
        (MARKOV.mean_off_s, lengths_s[1 if on_first else 0 :: 2]),
    ):
        count = len(sojourns_s)
        assert count > 4000
        assert sojourns_s.mean() == pytest.approx(mean_s, abs=5 * mean_s / math.sqrt(count))
        for times in (0.1, 1.0, 3.0):
            share = math.exp(-times)
            assert (sojourns_s > times * mean_s).mean() == pytest.approx(share, abs=margin(share, count))


def test_what_is_left_of_a_sojourn_when_the_run_begins_is_as_long_as_a_whole_one() -> None:
    left_s: dict[bool, list[float]] = {True: [], False: []}
    for n in range(4000):
        on = MARKOV.on(f"ue{n}", 0.0, key=KEY)
        left_s[on].append(MARKOV.next_change_s(f"ue{n}", 0.0, key=KEY))
    for on, mean_s in ((True, MARKOV.mean_on_s), (False, MARKOV.mean_off_s)):
        assert np.mean(left_s[on]) == pytest.approx(mean_s, abs=5 * mean_s / math.sqrt(len(left_s[on])))


@pytest.mark.parametrize("after_s", [1.0, 7.5, 40.0])
def test_a_ue_forgets_its_state_at_the_rate_of_both_means(after_s: float) -> None:
    pairs = [
        (MARKOV.on(f"ue{n}", 50.0, key=KEY), MARKOV.on(f"ue{n}", 50.0 + after_s, key=KEY))
        for n in range(4000)
    ]
    later = np.array([after for before, after in pairs if before])
    expected = SHARE + (1 - SHARE) * math.exp(-after_s / FORGETS_S)
    assert later.mean() == pytest.approx(expected, abs=margin(expected, len(later)))


def test_never_is_no_time_to_ask_about() -> None:
    with pytest.raises(ClockError, match="finite time"):
        MARKOV.on("ue0", math.inf, key=KEY)


# Days.


@pytest.mark.parametrize("time_s", [0.0, 11.0, 1000.0])
def test_ues_with_days_of_their_own_are_on_for_their_share(time_s: float) -> None:
    count, share = 4000, 7 / 24
    on = np.array([PERIODIC.on(f"ue{n}", time_s, key=KEY) for n in range(count)])
    assert on.mean() == pytest.approx(share, abs=margin(share, count))


def test_each_day_is_as_the_one_before() -> None:
    edges_s = changes_s(PERIODIC, "ue4", 24.0 * 50)
    assert len(edges_s) in (99, 100, 101)
    assert np.array(edges_s[2:]) - np.array(edges_s[:-2]) == pytest.approx(24.0)
    assert sorted(np.diff(edges_s[:3])) == pytest.approx([7.0, 17.0])


def test_a_common_day_begins_for_all_at_time_0() -> None:
    model = PeriodicAvailability(period_s=24.0, on_s=7.0, phase="common")
    for ue in ("ue0", "ue5"):
        assert changes_s(model, ue, 60.0) == [7.0, 24.0, 31.0, 48.0, 55.0]
        assert model.on(ue, 0.0, key=KEY)


def test_who_is_on_all_day_never_changes() -> None:
    model = PeriodicAvailability(period_s=0.1, on_s=0.1)
    assert model.next_change_s("ue0", 5.0, key=KEY) == math.inf
    assert all(model.on("ue0", n * 0.1, key=KEY) for n in range(1000))


# Traces.


def test_a_trace_is_on_in_its_intervals_for_ues_in_turn() -> None:
    assert changes_s(TRACE, "ue0", 100.0) == [1.0, 4.0, 7.0, 9.0]  # two that touch are one
    assert changes_s(TRACE, "ue2", 100.0) == [1.0, 4.0, 7.0, 9.0]
    assert changes_s(TRACE, "ue1", 100.0) == [3.0, 5.0, 10.0]
    assert TRACE.on("ue1", 0.0, key=KEY)
    assert not TRACE.on("ue1", 1e9, key=KEY)
    assert TRACE.next_change_s("ue1", 10.0, key=KEY) == math.inf


def test_a_trace_is_repeated_with_its_period() -> None:
    repeated = AvailabilityTrace(intervals=TRACE.intervals, period_s=10.0)
    # On until 10 s, and on again from 0 s of the next period: no change in between.
    assert changes_s(repeated, "ue1", 34.0) == [3.0, 5.0, 13.0, 15.0, 23.0, 25.0, 33.0]
    cut = AvailabilityTrace(intervals=TRACE.intervals, period_s=8.0)
    assert changes_s(cut, "ue0", 16.0) == [1.0, 4.0, 7.0, 8.0, 9.0, 12.0, 15.0]


def test_a_trace_is_read_from_a_file_by_names(tmp_path: Path) -> None:
    path = tmp_path / "on.csv"
    path.write_text(
        "ue,time_s,on\nue0,0,1\nue1,5,true\nue0,3,1\nue0,4,0\nue1,6,False\nue1,9,1\n", encoding="utf-8"
    )
    trace = AvailabilityTrace(path=str(path))
    assert trace.on("ue0", 0.0, key=KEY)
    assert changes_s(trace, "ue0", 100.0) == [4.0]
    assert not trace.on("ue1", 0.0, key=KEY)
    assert changes_s(trace, "ue1", 100.0) == [5.0, 6.0, 9.0]
    assert trace.on("ue1", 1e9, key=KEY)
    assert changes_s(AvailabilityTrace(path=str(path), period_s=10.0), "ue1", 20.0) == [
        5,
        6,
        9,
        10,
        15,
        16,
        19,
    ]
    with pytest.raises(ConfigError, match=r"has no row for 'ue2'; .*valid: ue0, ue1"):
        trace.on("ue2", 0.0, key=KEY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ue,time_s\nue0,1\n", r"has the columns \['ue', 'time_s'\]; it must have ue, time_s, on"),
        ("ue,time_s,on\nue0,1,maybe\n", "line 2: time_s must be a number, and on 1 or 0"),
        ("ue,time_s,on\nue0,soon,1\n", "line 2: time_s must be a number, and on 1 or 0"),
        ("ue,time_s,on\nue0,2,1\nue0,2,0\n", r"time_s of ue0 = \(2.0, 2.0\) must be ascending"),
        ("ue,time_s,on\nue0,-2,1\n", "at least 0 and finite"),
        ("ue,time_s,on\n", "at least one row"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "on.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        AvailabilityTrace(path=str(path)).on("ue0", 0.0, key=KEY)
    with pytest.raises(ConfigError, match="can't be read"):
        AvailabilityTrace(path=str(tmp_path / "none.csv")).on("ue0", 0.0, key=KEY)


def test_a_list_is_found_by_the_number_of_a_name() -> None:
    with pytest.raises(ConfigError, match=r"no list for 'phone': .* name the UEs ue0, ue1"):
        TRACE.on("phone", 0.0, key=KEY)


# Failures.


@pytest.mark.parametrize("probability", [0.0, 0.07, 0.5, 1.0])
def test_so_many_trainings_and_uploads_fail_as_was_asked_for(probability: float) -> None:
    failures, count = Failures(compute=probability, upload=probability), 4000
    keys = [KEY / f"ue{n % 10}" / f"training{n // 10}" for n in range(count)]
    trainings = np.array([failures.during_compute(key) is not None for key in keys])
    uploads = np.array([failures.during_upload(key) for key in keys])
    for failed in (trainings, uploads):
        assert failed.mean() == pytest.approx(probability, abs=margin(probability, count))
    both = (trainings & uploads).mean()
    assert both == pytest.approx(probability**2, abs=margin(probability**2, count))


def test_a_training_fails_at_any_time_alike() -> None:
    failures, count = Failures(compute=0.5), 4000
    fractions = [failures.during_compute(KEY / n) for n in range(count)]
    found = np.array([fraction for fraction in fractions if fraction is not None])
    assert ((found > 0) & (found < 1)).all()
    assert found.mean() == pytest.approx(0.5, abs=5 / math.sqrt(12 * len(found)))
    assert (found < 0.1).mean() == pytest.approx(0.1, abs=margin(0.1, len(found)))


def test_what_fails_at_a_low_probability_fails_at_a_high_one_and_as_early() -> None:
    rare, often = Failures(compute=0.1, upload=0.1), Failures(compute=0.4, upload=0.4)
    for n in range(500):
        if rare.during_compute(KEY / n) is not None:
            assert often.during_compute(KEY / n) == rare.during_compute(KEY / n)
        assert often.during_upload(KEY / n) or not rare.during_upload(KEY / n)


# Bad input.


@pytest.mark.parametrize(
    ("kind", "bad", "field"),
    [
        (MarkovAvailability, {"mean_on_s": 0.0, "mean_off_s": 1.0}, "mean_on_s"),
        (MarkovAvailability, {"mean_on_s": 1.0, "mean_off_s": math.inf}, "mean_off_s"),
        (PeriodicAvailability, {"period_s": 0.0}, "period_s"),
        (PeriodicAvailability, {"period_s": 10.0, "on_s": 11.0}, "on_s"),
        (PeriodicAvailability, {"on_s": 0.0}, "on_s"),
        (PeriodicAvailability, {"phase": "noon"}, "phase"),
        (AvailabilityTrace, {}, "path"),
        (AvailabilityTrace, {"path": "a.csv", "intervals": (((0.0, 1.0),),)}, "path"),
        (AvailabilityTrace, {"intervals": (((0.0, 1.0),), ((2.0, 1.0),))}, r"intervals\[1\]"),
        (AvailabilityTrace, {"intervals": (((0.0, 5.0), (4.0, 6.0)),)}, r"intervals\[0\]"),
        (AvailabilityTrace, {"intervals": (((1.0, 1.0),),)}, r"intervals\[0\]"),
        (AvailabilityTrace, {"intervals": (((-1.0, 1.0),),)}, r"intervals\[0\]"),
        (AvailabilityTrace, {"intervals": (((0.0, 1.0),),), "period_s": 0.0}, "period_s"),
        (Failures, {"compute": 1.1}, "compute"),
        (Failures, {"upload": -0.1}, "upload"),
    ],
)
def test_impossible_settings_are_refused_by_name(kind: Any, bad: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} = "):
        kind(**bad)
