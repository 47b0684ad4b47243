"""The seam: only decoded bytes arrive, everything is charged, and loss loses nothing but time."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.codecs import QSGD, Codec, Context, Float16, Float32, Payload, Uniform
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
    """TDMA that loses what a pattern says: the n-th transfer at the UEs of the n-th set."""

    pattern: tuple[frozenset[str], ...]

    def open(self, link: Link, *, users: int, key: Key) -> Medium:
        return _LossyMedium(Tdma().open(link, users=users), self.pattern)


class _LossyMedium:
    def __init__(self, medium: Medium, pattern: tuple[frozenset[str], ...]) -> None:
        self._medium, self._pattern, self._count = medium, pattern, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._medium, name)

    def advance(self, to_s: float) -> list[Any]:
        ended = []
        for transfer in self._medium.advance(to_s):
            losers = self._pattern[self._count % len(self._pattern)] if self._pattern else frozenset()
            ended.append(replace(transfer, lost=tuple(ue for ue in transfer.ues if ue in losers)))
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
