"""Messages that share the air: what ``with transport.parallel():`` does.

Outside of a block every send and get is carried to its end before the program goes on, so messages queue in the
order of the program. In a block the program goes on at once, with what the bytes decode to, and the block's end
settles when all of it was on the air, in one run through the events of both directions:

* The messages of one UE are a chain. Each is offered when the one before has ended, and not before what it waits for
  outside of a block: the UE's own time (what it computed between two messages counts), the base station's gate, and
  for what is relayed (``move``) the arrival of what it relays. A request waits for no computing: it may
  arrive while the UE is at work.
* Chains of different UEs are on the air together. TDMA lets them queue, in order of being offered; OFDMA gives each a
  subchannel.
* The base station waits for nothing in the block: it is one decision, taken at its start.

In the block a worker's ``time_s`` is what it was at the start plus what it computed since; the ledger, the gate and
the clock are those of the start.

**Loss.** Whether a message arrives is known at the end. Where one is lost, the rest of that UE's chain was never
sent. Both ends' memories are then as if neither had been handed on, so the next deltas refer to what both
ends hold, and an error names what did not arrive. What the program did with it in the meantime stays as it is.

**Erasure.** Where a part that came is enough (``Uplink.erasure``), a message has arrived. Both ends' memories are then
as if only that part had been handed on, and a module that was fetched in the block is amended at its end: what has not
come is taken back. What the program made of it in the meantime stays as it is here too. What is handed on
in the block itself (a module that moves from UE to UE) can't be amended: of that, a part is not enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from syft_fl.errors import TransportError, WorkerError
from syft_fl.radio import Transfer
from syft_fl.transport.ends import Before
from syft_fl.transport.layers import LinkMemory
from syft_fl.transport.message import Content, Message
from syft_fl.transport.outgoing import Outgoing, Part
from syft_fl.vectors import Vector

__all__ = ["Ahead", "Later", "Parallel", "Party", "Seam", "owing"]


class Party(Protocol):
    """A UE as a block sees it.

    Attributes:
        id: its name.
        time_s: its local time [s].
    """

    id: str
    time_s: float


@dataclass(frozen=True, slots=True)
class Ahead:
    """A message that was handed on before it was on the air."""

    outgoing: Outgoing
    content: Content
    before: Before


class Seam(Protocol):
    """What a block needs of its transport."""

    def ahead(self, message: Message, *, amendable: bool) -> Ahead: ...

    def amend(self, ahead: Ahead, part: Part) -> tuple[Content, Vector | None]: ...

    def take_back(self, ahead: Ahead) -> None: ...

    def offer(self, outgoing: Outgoing, *, now_s: float) -> None: ...

    def landed(self) -> list[tuple[Outgoing, Transfer, Part | None]]: ...


@dataclass(eq=False, slots=True)
class _Step:
    """One message of a chain.

    Attributes:
        name: the message in words.
        floor_s: it is not offered before [s].
        computed_s: what the UE computed since the message before [s].
        waits: for the UE's own time.
        after: what it relays.
        ended: called with the time of its arrival.
        amended: called with what came, where that is a part of what was handed on.
        end_s: when it arrived [s]; None: not yet.
        failed: it did not arrive, or was not sent.
        followers: chains whose next message relays this one.
    """

    chain: _Chain
    ahead: Ahead
    name: str
    floor_s: float
    computed_s: float
    waits: bool
    after: _Step | None
    ended: Callable[[float], None] | None
    amended: Callable[[Content], None] | None
    end_s: float | None = None
    failed: bool = False
    followers: list[_Chain] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Chain:
    """The messages of one UE, in order.

    Attributes:
        time_s: the UE's time after the messages that have ended [s].
        air_s: when the last of them ended [s].
        seen_s: the UE's own ``time_s`` at its last message: what it is beyond that was computed since.
    """

    party: Party
    time_s: float
    seen_s: float
    air_s: float = 0.0
    steps: deque[_Step] = field(default_factory=deque)


class Later(float):
    """A time that is known at the block's end: the arrival of a message in it.

    As a number it is the UE's time in the block, which is earlier.
    """

    step: _Step


class Parallel:
    """The messages of one block."""

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self._chains: dict[str, _Chain] = {}
        self._flying: dict[int, _Step] = {}
        self._failures: list[str] = []

    def carry(
        self,
        message: Message,
        party: Party,
        *,
        floor_s: float = 0.0,
        waits: bool = True,
        after_s: float = 0.0,
        ended: Callable[[float], None] | None = None,
        amended: Callable[[Content], None] | None = None,
    ) -> tuple[Content, Later]:
        """Hand a message on at once, and send it at the block's end.

        Args:
            party: the UE at the end that is not the base station.
            floor_s: not before this time [s].
            waits: whether it waits for the UE's own time.
            after_s: not before this time [s] either, which may be one that is not known yet.
            ended: called at the block's end with the time of its arrival, in order of arrival.
            amended: called before that with what came, where that is a part; None: then a part is not enough.

        Returns:
            What it decodes to, and when it arrives.
        """
        ahead = self._seam.ahead(message, amendable=amended is not None)
        chain = self._chains.setdefault(party.id, _Chain(party, party.time_s, party.time_s))
        step = _Step(
            chain,
            ahead,
            f"{message.kind} message from {message.sender!r} to {message.receiver!r}",
            max(floor_s, after_s),
            party.time_s - chain.seen_s,
            waits,
            after_s.step if isinstance(after_s, Later) else None,
            ended,
            amended,
        )
        chain.seen_s = party.time_s
        chain.steps.append(step)
        when = Later(party.time_s)
        when.step = step
        return ahead.content, when

    def settle(self) -> WorkerError | None:
        """Put all on the air, and let simulated time pass until it has ended.

        Returns:
            None, or an error to raise: something was lost.
        """
        try:
            for chain in self._chains.values():
                self._offer_next(chain)
            while self._flying:
                for outgoing, transfer, part in self._seam.landed():
                    self._end(self._flying.pop(id(outgoing)), transfer, part)
        finally:
            for chain in self._chains.values():
                self._break(chain)
                # The sum of both: what the messages took, and what was computed after the last of them.
                chain.party.time_s = chain.time_s + (chain.party.time_s - chain.seen_s)
        if not self._failures:
            return None
        return WorkerError(
            "; ".join(self._failures) + "; what the block handed on for that has not arrived: send it again"
        )

    def _offer_next(self, chain: _Chain) -> None:
        if not chain.steps:
            return
        step = chain.steps[0]
        if step.after is not None and step.after.failed:
            self._failures.append(f"{step.name} was not sent, for what it relays did not arrive")
            self._break(chain)
            return
        if step.after is not None and step.after.end_s is None:
            step.after.followers.append(chain)
            return
        # A relayed message's end is known by now.
        relayed_s = 0.0 if step.after is None else step.after.end_s or 0.0
        chain.time_s += step.computed_s
        step.computed_s = 0.0
        offered_s = max(chain.air_s, step.floor_s, relayed_s, chain.time_s if step.waits else 0.0)
        self._flying[id(step.ahead.outgoing)] = step
        try:
            self._seam.offer(step.ahead.outgoing, now_s=offered_s)
        except TransportError as error:
            del self._flying[id(step.ahead.outgoing)]
            self._failures.append(f"{step.name} was not sent: {error}")
            self._break(chain)

    def _end(self, step: _Step, transfer: Transfer, part: Part | None) -> None:
        chain = step.chain
        chain.air_s = transfer.end_s
        # Its airtime has passed for the UE even where it was lost.
        chain.time_s = max(chain.time_s, transfer.end_s)
        if transfer.lost:
            unsent = len(chain.steps) - 1
            rest = f" and what was to follow ({unsent} more) was not sent" if unsent else ""
            self._failures.append(f"{step.name} was lost at {transfer.end_s:.6g} s{rest}")
            self._break(chain)
            return
        chain.steps.popleft()
        if part is not None:
            self._amend(step, part)
        step.end_s = transfer.end_s
        if step.ended is not None:
            step.ended(transfer.end_s)
        self._offer_next(chain)
        for follower in step.followers:
            self._offer_next(follower)

    def _amend(self, step: _Step, part: Part) -> None:
        """Make of a message what came of it; those after it in the chain began from what is owed now."""
        content, owed = self._seam.amend(step.ahead, part)
        for later in step.chain.steps:
            ahead = later.ahead
            if owed is not None and ahead.outgoing.stream == step.ahead.outgoing.stream:
                sender = owing(ahead.before.sender, owed)
                later.ahead = replace(ahead, before=replace(ahead.before, sender=sender))
        if step.amended is not None:
            step.amended(content)

    def _break(self, chain: _Chain) -> None:
        """Take back the rest of a chain, the last message first; those who relay one of them can't go on either."""
        rest, chain.steps = list(chain.steps), deque()
        for step in reversed(rest):
            self._seam.take_back(step.ahead)
            step.failed = True
            # What was computed in the meantime was computed, whatever came of the messages.
            chain.time_s += step.computed_s
        for step in rest:
            for follower in step.followers:
                self._offer_next(follower)


def owing(memory: LinkMemory | None, more: Vector) -> LinkMemory:
    """What an end remembers, with so much more in its residual."""
    memory = memory or LinkMemory()
    return replace(memory, residual=more if memory.residual is None else memory.residual + more)
