"""Rules put together: when all of some agree, or any."""

from __future__ import annotations

import abc
import functools
from dataclasses import replace
from typing import Annotated, ClassVar

from syft_fl.learn.triggers.trigger import (
    TRIGGERS,
    Decision,
    Memory,
    Trigger,
    TriggerView,
    compared,
    properties,
)
from syft_fl.schema import require, schema

__all__ = ["AllOf", "AnyOf"]


class _Together(abc.ABC):
    """Some rules, all of them asked in every training, and how many of them must say yes."""

    triggers: tuple[Trigger, ...]

    @property
    @abc.abstractmethod
    def needed(self) -> int:
        """How many."""

    @property
    def history(self) -> int:
        return max(properties(rule).history for rule in self.triggers)

    @property
    def reuses(self) -> bool:
        return any(properties(rule).reuses for rule in self.triggers)

    def __post_init__(self) -> None:
        _require_rules(self.triggers)

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        decoded = functools.cache(view.decoded)  # encoded once, whoever asks
        decisions = [
            rule.decide(
                replace(
                    view,
                    key=view.key / index,
                    decoded=decoded,
                    earlier=view.earlier[: properties(rule).history],
                ),
                memory.get(str(index), {}),
            )
            for index, rule in enumerate(self.triggers)
        ]
        return compared(
            float(sum(decision.send for decision in decisions)),
            float(self.needed),
            sent={str(index): decision.sent for index, decision in enumerate(decisions) if decision.sent},
            kept={str(index): decision.kept for index, decision in enumerate(decisions) if decision.kept},
        )


@TRIGGERS
@schema
class AllOf(_Together):
    """Send when all of these rules would.

    .. code-block:: toml

        trigger = {kind = "all", triggers = [{kind = "norm", tau = 0.5}, {kind = "channel", gain = 0.2}]}

    All are asked in every training, each with a key of its own, and each remembers what it would by itself: *sent* is
    what happened, not what it asked for. Compared: how many say yes with how many there are.

    What is held back: as of the rules in it. If one of them wants updates reused, they are.

    Attributes:
        triggers: the rules, at least one; none that the base station evaluates (``lag-server``).
    """

    kind: ClassVar[str] = "all"

    triggers: tuple[Annotated[Trigger, TRIGGERS], ...]

    @property
    def needed(self) -> int:
        return len(self.triggers)


@TRIGGERS
@schema
class AnyOf(_Together):
    """Send when any of these rules would; else as :class:`AllOf`. Compared: how many say yes with 1.

    .. code-block:: toml

        trigger = {kind = "any", triggers = [{kind = "relative", epsilon = 0.02}, {kind = "silence", k = 20}]}

    Attributes:
        triggers: the rules, at least one; none that the base station evaluates (``lag-server``).
    """

    kind: ClassVar[str] = "any"

    triggers: tuple[Annotated[Trigger, TRIGGERS], ...]

    @property
    def needed(self) -> int:
        return 1


def _require_rules(rules: tuple[Trigger, ...]) -> None:
    require(len(rules) >= 1, "triggers", rules, "at least one rule", "for none use kind = 'always'")
    for index, rule in enumerate(rules):
        require(
            not properties(rule).server_side,
            f"triggers[{index}].kind",
            rule.kind,
            "a rule that the UE evaluates",
            "the base station's can't be put together with others",
        )
