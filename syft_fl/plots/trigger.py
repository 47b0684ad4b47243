"""What a trigger compared, round by round, and what it decided."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from syft_fl.plots.style import DOUBLE_IN, PALETTE, drawing, outside_legend, styled
from syft_fl.schema import require

__all__ = ["MAX_LINES", "DecidedRun", "trigger_quantity"]

MAX_LINES = 12
"""Of more UEs than this there is a band."""

ASPECT = 0.5

DECADE = 10.0
"""Where quantities differ by more than this factor, the axis is logarithmic."""

BAND = (0.1, 0.9)
"""Quantiles between which the band is."""


class DecidedRun(Protocol):
    """What is read of a run."""

    @property
    def decisions(self) -> pd.DataFrame: ...


class Plain(LogFormatter):
    """Labels where a logarithmic axis has them, as 0.03 and not as a power of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def trigger_quantity(
    result: DecidedRun,
    *,
    x: Literal["round", "time_s"] = "round",
    at: Literal["ue", "bs"] | None = None,
    width_in: float = DOUBLE_IN,
) -> Figure:
    """The trigger's own quantity against its threshold: a filled dot is an update that is sent, an open one is kept.

    Up to :data:`MAX_LINES` UEs have a thin line each; more of them a median and the band between the 10 % and the 90 %
    quantiles of each round. The threshold is drawn likewise where UEs have different ones. Where there was nothing to
    compare with yet there is no point. The axis is logarithmic where all is positive and over more than a decade.

    Args:
        result: one run with a trigger.
        x: ``round`` of the model that the update is computed from, or simulated time.
        at: whose decisions: the UEs', or the base station's (whether to ask a UE at all); None: the base station's
            where it decides.
        width_in: width of the figure [inch].

    Raises:
        ConfigError: the run has no decisions there.
    """
    decisions = result.decisions
    places = set(decisions["at"]) if len(decisions) else set()
    require(bool(places), "decisions", "none", "those of a run with a trigger")
    at = at or ("bs" if "bs" in places else "ue")
    require(at in places, "at", at, f"one of {', '.join(sorted(places))}")
    require(x in ("round", "time_s"), "x", x, "'round' or 'time_s'")
    table = decisions[decisions["at"] == at].sort_values(x, kind="stable")
    with styled():
        figure, axes = drawing(width_in, ASPECT * width_in)
        _draw_thresholds(axes, table, x)
        many = table["ue"].nunique() > MAX_LINES
        if many and x == "round":
            _draw_band(axes, table)
        else:
            _draw_lines(axes, table, x, alpha=0.25 if many else 0.6)
        _draw_decisions(axes, table, x, alpha=0.35 if many else 1.0)
        _dress(axes, table, x)
        axes.set_ylabel("Compared by the base station" if at == "bs" else "Compared by the trigger")
        outside_legend(figure, axes, above=True)
    return figure


def _draw_thresholds(axes: Axes, table: pd.DataFrame, x: str) -> None:
    by_moment = table.groupby(x)["threshold"]
    one = bool((by_moment.nunique() <= 1).all())
    middle = by_moment.median()
    axes.plot(
        middle.index,
        middle,
        color=PALETTE[2],
        linestyle=(0, (5, 1.5)),
        linewidth=1.3,
        label="threshold" if one else "threshold (median)",
        zorder=2.5,
    )
    if not one:
        _fill(axes, table, x, "threshold", PALETTE[2])


def _draw_lines(axes: Axes, table: pd.DataFrame, x: str, *, alpha: float) -> None:
    for n, (_, mine) in enumerate(table.groupby("ue", sort=False)):
        label = None if n else "a UE"
        axes.plot(mine[x], mine["quantity"], color=PALETTE[1], linewidth=0.6, alpha=alpha, label=label)


def _draw_band(axes: Axes, table: pd.DataFrame) -> None:
    low, high = (round(100 * quantile) for quantile in BAND)
    _fill(axes, table, "round", "quantity", PALETTE[1], f"{low} … {high} % of the UEs")
    middle = table.groupby("round")["quantity"].median()
    axes.plot(middle.index, middle, color=PALETTE[1], label="median UE")


def _fill(axes: Axes, table: pd.DataFrame, x: str, column: str, color: str, label: str | None = None) -> None:
    low, high = (table.groupby(x)[column].quantile(quantile) for quantile in BAND)
    axes.fill_between(low.index, low, high, color=color, alpha=0.18, linewidth=0, label=label)


def _draw_decisions(axes: Axes, table: pd.DataFrame, x: str, *, alpha: float) -> None:
    for send, label, face in ((True, "sent", PALETTE[1]), (False, "kept", "white")):
        rows = table[(table["send"] == send) & np.isfinite(table["quantity"])]
        if len(rows):
            axes.plot(
                rows[x],
                rows["quantity"],
                linestyle="",
                marker="o",
                markersize=3,
                markerfacecolor=face,
                markeredgecolor=PALETTE[1],
                markeredgewidth=0.6,
                alpha=alpha,
                label=label,
                clip_on=False,
            )


def _dress(axes: Axes, table: pd.DataFrame, x: str) -> None:
    axes.grid(True)
    values = table[["quantity", "threshold"]].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > DECADE * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(Plain())
        axes.yaxis.set_minor_formatter(Plain(minor_thresholds=(2, 0.5)))
    else:
        axes.set_ylim(bottom=min(0.0, values.min(initial=0.0)))
    axes.set_xlabel("Round" if x == "round" else "Simulated time [s]")
    axes.set_xlim(left=0)
    if x == "round":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
