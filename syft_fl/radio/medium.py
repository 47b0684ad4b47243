"""What a link and a medium are.

A :class:`Link` answers questions about one direction of a cell's radio: how fast can this UE be
served, with which share of the band, at which time. A :class:`Medium` owns the airtime: it is a small event
machine that is offered bits, tells when something happens next, and hands out finished transfers.
When a transfer ends may depend on others that start and stop beside it, so an end is known
only when it has come. Neither knows of tensors or messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.retransmission import Retransmission
from syft_fl.schema import Registry

__all__ = [
    "ACCESS",
    "LINKS",
    "Access",
    "ChannelLink",
    "FlatLink",
    "Link",
    "LinkModel",
    "LossyLink",
    "Medium",
    "Ticket",
    "Transfer",
    "Try",
]

LINKS = Registry("link", "link")
"""Link models by kind; ``LINKS(MyLink)`` adds one."""

ACCESS = Registry("access scheme", "open")
"""Access schemes by kind (``tdma``, ``ofdma``, …)."""

Ticket = int
"""Number of an offer; the transfer that answers it has the same one."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bits that went (or were lost) over the air.

    Attributes:
        ticket: the offer that this answers.
        ues: UEs at the other end from the base station; several for a multicast.
        bits: bits sent, every try counted once.
        offered_s: when the medium got them [s].
        start_s: when the first bit went on the air [s].
        end_s: when the last bit was received, latency included [s].
        airtime_s: how long the sender was on the air [s], every try included, waiting at 0 bit/s not.
        attempts: tries, 1 where nothing was sent again.
        energy_j: transmit power times airtime [J].
        lost: those of ``ues`` that did not get it. A value, not an error.
        gaps: what of it those did not get: UE, first bit and the bit after the last one, in order. What a medium that
            says nothing of parts has lost is lost whole.
    """

    ticket: Ticket
    ues: tuple[str, ...]
    bits: int
    offered_s: float
    start_s: float
    end_s: float
    airtime_s: float
    attempts: int
    energy_j: float
    lost: tuple[str, ...] = ()
    gaps: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Try:
    """Packets of one message that were on the air, each once: what a link is asked about.

    Attributes:
        block: the message's fading block.
        serial: how many messages for this UE were offered before in its block.
        number: of the try: 1, 2, …
        packets: [packets] their numbers in the message, ascending.
        times_s: [packets] when each began [s].
        rates_bps: [packets] rate [bit/s] at which each was sent: of several UEs, the slowest one's.
        shares: [packets] share of the band (0 … 1] that each had.
        clear: [packets] what others in the same band left of each one's signal-to-noise ratio (0 … 1].
        combined_snr: [packets] what :meth:`LossyLink.lost` gave for each one's try before; 0 for a first try.
    """

    block: int
    serial: int
    number: int
    packets: NDArray[np.int64]
    times_s: NDArray[np.float64]
    rates_bps: NDArray[np.float64]
    shares: NDArray[np.float64]
    clear: NDArray[np.float64]
    combined_snr: NDArray[np.float64]


class Link(Protocol):
    """One direction of the radio between base station and UEs; a function of key, UE and time only.

    One that may lose packets is a :class:`LossyLink` as well; the others lose nothing, and are asked nothing.
    """

    @property
    def latency_s(self) -> float:
        """Time [s] from the last bit on the air to its arrival (propagation, processing).

        It delays the arrival and does not occupy the medium.
        """
        ...

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        """Power [W] that the sender puts into ``share`` (0 … 1] of the band, for or from a UE.

        A UE (uplink) puts all its power into its share, or what its power control says; the base station (downlink)
        splits its power as the band. It changes at :meth:`steady_until_s` only; arguments as of :meth:`rate_bps`.
        """
        ...

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        """Rate [bit/s] for a UE that has ``share`` (0 … 1] of the band, with :meth:`transmit_power_w` in it.

        Args:
            block: the caller's fading block (a round); used where fading is drawn per block.
            time_s: simulated time; used where fading is a function of time.
        """
        ...

    def steady_until_s(self, *, time_s: float) -> float:
        """First time [s] after ``time_s`` at which rates and powers may change; infinity where never within a block."""
        ...


@runtime_checkable
class ChannelLink(Protocol):
    """What a :class:`Link` answers besides, where its rate follows from a channel.

    Received power is ``transmit_power_w * mean_gain * fading_gain``; over :meth:`noise_w` it is :meth:`snr`.
    """

    def snr(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        """Signal-to-noise-and-interference ratio (linear) in ``share`` (0 … 1] of the band."""
        ...

    def mean_gain(self, ue: str, *, time_s: float) -> float:
        """Power gain (linear) of path and shadowing; 1 would be all that is sent."""
        ...

    def fading_gain(self, ue: str, *, block: int, time_s: float) -> float:
        """Power gain (linear) of the fading, 1 on average."""
        ...

    def noise_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        """Power [W] of noise and interference in ``share`` (0 … 1] of the band, where a UE's signal is received."""
        ...


@runtime_checkable
class FlatLink(ChannelLink, Protocol):
    """A :class:`ChannelLink` that is flat over its band, so that one SNR says how fast is sent; quick for many UEs."""

    @property
    def report_delay_s(self) -> float:
        """How old the SNR is by which the sender chooses its rate [s]."""
        ...

    def powers_w(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        """[ues] :meth:`Link.transmit_power_w` of many."""
        ...

    def rates_bps(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        """[ues] :meth:`Link.rate_bps` of many."""
        ...

    def snrs(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        """[ues] :meth:`snr` of many, each with ``share`` of the band in its own block; quick when asked again."""
        ...

    def rates_at_bps(self, snrs: NDArray[np.float64], *, share: float) -> NDArray[np.float64]:
        """[ues] rates [bit/s] that are sent in ``share`` of the band at these SNRs, if they were reported."""
        ...


@runtime_checkable
class LossyLink(Protocol):
    """What a :class:`Link` answers besides, where it may lose packets."""

    @property
    def retransmission(self) -> Retransmission | None:
        """How messages are cut into packets, and how often each is tried; None: nothing is ever lost."""
        ...

    def lost(self, ue: str, tried: Try) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """What a UE did not get, drawn by UE, block, serial, packet and try, whatever else is asked.

        Returns:
            [packets] whether each was lost, and [packets] the signal-to-noise ratio (linear) that the receiver has of
            each by now, for the next try.
        """
        ...


@runtime_checkable
class LinkModel(Protocol):
    """The settings of a link: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def link(self, cell: Cell, key: Key, direction: str) -> Link:
        """The link of a cell in one direction (``"uplink"`` or ``"downlink"``).

        Where a UE is and how it is shadowed is drawn from ``key`` (the same both ways), its fading from
        ``key / direction``.
        """
        ...


class Medium(Protocol):
    """An event machine that owns the airtime of one direction. Its state is plain data."""

    def offer(self, ues: Sequence[str], bits: int, *, now_s: float, block: int = 0) -> Ticket:
        """Hand over bits for one UE, or for several at once (multicast, at the slowest one's rate).

        ``now_s`` may lie before what the medium has already simulated: the bits then queue as if offered now.
        It may lie after it: they then wait for that time, and what is offered for an earlier time goes first.
        ``block`` stays with the offer, whenever it goes on the air.

        Raises:
            TransportError: no UE, no bits, or a rate that never carries them (0 bit/s for good).
        """
        ...

    def next_event_s(self) -> float:
        """When something happens next [s]; infinity where nothing is on its way."""
        ...

    def advance(self, to_s: float) -> list[Transfer]:
        """Go on to a time; the transfers that ended up to and at it, in order of their end."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Plain data (numbers, strings, lists) for a checkpoint."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        ...


@runtime_checkable
class Access(Protocol):
    """The settings of an access scheme: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def open(self, link: Link, *, users: int, key: Key) -> Medium:
        """A medium over a link.

        Args:
            users: about so many UEs at the same time; what a static split divides by.
            key: what is drawn in the medium itself (who sends when without being asked) is drawn from it.
        """
        ...
