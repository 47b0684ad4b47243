"""Why one variant is sooner at the target than another: it needs fewer rounds, or its rounds are shorter."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syft_fl.experiment.statistics import RunGroup, by_variant, time_to
from syft_fl.experiment.table import number
from syft_fl.plots.style import DOUBLE_IN, Look, drawing, looks, outside_legend, styled
from syft_fl.schema import require

__all__ = ["rounds_and_seconds"]

ASPECT = 0.55
_TIMES = 6  # lines of equal time


def rounds_and_seconds(
    comparison: RunGroup,
    *,
    width_in: float = DOUBLE_IN,
    variant_looks: Mapping[str, Look] | None = None,
) -> Figure:
    """Rounds to the comparison's target against simulated seconds of a round; a point for each variant.

    Time to the target is the product of the two, so it is equal along the dotted lines and falls toward the lower left.
    A codec with fewer bits goes to the left, one whose error costs rounds goes up. Points are means over seeds;
    whiskers go from the seed with the fewest rounds to the one with the most.

    Args:
        comparison: runs of several variants, with a ``target_accuracy``. A variant that some seed did not bring there
            has no point, and the legend says so.
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
    with styled():
        figure, axes = drawing(width_in, ASPECT * width_in)
        axes.set_xlabel("Simulated time of a round [s]")
        axes.set_ylabel(f"Rounds to {100 * target:.4g} % accuracy")
        axes.grid(True)
        for name, runs in variants.items():
            rounds = np.array([time_to(run, target, x="round") for run in runs])
            seconds = np.array([time_to(run, target) for run in runs]) / np.where(
                rounds > 0, rounds, math.nan
            )
            _draw(axes, seconds, rounds, name, variant_looks[name])
        _draw_times(axes)
        outside_legend(figure, axes)
    return figure


def _draw(axes: Axes, seconds: np.ndarray, rounds: np.ndarray, name: str, look: Look) -> None:
    missed = int(np.isnan(rounds).sum())
    if missed:
        name = f"{name} (not reached by {missed} of {len(rounds)})"
    x, y = float(seconds.mean()), float(rounds.mean())
    axes.errorbar(
        x,
        y,
        yerr=[[y - rounds.min()], [rounds.max() - y]] if len(rounds) > 1 else None,
        fmt=look.marker,
        color=look.color,
        markersize=5,
        markerfacecolor="white",
        elinewidth=0.6,
        label=name,
    )


def _draw_times(axes: Axes) -> None:
    """Lines of equal time to the target, over what is drawn."""
    if not axes.has_data():
        return
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    left, low = max(left, 1e-9), max(low, 1e-9)
    x = np.linspace(left, right, 200)
    for time_s in np.geomspace(left * low, right * high, _TIMES + 2)[1:-1]:
        axes.plot(x, time_s / x, color="0.6", linestyle=(0, (1, 2)), linewidth=0.7, zorder=1)
        at = min(right, time_s / low)
        axes.annotate(
            f"{number(time_s, digits=2)} s",
            (at, time_s / at),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            fontsize=6,
            color="0.4",
            annotation_clip=True,
        )
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
