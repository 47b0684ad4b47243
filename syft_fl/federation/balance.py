r"""Transmission and compute in one order of magnitude (the owners' rule).

.. math:: \rho = \frac{E[\text{duration of a cohort's whole float32 uplink phase}]}{\text{compute time of a round}}

The numerator is that of the *base* scenario's radio, access scheme and selection of the cohort.
``compute = {kind = "balance", rho = 1}`` is settled once, from the base scenario, into seconds per sample that all
variants inherit.

It is the mean over the first 32 rounds. Who takes part in them is chosen round after round, with what the selection
remembers, at the time at which that round's uplink phase begins, as if every update arrived. (In a run the choice comes
earlier, before the model is sent; where fading is a function of time, rates have changed by the upload.) A compute time
that is still to be balanced counts as 0 in these choices: only a selection with a deadline looks at it.

The denominator is what the mean UE takes: the compute model's nominal time, times the mean factor of the scenario's
slowdown (:mod:`syft_fl.learn.slowdown`), where it has one; of factors that are fixed per UE, the mean of those that the
base scenario draws. So balance chooses the nominal time with which rho holds *with* the base scenario's slowdown. A
round that waits for all waits for the slowest, which takes longer than the mean.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from syft_fl.data import Dataset
from syft_fl.federation.cohort import ages, choose_cohort, look, ue_names
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.selection import State
from syft_fl.federation.slowing import expected_slowdown
from syft_fl.federation.variates import float32_state
from syft_fl.keys import Key
from syft_fl.learn import Balance, PerSample, build_seeded
from syft_fl.radio import Link, Phases, expected_phase_s
from syft_fl.transport import OVERHEAD_BYTES
from syft_fl.transport.frame import pack_tensors
from syft_fl.vectors import Layout, ModelState

__all__ = [
    "Budget",
    "ExpectedRounds",
    "charged_samples",
    "compute_times",
    "expected_downlink_phase_s",
    "expected_rounds",
    "expected_uplink_phase_s",
    "float32_bits",
    "mean_compute_s",
    "mean_samples",
    "mean_slowdown",
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
        compute_s: its compute time of a round [s], slowed down as it is on average.
        rho: uplink phase over compute time.
        slowdown: mean factor by which that is longer than nominal; None where the scenario has no slowdown.
    """

    upload_bits: int
    uplink_phase_s: float
    upload_s: float
    samples: float
    compute_s: float
    rho: float
    slowdown: float | None = None

    def __str__(self) -> str:
        slowed = "" if self.slowdown is None else f" on average, {self.slowdown:.3g} times the nominal one"
        return (
            f"rho = {self.rho:.3g}: float32 uplink phase {self.uplink_phase_s:.3g} s "
            f"({self.upload_s:.3g} s per upload), compute {self.compute_s:.3g} s per round{slowed}"
        )

    def resolved(self, balance: Balance) -> PerSample:
        """The nominal time per sample with which this budget is balanced as wished."""
        return balance.resolved(self.uplink_phase_s, self.samples * self.factor)

    @property
    def factor(self) -> float:
        """Mean factor on the compute time, 1 where there is no slowdown."""
        return 1.0 if self.slowdown is None else self.slowdown

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
    expected = expected_rounds(base, bits, compute_s=compute_times(base, dataset))
    phase_s = expected.uplink_phase_s
    unsettled = Budget(
        upload_bits=bits,
        uplink_phase_s=phase_s,
        upload_s=phase_s / expected.uploads,
        samples=mean_samples(base, dataset),
        compute_s=0.0,
        rho=math.inf,
        slowdown=None if base.population.slowdown is None else mean_slowdown(base, dataset),
    )
    compute_s = unsettled.factor * settle(base, unsettled).compute.seconds(unsettled.samples)
    return replace(unsettled, compute_s=compute_s, rho=phase_s / compute_s if compute_s > 0 else math.inf)


def upload_bits(scenario: Scenario, dataset: Dataset) -> int:
    """Bits of one UE's float32 upload, header and CRC included; with its control variate, where it sends one.

    Raises:
        ConfigError: the model does not fit the data.
    """
    module = build_seeded(scenario.model, dataset.shape, dataset.classes, Key(scenario.seed) / "model")
    model = Layout.of(module).read(module)
    return float32_bits(float32_state(scenario.population.aggregator, model))


def settle(scenario: Scenario, budget: Budget) -> Scenario:
    """A scenario with its compute time in seconds; balance means balance with the *base* scenario's uplink phase."""
    if not isinstance(scenario.compute, Balance):
        return scenario
    return replace(scenario, compute=budget.resolved(scenario.compute))


def float32_bits(model: ModelState) -> int:
    """Bits on the air of a whole model in float32: parameters, buffers, header and CRC."""
    side = pack_tensors(list(model.buffers.values()))
    return 32 * len(model.vector) + 8 * (len(side) + OVERHEAD_BYTES)


@dataclass(frozen=True)
class ExpectedRounds:
    """The first 32 rounds as the module says, where nothing is lost.

    Attributes:
        cohorts: who takes part in each.
        uplink_phase_s: mean duration of the phase in which a cohort uploads [s].
    """

    cohorts: tuple[tuple[str, ...], ...]
    uplink_phase_s: float

    @property
    def uploads(self) -> float:
        """Mean size of a cohort."""
        return sum(map(len, self.cohorts)) / len(self.cohorts)


def expected_rounds(
    scenario: Scenario,
    upload_bits: int,
    *,
    download_bits: int | None = None,
    compute_s: Callable[[str], float] | None = None,
) -> ExpectedRounds:
    """Cohorts and uplink phases of the first 32 rounds.

    Args:
        scenario: its selection, radio and access scheme.
        upload_bits: what each UE of a cohort uploads.
        download_bits: what the selection takes a download to have; None: as many as an upload.
        compute_s: a UE's compute time [s], for the selection; None: 0.
    """
    links = {direction: _link(scenario, direction) for direction in ("uplink", "downlink")}
    bits = {"uplink": upload_bits, "downlink": upload_bits if download_bits is None else download_bits}
    phases = Phases(
        scenario.uplink.access,
        links["uplink"],
        upload_bits,
        users=scenario.population.chosen,
        key=_access_key(scenario, "uplink"),
    )
    arrived: dict[str, int] = {}
    state: State = {}
    cohorts, durations_s = [], []
    for round in range(1, _ROUNDS + 1):
        view = look(
            scenario,
            round=round,
            now_s=phases.start_s,
            links=links,
            bits=bits,
            compute_s=compute_s or _no_time,
            age=ages(arrived, round),
        )
        cohort, state = choose_cohort(scenario.population, view, state)
        arrived.update(dict.fromkeys(cohort, round))
        cohorts.append(cohort)
        durations_s.append(phases.carry(cohort))
    return ExpectedRounds(tuple(cohorts), math.fsum(durations_s) / _ROUNDS)


def expected_uplink_phase_s(scenario: Scenario, bits: int) -> float:
    """Mean duration [s] of the phase in which a cohort uploads ``bits`` each, over the first 32 rounds.

    The cohorts are those of :func:`expected_rounds`, with no time to compute.
    """
    return expected_rounds(scenario, bits).uplink_phase_s


def expected_downlink_phase_s(
    scenario: Scenario, bits: int, *, cohorts: Sequence[Sequence[str]] | None = None
) -> float:
    """Mean duration [s] of the phase in which a cohort is sent ``bits``, over the first 32 rounds.

    A multicast is taken to reach the cohort in one frame, as it does where all hold the same reference; a broadcast
    reaches all UEs of the cell in one.

    Args:
        cohorts: of each round; None: those of :func:`expected_rounds` for uploads of as many bits.
    """
    if cohorts is None:
        cohorts = expected_rounds(scenario, bits).cohorts
    if scenario.downlink.cast == "unicast":
        return _expected_phase_s(scenario, "downlink", cohorts, bits)
    if scenario.downlink.cast == "broadcast":
        cohorts = [ue_names(scenario.population.ues)] * len(cohorts)
    return _expected_phase_s(scenario, "downlink", [[cohort] for cohort in cohorts], bits)


def _no_time(ue: str) -> float:
    return 0.0


def _link(scenario: Scenario, direction: str) -> Link:
    settings = scenario.uplink if direction == "uplink" else scenario.downlink
    return settings.link.link(scenario.cell, Key(scenario.seed) / "radio", direction)


def _access_key(scenario: Scenario, direction: str) -> Key:
    return Key(scenario.seed) / "radio" / direction / "access"


def _expected_phase_s(
    scenario: Scenario, direction: str, cohorts: Sequence[Sequence[str | Sequence[str]]], bits: int
) -> float:
    settings = scenario.uplink if direction == "uplink" else scenario.downlink
    return expected_phase_s(
        settings.access,
        _link(scenario, direction),
        cohorts,
        bits,
        users=scenario.population.chosen,
        key=_access_key(scenario, direction),
    )


def compute_times(scenario: Scenario, dataset: Dataset) -> Callable[[str], float]:
    """Each UE's compute time of a round [s], slowed down as it is on average; 0 while it is to be balanced."""
    if isinstance(scenario.compute, Balance):
        return _no_time
    times_s = {
        ue: scenario.compute.seconds(samples) * expected_slowdown(scenario, ue)
        for ue, samples in charged_samples(scenario, dataset).items()
    }
    return times_s.__getitem__


def mean_compute_s(scenario: Scenario, dataset: Dataset) -> float:
    """Compute time of the mean UE in a round [s], slowed down as it is on average."""
    nominal_s = scenario.compute.seconds(mean_samples(scenario, dataset))
    return nominal_s if scenario.population.slowdown is None else nominal_s * mean_slowdown(scenario, dataset)


def mean_slowdown(scenario: Scenario, dataset: Dataset) -> float:
    """Mean over UEs of what their trainings' times are multiplied by, weighted with their nominal times."""
    charged = charged_samples(scenario, dataset)
    slowed = [samples * expected_slowdown(scenario, ue) for ue, samples in charged.items()]
    return math.fsum(slowed) / math.fsum(charged.values())


def mean_samples(scenario: Scenario, dataset: Dataset) -> float:
    """Samples that the mean UE processes in a round."""
    samples = _samples(scenario, dataset)
    return sum(samples) / len(samples)


def charged_samples(scenario: Scenario, dataset: Dataset) -> dict[str, float]:
    """What each UE's compute time of a round is that of, before it is slowed down."""
    samples = _samples(scenario, dataset)
    mean = sum(samples) / len(samples)
    charged = [mean] * len(samples) if scenario.population.equal_compute else samples
    return dict(zip(ue_names(len(charged)), charged, strict=True))


def _samples(scenario: Scenario, dataset: Dataset) -> list[float]:
    """Of each UE, the samples that it processes in a round."""
    parts = scenario.partition.split(
        dataset.train.y, ues=scenario.population.ues, key=Key(scenario.seed) / "partition"
    )
    return [scenario.training.processed(len(part)) for part in parts]
