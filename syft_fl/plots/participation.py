"""Who was heard how often, by distance from the base station: what a selection of the cohort does to near and far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from syft_fl.experiment.statistics import SeededRun, by_variant
from syft_fl.keys import Key
from syft_fl.plots.style import DOUBLE_IN, Look, drawing, looks, outside_legend, styled
from syft_fl.radio import Cell

__all__ = ["SettledRun", "heard", "participation"]

ASPECT = 0.5


class SettledRun(SeededRun, Protocol):
    """What is read of a run: its settings beside its rounds and transmissions."""

    @property
    def transfers(self) -> pd.DataFrame: ...
    @property
    def config(self) -> Mapping[str, Any]: ...


def participation(
    results: Iterable[SettledRun],
    *,
    width_in: float = DOUBLE_IN,
    variant_looks: Mapping[str, Look] | None = None,
) -> Figure:
    """Share of the rounds in which a UE's update arrived, against its distance; a line per variant.

    Each point is a UE, or where several seeds have a UE at the same distance, their mean. Of UEs that move it is the
    distance at the beginning.

    Args:
        results: runs of any number of variants and seeds.
        width_in: width of the figure [inch].
        variant_looks: looks by variant; None for :func:`~syft_fl.plots.style.looks` of these results.

    Raises:
        ConfigError: no run.
    """
    variants = by_variant(results)
    variant_looks = variant_looks or looks(variants)
    with styled():
        figure, axes = drawing(width_in, ASPECT * width_in)
        for name, runs in variants.items():
            look = variant_looks[name]
            table = pd.concat([heard(run) for run in runs]).groupby("distance_m")["share"].mean()
            axes.plot(
                table.index,
                table,
                color=look.color,
                linestyle=look.linestyle,
                marker=look.marker,
                markerfacecolor="white",
                label=name,
            )
        axes.grid(True)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("Distance from the base station [m]")
        axes.set_ylabel("Rounds with an update of the UE [%]")
        outside_legend(figure, axes)
    return figure


def heard(run: SettledRun) -> pd.DataFrame:
    """UEs of a run in order of distance: ``ue``, ``distance_m``, and the ``share`` of rounds in which it was heard."""
    rounds = int(run.rounds["round"].max())
    counts = Counter(_arrived(run.transfers))
    cell = Cell(**run.config["cell"])
    key = Key(run.seed) / "radio"
    names = [f"ue{index}" for index in range(run.config["population"]["ues"])]
    rows = [(ue, cell.distance_m(ue, key), counts[ue] / rounds if rounds else 0.0) for ue in names]
    return pd.DataFrame(rows, columns=["ue", "distance_m", "share"]).sort_values("distance_m")


def _arrived(transfers: pd.DataFrame) -> Sequence[str]:
    """The sender of each model that arrived at the base station."""
    if not len(transfers):
        return []
    models = transfers[(transfers["direction"] == "uplink") & (transfers["kind"] == "model")]
    return [
        ue for ues, lost in zip(models["ues"], models["lost"], strict=True) for ue in ues if ue not in lost
    ]
