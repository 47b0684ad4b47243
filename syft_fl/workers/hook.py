"""The hook: it gives tensors and modules PySyft's ``send``, ``get``, ``move`` and ``copy``, tensors tags, data sets
``federate``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeVar, overload

import torch as _torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from syft_fl.errors import WorkerError
from syft_fl.learn import Compute
from syft_fl.transport import Transport
from syft_fl.workers import labels, modules
from syft_fl.workers.datasets import federate
from syft_fl.workers.multi import MultiPointerTensor, send_to_each
from syft_fl.workers.pointer import PointerTensor, is_pointer, send_tensor
from syft_fl.workers.station import Station
from syft_fl.workers.worker import LocalWorker, VirtualWorker

__all__ = ["TorchHook", "copy", "get", "local_worker", "move", "send"]

M = TypeVar("M", bound=nn.Module)


class TorchHook(Station):
    """A station that also gives torch PySyft's methods.

    Making one adds methods ``send``, ``get``, ``move`` and ``copy`` to tensors and modules, ``tag``, ``describe``,
    ``tags`` and ``description`` to tensors, and ``federate`` to data sets; nothing of torch is rewritten. A second
    hook is a world of its own: names of workers are looked up in it from then on, and what belongs to workers of the
    first one goes on there.

    Args:
        torch: the torch module, as PySyft wants it; there is only one.
        transport: what every message passes; the default carries float32 at 10 Mbit/s both ways.
        compute: how long computing takes at a worker; the default is 1 ms per sample.
        verbose: PySyft's; nothing is printed either way.

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
        verbose: bool = False,
    ) -> None:
        super().__init__(transport=transport, compute=compute)
        TorchHook.current = self
        _add_methods()


_LABELLING = {
    "tag": labels.tag,
    "describe": labels.describe,
    "tags": property(labels.tags_of),
    "description": property(labels.description_of),
}
"""What plain tensors get; pointers have their own of these, which tell the worker."""


def local_worker() -> LocalWorker:
    """The base station of the hook that was made last: PySyft's ``sy.local_worker``.

    Raises:
        WorkerError: there is no hook yet.
    """
    if TorchHook.current is None:
        raise WorkerError("there is no local worker yet; make a TorchHook first")
    return TorchHook.current.local_worker


@overload
def send(value: M, *workers: VirtualWorker | str, garbage_collect_data: bool = True) -> M: ...
@overload
def send(
    value: Tensor, worker: VirtualWorker | str, /, *, garbage_collect_data: bool = True
) -> PointerTensor: ...
@overload
def send(
    value: Tensor, *workers: VirtualWorker | str, garbage_collect_data: bool = True
) -> MultiPointerTensor: ...
def send(value: Any, *workers: VirtualWorker | str, garbage_collect_data: bool = True) -> Any:
    """Send a tensor (a pointer is returned) or a module (in place, itself is returned) to a worker.

    Args:
        value: a plain tensor or a local module.
        workers: where to; of a tensor sent to several, a
            :class:`~syft_fl.workers.multi.MultiPointerTensor` is returned.
        garbage_collect_data: whether the tensor leaves its worker when the pointer dies.

    Raises:
        WorkerError: a pointer or a sent module, a place that is none, a graph that holds the module, or a lost message.
    """
    targets = [_find(worker) for worker in workers]
    if isinstance(value, nn.Module):
        if len(targets) != 1 or not garbage_collect_data:
            raise WorkerError(
                f"send() of a {type(value).__name__}: a module is sent to one worker and lives as long as it is used; "
                "module.copy().send(worker) for each of several"
            )
        return modules.send_module(value, targets[0])
    if not targets:
        raise WorkerError("send() of a tensor to nobody; give a worker or its id")
    if len(targets) > 1:
        return send_to_each(value, targets, garbage_collect_data=garbage_collect_data)
    pointer = send_tensor(value, targets[0])
    if not garbage_collect_data:
        pointer.garbage_collect_data = False
    return pointer


@overload
def get(value: M, *, gradients: bool = False, sum_results: bool = False) -> M: ...
@overload
def get(value: Tensor, *, gradients: bool = False, sum_results: bool = False) -> Tensor: ...
def get(value: Any, *, gradients: bool = False, sum_results: bool = False) -> Any:
    """Fetch what a pointer points at, or a sent module in place; it is removed at the worker.

    Args:
        value: a pointer, pointers to several workers, or a sent module.
        gradients: a module's gradients come along, as a message of their own.
        sum_results: of pointers to several workers, the sum instead of a list.
    """
    if isinstance(value, nn.Module):
        if sum_results:
            raise WorkerError("get(sum_results=True) is for pointers to several workers, not for a module")
        return modules.get_module(value, gradients=gradients)
    if isinstance(value, MultiPointerTensor):
        return value.get(sum_results=sum_results)
    return _pointer(value, "get").get(gradients=gradients, sum_results=sum_results)


@overload
def move(value: M, worker: VirtualWorker | LocalWorker | str) -> M: ...
@overload
def move(value: Tensor, worker: VirtualWorker | LocalWorker | str) -> Tensor: ...
def move(value: Any, worker: VirtualWorker | LocalWorker | str) -> Any:
    """Take a pointer's values or a sent module to another worker, in place; to the base station it is :func:`get`."""
    if isinstance(value, MultiPointerTensor):
        value.move(worker)
    if not isinstance(value, nn.Module):
        return _pointer(value, "move").move(worker)
    if isinstance(worker, LocalWorker) or (
        TorchHook.current is not None and TorchHook.current.is_here(worker)
    ):
        return modules.get_module(value)
    return modules.move_module(value, _find(worker))


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
        return worker  # of whatever hook
    if TorchHook.current is None:
        raise WorkerError(f"no worker {worker!r}; make a TorchHook and a VirtualWorker first")
    return TorchHook.current.worker(worker)


def _add_methods() -> None:
    for function in (send, get, move, copy):
        for cls in (Tensor, nn.Module):
            setattr(cls, function.__name__, function)
    for name, member in _LABELLING.items():
        setattr(Tensor, name, member)
    Dataset.federate = federate  # type: ignore[attr-defined]
