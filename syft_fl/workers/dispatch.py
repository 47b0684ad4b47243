"""Operations on remote tensors: each one runs at the worker that holds its operands.

A :class:`Remote` is a wrapper subclass of ``torch.Tensor``: shape, dtype and the autograd graph are local, the
values are an entry in a worker's object store. Below autograd, ``__torch_dispatch__`` sees every ATen operation,
runs it on what the worker holds, and wraps the result. So autograd, modules and stock optimisers run
unchanged, with the same kernels in the same order as on plain tensors: digit for digit the same.

**Places.** All tensors of one operation must be at one worker. A zero-dimensional plain CPU tensor counts as the
number that it is, as beside CUDA tensors; and zeros that autograd itself makes up (the gradient of an
output that was not used) join the worker. Nothing is ever written into a plain tensor.

**Random numbers** come from the worker's own stream (:mod:`~syft_fl.workers.draws`).

**Values.** A number that an operation returns (``item``, ``equal``) is a request and a ``value`` message. Where values
decide the shape of a result (``nonzero``, a mask), the shape comes as a ``control`` message.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor

from syft_fl.errors import TensorsNotCollocatedException, WorkerError
from syft_fl.transport.message import Content
from syft_fl.workers.draws import generator_of, global_draws
from syft_fl.workers.operations import KNOWN, Operation, operation
from syft_fl.workers.worker import ObjectHandle, VirtualWorker

if TYPE_CHECKING:
    from torch._ops import OpOverload

__all__ = ["HERE", "Remote", "fetch_value", "only_tensor"]

HERE = "the base station"
"""What messages call the place of plain tensors."""

_SEQUENCES = (list, tuple)

# Looked up once: some forty operations make a training step of a small model.
_graph_task: Callable[[], int] = torch._C._current_graph_task_id
_make_wrapper = Tensor._make_wrapper_subclass
_seal = torch._C._set_throw_on_mutable_data_ptr
_STRIDED = torch.strided
_ITEM = torch.ops.aten._local_scalar_dense.default


class Remote(Tensor):
    """A tensor of which only shape, dtype and graph are here (abstract: a pointer is the one kind there is)."""

    _handle: ObjectHandle

    # Function overrides would cost a Python call per function; everything is decided below autograd instead.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        facts = KNOWN.get(id(func)) or operation(func)
        if not facts.common:
            return _run_at_worker(cls, func, facts, args, kwargs or {})
        worker: Any = None
        is_data = False
        there = list(args)
        for place, value in enumerate(args):
            if type(value) is cls:
                handle = value._handle
                if worker is None:
                    worker = handle.worker
                elif handle.worker is not worker:
                    raise _not_collocated(func, worker.id, repr(handle.worker.id))
                there[place] = worker.held(handle.id)
                if handle.is_data:
                    is_data = True
            elif isinstance(value, Tensor):
                return _run_at_worker(cls, func, facts, args, kwargs or {})
        if is_data or worker.pending_samples:
            is_data = _count_samples(worker, [v for v in args if type(v) is cls], selects=facts.selects)
        result = facts.call(*there, **kwargs) if kwargs else facts.call(*there)
        if facts.writes:
            return args[0]
        if type(result) is not Tensor or result.layout is not _STRIDED:
            return _wrapped(cls, result, worker, is_data)
        # hold() and at(), written out.
        handle = ObjectHandle(worker, next(worker.hook.ids))
        handle.is_data = is_data
        worker.objects[handle.id] = result
        offset = result.storage_offset()
        made = _make_wrapper(
            cls, result.shape, result.stride(), offset, None, result.dtype, _STRIDED, result.device
        )
        _seal(made)
        made._handle = handle
        return made

    @classmethod
    def at(cls, handle: ObjectHandle, plain: Tensor, *, requires_grad: bool = False) -> Self:
        """A remote tensor for ``plain``, which the handle's worker holds."""
        if plain.layout is not _STRIDED:
            raise WorkerError(
                f"a result at {handle.worker.id!r} is {plain.layout}; only dense tensors can be pointed at"
            )
        # By position, the memory format left open: by name it takes half as long again.
        offset = plain.storage_offset()
        made: Self = _make_wrapper(
            cls, plain.shape, plain.stride(), offset, None, plain.dtype, _STRIDED, plain.device
        )
        # Whatever asks for the memory of a wrapper would read from address 0.
        _seal(made)
        made._handle = handle
        if requires_grad:
            made.requires_grad_()
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
    cls: type[Remote], func: OpOverload, facts: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Run an ATen operation, of whatever kind, where its operands are."""
    operands: list[Remote] = []
    strangers: list[Tensor] = []
    there = [_unwrapped(cls, a, operands, strangers) for a in args]
    there_by_name = {name: _unwrapped(cls, a, operands, strangers) for name, a in kwargs.items()}
    worker = operands[0]._handle.worker
    for operand in operands:
        if operand._handle.worker is not worker:
            raise _not_collocated(func, worker.id, repr(operand._handle.worker.id))
    if strangers:
        _check_strangers(func, worker, strangers)
    written = _written(func, facts, args, kwargs, worker)
    is_data = _count_samples(worker, operands, selects=facts.selects)
    run = functools.partial(_draw, worker, facts) if facts.draws else facts.call
    result = run(*there, **there_by_name)
    if written:
        _refit(written)
    if facts.reveals and _shape_tells(func, operands):
        shapes = [list(r.shape) for r in (result if isinstance(result, _SEQUENCES) else (result,))]
        worker.upload("control", "shape", {"shape": shapes})
    if facts.tells:
        return _told(func, result, operands[0])
    return _wrapped(cls, result, worker, is_data, written)


def _draw(worker: VirtualWorker, facts: Operation, *args: Any, **kwargs: Any) -> Any:
    """Run an operation that draws random numbers, from the worker's stream unless it was given a generator."""
    if not facts.takes_generator:
        with global_draws(worker):
            return facts.call(*args, **kwargs)
    if kwargs.get("generator") is None and not any(isinstance(a, torch.Generator) for a in args):
        kwargs["generator"] = generator_of(worker)
    return facts.call(*args, **kwargs)


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
    in_backward = _graph_task() != -1
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
    if _graph_task() != -1:
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
    worker: VirtualWorker,
    is_data: bool,
    written: Sequence[tuple[Tensor, Remote]] = (),
) -> Any:
    """A result as the base station sees it: operands that were written into are themselves, others new pointers."""
    if isinstance(result, Tensor):
        for plain, pointer in written:
            if plain is result:
                return pointer
        handle = worker.hold(result)
        handle.is_data = is_data
        return cls.at(handle, result)
    if isinstance(result, _SEQUENCES):
        return type(result)(_wrapped(cls, r, worker, is_data, written) for r in result)
    return result


def _told(func: OpOverload, result: Any, operand: Remote) -> Any:
    """Numbers that an operation returns, once they have been on the air."""
    handle = operand._handle
    if func is _ITEM:
        return fetch_value(handle, operand.held())[0].item()
    numbers = result if isinstance(result, _SEQUENCES) else (result,)
    # Python's numbers have 64 bits.
    sent = [torch.tensor(n, dtype=torch.float64 if isinstance(n, float) else None) for n in numbers]
    arrived, _ = handle.worker.fetch(handle.id, "value", "tensor", tuple(sent))
    back = [t.item() for t in cast(tuple[Tensor, ...], arrived)]
    return type(result)(back) if isinstance(result, _SEQUENCES) else back[0]


def _not_collocated(func: OpOverload, place: str, other: str) -> TensorsNotCollocatedException:
    return TensorsNotCollocatedException(
        f"{func}: one operand is at {place!r}, another at {other}; operands must be at one place: "
        f"send(), move() or get() one of them"
    )
