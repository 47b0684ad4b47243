"""The protocol under an adversary that loses, repeats, reorders, delays and damages frames, and rings timers at will.

Hypothesis searches for a sequence of events that breaks a promise; the machines, the frames and the memories of links
are the real ones, only the air is the adversary's. Checked after every event: nothing is applied twice, nothing that
its UE knows to be applied was not (nor the other way round), versions go up, all who hold a version hold the same
model, and of every UE what was delivered and what is owed add up to what it computed. At the end the adversary stops,
and everybody who wants to send must get through: there is no deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from syft_fl.codecs import QSGD, Uniform
from syft_fl.federation.protocol import Exchange, Protocol
from syft_fl.keys import Key
from syft_fl.transport import (
    Accepted,
    Downlink,
    Frame,
    Message,
    ModelContent,
    Outgoing,
    Transport,
    Uplink,
)
from syft_fl.vectors import Layout, ModelState, Vector

UES = ("ue0", "ue1", "ue2")
ENTRIES = 6
PHASES = (Phase.explicit, Phase.generate)
"""Without shrinking, which takes minutes: add Phase.shrink to see the shortest sequence that fails."""


@dataclass(frozen=True)
class InTheAir:
    """A frame that may come, to one receiver."""

    outgoing: Outgoing
    ue: str


class World:
    """UEs and a base station, and frames and timers that an adversary may do with what it likes."""

    def __init__(self, protocol: Protocol, *, late: bool) -> None:
        self.late = late  # updates of earlier rounds are used too
        self.transport = Transport(
            uplink=Uplink(codec=Uniform(bits=2, rounding="stochastic"), error_feedback=True),
            downlink=Downlink(codec=QSGD(levels=3, block=4)),
            key=Key(5),
            hub="bs",
            holds_back=True,
        )
        self.layout = Layout.of(torch.nn.Linear(ENTRIES - 1, 1))
        self.exchange = Exchange(
            self.transport,
            protocol,
            hub="bs",
            stream="model",
            federation=self,
            timers=self.set_timer,
            put_on_air=self.put_on_air,
        )
        self.protocol = protocol
        self.air: list[InTheAir] = []
        self.timers: list[tuple[str, str, int]] = []
        self.model = torch.zeros(ENTRIES)
        self.round = 0
        self.awaited: dict[str, int] = {}
        self.wishes = True  # to send, when it decides
        self.draws = 0
        # What UEs hold and computed.
        self.at: dict[str, tuple[Vector, int]] = {}
        self.base: dict[str, tuple[Vector, int]] = {}
        self.versions: dict[int, Vector] = {}
        self.computed: dict[str, Vector] = {ue: torch.zeros(ENTRIES) for ue in UES}
        self.delivered: dict[str, Vector] = {ue: torch.zeros(ENTRIES) for ue in UES}
        self.waiting_update: dict[str, Vector] = {}
        self.applied: dict[tuple[str, int], Vector] = {}
        self.known: dict[str, dict[int, bool]] = {ue: {} for ue in UES}
        self.newest: dict[str, int] = dict.fromkeys(UES, 0)

    # The radio and the clock.

    def put_on_air(self, outgoing: Outgoing) -> None:
        self.transport._count(outgoing)  # as offer() does
        self.air += [InTheAir(outgoing, ue) for ue in outgoing.ues]
        if outgoing.direction == "downlink":
            if outgoing.kind == "model":
                for ue in outgoing.ues:
                    self.exchange.seat(ue).has_sent(outgoing)
        elif outgoing.kind in ("model", "request", "hello"):
            self.exchange.ue(outgoing.ues[0]).has_sent()

    def set_timer(self, after_s: float, party: str, ue: str, number: int) -> None:
        self.timers.append((party, ue, number))

    def deliver(self, one: InTheAir, data: bytes | None = None) -> None:
        data = one.outgoing.frame if data is None else data
        if one.outgoing.direction == "downlink":
            self.exchange.deliver_down(one.outgoing, one.ue, data)
        else:
            self.exchange.deliver_up(one.outgoing, data)
        self.exchange.grant_due()

    # What the protocol calls back.

    def received(self, ue: str, content: ModelContent, frame: Frame) -> None:
        assert frame.serial > self.newest[ue], "versions of a UE go up"
        self.newest[ue] = frame.serial
        vector = content.state.vector
        same = self.versions.setdefault(frame.serial, vector)
        assert torch.equal(same, vector), "all who hold a version hold the same model"
        self.at[ue] = vector, frame.serial

    def train(self, ue: str, *, round: int) -> None:
        self.base[ue] = self.at[ue]

    def abandon(self, ue: str) -> None:
        pass

    def decide(self, message: Message) -> tuple[bool, float]:
        return self.wishes, 1.0 + int(message.sender[-1])

    def sends(self, ue: str, number: int) -> None:
        pass

    def settled(self, ue: str, number: int | None, *, applied: bool) -> None:
        pass

    def discarded(self, ue: str) -> None:
        pass

    def wants(self, ue: str, *, round: int) -> bool:
        return self.late or round == self.round

    def came(self, outgoing: Outgoing, accepted: Accepted) -> None:
        (ue,) = outgoing.ues
        number = accepted.frame.serial
        assert (ue, number) not in self.applied, "applied twice"
        assert self.known[ue].get(number) is not False, "applied after its UE was told that it never will be"
        assert accepted.decoded is not None
        self.applied[ue, number] = accepted.decoded.from_codec
        self.delivered[ue] = self.delivered[ue] + accepted.decoded.from_codec
        self.awaited.pop(ue, None)

    def skipped(self, ue: str, *, round: int) -> None:
        if self.awaited.get(ue) == round:
            del self.awaited[ue]

    gone = skipped

    def waiting(self) -> Iterable[str]:
        return [ue for ue in UES if ue in self.awaited]

    def present(self, ue: str, here: bool) -> None:
        pass

    # What happens.

    def next_round(self, wanted: tuple[str, ...]) -> None:
        self.round += 1
        self.draws += 1
        self.model = self.model + torch.randn(ENTRIES, generator=(Key(1) / self.draws).torch())
        self.awaited = dict.fromkeys(wanted, self.round)
        content = ModelContent(ModelState(self.model, {}), self.layout)
        self.exchange.tell(Message("model", "bs", wanted, "model", content, round=self.round), wanted=wanted)

    def finish(self, ue: str, *, sends: bool) -> None:
        self.wishes = sends
        self.draws += 1
        (base, version) = self.base[ue]
        trained = base + torch.randn(ENTRIES, generator=(Key(2) / self.draws).torch())
        self.computed[ue] = self.computed[ue] + (trained - base)
        self.exchange.computed(
            Message(
                "model",
                ue,
                "bs",
                "model",
                ModelContent(ModelState(trained, {}), self.layout),
                round=self.round_of(ue),
                samples=1,
                reference=version,
            )
        )
        self.exchange.grant_due()

    def round_of(self, ue: str) -> int:
        return int(self.exchange.ue(ue)._round)

    # What must hold.

    def check(self) -> None:
        for ue in UES:
            end = self.exchange.ue(ue)
            owed = self.transport.residual(ue, "model")
            total = self.delivered[ue] + (torch.zeros(ENTRIES) if owed is None else owed)
            if end.held is not None:
                base = self.versions[end.base]
                total = total + (end.held.content.state.vector - base)  # type: ignore[union-attr]
            if end.doubt is not None:
                assert end.doubt.encoded is not None
                assert end.doubt.encoded.sent is not None
                there = self.applied.get((ue, end.doubt.serial), torch.zeros(ENTRIES))
                total = total + (end.doubt.encoded.sent - there)
            assert torch.allclose(total, self.computed[ue], atol=1e-3), f"{ue}: delivered and owed is not all"
            assert len(self.transport.references.held(ue, "model")) <= 6


class Adversary(RuleBasedStateMachine):
    """Everything that can go wrong, in any order."""

    protocol = Protocol(acknowledgements="sent", patience_s=10.0)
    late = False

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.protocol, late=self.late)
        self.log: list[Any] = []
        self._watch()

    def _watch(self) -> None:
        """Note what UEs are told of their uploads."""
        exchange, world = self.world.exchange, self.world
        commit, roll_back = exchange.commit, exchange.roll_back

        def committed(outgoing: Outgoing) -> None:
            (ue,) = outgoing.ues
            assert (ue, outgoing.serial) in world.applied, (
                "its UE was told that it was applied, and it was not"
            )
            world.known[ue][outgoing.serial] = True
            commit(outgoing)

        def rolled_back(outgoing: Outgoing) -> None:
            (ue,) = outgoing.ues
            assert (ue, outgoing.serial) not in world.applied, "its UE was told that it never was, and it was"
            world.known[ue][outgoing.serial] = False
            roll_back(outgoing)

        exchange.commit = committed  # type: ignore[method-assign]
        exchange.roll_back = rolled_back  # type: ignore[method-assign]

    @rule(wanted=st.sets(st.sampled_from(UES), min_size=1))
    def a_round_begins(self, wanted: set[str]) -> None:
        self.world.next_round(tuple(ue for ue in UES if ue in wanted))

    def a_ue_has_computed(self, ue: str, sends: bool) -> None:
        if self.world.exchange.ue(ue).state == "computing":
            self.world.finish(ue, sends=sends)

    @rule(ue=st.sampled_from(UES), sends=st.sampled_from((True, True, False)))
    def one_has_computed(self, ue: str, sends: bool) -> None:
        self.a_ue_has_computed(ue, sends)

    @precondition(lambda self: self.world.air)
    @rule(data=st.data(), again=st.booleans())
    def a_frame_comes(self, data: st.DataObject, again: bool) -> None:
        at = data.draw(st.integers(0, len(self.world.air) - 1))
        one = self.world.air[at] if again else self.world.air.pop(at)
        self.world.deliver(one)

    @precondition(lambda self: self.world.air)
    @rule(copies=st.integers(1, 3))
    def the_oldest_frame_comes(self, copies: int) -> None:
        one = self.world.air.pop(0)
        for _ in range(copies):
            self.world.deliver(one)

    @rule(steps=st.integers(1, 12), sends=st.sampled_from((True, True, False)))
    def all_goes_well_for_a_while(self, steps: int, sends: bool) -> None:
        for _ in range(steps):
            if self.world.air:
                self.world.deliver(self.world.air.pop(0))
            for ue in UES:
                self.a_ue_has_computed(ue, sends)

    @precondition(lambda self: self.world.air)
    @rule(data=st.data())
    def a_frame_is_lost(self, data: st.DataObject) -> None:
        self.world.air.pop(data.draw(st.integers(0, len(self.world.air) - 1)))

    @precondition(lambda self: self.world.air)
    @rule(data=st.data())
    def a_frame_is_damaged(self, data: st.DataObject) -> None:
        one = self.world.air.pop(data.draw(st.integers(0, len(self.world.air) - 1)))
        damaged = bytearray(one.outgoing.frame)
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        self.world.deliver(one, bytes(damaged))

    @precondition(lambda self: self.world.timers)
    @rule(data=st.data())
    def a_timer_rings(self, data: st.DataObject) -> None:
        timers = self.world.timers
        self.world.exchange.rings(*timers.pop(data.draw(st.integers(0, len(timers) - 1))))
        self.world.exchange.grant_due()

    @rule(ue=st.sampled_from(UES), says=st.booleans())
    def a_ue_leaves(self, ue: str, says: bool) -> None:
        self.world.exchange.ue(ue).leaves(says=says)

    @rule(ue=st.sampled_from(UES))
    def a_ue_comes_back(self, ue: str) -> None:
        self.world.exchange.ue(ue).comes_back()

    @invariant()
    def all_adds_up(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """From now on nothing goes wrong: whoever has something to send gets through."""
        world = self.world
        for ue in UES:
            world.exchange.ue(ue).comes_back()
        for last in (False, True):
            self._settle()
            before = dict(world.delivered)
            if last:
                world.next_round(UES)
                self._settle()
                for ue in UES:
                    end = world.exchange.ue(ue)
                    assert end.state == "idle", f"{ue} is stuck: {end.state}"
                    assert end.doubt is None, f"{ue} does not know what became of its upload"
                    granted = world.protocol.granted
                    if granted is None or int(ue[-1]) >= len(UES) - granted:
                        assert not torch.equal(before[ue], world.delivered[ue]), f"{ue} did not get through"
                assert not world.awaited, "the base station waits for who has answered"
        world.check()

    def _settle(self) -> None:
        """Let all frames come and all UEs finish; timers ring only where nothing else happens."""
        world = self.world
        for _ in range(2000):
            if world.air:
                world.deliver(world.air.pop(0))
            elif busy := [ue for ue in UES if world.exchange.ue(ue).state == "computing"]:
                world.finish(busy[0], sends=True)
            elif world.timers:
                world.exchange.rings(*world.timers.pop(0))
                world.exchange.grant_due()
            else:
                return
            world.check()
        raise AssertionError("it never comes to rest")


def _variant(name: str, *, late: bool = False, **changes: Any) -> Any:
    facts = {"acknowledgements": "sent", "patience_s": 10.0} | changes
    machine = type(name, (Adversary,), {"protocol": Protocol(**facts), "late": late})
    machine.TestCase.settings = settings(
        max_examples=40, stateful_step_count=50, deadline=None, phases=PHASES
    )  # type: ignore[attr-defined]
    return machine.TestCase  # type: ignore[attr-defined]


TestUploadsAtOnce = _variant("UploadsAtOnce")
TestGrants = _variant("Grants", grants=True)
TestGrantsOfTheMostUrgent = _variant("GrantsOfTheMostUrgent", grants=True, granted=1)
TestSilentSkips = _variant("SilentSkips", skip="implied", busy="ignore")
TestLateUpdates = _variant("LateUpdates", late=True, tries=1)
TestRestarts = _variant("Restarts", busy="restart", tries=1)


@pytest.mark.long
@pytest.mark.parametrize("busy", ["finish", "restart", "ignore"])
@pytest.mark.parametrize("grants", [False, True])
def test_a_longer_search(busy: str, grants: bool) -> None:
    case = _variant("Longer", busy=busy, grants=grants, late=grants, tries=2)
    case.settings = settings(max_examples=1500, stateful_step_count=80, deadline=None, phases=PHASES)
    case().runTest()


def test_an_upload_that_a_request_has_named_is_void_however_late_it_comes() -> None:
    class Scripted(Adversary):
        protocol = Protocol(acknowledgements="sent", patience_s=10.0, grants=True, tries=1)
        late = True

    world = Scripted().world
    end = world.exchange.ue("ue0")

    def goes_well(until: str) -> None:
        for _ in range(20):
            if end.state == "computing":
                world.finish("ue0", sends=True)
            if world.air and world.air[0].outgoing.kind == until:
                return
            world.deliver(world.air.pop(0))
        raise AssertionError(f"no {until} was sent")

    world.next_round(("ue0",))
    goes_well(until="model")  # down
    world.deliver(world.air.pop(0))
    goes_well(until="model")  # up: it stays on its way
    late = world.air.pop(0)
    while end.state == "sending" and world.timers:
        world.exchange.rings(*world.timers.pop(0))
    assert end.doubt is not None
    world.next_round(("ue0",))
    goes_well(until="model")
    world.deliver(world.air.pop(0))
    goes_well(until="model")  # it has asked, and was told that its first upload never came
    assert world.known["ue0"] == {1: False}
    world.deliver(late)
    assert world.applied == {}
    world.deliver(world.air.pop(0))
    assert list(world.applied) == [("ue0", 2)]
    world.check()
