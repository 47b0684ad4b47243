"""A run on a card computes there what a run on the CPU computes here.

Nothing is left behind, and nothing comes back but what is to be written. The card is pretended
(``tests/pretended.py``); what a real one does is in ``tests/integration/test_cuda.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from pretended import CARD, MixedDevicesError, PretendedCard, on_card
from torch import Tensor, nn

from syft_fl.codecs import CODECS, Context
from syft_fl.devices import CPU
from syft_fl.errors import ConfigError
from syft_fl.experiment import parse
from syft_fl.federation import RoundRecord, Scenario, Simulation, check_fits
from syft_fl.keys import Key
from syft_fl.learn import RunningMean
from syft_fl.learn.generators import torch_generator
from syft_fl.schema import remember
from syft_fl.transport.layers import LinkMemory, Pipeline
from syft_fl.vectors import Layout, ModelState

BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "train_samples": 90, "test_samples": 40, "features": 8},
    "model": {"kind": "mlp", "hidden": [6]},
    "population": {"ues": 4},
    "partition": {"kind": "dirichlet", "alpha": 1.0},
    "training": {"batch_size": 8, "epochs": 2},
    "compute": {"kind": "per_sample", "seconds_per_sample": 1e-3},
    "stop": {"rounds": 3},
}
WIRELESS = {
    "kind": "wireless",
    "loss": {"kind": "packet", "probability": 0.3},
    "retransmission": {"kind": "arq", "mtu_bytes": 60, "tries": 1},
}
EF = {"error_feedback": True}
SCENARIOS: dict[str, dict[str, Any]] = {
    "plain": {},
    "adam-proximal": {"training": {"optimizer": "adam", "proximal_mu": 0.1, "batch_size": 8}},
    "all-samples": {"training": {"batch_size": "all", "epochs": 3}},
    "standalone": {"population": {"standalone": True}},
    "pairwise": {"population": {"aggregator": "pairwise"}},
    "fedadam": {"population": {"aggregator": "fedadam"}},
    "fedavgm": {"population": {"aggregator": "fedavgm"}},
    "fednova": {"population": {"aggregator": "fednova"}},
    "median": {"population": {"aggregator": "median"}},
    "krum": {"population": {"aggregator": {"kind": "multi-krum", "byzantine": 0, "kept": 2}}},
    "scaffold": {"population": {"aggregator": "scaffold"}},
    "scaffold-feedback": {"population": {"aggregator": "scaffold"}, "uplink": EF | {"codec": "sign"}},
    "uniform": {"uplink": {"codec": {"kind": "uniform", "bits": 4}}},
    "deltas-both-ways": {"uplink": EF | {"codec": "qsgd"}, "downlink": {"codec": "dithered"}},
    "halves": {"uplink": {"codec": "float16"}, "downlink": {"codec": "bfloat16"}},
    "rotated": {"uplink": {"codec": {"kind": "rotated", "codec": {"kind": "uniform", "bits": 2}}}},
    "lattice": {"uplink": {"codec": "uveqfed"}},
    "top-k": {"uplink": EF | {"codec": {"kind": "top-k", "fraction": 0.1}}},
    "warm-start": {"uplink": EF | {"codec": {"kind": "powersgd", "rank": 1}}},
    "summed": {"uplink": {"codec": {"kind": "count-sketch", "rows": 3, "recover": 0.1}}},
    "summed-momentum": {
        "uplink": {"codec": {"kind": "count-sketch", "rows": 3, "recover": 0.1}},
        "population": {"aggregator": "fedavgm"},
    },
    "by-loss": {"uplink": {"codec": "adaquantfl"}},
    "erasure": {"uplink": {"erasure": True, "link": WIRELESS}},
    "erasure-feedback": {"uplink": EF | {"erasure": True, "link": WIRELESS, "codec": "uniform"}},
    "lost": {"uplink": EF | {"link": WIRELESS, "codec": "sign"}},
    "over-the-air": {"uplink": EF | {"analog": {"threshold": 0.01}, "link": {"kind": "shannon"}}},
    "norm": {"trigger": {"kind": "norm", "tau": 0.3}, "uplink": EF | {"codec": "sign"}},
    "lag": {"trigger": "lag"},
    "laq": {"trigger": "laq", "uplink": {"codec": "laq"}},
    "lag-server": {"trigger": {"kind": "lag-server", "smoothness": 0.1}},
    "late": {"population": {"closing": {"kind": "first", "updates": 2}, "late": "polynomial"}},
    "fedbuff": {"population": {"asynchronous": {"kind": "fedbuff", "buffer": 2}, "cohort": 3}},
    "fedasync": {"population": {"asynchronous": "fedasync", "cohort": 3}},
    "tiers": {"population": {"asynchronous": {"kind": "tiers", "tiers": 2}}},
    "acknowledged": {
        "protocol": {"acknowledgements": "sent", "patience_s": 1.0},
        "uplink": EF | {"codec": "sign"},
    },
    "batched": {"engine": "batched"},
    "batched-scaffold": {"engine": "batched", "population": {"aggregator": "scaffold"}},
    "batched-adam": {
        "engine": "batched",
        "training": {"optimizer": "adam", "proximal_mu": 0.1, "batch_size": 8, "epochs": 2},
    },
    "batched-all": {
        "engine": {"kind": "batched", "chunk": 3},
        "training": {"batch_size": "all", "epochs": 3},
    },
}


class Normalised(nn.Module):
    """With buffers and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Forgetful(nn.Module):
    """Makes a tensor in ``forward``, on the CPU wherever its input is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + torch.ones(10)  # type: ignore[no-any-return]


def scenario(changes: Mapping[str, Any], device: str | None = None) -> Scenario:
    def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        out = dict(one)
        for name, value in other.items():
            both = isinstance(value, Mapping) and isinstance(out.get(name), Mapping) and "kind" not in value
            out[name] = merged(out[name], value) if both else value
        return out

    return parse(merged(BASE, {**changes, **({"device": device} if device else {})})).base


def own_model(changes: Mapping[str, Any], module: type[nn.Module]) -> dict[str, Any]:
    return {**changes, "model": {"kind": "own", "path": remember(module)}}


def carried_out(asked: Scenario) -> tuple[Simulation, list[RoundRecord]]:
    simulation = Simulation(asked, asked.data.load())
    records = []
    while simulation.stopped_by is None:
        records.append(simulation.step())
    return simulation, records


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedCard]:
    """A pretended card that ``device = "cuda"`` is."""
    for module in ("federation.simulation", "federation.fitting"):
        monkeypatch.setattr(f"syft_fl.{module}.ready", lambda name: CARD if name else CPU)
    monkeypatch.setattr("syft_fl.learn.generators._card_generator", lambda key, device: torch_generator(key))
    monkeypatch.setattr("syft_fl.learn.engines.batched.memory_bytes", lambda device: 2**30)
    with PretendedCard() as card:
        yield card


def told(record: RoundRecord) -> tuple[object, ...]:
    decisions = [(one.ue, one.time_s, one.send) for one in record.decisions]
    return record.row, record.entries, record.computations, decisions


def same_bits(there: Tensor, here: Tensor) -> bool:
    return on_card(there) and torch.equal(there.cpu(), here)


@pytest.mark.parametrize("changes", SCENARIOS.values(), ids=SCENARIOS)
def test_a_run_on_a_card_is_the_run_on_the_cpu(
    changes: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    here, expected = carried_out(scenario(changes))
    card: PretendedCard = request.getfixturevalue("card")
    there, found = carried_out(scenario(changes, "cuda"))
    assert [told(record) for record in found] == [told(record) for record in expected]
    # Norms are summed where the vector is, in another order.
    quantities = [
        [one.quantity for record in records for one in record.decisions] for records in (found, expected)
    ]
    assert quantities[0] == pytest.approx(quantities[1], rel=1e-12)
    assert same_bits(there.model.vector, here.model.vector)
    assert card.crossed["to host"] > 0


def test_buffers_and_draws_are_on_the_card_too(request: pytest.FixtureRequest) -> None:
    changes = own_model({"uplink": {"codec": "qsgd"}}, Normalised)
    here, _ = carried_out(scenario(changes))
    request.getfixturevalue("card")
    there, _ = carried_out(scenario(changes, "cuda"))
    assert same_bits(there.model.vector, here.model.vector)
    for name, buffer in there.model.buffers.items():
        assert same_bits(buffer, here.model.buffers[name]), name


# Of a codec that computes where vectors are: what is measured of groups and packed bytes, of each frame.
# Of a codec of the host: the vector. Groups take 8 bytes each: QSGD's sums are float64, Uniform's ends two float32.
ACROSS: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "qsgd": ({"kind": "qsgd", "block": 32}, 2, 4, 4),
    "uniform": ({"kind": "uniform", "bits": 3, "rounding": "stochastic", "block": 32}, 2, 3, 8),
    "float16": ({"kind": "float16"}, 1, 32, 0),
}


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("engine", ["loop", "batched"])
@pytest.mark.parametrize("codec", ACROSS)
def test_nothing_comes_to_the_host_but_what_is_written_for_each_frame(
    codec: str, engine: str, ahead: bool, card: PretendedCard
) -> None:
    fields, pieces, bits, scale_bytes = ACROSS[codec]
    asked = scenario({"engine": engine, "uplink": {"codec": fields}}, "cuda")
    simulation = Simulation(asked, asked.data.load())
    simulation.transport.looks_ahead = ahead
    simulation.step()
    card.crossed.clear()
    card.crossed_bytes.clear()
    frames: Counter[str] = Counter()
    while simulation.stopped_by is None:
        frames.update(entry.direction for entry in simulation.step().entries)
    # A round's uploads that are encoded side by side cross in one piece.
    written = simulation.round if ahead and pieces > 1 else frames["uplink"]
    assert card.crossed["to host"] == frames["downlink"] + pieces * written
    entries = simulation.model.vector.numel()
    groups = -(-entries // 32) if scale_bytes else 0
    up = 8 * groups + -(-entries * bits // 8)
    assert card.crossed_bytes["to host"] == frames["downlink"] * 4 * entries + frames["uplink"] * up


# Bits of a symbol; then bytes. To write: of what is measured of a group, of what its entries are multiplied by, of an
# entry's dither. To read: of a group's numbers, of an entry's dither, and of what all entries are divided by.
WAYS: dict[str, tuple[dict[str, Any], int, int, int, int, int, int, int]] = {
    "uniform": ({"bits": 3}, 3, 8, 8, 0, 8, 0, 0),
    "uniform-stochastic": ({"bits": 12, "rounding": "stochastic"}, 12, 8, 8, 2, 8, 0, 0),
    "qsgd": ({}, 4, 8, 4, 2, 4, 0, 4),
    "terngrad": ({}, 2, 8, 4, 2, 4, 0, 0),
    "dithered": ({"bits": 5}, 5, 8, 4, 2, 4, 2, 4),
    "sign": ({}, 1, 8, 0, 0, 8, 0, 0),
    "one-bit": ({}, 1, 24, 0, 0, 8, 0, 0),
}


@pytest.mark.parametrize("name", WAYS)
def test_of_a_vector_only_packed_bytes_cross_and_dither_and_numbers_of_groups(
    name: str, card: PretendedCard
) -> None:
    fields, bits, measured, factors, dither, scales, dither_again, divisor = WAYS[name]
    codec = CODECS.build({"kind": name.removesuffix("-stochastic"), "block": 500, **fields})
    entries, groups = 5003, 11
    packed = -(-entries * bits // 8)
    ctx = Context(Layout.flat(entries), Key(0))
    x = torch.randn(entries, generator=Key(1).torch()).to(CARD)
    pipeline = Pipeline.of(codec, delta=False, device=CARD)
    card.crossed_bytes.clear()
    payload, _ = pipeline.encode(x, reference=None, memory=LinkMemory(), ctx=ctx)
    assert card.crossed_bytes["to host"] == measured * groups + packed
    assert card.crossed_bytes["to card"] == factors * groups + dither * entries
    card.crossed_bytes.clear()
    pipeline.decode(payload, reference=None, ctx=ctx)
    assert card.crossed_bytes["to host"] == 0
    assert card.crossed_bytes["to card"] == packed + scales * groups + dither_again * entries + divisor


def test_batches_take_a_copy_an_epoch_and_not_one_a_step(card: PretendedCard) -> None:
    counts = []
    for size in (1, 8):
        asked = scenario(
            {"training": {"batch_size": size, "epochs": 2}, "stop": {"rounds": 1}, "partition": "iid"}, "cuda"
        )
        simulation = Simulation(asked, asked.data.load())
        card.crossed.clear()
        simulation.step()
        simulation.step()
        counts.append(card.crossed["to card"])
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", ["deltas-both-ways", "scaffold-feedback", "lag", "fedbuff", "acknowledged"])
def test_a_run_that_goes_on_from_a_checkpoint_is_on_the_card_again(
    name: str, request: pytest.FixtureRequest
) -> None:
    here, _ = carried_out(scenario(SCENARIOS[name]))
    request.getfixturevalue("card")
    asked = scenario(SCENARIOS[name], "cuda")
    first = Simulation(asked, asked.data.load())
    first.step()
    first.step()
    second = Simulation(asked, asked.data.load())
    second.load(first.state())
    while second.stopped_by is None:
        second.step()
    assert same_bits(second.model.vector, here.model.vector)


def _left_on_the_cpu(model: ModelState) -> Tensor:
    return torch.zeros(model.vector.shape).add_(model.vector)


def _through_numpy(model: ModelState) -> Tensor:
    return torch.from_numpy(model.vector.numpy())


@pytest.mark.parametrize(
    ("mistake", "error"), [(_left_on_the_cpu, MixedDevicesError), (_through_numpy, TypeError)]
)
def test_the_pretended_card_finds_what_was_left_behind(
    mistake: Callable[[ModelState], Tensor],
    error: type[Exception],
    card: PretendedCard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = RunningMean.add
    monkeypatch.setattr(
        RunningMean, "add", lambda self, model: plain(self, replace(model, vector=mistake(model)))
    )
    with pytest.raises(error):
        carried_out(scenario({}, "cuda"))


def test_a_model_that_forgets_the_device_is_refused_before_training(card: PretendedCard) -> None:
    asked = scenario(own_model({}, Forgetful), "cuda")
    with pytest.raises(ConfigError, match="must be on its input's device"):
        check_fits(asked, asked.data.load())
    assert check_fits(replace(asked, device=None), asked.data.load()) is None
