"""How updates become the next model: what a rule is, and the two plain ones.

=============================================  ==================================================================
``kind``                                       the next model
=============================================  ==================================================================
``fedavg``                                     the mean, weighted by samples; the default
``pairwise``                                   the document's running average
``fedavgm`` ``fedadagrad`` ``fedadam``         a step of the base station's own along the mean update
``fedyogi``                                    (:mod:`~syft_fl.learn.server_optimizers`)
``median`` ``trimmed-mean`` ``krum``           what a few wrong updates can't carry off
``multi-krum``                                 (:mod:`~syft_fl.learn.robust`)
``fednova``                                    updates over their local steps (:mod:`~syft_fl.learn.fednova`)
``scaffold``                                   drift corrected by control variates (:mod:`~syft_fl.learn.scaffold`)
=============================================  ==================================================================

Updates come in a fixed order (that of the UEs, never of completion), since float32 sums depend on their order.
Floating-point buffers (running means) are combined as parameters are, unless a rule says otherwise; of integer buffers
(counters) the largest is kept.

A rule is a value. What it remembers from round to round is a value too: :meth:`Remembering.step` gets it and gives
it back, and it is part of a run's checkpoint. :func:`next_model` asks any rule in the way that it wants to be asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from syft_fl.errors import ConfigError
from syft_fl.schema import Registry, schema
from syft_fl.vectors import ModelState

__all__ = [
    "AGGREGATORS",
    "Aggregator",
    "Averaging",
    "CountingSteps",
    "FedAvg",
    "Memory",
    "Pairwise",
    "Remembering",
    "RunningMean",
    "combine",
    "mean_rule",
    "next_model",
]

Memory = Mapping[str, Any]
"""What a rule remembers: plain data and tensors, by name; empty before the first round."""

AGGREGATORS = Registry("aggregator", "aggregate")
"""Aggregators by kind; ``AGGREGATORS(MyAggregator)`` adds one."""


@runtime_checkable
class Aggregator(Protocol):
    """The settings of an aggregation rule: a frozen dataclass with a ``kind``.

    Three more things a rule may have: ``needs_each = True`` (a class attribute) where it makes nothing of a sum of
    updates; ``needs_sgd = True`` where it is defined for local steps of SGD alone; and a method
    ``require_cohort(users)`` that raises a ConfigError where it can't work with so many UEs in a round.
    """

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


@runtime_checkable
class Remembering(Protocol):
    """A rule that remembers something from round to round, as momentum does.

    It sees no more of the updates than their weighted mean, so it may be given that instead of them: as one update,
    with the sum of their weights. Its :meth:`~Aggregator.aggregate` is the step with nothing remembered.

    Attributes:
        mean: the rule of that mean.
    """

    @property
    def mean(self) -> Averaging: ...

    def step(
        self, current: ModelState, updates: Sequence[tuple[ModelState, float]], memory: Memory
    ) -> tuple[ModelState, Memory]:
        """The next model, and what to remember; both follow from the arguments alone, which are not changed."""
        ...


@runtime_checkable
class CountingSteps(Protocol):
    """A rule that wants to know how far each UE went."""

    def aggregate_steps(
        self, current: ModelState, updates: Sequence[tuple[ModelState, float]], steps: Sequence[float]
    ) -> ModelState:
        """The next model.

        Args:
            current, updates: as of :meth:`Aggregator.aggregate`.
            steps: of each update, the local steps that it is worth (:meth:`~syft_fl.learn.Training.effective_steps`).
        """
        ...


def next_model(
    rule: Aggregator,
    current: ModelState,
    updates: Sequence[tuple[ModelState, float]],
    *,
    steps: Sequence[float],
    memory: Memory,
) -> tuple[ModelState, Memory]:
    """What a rule makes of a round, and what it remembers.

    Args:
        rule: any.
        current, updates: as of :meth:`Aggregator.aggregate`.
        steps: of each update, the local steps that it is worth; for rules that count them.
        memory: what was remembered after the round before.
    """
    if isinstance(rule, Remembering):
        return rule.step(current, updates, memory)
    if isinstance(rule, CountingSteps):
        return rule.aggregate_steps(current, updates, steps), memory
    return rule.aggregate(current, updates), memory


def mean_rule(rule: Aggregator) -> Averaging | None:
    """The mean that is all a rule sees of the updates: it may be taken before they are decoded. None: it sees more."""
    if isinstance(rule, Averaging):
        return rule
    return rule.mean if isinstance(rule, Remembering) else None


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
        running = RunningMean([weight for _, weight in updates])
        for state, _ in updates:
            running.add(state)
        return running.state


class RunningMean:
    """The mean of :class:`FedAvg`, one model after another, of which none is kept.

    Args:
        weights: of all models that are to come, in their order.

    Raises:
        ConfigError: as of :meth:`FedAvg.shares`.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._shares = iter(FedAvg().shares(weights))
        self._state: ModelState | None = None

    @property
    def state(self) -> ModelState:
        """The mean of all, when all have been added."""
        assert self._state is not None
        return self._state

    def add(self, model: ModelState) -> None:
        """The next model."""
        share, before = next(self._shares), self._state

        def added(total: Tensor | None, tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor if total is None else torch.maximum(total, tensor)
            return (torch.zeros_like(tensor) if total is None else total).add_(share * tensor)

        buffers = {
            name: added(None if before is None else before.buffers[name], buffer)
            for name, buffer in model.buffers.items()
        }
        self._state = ModelState(added(None if before is None else before.vector, model.vector), buffers)


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

        return combine([current, *(state for state, _ in updates)], fold)


def combine(states: Sequence[ModelState], mix: Callable[[Sequence[Tensor]], Tensor]) -> ModelState:
    """A model of several: parameters and floating-point buffers mixed, of integer buffers the largest."""
    buffers = {}
    for name, first in states[0].buffers.items():
        tensors = [state.buffers[name] for state in states]
        buffers[name] = mix(tensors) if first.is_floating_point() else reduce(torch.maximum, tensors)
    return ModelState(mix([state.vector for state in states]), buffers)
