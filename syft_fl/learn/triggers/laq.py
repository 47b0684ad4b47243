"""Lazily aggregated quantised gradients: LAG where what is sent is not what was meant."""

from __future__ import annotations

import math
from typing import ClassVar

from syft_fl.learn.triggers.lag import movement, require_window, rescaling
from syft_fl.learn.triggers.trigger import TRIGGERS, Decision, Memory, TriggerView, compared, squared_norm
from syft_fl.schema import require, schema

__all__ = ["LAQ"]


@TRIGGERS
@schema
class LAQ:
    r"""Send what would be decoded if it differs from the last by more than the model has moved and the codec errs.

    The paper's rule is of gradients :math:`g`, quantised to :math:`Q`: send if

    .. math:: \|Q(g^k) - Q(\hat g)\|^2 \ge \frac{1}{\alpha^2 M^2}\sum_{d=1}^{D}\xi_d\|\theta^{k+1-d} - \theta^{k-d}\|^2
        + 3\bigl(\|\varepsilon^k\|^2 + \|\hat\varepsilon\|^2\bigr),
        \quad \varepsilon = g - Q(g), \quad \xi_d = w/D,

    or after more than C silent trainings. In units of updates, :math:`u = -\eta g` of one local step over all samples
    and a mean over M at the base station (:math:`\alpha M = \eta`, see :mod:`~syft_fl.learn.triggers.lag`):

    .. math:: \|Q(u^k) - Q(\hat u)\|^2 \ge \frac{w}{D}\sum_{d=1}^{D}\|\theta^{k+1-d} - \theta^{k-d}\|^2
        + 3\bigl(\|e^k\|^2 + \|\hat e\|^2\bigr), \quad e = u - Q(u).

    :math:`Q(\hat u)` and :math:`\hat e` are those of the last update that arrived, times :math:`\eta/\hat\eta` where
    the learning rate was another one then. With what is owed, :math:`u` is the sum of both. A UE's first update is
    sent. :math:`Q` is the uplink's codec, whichever that is; the paper's is ``laq``
    (:class:`~syft_fl.codecs.innovation.Innovation`). Every decision encodes.

    What is held back is neither owed nor dropped: the base station reuses :math:`Q(\hat u)`.

    Attributes:
        rounds: :math:`D`, differences of models that are looked at, at least 1. Those of models that there are not
            are 0.
        weight: :math:`w`, the sum of the :math:`\xi_d`; at least 0.
        silence_limit: C, at least 0; after more than C silent trainings, which is C + 1, the next is sent.

    Source: J. Sun, T. Chen, G. B. Giannakis and Z. Yang, *Communication-Efficient Distributed Learning via Lazily
    Aggregated Quantized Gradients*, 2019, criterion (7) with :math:`D = 10, \xi_d = 0.8/D, C = 100`. Differs from it
    in: equality sends, as in the authors' code. That code shares w out over the differences that there are in the first
    D rounds, starts from a gradient of 0 as sent, and sends after C silent trainings instead of C + 1.
    """

    kind: ClassVar[str] = "laq"
    reuses: ClassVar[bool] = True

    rounds: int = 10
    weight: float = 0.8
    silence_limit: int = 100

    def __post_init__(self) -> None:
        require_window(self.rounds, self.weight)
        require(
            self.silence_limit >= 0, "silence_limit", self.silence_limit, "at least 0", "0: every other one"
        )

    @property
    def history(self) -> int:
        return self.rounds

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        decoded = view.decoded()
        error = squared_norm(view.outgoing - decoded)
        quantity, last_error = math.inf, 0.0
        if memory:
            scale = rescaling(view.learning_rate, memory["learning_rate"])
            quantity = squared_norm(decoded - memory["decoded"] * scale)
            last_error = memory["error"] * scale**2
        moved = movement((view.received, *view.earlier), rounds=self.rounds, weight=self.weight)
        return compared(
            quantity,
            moved + 3.0 * (error + last_error),
            sent={"decoded": decoded.clone(), "error": error, "learning_rate": float(view.learning_rate)},
            kept=memory,
            anyway=view.silence > self.silence_limit,
        )
