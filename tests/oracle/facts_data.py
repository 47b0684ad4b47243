"""Facts about data sets at workers and the loader that goes round them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import TensorDataset

from oracle.world import World, fact


def federated(world: World, samples: int = 7, workers: int = 2) -> tuple[Any, list[Any]]:
    """So many samples, numbered from 0, dealt to so many workers."""
    places = [world.worker(name) for name in ("alice", "bob", "carol")[:workers]]
    x = torch.arange(float(samples)).view(-1, 1)
    return world.sy.BaseDataset(x, 10 * torch.arange(samples)).federate(tuple(places)), places


def batches(world: World, loader: Any) -> list[Any]:
    """Place, inputs and targets of each batch, in order."""
    found = []
    for x, y in loader:
        place = world.called(x.location)
        found.append([place, x.location is y.location, x.get().view(-1).tolist(), y.get().tolist()])
    return found


@fact("datasets", "BaseDataset: len and items")
def _(w: World) -> Any:
    data = w.sy.BaseDataset(torch.tensor([[1.0], [2.0]]), torch.tensor([3, 4]))
    x, y = data[1]
    return [len(data), x.tolist(), y.tolist()]


@fact("datasets", "BaseDataset: data and targets")
def _(w: World) -> Any:
    data = w.sy.BaseDataset(torch.tensor([[1.0], [2.0]]), torch.tensor([3, 4]))
    return [data.data.tolist(), data.targets.tolist()]


@fact("datasets", "BaseDataset: a transform is applied to an item")
def _(w: World) -> Any:
    data = w.sy.BaseDataset(torch.tensor([[1.0], [2.0]]), torch.tensor([3, 4]), transform=lambda x: x * 10)
    return data[1][0].tolist()


@fact("datasets", "federate gives a FederatedDataset")
def _(w: World) -> Any:
    return type(federated(w)[0]).__name__


@fact("datasets", "federate of torch's own datasets")
def _(w: World) -> Any:
    places = (w.worker("alice"), w.worker("bob"))
    data = TensorDataset(torch.arange(4.0), torch.arange(4)).federate(places)
    return [[w.called(place) for place in data.workers], len(data)]


@fact("datasets", "the parts: in order, the first ones larger")
def _(w: World) -> Any:
    data, places = federated(w)
    return [data[p.id].data.copy().get().view(-1).tolist() for p in places]


@fact("datasets", "the parts' targets")
def _(w: World) -> Any:
    data, places = federated(w)
    return [data[p.id].targets.copy().get().tolist() for p in places]


@fact("datasets", "len is the total")
def _(w: World) -> Any:
    return len(federated(w)[0])


@fact("datasets", "workers are ids in order")
def _(w: World) -> Any:
    data, places = federated(w)
    return [data.workers == [p.id for p in places], [w.called(place) for place in data.workers]]


@fact("datasets", "[id] gives the part there")
def _(w: World) -> Any:
    data, (alice, _) = federated(w)
    part = data[alice.id]
    return [type(part).__name__, len(part), part.data.location is alice, part.location is alice]


@fact("datasets", "an item of a part is a pair of pointers")
def _(w: World) -> Any:
    data, (_, bob) = federated(w)
    x, y = data[bob.id][1]
    return [x.location is bob, x.get().tolist(), y.get().tolist()]


@fact("datasets", "the workers hold data and targets")
def _(w: World) -> Any:
    data, places = federated(w)
    return [[w.tensors(place) for place in places], len(data)]


@fact("datasets", "an unknown id")
def _(w: World) -> Any:
    return w.raised(lambda: federated(w)[0]["nobody"])


@fact("datasets", "get_dataset fetches a part and forgets it")
def _(w: World) -> Any:
    alice, bob = w.worker("alice"), w.worker("bob")
    data = w.sy.BaseDataset(torch.arange(4.0), torch.arange(4.0)).federate((alice, bob))
    part = data.get_dataset(alice.id)
    return [part.data.tolist(), part.targets.tolist(), len(data), len(data.workers), w.tensors(alice)]


@fact("datasets", "get_dataset with whole numbers for targets")
def _(w: World) -> Any:
    data, (alice, _) = federated(w)
    return data.get_dataset(alice.id).targets.tolist()


@fact("datasets", "more workers than samples")
def _(w: World) -> Any:
    data, _ = federated(w, samples=2, workers=3)
    return [[w.called(place) for place in data.workers], len(data)]


@fact("datasets", "four samples for three workers")
def _(w: World) -> Any:
    data, _ = federated(w, samples=4, workers=3)
    return [[w.called(place) for place in data.workers], [len(data[place]) for place in data.workers]]


@fact("datasets", "a FederatedDataset of datasets that were sent by hand")
def _(w: World) -> Any:
    parts = []
    for name in ("alice", "bob"):
        place = w.worker(name)
        parts.append(w.sy.BaseDataset(torch.arange(2.0).send(place), torch.arange(2).send(place)))
    data = w.sy.FederatedDataset(parts)
    return [[w.called(place) for place in data.workers], len(data)]


@fact("datasets", "repr of a FederatedDataset")
def _(w: World) -> Any:
    return w.masked(federated(w)[0])


@fact("datasets", "loader: batches go worker by worker")
def _(w: World) -> Any:
    return batches(w, w.sy.FederatedDataLoader(federated(w)[0], batch_size=3))


@fact("datasets", "loader: drop_last drops at each worker")
def _(w: World) -> Any:
    return batches(w, w.sy.FederatedDataLoader(federated(w)[0], batch_size=3, drop_last=True))


@fact("datasets", "loader: the default batch size")
def _(w: World) -> Any:
    loader = w.sy.FederatedDataLoader(federated(w, samples=20)[0])
    return [loader.batch_size, [len(batch[2]) for batch in batches(w, loader)]]


@fact("datasets", "loader: len")
def _(w: World) -> Any:
    data = federated(w)[0]
    return [
        len(w.sy.FederatedDataLoader(data, batch_size=size, drop_last=drop))
        for size in (1, 2, 3, 7, 8)
        for drop in (False, True)
    ]


@fact("datasets", "loader: a second pass is like the first")
def _(w: World) -> Any:
    loader = w.sy.FederatedDataLoader(federated(w)[0], batch_size=4)
    return batches(w, loader) == batches(w, loader)


@fact("datasets", "loader: shuffle keeps samples at their workers")
def _(w: World) -> Any:
    data, _ = federated(w, samples=60)
    found = batches(w, w.sy.FederatedDataLoader(data, batch_size=10, shuffle=True))
    order = [x for batch in found for x in batch[2]]
    return [
        [batch[0] for batch in found],
        order == sorted(order),
        sorted(order[:30]) == [float(i) for i in range(30)],
        all([10 * x for x in batch[2]] == batch[3] for batch in found),
    ]


@fact("datasets", "loader: iter_per_worker gives a batch a worker")
def _(w: World) -> Any:
    loader = w.sy.FederatedDataLoader(federated(w)[0], batch_size=2, iter_per_worker=True)
    found = []
    for batch in loader:
        found.append([[w.called(place), x.get().view(-1).tolist()] for place, (x, _) in batch.items()])
    return found


@fact("datasets", "loader: iter_per_worker's keys are workers")
def _(w: World) -> Any:
    data, places = federated(w)
    batch = next(iter(w.sy.FederatedDataLoader(data, batch_size=2, iter_per_worker=True)))
    return [key is place for key, place in zip(batch, places)]  # noqa: B905 (Python 3.8)


@fact("datasets", "loader: iter_per_worker stops at the shortest part")
def _(w: World) -> Any:
    data, _ = federated(w, samples=5, workers=2)
    return sum(1 for _ in w.sy.FederatedDataLoader(data, batch_size=1, iter_per_worker=True))


@fact("datasets", "loader: num_iterators=2 of three workers")
def _(w: World) -> Any:
    data, _ = federated(w, samples=6, workers=3)
    loader = w.sy.FederatedDataLoader(data, batch_size=1, num_iterators=2)
    found = []
    for batch in loader:
        found.append([[w.called(place), x.get().view(-1).tolist()] for place, (x, _) in batch.items()])
    return found


@fact("datasets", "loader: at most one iterator fewer than workers")
def _(w: World) -> Any:
    data, _ = federated(w, samples=6, workers=3)
    return [w.sy.FederatedDataLoader(data, num_iterators=n).num_iterators for n in (1, 2, 3, 9)]


@fact("datasets", "loader: of something that is not federated")
def _(w: World) -> Any:
    return w.raised(lambda: w.sy.FederatedDataLoader(torch.arange(4.0)))


@fact("datasets", "loader: an epoch of training")
def _(w: World) -> Any:
    data, _ = federated(w, samples=6)
    model = torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.bias.fill_(0.0)
    for x, y in w.sy.FederatedDataLoader(data, batch_size=2):
        model.send(x.location)
        optimizer = torch.optim.SGD(model.parameters(), lr=1 / 1024)
        optimizer.zero_grad()
        ((model(x) - y.view(-1, 1).float()) ** 2).mean().backward()
        optimizer.step()
        model.get()
    return [round(float(p.detach().sum()), 4) for p in model.parameters()]
