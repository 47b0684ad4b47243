"""When rounds close, and rounds that don't wait, against order statistics, conservation and the papers' formulas."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any

import pytest
import torch

from syft_fl.errors import ConfigError
from syft_fl.experiment import parse, run
from syft_fl.experiment.result import Result
from syft_fl.federation import Population
from syft_fl.federation.asynchronous import Cell, FedAsync, FedBuff, Tiers, Update
from syft_fl.federation.closing import All, Deadline, First, Fraction, Standing, StragglerDrop
from syft_fl.federation.staleness import ConstantWeight, Hinge, Polynomial
from syft_fl.vectors import ModelState

pytestmark = pytest.mark.filterwarnings("ignore:rho")  # the air is to vanish here

COMPUTE_S = 0.1
"""Nominal compute time; with ten thousand times less for a transmission, the air does not matter."""


def quick(population: dict[str, Any], *, rounds: int, **changes: Any) -> Result:
    link = {"link": {"kind": "constant", "rate_bps": 1e12}}
    ues = population["ues"]
    return run(
        parse(
            {
                "seed": 3,
                "data": {"kind": "synthetic", "train_samples": 10 * ues, "test_samples": 10},
                "model": "softmax",
                "population": population | {"eval_every": 1000},
                "training": {"batch_size": 10, "learning_rate": 0.01},
                "compute": {"kind": "per_sample", "seconds_per_sample": COMPUTE_S / 10},
                "uplink": link,
                "downlink": link,
                "stop": {"rounds": rounds},
            }
            | changes
        )
    )


def harmonic(n: int) -> float:
    return math.fsum(1 / k for k in range(1, n + 1))


@pytest.mark.parametrize(("ues", "first"), [(10, 4), (6, 6), (5, 1)])
def test_a_round_of_the_first_k_takes_as_long_as_the_kth_of_n(ues: int, first: int) -> None:
    """Of n times that are exponential with mean 1 the k-th is H_n - H_{n-k} on average (Renyi); k = n: facts row 29."""
    population = {
        "ues": ues,
        "slowdown": {"kind": "exponential", "shift": 0.0},
        "closing": {"kind": "first", "updates": first},
    }
    # Who is late begins anew with the next round, so all of a cohort begin together.
    result = quick(population, rounds=120, protocol={"busy": "restart"})
    lasts = result.rounds["latency_s"].diff().dropna() / COMPUTE_S
    expected = harmonic(ues) - harmonic(ues - first)
    assert abs(fmean(lasts) - expected) < 5 * stdev(lasts) / math.sqrt(len(lasts))


@pytest.mark.parametrize("at_work", [1, 3, 7])
@pytest.mark.parametrize("slowdown", ["exponential", "uniform"])
def test_an_update_is_overtaken_by_as_many_as_are_at_work_beside_it(at_work: int, slowdown: str) -> None:
    """Each new model ages the others by one, so the mean staleness is their number, whatever the compute times."""
    factor = (
        {"kind": slowdown, "shift": 0.0}
        if slowdown == "exponential"
        else {"kind": "uniform", "low": 0.5, "high": 1.5}
    )
    population = {"ues": 9, "cohort": at_work, "slowdown": factor, "asynchronous": {"kind": "fedasync"}}
    rounds = 200
    staleness = quick(population, rounds=rounds).rounds["staleness"].dropna()
    # What is still at work at the end has aged, and is not in the sum: at most (n - 1) each of rounds in flight.
    total, expected = staleness.sum(), (at_work - 1) * len(staleness)
    in_flight = expected - total
    assert 0 <= in_flight <= (at_work - 1) * 12 * at_work
    assert abs(staleness.mean() - (at_work - 1)) <= 0.05 * at_work + (at_work - 1) * 12 * at_work / rounds


def test_a_buffer_of_k_is_filled_k_times_as_seldom() -> None:
    base = {"ues": 12, "cohort": 6, "slowdown": {"kind": "exponential", "shift": 0.0}}
    rates = []
    for buffer in (1, 2, 3):
        population = base | {"asynchronous": {"kind": "fedbuff", "buffer": buffer}}
        rounds = quick(population, rounds=300 // buffer).rounds
        rates.append(rounds["latency_s"].iloc[-1] / (len(rounds) - 1))
        assert set(rounds["arrived"].iloc[1:]) == {buffer}
    # Six UEs with exponential times make an update every 1/6 of a compute time.
    for buffer, rate_s in zip((1, 2, 3), rates, strict=True):
        assert rate_s == pytest.approx(buffer * COMPUTE_S / 6, rel=5 / math.sqrt(300))


def test_tiers_don_t_wait_for_each_other() -> None:
    values = [[1.0], [1.0], [1.0], [5.0], [5.0], [5.0]]
    population = {
        "ues": 6,
        "cohort": 3,
        "slowdown": {"kind": "trace", "values": values},
        "asynchronous": {"kind": "tiers", "tiers": 2},
    }
    result = quick(population, rounds=24)
    by_ue = result.computations.groupby("ue").size()
    # 24 rounds in 20 compute times: the fast tier has five for one of the slow tier.
    assert set(by_ue[["ue0", "ue1", "ue2"]]) == {20}
    assert set(by_ue[["ue3", "ue4", "ue5"]]) == {4}


def state(*entries: float) -> ModelState:
    return ModelState(torch.tensor(entries), {})


def update(new: ModelState, base: ModelState, *, staleness: int, ue: str = "ue0") -> Update:
    return Update(ue, new, base, 10, staleness)


def test_fedasync_mixes_by_its_formula() -> None:
    rule = FedAsync(mixing=0.5, staleness=Polynomial(exponent=1.0))
    merged, _ = rule.merge(state(1.0, 2.0), [update(state(5.0, 0.0), state(9.0, 9.0), staleness=3)], {})
    ((mixed, _),) = merged
    share = 0.5 / 4
    assert mixed.vector.tolist() == pytest.approx([(1 - share) * 1 + share * 5, (1 - share) * 2])


def test_fedbuff_adds_the_mean_of_weighted_differences() -> None:
    rule = FedBuff(buffer=2)
    updates = [
        update(state(3.0, 1.0), state(1.0, 1.0), staleness=0),
        update(state(0.0, 4.0), state(0.0, 0.0), staleness=3, ue="ue1"),
    ]
    merged, _ = rule.merge(state(10.0, 20.0), updates, {})
    mean = sum(weight * model.vector for model, weight in merged) / sum(weight for _, weight in merged)
    assert mean.tolist() == pytest.approx([10 + (1.0 * 2 + 0.5 * 0) / 2, 20 + (0 + 0.5 * 4) / 2])


def test_fedat_weighs_tiers_by_the_rounds_of_their_mirror_image() -> None:
    rule = Tiers(tiers=2)
    memory: Any = {"tier": {"fast": 0, "slow": 1}}
    first = state(0.0)
    _, memory = rule.merge(first, [update(state(1.0), first, staleness=0, ue="fast")], memory)
    _, memory = rule.merge(first, [update(state(2.0), first, staleness=0, ue="fast")], memory)
    weighted, memory = rule.merge(first, [update(state(8.0), first, staleness=2, ue="slow")], memory)
    # Two rounds of the fast tier, one of the slow: the slow one weighs 2/3.
    assert [(model.vector.item(), weight) for model, weight in weighted] == [(2.0, 1.0), (8.0, 2.0)]


def test_tiers_are_of_equally_fast_ues() -> None:
    times = {"ue0": 3.0, "ue1": 1.0, "ue2": 2.0, "ue3": 9.0}
    cell = Cell(
        ues=tuple(times),
        free=lambda: tuple(times),
        waiting=frozenset(),
        arrived=(),
        cohort=2,
        choose=lambda ues, count: ues[:count],
        duration_s=times.__getitem__,
    )
    groups, memory = Tiers(tiers=2).calls(cell, {})
    assert groups == [("ue1", "ue2"), ("ue0", "ue3")]
    assert memory["tier"] == {"ue1": 0, "ue2": 0, "ue0": 1, "ue3": 1}


@pytest.mark.parametrize(("ues", "tiers"), [(5, 4), (6, 4), (10, 3), (7, 7), (1, 1)])
def test_no_tier_is_empty_and_none_has_two_more_than_another(ues: int, tiers: int) -> None:
    names = tuple(f"ue{number}" for number in range(ues))
    cell = Cell(
        ues=names,
        free=lambda: names,
        waiting=frozenset(),
        arrived=(),
        cohort=ues,
        choose=lambda ues, count: ues[:count],
        duration_s=lambda ue: float(ue[2:]),
    )
    groups, _ = Tiers(tiers=tiers).calls(cell, {})
    assert len(groups) == tiers
    assert [ue for group in groups for ue in group] == list(names)
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


@pytest.mark.parametrize(
    ("rule", "ages", "weights"),
    [
        (ConstantWeight(), [0, 7], [1.0, 1.0]),
        (Polynomial(), [0, 3, 8], [1.0, 0.5, 1 / 3]),  # FedBuff's 1/sqrt(1 + tau), facts row 18
        (Polynomial(exponent=2.0), [1], [0.25]),
        (Hinge(slope=10.0, grace=4), [0, 4, 5, 6], [1.0, 1.0, 1 / 11, 1 / 21]),
    ],
)
def test_staleness_weights(rule: Any, ages: list[int], weights: list[float]) -> None:
    assert [rule.weight(age) for age in ages] == pytest.approx(weights)


ANSWERED_S = (1.0, 2.0, 4.0, 8.0)


@pytest.mark.parametrize(
    ("rule", "closes_s"),
    [
        (All(), [math.inf] * 5),
        (Deadline(seconds=3.0), [3.0] * 5),
        (First(updates=2), [math.inf, math.inf, 2.0, 2.0, 2.0]),
        (Fraction(fraction=0.5), [math.inf, math.inf, math.inf, 4.0, 4.0]),
        (Fraction(fraction=1.0), [math.inf] * 5),
        (StragglerDrop(fraction=0.5, patience=1.5), [math.inf, math.inf, math.inf, 6.0, 6.0]),
    ],
)
def test_closing_rules(rule: Any, closes_s: list[float]) -> None:
    """Of a cohort of six, as zero to four answer."""
    for answers, expected in enumerate(closes_s):
        answered = ANSWERED_S[:answers]
        assert rule.closes_s(Standing(6, answered, answered, 6 - answers)) == expected


def test_a_rule_that_waits_for_more_than_there_are_is_refused() -> None:
    assert Population(ues=6, cohort=4, closing=First(updates=4))
    with pytest.raises(
        ConfigError, match=r"closing\.updates = 5 must be at most 4, the UEs in a round; .*'all'"
    ):
        Population(ues=6, cohort=4, closing=First(updates=5))
    assert Population(ues=6, cohort=4, asynchronous=Tiers(tiers=6))
    with pytest.raises(ConfigError, match=r"asynchronous\.tiers = 7 must be at most ues = 6; each tier"):
        Population(ues=6, cohort=4, asynchronous=Tiers(tiers=7))
