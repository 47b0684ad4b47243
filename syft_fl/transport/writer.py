"""The way out: a message -> frames. Nothing that either end remembers is changed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from syft_fl.codecs import Payload
from syft_fl.errors import CodecError, TransportError
from syft_fl.transport.ends import Ends
from syft_fl.transport.frame import Frame, pack_facts, pack_tensors
from syft_fl.transport.layers import Encoded
from syft_fl.transport.lookahead import Lookahead, Writing
from syft_fl.transport.message import Message, ModelContent, Signal
from syft_fl.transport.outgoing import Outgoing

__all__ = ["Writer"]


class Writer:
    """Makes frames of messages.

    Args:
        ends: what a message is written with.
        lookahead: what was written ahead.
    """

    def __init__(self, ends: Ends, lookahead: Lookahead) -> None:
        self._ends = ends
        self._lookahead = lookahead

    def prepare(self, message: Message) -> list[Outgoing]:
        """Frames for a message; see :meth:`Transport.prepare`."""
        ends = self._ends
        if message.sender != ends.hub:
            if message.receiver != ends.hub:
                raise TransportError(
                    f"{message.sender!r} to {message.receiver!r}: one end must be the base station {ends.hub!r}"
                )
            if message.kind == "model" and ends.up.common.analog is not None:
                raise TransportError(
                    f"{message.sender!r} can't send its model by itself where uplink.analog lets the channel add up "
                    "all; run a Simulation, or leave uplink.analog out"
                )
            signal = message.content if isinstance(message.content, Signal) else None
            serial = signal.number if signal is not None else ends.next_upload(message.sender)
            return [self._frame("uplink", message, (message.sender,), serial)]
        ues = (message.receiver,) if isinstance(message.receiver, str) else message.receiver
        if isinstance(message.content, Signal):
            return [self._frame("downlink", message, ues, message.content.number)]
        groups: dict[tuple[int, int], list[str]] = {}
        for ue in ues:
            # Equal pipelines are one object.
            wrote = id(ends.down.pipeline(ue)) if message.kind == "model" else 0
            groups.setdefault((ends.reference("downlink", message, ue), wrote), []).append(ue)
        prepared = [
            self._frame("downlink", message, tuple(group), serial)
            for serial, group in enumerate(groups.values(), start=ends.next_download)
        ]
        if ends.down.common.cast != "unicast":
            return prepared
        # The same bytes for all of a group, each UE's over its own link.
        return [replace(out, ues=(ue,)) for out in prepared for ue in out.ues]

    def audience(self, wanted: tuple[str, ...], stream: str, *, cell: Sequence[str]) -> tuple[str, ...]:
        """Whom the next model of a stream is sent to; see :meth:`Transport.audience`."""
        ends = self._ends
        if ends.down.common.cast != "broadcast":
            return wanted
        versions = {
            ue: ends.references.version(ue, stream) if ends.down.pipeline(ue).needs_reference else None
            for ue in cell
        }
        newest = max((version for version in versions.values() if version is not None), default=None)
        served = {None, newest, *(versions[ue] for ue in wanted)}
        others = set(cell).difference(wanted)
        return wanted + tuple(ue for ue in cell if ue in others and versions[ue] in served)

    def look_ahead(self, messages: Sequence[Message]) -> None:
        """Encode side by side the models that UEs are about to send; see :meth:`Transport.look_ahead`."""
        alike: dict[int, list[Writing]] = {}
        for message in messages:
            ue, content = message.sender, message.content
            assert isinstance(content, ModelContent)
            reference = self._ends.reference("uplink", message, ue)
            writing = self._writing(message, content, (ue,), self._ends.next_upload(ue), reference)
            if not writing.is_whole:
                alike.setdefault(id(writing.pipeline), []).append(writing)
        for writings in alike.values():
            self._lookahead.write(writings)

    def _frame(self, direction: str, message: Message, ues: tuple[str, ...], serial: int) -> Outgoing:
        ends, content = self._ends, message.content
        reference, pipeline, encoded, side, loss = 0, None, None, b"", None
        if isinstance(content, ModelContent):
            reference = ends.reference(direction, message, ues[0])
            pipeline = ends.settings(direction).pipeline(ues[0])
            if any(ends.up.pipeline(ue).needs_loss for ue in ues):
                loss = message.loss
            payload, encoded = self._encode(message, content, ues, serial, reference)
            side = pack_tensors(list(content.state.buffers.values()))
            raw_bits = 32 * content.layout.length + 8 * len(side)
        elif isinstance(content, Signal):
            reference, raw_bits = content.version, 8 * len(content.detail)
            payload = Payload(content.detail, raw_bits)
        elif isinstance(content, Mapping):
            body = pack_facts(content)
            payload, raw_bits = Payload(body, 8 * len(body)), 8 * len(body)
        else:
            body = pack_tensors(content)
            payload = Payload(body, 8 * len(body))
            raw_bits = 8 * sum(t.numel() * t.element_size() for t in content)
        frame = Frame(
            kind=message.kind,
            serial=serial,
            payload=payload.body,
            payload_bits=payload.bits,
            round=message.round,
            reference=reference,
            samples=message.samples,
            side=side,
            loss=loss,
        )
        packed = frame.pack()
        return Outgoing(
            direction=direction,
            kind=message.kind,
            stream=message.stream,
            about=message.about,
            ues=ues,
            serial=serial,
            round=message.round,
            reference=reference,
            frame=packed,
            bits=8 * len(packed),
            raw_bits=raw_bits,
            payload_bits=payload.bits,
            pipeline=pipeline,
            encoded=encoded,
        )

    def _encode(
        self, message: Message, content: ModelContent, ues: tuple[str, ...], serial: int, reference: int
    ) -> tuple[Payload, Encoded]:
        """What a model is written as."""
        ready = self._lookahead.written(
            message,
            serial=serial,
            reference=self._ends.references.vector(reference),
            memory=self._ends.sender(ues[0], message.stream),
        )
        if ready is not None:
            return ready[1:]
        writing = self._writing(message, content, ues, serial, reference)
        try:
            return writing.pipeline.encode(
                writing.x, reference=writing.reference, memory=writing.memory, ctx=writing.ctx
            )
        except CodecError as error:
            raise CodecError(
                f"{message.sender}'s {message.stream} in round {message.round}: {error}"
            ) from None

    def _writing(
        self, message: Message, content: ModelContent, ues: tuple[str, ...], serial: int, reference: int
    ) -> Writing:
        """All that a model is encoded with."""
        ends = self._ends
        direction = "downlink" if message.sender == ends.hub else "uplink"
        ends.layouts.setdefault(message.stream, content.layout)
        ctx = ends.context(direction, ues, message.stream, serial, message.round)
        if direction == "uplink" and ends.up.pipeline(ues[0]).needs_loss:
            ctx = ends.informed(ctx, ues[0], message)
        return Writing(
            message,
            ends.settings(direction).pipeline(ues[0]),
            content.state.vector,
            ends.references.vector(reference),
            ends.sender(ues[0], message.stream),
            ctx,
        )
