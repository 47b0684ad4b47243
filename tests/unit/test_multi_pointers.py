"""Pointers to several workers: each operation is the same one at each worker, and charged at each."""

import copy
import gc
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from syft_fl.errors import ObjectNotFoundError, TensorsNotCollocatedException, WorkerError
from syft_fl.transport import Delivery, Message, Transport
from syft_fl.workers import PointerTensor, TorchHook, VirtualWorker, get, move
from syft_fl.workers.multi import MultiPointerTensor, combine_pointers

X = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
Y = X.flip(0) / 4 + 1
DATA = ("downlink", "data")
FETCH = [("downlink", "control"), ("uplink", "value")]


class Scene:
    """A hook and three workers."""

    def __init__(self, transport: Transport | None = None) -> None:
        self.hook = TorchHook(torch, transport=transport)
        self.ues = [VirtualWorker(hook=self.hook, id=f"ue{n}") for n in range(3)]

    def kinds(self) -> list[tuple[str, str]]:
        """Direction and kind of what has been on the air since the last call."""
        return [(e.direction, e.kind) for e in self.hook.transport.ledger.drain()]

    def apart(self, *values: Tensor) -> MultiPointerTensor:
        """A multi-pointer to another value at each worker."""
        return combine_pointers(*[v.send(ue) for v, ue in zip(values, self.ues, strict=False)])


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_send_to_several_is_a_message_and_a_pointer_for_each(scene: Scene) -> None:
    multi = X.send(scene.ues[0], "ue2")
    assert isinstance(multi, MultiPointerTensor)
    assert scene.kinds() == [DATA, DATA]
    assert list(multi.child) == ["ue0", "ue2"]
    assert all(isinstance(pointer, PointerTensor) for pointer in multi.child.values())
    assert multi.workers == multi.location == [scene.ues[0], scene.ues[2]]
    assert (multi.shape, multi.size(1), multi.dim(), multi.ndim, multi.numel(), len(multi), multi.dtype) == (
        *(torch.Size([2, 3]), 3, 2, 2, 6, 2),
        torch.float32,
    )
    assert scene.kinds() == []


def test_get_is_the_list_of_values_once(scene: Scene) -> None:
    multi = scene.apart(X, Y)
    scene.kinds()
    first, second = multi.get()
    assert torch.equal(first, X)
    assert torch.equal(second, Y)
    assert scene.kinds() == FETCH * 2
    assert all(ue.objects == {} for ue in scene.ues)
    with pytest.raises(ObjectNotFoundError):
        multi.get()


def test_get_of_the_sum_adds_in_the_order_of_the_workers(scene: Scene) -> None:
    z = 1e8 * Y
    assert torch.equal(scene.apart(z, X, -z).get(sum_results=True), (z + X) - z)
    assert torch.equal(get(scene.apart(X, Y), sum_results=True), X + Y)


def test_what_is_lost_loses_nothing() -> None:
    class Lossy(Transport):
        losing: tuple[str, str] | None = None

        def carry(self, message: Message, *, now_s: float) -> Delivery:
            delivery = super().carry(message, now_s=now_s)
            lost = self.losing in ((message.kind, message.sender), (message.kind, message.receiver))
            return replace(delivery, content=None, lost=True) if lost else delivery

    transport = Lossy()
    scene = Scene(transport)
    multi = scene.apart(X, Y)
    transport.losing = ("value", "ue1")
    with pytest.raises(WorkerError, match="lost"):
        multi.get()
    transport.losing = ("data", "ue1")
    with pytest.raises(WorkerError, match="lost"):
        X.send("ue0", "ue1", garbage_collect_data=False)
    gc.collect()
    transport.losing = None
    assert [ue.objects_count() for ue in scene.ues] == [1, 1, 0]
    assert torch.equal(multi.get(sum_results=True), X + Y)


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "numbers": lambda x: 3 - (2 * x + 1) / 7 - x**2,
    "reflected": lambda x: (1 + x) * 2 - 2**x,
    "number_of_no_dimension": lambda x: torch.tensor(2.5) * x,
    "unary": lambda x: -abs(x) + ~(x > 0),
    "two": lambda x: (x * x - x // 2) @ x.t() % 3,
    "logic": lambda x: (x > 0) & (x <= 3) | (x != 1) ^ (x == 4),
    "index": lambda x: x[:, 1:][..., 0],
    "index_by_values": lambda x: x[:, (x > 0).sum(1)[:1]],
    "function": lambda x: torch.where(x > 0, torch.exp(x), 0.5),
    "listed": lambda x: torch.cat([x, torch.stack([x[0], x[1]])]),
    "keyword": lambda x: torch.add(x, other=x, alpha=2),
    "loss": lambda x: torch.nn.functional.cross_entropy(x, target=x.argmax(1)),
    "method": lambda x: x.view(3, -1).add(x.reshape(3, 2)).sum(dim=0, keepdim=True),
    "attribute": lambda x: x.T + x.data.mT,
    "in_place": lambda x: x.clone().mul_(2).add_(x),
    "parts": lambda x: x.max(dim=1).values + torch.split(x, 1, dim=1)[1].flatten(),
    "rows": lambda x: sum(x),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_an_operation_is_the_same_one_at_each_worker(scene: Scene, operation: Callable[[Any], Any]) -> None:
    multi = scene.apart(X, Y)
    scene.kinds()
    result = operation(multi)
    assert isinstance(result, MultiPointerTensor)
    assert scene.kinds() == []
    assert result.workers == multi.workers
    expected = [operation(value.clone()) for value in (X, Y)]
    assert result.shape == expected[0].shape
    assert all(torch.equal(*pair) for pair in zip(result.get(), expected, strict=True))


def test_in_place_operations_return_the_same_pointers(scene: Scene) -> None:
    multi = before = scene.apart(X, Y)
    multi += 1
    multi *= multi
    multi[0] = 0.5
    assert multi is before
    assert multi.add_(1) is before
    expected = [torch.stack([torch.full((3,), 0.5), (value[1] + 1) ** 2]) + 1 for value in (X, Y)]
    assert all(torch.equal(*pair) for pair in zip(multi.get(), expected, strict=True))


def test_gradients_are_at_each_worker(scene: Scene) -> None:
    weight = X.clone().requires_grad_().send("ue0", "ue1")
    assert weight.requires_grad
    assert weight.grad is None
    assert (weight * scene.apart(X, Y)).sum().backward() is None
    assert isinstance(weight.grad, MultiPointerTensor)
    first, second = weight.grad.get()
    assert torch.equal(first, X)
    assert torch.equal(second, Y)
    assert all(value.requires_grad for value in weight.get())


def test_operands_at_other_workers_are_refused(scene: Scene) -> None:
    multi = scene.apart(X, Y)
    other = X.send("ue1", "ue2")
    with pytest.raises(TensorsNotCollocatedException, match=r"'ue0', 'ue1'.*'ue1', 'ue2'.*get\(\)"):
        multi + other
    for one in (X.send("ue0"), X):
        for combine in (torch.add, lambda a, b: torch.stack([a, b]), lambda a, b: a.add_(b)):
            with pytest.raises(TensorsNotCollocatedException):
                combine(multi, one)
            with pytest.raises(TensorsNotCollocatedException):
                combine(one, multi)
    # A refused operation has written nothing, at no worker.
    assert torch.equal(multi.get(sum_results=True), X + Y)


def test_workers_of_the_same_names_in_another_world_are_others(scene: Scene) -> None:
    before = scene.apart(X, Y)
    with pytest.raises(TensorsNotCollocatedException):
        before + Scene().apart(X, Y)


def test_numbers_come_from_each_worker_and_are_charged_for_each(scene: Scene) -> None:
    multi = scene.apart(X, Y)
    scene.kinds()
    assert multi.sum().item() == {"ue0": X.sum().item(), "ue1": Y.sum().item()}
    assert scene.kinds() == FETCH * 2
    assert torch.equal(multi, multi) == {"ue0": True, "ue1": True}
    assert scene.kinds() == FETCH * 2
    assert list(multi.id_at_location) == ["ue0", "ue1"]
    assert scene.kinds() == []


REFUSED: dict[str, Callable[[Any], Any]] = {
    "send": lambda m: m.send("ue2"),
    "move": lambda m: m.move("ue2"),
    "move_by_function": lambda m: move(m, "ue2"),
    "bool": bool,
    "float": float,
    "index": lambda m: [1, 2][m],
    "array": np.asarray,
    "pickle": pickle.dumps,
    "deepcopy": copy.deepcopy,
    "again": lambda m: combine_pointers(*m.child.values(), m.child["ue0"]),
}


@pytest.mark.parametrize("use", REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_for_several_is_refused(scene: Scene, use: Callable[[Any], Any]) -> None:
    multi = scene.apart(X, Y)
    scene.kinds()
    with pytest.raises(WorkerError, match="'ue0'"):
        use(multi)
    assert scene.kinds() == []


def test_a_worker_is_there_once_and_shapes_agree(scene: Scene) -> None:
    with pytest.raises(WorkerError, match="'ue0', 'ue0'"):
        X.send("ue0", "ue0")
    assert scene.kinds() == []
    with pytest.raises(WorkerError, match=r"\[2, 3\], \[3\]"):
        scene.apart(X, X[0])
    with pytest.raises(WorkerError, match="none"):
        combine_pointers()
    with pytest.raises(WorkerError, match="Tensor is no pointer"):
        combine_pointers(X.send("ue0"), X)
    with pytest.raises(WorkerError, match=r"pointer to 'ue0'"):
        X.send("ue0").send("ue1", "ue2")


def test_printing_shows_each_pointer_and_never_fetches(scene: Scene) -> None:
    multi = scene.apart(X, Y)
    scene.kinds()
    lines = [
        f"\n\t-> [PointerTensor | me:{p.id} -> {p.location.id}:{p.id_at_location}]"
        for p in multi.child.values()
    ]
    assert repr(multi) == str(multi) == "(Wrapper)>[MultiPointerTensor]" + "".join(lines)
    assert scene.kinds() == []


def test_tags_and_collection_are_for_all(scene: Scene) -> None:
    multi = X.clone().tag("#x").send("ue0", "ue1", garbage_collect_data=False)
    assert not multi.garbage_collect_data
    assert multi.tag("#late") is multi
    del multi
    gc.collect()
    again = combine_pointers(*[ue.search("#x", "#late")[0] for ue in scene.ues[:2]])
    again.garbage_collect_data = True
    assert torch.equal((again + 0).get(sum_results=True), 2 * X)
    del again
    gc.collect()
    assert [ue.objects_count() for ue in scene.ues] == [0, 0, 0]


def test_what_a_pointer_does_not_have_several_do_not_have(scene: Scene) -> None:
    multi = scene.apart(X, Y)
    with pytest.raises(AttributeError, match="no_such_thing"):
        multi.no_such_thing  # noqa: B018
    with pytest.raises(AttributeError, match="_handle"):
        multi._handle  # noqa: B018
