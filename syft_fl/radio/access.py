"""Who may use the band when: the access schemes.

==============  ==================================================================================
``kind``        the band
==============  ==================================================================================
``tdma``        is one transmission's at a time, first come first served
``ofdma``       is split for good, and each part is one transmission's at a time
``ofdma-fair``  is split anew among those who are on the air, equally (processor sharing)
``noma``        is everybody's at once; the receiver cancels one after the other
``scheduler``   is given away in resource blocks, slot by slot, by a policy
``aloha``       is taken by whoever tosses a coin, slot by slot; who is not alone collides
``csma``        is taken by whoever waited longest of all, as in Wi-Fi; two at once collide
==============  ==================================================================================

Left out: guard times and bands, scheduling grants (the protocol sends and is charged for those).
"""

from __future__ import annotations

import math
from typing import ClassVar

from syft_fl.keys import Key
from syft_fl.radio.contention import CarrierSense, SlottedAloha
from syft_fl.radio.fluid import FairShares, FluidMedium, Superposed
from syft_fl.radio.medium import ACCESS, Link, Medium
from syft_fl.radio.scheduler import Policy, SlotScheduler
from syft_fl.radio.split import SplitMedium
from syft_fl.radio.turns import TurnMedium
from syft_fl.schema import require, schema

__all__ = ["Aloha", "Csma", "FairOfdma", "Noma", "Ofdma", "Scheduler", "Tdma"]


@ACCESS
@schema
class Tdma:
    """One transmission at a time, with the whole band, first come first served."""

    kind: ClassVar[str] = "tdma"

    def open(self, link: Link, *, users: int, key: Key = Key(0)) -> Medium:
        """A medium over a link; neither ``users`` nor the key matters to it."""
        return SplitMedium(link, subchannels=1)


@ACCESS
@schema
class Ofdma:
    """The band in equal subchannels for good, one transmission at a time in each.

    Attributes:
        subchannels: how many; None: one for each user.
    """

    kind: ClassVar[str] = "ofdma"

    subchannels: int | None = None

    def __post_init__(self) -> None:
        require(
            self.subchannels is None or self.subchannels >= 1,
            "subchannels",
            self.subchannels,
            "at least 1",
            "for one per user leave it out",
        )

    def open(self, link: Link, *, users: int, key: Key = Key(0)) -> Medium:
        """A medium over a link; the key doesn't matter to it.

        Raises:
            ConfigError: the split is by users and there is none.
        """
        require(
            self.subchannels is not None or users >= 1,
            "users",
            users,
            "at least 1",
            "or set subchannels",
        )
        return SplitMedium(link, subchannels=self.subchannels or users)


@ACCESS
@schema
class FairOfdma:
    """The band in as many equal parts as there are transmissions, anew whenever one starts or stops.

    Nobody waits, and no part of the band is idle while somebody has something to send. A UE that is left alone has the
    whole band: with its power in it at a higher rate, though not in proportion.
    """

    kind: ClassVar[str] = "ofdma-fair"

    def open(self, link: Link, *, users: int, key: Key = Key(0)) -> Medium:
        """A medium over a link; neither ``users`` nor the key matters to it."""
        return FluidMedium(link, division=FairShares())


@ACCESS
@schema
class Noma:
    """All at once in the whole band, with successive interference cancellation at the receiver.

    An uplink's scheme: UEs are told apart by the strength with which they arrive, and decoded strongest first
    (:class:`~syft_fl.radio.fluid.Superposed`).

    Source: Z. Ding et al., *A Survey on Non-Orthogonal Multiple Access for 5G Networks*, 2017. Left out: errors
    that one decoding leaves to the next, limits to how many may be superposed.
    """

    kind: ClassVar[str] = "noma"
    uplink_only: ClassVar[bool] = True

    def open(self, link: Link, *, users: int, key: Key = Key(0)) -> Medium:
        """A medium over a link; neither ``users`` nor the key matters to it.

        Raises:
            ConfigError: the link says nothing of signal and noise, or its reports are outdated.
        """
        return FluidMedium(link, division=Superposed())


@ACCESS
@schema
class Scheduler:
    """Resource blocks that the base station gives away in every slot (:mod:`~syft_fl.radio.scheduler`).

    Attributes:
        policy: ``round-robin``, ``max-rate`` or ``proportional`` (fairness).
        groups: parts of the band that are given away one by one, 1 … 275; a group of one is a resource block.
        slot_s: length of a slot [s]; 1 ms is LTE's subframe, and NR's slot at 15 kHz.
        window: slots that the average of proportional fairness remembers, at least 1.
    """

    kind: ClassVar[str] = "scheduler"

    policy: Policy = "round-robin"
    groups: int = 10
    slot_s: float = 0.001
    window: float = 100.0

    def __post_init__(self) -> None:
        require(1 <= self.groups <= 275, "groups", self.groups, "in 1 … 275")
        _check_slot(self.slot_s)
        require(1 <= self.window < math.inf, "window", self.window, "at least 1 and finite")

    def open(self, link: Link, *, users: int, key: Key = Key(0)) -> Medium:
        """A medium over a link; neither ``users`` nor the key matters to it."""
        rule = SlotScheduler(groups=self.groups, slot_s=self.slot_s, policy=self.policy, window=self.window)
        return TurnMedium(link, rule=rule)


@ACCESS
@schema
class Aloha:
    """Slotted Aloha: an uplink's scheme without any grant (:class:`~syft_fl.radio.contention.SlottedAloha`).

    Attributes:
        slot_s: length of a slot [s].
        probability: with which each UE that has something to send does so in a slot, above 0 and at most 1; None: one
            over their number, which is the best that one probability can do.
    """

    kind: ClassVar[str] = "aloha"
    uplink_only: ClassVar[bool] = True

    slot_s: float = 0.001
    probability: float | None = None

    def __post_init__(self) -> None:
        _check_slot(self.slot_s)
        given = self.probability
        require(given is None or 0 < given <= 1, "probability", given, "above 0 and at most 1")

    def open(self, link: Link, *, users: int, key: Key = Key(0)) -> Medium:
        """A medium over a link; coins are drawn from the key, ``users`` doesn't matter to it."""
        rule = SlottedAloha(slot_s=self.slot_s, probability=self.probability, key=key)
        return TurnMedium(link, rule=rule)


@ACCESS
@schema
class Csma:
    """Carrier sensing with binary exponential backoff: Wi-Fi (:class:`~syft_fl.radio.contention.CarrierSense`).

    Attributes:
        slot_s: an idle slot [s].
        sifs_s: pause before an acknowledgement [s].
        difs_s: pause before counters go on [s].
        preamble_s: at the beginning of a packet, whatever its rate [s].
        ack_s: an acknowledgement [s].
        packet_bytes: of the message in one packet, at least 1.
        header_bytes: that a packet carries besides, at its rate.
        least_window, greatest_window: a counter is drawn from 0 … window, which goes from the one to the other by
            doubling.

    Source: IEEE 802.11-2016, 10.3 (procedure), table 17-21 (times of OFDM in 20 MHz: slot 9 us, SIFS 16 us, and so DIFS
    34 us, preamble and signal field 20 us), windows of best effort; 24 us are 14 bytes of acknowledgement at 24 Mbit/s
    without service and tail bits.
    """

    kind: ClassVar[str] = "csma"
    uplink_only: ClassVar[bool] = True

    slot_s: float = 9e-6
    sifs_s: float = 16e-6
    difs_s: float = 34e-6
    preamble_s: float = 20e-6
    ack_s: float = 24e-6
    packet_bytes: int = 1500
    header_bytes: int = 36
    least_window: int = 15
    greatest_window: int = 1023

    def __post_init__(self) -> None:
        _check_slot(self.slot_s)
        for name in ("sifs_s", "difs_s", "preamble_s", "ack_s"):
            time_s = getattr(self, name)
            require(0 <= time_s < math.inf, name, time_s, "at least 0 and finite")
        require(self.packet_bytes >= 1, "packet_bytes", self.packet_bytes, "at least 1")
        require(self.header_bytes >= 0, "header_bytes", self.header_bytes, "at least 0")
        require(
            1 <= self.least_window <= self.greatest_window <= 2**20,
            "least_window",
            self.least_window,
            f"in 1 … greatest_window = {self.greatest_window}, which is at most 2**20",
        )

    def open(self, link: Link, *, users: int, key: Key = Key(0)) -> Medium:
        """A medium over a link; counters are drawn from the key, ``users`` doesn't matter to it."""
        rule = CarrierSense(
            slot_s=self.slot_s,
            sifs_s=self.sifs_s,
            difs_s=self.difs_s,
            preamble_s=self.preamble_s,
            ack_s=self.ack_s,
            packet_bits=8 * self.packet_bytes,
            header_bits=8 * self.header_bytes,
            least=self.least_window,
            greatest=self.greatest_window,
            key=key,
        )
        return TurnMedium(link, rule=rule)


def _check_slot(slot_s: float) -> None:
    require(0 < slot_s < math.inf, "slot_s", slot_s, "above 0 and finite")
