"""A message on its way over links that lose packets: what to send next, and who lacks what.

The medium owns the airtime: it sends a pass, says how it went in time, and asks what the next one is. Here is what all
media have in common: cutting into packets, the UEs' gaps, repetition.

To several UEs (a multicast) a packet goes again as long as one that lacks it still has a try. It is then cut into the
smallest one's packets, with the longest header, and repeated after the slowest report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.radio.links import Links
from syft_fl.radio.medium import Link, LossyLink, Try
from syft_fl.radio.offers import Offer
from syft_fl.radio.retransmission import Retransmission

__all__ = ["Receiver", "Sending", "Stretch", "retransmission_of", "sending_of"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a pass in which bits were sent at one rate.

    Attributes:
        start_s: when it began [s].
        bits: sent before it in the same pass.
        rate_bps: the rate [bit/s], above 0.
        share: the share of the band (0 … 1].
        clear: what others in the same band leave of the signal-to-noise ratio (0 … 1]; 1: nobody else is there.
    """

    start_s: float
    bits: float
    rate_bps: float
    share: float
    clear: float = 1.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """A UE at the other end from the base station.

    Attributes:
        ue: its name.
        link: its link.
        serial: how many messages for it were offered before in this block.
    """

    ue: str
    link: Link
    serial: int


def retransmission_of(link: Link) -> Retransmission | None:
    """How a link repeats what it loses; None: it loses nothing, and needs no :class:`Sending`."""
    return link.retransmission if isinstance(link, LossyLink) else None


def sending_of(offer: Offer, links: Links) -> Sending | None:
    """An offer on its way; None: none of its links loses anything, so it goes as it is."""
    if not links.lossy or not any(map(retransmission_of, links.among(offer.ues))):
        return None
    receivers = [
        Receiver(ue, links.of(ue), serial) for ue, serial in zip(offer.ues, offer.serials, strict=True)
    ]
    return Sending(receivers, offer.bits, block=offer.block)


class Sending:
    """One message on its way. Send :attr:`bits`, say how by :meth:`sent`, and again until :attr:`bits` is 0.

    Args:
        receivers: to whom; at least one has a link that may lose something. Who has another gets all of the first pass.
        bits: of the message.
        block: its fading block.

    Attributes:
        attempts: passes so far.
        feedback_s: time [s] from the end of a pass to the next one.
    """

    def __init__(self, receivers: Sequence[Receiver], bits: int, *, block: int) -> None:
        lossy = [
            (receiver, receiver.link, scheme)
            for receiver in receivers
            if isinstance(receiver.link, LossyLink) and (scheme := receiver.link.retransmission) is not None
        ]
        schemes = [scheme for _, _, scheme in lossy]
        self._receivers = lossy
        self._block = block
        self._bits = bits
        self._packet_bits = 8 * min(scheme.mtu_bytes for scheme in schemes)
        count = -(-bits // self._packet_bits)
        self._sizes = np.full(count, self._packet_bits + 8 * max(scheme.header_bytes for scheme in schemes))
        self._sizes[-1] -= count * self._packet_bits - bits
        self._missing = [np.arange(count) for _ in lossy]
        self._combined = [np.zeros(count) for _ in lossy]
        self.attempts = 0
        self.feedback_s = max(scheme.feedback_s for scheme in schemes)

    @property
    def bits(self) -> int:
        """What the next pass has to send, packets' headers included; 0: it is over."""
        return int(self._sizes[self._packets()].sum())

    @property
    def lost(self) -> tuple[str, ...]:
        """Who lacks something."""
        return tuple(
            receiver.ue
            for (receiver, _, _), missing in zip(self._receivers, self._missing, strict=True)
            if len(missing)
        )

    @property
    def gaps(self) -> tuple[tuple[str, int, int], ...]:
        """UE, first bit and the bit after the last one of each stretch of the message that a UE lacks."""
        found = []
        for (receiver, _, _), missing in zip(self._receivers, self._missing, strict=True):
            edges = np.flatnonzero(np.diff(missing) > 1) + 1
            for run in np.split(missing, edges):
                if len(run):
                    end = min(int(run[-1] + 1) * self._packet_bits, self._bits)
                    found.append((receiver.ue, int(run[0]) * self._packet_bits, end))
        return tuple(found)

    def sent(self, stretches: Sequence[Stretch]) -> None:
        """A pass is over: draw what each UE got of it.

        Args:
            stretches: how it went, in order of time.
        """
        packets = self._packets()
        times_s, rates_bps, shares, clear = _begins(self._sizes[packets], stretches)
        self.attempts += 1
        for number, (receiver, link, _) in enumerate(self._receivers):
            missing = self._missing[number]
            # Both are ascending; what was sent is what somebody lacks, perhaps not all that this one lacks.
            here = np.isin(packets, missing, assume_unique=True)
            hit = packets[here]
            tried = Try(
                block=self._block,
                serial=receiver.serial,
                number=self.attempts,
                packets=hit,
                times_s=times_s[here],
                rates_bps=rates_bps[here],
                shares=shares[here],
                clear=clear[here],
                combined_snr=self._combined[number][hit],
            )
            if not len(hit):
                continue
            is_lost, combined = link.lost(receiver.ue, tried)
            self._combined[number][hit] = combined
            self._missing[number] = np.setdiff1d(missing, hit[~is_lost], assume_unique=True)

    def state(self) -> dict[str, Any]:
        """How far it has come, as plain data."""
        return {
            "attempts": self.attempts,
            "missing": [missing.tolist() for missing in self._missing],
            "combined": [combined.tolist() for combined in self._combined],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave of the same message."""
        self.attempts = state["attempts"]
        self._missing = [np.array(missing, dtype=np.int64) for missing in state["missing"]]
        self._combined = [np.array(combined, dtype=np.float64) for combined in state["combined"]]

    def _packets(self) -> NDArray[np.int64]:
        """What goes in the next pass: all that a UE lacks which still has a try."""
        wanted = [
            missing
            for (_, _, scheme), missing in zip(self._receivers, self._missing, strict=True)
            if self.attempts < scheme.tries
        ]
        if not wanted:
            return np.empty(0, dtype=np.int64)
        return wanted[0] if len(wanted) == 1 else np.unique(np.concatenate(wanted))


def _begins(sizes: NDArray[np.int64], stretches: Sequence[Stretch]) -> tuple[NDArray[np.float64], ...]:
    """[packets] when each begins [s], its rate [bit/s], share and clearness then; of [packets] bits, back to back."""
    before = np.cumsum(sizes) - sizes
    starts_s, bits, rates_bps, shares, clear = np.array(
        [(s.start_s, s.bits, s.rate_bps, s.share, s.clear) for s in stretches]
    ).T
    at = np.searchsorted(bits, before, side="right") - 1
    return starts_s[at] + (before - bits[at]) / rates_bps[at], rates_bps[at], shares[at], clear[at]
