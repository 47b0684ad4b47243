"""Pointers to several workers at once: what ``tensor.send(ue0, ue1)`` makes.

A :class:`MultiPointerTensor` holds one pointer per worker. An operation, a method or a torch function on it is the
same one on each pointer in turn, so everything that is charged for a pointer is charged for each. It is no
``torch.Tensor`` itself (in PySyft 0.2 one is wrapped around it): torch hands functions over by ``__torch_function__``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from syft_fl.errors import TensorsNotCollocatedException, WorkerError
from syft_fl.workers.pointer import PointerTensor, is_pointer, place_of, send_tensor, take

if TYPE_CHECKING:
    from syft_fl.workers.worker import VirtualWorker

__all__ = ["MultiPointerTensor", "combine_pointers", "send_to_each"]

_OPERATORS = [
    *("add", "radd", "iadd", "sub", "rsub", "isub", "mul", "rmul", "imul", "truediv", "rtruediv", "itruediv"),
    *("floordiv", "rfloordiv", "mod", "pow", "rpow", "matmul", "rmatmul", "neg", "abs", "invert"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "getitem", "setitem"),
]
"""Python looks operators up in the class, so each is put there."""


class MultiPointerTensor:
    """Tensors of one shape at several workers, worked on side by side.

    Operands of one operation are at the same workers, or numbers. What an operation returns for each worker is put
    together again: tensors as another of these, None as None, anything else as a dictionary by worker id.

    Attributes:
        child: the pointers by worker id, in the order of sending.

    Example:
        >>> import torch
        >>> from syft_fl.workers import TorchHook, VirtualWorker
        >>> hook = TorchHook(torch)
        >>> ue0, ue1 = VirtualWorker(hook, "ue0"), VirtualWorker(hook, "ue1")
        >>> both = torch.tensor([1.0, 2.0]).send(ue0, ue1)
        >>> (2 * both).get(sum_results=True)
        tensor([4., 8.])
    """

    child: Mapping[str, PointerTensor]

    __hash__ = object.__hash__

    def __init__(self, pointers: Iterable[PointerTensor]) -> None:
        pointers = list(pointers)
        self.child = MappingProxyType({pointer.location.id: pointer for pointer in pointers})
        if len(self.child) < len(pointers):
            places = ", ".join(repr(pointer.location.id) for pointer in pointers)
            raise WorkerError(
                f"pointers to {places}: each worker must be there once; leave out the second one"
            )
        if len({pointer.shape for pointer in pointers}) != 1:
            shapes = ", ".join(str(list(pointer.shape)) for pointer in pointers) or "none"
            raise WorkerError(f"the tensors behind one multi-pointer must have one shape, not {shapes}")

    @property
    def workers(self) -> list[VirtualWorker]:
        return [pointer.location for pointer in self.child.values()]

    @property
    def location(self) -> list[VirtualWorker]:
        return self.workers

    @property
    def shape(self) -> torch.Size:
        return self._first.shape

    @property
    def dtype(self) -> torch.dtype:
        return self._first.dtype

    @property
    def requires_grad(self) -> bool:
        return self._first.requires_grad

    @property
    def ndim(self) -> int:
        return self._first.dim()

    def dim(self) -> int:
        return self._first.dim()

    def numel(self) -> int:
        return self._first.numel()

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.unbind())

    @property
    def garbage_collect_data(self) -> bool:
        """Whether the objects go with their pointers."""
        return all(pointer.garbage_collect_data for pointer in self.child.values())

    @garbage_collect_data.setter
    def garbage_collect_data(self, value: bool) -> None:
        for pointer in self.child.values():
            pointer.garbage_collect_data = value

    def get(self, *, sum_results: bool = False) -> Any:
        """Fetch the values of all workers and remove them there.

        Args:
            sum_results: their sum instead of their list.

        Raises:
            ObjectNotFoundError: one is not there any more.
            WorkerError: one was lost on the air; all are still at their workers.
        """
        arrived = take(list(self.child.values()))
        return sum(arrived[1:], arrived[0]) if sum_results else arrived

    def send(self, *workers: object, **options: object) -> NoReturn:
        """Refused, as for one pointer."""
        raise WorkerError(f"these are pointers to {self._places} already; get() them first")

    def move(self, worker: object) -> NoReturn:
        """Refused: the values of several workers don't fit one pointer."""
        raise WorkerError(
            f"the values at {self._places} can't move into one; get(sum_results=True) and send that, or move "
            "the pointers in .child one by one"
        )

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _on_each(func, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        # Only what is not above comes here. Protocols (pickle, arrays) must not be answered by a worker each.
        if name.startswith("_") or name == "child":
            raise AttributeError(f"a MultiPointerTensor has no attribute {name!r}")
        found = {place: getattr(pointer, name) for place, pointer in self.child.items()}
        if not callable(next(iter(found.values()))):
            return _joined(found, [self])

        def method(*args: Any, **kwargs: Any) -> Any:
            return _on_each(lambda pointer, *a, **k: getattr(pointer, name)(*a, **k), (self, *args), kwargs)

        return method

    def _refuse(self, *_: object) -> NoReturn:
        raise WorkerError(
            f"one value for the tensors at {self._places} is not possible: there is one at each; use get()"
        )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refused, as for one pointer: pickling, copying."""
        raise WorkerError(
            f"the values are at {self._places}; get() them first, or use copy(), which stays there"
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __array__ = _refuse

    def __repr__(self) -> str:
        # The pointers as PySyft shows them here: without the wrapper that each of its own has.
        lines = [f"\n\t-> {repr(p).removeprefix('(Wrapper)>')}" for p in self.child.values()]
        return "".join(["(Wrapper)>[MultiPointerTensor]", *lines])

    @property
    def _first(self) -> PointerTensor:
        return next(iter(self.child.values()))

    @property
    def _places(self) -> str:
        return ", ".join(map(repr, self.child))


def _operator(name: str) -> Callable[..., Any]:
    operation = getattr(Tensor, name)

    def operator(self: MultiPointerTensor, *others: Any) -> Any:
        return _on_each(operation, (self, *others), {})

    return operator


for _name in _OPERATORS:
    setattr(MultiPointerTensor, f"__{_name}__", _operator(f"__{_name}__"))


def combine_pointers(*pointers: PointerTensor) -> MultiPointerTensor:
    """One multi-pointer of pointers to different workers; they go on being usable one by one."""
    for pointer in pointers:
        if not is_pointer(pointer):
            raise WorkerError(f"a {type(pointer).__name__} is no pointer; send() it first")
    return MultiPointerTensor(pointers)


def send_to_each(
    tensor: Tensor, workers: Iterable[VirtualWorker], *, garbage_collect_data: bool = True
) -> MultiPointerTensor:
    """Send a plain tensor's values to several workers, a ``data`` message each."""
    workers = list(workers)
    if len(set(workers)) < len(workers):
        names = ", ".join(repr(worker.id) for worker in workers)
        raise WorkerError(f"send({names}): each worker must be there once; leave out the second one")
    sent = [send_tensor(tensor, worker) for worker in workers]
    both = MultiPointerTensor(sent)
    # Only now: where a later message was lost, what the earlier ones brought goes again.
    both.garbage_collect_data = garbage_collect_data
    return both


def _on_each(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call a function once per worker, with that worker's pointers.

    Raises:
        TensorsNotCollocatedException: an operand is elsewhere; found before anything runs at any worker.
    """
    operands = list(_operands((args, kwargs)))
    multis = [operand for operand in operands if isinstance(operand, MultiPointerTensor)]
    for operand in operands:
        if not _joins(operand, multis[0]):
            place = operand._places if isinstance(operand, MultiPointerTensor) else place_of(operand)
            raise TensorsNotCollocatedException(
                f"one operand is at {multis[0]._places}, another at {place}; the operands must be at the same "
                "workers: send() to all of them, or get() one"
            )
    results = {place: func(*_share(args, place), **_share(kwargs, place)) for place in multis[0].child}
    return _joined(results, multis)


def _operands(value: Any) -> Iterator[MultiPointerTensor | Tensor]:
    if isinstance(value, MultiPointerTensor | Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _operands(item)
    elif isinstance(value, Mapping):
        yield from _operands(list(value.values()))


def _joins(operand: MultiPointerTensor | Tensor, multi: MultiPointerTensor) -> bool:
    """Whether an operand is at all of the workers: plain numbers are, as beside one pointer."""
    if isinstance(operand, MultiPointerTensor):
        return set(operand.workers) == set(multi.workers)
    return not is_pointer(operand) and not operand.dim()


def _share(value: Any, place: str) -> Any:
    """An argument as one worker gets it."""
    if isinstance(value, MultiPointerTensor):
        return value.child[place]
    if isinstance(value, list | tuple):
        return type(value)([_share(item, place) for item in value])
    if isinstance(value, dict):
        return {name: _share(item, place) for name, item in value.items()}
    return value


def _joined(results: Mapping[str, Any], operands: Iterable[MultiPointerTensor]) -> Any:
    """The results of all workers as one; what was worked on in place is itself again."""
    each = list(results.values())
    first = each[0]
    if all(result is None for result in each):
        return None
    if all(is_pointer(result) for result in each):
        for operand in operands:
            if all(result is operand.child[place] for place, result in results.items()):
                return operand
        return MultiPointerTensor(each)
    if isinstance(first, list | tuple) and any(map(is_pointer, first)):
        # max(dim=…), split and their like: a multi-pointer for each part.
        parts = [_joined(dict(zip(results, part, strict=True)), operands) for part in zip(*each, strict=True)]
        return type(first)(parts)
    return dict(results)
