"""Modules that are at a worker: ``send``, ``get``, ``move`` and ``copy``.

A module is sent in place. Its parameters stay the same objects (``torch.utils.swap_tensors`` puts pointers into
them), so an optimiser made before stays valid. Parameters and buffers travel as one ``model`` message; gradients
don't travel and are None afterwards. Recurrent modules need a little more (:mod:`~syft_fl.workers.recurrent`).

Left out: tensors that a module keeps outside its parameters and buffers stay where they are.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from syft_fl.errors import WorkerError
from syft_fl.transport.message import Content, ModelContent
from syft_fl.vectors import Layout, ModelState
from syft_fl.workers import recurrent
from syft_fl.workers.pointer import PointerTensor, is_pointer
from syft_fl.workers.worker import VirtualWorker

__all__ = ["copy_module", "get_module", "move_module", "named_tensors", "send_module"]

Module = nn.Module

_POINTERS_OWN = ("_handle", "_id", "_is_param")


def send_module(module: Module, worker: VirtualWorker) -> Module:
    """Send a module's values to a worker, in place.

    Returns:
        The same module; ``module.location`` is the worker.

    Raises:
        WorkerError: it is sent already, a graph or a reference holds one of its tensors, or it was lost.
    """
    for name, tensor in named_tensors(module):
        if is_pointer(tensor):
            raise WorkerError(
                f"{name} of {type(module).__name__} is at {tensor.location.id!r} already; move() or get() what was sent"
            )
    with recurrent.swappable(module):
        _require_free(module)
        layout = Layout.of(module)
        content = ModelContent(layout.read(module), layout)
        arrived = worker.download("model", worker.hook.stream_of(module), content)
        _hold_at(worker, module, arrived)
    return module


def get_module(module: Module, *, gradients: bool = False) -> Module:
    """Fetch a sent module's values, in place, and remove them from the worker.

    Args:
        gradients: those that there are come along, without loss, as a ``value`` message of their own.

    Returns:
        The same module, of plain tensors; gradients are None where they were or were not asked for.

    Raises:
        WorkerError: it is not sent, a graph or a reference holds one of its tensors, or something was lost (all is
            still at the worker).
    """
    placed = _Placed()
    with recurrent.swappable(module):
        fetched = _fetch_gradients(module) if gradients else {}
        arrived, _ = _fetch(module, amended=placed.amend)
        values = _values(module, arrived)
        for name, tensor in named_tensors(module):
            _put(tensor, values[name])
            tensor.grad = fetched.get(name)
        del module.location
    placed.note(module, arrived)
    return module


def move_module(module: Module, worker: VirtualWorker) -> Module:
    """Take a sent module to another worker, through the base station; in place, returns the module.

    Raises:
        WorkerError: as of :func:`get_module`; where the second half was lost, the module is still at the first worker.
    """
    with recurrent.swappable(module):
        arrived, end_s = _fetch(module)
        relayed = worker.download("model", worker.hook.stream_of(module), arrived, after_s=end_s)
        _hold_at(worker, module, relayed)
    return module


def copy_module(module: Module) -> Module:
    """A copy of a local module, its gradients aside nothing shared.

    Raises:
        WorkerError: the module is sent.
    """
    return copy.deepcopy(module)


def named_tensors(module: Module) -> Iterator[tuple[str, Tensor]]:
    """A module's parameters and buffers, each object once."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def _require_sent(module: Module) -> VirtualWorker:
    location = getattr(module, "location", None)
    if not isinstance(location, VirtualWorker):
        raise WorkerError(
            f"{type(module).__name__} is not sent; send() it first, and get() what was sent, not a part of it"
        )
    _require_free(module)
    return location


def _fetch_gradients(module: Module) -> dict[str, Tensor]:
    """Gradients by the name of their parameter; what has none is left out, and without any nothing is sent."""
    location = _require_sent(module)
    there = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    if not there:
        return {}
    stream = f"gradients of {location.hook.stream_of(module)}"
    values = tuple(_plain(grad) for grad in there.values())
    arrived, _ = location.fetch(stream, "value", stream, values)
    return dict(zip(there, cast(tuple[Tensor, ...], arrived), strict=True))


class _Placed:
    """Where a fetched module's values were put, in case that not all of them come: the end of a block tells."""

    def __init__(self) -> None:
        self._whole: ModelContent | None = None
        self._tensors: dict[str, Tensor] = {}

    def note(self, module: Module, arrived: Content) -> None:
        self._whole = cast(ModelContent, arrived)
        # Aliases of the memory: what the module holds by then may be something else, which stays as it is.
        self._tensors = {name: tensor.data for name, tensor in named_tensors(module)}

    def amend(self, came: Content) -> None:
        """Take back what has not come; what was computed with the values in place since stays on top."""
        if self._whole is None:
            return
        for slot in self._whole.layout.slots:
            here = self._tensors[slot.name]
            whole, part = (
                content.state.vector[slot.start : slot.stop].view(slot.shape).to(here.dtype)
                for content in (self._whole, cast(ModelContent, came))
            )
            here.copy_(torch.where(here == whole, part, here + (part - whole)))


def _fetch(module: Module, *, amended: Callable[[Content], None] | None = None) -> tuple[Content, float]:
    location = _require_sent(module)
    layout = Layout.of(module)
    # The pointers' values are read where they are: what comes out are pointers to one vector and to copies.
    state = layout.read(module)
    buffers = {name: _plain(b) for name, b in state.buffers.items()}
    content = ModelContent(ModelState(_plain(state.vector), buffers), layout)
    stream = location.hook.stream_of(module)
    return location.fetch(stream, "model", stream, content, amended=amended)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.held() if is_pointer(tensor) else tensor


def _hold_at(worker: VirtualWorker, module: Module, arrived: Content) -> None:
    """Put pointers to what arrived at a worker in place of a module's tensors."""
    values = _values(module, arrived)
    for name, tensor in named_tensors(module):
        value = values[name]
        pointer = PointerTensor.at(worker.hold(value), value, requires_grad=tensor.requires_grad)
        _put(tensor, pointer)
    module.location = worker  # type: ignore[assignment]


def _values(module: Module, arrived: Content) -> Mapping[str, Tensor]:
    """What arrived, as tensors of the module's own dtypes and memory formats, in memory of their own."""
    content = cast(ModelContent, arrived)
    slots = {slot.name: slot for slot in content.layout.slots}
    values: dict[str, Tensor] = {}
    for name, tensor in named_tensors(module):
        if name in slots:
            slot = slots[name]
            source = content.state.vector[slot.start : slot.stop].view(slot.shape)
        else:
            source = content.state.buffers[name]
        like = tensor.held() if is_pointer(tensor) else tensor
        values[name] = torch.empty_like(like.detach()).copy_(source)
    return values


def _put(tensor: Tensor, value: Tensor) -> None:
    """Give a tensor object another content: it stays what it was to optimisers and modules."""
    if isinstance(tensor, nn.Parameter):
        if is_pointer(value):
            value._is_param = True
        else:
            value = nn.Parameter(value, requires_grad=tensor.requires_grad)
    # What a user hung on the tensor stays on it.
    vars(value).update({name: v for name, v in vars(tensor).items() if name not in _POINTERS_OWN})
    torch.utils.swap_tensors(tensor, value)  # type: ignore[no-untyped-call]


def _require_free(module: Module) -> None:
    """Refuse what can't be swapped, before anything is sent.

    Raises:
        WorkerError: a graph that was not run backward, a view or a weak reference holds a tensor.
    """
    for name, tensor in named_tensors(module):
        if weakref.getweakrefs(tensor) or _holders(tensor) > 1:
            raise WorkerError(
                f"{name} of {type(module).__name__} is held by a graph that was not run backward, a view or a weak "
                "reference; call backward() on (or delete) every loss and output made with the module first"
            )


def _holders(tensor: Tensor) -> int:
    """How many hold a tensor, its accumulator of gradients aside (which may outlive a backward pass)."""
    uses: Callable[[], int] = tensor._use_count  # type: ignore[attr-defined]
    count = uses()
    if count == 2 and tensor.is_leaf and tensor.requires_grad:
        accumulator = torch.autograd.graph.get_gradient_edge(tensor).node
        count = uses() - 1
        del accumulator
    return count
