r"""FedNova: updates of UEs that took unequally many steps, on equal terms.

Where one UE takes ten local steps and another one, the mean of their models is nearer to what the first one wants: it
tends to the optimum of another objective than the one that was asked for. Divided by its steps, each update is a
direction again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch

from syft_fl.learn.aggregation import AGGREGATORS, FedAvg
from syft_fl.schema import require, schema
from syft_fl.vectors import ModelState

__all__ = ["FedNova"]


@AGGREGATORS
@schema
class FedNova:
    r"""The mean direction of one local step, times the mean number of steps.

    .. math:: x_{t+1} = x_t + \tau_\text{eff} \sum_k p_k\,\frac{x_k - x_t}{\lVert a_k \rVert_1}, \qquad
        \tau_\text{eff} = \sum_k p_k\,\lVert a_k \rVert_1, \qquad p_k = \frac{n_k}{\sum_j n_j}

    with :math:`\lVert a_k \rVert_1` the plain steps that a UE's training is worth
    (:meth:`~syft_fl.learn.Training.effective_steps`), momentum and proximal term included. Where all are worth
    the same it is FedAvg, up to rounding. Buffers are averaged as by FedAvg.

    No bit more is sent than by FedAvg: the frame's header has a UE's samples, and batch size and epochs are settings
    that both ends know.

    Source: J. Wang, Q. Liu, H. Liang, G. Joshi and H. V. Poor, *Tackling the Objective Inconsistency Problem in
    Heterogeneous Federated Optimization*, 2020, eqs. (8) and (11). Differs from it in: the mean is over those that
    arrived.
    """

    kind: ClassVar[str] = "fednova"
    needs_each: ClassVar[bool] = True
    needs_sgd: ClassVar[bool] = True

    def aggregate(self, current: ModelState, updates: Sequence[tuple[ModelState, float]]) -> ModelState:
        return self.aggregate_steps(current, updates, [1.0] * len(updates))

    def aggregate_steps(
        self, current: ModelState, updates: Sequence[tuple[ModelState, float]], steps: Sequence[float]
    ) -> ModelState:
        """The next model.

        Raises:
            ConfigError: a weight is negative or not finite, or all are 0; a number of steps is not above 0.
        """
        if not updates:
            return current
        require(
            min(steps) > 0,
            "steps",
            list(steps),
            "above 0",
            "a smaller learning rate or proximal_mu keeps local training stable",
        )
        mean = FedAvg()
        shares = mean.shares([weight for _, weight in updates])
        worth = sum(share * count for share, count in zip(shares, steps, strict=True))
        way = torch.zeros_like(current.vector)
        for (state, _), share, count in zip(updates, shares, steps, strict=True):
            way += (worth * share / count) * (state.vector - current.vector)
        return replace(mean.aggregate(current, updates), vector=current.vector + way)
