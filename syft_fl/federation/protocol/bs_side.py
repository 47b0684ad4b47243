"""The base station's end of the protocol towards one UE, as a state machine.

It tells the UE of a model (MODEL, until that is acknowledged or given up), waits for a word of it, and answers. Of the
UE's uploads, numbered 1, 2, …, it knows up to which one it has *decided*, and whether that one was applied. What was
decided stays so: a frame that comes twice is answered as it was the first time, and one that a REQUEST or a HELLO
named before it came is void, however late it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

from syft_fl.errors import TransportError
from syft_fl.federation.protocol.settings import Protocol as Settings
from syft_fl.federation.protocol.signals import Reason, grant, refusal, urgency_of
from syft_fl.transport import Frame, MessageKind, Outgoing, Signal
from syft_fl.transport.outgoing import Part

__all__ = ["BSSide", "BSWire"]


class BSWire(Protocol):
    """What the base station's end does with the world."""

    def answer(self, ue: str, kind: MessageKind, signal: Signal, *, round: int) -> None:
        """Send a frame that brings no model, or (where acknowledgements are free) let the UE know at once."""
        ...

    def offer(self, outgoing: Outgoing) -> None:
        """Send a frame that is prepared."""
        ...

    def wants(self, ue: str, *, round: int) -> bool:
        """Whether an upload that was trained from the model of a round is of use now."""
        ...

    def apply(self, outgoing: Outgoing, data: bytes, part: Part | None) -> None:
        """Decode an upload, and use it.

        Raises:
            TransportError: it refers to a version that is not held here.
        """
        ...

    def discarded(self, ue: str) -> None:
        """An upload came that is of no use any more."""
        ...

    def acknowledged(self, ue: str, version: int) -> None:
        """The UE holds a version."""
        ...

    def disowned(self, ue: str) -> None:
        """The UE may hold nothing."""
        ...

    def tell_whole(self, ue: str) -> None:
        """Tell the UE of the newest model once more, whole."""
        ...

    def skipped(self, ue: str, *, round: int) -> None:
        """The UE keeps its update of a round."""
        ...

    def gone(self, ue: str, *, round: int) -> None:
        """There is no point in waiting for the UE's update of a round."""
        ...

    def asked(self, ue: str) -> None:
        """The UE waits for a grant."""
        ...

    def present(self, ue: str, here: bool) -> None:
        """The UE says that it is here, or leaves."""
        ...

    def wake(self, party: str, ue: str, epoch: int) -> None:
        """Set a timer of ``timeout_s`` for one end of a link."""
        ...

    def bear_with(self, ue: str, *, word: int) -> None:
        """Set a timer of ``patience_s``."""
        ...


class BSSide:
    """The base station towards one UE.

    Attributes:
        expects: round whose update it waits for last.
        telling: a model that is not acknowledged yet.
        decided: number of the last upload that was applied or refused.
        applied: which of it.
        asking: a request that waits: number in doubt, urgency, round.
    """

    def __init__(self, ue: str, settings: Settings, wire: BSWire) -> None:
        self.ue = ue
        self.expects = 0
        self.telling: Outgoing | None = None
        self.decided = 0
        self.applied = False
        self.asking: tuple[int, float, int] | None = None
        self._answer: tuple[int, Literal["grant", "nack"]] | None = None
        self._words = 0  # of the UE, and to it: its silence is counted from the last one
        self._tries = 0
        self._epoch = 0
        self._settings = settings
        self._wire = wire

    # What it does.

    def expect(self, round: int) -> None:
        """Wait for what the UE makes of the model of a round."""
        self.expects = round
        self._words += 1
        self.asking = self._answer = None

    def tells(self, outgoing: Outgoing) -> None:
        """A model is on its way to the UE."""
        if self._settings.acknowledgements == "sent":
            self.telling = outgoing
            self._tries = 1
            self._epoch += 1

    def has_sent(self, outgoing: Outgoing) -> None:
        """The transmission of a model is over."""
        if self.telling is not None and self.telling.serial == outgoing.serial:
            self._wire.wake("bs", self.ue, self._epoch)

    def expired(self, epoch: int) -> None:
        """The model was not acknowledged in time."""
        if epoch != self._epoch or self.telling is None:
            return
        telling = self.telling
        self._epoch += 1
        if self._tries < self._settings.tries:
            self._tries += 1
            self.telling = replace(telling, ues=(self.ue,))
            self._wire.offer(self.telling)
        else:
            self.telling = None
            self._wire.gone(self.ue, round=telling.round)

    def answers(self, *, yes: bool) -> None:
        """Answer the request that waits."""
        assert self.asking is not None
        number, _, round = self.asking
        self.asking = None
        self._answer = (round, "grant" if yes else "nack")
        self._begin_to_wait()
        self._reply(number, round)

    # What it hears.

    def hears_of(self, version: int, *, round: int) -> None:
        """The UE holds a version, of the model of a round."""
        if version:
            self._wire.acknowledged(self.ue, version)
        if self.telling is not None and (version >= self.telling.serial or round >= self.telling.round):
            self.telling = None
            self._epoch += 1
        if self.expects == round:
            self._begin_to_wait()

    def out_of_patience(self, word: int) -> None:
        """Nothing was heard of the UE for ``patience_s``. One that waits for an answer is not silent."""
        if word == self._words and self.asking is None:
            self._wire.gone(self.ue, round=self.expects)

    def hears_refusal(self, version: int) -> None:
        """The UE can make nothing of a version."""
        self._wire.disowned(self.ue)
        if self.telling is None or self.telling.serial == version:
            self.telling = None
            self._epoch += 1
            self._wire.tell_whole(self.ue)

    def hears_update(self, outgoing: Outgoing, data: bytes, frame: Frame, part: Part | None) -> None:
        """An upload came, for the first time or again."""
        self.hears_of(frame.reference, round=frame.round)
        if frame.serial > self.decided:
            self.decided = frame.serial
            self.applied, why = False, Reason.TOO_LATE
            if not self._wire.wants(self.ue, round=frame.round):
                self._wire.discarded(self.ue)
            else:
                try:
                    self._wire.apply(outgoing, data, part)
                    self.applied = True
                except TransportError:
                    why = Reason.UNKNOWN_VERSION
                    self._wire.disowned(self.ue)
                    self._wire.gone(self.ue, round=frame.round)
            self._verdict(why, frame.round)
        elif frame.serial == self.decided:
            self._verdict(Reason.TOO_LATE, frame.round)

    def hears_skip(self, signal: Signal, *, round: int) -> None:
        """The UE keeps its update."""
        self.hears_of(signal.version, round=round)
        self._wire.skipped(self.ue, round=round)

    def hears_request(self, signal: Signal, *, round: int) -> None:
        """The UE wants to send; an upload that it names, and that has not come, is void from now on."""
        self.hears_of(0, round=round)
        self._void(signal.number)
        if self._answer is not None and self._answer[0] == round:
            self._reply(signal.number, round)
        else:
            self.asking = (signal.number, urgency_of(signal), round)
            self._wire.asked(self.ue)

    def hears_hello(self, signal: Signal, *, round: int) -> None:
        """The UE is here (again), with a version that it holds and an upload of which it may not know."""
        self._void(signal.number)
        self._wire.disowned(self.ue)
        if signal.version:
            self._wire.acknowledged(self.ue, signal.version)
        self._wire.present(self.ue, True)
        if signal.number and signal.number == self.decided:
            self._verdict(Reason.NEVER_CAME, round)
        else:
            self._wire.answer(self.ue, "ack", Signal(), round=round)

    def hears_bye(self) -> None:
        """The UE leaves."""
        self.telling, self.asking = None, None
        self._epoch += 1
        self._wire.present(self.ue, False)
        self._wire.gone(self.ue, round=self.expects)

    def _begin_to_wait(self) -> None:
        self._words += 1
        if self._settings.patience_s is not None:
            self._wire.bear_with(self.ue, word=self._words)

    def _void(self, number: int) -> None:
        if number > self.decided:
            self.decided, self.applied = number, False

    def _verdict(self, why: Reason, round: int) -> None:
        if self.applied:
            self._wire.answer(self.ue, "ack", Signal(self.decided), round=round)
        else:
            self._wire.answer(self.ue, "nack", refusal(self.decided, why), round=round)

    def _reply(self, number: int, round: int) -> None:
        assert self._answer is not None
        applied = self.applied and number == self.decided
        if self._answer[1] == "grant":
            self._wire.answer(self.ue, "grant", grant(number, applied=applied), round=round)
        else:
            refused = refusal(number, Reason.NOT_GRANTED, applied=applied)
            self._wire.answer(self.ue, "nack", refused, round=round)

    # Checkpoints.

    def state_of(self) -> dict[str, Any]:
        """All but the frame that it may send again, as plain data."""
        return {
            "expects": self.expects,
            "decided": self.decided,
            "applied": self.applied,
            "asking": None if self.asking is None else list(self.asking),
            "answer": None if self._answer is None else list(self._answer),
            "words": self._words,
            "tries": self._tries,
            "epoch": self._epoch,
        }

    def load(self, state: Mapping[str, Any], *, telling: Outgoing | None) -> None:
        """Take over what :meth:`state_of` gave."""
        self.expects, self.decided, self.applied = state["expects"], state["decided"], state["applied"]
        self.asking = None if state["asking"] is None else tuple(state["asking"])
        self._answer = None if state["answer"] is None else tuple(state["answer"])
        self._words, self._tries, self._epoch = state["words"], state["tries"], state["epoch"]
        self.telling = telling
