r"""SCAFFOLD's control variates of a run: the base station's, the UEs', and how they travel with the model.

What they are, and why they are sent as they are, is said in :mod:`syft_fl.learn.scaffold`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from syft_fl.devices import CPU
from syft_fl.federation.scenario import Scenario
from syft_fl.learn import Aggregator, Scaffold, Training, mean_step
from syft_fl.spill import Spill, kept
from syft_fl.transport import ModelContent, Transport
from syft_fl.vectors import Layout, ModelState, Vector

__all__ = ["Variates", "float32_state", "variates_of"]


def float32_state(rule: Aggregator, model: ModelState) -> ModelState:
    """What a rule sends for a model, for its size: the model, and a control variate where there is one."""
    return _joined(model, torch.zeros_like(model.vector)) if isinstance(rule, Scaffold) else model


class Variates:
    """The control variates of one run.

    Args:
        layout: of the model.
        ues: UEs in the cell, :math:`N`.
        owed: whether what is lost of a UE's upload comes later, by error feedback.
        device: where the model is.
        spill: how much of the UEs' variates is in memory; None: all.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        ues: int,
        owed: Callable[[str], bool],
        device: torch.device = CPU,
        spill: Spill | None = None,
    ) -> None:
        self._layout = _doubled(layout)
        self._ues = ues
        self._owed = owed
        self._common = torch.zeros(layout.length, device=device)
        # Of UEs that have trained; all others have zeros.
        self._own: MutableMapping[str, Vector] = kept(spill)
        # Within a round: what the UEs received, and what the base station got of their changes.
        self._heard: dict[str, Vector] = {}
        self._changes: dict[str, Vector] = {}

    @property
    def common(self) -> Vector:
        """The base station's, :math:`c`."""
        return self._common

    def own(self, ue: str) -> Vector:
        """A UE's, :math:`c_i`."""
        return self._own.get(ue, torch.zeros_like(self._common))

    def down(self, model: ModelState) -> ModelContent:
        """What the base station sends for a model."""
        return ModelContent(_joined(model, self._common), self._layout)

    def heard(self, state: ModelState, ues: Sequence[str]) -> ModelState:
        """The model in what these UEs received; the other half is kept for them."""
        model, common = _halves(state)
        self._heard.update(dict.fromkeys(ues, common))
        return model

    def correction(self, ue: str) -> Vector:
        """What is added to the gradients of a UE, :math:`c - c_i`."""
        return self._heard[ue] - self._own[ue] if ue in self._own else self._heard[ue]

    def up(
        self, ue: str, start: ModelState, trained: ModelState, *, training: Training, samples: int, round: int
    ) -> ModelContent:
        """What a UE sends when it has trained on so many samples of its own."""
        rate = training.rate(round)
        told = self._heard[ue]  # a schedule may end at 0: then nothing was learnt of the gradient
        if rate > 0:
            steps = training.effective_steps(samples, round=round)
            told = mean_step(start.vector, trained.vector, rate=rate, steps=steps)
        if self._owed(ue):
            self._own[ue] = self.own(ue) + (told - self._heard[ue])
        return ModelContent(_joined(trained, told), self._layout)

    def arrived(self, ue: str, state: ModelState) -> ModelState:
        """The model in what the base station got of a UE; the change of its control variate counts at both ends."""
        model, told = _halves(state)
        change = told - self._heard[ue]
        if not self._owed(ue):
            self._own[ue] = self.own(ue) + change
        self._changes[ue] = change
        return model

    def close(self, cohort: Sequence[str]) -> None:
        """Add a round's changes up, in the cohort's order."""
        for ue in cohort:
            if ue in self._changes:
                self._common = self._common + self._changes[ue] / self._ues
        self._heard, self._changes = {}, {}

    def state(self) -> dict[str, Any]:
        """Between rounds: plain data and tensors, for a checkpoint."""
        return {"common": self._common, "own": dict(self._own.items())}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._common = state["common"]
        self._own.clear()
        self._own.update(state["own"])


def variates_of(
    scenario: Scenario, transport: Transport, layout: Layout, *, device: torch.device, spill: Spill | None
) -> Variates | None:
    """The control variates of a scenario; None: its rule has none."""
    population = scenario.population
    if not isinstance(population.aggregator, Scaffold):
        return None
    return Variates(layout, ues=population.ues, owed=transport.feeds_back, device=device, spill=spill)


def _doubled(layout: Layout) -> Layout:
    variates = [
        replace(slot, name=f"control.{slot.name}", start=slot.start + layout.length) for slot in layout.slots
    ]
    return Layout((*layout.slots, *variates), layout.buffers)


def _joined(model: ModelState, variate: Vector) -> ModelState:
    return replace(model, vector=torch.cat([model.vector, variate]))


def _halves(state: ModelState) -> tuple[ModelState, Vector]:
    model, variate = state.vector.chunk(2)
    return replace(state, vector=model), variate
