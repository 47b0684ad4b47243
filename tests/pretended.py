"""A card that is not there: tensors that are elsewhere, hold real values, and refuse to be mixed with the CPU's.

Under :class:`PretendedCard` whole runs go through ``device = "cuda"`` on a machine without one. Each operation is
carried out by the CPU, so results are those of the CPU to the bit, and whatever differs was done differently. What a
card would refuse is refused: operands of both devices (but for numbers), and numpy on what is on the card. So is one
thing that it would let pass, at the price of a copy at each step: samples there, indices here.

The card is torch's ``meta`` device: autograd asks a driver for any other one. torch's own fake tensors find mixed
devices, too, but hold no values, so a run ends at the first loss that is read.

Left out: streams, the card's memory, its generators and its arithmetic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["CARD", "MixedDevicesError", "PretendedCard", "on_card"]

CARD = torch.device("meta")

_aten = torch.ops.aten
_CROSSING = (_aten._to_copy.default, _aten.copy_.default)


class MixedDevicesError(RuntimeError):
    """An operation has one operand on the card and another one on the CPU."""


class _OnCard(Tensor):
    """A tensor of the CPU that says that it is on the card."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> _OnCard:
        made = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CARD,
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"on the card: {self.inner!r}"

    def tolist(self) -> Any:
        return self.detach().inner.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(
            "can't convert what is on the card to numpy; use Tensor.cpu() to copy it to the host first"
        )

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carried_out(func, args, kwargs or {})


class PretendedCard(TorchDispatchMode):
    """In its block tensors can be brought to the device ``meta``, and have values there.

    Attributes:
        crossed: operations by name that took values from one device to the other, ``"to card"`` or ``"to host"``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.crossed: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = _carried_out(func, args, kwargs or {})
        if func in _CROSSING:
            source = args[1] if func is _aten.copy_.default else args[0]
            if isinstance(source, _OnCard) != isinstance(found, _OnCard):
                self.crossed["to card" if isinstance(found, _OnCard) else "to host"] += 1
        return found


def on_card(value: Any) -> bool:
    """Whether a tensor is on the pretended card."""
    return isinstance(value, Tensor) and value.device == CARD


def _carried_out(func: Any, args: Any, kwargs: Any) -> Any:
    device = kwargs.get("device")
    operands = list(_tensors((*args, *kwargs.values())))
    there = [value for value in operands if isinstance(value, _OnCard)]
    here = [value for value in operands if not isinstance(value, _OnCard) and value.ndim > 0]
    if there and here and func not in _CROSSING:
        shapes = [f"{tuple(value.shape)} on {value.device}" for value in operands]
        raise MixedDevicesError(f"{func}: operands must be on one device, not {', '.join(shapes)}")
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
        kwargs.pop("pin_memory", None)
    found = func(*_inner(args), **{name: _inner(value) for name, value in kwargs.items()})
    if func._schema.name.endswith("_") and there and isinstance(args[0], _OnCard):
        return args[0]
    if func is _aten.copy_.default:
        return args[0]
    to_card = bool(there) if device is None else torch.device(device) == CARD
    return _each(Tensor, _OnCard, found) if to_card else found


# Operations take and give tensors, lists and tuples; torch's own trees of anything take several times as long.


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _each(kind: type[Tensor], change: Callable[[Any], Tensor], value: Any) -> Any:
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_each(kind, change, one) for one in value)
    return value


def _inner(value: Any) -> Any:
    return _each(_OnCard, lambda tensor: tensor.inner, value)
