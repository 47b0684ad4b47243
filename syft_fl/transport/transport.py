"""The one seam: everything that a base station and a UE tell each other passes here.

Sending is *prepare → decide → offer → commit or roll back*. :meth:`Transport.prepare` turns a message into
frames (delta, error feedback, codec, header, CRC) and changes nothing. The caller decides whether to send
it. :meth:`Transport.offer` hands the bits to the medium. :meth:`Transport.advance` lets simulated time pass: what
arrives is decoded from its bytes, and only then both ends' memories change. What is lost changes nothing. Under
an ``erasure`` policy a part may be enough: it is decoded, and committed at both ends as what it decodes to.

:meth:`Transport.carry` does all of it at once, for ``send`` and ``get``; in a ``with transport.parallel():`` several of
them share the air (:mod:`~syft_fl.transport.parallel`). Codecs and links can be set for one UE, and in mid-session
(:meth:`Transport.configure`).

Acknowledgements are taken to be free and never lost; a codec's memory is kept on the uplink only. Where the payloads of
UEs add up, :meth:`Transport.aggregate` takes the mean of a round in code space.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from syft_fl.clock import Clock
from syft_fl.codecs import Codec, Context, Memory, Payload, blanked
from syft_fl.devices import CPU
from syft_fl.errors import CodecError, ConfigError, TransportError
from syft_fl.keys import Key
from syft_fl.radio import Cell, Link, LinkModel, Links, Medium, Transfer
from syft_fl.radio.over_the_air import bandwidth_hz, fading_kind
from syft_fl.spill import Spill, kept
from syft_fl.transport.carrier import CarrierModel, Local
from syft_fl.transport.direction import Downlink, Uplink
from syft_fl.transport.frame import (
    Frame,
    pack_facts,
    pack_tensors,
    unpack_facts,
    unpack_tensors,
)
from syft_fl.transport.layers import Decoded, Encoded, LinkMemory, Pipeline
from syft_fl.transport.ledger import Entry, Ledger
from syft_fl.transport.lookahead import Lookahead, Reading, Writing
from syft_fl.transport.message import Content, Delivery, Message, ModelContent, Signal
from syft_fl.transport.outgoing import (
    Accepted,
    Arrival,
    Landed,
    Outgoing,
    Part,
    Written,
    missing_bits,
    outgoing_state,
    restored,
)
from syft_fl.transport.parallel import Ahead, Before, Parallel, owing
from syft_fl.transport.references import References
from syft_fl.transport.settings import Settings
from syft_fl.transport.superposed import Statistics, Sum, statistics_of
from syft_fl.vectors import Layout, ModelState, Vector

__all__ = ["Transport"]

_DOWNLOADS = "/downloads"
"""Name of the downloads' counter beside the UEs' own."""

_SIGNALS = ("skip", "request", "grant", "ack", "nack", "hello", "bye")

_NOTHING = LinkMemory()

_Memories = MutableMapping[tuple[str, str], LinkMemory]


class Transport:
    """Both directions between one base station and its UEs.

    Args:
        uplink, downlink: settings of the directions; the default is float32 at 10 Mbit/s.
        cell: where the UEs are.
        key: the random streams of codecs and radio.
        hub: the base station's name.
        users: how many UEs a static split of the band is made for.
        carrier: who hands the bytes over; the default is this process itself.
        holds_back: a UE may keep an update to itself (a trigger). With error feedback it is then owed, also where
            the codec is lossless.
        device: where models are that are sent, and those that arrive.
        spill: how much of what both ends remember is in memory; None: all.

    Attributes:
        misses: those of a frame's UEs to or from whom it does not come, whatever the link does, since they are out of
            reach or break off; None: nobody.
        looks_ahead: whether uploads on the air may be decoded side by side before they arrive, where their codec can.
            That saves time and changes nothing, so long as most of them arrive and are of use.

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
        holds_back: bool = False,
        device: torch.device = CPU,
        spill: Spill | None = None,
    ) -> None:
        self._device = device
        self._up = Settings(uplink or Uplink(), holds_back=holds_back, device=device)
        self._down = Settings(downlink or Downlink(), device=device)
        self.key = Key(key) if isinstance(key, int) else key
        self.hub = hub
        self.carrier = (carrier or Local()).open(hub)
        self.clock = Clock()
        self.ledger = Ledger(hub)
        self.references = References(spill)
        self._cell = cell or Cell()
        self._links = {
            "uplink": Links(self._link(self.uplink.link, "uplink")),
            "downlink": Links(self._link(self.downlink.link, "downlink")),
        }
        self._media: dict[str, Medium] = {
            "uplink": self._medium("uplink", users),
            "downlink": self._medium("downlink", users),
        }
        self._keeps_references = self._up.need_reference or self._down.need_reference
        self._reconfigured = False
        self._block: Parallel | None = None
        self._layouts: dict[str, Layout] = {}
        self._sender: _Memories = kept(spill)
        self._receiver: _Memories = kept(spill)
        self._sums: dict[str, Memory] = {}
        # By UE and stream: the loss and the mean samples that came with the last model.
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._serials: Counter[str] = Counter()
        self._sum: Sum | None = None
        self._in_flight: dict[tuple[str, int], Outgoing] = {}
        self.misses: Callable[[Outgoing], Sequence[str]] | None = None
        self._last_accepted: tuple[bytes, ModelContent, Decoded] | None = None
        self._last_opened: tuple[bytes, Frame] | tuple[None, None] = (None, None)
        self.looks_ahead = False
        self._just_landed: list[Outgoing] = []
        self._lookahead = Lookahead()

    @property
    def uplink(self) -> Uplink:
        """The settings of the uplink; a UE's own are in :meth:`settings`."""
        return self._up.common

    @property
    def downlink(self) -> Downlink:
        """The settings of the downlink; a UE's own are in :meth:`settings`."""
        return self._down.common

    def settings(self, direction: str, ue: str) -> Uplink | Downlink:
        """What is set for a UE in one direction.

        Raises:
            ConfigError: a direction that is neither ``"uplink"`` nor ``"downlink"``.
        """
        return self._settings(direction).of(ue)

    def configure(
        self,
        direction: str,
        ue: str | None = None,
        *,
        codec: Codec | None = None,
        link: LinkModel | None = None,
        delta: bool | None = None,
        error_feedback: bool | None = None,
        erasure: bool | None = None,
    ) -> None:
        """Set a codec, a link or a layer from now on, for one UE or for all.

        What is left out stays as it is; what a UE was given of its own stays with it when something is set for all. A
        residual outlives its codec: what is owed is owed, and is paid by the next update that is sent with error
        feedback. What the old codec remembered of a link is forgotten. Models that UEs hold stay references; where no
        codec needed any so far, none were kept, and the next model of a stream goes out whole, as float32. A
        UE's own link has the place and the shadowing that the UE has in this cell. Who shares the air (``access``)
        and the cast are set once, at the start.

        Args:
            direction: ``"uplink"`` or ``"downlink"``.
            ue: for whom; None: for all that have nothing of their own there.
            codec, link, delta, error_feedback, erasure: as in :class:`Uplink`; the last two are the uplink's alone.

        Raises:
            ConfigError: an unknown direction, nothing to set, or settings that don't go together; nothing has changed.
            TransportError: something is on the air, or a ``parallel()`` block is open.
        """
        settings = self._settings(direction)
        self._require_quiet("configure()")
        named = {
            "codec": codec,
            "link": link,
            "delta": delta,
            "error_feedback": error_feedback,
            "erasure": erasure,
        }
        own_link = None if link is None else self._link(link, direction)
        wrote = {ue: self._up.of(ue).codec for ue, _ in (*self._sender, *self._receiver)}
        settings.change(ue, {name: value for name, value in named.items() if value is not None})
        self._reconfigured = True
        if own_link is not None:
            self._links[direction].set(ue, own_link)
        for memories in (self._sender, self._receiver):
            for link_, memory in list(memories.items()):
                if self._up.of(link_[0]).codec != wrote[link_[0]]:
                    self._restore_memory(memories, link_, LinkMemory(memory.residual))
        if direction == "uplink" and codec is not None:
            self._sums.clear()
        # Once kept, always kept: a later codec may want differences again, to a model that is not an old one.
        self._keeps_references |= settings.need_reference

    def radio(self, direction: str) -> Links:
        """The link of one direction, as it is set now: what it would do to bits at any time.

        Raises:
            ConfigError: a direction that is neither ``"uplink"`` nor ``"downlink"``.
        """
        self._settings(direction)
        return self._links[direction]

    def _settings(self, direction: str) -> Settings[Uplink] | Settings[Downlink]:
        if direction not in ("uplink", "downlink"):
            raise ConfigError(f"direction {direction!r} must be 'uplink' or 'downlink'")
        return self._up if direction == "uplink" else self._down

    def _link(self, model: LinkModel, direction: str) -> Link:
        return model.link(self._cell, self.key / "radio", direction)

    def _medium(self, direction: str, users: int) -> Medium:
        access = self._settings(direction).common.access
        return access.open(self._links[direction], users=users, key=self.key / "radio" / direction / "access")

    def _require_quiet(self, what: str) -> None:
        if self._block is not None:
            raise TransportError(
                f"{what} inside parallel(): its messages are not sent yet; do it after the block"
            )
        if self._in_flight or self._sum is not None:
            raise TransportError(
                f"{what} with {len(self._in_flight)} frames on the air; let them arrive first"
            )

    def prepare(self, message: Message) -> list[Outgoing]:
        """Frames for a message; nothing is changed.

        One frame for one receiver. A multicast makes one for each group of receivers that hold the same
        reference and are written to in the same way; where the downlink is unicast, one for each receiver.

        Raises:
            CodecError: an entry of a model is NaN or infinite; the message names sender and round.
            TransportError: neither end is the base station.
        """
        if message.sender != self.hub:
            if message.receiver != self.hub:
                raise TransportError(
                    f"{message.sender!r} to {message.receiver!r}: one end must be the base station {self.hub!r}"
                )
            if message.kind == "model" and self.uplink.analog is not None:
                raise TransportError(
                    f"{message.sender!r} can't send its model by itself where uplink.analog lets the channel add up "
                    "all; run a Simulation, or leave uplink.analog out"
                )
            signal = message.content if isinstance(message.content, Signal) else None
            serial = signal.number if signal is not None else self._serials[message.sender] + 1
            return [self._prepare("uplink", message, (message.sender,), serial)]
        ues = (message.receiver,) if isinstance(message.receiver, str) else message.receiver
        if isinstance(message.content, Signal):
            return [self._prepare("downlink", message, ues, message.content.number)]
        groups: dict[tuple[int, int], list[str]] = {}
        for ue in ues:
            # Equal pipelines are one object.
            wrote = id(self._down.pipeline(ue)) if message.kind == "model" else 0
            groups.setdefault((self._reference("downlink", message, ue), wrote), []).append(ue)
        first = self._serials[_DOWNLOADS] + 1
        prepared = [
            self._prepare("downlink", message, tuple(group), serial)
            for serial, group in enumerate(groups.values(), start=first)
        ]
        if self.downlink.cast != "unicast":
            return prepared
        # The same bytes for all of a group, each UE's over its own link.
        return [replace(out, ues=(ue,)) for out in prepared for ue in out.ues]

    def audience(self, wanted: tuple[str, ...], stream: str, *, cell: Sequence[str]) -> tuple[str, ...]:
        """Whom the next model of a stream is sent to, as the cast says.

        Multicast and unicast: those who are wanted. Broadcast: all of the cell that one frame does for, and all that a
        frame for somebody wanted does for. Where the model goes down as a difference, who missed an earlier one can
        make nothing of the common frame. Such a UE is not sent a frame of its own before it is wanted: then
        it gets the difference to what it holds, or the whole model if it holds none.

        Args:
            wanted: UEs that need the model now.
            cell: all UEs.

        Returns:
            The UEs, those who are wanted first.
        """
        if self.downlink.cast != "broadcast":
            return wanted
        versions = {
            ue: self.references.version(ue, stream) if self._down.pipeline(ue).needs_reference else None
            for ue in cell
        }
        newest = max((version for version in versions.values() if version is not None), default=None)
        served = {None, newest, *(versions[ue] for ue in wanted)}
        others = set(cell).difference(wanted)
        return wanted + tuple(ue for ue in cell if ue in others and versions[ue] in served)

    def _prepare(self, direction: str, message: Message, ues: tuple[str, ...], serial: int) -> Outgoing:
        content = message.content
        reference, pipeline, encoded, side, loss = 0, None, None, b"", None
        if isinstance(content, ModelContent):
            reference = self._reference(direction, message, ues[0])
            pipeline = self._settings(direction).pipeline(ues[0])
            if any(self._up.pipeline(ue).needs_loss for ue in ues):
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
            reference=self.references.vector(reference),
            memory=self._sender.get((ues[0], message.stream), _NOTHING),
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
        direction = "downlink" if message.sender == self.hub else "uplink"
        self._layouts.setdefault(message.stream, content.layout)
        ctx = self._context(direction, ues, message.stream, serial, message.round)
        if direction == "uplink" and self._up.pipeline(ues[0]).needs_loss:
            ctx = self._informed(ctx, ues[0], message)
        return Writing(
            message,
            self._settings(direction).pipeline(ues[0]),
            content.state.vector,
            self.references.vector(reference),
            self._sender.get((ues[0], message.stream), _NOTHING),
            ctx,
        )

    def side_by_side(self, ue: str, length: int) -> int:
        """How many UEs' models of so many entries are worth being looked ahead to at a time; 1: it is of no use."""
        return self._lookahead.vectors(self._up.pipeline(ue), length)

    def look_ahead(self, messages: Sequence[Message]) -> None:
        """Encode side by side the models that UEs are about to send, each by itself and none twice.

        This saves time and changes nothing: what a UE sends after all, from another model or memory, is encoded anew.
        """
        alike: dict[int, list[Writing]] = {}
        for message in messages:
            ue, content = message.sender, message.content
            assert isinstance(content, ModelContent)
            reference = self._reference("uplink", message, ue)
            writing = self._writing(message, content, (ue,), self._serials[ue] + 1, reference)
            if not writing.is_whole:
                alike.setdefault(id(writing.pipeline), []).append(writing)
        for writings in alike.values():
            self._lookahead.write(writings)

    def offer(self, outgoing: Outgoing, *, now_s: float) -> None:
        """Hand a prepared frame to the medium.

        Raises:
            TransportError: the link never carries it, or a ``parallel()`` block is open.
        """
        if self._block is not None:
            raise TransportError(
                "offer() inside parallel(): there, messages go by send() and get() of workers"
            )
        ticket = self._media[outgoing.direction].offer(
            outgoing.ues, outgoing.bits, now_s=now_s, block=outgoing.round
        )
        self._in_flight[outgoing.direction, ticket] = outgoing
        self._count(outgoing)

    def _count(self, outgoing: Outgoing) -> None:
        if outgoing.kind in _SIGNALS:  # numbered by what they are about
            return
        # Uploads are counted per UE, downloads once for all: a multicast has one number.
        counter = outgoing.ues[0] if outgoing.direction == "uplink" else _DOWNLOADS
        self._serials[counter] = max(self._serials[counter], outgoing.serial)

    def statistics(self, message: Message) -> Statistics:
        """Of what a UE would send of its model over the air."""
        return statistics_of(self._difference(message)[0])

    def superpose(self, messages: Sequence[Message], common: Statistics, *, now_s: float) -> None:
        """Let UEs send their models at once, for the channel to add them up; the sum arrives like a frame.

        Args:
            messages: models of one stream, each with its samples as its weight, in the fixed order of UEs.
            common: what all normalise their entries with.

        Raises:
            TransportError: something is on the air in the uplink, or this uplink is not analog.
        """
        analog, links = self.uplink.analog, self._links["uplink"]
        if analog is None or any(direction == "uplink" for direction, _ in self._in_flight):
            raise TransportError(
                "models add up on the air where uplink.analog is set and nothing else is sent"
            )
        ues, first = [message.sender for message in messages], messages[0]
        sent = [self._difference(message) for message in messages]
        heard = [message.samples for message in messages]
        key = self.key / "radio" / "uplink" / "over-the-air"
        found = analog.superpose(
            links,
            ues,
            weights=[samples * len(heard) / sum(heard) for samples in heard],
            squares=[statistics_of(x).square_under(common) for x, _ in sent],
            entries=len(sent[0][0]),
            block=first.round,
            time_s=now_s,
            fading=fading_kind(self.uplink.link),
            key=key,
        )
        airtime_s = analog.duration_s(len(sent[0][0]), bandwidth_hz=bandwidth_hz(self.uplink.link))
        self._sum = Sum(
            messages=messages,
            vectors=[x for x, _ in sent],
            references=[reference for _, reference in sent],
            common=common,
            found=found,
            key=key / "noise" / first.stream / first.round,
            start_s=now_s,
            end_s=now_s + airtime_s + max(link.latency_s for link in links.among(ues)),
            airtime_s=airtime_s,
            pilots_s=analog.sync_s,
        )

    def _difference(self, message: Message) -> tuple[Vector, Vector]:
        """What a UE would send of its model over the air, and what it is a difference to."""
        content, link = message.content, (message.sender, message.stream)
        reference = self.references.vector(self.references.version(*link))
        if not isinstance(content, ModelContent) or reference is None:
            raise TransportError(
                f"{message.sender!r} holds no model of {message.stream!r} that it could differ from"
            )
        self._layouts.setdefault(message.stream, content.layout)
        pipeline, memory = self._up.pipeline(message.sender), self._sender.get(link, LinkMemory())
        return pipeline.difference(content.state.vector, reference=reference, memory=memory), reference

    def _arrive_sum(self, added: Sum) -> Arrival:
        """Settle models that were added up on the air."""
        self._sum = None
        arrival = added.arrival(self._layouts[added.messages[0].stream])
        for number, message in enumerate(added.messages):
            link = (message.sender, message.stream)
            encoded = Encoded(added.vectors[number], {})
            decoded = Decoded(added.vectors[number], added.sent(number), {})
            before = self._sender.get(link, LinkMemory())
            self._remember(link, self._up.pipeline(message.sender).committed(encoded, decoded, before))
            self._serials[message.sender] += 1
        for entry in added.entries([self._serials[message.sender] for message in added.messages]):
            self.ledger.add(entry)
        return arrival

    def roll_back(self, outgoing: Outgoing) -> None:
        """Settle a frame that does not arrive: lost, or prepared but held back. Its update returns to the residual."""
        pipeline, encoded = outgoing.pipeline, outgoing.encoded
        if outgoing.direction == "uplink" and pipeline and encoded:
            self._settle_upload(outgoing, lambda before: pipeline.rolled_back(encoded, before))

    def residual(self, ue: str, stream: str) -> Vector | None:
        """What a UE's earlier uploads failed to deliver; None for nothing."""
        return self._sender.get((ue, stream), LinkMemory()).residual

    @property
    def keeps_references(self) -> bool:
        """Whether both ends remember models, for differences to them."""
        return self._keeps_references

    def feeds_back(self, ue: str) -> bool:
        """Whether a UE keeps what its uploads failed to deliver, for the next one."""
        return self._up.pipeline(ue).feeds_back

    def next_event_s(self) -> float:
        """When something happens next on the air [s]; infinity where nothing is on its way."""
        sum_s = math.inf if self._sum is None else self._sum.end_s
        return min(sum_s, *(medium.next_event_s() for medium in self._media.values()))

    def advance(self, to_s: float) -> list[Arrival]:
        """Let simulated time pass; what arrived, in order of arrival (downlink first at one instant).

        Both ends know at once what became of each message, and remember it.
        """
        arrivals = [self._arrive(landed) for landed in self._landings(to_s)]
        return arrivals + self._sums_until(to_s)

    def land(self, to_s: float) -> list[Landed | Arrival]:
        """As :meth:`advance`, but nothing is settled: the ends of transmissions, for the protocol to decide on.

        What landed is then decoded by :meth:`accept`, and each end's memory follows what that end knows
        (:meth:`commit`, :meth:`roll_back`, :meth:`acknowledge`). A sum on the air is settled at once, for nobody
        answers it.
        """
        landed = list(self._landings(to_s))
        self._just_landed = [one.outgoing for one in landed if one.received]
        return [*landed, *self._sums_until(to_s)]

    def _landings(self, to_s: float) -> Iterator[Landed]:
        """Ends of transmissions, one after another: what is made of one may matter to the next."""
        ended = [
            (direction, transfer)
            for direction in ("downlink", "uplink")
            for transfer in self._media[direction].advance(to_s)
        ]
        for direction, transfer in sorted(ended, key=lambda item: item[1].end_s):
            yield Landed(*self._landed(direction, transfer))

    def _sums_until(self, to_s: float) -> list[Arrival]:
        return [self._arrive_sum(self._sum)] if self._sum is not None and self._sum.end_s <= to_s else []

    def hand_over(self, outgoing: Outgoing, receivers: Sequence[str]) -> bytes:
        """The bytes of a frame as they came to the other end, through the carrier.

        Raises:
            TransportError: the carrier gives receivers of one frame different bytes.
        """
        if outgoing.direction == "uplink":
            return self.carrier.hand_over(outgoing.frame, sender=outgoing.ues[0], receiver=self.hub)
        for ue in receivers:
            received = self.carrier.hand_over(outgoing.frame, sender=self.hub, receiver=ue)
            if received != outgoing.frame:
                raise TransportError(
                    f"the carrier gave {ue!r} other bytes than {self.hub!r} sent; all receivers of a frame get the same"
                )
        return received

    def opened(self, outgoing: Outgoing, data: bytes) -> Frame:
        """Received bytes taken apart.

        Raises:
            FrameError: damaged, or no frame.
        """
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
    ) -> Accepted:
        """Decode what came, and let the *receiving* end remember it. The sending end knows nothing of it yet.

        Args:
            receivers: who decodes it.
            data: the bytes as they came; None: the carrier hands them over.
            part: what came, where that is not all of it.
            keep: of a UE, the version that it must not drop (it still trains from it).

        Raises:
            FrameError: damaged, or no frame.
            TransportError: it refers to a version that the receiver does not hold; it must answer NACK.
        """
        if part is not None:
            content = self._remembered(outgoing, part.frame, part.decoded, receivers, keep)
            return Accepted(content, part.frame, None, part.decoded)
        received = self.hand_over(outgoing, receivers) if data is None else data
        frame = self.opened(outgoing, received)
        if frame.kind != "model":
            return Accepted(_opened(frame), frame, None, None)
        if outgoing.direction == "downlink":
            for ue in receivers:
                held = self.references.held(ue, outgoing.stream)
                if frame.reference and frame.reference not in held:
                    raise TransportError(
                        f"{ue!r} does not hold version {frame.reference} of {outgoing.stream!r}; send a whole model"
                    )
            if frame.loss is not None:
                for ue in receivers:
                    self._told[ue, outgoing.stream] = frame.loss, frame.samples
        if self._last_accepted is not None and self._last_accepted[0] is received:
            _, content, decoded = self._last_accepted
            self._hold(receivers, outgoing.stream, frame, content.state.vector, keep)
            return Accepted(content, frame, None, decoded)
        pipeline = self._pipeline(outgoing)
        written, decoded = self._decoded(outgoing, frame, received, pipeline)
        content = self._remembered(outgoing, frame, decoded, receivers, keep)
        if outgoing.direction == "downlink":
            self._last_accepted = (received, content, decoded)
        sums = outgoing.direction == "uplink" and pipeline.sums
        return Accepted(content, frame, written if sums else None, decoded)

    def _decoded(
        self, outgoing: Outgoing, frame: Frame, received: bytes, pipeline: Pipeline
    ) -> tuple[Written, Decoded]:
        """What a model's payload decodes to; those on the air behind it are decoded with it where that pays."""
        if self.looks_ahead and outgoing.direction == "uplink":
            ue, reference = outgoing.ues[0], self.references.vector(frame.reference)
            ready = self._lookahead.decoded(ue, received, reference)
            if ready is None and received is outgoing.frame:
                self._read_ahead(outgoing, frame, pipeline)
                ready = self._lookahead.decoded(ue, received, reference)
            if ready is not None:
                return ready
        written = self._written(outgoing, frame)
        return written, pipeline.decode(written.payload, reference=written.reference, ctx=written.ctx)

    def _read_ahead(self, outgoing: Outgoing, frame: Frame, pipeline: Pipeline) -> None:
        most = self._lookahead.vectors(pipeline, self._layouts[outgoing.stream].length)
        if most == 1:
            return
        readings = {outgoing.ues[0]: Reading(pipeline, outgoing.frame, self._written(outgoing, frame))}
        behind = itertools.dropwhile(lambda other: other is not outgoing, self._just_landed)
        for other in (*behind, *self._in_flight.values()):
            if len(readings) == most:
                break
            if other.pipeline is not pipeline or other.direction != "uplink":
                continue
            if other is not outgoing and not self._lookahead.knows(other.ues[0], other.frame):
                written = self._written(other, Frame.unpack(other.frame, untouched=True))
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
            if decoded.codec_memory:
                self._receiver[outgoing.ues[0], outgoing.stream] = LinkMemory(codec=decoded.codec_memory)
        else:
            self._hold(receivers, outgoing.stream, frame, decoded.vector, keep)
        return self._content(outgoing.stream, frame, decoded.vector)

    def _hold(
        self, ues: Sequence[str], stream: str, frame: Frame, vector: Vector, keep: Mapping[str, int] | None
    ) -> None:
        if not self._keeps_references:
            return
        for ue in ues:
            kept = (keep or {}).get(ue, 0)
            self.references.hold(ue, stream, frame.serial, vector, since=frame.reference, keep=kept)

    def lift(self, outgoing: Outgoing) -> Outgoing:
        """Take what a UE owes out of its residual, for it is in an upload whose fate may stay unknown for long.

        What the UE holds back meanwhile is then owed beside it; :meth:`commit` and :meth:`roll_back` add up both.
        """
        if outgoing.direction != "uplink" or outgoing.encoded is None or outgoing.lifted:
            return outgoing
        link = (outgoing.ues[0], outgoing.stream)
        before = self._sender.get(link, LinkMemory())
        self._restore_memory(self._sender, link, replace(before, residual=None))
        return replace(outgoing, lifted=True)

    def commit(self, outgoing: Outgoing, decoded: Decoded) -> None:
        """Let the sending UE remember an upload that the base station is known to have decoded."""
        pipeline, encoded = self._pipeline(outgoing), outgoing.encoded
        assert encoded is not None
        self._settle_upload(outgoing, lambda before: pipeline.committed(encoded, decoded, before))

    def _settle_upload(self, outgoing: Outgoing, settled: Callable[[LinkMemory], LinkMemory]) -> None:
        link = (outgoing.ues[0], outgoing.stream)
        before = self._sender.get(link, LinkMemory())
        after = settled(before)
        if outgoing.lifted and before.residual is not None and after.residual is not before.residual:
            owed = before.residual if after.residual is None else after.residual + before.residual
            after = replace(after, residual=owed)
        self._remember(link, after)

    def hold_back(self, message: Message) -> None:
        """Settle a model that its UE keeps to itself: with error feedback it is owed, and paid by the next upload."""
        content, link = message.content, (message.sender, message.stream)
        pipeline = self._up.pipeline(message.sender)
        reference = self.references.vector(self._reference("uplink", message, message.sender))
        if not isinstance(content, ModelContent) or not pipeline.feeds_back or reference is None:
            return
        before = self._sender.get(link, LinkMemory())
        owed = pipeline.difference(content.state.vector, reference=reference, memory=before)
        self._remember(link, replace(before, residual=owed))

    def preview(self, message: Message, *, base: Vector) -> Vector:
        """[entries] what a UE's update would decode to, were it sent now: the difference to what it trained from."""
        (outgoing,) = self.prepare(message)
        frame = Frame.unpack(outgoing.frame, untouched=True)
        written = self._written(outgoing, frame)
        pipeline = self._pipeline(outgoing)
        decoded = pipeline.decode(written.payload, reference=written.reference, ctx=written.ctx)
        return decoded.from_codec if written.reference is not None else decoded.vector - base

    def acknowledge(self, ue: str, stream: str, version: int) -> None:
        """The base station knows from now on that a UE holds a version: the next difference may refer to it."""
        if self._keeps_references:
            self.references.know(ue, stream, version)

    def disown(self, ue: str, stream: str) -> None:
        """The base station no longer counts on any version at a UE: the next model goes to it whole."""
        self.references.unknow(ue, stream)

    def _arrive(self, landed: Landed) -> Arrival:
        if not landed.received:
            self.roll_back(landed.outgoing)
            return Arrival(landed.outgoing, landed.transfer, None, 0)
        accepted = self._hand_on(landed.outgoing, landed.received, landed.part)
        frame = accepted.frame
        return Arrival(
            landed.outgoing, landed.transfer, accepted.content, frame.samples, accepted.written, frame.loss
        )

    def _landed(self, direction: str, transfer: Transfer) -> tuple[Outgoing, Transfer, Part | None]:
        """Write the end of a transmission down; with it, what a part that is enough decodes to."""
        outgoing = self._in_flight.pop((direction, transfer.ticket))
        missed = () if self.misses is None else self.misses(outgoing)
        if missed:
            lost = tuple(ue for ue in outgoing.ues if ue in missed or ue in transfer.lost)
            gaps = tuple(gap for gap in transfer.gaps if gap[0] not in missed)
            transfer = replace(transfer, lost=lost, gaps=gaps)
        if transfer.lost and outgoing.direction == "uplink":
            self._lookahead.drop(outgoing.ues[0])
        part = self._part(outgoing, transfer) if transfer.lost else None
        if part is not None:
            transfer = replace(transfer, lost=())
        entry = Entry(
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
            receive_energy_j=self._receive_energy_j(direction, transfer),
            lost=transfer.lost,
            missing_bits=missing_bits(transfer),
        )
        self.ledger.add(entry, about=outgoing.about)
        return outgoing, transfer, part

    def _receive_energy_j(self, direction: str, transfer: Transfer) -> float:
        """What the UEs of a transmission spend on listening [J]; the base station's receiver is left out."""
        if direction == "uplink":
            return 0.0
        return self.downlink.receive_power_w * transfer.airtime_s * len(transfer.ues)

    def _part(self, outgoing: Outgoing, transfer: Transfer) -> Part | None:
        """What came of a model whose packets are not all there, where that is enough to decode it."""
        gaps = tuple((first, end) for _, first, end in transfer.gaps)
        if outgoing.pipeline is None or not outgoing.pipeline.erasure or not gaps:
            return None
        if not outgoing.frame:  # it was handed on whole, to who can't amend it
            return None
        # The base station has nothing of what is in the gaps, and no line behind this one sees it.
        came = blanked(outgoing.frame, gaps)
        received = self.carrier.hand_over(came, sender=outgoing.ues[0], receiver=self.hub)
        unpacked = Frame.unpack_part(received, gaps)
        if unpacked is None:
            return None
        frame, missing = unpacked
        written = replace(outgoing.written or self._written(outgoing, frame), payload=_payload(frame))
        decoded = outgoing.pipeline.decode_part(
            written.payload, missing, reference=written.reference, ctx=written.ctx
        )
        return None if decoded is None else Part(frame, decoded)

    def _hand_on(self, outgoing: Outgoing, receivers: Sequence[str], part: Part | None = None) -> Accepted:
        """Decode what the receivers got, and let both ends remember it."""
        accepted = self.accept(outgoing, receivers, part=part)
        if accepted.decoded is None:
            return accepted
        if outgoing.direction == "uplink":
            if outgoing.encoded is not None:
                self.commit(outgoing, accepted.decoded)
        elif self._keeps_references:
            for ue in receivers:
                self.references.acknowledge(
                    ue, outgoing.stream, accepted.frame.serial, accepted.decoded.vector
                )
        return accepted

    def _written(self, outgoing: Outgoing, frame: Frame) -> Written:
        """A model's payload, and what both ends know of it now."""
        direction, stream = outgoing.direction, outgoing.stream
        ctx = self._context(direction, outgoing.ues, stream, frame.serial, frame.round, received=True)
        return Written(_payload(frame), ctx, self.references.vector(frame.reference))

    def _pipeline(self, outgoing: Outgoing) -> Pipeline:
        return outgoing.pipeline or self._settings(outgoing.direction).pipeline(outgoing.ues[0])

    def _content(self, stream: str, frame: Frame, vector: Vector) -> ModelContent:
        layout = self._layouts[stream]
        buffers = [buffer.to(self._device) for buffer in unpack_tensors(frame.side)]
        names = [name for name, _, _ in layout.buffers]
        return ModelContent(ModelState(vector, dict(zip(names, buffers, strict=True))), layout)

    def aggregate(self, arrivals: Sequence[Arrival], shares: Sequence[float]) -> Vector | None:
        """The mean of models that came up, where their codec finds more in the sum of payloads than in each.

        What the sum leaves behind (what the base station owes) is remembered by the stream, whoever sent.

        Args:
            arrivals: of one stream, each received, in the fixed order of UEs.
            shares: of each in the mean, with a sum of 1.

        Returns:
            The mean; None where the models, each decoded by itself, have to be averaged: their payloads do not
            add up (:attr:`Pipeline.sums`), UEs write in different ways, or one sent a whole model.
        """
        came = [arrival.written for arrival in arrivals]
        written = [one for one in came if one is not None]
        references = [one.reference for one in written if one.reference is not None]
        pipelines = {id(arrival.outgoing.pipeline) for arrival in arrivals}
        pipeline = arrivals[0].outgoing.pipeline if arrivals else None
        if pipeline is None or len(references) < len(arrivals) or len(pipelines) > 1:
            return None
        stream = arrivals[0].outgoing.stream
        vector, self._sums[stream] = pipeline.aggregate(
            [one.payload for one in written],
            shares,
            references=references,
            ctxs=[one.ctx for one in written],
            memory=self._sums.get(stream, {}),
        )
        return vector

    def _remember(self, link: tuple[str, str], memory: LinkMemory) -> None:
        # Idle links cost nothing: without residual and codec memory there is no entry.
        if memory.residual is not None or memory.codec:
            self._sender[link] = memory

    @staticmethod
    def _restore_memory(memories: _Memories, link: tuple[str, str], memory: LinkMemory | None) -> None:
        if memory is None or (memory.residual is None and not memory.codec):
            memories.pop(link, None)
        else:
            memories[link] = memory

    def _reference(self, direction: str, message: Message, ue: str) -> int:
        """The version that this message will refer to; 0 where it is no delta."""
        is_delta = message.kind == "model" and self._settings(direction).pipeline(ue).needs_reference
        if is_delta and message.reference is not None:
            return message.reference
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

    def _informed(self, ctx: Context, ue: str, message: Message) -> Context:
        """The context of an upload, with what the UE was told of loss and weights when it got its last model."""
        loss, mean = self._told.get((ue, message.stream), (math.nan, 0))
        return replace(ctx, loss=loss, weight=message.samples / mean if mean and message.samples else 1.0)

    def carry(self, message: Message, *, now_s: float) -> Delivery:
        """Send a message to one receiver and wait (in simulated time) until it is there or lost.

        Time goes on in the message's own direction alone. UEs that are told of one after the other have local
        times that overlap: while one uploads what it computed, another's download for an earlier time may follow.
        What is lost changes nothing: the sender still has it, and may send it again.

        Raises:
            TransportError: a ``parallel()`` block is open, or :meth:`offer` had put a frame on the air.
        """
        (outgoing,) = self.prepare(message)
        self.offer(outgoing, now_s=now_s)
        medium = self._media[outgoing.direction]
        while True:
            for transfer in medium.advance(medium.next_event_s()):
                landed, transfer, part = self._landed(outgoing.direction, transfer)
                if landed is not outgoing:
                    raise TransportError("carry() met a frame that offer() had put on the air; use advance()")
                content = None if transfer.lost else self._hand_on(outgoing, outgoing.ues, part).content
                return _delivery(outgoing, transfer, content)

    @property
    def block(self) -> Parallel | None:
        """The ``parallel()`` block that is open, if one is."""
        return self._block

    @contextmanager
    def parallel(self) -> Iterator[None]:
        """Let the sends and gets of a ``with`` block share the air, as the access schemes say.

        What is sent and fetched in the block is there at once, so the block reads like any other code. When it was on
        the air is settled at the block's end: only then the ledger, the workers' times and the base station's clock
        know of it. See :mod:`~syft_fl.transport.parallel` for what waits for what.

        Raises:
            TransportError: inside another block, or with frames on the air.
            WorkerError: at the end, where something was lost. It names what did not arrive.

        Example:
            >>> from syft_fl.workers import TorchHook, VirtualWorker
            >>> import torch
            >>> hook = TorchHook(torch)
            >>> ues = [VirtualWorker(hook=hook, id=f"ue{i}") for i in range(2)]
            >>> with hook.transport.parallel():
            ...     there = [torch.zeros(1000).send(ue) for ue in ues]
            >>> [round(ue.time_s, 6) for ue in ues]
            [0.003234, 0.006467]
        """
        self._require_quiet("parallel()")
        self._block = block = Parallel(self)
        try:
            yield
        except BaseException as error:
            self._block = None
            failures = block.settle()
            if failures is not None:
                error.add_note(str(failures))
            raise
        self._block = None
        failures = block.settle()
        if failures is not None:
            raise failures

    def ahead(self, message: Message, *, amendable: bool) -> Ahead:
        """Hand a message on before it has been on the air: for ``parallel()``, which settles that later.

        Args:
            amendable: where only a part comes, who got it can still make of it what came.
        """
        (outgoing,) = self.prepare(message)
        link = (outgoing.ues[0], outgoing.stream)
        version = self.references.version(*link)
        before = Before(
            self._sender.get(link),
            self._receiver.get(link),
            version,
            self.references.vector(version),
            self._told.get(link),
        )
        self._count(outgoing)
        written = None
        if amendable and outgoing.pipeline is not None and outgoing.pipeline.erasure:
            written = self._written(outgoing, Frame.unpack(outgoing.frame, untouched=True))
        content = self._hand_on(outgoing, outgoing.ues).content
        # The bytes have done their work, if all of them come: a block of many messages need not keep them.
        frame = b"" if written is None else outgoing.frame
        return Ahead(replace(outgoing, frame=frame, encoded=None, written=written), content, before)

    def amend(self, ahead: Ahead, part: Part) -> tuple[Content, Vector | None]:
        """Let a message that was handed on whole be what came of it.

        Returns:
            That, and what its sender owes more than before; None where there is no error feedback.
        """
        outgoing = ahead.outgoing
        assert outgoing.written is not None
        content = self._content(outgoing.stream, part.frame, part.decoded.vector)
        pipeline, written = self._pipeline(outgoing), outgoing.written
        if not pipeline.feeds_back:
            return content, None
        whole = pipeline.decode(written.payload, reference=written.reference, ctx=written.ctx)
        owed = whole.from_codec - part.decoded.from_codec
        link = (outgoing.ues[0], outgoing.stream)
        self._sender[link] = owing(self._sender.get(link), owed)
        return content, owed

    def take_back(self, ahead: Ahead) -> None:
        """Let both ends' memories be what they were before a message was handed on that never arrived."""
        link = (ahead.outgoing.ues[0], ahead.outgoing.stream)
        if ahead.outgoing.kind != "model":
            return
        self._restore_memory(self._sender, link, ahead.before.sender)
        self._restore_memory(self._receiver, link, ahead.before.receiver)
        if ahead.before.told is None:
            self._told.pop(link, None)
        else:
            self._told[link] = ahead.before.told
        if ahead.before.vector is None:
            self.references.forget(*link)
        else:
            self.references.acknowledge(*link, ahead.before.version, ahead.before.vector)

    def landed(self) -> list[tuple[Outgoing, Transfer, Part | None]]:
        """Go on to the next event of either direction; what ended there, written down but not handed on.

        With what a part decodes to, where that is all that came, and is enough.
        """
        ended = []
        to_s = self.next_event_s()
        for direction in ("downlink", "uplink"):
            # A direction without an event is left where it is: who is told later may still use that time.
            medium = self._media[direction]
            if medium.next_event_s() <= to_s:
                ended += [self._landed(direction, transfer) for transfer in medium.advance(to_s)]
        return ended

    def restored(self, state: Mapping[str, Any]) -> Outgoing:
        """A frame on its way, from what :func:`~syft_fl.transport.outgoing.outgoing_state` says of it."""
        direction, ues = state["direction"], state["ues"]
        pipeline = self._settings(direction).pipeline(ues[0]) if state["kind"] == "model" else None
        return restored(state, pipeline)

    def forget(self, stream: str) -> None:
        """Let go of all that is remembered of a stream: its model is no more."""
        self.references.forget_stream(stream)
        self._layouts.pop(stream, None)
        self._last_accepted = None
        self._lookahead.forget()
        for memories in (self._sender, self._receiver, self._told):
            for link in [link for link in memories if link[1] == stream]:
                del memories[link]
        self._sums.pop(stream, None)

    def state(self) -> dict[str, Any]:
        """Everything that the future depends on, frames on the air too, as plain data and tensors.

        Raises:
            TransportError: a ``parallel()`` block is open, models are being added up on the air, or
                :meth:`configure` was used, of which no checkpoint knows.
        """
        if self._block is not None or self._sum is not None:
            self._require_quiet("state()")
        if self._reconfigured:
            raise TransportError(
                "settings were changed by configure(), which a checkpoint does not hold; "
                "give them to Transport(uplink=…, downlink=…) to have them in every run"
            )
        return {
            "media": {name: dict(medium.state()) for name, medium in self._media.items()},
            "references": self.references.state(),
            "sender": [[*link, _memory_state(m)] for link, m in self._sender.items()],
            "receiver": [[*link, _memory_state(m)] for link, m in self._receiver.items()],
            "sums": {stream: dict(memory) for stream, memory in self._sums.items()},
            "told": [[*link, *told] for link, told in self._told.items()],
            "serials": dict(self._serials),
            "in_flight": [[*at, outgoing_state(outgoing)] for at, outgoing in self._in_flight.items()],
            "layouts": list(self._layouts),
            "ledger": self.ledger.totals(),
        }

    def load(self, state: Mapping[str, Any], *, layout: Layout | None = None) -> None:
        """Take over what :meth:`state` gave.

        Args:
            layout: of the streams that had one; None: each gets it with its next message.
        """
        if layout is not None:
            self._layouts = dict.fromkeys(state["layouts"], layout)
        self._in_flight = {
            (direction, ticket): self.restored(sent) for direction, ticket, sent in state["in_flight"]
        }
        for name, medium in self._media.items():
            medium.load(state["media"][name])
        self.references.load(state["references"])
        for memories, held in ((self._sender, "sender"), (self._receiver, "receiver")):
            memories.clear()
            memories.update(((u, s), LinkMemory(**m)) for u, s, m in state[held])
        self._sums = dict(state["sums"])
        self._told = {(u, s): (loss, samples) for u, s, loss, samples in state["told"]}
        self._serials = Counter(state["serials"])
        for name, value in state["ledger"].items():
            setattr(self.ledger, name, value)


def _opened(frame: Frame) -> Content:
    """What a frame that is no model brings."""
    if frame.kind in _SIGNALS:
        return Signal(frame.serial, frame.reference, bytes(frame.payload))
    if frame.kind == "control":
        return unpack_facts(frame.payload)
    return unpack_tensors(frame.payload)


def _memory_state(memory: LinkMemory) -> dict[str, Any]:
    return {"residual": memory.residual, "codec": dict(memory.codec)}


def _payload(frame: Frame) -> Payload:
    return Payload(frame.payload, frame.payload_bits)


def _delivery(outgoing: Outgoing, transfer: Transfer, content: Content | None) -> Delivery:
    return Delivery(
        content=content,
        bits=outgoing.bits,
        raw_bits=outgoing.raw_bits,
        offered_s=transfer.offered_s,
        start_s=transfer.start_s,
        end_s=transfer.end_s,
        energy_j=transfer.energy_j,
        lost=bool(transfer.lost),
        missing_bits=missing_bits(transfer),
    )
