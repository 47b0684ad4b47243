"""How the learning rate changes with the round.

A schedule is a factor on ``training.learning_rate``. Rounds are counted from 1; a round below that counts as the first.
Within a round the rate is constant.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol, runtime_checkable

from syft_fl.schema import Registry, require, schema

__all__ = ["SCHEDULES", "Constant", "Cosine", "Exponential", "Schedule", "Step"]

SCHEDULES = Registry("schedule", "factor")
"""Schedules by kind; ``SCHEDULES(MySchedule)`` adds one."""


@runtime_checkable
class Schedule(Protocol):
    """The settings of a schedule: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def factor(self, round: int) -> float:
        """What the learning rate is multiplied by in a round (counted from 1)."""
        ...


@SCHEDULES
@schema
class Constant:
    """The same learning rate in all rounds."""

    kind: ClassVar[str] = "constant"

    def factor(self, round: int) -> float:
        return 1.0


@SCHEDULES
@schema
class Step:
    r"""Multiplied by a factor after every so many rounds: :math:`f^{\lfloor (t-1)/e \rfloor}`.

    Attributes:
        every: rounds :math:`e` between changes.
        scale: what it is multiplied by each time, :math:`f`.
    """

    kind: ClassVar[str] = "step"
    every: int
    scale: float = 0.1

    def __post_init__(self) -> None:
        require(self.every >= 1, "every", self.every, "at least 1")
        _require_scale(self.scale)

    def factor(self, round: int) -> float:
        return self.scale ** (max(round - 1, 0) // self.every)


@SCHEDULES
@schema
class Exponential:
    """Multiplied by a factor after every round: :math:`f^{t-1}`.

    Attributes:
        scale: what it is multiplied by each time, :math:`f`.
    """

    kind: ClassVar[str] = "exponential"
    scale: float = 0.99

    def __post_init__(self) -> None:
        _require_scale(self.scale)

    def factor(self, round: int) -> float:
        return float(self.scale ** max(round - 1, 0))


@SCHEDULES
@schema
class Cosine:
    r"""Half a cosine from 1 down to a floor: :math:`m + (1-m)\,(1 + \cos(\pi (t-1)/T))/2`, then the floor.

    Attributes:
        rounds: :math:`T`; the floor is reached in round :math:`T + 1`, so the last of T rounds still learns.
        floor: the smallest factor, :math:`m`.

    Source: I. Loshchilov and F. Hutter, *SGDR*, 2017, eq. (5), without restarts.
    """

    kind: ClassVar[str] = "cosine"
    rounds: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        require(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        require(0 <= self.floor <= 1, "floor", self.floor, "in 0 … 1")

    def factor(self, round: int) -> float:
        progress = min(max(round - 1, 0) / self.rounds, 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


def _require_scale(scale: float) -> None:
    require(0 < scale <= 1, "scale", scale, "above 0 and at most 1")
