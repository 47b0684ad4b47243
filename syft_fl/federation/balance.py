r"""Transmission and compute in one order of magnitude (the owners' rule).

.. math:: \rho = \frac{E[\text{duration of a cohort's whole float32 uplink phase}]}{\text{compute time of a round}}

The numerator is that of the *base* scenario's radio and access scheme. ``compute = {kind = "balance", rho = 1}``
is settled once, from the base scenario, into seconds per sample that all variants inherit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from syft_fl.data import Dataset
from syft_fl.federation.cohort import choose_cohort, ue_name
from syft_fl.federation.scenario import Scenario
from syft_fl.keys import Key
from syft_fl.learn import Balance, build_seeded
from syft_fl.radio import expected_phase_s
from syft_fl.transport import OVERHEAD_BYTES
from syft_fl.transport.frame import pack_tensors
from syft_fl.vectors import Layout

__all__ = [
    "Budget",
    "expected_downlink_phase_s",
    "expected_uplink_phase_s",
    "mean_samples",
    "measure",
    "settle",
    "upload_bits",
]

_ROUNDS = 32
"""Rounds (cohorts and fading blocks) over which the expected uplink phase is the mean."""


@dataclass(frozen=True)
class Budget:
    """Where a round's simulated seconds go, expected from the base scenario.

    Attributes:
        upload_bits: one UE's float32 upload, header and CRC included.
        uplink_phase_s: the cohort's whole float32 uplink phase [s], the mean over 32 rounds.
        upload_s: the same per upload [s].
        samples: what the mean UE processes in a round.
        compute_s: its compute time of a round [s].
        rho: uplink phase over compute time.
    """

    upload_bits: int
    uplink_phase_s: float
    upload_s: float
    samples: float
    compute_s: float
    rho: float

    def __str__(self) -> str:
        return (
            f"rho = {self.rho:.3g}: float32 uplink phase {self.uplink_phase_s:.3g} s "
            f"({self.upload_s:.3g} s per upload), compute {self.compute_s:.3g} s per round"
        )

    def check(self) -> None:
        """Warn where transmission or compute vanishes beside the other."""
        if not 0.1 <= self.rho <= 10:
            warnings.warn(
                f"rho = {self.rho:.3g}: outside 0.1 … 10 one of transmission and compute hides the other, and "
                "transmission methods can't be told apart; compute = {kind = 'balance', rho = 1} puts them "
                "in one order of magnitude",
                UserWarning,
                stacklevel=2,
            )


def measure(base: Scenario, dataset: Dataset) -> Budget:
    """The budget of a base scenario; trains nothing.

    Raises:
        ConfigError: the model does not fit the data, or a UE would be left without samples.
    """
    bits = upload_bits(base, dataset)
    phase_s = expected_uplink_phase_s(base, bits)
    samples = mean_samples(base, dataset)
    compute = base.compute
    if isinstance(compute, Balance):
        compute = compute.resolved(phase_s, samples)
    compute_s = compute.seconds(samples)
    return Budget(
        upload_bits=bits,
        uplink_phase_s=phase_s,
        upload_s=phase_s / base.population.chosen,
        samples=samples,
        compute_s=compute_s,
        rho=phase_s / compute_s if compute_s > 0 else math.inf,
    )


def upload_bits(scenario: Scenario, dataset: Dataset) -> int:
    """Bits of one UE's float32 upload, header and CRC included.

    Raises:
        ConfigError: the model does not fit the data.
    """
    module = build_seeded(scenario.model, dataset.shape, dataset.classes, Key(scenario.seed) / "model")
    layout = Layout.of(module)
    side = pack_tensors(list(layout.read(module).buffers.values()))
    return 32 * layout.length + 8 * (len(side) + OVERHEAD_BYTES)


def settle(scenario: Scenario, budget: Budget) -> Scenario:
    """A scenario with its compute time in seconds; balance means balance with the *base* scenario's uplink phase."""
    if not isinstance(scenario.compute, Balance):
        return scenario
    return replace(scenario, compute=scenario.compute.resolved(budget.uplink_phase_s, budget.samples))


def expected_uplink_phase_s(scenario: Scenario, bits: int) -> float:
    """Mean duration [s] of the phase in which a cohort uploads ``bits`` each, over the first 32 rounds."""
    return _expected_phase_s(scenario, "uplink", _cohorts(scenario), bits)


def expected_downlink_phase_s(scenario: Scenario, bits: int) -> float:
    """Mean duration [s] of the phase in which a cohort is sent ``bits``, over the first 32 rounds.

    A multicast is taken to reach the cohort in one frame, as it does where all hold the same reference; a broadcast
    reaches all UEs of the cell in one.
    """
    cohorts = _cohorts(scenario)
    if scenario.downlink.cast == "unicast":
        return _expected_phase_s(scenario, "downlink", cohorts, bits)
    if scenario.downlink.cast == "broadcast":
        cohorts = [tuple(ue_name(index) for index in range(scenario.population.ues))] * len(cohorts)
    return _expected_phase_s(scenario, "downlink", [[cohort] for cohort in cohorts], bits)


def _cohorts(scenario: Scenario) -> list[tuple[str, ...]]:
    key = Key(scenario.seed)
    return [choose_cohort(scenario.population, key=key, round=round) for round in range(1, _ROUNDS + 1)]


def _expected_phase_s(
    scenario: Scenario, direction: str, cohorts: Sequence[Sequence[str | Sequence[str]]], bits: int
) -> float:
    settings = scenario.uplink if direction == "uplink" else scenario.downlink
    key = Key(scenario.seed) / "radio"
    return expected_phase_s(
        settings.access,
        settings.link.link(scenario.cell, key, direction),
        cohorts,
        bits,
        users=scenario.population.chosen,
        key=key / direction / "access",
    )


def mean_samples(scenario: Scenario, dataset: Dataset) -> float:
    """Samples that the mean UE processes in a round."""
    parts = scenario.partition.split(
        dataset.train.y, ues=scenario.population.ues, key=Key(scenario.seed) / "partition"
    )
    return sum(scenario.training.processed(len(part)) for part in parts) / len(parts)
