"""Federated data sets: who gets which samples, what that costs, and batches that cost nothing."""

import copy
import gc
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, optim
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from syft_fl.data import Digits
from syft_fl.errors import (
    ConfigError,
    DataError,
    ObjectNotFoundError,
    TensorsNotCollocatedException,
    WorkerError,
)
from syft_fl.keys import Key
from syft_fl.learn import MLP, PerSample, build_seeded
from syft_fl.transport import Delivery, Message, Transport
from syft_fl.transport.frame import OVERHEAD_BYTES
from syft_fl.workers import TorchHook, VirtualWorker
from syft_fl.workers.datasets import BaseDataset, FederatedDataset, federate
from syft_fl.workers.loader import FederatedDataLoader


class Scene:
    """A hook and some workers."""

    def __init__(self, workers: int = 4, transport: Transport | None = None) -> None:
        self.hook = TorchHook(torch, transport=transport, compute=PerSample(seconds_per_sample=1.0))
        self.ues = [VirtualWorker(hook=self.hook, id=f"ue{i}") for i in range(workers)]

    def kinds(self) -> list[tuple[str, str]]:
        """Direction and kind of what has been on the air since the last call."""
        return [(e.direction, e.kind) for e in self.hook.transport.ledger.drain()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def numbered(samples: int) -> BaseDataset:
    """Sample i is ([i, -i], i)."""
    ids = torch.arange(samples)
    return BaseDataset(torch.stack([ids, -ids], dim=1).float(), ids)


def held(pointer: Tensor) -> list[int]:
    """What a pointer points at, read behind the transport's back."""
    return pointer.location.held(pointer.id_at_location).tolist()


def batches(loader: FederatedDataLoader) -> list[tuple[str, list[int]]]:
    """(worker, targets) of each batch; every batch's inputs must be those of its targets."""
    found = []
    for x, y in loader:
        ids = held(y)
        assert held(x) == [[i, -i] for i in ids]
        assert x.location is y.location
        found.append((x.location.id, ids))
    return found


def steps(loader: FederatedDataLoader) -> list[dict[str, list[int]]]:
    """{worker: targets} of each step of a loader that gives dictionaries."""
    found = []
    for step in loader:
        assert all(x.location is y.location is worker for worker, (x, y) in step.items())
        found.append({worker.id: held(y) for worker, (_, y) in step.items()})
    return found


# Shares


# Sizes as PySyft 0.2.5 gives them.
@pytest.mark.parametrize(
    ("samples", "workers", "sizes"),
    [
        (8, 2, [4, 4]),
        (10, 4, [3, 3, 3, 1]),
        (9, 4, [3, 3, 3]),
        (2, 4, [1, 1]),
        (1, 1, [1]),
    ],
)
def test_shares_are_contiguous_and_in_the_order_of_the_workers(
    samples: int, workers: int, sizes: list[int]
) -> None:
    scene = Scene(workers)
    shares = numbered(samples).federate(scene.ues)
    assert shares.workers == list(shares) == [f"ue{i}" for i in range(len(sizes))]
    assert [len(shares[name]) for name in shares] == sizes
    assert len(shares) == samples
    assert [i for name in shares for i in held(shares[name].targets)] == list(range(samples))
    for i, name in enumerate(shares):
        assert shares[name] is shares[scene.ues[i]]
        assert shares[name].location is scene.ues[i]


def test_workers_may_be_named_and_given_in_any_order(scene: Scene) -> None:
    shares = numbered(4).federate(("ue3", scene.ues[1]))
    assert shares.workers == ["ue3", "ue1"]
    assert held(shares["ue3"].targets) == [0, 1]


class Pictures(Dataset[Any]):
    """As torchvision's: arrays, whole-number targets, and a transform."""

    def __init__(self) -> None:
        self.data = np.arange(5 * 2 * 2, dtype=np.uint8).reshape(5, 2, 2)
        self.targets = [3, 1, 4, 1, 5]
        self.transform = lambda array: torch.from_numpy(array).float().div(255)[None]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.data[index]), self.targets[index]


X = torch.arange(5 * 4).view(5, 1, 2, 2).float() / 255
Y = torch.tensor([3, 1, 4, 1, 5])
KINDS_OF_DATA: dict[str, Callable[[], Any]] = {
    "torchvision_style": Pictures,
    "tensors": lambda: TensorDataset(X, Y),
    "list_of_pairs": lambda: [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    "subset": lambda: Subset(TensorDataset(X.flip(0), Y.flip(0)), [4, 3, 2, 1, 0]),
    "joined": lambda: ConcatDataset([TensorDataset(X[:2], Y[:2]), TensorDataset(X[2:], Y[2:])]),
    "base": lambda: BaseDataset(X, Y),
    "base_with_transform": lambda: BaseDataset(X.squeeze(1), Y.tolist(), transform=lambda array: array[None]),
}


@pytest.mark.parametrize("make", KINDS_OF_DATA.values(), ids=KINDS_OF_DATA.keys())
def test_every_kind_of_data_arrives_as_its_samples_are(scene: Scene, make: Callable[[], Any]) -> None:
    shares = federate(make(), scene.ues[:2])
    parts = [shares.get_dataset(name) for name in ("ue0", "ue1")]
    assert torch.equal(torch.cat([part.data for part in parts]), X)
    assert torch.equal(torch.cat([part.targets for part in parts]), Y)


def test_what_the_worker_holds_is_its_own(scene: Scene) -> None:
    x, y = X.clone(), Y.clone()
    for present in (False, True):
        shares = federate(TensorDataset(x, y), scene.ues[:1], present=present)
        shares["ue0"].data.zero_()
    assert torch.equal(x, X)


class NoLength(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield from zip(X, Y, strict=True)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ([], "without samples"),
        (NoLength(), "NoLength.*length and an index"),
        ([(X[0], "three")], "must be a pair"),
        ([(X[0], object())], r"samples 0 … 0.*transform"),
        ([(X[0], 1), (X[0, 0], 1)], r"samples 0 … 1.*one shape"),
        (TensorDataset(X, Y, Y), "pair"),
        ([X[0], X[1]], "pair"),
        (TensorDataset(X), "pair"),
    ],
)
def test_data_that_are_no_pairs_are_refused(scene: Scene, data: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        federate(data, scene.ues[:1])
    assert scene.kinds() == []


@pytest.mark.parametrize(
    ("workers", "match"),
    [
        ([], "at least one"),
        ("ue0", "list"),
        (["ue0", "ue0"], "each worker once"),
        (["ue9"], "no worker 'ue9'"),
    ],
)
def test_workers_that_are_none_are_refused(scene: Scene, workers: Any, match: str) -> None:
    with pytest.raises(WorkerError, match=match):
        numbered(4).federate(workers)
    with pytest.raises(WorkerError, match="list"):
        numbered(4).federate(scene.ues[0])
    assert scene.kinds() == []


def test_federate_leaves_the_generators_as_they_were(scene: Scene) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    loader = FederatedDataLoader(federate(Pictures(), scene.ues), shuffle=True)
    list(loader)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


# One data set


def test_send_gives_a_data_set_of_pointers_and_leaves_the_first(scene: Scene) -> None:
    here = numbered(3)
    assert here.location is None
    assert here.owner is scene.hook.local_worker
    there = here.send("ue1")
    assert there.location is scene.ues[1]
    assert there.owner is scene.hook.local_worker
    assert here.location is None
    assert len(there) == 3
    x, y = there[1]
    assert (held(x), held(y)) == ([1, -1], 1)
    assert "ue1" in repr(there)
    with pytest.raises(WorkerError, match=r"'ue1'.*get\(\)"):
        there.send("ue0")
    with pytest.raises(WorkerError, match=r"'ue1'.*get\(\)"):
        there.transform(lambda x: 2 * x)


def test_get_brings_the_samples_back_and_removes_them(scene: Scene) -> None:
    there = numbered(3).send("ue1")
    alias = there.data
    scene.kinds()
    assert there.get() is there
    assert scene.kinds() == [("downlink", "control"), ("uplink", "value")]
    assert torch.equal(there.data, numbered(3).data)
    assert torch.equal(there.targets, torch.arange(3))
    assert there.location is None
    assert scene.ues[1].objects == {}
    with pytest.raises(ObjectNotFoundError):
        alias.get()
    with pytest.raises(WorkerError, match=r"base station.*send\(\)"):
        there.get()


def test_samples_leave_a_worker_with_their_data_set(scene: Scene) -> None:
    shares = numbered(8).federate(scene.ues)
    assert all(ue.objects for ue in scene.ues)
    del shares
    gc.collect()
    assert [ue.objects for ue in scene.ues] == [{}] * 4


def test_a_transform_is_applied_by_index_and_before_sending(scene: Scene) -> None:
    data = BaseDataset(numbered(3).data, torch.arange(3), transform=lambda array: array * 10)
    assert data[2][0].tolist() == [20, -20]
    assert data[torch.tensor([2, 0])][0].tolist() == [[20, -20], [0, 0]]
    assert held(data.send("ue0").data) == [[0, 0], [10, -10], [20, -20]]
    data.transform(lambda x: x + 1)
    assert data[0][0].tolist() == [10, 10]
    with pytest.raises(DataError, match="1 inputs of 3"):
        data.transform(lambda x: x[:1])
    with pytest.raises(WorkerError, match="transform"):
        BaseDataset(X.send("ue0"), Y.send("ue0"), transform=lambda array: array)


def test_inputs_and_targets_belong_together(scene: Scene) -> None:
    with pytest.raises(DataError, match="5 inputs and 4 targets"):
        BaseDataset(X, Y[:4])
    with pytest.raises(DataError, match="single number"):
        BaseDataset(X, 3)
    with pytest.raises(DataError, match="targets can't be made a tensor"):
        BaseDataset(X, ["a"] * 5)
    with pytest.raises(TensorsNotCollocatedException, match=r"'ue0'.*base station"):
        BaseDataset(X.send("ue0"), Y)
    with pytest.raises(TensorsNotCollocatedException, match=r"'ue0'.*'ue1'"):
        BaseDataset(X.send("ue0"), Y.send("ue1"))


def test_a_federated_data_set_has_one_part_at_each_worker(scene: Scene) -> None:
    with pytest.raises(WorkerError, match="two data sets are at 'ue0'"):
        FederatedDataset([numbered(2).send("ue0"), numbered(2).send("ue0")])
    with pytest.raises(WorkerError, match="must be at a worker"):
        FederatedDataset([numbered(2)])
    by_hand = FederatedDataset([numbered(2).send("ue2"), BaseDataset(X.send("ue0"), Y.send("ue0"))])
    assert by_hand.workers == ["ue2", "ue0"]
    assert len(by_hand) == 7
    assert "ue2, ue0" in repr(by_hand)
    assert "7" in repr(by_hand)
    with pytest.raises(WorkerError, match=r"no data at 'ue1'.*'ue2', 'ue0'"):
        by_hand["ue1"]


def test_a_part_is_taken_out_by_get_dataset(scene: Scene) -> None:
    shares = numbered(8).federate(scene.ues)
    with pytest.raises(WorkerError, match="get_dataset"):
        shares["ue1"].get()
    part = shares.get_dataset("ue1")
    assert part.targets.tolist() == [2, 3]
    with pytest.raises(WorkerError, match="base station"):
        part.get()
    assert shares.workers == ["ue0", "ue2", "ue3"]
    assert len(shares) == 6
    assert part.send("ue1").get().targets.tolist() == [2, 3]
    with pytest.raises(WorkerError, match="no data at 'ue1'"):
        shares.get_dataset("ue1")


# Charges


def test_a_share_is_one_data_message_of_its_own_bits(scene: Scene) -> None:
    numbered(10).federate(scene.ues)
    entries = scene.hook.transport.ledger.drain()
    assert [(e.direction, e.kind, e.ues) for e in entries] == [
        ("downlink", "data", (f"ue{i}",)) for i in range(4)
    ]
    # Two float32 and one int64 for each sample; per tensor a dtype, a number of dimensions and the dimensions.
    assert [e.raw_bits for e in entries] == [8 * n * (2 * 4 + 8) for n in (3, 3, 3, 1)]
    around = 8 * (OVERHEAD_BYTES + (1 + 1 + 2 * 4) + (1 + 1 + 1 * 4))
    assert [e.bits - e.raw_bits for e in entries] == [around] * 4


def test_data_that_are_there_already_cost_nothing(scene: Scene) -> None:
    shares = numbered(10).federate(scene.ues, present=True)
    assert numbered(2).send("ue0", present=True).location is scene.ues[0]
    assert scene.kinds() == []
    assert [ue.time_s for ue in scene.ues] == [0.0] * 4
    assert [i for name in shares for i in held(shares[name].targets)] == list(range(10))
    shares.get_dataset("ue0")
    assert scene.kinds() == [("downlink", "control"), ("uplink", "value")]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("options", [{}, {"iter_per_worker": True}, {"num_iterators": 3}])
def test_iterating_puts_nothing_on_the_air(scene: Scene, options: dict[str, Any], shuffle: bool) -> None:
    shares = numbered(10).federate(scene.ues)
    scene.kinds()
    times_s = [ue.time_s for ue in scene.ues]
    assert sum(1 for _ in FederatedDataLoader(shares, 2, shuffle=shuffle, **options)) > 0
    assert scene.kinds() == []
    assert [ue.time_s for ue in scene.ues] == times_s


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_backward_pass_is_charged_the_batch(scene: Scene, shuffle: bool) -> None:
    (ue,) = scene.ues[:1]
    shares = numbered(10).federate([ue], present=True)
    weight = torch.ones(2, requires_grad=True).send(ue)
    for x, _ in FederatedDataLoader(shares, batch_size=4, shuffle=shuffle):
        before_s = ue.time_s
        (x @ weight).sum().backward()
        assert ue.time_s - before_s == pytest.approx(len(x))


class Lossy(Transport):
    losing: tuple[str, str] | None = None

    def carry(self, message: Message, *, now_s: float) -> Delivery:
        delivery = super().carry(message, now_s=now_s)
        up = message.receiver == self.hub
        lost = self.losing == (message.kind, "up" if up else "down")
        return replace(delivery, content=None, lost=True) if lost else delivery


def test_a_lost_message_loses_no_samples() -> None:
    transport = Lossy()
    scene = Scene(2, transport)
    data = numbered(4)
    transport.losing = ("data", "down")
    with pytest.raises(WorkerError, match=r"lost.*again"):
        data.federate(scene.ues)
    assert data.location is None
    transport.losing = None
    shares = data.federate(scene.ues)
    for losing in (("control", "down"), ("value", "up")):
        transport.losing = losing
        with pytest.raises(WorkerError, match=r"lost.*again"):
            shares.get_dataset("ue0")
        assert shares.workers == ["ue0", "ue1"]
    with pytest.raises(WorkerError, match="get_dataset"):
        shares["ue0"].get()
    transport.losing = None
    assert shares.get_dataset("ue0").targets.tolist() == [0, 1]


# Batches. The expected ones are what PySyft 0.2.5 gives for these arguments.


def test_batches_come_worker_by_worker(scene: Scene) -> None:
    loader = FederatedDataLoader(numbered(10).federate(scene.ues[:2]), batch_size=3)
    expected = [("ue0", [0, 1, 2]), ("ue0", [3, 4]), ("ue1", [5, 6, 7]), ("ue1", [8, 9])]
    assert batches(loader) == batches(loader) == expected
    assert len(loader) == 4


def test_smaller_last_batches_can_be_dropped(scene: Scene) -> None:
    shares = numbered(10).federate(scene.ues)
    loader = FederatedDataLoader(shares, batch_size=2, drop_last=True)
    assert batches(loader) == [("ue0", [0, 1]), ("ue1", [3, 4]), ("ue2", [6, 7])]
    assert len(loader) == 3
    assert batches(FederatedDataLoader(shares, batch_size=4, drop_last=True)) == []


def test_iter_per_worker_gives_a_batch_of_every_worker(scene: Scene) -> None:
    loader = FederatedDataLoader(numbered(8).federate(scene.ues[:2]), batch_size=2, iter_per_worker=True)
    assert steps(loader) == [{"ue0": [0, 1], "ue1": [4, 5]}, {"ue0": [2, 3], "ue1": [6, 7]}]
    assert len(loader) == 2


def test_iterators_walk_over_all_workers_and_never_meet(scene: Scene) -> None:
    loader = FederatedDataLoader(numbered(12).federate(scene.ues[:3]), batch_size=2, num_iterators=2)
    assert steps(loader) == [
        {"ue0": [0, 1], "ue1": [4, 5]},
        {"ue0": [2, 3], "ue1": [6, 7]},
        {"ue2": [8, 9], "ue0": [0, 1]},
        {"ue2": [10, 11], "ue0": [2, 3]},
        {"ue1": [4, 5], "ue2": [8, 9]},
        {"ue1": [6, 7], "ue2": [10, 11]},
    ]
    assert len(loader) == 6


@pytest.mark.parametrize(("asked", "workers", "used"), [(2, 2, 1), (9, 4, 3), (1, 1, 1), (3, 1, 1)])
def test_there_are_fewer_iterators_than_workers(asked: int, workers: int, used: int) -> None:
    loader = FederatedDataLoader(numbered(8).federate(Scene(workers).ues), 2, num_iterators=asked)
    assert loader.num_iterators == used
    assert all(isinstance(step, dict if used > 1 else tuple) for step in loader)


# Where PySyft drops batches, or forgets what was asked for.


def test_workers_with_more_samples_go_on_alone(scene: Scene) -> None:
    loader = FederatedDataLoader(numbered(10).federate(scene.ues), batch_size=2, iter_per_worker=True)
    assert steps(loader) == [
        {"ue0": [0, 1], "ue1": [3, 4], "ue2": [6, 7], "ue3": [9]},
        {"ue0": [2], "ue1": [5], "ue2": [8]},
    ]


def test_iter_per_worker_gives_dictionaries_of_one_worker_too(scene: Scene) -> None:
    loader = FederatedDataLoader(numbered(4).federate(scene.ues[:1]), batch_size=2, iter_per_worker=True)
    assert steps(loader) == [{"ue0": [0, 1]}, {"ue0": [2, 3]}]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    samples=st.integers(1, 25),
    workers=st.integers(1, 6),
    batch_size=st.integers(1, 8),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    how=st.sampled_from([{}, {"iter_per_worker": True}, {"num_iterators": 2}, {"num_iterators": 3}]),
)
def test_every_sample_comes_once_for_each_iterator(
    samples: int, workers: int, batch_size: int, shuffle: bool, drop_last: bool, how: dict[str, Any]
) -> None:
    shares = numbered(samples).federate(Scene(workers).ues, present=True)
    loader = FederatedDataLoader(shares, batch_size, shuffle=shuffle, drop_last=drop_last, **how)
    seen: Counter[int] = Counter()
    walked = 0
    for step in loader:
        walked += 1
        for worker, (x, y) in step.items() if isinstance(step, dict) else [(step[0].location, step)]:
            ids = held(y)
            assert held(x) == [[i, -i] for i in ids]
            assert set(ids) <= set(held(shares[worker].targets))
            assert 1 <= len(ids) <= batch_size
            assert len(ids) == batch_size or not drop_last
            seen.update(ids)
    assert walked == len(loader)
    times = loader.num_iterators
    if not drop_last:
        assert seen == dict.fromkeys(range(samples), times)
    else:
        whole = sum(len(shares[name]) // batch_size * batch_size for name in shares)
        assert (len(seen), set(seen.values()) <= {times}) == (whole, True)


# Shuffling


def test_shuffled_samples_stay_at_their_worker_and_each_epoch_has_its_order(scene: Scene) -> None:
    loader = FederatedDataLoader(numbered(40).federate(scene.ues[:2]), batch_size=5, shuffle=True)
    epochs = [batches(loader) for _ in range(3)]
    for epoch in epochs:
        assert [name for name, _ in epoch] == ["ue0"] * 4 + ["ue1"] * 4
        of_0, of_1 = ([i for name, ids in epoch if name == ue for i in ids] for ue in ("ue0", "ue1"))
        assert sorted(of_0) == list(range(20))
        assert sorted(of_1) == list(range(20, 40))
        # Twenty samples in one order at both, or in no order at all, would be a chance of 4e-19.
        assert of_0 != [i - 20 for i in of_1]
        assert of_0 != sorted(of_0)
    assert all(a != b for a, b in pairwise(epochs))


def test_shuffling_depends_on_its_key_alone(scene: Scene) -> None:
    shares = numbered(30).federate(scene.ues)

    def epochs(seed: int, key: Any) -> list[Any]:
        torch.manual_seed(seed)
        loader = FederatedDataLoader(shares, 4, shuffle=True, key=key)
        return [batches(loader) for _ in range(2)]

    with torch.random.fork_rng(devices=[]):
        first = epochs(1, key=7)
        assert epochs(2, key=7) == epochs(3, key=Key(7)) == first
        assert epochs(1, key=8) != first


def test_a_workers_order_does_not_depend_on_the_others(scene: Scene) -> None:
    def order(shares: FederatedDataset) -> list[int]:
        loader = FederatedDataLoader(shares, 100, shuffle=True)
        return dict(batches(loader))["ue2"]

    shares = numbered(40).federate(scene.ues)
    assert order(shares) == order(FederatedDataset([shares["ue2"]]))


def test_an_epoch_begun_anew_is_another_epoch(scene: Scene) -> None:
    loader = FederatedDataLoader(numbered(20).federate(scene.ues[:1]), 20, shuffle=True)
    one, other = iter(loader), iter(loader)
    assert held(next(one)[1]) != held(next(other)[1])


# What else a loader takes


def test_batches_are_copies(scene: Scene) -> None:
    for shuffle in (False, True):
        shares = numbered(6).federate(scene.ues[:2])
        for x, y in FederatedDataLoader(shares, 2, shuffle=shuffle):
            x.zero_()
            y.zero_()
        assert held(shares["ue0"].data) == [[0, 0], [1, -1], [2, -2]]
        assert held(shares["ue1"].targets) == [3, 4, 5]


def test_an_own_collate_function_works_on_pointers(scene: Scene) -> None:
    shares = numbered(6).federate(scene.ues[:2])
    scene.kinds()

    def summed(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        x, y = zip(*samples, strict=True)
        return torch.stack(x).sum(dim=1), torch.stack(y) * 2

    loader = FederatedDataLoader(shares, 2, collate_fn=summed)
    assert [(held(x), held(y)) for x, y in loader][:2] == [([0, 0], [0, 2]), ([0], [4])]
    assert scene.kinds() == []


def test_bad_settings_are_refused_by_name(scene: Scene) -> None:
    shares = numbered(4).federate(scene.ues[:2])
    with pytest.raises(WorkerError, match=r"BaseDataset is no FederatedDataset.*federate"):
        FederatedDataLoader(numbered(4))
    with pytest.raises(ConfigError, match="batch_size = 0"):
        FederatedDataLoader(shares, batch_size=0)
    with pytest.raises(ConfigError, match="num_iterators = 0"):
        FederatedDataLoader(shares, num_iterators=0)
    with pytest.warns(UserWarning, match="pin_memory"):
        loader = FederatedDataLoader(shares, batch_size=2, num_workers=1, pin_memory=True)
    assert len(batches(loader)) == 2


def test_data_that_left_is_noticed(scene: Scene) -> None:
    shares = numbered(4).federate(scene.ues[:2])
    loader = FederatedDataLoader(shares, batch_size=1)
    shares.get_dataset("ue0")
    assert batches(loader) == [("ue1", [2]), ("ue1", [3])]
    scene.ues[1].clear_objects()
    with pytest.raises(ObjectNotFoundError, match="'ue1'"):
        batches(loader)


# Training


def test_training_over_a_loader_is_plain_torch_to_the_bit() -> None:
    """The loop of PySyft's tutorials: the model goes to each batch, learns there, and comes back."""
    scene = Scene(3)
    train = Digits().load().train
    x, y = train.x[:200], train.y[:200]
    plain = build_seeded(MLP(hidden=(16,)), (1, 8, 8), 10, Key(1))
    model = copy.deepcopy(plain)
    loader = FederatedDataLoader(BaseDataset(x, y).federate(scene.ues), batch_size=32)
    opt = optim.SGD(model.parameters(), lr=0.1)
    losses = []
    model.train()
    for _ in range(2):
        for data, target in loader:
            model.send(data.location)
            opt.zero_grad()
            out = F.log_softmax(model(data), dim=1)
            loss = F.nll_loss(out, target)
            loss.backward()
            opt.step()
            model.get()
            losses.append(loss.get().item())

    plain_opt = optim.SGD(plain.parameters(), lr=0.1)
    plain_losses = []
    # 67, 67 and 66 samples, in batches of 32.
    edges = [0, 32, 64, 67, 99, 131, 134, 166, 198, 200]
    for _ in range(2):
        for start, stop in pairwise(edges):
            plain_opt.zero_grad()
            loss = F.nll_loss(F.log_softmax(plain(x[start:stop]), dim=1), y[start:stop])
            loss.backward()
            plain_opt.step()
            plain_losses.append(loss.item())
    assert losses == plain_losses
    assert losses[-1] < losses[0]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
