"""Laws of triggers: how often closed forms say that they fire, and the published algorithms by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from syft_fl.keys import Key
from syft_fl.learn.triggers import (
    Bandwidth,
    Channel,
    Every,
    Memory,
    Norm,
    Random,
    Relative,
    Silence,
    Trigger,
    TriggerView,
)


def view(round: int = 1, **known: Any) -> TriggerView:
    """What a UE knows; what a test does not give is of no interest to it."""

    def asked() -> Any:
        raise AssertionError("this rule has no use for it")

    fields: dict[str, Any] = {
        "ue": "ue0",
        "key": Key(0) / round,
        "update": torch.zeros(1),
        "owed": None,
        "received": torch.zeros(1),
        "earlier": (),
        "loss": 1.0,
        "silence": 0,
        "samples": 1,
        "learning_rate": 1.0,
        "users": 1,
        "decoded": asked,
        "rate_bps": asked,
        "mean_rate_bps": asked,
        "gain": asked,
    }
    return TriggerView(round=round, **{**fields, **known})


def sends(trigger: Trigger, trainings: int, **known: Any) -> list[bool]:
    """Of one UE, whose silence is counted; all that it sends arrives."""
    memory: Memory = {}
    said: list[bool] = []
    silence = 0
    for round in range(1, trainings + 1):
        decision = trigger.decide(view(round, **{"silence": silence, **known}), memory)
        memory = decision.sent if decision.send else decision.kept
        silence = 0 if decision.send else silence + 1
        said.append(decision.send)
    return said


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_every_kth_training_is_one_in_k_and_evenly_spaced(k: int) -> None:
    for phase in range(k):
        assert sends(Every(k=k, phase=phase), 10 * k) == [n % k == phase for n in range(10 * k)]


def test_drawn_phases_spread_the_ues_over_all_rounds() -> None:
    k, ues = 4, 2000
    firsts = [sends(Every(k=k, phase="drawn"), k, key=Key(i)).index(True) for i in range(ues)]
    for phase in range(k):
        # Binomial with 1/k: five standard errors.
        assert abs(firsts.count(phase) - ues / k) <= 5 * math.sqrt(ues * (1 / k) * (1 - 1 / k))


@pytest.mark.parametrize("probability", [0.0, 0.03, 0.5, 0.9, 1.0])
def test_random_sends_with_its_probability(probability: float) -> None:
    trainings = 4000
    sent = sum(sends(Random(probability=probability), trainings))
    deviation = math.sqrt(trainings * probability * (1 - probability))
    assert abs(sent - trainings * probability) <= 5 * deviation


def test_a_norm_rule_fires_exactly_at_its_threshold() -> None:
    update = torch.tensor([3.0, 4.0])  # of length 5, exactly
    above = math.nextafter(5.0, 6.0)
    assert Norm(tau=5.0).decide(view(update=update), {}).send
    assert not Norm(tau=above).decide(view(update=update), {}).send
    model = torch.tensor([0.0, 10.0])
    assert Relative(epsilon=0.5).decide(view(update=update, received=model), {}).send
    assert not Relative(epsilon=math.nextafter(0.5, 1)).decide(view(update=update, received=model), {}).send


def test_a_decreasing_threshold_passes_an_update_when_it_has_come_down_to_it() -> None:
    """tau decay^(t - 1) <= |u| from t = 1 + ln(tau / |u|) / ln(1 / decay) on."""
    update, tau, decay = torch.tensor([0.3, 0.4]), 8.0, 0.9
    first = math.ceil(1 + math.log(tau / 0.5) / math.log(1 / decay))
    assert sends(Norm(tau=tau, decay=decay), 60, update=update) == [t >= first for t in range(1, 61)]


def test_norms_are_taken_in_double_precision() -> None:
    """A million squares of 1e-30 vanish in float32; those of 1e30 overflow it."""
    for size in (1e-30, 1e30):
        decision = Norm(tau=1.0).decide(view(update=torch.full((10**6,), size)), {})
        assert decision.quantity == pytest.approx(1e3 * size, rel=1e-6)


def test_a_threshold_is_in_inverse_proportion_to_the_rate() -> None:
    rule, update = Bandwidth(tau=1.0), torch.tensor([1.0])
    for rate_bps, factor in ((1e6, 2.0), (2e6, 1.0), (8e6, 0.25)):
        for off, send in ((1.0, True), (0.999, False)):
            known: dict[str, Any] = {"rate_bps": lambda r=rate_bps: r, "mean_rate_bps": lambda: 2e6}
            assert rule.decide(view(update=update * factor * off, **known), {}).send == send


@pytest.mark.parametrize("least", [0.1, 1.0, 2.0])
def test_over_rayleigh_fading_a_ue_sends_with_probability_exp_minus_gain(least: float) -> None:
    trainings = 4000
    gains = [(Key(3) / i).exponential() for i in range(trainings)]
    sent = sum(Channel(gain=least).decide(view(gain=lambda g=gain: g), {}).send for gain in gains)
    expected = math.exp(-least)
    assert abs(sent / trainings - expected) <= 5 * math.sqrt(expected * (1 - expected) / trainings)


@pytest.mark.parametrize("k", [0, 1, 4])
def test_a_silent_ue_sends_after_k_trainings(k: int) -> None:
    assert sends(Silence(k=k), 5 * (k + 1)) == ([False] * k + [True]) * 5
