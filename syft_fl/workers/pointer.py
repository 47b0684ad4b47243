"""Pointers: tensors whose values are at a worker, and whose operations run there.

A :class:`PointerTensor` is a wrapper subclass of ``torch.Tensor``: shape, dtype and the autograd graph are local,
the values are an entry in the worker's object store. Below autograd, ``__torch_dispatch__`` sees every
ATen operation, runs it on what the worker holds, and wraps the result. So autograd, modules and stock
optimisers run unchanged, with the same kernels in the same order as on plain tensors: digit for digit the same.

**Places.** All tensors of one operation must be at one worker. A zero-dimensional plain CPU tensor counts as the number
that it is, as beside CUDA tensors; and zeros that autograd itself makes up (the gradient of an output that was not used)
join the worker. Nothing is ever written into a plain tensor.

**Values** leave a worker only through the transport. ``item()``, ``float()``, ``bool()``, ``tolist()``, ``numpy()`` and
``torch.equal`` are a request and a ``value`` message; where a value decides a shape (``nonzero``, a mask), the shape comes
as a ``control`` message. What can't be charged (DLPack, pickle, deep copies, ``data_ptr``) is refused. Printing never fetches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard, cast

import torch
from torch import Tensor

from syft_fl.errors import TensorsNotCollocatedException, WorkerError
from syft_fl.transport.message import Content
from syft_fl.workers.operations import Operation, operation
from syft_fl.workers.worker import ObjectHandle, VirtualWorker

if TYPE_CHECKING:
    from torch._ops import OpOverload

    from syft_fl.workers.worker import LocalWorker

__all__ = ["PointerTensor", "is_pointer", "place_of", "plain_behind", "point_at", "send_tensor"]


class PointerTensor(Tensor):
    """A tensor whose values are at a worker. Made by ``tensor.send(worker)`` and by operations on pointers.

    Attributes:
        location: the worker that holds the values.
        id_at_location: their name there.
        owner: the base station, which holds the pointer.
        id: the pointer's own name.
    """

    _handle: ObjectHandle
    _id: int | None = None

    # Function overrides would cost a Python call per function; everything is decided below autograd instead.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run_at_worker(func, args, kwargs or {})

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
        arrived, _ = _fetch(self)
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
        arrived, end_s = _fetch(self)
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
                f"pointer.data to {self.location.id!r} can't be set to a tensor at {place_of(value)!r}; "
                "send that one there, or get() this one first"
            )
        if value.shape != self.shape or value.dtype != self.dtype:
            raise WorkerError(
                f"{_kind(value)} can't replace {_kind(self)} behind a pointer; get() it, convert it, send it again"
            )
        self._handle = self.location.hold(plain_behind(value))

    def tolist(self) -> Any:
        """The values as Python numbers: a charged ``value`` message."""
        return _fetch(self)[0].tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """The values as an array: a charged ``value`` message."""
        if self.requires_grad and not force:
            raise WorkerError(
                "a pointer that requires a gradient has no numpy(); use pointer.detach().numpy()"
            )
        return _fetch(self)[0].numpy()

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


def point_at(handle: ObjectHandle, plain: Tensor, *, requires_grad: bool = False) -> PointerTensor:
    """A pointer to ``plain``, which the handle's worker holds."""
    if plain.layout is not torch.strided:
        raise WorkerError(
            f"a result at {handle.worker.id!r} is {plain.layout}; only dense tensors can be pointed at"
        )
    pointer: PointerTensor = Tensor._make_wrapper_subclass(
        PointerTensor,
        plain.shape,
        strides=plain.stride(),
        storage_offset=plain.storage_offset(),
        dtype=plain.dtype,
        device=plain.device,
        requires_grad=requires_grad,
    )
    # Whatever asks for the memory of a wrapper would read from address 0.
    torch._C._set_throw_on_mutable_data_ptr(pointer)
    pointer._handle = handle
    return pointer


def plain_behind(pointer: PointerTensor) -> Tensor:
    """What the worker holds behind a pointer."""
    return pointer._handle.worker.held(pointer._handle.id)


def place_of(value: Tensor) -> str:
    """The name of the place where a tensor's values are."""
    return value.location.id if is_pointer(value) else "the base station"


def send_tensor(tensor: Tensor, worker: VirtualWorker) -> PointerTensor:
    """Send a plain tensor's values (a ``data`` message); the tensor itself is unchanged."""
    if is_pointer(tensor):
        tensor.send(worker)
    handle = _receive(worker, tensor.detach())
    leaf = tensor.requires_grad and tensor.is_leaf
    return point_at(handle, worker.held(handle.id), requires_grad=leaf)


def _receive(worker: VirtualWorker, tensor: Tensor, *, after_s: float = 0.0) -> ObjectHandle:
    arrived = worker.download("data", "tensor", (tensor,), after_s=after_s)
    handle = worker.hold(_only(arrived))
    handle.is_data = True
    return handle


def _fetch(pointer: PointerTensor) -> tuple[Tensor, float]:
    return _fetch_value(pointer._handle, plain_behind(pointer))


def _fetch_value(handle: ObjectHandle, value: Tensor) -> tuple[Tensor, float]:
    arrived, end_s = handle.worker.fetch(handle.id, "value", "tensor", (value,))
    return _only(arrived), end_s


def _only(content: Content) -> Tensor:
    (tensor,) = cast(tuple[Tensor, ...], content)
    return tensor


def _refuse(pointer: PointerTensor, what: str, way_out: str) -> NoReturn:
    raise WorkerError(
        f"{what} is not possible at the base station: values are at {pointer.location.id!r}; {way_out}"
    )


def _kind(value: Tensor) -> str:
    return f"{value.dtype} {list(value.shape)}"


def _run_at_worker(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run one ATen operation where its operands are."""
    facts = operation(func)
    pointers: list[PointerTensor] = []
    strangers: list[Tensor] = []
    plain_args = [_unwrapped(a, pointers, strangers) for a in args]
    plain_kwargs = {name: _unwrapped(a, pointers, strangers) for name, a in kwargs.items()} if kwargs else {}
    worker = pointers[0]._handle.worker
    for pointer in pointers:
        if pointer._handle.worker is not worker:
            raise _not_collocated(func, worker.id, place_of(pointer))
    if strangers:
        _check_strangers(func, worker, strangers)
    written = _written(func, facts, args, kwargs, worker) if facts.writes else ()
    is_data = _count_samples(worker, pointers, selects=facts.selects)
    result = func(*plain_args, **plain_kwargs)
    if written:
        _refit(written)
    if facts.reveals and _shape_tells(func, pointers):
        shapes = [list(r.shape) for r in (result if isinstance(result, tuple | list) else (result,))]
        worker.upload("control", "shape", {"shape": shapes})
    return _wrapped(result, func, worker, pointers, written, is_data)


def _unwrapped(value: Any, pointers: list[PointerTensor], strangers: list[Tensor]) -> Any:
    """An argument as the worker sees it; the tensors in it are noted."""
    if type(value) is PointerTensor:
        pointers.append(value)
        handle = value._handle
        return handle.worker.held(handle.id)
    if isinstance(value, Tensor):
        strangers.append(value)
    elif isinstance(value, list | tuple):
        return [_unwrapped(item, pointers, strangers) for item in value]
    return value


def _check_strangers(func: OpOverload, worker: VirtualWorker, strangers: list[Tensor]) -> None:
    """Plain tensors among the operands: numbers and autograd's own zeros may join the worker."""
    in_backward = torch._C._current_graph_task_id() != -1
    for tensor in strangers:
        if tensor.dim() and not (in_backward and not tensor.any()):
            raise _not_collocated(func, worker.id, place_of(tensor))


def _written(
    func: OpOverload,
    facts: Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    worker: VirtualWorker,
) -> list[tuple[Tensor, PointerTensor]]:
    """What an operation will write into, as the worker's tensor and its pointer."""
    found: list[tuple[Tensor, PointerTensor]] = []
    for place in facts.writes:
        if isinstance(place, str):
            target = kwargs.get(place)
        else:
            target = args[place] if place < len(args) else None
        for tensor in target if isinstance(target, list | tuple) else (target,):
            if is_pointer(tensor):
                found.append((plain_behind(tensor), tensor))
            elif isinstance(tensor, Tensor):
                # A plain number may be read by a worker; written, it would carry a value away from it.
                raise _not_collocated(func, worker.id, place_of(tensor))
    return found


def _refit(written: list[tuple[Tensor, PointerTensor]]) -> None:
    """Let pointers have the shapes and strides that were written behind them (``t_``, ``out=``)."""
    for plain, pointer in written:
        if plain.shape != pointer.shape or plain.stride() != pointer.stride():
            try:
                with torch._C._DisableTorchDispatch():
                    pointer.as_strided_(plain.shape, plain.stride(), plain.storage_offset())
            except RuntimeError:
                raise WorkerError(
                    f"an object at {pointer.location.id!r} was resized from {list(pointer.shape)} to {list(plain.shape)}; "
                    "a pointer can't grow: use the operation's result instead of out= or resize_"
                ) from None


def _count_samples(worker: VirtualWorker, pointers: list[PointerTensor], *, selects: bool) -> bool:
    """Note the data that an operation takes, and charge them when a backward pass begins.

    Returns:
        Whether the result is data.
    """
    in_backward = torch._C._current_graph_task_id() != -1
    if in_backward:
        if worker.pending_samples:
            samples, worker.pending_samples = worker.pending_samples, 0
            worker.compute(samples)
        return False
    if selects and pointers[0]._handle.is_data:
        return True
    for pointer in pointers:
        if pointer._handle.is_data and pointer.dim() and torch.is_grad_enabled():
            worker.pending_samples = max(worker.pending_samples, len(pointer))
    return False


def _shape_tells(func: OpOverload, pointers: list[PointerTensor]) -> bool:
    """Whether the shape of a result depends on values: of an indexing, only with a mask among the indices."""
    if func.overloadpacket is not torch.ops.aten.index:
        return True
    return any(p.dtype in (torch.bool, torch.uint8) for p in pointers[1:])


def _wrapped(
    result: Any,
    func: OpOverload,
    worker: VirtualWorker,
    pointers: list[PointerTensor],
    written: Sequence[tuple[Tensor, PointerTensor]],
    is_data: bool,
) -> Any:
    """A result as the base station sees it: pointers for tensors, charged values for numbers."""
    if isinstance(result, Tensor):
        for plain, pointer in written:
            if plain is result:
                return pointer
        handle = worker.hold(result)
        handle.is_data = is_data
        return point_at(handle, result)
    if isinstance(result, list | tuple):
        return type(result)(_wrapped(r, func, worker, pointers, written, is_data) for r in result)
    if result is None or not operation(func).tells:
        return result
    handle = pointers[0]._handle
    value = (
        worker.held(handle.id) if func is torch.ops.aten._local_scalar_dense.default else torch.tensor(result)
    )
    return _fetch_value(handle, value)[0].item()


def _not_collocated(func: OpOverload, place: str, other: str) -> TensorsNotCollocatedException:
    return TensorsNotCollocatedException(
        f"{func}: one operand is at {place!r}, another at {other!r}; operands must be at one place: "
        f"send(), move() or get() one of them"
    )
