"""Messages that share the air: when they end, who waits for whom, and what is left after a loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from syft_fl.codecs import QSGD, Codec, Context, Eden, Float32, Memory, Payload, Uniform
from syft_fl.errors import TransportError, WorkerError
from syft_fl.keys import Key
from syft_fl.learn import MLP, PerSample, build_seeded
from syft_fl.radio import Access, Arq, Constant, Link, Medium, Ofdma, Packet, Tdma, Wireless
from syft_fl.transport import Downlink, Message, ModelContent, Transport, Uplink
from syft_fl.vectors import Layout, ModelState, Vector
from syft_fl.workers import TorchHook, VirtualWorker

RATE = 1e6
SAMPLE_S = 0.01
UES = 4


def station(access: Access | None = None, **uplink: Any) -> TorchHook:
    link, shared = Constant(rate_bps=RATE), access or Tdma()
    transport = Transport(
        uplink=Uplink(link=link, access=shared, **uplink), downlink=Downlink(link=link, access=shared)
    )
    return TorchHook(torch, transport=transport, compute=PerSample(seconds_per_sample=SAMPLE_S))


def workers(hook: TorchHook, count: int = UES) -> list[VirtualWorker]:
    return [VirtualWorker(hook=hook, id=f"ue{i}") for i in range(count)]


def air_s(message: Any) -> float:
    """How long a message of the ledger takes with the whole band."""
    return float(message.bits) / RATE


@pytest.mark.parametrize("together", [False, True])
def test_tdma_queues_what_is_sent_together(together: bool) -> None:
    hook = station(Tdma())
    ues = workers(hook)
    with hook.transport.parallel() if together else nullcontext():
        for ue in ues:
            torch.zeros(100).send(ue)
    one_s = air_s(hook.transport.ledger.entries[0])
    assert [ue.time_s for ue in ues] == pytest.approx([one_s * (i + 1) for i in range(UES)], rel=1e-12)


@pytest.mark.parametrize(("together", "shares"), [(True, 1), (False, UES)])
def test_ofdma_sends_side_by_side_only_in_a_block(together: bool, shares: int) -> None:
    hook = station(Ofdma(subchannels=UES))
    ues = workers(hook)
    with hook.transport.parallel() if together else nullcontext():
        for ue in ues:
            torch.zeros(100).send(ue)
    # A quarter of the band each: together as long as one, in turn four times that.
    assert ues[-1].time_s == pytest.approx(shares * UES * air_s(hook.transport.ledger.entries[0]), rel=1e-12)


def test_requests_and_answers_of_a_get_phase_pass_each_other() -> None:
    hook = station(Tdma())
    ues = workers(hook)
    pointers = [torch.zeros(1000).send(ue) for ue in ues]
    start_s = ues[-1].time_s
    hook.wait()
    hook.transport.ledger.drain()
    with hook.transport.parallel():
        got = [pointer.get() for pointer in pointers]
    assert all(torch.equal(value, torch.zeros(1000)) for value in got)
    answers = [e for e in hook.transport.ledger.entries if e.direction == "uplink"]
    request_s = air_s(next(e for e in hook.transport.ledger.entries if e.kind == "control"))
    # Only the first request is waited for: the others come down while answers go up.
    expected = [start_s + request_s + (i + 1) * air_s(answers[0]) for i in range(UES)]
    assert [e.end_s for e in answers] == pytest.approx(expected, rel=1e-12)
    assert [ue.time_s for ue in ues] == [e.end_s for e in answers]
    assert hook.local_worker.gate_s == hook.transport.clock.now_s == answers[-1].end_s


def test_ofdma_fetches_in_the_time_of_one() -> None:
    hook = station(Ofdma(subchannels=UES))
    ues = workers(hook)
    with hook.transport.parallel():
        pointers = [torch.zeros(1000).send(ue) for ue in ues]
    start_s = hook.wait()
    hook.transport.ledger.drain()
    with hook.transport.parallel():
        for pointer in pointers:
            pointer.get()
    entries = hook.transport.ledger.entries
    one_s = UES * (air_s(entries[0]) + air_s(entries[-1]))
    assert [ue.time_s for ue in ues] == pytest.approx([start_s + one_s] * UES, rel=1e-12)


def test_computing_lies_between_the_messages_and_both_directions_overlap() -> None:
    hook = station(Tdma())
    ues = workers(hook, 2)
    x, samples = torch.zeros(1000), 16
    with hook.transport.parallel():
        for ue in ues:
            there = x.send(ue)
            ue.run(lambda: None, samples=samples)
            there.get()
    down = [e for e in hook.transport.ledger.entries if e.kind == "data"]
    up = [e for e in hook.transport.ledger.entries if e.direction == "uplink"]
    data_s, request_s, answer_s = air_s(down[0]), air_s(hook.transport.ledger.entries[-2]), air_s(up[0])
    assert data_s + request_s < samples * SAMPLE_S, "requests arrive while the UEs compute"
    assert [e.end_s for e in down] == pytest.approx([data_s, 2 * data_s], rel=1e-12)
    first_s = data_s + samples * SAMPLE_S + answer_s
    assert up[0].end_s == pytest.approx(first_s, rel=1e-12)
    assert up[1].end_s == pytest.approx(max(first_s, 2 * data_s + samples * SAMPLE_S) + answer_s, rel=1e-12)


def test_who_is_late_sends_late_and_nobody_waits_for_it() -> None:
    hook = station(Tdma())
    late, early = workers(hook, 2)
    late.run(lambda: None, samples=500)
    with hook.transport.parallel():
        torch.zeros(100).send(late)
        torch.zeros(100).send(early)
    one_s = air_s(hook.transport.ledger.entries[0])
    assert early.time_s == pytest.approx(one_s, rel=1e-12)
    assert late.time_s == pytest.approx(500 * SAMPLE_S + one_s, rel=1e-12)


def test_a_block_waits_for_what_was_fetched_before_it_alone() -> None:
    hook = station(Tdma())
    first, second = workers(hook, 2)
    there = torch.zeros(100).send(first)
    first.run(lambda: None, samples=100)
    there.copy().get()
    gate_s = hook.local_worker.gate_s
    with hook.transport.parallel():
        there.get()
        torch.zeros(100).send(second)
    sent = next(e for e in hook.transport.ledger.entries if e.ues == ("ue1",))
    assert sent.offered_s == gate_s


def test_numbers_fetched_in_a_block_keep_nobody_from_an_earlier_time() -> None:
    hook = station(Tdma())
    first, second = workers(hook, 2)
    number = torch.ones(()).send(first)
    first.run(lambda: None, samples=500)
    with hook.transport.parallel():
        assert number.item() == 1
    assert hook.transport.clock.now_s > 500 * SAMPLE_S
    torch.ones(100).send(second)
    assert second.time_s < SAMPLE_S


def test_what_is_relayed_follows_what_it_relays() -> None:
    hook = station(Tdma())
    first, second, third = workers(hook, 3)
    there = torch.arange(100.0).send(first)
    first.run(lambda: None, samples=100)
    with hook.transport.parallel():
        there.move(second)
        there.move(third)
        here = there.get()
    assert torch.equal(here, torch.arange(100.0))
    rows = {(e.ues[0], e.kind): e for e in hook.transport.ledger.entries}
    assert rows["ue1", "data"].offered_s == rows["ue0", "value"].end_s > 100 * SAMPLE_S
    assert rows["ue2", "data"].offered_s == rows["ue1", "value"].end_s > rows["ue1", "data"].end_s
    assert hook.transport.clock.now_s == rows["ue2", "value"].end_s


def test_times_and_ledger_know_of_a_block_at_its_end() -> None:
    hook = station()
    (ue,) = workers(hook, 1)
    ue.run(lambda: None, samples=1)
    with hook.transport.parallel():
        there = torch.ones(50).send(ue)
        ue.run(lambda: None, samples=2)
        assert ue.time_s == pytest.approx(3 * SAMPLE_S)
        assert torch.equal(there.get(), torch.ones(50))
        assert hook.transport.ledger.entries == []
        assert hook.transport.clock.now_s == 0
    assert [e.kind for e in hook.transport.ledger.entries] == ["data", "control", "value"]
    assert ue.time_s == hook.transport.ledger.entries[-1].end_s > 3 * SAMPLE_S


def test_computing_after_the_last_message_counts() -> None:
    hook = station()
    (ue,) = workers(hook, 1)
    with hook.transport.parallel():
        torch.ones(50).send(ue)
        ue.run(lambda: None, samples=7)
    assert ue.time_s == pytest.approx(air_s(hook.transport.ledger.entries[0]) + 7 * SAMPLE_S, rel=1e-12)


PROGRAMS = st.lists(st.sampled_from(["send", "get", "compute"]), min_size=1, max_size=12)


def played(hook: TorchHook, program: list[str]) -> VirtualWorker:
    (ue,) = workers(hook, 1)
    pointers = [torch.zeros(30).send(ue)]
    for step in program:
        if step == "send":
            pointers.append(torch.zeros(20 * len(pointers)).send(ue))
        elif step == "get" and len(pointers) > 1:
            pointers.pop().get()
        else:
            ue.run(lambda: None, samples=3)
    return ue


@settings(derandomize=True, deadline=None, max_examples=40)
@given(PROGRAMS)
def test_a_block_of_one_worker_is_the_program_without_a_block(program: list[str]) -> None:
    plain, block = station(), station()
    alone = played(plain, program)
    with block.transport.parallel():
        shared = played(block, program)
    assert shared.time_s == pytest.approx(alone.time_s, rel=1e-12)
    assert block.transport.clock.now_s == pytest.approx(plain.transport.clock.now_s, rel=1e-12)
    for ours, theirs in zip(block.transport.ledger.entries, plain.transport.ledger.entries, strict=True):
        assert (ours.kind, ours.bits, ours.serial) == (theirs.kind, theirs.bits, theirs.serial)
        assert ours.end_s == pytest.approx(theirs.end_s, rel=1e-12)


STEPS = st.lists(
    st.tuples(st.integers(0, UES - 1), st.sampled_from(["send", "get", "compute"])), min_size=1, max_size=25
)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(STEPS, st.sampled_from([1, 2, UES]))
def test_the_air_is_never_used_twice_and_chains_keep_their_order(
    steps: list[tuple[int, str]], subchannels: int
) -> None:
    hook = station(Ofdma(subchannels=subchannels))
    ues = workers(hook)
    held: dict[int, list[Tensor]] = {i: [] for i in range(UES)}
    with hook.transport.parallel():
        for i, step in steps:
            if step == "send":
                held[i].append(torch.zeros(10 + i).send(ues[i]))
            elif step == "get" and held[i]:
                held[i].pop().get()
            else:
                ues[i].run(lambda: None, samples=i)
    entries = hook.transport.ledger.entries
    for direction in ("uplink", "downlink"):
        mine = [e for e in entries if e.direction == direction]
        for e in mine:
            assert sum(o.start_s <= e.start_s < o.end_s for o in mine) <= subchannels
            assert e.end_s - e.start_s == pytest.approx(subchannels * air_s(e), rel=1e-9)
    assert [e.end_s for e in entries] == sorted(e.end_s for e in entries)
    for i, ue in enumerate(ues):
        chain = [e for e in entries if e.ues == (ue.id,)]
        assert all(later.start_s >= e.end_s for e, later in itertools.pairwise(chain))
        computed_s = sum(SAMPLE_S * i for j, step in steps if j == i and step == "compute")
        assert ue.time_s >= max((e.end_s for e in chain), default=0.0)
        assert ue.time_s >= computed_s - 1e-12


@pytest.mark.parametrize(
    "codec", [Float32(), Uniform(bits=4, rounding="stochastic", block=16), QSGD(block=16)]
)
def test_a_block_changes_when_and_not_what(codec: Codec) -> None:
    def trained(hook: TorchHook, *, together: bool) -> list[Tensor]:
        ues = workers(hook)
        models = [build_seeded(MLP(hidden=(5,)), (4,), 3, Key(i)) for i in range(UES)]
        x = torch.randn(8, 4, generator=Key(2).torch())
        y = torch.zeros(8, dtype=torch.int64)
        losses = []
        for _ in range(3):
            with hook.transport.parallel() if together else nullcontext():
                for ue, model in zip(ues, models, strict=True):
                    model.send(ue)
                    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
                    loss = F.cross_entropy(model(x.send(ue)), y.send(ue))
                    loss.backward()
                    optimiser.step()
                    losses.append(loss.item())
                    del loss
                for model in models:
                    model.get()
        return [*losses, *(p.detach() for m in models for p in m.parameters())]

    plain, block = (station(codec=codec, error_feedback=not codec.lossless) for _ in range(2))
    for ours, theirs in zip(trained(block, together=True), trained(plain, together=False), strict=True):
        assert torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs))
    assert block.transport.ledger.uplink_bits == plain.transport.ledger.uplink_bits
    assert block.transport.clock.now_s < plain.transport.clock.now_s


# What is refused, and what an error leaves.


def test_blocks_do_not_nest_and_nothing_goes_past_them() -> None:
    hook = station()
    (ue,) = workers(hook, 1)
    message = Message("value", "me", "ue0", "x", (torch.ones(1),))
    (frame,) = hook.transport.prepare(message)
    with hook.transport.parallel():
        there = torch.ones(3).send(ue)
        for refused in (
            lambda: hook.transport.parallel().__enter__(),
            lambda: hook.transport.carry(message, now_s=0.0),
            lambda: hook.transport.offer(frame, now_s=0.0),
            lambda: hook.transport.state(),
            lambda: hook.transport.configure("uplink", codec=Uniform(bits=4)),
        ):
            with pytest.raises(TransportError, match="parallel"):
                refused()
        with pytest.raises(WorkerError, match="parallel"):
            hook.wait()
        there.get()
    assert len(hook.transport.ledger.entries) == 3
    torch.ones(3).send(ue).get()
    assert len(hook.transport.ledger.entries) == 6


def test_a_block_is_refused_while_frames_are_on_the_air() -> None:
    transport = Transport()
    (frame,) = transport.prepare(Message("value", "me", "ue0", "x", (torch.ones(1),)))
    transport.offer(frame, now_s=0.0)
    with pytest.raises(TransportError, match="on the air"), transport.parallel():
        pass


def test_what_was_sent_before_an_error_is_settled() -> None:
    hook = station()
    (ue,) = workers(hook, 1)

    def fail() -> None:
        with hook.transport.parallel():
            torch.ones(100).send(ue)
            raise ValueError("of the program")

    with pytest.raises(ValueError, match="of the program"):
        fail()
    (entry,) = hook.transport.ledger.entries
    assert ue.time_s == entry.end_s == pytest.approx(air_s(entry))
    torch.ones(100).send(ue)
    assert ue.time_s == pytest.approx(2 * air_s(entry))


# Loss.


@dataclass(frozen=True)
class Lossy:
    """TDMA that loses the messages of the given numbers, counted by order of arrival in its direction."""

    losing: frozenset[int]

    def open(self, link: Link, *, users: int, key: Key) -> Medium:
        return _LossyMedium(Tdma().open(link, users=users), self.losing)


class _LossyMedium:
    def __init__(self, medium: Medium, losing: frozenset[int]) -> None:
        self._medium, self._losing, self._count = medium, losing, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._medium, name)

    def advance(self, to_s: float) -> list[Any]:
        ended = []
        for transfer in self._medium.advance(to_s):
            ended.append(replace(transfer, lost=transfer.ues if self._count in self._losing else ()))
            self._count += 1
        return ended


def test_a_loss_is_named_at_the_end_and_stops_its_own_chain_alone() -> None:
    hook = station(Lossy(frozenset({0})))
    first, second = workers(hook, 2)

    def send() -> None:
        with hook.transport.parallel():
            torch.ones(100).send(first).get()
            torch.ones(100).send(second)

    with pytest.raises(WorkerError, match=r"data message from 'me' to 'ue0' was lost at .*2 more.*again"):
        send()
    rows = [(e.ues[0], e.kind, bool(e.lost)) for e in hook.transport.ledger.entries]
    assert rows == [("ue0", "data", True), ("ue1", "data", False)]
    assert first.time_s == hook.transport.ledger.entries[0].end_s
    assert hook.local_worker.gate_s == 0


def test_what_relays_something_lost_is_not_sent() -> None:
    hook = station(Lossy(frozenset({0})))
    hook.transport.ledger.drain()
    first, second = workers(hook, 2)
    there = first.hold(torch.ones(100))
    assert there.id in first.objects

    def relay() -> None:
        with hook.transport.parallel():
            _, when = first.fetch(there.id, "value", "tensor", (torch.ones(100),))
            second.download("data", "tensor", (torch.ones(100),), after_s=when)

    with pytest.raises(WorkerError, match="'ue1' was not sent, for what it relays did not arrive"):
        relay()
    assert [e.ues for e in hook.transport.ledger.entries] == [("ue0",)]
    assert second.time_s == 0


def test_a_loss_is_noted_on_the_error_of_the_program() -> None:
    hook = station(Lossy(frozenset({0})))
    (ue,) = workers(hook, 1)

    def fail() -> None:
        with hook.transport.parallel():
            torch.ones(100).send(ue)
            raise ValueError("of the program")

    with pytest.raises(ValueError, match="of the program") as caught:
        fail()
    assert "was lost" in caught.value.__notes__[0]


def test_a_link_that_never_carries_is_named_at_the_end() -> None:
    class Silent:
        latency_s = 0.0

        def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
            return 1.0

        def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
            return 0.0 if ue == "ue0" else RATE

        def steady_until_s(self, *, time_s: float) -> float:
            return math.inf

    @dataclass(frozen=True)
    class OverSilent:
        def open(self, link: Link, *, users: int, key: Key) -> Medium:
            return Tdma().open(Silent(), users=users)

    hook = station(OverSilent())
    ues = workers(hook, 2)

    def send() -> None:
        with hook.transport.parallel():
            for ue in ues:
                torch.ones(100).send(ue)

    with pytest.raises(WorkerError, match=r"'ue0' was not sent.*0 bit/s"):
        send()
    assert [ue.time_s > 0 for ue in ues] == [False, True]


LENGTH = 24
LAYOUT = Layout.flat(LENGTH)


@dataclass
class Place:
    """A UE with a name and a time, and nothing else."""

    id: str
    time_s: float = 0.0


@dataclass(frozen=True)
class Remembering:
    """Three bits an entry, and both ends remember how many messages there were."""

    kind: ClassVar[str] = "remembering"
    lossless: ClassVar[bool] = False

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        return Uniform(bits=3).encode(x, ctx=ctx)[0], {"count": ctx.memory.get("count", 0) + 1}

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        return Uniform(bits=3).decode(payload, ctx=ctx)[0], {"count": ctx.memory.get("count", 0) + 1}


def models(count: int) -> Iterator[ModelContent]:
    key = Key(5)
    for number in range(count):
        yield ModelContent(ModelState(torch.randn(LENGTH, generator=(key / f"{number}").torch()), {}), LAYOUT)


def remembered(transport: Transport) -> list[Any]:
    """What both ends of both links remember, vectors as lists."""
    found: list[Any] = []
    for link in (("ue0", "model"), ("ue1", "model")):
        vectors = [
            transport.references.vector(transport.references.version(*link)),
            transport.residual(*link),
        ]
        found += [None if x is None else x.tolist() for x in vectors]
        for memories in (transport._ends._sender, transport._ends._receiver):
            found.append(dict(memories[link].codec) if link in memories else {})
    return found


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["ue0", "ue1"]), st.booleans()), max_size=6), max_size=4),
    st.frozensets(st.integers(0, 8), max_size=4),
    st.frozensets(st.integers(0, 8), max_size=4),
)
def test_after_any_loss_both_ends_remember_what_arrived_and_nothing_else(
    blocks: list[list[tuple[str, bool]]], lost_down: frozenset[int], lost_up: frozenset[int]
) -> None:
    codec = Remembering()
    directions: dict[str, Any] = {
        "uplink": Uplink(codec=codec, error_feedback=True, access=Lossy(lost_up)),
        "downlink": Downlink(codec=codec, access=Lossy(lost_down)),
    }
    transport = Transport(**directions)
    # What the block says has arrived is all that a second transport, which loses nothing, is told.
    told = Transport(uplink=replace(directions["uplink"], access=Tdma()), downlink=Downlink(codec=codec))
    contents = models(30)
    for steps in blocks:
        sent: dict[str, list[Message]] = {"ue0": [], "ue1": []}
        failed = False
        try:
            with transport.parallel():
                block = transport.block
                assert block is not None
                for ue, down in steps:
                    ends = ("me", ue) if down else (ue, "me")
                    sent[ue].append(Message("model", *ends, "model", next(contents)))
                    block.carry(sent[ue][-1], Place(ue))
        except WorkerError:
            failed = True
        entries = transport.ledger.drain()
        assert failed == any(entry.lost for entry in entries)
        for entry in entries:
            (ue,) = entry.ues
            if not entry.lost:
                told.carry(sent[ue].pop(0), now_s=0.0)
        assert remembered(transport) == remembered(told)


# --- parts ----------------------------------------------------------------------------------------

TORN = Wireless(loss=Packet(probability=0.2), retransmission=Arq(mtu_bytes=100, tries=1))


def fetched(together: bool, *, codec: Codec, feedback: bool, erasure: bool = True, seed: int = 0) -> Any:
    """Three rounds in which each UE's model is changed there and fetched; models, residuals and rows."""
    uplink = Uplink(codec=codec, error_feedback=feedback, erasure=erasure, link=TORN)
    hook = TorchHook(torch, transport=Transport(uplink=uplink, key=seed))
    ues = workers(hook)
    nets = [build_seeded(MLP(hidden=(16,)), (8,), 3, Key(9) / i) for i in range(UES)]
    seen = []
    for number in range(3):
        for net, ue in zip(nets, ues, strict=True):
            net.send(ue)
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter += 0.1 * (number + 1)
        with hook.transport.parallel() if together else nullcontext():
            for net in nets:
                net.get()
        seen += [parameter.detach().clone() for net in nets for parameter in net.parameters()]
    streams = [f"model-{i + 1}" for i in range(UES)]
    owed = [hook.transport.residual(ue.id, stream) for ue, stream in zip(ues, streams, strict=True)]
    rows = [
        (e.ues, e.serial, e.bits, e.lost, e.missing_bits)
        for e in sorted(hook.transport.ledger.entries, key=lambda e: (e.ues, e.direction, e.serial))
        if e.direction == "uplink"
    ]
    return seen, owed, rows


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize(
    "codec", [Float32(), Uniform(bits=6), Eden(bits=4.0, block=64)], ids=lambda c: c.kind
)
def test_what_a_block_fetched_in_part_is_what_it_would_be_without_the_block(
    codec: Codec, feedback: bool
) -> None:
    # A key of losses in which no packet with a header is lost, so that both programs come to their ends.
    seed = next(seed for seed in range(200) if _comes_in_parts(codec, feedback=feedback, seed=seed))
    alone = fetched(False, codec=codec, feedback=feedback, seed=seed)
    together = fetched(True, codec=codec, feedback=feedback, seed=seed)
    assert together[2] == alone[2]
    assert sum(row[-1] > 0 for row in alone[2]) >= 2
    for one, other in zip(together[0] + together[1], alone[0] + alone[1], strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def _comes_in_parts(codec: Codec, *, feedback: bool, seed: int) -> bool:
    try:
        rows = fetched(False, codec=codec, feedback=feedback, seed=seed)[2]
    except WorkerError:
        return False
    return sum(row[-1] > 0 for row in rows) >= 2


@dataclass(frozen=True)
class Torn:
    """TDMA of whose uploads the n-th lacks what is said of it: from one share of the frame to another; or all."""

    gaps: dict[int, tuple[float, float]]

    def open(self, link: Link, *, users: int, key: Key) -> Medium:
        return _TornMedium(Tdma().open(link, users=users), self.gaps)


class _TornMedium:
    def __init__(self, medium: Medium, gaps: dict[int, tuple[float, float]]) -> None:
        self._medium, self._gaps, self._count = medium, gaps, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._medium, name)

    def advance(self, to_s: float) -> list[Any]:
        ended = []
        for transfer in self._medium.advance(to_s):
            self._count += 1
            first, end = (round(share * transfer.bits) for share in self._gaps.get(self._count, (0.0, 0.0)))
            if first < end:
                lost = tuple(transfer.ues)
                transfer = replace(transfer, lost=lost, gaps=tuple((ue, first, end) for ue in lost))
            ended.append(transfer)
        return ended


def torn_station(gaps: dict[int, tuple[float, float]], **uplink: Any) -> TorchHook:
    up = Uplink(codec=Uniform(bits=8), erasure=True, access=Torn(gaps), **uplink)
    return TorchHook(torch, transport=Transport(uplink=up))


def test_what_the_program_added_to_a_model_in_the_block_stays_on_top() -> None:
    hook = torn_station({1: (0.6, 0.9)}, error_feedback=True)
    (ue,) = workers(hook, 1)
    net = torch.nn.Linear(30, 10)
    start = net.weight.detach().clone()
    net.send(ue)
    with torch.no_grad():
        net.weight += 1
    with hook.transport.parallel():
        net.get()
        with torch.no_grad():
            net.weight[0] += 5
    change = net.weight.detach() - start
    change[0] -= 5
    gone = change.abs() < 0.01
    assert 50 < int(gone.sum()) < 150
    torch.testing.assert_close(change[~gone], torch.ones(int((~gone).sum())), atol=0.02, rtol=0)
    (entry,) = (e for e in hook.transport.ledger.entries if e.direction == "uplink")
    assert entry.lost == ()
    assert entry.missing_bits > 0


def test_of_what_moves_on_in_a_block_a_part_is_not_enough() -> None:
    hook = torn_station({1: (0.6, 0.9)})
    first, second = workers(hook, 2)
    net = torch.nn.Linear(30, 10).send(first)
    with pytest.raises(WorkerError, match=r"'ue0' to 'me' was lost"), hook.transport.parallel():
        net.move(second)
    assert [e.lost for e in hook.transport.ledger.entries] == [(), (), ("ue0",)]


SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda pair: (min(pair), max(pair)))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["ue0", "ue1"]), st.booleans()), max_size=6), max_size=4),
    st.frozensets(st.integers(2, 8), max_size=2),
    st.dictionaries(st.integers(1, 9), SHARES, max_size=6),
)
def test_what_is_missing_of_a_chain_is_owed_whatever_follows(
    blocks: list[list[tuple[str, bool]]], lost_down: frozenset[int], torn: dict[int, tuple[float, float]]
) -> None:
    transport = Transport(
        uplink=Uplink(codec=Uniform(bits=3), error_feedback=True, erasure=True, access=Torn(torn)),
        downlink=Downlink(codec=Uniform(bits=5), access=Lossy(lost_down)),
    )
    contents = models(40)
    learnt, delivered = ({ue: torch.zeros(LENGTH) for ue in ("ue0", "ue1")} for _ in range(2))
    for ue in learnt:
        transport.carry(Message("model", "me", ue, "model", next(contents)), now_s=0.0)
    transport.ledger.drain()
    for steps in blocks:
        sent: dict[str, list[tuple[Tensor, list[Any]] | None]] = {"ue0": [], "ue1": []}
        failed = False
        try:
            with transport.parallel():
                block = transport.block
                assert block is not None
                for ue, down in steps:
                    content = next(contents)
                    if down:
                        block.carry(Message("model", "me", ue, "model", content), Place(ue))
                        sent[ue].append(None)
                        continue
                    held = transport.references.vector(transport.references.version(ue, "model"))
                    came: list[Any] = []
                    whole, _ = block.carry(
                        Message("model", ue, "me", "model", content), Place(ue), amended=came.append
                    )
                    came.insert(0, whole)
                    sent[ue].append((held, came))
                    came.insert(0, content)
        except WorkerError:
            failed = True
        entries = transport.ledger.drain()
        assert failed == any(entry.lost for entry in entries)
        for entry in entries:
            (ue,) = entry.ues
            message = sent[ue].pop(0)
            if entry.lost or message is None:
                continue
            held, (content, *came) = message
            assert len(came) == 1 + (entry.missing_bits > 0)
            learnt[ue] += content.state.vector - held
            delivered[ue] += came[-1].state.vector - held
    for ue in learnt:
        owed = transport.residual(ue, "model")
        kept = torch.zeros(LENGTH) if owed is None else owed
        torch.testing.assert_close(delivered[ue] + kept, learnt[ue], atol=1e-4, rtol=0)
