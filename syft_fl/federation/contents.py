"""What is sent for a model: the model alone, or with what an aggregation rule sends beside it.

The one rule that does is SCAFFOLD (:class:`~syft_fl.federation.variates.Variates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from syft_fl.learn import Training
from syft_fl.transport import ModelContent
from syft_fl.vectors import Layout, ModelState, Vector

__all__ = ["Contents", "ModelAlone"]


class Contents(Protocol):
    """What goes up and down in a run, and the models in it."""

    def down(self, model: ModelState) -> ModelContent:
        """What the base station sends for a model."""
        ...

    def heard(self, state: ModelState, ues: Sequence[str]) -> ModelState:
        """The model in what some UEs received."""
        ...

    def correction(self, ue: str) -> Vector | None:
        """What is added to the gradients of a UE; None: nothing."""
        ...

    def up(
        self, ue: str, start: ModelState, trained: ModelState, *, training: Training, samples: int, round: int
    ) -> ModelContent:
        """What a UE sends when it has trained on so many samples of its own."""
        ...

    def arrived(self, ue: str, state: ModelState) -> ModelState:
        """The model in what the base station got of a UE."""
        ...

    def close(self, cohort: Sequence[str]) -> None:
        """The round of a cohort closes."""
        ...


class ModelAlone:
    """Nothing beside the model.

    Args:
        layout: of the model.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def down(self, model: ModelState) -> ModelContent:
        return ModelContent(model, self._layout)

    def heard(self, state: ModelState, ues: Sequence[str]) -> ModelState:
        return state

    def correction(self, ue: str) -> None:
        return None

    def up(
        self, ue: str, start: ModelState, trained: ModelState, *, training: Training, samples: int, round: int
    ) -> ModelContent:
        return ModelContent(trained, self._layout)

    def arrived(self, ue: str, state: ModelState) -> ModelState:
        return state

    def close(self, cohort: Sequence[str]) -> None:
        pass
