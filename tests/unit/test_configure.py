"""Codecs and links of a UE's own, and set in mid-session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from syft_fl.codecs import Context, Float16, Float32, Memory, Payload, TopK, Uniform
from syft_fl.errors import ConfigError, TransportError
from syft_fl.keys import Key
from syft_fl.radio import Cell, Constant, Links, Ofdma, Shannon
from syft_fl.transport import Downlink, Message, ModelContent, Transport, Uplink
from syft_fl.vectors import Layout, ModelState, Vector
from syft_fl.workers import TorchHook, VirtualWorker

LENGTH = 64
LAYOUT = Layout.flat(LENGTH)
UES = ("ue0", "ue1", "ue2", "ue3")


def vector(name: str) -> Tensor:
    return torch.randn(LENGTH, generator=(Key(3) / name).torch())


def model(x: Tensor) -> ModelContent:
    return ModelContent(ModelState(x, {}), LAYOUT)


def down(transport: Transport, ue: str, x: Tensor) -> Tensor:
    sent = Message("model", transport.hub, ue, "model", model(x))
    return arrived(transport.carry(sent, now_s=0.0))


def up(transport: Transport, ue: str, x: Tensor) -> Tensor:
    sent = Message("model", ue, transport.hub, "model", model(x))
    return arrived(transport.carry(sent, now_s=0.0))


def arrived(delivery: Any) -> Tensor:
    x: Tensor = delivery.content.state.vector
    return x


@pytest.mark.parametrize("direction", ["uplink", "downlink"])
def test_one_ue_writes_by_a_codec_of_its_own(direction: str) -> None:
    transport = Transport()
    transport.configure(direction, "ue1", codec=Uniform(bits=4))
    for ue in ("ue0", "ue1"):
        for number in range(2):
            held = down(transport, ue, vector(f"{number}"))
            up(transport, ue, held + vector("update"))
    bits = {ue: [e.payload_bits for e in entries(transport, direction, ue)] for ue in ("ue0", "ue1")}
    assert bits["ue0"] == [32 * LENGTH] * 2
    # Whole where the UE held nothing (the first model down), four bits an entry and a scale after that.
    assert bits["ue1"][-1] < 8 * LENGTH
    assert bits["ue1"][0] == (32 * LENGTH if direction == "downlink" else bits["ue1"][1])


def entries(transport: Transport, direction: str, ue: str) -> list[Any]:
    return [e for e in transport.ledger.entries if e.direction == direction and ue in e.ues]


def test_a_codec_set_in_mid_session_writes_from_then_on() -> None:
    hook = TorchHook(torch)
    ue = VirtualWorker(hook=hook, id="ue0")
    net = torch.nn.Linear(30, 10)
    hook.transport.configure("downlink", codec=Uniform(bits=8))
    net.send(ue).get()
    hook.transport.configure("uplink", codec=Uniform(bits=2))
    net.send(ue)
    net.get()
    hook.transport.configure("uplink", codec=Float32())
    net.send(ue).get()
    ups = [e.payload_bits for e in entries(hook.transport, "uplink", "ue0")]
    assert ups[0] == ups[2] == 32 * 310
    assert ups[1] < 3 * 310
    downs = [e.payload_bits for e in entries(hook.transport, "downlink", "ue0") if e.kind == "model"]
    assert downs[0] == 32 * 310, "the first model goes whole"
    assert all(bits < 9 * 310 for bits in downs[1:]), "the models that UEs hold stay references"


def test_a_residual_outlives_its_codec_and_is_paid() -> None:
    transport = Transport(uplink=Uplink(codec=Uniform(bits=2), error_feedback=True))
    transport.configure("downlink", codec=Uniform(bits=16))
    held = down(transport, "ue0", vector("start"))
    delivered = torch.zeros(LENGTH, dtype=torch.float64)
    learnt = torch.zeros(LENGTH, dtype=torch.float64)
    codecs = [Uniform(bits=2), Uniform(bits=3), Float16(), Uniform(bits=2)]
    for number, codec in enumerate(codecs):
        before = transport.residual("ue0", "model")
        transport.configure("uplink", codec=codec)
        after = transport.residual("ue0", "model")
        assert before is after
        update = vector(f"update{number}")
        delivered += (up(transport, "ue0", held + update) - held).double()
        learnt += update.double()
        owed = transport.residual("ue0", "model")
        assert owed is not None
        torch.testing.assert_close(delivered + owed.double(), learnt, atol=1e-5, rtol=0)


def test_a_residual_waits_while_there_is_no_error_feedback() -> None:
    transport = Transport(uplink=Uplink(codec=Uniform(bits=2), error_feedback=True))
    held = down(transport, "ue0", vector("start"))
    up(transport, "ue0", held + vector("update"))
    owed = transport.residual("ue0", "model")
    transport.configure("uplink", codec=Float32())
    assert torch.equal(up(transport, "ue0", held + vector("next")), held + vector("next"))
    assert transport.residual("ue0", "model") is owed


@dataclass(frozen=True)
class Counting:
    """Writes how many messages of this link it remembers, then the entries."""

    step: int = 1
    kind: ClassVar[str] = "counting"
    lossless: ClassVar[bool] = True

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        count = ctx.memory.get("count", 0)
        body = bytes([count]) + x.numpy().tobytes()
        return Payload(body, 8 * len(body)), {"count": count + self.step}

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        assert payload.body[0] == ctx.memory.get("count", 0), "both ends remember the same"
        entries = np.frombuffer(payload.body[1:], np.float32).copy()
        return torch.from_numpy(entries), {"count": payload.body[0] + self.step}


def test_what_a_codec_remembered_goes_with_it_at_both_ends() -> None:
    transport = Transport(uplink=Uplink(codec=Counting()))

    def counts() -> dict[str, int]:
        out = {}
        for ue in ("ue0", "ue1"):
            (frame,) = transport.prepare(Message("model", ue, "me", "model", model(vector("x"))))
            out[ue] = frame.frame[32]
            up(transport, ue, vector("x"))
        return out

    assert [counts(), counts()] == [{"ue0": 0, "ue1": 0}, {"ue0": 1, "ue1": 1}]
    transport.configure("uplink", "ue1", codec=Counting(step=5))
    assert [counts(), counts()] == [{"ue0": 2, "ue1": 0}, {"ue0": 3, "ue1": 5}]
    transport.configure("uplink", codec=Counting(step=2))
    assert counts() == {"ue0": 0, "ue1": 10}, "who has a codec of its own keeps it"
    transport.configure("uplink", codec=Counting(step=2))
    assert counts() == {"ue0": 2, "ue1": 15}, "the same codec again is no other"


def test_a_multicast_goes_once_for_each_way_of_writing() -> None:
    transport = Transport(downlink=Downlink(codec=Uniform(bits=8)))
    whole = Message("model", "me", UES, "model", model(vector("first")))
    (first,) = transport.prepare(whole)
    transport.offer(first, now_s=0.0)
    transport.advance(transport.next_event_s())
    transport.advance(transport.next_event_s())
    for ue in ("ue1", "ue3"):
        transport.configure("downlink", ue, codec=Uniform(bits=4))
    groups = transport.prepare(Message("model", "me", UES, "model", model(vector("second"))))
    assert [g.ues for g in groups] == [("ue0", "ue2"), ("ue1", "ue3")]
    assert groups[0].payload_bits > 7 * LENGTH > groups[1].payload_bits
    for group in groups:
        transport.offer(group, now_s=transport.clock.now_s)
    got = {}
    while transport.next_event_s() < float("inf"):
        for arrival in transport.advance(transport.next_event_s()):
            got[arrival.outgoing.ues] = arrival.content.state.vector
    for ues, x in got.items():
        step = (vector("second") - vector("first")).abs().max() / (120 if "ue0" in ues else 7)
        assert (x - vector("second")).abs().max() <= step
    (control,) = transport.prepare(Message("control", "me", UES, "note", {"round": 1}))
    assert control.ues == UES


def test_ues_of_equal_settings_share_a_multicast() -> None:
    transport = Transport()
    for ue in ("ue0", "ue3"):
        transport.configure("downlink", ue, codec=Uniform(bits=4))
    transport.configure("downlink", "ue1", codec=Float32())
    groups = transport.prepare(Message("model", "me", UES, "model", model(vector("x"))))
    assert [g.ues for g in groups] == [("ue0", "ue3"), ("ue1", "ue2")]


# Links.


@pytest.mark.parametrize("direction", ["uplink", "downlink"])
def test_one_ue_has_a_link_of_its_own(direction: str) -> None:
    transport = Transport(users=2)
    own = Constant(rate_bps=1e6, latency_s=0.25, power_w=2.0)
    transport.configure(direction, "ue1", link=own)
    for ue in ("ue0", "ue1"):
        ends = (ue, "me") if direction == "uplink" else ("me", ue)
        sent = transport.carry(Message("value", *ends, "x", (torch.zeros(100),)), now_s=0.0)
        rate_bps, latency_s, power_w = (1e6, 0.25, 2.0) if ue == "ue1" else (10e6, 0.0, 0.1)
        assert sent.end_s - sent.start_s == pytest.approx(sent.bits / rate_bps + latency_s, rel=1e-12)
        assert sent.energy_j == pytest.approx(power_w * sent.bits / rate_bps, rel=1e-12)


def test_a_link_set_for_all_leaves_a_ues_own_alone() -> None:
    transport = Transport()
    transport.configure("uplink", "ue1", link=Constant(rate_bps=1e6))
    transport.configure("uplink", link=Constant(rate_bps=5e6))
    for ue, rate_bps in {"ue0": 5e6, "ue1": 1e6}.items():
        sent = transport.carry(Message("value", ue, "me", "x", (torch.zeros(100),)), now_s=0.0)
        assert sent.end_s - sent.start_s == pytest.approx(sent.bits / rate_bps, rel=1e-12)
        assert transport.settings("uplink", ue).link.rate_bps == rate_bps


def test_a_multicast_goes_at_the_slowest_ones_rate_and_lasts_for_the_farthest() -> None:
    transport = Transport()
    transport.configure("downlink", "ue1", link=Constant(rate_bps=1e6, power_w=0.01))
    transport.configure("downlink", "ue2", link=Constant(rate_bps=20e6, latency_s=0.5, power_w=3.0))
    (frame,) = transport.prepare(Message("control", "me", UES, "note", {"round": 1}))
    transport.offer(frame, now_s=0.0)
    transport.advance(0.0)
    (arrival,) = transport.advance(transport.next_event_s())
    airtime_s = frame.bits / 1e6
    assert arrival.transfer.end_s == pytest.approx(airtime_s + 0.5, rel=1e-12)
    assert arrival.transfer.energy_j == pytest.approx(3.0 * airtime_s, rel=1e-12)


def test_a_ue_stays_where_it_is_whatever_link_it_is_given() -> None:
    cell = Cell(distances_m=(100.0, 200.0, 300.0))
    radio = Shannon()
    plain = Transport(cell=cell, key=4, uplink=Uplink(link=radio))
    changed = Transport(cell=cell, key=4)
    changed.configure("uplink", "ue1", link=radio)
    message = Message("value", "ue1", "me", "x", (torch.zeros(100),))
    one, other = (t.carry(message, now_s=0.0) for t in (plain, changed))
    assert one.end_s == other.end_s


def test_an_access_scheme_of_its_own_gets_every_ues_rate() -> None:
    links = Links(Constant(rate_bps=1e6, latency_s=0.1).link(Cell(), Key(0), "uplink"))
    links.set("ue1", Constant(rate_bps=4e6, latency_s=0.3, power_w=9.0).link(Cell(), Key(0), "uplink"))
    asked = [links.rate_bps(ue, share=0.5, block=0, time_s=0.0) for ue in ("ue0", "ue1")]
    assert asked == [0.5e6, 2e6]
    assert links.latency_s == 0.3
    assert [links.transmit_power_w(ue, share=0.5, block=0, time_s=0.0) for ue in ("ue0", "ue1")] == [0.1, 9.0]


def test_links_of_their_own_share_the_band_as_before() -> None:
    transport = Transport(uplink=Uplink(link=Constant(rate_bps=1e6), access=Ofdma(subchannels=2)), users=2)
    transport.configure("uplink", "ue1", link=Constant(rate_bps=2e6))
    hook = TorchHook(torch, transport=transport)
    ues = [VirtualWorker(hook=hook, id=f"ue{i}") for i in range(2)]
    there = [torch.zeros(100).send(ue) for ue in ues]
    hook.wait()
    with transport.parallel():
        for pointer in there:
            pointer.get()
    slow, fast = sorted((e for e in transport.ledger.entries if e.kind == "value"), key=lambda e: e.ues)
    assert slow.airtime_s == pytest.approx(2 * slow.bits / 1e6) == pytest.approx(2 * fast.airtime_s)


# What is refused.


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ({"direction": "sidelink", "codec": Float16()}, "'uplink' or 'downlink'"),
        ({"direction": "uplink"}, "nothing to set"),
        ({"direction": "downlink", "error_feedback": True}, "error_feedback.*downlink"),
        ({"direction": "uplink", "delta": False, "error_feedback": True}, "error_feedback"),
        ({"direction": "uplink", "ue": "ue0", "delta": False, "error_feedback": True}, "error_feedback"),
    ],
)
def test_settings_that_make_no_sense_are_refused_and_change_nothing(
    call: dict[str, Any], complaint: str
) -> None:
    transport = Transport(uplink=Uplink(codec=Uniform(bits=3)))
    with pytest.raises(ConfigError, match=complaint):
        transport.configure(**call)
    assert transport.settings("uplink", "ue0") == transport.uplink == Uplink(codec=Uniform(bits=3))
    transport.state()


def test_nothing_is_set_while_something_is_on_the_air() -> None:
    transport = Transport()
    (frame,) = transport.prepare(Message("value", "ue0", "me", "x", (torch.ones(1),)))
    transport.offer(frame, now_s=0.0)
    with pytest.raises(TransportError, match="on the air"):
        transport.configure("uplink", codec=Float16())
    transport.advance(0.0)
    transport.advance(transport.next_event_s())
    transport.configure("uplink", codec=Float16())


def test_a_frame_that_was_prepared_is_settled_by_what_wrote_it() -> None:
    transport = Transport(uplink=Uplink(codec=Uniform(bits=2), error_feedback=True))
    held = down(transport, "ue0", vector("start"))
    (frame,) = transport.prepare(Message("model", "ue0", "me", "model", model(held + vector("update"))))
    transport.configure("uplink", codec=Float32(), error_feedback=False)
    transport.roll_back(frame)
    torch.testing.assert_close(transport.residual("ue0", "model"), vector("update"), atol=1e-6, rtol=0)


def test_a_checkpoint_does_not_pretend_to_hold_what_was_set() -> None:
    transport = Transport()
    transport.state()
    transport.configure("uplink", "ue0", codec=Float16())
    with pytest.raises(TransportError, match="configure"):
        transport.state()


def test_the_policy_of_gaps_is_set_for_one_ue_and_in_mid_session() -> None:
    transport = Transport(uplink=Uplink(codec=Uniform()))
    transport.configure("uplink", "ue1", erasure=True)
    assert [transport.settings("uplink", ue).erasure for ue in ("ue0", "ue1")] == [False, True]  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="erasure = True must be false with codec 'top-k'"):
        transport.configure("uplink", "ue1", codec=TopK())
    assert transport.settings("uplink", "ue1").codec == Uniform()
    with pytest.raises(ConfigError, match="erasure can't be set for the downlink"):
        transport.configure("downlink", erasure=True)
