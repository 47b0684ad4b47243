"""How long computing takes in simulated time, and what it costs in energy.

A model, never a measurement: the same at every UE with the same work, whatever machine runs the simulation.
Comparing ways of transmission means that UEs compute equally long.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol, runtime_checkable

from syft_fl.errors import ConfigError
from syft_fl.schema import Registry, require, schema

__all__ = ["COMPUTES", "Balance", "Compute", "Cycles", "PerSample"]

COMPUTES = Registry("compute model", "seconds", "energy_j")
"""Compute models by kind; ``COMPUTES(MyCompute)`` adds one."""


@runtime_checkable
class Compute(Protocol):
    """The settings of a compute model: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def seconds(self, samples: float) -> float:
        """Time [s] that training on so many samples takes, repeats counted."""
        ...

    def energy_j(self, samples: float) -> float:
        """Energy [J] that it takes; 0 where the model says nothing of energy."""
        ...


@COMPUTES
@schema
class PerSample:
    """A fixed time for each sample. Says nothing of energy.

    Attributes:
        seconds_per_sample: time [s] per sample processed; 0: computing takes no time.
    """

    kind: ClassVar[str] = "per_sample"
    seconds_per_sample: float

    def __post_init__(self) -> None:
        value = self.seconds_per_sample
        require(0 <= value < math.inf, "seconds_per_sample", value, "at least 0 and finite")

    def seconds(self, samples: float) -> float:
        return self.seconds_per_sample * samples

    def energy_j(self, samples: float) -> float:
        return 0.0


@COMPUTES
@schema
class Cycles:
    r"""A processor with a fixed clock: time :math:`c\,n/f`, dynamic energy :math:`\kappa f^2 c\,n`.

    Attributes:
        cycles_per_sample: :math:`c`; usual in the field are 1 to 3 times 10⁴.
        frequency_hz: :math:`f` [Hz]; usual are 1 to 2 GHz.
        kappa: effective switched capacitance :math:`\kappa` [F].

    Source: the model of A. P. Miettinen and J. K. Nurminen, *Energy efficiency of mobile clients in cloud computing*,
    2010, as used in wireless federated learning (Z. Yang et al., *Energy Efficient Federated Learning Over Wireless
    Communication Networks*, 2021).
    """

    kind: ClassVar[str] = "cycles"
    cycles_per_sample: float = 2e4
    frequency_hz: float = 1e9
    kappa: float = 1e-28

    def __post_init__(self) -> None:
        for name in ("cycles_per_sample", "frequency_hz"):
            require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "above 0 and finite")
        require(0 <= self.kappa < math.inf, "kappa", self.kappa, "at least 0 and finite")

    def seconds(self, samples: float) -> float:
        return self.cycles_per_sample * samples / self.frequency_hz

    def energy_j(self, samples: float) -> float:
        return self.kappa * self.frequency_hz**2 * self.cycles_per_sample * samples


@COMPUTES
@schema
class Balance:
    """As long as makes transmission ``rho`` times as long as compute: a wish, settled once for all variants.

    Attributes:
        rho: duration of the cohort's float32 uplink phase over the compute time of a round.
    """

    kind: ClassVar[str] = "balance"
    rho: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.rho < math.inf, "rho", self.rho, "above 0 and finite")

    def resolved(self, phase_s: float, samples: float) -> PerSample:
        """The time per sample that fulfils the wish.

        Args:
            phase_s: duration of the base scenario's float32 uplink phase [s].
            samples: samples that a UE processes in a round.

        Raises:
            ConfigError: the phase takes no time or for ever, or there are no samples.
        """
        require(0 < phase_s < math.inf, "phase_s", phase_s, "above 0 and finite", "check the uplink's radio")
        require(0 < samples < math.inf, "samples", samples, "above 0 and finite")
        return PerSample(seconds_per_sample=phase_s / (self.rho * samples))

    def seconds(self, samples: float) -> float:
        """Not known yet.

        Raises:
            ConfigError: always; :meth:`resolved` gives the model that knows.
        """
        raise ConfigError(_UNRESOLVED)

    def energy_j(self, samples: float) -> float:
        """Not known yet.

        Raises:
            ConfigError: always; :meth:`resolved` gives the model that knows.
        """
        raise ConfigError(_UNRESOLVED)


_UNRESOLVED = (
    "compute.kind = 'balance' must be resolved against a radio before it is asked for seconds; use resolved()"
)
