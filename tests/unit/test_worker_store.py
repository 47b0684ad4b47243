"""What a worker holds, as a script sees it: ids, tags, searching, and tensors that a UE has of itself."""

import copy
import gc
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from syft_fl.errors import ObjectNotFoundError, WorkerError
from syft_fl.transport import Delivery, Entry, Message, Transport
from syft_fl.transport.frame import OVERHEAD_BYTES
from syft_fl.workers import PointerTensor, Station, TorchHook, VirtualWorker
from syft_fl.workers.hook import local_worker

X = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
LABEL = ("downlink", "control", "label")
SEARCH = [("downlink", "control", "request"), ("uplink", "control", "search")]


class Scene:
    """A hook and two workers."""

    def __init__(self, transport: Transport | None = None) -> None:
        self.hook = TorchHook(torch, transport=transport)
        self.ue0 = VirtualWorker(hook=self.hook, id="ue0")
        self.ue1 = VirtualWorker(hook=self.hook, id="ue1")

    def drained(self) -> list[Entry]:
        return self.hook.transport.ledger.drain()

    def messages(self) -> list[tuple[str, str, str]]:
        return [(e.direction, e.kind, e.stream) for e in self.drained()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


class Lossy(Transport):
    """Loses one direction's messages of one stream."""

    losing: tuple[str, str] | None = None

    def carry(self, message: Message, *, now_s: float) -> Delivery:
        delivery = super().carry(message, now_s=now_s)
        direction = "uplink" if message.receiver == "me" else "downlink"
        lost = (direction, message.stream) == self.losing
        return replace(delivery, content=None, lost=True) if lost else delivery


def ids(pointers: list[PointerTensor]) -> set[int]:
    return {pointer.id_at_location for pointer in pointers}


def test_a_tensor_is_tagged_and_described_in_place() -> None:
    TorchHook(torch)
    x = X.clone()
    assert (x.tags, x.description) == (set(), None)
    assert x.tag("#x", "#mnist") is x
    assert x.tag("#late").describe("first").describe("weights of bob") is x
    assert (x.tags, x.description) == ({"#x", "#mnist", "#late"}, "weights of bob")
    assert x.tag().tags == x.tags
    x.tags.clear()
    assert len(x.tags) == 3
    assert ((x + 1).tags, x.clone().tags) == (set(), set())


@pytest.mark.parametrize("loaded", ["saved", "deep copy"])
def test_a_tagged_tensor_is_saved_and_copied_like_any_other(loaded: str) -> None:
    TorchHook(torch)
    x = X.clone().tag("#x").describe("some text")
    if loaded == "saved":
        file = io.BytesIO()
        torch.save(x, file)
        file.seek(0)
        again = torch.load(file, weights_only=True)
    else:
        again = copy.deepcopy(x)
    assert torch.equal(again, x)
    assert (again.tags, again.description) == ({"#x"}, "some text")


def test_tags_travel_in_a_message_of_their_own_and_come_back(scene: Scene) -> None:
    x = X.clone().tag("#x", "#mnist").describe("weights of bob")
    pointer = x.send(scene.ue0)
    assert (pointer.tags, pointer.description) == ({"#x", "#mnist"}, "weights of bob")
    data, label = scene.drained()
    assert (data.kind, label.direction, label.kind, label.stream) == ("data", *LABEL)
    facts = {"object": pointer.id_at_location, "tags": ["#mnist", "#x"], "description": "weights of bob"}
    assert label.payload_bits == 8 * len(json.dumps(facts).replace(": ", ":").replace(", ", ","))
    assert label.bits == label.payload_bits + 8 * OVERHEAD_BYTES
    got = pointer.get()
    assert (got.tags, got.description) == (x.tags, x.description)
    assert scene.messages() == [("downlink", "control", "request"), ("uplink", "value", "tensor")]


def test_an_untagged_tensor_sends_no_label(scene: Scene) -> None:
    X.send(scene.ue0)
    assert scene.messages() == [("downlink", "data", "tensor")]


def test_tagging_a_pointer_is_a_charged_message(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    scene.drained()
    assert pointer.tag("#a").tag("#b").describe("text") is pointer
    assert scene.messages() == [LABEL] * 3
    assert (pointer.tags, pointer.description) == ({"#a", "#b"}, "text")
    assert ids(scene.ue0.search("#a", "#b")) == {pointer.id_at_location}
    scene.drained()
    assert pointer.tag() is pointer
    assert scene.drained() == []
    assert repr(pointer).endswith("]\n\tTags: #a #b\n\tDescription: text")


def test_tags_go_along_to_another_worker(scene: Scene) -> None:
    pointer = X.clone().tag("#a").send(scene.ue0)
    pointer.move(scene.ue1)
    assert pointer.tags == {"#a"}
    assert scene.ue0.search("#a") == []
    assert ids(scene.ue1.search("#a")) == {pointer.id_at_location}


@pytest.mark.parametrize("tags", [(3,), ("",), (["#a"],), (None,)])
def test_tags_are_texts(scene: Scene, tags: tuple[Any, ...]) -> None:
    pointer = X.send(scene.ue0)
    scene.drained()
    for tensor in (X.clone(), pointer):
        with pytest.raises(WorkerError, match=r"text.*'#mnist'"):
            tensor.tag(*tags)
        with pytest.raises(WorkerError, match="must be text"):
            tensor.describe(3)
        assert (tensor.tags, tensor.description) == (set(), None)
    assert scene.drained() == []


def test_a_lost_label_changes_nothing() -> None:
    transport = Lossy()
    scene = Scene(transport)
    pointer = X.send(scene.ue0)
    transport.losing = ("downlink", "label")
    for name in (lambda: pointer.tag("#a"), lambda: X.clone().tag("#a").send(scene.ue0)):
        with pytest.raises(WorkerError, match="lost"):
            name()
    gc.collect()
    assert list(scene.ue0.objects) == [pointer.id_at_location]
    assert pointer.tags == set()
    transport.losing = ("uplink", "search")
    with pytest.raises(WorkerError, match="lost"):
        scene.ue0.search("#a")
    transport.losing = None
    assert scene.ue0.search("#a") == []


def test_what_is_gone_is_not_tagged(scene: Scene) -> None:
    pointer = X.send(scene.ue0)
    pointer.get()
    scene.drained()
    with pytest.raises(ObjectNotFoundError, match="_objects"):
        pointer.tag("#a")
    assert scene.drained() == []


def test_search_finds_what_all_terms_fit(scene: Scene) -> None:
    a, ab, b = (X.clone().tag(*tags).send(scene.ue0) for tags in (["#a"], ["#a", "#b"], ["#b"]))
    plain = X.clone().describe("a and b").send(scene.ue0)
    elsewhere = X.clone().tag("#a").send(scene.ue1)
    scene.drained()
    queries: dict[Any, list[PointerTensor]] = {
        ("#a",): [a, ab],
        ("#a", "#b"): [ab],
        (("#b", "#a"),): [ab],
        ("#none", "#a"): [],
        ("a",): [],
        (): [a, ab, b],
        (plain.id_at_location,): [plain],
        (a.id_at_location, "#a"): [a],
        (a.id_at_location, "#b"): [],
        (elsewhere.id_at_location,): [],
    }
    for query, expected in queries.items():
        assert ids(scene.ue0.search(*query)) == ids(expected), query
        assert scene.messages() == SEARCH
    assert ids(scene.hook.local_worker.request_search(["#a"], location=scene.ue1)) == ids([elsewhere])
    assert ids(scene.hook.local_worker.request_search("#a", "ue1")) == ids([elsewhere])
    with pytest.raises(WorkerError, match=r"1\.5.*searched"):
        scene.ue0.search(1.5)


def test_what_is_found_is_a_labelled_pointer_that_leaves_the_object_there(scene: Scene) -> None:
    x = X.clone().tag("#a").describe("text").send(scene.ue0)
    (found,) = scene.ue0.search("#a")
    assert (found.location, found.shape, found.dtype) == (scene.ue0, X.shape, X.dtype)
    assert (found.tags, found.description, found.garbage_collect_data) == ({"#a"}, "text", False)
    assert torch.equal((found * 2 + x).get(), 3 * X)
    del found
    gc.collect()
    assert torch.equal(scene.ue0.search("#a")[0].get(), X)
    with pytest.raises(ObjectNotFoundError):
        x.get()


def test_a_found_view_has_the_strides_that_it_has_there(scene: Scene) -> None:
    turned = X.send(scene.ue0).t().tag("#turned")
    (found,) = scene.ue0.search("#turned")
    assert found.stride() == turned.stride()
    assert torch.equal(found.get(), X.t())


def test_an_answer_grows_with_what_is_found(scene: Scene) -> None:
    kept = [X.clone().tag("#a").send(scene.ue0)]
    scene.drained()
    scene.ue0.search("#a")
    one = scene.drained()[1].bits
    kept.append(X.clone().tag("#a").send(scene.ue0))
    scene.drained()
    scene.ue0.search("#a")
    facts = {"id": kept[1].id_at_location, "shape": [2, 3], "dtype": "torch.float32", "tags": ["#a"]}
    assert scene.drained()[1].bits - one == 8 * len("," + json.dumps(facts, separators=(",", ":")))


@pytest.mark.parametrize("way", ["search", "id", "selection", "own", "registered"])
def test_training_on_what_was_found_costs_the_worker_its_samples(scene: Scene, way: str) -> None:
    own = [X.clone().tag("#a")] if way == "own" else None
    ue = VirtualWorker(scene.hook, "ue2", data=own)
    if way in ("search", "id", "selection"):
        sent = X.send(ue)
        sent = (sent[:] if way == "selection" else sent).tag("#a")
    if way == "registered":
        sent = ue.register_obj(X.clone().tag("#a"))
    x = ue.get_obj(sent.id_at_location) if way == "id" else ue.search("#a")[0]
    weight = nn.Linear(3, 1).send(ue)
    before_s = ue.time_s
    weight(x).sum().backward()
    assert ue.time_s - before_s == pytest.approx(2e-3)


def test_setting_data_keeps_the_id_and_the_name_of_what_was_there(scene: Scene) -> None:
    pointer = X.clone().tag("#a").send(scene.ue0)
    other = (X + 1).tag("#b").send(scene.ue0)
    pointer.data = other
    assert ids(scene.ue0.search("#a")) == {pointer.id_at_location}
    assert ids(scene.ue0.search("#b")) == {other.id_at_location}
    assert torch.equal(scene.ue0.search("#a")[0].get(), X + 1)


def test_a_result_in_place_of_data_is_data_no_more(scene: Scene) -> None:
    pointer, weight = X.send(scene.ue0), nn.Linear(3, 1).send(scene.ue0)
    with torch.no_grad():
        pointer.data = pointer * 2
    before_s = scene.ue0.time_s
    for x in (pointer, scene.ue0.get_obj(pointer.id_at_location)):
        weight(x).sum().backward()
    assert scene.ue0.time_s == before_s


def test_objects_are_listed_as_pointers_and_listing_is_free(scene: Scene) -> None:
    assert scene.ue0._objects == {}
    pointer = X.clone().tag("#a").send(scene.ue0)
    scene.drained()
    objects = scene.ue0._objects
    assert (len(objects), list(objects), scene.ue0.objects_count()) == (1, [pointer.id_at_location], 1)
    assert pointer.id_at_location in objects
    assert 3 not in objects
    assert isinstance(objects[pointer.id_at_location], PointerTensor)
    assert repr(objects).startswith(f"{{{pointer.id_at_location}: (Wrapper)>[PointerTensor")
    assert scene.ue0.get_obj(pointer.id_at_location).tags == {"#a"}
    assert scene.drained() == []
    gc.collect()
    assert scene.ue0.objects_count() == 1
    with pytest.raises(KeyError):
        objects[3]
    assert objects[pointer.id_at_location].sum().item() == X.sum().item()
    assert scene.messages() == [("downlink", "control", "request"), ("uplink", "value", "tensor")]


def test_get_obj_of_what_is_not_there_names_the_worker_and_the_way_out(scene: Scene) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"123.*'ue0'.*get\(\).*_objects"):
        scene.ue0.get_obj(123)


def test_rm_obj_and_clear_objects_leave_dead_pointers(scene: Scene) -> None:
    first, second = X.send(scene.ue0), X.send(scene.ue0)
    scene.ue0.rm_obj(first.id_at_location)
    scene.ue0.rm_obj(first.id_at_location)
    assert list(scene.ue0._objects) == [second.id_at_location]
    assert scene.ue0.clear_objects() is scene.ue0
    for pointer in (first, second):
        with pytest.raises(ObjectNotFoundError):
            pointer.get()


def test_a_registered_tensor_is_the_workers_own_and_stays(scene: Scene) -> None:
    x = X.clone().tag("#own")
    assert scene.ue0.register_obj(x, obj_id=77).id_at_location == 77
    scene.ue0.register_obj(x)
    x.zero_()
    gc.collect()
    assert scene.drained() == []
    assert scene.ue0.objects_count() == 2
    assert ids(scene.ue0.search("#own")) > {77}
    assert torch.equal(scene.ue0.get_obj(77).get(), X)
    assert scene.ue0.objects_count() == 1


def test_an_id_that_is_taken_or_not_a_scripts_own_is_refused(scene: Scene) -> None:
    scene.ue0.register_obj(X, 77)
    for obj_id in (77, -1, Station.first_id):
        with pytest.raises(WorkerError, match=f"obj_id = {obj_id} .*free"):
            scene.ue0.register_obj(X + 1, obj_id)
    with pytest.raises(WorkerError, match=r"'ue1'.*move\('ue0'\)"):
        scene.ue0.register_obj(X.send(scene.ue1))
    assert torch.equal(scene.ue0.get_obj(77).get(), X)


def test_a_worker_starts_with_its_own_data(scene: Scene) -> None:
    data = [X.clone().tag("#x"), torch.tensor([0, 1]).tag("#y")]
    ue = VirtualWorker(scene.hook, "ue2", data)
    assert scene.drained() == []
    (y,) = ue.search("#y")
    assert torch.equal(y.copy().get(), data[1])
    VirtualWorker(scene.hook, "ue2", data=[X])
    assert ue.objects_count() == 3


def test_settings_that_mean_nothing_here_are_taken(scene: Scene) -> None:
    ue = VirtualWorker(
        scene.hook, "ue2", None, False, log_msgs=True, verbose=True, auto_add=True, message_pending_time=0
    )
    ue.message_pending_time = 0
    assert (ue.message_pending_time, ue.is_client_worker) == (0, False)
    assert torch.equal(X.send("ue2").get(), X)


REFUSED: dict[str, tuple[Callable[[TorchHook], Any], str]] = {
    "pending": (lambda hook: VirtualWorker(hook, "ue2", message_pending_time=0.1), r"0\.1.*latency_s"),
    "client": (lambda hook: VirtualWorker(hook, "ue2", is_client_worker=True), "local_worker"),
    "hidden": (lambda hook: VirtualWorker(hook, "ue2", auto_add=False), "leave it out"),
    "number": (lambda hook: VirtualWorker(hook, 3), r"3 must be text.*'ue1'"),
    "empty": (lambda hook: VirtualWorker(hook, ""), "not empty"),
    "me": (lambda hook: VirtualWorker(hook, "me"), "base station"),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_settings_that_are_not_possible_here_are_refused(
    scene: Scene, make: Callable[[TorchHook], Any], said: str
) -> None:
    with pytest.raises(WorkerError, match=said):
        make(scene.hook)
    assert list(scene.hook.workers) == ["ue0", "ue1"]


def test_a_pause_set_later_is_refused(scene: Scene) -> None:
    with pytest.raises(WorkerError, match=r"'ue0'.*latency_s"):
        scene.ue0.message_pending_time = 0.1
    assert scene.ue0.message_pending_time == 0


def test_the_local_worker_is_the_base_station_and_holds_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = scene.hook.local_worker
    pointer = X.clone().tag("#a").send(scene.ue0)
    assert (me.id, me.is_client_worker, pointer.owner) == ("me", True, me)
    assert (me._objects, me.objects_count(), me.search("#a")) == ({}, 0, [])
    assert me.clear_objects() is me
    assert torch.equal(pointer.copy().get(), X)
    assert local_worker() is me
    assert local_worker() is not Scene().hook.local_worker
    monkeypatch.setattr(TorchHook, "current", None)
    with pytest.raises(WorkerError, match="make a TorchHook"):
        local_worker()


def test_a_module_keeps_the_tags_of_its_parameters(scene: Scene) -> None:
    module = nn.Linear(3, 1)
    module.weight.tag("#w")
    module.send(scene.ue0).get()
    assert module.weight.tags == {"#w"}
    assert type(module.weight.data) is Tensor
