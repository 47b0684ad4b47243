"""The stand-alone UE: what one would learn without a federation, from its own samples alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syft_fl.federation.round import plain
from syft_fl.federation.ue import UE
from syft_fl.keys import Key
from syft_fl.learn import Engine, Job, Training
from syft_fl.vectors import ModelState

__all__ = ["Standalone"]


class Standalone:
    """A UE that trains on in each round from its own model. It sends and hears nothing, and has no correction.

    Args:
        ue: that holds its samples and the first model.
        engine: where it trains.
        training: how.
        key: the run's.
    """

    def __init__(self, ue: UE, engine: Engine, *, training: Training, key: Key) -> None:
        self._ue = ue
        self._engine = engine
        self._training = training
        self._key = key
        self._job = -1

    @property
    def model(self) -> ModelState:
        """What it has learnt."""
        return self._ue.model

    def begin(self, *, round: int) -> None:
        """A round begins."""
        ue = self._ue
        key = self._key / ue.name / f"training{ue.trainings}"
        self._job = self._engine.submit(Job(ue.name, ue.model, ue.samples, self._training, key, round))
        ue.trainings += 1

    def end(self, *, now_s: float) -> None:
        """The round is over."""
        self._ue.receive(self._engine.result(self._job).state, at_s=now_s)

    # Checkpoints, between rounds.

    def state(self) -> dict[str, Any]:
        """Plain data and tensors."""
        return {"model": plain(self.model), "trainings": self._ue.trainings}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._ue.receive(ModelState(*state["model"]), at_s=0.0)
        self._ue.trainings = state["trainings"]
