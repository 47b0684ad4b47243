"""A medium that goes from turn to turn: a slot of a scheduler, or one access of a contention.

At the beginning of a turn a rule says who sends what and until when; at its end the bits have gone. Who is offered in
the meantime takes part from the next turn on. Messages end with a turn; those of one UE go one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from syft_fl.radio.flow import Flow
from syft_fl.radio.links import Links
from syft_fl.radio.medium import Link, Ticket, Transfer
from syft_fl.radio.offers import Offers, check_time, never

__all__ = ["Grant", "Memory", "Rule", "Turn", "TurnMedium"]

_MAX_SILENT_TURNS = 1_000_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What one message does in a turn.

    Attributes:
        flow: the message.
        from_s: when its first bit goes [s].
        duration_s: how long its sender is on the air [s].
        bits: of the message that get through; 0: all collided.
        rate_bps: with which they go [bit/s].
        share: of the band.
    """

    flow: Flow
    from_s: float
    duration_s: float
    bits: float
    rate_bps: float
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What a rule remembers from turn to turn, plain data.

    Attributes:
        of_flows: by ticket; it goes with the message.
        of_ues: by name; it stays.
        of_all: of the medium; it stays.
    """

    of_flows: Mapping[str, Any] = field(default_factory=dict)
    of_ues: Mapping[str, Any] = field(default_factory=dict)
    of_all: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """What happens until a time.

    Attributes:
        end_s: when the turn is over [s]; infinity: nobody can send, now or later.
        grants: who sends.
        memory: what the rule remembers of those whom the turn has to do with.
    """

    end_s: float
    grants: tuple[Grant, ...]
    memory: Memory


class Rule(Protocol):
    """Who sends in a turn."""

    def begin_s(self, ready_s: float) -> float:
        """When a turn may begin whose first message is ready at a time [s]."""
        ...

    def turn(self, flows: Sequence[Flow], links: Links, begin_s: float, memory: Memory) -> Turn:
        """What happens in a turn with these messages; a function of what is given, and of nothing else.

        Args:
            flows: at least one, in the order of offering.
            memory: of the turns before.
        """
        ...


class TurnMedium:
    """One direction of a cell that goes from turn to turn."""

    def __init__(self, link: Link, *, rule: Rule) -> None:
        self._links = link if isinstance(link, Links) else Links(link)
        self._rule = rule
        self._offers = Offers()
        self._flows: list[Flow] = []
        self._remember(Memory())
        self._free_s = 0.0
        self._silent = 0
        # The turn that is to come or under way, and its beginning; None: to be found.
        self._planned: tuple[float, Turn] | None = None

    def offer(self, ues: Sequence[str], bits: int, *, now_s: float, block: int = 0) -> Ticket:
        """Hand over bits; see :class:`~syft_fl.radio.medium.Medium`.

        Raises:
            TransportError: no UE, no bits, or a rate of 0 bit/s that will never change.
            ClockError: the time is infinite or not a number.
        """
        offer = self._offers.made(ues, bits, now_s=now_s, block=block)
        self._links.require_rate(offer.ues, share=1.0, block=block, time_s=offer.ready_s)
        return self._offers.add(offer)

    def next_event_s(self) -> float:
        """When a message is next ready or arrives, or a turn ends [s]; infinity where nothing is on its way."""
        return min(self._offers.next_ready_s(), self._turn_end_s(), self._offers.next_end_s())

    def advance(self, to_s: float) -> list[Transfer]:
        """Go on to a time; the transfers that ended up to it, in order of (end, ticket).

        Raises:
            ClockError: the time is infinite or not a number.
            TransportError: nobody who waits can ever send.
        """
        check_time(to_s)
        while min(ready_s := self._offers.next_ready_s(), end_s := self._turn_end_s()) <= to_s:
            if end_s <= ready_s:
                self._end_turn()
            else:
                self._admit()
        return self._offers.arrived(to_s)

    def state(self) -> Mapping[str, Any]:
        return {
            **self._offers.state(),
            "free_s": self._free_s,
            "flows": [flow.state() for flow in self._flows],
            "memory": asdict(Memory(self._of_flows, self._of_ues, self._of_all)),
            "silent": self._silent,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self._offers.load(state)
        self._free_s = state["free_s"]
        self._flows = [Flow.of(flow, self._links) for flow in state["flows"]]
        self._remember(Memory(**state["memory"]))
        self._silent = state["silent"]
        self._planned = None

    def _remember(self, memory: Memory) -> None:
        self._of_flows = dict(memory.of_flows)
        self._of_ues = dict(memory.of_ues)
        self._of_all = dict(memory.of_all)

    def _turn_end_s(self) -> float:
        if not self._flows:
            return math.inf
        if self._planned is None:
            # A sender has one amplifier: its messages go one after the other.
            heads = list({flow.offer.ues: flow for flow in reversed(self._flows)}.values())[::-1]
            begin_s = self._rule.begin_s(max(self._free_s, min(flow.resume_s for flow in heads)))
            here = [flow for flow in heads if flow.resume_s <= begin_s]
            memory = Memory(self._of_flows, self._of_ues, self._of_all)
            self._planned = begin_s, self._rule.turn(here, self._links, begin_s, memory)
            if self._planned[1].end_s == math.inf or self._silent > _MAX_SILENT_TURNS:
                raise never(here[0].offer.ues[0], begin_s)
        return self._planned[1].end_s

    def _admit(self) -> None:
        """The first of the queue takes part, from the next turn on."""
        offer = self._offers.take()
        self._flows.append(Flow(offer, self._links))
        if self._planned is not None and offer.ready_s <= self._planned[0]:
            self._planned = None

    def _end_turn(self) -> None:
        assert self._planned is not None
        _, turn = self._planned
        self._planned = None
        self._free_s = turn.end_s
        self._silent = 0 if turn.grants else self._silent + 1
        over = set()
        for grant in turn.grants:
            flow = grant.flow
            flow.sent(
                grant.from_s,
                duration_s=grant.duration_s,
                bits=grant.bits,
                rate_bps=grant.rate_bps,
                share=grant.share,
                power_w=flow.power_w(share=grant.share, time_s=grant.from_s),
            )
            if flow.left_bits == 0 and flow.end_pass(turn.end_s):
                self._offers.ends(flow.transfer(turn.end_s))
                over.add(flow.offer.ticket)
        learnt = turn.memory
        self._of_flows.update(learnt.of_flows)
        self._of_ues.update(learnt.of_ues)
        self._of_all.update(learnt.of_all)
        if over:
            self._flows = [flow for flow in self._flows if flow.offer.ticket not in over]
            for ticket in over:
                self._of_flows.pop(str(ticket), None)
