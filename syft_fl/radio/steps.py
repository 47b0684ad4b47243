"""Time in steps of one length, counted from 0: what holds still for a step changes at its edges.

Used by fading that is drawn per coherence time and by UEs whose movement is followed step by step.
"""

from __future__ import annotations

import math

__all__ = ["next_step_s", "step_number"]


def step_number(time_s: float, step_s: float) -> int:
    """The n for which ``n * step_s <= time_s < (n + 1) * step_s``, in floating point too.

    Example:
        >>> step_number(0.3, 0.1), 3 * 0.1 <= 0.3
        (2, False)
    """
    number = math.floor(time_s / step_s)
    # The quotient is rounded: at a step's very first instant it may come out one too low (or, just
    # before, one too high), and whoever goes from step to step would not move on.
    if (number + 1) * step_s <= time_s:
        return number + 1
    return number - 1 if number * step_s > time_s else number


def next_step_s(time_s: float, step_s: float) -> float:
    """When the step after the one that ``time_s`` lies in begins [s]; always after ``time_s``.

    Example:
        >>> next_step_s(2.0, 0.5)
        2.5
    """
    return (step_number(time_s, step_s) + 1) * step_s
