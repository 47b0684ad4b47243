"""A UE's end of the protocol, as a state machine.

::

                 MODEL                    computed, sends
    away ──▶ idle ─────▶ computing ───────────────────────▶ sending ──▶ idle
        HELLO ▲              │  │ computed, sends:            ▲   ACK, NACK, or given up
              │    computed, │  └──────▶ asking ──────────────┘
              └──────────────┘             │  REQUEST   GRANT
               keeps (SKIP)                └──▶ idle:  NACK, or given up

Where acknowledgements are sent, an upload of whose fate the UE does not know stays *in doubt*: it is neither
remembered as delivered nor as owed. No other is sent before that is known: the UE asks (REQUEST) first, also where no
grants are needed, and the answer says whether the one in doubt was applied; if not, it never will be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

from syft_fl.federation.protocol.settings import Protocol as Settings
from syft_fl.federation.protocol.signals import Reason, granted, refused, request
from syft_fl.transport import Message, MessageKind, Outgoing, Signal

__all__ = ["UESide", "UEState", "UEWire"]

_GREETINGS = 20
"""HELLOs until a UE gives up: more than of anything else, since nobody will look for it."""

UEState = Literal["away", "idle", "computing", "asking", "sending"]


class UEWire(Protocol):
    """What a UE's end does with the world: its radio, its memory of the link, its processor."""

    def signal(self, ue: str, kind: MessageKind, signal: Signal, *, round: int) -> None:
        """Send a frame that brings no model."""
        ...

    def offer(self, outgoing: Outgoing) -> None:
        """Send a frame that is prepared."""
        ...

    def write(self, message: Message) -> Outgoing:
        """Make the frame of an upload; where its fate may stay unknown, what is owed goes into it."""
        ...

    def commit(self, outgoing: Outgoing) -> None:
        """Remember that an upload was applied."""
        ...

    def roll_back(self, outgoing: Outgoing) -> None:
        """Remember that an upload was not applied, and never will be."""
        ...

    def keep(self, message: Message) -> None:
        """Remember that a computed model is not sent."""
        ...

    def decide(self, message: Message) -> tuple[bool, float]:
        """Whether a computed model is to be sent, and how urgent that is."""
        ...

    def train(self, ue: str, *, round: int) -> None:
        """Begin to compute from the newest model."""
        ...

    def abandon(self, ue: str) -> None:
        """Stop computing; what was done is lost."""
        ...

    def ignores(self, ue: str, *, round: int) -> None:
        """Let the model of a round pass."""
        ...

    def wake(self, party: str, ue: str, epoch: int) -> None:
        """Set a timer of ``timeout_s`` for one end of a link."""
        ...


class UESide:
    """One UE.

    Attributes:
        state: see the module.
        newest: newest version that it received.
        base: version that it computes from, or has computed from last.
        number: of its last upload.
        doubt: an upload of whose fate it does not know.
    """

    def __init__(self, name: str, settings: Settings, wire: UEWire) -> None:
        self.name = name
        self.state: UEState = "idle"
        self.newest = 0
        self.base = 0
        self.number = 0
        self.doubt: Outgoing | None = None
        self._round = 0
        self._held: Message | None = None
        self._urgency = 0.0
        self._next: int | None = None  # the round of a model that came while it was at work
        self._tries = 0
        self._greetings = 0  # HELLOs since it came back; 0 once it knows that it is expected
        self._epoch = 0  # timers of an earlier one mean nothing any more
        self._settings = settings
        self._wire = wire

    @property
    def at_work(self) -> bool:
        """Whether a new model would find it busy."""
        return self.state in ("computing", "asking", "sending")

    @property
    def is_done(self) -> bool:
        """Whether what it computed is settled, and nothing is to be computed before another model comes."""
        return not self.at_work and self.doubt is None

    # What it hears.

    def hears_model(self, version: int, *, round: int, wanted: bool) -> None:
        """A model arrived, and was decoded.

        Args:
            wanted: the base station waits for what the UE makes of it; else it only overhears it.
        """
        self._greetings = 0
        if version <= self.newest:  # it was sent again, or was overtaken
            return
        self.newest = version
        if not wanted:
            return
        if self.state == "idle":
            self._start(round)
        elif self.state == "sending" or self._settings.busy == "finish":
            self._next = round
        elif self._settings.busy == "restart":
            self._drop_work()
            self._start(round)
        else:
            self._wire.ignores(self.name, round=round)

    def hears(self, kind: MessageKind, signal: Signal) -> None:
        """An answer arrived. One to something that is settled by now means nothing."""
        self._greetings = 0
        if kind == "ack":
            self._learns(signal.number, applied=True)
        elif kind == "grant":
            doubted = self.doubt is not None
            self._learns(signal.number, applied=granted(signal))
            if self.state == "asking" and self.doubt is None:
                assert self._held is not None
                if doubted and not self._wire.decide(self._held)[0]:
                    self._skip(self._held)  # it knows more now than when it asked
                else:
                    self._upload(self._held)
        elif kind == "nack":
            reason, applied = refused(signal)
            self._learns(signal.number, applied=applied)
            if reason is Reason.NOT_GRANTED and self.state == "asking":
                self._keep_held()
                self._rest()

    # What happens at the UE itself.

    def computed(self, message: Message) -> None:
        """It has a model to send."""
        assert self.state == "computing"
        sends, self._urgency = self._wire.decide(message)
        if not sends:
            self._skip(message)
        elif self._settings.grants or self.doubt is not None:
            self.state, self._held, self._tries = "asking", message, 0
            self._ask()
        else:
            self._upload(message)

    def stops(self) -> None:
        """What it computes comes to nothing, and nobody is told."""
        if self.state == "computing":
            self._wire.abandon(self.name)
            self._rest()

    def rests(self) -> None:
        """What it computed is settled elsewhere."""
        self._rest()

    def has_sent(self) -> None:
        """The transmission of its REQUEST, UPDATE or HELLO is over."""
        if self._settings.acknowledgements == "sent":
            self._wire.wake("ue", self.name, self._epoch)

    def lost(self) -> None:
        """It learns that what it sent, or the answer, was lost, and that there is no point in waiting."""
        if self.doubt is not None:
            self._learns(self.doubt.serial, applied=False)
        elif self.state == "asking":
            self._keep_held()
            self._rest()

    def expired(self, epoch: int) -> None:
        """No answer came in time."""
        if epoch != self._epoch:
            return
        again = self._tries < self._settings.tries
        if self.state == "sending":
            assert self.doubt is not None
            if again:
                self._send(self.doubt)
            else:
                self._rest()
        elif self.state == "asking":
            if again:
                self._ask()
            else:
                self._keep_held()
                self._rest()
        elif self.state == "idle" and 0 < self._greetings < _GREETINGS:
            self._greet()

    def leaves(self, *, says: bool) -> None:
        """It goes out of reach, and stops what it does.

        Args:
            says: it has time for a BYE.
        """
        if self.state == "away":
            return
        self._drop_work()
        self._epoch += 1
        self.state, self._next, self._greetings = "away", None, 0
        if says:
            self._wire.signal(self.name, "bye", Signal(self.number), round=self._round)

    def comes_back(self) -> None:
        """It is in reach again, with what it remembers."""
        if self.state != "away":
            return
        self.state = "idle"
        self._greet()

    def _greet(self) -> None:
        self._greetings += 1
        self._epoch += 1
        number = self.number if self.doubt is None else self.doubt.serial
        self._wire.signal(self.name, "hello", Signal(number, self.newest), round=self._round)

    def _start(self, round: int) -> None:
        self.state, self.base, self._round = "computing", self.newest, round
        self._epoch += 1
        self._wire.train(self.name, round=round)

    def _drop_work(self) -> None:
        if self.state == "computing":
            self._wire.abandon(self.name)
        elif self.state == "asking":
            self._keep_held()

    def _keep_held(self) -> None:
        assert self._held is not None
        self._wire.keep(self._held)
        self._held = None

    def _skip(self, message: Message) -> None:
        self._wire.keep(message)
        if self._settings.skip == "sent":
            skip = Signal(self.number, self.base)
            self._wire.signal(self.name, "skip", skip, round=message.round)
        self._rest()

    def _ask(self) -> None:
        self._tries += 1
        self._epoch += 1
        number = 0 if self.doubt is None else self.doubt.serial
        self._wire.signal(self.name, "request", request(number, self._urgency), round=self._round)

    def _upload(self, message: Message) -> None:
        self.state, self._held, self._tries = "sending", None, 0
        outgoing = self._wire.write(message)
        self.number = outgoing.serial
        self._send(outgoing)

    def _send(self, outgoing: Outgoing) -> None:
        self.doubt = outgoing
        self._tries += 1
        self._epoch += 1
        self._wire.offer(outgoing)

    def _learns(self, number: int, *, applied: bool) -> None:
        doubt = self.doubt
        if doubt is None or doubt.serial != number:
            return
        self.doubt = None
        if applied:
            self._wire.commit(doubt)
        else:
            self._wire.roll_back(doubt)
        if self.state == "sending":
            self._rest()

    def _rest(self) -> None:
        self.state = "idle"
        self._epoch += 1
        self._held = None
        if self._next is not None:
            round, self._next = self._next, None
            self._start(round)

    # Checkpoints.

    def state_of(self) -> dict[str, Any]:
        """All but the frames and messages that it holds, as plain data."""
        return {
            "state": self.state,
            "newest": self.newest,
            "base": self.base,
            "number": self.number,
            "round": self._round,
            "urgency": self._urgency,
            "next": self._next,
            "tries": self._tries,
            "greetings": self._greetings,
            "epoch": self._epoch,
        }

    @property
    def held(self) -> Message | None:
        """A model that it asks to send."""
        return self._held

    def load(self, state: Mapping[str, Any], *, doubt: Outgoing | None, held: Message | None) -> None:
        """Take over what :meth:`state_of` gave."""
        self.state, self.newest, self.base = state["state"], state["newest"], state["base"]
        self.number, self._round, self._urgency = state["number"], state["round"], state["urgency"]
        self._next, self._tries, self._epoch = state["next"], state["tries"], state["epoch"]
        self._greetings = state["greetings"]
        self.doubt, self._held = doubt, None if held is None else replace(held)
