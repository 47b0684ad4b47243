"""Rounds on the simulated clock: who waits for whom, when a run ends, and what balance means."""

import math
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch

from syft_fl.codecs import Float16, Uniform
from syft_fl.data import Synthetic
from syft_fl.errors import CodecError, ConfigError
from syft_fl.experiment import compare, parse, run
from syft_fl.federation import UE, Population, Scenario, Stop, measure, settle
from syft_fl.learn import MLP, Balance, PerSample, Quantity, Softmax, Training
from syft_fl.radio import Constant, Ofdma, Tdma
from syft_fl.transport import OVERHEAD_BYTES, Downlink, Uplink
from syft_fl.vectors import ModelState
from syft_fl.workers import Station, VirtualWorker

SCENARIO = Scenario(
    data=Synthetic(train_samples=200, test_samples=50),
    model=Softmax(),
    population=Population(ues=5),
    training=Training(batch_size=10, learning_rate=0.5),
    compute=PerSample(seconds_per_sample=0.01),
    uplink=Uplink(link=Constant(rate_bps=1e5, power_w=0.2)),
    downlink=Downlink(link=Constant(rate_bps=1e6, latency_s=0.5, power_w=2.0)),
    stop=Stop(rounds=3),
)
ENTRIES = 20 * 10 + 10
FRAME_BITS = 32 * ENTRIES + 8 * OVERHEAD_BYTES
COMPUTE_S = 0.01 * 40


def _round_s(scenario: Scenario) -> float:
    rounds = run(scenario).rounds
    steps = rounds["latency_s"].diff().dropna()
    assert steps.max() == pytest.approx(steps.min(), rel=1e-12)
    return float(steps.iloc[0])


def test_a_tdma_round_takes_downlink_compute_and_all_uploads_one_after_another() -> None:
    expected = FRAME_BITS / 1e6 + 0.5 + COMPUTE_S + 5 * FRAME_BITS / 1e5
    assert _round_s(SCENARIO) == pytest.approx(expected, rel=1e-12)


def test_an_ofdma_round_takes_the_same_airtime_side_by_side() -> None:
    scenario = replace(SCENARIO, uplink=replace(SCENARIO.uplink, access=Ofdma()))
    expected = FRAME_BITS / 1e6 + 0.5 + COMPUTE_S + FRAME_BITS / (1e5 / 5)
    assert _round_s(scenario) == pytest.approx(expected, rel=1e-12)


def test_a_unicast_downlink_lets_the_first_ue_compute_while_the_others_receive() -> None:
    scenario = replace(SCENARIO, downlink=replace(SCENARIO.downlink, cast="unicast"))
    down, up = FRAME_BITS / 1e6, FRAME_BITS / 1e5
    # Uploads are slower than downlinks: all but the first find the air busy, and queue.
    expected = down + 0.5 + COMPUTE_S + 5 * up
    assert down < up
    assert _round_s(scenario) == pytest.approx(expected, rel=1e-12)


def test_energy_is_power_times_airtime_both_ways() -> None:
    rounds = run(SCENARIO).rounds
    per_round = 5 * 0.2 * FRAME_BITS / 1e5 + 2.0 * FRAME_BITS / 1e6
    assert rounds["energy_j"].iloc[-1] == pytest.approx(3 * per_round, rel=1e-12)


def test_compute_is_equal_at_all_ues_unless_each_is_to_have_its_own() -> None:
    skewed = replace(SCENARIO, partition=Quantity(alpha=1.0))
    found = {}
    for equal in (True, False):
        population = replace(skewed.population, equal_compute=equal)
        transfers = run(replace(skewed, population=population)).transfers
        first = transfers[transfers["round"] == 1]
        arrived = first[first["direction"] == "downlink"]["end_s"].iloc[0]
        found[equal] = (first[first["direction"] == "uplink"]["offered_s"] - arrived).to_numpy()
    assert found[True] == pytest.approx([COMPUTE_S] * 5, rel=1e-9)
    assert found[False].max() > 1.5 * found[False].min()
    assert found[False].mean() == pytest.approx(COMPUTE_S, rel=1e-9)


@pytest.mark.parametrize("access", [Tdma(), Ofdma()])
@pytest.mark.parametrize("rho", [0.5, 1.0, 3.0])
def test_balance_puts_the_float32_uplink_phase_at_rho_times_compute(access: Any, rho: float) -> None:
    scenario = replace(SCENARIO, compute=Balance(rho=rho), uplink=replace(SCENARIO.uplink, access=access))
    budget = measure(scenario, scenario.data.load())
    assert budget.uplink_phase_s == pytest.approx(5 * FRAME_BITS / 1e5, rel=1e-12)
    assert budget.upload_s == pytest.approx(FRAME_BITS / 1e5, rel=1e-12)
    assert budget.rho == pytest.approx(rho)
    transfers = run(scenario).transfers
    first = transfers[transfers["round"] == 1]
    up, down = (first[first["direction"] == d] for d in ("uplink", "downlink"))
    phase_s = up["end_s"].max() - up["offered_s"].min()
    compute_s = up["offered_s"].min() - down["end_s"].max()
    assert phase_s / compute_s == pytest.approx(rho, rel=1e-9)


def test_variants_inherit_the_base_scenarios_compute_seconds() -> None:
    experiment = parse(
        {
            "data": {"kind": "synthetic", "train_samples": 60, "test_samples": 20},
            "model": "softmax",
            "population": {"ues": 3},
            "stop": {"rounds": 1},
            "variants": [
                {"name": "float32"},
                {"name": "uniform", "uplink": {"codec": {"kind": "uniform", "bits": 2}}},
                {"name": "slow", "uplink": {"link": {"kind": "constant", "rate_bps": 1e3}}},
                {"name": "rho-2", "compute": {"kind": "balance", "rho": 2.0}},
                {"name": "two-epochs", "training": {"epochs": 2}},
            ],
        }
    )
    results = {r.name: r for r in compare(experiment).results}
    seconds = {name: r.config["compute"]["seconds_per_sample"] for name, r in results.items()}
    base = seconds["float32"]
    assert seconds == {
        "float32": base,
        "uniform": base,
        "slow": base,
        "rho-2": pytest.approx(base / 2),
        "two-epochs": base,
    }
    assert {r.config["balance"]["rho"] for r in results.values()} == {1.0}


def test_an_unbalanced_scenario_is_warned_about() -> None:
    with pytest.warns(UserWarning, match=r"rho = 0\.\d+.*outside 0\.1 … 10"):
        run(replace(SCENARIO, compute=PerSample(seconds_per_sample=10.0), stop=Stop(rounds=1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(replace(SCENARIO, stop=Stop(rounds=1)))


def test_a_run_asked_to_balance_must_be_settled_first() -> None:
    scenario = replace(SCENARIO, compute=Balance())
    budget = measure(scenario, scenario.data.load())
    assert isinstance(settle(scenario, budget).compute, PerSample)
    assert settle(SCENARIO, budget) is SCENARIO


@pytest.mark.parametrize(
    ("stop", "rounds"),
    [
        ({"rounds": 2}, 2),
        ({"rounds": 50, "seconds": 2.0}, 2),
        ({"rounds": 50, "uplink_bits": 5.0 * FRAME_BITS * 3}, 3),
        ({"rounds": 50, "uplink_bits": 5.0 * FRAME_BITS * 3 + 1}, 4),
    ],
)
def test_a_run_ends_with_the_round_that_reaches_the_first_limit(stop: dict[str, Any], rounds: int) -> None:
    assert 1.2 < _round_s(SCENARIO) < 1.4
    result = run(replace(SCENARIO, stop=Stop(**stop)))
    assert result.rounds["round"].iloc[-1] == rounds


def test_a_run_ends_when_the_accuracy_is_reached() -> None:
    whole = run(replace(SCENARIO, stop=Stop(rounds=8))).rounds["accuracy"]
    goal = float(whole.max())
    result = run(replace(SCENARIO, stop=Stop(rounds=8, accuracy=goal)))
    assert result.rounds["accuracy"].iloc[-1] >= goal
    assert (result.rounds["accuracy"].iloc[1:-1] < goal).all()
    assert whole.iloc[0] < goal


def test_the_last_round_is_tested_whatever_eval_every_says() -> None:
    population = replace(SCENARIO.population, eval_every=3)
    tested = run(replace(SCENARIO, population=population, stop=Stop(rounds=5))).rounds["accuracy"].notna()
    assert tested.tolist() == [True, False, False, True, False, True]


def test_a_standalone_twin_changes_nothing_and_learns_from_its_own_samples() -> None:
    alone = run(replace(SCENARIO, population=replace(SCENARIO.population, standalone=True)))
    without = run(SCENARIO)
    assert alone.rounds.drop(columns="standalone_accuracy").equals(without.rounds)
    accuracy = alone.rounds["standalone_accuracy"]
    assert accuracy.iloc[-1] > accuracy.iloc[0]
    assert not accuracy.equals(alone.rounds["accuracy"])


def test_a_lossy_downlink_moves_the_reference_so_the_error_does_not_grow() -> None:
    exact = run(replace(SCENARIO, stop=Stop(rounds=12))).rounds["loss"].iloc[-1]
    coarse = replace(SCENARIO.downlink, codec=Uniform(bits=4, rounding="stochastic"))
    lossy = run(replace(SCENARIO, downlink=coarse, stop=Stop(rounds=12))).rounds["loss"].iloc[-1]
    assert lossy == pytest.approx(exact, rel=0.25)


def test_fewer_bits_arrive_sooner_and_are_all_charged() -> None:
    half = run(replace(SCENARIO, uplink=replace(SCENARIO.uplink, codec=Float16())))
    bits = half.transfers[half.transfers["direction"] == "uplink"]["bits"]
    assert (bits == 16 * ENTRIES + 8 * OVERHEAD_BYTES).all()
    assert half.rounds["uplink_bits"].iloc[-1] == bits.sum()
    assert half.rounds["latency_s"].iloc[-1] < run(SCENARIO).rounds["latency_s"].iloc[-1]


def test_a_diverging_update_is_one_clear_error_with_ue_and_round() -> None:
    wild = replace(SCENARIO, training=Training(batch_size=10, learning_rate=1e38))
    with pytest.raises(CodecError, match=r"ue\d's model in round \d.*training\.learning_rate = 1e\+38"):
        run(wild)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"population": Population(ues=201)}, "samples"),
        ({"model": {"kind": "document_cnn"}}, "shape"),
    ],
)
def test_what_does_not_go_together_is_refused_before_training(
    changes: dict[str, Any], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syft_fl.experiment.runs.Simulation", None)
    with pytest.raises(ConfigError, match=rule):
        run(replace(SCENARIO, **changes))


def test_a_model_that_gives_another_number_of_scores_is_refused() -> None:
    from torch import nn

    with pytest.raises(ConfigError, match="one score per class"):
        run(SCENARIO, model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(20, 7)))
    with pytest.raises(ConfigError, match="does not take samples of shape"):
        run(SCENARIO, model=lambda: nn.Linear(21, 10))


def test_results_know_no_infinity() -> None:
    assert math.isfinite(run(replace(SCENARIO, model=MLP(hidden=(4,)))).rounds["latency_s"].max())


def test_a_ue_with_a_share_of_the_data_has_the_samples_and_holds_their_index_alone() -> None:
    whole = SCENARIO.data.load().train
    index = torch.tensor([3, 0, 150])
    model = ModelState(torch.zeros(4), {})
    station = Station()
    shared = UE(VirtualWorker(station, "shared"), whole.share(index), model)
    copied = UE(VirtualWorker(station, "copied"), whole[index], model)
    assert torch.equal(shared.samples.x, copied.samples.x)
    assert torch.equal(shared.samples.y, copied.samples.y)
    assert len(shared.samples) == len(copied.samples) == 3
    held = shared.worker.objects.values()
    assert sorted(tensor.numel() for tensor in held) == [3, 4]
    # Both may be handed on: to a twin, or to an engine.
    twin = UE(VirtualWorker(station, "twin"), shared.samples, model)
    assert torch.equal(twin.samples.x, copied.samples.x)
