"""Simulated time: a heap of events that are plain data.

Events come out in order of (time, rank, serial): at one instant the lower rank first, at one rank
the one scheduled first. Nothing here reads the host's clock, and everything can be written to a
checkpoint and read back (simpy's generators can't; simpy is this module's test oracle).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from syft_fl.errors import ClockError

__all__ = ["Clock", "Event"]


class Event(NamedTuple):
    """Something that happens at a simulated instant.

    Events are ordered as tuples are; serials differ, so what they are about is never compared.

    Attributes:
        time_s: when [s].
        rank: order among events of one instant, lowest first.
        serial: order of scheduling, the last tie-break.
        kind: what happens, a name that its handler knows.
        data: plain values (numbers, strings, lists of them) that the handler needs.
    """

    time_s: float
    rank: int
    serial: int
    kind: str
    data: Mapping[str, Any]


class Clock:
    """The simulated time and the events to come.

    Example:
        >>> clock = Clock()
        >>> _ = clock.schedule(2.0, "late")
        >>> _ = clock.schedule(1.0, "early", ue="ue1")
        >>> clock.pop().kind, clock.now_s
        ('early', 1.0)
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s
        self._heap: list[Event] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, time_s: float, kind: str, *, rank: int = 0, **data: Any) -> Event:
        """Add an event.

        Raises:
            ClockError: the time is before now, infinite or not a number.
        """
        if not self.now_s <= time_s < math.inf:  # NaN is neither
            why = f" is before now ({self.now_s} s)" if math.isfinite(time_s) else ": the time must be finite"
            raise ClockError(f"event {kind!r} at {time_s} s{why}")
        event = Event(time_s, rank, self._serial, kind, data)
        self._serial += 1
        heapq.heappush(self._heap, event)
        return event

    def peek_s(self) -> float:
        """Time of the next event [s]; infinity where there is none."""
        return self._heap[0].time_s if self._heap else math.inf

    def pop(self) -> Event:
        """Take the next event and set the time to its time.

        Raises:
            ClockError: there is no event.
        """
        if not self._heap:
            raise ClockError("no event is scheduled")
        event = heapq.heappop(self._heap)
        self.now_s = event.time_s
        return event

    def advance(self, to_s: float) -> None:
        """Set the time forward where no event is in between; the past is left alone.

        Raises:
            ClockError: an event is scheduled before ``to_s``, or it is not finite.
        """
        if not math.isfinite(to_s):
            raise ClockError(f"can't advance to {to_s} s: the time must be finite")
        if self.peek_s() < to_s:
            raise ClockError(f"can't advance to {to_s} s past an event at {self.peek_s()} s")
        self.now_s = max(self.now_s, to_s)

    def state(self) -> dict[str, Any]:
        """Plain data from which :meth:`restore` makes an equal clock."""
        events = [[*event[:-1], dict(event.data)] for event in sorted(self._heap)]
        return {"now_s": self.now_s, "serial": self._serial, "events": events}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Clock:
        """The clock that :meth:`state` described."""
        clock = cls(state["now_s"])
        clock._serial = state["serial"]
        clock._heap = [Event(*fields) for fields in state["events"]]
        heapq.heapify(clock._heap)
        return clock
