"""Batches of a federated data set, made where the samples are.

Iterating costs no message. A batch is a slice that the worker itself takes of what it holds, and the base station gets
a pointer. Which samples it has is known at both ends without telling: consecutive ones, or, shuffled, a permutation
that the worker draws from a key; base station and workers share the key from the start, as they share the model's
architecture.

Differs from PySyft 0.2.5 in: no batch is dropped where workers have shares of different sizes (there, all
iterators stop with the first one); ``iter_per_worker`` gives dictionaries also for one worker; the length is
the number of steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from syft_fl.errors import WorkerError
from syft_fl.keys import Key
from syft_fl.schema import require
from syft_fl.workers.datasets import BaseDataset, FederatedDataset
from syft_fl.workers.worker import VirtualWorker

__all__ = ["FederatedDataLoader"]


class FederatedDataLoader:
    """Batches of a federated data set.

    One iteration gives pairs of pointers (inputs, targets): all batches of the first worker, then all of the second
    one, and so on. With ``iter_per_worker`` each step is a dictionary ``{worker: (inputs, targets)}`` of all workers
    that have a batch left. With ``num_iterators`` above 1 so many walks over all workers go side by side, never two
    at one worker, and each step is a dictionary of their batches: as in PySyft, every sample comes ``num_iterators``
    times.

    Args:
        federated_dataset: where the samples are.
        batch_size: samples in a batch; a worker's last one may be smaller.
        shuffle: another order of each worker's samples in each iteration.
        num_iterators: walks; at most one less than there are workers.
        drop_last: leave out smaller last batches.
        collate_fn: makes a batch of a list of (input, target) pointers, at the worker; the default stacks them.
        iter_per_worker: see above.
        key: random stream of the shuffling; two loaders of one key have the same orders, epoch by epoch.
        ignored: PySyft's and torch's other options have no meaning here; a warning names them.

    Raises:
        WorkerError: not a federated data set.
        ConfigError: a batch size or number of iterators below 1.

    Example:
        >>> from syft_fl.workers import TorchHook, VirtualWorker
        >>> hook = TorchHook()
        >>> ues = [VirtualWorker(hook=hook, id=f"ue{i}") for i in range(2)]
        >>> shares = BaseDataset(torch.zeros(5, 3), torch.arange(5)).federate(ues)
        >>> for x, y in FederatedDataLoader(shares, batch_size=2):
        ...     print(x.location.id, len(x), y.copy().get())
        ue0 2 tensor([0, 1])
        ue0 1 tensor([2])
        ue1 2 tensor([3, 4])
    """

    def __init__(
        self,
        federated_dataset: FederatedDataset,
        batch_size: int = 8,
        shuffle: bool = False,
        num_iterators: int = 1,
        drop_last: bool = False,
        collate_fn: Callable[[list[tuple[Tensor, Tensor]]], Any] | None = None,
        iter_per_worker: bool = False,
        *,
        key: Key | int = 0,
        **ignored: Any,
    ) -> None:
        if not isinstance(federated_dataset, FederatedDataset):
            raise WorkerError(
                f"a {type(federated_dataset).__name__} is no FederatedDataset; use dataset.federate(workers), or "
                "torch.utils.data.DataLoader for data at the base station"
            )
        require(batch_size >= 1, "batch_size", batch_size, "at least 1")
        require(num_iterators >= 1, "num_iterators", num_iterators, "at least 1")
        if ignored:
            warnings.warn(
                f"FederatedDataLoader has no use for {', '.join(ignored)}", UserWarning, stacklevel=2
            )
        self.federated_dataset = federated_dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.iter_per_worker = iter_per_worker
        others = len(federated_dataset.workers) - 1
        self.num_iterators = max(1, min(num_iterators, others))
        self._key = (Key(key) if isinstance(key, int) else key) / "loader"
        self._epochs = 0

    @property
    def workers(self) -> list[str]:
        """Ids of the workers that have data, in order."""
        return self.federated_dataset.workers

    def __len__(self) -> int:
        """Steps of one iteration."""
        return sum(1 for _ in self._plan())

    def __iter__(self) -> Iterator[Any]:
        epoch, self._epochs = self._epochs, self._epochs + 1
        orders: dict[str, Tensor] = {}
        single = not self.iter_per_worker and self.num_iterators == 1
        for step in self._plan():
            batches: dict[VirtualWorker, Any] = {}
            for worker_id, batch in step:
                dataset = self.federated_dataset[worker_id]
                worker = _worker_of(dataset)
                if self.shuffle and worker_id not in orders:
                    orders[worker_id] = self._order(worker, len(dataset), epoch)
                batches[worker] = self._batch(dataset, batch, orders.get(worker_id))
            yield next(iter(batches.values())) if single else batches

    def _plan(self) -> Iterator[list[tuple[str, int]]]:
        """The steps of one iteration: which batches (worker, number) each one gives."""
        rounded = math.floor if self.drop_last else math.ceil
        datasets = self.federated_dataset.datasets
        counts = {worker: rounded(len(dataset) / self.batch_size) for worker, dataset in datasets.items()}
        return _side_by_side(counts) if self.iter_per_worker else _walks(counts, self.num_iterators)

    def _order(self, worker: VirtualWorker, samples: int, epoch: int) -> Tensor:
        """[samples] a pointer to the permutation that a worker draws."""
        key = self._key / worker.id / f"epoch{epoch}"
        order: Tensor = worker.run(lambda: torch.randperm(samples, generator=key.torch()))
        return order

    def _batch(self, dataset: BaseDataset, batch: int, order: Tensor | None) -> Any:
        start = batch * self.batch_size
        stop = min(start + self.batch_size, len(dataset))
        rows = slice(start, stop) if order is None else order[start:stop]
        data, targets = dataset[rows]
        if order is None:
            # A batch is in memory of its own, as torch's are: what is written into it leaves the data as they are.
            data, targets = data.clone(), targets.clone()
        if self.collate_fn is None:
            return data, targets
        return self.collate_fn([(data[i], targets[i]) for i in range(len(data))])


def _worker_of(dataset: BaseDataset) -> VirtualWorker:
    if dataset.location is None:
        raise WorkerError("a data set was fetched behind its FederatedDataset; use get_dataset(worker)")
    return dataset.location


def _side_by_side(counts: Mapping[str, int]) -> Iterator[list[tuple[str, int]]]:
    """Steps with one batch of each worker that has one left."""
    for batch in range(max(counts.values(), default=0)):
        yield [(worker, batch) for worker, count in counts.items() if batch < count]


@dataclass(slots=True)
class _Walk:
    """Goes over all workers in turn. ``worker`` is where it is, ``batch`` the next one there."""

    unvisited: list[str]
    worker: str | None = None
    batch: int = 0


def _walks(counts: Mapping[str, int], number: int) -> Iterator[list[tuple[str, int]]]:
    """Steps of walks that go side by side: one batch of each.

    A walk that is through with a worker goes on to the first one that it has not been at and that no other walk is at
    (PySyft's rule). Where there is none it sits out; PySyft stops all walks then.
    """
    walks = [_Walk([worker for worker, count in counts.items() if count]) for _ in range(number)]
    while any(walk.worker or walk.unvisited for walk in walks):
        step: list[tuple[str, int]] = []
        for walk in walks:
            if walk.worker is None or walk.batch == counts[walk.worker]:
                busy = {other.worker for other in walks}
                walk.worker = next((worker for worker in walk.unvisited if worker not in busy), None)
                if walk.worker is None:
                    continue
                walk.unvisited.remove(walk.worker)
                walk.batch = 0
            step.append((walk.worker, walk.batch))
            walk.batch += 1
        if step:
            yield step
