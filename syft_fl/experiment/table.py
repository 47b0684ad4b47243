"""A comparison's summary as text of fixed width, and numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["number", "table"]


def table(frame: pd.DataFrame, *, title: str = "variant") -> str:
    """A :func:`summary` as text of fixed width, for a terminal.

    Where seeds did not reach the target, their number stands in the place of the time:
    ``not reached (2 of 3)``.

    Args:
        frame: the summary.
        title: of the first column, which has the summary's index.
    """
    rows = [{title: str(name)} | _cells(row) for name, row in frame.iterrows()]
    titles = list(rows[0]) if rows else []
    lines = [titles, *([row[title] for title in titles] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    rule = ["-" * width for width in widths]
    return "\n".join(_aligned(line, widths) for line in [titles, rule, *lines[1:]])


def number(value: float, *, digits: int = 4) -> str:
    """A number with so many significant digits and no exponent; an en dash for NaN.

    Example:
        >>> number(12.34567), number(123456.7), number(0.0123456)
        ('12.35', '123457', '0.01235')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else str(value)
    return f"{value:.{_decimals(value, digits)}f}"


def _decimals(value: float, digits: int) -> int:
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return max(0, digits - 1 - magnitude)


def _cells(row: pd.Series) -> dict[str, str]:
    """One line of the table after its name, by the titles of its columns."""
    cells = {
        "seeds": f"{row['seeds']:.0f}",
        "accuracy": _plus_minus(row["final_accuracy"], row["final_accuracy_half_width"]),
        "time [s]": number(row["simulated_s"]),
        "uplink [Mbit]": number(row["uplink_mbit"]),
        "downlink [Mbit]": number(row["downlink_mbit"]),
        "energy [J]": number(row["energy_j"]),
    }
    if "target_accuracy" in row:
        cells |= {
            f"to {row['target_accuracy']:g} [s]": _time_cell(row),
            "reached": f"{row['reached']:.0f} of {row['seeds']:.0f}",
            "speed-up": _ratio_cell(row),
        }
    return cells


def _time_cell(row: pd.Series) -> str:
    missed = row["seeds"] - row["reached"]
    if missed:
        return f"not reached ({missed:.0f} of {row['seeds']:.0f})"
    return _plus_minus(row["time_to_target_s"], row["time_to_target_half_width_s"])


def _ratio_cell(row: pd.Series) -> str:
    bounds = (
        ""
        if math.isnan(row["speed_up_low"])
        else f" ({row['speed_up_low']:.2f} … {row['speed_up_high']:.2f})"
    )
    return "–" if math.isnan(row["speed_up"]) else f"{row['speed_up']:.2f}{bounds}"


def _plus_minus(mean: float, half_width: float) -> str:
    """Both with the decimals of the mean."""
    return number(mean) if math.isnan(half_width) else f"{number(mean)} ± {half_width:.{_decimals(mean, 4)}f}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    first, *others = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
