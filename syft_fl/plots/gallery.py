"""All figures of a comparison, from its tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd

from syft_fl.experiment.statistics import by_variant
from syft_fl.plots.bars import time_to_target
from syft_fl.plots.curves import accuracy_against
from syft_fl.plots.energy import SpendingRun, energy_by_part
from syft_fl.plots.save import save
from syft_fl.plots.style import looks
from syft_fl.plots.timeline import timeline
from syft_fl.plots.trigger import trigger_quantity
from syft_fl.plots.why import rounds_and_seconds

__all__ = ["draw_all"]

_TIMELINES = 12  # more of them nobody looks at, and they take longest to draw
_ROUNDS = 4  # of those that cross their closings, the first few say more than one


class DrawnRun(SpendingRun, Protocol):
    """What is read of a run: everything but its configuration."""

    @property
    def transfers(self) -> pd.DataFrame: ...
    @property
    def computations(self) -> pd.DataFrame: ...
    @property
    def decisions(self) -> pd.DataFrame: ...


class DrawnComparison(Protocol):
    """What is read of a comparison."""

    @property
    def results(self) -> Sequence[DrawnRun]: ...
    @property
    def target_accuracy(self) -> float | None: ...


def draw_all(
    comparison: DrawnComparison, folder: str | Path, *, formats: Sequence[str] = ("png", "pdf", "svg")
) -> list[Path]:
    """Draw accuracy against time, uplink bits and energy, what the UEs' energy went into, the time to the target and
    why, each variant's first round (or first few, where not all send or are waited for), and what its trigger compared.

    A variant looks the same in every figure. Runs that an earlier version wrote do not tell the UEs' energy, and have
    no figure of it. Where there is no target there are no bars; timeline and
    trigger are those of the variant's first seed, of the first twelve variants, and are left out where there is nothing
    to draw.

    Returns:
        The files written.

    Raises:
        ConfigError: no run, a seed twice, or an unknown format.
    """
    variants = by_variant(comparison.results)
    target = comparison.target_accuracy
    same = looks(variants)
    figures = {
        f"accuracy-{x}": accuracy_against(comparison.results, x, target=target, variant_looks=same)
        for x in ("latency_s", "uplink_bits", "energy_j")
    }
    if all("ue_energy_j" in run.rounds for run in comparison.results):
        figures["accuracy-ue_energy_j"] = accuracy_against(
            comparison.results, "ue_energy_j", target=target, variant_looks=same
        )
        figures["energy-by-part"] = energy_by_part(comparison.results)
    if target is not None:
        figures["time-to-target"] = time_to_target(comparison, variant_looks=same)
        figures["rounds-and-seconds"] = rounds_and_seconds(comparison, variant_looks=same)
    for name, runs in list(variants.items())[:_TIMELINES]:
        transfers, rounds = runs[0].transfers, runs[0].rounds
        if len(transfers) and (transfers["round"] >= 1).any():
            if "skipped" in rounds:
                end_s = float(rounds["latency_s"].iloc[: _ROUNDS + 1].max())
                figures[f"timeline-{name}"] = timeline(runs[0], seconds=(0.0, end_s))
            else:
                first = int(transfers.loc[transfers["round"] >= 1, "round"].min())
                figures[f"timeline-{name}"] = timeline(runs[0], round=first)
        if len(runs[0].decisions):
            figures[f"trigger-{name}"] = trigger_quantity(runs[0])
    return [path for name, figure in figures.items() for path in save(figure, folder, name, formats=formats)]
