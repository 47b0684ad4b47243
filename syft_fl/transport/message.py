"""What passes the one seam: a message goes in, a delivery comes out.

A message has a class. Only the floating-point *parameters* of a ``model`` message meet the lossy codec (and
delta and error feedback); buffers, integer tensors, data, targets, losses and control travel
without loss in their own dtype. Everything is charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from syft_fl.vectors import Layout, ModelState

__all__ = ["SIGNALS", "Content", "Delivery", "Message", "MessageKind", "ModelContent", "Signal"]

MessageKind = Literal[
    "model",
    "data",
    "value",
    "control",
    # Of the protocol (:mod:`syft_fl.federation.protocol`), beside ``model``.
    "skip",
    "request",
    "grant",
    "ack",
    "nack",
    "hello",
    "bye",
]

SIGNALS: tuple[MessageKind, ...] = ("skip", "request", "grant", "ack", "nack", "hello", "bye")
"""Those of the protocol that bring nothing but a :class:`Signal`; they are numbered by what they are about."""


@dataclass(frozen=True, slots=True)
class ModelContent:
    """A model's value and the layout that both ends know."""

    state: ModelState
    layout: Layout


@dataclass(frozen=True, slots=True)
class Signal:
    """What a frame of the protocol says that brings nothing: all of it is in the header, but for a few bytes.

    Attributes:
        number: of the message that it is about.
        version: of a model.
        detail: what else it says.
    """

    number: int = 0
    version: int = 0
    detail: bytes = b""


Content = ModelContent | tuple[Tensor, ...] | Mapping[str, Any] | Signal
"""Of a ``model``; of ``data`` or ``value`` (plain tensors); of ``control`` (small JSON-like facts); of the protocol."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something that one party sends to another.

    Attributes:
        kind: message class.
        sender: who sends it.
        receiver: who shall get it; several names for a multicast from the base station.
        stream: what successive messages are versions of (a model's name); deltas refer to the last one
            that both ends know *within a stream*.
        content: see :data:`Content`.
        round: federated round; also the fading block where fading is drawn per round.
        samples: what the sender weighs in the aggregate; of the base station, what a UE does in the mean. It is
            in the header.
        loss: the training loss that a model's sender reports, not a number if unknown; it travels where the codec of
            the uplink asks for it.
        about: the object that it brings or asks for, as the ledger names it; empty: the stream. It does not travel.
        reference: the version that an upload is a difference to; None: the one that its sender is known to hold.
    """

    kind: MessageKind
    sender: str
    receiver: str | tuple[str, ...]
    stream: str
    content: Content
    round: int = 0
    samples: int = 0
    loss: float = float("nan")
    about: str = ""
    reference: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came out at the other end.

    Attributes:
        content: decoded from the bytes alone; None where the message was lost.
        bits: bits on the air: header, scales, padding and CRC included.
        raw_bits: bits of the content in its own dtype, for comparison.
        offered_s, start_s, end_s: handed over, first bit on the air, last bit received [s].
        energy_j: spent on sending it [J].
        lost: it did not arrive. A value, not an error.
        missing_bits: what did not come of a model that was decoded without it (``erasure``), which is no loss.
    """

    content: Content | None
    bits: int
    raw_bits: int
    offered_s: float
    start_s: float
    end_s: float
    energy_j: float
    lost: bool = False
    missing_bits: int = 0
