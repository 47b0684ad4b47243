"""What must hold of who is chosen: order statistics of fading, fairness, turns, ages, FedCS's deadline."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from syft_fl.data import Synthetic
from syft_fl.experiment import Result, run
from syft_fl.federation import (
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
    compute_times,
    expected_rounds,
    look,
    measure,
)
from syft_fl.federation.cohort import ages
from syft_fl.federation.deadline import Plan
from syft_fl.keys import Key
from syft_fl.learn import PerSample, Quantity, Softmax
from syft_fl.radio import Cell, Constant, Link, Shannon, Wireless
from syft_fl.transport import OVERHEAD_BYTES, Downlink, Uplink

KEY = Key(77)
NOTHING: Callable[[str], float] = lambda ue: 0.0  # noqa: E731


def harmonic(n: int) -> float:
    return sum(1 / k for k in range(1, n + 1))


def jain(counts: Sequence[float]) -> float:
    """Jain's index: 1 where all are served equally, 1/n where one is served alone."""
    return sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts))


def cell_of(distances_m: Sequence[float]) -> Cell:
    return Cell(radius_m=max(distances_m), min_distance_m=min(distances_m), distances_m=tuple(distances_m))


def link_of(distances_m: Sequence[float], **settings: Any) -> Link:
    return Shannon(shadowing_db=0.0, **settings).link(cell_of(distances_m), KEY, "uplink")


def play(
    selection: Selection,
    link: Link,
    *,
    ues: int,
    cohort: int,
    rounds: int,
    lost: Callable[[int, str], bool] = lambda round, ue: False,
) -> list[RoundView]:
    """Let a selection choose for some rounds; the views, each with the chosen cohort in place of all UEs."""
    names = tuple(f"ue{index}" for index in range(ues))
    state: Mapping[str, Any] = {}
    arrived: dict[str, int] = {}
    played = []
    for round in range(1, rounds + 1):

        def rate_bps(ue: str, block: int = round) -> float:
            return link.rate_bps(ue, share=1.0, block=block, time_s=0.0)

        view = RoundView(
            round=round,
            now_s=0.0,
            ues=names,
            cohort=cohort,
            key=KEY / f"round{round}",
            uplink=Measured(10**6, rate_bps),
            downlink=Measured(10**6, rate_bps),
            multicast=True,
            compute_s=NOTHING,
            age=ages(dict(arrived), round),
        )
        chosen, state = selection.choose(view, state)
        arrived.update({ue: round for ue in chosen if not lost(round, ue)})
        played.append(replace(view, ues=chosen))
    return played


def turns(played: Sequence[RoundView], ues: int) -> list[int]:
    """How often each UE was chosen."""
    counts = Counter(ue for view in played for ue in view.ues)
    return [counts[f"ue{index}"] for index in range(ues)]


# Best channel.


@pytest.mark.parametrize(("ues", "cohort"), [(10, 1), (10, 3), (4, 2), (3, 3)])
def test_the_best_of_n_rayleigh_channels_have_the_means_of_order_statistics(ues: int, cohort: int) -> None:
    # Of n exponentials of mean 1 the k-th largest has mean 1/k + … + 1/n and variance 1/k² + … + 1/n².
    distances_m = [250.0] * ues
    link, rounds = link_of(distances_m), 3000
    mean_snr = link_of(distances_m, fading="none").snr("ue0", share=1.0, block=0, time_s=0.0)  # type: ignore[attr-defined]
    best = [
        [link.snr(ue, share=1.0, block=view.round, time_s=0.0) / mean_snr for ue in view.ues]  # type: ignore[attr-defined]
        for view in play(BestChannel(), link, ues=ues, cohort=cohort, rounds=rounds)
    ]
    found = np.sort(np.array(best), axis=1)[:, ::-1]
    for rank in range(1, cohort + 1):
        expected = harmonic(ues) - harmonic(rank - 1)
        variance = sum(1 / k**2 for k in range(rank, ues + 1))
        assert found[:, rank - 1].mean() == pytest.approx(expected, abs=5 * math.sqrt(variance / rounds))


def test_no_other_cohort_of_the_size_has_a_shorter_uplink_phase() -> None:
    link = link_of([100.0, 200.0, 300.0, 400.0, 450.0, 500.0])
    names = [f"ue{index}" for index in range(6)]
    for view in play(BestChannel(), link, ues=6, cohort=3, rounds=20):
        airtimes_s = {ue: view.uplink.airtime_s(ue) for ue in names}
        shortest_s = min(sum(airtimes_s[ue] for ue in some) for some in itertools.combinations(names, 3))
        assert sum(airtimes_s[ue] for ue in view.ues) == pytest.approx(shortest_s)


# Proportional fairness.

UNEQUAL_M = [100.0, 200.0, 300.0, 400.0, 500.0]


def test_proportional_fairness_serves_equal_channels_equally_whatever_the_luck_of_a_round() -> None:
    played = play(ProportionalFair(), link_of([250.0] * 6), ues=6, cohort=2, rounds=1500)
    counts = turns(played, 6)
    assert jain(counts) > 0.999
    assert jain(turns(played[:30], 6)) > 0.9


def test_proportional_fairness_gives_near_and_far_their_turns_and_the_best_channel_starves_the_far() -> None:
    link, rounds = link_of(UNEQUAL_M), 1500
    fair, best = (
        turns(play(selection, link, ues=5, cohort=1, rounds=rounds), 5)
        for selection in (ProportionalFair(window=100.0), BestChannel())
    )
    assert all(0.5 / 5 < count / rounds < 1.6 / 5 for count in fair)
    assert jain(fair) > 0.9
    assert best[0] > 0.9 * rounds
    assert best[3] + best[4] < 0.01 * rounds


def test_who_could_not_be_chosen_for_a_time_is_remembered_by_proportional_fairness() -> None:
    """As of UEs at work in an asynchronous mode: those that have just been served would be new, and be served again."""
    rates_bps = {"ue0": 4.0, "ue1": 2.0, "ue2": 1.0}

    def view(*ues: str) -> RoundView:
        measured = Measured(1, rates_bps.__getitem__)
        return RoundView(1, 0.0, ues, 1, KEY, measured, measured, True, NOTHING, lambda ue: 0)

    rule, state, chosen = ProportionalFair(window=2.0), {}, []
    for free in (
        ("ue0", "ue1", "ue2"),
        ("ue1", "ue2"),
        ("ue0", "ue2"),
        ("ue0", "ue1"),
        ("ue0", "ue1", "ue2"),
    ):
        (ue,), state = rule.choose(view(*free), state)
        chosen.append(ue)
    # By hand: averages (2, 0, 0), (1, 1, 0), (1/2, 1/2, 1/2), (9/4, 1/4, 1/4); ratios 4/2.25, 2/0.25, 1/0.25.
    assert chosen == ["ue0", "ue1", "ue2", "ue0", "ue1"]
    assert state["served_bps"] == {"ue0": 1.125, "ue1": 1.125, "ue2": 0.125}


def test_far_below_the_noise_proportional_fairness_gains_the_harmonic_number_for_all_alike() -> None:
    # There a rate is proportional to the fading gain, so whoever is served is the one with the best of n gains:
    # each UE has a turn in n, at H_n times its own mean rate.
    distances_m, rounds = [100.0, 150.0, 200.0, 250.0], 6000
    link = link_of(distances_m, power_dbm=-60.0)
    played = play(ProportionalFair(window=400.0), link, ues=4, cohort=1, rounds=rounds)
    still = link_of(distances_m, power_dbm=-60.0, fading="none")
    counts = turns(played[400:], 4)
    for index in range(4):
        ue = f"ue{index}"
        served = [view.rate_bps(ue) for view in played[400:] if view.ues == (ue,)]
        gain = np.mean(served) / still.rate_bps(ue, share=1.0, block=0, time_s=0.0)
        # The variance of the largest of 4 is 1.42; averages over a window add a little of their own.
        assert gain == pytest.approx(harmonic(4), abs=5 * math.sqrt(1.42 / len(served)) + 0.03)
    assert jain(counts) > 0.99


def test_everybody_with_a_channel_has_a_first_turn_before_anyone_has_a_second() -> None:
    played = play(ProportionalFair(), link_of([100.0, 500.0, 100.0, 500.0, 100.0]), ues=5, cohort=2, rounds=3)
    assert turns(played[:2], 5).count(1) == 4
    assert min(turns(played, 5)) == 1


# Turns.


@pytest.mark.parametrize(("ues", "cohort"), [(6, 2), (6, 6), (5, 1), (8, 4)])
def test_in_turn_each_ue_is_chosen_once_in_every_cycle(ues: int, cohort: int) -> None:
    cycle = ues // cohort
    played = play(RoundRobin(), link_of([250.0] * ues), ues=ues, cohort=cohort, rounds=5 * cycle)
    for first in range(0, 5 * cycle, cycle):
        assert turns(played[first : first + cycle], ues) == [1] * ues


@pytest.mark.parametrize(("ues", "cohort"), [(7, 3), (5, 4), (9, 2)])
def test_in_turn_nobody_is_ever_more_than_one_turn_ahead(ues: int, cohort: int) -> None:
    played = play(RoundRobin(), link_of([250.0] * ues), ues=ues, cohort=cohort, rounds=3 * ues)
    for rounds in range(1, 3 * ues + 1):
        counts = turns(played[:rounds], ues)
        assert max(counts) - min(counts) <= 1
    assert turns(played, ues) == [3 * cohort] * ues


# Ages.


@pytest.mark.parametrize("ties", ["rate", "index"])
@pytest.mark.parametrize(("ues", "cohort"), [(6, 2), (7, 3), (5, 4), (4, 4), (5, 1)])
def test_no_age_exceeds_the_length_of_a_cycle_and_the_oldest_reach_it(
    ties: Any, ues: int, cohort: int
) -> None:
    played = play(Age(ties=ties), link_of([250.0] * ues), ues=ues, cohort=cohort, rounds=40)
    oldest = [max(view.age(f"ue{index}") for index in range(ues)) for view in played]
    assert max(oldest) == math.ceil(ues / cohort) - 1
    assert oldest[0] == 0


def test_who_is_not_heard_grows_older_and_is_asked_until_it_is() -> None:
    def lost(round: int, ue: str) -> bool:
        return ue == "ue3" and round < 10

    played = play(Age(), link_of([250.0] * 6), ues=6, cohort=2, rounds=20, lost=lost)
    # By the fifth round all others were heard once.
    assert all("ue3" in view.ues for view in played[4:10])
    assert played[9].age("ue3") == 9
    assert played[10].age("ue3") == 0


def test_of_equally_old_ues_the_better_channel_goes_first_or_the_lower_index() -> None:
    link = link_of([500.0, 400.0, 300.0, 200.0], fading="none")
    by_rate, by_index = (
        [view.ues for view in play(Age(ties=ties), link, ues=4, cohort=2, rounds=2)]
        for ties in ("rate", "index")
    )
    assert by_rate == [("ue2", "ue3"), ("ue0", "ue1")]
    assert by_index == by_rate[::-1]


# Random.


def test_random_cohorts_are_uniform() -> None:
    rounds = 3000
    counts = turns(play(Random(), link_of([250.0] * 8), ues=8, cohort=3, rounds=rounds), 8)
    share = 3 / 8
    error = math.sqrt(share * (1 - share) / rounds)
    assert all(count / rounds == pytest.approx(share, abs=5 * error) for count in counts)


# FedCS.


def planned(
    uploads_s: Sequence[float],
    computes_s: Sequence[float],
    downloads_s: Sequence[float] | None = None,
    *,
    multicast: bool = True,
    cohort: int | None = None,
) -> RoundView:
    """A view with these times: a frame has one bit."""
    ues = tuple(f"ue{index}" for index in range(len(uploads_s)))
    up, down = (
        Measured(
            1, {ue: 1 / s if s > 0 else math.inf for ue, s in zip(ues, times_s, strict=True)}.__getitem__
        )
        for times_s in (uploads_s, [0.0] * len(ues) if downloads_s is None else downloads_s)
    )
    return RoundView(
        round=1,
        now_s=0.0,
        ues=ues,
        cohort=cohort or len(ues),
        key=KEY,
        uplink=up,
        downlink=down,
        multicast=multicast,
        compute_s=dict(zip(ues, computes_s, strict=True)).__getitem__,
        age=lambda ue: 0,
    )


def test_the_greedy_choice_is_that_of_the_papers_listing_worked_by_hand() -> None:
    # Added to nothing: a 1+2 = 3, b 2+3 = 5, c 9+1 = 10, d 4+4 = 8. With a (3 s): b 3, c 1+6 = 7, d 4+1 = 5.
    # With a, b (6 s): c 1+3 = 4, d 4: c is first. With a, b, c (10 s): d 4.
    view = planned(uploads_s=[2, 3, 1, 4], computes_s=[1, 2, 9, 4])
    for deadline_s, order, round_s in [
        (14.0, ("ue0", "ue1", "ue2", "ue3"), 14.0),
        (13.9, ("ue0", "ue1", "ue2"), 10.0),
        (9.9, ("ue0", "ue1"), 6.0),
        (3.0, ("ue0",), 3.0),
        (2.9, (), 0.0),
    ]:
        plan = Deadline(deadline_s=deadline_s).plan(view, view.ues)
        assert plan.ues == order
        assert plan.round_s == pytest.approx(round_s)
    # Nobody in time: the one who would be first.
    assert Deadline(deadline_s=2.9).choose(view, {})[0] == ("ue0",)


def test_distribution_is_as_slow_as_the_slowest_receiver_or_takes_one_after_another() -> None:
    times: dict[str, Any] = {"uploads_s": [1, 1, 1], "computes_s": [1, 1, 1], "downloads_s": [1, 2, 4]}
    for multicast, round_s in ((True, 4 + 1 + 3), (False, 7 + 1 + 3)):
        view = planned(**times, multicast=multicast)
        plan = Deadline(deadline_s=100.0).plan(view, view.ues)
        assert plan.round_s == pytest.approx(round_s)
        assert plan.ues == ("ue0", "ue1", "ue2")


def test_fast_ues_are_preferred_and_there_are_at_most_as_many_as_the_cohort() -> None:
    view = planned(uploads_s=[5, 1, 4, 2, 3], computes_s=[1] * 5)
    assert Deadline(deadline_s=7.0).choose(view, {})[0] == ("ue1", "ue3", "ue4")
    assert Deadline(deadline_s=1e3).choose(replace(view, cohort=2), {})[0] == ("ue1", "ue3")


def test_only_asked_candidates_are_chosen_and_others_are_asked_in_other_rounds() -> None:
    view = planned(uploads_s=[1.0] * 10, computes_s=[1.0] * 10)
    chosen = [
        set(Deadline(deadline_s=1e3, candidates=0.25).choose(replace(view, key=KEY / round), {})[0])
        for round in range(40)
    ]
    assert all(len(one) == 3 for one in chosen)
    assert set.union(*chosen) == set(view.ues)


def test_the_greedy_choice_is_in_time_no_larger_than_the_largest_and_as_large_where_computing_is_equal() -> (
    None
):
    for trial in range(60):
        draws = (KEY / trial).numpy().exponential(size=(3, 6))
        equal = trial % 2 == 0
        view = planned(draws[0], [1.0] * 6 if equal else draws[1], None if equal else draws[2])
        plan = Deadline(deadline_s=3.0).plan(view, view.ues)
        assert plan.round_s <= 3.0
        largest = max(
            len(order)
            for size in range(7)
            for order in itertools.permutations(view.ues, size)
            if _of(view, order).round_s <= 3.0
        )
        assert len(plan.ues) <= largest
        if equal:
            assert len(plan.ues) == largest


def _of(view: RoundView, order: Sequence[str]) -> Plan:
    plan = Plan(view)
    for ue in order:
        plan = plan.and_then(ue)
    return plan


# In whole runs.

ENTRIES = 20 * 10 + 10
FRAME_BITS = 32 * ENTRIES + 8 * OVERHEAD_BYTES
DISTANCES_M = (60.0, 150.0, 230.0, 300.0, 350.0, 400.0, 450.0, 500.0)
DEADLINE_S = 0.02
SCENARIO = Scenario(
    data=Synthetic(train_samples=160, test_samples=20),
    model=Softmax(),
    population=Population(ues=8, selection=Deadline(deadline_s=DEADLINE_S)),
    compute=PerSample(seconds_per_sample=5e-4),
    cell=Cell(min_distance_m=50.0, distances_m=DISTANCES_M),
    uplink=Uplink(link=Shannon(shadowing_db=0.0, latency_s=0.001)),
    downlink=Downlink(link=Shannon(shadowing_db=0.0, power_dbm=30.0, latency_s=0.002)),
    stop=Stop(rounds=12),
)


def durations_s(result: Result) -> np.ndarray:
    return result.rounds["latency_s"].diff().dropna().to_numpy()


def cohorts_of(result: Result) -> list[tuple[str, ...]]:
    up = result.transfers[result.transfers["direction"] == "uplink"]
    return [
        tuple(sorted((ue for (ue,) in ues), key=lambda ue: int(ue[2:])))
        for _, ues in up.groupby("round")["ues"]
    ]


def plans_of(scenario: Scenario) -> Callable[[int, Sequence[str]], Plan]:
    """The estimate of a round with a given cohort, in the order of the least uploads."""
    links = {
        name: getattr(scenario, name).link.link(scenario.cell, Key(scenario.seed) / "radio", name)
        for name in ("uplink", "downlink")
    }

    def plan(round: int, cohort: Sequence[str]) -> Plan:
        view = look(
            scenario,
            round=round,
            now_s=0.0,
            links=links,
            bits={"uplink": FRAME_BITS, "downlink": FRAME_BITS},
            compute_s=compute_times(scenario, scenario.data.load()),
            age=lambda ue: 0,
        )
        return replace(Deadline(deadline_s=1e6), candidates=1.0).plan(view, tuple(cohort))

    return plan


@pytest.mark.parametrize("fading", ["none", "rayleigh"])
@pytest.mark.parametrize("equal_compute", [True, False])
@pytest.mark.parametrize("cast", ["multicast", "unicast"])
def test_a_round_takes_what_was_estimated_and_never_more_than_the_deadline(
    fading: Any, equal_compute: bool, cast: Any
) -> None:
    scenario = replace(
        SCENARIO,
        partition=SCENARIO.partition if equal_compute else Quantity(alpha=2.0),
        population=replace(SCENARIO.population, equal_compute=equal_compute),
        uplink=replace(SCENARIO.uplink, link=replace(SCENARIO.uplink.link, fading=fading)),
        downlink=replace(SCENARIO.downlink, cast=cast, link=replace(SCENARIO.downlink.link, fading=fading)),
    )
    result = run(scenario)
    plan = plans_of(scenario)
    cohorts, found_s = cohorts_of(result), durations_s(result)
    estimated_s = np.array([plan(round, cohort).round_s for round, cohort in enumerate(cohorts, start=1)])
    alone = np.array([len(cohort) == 1 for cohort in cohorts])
    assert (found_s[~alone] <= DEADLINE_S * (1 + 1e-9)).all()
    assert (found_s <= estimated_s * (1 + 1e-9)).all()
    if equal_compute and cast == "multicast":
        assert found_s == pytest.approx(estimated_s, rel=1e-9)
    # The deadline bites, and some are in time.
    assert 1 < np.mean([len(cohort) for cohort in cohorts]) < 8
    assert (result.rounds["cohort"].to_numpy()[1:] == [len(cohort) for cohort in cohorts]).all()


@pytest.mark.parametrize(
    "selection",
    [
        None,
        RoundRobin(),
        BestChannel(),
        ProportionalFair(window=3.0),
        Age(),
        Deadline(deadline_s=DEADLINE_S),
        Deadline(deadline_s=DEADLINE_S, candidates=0.5),
    ],
    ids=repr,
)
def test_rho_is_of_the_cohorts_that_a_run_without_losses_has(selection: Selection | None) -> None:
    scenario = replace(SCENARIO, population=Population(ues=8, cohort=3, selection=selection))
    dataset = scenario.data.load()
    expected = expected_rounds(scenario, FRAME_BITS, compute_s=compute_times(scenario, dataset))
    result = run(scenario)
    assert list(expected.cohorts[:12]) == cohorts_of(result)
    # A phase is that cohort's uploads one after another.
    link = scenario.uplink.link.link(scenario.cell, Key(0) / "radio", "uplink")
    phases_s = [
        sum(FRAME_BITS / link.rate_bps(ue, share=1.0, block=block, time_s=0.0) for ue in cohort) + 0.001
        for block, cohort in enumerate(expected.cohorts, start=1)
    ]
    budget = measure(scenario, dataset)
    assert budget.uplink_phase_s == pytest.approx(np.mean(phases_s))
    uploads = np.mean([len(cohort) for cohort in expected.cohorts])
    assert budget.upload_s == pytest.approx(np.mean(phases_s) / uploads)


def test_better_channels_make_a_shorter_phase_and_so_less_compute_at_the_same_rho() -> None:
    dataset = SCENARIO.data.load()
    phases_s = {
        selection.kind: measure(
            replace(SCENARIO, population=Population(ues=8, cohort=3, selection=selection)), dataset
        ).uplink_phase_s
        for selection in (BestChannel(), Random())
    }
    assert phases_s["best-channel"] < 0.5 * phases_s["random"]


def test_over_equal_channels_rho_is_the_same_whoever_is_chosen() -> None:
    scenario = replace(SCENARIO, uplink=Uplink(link=Constant(rate_bps=1e6)))
    for selection in (None, BestChannel(), ProportionalFair(), Age(), RoundRobin()):
        chosen = replace(scenario, population=Population(ues=8, cohort=3, selection=selection))
        budget = measure(chosen, chosen.data.load())
        assert budget.uplink_phase_s == pytest.approx(3 * FRAME_BITS / 1e6)


def test_an_update_that_is_lost_leaves_its_ue_old_so_that_it_is_asked_again() -> None:
    dead = Wireless(
        loss={"kind": "packet", "probability": 1.0},  # type: ignore[arg-type]
        retransmission={"kind": "none"},  # type: ignore[arg-type]
    )
    population = Population(ues=8, cohort=3, selection=Age(ties="index"))
    for link, cohorts in (
        (dead, [("ue0", "ue1", "ue2")] * 3),
        (Constant(rate_bps=1e6), [("ue0", "ue1", "ue2"), ("ue3", "ue4", "ue5"), ("ue0", "ue6", "ue7")]),
    ):
        scenario = replace(SCENARIO, population=population, uplink=Uplink(link=link), stop=Stop(rounds=3))
        assert cohorts_of(run(scenario)) == cohorts
