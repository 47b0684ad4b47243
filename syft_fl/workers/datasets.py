"""PySyft 0.2's federated data sets: samples that are at workers, and how they come there.

A :class:`BaseDataset` is inputs and targets, at the base station or, as pointers, at a worker. :func:`federate` cuts a
data set into contiguous shares of equal size, one for each worker in order; a :class:`FederatedDataset` is those
shares by worker id. Batches come from a :class:`~syft_fl.workers.loader.FederatedDataLoader`.

A share travels as one lossless ``data`` message of two tensors. Data that a worker is said to have had from the start
(a phone's own photographs) is put there without a message, by ``present=True``; that is a statement about the scenario.

Differs from PySyft 0.2.5 in: shares that would silently replace each other are refused; a transform is applied before
the samples are sent instead of being forgotten; ``get`` of whole-number targets works.

Left out: fixed precision, secret sharing, and samples that are not pairs of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, default_collate

from syft_fl.errors import DataError, TensorsNotCollocatedException, WorkerError
from syft_fl.workers.pointer import PointerTensor, is_pointer, place_of
from syft_fl.workers.worker import LocalWorker, VirtualWorker

if TYPE_CHECKING:
    from syft_fl.workers.station import Station

__all__ = ["BaseDataset", "FederatedDataset", "federate"]

Pair = tuple[Tensor, Tensor]


class BaseDataset(Dataset[Pair]):
    """Inputs and targets, at one place.

    Args:
        data: [samples, ...] inputs: a tensor, a pointer, or what ``torch.as_tensor`` takes.
        targets: [samples, ...] targets, at the same place.
        transform: called with one input as a numpy array (as in PySyft, so that torchvision's ``ToTensor`` fits) by
            indexing and by what sends samples; only for data at the base station.
        owner: who holds this object; the base station.

    Attributes:
        data, targets: tensors, or pointers to tensors at a worker.
        federated: it is part of a :class:`FederatedDataset`.

    Raises:
        DataError: there are not as many targets as inputs.
        TensorsNotCollocatedException: inputs and targets are at different places.
        WorkerError: a transform for data that is at a worker.

    Example:
        >>> from syft_fl.workers import TorchHook, VirtualWorker
        >>> hook = TorchHook()
        >>> ues = [VirtualWorker(hook=hook, id=f"ue{i}") for i in range(2)]
        >>> shares = BaseDataset(torch.zeros(5, 3), torch.arange(5)).federate(ues)
        >>> [len(shares[ue]) for ue in shares]
        [3, 2]
        >>> shares.get_dataset("ue1").targets
        tensor([3, 4])
    """

    federated: bool = False

    def __init__(
        self,
        data: Any,
        targets: Any,
        transform: Callable[[Any], Any] | None = None,
        owner: LocalWorker | None = None,
    ) -> None:
        self.data, self.targets = _tensor("data", data), _tensor("targets", targets)
        if _location(self.data) is not _location(self.targets):
            raise TensorsNotCollocatedException(
                f"data is at {place_of(self.data)}, targets at {place_of(self.targets)}; send both to one place"
            )
        if len(self.data) != len(self.targets):
            raise DataError(
                f"{len(self.data)} inputs and {len(self.targets)} targets; each sample needs one of both"
            )
        if transform is not None:
            self._require_here("a transform")
        self.transform_ = transform
        self._owner = owner

    @property
    def owner(self) -> LocalWorker | None:
        """The base station that this object is at; None where no hook was made."""
        if self._owner is not None:
            return self._owner
        if is_pointer(self.data):
            return self.data.owner
        station = _station()
        return None if station is None else station.local_worker

    @property
    def location(self) -> VirtualWorker | None:
        """The worker that has the samples; None: they are at the base station."""
        return _location(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> Pair:
        """A sample, or the samples of a slice or an index tensor. Of sent data: pointers, without a message."""
        data, targets = self.data[index], self.targets[index]
        transform = self.transform_
        if transform is None:
            return data, targets
        if data.dim() < self.data.dim():
            return torch.as_tensor(transform(data.numpy())), targets
        return torch.stack([torch.as_tensor(transform(sample)) for sample in data.numpy()]), targets

    def __repr__(self) -> str:
        return f"BaseDataset\n\tData: {self.data}\n\tTargets: {self.targets}"

    def transform(self, transform: Callable[[Tensor], Tensor]) -> None:
        """Replace the inputs, all at once, by what a function makes of them.

        Raises:
            WorkerError: they are at a worker.
            DataError: it makes another number of inputs.
        """
        self._require_here("transform()")
        data = _tensor("data", transform(self.data))
        if len(data) != len(self.targets):
            raise DataError(f"transform made {len(data)} inputs of {len(self.targets)}; it must keep samples")
        self.data = data

    def send(self, worker: VirtualWorker | str, *, present: bool = False) -> BaseDataset:
        """Send the samples to a worker: one ``data`` message.

        Args:
            worker: the worker, or its id.
            present: they are there already: no message, no bits.

        Returns:
            A data set of pointers. This one is unchanged.

        Raises:
            WorkerError: it is at a worker already, or was lost on the air.
        """
        self._require_here("send()")
        target = _find(worker)
        samples: tuple[Tensor, ...] = self[:]
        if present:
            # In memory of its own: what the worker writes into it stays with the worker.
            samples = tuple(tensor.detach().clone() for tensor in samples)
        else:
            content = tuple(tensor.detach() for tensor in samples)
            samples = cast(tuple[Tensor, ...], target.download("data", "dataset", content))
        data, targets = (_pointer(target, tensor) for tensor in samples)
        return BaseDataset(data, targets, owner=self._owner)

    def get(self) -> BaseDataset:
        """Fetch the samples, in place, and remove them from the worker: a request, and one ``value`` message.

        Returns:
            This data set.

        Raises:
            WorkerError: it is not at a worker, is part of a federated data set, or was lost (and is still there).
        """
        if self.federated:
            raise WorkerError(
                "get() of a part of a FederatedDataset; use federated_dataset.get_dataset(worker), which takes it out"
            )
        self._fetch()
        return self

    def federate(self, workers: Sequence[VirtualWorker | str], *, present: bool = False) -> FederatedDataset:
        """Cut the samples into shares for workers; see :func:`federate`."""
        return federate(self, workers, present=present)

    def _fetch(self) -> None:
        data, targets = self.data, self.targets
        if not (is_pointer(data) and is_pointer(targets)):
            raise WorkerError("get() of a data set that is at the base station; send() it first")
        worker = data.location
        content = data.held(), targets.held()
        arrived, _ = worker.fetch(data.id_at_location, "value", "dataset", content)
        for pointer in (data, targets):
            worker.objects.pop(pointer.id_at_location, None)
        self.data, self.targets = cast(Pair, arrived)

    def _require_here(self, what: str) -> None:
        if is_pointer(self.data):
            raise WorkerError(
                f"{what} needs the samples at the base station; they are at {place_of(self.data)}: get() them first"
            )


class FederatedDataset:
    """Data sets at workers, by worker id: a dictionary whose length is the number of samples.

    Args:
        datasets: each at a worker of its own.

    Attributes:
        datasets: the data sets by worker id.

    Raises:
        WorkerError: a data set is not at a worker, or two are at one.
    """

    def __init__(self, datasets: Sequence[BaseDataset]) -> None:
        self.datasets: dict[str, BaseDataset] = {}
        for dataset in datasets:
            if dataset.location is None:
                raise WorkerError(
                    "a data set of a FederatedDataset must be at a worker; send() it, or use federate()"
                )
            worker_id = dataset.location.id
            if worker_id in self.datasets:
                raise WorkerError(
                    f"two data sets are at {worker_id!r}; a worker can have one: join them before they are sent"
                )
            self.datasets[worker_id] = dataset
        for dataset in datasets:
            dataset.federated = True

    @property
    def workers(self) -> list[str]:
        """Ids of the workers that have data, in order."""
        return list(self.datasets)

    def __getitem__(self, worker: str | VirtualWorker) -> BaseDataset:
        return self.datasets[self._id(worker)]

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self.datasets)

    def get_dataset(self, worker: str | VirtualWorker) -> BaseDataset:
        """Take a worker's data set out and fetch it.

        Raises:
            WorkerError: there is none, or it was lost on the air (and is still there, and still part of this one).
        """
        worker_id = self._id(worker)
        dataset = self.datasets[worker_id]
        dataset._fetch()
        dataset.federated = False
        del self.datasets[worker_id]
        return dataset

    def __repr__(self) -> str:
        return (
            "FederatedDataset\n"
            f"    Distributed across: {', '.join(self.datasets)}\n"
            f"    Number of datapoints: {len(self)}\n"
        )

    def _id(self, worker: str | VirtualWorker) -> str:
        worker_id = worker if isinstance(worker, str) else worker.id
        if worker_id not in self.datasets:
            known = ", ".join(map(repr, self.datasets)) or "none"
            raise WorkerError(f"no data at {worker_id!r}; there is data at: {known}")
        return worker_id


def federate(
    dataset: Any, workers: Sequence[VirtualWorker | str], *, present: bool = False
) -> FederatedDataset:
    r"""Cut a data set into contiguous shares and send one to each worker, in order.

    Of n samples and K workers each worker has :math:`\lceil n/K \rceil`, the last one what is left. As in PySyft, that
    can leave the last workers without any (9 samples over 4 workers: 3, 3, 3); they are not in the result then.

    The shares are sent one after another; inside ``with hook.transport.parallel():`` they share the air.

    Args:
        dataset: anything with a length and an index that gives (input, target): torch's and torchvision's data
            sets, with their transforms, a list of pairs, a :class:`BaseDataset`.
        workers: workers or their ids, each once.
        present: the shares are at the workers already: no messages, no bits.

    Raises:
        DataError: there are no samples, or they are no pairs that can be put into two tensors.
        WorkerError: no worker, one twice, one that isn't known, or a share was lost on the air.
    """
    if isinstance(workers, str | VirtualWorker) or not workers:
        raise WorkerError(f"workers = {workers!r} must be a list of at least one worker or worker id")
    targets = [_find(worker) for worker in workers]
    if len(set(targets)) < len(targets):
        raise WorkerError(f"workers = {[w.id for w in targets]} must name each worker once")
    samples = _length(dataset)
    share = math.ceil(samples / len(targets))
    shares = []
    for worker, start in zip(targets, range(0, samples, share), strict=False):
        pair = _read(dataset, start, min(start + share, samples))
        shares.append(BaseDataset(*pair).send(worker, present=present))
    return FederatedDataset(shares)


def _length(dataset: Any) -> int:
    """How many samples there are; at least one."""
    try:
        samples = len(dataset)
    except TypeError:
        samples = -1
    if samples < 0 or not hasattr(dataset, "__getitem__"):
        raise DataError(
            f"a {type(dataset).__name__} can't be cut into shares; a data set with a length and an index is needed"
        )
    if samples == 0:
        raise DataError("a data set without samples can't be cut into shares")
    return samples


def _read(dataset: Any, start: int, stop: int) -> Pair:
    """Samples as two tensors, transforms applied."""
    if isinstance(dataset, BaseDataset | TensorDataset):
        found: Any = dataset[start:stop]
    else:
        # Not torch's DataLoader: it draws a number from the global generator.
        samples = [dataset[index] for index in range(start, stop)]
        try:
            found = default_collate(samples)
        except (TypeError, RuntimeError) as error:
            raise DataError(
                f"samples {start} … {stop - 1} can't be put into tensors ({error}); give the data set a transform that "
                "makes tensors of one shape"
            ) from None
    if not (
        isinstance(found, list | tuple) and len(found) == 2 and all(isinstance(t, Tensor) for t in found)
    ):
        raise DataError("a sample must be a pair of an input and a target, both numbers or tensors")
    return found[0], found[1]


def _tensor(name: str, values: Any) -> Tensor:
    """Samples as a tensor."""
    try:
        tensor = values if isinstance(values, Tensor) else torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} can't be made a tensor ({error}); give it as one") from None
    if not tensor.dim():
        raise DataError(f"{name} is a single number; it must have one row for each sample")
    return tensor


def _location(tensor: Tensor) -> VirtualWorker | None:
    return tensor.location if is_pointer(tensor) else None


def _pointer(worker: VirtualWorker, tensor: Tensor) -> PointerTensor:
    """A pointer to data that has come to a worker."""
    handle = worker.hold(tensor)
    handle.is_data = True
    return PointerTensor.at(handle, tensor)


def _find(worker: VirtualWorker | str) -> VirtualWorker:
    if isinstance(worker, VirtualWorker):
        return worker
    station = _station()
    if station is None:
        raise WorkerError(f"no worker {worker!r}; make a TorchHook and a VirtualWorker first")
    return station.worker(worker)


def _station() -> Station | None:
    """Where names of workers are looked up."""
    from syft_fl.workers.hook import TorchHook  # it adds federate() to torch's data sets

    return TorchHook.current
