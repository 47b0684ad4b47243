"""By the clock instead of by events: every so many trainings."""

from __future__ import annotations

from typing import ClassVar, Literal

from syft_fl.learn.triggers.trigger import TRIGGERS, Decision, Memory, TriggerView, compared
from syft_fl.schema import require, schema

__all__ = ["Every"]


@TRIGGERS
@schema
class Every:
    r"""Send after the trainings :math:`n` of a UE for which :math:`n - 1 - \varphi` is a multiple of :math:`k`.

    The time-triggered scheme that event-triggered ones are held against, at a rate of :math:`1/k`. Trainings are the
    UE's own, 1, 2, …: a UE that is not in a round's cohort does not count it. A lost update is not sent again before
    its UE's next turn.

    What is held back is owed with error feedback, and dropped without. Compared: trainings since the last turn with k.

    Attributes:
        k: trainings from one that is sent to the next, at least 1.
        phase: :math:`\varphi`, 0 … k - 1: how many trainings the first turn waits for. ``"drawn"``: for each UE
            another one, uniform, drawn in its first training, so that not all UEs send in the same rounds.

    Source: periodic communication as in H. B. McMahan et al., *Communication-Efficient Learning of Deep Networks from
    Decentralized Data*, 2017, section 2. Differs from it in: UEs train on from the model they receive in each round.
    """

    kind: ClassVar[str] = "every"

    k: int
    phase: int | Literal["drawn"] = 0

    def __post_init__(self) -> None:
        require(self.k >= 1, "k", self.k, "at least 1", "1 is kind = 'always'")
        ok = isinstance(self.phase, str) or 0 <= self.phase < self.k
        require(ok, "phase", self.phase, f"in 0 … {self.k - 1}, or 'drawn'", "it is how long the first waits")

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        count = memory["trainings"] if memory else self.k - self._phase(view)
        after = {"trainings": 1 if count >= self.k else count + 1}
        return compared(float(count), float(self.k), sent=after, kept=after)

    def _phase(self, view: TriggerView) -> int:
        if self.phase == "drawn":
            return int((view.key / "phase").uniform() * self.k)
        return int(self.phase)
