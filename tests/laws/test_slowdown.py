"""What must hold where UEs don't compute equally fast: means, the law of the slowest, rho, pairing, replay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from syft_fl.codecs import Uniform
from syft_fl.data import Synthetic
from syft_fl.errors import ConfigError
from syft_fl.experiment import Result, parse, preview, run
from syft_fl.federation import (
    Deadline,
    Population,
    Scenario,
    Simulation,
    Stop,
    expected_slowdown,
    measure,
    settle,
    slowdown_of,
)
from syft_fl.keys import Key
from syft_fl.learn import (
    SLOWDOWNS,
    Balance,
    Cycles,
    ExponentialSlowdown,
    LognormalSlowdown,
    ParetoSlowdown,
    PerSample,
    Quantity,
    SlowdownTrace,
    Softmax,
    Stragglers,
    Training,
    UniformSlowdown,
)
from syft_fl.radio import Constant
from syft_fl.schema import plain
from syft_fl.transport import Downlink, Uplink

# The air takes no time in most of these cells, and a run would warn of that.
pytestmark = pytest.mark.filterwarnings("ignore:rho = ")

KEY = Key(5)
COMPUTE_S = 2.0
NO_AIR = Constant(rate_bps=1e15)

# One step of one sample, so that hundreds of rounds take a second or two.
SCENARIO = Scenario(
    data=Synthetic(train_samples=40, test_samples=2, features=2, classes=2),
    model=Softmax(),
    population=Population(ues=10, eval_every=10**6),
    training=Training(batch_size=1, steps=1, learning_rate=0.01),
    compute=PerSample(seconds_per_sample=COMPUTE_S),
    uplink=Uplink(link=NO_AIR),
    downlink=Downlink(link=NO_AIR),
    stop=Stop(rounds=150),
)


def slowed(slowdown: Any, *, scenario: Scenario = SCENARIO, **population: Any) -> Scenario:
    return replace(scenario, population=replace(scenario.population, slowdown=slowdown, **population))


def harmonic(n: int) -> float:
    return sum(1 / k for k in range(1, n + 1))


def round_times_s(scenario: Scenario) -> np.ndarray[Any, Any]:
    return np.diff(run(scenario).rounds["latency_s"].to_numpy())


def compute_times_s(result: Result) -> dict[tuple[int, str], float]:
    """From the arrival of the model to the offer of the update [s], by round and UE."""
    transfers = result.transfers.explode("ues")
    down, up = (transfers[transfers["direction"] == way] for way in ("downlink", "uplink"))
    # A cohort of unequal versions gets several multicasts.
    arrived_s = dict(zip(zip(down["round"], down["ues"], strict=True), down["end_s"], strict=True))
    return {
        (round, ue): offered_s - arrived_s[round, ue]
        for round, ue, offered_s in zip(up["round"], up["ues"], up["offered_s"], strict=True)
    }


# The laws of the factors: mean and variance of one draw.

DRAWN = {
    UniformSlowdown(low=0.5, high=2.0): (1.25, 1.5**2 / 12),
    LognormalSlowdown(sigma=0.8): (1.0, math.exp(0.8**2) - 1),
    LognormalSlowdown(sigma=0.0): (1.0, 0.0),
    ExponentialSlowdown(): (2.0, 1.0),
    ExponentialSlowdown(shift=0.0, scale=0.5): (0.5, 0.25),
    ParetoSlowdown(shape=5.0, scale=0.8): (1.0, 0.8**2 * 5 / (4**2 * 3)),
    Stragglers(times=5.0): (1 + 0.1 * 4, 0.1 * 0.9 * 4**2),
    Stragglers(times=0.5, probability=0.25): (1 - 0.25 / 2, 0.25 * 0.75 * 0.5**2),
}


@pytest.mark.parametrize("per", ["training", "ue"])
@pytest.mark.parametrize("slowdown", DRAWN, ids=str)
def test_factors_have_the_mean_that_is_documented(slowdown: Any, per: str) -> None:
    mean, variance = DRAWN[slowdown]
    slowdown, count = replace(slowdown, per=per), 4000
    assert slowdown.mean == pytest.approx(mean)
    factors = [
        slowdown.factor(f"ue{n}", training=n % 7, key=KEY / f"ue{n}" / "slowdown") for n in range(count)
    ]
    assert np.mean(factors) == pytest.approx(mean, abs=5 * math.sqrt(variance / count) + 1e-12)


def test_every_registered_slowdown_is_under_test() -> None:
    assert {type(slowdown) for slowdown in DRAWN} | {SlowdownTrace} == set(SLOWDOWNS)


@pytest.mark.parametrize(
    ("slowdown", "exceeds"),
    [
        (UniformSlowdown(low=1.0, high=3.0), lambda x: (3 - x) / 2),
        (LognormalSlowdown(sigma=1.0), lambda x: math.erfc((math.log(x) + 0.5) / math.sqrt(2)) / 2),
        (ExponentialSlowdown(shift=1.0, scale=2.0), lambda x: math.exp(-(x - 1) / 2)),
        (ParetoSlowdown(shape=1.5), lambda x: x**-1.5),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "law",
)
def test_factors_have_the_tail_of_their_law(slowdown: Any, exceeds: Callable[[float], float]) -> None:
    # A heavy tail has no variance to bound a mean by; how often a bound is exceeded is binomial whatever the tail.
    count = 4000
    factors = np.array([slowdown.factor("ue0", training=n, key=KEY) for n in range(count)])
    for bound in (1.2, 2.0, 2.8):
        share = exceeds(bound)
        margin = 5 * math.sqrt(share * (1 - share) / count)
        assert (factors > bound).mean() == pytest.approx(share, abs=margin)


def test_a_factor_per_ue_is_the_same_in_all_trainings_and_one_per_training_in_none() -> None:
    for slowdown, expected in ((ExponentialSlowdown(per="ue"), 1), (ExponentialSlowdown(), 50)):
        found = {slowdown.factor("ue0", training=training, key=KEY) for training in range(50)}
        assert len(found) == expected


@pytest.mark.parametrize("slowdown", DRAWN, ids=str)
def test_what_is_expected_of_a_ue_is_its_own_factor_only_where_it_has_one(slowdown: Any) -> None:
    assert slowdown.expected("ue0", key=KEY) == slowdown.mean
    fixed = replace(slowdown, per="ue")
    assert fixed.expected("ue0", key=KEY) == fixed.factor("ue0", training=3, key=KEY)


# In simulation.


@pytest.mark.parametrize("ues", [2, 10])
def test_a_round_waits_for_the_slowest_of_k_the_harmonic_number_times_the_compute_time(ues: int) -> None:
    # The maximum of K exponentials of mean 1 has the mean H_K and the variance 1 + 1/4 + … + 1/K².
    times_s = round_times_s(slowed(ExponentialSlowdown(shift=0.0), ues=ues)) / COMPUTE_S
    error = math.sqrt(sum(1 / k**2 for k in range(1, ues + 1)) / len(times_s))
    assert times_s.mean() == pytest.approx(harmonic(ues), abs=5 * error)


def test_only_the_cohort_of_a_round_is_waited_for() -> None:
    times_s = round_times_s(slowed(ExponentialSlowdown(shift=0.0), cohort=4)) / COMPUTE_S
    error = math.sqrt(sum(1 / k**2 for k in range(1, 5)) / len(times_s))
    assert times_s.mean() == pytest.approx(harmonic(4), abs=5 * error)


def test_a_shift_is_waited_for_in_every_round_and_the_scale_stretches_the_rest() -> None:
    times_s = round_times_s(slowed(ExponentialSlowdown(shift=1.0, scale=0.5), ues=5)) / COMPUTE_S
    error = 0.5 * math.sqrt(sum(1 / k**2 for k in range(1, 6)) / len(times_s))
    assert times_s.mean() == pytest.approx(1 + 0.5 * harmonic(5), abs=5 * error)
    assert times_s.min() > 1


def test_a_round_is_slow_where_at_least_one_of_k_straggles() -> None:
    times_s = round_times_s(slowed(Stragglers(times=4.0, probability=0.1), ues=6)) / COMPUTE_S
    slow, share = np.isclose(times_s, 4.0, rtol=1e-6), 1 - 0.9**6
    assert np.isclose(times_s[~slow], 1.0, rtol=1e-6).all()
    assert slow.mean() == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / len(slow)))


def test_a_training_takes_its_nominal_time_times_its_factor_whatever_the_codec() -> None:
    scenario = replace(slowed(LognormalSlowdown(sigma=1.0), cohort=4), stop=Stop(rounds=12))
    plainly = compute_times_s(run(scenario))
    coded = compute_times_s(
        run(
            replace(
                scenario,
                uplink=Uplink(codec=Uniform(bits=4), link=Constant(rate_bps=1e4)),
                downlink=Downlink(codec=Uniform(bits=4), link=Constant(rate_bps=1e5)),
            )
        )
    )
    assert plainly.keys() == coded.keys()
    assert len(plainly) == 4 * 12
    trainings: dict[str, int] = {}
    for (round, ue), time_s in plainly.items():
        factor = slowdown_of(scenario, ue, training=trainings.get(ue, 0))
        assert time_s == pytest.approx(COMPUTE_S * factor, rel=1e-9)
        assert coded[round, ue] == pytest.approx(time_s, rel=1e-9)
        trainings[ue] = trainings.get(ue, 0) + 1


def test_energy_is_that_of_the_work_however_long_it_took() -> None:
    base = replace(SCENARIO, compute=Cycles(), stop=Stop(rounds=5))
    for slowdown in (ExponentialSlowdown(), Stragglers(times=50.0, probability=1.0)):
        scenario = slowed(slowdown, scenario=base)
        found, nominal = run(scenario), run(base)
        assert list(found.rounds["compute_energy_j"]) == list(nominal.rounds["compute_energy_j"])
        assert found.rounds["latency_s"].iloc[-1] > nominal.rounds["latency_s"].iloc[-1]


def test_slowness_changes_what_is_learnt_by_nothing_where_all_are_waited_for() -> None:
    base = replace(SCENARIO, stop=Stop(rounds=5))
    found, nominal = run(slowed(ExponentialSlowdown(), scenario=base)), run(base)
    assert list(found.rounds["train_loss"])[1:] == list(nominal.rounds["train_loss"])[1:]


def test_a_run_goes_on_with_the_factors_it_would_have_had() -> None:
    scenario = replace(slowed(ExponentialSlowdown(), cohort=3), stop=Stop(rounds=6))
    dataset = scenario.data.load()
    whole, first, second = (Simulation(scenario, dataset) for _ in range(3))
    expected = [whole.step().row for _ in range(7)]
    for _ in range(3):
        first.step()
    second.load(first.state())
    assert [second.step().row for _ in range(4)] == expected[3:]


# rho.


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("slowdown", [ExponentialSlowdown(), LognormalSlowdown(per="ue")], ids=str)
def test_balance_holds_with_the_slowdown_of_the_base_scenario(slowdown: Any, equal: bool) -> None:
    base = slowed(slowdown, equal_compute=equal)
    base = replace(
        base, compute=Balance(rho=0.5), partition=Quantity(alpha=2.0), training=Training(batch_size=4)
    )
    base = replace(base, uplink=Uplink(link=Constant(rate_bps=1e3)), stop=Stop(rounds=60))
    dataset = base.data.load()
    budget = measure(base, dataset)
    settled = settle(base, budget)
    assert budget.rho == pytest.approx(0.5)
    assert budget.compute_s == pytest.approx(2 * budget.uplink_phase_s)
    assert measure(settled, dataset).rho == pytest.approx(0.5)
    assert f"{budget.slowdown:.3g} times the nominal one" in str(budget)
    # And that is what trainings take in a run.
    times_s = np.array(list(compute_times_s(run(settled)).values()))
    spread = times_s.std() / math.sqrt(len(times_s)) if slowdown.per == "training" else 0.0
    assert times_s.mean() == pytest.approx(budget.compute_s, abs=5 * spread + 1e-9)


def test_variants_with_another_slowdown_inherit_the_nominal_time() -> None:
    base = replace(slowed(Stragglers(times=3.0, probability=1.0)), compute=Balance())
    base = replace(base, uplink=Uplink(link=Constant(rate_bps=1e3)))
    budget = measure(base, base.data.load())
    other = settle(slowed(None, scenario=base), budget)
    assert other.compute == settle(base, budget).compute
    assert measure(other, other.data.load()).rho == pytest.approx(3.0)


def test_without_a_slowdown_the_budget_and_the_config_have_no_word_of_it() -> None:
    assert measure(SCENARIO, SCENARIO.data.load()).slowdown is None
    assert "slowdown" not in str(run(replace(SCENARIO, stop=Stop(rounds=1))).config)


def test_a_preview_tells_the_mean_compute_time() -> None:
    table = {
        "data": plain(SCENARIO.data),
        "model": "softmax",
        "compute": {"kind": "per_sample", "seconds_per_sample": 7.0},
        "training": {"batch_size": 1, "steps": 1},
        "population": {"slowdown": {"kind": "stragglers", "times": 3.0, "ues": ["ue0"]}},
        "uplink": {"link": {"kind": "constant", "rate_bps": 1e3}},
    }
    text = preview(parse(table))
    assert "[population.slowdown]" in text
    assert text.splitlines()[-1].split()[6] == "8.400"  # 7 s times (9 + 3) / 10


# What a selection sees.


def test_a_deadline_leaves_out_the_ue_that_is_known_to_be_slow() -> None:
    slow = Stragglers(times=100.0, ues=("ue2",))
    scenario = slowed(slow, ues=4, cohort=4, selection=Deadline(deadline_s=2 * COMPUTE_S))
    transfers = run(replace(scenario, stop=Stop(rounds=3))).transfers
    assert set(transfers[transfers["direction"] == "uplink"]["ues"].explode()) == {"ue0", "ue1", "ue3"}
    assert expected_slowdown(scenario, "ue2") == 100
    assert expected_slowdown(scenario, "ue1") == 1


# Traces.


def test_a_trace_replays_its_factors_in_turn_for_ues_in_turn() -> None:
    scenario = slowed(SlowdownTrace(values=((1.0, 4.0), (2.0,))), ues=3)
    found = compute_times_s(run(replace(scenario, stop=Stop(rounds=3))))
    factors = {key: round(time_s / COMPUTE_S, 6) for key, time_s in found.items()}
    assert [[factors[r, f"ue{n}"] for r in (1, 2, 3)] for n in range(3)] == [[1, 4, 1], [2, 2, 2], [1, 4, 1]]
    assert SlowdownTrace(values=((1.0, 4.0), (2.0,))).mean == 2.25
    assert expected_slowdown(scenario, "ue2") == 2.5


def test_a_trace_is_read_from_a_file_by_names(tmp_path: Path) -> None:
    path = tmp_path / "factors.csv"
    path.write_text("ue,factor\nue0,1\nue1,3\nue0,2\n", encoding="utf-8")
    trace = SlowdownTrace(path=str(path))
    assert [trace.factor("ue0", training=n, key=KEY) for n in range(3)] == [1, 2, 1]
    assert trace.expected("ue0", key=KEY) == 1.5
    assert trace.mean == 2.25
    with pytest.raises(ConfigError, match=r"has no row for 'ue2'; .*valid: ue0, ue1"):
        measure(slowed(trace, ues=8), SCENARIO.data.load())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,factor\nue0,1\n", r"has the columns \['name', 'factor'\]; it must have ue and factor"),
        ("ue,factor\nue0,1\nue0,-2\n", r"line 3: factor = '-2' must be above 0"),
        ("ue,factor\nue0,fast\n", r"line 2: factor = 'fast' must be above 0"),
        ("ue,factor\n", "at least one row"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "factors.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        SlowdownTrace(path=str(path)).expected("ue0", key=KEY)
    with pytest.raises(ConfigError, match="can't be read"):
        SlowdownTrace(path=str(tmp_path / "none.csv")).expected("ue0", key=KEY)


# Bad input.


@pytest.mark.parametrize(
    ("kind", "bad", "field"),
    [
        (UniformSlowdown, {"low": 0.0}, "low"),
        (UniformSlowdown, {"low": 2.0, "high": 1.0}, "high"),
        (LognormalSlowdown, {"sigma": -1.0}, "sigma"),
        (ExponentialSlowdown, {"shift": -0.1}, "shift"),
        (ExponentialSlowdown, {"scale": 0.0}, "scale"),
        (ParetoSlowdown, {"shape": 1.0}, "shape"),
        (ParetoSlowdown, {"scale": math.inf}, "scale"),
        (Stragglers, {"times": 0.0}, "times"),
        (Stragglers, {"probability": 1.1}, "probability"),
        (ExponentialSlowdown, {"per": "round"}, "per"),
        (SlowdownTrace, {}, "path"),
        (SlowdownTrace, {"path": "a.csv", "values": ((1.0,),)}, "path"),
        (SlowdownTrace, {"values": ((1.0,), ())}, r"values\[1\]"),
        (SlowdownTrace, {"values": ((1.0, 0.0),)}, r"values\[0\]\[1\]"),
    ],
)
def test_impossible_settings_are_refused_by_name(kind: Any, bad: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} = "):
        kind(**bad)


def test_a_wrong_kind_or_field_is_refused_where_it_stands_in_the_file() -> None:
    with pytest.raises(
        ConfigError, match=r"^population.slowdown.kind = 'lognorm' is no slowdown; did you mean"
    ):
        parse({"population": {"slowdown": "lognorm"}})
    with pytest.raises(ConfigError, match=r"^population.slowdown.sigma = -1"):
        parse({"population": {"slowdown": {"kind": "lognormal", "sigma": -1.0}}})


def test_a_users_own_slowdown_must_give_factors() -> None:
    class Backwards:
        kind: ClassVar[str] = "backwards"

        def factor(self, ue: str, *, training: int, key: Key) -> float:
            return -1.0

        def expected(self, ue: str, *, key: Key) -> float:
            return math.inf

    scenario = slowed(Backwards())
    for ask in (lambda: slowdown_of(scenario, "ue0", training=0), lambda: expected_slowdown(scenario, "ue0")):
        with pytest.raises(
            ConfigError, match=r"population.slowdown = 'backwards' gave .* above 0 and finite"
        ):
            ask()
