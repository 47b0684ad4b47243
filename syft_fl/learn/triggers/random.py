"""By lot: the control that any rule must beat at its own rate."""

from __future__ import annotations

from typing import ClassVar

from syft_fl.learn.triggers.trigger import TRIGGERS, Decision, Memory, TriggerView, compared
from syft_fl.schema import require, schema

__all__ = ["Random"]


@TRIGGERS
@schema
class Random:
    r"""Send with probability :math:`p`, whatever the update: where :math:`U \ge 1 - p`, U uniform in (0, 1).

    A rule that saves uploads has saved something only if it learns better than this one with as many. What is held
    back is owed with error feedback, and dropped without. Compared: U with 1 - p; it is drawn from the decision's key.

    Attributes:
        probability: :math:`p`, in 0 … 1.

    Source: the baseline of randomised gossip in S. Zehtabi, S. Hosseinalipour and C. G. Brinton, *Decentralized
    Event-Triggered Federated Learning with Heterogeneous Communication Thresholds*, 2022, experiments. Differs from it
    in: a star in place of a graph.
    """

    kind: ClassVar[str] = "random"

    probability: float

    def __post_init__(self) -> None:
        require(0 <= self.probability <= 1, "probability", self.probability, "in 0 … 1")

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        return compared((view.key / "random").uniform(), 1.0 - self.probability)
