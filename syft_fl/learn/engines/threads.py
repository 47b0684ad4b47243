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
from syft_fl.learn.engines.engine import ENGINES, Engine
from syft_fl.learn.engines.pool import PooledEngine, Worker, cores
from syft_fl.learn.engines.scratch import Scratch
from syft_fl.learn.generators import may_draw, thread_generator
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout

__all__ = ["Threads"]


@ENGINES
@schema
class Threads:
    """UEs side by side in threads of this process; the same to the bit as ``loop``.

    A module that draws random numbers (dropout) is served from its UE's key as ever, by a mode that looks at every
    operation of a thread: about 10 µs each. A module is taken to draw unless it is made of torch's own layers and of
    the package's.

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
        draws = thread_generator if may_draw(module) else nullcontext

        def hire() -> Worker:
            try:
                own = copy.deepcopy(module)
            except Exception as error:
                raise ConfigError(
                    f"model {type(module).__name__} can't be copied for another thread ({error}); "
                    "make copy.deepcopy(model) work, or use engine.kind = 'loop'"
                ) from error
            return Scratch(own, layout, draws=draws)

        return PooledEngine(hire, self.workers or cores())
