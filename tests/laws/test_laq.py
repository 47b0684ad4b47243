"""LAG and LAQ in the simulation against the published algorithms, written by hand in numpy and in gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from syft_fl.codecs import Float32, Innovation
from syft_fl.data import Synthetic
from syft_fl.federation import Population, RoundRecord, Scenario, Simulation, Stop
from syft_fl.learn import PerSample, Shards, Softmax, Training
from syft_fl.learn.triggers import LAG, LAQ, Trigger
from syft_fl.radio import Constant
from syft_fl.transport import OVERHEAD_BYTES, Downlink, Uplink

UES, FEATURES, CLASSES, BITS, L2, ROUNDS = 4, 8, 3, 4, 0.01, 40
ENTRIES = FEATURES * CLASSES + CLASSES
STEP = 0.05  # alpha, of a sum over UEs
WINDOW, WEIGHT, SILENCE = 10, 0.8, 6

SCENARIO = Scenario(
    data=Synthetic(train_samples=200, test_samples=20, features=FEATURES, classes=CLASSES),
    model=Softmax(),
    partition=Shards(per_ue=1),  # unlike data: gradients that differ from UE to UE
    population=Population(ues=UES, eval_every=ROUNDS),
    training=Training(batch_size="all", steps=1, learning_rate=STEP * UES, weight_decay=L2),
    compute=PerSample(seconds_per_sample=0.0),
    uplink=Uplink(link=Constant(rate_bps=1e6)),
    downlink=Downlink(link=Constant(rate_bps=1e6)),
    stop=Stop(rounds=ROUNDS),
)
LAQ_RULE = LAQ(rounds=WINDOW, weight=WEIGHT, silence_limit=SILENCE)
LAG_RULE = LAG(rounds=WINDOW, weight=WEIGHT)

Array = NDArray[np.float64]


def gradient(theta: Array, x: Array, y: NDArray[np.int64]) -> Array:
    """Of mean cross-entropy + L2/2 |theta|^2; theta holds the weights [classes, features], then the biases."""
    weight, bias = theta[: FEATURES * CLASSES].reshape(CLASSES, FEATURES), theta[FEATURES * CLASSES :]
    scores = x @ weight.T + bias
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    slope = (shares / shares.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]) / len(y)
    return np.concatenate([(slope.T @ x).ravel(), slope.sum(axis=0)]) + L2 * theta


def quantised(g: Array, last: Array) -> Array:
    radius = np.abs(g - last).max()
    width = 2 * radius / (2**BITS - 1)
    return last - radius + width * np.floor((g - last + radius) / width + 0.5)


def exactly(g: Array, last: Array) -> Array:
    return g


@dataclass
class Federation:
    """M workers, and a server that adds up the gradients that they sent last."""

    theta: Array
    data: list[tuple[Array, NDArray[np.int64]]]
    quantiser: Callable[[Array, Array], Array]
    silence_limit: float
    sent: list[Array] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)  # |theta^k - theta^(k-1)|^2, newest first

    def __post_init__(self) -> None:
        self.sent = [np.zeros_like(self.theta) for _ in self.data]
        self.errors, self.silent = [0.0 for _ in self.data], [0 for _ in self.data]

    def step(self, *, first: bool) -> tuple[list[bool], list[tuple[float, float]]]:
        """One iteration: who sent, and what each compared."""
        users = len(self.data)
        moved = WEIGHT / WINDOW * sum(self.moves[:WINDOW]) / (STEP * users) ** 2
        decisions, compared = [], []
        for m, (x, y) in enumerate(self.data):
            g = gradient(self.theta, x, y)
            q = self.quantiser(g, self.sent[m])
            error = float(np.sum((g - q) ** 2))
            sides = float(np.sum((q - self.sent[m]) ** 2)), moved + 3 * (error + self.errors[m])
            sends = first or sides[0] >= sides[1] or self.silent[m] > self.silence_limit
            self.silent[m] = 0 if sends else self.silent[m] + 1
            if sends:
                self.sent[m], self.errors[m] = q, error
            decisions.append(sends)
            compared.append(sides)
        before = self.theta
        self.theta = self.theta - STEP * np.sum(self.sent, axis=0)
        self.moves.insert(0, float(np.sum((self.theta - before) ** 2)))
        return decisions, compared


def by_hand(simulation: Simulation, quantiser: Callable[[Array, Array], Array], limit: float) -> Federation:
    data = [
        (ue.samples.x.double().numpy().reshape(-1, FEATURES), ue.samples.y.numpy())
        for ue in simulation.ues.values()
    ]
    return Federation(simulation.model.vector.double().numpy(), data, quantiser, limit)


@pytest.mark.parametrize(
    ("trigger", "codec", "quantiser", "limit"),
    [
        (LAQ_RULE, Innovation(bits=BITS), quantised, SILENCE),
        (LAG_RULE, Float32(), exactly, np.inf),
    ],
    ids=["laq", "lag"],
)
def test_decisions_and_models_are_those_of_the_published_algorithm(
    trigger: Trigger, codec: Innovation | Float32, quantiser: Callable[[Array, Array], Array], limit: float
) -> None:
    scenario = replace(SCENARIO, trigger=trigger, uplink=replace(SCENARIO.uplink, codec=codec))
    simulation = Simulation(scenario, scenario.data.load())
    simulation.step()
    theirs = by_hand(simulation, quantiser, limit)
    rate, sent, kept = STEP * UES, 0, 0
    for number in range(1, ROUNDS + 1):
        made = simulation.step().decisions
        expected, compared = theirs.step(first=number == 1)
        assert [decided.send for decided in made] == expected, f"round {number}"
        for decided, (quantity, threshold) in zip(made, compared, strict=True):
            if number > 1:  # of a first update there is nothing to compare with
                assert decided.quantity == pytest.approx(rate**2 * quantity, rel=1e-2, abs=1e-11)
                assert decided.threshold == pytest.approx(rate**2 * threshold, rel=1e-2, abs=1e-11)
        np.testing.assert_allclose(simulation.model.vector.numpy(), theirs.theta, rtol=0, atol=2e-6)
        sent, kept = sent + sum(expected), kept + expected.count(False)
    assert sent > 2 * UES  # after the first round, too
    assert kept > ROUNDS


def test_with_no_movement_allowed_and_no_quantiser_lag_is_gradient_descent() -> None:
    simulation = Simulation(replace(SCENARIO, trigger=LAG(weight=0.0)), SCENARIO.data.load())
    simulation.step()
    theirs = by_hand(simulation, exactly, np.inf)
    for _ in range(10):
        simulation.step()
        theirs.theta = theirs.theta - STEP * np.sum(
            [gradient(theirs.theta, x, y) for x, y in theirs.data], axis=0
        )
        np.testing.assert_allclose(simulation.model.vector.numpy(), theirs.theta, rtol=0, atol=1e-6)


def _run(scenario: Scenario) -> list[RoundRecord]:
    simulation = Simulation(scenario, scenario.data.load())
    return [simulation.step() for _ in range(scenario.stop.rounds + 1)]


def test_the_papers_bits_are_the_payloads_without_their_radius() -> None:
    codec = replace(SCENARIO.uplink, codec=Innovation(bits=BITS))
    records = _run(replace(SCENARIO, trigger=LAQ_RULE, uplink=codec))
    entries = [entry for record in records for entry in record.entries if entry.direction == "uplink"]
    models = [entry for entry in entries if entry.kind == "model"]
    skips = [entry for entry in entries if entry.kind == "skip"]
    uploads = sum(decided.send for record in records for decided in record.decisions)
    assert len(models) == uploads
    assert len(models) + len(skips) == UES * ROUNDS
    assert sum(entry.payload_bits - 32 for entry in models) == uploads * ENTRIES * BITS
    # And on the air: frames, and what is said where nothing is sent.
    body_bits = 8 * -(-(ENTRIES * BITS + 32) // 8)
    on_the_air = uploads * (body_bits + 8 * OVERHEAD_BYTES) + sum(entry.bits for entry in skips)
    assert records[-1].row["uplink_bits"] == on_the_air
    assert all(entry.bits >= 8 * OVERHEAD_BYTES for entry in skips)
