"""Promise 4: changing the codec changes no cohort, no batch order and no fading; globals are left as found."""

import random
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from syft_fl.codecs import QSGD, Float32, Uniform
from syft_fl.data import Synthetic
from syft_fl.experiment import run
from syft_fl.federation import Population, Scenario, Stop
from syft_fl.learn import MLP, PerSample, Training
from syft_fl.radio import Shannon
from syft_fl.transport import Uplink


def _scenario(codec: Any, **changes: Any) -> Scenario:
    fields: dict[str, Any] = {
        "seed": 2,
        "data": Synthetic(train_samples=240, test_samples=40),
        "model": MLP(hidden=(8,)),
        "population": Population(ues=8, cohort=4),
        "training": Training(batch_size=10),
        "compute": PerSample(seconds_per_sample=1e-3),
        "uplink": Uplink(codec=codec, link=Shannon()),
        "stop": Stop(rounds=5),
    }
    return Scenario(**(fields | changes))


CODECS = [Float32(), Uniform(bits=4, rounding="stochastic"), QSGD()]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Every batch that any UE trains on, in order."""
    from syft_fl.learn import training

    seen: list[tuple[int, ...]] = []
    original = training.batches

    def spy(*args: Any, **kwargs: Any) -> Any:
        for index in original(*args, **kwargs):
            seen.append(tuple(index.tolist()))
            yield index

    monkeypatch.setattr(training, "batches", spy)
    return seen


def test_changing_the_codec_leaves_cohorts_batches_and_fading_as_they_are(
    batches: list[tuple[int, ...]],
) -> None:
    orders, cohorts, rates, lengths = [], [], [], []
    for codec in CODECS:
        batches.clear()
        transfers = run(_scenario(codec)).transfers
        up = transfers[transfers["direction"] == "uplink"]
        orders.append(list(batches))
        cohorts.append(list(zip(up["round"], up["ues"].map(tuple), strict=True)))
        rates.append((up["bits"] / up["airtime_s"]).to_numpy())
        lengths.append(up["bits"].sum())
    assert len(orders[0]) == 5 * 4 * 3
    assert orders[0] == orders[1] == orders[2]
    assert cohorts[0] == cohorts[1] == cohorts[2]
    # The same fading gives the same rate, whatever the number of bits.
    np.testing.assert_allclose(rates[1], rates[0], rtol=1e-9)
    np.testing.assert_allclose(rates[2], rates[0], rtol=1e-9)
    assert len(set(lengths)) == 3


def test_another_seed_changes_all_of_them(batches: list[tuple[int, ...]]) -> None:
    found = []
    for seed in (0, 1):
        batches.clear()
        transfers = run(_scenario(Float32(), seed=seed)).transfers
        up = transfers[transfers["direction"] == "uplink"]
        found.append((list(batches), list(up["ues"].map(tuple)), list(up["bits"] / up["airtime_s"])))
    for one, other in zip(*found, strict=True):
        assert one != other


def test_global_generators_are_left_as_found() -> None:
    states = (torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    run(_scenario(QSGD()))
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


class DropoutNet(torch.nn.Module):
    """A user's own model that draws from the global generator, and remembers what it drew."""

    masks: ClassVar[list[bytes]] = []

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(20, 8), torch.nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = F.dropout(torch.ones(8), 0.5, training=self.training)
        if self.training:
            self.masks.append(kept.numpy().tobytes())
        return self.last(self.first(x) * kept)


def test_changing_the_codec_leaves_dropout_and_the_initial_model_as_they_are() -> None:
    masks, losses = [], []
    for codec in CODECS:
        DropoutNet.masks.clear()
        torch.rand(7)  # whatever was drawn before
        result = run(_scenario(codec), model=DropoutNet)
        masks.append(list(DropoutNet.masks))
        losses.append(result.rounds["loss"][0])
    assert len(set(masks[0])) > 10
    assert masks[0] == masks[1] == masks[2]
    assert losses[0] == losses[1] == losses[2]
