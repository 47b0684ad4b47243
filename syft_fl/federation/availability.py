r"""UEs that are there at times: plugged in, idle, on Wi-Fi, or not.

============  ===================================================================================
``kind``      when a UE is on
============  ===================================================================================
``markov``    on and off by turns, each for an exponential time
``periodic``  the same hours of each day, its own or everybody's
``trace``     as logged (:mod:`~syft_fl.federation.availability_trace`)
============  ===================================================================================

On or off is a function of key, UE and time: one realisation for all who ask, however often and in whatever order. So it
is the same whatever the codec, the radio or the selection. A UE is on from the instant at which it is switched on, and
off from the instant at which it is switched off.

Left out: batteries, and anything else that depends on what a UE was asked to do; days of several UEs that are alike but
not equal.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from syft_fl.errors import ClockError
from syft_fl.keys import Key
from syft_fl.radio.steps import step_number
from syft_fl.schema import Registry, require, schema

__all__ = ["AVAILABILITIES", "Availability", "MarkovAvailability", "PeriodicAvailability"]

AVAILABILITIES = Registry("availability", "on", "next_change_s")
"""Availabilities by kind; ``AVAILABILITIES(MyAvailability)`` adds one."""


@runtime_checkable
class Availability(Protocol):
    """The settings of an availability: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def on(self, ue: str, time_s: float, *, key: Key) -> bool:
        """Whether a UE is there.

        Args:
            ue: who.
            time_s: when, at least 0 s.
            key: of all UEs' availability; a UE's own stream is ``key / ue``.
        """
        ...

    def next_change_s(self, ue: str, time_s: float, *, key: Key) -> float:
        """First time [s] after ``time_s`` at which :meth:`on` is another; infinity where it never is."""
        ...


@AVAILABILITIES
@schema
class MarkovAvailability:
    r"""On and off by turns, each for an exponential time: a Markov chain with two states in continuous time.

    It begins in the steady state, so at any time a UE is on with probability :math:`p = a/(a + b)`, and

    .. math:: P(\text{on at } t + \tau \mid \text{on at } t) = p + (1 - p)\,e^{-(1/a + 1/b)\,\tau}

    Attributes:
        mean_on_s: mean time for which a UE is on :math:`a`, above 0 s.
        mean_off_s: mean time for which it is off :math:`b`, above 0 s.
    """

    kind: ClassVar[str] = "markov"
    mean_on_s: float
    mean_off_s: float

    def __post_init__(self) -> None:
        for name in ("mean_on_s", "mean_off_s"):
            value = getattr(self, name)
            require(
                0 < value < math.inf,
                name,
                value,
                "above 0 and finite",
                "for UEs that are always on leave the availability out",
            )

    def on(self, ue: str, time_s: float, *, key: Key) -> bool:
        return _sojourns(self, key / ue).on(time_s)

    def next_change_s(self, ue: str, time_s: float, *, key: Key) -> float:
        return _sojourns(self, key / ue).next_change_s(time_s)


@AVAILABILITIES
@schema
class PeriodicAvailability:
    """On for a part of each day, off for the rest.

    Attributes:
        period_s: length of the day [s].
        on_s: how long a UE is on in each of them [s]; its share of the time is ``on_s / period_s``.
        phase: ``"random"``: each UE's day begins at its own hour, uniform over the period; ``"common"``: all are
            switched on at time 0.
    """

    kind: ClassVar[str] = "periodic"
    period_s: float = 86400.0
    on_s: float = 28800.0
    phase: Literal["random", "common"] = "random"

    def __post_init__(self) -> None:
        require(0 < self.period_s < math.inf, "period_s", self.period_s, "above 0 and finite")
        require(
            0 < self.on_s <= self.period_s,
            "on_s",
            self.on_s,
            f"above 0 and at most period_s = {self.period_s}",
        )

    def on(self, ue: str, time_s: float, *, key: Key) -> bool:
        off_from_s, _ = self._day(ue, time_s, key)
        return time_s < off_from_s

    def next_change_s(self, ue: str, time_s: float, *, key: Key) -> float:
        if self.on_s == self.period_s:
            return math.inf
        off_from_s, next_day_s = self._day(ue, time_s, key)
        return off_from_s if time_s < off_from_s else next_day_s

    def _day(self, ue: str, time_s: float, key: Key) -> tuple[float, float]:
        """When the UE is switched off in the day of its own that a time lies in, and when the next day begins [s]."""
        share = (key / ue / "phase").uniform() if self.phase == "random" else 0.0
        first_s = share * self.period_s
        day = step_number(time_s - first_s, self.period_s)
        # The difference is rounded: at a day's very first instant it may belong to the day before.
        if first_s + (day + 1) * self.period_s <= time_s:
            day += 1
        elif first_s + day * self.period_s > time_s:
            day -= 1
        next_day_s = first_s + (day + 1) * self.period_s
        return next_day_s - (self.period_s - self.on_s), next_day_s


class _Sojourns:
    """One UE's realisation: the times of its changes, drawn in blocks as far as anybody has asked.

    Blocks are drawn in their order from keys of their own, so who asks when changes no number.
    """

    _BLOCK = 64  # an even number: each block begins with the state in which the first one began

    def __init__(self, model: MarkovAvailability, key: Key) -> None:
        mean_on_s, mean_off_s = model.mean_on_s, model.mean_off_s
        self._key = key
        self._begins_on = (key / "start").uniform() * (mean_on_s + mean_off_s) < mean_on_s
        means_s = [mean_on_s, mean_off_s] if self._begins_on else [mean_off_s, mean_on_s]
        self._means_s = np.tile(means_s, self._BLOCK // 2)
        self._blocks = 0
        self._changes_s: list[float] = []

    def on(self, time_s: float) -> bool:
        return self._begins_on == (self._changes_until(time_s) % 2 == 0)

    def next_change_s(self, time_s: float) -> float:
        return self._changes_s[self._changes_until(time_s)]

    def _changes_until(self, time_s: float) -> int:
        """How many changes there were by then; at least one more is known afterwards."""
        if not time_s < math.inf:
            raise ClockError(f"time_s = {time_s} is never: ask whether a UE is on at a finite time")
        while not self._changes_s or self._changes_s[-1] <= time_s:
            draws = (self._key / f"block{self._blocks}").numpy().standard_exponential(self._BLOCK)
            # Never two changes at one instant: a floor that nobody will notice.
            lengths_s = np.maximum(draws, 1e-9) * self._means_s
            lengths_s[0] += self._changes_s[-1] if self._changes_s else 0.0
            self._changes_s += np.cumsum(lengths_s).tolist()
            self._blocks += 1
        return bisect_right(self._changes_s, time_s)


@lru_cache(maxsize=65536)
def _sojourns(model: MarkovAvailability, key: Key) -> _Sojourns:
    return _Sojourns(model, key)
