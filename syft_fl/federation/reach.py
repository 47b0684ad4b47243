"""Who can be reached: UEs that come and go, and frames that don't come whatever their link does.

Where a UE is follows from its availability (:mod:`~syft_fl.federation.availability`). The base station doesn't see
that: but for the start of the run, it knows what UEs have told it (HELLO, BYE).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from syft_fl.federation.protocol import Exchange
from syft_fl.federation.scenario import Population
from syft_fl.keys import Key
from syft_fl.transport import Outgoing, Transport

__all__ = ["Reach"]


class Reach:
    """The UEs of a run that are in reach, and that the base station knows to be.

    Args:
        population: its availability and failures.
        ues: all UEs, in their fixed order.
        transport: has the clock.
        exchange: the protocol, whose UEs leave and come back.
        key: the run's.

    Attributes:
        ues: all UEs, in their fixed order.
    """

    def __init__(
        self,
        population: Population,
        ues: tuple[str, ...],
        transport: Transport,
        exchange: Exchange,
        *,
        key: Key,
    ) -> None:
        self.ues = ues
        self._availability = population.availability
        self._failures = population.failures
        self._transport = transport
        self._exchange = exchange
        self._key = key
        self._absent: set[str] = set()
        self._copies: dict[
            str, tuple[int, int]
        ] = {}  # of a UE's last upload: its number, how often it was sent
        if self._availability is not None or self._failures is not None:
            transport.misses = self.misses

    def watch(self) -> None:
        """Let UEs be where they are when the run begins, and learn of the first change of each."""
        if self._availability is None:
            return
        for ue in self.ues:
            if not self._is_on(ue):
                self._absent.add(ue)
                self._exchange.ue(ue).leaves(says=False)
            self._schedule(ue)

    def changes(self, ue: str) -> None:
        """A UE comes back, or leaves."""
        if self._is_on(ue):
            self._exchange.ue(ue).comes_back()
        else:
            self._exchange.ue(ue).leaves(says=True)
        self._schedule(ue)

    def says(self, ue: str, here: bool) -> None:
        """A UE tells the base station that it is here, or leaves."""
        if here:
            self._absent.discard(ue)
        else:
            self._absent.add(ue)

    def knows(self, ue: str) -> bool:
        """Whether the base station takes a UE to be in reach."""
        return ue not in self._absent

    @property
    def anybody(self) -> bool:
        """Whether the base station takes any UE to be in reach."""
        return len(self._absent) < len(self.ues)

    def known(self, ues: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some UEs that the base station takes to be in reach."""
        return tuple(filter(self.knows, ues)) if self._absent else ues

    def misses(self, outgoing: Outgoing) -> Sequence[str]:
        """UEs to or from whom a frame does not come, whatever its link does."""
        if outgoing.kind == "bye":  # the last thing that a UE does
            return ()
        away = [ue for ue in outgoing.ues if self._exchange.ue(ue).state == "away"]
        if self._failures is None or outgoing.direction != "uplink" or outgoing.kind != "model":
            return away
        (ue,) = outgoing.ues
        number, copies = self._copies.get(ue, (0, 0))
        copies = copies + 1 if number == outgoing.serial else 1
        self._copies[ue] = outgoing.serial, copies
        key = self._key / ue / f"upload{outgoing.serial}" / "failure" / copies
        return [ue] if self._failures.during_upload(key) else away

    def _is_on(self, ue: str) -> bool:
        assert self._availability is not None
        return self._availability.on(ue, self._transport.clock.now_s, key=self._key / "availability")

    def _schedule(self, ue: str) -> None:
        assert self._availability is not None
        clock = self._transport.clock
        change_s = self._availability.next_change_s(ue, clock.now_s, key=self._key / "availability")
        if change_s < math.inf:
            clock.schedule(change_s, "reach", ue=ue)

    # Checkpoints, between rounds.

    def state(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "absent": sorted(self._absent),
            "copies": {ue: list(copies) for ue, copies in self._copies.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._absent = set(state["absent"])
        self._copies = {ue: (number, copies) for ue, (number, copies) in state["copies"].items()}
