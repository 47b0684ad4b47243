"""When the base station closes a round and goes on with who has come.

A UE of the cohort has *answered* when its update has arrived or when it has said that it keeps it (SKIP). It is *gone*
where there is no point in waiting (lost, failed, silent for too long). Whatever the rule, a round closes when
nobody is left to wait for. What comes later has still cost its bits and joules; what is made of it is
:attr:`Population.late <syft_fl.federation.Population>`.

==============  ==========================================================================
``kind``        the round closes
==============  ==========================================================================
``all``         when all have answered; the default
``first``       with the K-th update
``fraction``    when a fraction of the cohort has answered
``deadline``    some time after the round began
``stragglers``  some time after a fraction has answered, in proportion to how long that took
==============  ==========================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from syft_fl.schema import Registry, require, schema

__all__ = ["CLOSINGS", "All", "Closing", "Deadline", "First", "Fraction", "Standing", "StragglerDrop"]

CLOSINGS = Registry("closing", "closes_s")
"""Closing rules by kind; ``CLOSINGS(MyClosing)`` adds one."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a round stands.

    Attributes:
        cohort: UEs that were told.
        arrived_s: of each update that has arrived, when, after the beginning of the round [s], in that order.
        answered_s: the same of updates and skips together [s].
        waiting: UEs that are still waited for.
    """

    cohort: int
    arrived_s: tuple[float, ...]
    answered_s: tuple[float, ...]
    waiting: int


@runtime_checkable
class Closing(Protocol):
    """The settings of a rule: a frozen dataclass with a ``kind``.

    One that can't work with any cohort may have ``require_cohort(users)``, as an aggregation rule does.
    """

    kind: ClassVar[str]

    def closes_s(self, standing: Standing) -> float:
        """When the round closes, after its beginning [s], as it stands now; infinity: not yet known.

        A time that is over means now. It is asked again whenever something has changed.
        """
        ...


@CLOSINGS
@schema
class All:
    """When all have answered or are gone."""

    kind: ClassVar[str] = "all"

    def closes_s(self, standing: Standing) -> float:
        return math.inf


@CLOSINGS
@schema
class First:
    """With the K-th update.

    Attributes:
        updates: K, at most as many as there are UEs in a round.
    """

    kind: ClassVar[str] = "first"
    updates: int

    def __post_init__(self) -> None:
        require(self.updates >= 1, "updates", self.updates, "at least 1")

    def require_cohort(self, users: int) -> None:
        """Refuse to wait for more updates than can come: that would be ``all`` by another name.

        Raises:
            ConfigError: they can't.
        """
        rule = f"at most {users}, the UEs in a round"
        require(self.updates <= users, "updates", self.updates, rule, "to wait for all use kind = 'all'")

    def closes_s(self, standing: Standing) -> float:
        arrived_s = standing.arrived_s
        return arrived_s[self.updates - 1] if len(arrived_s) >= self.updates else math.inf


@CLOSINGS
@schema
class Fraction:
    """When a fraction of the cohort has answered, rounded up to a whole UE.

    Attributes:
        fraction: of the cohort, above 0 and at most 1.
    """

    kind: ClassVar[str] = "fraction"
    fraction: float

    def __post_init__(self) -> None:
        _require_fraction(self.fraction)

    def closes_s(self, standing: Standing) -> float:
        return _reached_s(self.fraction, standing)


@CLOSINGS
@schema
class Deadline:
    """Some time after the round began, with who has come by then.

    Attributes:
        seconds: after the beginning of the round, which is when the base station begins to send the model [s].
    """

    kind: ClassVar[str] = "deadline"
    seconds: float

    def __post_init__(self) -> None:
        require(0 < self.seconds < math.inf, "seconds", self.seconds, "above 0 and finite")

    def closes_s(self, standing: Standing) -> float:
        return self.seconds


@CLOSINGS
@schema
class StragglerDrop:
    r"""When a fraction has answered after :math:`t`, at :math:`\beta t`: who takes much longer is a straggler.

    Attributes:
        fraction: of the cohort, above 0 and at most 1.
        patience: :math:`\beta`, at least 1.
    """

    kind: ClassVar[str] = "stragglers"
    fraction: float = 0.5
    patience: float = 1.5

    def __post_init__(self) -> None:
        _require_fraction(self.fraction)
        require(1 <= self.patience < math.inf, "patience", self.patience, "at least 1 and finite")

    def closes_s(self, standing: Standing) -> float:
        return self.patience * _reached_s(self.fraction, standing)


def _require_fraction(fraction: float) -> None:
    require(0 < fraction <= 1, "fraction", fraction, "above 0 and at most 1", "write 0.8 for 80 %")


def _reached_s(fraction: float, standing: Standing) -> float:
    enough = math.ceil(fraction * standing.cohort - 1e-9)
    answered_s = standing.answered_s
    return answered_s[enough - 1] if 0 < enough <= len(answered_s) else math.inf
