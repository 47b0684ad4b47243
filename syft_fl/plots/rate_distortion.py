"""Codecs' error against their rate, beside what theory allows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syft_fl.experiment.survey import SHANNON_DB
from syft_fl.plots.style import DOUBLE_IN, drawing, looks, outside_legend, styled
from syft_fl.schema import require

__all__ = ["rate_distortion"]

ASPECT = 0.62
_LOWEST_DB = -45.0
_MOST_BITS = 8.5


def rate_distortion(
    table: pd.DataFrame, *, source: str = "", most_bits: float | None = None, width_in: float = DOUBLE_IN
) -> Figure:
    """Squared error in dB of the input's energy against bits an entry; a look for each kind of codec.

    Beside them are the Gaussian's distortion-rate function, below which no codec is on independent Gaussian entries,
    and Shannon's lower bound for independent Laplacian ones. On any other source, a real update say, a codec may be
    below both.

    Args:
        table: what :func:`~syft_fl.experiment.survey.survey` returns.
        source: what was written, for the title.
        most_bits: codecs with more bits an entry, or without an error, are left out. None: 8.5, or more where no
            codec with an error takes as few.
        width_in: width of the figure [inch].

    Raises:
        ConfigError: no codec with an error is within ``most_bits``.
    """
    lossy = table[table["error"] > 0]
    require(
        len(lossy) > 0, "error", 0.0, "above 0 for one codec at least", "an exact one has no decibels to draw"
    )
    least = float(lossy["bits_per_entry"].min())
    if most_bits is None:
        most_bits = max(_MOST_BITS, least + 0.5)
    shown = lossy[lossy["bits_per_entry"] <= most_bits]
    require(len(shown) > 0, "most_bits", most_bits, f"at least {least:g}, the least rate with an error")
    errors_db = 10 * np.log10(shown["error"])
    with styled():
        figure, axes = drawing(width_in, ASPECT * width_in)
        _draw_bounds(axes, most_bits)
        for kind, look in looks(table["kind"]).items():
            points = shown[shown["kind"] == kind].sort_values("bits_per_entry")
            if len(points):
                axes.plot(
                    points["bits_per_entry"],
                    10 * np.log10(points["error"]),
                    color=look.color,
                    marker=look.marker,
                    markerfacecolor="white",
                    markersize=4,
                    linestyle="",
                    label=kind,
                )
        axes.axhline(0, color="0.35", linewidth=0.7, linestyle=(0, (2, 2)), label="nothing sent", zorder=1)
        axes.set_xlim(0, most_bits)
        axes.set_ylim(min(_LOWEST_DB, errors_db.min() - 2), max(10.0, errors_db.max() + 1))
        axes.set_xlabel("Bits an entry, all side information charged")
        axes.set_ylabel("Squared error by the input's energy [dB]")
        if source:
            axes.set_title(source, loc="left")
        axes.grid(True)
        outside_legend(figure, axes)
    return figure


def _draw_bounds(axes: Axes, most_bits: float) -> None:
    bits = np.array([0.0, most_bits])
    gaussian_db = -20 * math.log10(2) * bits
    axes.plot(bits, gaussian_db, color="0.2", linewidth=1.2, label="D(R), Gaussian", zorder=1)
    axes.plot(
        bits,
        gaussian_db + SHANNON_DB,
        color="0.55",
        linewidth=0.9,
        linestyle=(0, (4, 2)),
        label="Shannon's bound, Laplacian",
        zorder=1,
    )
