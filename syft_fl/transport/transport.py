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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from syft_fl.clock import Clock
from syft_fl.codecs import Codec
from syft_fl.devices import CPU
from syft_fl.errors import TransportError
from syft_fl.keys import Key
from syft_fl.radio import Cell, Link, LinkModel, Links, Medium, Transfer
from syft_fl.spill import Spill
from syft_fl.transport.carrier import CarrierModel, Local
from syft_fl.transport.direction import Downlink, Uplink
from syft_fl.transport.ends import Ends
from syft_fl.transport.frame import Frame
from syft_fl.transport.layers import Decoded
from syft_fl.transport.ledger import Entry, Ledger
from syft_fl.transport.lookahead import Lookahead
from syft_fl.transport.message import SIGNALS, Content, Delivery, Message
from syft_fl.transport.outgoing import (
    Accepted,
    Arrival,
    Landed,
    Outgoing,
    Part,
    missing_bits,
    outgoing_state,
    restored,
)
from syft_fl.transport.parallel import Ahead, Parallel, owing
from syft_fl.transport.reader import Reader
from syft_fl.transport.references import References
from syft_fl.transport.settings import Settings
from syft_fl.transport.superposed import Statistics, Superposing
from syft_fl.transport.writer import Writer
from syft_fl.vectors import Layout, Vector

__all__ = ["Transport"]


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
        self.key = Key(key) if isinstance(key, int) else key
        self.hub = hub
        self.carrier = (carrier or Local()).open(hub)
        self.clock = Clock()
        self.ledger = Ledger(hub)
        self._ends = Ends(
            Settings(uplink or Uplink(), holds_back=holds_back, device=device),
            Settings(downlink or Downlink(), device=device),
            key=self.key,
            hub=hub,
            device=device,
            spill=spill,
        )
        self._lookahead = Lookahead()
        self._writer = Writer(self._ends, self._lookahead)
        self._reader = Reader(self._ends, self.carrier, self._lookahead)
        self._cell = cell or Cell()
        self._links = {
            "uplink": Links(self._link(self.uplink.link, "uplink")),
            "downlink": Links(self._link(self.downlink.link, "downlink")),
        }
        self._media: dict[str, Medium] = {
            "uplink": self._medium("uplink", users),
            "downlink": self._medium("downlink", users),
        }
        self._superposing = Superposing(self._ends, self._links["uplink"], self.key / "radio")
        self._in_flight: dict[tuple[str, int], Outgoing] = {}
        self._just_landed: list[Outgoing] = []
        self._reconfigured = False
        self._block: Parallel | None = None
        self.misses: Callable[[Outgoing], Sequence[str]] | None = None
        self.looks_ahead = False

    @property
    def uplink(self) -> Uplink:
        """The settings of the uplink; a UE's own are in :meth:`settings`."""
        return self._ends.up.common

    @property
    def downlink(self) -> Downlink:
        """The settings of the downlink; a UE's own are in :meth:`settings`."""
        return self._ends.down.common

    def settings(self, direction: str, ue: str) -> Uplink | Downlink:
        """What is set for a UE in one direction.

        Raises:
            ConfigError: a direction that is neither ``"uplink"`` nor ``"downlink"``.
        """
        return self._ends.settings(direction).of(ue)

    @property
    def references(self) -> References:
        """The models that both ends hold."""
        return self._ends.references

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
        settings = self._ends.settings(direction)
        self._require_quiet("configure()")
        named = {
            "codec": codec,
            "link": link,
            "delta": delta,
            "error_feedback": error_feedback,
            "erasure": erasure,
        }
        own_link = None if link is None else self._link(link, direction)
        up = self._ends.up
        wrote = {link: up.of(link[0]).codec for link in self._ends.links}
        settings.change(ue, {name: value for name, value in named.items() if value is not None})
        self._reconfigured = True
        if own_link is not None:
            self._links[direction].set(ue, own_link)
        for link_, before in wrote.items():
            if up.of(link_[0]).codec != before:
                self._ends.forget_codec(link_)
        if direction == "uplink" and codec is not None:
            self._ends.sums.clear()
        self._ends.keeps_references |= settings.need_reference

    def radio(self, direction: str) -> Links:
        """The link of one direction, as it is set now: what it would do to bits at any time.

        Raises:
            ConfigError: a direction that is neither ``"uplink"`` nor ``"downlink"``.
        """
        self._ends.settings(direction)
        return self._links[direction]

    def _link(self, model: LinkModel, direction: str) -> Link:
        return model.link(self._cell, self.key / "radio", direction)

    def _medium(self, direction: str, users: int) -> Medium:
        access = self._ends.settings(direction).common.access
        return access.open(self._links[direction], users=users, key=self.key / "radio" / direction / "access")

    def _require_quiet(self, what: str) -> None:
        if self._block is not None:
            raise TransportError(
                f"{what} inside parallel(): its messages are not sent yet; do it after the block"
            )
        if self._in_flight or self._superposing.is_busy:
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
        return self._writer.prepare(message)

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
        return self._writer.audience(wanted, stream, cell=cell)

    def side_by_side(self, ue: str, length: int) -> int:
        """How many UEs' models of so many entries are worth being looked ahead to at a time; 1: it is of no use."""
        return self._lookahead.vectors(self._ends.up.pipeline(ue), length)

    def look_ahead(self, messages: Sequence[Message]) -> None:
        """Encode side by side the models that UEs are about to send, each by itself and none twice.

        This saves time and changes nothing: what a UE sends after all, from another model or memory, is encoded anew.
        """
        self._writer.look_ahead(messages)

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
        if outgoing.kind not in SIGNALS:
            self._ends.count(outgoing)

    def statistics(self, message: Message) -> Statistics:
        """Of what a UE would send of its model over the air."""
        return self._superposing.statistics(message)

    def superpose(self, messages: Sequence[Message], common: Statistics, *, now_s: float) -> None:
        """Let UEs send their models at once, for the channel to add them up; the sum arrives like a frame.

        Args:
            messages: models of one stream, each with its samples as its weight, in the fixed order of UEs.
            common: what all normalise their entries with.

        Raises:
            TransportError: something is on the air in the uplink, or this uplink is not analog.
        """
        if self.uplink.analog is None or any(direction == "uplink" for direction, _ in self._in_flight):
            raise TransportError(
                "models add up on the air where uplink.analog is set and nothing else is sent"
            )
        self._superposing.send(messages, common, now_s=now_s)

    def roll_back(self, outgoing: Outgoing) -> None:
        """Settle a frame that does not arrive: lost, or prepared but held back. Its update returns to the residual."""
        self._ends.roll_back(outgoing)

    def residual(self, ue: str, stream: str) -> Vector | None:
        """What a UE's earlier uploads failed to deliver; None for nothing."""
        return self._ends.sender(ue, stream).residual

    @property
    def keeps_references(self) -> bool:
        """Whether both ends remember models, for differences to them."""
        return self._ends.keeps_references

    def feeds_back(self, ue: str) -> bool:
        """Whether a UE keeps what its uploads failed to deliver, for the next one."""
        return self._ends.up.pipeline(ue).feeds_back

    def next_event_s(self) -> float:
        """When something happens next on the air [s]; infinity where nothing is on its way."""
        return min(self._superposing.end_s, *(medium.next_event_s() for medium in self._media.values()))

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
        if self._superposing.end_s > to_s or not self._superposing.is_busy:
            return []
        arrival, entries = self._superposing.settle()
        for entry in entries:
            self.ledger.add(entry)
        return [arrival]

    def hand_over(self, outgoing: Outgoing, receivers: Sequence[str]) -> bytes:
        """The bytes of a frame as they came to the other end, through the carrier.

        Raises:
            TransportError: the carrier gives receivers of one frame different bytes.
        """
        return self._reader.hand_over(outgoing, receivers)

    def opened(self, outgoing: Outgoing, data: bytes) -> Frame:
        """Received bytes taken apart.

        Raises:
            FrameError: damaged, or no frame.
        """
        return self._reader.opened(outgoing, data)

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
        behind = self._behind(outgoing) if self.looks_ahead else ()
        return self._reader.accept(outgoing, receivers, data=data, part=part, keep=keep, behind=behind)

    def _behind(self, outgoing: Outgoing) -> Iterator[Outgoing]:
        """What has landed after a frame and was not accepted yet, and what is on the air."""
        landed = itertools.dropwhile(lambda other: other is not outgoing, self._just_landed)
        return itertools.chain(itertools.islice(landed, 1, None), self._in_flight.values())

    def lift(self, outgoing: Outgoing) -> Outgoing:
        """Take what a UE owes out of its residual, for it is in an upload whose fate may stay unknown for long.

        What the UE holds back meanwhile is then owed beside it; :meth:`commit` and :meth:`roll_back` add up both.
        """
        return self._ends.lift(outgoing)

    def commit(self, outgoing: Outgoing, decoded: Decoded) -> None:
        """Let the sending UE remember an upload that the base station is known to have decoded."""
        self._ends.commit(outgoing, decoded)

    def hold_back(self, message: Message) -> None:
        """Settle a model that its UE keeps to itself: with error feedback it is owed, and paid by the next upload."""
        self._ends.hold_back(message)

    def preview(self, message: Message, *, base: Vector) -> Vector:
        """[entries] what a UE's update would decode to, were it sent now: the difference to what it trained from."""
        (outgoing,) = self.prepare(message)
        return self._reader.preview(outgoing, base=base)

    def acknowledge(self, ue: str, stream: str, version: int) -> None:
        """The base station knows from now on that a UE holds a version: the next difference may refer to it."""
        if self._ends.keeps_references:
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
        part = self._reader.part(outgoing, transfer) if transfer.lost else None
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

    def _hand_on(self, outgoing: Outgoing, receivers: Sequence[str], part: Part | None = None) -> Accepted:
        """Decode what the receivers got, and let both ends remember it."""
        accepted = self.accept(outgoing, receivers, part=part)
        if accepted.decoded is None:
            return accepted
        if outgoing.direction == "uplink":
            if outgoing.encoded is not None:
                self.commit(outgoing, accepted.decoded)
        elif self._ends.keeps_references:
            for ue in receivers:
                self.references.acknowledge(
                    ue, outgoing.stream, accepted.frame.serial, accepted.decoded.vector
                )
        return accepted

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
        vector, self._ends.sums[stream] = pipeline.aggregate(
            [one.payload for one in written],
            shares,
            references=references,
            ctxs=[one.ctx for one in written],
            memory=self._ends.sums.get(stream, {}),
        )
        return vector

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
        before = self._ends.before((outgoing.ues[0], outgoing.stream))
        self._count(outgoing)
        written = None
        if amendable and outgoing.pipeline is not None and outgoing.pipeline.erasure:
            written = self._reader.written(outgoing, Frame.unpack(outgoing.frame, untouched=True))
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
        content = self._reader.content(outgoing.stream, part.frame, part.decoded.vector)
        pipeline, written = self._ends.pipeline(outgoing), outgoing.written
        if not pipeline.feeds_back:
            return content, None
        whole = pipeline.decode(written.payload, reference=written.reference, ctx=written.ctx)
        owed = whole.from_codec - part.decoded.from_codec
        link = (outgoing.ues[0], outgoing.stream)
        self._ends.remember(link, owing(self._ends.sender(*link), owed))
        return content, owed

    def take_back(self, ahead: Ahead) -> None:
        """Let both ends' memories be what they were before a message was handed on that never arrived."""
        if ahead.outgoing.kind == "model":
            self._ends.take_back((ahead.outgoing.ues[0], ahead.outgoing.stream), ahead.before)

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
        pipeline = self._ends.settings(direction).pipeline(ues[0]) if state["kind"] == "model" else None
        return restored(state, pipeline)

    def forget(self, stream: str) -> None:
        """Let go of all that is remembered of a stream: its model is no more."""
        self._ends.forget(stream)
        self._reader.forget()
        self._lookahead.forget()

    def state(self) -> dict[str, Any]:
        """Everything that the future depends on, frames on the air too, as plain data and tensors.

        Raises:
            TransportError: a ``parallel()`` block is open, models are being added up on the air, or
                :meth:`configure` was used, of which no checkpoint knows.
        """
        if self._block is not None or self._superposing.is_busy:
            self._require_quiet("state()")
        if self._reconfigured:
            raise TransportError(
                "settings were changed by configure(), which a checkpoint does not hold; "
                "give them to Transport(uplink=…, downlink=…) to have them in every run"
            )
        return {
            "media": {name: dict(medium.state()) for name, medium in self._media.items()},
            **self._ends.state(),
            "in_flight": [[*at, outgoing_state(outgoing)] for at, outgoing in self._in_flight.items()],
            "ledger": self.ledger.totals(),
        }

    def load(self, state: Mapping[str, Any], *, layout: Layout | None = None) -> None:
        """Take over what :meth:`state` gave.

        Args:
            layout: of the streams that had one; None: each gets it with its next message.
        """
        self._ends.load(state, layout=layout)
        self._in_flight = {
            (direction, ticket): self.restored(sent) for direction, ticket, sent in state["in_flight"]
        }
        for name, medium in self._media.items():
            medium.load(state["media"][name])
        for name, value in state["ledger"].items():
            setattr(self.ledger, name, value)


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
