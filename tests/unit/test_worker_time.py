"""Simulated time of workers: who waits for whom, and what computing costs."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.keys import Key
from syft_fl.learn import MLP, PerSample, build_seeded
from syft_fl.radio import Constant
from syft_fl.transport import Downlink, Transport, Uplink
from syft_fl.workers import TorchHook, VirtualWorker

SAMPLE_S = 0.01
BATCH = 16


def hook(rate_bps: float = 1e15) -> TorchHook:
    """By default with links so fast that only computing takes time."""
    link = Constant(rate_bps=rate_bps)
    transport = Transport(uplink=Uplink(link=link), downlink=Downlink(link=link))
    return TorchHook(torch, transport=transport, compute=PerSample(seconds_per_sample=SAMPLE_S))


def net() -> nn.Module:
    return build_seeded(MLP(hidden=(5,)), (4,), 3, Key(1))


def data(samples: int = BATCH) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, 4, generator=Key(2).torch()), torch.zeros(samples, dtype=torch.int64)


def trained(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss


def test_a_message_takes_its_bits_over_the_rate() -> None:
    slow = hook(rate_bps=1e6)
    ue = VirtualWorker(hook=slow, id="ue0")
    pointer = torch.zeros(1000).send(ue)
    (sent,) = slow.transport.ledger.drain()
    assert sent.bits >= 32_000
    assert ue.time_s == pytest.approx(sent.bits / 1e6, rel=1e-12)
    assert slow.transport.clock.now_s == 0
    pointer.get()
    asked, got = slow.transport.ledger.drain()
    assert slow.transport.clock.now_s == ue.time_s == got.end_s
    assert got.end_s == pytest.approx((sent.bits + asked.bits + got.bits) / 1e6, rel=1e-12)


def test_a_backward_pass_costs_the_batch() -> None:
    ue = VirtualWorker(hook=hook(), id="ue0")
    model = net().send(ue)
    x, y = (t.send(ue) for t in data())
    for passes in (1, 2, 3):
        trained(model, x, y)
        assert ue.time_s == pytest.approx(passes * BATCH * SAMPLE_S)


def test_forward_passes_optimisers_and_evaluation_are_free() -> None:
    ue = VirtualWorker(hook=hook(), id="ue0")
    model = net().send(ue)
    optimiser = torch.optim.Adam(model.parameters())
    x, y = (t.send(ue) for t in data())
    with torch.no_grad():
        model(torch.zeros(500, 4).send(ue))
    model(x)
    assert ue.time_s == pytest.approx(0, abs=1e-9)
    trained(model, x, y)
    optimiser.step()
    assert ue.time_s == pytest.approx(BATCH * SAMPLE_S)


def test_a_batch_taken_from_sent_data_costs_the_batch() -> None:
    ue = VirtualWorker(hook=hook(), id="ue0")
    model = net().send(ue)
    x, y = (t.send(ue) for t in data(100))
    picks = torch.arange(7).send(ue)
    for batch, (bx, by) in {
        5: (x[:5], y[:5]),
        7: (x[picks], y[picks]),
        25: (x.split(25)[1], y.split(25)[1]),
    }.items():
        before_s = ue.time_s
        trained(model, bx.clone(), by)
        assert ue.time_s - before_s == pytest.approx(batch * SAMPLE_S)


def test_every_way_to_run_backward_is_charged_once() -> None:
    ue = VirtualWorker(hook=hook(), id="ue0")
    model = net().send(ue)
    x, y = (t.send(ue) for t in data())
    loss = F.cross_entropy(model(x), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    assert ue.time_s == pytest.approx(BATCH * SAMPLE_S)
    torch.autograd.backward(loss + sum((g * g).sum() for g in gradients))
    assert ue.time_s == pytest.approx(BATCH * SAMPLE_S)


def test_run_is_charged_for_its_samples() -> None:
    ue = VirtualWorker(hook=hook(), id="ue0")
    ue.run(lambda: None, samples=30)
    ue.run(lambda: None)
    assert ue.time_s == pytest.approx(30 * SAMPLE_S)


@pytest.mark.parametrize("batches", [1, 3])
def test_workers_in_a_python_loop_compute_side_by_side(batches: int) -> None:
    base = hook()
    ues = [VirtualWorker(hook=base, id=f"ue{i}") for i in range(4)]
    models = [net().send(ue) for ue in ues]
    x, y = data()
    for _ in range(batches):
        for ue, model in zip(ues, models, strict=True):
            loss = trained(model, x.send(ue), y.send(ue)).get()
            assert math.isfinite(loss.item())
    one_s = batches * BATCH * SAMPLE_S
    assert [ue.time_s for ue in ues] == pytest.approx([one_s] * 4)
    assert base.transport.clock.now_s == pytest.approx(one_s)
    for model in models:
        model.get()
    assert base.transport.clock.now_s == pytest.approx(one_s)


def test_a_fetched_model_makes_the_base_station_wait() -> None:
    base = hook()
    first, second = (VirtualWorker(hook=base, id=f"ue{i}") for i in range(2))
    model = net().send(first)
    trained(model, *(t.send(first) for t in data()))
    model.get()
    assert base.local_worker.gate_s == pytest.approx(BATCH * SAMPLE_S)
    net().send(second)
    assert second.time_s == pytest.approx(BATCH * SAMPLE_S)


def test_single_numbers_move_the_clock_but_make_nobody_wait() -> None:
    base = hook()
    first, second = (VirtualWorker(hook=base, id=f"ue{i}") for i in range(2))
    loss = torch.ones(()).send(first)
    first.run(lambda: None, samples=BATCH)
    loss.item()
    loss.get()
    assert base.local_worker.time_s == pytest.approx(BATCH * SAMPLE_S)
    torch.ones(2).send(second)
    assert second.time_s == pytest.approx(0, abs=1e-9)


def test_wait_waits_for_the_slowest() -> None:
    base = hook()
    ues = [VirtualWorker(hook=base, id=f"ue{i}") for i in range(3)]
    ues[1].run(lambda: None, samples=5)
    assert base.wait() == base.transport.clock.now_s == pytest.approx(5 * SAMPLE_S)
    torch.ones(2).send(ues[0])
    assert ues[0].time_s == pytest.approx(5 * SAMPLE_S)


def test_what_is_relayed_arrives_after_it_was_fetched() -> None:
    base = hook(rate_bps=1e6)
    first, second = (VirtualWorker(hook=base, id=f"ue{i}") for i in range(2))
    number = torch.ones(()).send(first)
    first.run(lambda: None, samples=BATCH)
    number.move(second)
    assert second.time_s > first.time_s > BATCH * SAMPLE_S


def test_a_request_is_as_long_for_the_first_object_as_for_a_later_one() -> None:
    base = hook()
    ue = VirtualWorker(hook=base, id="ue0")
    bits = []
    for _ in range(30):
        torch.ones(2).send(ue).get()
        bits += [e.bits for e in base.transport.ledger.drain() if e.kind == "control"]
    assert len(set(bits)) == 1
