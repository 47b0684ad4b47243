"""Both ends of the protocol on one transport: frames, timers, and who is told what.

:class:`Exchange` is what a federation talks to. It tells of models, takes what UEs computed, is given what landed and
which timers rang, and calls back (:class:`Federation`). Where acknowledgements are free it lets both ends know at once
what became of a message; where they are sent, each end knows only what it was told by a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from syft_fl.errors import FrameError, TransportError
from syft_fl.federation.protocol.bs_side import BSSide
from syft_fl.federation.protocol.settings import Protocol as Settings
from syft_fl.federation.protocol.ue_side import UESide
from syft_fl.transport import (
    Accepted,
    Frame,
    Landed,
    Message,
    MessageKind,
    ModelContent,
    Outgoing,
    Signal,
    Transport,
    outgoing_state,
)
from syft_fl.transport.layers import Decoded
from syft_fl.transport.outgoing import Part
from syft_fl.vectors import Layout, ModelState

__all__ = ["Exchange", "Federation", "Timers"]


class Timers(Protocol):
    """What rings later."""

    def __call__(self, after_s: float, party: str, ue: str, number: int) -> None:
        """Let :meth:`Exchange.rings` be called with these after some time."""
        ...


class Federation(Protocol):
    """Who talks through an exchange: what UEs compute and decide, and what the base station makes of it."""

    def received(self, ue: str, content: ModelContent, frame: Frame) -> None:
        """A UE has a model now, instead of the one before."""
        ...

    def train(self, ue: str, *, round: int) -> None:
        """A UE begins to compute from its newest model; :meth:`Exchange.computed` is to follow."""
        ...

    def abandon(self, ue: str) -> None:
        """A UE stops computing."""
        ...

    def decide(self, message: Message) -> tuple[bool, float]:
        """Whether a UE sends what it computed, and how urgent that is."""
        ...

    def sends(self, ue: str, number: int) -> None:
        """A UE sends what it has decided on last, as its upload of this number."""
        ...

    def settled(self, ue: str, number: int | None, *, applied: bool) -> None:
        """A UE knows what became of an upload; None: it keeps what it has decided on last."""
        ...

    def discarded(self, ue: str) -> None:
        """An upload came that is of no use any more."""
        ...

    def wants(self, ue: str, *, round: int) -> bool:
        """Whether an upload that was trained from the model of a round is of use now."""
        ...

    def came(self, outgoing: Outgoing, accepted: Accepted) -> None:
        """An upload was decoded."""
        ...

    def skipped(self, ue: str, *, round: int) -> None:
        """A UE keeps its update of a round."""
        ...

    def gone(self, ue: str, *, round: int) -> None:
        """There is no point in waiting for a UE's update of a round."""
        ...

    def waiting(self) -> Iterable[str]:
        """UEs that the base station waits for, in a fixed order."""
        ...

    def present(self, ue: str, here: bool) -> None:
        """A UE says that it is here, or leaves."""
        ...


class Exchange:
    """The messages of one stream between a base station and its UEs.

    Args:
        transport: the seam.
        settings: of the protocol.
        hub: the base station's name.
        stream: of the model.
        federation: who is called back.
        timers: what rings later.
        put_on_air: hands a frame to the radio; None: at the transport's present time.
    """

    def __init__(
        self,
        transport: Transport,
        settings: Settings,
        *,
        hub: str,
        stream: str,
        federation: Federation,
        timers: Timers,
        put_on_air: Callable[[Outgoing], None] | None = None,
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._hub = hub
        self._stream = stream
        self._federation = federation
        self._timers = timers
        self._put_on_air = put_on_air
        self._free = settings.acknowledgements == "free"
        self._ues: dict[str, UESide] = {}
        self._seats: dict[str, BSSide] = {}
        # What uploads decoded to, until their senders know that they were applied. A UE could decode its own bytes.
        self._receipts: dict[str, Decoded] = {}
        self._newest: Message | None = None

    def ue(self, name: str) -> UESide:
        """A UE's end."""
        if name not in self._ues:
            self._ues[name] = UESide(name, self._settings, self)
        return self._ues[name]

    def seat(self, name: str) -> BSSide:
        """The base station's end towards a UE."""
        if name not in self._seats:
            self._seats[name] = BSSide(name, self._settings, self)
        return self._seats[name]

    # What the federation does.

    def tell(self, message: Message, *, wanted: Iterable[str]) -> None:
        """Send a model, and wait for what some UEs make of it."""
        self._newest = message
        for ue in wanted:
            self.seat(ue).expect(message.round)
        for outgoing in self._transport.prepare(message):
            for ue in outgoing.ues:
                if self.seat(ue).expects == message.round:
                    self.seat(ue).tells(outgoing)
            self.offer(outgoing)

    def computed(self, message: Message) -> None:
        """A UE has computed a model."""
        self.ue(message.sender).computed(message)

    def rings(self, party: str, ue: str, number: int) -> None:
        """A timer has run out."""
        if party == "ue":
            self.ue(ue).expired(number)
        elif party == "bs":
            self.seat(ue).expired(number)
        else:
            self.seat(ue).out_of_patience(number)

    def landed(self, landed: Landed) -> None:
        """A transmission is over, whatever became of it."""
        outgoing = landed.outgoing
        if outgoing.direction == "downlink":
            self._landed_down(landed)
        else:
            self._landed_up(landed)

    def _landed_down(self, landed: Landed) -> None:
        outgoing = landed.outgoing
        here = [ue for ue in landed.received if self.ue(ue).state != "away"]
        if self._free:
            for ue in outgoing.ues:
                if ue not in here:
                    self._not_heard(outgoing, ue)
        if here:
            data = self._transport.hand_over(outgoing, here)
            for ue in here:
                self.deliver_down(outgoing, ue, data)
        if not self._free and outgoing.kind == "model":
            for ue in outgoing.ues:
                self.seat(ue).has_sent(outgoing)

    def _not_heard(self, outgoing: Outgoing, ue: str) -> None:
        if outgoing.kind == "model":
            self._federation.gone(ue, round=outgoing.round)
        else:  # a GRANT or a NACK
            self.ue(ue).lost()
            self._federation.gone(ue, round=outgoing.round)

    def _landed_up(self, landed: Landed) -> None:
        outgoing = landed.outgoing
        (ue,) = outgoing.ues
        if landed.received:
            data = b"" if landed.part is not None else self._transport.hand_over(outgoing, (ue,))
            self.deliver_up(outgoing, data, part=landed.part)
        elif self._free:
            self.ue(ue).lost()
            if outgoing.kind != "hello":
                self._federation.gone(ue, round=outgoing.round)
            else:
                self._federation.present(ue, True)
        if outgoing.kind in ("model", "request", "hello"):
            self.ue(ue).has_sent()

    def deliver_down(self, outgoing: Outgoing, ue: str, data: bytes) -> None:
        """Bytes of the base station have come to a UE. Damaged ones are as good as lost."""
        try:
            frame = self._transport.opened(outgoing, data)
        except FrameError:
            return
        end = self.ue(ue)
        if end.state == "away":
            return
        if frame.kind != "model":
            end.hears(frame.kind, _signal(frame))
            return
        if frame.serial <= end.newest:
            self._has_model(ue, end.newest, round=frame.round)
            return
        keep = {ue: end.base} if end.at_work else None
        try:
            accepted = self._transport.accept(outgoing, (ue,), data=data, keep=keep)
        except TransportError:
            if self._free:
                self.seat(ue).hears_refusal(frame.serial)
            else:
                self.signal(ue, "nack", Signal(version=frame.serial), round=frame.round)
            return
        assert isinstance(accepted.content, ModelContent)
        self._federation.received(ue, accepted.content, frame)
        self._has_model(ue, frame.serial, round=frame.round)
        # There are no addresses in frames: who is to send is said by whom the base station waits for.
        end.hears_model(frame.serial, round=frame.round, wanted=self.seat(ue).expects == frame.round)

    def _has_model(self, ue: str, version: int, *, round: int) -> None:
        if self._free:
            self.seat(ue).hears_of(version, round=round)
        else:
            self.signal(ue, "ack", Signal(version=version), round=round)

    def deliver_up(self, outgoing: Outgoing, data: bytes, *, part: Part | None = None) -> None:
        """Bytes of a UE have come to the base station. Damaged ones are as good as lost."""
        try:
            frame = part.frame if part else self._transport.opened(outgoing, data)
        except FrameError:
            return
        (ue,) = outgoing.ues
        seat = self.seat(ue)
        if frame.kind == "model":
            seat.hears_update(outgoing, data, frame, part)
            return
        signal = _signal(frame)
        if frame.kind == "skip":
            seat.hears_skip(signal, round=frame.round)
        elif frame.kind == "request":
            seat.hears_request(signal, round=frame.round)
        elif frame.kind == "ack":
            seat.hears_of(signal.version, round=frame.round)
        elif frame.kind == "nack":
            seat.hears_refusal(signal.version)
        elif frame.kind == "hello":
            seat.hears_hello(signal, round=frame.round)
        elif frame.kind == "bye":
            seat.hears_bye()

    def grant_due(self) -> None:
        """Answer requests that have waited for others, once nobody else is to ask."""
        limit = self._settings.granted
        if limit is None:
            return
        waiting = list(self._federation.waiting())
        asking = [self.seat(ue) for ue in waiting if self.seat(ue).asking is not None]
        if not asking or len(asking) < len(waiting):
            return
        urgent = sorted(asking, key=lambda seat: -seat.asking[1] if seat.asking else 0.0)[:limit]
        for seat in asking:
            yes = seat in urgent
            round = seat.expects
            seat.answers(yes=yes)
            if not yes:
                self._federation.skipped(seat.ue, round=round)

    # What both ends do (UEWire, BSWire).

    def signal(self, ue: str, kind: MessageKind, signal: Signal, *, round: int) -> None:
        """Send a frame of a UE that brings no model."""
        self._send(Message(kind, ue, self._hub, self._stream, signal, round=round))

    def answer(self, ue: str, kind: MessageKind, signal: Signal, *, round: int) -> None:
        """Answer a UE. An ACK, and a NACK to an upload, need no frame where acknowledgements are free."""
        if self._free and kind != "grant" and self.ue(ue).state != "asking":
            self.ue(ue).hears(kind, signal)
        else:
            self._send(Message(kind, self._hub, ue, self._stream, signal, round=round))

    def _send(self, message: Message) -> None:
        for outgoing in self._transport.prepare(message):
            self.offer(outgoing)

    def offer(self, outgoing: Outgoing) -> None:
        """Put a frame on the air."""
        if self._put_on_air is not None:
            self._put_on_air(outgoing)
        else:
            self._transport.offer(outgoing, now_s=self._transport.clock.now_s)

    def write(self, message: Message) -> Outgoing:
        """Make the frame of an upload."""
        (outgoing,) = self._transport.prepare(message)
        self._federation.sends(message.sender, outgoing.serial)
        return outgoing if self._free else self._transport.lift(outgoing)

    def commit(self, outgoing: Outgoing) -> None:
        """A UE knows that its upload was applied."""
        (ue,) = outgoing.ues
        self._transport.commit(outgoing, self._receipts.pop(ue))
        self._federation.settled(ue, outgoing.serial, applied=True)

    def roll_back(self, outgoing: Outgoing) -> None:
        """A UE knows that its upload was not applied."""
        self._transport.roll_back(outgoing)
        self._federation.settled(outgoing.ues[0], outgoing.serial, applied=False)

    def keep(self, message: Message) -> None:
        """A UE keeps what it computed."""
        self._transport.hold_back(message)
        self._federation.settled(message.sender, None, applied=False)

    def decide(self, message: Message) -> tuple[bool, float]:
        """Whether a UE sends what it computed, and how urgent that is."""
        return self._federation.decide(message)

    def train(self, ue: str, *, round: int) -> None:
        """A UE begins to compute."""
        self._federation.train(ue, round=round)

    def abandon(self, ue: str) -> None:
        """A UE stops computing."""
        self._federation.abandon(ue)

    def ignores(self, ue: str, *, round: int) -> None:
        """A UE lets the model of a round pass; where both ends know at once, nobody waits for it."""
        if self._free:
            self._federation.gone(ue, round=round)

    def discarded(self, ue: str) -> None:
        """An upload came that is of no use any more."""
        self._federation.discarded(ue)

    def wake(self, party: str, ue: str, epoch: int) -> None:
        """Set a timer of ``timeout_s``."""
        self._timers(self._settings.timeout_s, party, ue, epoch)

    def bear_with(self, ue: str, *, word: int) -> None:
        """Set a timer of ``patience_s``."""
        assert self._settings.patience_s is not None
        self._timers(self._settings.patience_s, "patience", ue, word)

    def wants(self, ue: str, *, round: int) -> bool:
        """Whether an upload is of use."""
        return self._federation.wants(ue, round=round)

    def apply(self, outgoing: Outgoing, data: bytes, part: Part | None) -> None:
        """Decode an upload, and use it."""
        (ue,) = outgoing.ues
        accepted = self._transport.accept(outgoing, (ue,), data=data, part=part)
        assert accepted.decoded is not None
        self._receipts[ue] = accepted.decoded
        self._federation.came(outgoing, accepted)

    def acknowledged(self, ue: str, version: int) -> None:
        """The base station knows that a UE holds a version."""
        self._transport.acknowledge(ue, self._stream, version)

    def disowned(self, ue: str) -> None:
        """The base station counts on nothing at a UE."""
        self._transport.disown(ue, self._stream)

    def tell_whole(self, ue: str) -> None:
        """Tell a UE of the newest model, whole."""
        if self._newest is None:
            return
        message = self._newest
        for outgoing in self._transport.prepare(
            Message(
                "model",
                self._hub,
                ue,
                self._stream,
                message.content,
                round=message.round,
                samples=message.samples,
                loss=message.loss,
            )
        ):
            self.seat(ue).tells(outgoing)
            self.offer(outgoing)

    def skipped(self, ue: str, *, round: int) -> None:
        """A UE keeps its update."""
        self._federation.skipped(ue, round=round)

    def gone(self, ue: str, *, round: int) -> None:
        """There is no point in waiting."""
        self._federation.gone(ue, round=round)

    def asked(self, ue: str) -> None:
        """A UE waits for a grant."""
        seat = self.seat(ue)
        assert seat.asking is not None
        wanted = self._federation.wants(ue, round=seat.asking[2])
        if not wanted or self._settings.granted is None:
            seat.answers(yes=wanted)

    def present(self, ue: str, here: bool) -> None:
        """A UE says that it is here, or leaves."""
        self._federation.present(ue, here)

    # Checkpoints.

    def state(self) -> dict[str, Any]:
        """Plain data and tensors, for a checkpoint."""
        return {
            "ues": {name: [ue.state_of(), _sent(ue.doubt), _held(ue.held)] for name, ue in self._ues.items()},
            "seats": {name: [seat.state_of(), _sent(seat.telling)] for name, seat in self._seats.items()},
            "receipts": {
                ue: [decoded.vector, decoded.from_codec, dict(decoded.codec_memory)]
                for ue, decoded in self._receipts.items()
            },
            "newest": _held(self._newest),
        }

    def load(self, state: Mapping[str, Any], *, layout: Layout) -> None:
        """Take over what :meth:`state` gave."""
        for name, (end, doubt, held) in state["ues"].items():
            self.ue(name).load(end, doubt=self._frame(doubt), held=_message(held, layout))
        for name, (end, telling) in state["seats"].items():
            self.seat(name).load(end, telling=self._frame(telling))
        self._receipts = {ue: Decoded(*decoded) for ue, decoded in state["receipts"].items()}
        self._newest = _message(state["newest"], layout)

    def _frame(self, state: Mapping[str, Any] | None) -> Outgoing | None:
        return None if state is None else self._transport.restored(state)


def _signal(frame: Frame) -> Signal:
    return Signal(frame.serial, frame.reference, bytes(frame.payload))


def _sent(outgoing: Outgoing | None) -> dict[str, Any] | None:
    return None if outgoing is None else outgoing_state(outgoing)


_PLAIN: Sequence[str] = (
    "kind",
    "sender",
    "receiver",
    "stream",
    "round",
    "samples",
    "loss",
    "about",
    "reference",
)


def _held(message: Message | None) -> dict[str, Any] | None:
    if message is None:
        return None
    assert isinstance(message.content, ModelContent)
    state = message.content.state
    return {name: getattr(message, name) for name in _PLAIN} | {"model": [state.vector, dict(state.buffers)]}


def _message(state: Mapping[str, Any] | None, layout: Layout) -> Message | None:
    if state is None:
        return None
    receiver = state["receiver"]
    facts = {name: state[name] for name in _PLAIN}
    facts["receiver"] = receiver if isinstance(receiver, str) else tuple(receiver)
    return Message(content=ModelContent(ModelState(*state["model"]), layout), **facts)
