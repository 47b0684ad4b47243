"""A limit to how long a UE may be silent."""

from __future__ import annotations

from typing import ClassVar

from syft_fl.learn.triggers.trigger import TRIGGERS, Decision, Memory, TriggerView, compared
from syft_fl.schema import require, schema

__all__ = ["Silence"]


@TRIGGERS
@schema
class Silence:
    r"""Send after :math:`k` silent trainings: :math:`t_m \ge k`, by itself in one training of :math:`k + 1`.

    It is meant for company: ``any`` of a threshold and this is a threshold with an age limit. What is held back is owed
    with error feedback, and dropped without. Compared: the silent trainings so far with k.

    Attributes:
        k: the most trainings in a row in which a UE does not send, at least 0 (always).

    Source: J. Sun, T. Chen, G. B. Giannakis and Z. Yang, *Communication-Efficient Distributed Learning via Lazily
    Aggregated Quantized Gradients*, 2019, criterion (7b), by itself.
    """

    kind: ClassVar[str] = "silence"

    k: int

    def __post_init__(self) -> None:
        require(self.k >= 0, "k", self.k, "at least 0", "0 is kind = 'always'")

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        return compared(float(view.silence), float(self.k))
