"""The reference engine: one UE after another."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from syft_fl.learn.engines.engine import ENGINES, Engine, Job, Outcome, not_waiting
from syft_fl.learn.engines.scratch import Scratch
from syft_fl.schema import schema
from syft_fl.vectors import Layout

__all__ = ["Loop", "LoopEngine"]


@ENGINES
@schema
class Loop:
    """One UE after another, in this thread."""

    kind: ClassVar[str] = "loop"
    ignores_timing: ClassVar[bool] = True

    def open(self, module: nn.Module, layout: Layout, *, cohort: int) -> Engine:
        return LoopEngine(module, layout)


class LoopEngine:
    """One UE after another, each when its outcome is asked for, all in one scratch module.

    Args:
        module: of the right architecture; its value is overwritten by every job. A module that keeps state outside
            its parameters and buffers would carry it from one UE to the next.
        layout: of that module.
    """

    def __init__(self, module: nn.Module, layout: Layout) -> None:
        self._scratch = Scratch(module, layout)
        self._jobs: dict[int, Job] = {}
        self._submitted = 0

    def submit(self, job: Job) -> int:
        """Hand in a job; the number to ask for its outcome with."""
        handle = self._submitted
        self._submitted += 1
        self._jobs[handle] = job
        return handle

    def result(self, handle: int) -> Outcome:
        """Train, and give the outcome.

        Raises:
            ConfigError: no such job, or its outcome was already taken.
        """
        job = self._jobs.pop(handle, None)
        if job is None:
            raise not_waiting(handle)
        return self._scratch.train(job)

    def cancel(self, handle: int) -> None:
        """Nobody will ask for the outcome of a job: it is not trained."""
        self._jobs.pop(handle, None)

    def close(self) -> None:
        """Forget the jobs that nobody asked for."""
        self._jobs.clear()
