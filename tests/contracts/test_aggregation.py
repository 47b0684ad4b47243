"""What every aggregator keeps to, and the weights that each one's formula says."""

import io
import math

import pytest
import torch

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn import (
    AGGREGATORS,
    Averaging,
    CountingSteps,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedNova,
    FedYogi,
    Krum,
    Median,
    MultiKrum,
    Pairwise,
    Remembering,
    Scaffold,
    TrimmedMean,
    mean_rule,
    next_model,
)
from syft_fl.vectors import ModelState

ADAPTIVE = [FedAdagrad(), FedAdam(), FedYogi()]
ALL = [
    FedAvg(),
    Pairwise(),
    FedAvgM(),
    *ADAPTIVE,
    Median(),
    TrimmedMean(fraction=0.25),
    Krum(byzantine=1),
    MultiKrum(byzantine=1, kept=2),
    FedNova(),
    Scaffold(),
]
REMEMBERING = [FedAvgM(), *ADAPTIVE]
KINDS = {rule.kind: rule for rule in ALL}


def but(*kinds):
    return [rule for rule in ALL if rule.kind not in kinds]


def named(rule):
    return rule.kind


def state(*values, mean=0.0, count=0):
    buffers = {"mean": torch.tensor([mean]), "count": torch.tensor(count), "flag": torch.tensor(count > 2)}
    return ModelState(torch.tensor(values), buffers)


def random_states(n, length=1000):
    return [ModelState(torch.randn(length, generator=(Key(0) / i).torch()), {}) for i in range(n)]


# The contract.


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_without_updates_the_model_stays(rule):
    current = state(1.0, 2.0)
    assert rule.aggregate(current, []) is current


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_inputs_are_not_changed_and_not_shared(rule):
    current, updates = random_states(1)[0], [(one, 2.0) for one in random_states(3)]
    before = [current.vector.clone(), *(one.vector.clone() for one, _ in updates)]
    found = rule.aggregate(current, updates)
    found.vector.add_(1.0)
    after = [current.vector, *(one.vector for one, _ in updates)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_equal_models_aggregate_to_themselves(rule):
    one = state(1.0, -3.5, mean=0.25, count=4)
    found = rule.aggregate(one, [(one, 1.0)] * 4)
    assert torch.equal(found.vector, one.vector)
    assert found.vector.dtype == torch.float32
    assert {name: value.tolist() for name, value in found.buffers.items()} == {
        "mean": [0.25],
        "count": 4,
        "flag": True,
    }


# Krum has them of the models that it chooses.
@pytest.mark.parametrize("rule", but("krum", "multi-krum"), ids=named)
def test_of_integer_buffers_the_largest_is_kept_in_its_dtype(rule):
    found = rule.aggregate(state(0.0, count=1), [(state(0.0, count=c), 1.0) for c in (3, 9, 2)])
    assert found.buffers["count"].item() == 9
    assert found.buffers["count"].dtype == torch.int64
    assert found.buffers["flag"].item() is True


@pytest.mark.parametrize("rule", but("fedavgm", "fedadagrad", "fedadam", "fedyogi"), ids=named)
def test_float_buffers_are_combined_as_parameters_are(rule):
    updates = [(state(v, mean=v), w) for v, w in ((1.0, 1.0), (5.0, 3.0))]
    found = rule.aggregate(state(2.0, mean=2.0), updates)
    assert torch.equal(found.buffers["mean"], found.vector)


@pytest.mark.parametrize("rule", REMEMBERING, ids=named)
def test_float_buffers_are_averaged_where_parameters_take_steps_of_another_length(rule):
    updates = [(state(v, mean=v), w) for v, w in ((1.0, 1.0), (5.0, 3.0))]
    current, memory = state(2.0, mean=2.0), {}
    for _ in range(3):
        current, memory = rule.step(current, updates, memory)
        assert current.buffers["mean"].item() == 4.0
    assert current.vector.item() != 4.0


@pytest.mark.parametrize("rule", but("fedadagrad", "fedadam", "fedyogi"), ids=named)
def test_the_next_model_lies_within_the_models_that_it_is_made_of(rule):
    states = random_states(5)
    found = rule.aggregate(states[0], [(one, float(i + 1)) for i, one in enumerate(states[1:])])
    every = torch.stack([one.vector for one in states])
    assert bool((found.vector >= every.min(dim=0).values - 1e-6).all())
    assert bool((found.vector <= every.max(dim=0).values + 1e-6).all())


# Pairwise weighs the base station's own model, the adaptive ones take steps of their own length (see below).
@pytest.mark.parametrize("rule", but("pairwise", "fedadagrad", "fedadam", "fedyogi"), ids=named)
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equal_updates_give_that_update(rule, count):
    one = random_states(1)[0]
    found = rule.aggregate(ModelState(torch.full((1000,), 0.5), {}), [(one, 3.0)] * count)
    assert (found.vector - one.vector).abs().max() <= 2e-6


# Pairwise is meant to depend on the order.
@pytest.mark.parametrize("rule", but("pairwise"), ids=named)
def test_the_order_of_updates_changes_nothing_but_roundings(rule):
    states = random_states(6)
    updates = [(one, float(i + 1)) for i, one in enumerate(states)]
    current = ModelState(torch.zeros(1000), {})
    steps = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0]
    found, _ = next_model(rule, current, updates, steps=steps, memory={})
    for order in ([5, 4, 3, 2, 1, 0], [2, 0, 5, 3, 1, 4]):
        other, _ = next_model(
            rule, current, [updates[i] for i in order], steps=[steps[i] for i in order], memory={}
        )
        assert (other.vector - found.vector).abs().max() <= 2e-6
        if rule.kind in ("median", "trimmed-mean", "krum"):
            assert torch.equal(other.vector, found.vector)


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_only_ratios_of_weights_count(rule):
    states = random_states(5)
    small = [(one, float(i + 1)) for i, one in enumerate(states)]
    large = [(one, 70.0 * weight) for one, weight in small]
    current = ModelState(torch.zeros(1000), {})
    found, other = rule.aggregate(current, small), rule.aggregate(current, large)
    assert (found.vector - other.vector).abs().max() <= 2e-6


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_a_rule_says_what_it_is_asked_for(rule):
    assert isinstance(rule, Averaging) == (rule.kind == "fedavg")
    assert isinstance(rule, Remembering) == (rule in REMEMBERING)
    assert isinstance(rule, CountingSteps) == (rule.kind == "fednova")
    sees_a_mean = rule.kind == "fedavg" or rule in REMEMBERING
    assert (mean_rule(rule) is not None) == sees_a_mean
    assert not (sees_a_mean and getattr(rule, "needs_each", False))


def test_every_rule_of_ours_is_under_test():
    ours = [cls.kind for cls in AGGREGATORS if cls.__module__.startswith("syft_fl.")]
    assert sorted(KINDS) == sorted(ours)
    assert {kind: AGGREGATORS.build({"kind": kind, **SETTINGS.get(kind, {})}) for kind in ours} == KINDS


SETTINGS = {
    "trimmed-mean": {"fraction": 0.25},
    "krum": {"byzantine": 1},
    "multi-krum": {"byzantine": 1, "kept": 2},
}


# What remembers.


@pytest.mark.parametrize("rule", REMEMBERING, ids=named)
def test_a_memory_that_was_written_and_read_goes_on_with_the_same_bits(rule):
    start, memory = random_states(1)[0], {}
    rounds = [[(one, float(i + 1)) for i, one in enumerate(random_states(3))] for _ in range(4)]
    whole, again = start, start
    read = {}
    for updates in rounds:
        whole, memory = rule.step(whole, updates, memory)
        again, written = rule.step(again, updates, read)
        file = io.BytesIO()
        torch.save(dict(written), file)
        file.seek(0)
        read = torch.load(file, weights_only=True)
        assert torch.equal(whole.vector, again.vector)


@pytest.mark.parametrize("rule", REMEMBERING, ids=named)
def test_a_step_changes_neither_the_memory_nor_the_models_that_it_is_given(rule):
    start, updates = random_states(1)[0], [(one, 1.0) for one in random_states(3)]
    model, memory = rule.step(start, updates, {})
    before = {name: tensor.clone() for name, tensor in memory.items()}
    first = rule.step(model, updates, memory)
    second = rule.step(model, updates, memory)
    assert all(torch.equal(before[name], memory[name]) for name in before)
    assert torch.equal(first[0].vector, second[0].vector)
    assert all(torch.equal(first[1][name], second[1][name]) for name in before)


@pytest.mark.parametrize("rule", REMEMBERING, ids=named)
def test_a_round_in_which_nothing_arrives_is_no_step(rule):
    model, memory = rule.step(state(1.0), [(state(2.0), 1.0)], {})
    assert rule.step(model, [], memory) == (model, memory)


@pytest.mark.parametrize("rule", REMEMBERING, ids=named)
def test_the_mean_may_be_taken_beforehand(rule):
    updates = [(one, float(i + 1)) for i, one in enumerate(random_states(4))]
    mean = FedAvg().aggregate(updates[0][0], updates)
    start = ModelState(torch.zeros(1000), {})
    whole, at_once = (rule.step(start, given, {})[0] for given in (updates, [(mean, 10.0)]))
    assert torch.equal(whole.vector, at_once.vector)


@pytest.mark.parametrize("rule", ADAPTIVE, ids=named)
def test_the_first_adaptive_step_is_the_closed_form(rule):
    change, tau, rate = 0.03, rule.tau, rule.learning_rate
    square = {
        "fedadagrad": tau**2 + change**2,
        "fedadam": 0.99 * tau**2 + 0.01 * change**2,
        "fedyogi": tau**2 + 0.01 * change**2,
    }[rule.kind]
    found = rule.aggregate(state(2.0), [(state(2.0 + change), 5.0)])
    expected = 2.0 + rate * (1 - rule.beta1) * change / (math.sqrt(square) + tau)
    assert found.vector.item() == pytest.approx(expected, abs=2e-6)


def test_fedavgm_remembers_what_it_did_and_without_momentum_is_fedavg():
    rule, current, memory = FedAvgM(momentum=0.5, learning_rate=0.1), state(0.0), {}
    expected, velocity = 0.0, 0.0
    for target in (1.0, 1.0, -2.0, 4.0):
        velocity = 0.5 * velocity + (target - expected)
        expected += 0.1 * velocity
        current, memory = rule.step(current, [(state(target), 1.0)], memory)
        assert current.vector.item() == pytest.approx(expected, rel=1e-5)
    updates = [(one, float(i + 1)) for i, one in enumerate(random_states(4))]
    plain = FedAvg().aggregate(current, updates).vector
    start = ModelState(torch.zeros(1000), {})
    assert torch.equal(FedAvgM(momentum=0.0).aggregate(start, updates).vector, plain)


# Robust rules.


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two():
    models = [(state(v), 1.0) for v in (9.0, 1.0, 4.0, 2.0)]
    assert Median().aggregate(state(0.0), models).vector.item() == 3.0
    assert Median().aggregate(state(0.0), models[:3]).vector.item() == 4.0


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 22.0), (0.19, 22.0), (0.2, 3.0), (0.39, 3.0), (0.4, 3.0), (0.49, 3.0)]
)
def test_a_trimmed_mean_leaves_out_both_ends(fraction, expected):
    models = [(state(v), 1.0) for v in (100.0, 1.0, 2.0, 4.0, 3.0)]
    assert TrimmedMean(fraction=fraction).aggregate(state(0.0), models).vector.item() == expected


def test_a_trimmed_fraction_is_taken_as_it_is_written():
    assert TrimmedMean(fraction=0.29).trimmed(100) == 29
    assert TrimmedMean(fraction=0.4999999999).trimmed(2) == 0


def test_krum_chooses_as_its_formula_says():
    # n = 6, f = 1: scores are sums over the three nearest.
    values = (0.0, 2.0, 3.0, 5.0, 9.0, 50.0)
    models = [(state(v), 1.0) for v in values]
    scores = [sum(sorted((v - w) ** 2 for w in values)[1:4]) for v in values]
    assert scores[:3] == [38.0, 14.0, 14.0]
    assert Krum(byzantine=1).aggregate(state(0.0), models).vector.item() == 2.0  # the first of equal ones
    assert MultiKrum(byzantine=1, kept=3).aggregate(state(0.0), models).vector.item() == pytest.approx(10 / 3)
    assert MultiKrum(byzantine=1, kept=9).aggregate(state(0.0), models).vector.item() == pytest.approx(11.5)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_krum_chooses_also_where_too_few_arrive(count):
    models = [(state(v), 1.0) for v in (1.0, 1.5, 7.0, 20.0)[:count]]
    assert Krum(byzantine=2).aggregate(state(0.0), models).vector.item() == 1.0


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        (FedAvg(), False),
        (FedNova(), False),
        (TrimmedMean(fraction=0.1), False),
        (TrimmedMean(fraction=0.2), True),
        (Median(), True),
        (Krum(byzantine=2), True),
        (MultiKrum(byzantine=2, kept=5), True),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_two_of_ten_that_lie_carry_off_means_and_no_robust_rule(rule, held):
    honest = [ModelState(1.0 + 0.01 * one.vector, {}) for one in random_states(8)]
    liars = [ModelState(torch.full((1000,), 1e4), {}), ModelState(torch.full((1000,), 2e4), {})]
    updates = [(one, 10.0) for one in (liars[0], *honest, liars[1])]
    found = rule.aggregate(ModelState(torch.zeros(1000), {}), updates).vector
    # Within the honest ones, whose deviations are below 5 * 0.01, or far away.
    assert ((found - 1).abs().max() < 0.05) == held


def test_a_liar_s_weight_is_not_believed():
    honest = [(state(float(v)), 1.0) for v in range(5)]
    for rule in (Median(), TrimmedMean(fraction=0.2), Krum(byzantine=1), MultiKrum(byzantine=1, kept=2)):
        found = rule.aggregate(state(0.0), [*honest, (state(1e6), 1e9)])
        assert found.vector.item() <= 4.0


# FedNova.


def test_fednova_is_its_formula():
    updates = [(state(1.0, mean=1.0), 1.0), (state(5.0, mean=5.0), 3.0)]
    found = FedNova().aggregate_steps(state(2.0), updates, [2.0, 10.0])
    # shares 1/4 and 3/4, 8 steps in the mean, directions -1/2 and 3/10
    assert found.vector.item() == pytest.approx(2.0 + 8 * (0.25 * -0.5 + 0.75 * 0.3))
    assert found.buffers["mean"].item() == 4.0


def test_fednova_of_equal_steps_is_fedavg():
    updates = [(one, float(i + 1)) for i, one in enumerate(random_states(4))]
    start = ModelState(torch.zeros(1000), {})
    for steps in (1.0, 7.0):
        found = FedNova().aggregate_steps(start, updates, [steps] * 4).vector
        assert torch.allclose(found, FedAvg().aggregate(start, updates).vector, atol=1e-6)


def test_fednova_refuses_steps_that_are_none():
    with pytest.raises(ConfigError, match=r"steps = \[1.0, 0.0\] must be above 0"):
        FedNova().aggregate_steps(state(0.0), [(state(1.0), 1.0)] * 2, [1.0, 0.0])


# Settings.


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("fedavgm", {"momentum": 1.0}, "momentum = 1.0 must be in 0 … 1, 1 excluded"),
        ("fedavgm", {"learning_rate": 0.0}, "learning_rate = 0.0 must be above 0"),
        ("fedadagrad", {"learning_rate": math.inf}, "learning_rate = inf must be above 0 and finite"),
        ("fedadam", {"tau": 0.0}, "tau = 0.0 must be at least 1e-18"),
        ("fedadam", {"beta1": -0.1}, "beta1 = -0.1 must be in 0 … 1"),
        ("fedyogi", {"beta2": 1.0}, "beta2 = 1.0 must be in 0 … 1"),
        ("trimmed-mean", {"fraction": 0.5}, "fraction = 0.5 must be in 0 … 0.5"),
        ("krum", {"byzantine": -1}, "byzantine = -1 must be at least 0"),
        ("multi-krum", {"byzantine": 1, "kept": 0}, "kept = 0 must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(kind, fields, message):
    with pytest.raises(ConfigError, match=message):
        AGGREGATORS.build({"kind": kind, **fields})


# FedAvg.


def test_fedavg_weighs_by_samples():
    found = FedAvg().aggregate(state(100.0), [(state(1.0), 1.0), (state(5.0), 3.0)])
    assert found.vector.item() == 4.0


def test_fedavg_equals_plain_torch_to_the_bit():
    states, samples = random_states(7), [143, 144, 17, 1, 999, 60, 3]
    total = torch.zeros(1000)
    for one, n in zip(states, samples, strict=True):
        total += (n / sum(samples)) * one.vector
    found = FedAvg().aggregate(states[0], [(s, float(n)) for s, n in zip(states, samples, strict=True)])
    assert torch.equal(found.vector, total)


def test_fedavg_is_the_float64_mean_up_to_float32_rounding():
    states, weights = random_states(50), [float(1 + i % 5) for i in range(50)]
    found = FedAvg().aggregate(states[0], list(zip(states, weights, strict=True))).vector.double()
    stacked = torch.stack([one.vector.double() for one in states])
    exact = (torch.tensor(weights, dtype=torch.float64)[:, None] * stacked).sum(dim=0) / sum(weights)
    # At most one rounding of each product and each partial sum, of magnitude at most 5.
    assert (found - exact).abs().max() < 100 * 5 * 2**-24


def test_fedavg_leaves_models_of_weight_zero_out():
    found = FedAvg().aggregate(state(0.0), [(state(7.0), 2.0), (state(1e30), 0.0)])
    assert found.vector.item() == 7.0


@pytest.mark.parametrize("weights", [(0.0, 0.0), (-1.0, 2.0), (math.nan, 1.0), (math.inf, 1.0)])
def test_fedavg_refuses_weights_that_are_none(weights):
    with pytest.raises(ConfigError, match="finite, none negative and not all 0"):
        FedAvg().aggregate(state(0.0), [(state(1.0), weight) for weight in weights])


# Pairwise.


@pytest.mark.parametrize("updates", [1, 2, 3, 10])
def test_pairwise_weights_are_powers_of_one_half_and_the_last_weighs_most(updates):
    units = torch.eye(updates + 1)
    models = [ModelState(unit, {}) for unit in units]
    found = Pairwise().aggregate(models[0], [(one, 5.0) for one in models[1:]])
    expected = [2.0**-updates] + [2.0 ** -(updates - k + 1) for k in range(1, updates + 1)]
    assert found.vector.tolist() == expected
    assert sum(expected) == 1


def test_pairwise_depends_on_the_order_and_not_on_samples():
    a, b, current = state(1.0), state(2.0), state(0.0)
    assert Pairwise().aggregate(current, [(a, 1.0), (b, 1.0)]).vector.item() == 1.25
    assert Pairwise().aggregate(current, [(b, 1.0), (a, 1.0)]).vector.item() == 1.0
    assert Pairwise().aggregate(current, [(a, 9.0), (b, 0.0)]).vector.item() == 1.25


def test_pairwise_equals_the_documents_combine_pro_to_the_bit():
    out, *sources = random_states(4)
    expected = out.vector
    for source in sources:
        expected = (source.vector + expected) / 2
    found = Pairwise().aggregate(out, [(source, 1.0) for source in sources])
    assert torch.equal(found.vector, expected)
