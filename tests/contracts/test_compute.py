"""What every compute model keeps to, and the formulas of each."""

import math
from dataclasses import replace

import pytest

from syft_fl.errors import ConfigError
from syft_fl.learn import COMPUTES, Balance, Cycles, PerSample

SETTLED = [
    PerSample(seconds_per_sample=0.002),
    Cycles(cycles_per_sample=3e4, frequency_hz=2e9),
    Balance(rho=2.0).resolved(10.0, 500.0),
]


def test_every_registered_compute_model_is_under_test():
    assert {type(compute) for compute in SETTLED} | {Balance} == set(COMPUTES)


@pytest.mark.parametrize("compute", SETTLED)
def test_time_and_energy_are_proportional_to_the_samples(compute):
    assert compute.seconds(0) == compute.energy_j(0) == 0
    for samples in (1, 7, 1000.5):
        assert compute.seconds(2 * samples) == pytest.approx(2 * compute.seconds(samples))
        assert compute.energy_j(2 * samples) == pytest.approx(2 * compute.energy_j(samples))
        assert compute.seconds(samples) > 0
        assert compute.energy_j(samples) >= 0


def test_per_sample_takes_its_time_and_says_nothing_of_energy():
    assert PerSample(seconds_per_sample=0.002).seconds(500) == 1.0
    assert PerSample(seconds_per_sample=0.002).energy_j(500) == 0
    assert PerSample(seconds_per_sample=0.0).seconds(500) == 0


def test_cycles_follow_the_usual_law_of_time_and_energy():
    compute = Cycles(cycles_per_sample=2e4, frequency_hz=1e9, kappa=1e-28)
    # 500 samples are 1e7 cycles: 10 ms at 1 GHz, and 1e-28 * 1e18 * 1e7 J.
    assert compute.seconds(500) == pytest.approx(0.01)
    assert compute.energy_j(500) == pytest.approx(1e-3)


def test_twice_the_clock_is_half_the_time_at_four_times_the_energy():
    slow = Cycles()
    fast = replace(slow, frequency_hz=2 * slow.frequency_hz)
    assert fast.seconds(100) == pytest.approx(slow.seconds(100) / 2)
    assert fast.energy_j(100) == pytest.approx(4 * slow.energy_j(100))


@pytest.mark.parametrize("rho", [0.1, 1.0, 10.0])
def test_balance_makes_the_uplink_phase_rho_times_the_compute_time(rho):
    compute = Balance(rho=rho).resolved(12.0, 300.0)
    assert compute == PerSample(seconds_per_sample=12.0 / (rho * 300.0))
    assert 12.0 / compute.seconds(300.0) == pytest.approx(rho)


def test_an_unresolved_balance_has_no_seconds():
    for ask in (Balance().seconds, Balance().energy_j):
        with pytest.raises(ConfigError, match=r"'balance' must be resolved .* use resolved\(\)"):
            ask(10)


@pytest.mark.parametrize(("phase_s", "samples"), [(0.0, 10.0), (math.inf, 10.0), (1.0, 0.0)])
def test_balance_refuses_what_it_cannot_divide(phase_s, samples):
    with pytest.raises(ConfigError, match="above 0 and finite"):
        Balance().resolved(phase_s, samples)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (PerSample, {"seconds_per_sample": -1.0}),
        (PerSample, {"seconds_per_sample": math.inf}),
        (Cycles, {"frequency_hz": 0.0}),
        (Cycles, {"cycles_per_sample": 0.0}),
        (Cycles, {"kappa": -1.0}),
        (Balance, {"rho": 0.0}),
    ],
)
def test_impossible_settings_are_refused_by_name(kind, bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        kind(**bad)
