"""A frame on its way: ready to be sent, and arrived or lost."""

from __future__ import annotations

from dataclasses import dataclass

from syft_fl.codecs import Context, Payload
from syft_fl.radio import Transfer
from syft_fl.transport.frame import Frame
from syft_fl.transport.layers import Decoded, Encoded, Pipeline
from syft_fl.transport.message import Content
from syft_fl.vectors import Vector

__all__ = ["Arrival", "Outgoing", "Part", "Written", "missing_bits"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A frame ready to be sent, and what its sender needs to commit it.

    Attributes:
        direction: ``uplink`` or ``downlink``.
        about: what the message is about, for the ledger.
        ues: the UEs at the other end from the base station.
        frame: the bytes.
        bits: bits on the air.
        raw_bits: bits of the content in its own dtype.
        pipeline: of a model, what it was written by: it is read and settled by the same.
        encoded: of a model, what went into the codec.
        written: of a model that was handed on before it was on the air, what it was decoded with; None: it was not, or
            it is of use only as a whole.
    """

    direction: str
    kind: str
    stream: str
    about: str
    ues: tuple[str, ...]
    serial: int
    round: int
    reference: int
    frame: bytes
    bits: int
    raw_bits: int
    payload_bits: int
    pipeline: Pipeline | None
    encoded: Encoded | None
    written: Written | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A model of which not all came: what came of its frame, and what that decodes to."""

    frame: Frame
    decoded: Decoded


@dataclass(frozen=True, slots=True)
class Written:
    """A model as it came: its payload, and all that it was decoded with."""

    payload: Payload
    ctx: Context
    reference: Vector | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """The end of a transmission: what was sent, how it went, and what it decoded to.

    Attributes:
        transfer: how it went. Who got a part that was enough (``erasure``) is not among the lost; the gaps are there.
        content: decoded from the bytes; None where nobody got it.
        samples: the sender's weight, from the header.
        loss: the training loss that the sender reports, from the frame; None where it has none.
        written: what a model of the uplink was decoded from, where its codec's payloads add up; else None.
    """

    outgoing: Outgoing
    transfer: Transfer
    content: Content | None
    samples: int
    written: Written | None = None
    loss: float | None = None

    @property
    def received(self) -> tuple[str, ...]:
        """The UEs whose link carried it."""
        return tuple(ue for ue in self.outgoing.ues if ue not in self.transfer.lost)

    @property
    def missing_bits(self) -> int:
        """Bits of the frame that did not come, where it was decoded without them."""
        return missing_bits(self.transfer)


def missing_bits(transfer: Transfer) -> int:
    """Bits that did not come of what was delivered all the same; 0 of what was lost."""
    return 0 if transfer.lost else sum(end - first for _, first, end in transfer.gaps)
