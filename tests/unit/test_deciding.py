"""What a trigger remembers follows what its UE knows, whatever comes between a decision and its fate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch

from syft_fl.federation.deciding import Deciding
from syft_fl.keys import Key
from syft_fl.learn.triggers import Decision, TriggerView
from syft_fl.transport import Message, ModelContent, Transport
from syft_fl.vectors import Layout, ModelState

LAYOUT = Layout.of(torch.nn.Linear(2, 1))
BASE = ModelState(torch.zeros(3), {})


class Counting:
    """Remembers how many of a UE's updates were applied, and is told at each decision what it remembered."""

    kind: ClassVar[str] = "counting"

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def decide(self, view: TriggerView, memory: Mapping[str, Any]) -> Decision:
        applied = memory.get("applied", 0)
        self.seen.append((applied, view.silence))
        return Decision(True, 1.0, 1.0, {"applied": applied + 1}, {"applied": applied})


def deciding(rule: Any) -> Deciding:
    return Deciding(rule, Transport(), key=Key(0), ues=("ue0",), learning_rate=lambda round: 0.1)


def decide(made: Deciding, round: int) -> None:
    content = ModelContent(ModelState(torch.ones(3), {}), LAYOUT)
    made.decide(Message("model", "ue0", "me", "model", content, round=round), base=BASE, now_s=float(round))


def test_an_applied_update_counts_and_a_kept_or_lost_one_is_silence() -> None:
    rule = Counting()
    made = deciding(rule)
    for number, applied in enumerate((True, False, None, True), start=1):
        decide(made, number)
        if applied is None:
            made.settled("ue0", None, applied=False)  # it keeps it
        else:
            made.sends("ue0", number)
            made.settled("ue0", number, applied=applied)
    decide(made, 5)
    assert rule.seen == [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0)]


def test_the_fate_of_an_upload_in_doubt_is_not_taken_for_that_of_the_next_decision() -> None:
    rule = Counting()
    made = deciding(rule)
    decide(made, 1)
    made.sends("ue0", 1)  # nothing is heard of it
    decide(made, 2)  # so it asks; the answer says that the first one was applied
    made.settled("ue0", 1, applied=True)
    decide(made, 2)  # and knowing that it decides again
    assert rule.seen[-1] == (1, 0)
    made.sends("ue0", 2)
    restored = deciding(rule)
    restored.load(made.state())
    restored.settled("ue0", 2, applied=True)
    decide(restored, 3)
    assert rule.seen[-1] == (2, 0)


def test_nothing_to_compare_with_is_urgent() -> None:
    class First(Counting):
        def decide(self, view: TriggerView, memory: Mapping[str, Any]) -> Decision:
            return Decision(True, math.nan, 0.5, {}, {})

    content = ModelContent(ModelState(torch.ones(3), {}), LAYOUT)
    message = Message("model", "ue0", "me", "model", content, round=1)
    assert deciding(First()).decide(message, base=BASE, now_s=0.0) == (True, math.inf)


@pytest.mark.parametrize("block", [1, 2])
def test_the_mean_rate_of_the_cell_is_that_of_all_its_ues(block: int) -> None:
    found: list[float] = []

    class Asking(Counting):
        def decide(self, view: TriggerView, memory: Mapping[str, Any]) -> Decision:
            found.append(view.mean_rate_bps())
            return Decision(True, 1.0, 1.0, {}, {})

    made = deciding(Asking())
    for _ in range(2):
        decide(made, block)
    assert found == [10e6, 10e6]  # the default link's
