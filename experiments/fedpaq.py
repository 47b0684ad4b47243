"""FedPAQ's interior optimum, against time: local steps, quantiser levels and participants, each varied alone.

Runs fedpaq.toml at the points of three grids (``syft-fl sweep`` does the same for one), with the training loss over all
samples as the measure, and draws it at a fixed simulated time.

    python experiments/fedpaq.py [--out DIR] [-j N] [--seeds N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import syft_fl as sy
from syft_fl.plots import save

HERE = Path(__file__).parent
AXES = {
    "training.steps": ([1, 2, 4, 8, 16, 32, 64, 128], "local steps $\\tau$"),
    "uplink.codec.levels": ([1, 2, 3, 7, 15, 31, 127, 1023, 32767], "levels $s$"),
    "population.cohort": ([1, 2, 4, 8, 16, 32, 40], "participants $r$"),
}
AT_S = (1.0, 3.0, 9.0)
"""Simulated seconds at which the loss is read."""


def loss_at(rounds: pd.DataFrame, seconds: float) -> float:
    """Test loss of the last model that was there by a time."""
    return float(rounds[rounds["latency_s"] <= seconds]["loss"].iloc[-1])


def read(result: sy.SweepResult, axis: str) -> pd.DataFrame:
    """Loss by value of the axis, seed and time."""
    rows = [
        {axis: value, "seed": seed, "at_s": at_s, "loss": loss_at(rounds, at_s)}
        for (value, seed), rounds in result.frame().groupby([axis, "seed"])
        for at_s in AT_S
    ]
    return pd.DataFrame(rows)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Mean over seeds and its standard error, a line per time."""
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    every = figure.subplots(1, len(tables), sharey=True)
    for axes, (axis, table) in zip(every, tables.items(), strict=True):
        for at_s, shade in zip(AT_S, ("0.65", "0.35", "0.0"), strict=True):
            by = table[table["at_s"] == at_s].groupby(axis)["loss"]
            mean, error = by.mean(), by.sem()
            axes.errorbar(mean.index, mean, error, color=shade, marker="o", markersize=3, label=f"{at_s:g} s")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(AXES[axis][1])
    every[0].set_ylabel("test loss at that time")
    lines, labels = every[0].get_legend_handles_labels()
    figure.legend(lines, labels, title="simulated", frameon=False, loc="outside right upper")
    return figure


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--out", type=Path, default=Path("results/fedpaq"), help="folder for results")
    options.add_argument("-j", "--jobs", type=int, default=1, help="runs at a time")
    options.add_argument("--seeds", type=int, default=3, help="how many")
    given = options.parse_args()
    tables = {}
    for axis, (values, _) in AXES.items():
        result = sy.sweep(
            HERE / "fedpaq.toml",
            grid={axis: values},
            seeds=range(given.seeds),
            jobs=given.jobs,
            out=given.out / axis,
        )
        tables[axis] = read(result, axis)
        shown = tables[axis].pivot_table(index=axis, columns="at_s", values="loss", aggfunc=["mean", "sem"])
        print(shown.round(4).to_string())
        best = tables[axis].groupby(["at_s", axis])["loss"].mean().unstack().idxmin(axis=1)
        print("least loss at", {f"{at_s:g} s": float(np.asarray(value)) for at_s, value in best.items()})
    print(f"figure: {save(draw(tables), given.out, 'fedpaq')[0]}")


if __name__ == "__main__":
    main()
