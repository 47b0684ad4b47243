"""A UE of the simulation."""

from __future__ import annotations

from syft_fl.data import Samples
from syft_fl.vectors import ModelState

__all__ = ["UE"]


class UE:
    """One device: its samples, and by reference the model that it holds.

    Ten thousand idle UEs that received the same model share one value.

    Attributes:
        name: in messages, and of its random streams.
        samples: its own, in memory.
        model: the last one it received.
        trainings: how often it has trained; counts its random streams.
    """

    def __init__(self, name: str, samples: Samples, model: ModelState) -> None:
        self.name = name
        self.samples = samples
        self.model = model
        self.trainings = 0

    def receive(self, model: ModelState) -> None:
        """Hold this model from now on."""
        self.model = model
