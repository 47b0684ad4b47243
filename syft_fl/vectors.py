"""A model's parameters and buffers against one flat float32 vector.

Codecs see one vector; the :class:`Layout` says which entries are which parameter. Floating-point
*parameters* make up the vector. *Buffers* (running means, counters) and integer parameters stay
beside it as they are: they travel without loss, in their own dtype.

Left out: parameters in float64 are rounded to float32 on the way into the vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from syft_fl.errors import ConfigError

__all__ = ["Layout", "ModelState", "Slot", "Vector"]

Vector = Tensor
"""A contiguous one-dimensional float32 tensor."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one tensor of a model is: name, shape, and its first entry in the vector."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def length(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class ModelState:
    """The value of a model: [entries] float32 parameters, and the buffers by name.

    Treated as immutable: a thousand UEs that received one model share one ``ModelState``.
    """

    vector: Vector
    buffers: Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Names, shapes and order of a model's tensors; known at both ends of every link.

    Attributes:
        slots: floating-point parameters, in ``named_parameters`` order.
        buffers: (name, shape, dtype) of what travels without loss beside the vector.
    """

    slots: tuple[Slot, ...]
    buffers: tuple[tuple[str, tuple[int, ...], torch.dtype], ...] = ()

    @property
    def length(self) -> int:
        """Entries of the vector."""
        return self.slots[-1].stop if self.slots else 0

    @classmethod
    def flat(cls, length: int) -> Layout:
        """The layout of a bare vector, for codecs used by themselves."""
        return cls((Slot("vector", (length,), 0),))

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """The layout of a module. A parameter shared by two places has one slot.

        Raises:
            ConfigError: the module has a complex parameter.
        """
        slots: list[Slot] = []
        start = 0
        parameters, beside = _tensors(module)
        for name, parameter in parameters:
            slot = Slot(name, tuple(parameter.shape), start)
            slots.append(slot)
            start = slot.stop
        return cls(tuple(slots), tuple((name, tuple(b.shape), b.dtype) for name, b in beside))

    def read(self, module: nn.Module) -> ModelState:
        """Copy a module's value out of it."""
        parameters, beside = _tensors(module)
        with torch.no_grad():
            parts = [p.reshape(-1) for _, p in parameters]
            vector = torch.cat(parts).to(torch.float32) if parts else torch.empty(0)
            return ModelState(vector, {name: b.clone() for name, b in beside})

    def read_into(self, state: ModelState, module: nn.Module) -> None:
        """Copy a module's value out of it to where another one lies, in place of that."""
        parameters, beside = _tensors(module)
        with torch.no_grad():
            for slot, (_, parameter) in zip(self.slots, parameters, strict=True):
                state.vector[slot.start : slot.stop].copy_(parameter.reshape(-1))
            for name, buffer in beside:
                state.buffers[name].copy_(buffer)

    def write(self, state: ModelState, module: nn.Module) -> None:
        """Copy a value into a module, in place: parameters stay the same objects.

        Raises:
            ConfigError: the vector's length is not this layout's.
        """
        if state.vector.numel() != self.length:
            raise ConfigError(
                f"vector of {state.vector.numel()} entries does not fit a model of {self.length}; "
                "both ends of a link must have the same architecture"
            )
        parameters, beside = _tensors(module)
        with torch.no_grad():
            for slot, (_, parameter) in zip(self.slots, parameters, strict=True):
                parameter.copy_(state.vector[slot.start : slot.stop].view(slot.shape))
            for name, buffer in beside:
                buffer.copy_(state.buffers[name])


def _tensors(module: nn.Module) -> tuple[list[tuple[str, Tensor]], list[tuple[str, Tensor]]]:
    """What makes up the vector, and what travels beside it (integer parameters, then buffers)."""
    vector: list[tuple[str, Tensor]] = []
    beside: list[tuple[str, Tensor]] = []
    for name, parameter in module.named_parameters():
        if parameter.is_complex():
            raise ConfigError(f"parameter {name!r} is complex; only real parameters can be sent")
        (vector if parameter.is_floating_point() else beside).append((name, parameter))
    beside.extend(module.named_buffers())
    return vector, beside
