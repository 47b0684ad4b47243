"""Operations on remote tensors: each one runs at the worker that holds its operands.

A :class:`Remote` is a wrapper subclass of ``torch.Tensor``: shape, dtype and the autograd graph are local, the
values are an entry in a worker's object store. Below autograd, ``__torch_dispatch__`` sees every ATen operation,
runs it on what the worker holds, and wraps the result. So autograd, modules and stock optimisers run
unchanged, with the same kernels in the same order as on plain tensors: digit for digit the same.

**Places.** All tensors of one operation must be at one worker. A zero-dimensional plain CPU tensor counts as the
number that it is, as beside CUDA tensors; and zeros that autograd itself makes up (the gradient of an
output that was not used) join the worker. Nothing is ever written into a plain tensor.

**Values.** A number that an operation returns (``item``, ``equal``) is a request and a ``value`` message. Where values
decide the shape of a result (``nonzero``, a mask), the shape comes as a ``control`` message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor

from syft_fl.errors import TensorsNotCollocatedException, WorkerError
from syft_fl.transport.message import Content
from syft_fl.workers.operations import Operation, operation
from syft_fl.workers.worker import ObjectHandle, VirtualWorker

if TYPE_CHECKING:
    from torch._ops import OpOverload

__all__ = ["HERE", "Remote", "fetch_value", "only_tensor"]

HERE = "the base station"
"""What messages call the place of plain tensors."""

_SEQUENCES = (list, tuple)


class Remote(Tensor):
    """A tensor of which only shape, dtype and graph are here (abstract: a pointer is the one kind there is)."""

    _handle: ObjectHandle

    # Function overrides would cost a Python call per function; everything is decided below autograd instead.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run_at_worker(cls, func, args, kwargs)

    @classmethod
    def at(cls, handle: ObjectHandle, plain: Tensor, *, requires_grad: bool = False) -> Self:
        """A remote tensor for ``plain``, which the handle's worker holds."""
        if plain.layout is not torch.strided:
            raise WorkerError(
                f"a result at {handle.worker.id!r} is {plain.layout}; only dense tensors can be pointed at"
            )
        made: Self = Tensor._make_wrapper_subclass(
            cls,
            plain.shape,
            strides=plain.stride(),
            storage_offset=plain.storage_offset(),
            dtype=plain.dtype,
            device=plain.device,
            requires_grad=requires_grad,
        )
        # Whatever asks for the memory of a wrapper would read from address 0.
        torch._C._set_throw_on_mutable_data_ptr(made)
        made._handle = handle
        return made

    def held(self) -> Tensor:
        """What the worker holds."""
        handle = self._handle
        return handle.worker.held(handle.id)


def fetch_value(handle: ObjectHandle, value: Tensor) -> tuple[Tensor, float]:
    """Have a value sent to the base station, on a request that names the handle's object.

    Returns:
        What arrived, and when [s].
    """
    arrived, end_s = handle.worker.fetch(handle.id, "value", "tensor", (value,))
    return only_tensor(arrived), end_s


def only_tensor(content: Content) -> Tensor:
    """The tensor of a message that has one."""
    (tensor,) = cast(tuple[Tensor, ...], content)
    return tensor


def _run_at_worker(
    cls: type[Remote], func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> Any:
    """Run one ATen operation where its operands are."""
    facts = operation(func)
    operands: list[Remote] = []
    strangers: list[Tensor] = []
    plain_args = [_unwrapped(cls, a, operands, strangers) for a in args]
    plain_kwargs = {n: _unwrapped(cls, a, operands, strangers) for n, a in kwargs.items()} if kwargs else {}
    worker = operands[0]._handle.worker
    for operand in operands:
        if operand._handle.worker is not worker:
            raise _not_collocated(func, worker.id, repr(operand._handle.worker.id))
    if strangers:
        _check_strangers(func, worker, strangers)
    written = _written(func, facts, args, kwargs or {}, worker) if facts.writes else ()
    is_data = _count_samples(worker, operands, selects=facts.selects)
    result = func(*plain_args, **plain_kwargs)
    if written:
        _refit(written)
    if facts.reveals and _shape_tells(func, operands):
        shapes = [list(r.shape) for r in (result if isinstance(result, _SEQUENCES) else (result,))]
        worker.upload("control", "shape", {"shape": shapes})
    return _wrapped(cls, result, func, worker, operands, written, is_data)


def _unwrapped(cls: type[Remote], value: Any, operands: list[Remote], strangers: list[Tensor]) -> Any:
    """An argument as the worker sees it; the tensors in it are noted."""
    if type(value) is cls:
        operands.append(value)
        handle = value._handle
        return handle.worker.held(handle.id)
    if isinstance(value, _SEQUENCES):
        return [_unwrapped(cls, item, operands, strangers) for item in value]
    if isinstance(value, Tensor):
        strangers.append(value)
    return value


def _check_strangers(func: OpOverload, worker: VirtualWorker, strangers: list[Tensor]) -> None:
    """Plain tensors among the operands: numbers and autograd's own zeros may join the worker."""
    in_backward = torch._C._current_graph_task_id() != -1
    for tensor in strangers:
        if tensor.dim() and not (in_backward and not tensor.any()):
            raise _not_collocated(func, worker.id, HERE)


def _written(
    func: OpOverload,
    facts: Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    worker: VirtualWorker,
) -> list[tuple[Tensor, Remote]]:
    """What an operation will write into, as the worker's tensor and its pointer."""
    found: list[tuple[Tensor, Remote]] = []
    for place in facts.writes:
        at_hand: Any = kwargs if isinstance(place, str) else dict(enumerate(args))
        target = at_hand.get(place)
        for tensor in target if isinstance(target, _SEQUENCES) else (target,):
            if isinstance(tensor, Remote):
                found.append((tensor.held(), tensor))
            elif isinstance(tensor, Tensor):
                # A plain number may be read by a worker; written, it would carry a value away from it.
                raise _not_collocated(func, worker.id, HERE)
    return found


def _refit(written: list[tuple[Tensor, Remote]]) -> None:
    """Let operands have the shapes and strides that were written behind them (``t_``, ``out=``)."""
    for plain, pointer in written:
        if plain.shape != pointer.shape or plain.stride() != pointer.stride():
            try:
                with torch._C._DisableTorchDispatch():
                    pointer.as_strided_(plain.shape, plain.stride(), plain.storage_offset())
            except RuntimeError:
                raise WorkerError(
                    f"an object at {pointer._handle.worker.id!r} was resized to {list(plain.shape)}, and its pointer "
                    "can't grow: use the operation's result instead of out= or resize_"
                ) from None


def _count_samples(worker: VirtualWorker, operands: list[Remote], *, selects: bool) -> bool:
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
    if selects and operands[0]._handle.is_data:
        return True
    for pointer in operands:
        if pointer._handle.is_data and pointer.dim() and torch.is_grad_enabled():
            worker.pending_samples = max(worker.pending_samples, len(pointer))
    return False


def _shape_tells(func: OpOverload, operands: list[Remote]) -> bool:
    """Whether the shape of a result depends on values: of an indexing, only with a mask among the indices."""
    if func.overloadpacket is not torch.ops.aten.index:
        return True
    return any(p.dtype in (torch.bool, torch.uint8) for p in operands[1:])


def _wrapped(
    cls: type[Remote],
    result: Any,
    func: OpOverload,
    worker: VirtualWorker,
    operands: list[Remote],
    written: Sequence[tuple[Tensor, Remote]],
    is_data: bool,
) -> Any:
    """A result as the base station sees it: operands for tensors, charged values for numbers."""
    if isinstance(result, Tensor):
        for plain, pointer in written:
            if plain is result:
                return pointer
        handle = worker.hold(result)
        handle.is_data = is_data
        return cls.at(handle, result)
    if isinstance(result, _SEQUENCES):
        return type(result)(_wrapped(cls, r, func, worker, operands, written, is_data) for r in result)
    if result is None or not operation(func).tells:
        return result
    handle = operands[0]._handle
    is_item = func is torch.ops.aten._local_scalar_dense.default
    return fetch_value(handle, worker.held(handle.id) if is_item else torch.tensor(result))[0].item()


def _not_collocated(func: OpOverload, place: str, other: str) -> TensorsNotCollocatedException:
    return TensorsNotCollocatedException(
        f"{func}: one operand is at {place!r}, another at {other}; operands must be at one place: "
        f"send(), move() or get() one of them"
    )
