"""A frame on its way: ready to be sent, and arrived or lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from syft_fl.codecs import Context, Payload
from syft_fl.radio import Transfer
from syft_fl.transport.frame import Frame
from syft_fl.transport.layers import Decoded, Encoded, Pipeline
from syft_fl.transport.message import Content
from syft_fl.vectors import Vector

__all__ = [
    "Accepted",
    "Arrival",
    "Landed",
    "Outgoing",
    "Part",
    "Written",
    "missing_bits",
    "outgoing_state",
    "restored",
]


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
        lifted: what its sender owed is in it, and no longer in the residual (:meth:`Transport.lift`).
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
    lifted: bool = False


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


@dataclass(frozen=True, slots=True)
class Landed:
    """The end of a transmission, not settled: what was sent, how it went, and what came where that is not all."""

    outgoing: Outgoing
    transfer: Transfer
    part: Part | None

    @property
    def received(self) -> tuple[str, ...]:
        """The UEs whose link carried it."""
        return tuple(ue for ue in self.outgoing.ues if ue not in self.transfer.lost)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a receiver made of a frame.

    Attributes:
        content: decoded from the bytes.
        frame: its header.
        written: as of :class:`Arrival`.
        decoded: of a model, what the codec gave.
    """

    content: Content
    frame: Frame
    written: Written | None
    decoded: Decoded | None


def outgoing_state(outgoing: Outgoing) -> dict[str, Any]:
    """A frame on its way as plain data and tensors, for a checkpoint; its pipeline follows from the settings."""
    state = {
        name: getattr(outgoing, name)
        for name in Outgoing.__dataclass_fields__
        if name not in ("frame", "pipeline", "encoded", "written")
    }
    state["ues"] = list(outgoing.ues)
    state["frame"] = torch.frombuffer(bytearray(outgoing.frame), dtype=torch.uint8)
    encoded = outgoing.encoded
    state["encoded"] = None if encoded is None else [encoded.sent, dict(encoded.codec_memory)]
    return state


def restored(state: Mapping[str, Any], pipeline: Pipeline | None) -> Outgoing:
    """The frame that :func:`outgoing_state` described."""
    encoded = None if state["encoded"] is None else Encoded(*state["encoded"])
    frame = state["frame"].numpy().tobytes()
    fields = {**state, "ues": tuple(state["ues"]), "frame": frame, "pipeline": pipeline, "encoded": encoded}
    return Outgoing(**fields)


def missing_bits(transfer: Transfer) -> int:
    """Bits that did not come of what was delivered all the same; 0 of what was lost."""
    return 0 if transfer.lost else sum(end - first for _, first, end in transfer.gaps)
