"""What a simulation holds: of idle UEs almost nothing, of a round no more than it needs, of past rounds nothing."""

from __future__ import annotations

import gc
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from syft_fl.errors import ConfigError
from syft_fl.experiment import parse
from syft_fl.federation import Scenario, Simulation
from syft_fl.federation import simulation as simulating
from syft_fl.federation.streaming import Streaming, streams
from syft_fl.learn import IID, FedAvg, RunningMean
from syft_fl.vectors import ModelState

FEATURES = 37
BASE: dict[str, Any] = {
    "data": {
        "kind": "synthetic",
        "features": FEATURES,
        "classes": 5,
        "train_samples": 120,
        "test_samples": 40,
    },
    "model": {"kind": "mlp", "hidden": [31]},
    "population": {"ues": 12, "cohort": 6},
    "partition": {"kind": "quantity", "alpha": 2.0},
    "training": {"batch_size": 8},
    "compute": {"kind": "per_sample", "seconds_per_sample": 0.01},
    "stop": {"rounds": 50},
}
QSGD = {"kind": "qsgd", "levels": 7, "block": 64}
SHANNON = {"kind": "shannon", "bandwidth_hz": 1e4}


def scenario(**changes: Any) -> Scenario:
    return parse(BASE | changes).base


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Without the garbage collector: what is let go of must go by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def bytes_alive() -> int:
    """Of all tensors, those of parameters and of stacks too."""
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@pytest.mark.filterwarnings("ignore:rho")
@pytest.mark.parametrize("engine", ["loop", {"kind": "threads", "workers": 2}, "batched"], ids=str)
@pytest.mark.parametrize("uplink", [{}, {"codec": QSGD, "delta": False}], ids=["float32", "qsgd"])
def test_rounds_leave_no_models_behind(engine: Any, uplink: dict[str, Any], uncollected: None) -> None:
    simulation = Simulation(scenario(engine=engine, uplink=uplink), scenario().data.load())
    before, alive = bytes_alive(), []
    for _ in range(9):
        simulation.step()
        alive.append(bytes_alive() - before)
    # The base station's model, the one that went down last, and a scratch module's gradients for each worker.
    assert max(alive[4:]) <= max(alive[:4])
    assert max(alive) <= 8 * 4 * simulation.layout.length


def test_an_idle_ue_holds_an_index_into_the_data_and_no_model() -> None:
    simulation = Simulation(scenario(), scenario().data.load())
    for _ in range(3):
        simulation.step()
    for ue in simulation.ues.values():
        (index,) = ue.worker.objects.values()
        assert index.dtype == torch.int64
        assert index.numel() == len(ue.samples)
        # Many indices are one tensor, cut up.
        assert index.untyped_storage().nbytes() == 8 * len(simulation.dataset.train)


def test_parts_of_a_partition_are_views_of_one_tensor() -> None:
    parts = IID().split(torch.zeros(1000, dtype=torch.int64), ues=300, key=simulating.Key(0))
    assert len({part.untyped_storage().data_ptr() for part in parts}) == 1
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))


# The mean of a round while its updates come.

STREAMED: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedadam": {"population": {**BASE["population"], "aggregator": {"kind": "fedadam"}}},
    "fedavgm": {"population": {**BASE["population"], "aggregator": {"kind": "fedavgm"}}},
    # Who is near overtakes who was called before.
    "side by side": {"uplink": {"link": SHANNON, "access": "ofdma", "codec": QSGD, "error_feedback": True}},
    "slow ones": {"population": {**BASE["population"], "slowdown": {"kind": "exponential"}}},
    "a twin": {"population": {**BASE["population"], "standalone": True}},
}


def outcome(scenario: Scenario) -> tuple[list[dict[str, Any]], ModelState]:
    simulation = Simulation(scenario, scenario.data.load())
    return [dict(simulation.step().row) for _ in range(5)], simulation.model


@pytest.mark.filterwarnings("ignore:rho")
@pytest.mark.parametrize("changes", STREAMED.values(), ids=STREAMED)
def test_a_mean_that_is_taken_while_updates_come_has_the_bits_of_one_that_is_taken_at_the_end(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert streams(scenario(**changes))
    rows, model = outcome(scenario(**changes))
    monkeypatch.setattr(simulating, "streams", lambda _: False)
    held_rows, held = outcome(scenario(**changes))
    assert repr(rows) == repr(held_rows)
    assert torch.equal(model.vector, held.vector)


@pytest.mark.filterwarnings("ignore:rho")
def test_only_updates_that_overtook_others_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    most = []
    add = Streaming.add

    def counted(self: Streaming, ue: str, state: ModelState, *, samples: int) -> None:
        add(self, ue, state, samples=samples)
        most.append(len(self._overtook))

    monkeypatch.setattr(Streaming, "add", counted)
    outcome(scenario(partition={"kind": "iid"}))
    assert len(most) == 4 * 6
    assert max(most) == 0
    outcome(scenario(**STREAMED["side by side"]))
    assert 0 < max(most) < 6


LOSSY = {
    "kind": "wireless",
    "loss": {"kind": "packet", "probability": 0.2},
    "retransmission": {"kind": "arq"},
}
HELD: dict[str, dict[str, Any]] = {
    "a link that loses": {"uplink": {"link": LOSSY}},
    "a downlink that loses": {"downlink": {"link": LOSSY}},
    "a trigger": {"trigger": {"kind": "norm", "tau": 0.1}},
    "a deadline": {"population": {**BASE["population"], "closing": {"kind": "deadline", "seconds": 1.0}}},
    "a median": {"population": {**BASE["population"], "aggregator": "median"}},
    "steps": {"population": {**BASE["population"], "aggregator": "fednova"}},
    "sums in code space": {"uplink": {"codec": "count-sketch"}},
    "the channel's sum": {"uplink": {"link": {"kind": "shannon"}, "analog": {}}},
}


@pytest.mark.parametrize("changes", HELD.values(), ids=HELD)
def test_where_it_is_not_known_who_sends_or_each_counts_updates_are_held(changes: dict[str, Any]) -> None:
    assert not streams(scenario(**changes))


def test_a_running_mean_is_that_of_fedavg_with_buffers() -> None:
    generator = torch.Generator().manual_seed(0)
    models = [
        ModelState(
            torch.randn(50, generator=generator),
            {"mean": torch.randn(4, generator=generator), "count": torch.tensor(number)},
        )
        for number in (3, 9, 5)
    ]
    weights = [7.0, 0.0, 4.0]
    running = RunningMean(weights)
    vector, mean = torch.zeros(50), torch.zeros(4)
    for model, weight in zip(models, weights, strict=True):
        running.add(model)
        vector += (weight / 11.0) * model.vector
        mean += (weight / 11.0) * model.buffers["mean"]
    whole = FedAvg().aggregate(models[0], list(zip(models, weights, strict=True)))
    for found in (running.state, whole):
        assert torch.equal(found.vector, vector)
        assert torch.equal(found.buffers["mean"], mean)
        assert found.buffers["count"].item() == 9
    with pytest.raises(ConfigError, match="not all 0"):
        RunningMean([0.0, 0.0])


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(x.flatten(1)))  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:rho")
def test_buffers_stream_along(monkeypatch: pytest.MonkeyPatch) -> None:
    class Factory:
        kind = "normed"

        def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
            return Normed()

    def built() -> Scenario:
        return replace(scenario(partition={"kind": "iid"}), model=Factory())

    _, model = outcome(built())
    monkeypatch.setattr(simulating, "streams", lambda _: False)
    _, held = outcome(built())
    assert model.buffers["norm.num_batches_tracked"].item() > 0
    for name, buffer in held.buffers.items():
        assert torch.equal(model.buffers[name], buffer), name


def test_the_page_on_memory_names_what_is_measured_and_its_settings_are_read() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "memory.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    population = parse(tomllib.loads(block)).base.population
    assert (population.ues, population.spill_mb) == (100_000, 2000.0)
    for link in re.findall(r"\]\(([^)#]+)", page):
        assert (root / "docs" / link).exists(), link
    # Bounds of the page are those of the measurement.
    script = (root / "tests" / "bench" / "bench_memory.py").read_text(encoding="utf-8")
    bounds = re.findall(r'Row\(\s*"[a-z ]+",\s*"(?:MB|models)",\s*(\d+)', script)
    assert sorted(map(int, bounds)) == sorted(map(int, re.findall(r"\| (\d+) (?:MB|models) \|$", page, re.M)))
