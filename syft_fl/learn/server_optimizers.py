r"""The base station as an optimiser: the mean update is its gradient, turned round.

.. math:: \Delta_t = \sum_k \frac{n_k}{\sum_j n_j}\,(x_k - x_t)

over the models :math:`x_k` that arrived in round t, with :math:`x_t` the base station's. (A lossy downlink is in it:
UEs begin at what they decoded.) All operations are entry by entry, in float32. A round in which nothing arrives is no
step: model and memory stay as they are. Nothing more is sent than by FedAvg.

Only parameters take such steps. Buffers are averaged as by :class:`~syft_fl.learn.FedAvg`: a running variance that
overshoots may become negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch

from syft_fl.learn.aggregation import AGGREGATORS, FedAvg, Memory
from syft_fl.schema import require, schema
from syft_fl.vectors import ModelState, Vector

__all__ = ["FedAdagrad", "FedAdam", "FedAvgM", "FedYogi"]

_Updates = Sequence[tuple[ModelState, float]]


@AGGREGATORS
@schema
class FedAvgM:
    r"""Momentum at the base station.

    .. math:: v_t = \beta v_{t-1} + \Delta_t, \qquad x_{t+1} = x_t + \eta\, v_t, \qquad v_0 = 0

    With :math:`\beta = 0` and :math:`\eta = 1` it is FedAvg, up to rounding.

    Attributes:
        momentum: :math:`\beta`.
        learning_rate: the base station's, :math:`\eta`.

    Source: T.-M. H. Hsu, H. Qi and M. Brown, *Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification*, 2019, section 4.3. Differs from it in: a learning rate, 1 in the paper.
    """

    kind: ClassVar[str] = "fedavgm"
    mean: ClassVar[FedAvg] = FedAvg()

    momentum: float = 0.9
    learning_rate: float = 1.0

    def __post_init__(self) -> None:
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in 0 … 1, 1 excluded")
        _require_rate(self.learning_rate)

    def aggregate(self, current: ModelState, updates: _Updates) -> ModelState:
        return self.step(current, updates, {})[0]

    def step(self, current: ModelState, updates: _Updates, memory: Memory) -> tuple[ModelState, Memory]:
        if not updates:
            return current, memory
        mean, change = _mean_update(current, updates)
        velocity = self.momentum * memory["velocity"] + change if "velocity" in memory else change
        vector = current.vector + self.learning_rate * velocity
        return replace(mean, vector=vector), {"velocity": velocity}


@AGGREGATORS
@schema
class FedAdagrad:
    r"""Steps that shrink with all that an entry has moved so far.

    .. math::
        m_t = \beta_1 m_{t-1} + (1 - \beta_1)\,\Delta_t, \qquad v_t = v_{t-1} + \Delta_t^2, \qquad
        x_{t+1} = x_t + \eta\,\frac{m_t}{\sqrt{v_t} + \tau}

    from :math:`m_0 = 0`, :math:`v_0 = \tau^2`. Without momentum it is Adagrad on :math:`-\Delta_t` with an initial
    accumulator of :math:`\tau^2`.

    Attributes:
        learning_rate: the base station's, :math:`\eta`.
        tau: the degree of adaptivity, :math:`\tau`: below it, differences between entries are ignored.
        beta1: momentum :math:`\beta_1`.

    Source: S. J. Reddi et al., *Adaptive Federated Optimization*, 2021, algorithm 2. Differs from it in: the mean
    update is weighted by samples, and :math:`v_0` is the least that the paper allows. No bias is corrected,
    as in the paper.
    """

    kind: ClassVar[str] = "fedadagrad"
    mean: ClassVar[FedAvg] = FedAvg()

    learning_rate: float = 0.1
    tau: float = 1e-3
    beta1: float = 0.0

    def __post_init__(self) -> None:
        _require_adaptive(self.learning_rate, self.tau, self.beta1)

    def aggregate(self, current: ModelState, updates: _Updates) -> ModelState:
        return self.step(current, updates, {})[0]

    def step(self, current: ModelState, updates: _Updates, memory: Memory) -> tuple[ModelState, Memory]:
        return _adaptive_step(self, current, updates, memory)

    def second_moment(self, before: Vector, square: Vector) -> Vector:
        """:math:`v_t`, from the one before and from :math:`\\Delta_t^2`."""
        return before + square


@AGGREGATORS
@schema
class FedAdam:
    r"""Steps that are as large as an entry's recent movement allows: :class:`FedAdagrad` with another :math:`v_t`.

    .. math:: v_t = \beta_2 v_{t-1} + (1 - \beta_2)\,\Delta_t^2

    Attributes:
        learning_rate, tau, beta1: as of :class:`FedAdagrad`.
        beta2: :math:`\beta_2`.

    Source: as of :class:`FedAdagrad`.
    """

    kind: ClassVar[str] = "fedadam"
    mean: ClassVar[FedAvg] = FedAvg()

    learning_rate: float = 0.1
    tau: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99

    def __post_init__(self) -> None:
        _require_adaptive(self.learning_rate, self.tau, self.beta1)
        _require_decay("beta2", self.beta2)

    def aggregate(self, current: ModelState, updates: _Updates) -> ModelState:
        return self.step(current, updates, {})[0]

    def step(self, current: ModelState, updates: _Updates, memory: Memory) -> tuple[ModelState, Memory]:
        return _adaptive_step(self, current, updates, memory)

    def second_moment(self, before: Vector, square: Vector) -> Vector:
        """:math:`v_t`, from the one before and from :math:`\\Delta_t^2`."""
        return self.beta2 * before + (1 - self.beta2) * square


@AGGREGATORS
@schema
class FedYogi:
    r"""Like :class:`FedAdam`, with a :math:`v_t` that moves by no more than :math:`(1 - \beta_2)\,\Delta_t^2`.

    .. math:: v_t = v_{t-1} - (1 - \beta_2)\,\Delta_t^2\,\mathrm{sign}(v_{t-1} - \Delta_t^2)

    Attributes:
        learning_rate, tau, beta1: as of :class:`FedAdagrad`.
        beta2: :math:`\beta_2`.

    Source: as of :class:`FedAdagrad`.
    """

    kind: ClassVar[str] = "fedyogi"
    mean: ClassVar[FedAvg] = FedAvg()

    learning_rate: float = 0.1
    tau: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99

    def __post_init__(self) -> None:
        _require_adaptive(self.learning_rate, self.tau, self.beta1)
        _require_decay("beta2", self.beta2)

    def aggregate(self, current: ModelState, updates: _Updates) -> ModelState:
        return self.step(current, updates, {})[0]

    def step(self, current: ModelState, updates: _Updates, memory: Memory) -> tuple[ModelState, Memory]:
        return _adaptive_step(self, current, updates, memory)

    def second_moment(self, before: Vector, square: Vector) -> Vector:
        """:math:`v_t`, from the one before and from :math:`\\Delta_t^2`."""
        return before - (1 - self.beta2) * square * torch.sign(before - square)


def _adaptive_step(
    rule: FedAdagrad | FedAdam | FedYogi, current: ModelState, updates: _Updates, memory: Memory
) -> tuple[ModelState, Memory]:
    if not updates:
        return current, memory
    mean, change = _mean_update(current, updates)
    if not memory:
        memory = {
            "momentum": torch.zeros_like(change),
            "second_moment": torch.full_like(change, rule.tau**2),
        }
    momentum = rule.beta1 * memory["momentum"] + (1 - rule.beta1) * change
    second_moment = rule.second_moment(memory["second_moment"], change.square())
    vector = current.vector + rule.learning_rate * momentum / (second_moment.sqrt() + rule.tau)
    return replace(mean, vector=vector), {"momentum": momentum, "second_moment": second_moment}


def _mean_update(current: ModelState, updates: _Updates) -> tuple[ModelState, Vector]:
    """The mean model, and how far its parameters are from the base station's."""
    mean = FedAvg().aggregate(current, updates)
    return mean, mean.vector - current.vector


def _require_adaptive(learning_rate: float, tau: float, beta1: float) -> None:
    _require_rate(learning_rate)
    # Its square is a float32 number above 0, so that no entry is divided by 0.
    require(1e-18 <= tau < math.inf, "tau", tau, "at least 1e-18 and finite", "the paper's default is 1e-3")
    _require_decay("beta1", beta1)


def _require_rate(learning_rate: float) -> None:
    require(0 < learning_rate < math.inf, "learning_rate", learning_rate, "above 0 and finite")


def _require_decay(name: str, value: float) -> None:
    require(0 <= value < 1, name, value, "in 0 … 1, 1 excluded")
