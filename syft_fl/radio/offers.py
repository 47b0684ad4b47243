"""What every medium keeps of its traffic: what was offered and waits, and what has ended and arrives.

An offer for a time that the medium has already simulated is taken as one made now, so it never overtakes; one for a
later time lets those before that time go first.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from syft_fl.errors import ClockError, TransportError
from syft_fl.radio.medium import Ticket, Transfer

__all__ = ["Offer", "Offers", "check_time", "never", "plain_fields", "tuple_fields"]


@dataclass(frozen=True, slots=True, order=True)
class Offer:
    """Bits that wait, in order of (ready_s, ticket).

    Attributes:
        ready_s: from when on the medium may send them [s].
        ticket: the offer's number.
        ues: for or from whom.
        bits: of the message.
        offered_s: when they were offered [s].
        block: the message's fading block.
        serials: of each UE, how many messages for it were offered before in this block; in a block that comes after
            later ones, how many at all, so that no luck is met twice.
    """

    ready_s: float
    ticket: Ticket
    ues: tuple[str, ...] = field(compare=False)
    bits: int = field(compare=False)
    offered_s: float = field(compare=False)
    block: int = field(compare=False)
    serials: tuple[int, ...] = field(compare=False)


class Offers:
    """The offers of one medium, its time, and the transfers that are still to arrive.

    Attributes:
        now_s: up to when the medium has been advanced [s].
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._tickets = 0
        # Of each UE: its latest block, how many messages for it were offered in that, and how many at all.
        self._counted: dict[str, tuple[int, int, int]] = {}
        # Two heaps: who waits, and what arrives when.
        self._queue: list[Offer] = []
        self._ends: list[tuple[float, Ticket, Transfer]] = []

    def made(self, ues: Sequence[str], bits: int, *, now_s: float, block: int) -> Offer:
        """The offer that this would be; nothing is changed.

        Raises:
            TransportError: no UE, or no bits.
            ClockError: the time is infinite or not a number.
        """
        if not ues:
            raise TransportError(f"{bits} bits offered for no UE; name at least one")
        if bits < 1:
            raise TransportError(
                f"{bits} bits offered for {', '.join(ues)}: bits must be at least 1; "
                "even a message without content has a header"
            )
        check_time(now_s)
        serials = tuple(self._serial(ue, block) for ue in ues)
        return Offer(max(now_s, self.now_s), self._tickets, tuple(ues), bits, now_s, block, serials)

    def add(self, offer: Offer) -> Ticket:
        """Let an offer that was made just now wait."""
        for ue in offer.ues:
            latest, count, total = self._counted.get(ue, (offer.block, 0, 0))
            if offer.block > latest:
                latest, count = offer.block, 0
            self._counted[ue] = (latest, count + (offer.block == latest), total + 1)
        self._tickets += 1
        heapq.heappush(self._queue, offer)
        return offer.ticket

    def first(self) -> Offer | None:
        """Who may go first; None: nobody waits."""
        return self._queue[0] if self._queue else None

    def next_ready_s(self) -> float:
        """When the first of the queue may go [s]; infinity where nobody waits."""
        return self._queue[0].ready_s if self._queue else math.inf

    def take(self) -> Offer:
        """Take the first one out of the queue."""
        return heapq.heappop(self._queue)

    def ends(self, transfer: Transfer) -> None:
        """A transmission is over, and arrives at its end."""
        heapq.heappush(self._ends, (transfer.end_s, transfer.ticket, transfer))

    def next_end_s(self) -> float:
        """When a transfer next arrives [s]; infinity where none is on its way."""
        return self._ends[0][0] if self._ends else math.inf

    def arrived(self, to_s: float) -> list[Transfer]:
        """Go on to a time; the transfers that arrived up to it, in order of (end, ticket)."""
        self.now_s = max(self.now_s, to_s)
        ended = []
        while self._ends and self._ends[0][0] <= to_s:
            ended.append(heapq.heappop(self._ends)[2])
        return ended

    def state(self) -> dict[str, Any]:
        return {
            "now_s": self.now_s,
            "tickets": self._tickets,
            "offered": {ue: list(counted) for ue, counted in self._counted.items()},
            "queue": [plain_fields(offer) for offer in sorted(self._queue)],
            "ends": [plain_fields(transfer) for _, _, transfer in sorted(self._ends)],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.now_s = state["now_s"]
        self._tickets = state["tickets"]
        self._counted = {ue: (block, count, total) for ue, (block, count, total) in state["offered"].items()}
        # Sorted lists are heaps.
        self._queue = [Offer(**tuple_fields(offer)) for offer in state["queue"]]
        transfers = [Transfer(**tuple_fields(transfer)) for transfer in state["ends"]]
        self._ends = [(t.end_s, t.ticket, t) for t in transfers]

    def _serial(self, ue: str, block: int) -> int:
        latest, count, total = self._counted.get(ue, (block, 0, 0))
        return total if block < latest else count if block == latest else 0


def check_time(time_s: float) -> None:
    """Refuse a time that never comes.

    Raises:
        ClockError: it is infinite or not a number.
    """
    if not math.isfinite(time_s):
        raise ClockError(f"a medium was given the time {time_s} s; it must be finite")


def never(ue: str, time_s: float) -> TransportError:
    """The error for bits that would never arrive."""
    return TransportError(
        f"{ue} gets 0 bit/s from {time_s} s on, so its bits would never arrive; "
        "bring it nearer (cell), raise the link's power, or lower its path loss and shadowing"
    )


def plain_fields(value: Any) -> dict[str, Any]:
    """A dataclass's fields, with lists for tuples, as JSON holds them."""
    return {name: _lists(v) for name, v in asdict(value).items()}


def tuple_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`plain_fields` gave, with tuples again."""
    return {name: _tuples(v) for name, v in fields.items()}


def _lists(value: Any) -> Any:
    return list(map(_lists, value)) if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
