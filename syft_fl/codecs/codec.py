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

__all__ = ["CODECS", "Codec", "Context", "Erasable", "Gaps", "Memory", "Part", "Payload", "Summing"]

Memory = Mapping[str, Any]
"""What a codec remembers about one link, as a value; owned by the transport, part of every checkpoint."""

Gaps = tuple[tuple[int, int], ...]
"""First bit and the bit after the last one of each stretch of bits that did not come, in order and apart."""

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


@dataclass(frozen=True, slots=True)
class Part:
    """What was decoded of a payload with gaps.

    Attributes:
        vector: [entries] float32, finite; what is missing counts as 0.
        memory: what the receiving end remembers.
        share: how much of what was sent is in it, 0 … 1. Where losses meet all parts of a payload alike, the mean of
            ``vector / share`` over them is what the whole payload decodes to.
    """

    vector: Vector
    memory: Memory
    share: float


@runtime_checkable
class Erasable(Protocol):
    """A codec that can decode what came of a payload, so that a lost packet need not lose the message.

    It is one whose numbers are at places that follow from settings and layout. What a gap touches is missing, and
    counts as 0 where the codec writes it: of a rotated vector in the rotated one, so that what is lost is lost
    evenly. Nothing is scaled up here; :class:`~syft_fl.transport.layers.Pipeline` does that by the share that came,
    where nobody makes up for what did not.
    """

    @property
    def erasable(self) -> bool:
        """Whether these settings allow it; a coder of variable length, or a codec behind, may not."""
        ...

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        """Read a vector from what came of a payload.

        Args:
            payload: of the length that was sent. What its bits are within the gaps changes nothing.
            gaps: bits of the payload that did not come.
            ctx: as ``decode`` gets it.

        Returns:
            What was decoded; without a gap what ``decode`` gives, and a share of 1. None where the rest says nothing:
            what all of it depends on is missing.

        Raises:
            CodecError: the bytes beside the gaps are not what ``encode`` writes for this layout.
        """
        ...
