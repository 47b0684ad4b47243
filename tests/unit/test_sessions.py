"""Long sessions by hand: what is remembered ends with what it is about."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from syft_fl.codecs import Uniform
from syft_fl.errors import WorkerError
from syft_fl.keys import Key
from syft_fl.transport import Delivery, Downlink, Message, Transport, Uplink
from syft_fl.workers import TorchHook, VirtualWorker

LOSSY = Uniform(bits=4)


def station(**transport: Any) -> tuple[TorchHook, VirtualWorker]:
    hook = TorchHook(torch, transport=Transport(**transport))
    return hook, VirtualWorker(hook=hook, id="ue0")


def lossy() -> dict[str, Any]:
    return {"uplink": Uplink(codec=LOSSY, error_feedback=True), "downlink": Downlink(codec=LOSSY)}


def grown_blocks(step: Callable[[], object], *, times: int) -> int:
    """Blocks of Python's memory that are held after many steps and were not after a few."""
    for _ in range(20):
        step()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        step()
    gc.collect()
    return sys.getallocatedblocks() - before


def test_what_is_remembered_of_a_model_dies_with_it() -> None:
    hook, ue = station(**lossy())
    transport = hook.transport

    def session() -> None:
        net = nn.Linear(50, 40)
        net.send(ue).get()
        net.send(ue)
        hook.transport.ledger.drain()

    grown = grown_blocks(session, times=1000)
    # Vectors are no memory of Python's; what would hold them is counted itself.
    assert len(transport.references) == 0
    assert not any((transport._ends.layouts, transport._ends.links))
    assert ue.objects == {}
    assert grown < 500, "less than one for two models"


def test_what_is_remembered_of_a_living_model_stays() -> None:
    hook, ue = station(**lossy())
    first, second = nn.Linear(5, 4), nn.Linear(5, 4)
    first.send(ue).get()
    second.send(ue).get()
    assert hook.transport.residual("ue0", "model-1") is not None
    del first
    assert hook.transport.residual("ue0", "model-1") is None
    assert hook.transport.residual("ue0", "model-2") is not None
    assert len(hook.transport.references) == 1
    second.send(ue).get()


def test_a_model_may_outlive_its_station() -> None:
    hook, ue = station(**lossy())
    net = nn.Linear(5, 4)
    net.send(ue).get()
    del hook, ue
    TorchHook.current = None
    gc.collect()
    del net


def test_ten_thousand_sends_and_gets_leave_the_ledger_alone_behind() -> None:
    hook, ue = station()
    x = torch.zeros(10)

    def step() -> None:
        x.send(ue).get()

    def drained() -> None:
        step()
        hook.transport.ledger.drain()

    assert grown_blocks(drained, times=10_000) < 500, "less than one for twenty sends and gets"
    assert ue.objects == {}
    hook.transport.ledger.drain()
    for _ in range(10):
        step()
    assert len(hook.transport.ledger.entries) == 30


@pytest.mark.parametrize("steps", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_training_on_pointers_leaves_nothing_behind(steps: int) -> None:
    _hook, ue = station()
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.2), nn.Linear(5, 3)).send(ue)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.ones(4, 6).send(ue), torch.zeros(4, dtype=torch.long).send(ue)

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()

    step()
    held = len(ue.objects)
    # Caches of torch and Python grow now and then; a leak grows every time.
    assert min(grown_blocks(step, times=steps) for _ in range(3)) < steps / 2, "less than one for two steps"
    assert len(ue.objects) == held


def test_an_update_that_is_asked_for_again_is_not_paid_twice() -> None:
    class Lossy(Transport):
        losing = 0

        def carry(self, message: Message, *, now_s: float) -> Delivery:
            if message.kind == "model" and self.losing and message.receiver == self.hub:
                self.losing -= 1
                self._lose_next()
            return super().carry(message, now_s=now_s)

        def _lose_next(self) -> None:
            medium: Any = self._media["uplink"]
            advance = medium.advance

            def losing(to_s: float) -> list[Any]:
                ended = [replace(transfer, lost=transfer.ues) for transfer in advance(to_s)]
                if ended:
                    del medium.advance
                return ended

            medium.advance = losing

    transport = Lossy(**lossy())
    hook = TorchHook(torch, transport=transport)
    ue = VirtualWorker(hook=hook, id="ue0")
    net = nn.Linear(20, 10, bias=False)
    net.send(ue)
    start = net.weight.held().clone()
    update = torch.randn(10, 20, generator=Key(1).torch())
    with torch.no_grad():
        net.weight += update.send(ue)
    transport.losing = 2
    for _ in range(2):
        with pytest.raises(WorkerError, match="lost"):
            net.get()
    assert transport.residual("ue0", "model-1") is None
    net.get()
    owed = transport.residual("ue0", "model-1")
    assert owed is not None
    learnt: Tensor = net.weight.detach() - start + owed.view(10, 20)
    torch.testing.assert_close(learnt, update, atol=1e-5, rtol=0)
