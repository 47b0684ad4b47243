"""What a UE computed: one row of a run's files."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Computation"]


@dataclass(frozen=True, slots=True)
class Computation:
    """One UE's training between receiving a model and sending one.

    Attributes:
        round: federated round.
        ue: who computed.
        samples: what it was charged for, repeats counted; where compute is equal, what the mean UE processes.
        end_s: when it was done [s].
        energy_j: spent on it [J]: that of the work, however much longer than nominal it took; 0 where the compute model
            says nothing of energy.
    """

    round: int
    ue: str
    samples: float
    end_s: float
    energy_j: float
