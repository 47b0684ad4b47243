"""The nearest of some levels, for many numbers at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NearestLevel"]

_COMPARED = 16  # levels; up to so many, comparing with every border is quicker than a table
_CELLS = 2**12


class NearestLevel:
    """Finds the nearest of up to 256 levels.

    A binary search takes 15 ns a number; comparisons take 0.1 ns each, and a table of cells so small that a border at
    most is in each takes 4 ns. Numbers half way between two levels go to the lower one.

    Args:
        levels: [2 … 256] rising.
    """

    def __init__(self, levels: NDArray[np.floating[Any]]) -> None:
        exact = levels.astype(np.float64)
        self._borders = ((exact[1:] + exact[:-1]) / 2).astype(np.float32)
        self._table: NDArray[np.uint8] | None = None
        if levels.size > _COMPARED:
            self._make_table()

    def __call__(self, numbers: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Index of the level nearest to each number; any shape."""
        if self._table is not None:
            return self._looked_up(numbers)
        if self._borders.size >= _COMPARED:
            return np.searchsorted(self._borders, numbers).astype(np.uint8)
        found: NDArray[np.uint8] = (numbers > self._borders[0]).view(np.uint8)
        for border in self._borders[1:]:
            found += (numbers > border).view(np.uint8)
        return found

    def _make_table(self) -> None:
        """How many borders are below each cell; no table where some cell has several."""
        first, last = float(self._borders[0]), float(self._borders[-1])
        self._low = np.float32(first)
        self._scale = np.float32((_CELLS - 2) / (last - first)) if last > first else np.float32(0)
        cells = self._cells(self._borders)
        if np.unique(cells).size == cells.size:
            self._table = np.searchsorted(cells, np.arange(_CELLS)).astype(np.uint8)
            self._borders_and_end = np.append(self._borders, np.float32(np.inf))

    def _cells(self, numbers: NDArray[np.float32]) -> NDArray[np.int32]:
        # Rising in the number whatever is rounded, so that a cell's numbers are all between its neighbours' borders.
        at = numbers - self._low
        at *= self._scale
        return np.clip(at, 0, _CELLS - 1, out=at).astype(np.int32)

    def _looked_up(self, numbers: NDArray[np.float32]) -> NDArray[np.uint8]:
        assert self._table is not None
        found: NDArray[np.uint8] = self._table.take(self._cells(numbers))
        found += (numbers > self._borders_and_end.take(found)).view(np.uint8)
        return found
