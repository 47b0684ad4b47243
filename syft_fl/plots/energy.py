"""What a UE's battery gives in a round, and for what: sending, listening, computing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from syft_fl.experiment.energy import PARTS
from syft_fl.experiment.statistics import SeededRun, by_variant
from syft_fl.plots.style import DOUBLE_IN, drawing, outside_legend, styled
from syft_fl.plots.timeline import SHADES

__all__ = ["SpendingRun", "energy_by_part"]

BAR_IN = 0.26
"""Height that a bar and the gap beside it take [inch]."""

# The colours of the timeline, where a UE does the same.
LOOKS: Mapping[str, tuple[str, str, str]] = {
    "transmit_j": ("transmit", SHADES["uplink"].facecolor, ""),
    "receive_j": ("receive", SHADES["downlink"].facecolor, ""),
    "compute_j": ("compute", SHADES["compute"].facecolor, "////"),
}
"""Label, colour and hatch of each part."""

_JOULE = EngFormatter(unit="J")


class SpendingRun(SeededRun, Protocol):
    """What is read of a run: its variant, its seed, and what its UEs spent."""

    def energy(self) -> pd.DataFrame: ...


def energy_by_part(results: Iterable[SpendingRun], *, width_in: float = DOUBLE_IN) -> Figure:
    """Horizontal bars, one per variant: the battery energy of a UE in a round, stacked by what it went into.

    Bars are means over all UEs of the cell, rounds and seeds; those that took no part count with what they spent, which
    may be nothing. A dot is a seed's total. What the base station sends with is not in it.

    Args:
        results: runs of any number of variants and seeds.
        width_in: width of the figure [inch].

    Raises:
        ConfigError: no run, or a variant has a seed twice.
        RunError: a run does not tell energy by UE.
    """
    variants = by_variant(results)
    spent = {name: _means(runs) for name, runs in variants.items()}
    with styled():
        figure, axes = drawing(width_in, 0.55 + BAR_IN * len(variants))
        _draw(axes, spent)
        axes.set_yticks(range(len(variants)), list(variants))
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(variants) - 0.5, -0.5)  # the first variant on top
        axes.grid(True, axis="x")
        axes.xaxis.set_major_formatter(EngFormatter(unit="J"))
        axes.set_xlabel("Battery energy of a UE in a round; the base station's energy is not in it")
        dots = "; dots: seeds" if max(map(len, variants.values())) > 1 else ""
        outside_legend(figure, axes, title=f"mean of UEs and rounds{dots}", above=True)
    return figure


def _means(runs: Sequence[SpendingRun]) -> pd.DataFrame:
    """Of each seed, the mean of each part over UEs and rounds [J]."""
    return pd.DataFrame([run.energy()[list(PARTS)].mean() for run in runs])


def _draw(axes: Axes, spent: Mapping[str, pd.DataFrame]) -> None:
    rows = range(len(spent))
    ends_j = [0.0] * len(spent)
    for part, (label, color, hatch) in LOOKS.items():
        widths_j = [float(seeds[part].mean()) for seeds in spent.values()]
        axes.barh(
            rows,
            widths_j,
            left=ends_j,
            height=0.62,
            facecolor=color,
            edgecolor="white" if not hatch else "#909090",
            hatch=hatch,
            linewidth=0.3,
            label=label,
        )
        ends_j = [end_j + width_j for end_j, width_j in zip(ends_j, widths_j, strict=True)]
    farthest_j = 0.0
    for y, (end_j, seeds) in enumerate(zip(ends_j, spent.values(), strict=True)):
        totals_j = seeds.sum(axis=1)
        last_j = max(end_j, float(totals_j.max()))
        farthest_j = max(farthest_j, last_j)
        if len(seeds) > 1:
            axes.plot(
                totals_j,
                [y] * len(seeds),
                "o",
                markersize=2.5,
                color="white",
                markeredgecolor="black",
                markeredgewidth=0.5,
            )
        axes.annotate(
            _JOULE(float(f"{end_j:.3g}")),
            (last_j, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axes.set_xlim(0, 1.12 * farthest_j if farthest_j else 1.0)
