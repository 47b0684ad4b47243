"""Time to a target accuracy, one bar per variant."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syft_fl.experiment.statistics import RunGroup, SeededRun, by_variant, summary, time_to
from syft_fl.experiment.table import number
from syft_fl.plots.style import DOUBLE_IN, Look, drawing, looks, styled
from syft_fl.schema import require

__all__ = ["time_to_target"]

BAR_IN = 0.26
"""Height that a bar and the gap beside it take [inch]."""


def time_to_target(
    comparison: RunGroup,
    *,
    width_in: float = DOUBLE_IN,
    variant_looks: Mapping[str, Look] | None = None,
) -> Figure:
    """Horizontal bars: mean time to the comparison's target, its 95 % interval, a dot for each seed.

    A variant that some seed did not bring to the target has no mean. Its bar is open and hatched, says ``not reached``,
    and goes as far as it is known that the target takes longer: to the earliest end of such a seed's run.

    Args:
        comparison: runs of several variants, with a ``target_accuracy``.
        width_in: width of the figure [inch].
        variant_looks: looks by variant; None for :func:`~syft_fl.plots.style.looks` of this comparison.

    Raises:
        ConfigError: no run, or no target.
    """
    target = comparison.target_accuracy
    require(target is not None, "target_accuracy", target, "set", "give the comparison an accuracy in 0 … 1")
    assert target is not None  # for the type checker
    variants = by_variant(comparison.results)
    variant_looks = variant_looks or looks(variants)
    rows = summary(comparison).to_dict("index")
    with styled():
        figure, axes = drawing(width_in, 0.55 + BAR_IN * len(variants))
        for y, (name, runs) in enumerate(variants.items()):
            _draw(axes, y, runs, rows[name], variant_looks[name].color)
        axes.set_yticks(range(len(variants)), list(variants))
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(variants) - 0.5, -0.5)  # the first variant on top
        axes.grid(True, axis="x")
        axes.set_xlim(left=0)
        if max(map(len, variants.values())) > 1:
            axes.set_title("bar: mean; whiskers: 95 % interval; dots: seeds", loc="left", fontsize=7)
        axes.set_xlabel(f"Simulated time to {100 * target:.4g} % accuracy [s]")
    return figure


def _draw(axes: Axes, y: int, runs: Sequence[SeededRun], row: Mapping[Hashable, Any], color: str) -> None:
    times_s = {run.seed: time_to(run, row["target_accuracy"]) for run in runs}
    missed = [run for run in runs if math.isnan(times_s[run.seed])]
    if missed:
        end_s = min(float(run.rounds["latency_s"].iloc[-1]) for run in missed)
        axes.barh(y, end_s, height=0.62, facecolor="white", edgecolor=color, hatch="////", linewidth=0.8)
        text = "not reached" + (f" ({len(missed)} of {len(runs)})" if len(missed) < len(runs) else "")
    else:
        end_s = row["time_to_target_s"]
        axes.barh(y, end_s, height=0.62, facecolor=color, alpha=0.75)
        text = f"{number(end_s, digits=3)} s"
    reached = sorted(time_s for time_s in times_s.values() if not math.isnan(time_s))
    half_width_s = row["time_to_target_half_width_s"]
    if not math.isnan(half_width_s):
        axes.errorbar(end_s, y, xerr=half_width_s, color="black", elinewidth=0.8, capsize=2.5, capthick=0.8)
        end_s += half_width_s
    if len(runs) > 1:
        axes.plot(
            reached,
            [y] * len(reached),
            "o",
            markersize=2.5,
            color="white",
            markeredgecolor="black",
            markeredgewidth=0.5,
        )
    axes.annotate(
        text, (max([end_s, *reached]), y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7
    )
