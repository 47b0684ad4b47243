"""How figures look: sizes, colours, one look per variant.

Figures are made without pyplot, so no window, no global figure list and no setting of the user's is touched. Sizes are
those of a journal's columns at 1:1: what is legible on the screen at 100 % is legible in print.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = [
    "DOUBLE_IN",
    "PALETTE",
    "SINGLE_IN",
    "STYLE",
    "Drawing",
    "Look",
    "drawing",
    "drawings",
    "looks",
    "outside_legend",
    "styled",
]

SINGLE_IN = 3.5
"""Width of one column [inch]."""

DOUBLE_IN = 7.0
"""Width of a page of two columns [inch]."""

STYLE: Mapping[str, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 3.2,  # long enough to tell dash patterns apart
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "lines.markeredgewidth": 0.9,
    "hatch.linewidth": 0.6,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # journals refuse the default, Type 3
    "svg.hashsalt": "syft_fl",  # else ids are random
}

# Okabe and Ito, "Color universal design" (2008), without the yellow, which vanishes on white;
# black first, for the baseline.
PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

LEGEND_LINE_IN = 0.15

LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)), (0, (8, 2, 2, 2, 2, 2)))

MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h", "P", "X", "*")


@dataclass(frozen=True, slots=True)
class Look:
    """How one variant is drawn in every figure; tells it apart without colour too."""

    color: str
    linestyle: Any
    marker: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each variant, by order of first appearance.

    Make it once from all variants and hand it to each figure, and a variant keeps its look where only some are
    drawn. Colour, line and marker repeat after 7, 5 and 12 variants, all three together after 420.
    """
    return {
        name: Look(PALETTE[i % len(PALETTE)], LINES[i % len(LINES)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(dict.fromkeys(names))
    }


class Drawing(Figure):
    """A figure that keeps its style wherever it is drawn, and shows itself in a notebook without pyplot."""

    def draw(self, renderer: RendererBase) -> None:
        # Fonts are looked up when they are drawn, by the settings of that moment.
        with styled():
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with styled():
            self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


def styled() -> AbstractContextManager[None]:
    """matplotlib's defaults and our style, whatever the user has set; the settings found are back afterwards."""
    return matplotlib.style.context(["default", dict(STYLE)])


def drawing(width_in: float, height_in: float) -> tuple[Drawing, Axes]:
    """An empty figure with one pair of axes; to be called inside :func:`styled`."""
    figure, (axes,) = drawings(width_in, height_in, columns=1)
    return figure, axes


def drawings(width_in: float, height_in: float, *, columns: int) -> tuple[Drawing, list[Axes]]:
    """An empty figure with pairs of axes side by side; to be called inside :func:`styled`."""
    figure = Drawing(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, columns, column + 1) for column in range(columns)]


def outside_legend(
    figure: Figure, axes: Axes, *, title: str | None = None, above: bool | None = None
) -> None:
    """A legend that covers no data: beside the axes, or above them in height added for it.

    Args:
        above: None for above on a narrow figure and beside on a wide one.
    """
    handles, labels = axes.get_legend_handles_labels()
    width_in, height_in = figure.get_size_inches()
    if above is None:
        above = width_in < (SINGLE_IN + DOUBLE_IN) / 2
    if not above:
        figure.legend(handles, labels, loc="outside right upper", title=title, alignment="left")
        return
    columns = max(1, int(width_in / max(_entry_in(label) for label in labels)))
    lines = math.ceil(len(labels) / columns) + (title is not None)
    figure.set_figheight(height_in + LEGEND_LINE_IN * lines)
    figure.legend(handles, labels, loc="outside upper left", title=title, alignment="left", ncols=columns)


def _entry_in(label: str) -> float:
    """Width of a legend entry [inch] at 7 points: handle and gaps, and the mean width of a letter."""
    return 0.6 + 0.05 * len(label)
