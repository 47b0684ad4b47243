r"""A base station that gives its resource blocks away, slot by slot.

In each slot every group of blocks goes to one message. A UE that gets several has them all at once: with its power
spread over them in the uplink, so that a further group brings less than the first. A scheduler therefore looks at
what a group *adds* to a UE's rate:

================  ====================================================================================
``policy``        a group goes to
================  ====================================================================================
``round-robin``   the next in turn
``max-rate``      whom it adds most to: most bits for the cell, none for its edge
``proportional``  whom it adds most to, in parts of what the UE had on average (proportional fairness)
================  ====================================================================================

The average that proportional fairness divides by is of the UE's rate over all slots in which it had something to send,

.. math:: \bar R \leftarrow (1 - 1/T)\,\bar R + R/T

with :math:`T` slots of memory; it stays with the UE from message to message, and is part of every checkpoint. In a
long run the sum of :math:`\log \bar R` is the greatest possible (Kelly 1997; Tse 2001).

The channel is flat over the band, as everywhere in this package: what blocks differ in is who has them. A message gets
no more groups than it needs to end in the slot, and ends with it. Slots are those of a grid from time 0 on.

Left out: control symbols (they are in the rate model's overhead), several layers to different UEs, grants that are made
some slots before.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from syft_fl.radio.flow import Flow
from syft_fl.radio.links import Links
from syft_fl.radio.steps import next_step_s, step_number
from syft_fl.radio.turns import Grant, Memory, Turn

__all__ = ["Policy", "SlotScheduler"]

Policy = Literal["round-robin", "max-rate", "proportional"]

_KEPT = 65_536
_Asked = tuple[tuple[str, ...], int, int]
"""UEs, fading block and number of groups."""

_LEAST_AVERAGE_BPS = 1.0
"""Whoever had nothing so far comes first, and the others of those by rate."""


@dataclass
class SlotScheduler:
    """A rule of turns (:mod:`~syft_fl.radio.turns`): one turn is one slot.

    Attributes:
        groups: parts of the band that are given away.
        slot_s: length of a slot [s].
        policy: to whom.
        window: slots that the average of proportional fairness remembers.
    """

    groups: int
    slot_s: float
    policy: Policy
    window: float
    _known: _Known = field(default_factory=lambda: _Known(), repr=False, compare=False)

    def begin_s(self, ready_s: float) -> float:
        slot = step_number(ready_s, self.slot_s)
        return ready_s if slot * self.slot_s == ready_s else next_step_s(ready_s, self.slot_s)

    def turn(self, flows: Sequence[Flow], links: Links, begin_s: float, memory: Memory) -> Turn:
        rates = _Rates(flows, links, self.groups, begin_s, self._known.at(begin_s, links))
        end_s, learnt = next_step_s(begin_s, self.slot_s), Memory()
        if self.policy == "round-robin":
            counts, served = self._in_turn(flows, rates, memory.of_flows)
            learnt = Memory(of_flows=served)
        else:
            counts = self._greedy(flows, rates, self._weights(flows, memory.of_ues))
        grants = tuple(
            Grant(
                flows[number],
                begin_s,
                self.slot_s,
                min(flows[number].left_bits, rates.of(number, count) * self.slot_s),
                rates.of(number, count),
                count / self.groups,
            )
            for number, count in sorted(counts.items())
        )
        if not grants:
            # Nobody has a rate: nothing happens before that changes.
            change_s = links.steady_until_s(time_s=begin_s)
            end_s = math.inf if change_s == math.inf else max(end_s, self.begin_s(change_s))
        elif self.policy == "proportional":
            learnt = Memory(of_ues=self._averaged(memory.of_ues, flows, grants))
        return Turn(end_s, grants, learnt)

    def _in_turn(
        self, flows: Sequence[Flow], rates: _Rates, served: Mapping[str, int]
    ) -> tuple[dict[int, int], dict[str, int]]:
        """One group after the other to the next in turn; whoever was served last comes last in the next slot."""
        order = sorted(
            (number for number in range(len(flows)) if rates.of(number, 1) > 0),
            key=lambda number: (served.get(str(flows[number].offer.ticket), -1), number),
        )
        counts: dict[int, int] = {}
        last = max(served.values(), default=0)
        now_served: dict[str, int] = {}
        left = self.groups
        while order and left:
            hungry = []
            for number in order[:left]:
                counts[number] = counts.get(number, 0) + 1
                left -= 1
                last += 1
                now_served[str(flows[number].offer.ticket)] = last
                if rates.of(number, counts[number]) * self.slot_s < flows[number].left_bits:
                    hungry.append(number)
            order = hungry
        return counts, now_served

    def _weights(self, flows: Sequence[Flow], averages: Mapping[str, float]) -> list[float]:
        if self.policy == "max-rate":
            return [1.0] * len(flows)
        return [1.0 / max(averages.get(flow.offer.ues[0], 0.0), _LEAST_AVERAGE_BPS) for flow in flows]

    def _greedy(self, flows: Sequence[Flow], rates: _Rates, weights: list[float]) -> dict[int, int]:
        """One group after the other to whom it adds most."""
        firsts = (rates.firsts() * np.array(weights)).tolist()
        heap = [(-metric, number) for number, metric in enumerate(firsts) if metric > 0]
        heapq.heapify(heap)
        counts: dict[int, int] = {}
        for _ in range(self.groups):
            if not heap:
                break
            _, number = heap[0]
            count = counts[number] = counts.get(number, 0) + 1
            has_bps = rates.of(number, count)
            if has_bps * self.slot_s >= flows[number].left_bits or count == self.groups:
                heapq.heappop(heap)
                continue
            more = (rates.of(number, count + 1) - has_bps) * weights[number]
            # A table's rate may stay the same for a group and rise with the next: whoever gains nothing steps back.
            heapq.heapreplace(heap, (-more, number)) if more > 0 else heapq.heappop(heap)
        return counts

    def _averaged(
        self, averages: Mapping[str, float], flows: Sequence[Flow], grants: Sequence[Grant]
    ) -> dict[str, float]:
        """Averages of all who waited or sent in a slot [bit/s]."""
        keep, add = 1.0 - 1.0 / self.window, 1.0 / self.window
        found = {flow.offer.ues[0]: keep * averages.get(flow.offer.ues[0], 0.0) for flow in flows}
        for grant in grants:
            found[grant.flow.offer.ues[0]] += add * grant.bits / self.slot_s
        return found


class _Known:
    """Rates that were asked for: they hold from slot to slot until something changes."""

    def __init__(self) -> None:
        self._rates: dict[_Asked, float] = {}
        self._from_s, self._until_s = 0.0, 0.0

    def at(self, time_s: float, links: Links) -> dict[_Asked, float]:
        """Those that hold at a time, to look up and to add to."""
        if not self._from_s <= time_s < self._until_s or len(self._rates) > _KEPT:
            self._rates.clear()
            self._from_s, self._until_s = time_s, links.steady_until_s(time_s=time_s)
        return self._rates


class _Rates:
    """Rates of the messages of one slot, with any number of groups."""

    def __init__(
        self,
        flows: Sequence[Flow],
        links: Links,
        groups: int,
        time_s: float,
        known: dict[_Asked, float],
    ) -> None:
        self._flows, self._links, self._groups, self._time_s = flows, links, groups, time_s
        self._known = known
        if all(len(flow.offer.ues) == 1 for flow in flows):
            ues, blocks = [flow.offer.ues[0] for flow in flows], [flow.offer.block for flow in flows]
            self._firsts = links.rates_bps(ues, share=1.0 / groups, blocks=blocks, time_s=time_s)
        else:
            self._firsts = np.array([self._asked(number, 1) for number in range(len(flows))])

    def firsts(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """[flows] the rate of each with one group [bit/s]."""
        return self._firsts

    def of(self, number: int, count: int) -> float:
        """The rate [bit/s] of a message with some groups; of several UEs, the slowest one's."""
        if count == 1:
            return float(self._firsts[number])
        offer = self._flows[number].offer
        asked = (offer.ues, offer.block, count)
        rate_bps = self._known.get(asked)
        if rate_bps is None:
            rate_bps = self._known[asked] = self._asked(number, count)
        return rate_bps

    def _asked(self, number: int, count: int) -> float:
        offer, share = self._flows[number].offer, count / self._groups
        asked = {"share": share, "time_s": self._time_s}
        return min(self._links.rate_bps(ue, block=offer.block, **asked) for ue in offer.ues)
