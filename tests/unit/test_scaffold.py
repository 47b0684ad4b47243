"""SCAFFOLD in a run: against plain torch, what it sends, and what becomes of its variates on a lossy link."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from syft_fl.codecs import Codec, Float32, Uniform
from syft_fl.data import Synthetic
from syft_fl.errors import ConfigError
from syft_fl.federation import Population, Scenario, Simulation, Stop, measure
from syft_fl.keys import Key
from syft_fl.learn import (
    MLP,
    Balance,
    Dirichlet,
    FedAvg,
    PerSample,
    Scaffold,
    Training,
    build_seeded,
    own_model,
)
from syft_fl.radio import Arq, Packet, Wireless
from syft_fl.transport import OVERHEAD_BYTES, Downlink, Uplink

UES = 6
ROUNDS = 4
SCENARIO = Scenario(
    seed=5,
    data=Synthetic(train_samples=300, test_samples=50),
    model=MLP(hidden=(16,)),
    # UEs have unequally many samples, and so take unequally many steps.
    partition=Dirichlet(alpha=0.5),
    population=Population(ues=UES, aggregator=Scaffold()),
    training=Training(batch_size=16, epochs=2, learning_rate=0.1),
    compute=PerSample(seconds_per_sample=1e-3),
    stop=Stop(rounds=ROUNDS),
)
# A frame is one packet, or several.
LOSING, TEARING = (
    Wireless(loss=Packet(probability=0.3), retransmission=Arq(mtu_bytes=mtu_bytes, tries=1))
    for mtu_bytes in (10_000, 200)
)
COARSE = Uniform(bits=3, rounding="stochastic")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def with_population(scenario: Scenario, **changes: Any) -> Scenario:
    return replace(scenario, population=replace(scenario.population, **changes))


def started(scenario: Scenario) -> Simulation:
    simulation = Simulation(scenario, scenario.data.load())
    simulation.step()
    return simulation


class Reference:
    """SCAFFOLD as a person writes it in plain torch; of ours only the named random streams are used."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.key = scenario, Key(scenario.seed)
        self.data = scenario.data.load()
        self.model = build_seeded(scenario.model, self.data.shape, self.data.classes, self.key / "model")
        self.parts = scenario.partition.split(self.data.train.y, ues=UES, key=self.key / "partition")
        self.trainings = [0] * UES
        self.c = self.zeros()
        self.own = [self.zeros() for _ in range(UES)]

    def zeros(self) -> list[Tensor]:
        return [torch.zeros_like(p) for p in self.model.parameters()]

    def batches(self, ue: int) -> list[tuple[Tensor, Tensor]]:
        stream = self.key / f"ue{ue}" / f"training{self.trainings[ue]}" / "batches"
        self.trainings[ue] += 1
        generator = stream.torch()
        x, y = self.data.train.x[self.parts[ue]], self.data.train.y[self.parts[ue]]
        size, epochs = self.scenario.training.batch_size, int(self.scenario.training.epochs or 1)
        orders = [torch.randperm(len(y), generator=generator) for _ in range(epochs)]
        return [(x[batch], y[batch]) for order in orders for batch in order.split(size)]

    def round(self, cohort: list[int], rate_of_the_base_station: float) -> None:
        start = [p.detach().clone() for p in self.model.parameters()]
        eta = self.scenario.training.learning_rate
        ends, changes = [], []
        for ue in cohort:
            local = copy.deepcopy(self.model)
            batches = self.batches(ue)
            for x, y in batches:
                local.zero_grad()
                F.cross_entropy(local(x), y).backward()
                with torch.no_grad():
                    for p, c, own in zip(local.parameters(), self.c, self.own[ue], strict=True):
                        p -= eta * (p.grad - own + c)
            end = [p.detach() for p in local.parameters()]
            mine = [
                own - c + (x - y) / (len(batches) * eta)
                for own, c, x, y in zip(self.own[ue], self.c, start, end, strict=True)
            ]
            changes.append([new - old for new, old in zip(mine, self.own[ue], strict=True)])
            ends.append(end)
            self.own[ue] = mine
        with torch.no_grad():
            for i, p in enumerate(self.model.parameters()):
                p += rate_of_the_base_station * sum(end[i] - start[i] for end in ends) / len(cohort)
        self.c = [c + sum(change[i] for change in changes) / UES for i, c in enumerate(self.c)]


def heard_in(record: Any) -> list[int]:
    names = [e.ues[0] for e in record.entries if e.direction == "uplink"]
    return sorted(int(name.removeprefix("ue")) for name in names)


def flat(tensors: list[Tensor]) -> Tensor:
    return parameters_to_vector([t.contiguous() for t in tensors])


@pytest.mark.parametrize("cohort", [None, 3])
@pytest.mark.parametrize("cast", ["multicast", "unicast", "broadcast"])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_a_float32_run_is_plain_scaffold(cohort: int | None, cast: Any, rate: float) -> None:
    scenario = replace(SCENARIO, downlink=Downlink(cast=cast))
    scenario = with_population(scenario, cohort=cohort, aggregator=Scaffold(learning_rate=rate))
    simulation, reference = started(scenario), Reference(scenario)
    assert simulation.variates is not None
    heard = []
    for _ in range(ROUNDS):
        heard.append(heard_in(simulation.step()))
        reference.round(heard[-1], rate)
        model = parameters_to_vector(reference.model.parameters())
        assert (simulation.model.vector - model).abs().max() < 1e-6
        assert (simulation.variates.common - flat(reference.c)).abs().max() < 1e-5
        for ue in range(UES):
            assert (simulation.variates.own(f"ue{ue}") - flat(reference.own[ue])).abs().max() < 1e-5
    assert all(len(ues) == (cohort or UES) for ues in heard)
    # And these are far apart: variates are gradients, and UEs that are corrected go elsewhere.
    assert simulation.variates.common.abs().max() > 1e-2
    plain = started(with_population(scenario, aggregator=FedAvg()))
    for _ in range(ROUNDS):
        plain.step()
    assert (simulation.model.vector - plain.model.vector).abs().max() > 1e-2


def batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))


@pytest.mark.parametrize("model", [SCENARIO.model, own_model(batch_norm)], ids=["mlp", "batch-norm"])
def test_frames_hold_twice_the_entries_both_ways(model: Any) -> None:
    bits = {}
    for rule in (FedAvg(), Scaffold()):
        simulation = started(replace(with_population(SCENARIO, aggregator=rule), model=model))
        for _ in range(2):
            entries = simulation.step().entries
        bits[rule.kind] = {e.direction: (e.bits, e.payload_bits, e.raw_bits) for e in entries}
        assert [e.direction for e in entries].count("uplink") == UES
    length = simulation.layout.length
    for direction in ("uplink", "downlink"):
        # Not the buffers, not the header: these are there once.
        more = [s - p for s, p in zip(bits["scaffold"][direction], bits["fedavg"][direction], strict=True)]
        assert more == [32 * length] * 3
    if not simulation.model.buffers:
        assert bits["scaffold"]["uplink"][0] == 64 * length + 8 * OVERHEAD_BYTES


def test_a_layered_codec_writes_the_variates_otherwise() -> None:
    rules = [{"tensors": "control.*", "codec": {"kind": "uniform", "bits": 2}}]
    uplink = {"codec": {"kind": "layered", "codec": {"kind": "float32"}, "rules": rules}}
    simulation = started(replace(SCENARIO, uplink=uplink))  # type: ignore[arg-type]
    bits = simulation.step().entries[-1].payload_bits
    assert 34 < bits / simulation.layout.length < 35


def test_buffers_are_averaged_and_parameters_are_corrected() -> None:
    simulation = started(replace(SCENARIO, model=own_model(batch_norm)))
    before = simulation.model.buffers["1.running_mean"].clone()
    for _ in range(2):
        simulation.step()
    assert set(simulation.model.buffers) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert not torch.equal(simulation.model.buffers["1.running_mean"], before)
    assert simulation.model.vector.numel() == simulation.layout.length


def test_balance_means_the_phase_in_which_models_and_variates_go_up() -> None:
    found = {
        rule.kind: measure(
            replace(with_population(SCENARIO, aggregator=rule), compute=Balance()), SCENARIO.data.load()
        )
        for rule in (FedAvg(), Scaffold())
    }
    frame = started(SCENARIO).step().entries[-1]
    assert frame.direction == "uplink"
    assert found["scaffold"].upload_bits == frame.bits
    ratio = found["scaffold"].upload_bits / found["fedavg"].upload_bits
    assert 1.9 < ratio < 2
    assert found["scaffold"].uplink_phase_s == pytest.approx(ratio * found["fedavg"].uplink_phase_s)
    assert found["scaffold"].rho == found["fedavg"].rho == 1.0


def mean_of_own(simulation: Simulation) -> Tensor:
    assert simulation.variates is not None
    return torch.stack([simulation.variates.own(f"ue{ue}") for ue in range(UES)]).mean(dim=0)


def residuals_of_variates(simulation: Simulation) -> Tensor:
    found = [simulation.transport.residual(f"ue{ue}", "model") for ue in range(UES)]
    halves = [None if r is None else r[simulation.layout.length :] for r in found]
    empty = torch.zeros(simulation.layout.length)
    return torch.stack([empty if half is None else half for half in halves]).mean(dim=0)


@pytest.mark.parametrize("codec", [Float32(), COARSE], ids=["float32", "uniform"])
@pytest.mark.parametrize("erasure", [False, True], ids=["whole", "part"])
@pytest.mark.parametrize("feedback", [False, True], ids=["", "error-feedback"])
@pytest.mark.parametrize("cohort", [None, 4])
def test_the_common_variate_is_the_mean_of_the_own_ones_and_of_what_is_owed(
    codec: Codec, erasure: bool, feedback: bool, cohort: int | None
) -> None:
    scenario = replace(
        SCENARIO,
        uplink=Uplink(
            codec=codec, link=TEARING if erasure else LOSING, erasure=erasure, error_feedback=feedback
        ),
        downlink=Downlink(codec=Uniform(bits=6), link=Wireless(loss=Packet(probability=0.2))),
    )
    simulation = started(with_population(scenario, cohort=cohort))
    assert simulation.variates is not None
    owes = feedback and (codec != Float32() or erasure)
    lost, missing, owed = 0, 0, []
    for _ in range(8):
        entries = [e for e in simulation.step().entries if e.direction == "uplink"]
        lost += sum(len(e.lost) for e in entries)
        missing += sum(e.missing_bits for e in entries)
        owed.append(residuals_of_variates(simulation).abs().max().item())
        mean = mean_of_own(simulation) - residuals_of_variates(simulation)
        assert (simulation.variates.common - mean).abs().max() < 1e-5
    assert lost > 0
    assert (missing > 0) == erasure
    assert (max(owed) > 1e-3) == owes
    assert simulation.variates.common.abs().max() > 1e-2


def test_a_ue_that_was_not_heard_keeps_its_variate() -> None:
    dead = Wireless(loss=Packet(probability=1.0))
    simulation = started(replace(SCENARIO, uplink=Uplink(link=dead)))
    before = simulation.model
    assert simulation.step().row["arrived"] == 0
    assert simulation.variates is not None
    assert simulation.model is before
    assert not mean_of_own(simulation).any()
    assert not simulation.variates.common.any()


def test_a_rate_that_ends_at_zero_leaves_the_variates_as_they_are() -> None:
    training = replace(SCENARIO.training, schedule={"kind": "cosine", "rounds": 2})  # type: ignore[arg-type]
    assert training.rate(3) == 0
    simulation = started(replace(SCENARIO, training=training))
    for _ in range(2):
        simulation.step()
    assert simulation.variates is not None
    before = simulation.variates.common
    simulation.step()
    assert torch.equal(simulation.variates.common, before)


def test_a_twin_that_hears_nothing_is_not_corrected() -> None:
    found = []
    for rule in (FedAvg(), Scaffold()):
        simulation = started(with_population(SCENARIO, aggregator=rule, standalone=True))
        found.append([simulation.step().row["standalone_accuracy"] for _ in range(3)])
    assert found[0] == found[1]


def test_a_run_goes_on_from_a_checkpoint_with_the_same_bits() -> None:
    scenario = with_population(SCENARIO, cohort=3)
    scenario = replace(scenario, uplink=Uplink(codec=COARSE, error_feedback=True, link=LOSING))
    whole = started(scenario)
    for _ in range(3):
        whole.step()
    file = io.BytesIO()
    torch.save(whole.state(), file)
    file.seek(0)
    other = Simulation(scenario, scenario.data.load())
    other.load(torch.load(file, weights_only=True))
    ours, theirs = whole.step(), other.step()
    assert ours.row == theirs.row
    assert ours.entries == theirs.entries
    assert torch.equal(whole.model.vector, other.model.vector)
    assert whole.variates is not None
    assert other.variates is not None
    assert torch.equal(whole.variates.common, other.variates.common)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": Training(optimizer="adam")}, "'sgd' where population.aggregator = 'scaffold'"),
        ({"uplink": {"codec": {"kind": "count-sketch"}}}, "one that sees no more than a mean"),
        ({"uplink": {"link": {"kind": "shannon"}, "analog": {}}}, "'fedavg' where uplink.analog"),
    ],
)
def test_what_does_not_go_with_it_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SCENARIO, **changes)
