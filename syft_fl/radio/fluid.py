"""A band that those who are on the air divide among themselves, anew whenever one of them starts or stops.

Bits flow: between two events every message has a rate, and what is left of it falls evenly. An event is a message that
starts, ends a pass or goes on after a report, or a change of the channels. At an event all rates are found anew, in one
vectorised operation: in general they are not linear in the share.

How the band is divided is a :class:`Division`. A UE has one amplifier: its messages go one after the other.

Left out: the time that it takes to tell everybody of their new share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syft_fl.radio.flow import Flow
from syft_fl.radio.links import Links
from syft_fl.radio.medium import FlatLink, Link, Ticket, Transfer
from syft_fl.radio.offers import Offers, check_time, never
from syft_fl.schema import require

__all__ = ["Division", "FairShares", "FluidMedium", "Superposed"]

_MAX_SILENT_STRETCHES = 100_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Divided:
    """Who has what of the band.

    Attributes:
        rates_bps: [flows] rate of each [bit/s].
        share: of the band, that each has.
        clear: [flows] what the others leave of each one's SNR.
    """

    rates_bps: Floats
    share: float
    clear: Floats


class Crowd:
    """Who is on the air: the UEs of all messages in a row, those of one message side by side.

    Attributes:
        flows: the messages, in the order of their start.
        ues: for or from whom.
        blocks: [ues] the fading block of each one's message.
    """

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.ues: list[str] = []
        self.blocks: list[int] = []
        self._lossy = 0

    def __len__(self) -> int:
        return len(self.flows)

    @property
    def firsts(self) -> list[str]:
        """[flows] the first UE of each."""
        return self.ues if self._alone else [flow.offer.ues[0] for flow in self.flows]

    @property
    def lossy(self) -> bool:
        """Whether any of them may lose something."""
        return self._lossy > 0

    def add(self, flows: Sequence[Flow]) -> None:
        """More messages."""
        for flow in flows:
            self.flows.append(flow)
            self.ues += flow.offer.ues
            self.blocks += [flow.offer.block] * len(flow.offer.ues)
            self._lossy += flow.lossy

    def take(self, numbers: Sequence[int]) -> list[Flow]:
        """Those with these numbers, ascending, which then are no longer here."""
        taken = [self.flows[number] for number in numbers]
        alone = self._alone
        for number in reversed(numbers):
            self._lossy -= self.flows[number].lossy
            del self.flows[number]
            if alone:
                del self.ues[number], self.blocks[number]
        if not alone:
            rest, self.flows, self.ues, self.blocks, self._lossy = self.flows, [], [], [], 0
            self.add(rest)
        return taken

    def least(self, values: Floats) -> Floats:
        """[flows] the least value of each one's UEs, of [ues] values."""
        return values if self._alone else np.minimum.reduceat(values, self._starts())

    def greatest(self, values: Floats) -> Floats:
        """[flows] the greatest value of each one's UEs, of [ues] values."""
        return values if self._alone else np.maximum.reduceat(values, self._starts())

    @property
    def _alone(self) -> bool:
        """Whether every message is of one UE."""
        return len(self.ues) == len(self.flows)

    def _starts(self) -> NDArray[np.int64]:
        counts = np.array([len(flow.offer.ues) for flow in self.flows])
        return np.asarray(np.cumsum(counts) - counts)


class Division(Protocol):
    """How a band is divided among those who are on the air."""

    def check(self, link: Link) -> None:
        """Refuse a link that it can't divide.

        Raises:
            ConfigError: the link does not say what the division has to know.
        """
        ...

    def divide(self, crowd: Crowd, links: Links, time_s: float) -> _Divided:
        """Rates of all at a time."""
        ...


class FairShares:
    """Everybody has the same share of the band: processor sharing."""

    def check(self, link: Link) -> None:
        """Any link suits it."""

    def divide(self, crowd: Crowd, links: Links, time_s: float) -> _Divided:
        share = 1.0 / len(crowd)
        rates_bps = links.rates_bps(crowd.ues, share=share, blocks=crowd.blocks, time_s=time_s)
        return _Divided(crowd.least(rates_bps), share, np.ones(len(crowd)))


class Superposed:
    r"""Everybody has the whole band at once, and the receiver cancels one after the other.

    The strongest is decoded first, with all others as noise, and taken away; then the next:

    .. math:: \mathrm{SINR}_k = \frac{\gamma_k}{1 + \sum_{j > k} \gamma_j}, \quad \gamma_1 \ge \gamma_2 \ge \dots

    with :math:`\gamma_k` the signal-to-noise ratio of UE :math:`k` alone. At capacity the rates add up to
    :math:`B \log_2(1 + \sum_k \gamma_k)`, whatever the order.
    """

    def check(self, link: Link) -> None:
        require(
            isinstance(link, FlatLink) and link.report_delay_s == 0,
            "link",
            type(link).__name__,
            "one whose rate follows from a channel that the receiver knows",
            "use kind = 'shannon' or 'wireless' without report_delay_s",
        )

    def divide(self, crowd: Crowd, links: Links, time_s: float) -> _Divided:
        snrs = crowd.least(links.snrs(crowd.ues, share=1.0, blocks=crowd.blocks, time_s=time_s))
        # Strongest first; of equals the one that was offered first.
        tickets = np.array([flow.offer.ticket for flow in crowd.flows])
        order = np.lexsort((tickets, -snrs))
        ordered = snrs[order]
        later = np.concatenate((np.cumsum(ordered[:0:-1])[::-1], [0.0]))
        clear = np.empty_like(snrs)
        clear[order] = 1.0 / (1.0 + later)
        return _Divided(links.rates_at_bps(crowd.firsts, snrs * clear, share=1.0), 1.0, clear)


class FluidMedium:
    """One direction of a cell whose band is divided anew at every event.

    Example:
        >>> from syft_fl.keys import Key
        >>> from syft_fl.radio.cell import Cell
        >>> from syft_fl.radio.constant import Constant
        >>> medium = FluidMedium(Constant(rate_bps=1e6).link(Cell(), Key(0), "uplink"), division=FairShares())
        >>> for ue, bits in (("ue0", 1_000_000), ("ue1", 2_000_000)):
        ...     _ = medium.offer([ue], bits, now_s=0.0)
        >>> [(t.ues, t.start_s, t.end_s) for t in medium.advance(10.0)]
        [(('ue0',), 0.0, 2.0), (('ue1',), 0.0, 3.0)]
    """

    def __init__(self, link: Link, *, division: Division) -> None:
        self._links = link if isinstance(link, Links) else Links(link)
        for one in self._links.all():
            division.check(one)
        self._division = division
        self._offers = Offers()
        self._at_s = 0.0
        # On the air, and what is left, spent and passed of each by ``_at_s``.
        self._crowd = Crowd()
        self._left_bits, self._airtime_s, self._energy_j = (np.empty(0) for _ in range(3))
        # Between two passes.
        self._waiting: list[Flow] = []
        # Behind another message of the same UEs.
        self._behind: list[Flow] = []
        self._busy: set[tuple[str, ...]] = set()
        # What holds since ``_at_s``, and until when; None: to be found anew.
        self._divided: _Divided | None = None
        self._powers_w = np.empty(0)
        self._ends_s = np.empty(0)
        self._until_s = math.inf
        self._silent = 0

    def offer(self, ues: Sequence[str], bits: int, *, now_s: float, block: int = 0) -> Ticket:
        """Hand over bits; see :class:`~syft_fl.radio.medium.Medium`.

        Raises:
            TransportError: no UE, no bits, or a rate of 0 bit/s that will never change.
            ClockError: the time is infinite or not a number.
            ConfigError: a UE's own link is none that this medium can divide.
        """
        offer = self._offers.made(ues, bits, now_s=now_s, block=block)
        for link in self._links.among(offer.ues):
            self._division.check(link)
        self._links.require_rate(offer.ues, share=1.0, block=block, time_s=offer.ready_s)
        return self._offers.add(offer)

    def next_event_s(self) -> float:
        """When a message next starts, stops, arrives or gets another rate [s]; infinity where none is on its way."""
        return min(self._next_change_s(), self._offers.next_end_s())

    def advance(self, to_s: float) -> list[Transfer]:
        """Go on to a time; the transfers that ended up to it, in order of (end, ticket).

        Raises:
            ClockError: the time is infinite or not a number.
            TransportError: all on the air have 0 bit/s for good.
        """
        check_time(to_s)
        while (change_s := self._next_change_s()) <= to_s:
            self._go_to(change_s)
        return self._offers.arrived(to_s)

    def state(self) -> Mapping[str, Any]:
        self._write_back()
        return {
            **self._offers.state(),
            "at_s": self._at_s,
            "flows": [flow.state() for flow in self._crowd.flows],
            "waiting": [flow.state() for flow in self._waiting],
            "behind": [flow.state() for flow in self._behind],
            "silent": self._silent,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self._offers.load(state)
        self._at_s = state["at_s"]
        self._divided, self._until_s = None, math.inf
        self._crowd = Crowd()
        self._crowd.add([Flow.of(flow, self._links) for flow in state["flows"]])
        self._waiting = [Flow.of(flow, self._links) for flow in state["waiting"]]
        self._behind = [Flow.of(flow, self._links) for flow in state["behind"]]
        self._silent = state["silent"]
        self._busy = {flow.offer.ues for flow in (*self._crowd.flows, *self._waiting)}
        self._read()

    def _next_change_s(self) -> float:
        change_s = min((flow.resume_s for flow in self._waiting), default=math.inf)
        change_s = min(change_s, self._offers.next_ready_s())
        if not self._crowd.flows:
            return change_s
        self._divide()
        return min(change_s, self._until_s, float(self._ends_s.min()))

    def _divide(self) -> None:
        """Find the rates that hold from now on."""
        if self._divided is not None:
            return
        crowd = self._crowd
        self._divided = divided = self._division.divide(crowd, self._links, self._at_s)
        powers_w = self._links.powers_w(
            crowd.ues, share=divided.share, blocks=crowd.blocks, time_s=self._at_s
        )
        self._powers_w = crowd.greatest(powers_w)
        self._until_s = self._links.steady_until_s(time_s=self._at_s)
        if self._until_s == math.inf and not divided.rates_bps.any():
            raise never(crowd.ues[0], self._at_s)
        # When each would end its pass, if nothing changed before.
        with np.errstate(divide="ignore"):
            self._ends_s = self._at_s + self._left_bits / divided.rates_bps

    def _go_to(self, now_s: float) -> None:
        """Let bits flow until the next change, and make it."""
        ended = self._flow(now_s) if self._crowd.flows else []
        changed = bool(ended)
        if now_s >= self._until_s:
            changed = True
            self._until_s = math.inf
        self._at_s = now_s
        resumed = [flow for flow in self._waiting if flow.resume_s <= now_s]
        self._waiting = [flow for flow in self._waiting if flow.resume_s > now_s]
        for flow in ended:
            if flow.end_pass(now_s):
                self._offers.ends(flow.transfer(now_s))
                resumed += self._next_of(flow.offer.ues, now_s)
            elif flow.resume_s <= now_s:
                resumed.append(flow)
            else:
                self._waiting.append(flow)
        while self._offers.next_ready_s() <= now_s:
            self._behind.append(Flow(self._offers.take(), self._links))
            ues = self._behind[-1].offer.ues
            if ues not in self._busy:
                resumed += self._next_of(ues, now_s)
        if resumed:
            changed = True
            self._crowd.add(resumed)
            for name in ("left_bits", "airtime_s", "energy_j"):
                theirs = [getattr(flow, name) for flow in resumed]
                setattr(self, f"_{name}", np.append(getattr(self, f"_{name}"), theirs))
        if changed:
            self._divided = None

    def _next_of(self, ues: tuple[str, ...], now_s: float) -> list[Flow]:
        """The message of these UEs that goes on the air now; none: nothing of theirs waits."""
        for number, flow in enumerate(self._behind):
            if flow.offer.ues == ues:
                flow.start_s = now_s
                self._busy.add(ues)
                return [self._behind.pop(number)]
        self._busy.discard(ues)
        return []

    def _flow(self, now_s: float) -> list[Flow]:
        """Let the bits of all flow until a time; those who end a pass then, taken off the air."""
        divided = self._divided
        assert divided is not None
        took_s, rates_bps = now_s - self._at_s, divided.rates_bps
        ends = self._ends_s <= now_s
        bits = np.where(ends, self._left_bits, np.minimum(rates_bps * took_s, self._left_bits))
        if took_s > 0:
            self._silent = 0 if rates_bps.any() else self._silent + 1
            if self._silent > _MAX_SILENT_STRETCHES:
                raise never(self._crowd.ues[0], self._at_s)
            if self._crowd.lossy:
                self._note(bits)
            on_air_s = np.where(rates_bps > 0, took_s, 0.0)
            self._airtime_s += on_air_s
            self._energy_j += self._powers_w * on_air_s
        self._left_bits = np.where(ends, 0.0, self._left_bits - bits)
        if not ends.any():
            return []
        over = np.flatnonzero(ends).tolist()
        ended = self._crowd.take(over)
        for number, flow in zip(over, ended, strict=True):
            flow.airtime_s, flow.energy_j = float(self._airtime_s[number]), float(self._energy_j[number])
        stay = ~ends
        self._left_bits, self._airtime_s = self._left_bits[stay], self._airtime_s[stay]
        self._energy_j = self._energy_j[stay]
        return ended

    def _note(self, bits: Floats) -> None:
        """Stretches of those who may lose something."""
        divided = self._divided
        assert divided is not None
        for number, flow in enumerate(self._crowd.flows):
            if flow.lossy and bits[number] > 0:
                flow.note(
                    self._at_s,
                    left_bits=float(self._left_bits[number]),
                    rate_bps=float(divided.rates_bps[number]),
                    share=divided.share,
                    clear=float(divided.clear[number]),
                )

    def _write_back(self) -> None:
        """Tell the flows what is left and spent of each."""
        columns = (self._left_bits.tolist(), self._airtime_s.tolist(), self._energy_j.tolist())
        for flow, left_bits, airtime_s, energy_j in zip(self._crowd.flows, *columns, strict=True):
            flow.left_bits, flow.airtime_s, flow.energy_j = left_bits, airtime_s, energy_j

    def _read(self) -> None:
        """The other way round."""
        self._left_bits = np.array([flow.left_bits for flow in self._crowd.flows])
        self._airtime_s = np.array([flow.airtime_s for flow in self._crowd.flows])
        self._energy_j = np.array([flow.energy_j for flow in self._crowd.flows])
