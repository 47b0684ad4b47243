"""Simulated time: a heap of events that are plain data.

Events come out in order of (time, rank, serial): at one instant the lower rank first, at one rank
the one scheduled first. Nothing here reads the host's clock, and everything can be written to a
checkpoint and read back (simpy's generators can't; simpy is this module's test oracle).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from syft_fl.errors import ClockError

__all__ = ["Clock", "Event"]


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """Something that happens at a simulated instant.

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
    kind: str = field(compare=False)
    data: Mapping[str, Any] = field(compare=False, default_factory=dict)


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
        self._heap: list[tuple[float, int, int, Event]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, time_s: float, kind: str, *, rank: int = 0, **data: Any) -> Event:
        """Add an event.

        Raises:
            ClockError: the time is before now, infinite or not a number.
        """
        if not math.isfinite(time_s):
            raise ClockError(f"event {kind!r} at {time_s} s: the time must be finite")
        if time_s < self.now_s:
            raise ClockError(f"event {kind!r} at {time_s} s is before now ({self.now_s} s)")
        event = Event(time_s, rank, self._serial, kind, data)
        self._serial += 1
        heapq.heappush(self._heap, (time_s, rank, event.serial, event))
        return event

    def peek_s(self) -> float:
        """Time of the next event [s]; infinity where there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def pop(self) -> Event:
        """Take the next event and set the time to its time.

        Raises:
            ClockError: there is no event.
        """
        if not self._heap:
            raise ClockError("no event is scheduled")
        time_s, _, _, event = heapq.heappop(self._heap)
        self.now_s = time_s
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
        events = [[e.time_s, e.rank, e.serial, e.kind, dict(e.data)] for _, _, _, e in sorted(self._heap)]
        return {"now_s": self.now_s, "serial": self._serial, "events": events}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Clock:
        """The clock that :meth:`state` described."""
        clock = cls(state["now_s"])
        clock._serial = state["serial"]
        for time_s, rank, serial, kind, data in state["events"]:
            heapq.heappush(clock._heap, (time_s, rank, serial, Event(time_s, rank, serial, kind, data)))
        return clock
