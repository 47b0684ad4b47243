"""The seam: only decoded bytes arrive, everything is charged, and loss loses nothing but time."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.codecs import QSGD, Codec, Context, Eden, Float16, Float32, Payload, RandK, Rotated, Uniform
from syft_fl.keys import Key
from syft_fl.radio import Link, Medium, Tdma
from syft_fl.transport import (
    Downlink,
    Frame,
    Message,
    ModelContent,
    Transport,
    Uplink,
)
from syft_fl.vectors import Layout, ModelState

LENGTH = 40
LAYOUT = Layout.flat(LENGTH)


@dataclass(frozen=True)
class Lossy:
    """TDMA that loses what a pattern says: the n-th transfer at the UEs of the n-th set, of it the n-th gaps.

    Without ``gaps`` it says nothing of parts. Where one begins and ends is a share of the frame, 0 … 1.
    """

    pattern: tuple[frozenset[str], ...]
    gaps: tuple[tuple[tuple[float, float], ...], ...] = ()

    def open(self, link: Link, *, users: int, key: Key) -> Medium:
        return _LossyMedium(Tdma().open(link, users=users), self.pattern, self.gaps)


class _LossyMedium:
    def __init__(self, medium: Medium, pattern: tuple[frozenset[str], ...], gaps: tuple[Any, ...]) -> None:
        self._medium, self._pattern, self._gaps, self._count = medium, pattern, gaps, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._medium, name)

    def advance(self, to_s: float) -> list[Any]:
        ended = []
        for transfer in self._medium.advance(to_s):
            losers = self._pattern[self._count % len(self._pattern)] if self._pattern else frozenset()
            lost = tuple(ue for ue in transfer.ues if ue in losers)
            shares = self._gaps[self._count % len(self._gaps)] if self._gaps else ()
            gaps = [(round(first * transfer.bits), round(end * transfer.bits)) for first, end in shares]
            here = tuple((ue, first, end) for ue in lost for first, end in gaps if first < end)
            # Of one with gaps some bits are missing; a medium that says nothing of parts says none.
            lost = lost if here or not self._gaps else ()
            ended.append(replace(transfer, lost=lost, gaps=here))
            self._count += 1
        return ended


def _model(vector: torch.Tensor) -> ModelContent:
    return ModelContent(ModelState(vector, {}), LAYOUT)


def _vector(*path: object) -> torch.Tensor:
    key = Key(11)
    for name in path:
        key = key / str(name)
    return torch.randn(LENGTH, generator=key.torch())


def _drain(transport: Transport) -> list[Any]:
    arrivals = []
    while transport.next_event_s() < float("inf"):
        arrivals += transport.advance(transport.next_event_s())
    return arrivals


class OtherEnd:
    """A second implementation of the receiving ends, from frames and acknowledgements alone."""

    def __init__(self, transport: Transport) -> None:
        self._key = transport.key
        self._codecs: dict[str, Codec] = {
            "downlink": transport.downlink.codec,
            "uplink": transport.uplink.codec,
        }
        self._versions: dict[int, torch.Tensor] = {}

    def decode_part(self, frame_bytes: bytes, gaps: Any, *, ue: str, feedback: bool) -> torch.Tensor | None:
        """A part of an upload, from a frame of which nothing is known in the gaps."""
        frame = Frame.unpack(frame_bytes)
        if not frame.reference or any(first < 8 * HEADER_BYTES for first, _ in gaps):
            return None
        body = bytearray(frame.payload)
        inside = []
        for first, end in gaps:
            first, end = (min(bit - 8 * HEADER_BYTES, frame.payload_bits) for bit in (first, end))
            if first < end:
                inside.append((first, end))
            for bit in range(first, end):
                body[bit // 8] |= 1 << bit % 8
        codec: Any = self._codecs["uplink"]
        ctx = Context(LAYOUT, self._key / ue / f"upload{frame.serial}", frame.serial, frame.round)
        part = codec.decode_part(Payload(bytes(body), frame.payload_bits), tuple(inside), ctx=ctx)
        if part is None or not part.share:
            return None
        scale = 1 if feedback or part.share == 1 else part.share
        return self._versions[frame.reference] + part.vector / scale

    def decode(self, frame_bytes: bytes, *, direction: str, ue: str) -> torch.Tensor:
        frame = Frame.unpack(frame_bytes)
        codec = self._codecs[direction]
        if not codec.lossless and frame.reference == 0:
            codec = Float32()
        owner = self._key / ue / f"upload{frame.serial}"
        if direction == "downlink":
            owner = self._key / "bs" / f"download{frame.serial}"
        ctx = Context(LAYOUT, owner, frame.serial, frame.round)
        vector = codec.decode(Payload(frame.payload, frame.payload_bits), ctx=ctx)[0]
        if frame.reference:
            vector = self._versions[frame.reference] + vector
        if direction == "downlink":
            self._versions[frame.serial] = vector
        return vector


HEADER_BYTES = 32
CODECS = st.sampled_from(
    [Float32(), Float16(), Uniform(bits=3), Uniform(bits=2, rounding="stochastic", block=16), QSGD(block=16)]
)
UES = ("ue0", "ue1", "ue2")
LOSSES = st.lists(st.frozensets(st.sampled_from(UES)), max_size=7).map(tuple)


@settings(max_examples=60, deadline=None)
@given(CODECS, CODECS, LOSSES, LOSSES, st.booleans(), st.sampled_from(["multicast", "unicast", "broadcast"]))
def test_under_any_pattern_of_loss_both_ends_agree_and_nothing_learnt_is_lost(
    up: Codec,
    down: Codec,
    lost_up: tuple[frozenset[str], ...],
    lost_down: tuple[frozenset[str], ...],
    feedback: bool,
    cast: Any,
) -> None:
    transport = Transport(
        uplink=Uplink(codec=up, error_feedback=feedback, access=Lossy(lost_up)),
        downlink=Downlink(codec=down, access=Lossy(lost_down), cast=cast),
        hub="bs",
    )
    other = OtherEnd(transport)
    learnt = {ue: torch.zeros(LENGTH, dtype=torch.float64) for ue in UES}
    delivered = {ue: torch.zeros(LENGTH, dtype=torch.float64) for ue in UES}
    for number in range(1, 6):
        holds: dict[str, torch.Tensor] = {}
        for out in transport.prepare(
            Message("model", "bs", UES, "model", _model(_vector(number, "model")), round=number)
        ):
            transport.offer(out, now_s=transport.clock.now_s)
        for arrival in _drain(transport):
            if arrival.received:
                there = other.decode(arrival.outgoing.frame, direction="downlink", ue="")
                assert torch.equal(arrival.content.state.vector, there)
                holds |= dict.fromkeys(arrival.received, there)
        for ue, vector in holds.items():
            update = _vector(number, ue)
            (out,) = transport.prepare(
                Message("model", ue, "bs", "model", _model(vector + update), round=number)
            )
            transport.offer(out, now_s=transport.clock.now_s)
            learnt[ue] += (vector + update).double() - vector.double()
        for arrival in _drain(transport):
            (ue,) = arrival.outgoing.ues
            if arrival.received:
                there = other.decode(arrival.outgoing.frame, direction="uplink", ue=ue)
                assert torch.equal(arrival.content.state.vector, there)
                delivered[ue] += there.double() - holds[ue].double()
            elif up.lossless or not feedback:
                # Without error feedback nobody promised to make up for a loss.
                learnt[ue] -= (holds[ue] + _vector(number, ue)).double() - holds[ue].double()
    if feedback and not up.lossless:
        for ue in UES:
            residual = transport.residual(ue, "model")
            kept = torch.zeros(LENGTH) if residual is None else residual
            torch.testing.assert_close(delivered[ue] + kept.double(), learnt[ue], atol=1e-4, rtol=0)
    elif up.lossless:
        for ue in UES:
            torch.testing.assert_close(delivered[ue], learnt[ue], atol=1e-12, rtol=0)


ERASABLE = st.sampled_from(
    [
        Float32(),
        Float16(),
        Uniform(bits=3),
        QSGD(block=16),
        Eden(bits=2.5, block=16),
        Rotated(block=16, codec=Uniform(bits=4)),
        RandK(fraction=0.5),
    ]
)
SHARES = (
    st.lists(st.floats(0, 1), max_size=4).map(sorted).map(lambda e: tuple(zip(e[::2], e[1::2], strict=False)))
)
TORN = st.lists(SHARES, min_size=1, max_size=7).map(tuple)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ERASABLE, LOSSES, TORN, st.booleans())
def test_a_part_is_what_the_rest_of_the_bits_say_and_what_is_missing_is_owed(
    codec: Codec, losers: tuple[frozenset[str], ...], torn: tuple[Any, ...], feedback: bool
) -> None:
    up = Uplink(codec=codec, error_feedback=feedback, erasure=True, access=Lossy(losers, torn))
    transport = Transport(uplink=up, hub="bs")
    other = OtherEnd(transport)
    learnt = {ue: torch.zeros(LENGTH, dtype=torch.float64) for ue in UES}
    delivered = {ue: torch.zeros(LENGTH, dtype=torch.float64) for ue in UES}
    for number in range(1, 6):
        down = Message("model", "bs", UES, "model", _model(_vector(number, "model")), round=number)
        for out in transport.prepare(down):
            transport.offer(out, now_s=transport.clock.now_s)
        (arrival,) = _drain(transport)
        holds = other.decode(arrival.outgoing.frame, direction="downlink", ue="")
        for ue in UES:
            update = _vector(number, ue)
            (out,) = transport.prepare(
                Message("model", ue, "bs", "model", _model(holds + update), round=number)
            )
            transport.offer(out, now_s=transport.clock.now_s)
            learnt[ue] += (holds + update).double() - holds.double()
        for arrival in _drain(transport):
            (ue,) = arrival.outgoing.ues
            gaps = tuple(gap[1:] for gap in arrival.transfer.gaps)
            there = (
                other.decode_part(arrival.outgoing.frame, gaps, ue=ue, feedback=feedback)
                if gaps
                else other.decode(arrival.outgoing.frame, direction="uplink", ue=ue)
            )
            entry = transport.ledger.entries[-len(UES) :][UES.index(ue)]
            assert (there is None) == (not arrival.received) == (entry.lost == (ue,))
            missing = sum(end - first for first, end in gaps)
            assert arrival.missing_bits == entry.missing_bits == (0 if there is None else missing)
            if there is not None:
                assert torch.equal(arrival.content.state.vector, there)
                delivered[ue] += there.double() - holds.double()
    for ue in UES if feedback else ():
        residual = transport.residual(ue, "model")
        assert residual is not None
        torch.testing.assert_close(delivered[ue] + residual.double(), learnt[ue], atol=1e-4, rtol=0)
    assert feedback or all(transport.residual(ue, "model") is None for ue in UES)


def test_what_carry_delivers_in_part_is_a_delivery() -> None:
    whole, torn, lost = (
        Transport(uplink=Uplink(codec=Uniform(bits=8), erasure=True, access=Lossy((frozenset({ue}),), gaps)))
        for ue, gaps in (("nobody", ()), ("ue0", (((0.5, 0.75),),)), ("ue0", (((0.1, 0.2),),)))
    )
    deliveries = []
    for transport in (whole, torn, lost):
        held = transport.carry(Message("model", "me", "ue0", "model", _model(_vector("m"))), now_s=0.0)
        assert not held.lost
        deliveries.append(
            transport.carry(Message("model", "ue0", "me", "model", _model(_vector("m") + 1)), now_s=1.0)
        )
    all_of_it, part, nothing = deliveries
    assert (all_of_it.lost, all_of_it.missing_bits) == (False, 0)
    assert (part.lost, part.missing_bits) == (False, round(0.25 * part.bits))
    assert (nothing.lost, nothing.missing_bits, nothing.content) == (True, 0, None)
    update = part.content.state.vector - _vector("m")  # type: ignore[union-attr]
    came = update != 0
    assert 0 < int(came.sum()) < LENGTH
    # What came makes up for what did not: the update is 1 everywhere.
    torch.testing.assert_close(update[came], torch.full_like(update[came], LENGTH / int(came.sum())))
    assert torn.ledger.frame()["missing_bits"].tolist() == [0, part.missing_bits]


def test_without_the_policy_a_gap_loses_the_message() -> None:
    transport = Transport(
        uplink=Uplink(codec=Uniform(), access=Lossy((frozenset({"ue0"}),), (((0.9, 1.0),),)))
    )
    transport.carry(Message("model", "me", "ue0", "model", _model(_vector("m"))), now_s=0.0)
    sent = transport.carry(Message("model", "ue0", "me", "model", _model(_vector("n"))), now_s=1.0)
    assert sent.lost
    assert transport.ledger.entries[-1].missing_bits == 0


def test_tensors_and_whole_models_are_lost_with_any_of_their_packets() -> None:
    tail = Lossy((frozenset({"ue0"}),), (((0.9, 0.95),),))
    transport = Transport(uplink=Uplink(codec=Uniform(), erasure=True, access=tail))
    first = transport.carry(Message("model", "ue0", "me", "model", _model(_vector("m"))), now_s=0.0)
    values = transport.carry(Message("value", "ue0", "me", "x", (_vector("m"),)), now_s=1.0)
    assert first.lost
    assert values.lost


def test_buffers_must_come_whole_and_the_crc_need_not() -> None:
    layout = Layout(LAYOUT.slots, (("mean", (4,), torch.float32),))
    held = ModelContent(ModelState(_vector("m"), {"mean": torch.zeros(4)}), layout)
    learnt = ModelContent(ModelState(_vector("n"), {"mean": torch.ones(4)}), layout)
    # The frame: 32 bytes of header, 8 of scales and 40 of entries, 22 of the buffer, 4 of the CRC: 106.
    for first, end, is_lost in ((79, 80, False), (80, 81, True), (101, 102, True), (102, 106, False)):
        access = Lossy((frozenset({"ue0"}),), (((first / 106, end / 106),),))
        transport = Transport(uplink=Uplink(codec=Uniform(), erasure=True, access=access))
        transport.carry(Message("model", "me", "ue0", "model", held), now_s=0.0)
        sent = transport.carry(Message("model", "ue0", "me", "model", learnt), now_s=1.0)
        assert sent.lost == is_lost, (first, sent.bits)
