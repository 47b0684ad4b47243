r"""How much an update weighs that was computed from an old model.

The staleness :math:`\tau` of an update counts the models that the base station has made since the one from which
it was computed: 0 for an update to the newest. Sources: C. Xie, S. Koyejo, I. Gupta, *Asynchronous Federated
Optimization*, 2019, section 5.2 (constant, polynomial, hinge); J. Nguyen et al., *Federated Learning with Buffered
Asynchronous Aggregation*, 2022, section 5 (:math:`1/\sqrt{1 + \tau}`).
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol, runtime_checkable

from syft_fl.schema import Registry, require, schema

__all__ = ["STALENESS", "ConstantWeight", "Hinge", "Polynomial", "Staleness"]

STALENESS = Registry("staleness weight", "weight")
"""Staleness weights by kind; ``STALENESS(MyWeight)`` adds one."""


@runtime_checkable
class Staleness(Protocol):
    """The settings of a weight: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def weight(self, staleness: int) -> float:
        """The weight of an update that is so many models old, above 0 and at most 1."""
        ...


@STALENESS
@schema
class ConstantWeight:
    """Late or not, an update weighs the same."""

    kind: ClassVar[str] = "constant"

    def weight(self, staleness: int) -> float:
        return 1.0


@STALENESS
@schema
class Polynomial:
    r""":math:`(1 + \tau)^{-a}`.

    Attributes:
        exponent: :math:`a`; 1/2 is FedBuff's.
    """

    kind: ClassVar[str] = "polynomial"
    exponent: float = 0.5

    def __post_init__(self) -> None:
        require(0 <= self.exponent < math.inf, "exponent", self.exponent, "at least 0 and finite")

    def weight(self, staleness: int) -> float:
        return float((1 + staleness) ** -self.exponent)


@STALENESS
@schema
class Hinge:
    r"""1 up to :math:`\tau = b`, then :math:`1/(a(\tau - b) + 1)`.

    Attributes:
        slope: :math:`a`.
        grace: :math:`b`.
    """

    kind: ClassVar[str] = "hinge"
    slope: float = 10.0
    grace: int = 4

    def __post_init__(self) -> None:
        require(0 < self.slope < math.inf, "slope", self.slope, "above 0 and finite")
        require(self.grace >= 0, "grace", self.grace, "at least 0")

    def weight(self, staleness: int) -> float:
        return 1.0 if staleness <= self.grace else 1 / (self.slope * (staleness - self.grace) + 1)
