r"""Lazily aggregated gradients: an update that differs little from the last one is not worth sending.

The base station reuses the last update of a UE that holds one back, so what counts is not how long an update is but how
far it is from the one that is reused; and that may be as far as the models of late have moved, for such an error is
of the size of a step.

*Units.* The papers' server takes :math:`\theta^{k+1} = \theta^k - \alpha\sum_m g_m` and compares gradients:

.. math:: \|g_m^k - \hat g_m\|^2 \ge \frac{1}{\alpha^2 M^2}\sum_{d=1}^{D}\xi_d\|\theta^{k+1-d} - \theta^{k-d}\|^2 .

Ours takes the mean over the M UEs of updates :math:`u_m`. Of one local step over all samples :math:`u_m = -\eta g_m`,
so its step is :math:`-(\eta/M)\sum_m g_m` and :math:`\alpha M = \eta`. Both sides times :math:`\eta^2`:

.. math:: \|u_m^k - \hat u_m\|^2 \ge \sum_{d=1}^{D}\xi_d\|\theta^{k+1-d} - \theta^{k-d}\|^2 .

Where the learning rate was :math:`\hat\eta` when :math:`\hat u_m` was sent, the same gradient now makes an update of
:math:`(\eta/\hat\eta)\,\hat u_m`, and that is what is compared with. With several local steps, minibatches, a mean
weighted by unequal samples or a cohort smaller than the cell, this is a heuristic: the papers prove nothing of it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import ClassVar

from syft_fl.errors import ConfigError
from syft_fl.learn.triggers.trigger import TRIGGERS, Decision, Memory, TriggerView, compared, squared_norm
from syft_fl.schema import require, schema
from syft_fl.vectors import Vector

__all__ = ["LAG", "LAGServer", "movement", "rescaling"]

_TRAILING_NUMBER = re.compile(r"[0-9]+$")


@TRIGGERS
@schema
class LAG:
    r"""Send an update that differs from the last one sent by more than the model has moved of late (LAG-WK).

    .. math:: \|u - \hat u\|^2 \ge \frac{w}{D}\sum_{d=1}^{D}\|\theta^{k+1-d} - \theta^{k-d}\|^2

    with :math:`u` the update (and what is owed), :math:`\hat u` the last one that arrived, :math:`\theta^k` the model
    received and those before it the ones that this UE received; terms of models that there are not are 0. A UE's first
    update is sent. How gradients become updates: :mod:`~syft_fl.learn.triggers.lag`.

    What is held back is neither owed nor dropped: the base station reuses :math:`\hat u`.

    Attributes:
        rounds: :math:`D`, differences of models that are looked at, at least 1.
        weight: :math:`w`, the sum of the :math:`\xi_d = w/D`; at least 0, 0 sends always.
        silence_limit: C; after more than C silent trainings, which is C + 1, the next is sent whatever the numbers are.
            None: without a limit, as published.

    Source: T. Chen, G. B. Giannakis, T. Sun and W. Yin, *LAG: Lazily Aggregated Gradient for Communication-Efficient
    Distributed Learning*, 2018, algorithm 1 (LAG-WK) with :math:`D = 10, \xi_d = 1/D`. Differs from it in: equality
    sends.
    """

    kind: ClassVar[str] = "lag"
    reuses: ClassVar[bool] = True

    rounds: int = 10
    weight: float = 1.0
    silence_limit: int | None = None

    def __post_init__(self) -> None:
        require_window(self.rounds, self.weight)
        ok = self.silence_limit is None or self.silence_limit >= 0
        require(ok, "silence_limit", self.silence_limit, "at least 0", "leave it out for none")

    @property
    def history(self) -> int:
        return self.rounds

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        update, quantity = view.outgoing, math.inf
        if memory:
            last = memory["update"] * rescaling(view.learning_rate, memory["learning_rate"])
            quantity = squared_norm(update - last)
        return compared(
            quantity,
            movement((view.received, *view.earlier), rounds=self.rounds, weight=self.weight),
            sent={"update": update.clone(), "learning_rate": float(view.learning_rate)},
            kept=memory,
            anyway=self.silence_limit is not None and view.silence > self.silence_limit,
        )


@TRIGGERS
@schema
class LAGServer:
    r"""Ask a UE only if the model has moved far enough since it last answered (LAG-PS).

    .. math:: \eta^2 L_m^2\|\hat\theta_m - \theta^k\|^2 \ge
        \frac{w}{D}\sum_{d=1}^{D}\|\theta^{k+1-d} - \theta^{k-d}\|^2

    with :math:`L_m` the smoothness of the UE's loss and :math:`\hat\theta_m` the model at which its last update was
    computed: the left side is the most by which its update can differ from that one. It is evaluated at the base
    station, so a UE that is not asked receives nothing and computes nothing; one that is asked sends. It is asked until
    its first update arrives. The two models are the base station's own, the rest is as of :class:`LAG`.

    Of a UE that is not asked the last update is reused; nothing is held back.

    Attributes:
        smoothness: :math:`L_m`, the Lipschitz constant of the gradient of a UE's loss (mean over its samples); above 0.
            One for all, or those of ue0, ue1, …: the rule saves where they differ. With E local steps an update changes
            by up to about :math:`E\eta L_m`, so give :math:`E L_m`.
        rounds, weight: as of ``lag``.

    Source: T. Chen, G. B. Giannakis, T. Sun and W. Yin, *LAG: Lazily Aggregated Gradient for Communication-Efficient
    Distributed Learning*, 2018, algorithm 2 (LAG-PS) with :math:`D = 10, \xi_d = 10/D`. Differs from it in: equality
    asks.
    """

    kind: ClassVar[str] = "lag-server"
    reuses: ClassVar[bool] = True
    server_side: ClassVar[bool] = True

    smoothness: float | tuple[float, ...]
    rounds: int = 10
    weight: float = 10.0

    def __post_init__(self) -> None:
        values = self.smoothness if isinstance(self.smoothness, tuple) else (self.smoothness,)
        ok = bool(values) and all(0 < value < math.inf for value in values)
        require(ok, "smoothness", self.smoothness, "above 0 and finite, one or one for each UE")
        require_window(self.rounds, self.weight)

    @property
    def history(self) -> int:
        return self.rounds

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        """A UE that was asked sends. Compared are 1 and 1."""
        return compared(1.0, 1.0)

    def wanted(
        self,
        *,
        ue: str,
        model: Vector,
        told: Vector | None,
        earlier: tuple[Vector, ...],
        learning_rate: float,
        users: int,
    ) -> Decision:
        quantity = math.inf
        if told is not None:
            quantity = (learning_rate * self._smoothness(ue)) ** 2 * squared_norm(told - model)
        return compared(quantity, movement((model, *earlier), rounds=self.rounds, weight=self.weight))

    def _smoothness(self, ue: str) -> float:
        if not isinstance(self.smoothness, tuple):
            return self.smoothness
        number = _TRAILING_NUMBER.search(ue)
        if number is None or int(number[0]) >= len(self.smoothness):
            raise ConfigError(
                f"smoothness has {len(self.smoothness)} entries and none for {ue!r}; "
                "give one for each of ue0, ue1, …, or one number for all"
            )
        return self.smoothness[int(number[0])]


def movement(models: Sequence[Vector], *, rounds: int, weight: float) -> float:
    r"""How models have moved of late: :math:`(w/D)\sum_{d=1}^{D}\|\theta^{k+1-d} - \theta^{k-d}\|^2`.

    Args:
        models: [entries] of each, newest first.
        rounds: D; where there are fewer differences, the others count as 0.
        weight: w.
    """
    steps = itertools.pairwise(models[: rounds + 1])
    return weight / rounds * sum(squared_norm(after - before) for after, before in steps)


def rescaling(learning_rate: float, then: float) -> float:
    """What takes an update at a learning rate of old to what its gradient would make now; 1 where either is 0."""
    return learning_rate / then if learning_rate and then else 1.0


def require_window(rounds: int, weight: float) -> None:
    """Check D and w.

    Raises:
        ConfigError: one is out of range.
    """
    require(rounds >= 1, "rounds", rounds, "at least 1", "10 is usual")
    require(0 <= weight < math.inf, "weight", weight, "at least 0 and finite", "0 sends always")
