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
from dataclasses import dataclass
from typing import Any

from syft_fl.radio.links import Links
from syft_fl.radio.medium import Link, Ticket, Transfer
from syft_fl.radio.offers import Offer, Offers, check_time, never
from syft_fl.radio.sending import Stretch, sending_of
from syft_fl.schema import require

__all__ = ["SplitMedium"]

_MAX_SILENT_INTERVALS = 100_000


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

    The queue is in order of offering (:mod:`~syft_fl.radio.offers`).

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
        self._offers = Offers()
        # Of an offer that waits: its rate, where that is known and never changes.
        self._rates_bps: dict[Ticket, float] = {}
        # A heap: when each subchannel is free.
        self._free_s = [0.0] * subchannels

    def offer(self, ues: Sequence[str], bits: int, *, now_s: float, block: int = 0) -> Ticket:
        """Hand over bits; see :class:`~syft_fl.radio.medium.Medium`.

        Raises:
            TransportError: no UE, no bits, or a rate of 0 bit/s that will never change.
            ClockError: the time is infinite or not a number.
        """
        offer = self._offers.made(ues, bits, now_s=now_s, block=block)
        rate_bps, until_s = self._steady(offer, offer.ready_s)
        if until_s == math.inf:
            self._rates_bps[offer.ticket] = rate_bps
        return self._offers.add(offer)

    def next_event_s(self) -> float:
        """When a transmission next starts or arrives [s]; infinity where nothing is on its way."""
        return min(self._next_start_s(), self._offers.next_end_s())

    def advance(self, to_s: float) -> list[Transfer]:
        """Go on to a time; the transfers that ended up to it, in order of (end, ticket).

        A time before the medium's own changes nothing.

        Raises:
            ClockError: the time is infinite or not a number.
            TransportError: a rate became 0 bit/s for good while bits were on the air.
        """
        check_time(to_s)
        while self._next_start_s() <= to_s:
            self._start()
        return self._offers.arrived(to_s)

    def state(self) -> Mapping[str, Any]:
        return {**self._offers.state(), "free_s": sorted(self._free_s)}

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
        self._offers.load(state)
        # A sorted list is a heap.
        self._free_s = list(state["free_s"])

    def _next_start_s(self) -> float:
        return max(self._offers.next_ready_s(), self._free_s[0])

    def _start(self) -> None:
        """Put the first of the queue on the air."""
        start_s = self._next_start_s()
        offer = self._offers.first()
        assert offer is not None
        flight = self._carry(offer, start_s)
        links = self._links.among(offer.ues)
        self._offers.take()
        self._rates_bps.pop(offer.ticket, None)
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
        self._offers.ends(transfer)

    def _carry(self, offer: Offer, start_s: float) -> _Flight:
        """How a message goes from the first bit to the last, every pass included."""
        sending = sending_of(offer, self._links)
        if sending is None:
            return self._transmit(offer, offer.bits, start_s)
        off_air_s, airtime_s, energy_j = start_s, 0.0, 0.0
        while bits := sending.bits:
            begin_s = off_air_s + sending.feedback_s if sending.attempts else start_s
            tried = self._transmit(offer, bits, begin_s)
            sending.sent(tried.stretches)
            off_air_s, airtime_s = tried.off_air_s, airtime_s + tried.airtime_s
            energy_j += tried.energy_j
        return _Flight(off_air_s, airtime_s, energy_j, sending.attempts, sending.lost, sending.gaps)

    def _transmit(self, offer: Offer, bits: int, start_s: float) -> _Flight:
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
        raise never(offer.ues[0], time_s)

    def _power_w(self, offer: Offer, time_s: float) -> float:
        """Of several UEs' links, the strongest one's."""
        return max(
            self._links.transmit_power_w(ue, share=self._share, block=offer.block, time_s=time_s)
            for ue in offer.ues
        )

    def _steady(self, offer: Offer, time_s: float) -> tuple[float, float]:
        """Rate [bit/s] of the slowest UE of an offer at a time, and until when [s] it holds."""
        known_bps = self._rates_bps.get(offer.ticket)
        if known_bps is not None:
            return known_bps, math.inf
        rate_bps, ue = min(
            (self._links.rate_bps(ue, share=self._share, block=offer.block, time_s=time_s), ue)
            for ue in offer.ues
        )
        until_s = min(link.steady_until_s(time_s=time_s) for link in self._links.among(offer.ues))
        if rate_bps <= 0 and until_s == math.inf:
            raise never(ue, time_s)
        return rate_bps, until_s
