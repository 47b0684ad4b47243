"""Averages of models, under the names that PySyft 0.2 has for them.

All models of one call are at one place: at the base station after ``get()``, or at one worker, where the arithmetic
then runs without a message.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from syft_fl.errors import ConfigError, TensorsNotCollocatedException
from syft_fl.workers.modules import named_tensors
from syft_fl.workers.pointer import is_pointer, place_of

__all__ = ["add_model", "federated_avg", "scale_model"]

M = TypeVar("M", bound=nn.Module)


def federated_avg(models: Mapping[Any, M], *, weights: Mapping[Any, float] | None = None) -> M:
    r"""The mean of models: a new model, at the place where they all are.

    .. math:: w = \sum_k \frac{n_k}{\sum_j n_j}\, w_k

    From zeros, in the mapping's order, first multiplied and then added, in each tensor's own dtype: for float32 the
    bits of :class:`~syft_fl.learn.FedAvg`. Floating-point buffers (running means) are averaged as parameters are; of
    integer tensors (counters) the largest is kept. The rest (mode, attributes) is the first model's.

    Args:
        models: by whatever names them; not changed (PySyft 0.2 writes the mean into the first one).
        weights: of each model by the same names (its samples, say); None: equal.

    Returns:
        A model whose tensors are its own; without gradients.

    Raises:
        TensorsNotCollocatedException: the models are not all at one place.
        ConfigError: no model, other names or shapes of tensors, weights that are missing, negative, infinite or all 0.
    """
    if not models:
        raise ConfigError("models = {} must have at least one model")
    fractions = _fractions(models, weights)
    tensors = [dict(named_tensors(model)) for model in models.values()]
    _require_alike(list(models), tensors)
    _require_one_place(list(models), tensors)
    first = next(iter(models.values()))
    with torch.no_grad():
        # A deep copy takes what the memo has instead of copying it: here, every tensor.
        memo: dict[int, Any] = {
            id(tensor): _shaped_as(tensor, _mean([t[name] for t in tensors], fractions))
            for name, tensor in tensors[0].items()
        }
    return copy.deepcopy(first, memo)


def add_model(dst_model: M, src_model: nn.Module) -> M:
    """Add a model's parameters to another's, in place; buffers stay as they are.

    Returns:
        The first model.

    Raises:
        ConfigError: other names or shapes of parameters.
        TensorsNotCollocatedException: they are not at one place.
    """
    both = [dict(model.named_parameters()) for model in (dst_model, src_model)]
    names = ["dst_model", "src_model"]
    _require_alike(names, both)
    _require_one_place(names, both)
    with torch.no_grad():
        for name, parameter in both[0].items():
            parameter.add_(both[1][name])
    return dst_model


def scale_model(model: M, scale: float) -> M:
    """Multiply a model's parameters by a number, in place; buffers stay as they are.

    Returns:
        The model.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def _fractions(models: Mapping[Any, Any], weights: Mapping[Any, float] | None) -> list[float]:
    """Weights whose sum is 1."""
    if weights is None:
        return [1 / len(models)] * len(models)
    if set(weights) != set(models):
        raise ConfigError(f"weights of {list(weights)} must be of the models, {list(models)}")
    found = [weights[name] for name in models]
    whole = sum(found)
    if not (all(0 <= weight < math.inf for weight in found) and 0 < whole < math.inf):
        raise ConfigError(f"weights = {found} must be finite, none negative and not all 0")
    return [weight / whole for weight in found]


def _require_alike(names: Sequence[Any], models: Sequence[Mapping[str, Tensor]]) -> None:
    shapes = [{name: (t.shape, t.dtype) for name, t in tensors.items()} for tensors in models]
    for name, found in zip(names, shapes, strict=True):
        if found != shapes[0]:
            other = sorted({n for n in {*found, *shapes[0]} if found.get(n) != shapes[0].get(n)})
            raise ConfigError(
                f"models {names[0]!r} and {name!r} differ in names, shapes or dtypes of {', '.join(other)}; "
                "only models of one architecture can be combined"
            )


def _require_one_place(names: Sequence[Any], models: Sequence[Mapping[str, Tensor]]) -> None:
    places = {
        tensor.location if is_pointer(tensor) else None for model in models for tensor in model.values()
    }
    if len(places) > 1:
        where = {
            name: sorted({place_of(t) for t in tensors.values()})
            for name, tensors in zip(names, models, strict=True)
        }
        raise TensorsNotCollocatedException(
            "models must be at one place: "
            + ", ".join(f"{name!r} at {' and '.join(found)}" for name, found in where.items())
            + "; get() or move() them first"
        )


def _mean(tensors: Sequence[Tensor], fractions: Sequence[float]) -> Tensor:
    if not (tensors[0].is_floating_point() or tensors[0].is_complex()):
        return reduce(torch.maximum, tensors).clone()
    total = torch.zeros_like(tensors[0])
    for tensor, fraction in zip(tensors, fractions, strict=True):
        total += fraction * tensor
    return total


def _shaped_as(tensor: Tensor, value: Tensor) -> Tensor:
    """A value as the kind of tensor that another one is in its module."""
    value = value.detach()
    if isinstance(tensor, nn.Parameter):
        if not is_pointer(value):
            return nn.Parameter(value, requires_grad=tensor.requires_grad)
        value._is_param = True
    return value.requires_grad_(tensor.requires_grad)
