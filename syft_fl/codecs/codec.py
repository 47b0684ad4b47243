"""What a codec is: vector -> payload -> vector, without state and without seconds.

A codec's bytes are all that a receiver gets. Whatever the decoder needs beyond the bytes, its own
settings and the :class:`Context` (which both ends know) must be in the bytes, and is charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from syft_fl.errors import CodecError
from syft_fl.keys import Key
from syft_fl.schema import Registry
from syft_fl.vectors import Layout, Vector

__all__ = ["CODECS", "Codec", "Context", "Memory", "Payload", "Summing"]

Memory = Mapping[str, Any]
"""What a codec remembers about one link, as a value; owned by the transport, part of every checkpoint."""

CODECS = Registry("codec", "encode", "decode")
"""Codecs by kind; ``CODECS(MyCodec)`` adds one."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Encoded bytes and the exact number of bits in them that mean something.

    Raises:
        CodecError: not ``8 * (len(body) - 1) < bits <= 8 * len(body)``, or bits below 0.
    """

    body: bytes | memoryview
    bits: int

    def __post_init__(self) -> None:
        if self.bits < 0 or not 8 * (len(self.body) - 1) < self.bits <= 8 * len(self.body):
            raise CodecError(
                f"payload of {len(self.body)} bytes can't hold exactly {self.bits} bits; "
                "bits counts every bit used, the last byte's included"
            )


@dataclass(frozen=True, slots=True)
class Context:
    """What both ends of a link know about one message.

    Attributes:
        layout: names, shapes and the length of the vector.
        key: the message's random stream; the receiver derives the same one.
        version: serial of the model that this message carries or updates.
        round: federated round.
        loss: of the sender of an upload: the training loss that it was told of with its last model, where frames
            bring it (``needs_loss``); else not a number. The receiver has none: what depends on it is in the bytes.
        weight: of the sender of an upload: its samples relative to the mean of the UEs, as it was told of that with
            the loss; else 1.
        memory: what this codec remembered at this end of the link.
    """

    layout: Layout
    key: Key
    version: int = 0
    round: int = 0
    loss: float = float("nan")
    weight: float = 1.0
    memory: Memory = field(default_factory=dict)


@runtime_checkable
class Codec(Protocol):
    """One way of writing a vector as bytes. Implementations are frozen dataclasses with a ``kind``."""

    kind: ClassVar[str]
    lossless: ClassVar[bool]
    """Whether decode gives back every float32 bit: then delta and error feedback have nothing to do."""

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        """Write a vector.

        Args:
            x: [entries] float32, on the CPU, contiguous. Not changed.
            ctx: what both ends know.

        Returns:
            The payload, and what the sending end remembers once the message has arrived.

        Raises:
            CodecError: an entry is NaN or infinite.
        """
        ...

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        """Read a vector from bytes that came over the air.

        Returns:
            [ctx.layout.length] float32, finite; and what the receiving end remembers.

        Raises:
            CodecError: the bytes are not what ``encode`` writes for this layout.
        """
        ...


@runtime_checkable
class Summing(Protocol):
    """A codec whose payloads can be added up before they are decoded, where that finds more than decoding each does.

    A base station may then take its mean in code space. What it remembers from one sum to the next is one memory for
    all its links, which the transport owns beside theirs.
    """

    def aggregate(
        self,
        payloads: Sequence[Payload],
        weights: Sequence[float],
        *,
        ctxs: Sequence[Context],
        memory: Memory,
    ) -> tuple[Vector, Memory]:
        """Decode a weighted sum.

        Args:
            payloads: [senders] of vectors of one layout, at least one, in a fixed order of senders.
            weights: [senders] of each in the sum.
            ctxs: [senders] what both ends knew of each message, as ``decode`` gets it.
            memory: what the last sum left behind; empty at first.

        Returns:
            [entries] float32, finite: the weighted sum of what was encoded, as far as it is recovered; and what this
            sum leaves behind.

        Raises:
            CodecError: a payload is not what ``encode`` writes for this layout.
        """
        ...
