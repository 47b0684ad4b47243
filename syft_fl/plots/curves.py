"""Accuracy (or another quantity) against simulated time, bits or energy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from syft_fl.experiment.statistics import BITS_PER_MBIT, SeededRun, by_variant, on_grid
from syft_fl.plots.style import DOUBLE_IN, Look, drawing, looks, outside_legend, styled
from syft_fl.schema import require

__all__ = ["accuracy_against"]

X_AXES: Mapping[str, tuple[str, float]] = {
    "latency_s": ("Simulated time [s]", 1.0),
    "uplink_bits": ("Sent on the uplink [Mbit]", BITS_PER_MBIT),
    "downlink_bits": ("Sent on the downlink [Mbit]", BITS_PER_MBIT),
    "energy_j": ("Energy of UEs and base station [J]", 1.0),
    "ue_energy_j": ("Battery energy of the UEs [J]", 1.0),
    "uplink_transmit_energy_j": ("Transmit energy of the UEs [J]", 1.0),
    "downlink_transmit_energy_j": ("Transmit energy of the base station [J]", 1.0),
    "receive_energy_j": ("Receive energy of the UEs [J]", 1.0),
    "compute_energy_j": ("Compute energy of the UEs [J]", 1.0),
    "round": ("Round", 1.0),
    "uploads": ("Uploads of all UEs", 1.0),
}
"""Label, and how many of the column's units make one of the label's."""

ASPECT = 0.55
"""Height of the figure, without a legend above it, by its width."""

FRACTIONS = {"accuracy": "Accuracy [%]", "standalone_accuracy": "Standalone accuracy [%]"}
LOSSES = {"loss": "Loss", "train_loss": "Training loss"}


def accuracy_against(
    results: Iterable[SeededRun],
    x: str = "latency_s",
    y: str = "accuracy",
    *,
    target: float | None = None,
    log_x: bool = False,
    width_in: float = DOUBLE_IN,
    variant_looks: Mapping[str, Look] | None = None,
) -> Figure:
    """Mean over seeds as a line, smallest to largest seed as a band, one colour per variant.

    Lines are steps: an evaluated value holds until the next (see :func:`~syft_fl.experiment.statistics.on_grid`). A
    variant without a moment at which all its seeds are known has no line, and the legend says so.

    Args:
        results: runs of any number of variants and seeds.
        x: ``latency_s``, ``uplink_bits`` or ``downlink_bits`` (drawn in Mbit), ``round``, ``uploads`` (models that UEs
            have sent, however often each was repeated or whether it arrived), or an energy: ``energy_j``
            (UEs and base station), ``ue_energy_j`` (the UEs' batteries), or a part of it (as in
            :class:`~syft_fl.experiment.Result`).
        y: ``accuracy``, ``standalone_accuracy``, ``loss`` or ``train_loss``.
        target: accuracy in 0 … 1 that gets a line of its own where y is an accuracy; None for none.
        log_x: logarithmic x, for methods whose costs differ by orders of magnitude.
        width_in: width of the figure [inch].
        variant_looks: looks by variant; None for :func:`~syft_fl.plots.style.looks` of these results.

    Raises:
        ConfigError: no run, or an x or y that is not one of the above or not in the results.
    """
    require(x in X_AXES, "x", x, f"one of {', '.join(X_AXES)}")
    y_labels = FRACTIONS | LOSSES
    require(y in y_labels, "y", y, f"one of {', '.join(y_labels)}")
    variants = by_variant(results)
    variant_looks = variant_looks or looks(variants)
    x_label, x_unit = X_AXES[x]
    with styled():
        figure, axes = drawing(width_in, ASPECT * width_in)
        for name, runs in variants.items():
            curve = on_grid(runs, x, y)
            curve[x] /= x_unit
            _draw(axes, curve, name, variant_looks[name], clip=log_x)
        if target is not None and y in FRACTIONS:
            _draw_target(axes, target)
        _dress(axes, x, y, log_x=log_x)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_labels[y])
        outside_legend(figure, axes, title=_legend_title(list(variants.values())))
    return figure


def _draw(axes: Axes, curve: pd.DataFrame, name: str, look: Look, *, clip: bool) -> None:
    x = curve.iloc[:, 0]
    label = name if curve["mean"].notna().any() else f"{name} (too few evaluations)"
    if curve["seeds"].max() > 1:
        axes.fill_between(
            x, curve["low"], curve["high"], step="post", color=look.color, alpha=0.18, linewidth=0
        )
    axes.plot(
        x,
        curve["mean"],
        drawstyle="steps-post",
        color=look.color,
        linestyle=look.linestyle,
        marker=look.marker,
        markevery=max(1, len(curve) // 8),
        markerfacecolor="white",
        clip_on=clip,  # whole markers at x = 0; from a logarithmic axis 0 would stick out
        label=label,
    )


def _draw_target(axes: Axes, target: float) -> None:
    axes.axhline(
        target,
        color="0.35",
        linestyle=(0, (2, 2)),
        linewidth=0.8,
        zorder=1.5,
        label=f"target {100 * target:.4g} %",
    )


def _dress(axes: Axes, x: str, y: str, *, log_x: bool) -> None:
    axes.grid(True)
    if y in FRACTIONS:
        # The data stay in 0 … 1; only the labels are in per cent.
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
    if log_x:
        axes.set_xscale("log")
        return
    axes.set_xlim(left=0)
    if x in ("round", "uploads"):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _legend_title(variants: Sequence[Sequence[SeededRun]]) -> str | None:
    """What line and band are; nothing where every variant has one seed."""
    seeds = sorted({len(runs) for runs in variants})
    if seeds == [1]:
        return None
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
    return f"mean and range of {counts} seeds"
