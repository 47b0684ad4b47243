"""Pointers: what they show, where their operations run, and that no value leaves a worker uncharged."""

import copy
import gc
import io
import operator
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from syft_fl.errors import ObjectNotFoundError, TensorsNotCollocatedException, WorkerError
from syft_fl.keys import Key
from syft_fl.transport import Delivery, Message, Transport
from syft_fl.workers import PointerTensor, TorchHook, VirtualWorker, get, move, send

X = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])


class Scene:
    """A hook and two workers."""

    def __init__(self, transport: Transport | None = None) -> None:
        self.hook = TorchHook(torch, transport=transport)
        self.ue0 = VirtualWorker(hook=self.hook, id="ue0")
        self.ue1 = VirtualWorker(hook=self.hook, id="ue1")

    def kinds(self) -> list[tuple[str, str]]:
        """Direction and kind of what has been on the air since the last call."""
        return [(e.direction, e.kind) for e in self.hook.transport.ledger.drain()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


FETCH = [("downlink", "control"), ("uplink", "value")]


def test_send_makes_a_pointer_and_leaves_the_tensor(scene: Scene) -> None:
    x = X.clone()
    pointer = x.send(scene.ue0)
    assert isinstance(pointer, PointerTensor)
    assert (pointer.shape, pointer.dtype, pointer.location) == (x.shape, x.dtype, scene.ue0)
    assert pointer.owner is scene.hook.local_worker
    assert type(x) is Tensor
    scene.ue0.held(pointer.id_at_location).zero_()
    assert torch.equal(x, X)


def test_each_send_has_an_id_of_its_own_at_the_worker(scene: Scene) -> None:
    first, second = X.send(scene.ue0), X.send("ue0")
    assert len({first.id_at_location, second.id_at_location, first.id, second.id}) == 4
    assert torch.equal(first.get(), X)
    assert torch.equal(second.get(), X)


def test_a_pointer_shows_its_places_and_printing_never_fetches(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    scene.kinds()
    shown = f"(Wrapper)>[PointerTensor | me:{pointer.id} -> ue0:{pointer.id_at_location}]"
    assert [repr(pointer), str(pointer), f"{pointer}"] == [shown] * 3
    assert scene.kinds() == []


def test_get_returns_the_values_once(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    assert torch.equal(pointer.copy().get(), X)
    assert torch.equal(pointer.get(), X)
    assert scene.ue0.objects == {}
    with pytest.raises(ObjectNotFoundError, match=r"not at 'ue0'.*copy\(\)\.get\(\)"):
        pointer.get()
    with pytest.raises(WorkerError, match="not at 'ue0'"):
        pointer + 1
    assert "ue0" in repr(pointer)


def test_requires_grad_goes_along(scene: Scene) -> None:
    pointer = X.clone().requires_grad_().send(scene.ue0)
    (pointer * pointer).sum().backward()
    assert torch.equal(pointer.grad.get(), 2 * X)
    assert pointer.get().requires_grad


def test_objects_die_with_their_pointers(scene: Scene) -> None:
    pointer = X.clone().requires_grad_().send(scene.ue0)
    result = (pointer @ X.T.send(scene.ue0)).exp().sum()
    result.backward()
    assert len(scene.ue0.objects) > 1
    del pointer, result
    gc.collect()
    assert scene.ue0.objects == {}


def test_an_object_that_is_not_collected_outlives_its_pointer(scene: Scene) -> None:
    kept, held = X.send(scene.ue0, garbage_collect_data=False), X.send(scene.ue0)
    assert (kept.garbage_collect_data, held.garbage_collect_data) == (False, True)
    ids = [kept.id_at_location, held.id_at_location]
    held.child.garbage_collect_data = False
    del kept, held
    gc.collect()
    assert list(scene.ue0.objects) == ids
    found = scene.ue0.get_obj(ids[0])
    assert not found.garbage_collect_data
    assert torch.equal(found.get(), X)
    assert list(scene.ue0.objects) == ids[1:]
    scene.ue0.get_obj(ids[1]).garbage_collect_data = True
    gc.collect()
    assert scene.ue0.objects == {}


def test_what_is_not_collected_moves_as_a_whole(scene: Scene) -> None:
    pointer = X.send(scene.ue0, garbage_collect_data=False)
    pointer.move(scene.ue1)
    assert scene.ue0.objects == {}
    assert not pointer.garbage_collect_data
    del pointer
    gc.collect()
    assert len(scene.ue1.objects) == 1


def test_dropping_a_dead_pointer_is_harmless(scene: Scene) -> None:
    for garbage_collect_data in (True, False):
        pointer = X.send(scene.ue0, garbage_collect_data=garbage_collect_data)
        scene.ue0.clear_objects()
        pointer.garbage_collect_data = not garbage_collect_data
        del pointer
        gc.collect()
    assert scene.ue0.objects == {}


def test_clear_objects_leaves_dead_pointers(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    scene.ue0.clear_objects()
    with pytest.raises(ObjectNotFoundError):
        pointer.get()


def test_move_goes_through_the_base_station(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    scene.kinds()
    assert pointer.move(scene.ue1) is pointer
    assert scene.kinds() == [*FETCH, ("downlink", "data")]
    assert pointer.location is scene.ue1
    assert scene.ue0.objects == {}
    assert torch.equal((pointer + pointer).get(), 2 * X)


@pytest.mark.parametrize("me", [lambda hook: hook.local_worker, lambda hook: "me"])
def test_move_to_the_base_station_is_get(scene: Scene, me: Callable[[TorchHook], Any]) -> None:
    pointer = X.send(scene.ue0)
    scene.kinds()
    here = pointer.move(me(scene.hook))
    assert type(here) is Tensor
    assert torch.equal(here, X)
    assert scene.kinds() == FETCH
    assert scene.ue0.objects == {}
    module = torch.nn.Linear(2, 1).send(scene.ue0)
    assert module.move(me(scene.hook)) is module
    assert type(module.weight.data) is Tensor
    with pytest.raises(WorkerError, match="'me' is the base station"):
        X.send(me(scene.hook))


def test_a_pointer_is_what_its_wrapper_would_hold(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    assert pointer.is_wrapper
    assert pointer.child is pointer
    assert pointer.point_to_attr is None


def test_a_recorded_result_does_not_move_from_its_graph(scene: Scene) -> None:
    result = X.clone().requires_grad_().send(scene.ue0) * 2
    with pytest.raises(WorkerError, match="detach"):
        result.move(scene.ue1)
    assert torch.equal(result.detach().move("ue1").get(), 2 * X)


def test_what_is_held_is_what_was_delivered(scene: Scene) -> None:
    class Doubling(Transport):
        def carry(self, message: Message, *, now_s: float) -> Delivery:
            delivery = super().carry(message, now_s=now_s)
            if message.kind == "control":
                return delivery
            return replace(delivery, content=tuple(2 * t for t in delivery.content))

    doubled = Scene(Doubling())
    pointer = X.send(doubled.ue0)
    assert torch.equal(doubled.ue0.held(pointer.id_at_location), 2 * X)
    assert torch.equal(pointer.copy().get(), 4 * X)
    assert pointer.sum().item() == 4 * X.sum().item()
    assert torch.equal(pointer.move(doubled.ue1).get(), 16 * X)


def test_a_lost_message_changes_nothing(scene: Scene) -> None:
    class Lossy(Transport):
        losing: str | None = None

        def carry(self, message: Message, *, now_s: float) -> Delivery:
            delivery = super().carry(message, now_s=now_s)
            lost = message.kind == self.losing
            return replace(delivery, content=None, lost=True) if lost else delivery

    transport = Lossy()
    lossy = Scene(transport)
    pointer = X.send(lossy.ue0)
    for transport.losing in ("data", "value", "control"):
        with pytest.raises(WorkerError, match=r"lost.*again"):
            X.send(lossy.ue1) if transport.losing == "data" else pointer.get()
        assert lossy.ue1.objects == {}
    transport.losing = None
    assert torch.equal(pointer.get(), X)


def with_item(x: Tensor, at: Any, value: Any) -> Tensor:
    y = x.clone()
    y[at] = value
    return y


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "arithmetic": lambda x: 3 - (2 * x + 1) / 7,
    "in_place": lambda x: x.clone().mul_(2).add_(x),
    "in_place_operators": lambda x: operator.imul(operator.iadd(x.clone(), 1), x),
    "item_set_to_number": lambda x: with_item(x, 0, 1),
    "item_set_to_values": lambda x: with_item(x, (slice(None), slice(1, 3)), x[:, :2]),
    "item_set_by_mask": lambda x: with_item(x, x > 0, 0.5),
    "item_set_by_index": lambda x: with_item(x, (x > 4).sum(1), -x),
    "in_place_on_a_view": lambda x: (lambda y: (y[0].zero_(), y)[1])(x.clone()),
    "transposed_in_place": lambda x: x.clone().t_() + 1,
    "index": lambda x: x[:, 1:][..., 0],
    "index_with_steps": lambda x: x[::2, None, ::2],
    "index_by_values": lambda x: x[:, (x > 0).sum(1)],
    "index_by_results": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x.eq(4)),
    "views": lambda x: x.view(3, 2).t().reshape(-1).unsqueeze(0).expand(2, -1),
    "comparisons": lambda x: x.eq(x.abs()).sum() + (x < 2).sum() + (x != 1).all(),
    "argmax": lambda x: x.argmax(1),
    "where_number": lambda x: torch.where(x > 0, x, 0.5),
    "plain_number_of_no_dimension": lambda x: x * torch.tensor(2.5),
    "several_results": lambda x: x.max(dim=1).values + x.sort(dim=1)[1][:, 0],
    "joined": lambda x: torch.cat([x, torch.stack([x[0], x[1]])]),
    "out": lambda x: torch.add(x, x, out=torch.empty_like(x)),
    "factory": lambda x: x.new_zeros(2) + torch.ones_like(x)[:, 0],
    "dtype": lambda x: x.double().to(torch.int32),
    "device": lambda x: x.to("cpu").cpu(),
    "unique": torch.unique,
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_operations_run_at_the_worker(scene: Scene, operation: Callable[[Tensor], Tensor]) -> None:
    pointer = X.send(scene.ue0)
    result = operation(pointer)
    expected = operation(X.clone())
    assert isinstance(result, PointerTensor)
    assert result.location is scene.ue0
    assert (result.shape, result.stride(), result.dtype) == (
        expected.shape,
        expected.stride(),
        expected.dtype,
    )
    assert torch.equal(scene.ue0.held(result.id_at_location), expected)
    assert torch.equal(result.get(), expected)


def test_each_result_is_an_object_at_the_worker(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    before = len(scene.ue0.objects)
    values, places = pointer.max(dim=0)
    assert len(scene.ue0.objects) == before + 2
    assert values.id_at_location != places.id_at_location


def test_operations_alone_are_not_on_the_air(scene: Scene) -> None:
    pointer = X.clone().requires_grad_().send(scene.ue0)
    scene.kinds()
    pointer.relu().sum().backward()
    assert scene.kinds() == []


APART: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "binary": torch.add,
    "listed": lambda a, b: torch.stack([a, b]),
    "in_place": lambda a, b: a.add_(b),
    "linear": torch.nn.functional.linear,
    "comparison": torch.equal,
    "zeros": lambda a, b: a + b * 0,
}


@pytest.mark.parametrize("combine", APART.values(), ids=APART.keys())
def test_operands_at_two_places_are_refused_with_both_names(
    scene: Scene, combine: Callable[[Tensor, Tensor], Any]
) -> None:
    here = X.clone()
    at_0, at_1 = X.send(scene.ue0), X.send(scene.ue1)
    with pytest.raises(TensorsNotCollocatedException, match=r"'ue0'.*'ue1'.*move\(\)"):
        combine(at_0, at_1)
    with pytest.raises(TensorsNotCollocatedException, match=r"'ue0'.*base station.*send\(\)"):
        combine(at_0, here)
    with pytest.raises(TensorsNotCollocatedException, match=r"'ue0'.*base station.*send\(\)"):
        combine(here, at_0)
    assert torch.equal(here, X)
    assert torch.equal(at_0.get(), X)


def test_a_plain_number_is_read_but_never_written(scene: Scene) -> None:
    number = torch.zeros(())
    total = X.send(scene.ue0).sum()
    for write in (
        lambda: number.add_(total),
        lambda: number.copy_(total),
        lambda: torch.add(total, 1, out=number),
        lambda: torch._foreach_add_([number], [total]),
    ):
        with pytest.raises(TensorsNotCollocatedException):
            write()
    assert number == 0


VALUES: dict[str, tuple[Callable[[Tensor], Any], Any]] = {
    "item": (lambda p: p.sum().item(), 5.0),
    "float": (lambda p: float(p[0, 0]), 1.0),
    "int": (lambda p: int(p.long()[0, 0]), 1),
    "index": (lambda p: [10, 11][p.long()[0, 0]], 11),
    "bool": (lambda p: bool((p > 4).any()), True),
    "contains": (lambda p: 5.0 in p, True),
    "tolist": (lambda p: p.tolist(), X.tolist()),
    "numpy": (lambda p: p.numpy().tolist(), X.tolist()),
    "equal": (lambda p: torch.equal(p, p), True),
    "allclose": (lambda p: torch.allclose(p, p + 1), False),
}


@pytest.mark.parametrize(("read", "expected"), VALUES.values(), ids=VALUES.keys())
def test_reading_a_value_is_a_request_and_a_value_message(
    scene: Scene, read: Callable[[Tensor], Any], expected: Any
) -> None:
    pointer = X.send(scene.ue0)
    scene.kinds()
    assert read(pointer) == expected
    assert scene.kinds() == FETCH


@pytest.mark.parametrize("shaped", [torch.nonzero, torch.unique, lambda p: p[p > 0]])
def test_a_shape_that_values_decide_is_charged(scene: Scene, shaped: Callable[[Tensor], Tensor]) -> None:
    pointer = X.send(scene.ue0)
    scene.kinds()
    assert shaped(pointer).shape == shaped(X).shape
    assert scene.kinds() == [("uplink", "control")]


def test_printing_in_a_list_never_fetches(scene: Scene) -> None:
    pointers = [X.send(scene.ue0), X.clone().tag("#x").send(scene.ue1)]
    scene.kinds()
    shown = f"{pointers} {dict(enumerate(pointers))}"
    assert shown.count("PointerTensor") == 4
    assert "Tags: #x" in str(pointers[1])
    assert scene.kinds() == []


def test_indexing_by_numbers_is_not_charged(scene: Scene) -> None:
    pointer, rows = X.send(scene.ue0), torch.tensor([1, 1, 0]).send(scene.ue0)
    scene.kinds()
    assert pointer[rows].shape == (3, 3)
    assert scene.kinds() == []


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "asarray": np.asarray,
    "from_dlpack": np.from_dlpack,
    "torch_from_dlpack": torch.from_dlpack,
    "pickle": pickle.dumps,
    "save": lambda p: torch.save(p, io.BytesIO()),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "data_ptr": lambda p: p.data_ptr(),
    "storage": lambda p: p.untyped_storage(),
    "format": lambda p: f"{p.sum():.3f}",
    "numpy_with_grad": lambda p: p.requires_grad_().numpy(),
    "send": lambda p: p.send("ue1"),
    "grow": lambda p: (p + 0).resize_(100),
}


@pytest.mark.parametrize("leak", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_charged_is_refused(scene: Scene, leak: Callable[[Tensor], Any]) -> None:
    pointer = X.send(scene.ue0)
    scene.kinds()
    with pytest.raises(WorkerError, match="ue0"):
        leak(pointer)
    assert scene.kinds() == []


def test_memory_of_a_pointer_is_out_of_reach_for_extensions(scene: Scene) -> None:
    with pytest.raises(RuntimeError):
        torch.utils.dlpack.to_dlpack(X.send(scene.ue0))


def test_data_of_a_pointer_can_be_set_to_another_pointer_there(scene: Scene) -> None:
    pointer = X.clone().requires_grad_().send(scene.ue0)
    before = pointer.id_at_location
    pointer.data = pointer.data * 2
    assert torch.equal((pointer + 0).get(), 2 * X)
    assert pointer.id_at_location == before
    with pytest.raises(TensorsNotCollocatedException, match="base station"):
        pointer.data = X
    with pytest.raises(WorkerError, match="float64"):
        pointer.data = pointer.detach().double()
    assert torch.equal(pointer.get(), 2 * X)


def test_functions_do_what_the_methods_do(scene: Scene) -> None:
    assert torch.equal(get(move(send(X, "ue0"), scene.ue1)), X)
    with pytest.raises(WorkerError, match="plain tensor"):
        X.get()
    with pytest.raises(WorkerError, match="plain tensor"):
        X.move("ue0")
    with pytest.raises(WorkerError, match=r"'ue7'.*'ue0', 'ue1'"):
        X.send("ue7")
    with pytest.raises(WorkerError, match="nobody"):
        X.send()
    with pytest.raises(WorkerError, match=r"7 is no worker.*'ue1'"):
        X.send(7)
    with pytest.raises(WorkerError, match="for modules"):
        X.send("ue0").get(gradients=True)
    with pytest.raises(WorkerError, match="several workers"):
        get(X.send("ue0"), sum_results=True)
    with pytest.raises(WorkerError, match=r"Linear.*one worker"):
        torch.nn.Linear(2, 1).send("ue0", "ue1")


def test_a_second_hook_is_the_current_one_and_the_first_goes_on(scene: Scene) -> None:
    before = X.send("ue0")
    other = Scene()
    assert X.send("ue0").location is other.ue0
    assert torch.equal(before.move("ue1").get(), X)
    assert before.location is scene.ue1


def test_a_second_worker_of_one_id_is_the_first_one(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    again = VirtualWorker(hook=scene.hook, id="ue0")
    assert again is scene.ue0
    assert torch.equal(pointer.get(), X)
    with pytest.raises(WorkerError, match="base station"):
        VirtualWorker(hook=scene.hook, id="me")


def test_hooking_adds_eight_names_and_leaves_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"send", "get", "move", "copy"}
    added = {Tensor: {*both, "tag", "describe", "tags", "description"}, torch.nn.Module: both}
    TorchHook(torch)
    for cls, names in added.items():
        for name in names:
            monkeypatch.delattr(cls, name)
    before = {cls: dict(vars(cls)) for cls in added}
    TorchHook(torch)
    for cls, names in added.items():
        assert vars(cls).keys() - before[cls].keys() == names
        assert all(vars(cls)[name] is value for name, value in before[cls].items())
    assert torch.equal(X.copy(), X)


def test_gradients_through_a_view_written_in_place_are_plain_gradients(scene: Scene) -> None:
    def loss(leaf: Tensor) -> Tensor:
        y = leaf * 1
        y[:, 1].mul_(3)
        y.view(-1)[2:4] = leaf.view(-1)[:2]
        return (y * y).sum()

    plain, there = X.clone().requires_grad_(), X.clone().requires_grad_().send(scene.ue0)
    loss(plain).backward()
    loss(there).backward()
    assert torch.equal(there.grad.get(), plain.grad)


def test_random_numbers_at_a_worker_are_plain_random_numbers(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    draws = [torch.rand_like(x, generator=Key(1).torch()) for x in (X,)]
    assert torch.equal(pointer.uniform_(generator=Key(1).torch()).get(), draws[0])
