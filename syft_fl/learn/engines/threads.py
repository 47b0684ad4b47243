"""UEs side by side in threads of this process: the fastest for convolutions on a CPU.

torch leaves Python's lock while it computes, so threads overlap where operations are long. Each thread has a scratch
module of its own, and its own number of intra-op threads: torch keeps that number by thread.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import ClassVar

from torch import nn

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn.engines.engine import ENGINES, Engine, Job, Outcome
from syft_fl.learn.engines.pool import PooledEngine, Worker, cores
from syft_fl.learn.engines.scratch import Scratch
from syft_fl.learn.generators import ServedDraws, Trust, drawing_part, may_draw, thread_generator
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout

__all__ = ["Threads"]


@ENGINES
@schema
class Threads:
    """UEs side by side in threads of this process; the same to the bit as ``loop``.

    A module that draws random numbers (dropout) is served from its UE's key as ever, by a mode that looks at every
    operation of a thread: about 10 µs each. One of torch's own layers and of the package's is known to draw or not to;
    any other is watched in its first training, and trusted from then on, if it did not
    (:class:`~syft_fl.learn.generators.Trust`).

    Attributes:
        workers: threads; None: one for each core that the process may use.
    """

    kind: ClassVar[str] = "threads"
    ignores_timing: ClassVar[bool] = True
    cpu_only: ClassVar[bool] = True
    workers: int | None = None

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, "workers", self.workers, "at least 1")

    def open(self, module: nn.Module, layout: Layout, *, cohort: int) -> Engine:
        known = drawing_part(module) is not None or not may_draw(module)
        draws = thread_generator if may_draw(module) else nullcontext
        trust = Trust()

        def hire() -> Worker:
            try:
                own = copy.deepcopy(module)
            except Exception as error:
                raise ConfigError(
                    f"model {type(module).__name__} can't be copied for another thread ({error}); "
                    "make copy.deepcopy(model) work, or use engine.kind = 'loop'"
                ) from error
            return Scratch(own, layout, draws=draws) if known else _Watched(own, layout, trust)

        return PooledEngine(hire, self.workers or cores())


class _Watched:
    """Trains a module of which nobody knows whether it draws."""

    def __init__(self, module: nn.Module, layout: Layout, trust: Trust) -> None:
        self._trust = trust
        self._unserved = Scratch(module, layout, draws=nullcontext)
        self._served = Scratch(module, layout, draws=self._serve)
        self._block: ServedDraws | None = None

    def train(self, job: Job) -> Outcome:
        if self._trust.enter():
            try:
                outcome = self._unserved.train(job)
            finally:
                counts = self._trust.leave()
            if counts:
                return outcome
        outcome = self._served.train(job)
        assert self._block is not None
        self._trust.saw(self._block)
        return outcome

    def _serve(self, key: Key) -> ServedDraws:
        self._block = thread_generator(key)
        return self._block

    def close(self) -> None:
        """Nothing to let go of."""
