"""What an engine is: it takes jobs and gives outcomes.

A job is a value that holds all it depends on, so an outcome is the same whoever computes it, when, and in which order.
Engines differ in where UEs are trained, not in what comes out: all agree to the bit but ``batched``, which sums in
another order. UEs hold their model by reference until they train, so ten thousand idle UEs cost no copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch import nn

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn.training import LabelledSamples, Training, TrainingReport
from syft_fl.schema import Registry
from syft_fl.vectors import Layout, ModelState, Vector

__all__ = ["ENGINES", "Engine", "EngineModel", "Job", "Outcome", "not_waiting"]

ENGINES = Registry("engine", "open")
"""Engines by kind; ``ENGINES(MyEngine)`` adds one."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training of one UE.

    Attributes:
        ue: its name.
        state: the model that it starts from.
        samples: its own.
        training: how it trains.
        key: its random stream for this training.
        round: federated round, counted from 1.
        correction: [entries] added to the gradient of every step; None: nothing.
    """

    ue: str
    state: ModelState
    samples: LabelledSamples
    training: Training
    key: Key
    round: int
    correction: Vector | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job became: the trained model, and what was noted on the way."""

    state: ModelState
    report: TrainingReport


class Engine(Protocol):
    """Takes jobs and gives outcomes. Handing in is cheap; an engine may work ahead, or not before it is asked."""

    def submit(self, job: Job) -> int:
        """Hand in a job; the number to ask for its outcome with. No number is given twice."""
        ...

    def result(self, handle: int) -> Outcome:
        """The outcome of a job, once.

        Raises:
            ConfigError: no such job, or its outcome was already taken.
        """
        ...

    def cancel(self, handle: int) -> None:
        """Nobody will ask for the outcome of a job."""
        ...

    def close(self) -> None:
        """Let go of threads, processes and memory. Jobs whose outcome was not taken are lost.

        An engine that nobody holds any more closes by itself.
        """
        ...


@runtime_checkable
class EngineModel(Protocol):
    """Settings of an engine.

    One that gives the bits of ``loop``, whoever else is training at the time, says so by ``ignores_timing = True`` (a
    class attribute): then a run with it can be re-timed (:mod:`syft_fl.federation.retiming`). One that spreads UEs over
    cores, and makes nothing of a card, says ``cpu_only = True``.
    """

    kind: ClassVar[str]

    def open(self, module: nn.Module, layout: Layout, *, cohort: int) -> Engine:
        """An engine for modules of one architecture.

        Args:
            module: of that architecture, on the device where UEs are trained: there are the models and samples of jobs,
                and there outcomes have to be. An engine may train in it: its value is overwritten. A module that keeps
                state outside its parameters and buffers would carry it from one UE to the next.
            layout: of that module.
            cohort: UEs that train in a round, at most.

        Raises:
            ConfigError: the engine can't train such a module, or does not work here.
        """
        ...


def not_waiting(handle: int) -> ConfigError:
    """The error for a handle that no job waits under."""
    return ConfigError(f"job {handle} must be one that was submitted and not yet taken; submit it again")
