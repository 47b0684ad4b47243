"""Who trains the UEs: an engine takes jobs and gives outcomes.

A job is a value that holds all it depends on, so an outcome is the same whoever computes it, when, and in which order.
``LoopEngine`` is the reference: one UE after another in one scratch module. UEs hold their model by reference until
they train, so ten thousand idle UEs cost no copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn.training import LabelledSamples, Training, TrainingReport, intra_op_threads, train
from syft_fl.vectors import Layout, ModelState, Vector

__all__ = ["Engine", "Job", "LoopEngine", "Outcome"]


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
        """Hand in a job; the number to ask for its outcome with."""
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


class LoopEngine:
    """One UE after another, each when its outcome is asked for, all in one scratch module.

    Args:
        module: of the right architecture; its value is overwritten by every job. A module that keeps state outside
            its parameters and buffers would carry it from one UE to the next.
        layout: of that module.
    """

    def __init__(self, module: nn.Module, layout: Layout) -> None:
        self._module = module
        self._layout = layout
        self._jobs: dict[int, Job] = {}
        self._submitted = 0

    def submit(self, job: Job) -> int:
        """Hand in a job; the number to ask for its outcome with."""
        handle = self._submitted
        self._submitted += 1
        self._jobs[handle] = job
        return handle

    def cancel(self, handle: int) -> None:
        """Nobody will ask for the outcome of a job: it is not trained."""
        self._jobs.pop(handle, None)

    def result(self, handle: int) -> Outcome:
        """Train, and give the outcome.

        Raises:
            ConfigError: no such job, or its outcome was already taken.
        """
        job = self._jobs.pop(handle, None)
        if job is None:
            raise ConfigError(
                f"job {handle} must be one that was submitted and not yet taken; submit it again"
            )
        self._layout.write(job.state, self._module)
        with intra_op_threads(job.training.threads):
            report = train(
                self._module,
                job.samples,
                training=job.training,
                key=job.key,
                round=job.round,
                correction=job.correction,
            )
        return Outcome(self._layout.read(self._module), report)
