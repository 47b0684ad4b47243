"""A round: who was told, what has come of it so far, and what it leaves behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from syft_fl.federation.closing import Standing
from syft_fl.federation.computation import Computation
from syft_fl.federation.deciding import Decided
from syft_fl.federation.streaming import Streaming
from syft_fl.federation.summing import SumOnTheAir
from syft_fl.radio import Transfer
from syft_fl.transport import Accepted, Arrival, Entry, Outgoing
from syft_fl.vectors import ModelState

__all__ = ["CameUp", "Round", "RoundRecord", "Work", "mean_loss", "plain"]

_NO_TRANSFER = Transfer(-1, (), 0, 0.0, 0.0, 0.0, 0.0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Work:
    """What a UE is at, or was at last.

    Attributes:
        round: of the model that it began from.
        base: that model.
        training: which of the UE's trainings it is, counted from 0.
        began_s, ends_s: of computing [s].
        samples: what it is charged for.
        computing: not done yet.
    """

    round: int
    base: ModelState
    training: int
    began_s: float
    ends_s: float
    samples: float
    computing: bool = True

    def state(self) -> dict[str, Any]:
        """Plain data and tensors, for a checkpoint."""
        facts = {name: getattr(self, name) for name in Work.__dataclass_fields__}
        return facts | {"base": plain(self.base)}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Work:
        """What :meth:`state` was given of."""
        return cls(**{**state, "base": ModelState(*state["base"])})


@dataclass(frozen=True, slots=True)
class CameUp:
    """An update that the base station has decoded.

    Attributes:
        ue: whose.
        state: the model; None: it is in the round's mean already.
        work: what it is the result of.
        samples: of the UE, from the header.
        written: as of :class:`~syft_fl.transport.Arrival`, where payloads add up before they are decoded.
    """

    ue: str
    state: ModelState | None
    work: Work
    samples: int
    written: Arrival | None = None

    @classmethod
    def of(cls, outgoing: Outgoing, accepted: Accepted, state: ModelState | None, work: Work) -> CameUp:
        """An upload that was decoded."""
        (ue,) = outgoing.ues
        samples, written = accepted.frame.samples, None
        if accepted.written is not None:
            written = Arrival(outgoing, _NO_TRANSFER, None, samples, accepted.written)
        return cls(ue, state, work, samples, written)


@dataclass
class Round:
    """The round in progress.

    Attributes:
        number: counted from 1.
        began_s: when [s].
        cohort: UEs that were told in it, in order.
        updates: that are to be used.
        losses: all local losses that became known to us, with their samples; for the record.
        reported: those that came over the air.
        frame_bits: the longest frame's in each direction.
        skipped, gone: UEs that kept their update; that are not waited for any more.
        discarded: updates that came too late.
        answered_s, arrived_s: of answers, and of updates among them, when after the beginning [s].
        closing_s: for when its closing is scheduled [s].
        streaming: where the updates' mean is taken while they come.
        summing: where the uplink is analog, what goes before the sum; ``added``: the sum.
    """

    number: int
    began_s: float
    cohort: list[str] = field(default_factory=list)
    updates: list[CameUp] = field(default_factory=list)
    losses: dict[str, tuple[float, int]] = field(default_factory=dict)
    reported: dict[str, tuple[float, int]] = field(default_factory=dict)
    frame_bits: dict[str, int] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    discarded: int = 0
    answered_s: list[float] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    closing_s: float = math.inf
    streaming: Streaming | None = None
    summing: SumOnTheAir | None = None
    added: Arrival | None = None

    def answered(self, now_s: float, *, arrived: bool) -> None:
        """One of the cohort has answered."""
        self.answered_s.append(now_s - self.began_s)
        if arrived:
            self.arrived_s.append(now_s - self.began_s)

    def standing(self, waiting: int) -> Standing:
        """As a closing rule sees it."""
        return Standing(len(self.cohort), tuple(self.arrived_s), tuple(self.answered_s), waiting)


@dataclass(frozen=True)
class RoundRecord:
    """What a closed round leaves behind.

    Attributes:
        row: the round's figures, plain data; see :class:`~syft_fl.experiment.result.Result`.
        entries: its transmissions.
        computations: what its UEs computed, in order of their end.
        decisions: of its triggers, in order.
    """

    row: Mapping[str, Any]
    entries: list[Entry]
    computations: list[Computation]
    decisions: list[Decided]


def mean_loss(losses: Mapping[str, tuple[float, int]], place: Mapping[str, int]) -> float | None:
    """By samples, in the order of the UEs' places, so that no sum depends on who came first; None of nothing."""
    given = [losses[name] for name in sorted(filter(place.__contains__, losses), key=place.__getitem__)]
    total = sum(samples for _, samples in given)
    return sum(loss * samples for loss, samples in given) / total if total else None


def plain(model: ModelState) -> list[Any]:
    """A model for a checkpoint; ``ModelState(*plain(model))`` is it again."""
    return [model.vector, dict(model.buffers)]
