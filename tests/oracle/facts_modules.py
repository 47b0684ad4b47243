"""Facts about modules that are sent, fetched, moved, copied and averaged."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from oracle.world import World, fact


def linear(*values: float) -> nn.Linear:
    """A layer of one output with the given weights, bias 0.5."""
    layer = nn.Linear(len(values), 1)
    with torch.no_grad():
        for i in range(len(values)):
            layer.weight[0, i] = values[i]
        layer.bias.fill_(0.5)
    return layer


def two_layers() -> nn.Module:
    return nn.Sequential(linear(1.0, -1.0), nn.ReLU(), linear(2.0))


def step(world: World, layer: nn.Module, optimizer: Any, worker: Any) -> None:
    """One step of SGD on the sum of the output for (1, 2)."""
    optimizer.zero_grad()
    layer(torch.tensor([[1.0, 2.0]]).send(worker)).sum().backward()
    optimizer.step()


def numbers(module: nn.Module) -> list[Any]:
    return [p.detach().tolist() for p in module.parameters()]


# module.send(w)


@fact("module.send(w)", "is in place and returns the module")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0)
    return layer.send(w.worker("alice")) is layer


@fact("module.send(w)", "the Parameter objects stay the same")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0)
    before = [id(p) for p in layer.parameters()]
    layer.send(w.worker("alice"))
    there = [id(p) for p in layer.parameters()]
    layer.get()
    return [there == before, [id(p) for p in layer.parameters()] == before]


@fact("module.send(w)", "parameters are nn.Parameter still")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    return [isinstance(p, nn.Parameter) for p in layer.parameters()]


@fact("module.send(w)", "location of the module and its parameters")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = linear(1.0, 2.0).send(alice)
    return [layer.location is alice, [p.location is alice for p in layer.parameters()]]


@fact("module.send(w)", "location of a module that is not sent")
def _(w: World) -> Any:
    return getattr(linear(1.0, 2.0), "location", None)


@fact("module.send(w)", "owner of the module")
def _(w: World) -> Any:
    return linear(1.0, 2.0).send(w.worker("alice")).owner is w.hook.local_worker


@fact("module.send(w)", "the worker holds one tensor a parameter")
def _(w: World) -> Any:
    alice = w.worker("alice")
    model = two_layers().send(alice)
    return [w.tensors(alice), len(list(model.parameters()))]


@fact("module.send(w)", "gradients of zero are made first")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    return [None if p.grad is None else p.grad.copy().get().tolist() for p in layer.parameters()]


@fact("module.send(w)", "buffers are sent")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = nn.BatchNorm1d(2).send(alice)
    return [layer.running_mean.location is alice, layer.running_var.copy().get().tolist()]


@fact("module.send(w)", "repr of a sent parameter")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    return w.masked(layer.weight)


@fact("module.send(w)", "an optimizer made before it steps")
def _(w: World) -> Any:
    alice, layer = w.worker("alice"), linear(1.0, 2.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.25)
    layer.send(alice)
    step(w, layer, optimizer, alice)
    return numbers(layer.get())


@fact("module.send(w)", "an optimizer made after it steps")
def _(w: World) -> Any:
    alice, layer = w.worker("alice"), linear(1.0, 2.0)
    layer.send(alice)
    step(w, layer, torch.optim.SGD(layer.parameters(), lr=0.25), alice)
    return numbers(layer.get())


@fact("module.send(w)", "an optimizer outlives get and another send")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.25)
    for name in ("alice", "bob"):
        worker = w.worker(name)
        layer.send(worker)
        step(w, layer, optimizer, worker)
        layer.get()
    return numbers(layer)


@fact("module.send(w)", "momentum stays valid from before")
def _(w: World) -> Any:
    alice, layer = w.worker("alice"), linear(1.0, 2.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.25, momentum=0.5)
    layer.send(alice)
    for _ in range(2):
        step(w, layer, optimizer, alice)
    return numbers(layer.get())


@fact("module.send(w)", "a forward pass gives a pointer there")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = linear(1.0, 2.0).send(alice)
    out = layer(torch.tensor([[1.0, 2.0]]).send(alice))
    return [out.location is alice, out.get().tolist()]


@fact("module.send(w)", "by a string id")
def _(w: World) -> Any:
    alice = w.worker("alice")
    return linear(1.0, 2.0).send(alice.id).location is alice


@fact("module.send(w)", "of a sent module")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    return w.raised(lambda: layer.send(w.worker("bob")))


@fact("module.send(w)", "zero_grad clears gradients there")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = linear(1.0, 2.0).send(alice)
    for _ in range(2):
        layer.zero_grad()
        layer(torch.tensor([[1.0, 2.0]]).send(alice)).sum().backward()
    return layer.weight.grad.copy().get().tolist()


@fact("module.send(w)", "a frozen parameter stays frozen")
def _(w: World) -> Any:
    alice, layer = w.worker("alice"), linear(1.0, 2.0)
    layer.bias.requires_grad_(False)
    layer.send(alice)
    there = [p.requires_grad for p in layer.parameters()]
    layer.get()
    return [there, [p.requires_grad for p in layer.parameters()]]


@fact("module.send(w)", "and backward of a graph from before")
def _(w: World) -> Any:
    model = two_layers()
    loss = model(torch.tensor([[1.0, 2.0]])).sum()
    return [w.raised(lambda: model.send(w.worker("alice"))), w.raised(loss.backward)]


# module.get()


@fact("module.get()", "is in place and returns the module")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    return [layer.get() is layer, numbers(layer)]


@fact("module.get()", "empties the worker of the parameters")
def _(w: World) -> Any:
    alice = w.worker("alice")
    linear(1.0, 2.0).send(alice).get()
    return w.tensors(alice)


@fact("module.get()", "gradients come along")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = linear(1.0, 2.0).send(alice)
    layer(torch.tensor([[1.0, 2.0]]).send(alice)).sum().backward()
    layer.get()
    return [None if p.grad is None else p.grad.tolist() for p in layer.parameters()]


@fact("module.get()", "gradients come along when asked for")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = linear(1.0, 2.0).send(alice)
    layer(torch.tensor([[1.0, 2.0]]).send(alice)).sum().backward()
    layer.get(gradients=True)
    return [p.grad.tolist() for p in layer.parameters()]


@fact("module.get()", "buffers come along")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = nn.BatchNorm1d(2).send(alice).get()
    return [layer.running_mean.tolist(), layer.running_var.tolist()]


@fact("module.get()", "BatchNorm is usable after it")
def _(w: World) -> Any:
    layer = nn.BatchNorm1d(2).send(w.worker("alice")).get()
    return list(layer(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).shape)


@fact("module.get()", "of a module that is not sent")
def _(w: World) -> Any:
    return w.raised(lambda: linear(1.0, 2.0).get())


@fact("module.get()", "the module has no location after it")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice")).get()
    return getattr(layer, "location", None)


@fact("module.get()", "a second round trip works")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0)
    for name in ("alice", "bob"):
        layer.send(w.worker(name)).get()
    return numbers(layer)


@fact("module.get()", "local training goes on after it")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice")).get()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.25)
    optimizer.zero_grad()
    layer(torch.tensor([[1.0, 2.0]])).sum().backward()
    optimizer.step()
    return numbers(layer)


@fact("module.get()", "a state_dict can be read after it")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice")).get()
    return {name: value.tolist() for name, value in layer.state_dict().items()}


# move(w)


@fact("move(w)", "of a module returns")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    returned = layer.move(w.worker("bob"))
    return "the module" if returned is layer else type(returned).__name__


@fact("move(w)", "of a module takes it to the other worker")
def _(w: World) -> Any:
    alice, bob = w.worker("alice"), w.worker("bob")
    layer = linear(1.0, 2.0).send(alice)
    layer.move(bob)
    return [layer.location is bob, w.tensors(bob)]


@fact("move(w)", "of a module and get")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    layer.move(w.worker("bob"))
    return numbers(layer.get())


@fact("move(w)", "of a module, and a forward pass there")
def _(w: World) -> Any:
    bob = w.worker("bob")
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    layer.move(bob)
    return layer(torch.tensor([[1.0, 2.0]]).send(bob)).get().tolist()


# copy


@fact("copy", "model.copy().send(w) leaves the model here")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0)
    there = layer.copy().send(w.worker("alice"))
    return [there is layer, numbers(layer), numbers(there.get())]


@fact("copy", "of a local module shares nothing")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0)
    other = layer.copy()
    with torch.no_grad():
        other.weight.zero_()
    return [numbers(layer), numbers(other)]


@fact("copy", "of a sent module")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    return w.raised(layer.copy)


@fact("copy", "of a module that came back")
def _(w: World) -> Any:
    return numbers(linear(1.0, 2.0).send(w.worker("alice")).get().copy())


@fact("copy", "of a local tensor")
def _(w: World) -> Any:
    x = torch.tensor([1.0, 2.0])
    y = x.copy()
    y.add_(1.0)
    return [x.tolist(), y.tolist()]


# remote training


@fact("remote training", "Adam steps")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = linear(1.0, 2.0).send(alice)
    step(w, layer, torch.optim.Adam(layer.parameters(), lr=0.25), alice)
    return [[round(v, 4) for v in row] for row in layer.get().weight.detach().tolist()]


@fact("remote training", "clip_grad_norm_")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = linear(3.0, 4.0).send(alice)
    layer(torch.tensor([[3.0, 4.0]]).send(alice)).sum().backward()
    nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    return [round(v, 4) for v in layer.weight.grad.copy().get().tolist()[0]]


@fact("remote training", "a dropout layer in eval passes values through")
def _(w: World) -> Any:
    return nn.Dropout(0.5).eval()(torch.tensor([1.0, 2.0]).send(w.worker("alice"))).get().tolist()


@fact("remote training", "dropout in training zeroes or doubles")
def _(w: World) -> Any:
    out = nn.Dropout(0.5).train()(torch.ones(400).send(w.worker("alice"))).get()
    return sorted(set(out.tolist()))


@fact("remote training", "convolution and pooling")
def _(w: World) -> Any:
    alice = w.worker("alice")
    conv = nn.Conv2d(1, 1, 2)
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.bias.fill_(0.0)
    conv.send(alice)
    image = torch.arange(9.0).view(1, 1, 3, 3).send(alice)
    return F.max_pool2d(conv(image), 2).get().tolist()


@fact("remote training", "an embedding")
def _(w: World) -> Any:
    alice = w.worker("alice")
    table = nn.Embedding(3, 2)
    with torch.no_grad():
        table.weight.copy_(torch.arange(6.0).view(3, 2))
    return table.send(alice)(torch.tensor([2, 0]).send(alice)).get().tolist()


@fact("remote training", "BatchNorm's statistics move while it trains")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = nn.BatchNorm1d(1).send(alice)
    layer(torch.tensor([[1.0], [3.0]]).send(alice))
    return [round(v, 5) for v in layer.running_mean.copy().get().tolist()]


@fact("remote training", "an LSTM gives outputs there")
def _(w: World) -> Any:
    alice = w.worker("alice")
    net = nn.LSTM(2, 3)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(0.1)
    net.send(alice)
    out, _ = net(torch.ones(4, 1, 2).send(alice))
    return [round(v, 5) for v in out.get()[-1, 0].tolist()]


# mixed locations


@fact("mixed locations", "a layer fed with another worker's data")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    data = torch.tensor([[1.0, 2.0]]).send(w.worker("bob"))
    return w.raised(lambda: layer(data))


@fact("mixed locations", "the layer's weights are whole after it")
def _(w: World) -> Any:
    alice = w.worker("alice")
    layer = linear(1.0, 2.0).send(alice)
    data = torch.tensor([[1.0, 2.0]]).send(w.worker("bob"))
    w.raised(lambda: layer(data))
    return numbers(layer.get())


@fact("mixed locations", "a layer fed with plain data")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    return w.raised(lambda: layer(torch.tensor([[1.0, 2.0]])))


@fact("mixed locations", "its weights are whole after that")
def _(w: World) -> Any:
    layer = linear(1.0, 2.0).send(w.worker("alice"))
    w.raised(lambda: layer(torch.tensor([[1.0, 2.0]])))
    return numbers(layer.get())


@fact("mixed locations", "a local layer fed with a pointer")
def _(w: World) -> Any:
    data = torch.tensor([[1.0, 2.0]]).send(w.worker("alice"))
    return w.raised(lambda: linear(1.0, 2.0)(data))


# averaging


@fact("averaging", "federated_avg of fetched models")
def _(w: World) -> Any:
    models = {}
    for name, weights in (("alice", (1.0, 2.0)), ("bob", (3.0, 6.0))):
        models[name] = linear(*weights).send(w.worker(name)).get()
    return numbers(w.sy.federated_avg(models))


@fact("averaging", "federated_avg of three models")
def _(w: World) -> Any:
    models = {i: linear(float(i), 3.0) for i in range(3)}
    return [[round(v, 6) for v in row] for row in w.sy.federated_avg(models).weight.detach().tolist()]


@fact("averaging", "federated_avg of one model")
def _(w: World) -> Any:
    return numbers(w.sy.federated_avg({"alice": linear(1.0, 2.0)}))


@fact("averaging", "federated_avg writes into the first model")
def _(w: World) -> Any:
    first, second = linear(1.0, 2.0), linear(3.0, 6.0)
    averaged = w.sy.federated_avg({"alice": first, "bob": second})
    return [averaged is first, numbers(second)]


@fact("averaging", "federated_avg of models at one worker")
def _(w: World) -> Any:
    alice = w.worker("alice")
    models = {i: linear(2.0 * i, 3.0).send(alice) for i in range(2)}
    averaged = w.sy.federated_avg(models)
    return [averaged.location is alice, numbers(averaged.get())]


@fact("averaging", "federated_avg of models at two workers")
def _(w: World) -> Any:
    models = {name: linear(2.0, 3.0).send(w.worker(name)) for name in ("alice", "bob")}
    return w.raised(lambda: w.sy.federated_avg(models))


@fact("averaging", "federated_avg averages buffers")
def _(w: World) -> Any:
    models = {i: nn.BatchNorm1d(1) for i in range(2)}
    for i in range(2):
        models[i].running_mean.fill_(4.0 * i)
    return w.sy.federated_avg(models).running_mean.tolist()


@fact("averaging", "federated_avg of no models")
def _(w: World) -> Any:
    return w.raised(lambda: w.sy.federated_avg({}))


@fact("averaging", "copies moved to a third worker and set_")
def _(w: World) -> Any:
    carol = w.worker("carol")
    layers = [linear(*weights).send(w.worker("alice")) for weights in ((1.0, 2.0), (3.0, 6.0))]
    for layer in layers:
        layer.move(carol)
    whole = linear(0.0, 0.0)
    with torch.no_grad():
        whole.weight.set_(((layers[0].weight.data + layers[1].weight.data) / 2).get())
        whole.bias.set_(((layers[0].bias.data + layers[1].bias.data) / 2).get())
    return numbers(whole)
