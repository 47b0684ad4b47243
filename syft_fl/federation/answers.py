"""Whom the base station waits for, and what it has heard of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from syft_fl.federation.round import Round, mean_loss
from syft_fl.transport import Frame

__all__ = ["Answers"]


class Answers:
    """The answers of a run's UEs, from round to round. An answer to an earlier round ends no waiting for a later one.

    Args:
        place: of each UE in their fixed order.
    """

    def __init__(self, place: Mapping[str, int]) -> None:
        self._place = place
        self._awaited: dict[str, int] = {}  # for the update to the model of which round
        # What headers have told: UEs' samples, and the mean loss of the latest round that told one.
        self._samples: dict[str, int] = {}
        self._loss = math.nan

    def __len__(self) -> int:
        return len(self._awaited)

    def __iter__(self) -> Iterator[str]:
        return iter(self._awaited)

    @property
    def in_order(self) -> list[str]:
        """UEs that are waited for, in their fixed order."""
        return sorted(self._awaited, key=self._place.__getitem__)

    @property
    def samples(self) -> int:
        """The mean samples of all UEs that have told theirs; without any, 0."""
        told = self._samples.values()
        return round(sum(told) / len(told)) if told else 0

    @property
    def loss(self) -> float:
        """The mean loss of the latest round that told one; until then not a number."""
        return self._loss

    def await_from(self, ues: Iterable[str], *, round: int) -> None:
        """Wait for the updates of some UEs to the model of a round."""
        self._awaited |= dict.fromkeys(ues, round)

    def give_up(self, ues: Iterable[str]) -> None:
        """Wait for some UEs no more, whatever for."""
        for ue in ues:
            self._awaited.pop(ue, None)

    def give_up_all(self) -> None:
        """Wait for nobody."""
        self._awaited.clear()

    def end(self, ue: str, *, round: int) -> bool:
        """Wait no more for a UE's update to the model of a round; whether it was waited for."""
        if self._awaited.get(ue) != round:
            return False
        del self._awaited[ue]
        return True

    def header(self, ue: str, frame: Frame, now: Round) -> None:
        """A UE's update has come: what its header tells."""
        self._samples[ue] = frame.samples
        if frame.loss is not None and math.isfinite(frame.loss):
            now.reported[ue] = (frame.loss, frame.samples)

    def close(self, now: Round) -> None:
        """A round closes."""
        reported = mean_loss(now.reported, self._place)
        self._loss = self._loss if reported is None else reported

    # Checkpoints, between rounds.

    def state(self) -> dict[str, Any]:
        """Plain data."""
        return {"awaited": dict(self._awaited), "samples": dict(self._samples), "loss": self._loss}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._awaited, self._samples = dict(state["awaited"]), dict(state["samples"])
        self._loss = state["loss"]
