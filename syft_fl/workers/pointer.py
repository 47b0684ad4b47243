"""Pointers: tensors whose values are at a worker, with PySyft's ``get``, ``copy`` and ``move``.

How operations on them run is in :mod:`~syft_fl.workers.dispatch`. Values leave a worker only through the transport:
``item()``, ``float()``, ``bool()``, ``tolist()``, ``numpy()`` and ``torch.equal`` are charged; what can't be charged
(DLPack, pickle, deep copies, ``data_ptr``) is refused. Printing never fetches. Tags and descriptions travel as
``control`` messages, each way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard, cast

import torch
from torch import Tensor

from syft_fl.errors import TensorsNotCollocatedException, WorkerError
from syft_fl.workers.dispatch import HERE, Remote, fetch_value, only_tensor
from syft_fl.workers.labels import Label, add_label, description_of, label_of, label_of_tags, tags_of
from syft_fl.workers.worker import ObjectHandle, VirtualWorker

if TYPE_CHECKING:
    from syft_fl.workers.worker import LocalWorker

__all__ = ["PointerTensor", "is_pointer", "place_of", "send_tensor", "take"]


class PointerTensor(Remote):
    """A tensor whose values are at a worker. Made by ``tensor.send(worker)`` and by operations on pointers.

    Attributes:
        location: the worker that holds the values.
        id_at_location: their name there.
        owner: the base station, which holds the pointer.
        id: the pointer's own name.
        garbage_collect_data: whether the object leaves its worker when the pointer dies; can be set.
        tags, description: what the base station knows that the object is called.
        child: the pointer itself: in PySyft 0.2, what is inside the wrapper that it gives out.
    """

    _id: int | None = None

    is_wrapper = True
    point_to_attr: str | None = None

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

    @property
    def child(self) -> PointerTensor:
        return self

    @property
    def garbage_collect_data(self) -> bool:
        return self._handle.garbage_collect_data

    @garbage_collect_data.setter
    def garbage_collect_data(self, value: bool) -> None:
        self._handle.garbage_collect_data = value
        self._note()

    @property
    def tags(self) -> set[str]:
        return tags_of(self)

    @property
    def description(self) -> str | None:
        return description_of(self)

    def tag(self, *tags: str) -> PointerTensor:
        """Add tags to the object at its worker (a ``control`` message); in place, returns the pointer.

        Raises:
            ObjectNotFoundError: the object is not there any more.
            WorkerError: no text, or the message was lost; nothing has changed.
        """
        return self._call(label_of_tags(tags))

    def describe(self, description: str) -> PointerTensor:
        """Describe the object at its worker (a ``control`` message); in place, returns the pointer.

        Raises:
            ObjectNotFoundError: the object is not there any more.
            WorkerError: no text, or the message was lost; nothing has changed.
        """
        return self._call(Label(description=description))

    def _call(self, label: Label) -> PointerTensor:
        if label:
            _label_at(self._handle, self.held(), label)
            add_label(self, label)
            self._note()
        return self

    def _note(self) -> None:
        """Leave a word at the worker for pointers that are found there later: whether the object is data."""
        held = self.location.objects.get(self.id_at_location)
        if held is not None and self._handle.is_data:
            vars(held)["_is_data"] = True

    def send(self, *workers: VirtualWorker | str, **options: object) -> NoReturn:
        """Refused: pointers to pointers have no use here."""
        raise WorkerError(
            f"this is a pointer to {self.location.id!r} already; use pointer.move(worker), or get() it first"
        )

    def get(self, *, gradients: bool = False, sum_results: bool = False) -> Tensor:
        """Fetch the values and remove them from the worker, whatever ``garbage_collect_data`` says.

        Raises:
            ObjectNotFoundError: they are not there any more (a second ``get``).
            WorkerError: they were lost on the air, and are still at the worker; or a keyword that is not for tensors.
        """
        if gradients:
            raise WorkerError("get(gradients=True) is for modules; of a tensor, get pointer.grad as well")
        if sum_results:
            raise WorkerError(
                f"get(sum_results=True) is for several workers; this is at {self.location.id!r} alone"
            )
        return take([self])[0]

    def copy(self) -> Tensor:
        """A copy at the same worker; ``pointer.copy().get()`` leaves the original there."""
        return self.clone()

    def move(self, worker: VirtualWorker | LocalWorker | str) -> Tensor:
        """Take the values to another worker, through the base station; in place, returns the pointer.

        To the base station itself (``"me"``) it is :meth:`get`, and returns the tensor.

        Raises:
            WorkerError: the pointer is the result of operations that autograd recorded, or a message was lost.
        """
        hook = self.location.hook
        if hook.is_here(worker):
            return self.get()
        if not self.is_leaf:
            raise WorkerError(
                "a result that autograd recorded can't move away from its graph; move pointer.detach()"
            )
        target = hook.worker(cast("VirtualWorker | str", worker))
        arrived, end_s = fetch_value(self._handle, self.held())
        handle = _receive(target, arrived, label_of(self), after_s=end_s)
        handle.garbage_collect_data = self.garbage_collect_data
        self.location.rm_obj(self.id_at_location)
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
        # The object keeps its id and what it is called; a tensor object of its own does not get the other's label.
        behind = value.held().detach()
        add_label(behind, label_of(self.held()))
        self.location.objects[self.id_at_location] = behind
        self._handle.is_data = value._handle.is_data
        self._note()

    def tolist(self) -> Any:
        """The values as Python numbers: a charged ``value`` message."""
        return fetch_value(self._handle, self.held())[0].tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """The values as an array: a charged ``value`` message."""
        if self.requires_grad and not force:
            _refuse(self, "numpy() with a gradient", "use pointer.detach().numpy()")
        return fetch_value(self._handle, self.held())[0].numpy()

    def tensor_split(self, indices_or_sections: Any, dim: int = 0) -> Any:
        """torch's; places of cuts that are at a worker are charged as a ``value`` message."""
        if is_pointer(indices_or_sections):
            # torch reads them from memory that a pointer has not.
            indices_or_sections = indices_or_sections.tolist()
        return super().tensor_split(indices_or_sections, dim)

    def __repr__(self, *, tensor_contents: str | None = None) -> str:  # type: ignore[override]
        shown = f"(Wrapper)>[PointerTensor | {self.owner.id}:{self.id} -> {self.location.id}:{self.id_at_location}]"
        return f"{shown}{label_of(self)}"

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

    def _lazy_clone(self) -> NoReturn:
        _refuse(self, "a lazy clone", "use pointer.clone()")

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
    """Send a plain tensor's values (a ``data`` message); the tensor itself is unchanged.

    Tags and a description follow in a ``control`` message.
    """
    if is_pointer(tensor):
        tensor.send(worker)
    label = label_of(tensor)
    handle = _receive(worker, tensor.detach(), label)
    leaf = tensor.requires_grad and tensor.is_leaf
    pointer = PointerTensor.at(handle, worker.held(handle.id), requires_grad=leaf)
    add_label(pointer, label)
    return pointer


def take(pointers: Sequence[PointerTensor]) -> list[Tensor]:
    """Fetch what pointers point at, and remove it there once all has arrived.

    Raises:
        ObjectNotFoundError: something is not there any more.
        WorkerError: something was lost on the air; all is still where it was.
    """
    values = [fetch_value(pointer._handle, pointer.held())[0] for pointer in pointers]
    for pointer, value in zip(pointers, values, strict=True):
        pointer.location.rm_obj(pointer.id_at_location)
        add_label(value, label_of(pointer))
        value.requires_grad_(pointer.requires_grad and pointer.is_leaf)
    return values


def _receive(worker: VirtualWorker, tensor: Tensor, label: Label, *, after_s: float = 0.0) -> ObjectHandle:
    handle = ObjectHandle(worker, next(worker.hook.ids))
    arrived = only_tensor(worker.download("data", "tensor", (tensor,), after_s=after_s, about=str(handle.id)))
    worker.objects[handle.id] = arrived
    handle.is_data = vars(arrived)["_is_data"] = True
    if label:
        _label_at(handle, arrived, label)
    return handle


def _label_at(handle: ObjectHandle, held: Tensor, label: Label) -> None:
    """Have an object called something at its worker: a ``control`` message."""
    facts = {"object": handle.id, **label.facts()}
    arrived = handle.worker.download("control", "label", facts, about=str(handle.id))
    add_label(held, Label.of(cast("dict[str, Any]", arrived)))


def _refuse(pointer: PointerTensor, what: str, way_out: str) -> NoReturn:
    raise WorkerError(f"{what} is not possible here: the values are at {pointer.location.id!r}; {way_out}")


def _kind(value: Tensor) -> str:
    return f"{value.dtype} {list(value.shape)}"
