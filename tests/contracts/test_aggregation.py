"""What every aggregator keeps to, and the weights that each one's formula says."""

import math

import pytest
import torch

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn import AGGREGATORS, FedAvg, Pairwise
from syft_fl.vectors import ModelState

ALL = [cls() for cls in AGGREGATORS]


def state(*values, mean=0.0, count=0):
    buffers = {"mean": torch.tensor([mean]), "count": torch.tensor(count), "flag": torch.tensor(count > 2)}
    return ModelState(torch.tensor(values), buffers)


def random_states(n, length=1000):
    return [ModelState(torch.randn(length, generator=(Key(0) / i).torch()), {}) for i in range(n)]


# The contract.


@pytest.mark.parametrize("rule", ALL)
def test_without_updates_the_model_stays(rule):
    current = state(1.0, 2.0)
    assert rule.aggregate(current, []) is current


@pytest.mark.parametrize("rule", ALL)
def test_inputs_are_not_changed_and_not_shared(rule):
    current, updates = random_states(1)[0], [(one, 2.0) for one in random_states(3)]
    before = [current.vector.clone(), *(one.vector.clone() for one, _ in updates)]
    found = rule.aggregate(current, updates)
    found.vector.add_(1.0)
    after = [current.vector, *(one.vector for one, _ in updates)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("rule", ALL)
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


@pytest.mark.parametrize("rule", ALL)
def test_of_integer_buffers_the_largest_is_kept_in_its_dtype(rule):
    found = rule.aggregate(state(0.0, count=1), [(state(0.0, count=c), 1.0) for c in (3, 9, 2)])
    assert found.buffers["count"].item() == 9
    assert found.buffers["count"].dtype == torch.int64
    assert found.buffers["flag"].item() is True


@pytest.mark.parametrize("rule", ALL)
def test_float_buffers_are_combined_as_parameters_are(rule):
    updates = [(state(v, mean=v), w) for v, w in ((1.0, 1.0), (5.0, 3.0))]
    found = rule.aggregate(state(2.0, mean=2.0), updates)
    assert torch.equal(found.buffers["mean"], found.vector)


@pytest.mark.parametrize("rule", ALL)
def test_the_next_model_lies_within_the_models_that_it_is_made_of(rule):
    states = random_states(5)
    found = rule.aggregate(states[0], [(one, float(i + 1)) for i, one in enumerate(states[1:])])
    every = torch.stack([one.vector for one in states])
    assert bool((found.vector >= every.min(dim=0).values - 1e-6).all())
    assert bool((found.vector <= every.max(dim=0).values + 1e-6).all())


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
