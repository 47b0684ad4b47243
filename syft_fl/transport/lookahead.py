"""Codings of several UEs' models done side by side, before each is asked for by itself.

A codec's call costs more than the arithmetic of a small model, and one call may serve many vectors
(:mod:`syft_fl.codecs.batch`). Who knows which vectors come next says so; what they become is kept, with all that it
depends on, until it is asked for. Where anything of that is another object by then, it is done anew: looking ahead
saves time and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syft_fl.codecs import Context, Payload, decode_batch, encode_batch, side_by_side
from syft_fl.errors import CodecError
from syft_fl.transport.layers import Decoded, Encoded, LinkMemory, Pipeline
from syft_fl.transport.message import Message
from syft_fl.transport.outgoing import Written
from syft_fl.vectors import Vector

__all__ = ["Lookahead", "Reading", "Writing"]


@dataclass(frozen=True, slots=True)
class Writing:
    """All that the encoding of a message depends on; ``x`` is its model."""

    message: Message
    pipeline: Pipeline
    x: Vector
    reference: Vector | None
    memory: LinkMemory
    ctx: Context

    @property
    def is_whole(self) -> bool:
        """Whether a whole model goes out where differences are due: there is nothing yet to differ from."""
        return self.pipeline.needs_reference and self.reference is None


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a decoding depends on; ``frame`` are the bytes that the payload is part of."""

    pipeline: Pipeline
    frame: bytes
    written: Written


class Lookahead:
    """What is known of the next encodings and decodings, by UE."""

    def __init__(self) -> None:
        self._encoded: dict[str, tuple[Writing, Payload, Encoded]] = {}
        self._decoded: dict[str, tuple[Reading, Decoded]] = {}

    @staticmethod
    def vectors(pipeline: Pipeline, length: int) -> int:
        """How many vectors of so many entries are worth being done together; 1: each by itself."""
        return side_by_side(pipeline.codec, length)

    def write(self, writings: Sequence[Writing]) -> None:
        """Encode for some UEs, all by one pipeline, what each is about to send.

        A vector that can't be encoded is left for the moment when it is asked for, which says whose it is.
        """
        if len(writings) < 2:
            return
        pipeline = writings[0].pipeline
        sent = pipeline.differences(
            [w.x for w in writings],
            references=[w.reference for w in writings],
            memories=[w.memory for w in writings],
        )
        try:
            payloads = encode_batch(pipeline.codec, sent, [w.ctx for w in writings])
        except CodecError:
            return
        for writing, x, (payload, memory) in zip(writings, sent, payloads, strict=True):
            # A residual must not keep the whole matrix that it is a row of.
            encoded = pipeline.encoded(x.clone() if pipeline.feeds_back else x, memory)
            self._encoded[writing.message.sender] = writing, payload, encoded

    def written(
        self, message: Message, *, serial: int, reference: Vector | None, memory: LinkMemory
    ) -> tuple[Writing, Payload, Encoded] | None:
        """What a message was written as ahead; None: it was not, or of what it depends on something has changed."""
        ready = self._encoded.pop(message.sender, None)
        if ready is None:
            return None
        writing = ready[0]
        same = (
            writing.message is message
            and writing.ctx.version == serial
            and writing.reference is reference
            and writing.memory.residual is memory.residual
            and not memory.codec
        )
        return ready if same else None

    def read(self, readings: dict[str, Reading]) -> None:
        """Decode some UEs' frames, all by one pipeline, that are about to arrive."""
        pipeline = next(iter(readings.values())).pipeline
        if pipeline.needs_reference:
            readings = {
                ue: reading for ue, reading in readings.items() if reading.written.reference is not None
            }
        if len(readings) < 2:
            return
        written = [reading.written for reading in readings.values()]
        try:
            rows, memories = decode_batch(
                pipeline.codec,
                [w.payload for w in written],
                [w.ctx for w in written],
                device=pipeline.device,
            )
        except CodecError:
            return
        for (ue, reading), row, memory in zip(readings.items(), rows, memories, strict=True):
            decoded = pipeline.decoded(
                row if pipeline.layers else row.clone(),
                reference=reading.written.reference,
                codec_memory=memory,
            )
            self._decoded[ue] = reading, decoded

    def decoded(self, ue: str, frame: bytes, reference: Vector | None) -> tuple[Written, Decoded] | None:
        """What a frame decoded to ahead; None: it did not, or its reference is another object now."""
        ready = self._decoded.pop(ue, None)
        if ready is None or ready[0].frame is not frame or ready[0].written.reference is not reference:
            return None
        return ready[0].written, ready[1]

    def knows(self, ue: str, frame: bytes) -> bool:
        """Whether a frame that has not arrived yet was decoded."""
        return ue in self._decoded and self._decoded[ue][0].frame is frame

    def drop(self, ue: str) -> None:
        """A UE's frame is lost: nobody will ask for it."""
        self._decoded.pop(ue, None)

    def forget(self) -> None:
        """Let go of all that nobody has asked for."""
        self._encoded.clear()
        self._decoded.clear()
