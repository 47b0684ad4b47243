"""Averages of models: at the base station or at one worker, always a new model."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from syft_fl.errors import ConfigError, TensorsNotCollocatedException
from syft_fl.keys import Key
from syft_fl.learn import MLP, FedAvg, build_seeded
from syft_fl.vectors import Layout
from syft_fl.workers import TorchHook, VirtualWorker
from syft_fl.workers.averaging import add_model, federated_avg, scale_model


class Scene:
    """A hook and two workers."""

    def __init__(self) -> None:
        self.hook = TorchHook(torch)
        self.ue0 = VirtualWorker(hook=self.hook, id="ue0")
        self.ue1 = VirtualWorker(hook=self.hook, id="ue1")

    def kinds(self) -> list[tuple[str, str]]:
        return [(e.direction, e.kind) for e in self.hook.transport.ledger.drain()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def constant(value: float) -> nn.Module:
    """A layer with buffers, all of whose entries are one number."""
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(value)
    return module


def net(seed: int) -> nn.Module:
    return build_seeded(MLP(hidden=(5,)), (4,), 3, Key(seed))


def values(module: nn.Module) -> dict[str, set[float]]:
    return {name: set(tensor.flatten().tolist()) for name, tensor in module.state_dict().items()}


COUNTER = "1.num_batches_tracked"


@pytest.mark.parametrize(
    ("weights", "mean"),
    [(None, 2.5), ({"b": 3, "a": 1}, 3.25), ({"a": 0, "b": 9}, 4.0), ({"b": 0, "a": 1}, 1.0)],
)
def test_the_mean_of_all_that_floats_and_the_largest_counter(weights: Any, mean: float) -> None:
    made = federated_avg({"a": constant(1), "b": constant(4)}, weights=weights)
    assert values(made) == {name: {mean} for name in values(made)} | {COUNTER: {4.0}}


def test_the_average_is_a_model_of_its_own() -> None:
    models = {0: net(0), 1: net(1)}
    before = copy.deepcopy(models)
    F.cross_entropy(models[0](torch.ones(2, 4)), torch.tensor([0, 1])).backward()
    models[0].eval()
    made = federated_avg(models)
    assert not made.training
    assert all(p.grad is None and isinstance(p, nn.Parameter) and p.requires_grad for p in made.parameters())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    for name, model in models.items():
        assert all(
            torch.equal(a, b) for a, b in zip(model.parameters(), before[name].parameters(), strict=True)
        )
    assert all(p.grad is not None for p in models[0].parameters())
    only = constant(1)
    alone = federated_avg({"one": only})
    assert values(alone) == values(only)
    for tensor in alone.state_dict().values():
        tensor.zero_()
    assert set().union(*values(only).values()) == {1.0}


def test_the_average_has_the_bits_of_fedavg() -> None:
    models = {i: net(i) for i in range(5)}
    samples = {i: float(3 + i * i) for i in models}
    layout = Layout.of(models[0])
    updates = [(layout.read(model), samples[i]) for i, model in models.items()]
    expected = FedAvg().aggregate(updates[0][0], updates).vector
    assert torch.equal(layout.read(federated_avg(models, weights=samples)).vector, expected)


def test_each_tensor_is_averaged_in_its_own_dtype() -> None:
    models = {i: nn.Linear(1, 1, bias=False).double() for i in range(2)}
    for model, value in zip(models.values(), (1.0, 1.0 + 2.0**-40), strict=True):
        nn.init.constant_(model.weight, value)
    assert federated_avg(models).weight.item() == 1.0 + 2.0**-41


def test_shared_and_frozen_parameters_stay_so() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(2, 2)
            self.two = self.one
            self.one.bias.requires_grad_(False)

    made = federated_avg({0: Tied(), 1: Tied()})
    assert made.one.weight is made.two.weight
    assert not made.one.bias.requires_grad


def test_models_at_one_worker_are_averaged_there(scene: Scene) -> None:
    models = {i: constant(i) for i in (1, 4)}
    for model in models.values():
        model.send(scene.ue0)
    scene.kinds()
    made = federated_avg(models, weights={1: 1, 4: 3})
    assert scene.kinds() == []
    assert made.location is scene.ue0
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in made.parameters())
    held = {name: scene.ue0.held(p.id_at_location) for name, p in made.state_dict(keep_vars=True).items()}
    assert {name: set(t.flatten().tolist()) for name, t in held.items()} == {
        name: {3.25} for name in held
    } | {COUNTER: {4.0}}
    made.get()
    assert scene.kinds() == [("downlink", "control"), ("uplink", "model")]
    assert values(made) == {name: {3.25} for name in held} | {COUNTER: {4.0}}
    for i, model in models.items():
        assert values(model.get()) == {name: {float(i)} for name in held}
    assert scene.ue0.objects == {}


def test_an_average_at_a_worker_trains_there_and_moves(scene: Scene) -> None:
    plain = {i: net(i) for i in range(2)}
    sent = {i: copy.deepcopy(model).send(scene.ue0) for i, model in plain.items()}
    x, y = torch.ones(3, 4), torch.tensor([0, 1, 2])

    def trained(model: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
        opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
        return model

    there = trained(federated_avg(sent), x.send(scene.ue0), y.send(scene.ue0)).move(scene.ue1).get()
    here = trained(federated_avg(plain), x, y)
    assert all(torch.equal(a, b) for a, b in zip(there.parameters(), here.parameters(), strict=True))


@pytest.mark.parametrize("sent", [False, True])
def test_recurrent_models_can_be_averaged(scene: Scene, sent: bool) -> None:
    def lstm(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.LSTM(3, 4)

    plain = {i: lstm(i) for i in range(2)}
    x = torch.ones(5, 2, 3)
    expected = copy.deepcopy(plain[0])
    with torch.no_grad():
        for mean, a, b in zip(*(m.parameters() for m in (expected, *plain.values())), strict=True):
            mean.copy_(a / 2 + b / 2)
    models = {i: model.send(scene.ue0) for i, model in plain.items()} if sent else plain
    made = federated_avg(models)
    out = made(x.send(scene.ue0))[0].get() if sent else made(x)[0]
    assert torch.equal(out, expected(x)[0])
    if sent:
        made.get()
        assert torch.equal(made(x)[0], expected(x)[0])


def test_models_at_different_places_are_refused(scene: Scene) -> None:
    here, at_0, at_1 = net(0), net(1).send(scene.ue0), net(2).send(scene.ue1)
    for models, where in (
        ({"a": here, "b": at_0}, r"'a' at the base station, 'b' at 'ue0'.*get\(\)"),
        ({"a": at_0, "b": at_1}, "'a' at 'ue0', 'b' at 'ue1'"),
    ):
        with pytest.raises(TensorsNotCollocatedException, match=where):
            federated_avg(models)
        with pytest.raises(TensorsNotCollocatedException, match=r"'ue0'.*move\(\)"):
            add_model(models["a"], models["b"])
    at_0.get()
    assert all(torch.equal(a, b) for a, b in zip(at_0.parameters(), net(1).parameters(), strict=True))


def test_what_has_no_average_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one model"):
        federated_avg({})
    with pytest.raises(ConfigError, match=r"'a' and 'b'.*weight"):
        federated_avg({"a": nn.Linear(2, 3), "b": nn.Linear(3, 2)})
    with pytest.raises(ConfigError, match=r"bias"):
        federated_avg({"a": nn.Linear(2, 3), "b": nn.Linear(2, 3, bias=False)})
    models = {"a": net(0), "b": net(1)}
    for weights, match in (
        ({"a": 1}, "weights of"),
        ({"a": 1, "b": 2, "c": 3}, "weights of"),
        ({"a": 3, "b": -1}, "negative"),
        ({"a": 0, "b": 0}, "not all 0"),
        ({"a": 1, "b": float("nan")}, "finite"),
        ({"a": 1, "b": float("inf")}, "finite"),
    ):
        with pytest.raises(ConfigError, match=match):
            federated_avg(models, weights=weights)


@pytest.mark.parametrize("sent", [False, True])
def test_add_and_scale_work_in_place_on_parameters(scene: Scene, sent: bool) -> None:
    first, second = constant(1), constant(4)
    parameters = list(first.parameters())
    if sent:
        first.send(scene.ue0)
        second.send(scene.ue0)
        scene.kinds()
    assert add_model(first, second) is first
    assert scale_model(first, 0.5) is first
    assert scene.kinds() == []
    assert [id(p) for p in first.parameters()] == [id(p) for p in parameters]
    if sent:
        first.get()
        second.get()
    buffers = {name: {1.0} for name in ("1.running_mean", "1.running_var", COUNTER)}
    assert values(first) == {name: {2.5} for name in values(first)} | buffers
    assert set().union(*values(second).values()) == {4.0}
    with pytest.raises(ConfigError, match="one architecture"):
        add_model(first, net(0))


def test_pysyfts_average_at_a_third_worker(scene: Scene) -> None:
    """Copies move to a worker that both trust, are averaged there, and come into a third model."""
    alice, bob, model = (nn.Linear(2, 1) for _ in range(3))
    expected = {n: (dict(alice.named_parameters())[n] + p) / 2 for n, p in bob.named_parameters()}
    alice_s = alice.copy().send(scene.ue0)
    bob_s = bob.copy().send(scene.ue1)
    secure = VirtualWorker(hook=scene.hook, id="secure")
    alice_s.move(secure)
    bob_s.move(secure)
    with torch.no_grad():
        model.weight.set_(((alice_s.weight.data + bob_s.weight.data) / 2).get())
        model.bias.set_(((alice_s.bias.data + bob_s.bias.data) / 2).get())
    assert all(torch.equal(p, expected[name]) for name, p in model.named_parameters())
