"""Which engine is likely the fastest, by a rule and not by timing: the same scenario has the same engine everywhere.

On a card it is what the card is kept busy by: one UE's batch rarely fills it, a stack of many UEs' does.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from torch import nn

from syft_fl.devices import CPU, device_of
from syft_fl.learn.engines.batched import Batched, unfit
from syft_fl.learn.engines.engine import ENGINES, Engine, EngineModel
from syft_fl.learn.engines.loop import Loop
from syft_fl.learn.engines.threads import Threads
from syft_fl.learn.generators import may_draw
from syft_fl.schema import schema
from syft_fl.vectors import Layout

__all__ = ["Auto"]

_FEW = 200_000
"""Parameters up to which the operations of one UE take less time than calling them."""

_MANY = 8
"""UEs from which a stack pays."""


@ENGINES
@schema
class Auto:
    """``batched`` for many small models of linear layers, ``threads`` for larger ones, ``loop`` for the rest.

    - ``batched``: 8 UEs or more in a cohort, at most 200,000 parameters, linear layers and no convolution, recurrence,
      buffer or random draw.
    - ``threads``: else, where two UEs or more train 20,000 parameters or more.
    - ``loop``: else.

    On a card: ``batched`` for two UEs or more without buffers and random draws, convolutions or not; ``loop`` else.

    The rule looks at the scenario alone and not at the machine, since ``batched`` changes the last digits. What was
    chosen is printed once.
    """

    kind: ClassVar[str] = "auto"

    def open(self, module: nn.Module, layout: Layout, *, cohort: int) -> Engine:
        chosen = self.choose(module, layout, cohort=cohort)
        _say(
            f"engine: {chosen.kind}, for {cohort} UEs in a cohort and {layout.length:,} parameters "
            f"(engine.kind = {chosen.kind!r} asks for it by name)"
        )
        return chosen.open(module, layout, cohort=cohort)

    def choose(self, module: nn.Module, layout: Layout, *, cohort: int) -> EngineModel:
        """The engine for such modules and cohorts.

        Example:
            >>> mlp = nn.Linear(784, 10)
            >>> Auto().choose(mlp, Layout.of(mlp), cohort=100)
            Batched(chunk=None)
        """
        plain = unfit(module, layout) is None and not may_draw(module)
        if device_of(module) != CPU:
            return Batched() if cohort >= 2 and plain else Loop()
        if cohort >= _MANY and layout.length <= _FEW and plain and not _has_convolution(module):
            return Batched()
        return Threads() if cohort >= 2 and layout.length >= _FEW // 10 else Loop()


@cache
def _say(text: str) -> None:
    print(text)


def _has_convolution(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.conv._ConvNd) for part in module.modules())
