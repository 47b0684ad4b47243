"""Fast fading that holds still for a block and is drawn anew for the next one.

A block is either the caller's round (the usual assumption in the field: one draw per UE and round) or a stretch of
simulated time as long as the coherence time. Either way the gain is a function of key, UE and block, never
of how often or in which order it is asked for.

Left out: correlation between blocks, between UEs and over the band; Doppler spectra; line of sight (Rice).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from syft_fl.keys import Key

__all__ = ["Fading", "NoFading", "RayleighPerRound", "RayleighPerTime"]


class Fading(Protocol):
    """The power gain of each UE's channel, 1 on average."""

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        """Linear power gain."""
        ...

    def steady_until_s(self, *, time_s: float) -> float:
        """First time [s] after ``time_s`` at which gains may change; infinity where never within a block."""
        ...


@dataclass(frozen=True, slots=True)
class NoFading:
    """A gain of 1."""

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        return 1.0

    def steady_until_s(self, *, time_s: float) -> float:
        return math.inf


@dataclass(frozen=True, slots=True)
class RayleighPerRound:
    """Rayleigh fading (an exponential power gain), one draw per UE and the caller's block."""

    key: Key

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        return (self.key / ue / block).exponential()

    def steady_until_s(self, *, time_s: float) -> float:
        return math.inf


@dataclass(frozen=True, slots=True)
class RayleighPerTime:
    """Rayleigh fading, one draw per UE and coherence time: one realisation h(t) for all callers.

    Attributes:
        key: the stream of this direction.
        coherence_s: length of a block [s].
    """

    key: Key
    coherence_s: float

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        return (self.key / ue / self._number(time_s)).exponential()

    def steady_until_s(self, *, time_s: float) -> float:
        return (self._number(time_s) + 1) * self.coherence_s

    def _number(self, time_s: float) -> int:
        """The n for which n * coherence_s <= time_s < (n + 1) * coherence_s, in floating point too."""
        number = math.floor(time_s / self.coherence_s)
        # The quotient is rounded: at a block's very first instant it may come out one too low (or, just
        # before, one too high), and whoever steps from block to block would not move on.
        if (number + 1) * self.coherence_s <= time_s:
            return number + 1
        return number - 1 if number * self.coherence_s > time_s else number
