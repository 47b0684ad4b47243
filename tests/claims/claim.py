"""What a codec promises, written down independently of its code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from syft_fl.vectors import Layout

__all__ = [
    "DENORMAL",
    "FLOAT32_MAX",
    "ROUNDING",
    "Claim",
    "Groups",
    "Numbers",
    "always",
    "bernoulli_variance",
    "groups_of",
    "never",
]

FLOAT32_MAX = float(np.finfo(np.float32).max)
ROUNDING = 2.0**-20  # of the largest magnitude in a group: float32 arithmetic on both sides
DENORMAL = 2.0**-148  # where float32 has no relative precision any more

Numbers = np.ndarray


def never(codec: Any) -> bool:
    return False


def always(codec: Any) -> bool:
    return True


@dataclass(frozen=True)
class Claim:
    """What a codec promises; entries are float64, layouts real ones.

    At least one of ``worst`` and ``energy`` is a real bound. Where ``random``, either ``variance`` (entry by entry,
    exact, and the codec unbiased) or ``spread`` (of the whole vector) says how it scatters.

    Attributes:
        settings: what to test it with.
        worst: [entries] largest error that may ever occur; infinite where an entry has no bound of its own.
        energy: largest squared error of the whole vector that may ever occur; None: no more than ``worst`` says.
        variance: [entries] exact variance where the codec is unbiased entry by entry; else None.
        random: whether the bytes, or what they decode to, depend on the key.
        unbiased: whether the mean over keys is the vector.
        shares_key: whether the decoder needs the sender's key (subtractive dither, a drawn rotation).
        sized: whether the number of bits follows from settings and layout; else it varies with the entries.
        says_each_bit_once: whether no charged bit is silent (a rotation of few entries, a coder's last word may be).
        remembers: whether encode or decode give back a memory of their own.
    """

    settings: tuple[dict[str, Any], ...]
    worst: Callable[[Any, Numbers, Layout], Numbers]
    energy: Callable[[Any, Numbers, Layout], float] | None = None
    variance: Callable[[Any, Numbers, Layout], Numbers | None] = lambda codec, x, layout: None
    random: Callable[[Any], bool] = never
    unbiased: Callable[[Any], bool] = never
    shares_key: Callable[[Any], bool] = never
    sized: Callable[[Any], bool] = always
    says_each_bit_once: Callable[[Any], bool] = always
    remembers: Callable[[Any], bool] = never


@dataclass(frozen=True)
class Groups:
    """Entries cut into groups: one per tensor, or every ``block`` entries."""

    starts: Numbers
    widths: Numbers

    def each(self, ufunc: np.ufunc, x: Numbers) -> Numbers:
        """[entries] what ``ufunc`` makes of the entry's group."""
        return np.repeat(ufunc.reduceat(x, self.starts), self.widths) if x.size else x


def groups_of(layout: Layout, block: int | str) -> Groups:
    if block == "vector":
        starts = [0] if layout.length else []
    elif block == "tensor":
        starts = [slot.start for slot in layout.slots if slot.length]
    elif block == "channel":
        starts = [
            start
            for slot in layout.slots
            if slot.length
            for start in range(
                slot.start, slot.stop, slot.length // slot.shape[0] if len(slot.shape) > 1 else slot.length
            )
        ]
    else:
        assert isinstance(block, int)
        starts = list(range(0, layout.length, block))
    return Groups(np.array(starts, int), np.diff([*starts, layout.length]))


def bernoulli_variance(x: Numbers, step: Numbers) -> Numbers:
    """[entries] variance of stochastic rounding to whole steps."""
    part = np.abs(np.modf(x / np.where(step > 0, step, 1))[0])
    return step**2 * part * (1 - part)
