r"""Rules of aggregation where the answer is known: quadratics, other people's optimisers, brute force, liars.

UE i has the loss :math:`f_i(x) = \sum_j a_{ij} (x_j - b_{ij})^2 / 2`. Of each entry, :math:`\tau` steps of gradient
descent from x with a proximal term go a known part of the way to :math:`b_i`:

.. math:: y_i = x + r_i (b_i - x), \qquad r_i = \frac{a_i}{a_i + \mu} \bigl(1 - (1 - \eta (a_i + \mu))^{\tau_i}\bigr)

so of every rule that is a mean of some kind the fixed point is a weighted mean of the :math:`b_i`, and the
minimiser of :math:`\sum_i p_i f_i` is the one with weights :math:`p_i a_i`.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from syft_fl.codecs import Uniform
from syft_fl.data import Dataset, Samples, own_data
from syft_fl.federation import Population, Scenario, Simulation, Stop
from syft_fl.federation.variates import Variates
from syft_fl.keys import Key
from syft_fl.learn import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedNova,
    FedYogi,
    Krum,
    Median,
    MultiKrum,
    PerSample,
    Scaffold,
    Training,
    TrimmedMean,
    next_model,
    own_model,
    train,
)
from syft_fl.transport import Uplink
from syft_fl.vectors import Layout, ModelState

KEY = Key(21)
# [ues, entries] curvatures and optima, and the UEs' weights.
A = torch.tensor([[0.5, 1.0, 4.0], [1.0, 3.0, 0.7], [2.0, 0.4, 1.0], [4.0, 2.0, 2.0]])
B = torch.tensor([[-1.0, 0.5, 1.0], [1.0, -1.0, 0.0], [0.2, 1.0, -1.0], [0.8, 0.0, 0.6]])
P = torch.tensor([[0.1], [0.2], [0.3], [0.4]])
UES = len(A)
EQUAL, UNEQUAL = (5, 5, 5, 5), (1, 2, 5, 10)


class Quadratic(nn.Module):
    """Its cross-entropy at label 0 is the loss of a sample (a, b), plus 1; so it is trained like any other."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(A.shape[1]))

    def loss(self, sample):
        a, b = sample.chunk(2, dim=1)
        return (a * (self.x - b) ** 2 / 2).sum(dim=1) + 1

    def forward(self, sample):
        # log(1 + exp(z)) is the loss for z = log(exp(loss) - 1).
        loss = self.loss(sample)
        return torch.stack([torch.zeros_like(loss), loss + torch.log(-torch.expm1(-loss))], dim=1)


class Slope(Quadratic):
    """The loss is a . x: its gradient is a everywhere."""

    def loss(self, sample):
        return (sample.chunk(2, dim=1)[0] * self.x).sum(dim=1) + 60


LAYOUT = Layout.of(Quadratic())
SAMPLES = Samples(torch.cat([A, B], dim=1), torch.zeros(UES, dtype=torch.int64))


def model_at(x):
    return ModelState(torch.as_tensor(x, dtype=torch.float32).expand(A.shape[1]).clone(), {})


def trained(module, model, ue, training, correction=None):
    """What a UE makes of a model, by the package's training."""
    scratch = module()
    LAYOUT.write(model, scratch)
    train(scratch, SAMPLES[[ue]], training=training, key=KEY, round=1, correction=correction)
    return LAYOUT.read(scratch)


def local(model, ue, training, *, correction=None, sloping=False):
    """The same, by hand."""
    y, velocity = model.vector.clone(), torch.zeros_like(model.vector)
    for _ in range(training.steps):
        gradient = A[ue] if sloping else A[ue] * (y - B[ue])
        gradient = gradient + (training.proximal_mu or 0.0) * (y - model.vector)
        if correction is not None:
            gradient = gradient + correction
        velocity = training.momentum * velocity + gradient
        y -= training.learning_rate * velocity
    return ModelState(y, {})


def federation(rule, training, *, steps, rounds, begin=0.0, sloping=False, weights=P):
    """The base station's models, round by round."""
    own = [replace(training, steps=count) for count in steps]
    worth = [one.effective_steps(1, round=1) for one in own]
    model, memory, models = model_at(begin), {}, []
    for _ in range(rounds):
        updates = [(local(model, ue, own[ue], sloping=sloping), weights[ue].item()) for ue in range(UES)]
        model, memory = next_model(rule, model, updates, steps=worth, memory=memory)
        models.append(model.vector)
    return models


def movement(rule, training, *, steps, begin):
    """How far five rounds lead away from a model: nowhere, from a fixed point."""
    return distance(federation(rule, training, steps=steps, rounds=5, begin=begin)[-1], begin)


def way(training, steps):
    """[ues, entries] the part of its way to its own optimum that a UE goes in a round."""
    mu, a = training.proximal_mu or 0.0, A.double()
    count = torch.tensor(steps, dtype=torch.float64)[:, None]
    return a / (a + mu) * (1 - (1 - training.learning_rate * (a + mu)) ** count)


def mean_of_optima(weights):
    return (weights.double() * B.double()).sum(dim=0) / weights.double().sum(dim=0)


MINIMISER = mean_of_optima(P * A)
MINIMISER_OF_THE_MEAN = mean_of_optima(A)


def distance(vector, other):
    return (vector.double() - other).abs().max().item()


LOCAL = [
    Training(learning_rate=0.1),
    Training(learning_rate=0.1, momentum=0.9),
    Training(learning_rate=0.1, proximal_mu=2.0),
    Training(learning_rate=0.1, momentum=0.5, proximal_mu=1.0),
]


@pytest.mark.parametrize("training", LOCAL)
@pytest.mark.parametrize("corrected", [False, True])
def test_the_packages_training_takes_the_steps_that_are_taken_by_hand_below(training, corrected):
    training = replace(training, steps=4)
    correction = torch.tensor([0.3, -0.2, 0.5]) if corrected else None
    for ue in range(UES):
        found = trained(Quadratic, model_at(0.4), ue, training, correction).vector
        by_hand = local(model_at(0.4), ue, training, correction=correction).vector
        assert torch.allclose(found, by_hand, atol=1e-5)
        if training.momentum == 0 and not corrected:
            expected = 0.4 + way(training, (4,) * UES)[ue] * (B[ue].double() - 0.4)
            assert distance(found, expected) < 1e-5


# FedAvg.


@pytest.mark.parametrize("steps", [EQUAL, UNEQUAL, (20, 20, 20, 20)])
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_fedavg_stays_at_the_mean_of_optima_weighted_by_the_ways_that_ues_go(steps, rate):
    training = Training(learning_rate=rate)
    point = mean_of_optima(P.double() * way(training, steps))
    assert movement(FedAvg(), training, steps=steps, begin=point) < 1e-6
    # And that is not what was asked for: from there it goes away.
    assert distance(point, MINIMISER) > 0.05
    assert movement(FedAvg(), training, steps=steps, begin=MINIMISER) > 0.02


def test_fedavg_gets_there_by_a_known_factor_each_round():
    training = Training(learning_rate=0.1)
    weighted = P.double() * way(training, UNEQUAL)
    point, left = mean_of_optima(weighted), 1 - weighted.sum(dim=0)
    models = federation(FedAvg(), training, steps=UNEQUAL, rounds=60, begin=0.7)
    for count, vector in enumerate(models, start=1):
        assert distance(vector, point + left**count * (0.7 - point)) < 1e-5
    assert distance(models[-1], point) < 1e-5


def test_fedavg_of_single_steps_is_gradient_descent():
    training = Training(learning_rate=0.1)
    x = torch.zeros(A.shape[1], dtype=torch.float64)
    for vector in federation(FedAvg(), training, steps=(1,) * UES, rounds=100):
        x = x - 0.1 * (P.double() * A.double() * (x - B.double())).sum(dim=0)
        assert distance(vector, x) < 1e-5
    assert distance(vector, MINIMISER) < 1e-4


# FedNova.


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.2])
def test_fednova_stays_at_the_mean_of_optima_weighted_by_the_way_of_a_step(rate):
    training = Training(learning_rate=rate)
    per_step = way(training, UNEQUAL) / torch.tensor(UNEQUAL)[:, None]
    point = mean_of_optima(P.double() * per_step)
    assert movement(FedNova(), training, steps=UNEQUAL, begin=point) < 1e-6
    assert movement(FedNova(), training, steps=UNEQUAL, begin=point + 0.01) > 1e-4


def test_as_steps_get_small_fednova_tends_to_the_minimiser_and_fedavg_to_another_objectives():
    # Ways become rate * steps * a. So FedNova's error falls with the rate, and FedAvg's does not.
    counts = torch.tensor(UNEQUAL)[:, None]
    of_another = mean_of_optima(P * counts * A)
    assert distance(of_another, MINIMISER) > 0.1
    nova, plain = [], []
    for rate in (0.04, 0.02, 0.01):
        training = Training(learning_rate=rate)
        ways = P.double() * way(training, UNEQUAL)
        points = {FedNova(): mean_of_optima(ways / counts), FedAvg(): mean_of_optima(ways)}
        for rule, point in points.items():
            assert movement(rule, training, steps=UNEQUAL, begin=point) < 1e-6
        nova.append(distance(points[FedNova()], MINIMISER))
        plain.append(distance(points[FedAvg()], of_another))
        assert distance(points[FedAvg()], MINIMISER) > 0.1
    for errors in (nova, plain):
        for larger, smaller in pairwise(errors):
            assert 1.7 < larger / smaller < 2.3


@pytest.mark.parametrize("training", LOCAL)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_under_a_constant_gradient_training_goes_as_far_as_its_effective_steps_say(training, steps):
    training = replace(training, steps=steps)
    worth, rate = training.effective_steps(1, round=1), training.learning_rate
    for ue in range(UES):
        found = trained(Slope, model_at(0.0), ue, training).vector
        assert torch.allclose(found, -rate * worth * A[ue], rtol=1e-4)
    rho, mu = training.momentum, training.proximal_mu
    if rho and not mu:
        assert worth == pytest.approx((steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho))
    elif mu and not rho:
        assert worth == pytest.approx((1 - (1 - rate * mu) ** steps) / (rate * mu))


@pytest.mark.parametrize("training", LOCAL)
def test_under_constant_gradients_fednova_goes_down_their_mean_and_fedavg_does_not(training):
    worth = torch.tensor(
        [replace(training, steps=count).effective_steps(1, round=1) for count in UNEQUAL]
    ).double()[:, None]
    p, g, rate = P.double(), A.double(), training.learning_rate
    mean, askew = (p * g).sum(dim=0), (p * worth * g).sum(dim=0)
    nova, plain = (
        federation(rule, training, steps=UNEQUAL, rounds=1, sloping=True)[0].double()
        for rule in (FedNova(), FedAvg())
    )
    assert torch.allclose(nova, -rate * (p * worth).sum() * mean, rtol=1e-5)
    assert torch.allclose(plain, -rate * askew, rtol=1e-5)
    # One goes down the mean gradient, the other beside it.
    assert torch.cosine_similarity(nova, -mean, dim=0) > 1 - 1e-8
    assert torch.cosine_similarity(plain, -mean, dim=0) < 1 - 1e-4


# FedProx.


@pytest.mark.parametrize("steps", [EQUAL, UNEQUAL])
@pytest.mark.parametrize("mu", [0.3, 2.0])
def test_fedprox_of_few_steps_stays_at_its_weighted_mean_of_optima(steps, mu):
    training = Training(learning_rate=0.1, proximal_mu=mu)
    point = mean_of_optima(P.double() * way(training, steps))
    assert movement(FedAvg(), training, steps=steps, begin=point) < 1e-6
    assert movement(FedAvg(), replace(training, proximal_mu=None), steps=steps, begin=point) > 1e-4


def test_fedprox_of_exact_local_minimisers_goes_from_the_mean_of_optima_to_the_minimiser_as_mu_grows():
    errors = []
    for mu in (0.0, 1.0, 5.0, 25.0):
        # Steps enough, each stable, for UEs to get to the end: argmin f_i + mu/2 |y - x|^2.
        training = Training(learning_rate=1 / (4.0 + mu), proximal_mu=mu, steps=200)
        for ue in range(UES):
            y = local(model_at(0.3), ue, training).vector
            assert distance(y, (A[ue] * B[ue] + mu * 0.3).double() / (A[ue] + mu).double()) < 1e-5
        point = mean_of_optima(P * A / (A + mu))
        assert movement(FedAvg(), training, steps=(200,) * UES, begin=point) < 1e-5
        errors.append(distance(point, MINIMISER))
    assert errors[0] == distance(mean_of_optima(P * torch.ones_like(A)), MINIMISER)
    assert errors[0] > errors[1] > errors[2] > errors[3] > 0.01
    # In the end as 1 / mu.
    assert 3 < errors[2] / errors[3] < 5


# SCAFFOLD.

ALL = [tuple(range(UES))]
IN_TURN = [(0, 1), (2, 3), (0, 3), (1, 2)]


def scaffold(training, *, steps, cohorts, rounds):
    """The base station's last model, and the variates."""
    variates = Variates(LAYOUT, ues=UES, owed=lambda ue: False)
    model = model_at(0.0)
    for count in range(rounds):
        cohort = cohorts[count % len(cohorts)]
        names = {ue: f"ue{ue}" for ue in cohort}
        heard = variates.heard(variates.down(model).state, list(names.values()))
        updates = []
        for ue, name in names.items():
            own = replace(training, steps=steps[ue])
            state = local(heard, ue, own, correction=variates.correction(name))
            content = variates.up(name, heard, state, training=own, samples=1, round=1)
            updates.append((variates.arrived(name, content.state), 1.0))
        model = Scaffold().aggregate(model, updates)
        variates.close(list(names.values()))
    return model.vector, variates


@pytest.mark.parametrize("steps", [EQUAL, UNEQUAL])
@pytest.mark.parametrize("cohorts", [ALL, IN_TURN], ids=["all", "in-turn"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_scaffold_tends_to_the_minimiser_whatever_the_steps_and_the_cohorts(steps, cohorts, momentum):
    training = Training(learning_rate=0.03, momentum=momentum)
    found, variates = scaffold(training, steps=steps, cohorts=cohorts, rounds=200)
    assert distance(found, MINIMISER_OF_THE_MEAN) < 1e-4
    # Its variates are the UEs' gradients there, and their mean is none.
    assert variates.common.abs().max() < 1e-3
    for ue in range(UES):
        gradient = A[ue].double() * (MINIMISER_OF_THE_MEAN - B[ue].double())
        assert distance(variates.own(f"ue{ue}"), gradient) < 1e-3
    uniform = torch.full((UES, 1), 1.0)
    plain = federation(FedAvg(), training, steps=steps, rounds=100, weights=uniform)[-1]
    assert distance(plain, MINIMISER_OF_THE_MEAN) > 0.02


def test_scaffold_over_a_coarse_codec_still_tends_to_the_minimiser():
    # What is sent are differences: where they end, so does what the codec does to them.
    scenario = Scenario(
        data=own_data(Dataset(SAMPLES, SAMPLES, classes=2)),
        model=own_model(Quadratic),
        population=Population(ues=UES),
        training=Training(learning_rate=0.1, steps=4, batch_size=1),
        compute=PerSample(seconds_per_sample=1e-3),
        uplink=Uplink(codec=Uniform(bits=3, rounding="stochastic")),
        stop=Stop(rounds=60),
    )
    found = {}
    for rule in (Scaffold(), FedAvg()):
        population = replace(scenario.population, aggregator=rule)
        simulation = Simulation(replace(scenario, population=population), scenario.data.load())
        while simulation.stopped_by is None:
            simulation.step()
        found[rule.kind] = distance(simulation.model.vector, MINIMISER_OF_THE_MEAN)
    assert found["scaffold"] < 1e-3
    assert found["fedavg"] > 0.05


# Optimisers of the base station: torch's own on the pseudo-gradient -Δ.


def trajectory(rule, targets, begin):
    """Our models, where the mean of what arrives is each of the targets in turn."""
    model, memory, models = ModelState(begin, {}), {}, []
    for target in targets:
        model, memory = rule.step(model, [(ModelState(target, {}), 1.0)], memory)
        models.append(model.vector)
    return models


def torch_trajectory(optimiser, targets, begin, *, prepare=None):
    """Torch's, where each gradient is the model less the target."""
    x = nn.Parameter(begin.clone())
    steps, models = optimiser([x]), []
    for count, target in enumerate(targets, start=1):
        if prepare is not None:
            prepare(steps, x, count)
        x.grad = x.detach() - target
        steps.step()
        models.append(x.detach().clone())
    return models


def draws(name, count, length=500):
    generator = (KEY / name).torch()
    return [torch.randn(length, generator=generator) for _ in range(count)]


def agree(ours, theirs):
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("momentum", "rate"), [(0.9, 1.0), (0.5, 0.1), (0.0, 0.3)])
def test_fedavgm_is_torchs_sgd_on_the_turned_mean_update(momentum, rate):
    begin, *targets = draws("sgd", 21)
    ours = trajectory(FedAvgM(momentum=momentum, learning_rate=rate), targets, begin)
    theirs = torch_trajectory(lambda x: torch.optim.SGD(x, lr=rate, momentum=momentum), targets, begin)
    assert agree(ours, theirs)
    # To the bit where the rate multiplies nothing: elsewhere torch may multiply and add in one rounding.
    assert rate != 1 or all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not torch.allclose(ours[-1], targets[-1], atol=0.1)


@pytest.mark.parametrize("tau", [1e-3, 0.3])
def test_fedadagrad_is_torchs_adagrad_that_begins_with_the_square_of_tau(tau):
    begin, *targets = draws("adagrad", 21)
    ours = trajectory(FedAdagrad(learning_rate=0.1, tau=tau), targets, begin)
    theirs = torch_trajectory(
        lambda x: torch.optim.Adagrad(x, lr=0.1, eps=tau, initial_accumulator_value=tau**2), targets, begin
    )
    assert agree(ours, theirs)


@pytest.mark.parametrize("tau", [1e-3, 0.3])
@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.99), (0.0, 0.9)])
def test_fedadam_is_torchs_adam_with_its_corrections_of_the_bias_undone(tau, beta1, beta2):
    # Torch divides m by 1 - beta1^t and v by 1 - beta2^t; with rate and eps below, both cancel. v begins with tau^2.
    rate = 0.05

    def prepare(adam, x, count):
        if count == 1:
            adam.state[x] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(x),
                "exp_avg_sq": torch.full_like(x, tau**2),
            }
        root = (1 - beta2**count) ** 0.5
        adam.param_groups[0].update(lr=rate * (1 - beta1**count) / root, eps=tau / root)

    begin, *targets = draws("adam", 21)
    ours = trajectory(FedAdam(learning_rate=rate, tau=tau, beta1=beta1, beta2=beta2), targets, begin)
    corrected = torch_trajectory(
        lambda x: torch.optim.Adam(x, lr=rate, betas=(beta1, beta2), eps=tau), targets, begin
    )
    undone = torch_trajectory(
        lambda x: torch.optim.Adam(x, betas=(beta1, beta2)), targets, begin, prepare=prepare
    )
    assert agree(ours, undone)
    assert not agree(ours, corrected)


def test_fedyogi_on_updates_that_grow_is_torchs_adagrad_on_scaled_ones():
    # While v < Δ^2, v grows by (1 - beta2) Δ^2: Adagrad on s Δ with s^2 = 1 - beta2, and rate / s.
    rate, tau, beta2 = 0.02, 1e-3, 0.99
    scale = (1 - beta2) ** 0.5
    begin = draws("yogi", 1)[0]
    rule = FedYogi(learning_rate=rate, tau=tau, beta1=0.0, beta2=beta2)
    x, adagrad = nn.Parameter(begin.clone()), None
    model, memory = ModelState(begin, {}), {}
    for count in range(8):
        change = 0.05 * 2.0**count * draws(f"yogi{count}", 1)[0].sign()
        model, memory = rule.step(model, [(ModelState(model.vector + change, {}), 1.0)], memory)
        adagrad = adagrad or torch.optim.Adagrad(
            [x], lr=rate / scale, eps=tau, initial_accumulator_value=tau**2
        )
        x.grad = -scale * change
        adagrad.step()
        assert torch.allclose(model.vector, x.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_fedyogi_follows_the_papers_recursion_also_where_updates_shrink(beta1):
    rate, tau, beta2 = 0.05, 1e-3, 0.9
    begin, *targets = draws("recursion", 31)
    # Of a model that has come near, updates are small: v falls again.
    targets[10:] = [begin + 0.01 * target for target in targets[10:]]
    ours = trajectory(FedYogi(learning_rate=rate, tau=tau, beta1=beta1, beta2=beta2), targets, begin)
    x, m, v = begin.double().numpy(), 0.0, tau**2
    fell, rose = 0, 0
    for target, found in zip(targets, ours, strict=True):
        delta = target.double().numpy() - x
        m = beta1 * m + (1 - beta1) * delta
        after = v - (1 - beta2) * delta**2 * np.sign(v - delta**2)
        fell, rose = fell + (after < v).sum(), rose + (after > v).sum()
        v = after
        x = x + rate * m / (np.sqrt(v) + tau)
        # Where v is next to the square, a last bit decides which way it goes: a few entries may differ.
        near = np.isclose(found.numpy(), x, rtol=1e-3, atol=1e-4)
        assert near.mean() > 0.99
    assert fell > 1000
    assert rose > 1000


# Robust rules against brute force.


def models_of(name, count, length):
    return draws(name, count, length)


def aggregated(rule, vectors):
    return rule.aggregate(
        ModelState(torch.zeros_like(vectors[0]), {}), [(ModelState(one, {}), 1.0) for one in vectors]
    ).vector.numpy()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 10, 23])
def test_median_and_trimmed_mean_are_numpys_and_scipys(count):
    vectors = models_of(f"robust{count}", count, 300)
    every = torch.stack(vectors).double().numpy()
    assert np.allclose(aggregated(Median(), vectors), np.median(every, axis=0), atol=1e-6)
    for fraction in (0.0, 0.1, 0.26, 0.4, 0.49):
        expected = scipy.stats.trim_mean(every, fraction, axis=0)
        assert np.allclose(aggregated(TrimmedMean(fraction=fraction), vectors), expected, atol=1e-6)


@pytest.mark.parametrize(("count", "liars"), [(3, 0), (5, 1), (7, 1), (9, 3), (20, 8)])
@pytest.mark.parametrize("length", [1, 40])
def test_krum_is_the_least_score_over_all_choices_of_neighbours(count, liars, length):
    every = torch.stack(models_of(f"krum{count}.{length}", count, length)).double().numpy()
    square = ((every[:, None] - every[None]) ** 2).sum(axis=2)
    neighbours = count - liars - 2
    scores = [np.sort(np.delete(square[i], i))[:neighbours].sum() for i in range(count)]
    order = np.argsort(scores)
    vectors = [torch.from_numpy(one).float() for one in every]
    assert np.array_equal(aggregated(Krum(byzantine=liars), vectors), vectors[order[0]].numpy())
    for kept in (1, 2, count - liars):
        expected = every[order[:kept]].mean(axis=0)
        found = aggregated(MultiKrum(byzantine=liars, kept=kept), vectors)
        assert np.allclose(found, expected, atol=1e-6)


# Breaking down.


def lies(honest, liars, kind):
    """Vectors of liars, all far away: on one side, on both, anywhere, or all the same."""
    length, size = len(honest[0]), 1e6
    if kind == "both-sides":
        return [torch.full((length,), size * (-1) ** i * (1 + i)) for i in range(liars)]
    if kind == "anywhere":
        return [size * one for one in draws("lies", liars, length)]
    return [torch.full((length,), size * (1 if kind == "the-same" else 1 + i)) for i in range(liars)]


def mixed(honest, liars, name):
    """In some order, since no rule may know it."""
    vectors = [*honest, *liars]
    order = torch.randperm(len(vectors), generator=(KEY / name).torch())
    return [vectors[i] for i in order]


def in_the_hull(found, honest):
    """Entry by entry between the honest ones, up to rounding."""
    every = torch.stack(honest).numpy()
    return bool(((found >= every.min(axis=0) - 1e-5) & (found <= every.max(axis=0) + 1e-5)).all())


LIES = ["one-side", "both-sides", "anywhere", "the-same"]


@pytest.mark.parametrize("kind", LIES)
@pytest.mark.parametrize("count", [5, 8, 11])
def test_up_to_the_number_that_they_stand_liars_stay_without_effect(kind, count):
    for liars in range(1, (count - 1) // 2 + 1):
        honest = draws(f"honest{count}.{liars}", count - liars, 50)
        vectors = mixed(honest, lies(honest, liars, kind), f"order{count}.{liars}")
        assert in_the_hull(aggregated(Median(), vectors), honest)
        assert in_the_hull(aggregated(TrimmedMean(fraction=liars / count), vectors), honest)
        assert not in_the_hull(aggregated(FedAvg(), vectors), honest)
        if count >= 2 * liars + 3:
            krum = aggregated(Krum(byzantine=liars), vectors)
            assert any(np.array_equal(krum, one.numpy()) for one in honest)
            kept = count - liars
            everyone = aggregated(MultiKrum(byzantine=liars, kept=kept), vectors)
            assert np.allclose(everyone, torch.stack(honest).mean(dim=0).numpy(), atol=1e-5)


@pytest.mark.parametrize("count", [6, 9])
def test_more_liars_than_that_carry_every_rule_off(count):
    for rule, liars in (
        (FedAvg(), 1),
        (TrimmedMean(fraction=1 / count), 2),
        (Median(), count // 2 + 1),
        (Krum(byzantine=1), count - 1),
        (MultiKrum(byzantine=1, kept=count - 1), 2),
    ):
        honest = draws(f"few{count}", count - liars, 50)
        vectors = mixed(honest, lies(honest, liars, "the-same"), f"order{count}")
        assert not in_the_hull(aggregated(rule, vectors), honest), rule.kind


def test_krum_follows_the_larger_group_where_liars_agree():
    # n = 8 and byzantine = 1: five neighbours. Of a group of g, 6 - g of these are of the other one.
    for liars, held in ((3, True), (5, False)):
        honest = draws("honest", 8 - liars, 50)
        vectors = mixed(honest, lies(honest, liars, "the-same"), "order")
        found = aggregated(Krum(byzantine=1), vectors)
        assert in_the_hull(found, honest) == held
