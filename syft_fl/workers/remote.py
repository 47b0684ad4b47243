"""Plain torch at a worker: what :meth:`VirtualWorker.run` does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, as_tensor, nn

from syft_fl.errors import TensorsNotCollocatedException, WorkerError
from syft_fl.learn import intra_op_threads
from syft_fl.workers.modules import named_tensors
from syft_fl.workers.pointer import PointerTensor, is_pointer, place_of
from syft_fl.workers.worker import VirtualWorker

__all__ = ["run_at"]


def run_at(worker: VirtualWorker, fn: Callable[..., Any], handles: tuple[Any, ...], *, samples: float) -> Any:
    """Call ``fn`` with what is behind the handles; see :meth:`VirtualWorker.run`."""
    twins: list[tuple[nn.Module, nn.Module]] = []

    def behind(handle: Any) -> Any:
        if isinstance(handle, nn.Module):
            twins.append((handle, _twin(worker, handle)))
            return twins[-1][1]
        if isinstance(handle, Tensor):
            return _held(worker, handle)
        return handle

    # As the simulation's UEs: results don't depend on how many cores the host has.
    with intra_op_threads(1):
        result = fn(*[behind(handle) for handle in handles])
    for module, twin in twins:
        _keep(worker, module, twin)
    worker.compute(samples)
    return _pointed(worker, result)


def _held(worker: VirtualWorker, tensor: Tensor) -> Tensor:
    if not is_pointer(tensor) or tensor.location is not worker:
        raise TensorsNotCollocatedException(
            f"run() at {worker.id!r} was given a tensor at {place_of(tensor)}; send() or move() it there first"
        )
    return tensor.held()


def _twin(worker: VirtualWorker, module: nn.Module) -> nn.Module:
    """A sent module as a module of the worker's own tensors: the same memory, gradients included."""
    memo: dict[int, Tensor] = {}
    for _, pointer in named_tensors(module):
        plain = _held(worker, pointer)
        if isinstance(pointer, nn.Parameter):
            plain = nn.Parameter(plain, requires_grad=pointer.requires_grad)
            plain.grad = None if pointer.grad is None else _held(worker, pointer.grad)
        memo[id(pointer)] = plain
    # A deep copy takes what the memo has instead of copying it: here, every tensor.
    return copy.deepcopy(module, memo)


def _keep(worker: VirtualWorker, module: nn.Module, twin: nn.Module) -> None:
    """Leave at the worker what the function made of a module: values and gradients."""
    after = dict(named_tensors(twin))
    for name, pointer in named_tensors(module):
        if not is_pointer(pointer):
            continue
        value = after[name]
        if value.shape != pointer.shape or value.dtype != pointer.dtype:
            raise WorkerError(
                f"run() at {worker.id!r} gave {name} another shape or dtype; get() the module to do that"
            )
        worker.objects[pointer.id_at_location] = value.detach()
        grad = value.grad if value.is_leaf else None
        pointer.grad = None if grad is None else PointerTensor.at(worker.hold(grad), grad)


def _pointed(worker: VirtualWorker, result: Any) -> Any:
    """A function's result, with pointers for tensors and numbers."""
    if result is None:
        return None
    if isinstance(result, Tensor | bool | int | float | complex):
        value = as_tensor(result).detach()
        return PointerTensor.at(worker.hold(value), value)
    if isinstance(result, dict):
        return {name: _pointed(worker, item) for name, item in result.items()}
    if isinstance(result, list | tuple):
        return type(result)([_pointed(worker, item) for item in result])
    raise WorkerError(
        f"run() at {worker.id!r} returned a {type(result).__name__}, which can't stay there; return tensors, numbers, "
        "or tuples, lists and dictionaries of them"
    )
