"""A message that is on the air beside others: what is left of it, what it has cost, and its passes.

For media in which who starts or stops changes everybody's rate, so that a message's end can't be told in advance. What
links lose is repeated (:mod:`~syft_fl.radio.sending`); between two passes the sender is silent, and the others have the
band.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from syft_fl.radio.links import Links
from syft_fl.radio.medium import Transfer
from syft_fl.radio.offers import Offer, plain_fields, tuple_fields
from syft_fl.radio.sending import Stretch, sending_of

__all__ = ["Flow"]


class Flow:
    """One message on the air.

    Args:
        offer: what is sent.
        links: of the direction.

    Attributes:
        left_bits: of the pass that is on the air.
        start_s: when its first bit went on the air [s]; None: it has not yet.
        resume_s: when the next pass may begin [s].
        airtime_s: so far [s].
        energy_j: so far [J].
    """

    def __init__(self, offer: Offer, links: Links) -> None:
        self.offer = offer
        self._links = links
        self._sending = sending_of(offer, links)
        self._stretches: list[Stretch] = []
        self._pass_bits = self._sending.bits if self._sending else offer.bits
        self.left_bits = float(self._pass_bits)
        self.start_s: float | None = None
        self.resume_s = offer.ready_s
        self.airtime_s = 0.0
        self.energy_j = 0.0

    @property
    def lossy(self) -> bool:
        """Whether somebody may lose something, so that every stretch of a pass has to be noted."""
        return self._sending is not None

    def sent(
        self,
        from_s: float,
        *,
        duration_s: float,
        bits: float,
        rate_bps: float,
        share: float,
        power_w: float,
        clear: float = 1.0,
    ) -> None:
        """Bits went at a rate, for a while that ends now."""
        if bits > 0:
            self.note(from_s, left_bits=self.left_bits, rate_bps=rate_bps, share=share, clear=clear)
        if self.start_s is None:
            self.start_s = from_s
        self.left_bits = max(self.left_bits - bits, 0.0)
        self.airtime_s += duration_s
        self.energy_j += power_w * duration_s

    def note(
        self, from_s: float, *, left_bits: float, rate_bps: float, share: float, clear: float = 1.0
    ) -> None:
        """From a time on, with so much of the pass left, bits go at a rate; only who may lose some wants to know."""
        if self._sending is not None:
            self._stretches.append(Stretch(from_s, self._pass_bits - left_bits, rate_bps, share, clear))

    def end_pass(self, now_s: float) -> bool:
        """The last bit of a pass has left; whether the message is over."""
        if self._sending is None:
            return True
        self._sending.sent(self._stretches)
        self._stretches = []
        self._pass_bits = self._sending.bits
        self.left_bits = float(self._pass_bits)
        self.resume_s = now_s + self._sending.feedback_s
        return self._pass_bits == 0

    def transfer(self, off_air_s: float) -> Transfer:
        """How it went, once it is over."""
        offer, sending = self.offer, self._sending
        return Transfer(
            ticket=offer.ticket,
            ues=offer.ues,
            bits=offer.bits,
            offered_s=offer.offered_s,
            start_s=off_air_s if self.start_s is None else self.start_s,
            end_s=off_air_s + max(link.latency_s for link in self._links.among(offer.ues)),
            airtime_s=self.airtime_s,
            attempts=sending.attempts if sending else 1,
            energy_j=self.energy_j,
            lost=sending.lost if sending else (),
            gaps=sending.gaps if sending else (),
        )

    def power_w(self, *, share: float, time_s: float) -> float:
        """What the sender puts into a share of the band [W]: of several UEs' links, the strongest one's."""
        block = self.offer.block
        return max(
            self._links.transmit_power_w(ue, share=share, block=block, time_s=time_s) for ue in self.offer.ues
        )

    def state(self) -> dict[str, Any]:
        return {
            "offer": plain_fields(self.offer),
            "sending": self._sending.state() if self._sending else None,
            "stretches": [asdict(stretch) for stretch in self._stretches],
            "pass_bits": self._pass_bits,
            "left_bits": self.left_bits,
            "start_s": self.start_s,
            "resume_s": self.resume_s,
            "airtime_s": self.airtime_s,
            "energy_j": self.energy_j,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], links: Links) -> Flow:
        """The flow whose :meth:`state` this is."""
        flow = cls(Offer(**tuple_fields(state["offer"])), links)
        if flow._sending is not None:
            flow._sending.load(state["sending"])
        flow._stretches = [Stretch(**stretch) for stretch in state["stretches"]]
        flow._pass_bits = state["pass_bits"]
        for name in ("left_bits", "start_s", "resume_s", "airtime_s", "energy_j"):
            setattr(flow, name, state[name])
        return flow
