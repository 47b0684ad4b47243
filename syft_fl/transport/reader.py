"""The way in: bytes that came -> content, remembered by the receiving end."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from syft_fl.codecs import Payload, blanked
from syft_fl.errors import TransportError
from syft_fl.radio import Transfer
from syft_fl.transport.carrier import Carrier
from syft_fl.transport.ends import Ends
from syft_fl.transport.frame import Frame, unpack_facts, unpack_tensors
from syft_fl.transport.layers import Decoded, Pipeline
from syft_fl.transport.lookahead import Lookahead, Reading
from syft_fl.transport.message import SIGNALS, Content, ModelContent, Signal
from syft_fl.transport.outgoing import Accepted, Outgoing, Part, Written
from syft_fl.vectors import ModelState, Vector

__all__ = ["Reader"]


class Reader:
    """Makes content of frames.

    Args:
        ends: what a message is read with.
        carrier: who hands the bytes over.
        lookahead: what was read ahead.
    """

    def __init__(self, ends: Ends, carrier: Carrier, lookahead: Lookahead) -> None:
        self._ends = ends
        self._carrier = carrier
        self._lookahead = lookahead
        # Receivers of a multicast share what its bytes decode to.
        self._last_accepted: tuple[bytes, ModelContent, Decoded] | None = None
        self._last_opened: tuple[bytes, Frame] | tuple[None, None] = (None, None)

    def hand_over(self, outgoing: Outgoing, receivers: Sequence[str]) -> bytes:
        """The bytes of a frame as they came to the other end; see :meth:`Transport.hand_over`."""
        hub = self._ends.hub
        if outgoing.direction == "uplink":
            return self._carrier.hand_over(outgoing.frame, sender=outgoing.ues[0], receiver=hub)
        for ue in receivers:
            received = self._carrier.hand_over(outgoing.frame, sender=hub, receiver=ue)
            if received != outgoing.frame:
                raise TransportError(
                    f"the carrier gave {ue!r} other bytes than {hub!r} sent; all receivers of a frame get the same"
                )
        return received

    def opened(self, outgoing: Outgoing, data: bytes) -> Frame:
        """Received bytes taken apart; see :meth:`Transport.opened`."""
        if data is not self._last_opened[0]:
            self._last_opened = data, Frame.unpack(data, untouched=data is outgoing.frame)
        return self._last_opened[1]

    def accept(
        self,
        outgoing: Outgoing,
        receivers: Sequence[str],
        *,
        data: bytes | None = None,
        part: Part | None = None,
        keep: Mapping[str, int] | None = None,
        behind: Iterable[Outgoing] = (),
    ) -> Accepted:
        """Decode what came, and let the receiving end remember it; see :meth:`Transport.accept`.

        Args:
            behind: frames that will come next; those alike are decoded side by side.
        """
        ends = self._ends
        if part is not None:
            content = self._remembered(outgoing, part.frame, part.decoded, receivers, keep)
            return Accepted(content, part.frame, None, part.decoded)
        received = self.hand_over(outgoing, receivers) if data is None else data
        frame = self.opened(outgoing, received)
        if frame.kind != "model":
            return Accepted(_opened(frame), frame, None, None)
        if outgoing.direction == "downlink":
            for ue in receivers:
                held = ends.references.held(ue, outgoing.stream)
                if frame.reference and frame.reference not in held:
                    raise TransportError(
                        f"{ue!r} does not hold version {frame.reference} of {outgoing.stream!r}; send a whole model"
                    )
            if frame.loss is not None:
                for ue in receivers:
                    ends.tell(ue, outgoing.stream, loss=frame.loss, samples=frame.samples)
        if self._last_accepted is not None and self._last_accepted[0] is received:
            _, content, decoded = self._last_accepted
            self._hold(receivers, outgoing.stream, frame, content.state.vector, keep)
            return Accepted(content, frame, None, decoded)
        pipeline = ends.pipeline(outgoing)
        written, decoded = self._decoded(outgoing, frame, received, pipeline, behind)
        content = self._remembered(outgoing, frame, decoded, receivers, keep)
        if outgoing.direction == "downlink":
            self._last_accepted = (received, content, decoded)
        sums = outgoing.direction == "uplink" and pipeline.sums
        return Accepted(content, frame, written if sums else None, decoded)

    def part(self, outgoing: Outgoing, transfer: Transfer) -> Part | None:
        """What came of a model whose packets are not all there, where that is enough to decode it."""
        gaps = tuple((first, end) for _, first, end in transfer.gaps)
        if outgoing.pipeline is None or not outgoing.pipeline.erasure or not gaps:
            return None
        if not outgoing.frame:  # it was handed on whole, to who can't amend it
            return None
        # The base station has nothing of what is in the gaps, and no line behind this one sees it.
        came = blanked(outgoing.frame, gaps)
        received = self._carrier.hand_over(came, sender=outgoing.ues[0], receiver=self._ends.hub)
        unpacked = Frame.unpack_part(received, gaps)
        if unpacked is None:
            return None
        frame, missing = unpacked
        written = replace(outgoing.written or self.written(outgoing, frame), payload=_payload(frame))
        decoded = outgoing.pipeline.decode_part(
            written.payload, missing, reference=written.reference, ctx=written.ctx
        )
        return None if decoded is None else Part(frame, decoded)

    def written(self, outgoing: Outgoing, frame: Frame) -> Written:
        """A model's payload, and what both ends know of it now."""
        direction, stream, ends = outgoing.direction, outgoing.stream, self._ends
        ctx = ends.context(direction, outgoing.ues, stream, frame.serial, frame.round, received=True)
        return Written(_payload(frame), ctx, ends.references.vector(frame.reference))

    def preview(self, outgoing: Outgoing, *, base: Vector) -> Vector:
        """[entries] what a frame that was prepared would decode to; see :meth:`Transport.preview`."""
        written = self.written(outgoing, Frame.unpack(outgoing.frame, untouched=True))
        pipeline = self._ends.pipeline(outgoing)
        decoded = pipeline.decode(written.payload, reference=written.reference, ctx=written.ctx)
        return decoded.from_codec if written.reference is not None else decoded.vector - base

    def content(self, stream: str, frame: Frame, vector: Vector) -> ModelContent:
        """The model that a frame brings, with the buffers beside its vector."""
        layout = self._ends.layouts[stream]
        buffers = [buffer.to(self._ends.device) for buffer in unpack_tensors(frame.side)]
        names = [name for name, _, _ in layout.buffers]
        return ModelContent(ModelState(vector, dict(zip(names, buffers, strict=True))), layout)

    def forget(self) -> None:
        """Let go of what was accepted last."""
        self._last_accepted = None

    def _decoded(
        self,
        outgoing: Outgoing,
        frame: Frame,
        received: bytes,
        pipeline: Pipeline,
        behind: Iterable[Outgoing],
    ) -> tuple[Written, Decoded]:
        """What a model's payload decodes to; those behind it are decoded with it where that pays."""
        if outgoing.direction == "uplink":
            ue, reference = outgoing.ues[0], self._ends.references.vector(frame.reference)
            ready = self._lookahead.decoded(ue, received, reference)
            if ready is None and received is outgoing.frame:
                self._read_ahead(outgoing, frame, pipeline, behind)
                ready = self._lookahead.decoded(ue, received, reference)
            if ready is not None:
                return ready
        written = self.written(outgoing, frame)
        return written, pipeline.decode(written.payload, reference=written.reference, ctx=written.ctx)

    def _read_ahead(
        self, outgoing: Outgoing, frame: Frame, pipeline: Pipeline, behind: Iterable[Outgoing]
    ) -> None:
        most = self._lookahead.vectors(pipeline, self._ends.layouts[outgoing.stream].length)
        alike = (other for other in behind if other.pipeline is pipeline and other.direction == "uplink")
        unread = (other for other in alike if not self._lookahead.knows(other.ues[0], other.frame))
        others = list(itertools.islice(unread, most - 1))
        if not others:
            return
        readings = {outgoing.ues[0]: Reading(pipeline, outgoing.frame, self.written(outgoing, frame))}
        for other in others:
            written = self.written(other, Frame.unpack(other.frame, untouched=True))
            readings[other.ues[0]] = Reading(pipeline, other.frame, written)
        self._lookahead.read(readings)

    def _remembered(
        self,
        outgoing: Outgoing,
        frame: Frame,
        decoded: Decoded,
        receivers: Sequence[str],
        keep: Mapping[str, int] | None,
    ) -> ModelContent:
        """A model as it was decoded, once the receiving end remembers it."""
        if outgoing.direction == "uplink":
            self._ends.receive((outgoing.ues[0], outgoing.stream), decoded.codec_memory)
        else:
            self._hold(receivers, outgoing.stream, frame, decoded.vector, keep)
        return self.content(outgoing.stream, frame, decoded.vector)

    def _hold(
        self, ues: Sequence[str], stream: str, frame: Frame, vector: Vector, keep: Mapping[str, int] | None
    ) -> None:
        self._ends.hold(ues, stream, frame.serial, vector, since=frame.reference, keep=keep or {})


def _opened(frame: Frame) -> Content:
    """What a frame that is no model brings."""
    if frame.kind in SIGNALS:
        return Signal(frame.serial, frame.reference, bytes(frame.payload))
    if frame.kind == "control":
        return unpack_facts(frame.payload)
    return unpack_tensors(frame.payload)


def _payload(frame: Frame) -> Payload:
    return Payload(frame.payload, frame.payload_bits)
