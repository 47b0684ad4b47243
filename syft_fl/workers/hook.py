"""The hook: what gives tensors and modules PySyft's ``send``, ``get``, ``move`` and ``copy``."""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeVar, overload

import torch as _torch
from torch import Tensor, nn

from syft_fl.errors import WorkerError
from syft_fl.learn import Compute
from syft_fl.transport import Transport
from syft_fl.workers import modules
from syft_fl.workers.pointer import PointerTensor, is_pointer, send_tensor
from syft_fl.workers.station import Station
from syft_fl.workers.worker import VirtualWorker

__all__ = ["TorchHook", "copy", "get", "move", "send"]

M = TypeVar("M", bound=nn.Module)


class TorchHook(Station):
    """A station that also gives torch PySyft's methods.

    Making one adds methods ``send``, ``get``, ``move`` and ``copy`` to tensors and modules; nothing of torch is
    rewritten. A second hook is a world of its own: names of workers are looked up in it from then on, and
    what belongs to workers of the first one goes on there.

    Args:
        torch: the torch module, as PySyft wants it; there is only one.
        transport: what every message passes; the default carries float32 at 10 Mbit/s both ways.
        compute: how long computing takes at a worker; the default is 1 ms per sample.

    Attributes:
        local_worker: the base station itself, ``"me"``.
        workers: all virtual workers by id.

    Example:
        >>> import torch
        >>> hook = TorchHook(torch)
        >>> ue1 = VirtualWorker(hook=hook, id="ue1")
        >>> there = torch.tensor([1.0, 2.0]).send(ue1)
        >>> (there + there).get()
        tensor([2., 4.])
    """

    current: TorchHook | None = None
    """The hook that was made last: where names of workers are looked up."""

    def __init__(
        self,
        torch: ModuleType = _torch,
        *,
        transport: Transport | None = None,
        compute: Compute | None = None,
    ) -> None:
        super().__init__(transport=transport, compute=compute)
        TorchHook.current = self
        _add_methods()


@overload
def send(value: M, worker: VirtualWorker | str) -> M: ...
@overload
def send(value: Tensor, worker: VirtualWorker | str) -> PointerTensor: ...
def send(value: Any, worker: VirtualWorker | str) -> Any:
    """Send a tensor (a pointer is returned) or a module (in place, itself is returned) to a worker."""
    target = _find(worker)
    if isinstance(value, nn.Module):
        return modules.send_module(value, target)
    return send_tensor(value, target)


@overload
def get(value: M) -> M: ...
@overload
def get(value: Tensor) -> Tensor: ...
def get(value: Any) -> Any:
    """Fetch what a pointer points at, or a sent module in place; it is removed at the worker."""
    if isinstance(value, nn.Module):
        return modules.get_module(value)
    return _pointer(value, "get").get()


@overload
def move(value: M, worker: VirtualWorker | str) -> M: ...
@overload
def move(value: Tensor, worker: VirtualWorker | str) -> PointerTensor: ...
def move(value: Any, worker: VirtualWorker | str) -> Any:
    """Take a pointer's values or a sent module to another worker, in place."""
    if isinstance(value, nn.Module):
        return modules.move_module(value, _find(worker))
    return _pointer(value, "move").move(worker)


def copy(value: Any) -> Any:
    """A copy at the same place; only local modules can be copied."""
    return modules.copy_module(value) if isinstance(value, nn.Module) else value.clone()


def _pointer(value: Tensor, verb: str) -> PointerTensor:
    if is_pointer(value):
        return value
    raise WorkerError(
        f"{verb}() of a plain tensor: it is at the base station; only what was sent can be had by it"
    )


def _find(worker: VirtualWorker | str) -> VirtualWorker:
    if isinstance(worker, VirtualWorker):
        return worker
    if TorchHook.current is None:
        raise WorkerError(f"no worker {worker!r}; make a TorchHook and a VirtualWorker first")
    return TorchHook.current.worker(worker)


def _add_methods() -> None:
    for function in (send, get, move, copy):
        for cls in (Tensor, nn.Module):
            setattr(cls, function.__name__, function)
