"""How updates become the next model.

Updates come in a fixed order (that of the UEs, never of completion), since float32 sums depend on their order.
Floating-point buffers (running means) are combined as parameters are; of integer buffers (counters) the largest
is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from syft_fl.errors import ConfigError
from syft_fl.schema import Registry, schema
from syft_fl.vectors import ModelState

__all__ = ["AGGREGATORS", "Aggregator", "Averaging", "FedAvg", "Pairwise"]

AGGREGATORS = Registry("aggregator", "aggregate")
"""Aggregators by kind; ``AGGREGATORS(MyAggregator)`` adds one."""


@runtime_checkable
class Aggregator(Protocol):
    """The settings of an aggregation rule: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def aggregate(self, current: ModelState, updates: Sequence[tuple[ModelState, float]]) -> ModelState:
        """The next model.

        Args:
            current: the base station's model. Not changed.
            updates: models that arrived, each with its weight (samples), in the fixed order of UEs. Not changed.

        Returns:
            The next model; the current one where nothing arrived.

        Raises:
            ConfigError: a weight is negative or not finite, or all are 0.
        """
        ...


@runtime_checkable
class Averaging(Protocol):
    """A rule that is a mean of the updates alone, whatever they are: it may be taken before they are decoded."""

    def shares(self, weights: Sequence[float]) -> list[float]:
        """The share of each update in the mean; their sum is 1.

        Raises:
            ConfigError: a weight is negative or not finite, or all are 0.
        """
        ...


@AGGREGATORS
@schema
class FedAvg:
    r"""The mean of the models, weighted by their samples.

    .. math:: w = \sum_k \frac{n_k}{\sum_j n_j}\, w_k

    In float32: from zeros, in the given order, first multiplied and then added (no fused multiply-add), so that
    ``total += (n_k / n) * w_k`` in plain torch gives the same bits.

    Source: B. McMahan et al., *Communication-Efficient Learning of Deep Networks from Decentralized Data*, 2017,
    algorithm 1.
    """

    kind: ClassVar[str] = "fedavg"

    def shares(self, weights: Sequence[float]) -> list[float]:
        whole = sum(weights)
        if not (all(0 <= weight < math.inf for weight in weights) and 0 < whole < math.inf):
            raise ConfigError(
                f"weights = {weights} must be finite, none negative and not all 0; "
                "a weight is a UE's number of samples"
            )
        return [weight / whole for weight in weights]

    def aggregate(self, current: ModelState, updates: Sequence[tuple[ModelState, float]]) -> ModelState:
        if not updates:
            return current
        shares = self.shares([weight for _, weight in updates])

        def mean(tensors: Sequence[Tensor]) -> Tensor:
            total = torch.zeros_like(tensors[0])
            for tensor, share in zip(tensors, shares, strict=True):
                total += share * tensor
            return total

        return _combine([state for state, _ in updates], mean)


@AGGREGATORS
@schema
class Pairwise:
    r"""The document's running average: one model after another is averaged with what there is so far.

    .. math:: w \leftarrow (w_k + w)/2 \quad\text{for } k = 1 \dots K, \text{ from the base station's model } w_0

    So the k-th of K models weighs :math:`2^{-(K-k+1)}` and the base station's own :math:`2^{-K}`: the last one weighs
    half, whatever its samples. It depends on the order and is kept to reproduce the document (``combine_pro``);
    :class:`FedAvg` is what is usually meant.
    """

    kind: ClassVar[str] = "pairwise"

    def aggregate(self, current: ModelState, updates: Sequence[tuple[ModelState, float]]) -> ModelState:
        if not updates:
            return current

        def fold(tensors: Sequence[Tensor]) -> Tensor:
            return reduce(lambda out, update: (update + out) / 2, tensors)

        return _combine([current, *(state for state, _ in updates)], fold)


def _combine(states: Sequence[ModelState], mix: Callable[[Sequence[Tensor]], Tensor]) -> ModelState:
    buffers = {}
    for name, first in states[0].buffers.items():
        tensors = [state.buffers[name] for state in states]
        buffers[name] = mix(tensors) if first.is_floating_point() else reduce(torch.maximum, tensors)
    return ModelState(mix([state.vector for state in states]), buffers)
