"""What a worker holds, as a script sees it: pointers, found by id, by tag, or one and all.

In PySyft 0.2 ``worker._objects``, ``get_obj`` and ``search`` hand out the worker's own tensors, past every message.
Here they hand out pointers, so that a value has one way to leave: over the air, charged. ``search`` is itself a request
and an answer; the other two are the experimenter's list of what is where, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from syft_fl.errors import WorkerError
from syft_fl.workers.labels import add_label, label_of
from syft_fl.workers.pointer import PointerTensor, is_pointer
from syft_fl.workers.worker import ObjectHandle

if TYPE_CHECKING:
    from syft_fl.workers.worker import VirtualWorker

__all__ = ["Objects", "Query", "pointer_to", "register", "search_at"]

Query = str | int | Sequence[str | int]
"""Tags and ids that are searched for: one, or several at once."""


class Objects(Mapping[int, PointerTensor]):
    """A worker's objects by id, each as a pointer that leaves it there."""

    def __init__(self, worker: VirtualWorker) -> None:
        self._worker = worker

    def __getitem__(self, object_id: int) -> PointerTensor:
        if object_id not in self._worker.objects:
            raise KeyError(object_id)
        return pointer_to(self._worker, object_id)

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._worker.objects

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._worker.objects))

    def __len__(self) -> int:
        return len(self._worker.objects)

    def __repr__(self) -> str:
        return repr(dict(self))


def pointer_to(worker: VirtualWorker, object_id: int) -> PointerTensor:
    """One more pointer to an object; it does not take the object with it when it dies.

    Raises:
        ObjectNotFoundError: there is none of that id.
    """
    held = worker.held(object_id)
    handle = ObjectHandle(worker, object_id)
    handle.garbage_collect_data = False
    handle.is_data = vars(held).get("_is_data", False)
    pointer = PointerTensor.at(handle, held)
    add_label(pointer, label_of(held))
    return pointer


def register(worker: VirtualWorker, tensor: Tensor, object_id: int | None) -> PointerTensor:
    """Let a worker hold a tensor that it has of itself; see :meth:`VirtualWorker.register_obj`."""
    if is_pointer(tensor):
        raise WorkerError(f"this is a pointer to {tensor.location.id!r}; use pointer.move({worker.id!r})")
    if object_id is None:
        object_id = next(worker.hook.ids)
    elif object_id in worker.objects or not 0 <= object_id < worker.hook.first_id:
        raise WorkerError(
            f"obj_id = {object_id} must be free at {worker.id!r} and in 0 … {worker.hook.first_id - 1} "
            "(the hook gives those above); leave it out to be given one"
        )
    own = tensor.detach().clone()
    vars(own)["_is_data"] = True
    add_label(own, label_of(tensor))
    worker.objects[object_id] = own
    return pointer_to(worker, object_id)


def search_at(worker: VirtualWorker, query: tuple[Query, ...]) -> list[PointerTensor]:
    """Ask a worker what it holds of some tags and ids; see :meth:`VirtualWorker.search`."""
    terms: list[str | int] = []
    for part in query:
        terms += part if isinstance(part, Sequence) and not isinstance(part, str) else [part]
    for term in terms:
        if not isinstance(term, str | int):
            raise WorkerError(f"{term!r} can't be searched for; give tags (texts) and ids (numbers)")
    found = [
        {"id": object_id, "shape": list(held.shape), "dtype": str(held.dtype), **label_of(held).facts()}
        for object_id, held in worker.objects.items()
        if label_of(held).answers(object_id, terms)
    ]
    request = " ".join(["search", *map(str, terms)])
    answer, _ = worker.fetch(request, "control", "search", {"found": found})
    return [pointer_to(worker, facts["id"]) for facts in cast(Mapping[str, Any], answer)["found"]]
