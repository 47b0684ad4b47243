"""A cell seen from above, and how fast its radio is: plain numbers in, a figure out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, RegularPolygon
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from syft_fl.plots.style import DOUBLE_IN, drawings, styled
from syft_fl.schema import require

__all__ = ["map_and_rates"]

ASPECT = 0.44

_LINES: Mapping[str, tuple[str, Any]] = {"uplink": ("#E69F00", "-"), "downlink": ("#0072B2", (0, (5, 1.5)))}
"""Colours are the timeline's."""

_OTHER_LINE = ("#000000", (0, (1, 1)))
_UNITS = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s"))
_KILOMETRES_FROM_M = 2000.0
_MOST_TICKS = 7
_TAIL = 0.003
"""Part of the rates that may be left of the axis."""


def map_and_rates(
    positions_m: ArrayLike,
    colours: ArrayLike,
    *,
    rates_bps: Mapping[str, ArrayLike],
    radius_m: float,
    hexagonal: bool = False,
    tracks_m: ArrayLike | None = None,
    colour_label: str = "Median SNR, uplink [dB]",
    title: str = "",
    width_in: float = DOUBLE_IN,
) -> Figure:
    """Left, where the UEs are around the base station; right, the distribution of rates over UEs and blocks.

    Args:
        positions_m: [ues, 2] places [m]; the base station is at (0, 0).
        colours: [ues] what their colour says.
        rates_bps: ``uplink`` and ``downlink`` (or any other name): [ues, blocks] rates [bit/s]. The smallest, and
            rates of 0, count in the distribution and are left of the axis.
        radius_m: of the cell [m].
        hexagonal: the cell is a hexagon with its corners at the radius, one of them east; else a disc.
        tracks_m: [ues, times, 2] where UEs go; None: they stay.
        colour_label: of the colours, with unit.
        title: of the figure.
        width_in: width of the figure [inch].

    Raises:
        ConfigError: not one place and one colour for each UE, or no rate above 0.
    """
    places_m = np.asarray(positions_m, np.float64)
    levels = np.asarray(colours, np.float64)
    require(
        places_m.ndim == 2 and places_m.shape[1] == 2 and len(places_m) >= 1,
        "positions_m",
        places_m.shape,
        "(ues, 2) with at least one UE",
    )
    require(
        levels.shape == places_m.shape[:1], "colours", levels.shape, f"one for each of {len(places_m)} UEs"
    )
    curves = {name: np.sort(np.ravel(np.asarray(rates, np.float64))) for name, rates in rates_bps.items()}
    require(
        any(len(curve) and curve[-1] > 0 for curve in curves.values()),
        "rates_bps",
        sorted(curves),
        "above 0 somewhere",
    )
    with styled():
        figure, (from_above, distribution) = drawings(width_in, ASPECT * width_in, columns=2)
        scale, unit = (1e3, "km") if radius_m >= _KILOMETRES_FROM_M else (1.0, "m")
        _draw_cell(from_above, radius_m / scale, hexagonal=hexagonal)
        if tracks_m is not None:
            for track_m in np.asarray(tracks_m, np.float64):
                from_above.plot(*(track_m.T / scale), color="0.6", linewidth=0.7, zorder=1)
        dots = from_above.scatter(
            places_m[:, 0] / scale,
            places_m[:, 1] / scale,
            c=levels,
            s=26 if len(places_m) <= 20 else 15,
            cmap="viridis",
            edgecolors="black",
            linewidths=0.5,
            zorder=3,
        )
        from_above.set_xlabel(f"East of the base station [{unit}]")
        from_above.set_ylabel(f"North of the base station [{unit}]")
        figure.colorbar(dots, ax=from_above, label=colour_label, shrink=0.9, aspect=25, pad=0.02)
        figure.set_layout_engine("constrained", wspace=0.05)
        _draw_rates(distribution, curves)
        from_above.set_title(title, loc="left")
    return figure


def _draw_cell(axes: Axes, radius: float, *, hexagonal: bool) -> None:
    look: dict[str, Any] = {"facecolor": "0.97", "edgecolor": "0.5", "linewidth": 0.8, "zorder": 0}
    if hexagonal:
        axes.add_patch(RegularPolygon((0.0, 0.0), 6, radius=radius, orientation=math.pi / 6.0, **look))
    else:
        axes.add_patch(Circle((0.0, 0.0), radius, **look))
    axes.plot(0.0, 0.0, "^", color="#D55E00", markeredgecolor="black", markersize=8, zorder=2)
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(-radius, radius)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([tick for tick in ticks if abs(tick) <= radius]))
    axes.set_xlim(-1.06 * radius, 1.06 * radius)
    axes.set_ylim(-1.06 * radius, 1.06 * radius)
    axes.set_aspect("equal")


def _draw_rates(axes: Axes, curves: Mapping[str, NDArray[np.float64]]) -> None:
    positive = np.concatenate([curve[curve > 0] for curve in curves.values()])
    scale, unit = next((scale, unit) for scale, unit in _UNITS if scale <= max(np.median(positive), 1.0))
    for name, curve in curves.items():
        colour, line = _LINES.get(name, _OTHER_LINE)
        below = np.arange(1, len(curve) + 1) / len(curve)
        # From 0 at the smallest rate, and on at 1 beyond the largest.
        axes.step(
            np.concatenate([curve[:1], curve, [1e3 * positive.max()]]) / scale,
            np.concatenate([[0.0], below, [1.0]]),
            where="post",
            color=colour,
            linestyle=line,
            label=name,
        )
    # A long tail to the left, of a few deep fades, would leave no room for all else.
    low = min(float(np.quantile(curve[curve > 0], _TAIL)) for curve in curves.values() if curve[-1] > 0)
    low, high = low / scale / 1.25, positive.max() / scale * 1.25
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, 1.02)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"Rate of a UE that is alone on the air [{unit}]")
    axes.set_ylabel("Share of UEs and blocks at or below it")
    axes.grid(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(curves), borderaxespad=0.1)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis, as many as are legible."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**decade for decade in decades for step in steps]
        shown = [tick for tick in found if low <= tick <= high]
        if len(shown) <= _MOST_TICKS:
            return shown
    return shown[:: math.ceil(len(shown) / _MOST_TICKS)]
