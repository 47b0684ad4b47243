"""Sent modules: what travels, what stays the same object, and what is refused."""

import copy
import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn, optim

from syft_fl.codecs import Uniform
from syft_fl.errors import TensorsNotCollocatedException, WorkerError
from syft_fl.keys import Key
from syft_fl.learn import MLP, build_seeded
from syft_fl.transport import Delivery, Downlink, Entry, Message, Transport
from syft_fl.workers import PointerTensor, TorchHook, VirtualWorker, get, move, send


def net() -> nn.Module:
    return build_seeded(MLP(hidden=(5,)), (4,), 3, Key(1))


def with_buffers() -> nn.Module:
    module = nn.Sequential(net(), nn.BatchNorm1d(3))
    module[1].running_mean.add_(0.5)
    module[1].num_batches_tracked.fill_(2**40)
    return module


class Scene:
    """A hook and two workers."""

    def __init__(self, transport: Transport | None = None) -> None:
        self.hook = TorchHook(torch, transport=transport)
        self.ue0 = VirtualWorker(hook=self.hook, id="ue0")
        self.ue1 = VirtualWorker(hook=self.hook, id="ue1")

    def drained(self) -> list[Entry]:
        return self.hook.transport.ledger.drain()

    def kinds(self) -> list[tuple[str, str]]:
        return [(e.direction, e.kind) for e in self.drained()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def same(a: nn.Module, b: nn.Module) -> bool:
    values = b.state_dict()
    return all(torch.equal(value, values[name]) for name, value in a.state_dict().items())


def test_send_is_in_place_and_one_model_message(scene: Scene) -> None:
    module = with_buffers()
    parameters = list(module.parameters())
    assert module.send(scene.ue0) is module
    assert [id(p) for p in module.parameters()] == [id(p) for p in parameters]
    tensors = [*module.parameters(), *module.buffers()]
    assert all(isinstance(t, PointerTensor) for t in tensors)
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in parameters)
    assert module.location is scene.ue0
    assert len(scene.ue0.objects) == len(tensors)
    assert scene.kinds() == [("downlink", "model")]


def test_get_brings_everything_back_and_removes_it_there(scene: Scene) -> None:
    module = with_buffers()
    before, parameters = copy.deepcopy(module), list(module.parameters())
    module.send(scene.ue0)
    scene.kinds()
    assert module.get() is module
    assert scene.kinds() == [("downlink", "control"), ("uplink", "model")]
    assert same(module, before)
    assert [id(p) for p in module.parameters()] == [id(p) for p in parameters]
    assert all(type(p) is nn.Parameter for p in parameters)
    assert all(type(b) is Tensor for b in module.buffers())
    assert scene.ue0.objects == {}
    assert not hasattr(module, "location")


def test_types_modes_and_layouts_survive_the_round_trip(scene: Scene) -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(2, 2).double()).to(memory_format=torch.channels_last)
    module[0].bias.requires_grad_(False)
    module[0].weight.tag = "mine"
    module.eval()
    strides, dtypes = [[f(p) for p in module.parameters()] for f in (Tensor.stride, lambda p: p.dtype)]
    for stage in (lambda: module.send("ue0"), module.get):
        stage()
        assert [p.stride() for p in module.parameters()] == strides
        assert [p.dtype for p in module.parameters()] == dtypes
        assert [p.requires_grad for p in module.parameters()] == [True, False, True, True]
        assert module[0].weight.tag == "mine"
        assert not module.training


def test_gradients_do_not_travel(scene: Scene) -> None:
    module = net()
    module(torch.ones(2, 4)).sum().backward()
    module.send("ue0")
    assert [p.grad for p in module.parameters()] == [None] * 4
    module(torch.ones(2, 4).send("ue0")).sum().backward()
    module.get()
    assert [p.grad for p in module.parameters()] == [None] * 4


def test_gradients_come_when_asked_for_and_are_charged(scene: Scene) -> None:
    module, plain = with_buffers(), with_buffers()
    module[0].requires_grad_(False)  # what has no gradient is not asked for
    plain[0].requires_grad_(False)
    module.send("ue0")
    scene.drained()
    module(torch.arange(8.0).view(2, 4).send("ue0")).square().sum().backward()
    plain(torch.arange(8.0).view(2, 4)).square().sum().backward()
    scene.drained()
    assert module.get(gradients=True) is module
    for name, parameter in plain.named_parameters():
        there = dict(module.named_parameters())[name].grad
        assert there is None if parameter.grad is None else torch.equal(there, parameter.grad)
    entries = scene.drained()
    assert [(e.direction, e.kind) for e in entries] == [
        ("downlink", "control"),
        ("uplink", "value"),
        ("downlink", "control"),
        ("uplink", "model"),
    ]
    assert entries[1].raw_bits == 32 * 6, "weight and bias of the last layer"
    assert scene.ue0.objects == {}


def test_without_gradients_there_is_nothing_more_to_send(scene: Scene) -> None:
    module = net().send("ue0")
    scene.drained()
    module.get(gradients=True)
    assert scene.kinds() == [("downlink", "control"), ("uplink", "model")]


def test_one_stream_per_module_object(scene: Scene) -> None:
    first, second = net(), net()
    twin = copy.deepcopy(first.send("ue0").get())
    for module in (first, second, twin):
        module.send("ue0")
    downs = [e.stream for e in scene.drained() if e.kind == "model" and e.direction == "downlink"]
    assert downs == ["model-1", "model-1", "model-2", "model-3"]


def test_the_worker_holds_what_was_decoded_and_the_base_station_gets_that(scene: Scene) -> None:
    coarse = Scene(Transport(downlink=Downlink(codec=Uniform(bits=2), delta=False)))
    module = nn.Linear(50, 4)
    before = copy.deepcopy(module)
    module.send(coarse.ue0)
    held = torch.cat([coarse.ue0.held(p.id_at_location).flatten() for p in module.parameters()])
    sent = torch.cat([p.detach().flatten() for p in before.parameters()])
    assert len(sent.unique()) > 200
    # Of four levels each: the weight and the bias.
    assert len(held.unique()) <= 2 * 4
    module.get()
    assert torch.equal(torch.cat([p.detach().flatten() for p in module.parameters()]), held)


def test_what_two_workers_received_is_not_shared(scene: Scene) -> None:
    first, second = net(), net()
    first.send("ue0"), second.send("ue1")
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert same(second.get(), net())


def test_the_documents_round_leaves_the_optimiser_valid(scene: Scene) -> None:
    module = net()
    optimiser = optim.SGD(module.parameters(), lr=0.1)
    module.send("ue0")
    module(torch.ones(2, 4).send("ue0")).sum().backward()
    optimiser.step()
    with torch.no_grad():
        module.get()
        state = module.state_dict()
        module.load_state_dict({name: torch.zeros_like(value) for name, value in state.items()})
        module.send("ue0")
    module(torch.ones(2, 4).send("ue0")).sum().backward()
    optimiser.step()
    *_, bias = module.get().parameters()
    assert torch.allclose(bias, torch.full((3,), -0.2))


def test_move_goes_through_the_base_station(scene: Scene) -> None:
    module = with_buffers()
    before = copy.deepcopy(module)
    module.send("ue0")
    scene.kinds()
    assert move(module, "ue1") is module
    assert scene.kinds() == [("downlink", "control"), ("uplink", "model"), ("downlink", "model")]
    assert module.location is scene.ue1
    assert scene.ue0.objects == {}
    assert same(get(module), before)


def test_copy_is_the_usual_idiom(scene: Scene) -> None:
    module = net()
    there = module.copy().send("ue0")
    assert all(type(p) is nn.Parameter for p in module.parameters())
    assert same(there.get(), module)


def test_a_sent_module_is_not_sent_again(scene: Scene) -> None:
    module = send(net(), "ue0")
    for worker in ("ue0", "ue1"):
        with pytest.raises(WorkerError, match=r"at 'ue0' already.*get\(\)"):
            module.send(worker)
    with pytest.raises(WorkerError, match="already"):
        nn.Sequential(module).send("ue1")


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda m: m.copy()])
def test_a_sent_module_is_not_copied(scene: Scene, make_copy: object) -> None:
    with pytest.raises(WorkerError, match=r"get\(\) it first"):
        make_copy(net().send("ue0"))


def test_only_what_was_sent_can_be_had(scene: Scene) -> None:
    with pytest.raises(WorkerError, match=r"not sent.*send\(\)"):
        net().get()
    module = nn.Sequential(net()).send("ue0")
    with pytest.raises(WorkerError, match="part"):
        module[0].get()
    module.get()
    with pytest.raises(WorkerError, match="not sent"):
        module.get()


def test_a_graph_that_was_not_run_backward_stops_send_and_get(scene: Scene) -> None:
    module, x = net(), torch.ones(2, 4)
    before = copy.deepcopy(module)
    loss = module(x).sum()
    with pytest.raises(WorkerError, match=r"graph.*backward\(\)"):
        module.send("ue0")
    assert scene.kinds() == []
    assert same(module, before)
    loss.backward()
    module.send("ue0")
    loss = module(x.send("ue0")).sum()
    with pytest.raises(WorkerError, match="graph"):
        module.get()
    del loss
    assert same(module.get(), before)


def test_a_loss_that_outlives_its_backward_pass_does_not_stop_get(scene: Scene) -> None:
    module = net().send("ue0")
    loss = module(torch.ones(2, 4).send("ue0")).sum()
    loss.backward()
    module.get()
    assert loss.shape == ()


def test_views_and_weak_references_stop_send(scene: Scene) -> None:
    module = net()
    weak = weakref.ref(module[1].weight)
    with pytest.raises(WorkerError, match="weak"):
        module.send("ue0")
    del weak
    view = module[1].weight[0]
    with pytest.raises(WorkerError, match="view"):
        module.send("ue0")
    del view
    module.send("ue0")


def test_a_lost_module_is_where_it_was(scene: Scene) -> None:
    class Lossy(Transport):
        losing = "downlink"

        def carry(self, message: Message, *, now_s: float) -> Delivery:
            delivery = super().carry(message, now_s=now_s)
            direction = "uplink" if message.receiver == "me" else "downlink"
            if message.kind != "model" or direction != self.losing:
                return delivery
            return replace(delivery, content=None, lost=True)

    lossy = Scene(Lossy())
    module, before = net(), net()
    with pytest.raises(WorkerError, match="lost"):
        module.send("ue0")
    assert same(module, before)
    lossy.hook.transport.losing = "uplink"
    module.send("ue0")
    with pytest.raises(WorkerError, match="lost"):
        module.get()
    lossy.hook.transport.losing = ""
    assert same(module.get(), before)


def test_lost_gradients_leave_all_at_the_worker(scene: Scene) -> None:
    class Lossy(Transport):
        losing = True

        def carry(self, message: Message, *, now_s: float) -> Delivery:
            delivery = super().carry(message, now_s=now_s)
            gone = self.losing and message.kind == "value"
            return replace(delivery, content=None, lost=True) if gone else delivery

    lossy = Scene(Lossy())
    module = net().send("ue0")
    module(torch.ones(2, 4).send("ue0")).sum().backward()
    with pytest.raises(WorkerError, match="lost"):
        module.get(gradients=True)
    assert module.location is lossy.ue0
    lossy.hook.transport.losing = False
    assert same(module.get(gradients=True), net())
    assert all(p.grad is not None for p in module.parameters())


def test_data_elsewhere_is_refused_by_a_sent_module(scene: Scene) -> None:
    module = net().send("ue0")
    for x in (torch.ones(2, 4), torch.ones(2, 4).send("ue1")):
        with pytest.raises(TensorsNotCollocatedException, match="ue0"):
            module(x)
    assert same(module.get(), net())


def test_plain_values_are_not_loaded_into_a_sent_module(scene: Scene) -> None:
    module = net().send("ue0")
    with pytest.raises(RuntimeError, match="base station"):
        module.load_state_dict(net().state_dict())
    assert same(module.get(), net())


def test_an_optimiser_that_remembers_another_place_says_so(scene: Scene) -> None:
    module, x = net(), torch.ones(2, 4)
    optimiser = optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(x).sum().backward()
    optimiser.step()
    module.send("ue0")
    module(x.send("ue0")).sum().backward()
    with pytest.raises(TensorsNotCollocatedException, match="'ue0'"):
        optimiser.step()


def test_no_object_stays_when_a_sent_module_dies(scene: Scene) -> None:
    module = with_buffers().send("ue0")
    module(torch.ones(2, 4).send("ue0")).sum().backward()
    del module
    gc.collect()
    assert scene.ue0.objects == {}


def test_to_its_own_device_changes_nothing_and_to_another_dtype_is_refused(scene: Scene) -> None:
    module = net().send("ue0")
    module.to("cpu")
    with pytest.raises(WorkerError, match=r"get\(\) it, convert it"):
        module.double()
    assert same(module.get(), net())


def test_run_presents_a_sent_module_as_a_plain_one(scene: Scene) -> None:
    module = with_buffers().send("ue0")
    x = torch.ones(2, 4).send("ue0")

    def plain(model: nn.Module, x: Tensor, factor: float) -> dict[str, object]:
        tensors = [x, *model.parameters(), *model.buffers()]
        assert not any(isinstance(t, PointerTensor) for t in tensors)
        assert model is not module
        with torch.no_grad():
            model[0][1].weight.mul_(factor)
        model(x).sum().backward()
        return {"sum": x.sum(), "many": [x + 1, None], "count": 8}

    scene.kinds()
    result = scene.ue0.run(plain, module, x, 2.0)
    assert scene.kinds() == []
    assert isinstance(module[0][1].weight.grad, PointerTensor)
    assert (result["sum"].item(), result["count"].item(), result["many"][1]) == (8.0, 8, None)
    assert torch.equal(result["many"][0].get(), torch.full((2, 4), 2.0))
    assert torch.equal(module.get()[0][1].weight, 2 * net()[1].weight)
    assert module[1].num_batches_tracked == 2**40 + 1


def test_run_hands_gradients_over_and_back(scene: Scene) -> None:
    module, plain = net().send("ue0"), net()
    x = torch.ones(2, 4)
    for target, batch in ((module, x.send("ue0")), (plain, x)):
        target(batch).sum().backward()
    scene.ue0.run(lambda m, b: m(b).sum().backward(), module, x.send("ue0"))
    plain(x).sum().backward()
    for there, here in zip(module.parameters(), plain.parameters(), strict=True):
        assert torch.equal(there.grad.get(), here.grad)


def test_run_refuses_what_is_elsewhere_and_what_cannot_stay(scene: Scene) -> None:
    module, x = net().send("ue0"), torch.ones(2, 4)
    for handle in (net(), x, x.send("ue1")):
        with pytest.raises(TensorsNotCollocatedException, match="'ue0'"):
            scene.ue0.run(lambda h: None, handle)
    with pytest.raises(TensorsNotCollocatedException, match="'ue1'"):
        scene.ue1.run(lambda m: None, module)
    with pytest.raises(WorkerError, match="str"):
        scene.ue0.run(lambda: "a value")
