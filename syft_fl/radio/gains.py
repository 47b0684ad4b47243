"""Gains of many UEs at once, kept while they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Gains"]

_KEPT = 65_536


class Gains:
    """What UEs' channels are multiplied with in a block, asked of a link once and kept until something changes.

    A medium that shares its band asks for all UEs on the air whenever one of them starts or stops.

    Args:
        gain: of a UE in a block at a time.
        until_s: the first time after one at which a gain may change [s].
    """

    def __init__(self, gain: Callable[[str, int, float], float], until_s: Callable[[float], float]) -> None:
        self._gain = gain
        self._until_s = until_s
        self._kept: dict[tuple[str, int], float] = {}
        self._from_s, self._to_s = 0.0, 0.0

    def of(self, ues: Sequence[str], blocks: Sequence[int], time_s: float) -> NDArray[np.float64]:
        """[ues] the gain of each in its block."""
        if not self._from_s <= time_s < self._to_s or len(self._kept) > _KEPT:
            self._kept.clear()
            self._from_s, self._to_s = time_s, self._until_s(time_s)
        kept = self._kept
        found = [kept.get(asked) for asked in zip(ues, blocks, strict=True)]
        for number, gain in enumerate(found):
            if gain is None:
                found[number] = self._gain(ues[number], blocks[number], time_s)
                kept[ues[number], blocks[number]] = found[number]  # type: ignore[assignment]
        return np.array(found, dtype=np.float64)
