"""What a path model is."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.schema import Registry

__all__ = ["PATHS", "Path"]

PATHS = Registry("path model", "gain", "check")
"""Path models by kind; ``PATHS(MyPath)`` adds one."""


@runtime_checkable
class Path(Protocol):
    """How much of the sent power arrives on average: distance, what stands in the way, shadowing.

    The settings of it: a frozen dataclass with a ``kind``.
    """

    kind: ClassVar[str]

    def check(self, cell: Cell) -> None:
        """Refuse a cell in which the model does not hold.

        Raises:
            ConfigError: a UE of this cell may be nearer or farther than the model was made for.
        """
        ...

    def gain(self, ue: str, *, cell: Cell, key: Key, time_s: float = 0.0) -> float:
        """Linear mean power gain between the base station and a UE.

        It is the same in both directions, and holds until ``cell.steady_until_s(time_s=...)``.

        Args:
            key: the stream of the cell, from which the UE's place is drawn too.
            time_s: simulated time; it matters only where UEs move.

        Raises:
            ConfigError: the cell does not suit the model; see :meth:`check`.
        """
        ...
