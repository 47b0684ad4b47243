"""A frame on its way: ready to be sent, and arrived or lost."""

from __future__ import annotations

from dataclasses import dataclass

from syft_fl.radio import Transfer
from syft_fl.transport.layers import Encoded
from syft_fl.transport.message import Content

__all__ = ["Arrival", "Outgoing"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A frame ready to be sent, and what its sender needs to commit it.

    Attributes:
        direction: ``uplink`` or ``downlink``.
        ues: the UEs at the other end from the base station.
        frame: the bytes.
        raw_bits: bits of the content in its own dtype.
        encoded: of a model, what went into the codec.
    """

    direction: str
    kind: str
    stream: str
    ues: tuple[str, ...]
    serial: int
    round: int
    reference: int
    frame: bytes
    raw_bits: int
    payload_bits: int
    encoded: Encoded | None

    @property
    def bits(self) -> int:
        """Bits on the air."""
        return 8 * len(self.frame)


@dataclass(frozen=True, slots=True)
class Arrival:
    """The end of a transmission: what was sent, how it went, and what it decoded to.

    Attributes:
        content: decoded from the bytes; None where nobody got it.
        samples: the sender's weight, from the header.
    """

    outgoing: Outgoing
    transfer: Transfer
    content: Content | None
    samples: int

    @property
    def received(self) -> tuple[str, ...]:
        """The UEs whose link carried it."""
        return tuple(ue for ue in self.outgoing.ues if ue not in self.transfer.lost)
