"""LAG and LAQ as published, written by hand in double precision and in gradients, against our rules in updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from syft_fl.codecs import Context, Innovation
from syft_fl.keys import Key
from syft_fl.learn.triggers import LAG, LAQ, Always, LAGServer, Memory, Trigger, TriggerView, properties
from syft_fl.vectors import Layout

L2 = 0.01
WORKERS, SAMPLES, FEATURES, CLASSES = 10, 40, 6, 3

Numbers = np.ndarray
Gradient = Callable[[Numbers], Numbers]


# The problem: softmax regression; each worker has samples of its own, on a scale of its own.


def workers_of(problem: str) -> list[Gradient]:
    rng = (Key(21) / problem).numpy()
    truth = rng.standard_normal((FEATURES, CLASSES))
    made = []
    for m in range(WORKERS):
        x = rng.standard_normal((SAMPLES, FEATURES)) * 1.25 ** (m - 5)
        labels = np.argmax(x @ truth + rng.gumbel(size=(SAMPLES, CLASSES)), axis=1)
        made.append(_softmax_gradient(x, np.eye(CLASSES)[labels]))
    return made


def _softmax_gradient(x: Numbers, onehot: Numbers) -> Gradient:
    def gradient(theta: Numbers) -> Numbers:
        logits = x @ theta.reshape(FEATURES, CLASSES)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        slopes = x.T @ (odds / odds.sum(axis=1, keepdims=True) - onehot) / len(x)
        return slopes.ravel() + L2 * theta

    return gradient


# The algorithms by hand. Sums over workers with a step alpha, as the papers have it. Models and updates are float32 in
# a federation, so they are here: near the end, steps are not far from what float32 resolves.


def held(x: Numbers, scale: float = 1.0) -> Numbers:
    """What is left of x where it is float32 in other units, ``scale`` times as large."""
    return (x * scale).astype(np.float32).astype(np.float64) / scale


@dataclass
class Iteration:
    """What happened in one iteration: [workers] gradients, left and right sides, and who uploads."""

    k: int
    alpha: float
    theta: Numbers
    gradients: list[Numbers]
    left: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    uploads: list[bool] = field(default_factory=list)


def squared(x: Numbers) -> float:
    return float(x @ x)


def moved(thetas: list[Numbers], xi: float, depth: int) -> float:
    """Sum over d = 1 … D of xi |theta^(k + 1 - d) - theta^(k - d)|^2; thetas end with theta^k."""
    k = len(thetas) - 1
    return sum(xi * squared(thetas[k + 1 - d] - thetas[k - d]) for d in range(1, depth + 1) if k - d >= 0)


def lag_by_hand(
    workers: list[Gradient], alpha: Callable[[int], float], *, iterations: int, depth: int, xi: float
) -> Iterator[Iteration]:
    """LAG-WK, algorithm 1 of Chen et al. 2018."""
    m = len(workers)
    theta = np.zeros(FEATURES * CLASSES)
    thetas: list[Numbers] = []
    last: list[Numbers | None] = [None] * m
    for k in range(iterations):
        thetas.append(theta)
        eta = alpha(k) * m
        now = Iteration(k, alpha(k), theta, [held(gradient(theta), eta) for gradient in workers])
        for i, g in enumerate(now.gradients):
            hat = last[i]
            now.left.append(math.inf if hat is None else squared(g - hat))
            now.right.append(moved(thetas, xi, depth) / (alpha(k) ** 2 * m**2))
            now.uploads.append(now.left[i] >= now.right[i])
            if now.uploads[i]:
                last[i] = g
        yield now
        theta = held(theta - alpha(k) * sum(g for g in last if g is not None))


def grid(g: Numbers, last: Numbers, bits: int) -> Numbers:
    radius = np.abs(g - last).max()
    sent = np.float32(radius)  # 32 bits of the paper's 32 + b p; not below the largest change
    radius = float(sent if sent >= radius else np.nextafter(sent, np.float32(np.inf)))
    step = 2 * radius / (2**bits - 1)
    return last - radius + step * np.floor((g - last + radius) / step + 0.5)


def laq_by_hand(
    workers: list[Gradient],
    alpha: Callable[[int], float],
    *,
    iterations: int,
    depth: int,
    xi: float,
    limit: int,
    quantise: Callable[[Numbers, Numbers], Numbers],
) -> Iterator[Iteration]:
    """LAQ, algorithm 2 of Sun et al. 2019; a worker whose clock has gone beyond the limit uploads."""
    m = len(workers)
    theta = np.zeros(FEATURES * CLASSES)
    thetas: list[Numbers] = []
    last = [np.zeros_like(theta) for _ in workers]
    last_error = [0.0] * m
    clock = [0] * m
    for k in range(iterations):
        thetas.append(theta)
        eta = alpha(k) * m
        now = Iteration(k, alpha(k), theta, [held(gradient(theta), eta) for gradient in workers])
        for i, g in enumerate(now.gradients):
            q = held(quantise(g, last[i]), eta)
            error = squared(g - q)
            now.left.append(squared(q - last[i]))
            rest = moved(thetas, xi, depth) / (alpha(k) ** 2 * m**2)
            now.right.append(rest + 3 * (error + last_error[i]))
            now.uploads.append(now.left[i] >= now.right[i] or clock[i] > limit)
            if now.uploads[i]:
                last[i], last_error[i], clock[i] = q, error, 0
            else:
                clock[i] += 1
        yield now
        theta = held(theta - alpha(k) * sum(last))


# Ours on the same trajectory: updates -eta g in float32, with eta = alpha M.


def float32(x: Numbers) -> torch.Tensor:
    return torch.from_numpy(x.astype(np.float32))


def seen(worker: int, trajectory: list[Iteration], *, silence: int, **known: Any) -> TriggerView:
    """What a UE of the simulation sees in the last iteration."""
    now = trajectory[-1]
    eta = now.alpha * len(now.gradients)

    def asked() -> Any:
        raise AssertionError("this rule has no use for it")

    fields: dict[str, Any] = {"decoded": asked} | known
    return TriggerView(
        ue=f"ue{worker}",
        round=now.k + 1,
        key=Key(0) / now.k,
        update=float32(-eta * now.gradients[worker]),
        owed=None,
        received=float32(now.theta),
        earlier=tuple(float32(past.theta) for past in trajectory[-2:-12:-1]),
        loss=0.0,
        silence=silence,
        samples=SAMPLES,
        learning_rate=eta,
        users=len(now.gradients),
        rate_bps=asked,
        mean_rate_bps=asked,
        gain=asked,
        **fields,
    )


def scaled(now: Iteration, number: float) -> float:
    """A side of the paper's rule in the units of updates."""
    return number * (now.alpha * len(now.gradients)) ** 2


def constant(alpha: float) -> Callable[[int], float]:
    return lambda k: alpha


def falling(k: int) -> float:
    return 0.06 * 0.97 ** (k // 5)


@pytest.mark.parametrize("alpha", [constant(0.06), falling], ids=["constant", "falling"])
def test_lag_decides_as_published(alpha: Callable[[int], float]) -> None:
    rule = LAG()  # D = 10, xi = 1/D
    memories: list[Memory] = [{}] * WORKERS
    silences = [0] * WORKERS
    trajectory: list[Iteration] = []
    for now in lag_by_hand(workers_of("lag"), alpha, iterations=120, depth=10, xi=0.1):
        trajectory.append(now)
        for i in range(WORKERS):
            decision = rule.decide(seen(i, trajectory, silence=silences[i]), memories[i])
            assert decision.quantity == pytest.approx(scaled(now, now.left[i]), rel=1e-3, abs=1e-13)
            assert decision.threshold == pytest.approx(scaled(now, now.right[i]), rel=1e-3, abs=1e-13)
            assert decision.send == now.uploads[i], (now.k, i)
            memories[i] = decision.sent if decision.send else decision.kept
            silences[i] = 0 if decision.send else silences[i] + 1
    shares = np.mean([it.uploads for it in trajectory], axis=0)
    assert shares.min() < 0.2
    assert shares.max() > 1.5 * shares.min()  # workers of rougher losses speak up more often


@pytest.mark.parametrize("limit", [100, 7])
def test_laq_and_its_codec_decide_as_published(limit: int) -> None:
    eta = 0.5  # a power of two: an entry half way between two levels is so in either unit
    rule, codec, layout = LAQ(silence_limit=limit), Innovation(bits=4), Layout.flat(FEATURES * CLASSES)
    memories: list[Memory] = [{}] * WORKERS
    links: list[Memory] = [{}] * WORKERS
    silences = [0] * WORKERS
    trajectory: list[Iteration] = []
    by_hand = laq_by_hand(
        workers_of("laq"),
        constant(eta / WORKERS),
        iterations=130,
        depth=10,
        xi=0.08,
        limit=limit,
        quantise=lambda g, last: -grid(-eta * g, -eta * last, 4) / eta,
    )
    for now in by_hand:
        trajectory.append(now)
        for i in range(WORKERS):
            ctx = Context(layout, Key(1), memory=links[i])
            update = float32(-eta * now.gradients[i])
            payload, after = codec.encode(update, ctx=ctx)
            decoded = codec.decode(payload, ctx=ctx)[0]
            view = seen(i, trajectory, silence=silences[i], decoded=lambda d=decoded: d)
            decision = rule.decide(view, memories[i])
            if now.k:
                assert decision.quantity == pytest.approx(scaled(now, now.left[i]), rel=1e-4, abs=1e-12)
            assert decision.threshold == pytest.approx(scaled(now, now.right[i]), rel=1e-4, abs=1e-12)
            assert decision.send == now.uploads[i], (now.k, i)
            memories[i] = decision.sent if decision.send else decision.kept
            links[i] = after if decision.send else links[i]
            silences[i] = 0 if decision.send else silences[i] + 1
    share = np.mean([it.uploads for it in trajectory])
    assert 1 / (limit + 2) < share < 0.3


def coarse(g: Numbers, last: Numbers) -> Numbers:
    """Seven levels between the largest magnitude and its negative: of a multiple of g, the multiple."""
    largest = np.abs(g).max()
    return np.rint(g / largest * 3) / 3 * largest


def test_laq_with_another_quantiser_follows_the_learning_rate() -> None:
    rule = LAQ()
    memories: list[Memory] = [{}] * WORKERS
    silences = [0] * WORKERS
    trajectory: list[Iteration] = []
    by_hand = laq_by_hand(
        workers_of("rates"), falling, iterations=80, depth=10, xi=0.08, limit=100, quantise=coarse
    )
    for now in by_hand:
        trajectory.append(now)
        for i in range(WORKERS):
            decoded = float32(-now.alpha * WORKERS * coarse(now.gradients[i], np.empty(0)))
            view = seen(i, trajectory, silence=silences[i], decoded=lambda d=decoded: d)
            decision = rule.decide(view, memories[i])
            assert decision.threshold == pytest.approx(scaled(now, now.right[i]), rel=1e-3, abs=1e-13)
            assert decision.send == now.uploads[i], (now.k, i)
            memories[i] = decision.sent if decision.send else decision.kept
            silences[i] = 0 if decision.send else silences[i] + 1
    assert 0 < np.mean([it.uploads for it in trajectory]) < 0.9


# Run to the end by our rules, on a problem whose workers' losses are unequally smooth.

UNEQUAL, POINTS, WEIGHTS = 9, 50, 20


class Logistic:
    """l2-regularised logistic regression over nine workers, L_m = (1.3^(m - 1) + 1)^2 as in LAG's numerical tests."""

    def __init__(self) -> None:
        rng = (Key(1) / "unequal").numpy()
        truth = rng.standard_normal(WEIGHTS)
        self.xs, self.ys, self.smoothness = [], [], []
        for m in range(UNEQUAL):
            smoothness = (1.3**m + 1) ** 2
            x = rng.standard_normal((POINTS, WEIGHTS))
            # The curvature of the logistic loss is a quarter at most.
            x *= math.sqrt(4 * smoothness / np.linalg.eigvalsh(x.T @ x / POINTS)[-1])
            self.xs.append(x)
            self.ys.append(np.sign(x @ truth + 0.5 * rng.standard_normal(POINTS)))
            self.smoothness.append(smoothness + L2)
        whole = sum(x.T @ x for x in self.xs) / (4 * POINTS * UNEQUAL)
        self.eta = 1 / (float(np.linalg.eigvalsh(whole)[-1]) + L2)
        self.best = self.loss(self._optimum())

    def loss(self, theta: Numbers) -> float:
        fits = [np.mean(np.logaddexp(0, -y * (x @ theta))) for x, y in zip(self.xs, self.ys, strict=True)]
        return float(np.mean(fits)) + L2 / 2 * squared(theta)

    def gradient(self, m: int, theta: Numbers) -> Numbers:
        x, y = self.xs[m], self.ys[m]
        return -x.T @ (y / (1 + np.exp(y * (x @ theta)))) / POINTS + L2 * theta

    def _optimum(self) -> Numbers:
        """By Newton's steps."""
        theta = np.zeros(WEIGHTS)
        for _ in range(50):
            curvature = L2 * np.eye(WEIGHTS)
            for x in self.xs:
                odds = 1 / (1 + np.exp(-(x @ theta)))
                curvature += (x.T * (odds * (1 - odds))) @ x / (POINTS * UNEQUAL)
            slope = sum(self.gradient(m, theta) for m in range(UNEQUAL)) / UNEQUAL
            theta = theta - np.linalg.solve(curvature, slope)
        return theta


def uploads_until(problem: Logistic, trigger: Trigger, gap: float) -> tuple[int, list[int]]:
    """Iterations until the loss is within ``gap`` of the best one, relative to the start; and [workers] uploads."""
    theta = np.zeros(WEIGHTS)
    target = problem.best + gap * (problem.loss(theta) - problem.best)
    last = [np.zeros(WEIGHTS)] * UNEQUAL
    memories: list[Memory] = [{}] * UNEQUAL
    told: list[torch.Tensor | None] = [None] * UNEQUAL
    models: list[torch.Tensor] = []
    uploads = [0] * UNEQUAL
    iterations = 0
    while problem.loss(theta) > target:
        models.insert(0, torch.from_numpy(theta))
        del models[properties(trigger).history + 1 :]
        iterations += 1
        for m in range(UNEQUAL):
            update = -problem.eta * problem.gradient(m, theta)
            send, memories[m] = _asked(problem, trigger, m, iterations, models, told[m], update, memories[m])
            if send:
                last[m], told[m] = update, models[0]
                uploads[m] += 1
        theta = theta + sum(last) / UNEQUAL
    return iterations, uploads


def _asked(
    problem: Logistic,
    trigger: Trigger,
    m: int,
    iteration: int,
    models: Sequence[torch.Tensor],
    told: torch.Tensor | None,
    update: Numbers,
    memory: Memory,
) -> tuple[bool, Memory]:
    ue, earlier = f"ue{m}", tuple(models[1:])
    if isinstance(trigger, LAGServer):
        asked = trigger.wanted(
            ue=ue, model=models[0], told=told, earlier=earlier, learning_rate=problem.eta, users=UNEQUAL
        )
        return asked.send, {}

    def no_use() -> Any:
        raise AssertionError("this rule has no use for it")

    decision = trigger.decide(
        TriggerView(
            ue=ue,
            round=iteration,
            key=Key(0) / iteration,
            update=torch.from_numpy(update),
            owed=None,
            received=models[0],
            earlier=earlier,
            loss=0.0,
            silence=0,
            samples=POINTS,
            learning_rate=problem.eta,
            users=UNEQUAL,
            decoded=no_use,
            rate_bps=no_use,
            mean_rate_bps=no_use,
            gain=no_use,
        ),
        memory,
    )
    return decision.send, decision.sent if decision.send else decision.kept


@pytest.fixture(scope="module")
def logistic() -> Logistic:
    return Logistic()


@pytest.fixture(scope="module")
def runs(logistic: Logistic) -> dict[str, tuple[int, list[int]]]:
    """Iterations and uploads of gradient descent and of both rules, until the loss is within 1e-3 of the best one."""
    rules = (Always(), LAG(), LAGServer(smoothness=tuple(logistic.smoothness)))
    return {rule.kind: uploads_until(logistic, rule, 1e-3) for rule in rules}


@pytest.mark.parametrize(("kind", "factor"), [("lag", 20), ("lag-server", 2.5)])
def test_lag_needs_a_fraction_of_the_uploads_of_gradient_descent_for_the_same_loss(
    kind: str, factor: float, runs: dict[str, tuple[int, list[int]]]
) -> None:
    """The paper's claim: as many iterations as gradient descent, far fewer uploads; here 54 and 3 times fewer."""
    iterations, always = runs["always"]
    lazily, uploads = runs[kind]
    assert lazily <= 1.05 * iterations
    assert factor * sum(uploads) <= sum(always)


@pytest.mark.parametrize(("rule", "bounded"), [(LAG(), 1), (LAGServer(smoothness=1.0), 4)], ids=repr)
def test_a_worker_of_smooth_loss_uploads_at_most_once_in_d_plus_1_iterations(
    rule: LAG | LAGServer, bounded: int, logistic: Logistic, runs: dict[str, tuple[int, list[int]]]
) -> None:
    r"""Lemma 4 of LAG: :math:`L_m^2 \le \xi / (d\,\alpha^2 M^2)` and d at most D; the first upload is beside it."""
    iterations, uploads = runs[rule.kind]
    xi = rule.weight / rule.rounds
    spans = [
        min(math.floor(xi / (logistic.eta * smoothness) ** 2), rule.rounds)
        for smoothness in logistic.smoothness
    ]
    assert sum(d > 0 for d in spans) >= bounded  # of the others the lemma says nothing
    for count, d in zip(uploads, spans, strict=True):
        assert count <= 1 + iterations / (d + 1)
