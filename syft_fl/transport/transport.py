"""The one seam: everything that a base station and a UE tell each other passes here.

Sending is *prepare → decide → offer → commit or roll back*. :meth:`Transport.prepare` turns a message into
frames (delta, error feedback, codec, header, CRC) and changes nothing. The caller decides whether to send
it. :meth:`Transport.offer` hands the bits to the medium. :meth:`Transport.advance` lets simulated time pass: what
arrives is decoded from its bytes, and only then both ends' memories change. What is lost changes nothing.

:meth:`Transport.carry` does all of it at once, for ``send`` and ``get``.

Acknowledgements are taken to be free and never lost; a codec's memory is kept on the uplink only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from syft_fl.clock import Clock
from syft_fl.codecs import Context, Payload
from syft_fl.errors import CodecError, TransportError
from syft_fl.keys import Key
from syft_fl.radio import Cell, Link, Medium, Transfer
from syft_fl.transport.carrier import CarrierModel, Local
from syft_fl.transport.direction import Downlink, Uplink
from syft_fl.transport.frame import (
    Frame,
    pack_facts,
    pack_tensors,
    unpack_facts,
    unpack_tensors,
)
from syft_fl.transport.layers import LinkMemory, Pipeline
from syft_fl.transport.ledger import Entry, Ledger
from syft_fl.transport.message import Content, Delivery, Message, ModelContent
from syft_fl.transport.outgoing import Arrival, Outgoing
from syft_fl.transport.references import References
from syft_fl.vectors import Layout, ModelState, Vector

__all__ = ["Transport"]

_DOWNLOADS = "/downloads"
"""Name of the downloads' counter beside the UEs' own."""


class Transport:
    """Both directions between one base station and its UEs.

    Args:
        uplink, downlink: settings of the directions; the default is float32 at 10 Mbit/s.
        cell: where the UEs are.
        key: the random streams of codecs and radio.
        hub: the base station's name.
        users: how many UEs a static split of the band is made for.
        carrier: who hands the bytes over; the default is this process itself.

    Example:
        >>> import torch
        >>> transport = Transport()
        >>> weights = (torch.zeros(1000),)
        >>> sent = transport.carry(Message("data", "me", "ue1", "x", weights), now_s=0.0)
        >>> sent.bits, round(sent.end_s, 6)
        (32336, 0.003234)
    """

    def __init__(
        self,
        *,
        uplink: Uplink | None = None,
        downlink: Downlink | None = None,
        cell: Cell | None = None,
        key: Key | int = 0,
        hub: str = "me",
        users: int = 1,
        carrier: CarrierModel | None = None,
    ) -> None:
        self.uplink = uplink or Uplink()
        self.downlink = downlink or Downlink()
        self.key = Key(key) if isinstance(key, int) else key
        self.hub = hub
        self.carrier = (carrier or Local()).open(hub)
        self.clock = Clock()
        self.ledger = Ledger()
        self.references = References()
        cell = cell or Cell()
        radio = self.key / "radio"
        self._links: dict[str, Link] = {
            "uplink": self.uplink.link.link(cell, radio, "uplink"),
            "downlink": self.downlink.link.link(cell, radio, "downlink"),
        }
        self._media: dict[str, Medium] = {
            "uplink": self.uplink.access.open(self._links["uplink"], users=users),
            "downlink": self.downlink.access.open(self._links["downlink"], users=users),
        }
        self._pipelines = {
            "uplink": Pipeline.of(
                self.uplink.codec,
                delta=self.uplink.delta,
                error_feedback=self.uplink.error_feedback,
            ),
            "downlink": Pipeline.of(self.downlink.codec, delta=self.downlink.delta),
        }
        self._keeps_references = any(p.needs_reference for p in self._pipelines.values())
        self._layouts: dict[str, Layout] = {}
        self._sender: dict[tuple[str, str], LinkMemory] = {}
        self._receiver: dict[tuple[str, str], LinkMemory] = {}
        self._serials: Counter[str] = Counter()
        self._in_flight: dict[tuple[str, int], Outgoing] = {}
        self._last_received: tuple[bytes, ModelContent] | None = None

    def prepare(self, message: Message) -> list[Outgoing]:
        """Frames for a message; nothing is changed.

        One frame for one receiver. A multicast makes one for each group of receivers that hold the same
        reference; where the downlink is unicast, one for each receiver.

        Raises:
            CodecError: an entry of a model is NaN or infinite; the message names sender and round.
            TransportError: neither end is the base station.
        """
        if message.sender != self.hub:
            if message.receiver != self.hub:
                raise TransportError(
                    f"{message.sender!r} to {message.receiver!r}: one end must be the base station {self.hub!r}"
                )
            serial = self._serials[message.sender] + 1
            return [self._prepare("uplink", message, (message.sender,), serial)]
        ues = (message.receiver,) if isinstance(message.receiver, str) else message.receiver
        groups: dict[int, list[str]] = {}
        for ue in ues:
            groups.setdefault(self._reference("downlink", message, ue), []).append(ue)
        first = self._serials[_DOWNLOADS] + 1
        prepared = [
            self._prepare("downlink", message, tuple(group), serial)
            for serial, group in enumerate(groups.values(), start=first)
        ]
        if self.downlink.cast == "multicast":
            return prepared
        # The same bytes for all of a group, each UE's over its own link.
        return [replace(out, ues=(ue,)) for out in prepared for ue in out.ues]

    def _prepare(self, direction: str, message: Message, ues: tuple[str, ...], serial: int) -> Outgoing:
        content = message.content
        reference, encoded, side = 0, None, b""
        if isinstance(content, ModelContent):
            self._layouts.setdefault(message.stream, content.layout)
            reference = self._reference(direction, message, ues[0])
            ctx = self._context(direction, ues, message.stream, serial, message.round)
            try:
                encoded = self._pipelines[direction].encode(
                    content.state.vector,
                    reference=self.references.vector(reference),
                    memory=self._sender.get((ues[0], message.stream), LinkMemory()),
                    ctx=ctx,
                )
            except CodecError as error:
                raise CodecError(
                    f"{message.sender}'s {message.stream} in round {message.round}: {error}"
                ) from None
            payload = encoded.payload
            side = pack_tensors(list(content.state.buffers.values()))
            raw_bits = 32 * content.layout.length + 8 * len(side)
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
        )
        return Outgoing(
            direction=direction,
            kind=message.kind,
            stream=message.stream,
            ues=ues,
            serial=serial,
            round=message.round,
            reference=reference,
            frame=frame.pack(),
            raw_bits=raw_bits,
            payload_bits=payload.bits,
            encoded=encoded,
        )

    def offer(self, outgoing: Outgoing, *, now_s: float) -> None:
        """Hand a prepared frame to the medium.

        Raises:
            TransportError: the link never carries it.
        """
        ticket = self._media[outgoing.direction].offer(
            outgoing.ues, outgoing.bits, now_s=now_s, block=outgoing.round
        )
        self._in_flight[outgoing.direction, ticket] = outgoing
        # Uploads are counted per UE, downloads once for all: a multicast has one number.
        counter = outgoing.ues[0] if outgoing.direction == "uplink" else _DOWNLOADS
        self._serials[counter] = max(self._serials[counter], outgoing.serial)

    def roll_back(self, outgoing: Outgoing) -> None:
        """Settle a frame that does not arrive: lost, or prepared but held back. Its update returns to the residual."""
        if outgoing.direction == "uplink" and outgoing.encoded is not None:
            link = (outgoing.ues[0], outgoing.stream)
            before = self._sender.get(link, LinkMemory())
            self._remember(link, self._pipelines["uplink"].rolled_back(outgoing.encoded, before))

    def residual(self, ue: str, stream: str) -> Vector | None:
        """What a UE's earlier uploads failed to deliver; None for nothing."""
        return self._sender.get((ue, stream), LinkMemory()).residual

    def next_event_s(self) -> float:
        """When something happens next on the air [s]; infinity where nothing is on its way."""
        return min(medium.next_event_s() for medium in self._media.values())

    def advance(self, to_s: float) -> list[Arrival]:
        """Let simulated time pass; what arrived, in order of arrival (downlink first at one instant)."""
        ended: list[tuple[float, str, Transfer]] = []
        for direction in ("downlink", "uplink"):
            ended += [(t.end_s, direction, t) for t in self._media[direction].advance(to_s)]
        ended.sort(key=lambda item: item[0])
        return [self._arrive(direction, transfer) for _, direction, transfer in ended]

    def _arrive(self, direction: str, transfer: Transfer) -> Arrival:
        outgoing = self._in_flight.pop((direction, transfer.ticket))
        self.ledger.add(
            Entry(
                round=outgoing.round,
                direction=direction,
                kind=outgoing.kind,
                stream=outgoing.stream,
                ues=outgoing.ues,
                serial=outgoing.serial,
                raw_bits=outgoing.raw_bits,
                payload_bits=outgoing.payload_bits,
                bits=outgoing.bits,
                offered_s=transfer.offered_s,
                start_s=transfer.start_s,
                end_s=transfer.end_s,
                airtime_s=transfer.airtime_s,
                attempts=transfer.attempts,
                energy_j=transfer.energy_j,
                lost=transfer.lost,
            )
        )
        receivers = tuple(ue for ue in outgoing.ues if ue not in transfer.lost)
        if not receivers:
            self.roll_back(outgoing)
            return Arrival(outgoing, transfer, None, 0)
        frame = Frame.unpack(self._handed_over(outgoing, receivers))
        if frame.kind != "model":
            content: Content = (
                unpack_facts(frame.payload) if frame.kind == "control" else unpack_tensors(frame.payload)
            )
            return Arrival(outgoing, transfer, content, frame.samples)
        return Arrival(outgoing, transfer, self._receive(outgoing, frame, receivers), frame.samples)

    def _handed_over(self, outgoing: Outgoing, receivers: Sequence[str]) -> bytes:
        """The frame's bytes as they came to the other end."""
        if outgoing.direction == "uplink":
            return self.carrier.hand_over(outgoing.frame, sender=outgoing.ues[0], receiver=self.hub)
        for ue in receivers:
            received = self.carrier.hand_over(outgoing.frame, sender=self.hub, receiver=ue)
            if received != outgoing.frame:
                raise TransportError(
                    f"the carrier gave {ue!r} other bytes than {self.hub!r} sent; all receivers of a frame get the same"
                )
        return received

    def _receive(self, outgoing: Outgoing, frame: Frame, receivers: Sequence[str]) -> ModelContent:
        """Decode a model from its frame, and commit it at both ends."""
        direction, stream = outgoing.direction, outgoing.stream
        if self._last_received is not None and self._last_received[0] is outgoing.frame:
            # The same bytes for one UE after another (unicast): they decode to the same model.
            content = self._last_received[1]
            self._acknowledge(receivers, stream, frame.serial, content.state.vector)
            return content
        layout = self._layouts[stream]
        ctx = self._context(direction, outgoing.ues, stream, frame.serial, frame.round, received=True)
        pipeline = self._pipelines[direction]
        decoded = pipeline.decode(
            Payload(frame.payload, frame.payload_bits),
            reference=self.references.vector(frame.reference),
            ctx=ctx,
        )
        if direction == "uplink" and outgoing.encoded is not None:
            link = (outgoing.ues[0], stream)
            before = self._sender.get(link, LinkMemory())
            self._remember(link, pipeline.committed(outgoing.encoded, decoded, before))
            if decoded.codec_memory:
                self._receiver[link] = LinkMemory(codec=decoded.codec_memory)
        buffers = unpack_tensors(frame.side)
        names = [name for name, _, _ in layout.buffers]
        content = ModelContent(ModelState(decoded.vector, dict(zip(names, buffers, strict=True))), layout)
        if direction == "downlink":
            self._acknowledge(receivers, stream, frame.serial, decoded.vector)
            self._last_received = (outgoing.frame, content)
        return content

    def _remember(self, link: tuple[str, str], memory: LinkMemory) -> None:
        # Idle links cost nothing: without residual and codec memory there is no entry.
        if memory.residual is not None or memory.codec:
            self._sender[link] = memory

    def _acknowledge(self, ues: Sequence[str], stream: str, version: int, vector: Vector) -> None:
        if self._keeps_references:
            for ue in ues:
                self.references.acknowledge(ue, stream, version, vector)

    def _reference(self, direction: str, message: Message, ue: str) -> int:
        """The version that this message will refer to; 0 where it is no delta."""
        is_delta = message.kind == "model" and self._pipelines[direction].needs_reference
        return self.references.version(ue, message.stream) if is_delta else 0

    def _context(
        self,
        direction: str,
        ues: Sequence[str],
        stream: str,
        serial: int,
        round_: int,
        *,
        received: bool = False,
    ) -> Context:
        """What both ends know of a message: the stream's layout and a key of its own."""
        if direction == "uplink":
            key = self.key / ues[0] / f"upload{serial}"
            memory = (self._receiver if received else self._sender).get((ues[0], stream), LinkMemory())
            return Context(self._layouts[stream], key, serial, round_, memory=memory.codec)
        return Context(self._layouts[stream], self.key / self.hub / f"download{serial}", serial, round_)

    def carry(self, message: Message, *, now_s: float) -> Delivery:
        """Send a message to one receiver and wait (in simulated time) until it is there or lost.

        Time goes on in the message's own direction alone. UEs that are told of one after the other have local
        times that overlap: while one uploads what it computed, another's download for an earlier time may follow.
        """
        (outgoing,) = self.prepare(message)
        self.offer(outgoing, now_s=now_s)
        medium = self._media[outgoing.direction]
        while True:
            for transfer in medium.advance(medium.next_event_s()):
                arrival = self._arrive(outgoing.direction, transfer)
                if arrival.outgoing is not outgoing:
                    raise TransportError("carry() met a frame that offer() had put on the air; use advance()")
                return _delivery(arrival)

    def state(self) -> dict[str, Any]:
        """Everything that the future depends on, as plain data and tensors.

        Raises:
            TransportError: a frame is on the air.
        """
        if self._in_flight:
            raise TransportError(f"{len(self._in_flight)} frames are on the air; let them arrive first")
        return {
            "media": {name: dict(medium.state()) for name, medium in self._media.items()},
            "references": self.references.state(),
            "sender": [[*link, _memory_state(m)] for link, m in self._sender.items()],
            "receiver": [[*link, _memory_state(m)] for link, m in self._receiver.items()],
            "serials": dict(self._serials),
            "ledger": self.ledger.totals(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        for name, medium in self._media.items():
            medium.load(state["media"][name])
        self.references = References.restore(state["references"])
        self._sender = {(u, s): LinkMemory(**m) for u, s, m in state["sender"]}
        self._receiver = {(u, s): LinkMemory(**m) for u, s, m in state["receiver"]}
        self._serials = Counter(state["serials"])
        for name, value in state["ledger"].items():
            setattr(self.ledger, name, value)


def _memory_state(memory: LinkMemory) -> dict[str, Any]:
    return {"residual": memory.residual, "codec": dict(memory.codec)}


def _delivery(arrival: Arrival) -> Delivery:
    outgoing, transfer = arrival.outgoing, arrival.transfer
    return Delivery(
        content=arrival.content,
        bits=outgoing.bits,
        raw_bits=outgoing.raw_bits,
        offered_s=transfer.offered_s,
        start_s=transfer.start_s,
        end_s=transfer.end_s,
        energy_j=transfer.energy_j,
        lost=bool(transfer.lost),
    )
