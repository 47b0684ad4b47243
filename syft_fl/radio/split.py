"""A band in equal, fixed parts, and a queue for them.

Every subchannel carries one transmission at a time. An offer takes a free one at once, or queues for the
next that becomes free, first come first served. Because the parts are fixed, nothing that starts or stops
beside a transmission changes it: its end follows when it starts. (The subchannels are
alike, so it is enough to know when each becomes free.)

What links lose is repeated in the same subchannel (:mod:`~syft_fl.radio.sending`), which nobody else gets before the
message has arrived or is given up; between two passes the sender is silent.

Left out: sharing the parts of UEs that have nothing to send, or wait for a report.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from syft_fl.errors import ClockError, TransportError
from syft_fl.radio.links import Links
from syft_fl.radio.medium import Link, Ticket, Transfer
from syft_fl.radio.sending import Receiver, Sending, Stretch, retransmission_of
from syft_fl.schema import require

__all__ = ["SplitMedium"]

_MAX_SILENT_INTERVALS = 100_000


@dataclass(frozen=True, slots=True, order=True)
class _Offer:
    """Bits that wait, in order of (ready_s, ticket)."""

    ready_s: float
    ticket: Ticket
    ues: tuple[str, ...] = field(compare=False)
    bits: int = field(compare=False)
    offered_s: float = field(compare=False)
    block: int = field(compare=False)
    # Of each UE: how many messages for it were offered before in this block.
    serials: tuple[int, ...] = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Flight:
    """How a message, or one pass of it, goes: its last bit, time [s] and energy [J] on the air, losses."""

    off_air_s: float
    airtime_s: float
    energy_j: float
    attempts: int = 1
    lost: tuple[str, ...] = ()
    gaps: tuple[tuple[str, int, int], ...] = ()
    stretches: tuple[Stretch, ...] = ()


class SplitMedium:
    """One direction of a cell whose band is split into equal subchannels for good.

    The queue is in order of offering. An offer for a time that the medium has already simulated is
    taken as one made now, so it never overtakes; one for a later time lets those before that time go first.

    Example:
        >>> from syft_fl.keys import Key
        >>> from syft_fl.radio.cell import Cell
        >>> from syft_fl.radio.constant import Constant
        >>> medium = SplitMedium(Constant(rate_bps=1e6).link(Cell(), Key(0), "uplink"), subchannels=2)
        >>> for ue in ("ue0", "ue1", "ue2"):
        ...     _ = medium.offer([ue], 1_000_000, now_s=0.0)
        >>> [(t.ues, t.start_s, t.end_s) for t in medium.advance(10.0)]
        [(('ue0',), 0.0, 2.0), (('ue1',), 0.0, 2.0), (('ue2',), 2.0, 4.0)]
    """

    def __init__(self, link: Link, *, subchannels: int) -> None:
        self._links = link if isinstance(link, Links) else Links(link)
        self._share = 1.0 / subchannels
        self._now_s = 0.0
        self._tickets = 0
        # Of each UE: its latest block, and how many messages for it were offered since that began.
        self._offered: dict[str, tuple[int, int]] = {}
        # Three heaps: when each subchannel is free, who waits, and what ends when.
        self._free_s = [0.0] * subchannels
        self._queue: list[_Offer] = []
        self._ends: list[tuple[float, Ticket, Transfer]] = []

    def offer(self, ues: Sequence[str], bits: int, *, now_s: float, block: int = 0) -> Ticket:
        """Hand over bits; see :class:`~syft_fl.radio.medium.Medium`.

        Raises:
            TransportError: no UE, no bits, or a rate of 0 bit/s that will never change.
            ClockError: the time is infinite or not a number.
        """
        if not ues:
            raise TransportError(f"{bits} bits offered for no UE; name at least one")
        if bits < 1:
            raise TransportError(
                f"{bits} bits offered for {', '.join(ues)}: bits must be at least 1; "
                "even a message without content has a header"
            )
        _check_time(now_s)
        ready_s = max(now_s, self._now_s)
        offer = _Offer(ready_s, self._tickets, tuple(ues), bits, now_s, block, ())
        self._steady(offer, ready_s)
        offer = replace(offer, serials=tuple(self._count(ue, block) for ue in ues))
        self._tickets += 1
        heapq.heappush(self._queue, offer)
        return offer.ticket

    def next_event_s(self) -> float:
        """When a transmission next starts or arrives [s]; infinity where nothing is on its way."""
        return min(self._next_start_s(), self._ends[0][0] if self._ends else math.inf)

    def advance(self, to_s: float) -> list[Transfer]:
        """Go on to a time; the transfers that ended up to it, in order of (end, ticket).

        A time before the medium's own changes nothing.

        Raises:
            ClockError: the time is infinite or not a number.
            TransportError: a rate became 0 bit/s for good while bits were on the air.
        """
        _check_time(to_s)
        while self._next_start_s() <= to_s:
            self._start()
        self._now_s = max(self._now_s, to_s)
        ended = []
        while self._ends and self._ends[0][0] <= to_s:
            ended.append(heapq.heappop(self._ends)[2])
        return ended

    def state(self) -> Mapping[str, Any]:
        return {
            "now_s": self._now_s,
            "tickets": self._tickets,
            "offered": {ue: list(counted) for ue, counted in self._offered.items()},
            "free_s": sorted(self._free_s),
            "queue": [_plain(offer) for offer in sorted(self._queue)],
            "ends": [_plain(transfer) for _, _, transfer in sorted(self._ends)],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave.

        Raises:
            ConfigError: it is the state of a medium with another number of subchannels.
        """
        subchannels = len(self._free_s)
        require(
            len(state["free_s"]) == subchannels,
            "subchannels",
            len(state["free_s"]),
            f"{subchannels}, as in this medium",
            "resume with the settings that the checkpoint was made with",
        )
        self._now_s = state["now_s"]
        self._tickets = state["tickets"]
        self._offered = {ue: (block, count) for ue, (block, count) in state["offered"].items()}
        # Sorted lists are heaps.
        self._free_s = list(state["free_s"])
        self._queue = [_Offer(**_tupled(offer)) for offer in state["queue"]]
        transfers = [Transfer(**_tupled(transfer)) for transfer in state["ends"]]
        self._ends = [(t.end_s, t.ticket, t) for t in transfers]

    def _next_start_s(self) -> float:
        return max(self._queue[0].ready_s, self._free_s[0]) if self._queue else math.inf

    def _start(self) -> None:
        """Put the first of the queue on the air."""
        start_s = self._next_start_s()
        offer = self._queue[0]
        flight = self._carry(offer, start_s)
        links = self._links.among(offer.ues)
        heapq.heappop(self._queue)
        heapq.heapreplace(self._free_s, flight.off_air_s)
        transfer = Transfer(
            ticket=offer.ticket,
            ues=offer.ues,
            bits=offer.bits,
            offered_s=offer.offered_s,
            start_s=start_s,
            end_s=flight.off_air_s + max(link.latency_s for link in links),
            airtime_s=flight.airtime_s,
            attempts=flight.attempts,
            energy_j=flight.energy_j,
            lost=flight.lost,
            gaps=flight.gaps,
        )
        heapq.heappush(self._ends, (transfer.end_s, transfer.ticket, transfer))

    def _count(self, ue: str, block: int) -> int:
        """How many messages for a UE were offered before in a block; one more from now on."""
        latest, count = self._offered.get(ue, (block, 0))
        # A block that comes after later ones goes on counting: no luck is met twice.
        if block > latest:
            latest, count = block, 0
        self._offered[ue] = (latest, count + 1)
        return count

    def _carry(self, offer: _Offer, start_s: float) -> _Flight:
        """How a message goes from the first bit to the last, every pass included."""
        if not any(map(retransmission_of, self._links.among(offer.ues))):
            return self._transmit(offer, offer.bits, start_s)
        receivers = [
            Receiver(ue, self._links.of(ue), serial)
            for ue, serial in zip(offer.ues, offer.serials, strict=True)
        ]
        sending = Sending(receivers, offer.bits, block=offer.block)
        off_air_s, airtime_s, energy_j = start_s, 0.0, 0.0
        while bits := sending.bits:
            begin_s = off_air_s + sending.feedback_s if sending.attempts else start_s
            tried = self._transmit(offer, bits, begin_s)
            sending.sent(tried.stretches)
            off_air_s, airtime_s = tried.off_air_s, airtime_s + tried.airtime_s
            energy_j += tried.energy_j
        return _Flight(off_air_s, airtime_s, energy_j, sending.attempts, sending.lost, sending.gaps)

    def _transmit(self, offer: _Offer, bits: int, start_s: float) -> _Flight:
        """One pass: when its last bit leaves, and for how much of the time until then bits were sent.

        While the rate is 0 the sender keeps its subchannel and is silent: no airtime, no energy.
        """
        time_s, airtime_s, energy_j, left_bits, silent = start_s, 0.0, 0.0, float(bits), 0
        stretches = []
        while silent < _MAX_SILENT_INTERVALS:
            rate_bps, until_s = self._steady(offer, time_s)
            if rate_bps > 0:
                needed_s = left_bits / rate_bps
                power_w = self._power_w(offer, time_s)
                stretches.append(Stretch(time_s, bits - left_bits, rate_bps, self._share))
                if needed_s <= until_s - time_s:
                    return _Flight(
                        time_s + needed_s,
                        airtime_s + needed_s,
                        energy_j + power_w * needed_s,
                        stretches=tuple(stretches),
                    )
                left_bits = max(left_bits - rate_bps * (until_s - time_s), 0.0)
                airtime_s += until_s - time_s
                energy_j += power_w * (until_s - time_s)
            silent = 0 if rate_bps > 0 else silent + 1
            time_s = until_s
        raise _never(offer.ues[0], time_s)

    def _power_w(self, offer: _Offer, time_s: float) -> float:
        """Of several UEs' links, the strongest one's."""
        return max(
            self._links.transmit_power_w(ue, share=self._share, block=offer.block, time_s=time_s)
            for ue in offer.ues
        )

    def _steady(self, offer: _Offer, time_s: float) -> tuple[float, float]:
        """Rate [bit/s] of the slowest UE of an offer at a time, and until when [s] it holds."""
        rate_bps, ue = min(
            (self._links.rate_bps(ue, share=self._share, block=offer.block, time_s=time_s), ue)
            for ue in offer.ues
        )
        until_s = min(link.steady_until_s(time_s=time_s) for link in self._links.among(offer.ues))
        if rate_bps <= 0 and until_s == math.inf:
            raise _never(ue, time_s)
        return rate_bps, until_s


def _never(ue: str, time_s: float) -> TransportError:
    return TransportError(
        f"{ue} gets 0 bit/s from {time_s} s on, so its bits would never arrive; "
        "bring it nearer (cell), raise the link's power, or lower its path loss and shadowing"
    )


def _check_time(time_s: float) -> None:
    if not math.isfinite(time_s):
        raise ClockError(f"a medium was given the time {time_s} s; it must be finite")


def _plain(value: _Offer | Transfer) -> dict[str, Any]:
    return {name: _lists(v) for name, v in asdict(value).items()}


def _lists(value: Any) -> Any:
    return list(map(_lists, value)) if isinstance(value, tuple) else value


def _tupled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _tuples(v) for name, v in fields.items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
