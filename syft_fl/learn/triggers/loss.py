"""By what training has to say: the change of its loss."""

from __future__ import annotations

import math
from typing import ClassVar

from syft_fl.learn.triggers.trigger import TRIGGERS, Decision, Memory, TriggerView, compared
from syft_fl.schema import require, schema

__all__ = ["LossChange"]


@TRIGGERS
@schema
class LossChange:
    r"""Send when the training loss has changed enough since it was sent last.

    .. math:: |F_m - \hat F_m| / |\hat F_m| \ge \varepsilon

    with :math:`F_m` the mean loss of this local training and :math:`\hat F_m` that of the last one whose update
    arrived. A UE's first update is sent. After a loss of 0 any change is infinite. What is held back is owed with error
    feedback, and dropped without.

    Attributes:
        epsilon: :math:`\varepsilon`, at least 0; 0 sends always.

    Source: the loss-based family of the event-triggered literature. Differs from rules that compare losses of old and
    new model in: it takes the losses that training yields anyway, so it costs no pass over the samples.
    """

    kind: ClassVar[str] = "loss"

    epsilon: float

    def __post_init__(self) -> None:
        ok = 0 <= self.epsilon < math.inf
        require(ok, "epsilon", self.epsilon, "at least 0 and finite", "0 sends always")

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        quantity = _change(memory["loss"], view.loss) if memory else math.inf
        return compared(quantity, self.epsilon, sent={"loss": float(view.loss)}, kept=memory)


def _change(before: float, now: float) -> float:
    change = abs(now - before)
    if before:
        return change / abs(before)
    return math.inf if change else 0.0
