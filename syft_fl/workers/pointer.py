"""Pointers: tensors whose values are at a worker, with PySyft's ``get``, ``copy`` and ``move``.

How operations on them run is in :mod:`~syft_fl.workers.dispatch`. Values leave a worker only through the transport:
``item()``, ``float()``, ``bool()``, ``tolist()``, ``numpy()`` and ``torch.equal`` are charged; what can't be charged
(DLPack, pickle, deep copies, ``data_ptr``) is refused. Printing never fetches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

import torch
from torch import Tensor

from syft_fl.errors import TensorsNotCollocatedException, WorkerError
from syft_fl.workers.dispatch import HERE, Remote, fetch_value, only_tensor
from syft_fl.workers.worker import ObjectHandle, VirtualWorker

if TYPE_CHECKING:
    from syft_fl.workers.worker import LocalWorker

__all__ = ["PointerTensor", "is_pointer", "place_of", "send_tensor"]


class PointerTensor(Remote):
    """A tensor whose values are at a worker. Made by ``tensor.send(worker)`` and by operations on pointers.

    Attributes:
        location: the worker that holds the values.
        id_at_location: their name there.
        owner: the base station, which holds the pointer.
        id: the pointer's own name.
    """

    _id: int | None = None

    @property
    def location(self) -> VirtualWorker:
        return self._handle.worker

    @property
    def id_at_location(self) -> int:
        return self._handle.id

    @property
    def owner(self) -> LocalWorker:
        return self.location.hook.local_worker

    @property
    def id(self) -> int:
        if self._id is None:
            self._id = next(self.location.hook.ids)
        return self._id

    def send(self, worker: VirtualWorker | str) -> NoReturn:
        """Refused: pointers to pointers have no use here."""
        raise WorkerError(
            f"this is a pointer to {self.location.id!r} already; use pointer.move(worker), or get() it first"
        )

    def get(self) -> Tensor:
        """Fetch the values and remove them from the worker.

        Raises:
            ObjectNotFoundError: they are not there any more (a second ``get``).
            WorkerError: they were lost on the air, and are still at the worker.
        """
        arrived, _ = fetch_value(self._handle, self.held())
        self.location.objects.pop(self.id_at_location, None)
        return arrived.requires_grad_(self.requires_grad and self.is_leaf)

    def copy(self) -> Tensor:
        """A copy at the same worker; ``pointer.copy().get()`` leaves the original there."""
        return self.clone()

    def move(self, worker: VirtualWorker | str) -> PointerTensor:
        """Take the values to another worker, through the base station; in place, returns the pointer.

        Raises:
            WorkerError: the pointer is the result of operations that autograd recorded, or a message was lost.
        """
        if not self.is_leaf:
            raise WorkerError(
                "a result that autograd recorded can't move away from its graph; move pointer.detach()"
            )
        target = self.location.hook.worker(worker)
        arrived, end_s = fetch_value(self._handle, self.held())
        handle = _receive(target, arrived, after_s=end_s)
        with torch.no_grad():
            self._handle = handle
            self.grad = None
        return self

    @property
    def data(self) -> Tensor:
        """The same values, beside autograd."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        # torch's own setter would swap in a tensor without storage; the next operation then ends the process.
        if not is_pointer(value) or value.location is not self.location:
            raise TensorsNotCollocatedException(
                f"pointer.data to {self.location.id!r} can't be set to a tensor at {place_of(value)}; "
                "send that one there, or get() this one first"
            )
        if value.shape != self.shape or value.dtype != self.dtype:
            raise WorkerError(
                f"{_kind(value)} can't replace {_kind(self)} behind a pointer; get() it, convert it, send it again"
            )
        self._handle = self.location.hold(value.held())

    def tolist(self) -> Any:
        """The values as Python numbers: a charged ``value`` message."""
        return fetch_value(self._handle, self.held())[0].tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """The values as an array: a charged ``value`` message."""
        if self.requires_grad and not force:
            _refuse(self, "numpy() with a gradient", "use pointer.detach().numpy()")
        return fetch_value(self._handle, self.held())[0].numpy()

    def __repr__(self, *, tensor_contents: str | None = None) -> str:  # type: ignore[override]
        return f"(Wrapper)>[PointerTensor | {self.owner.id}:{self.id} -> {self.location.id}:{self.id_at_location}]"

    def __format__(self, spec: str) -> str:
        if spec:
            _refuse(self, "formatting a pointer", "format pointer.item(), which is charged")
        return repr(self)

    def __deepcopy__(self, memo: Any) -> NoReturn:
        _refuse(
            self, "a deep copy", "use pointer.copy(), which stays there; of a sent module, get() it first"
        )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        _refuse(self, "pickling or copying a pointer", "get() it first, then save what you got")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(self, "numpy's view of a pointer", "use pointer.numpy(), which is charged")

    def __dlpack__(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(self, "DLPack", "use pointer.get()")

    def __dlpack_device__(self) -> NoReturn:
        _refuse(self, "DLPack", "use pointer.get()")

    def data_ptr(self) -> NoReturn:
        _refuse(self, "data_ptr()", "a pointer has no memory here; use pointer.get()")

    def untyped_storage(self) -> NoReturn:
        _refuse(self, "the storage", "a pointer has no memory here; use pointer.get()")

    def storage(self) -> NoReturn:
        _refuse(self, "the storage", "a pointer has no memory here; use pointer.get()")


def is_pointer(value: object) -> TypeGuard[PointerTensor]:
    """Whether a value is a pointer."""
    return type(value) is PointerTensor


def place_of(value: Tensor) -> str:
    """The name of the place where a tensor's values are, for messages."""
    return repr(value.location.id) if is_pointer(value) else HERE


def send_tensor(tensor: Tensor, worker: VirtualWorker) -> PointerTensor:
    """Send a plain tensor's values (a ``data`` message); the tensor itself is unchanged."""
    if is_pointer(tensor):
        tensor.send(worker)
    handle = _receive(worker, tensor.detach())
    leaf = tensor.requires_grad and tensor.is_leaf
    return PointerTensor.at(handle, worker.held(handle.id), requires_grad=leaf)


def _receive(worker: VirtualWorker, tensor: Tensor, *, after_s: float = 0.0) -> ObjectHandle:
    arrived = worker.download("data", "tensor", (tensor,), after_s=after_s)
    handle = worker.hold(only_tensor(arrived))
    handle.is_data = True
    return handle


def _refuse(pointer: PointerTensor, what: str, way_out: str) -> NoReturn:
    raise WorkerError(f"{what} is not possible here: the values are at {pointer.location.id!r}; {way_out}")


def _kind(value: Tensor) -> str:
    return f"{value.dtype} {list(value.shape)}"
