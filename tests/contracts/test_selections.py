"""What every registered selection keeps to. A new one joins by being registered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.data import Synthetic
from syft_fl.errors import ConfigError
from syft_fl.experiment import parse, run
from syft_fl.federation import (
    SELECTIONS,
    Age,
    BestChannel,
    Deadline,
    Measured,
    Population,
    ProportionalFair,
    Random,
    RoundRobin,
    RoundView,
    Scenario,
    Selection,
    Stop,
    choose_cohort,
)
from syft_fl.keys import Key
from syft_fl.learn import PerSample, Softmax
from syft_fl.schema import plain

NEEDED: Mapping[str, Mapping[str, Any]] = {"deadline": {"deadline_s": 3.0}}
"""Fields without a default, by kind."""

ALL: list[Selection] = [
    SELECTIONS.build({"kind": cls.kind, **NEEDED.get(cls.kind, {})})
    for cls in SELECTIONS
    if cls.__module__.startswith("syft_fl.")
] + [
    ProportionalFair(window=1.0),
    Age(ties="index"),
    Deadline(deadline_s=1e-6),
    Deadline(deadline_s=1e6, candidates=0.3),
]
every_selection = pytest.mark.parametrize("selection", ALL, ids=repr)


def view(
    round: int,
    rates_bps: list[float],
    *,
    cohort: int,
    compute_s: list[float] | None = None,
    ages: list[int] | None = None,
    multicast: bool = True,
) -> RoundView:
    ues = tuple(f"ue{index}" for index in range(len(rates_bps)))
    return RoundView(
        round=round,
        now_s=float(round),
        ues=ues,
        cohort=cohort,
        key=Key(3) / f"round{round}",
        uplink=Measured(1000, dict(zip(ues, rates_bps, strict=True)).__getitem__),
        downlink=Measured(1000, lambda ue: 1e5, latency_s=0.01),
        multicast=multicast,
        compute_s=dict(zip(ues, compute_s or [0.1] * len(ues), strict=True)).__getitem__,
        age=dict(zip(ues, ages or [0] * len(ues), strict=True)).__getitem__,
    )


@st.composite
def worlds(draw: st.DrawFn) -> list[RoundView]:
    """Some rounds of one population; rates of 0, equal ones and lone UEs among them."""
    count = draw(st.integers(1, 9))
    cohort = draw(st.integers(1, count))
    rates = st.sampled_from([0.0, 1.0, 250.0, 1e3, 1e3 + 1e-9, 1e6, 1e9])

    def of_all(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=count, max_size=count))

    return [
        view(
            round,
            of_all(rates),
            cohort=cohort,
            compute_s=of_all(st.floats(0, 2)),
            ages=of_all(st.integers(0, 5)),
            multicast=draw(st.booleans()),
        )
        for round in range(1, draw(st.integers(1, 6)) + 1)
    ]


@every_selection
@settings(max_examples=60, deadline=None)
@given(rounds=worlds())
def test_a_cohort_is_of_the_size_asked_for_each_ue_once_and_in_order(
    selection: Selection, rounds: list[RoundView]
) -> None:
    state: Mapping[str, Any] = {}
    for seen in rounds:
        cohort, state = selection.choose(seen, state)
        assert isinstance(cohort, tuple)
        assert list(cohort) == [ue for ue in seen.ues if ue in cohort]
        if isinstance(selection, Deadline):
            assert 1 <= len(cohort) <= seen.cohort
        else:
            assert len(cohort) == seen.cohort


@every_selection
@settings(max_examples=30, deadline=None)
@given(rounds=worlds())
def test_the_same_is_chosen_when_asked_twice_and_with_a_state_that_was_written_as_json(
    selection: Selection, rounds: list[RoundView]
) -> None:
    state: Mapping[str, Any] = {}
    for seen in rounds:
        before = json.dumps(state)
        read = json.loads(before)
        cohort, after = selection.choose(seen, state)
        assert json.dumps(state) == before
        assert selection.choose(seen, state) == (cohort, after)
        assert selection.choose(seen, read) == (cohort, after)
        state = after


@every_selection
def test_a_selection_is_the_same_read_back_from_its_plain_settings(selection: Selection) -> None:
    assert SELECTIONS.build(json.loads(json.dumps(plain(selection)))) == selection


@every_selection
def test_where_all_are_asked_for_and_there_is_time_all_are_chosen(selection: Selection) -> None:
    seen = view(1, [1e4, 1e6, 1e5], cohort=3)
    if isinstance(selection, Deadline):
        selection = replace(selection, deadline_s=100.0, candidates=1.0)
    assert selection.choose(seen, {})[0] == seen.ues


# A user's own.

SCENARIO = Scenario(
    data=Synthetic(train_samples=60, test_samples=20),
    model=Softmax(),
    population=Population(ues=4, cohort=2),
    compute=PerSample(seconds_per_sample=1e-4),
    stop=Stop(rounds=4),
)


class Pairs:
    """The two neighbours after those of the round before: remembers where it was."""

    kind: ClassVar[str] = "pairs"

    def choose(self, view: RoundView, state: Mapping[str, Any]) -> tuple[tuple[str, ...], Mapping[str, Any]]:
        first = state.get("next", 0)
        chosen = [view.ues[(first + step) % len(view.ues)] for step in (0, 1)]
        return view.first(chosen), {"next": first + 1}


def test_a_users_own_selection_is_run_and_remembers() -> None:
    result = run(replace(SCENARIO, population=replace(SCENARIO.population, selection=Pairs())))
    up = result.transfers[result.transfers["direction"] == "uplink"]
    cohorts = [sorted(ue for (ue,) in ues) for _, ues in up.groupby("round")["ues"]]
    assert cohorts == [["ue0", "ue1"], ["ue1", "ue2"], ["ue2", "ue3"], ["ue0", "ue3"]]
    assert result.config["population"]["selection"] == {"kind": "pairs"}


@pytest.mark.parametrize(
    "returned", [(), ("ue1", "ue0"), ("ue0", "ue0"), ("ue7",)], ids=["none", "order", "twice", "unknown"]
)
def test_what_is_no_cohort_is_refused_by_name(returned: tuple[str, ...]) -> None:
    class Wrong:
        kind = "wrong"

        def choose(self, view: RoundView, state: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
            return returned, {}

    seen = view(5, [1e3] * 3, cohort=2)
    with pytest.raises(
        ConfigError, match=r"population.selection = 'wrong' chose .* for round 5; it must return"
    ):
        choose_cohort(Population(ues=3, cohort=2, selection=Wrong()), seen, {})


# Settings.


def test_without_a_selection_it_is_random_and_leaves_no_trace_in_the_settings() -> None:
    assert Population().rule == Random()
    assert "selection" not in plain(Population(cohort=3))
    assert plain(Population(cohort=3, selection=RoundRobin()))["selection"] == {"kind": "round-robin"}


def test_random_by_name_draws_what_the_default_draws() -> None:
    one, other = (
        run(replace(SCENARIO, population=Population(ues=4, cohort=2, selection=selection))).transfers
        for selection in (None, Random())
    )
    assert one.equals(other)


@pytest.mark.parametrize(
    ("population", "message"),
    [
        (
            {"cohort": 2, "selection": {"kind": "best"}},
            r"population.selection.kind = 'best' is no selection; did you mean 'best-channel'\?",
        ),
        (
            {"selection": {"kind": "best-channel"}},
            r"population.cohort = None must be given where selection is 'best-channel'",
        ),
        (
            {"cohort": 2, "selection": {"kind": "deadline"}},
            r"population.selection.deadline_s: is required",
        ),
        (
            {"cohort": 2, "selection": {"kind": "deadline", "deadline_s": 0}},
            r"population.selection.deadline_s = 0.* must be above 0 and finite",
        ),
        (
            {"cohort": 2, "selection": {"kind": "deadline", "deadline_s": 1.0, "candidates": 20}},
            r"population.selection.candidates = 20.* must be above 0 and at most 1; it is a fraction of the UEs",
        ),
        (
            {"cohort": 2, "selection": {"kind": "proportional-fair", "window": 0.5}},
            r"population.selection.window = 0.5 must be at least 1 and finite; it is in rounds",
        ),
        (
            {"cohort": 2, "selection": {"kind": "age", "ties": "luck"}},
            r"population.selection.ties = 'luck': should be 'rate' or 'index'",
        ),
    ],
)
def test_impossible_settings_are_refused_by_name(population: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse({"population": {"ues": 5, **population}})


def test_a_deadline_needs_no_cohort_and_all_others_but_random_do() -> None:
    assert Population(selection=Deadline(deadline_s=1.0)).chosen == Population().ues
    assert Population(selection=Random()).chosen == Population().ues
    for selection in (RoundRobin(), BestChannel(), ProportionalFair(), Age()):
        with pytest.raises(ConfigError, match="cohort"):
            Population(selection=selection)
