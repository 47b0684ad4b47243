"""Who computes, waits and is on the air when, within one round."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syft_fl.experiment.table import number
from syft_fl.plots.style import DOUBLE_IN, drawing, outside_legend, styled
from syft_fl.schema import require

__all__ = ["BASE_STATION", "MAX_UES", "RecordedRun", "Span", "spans", "timeline"]

BASE_STATION = "BS"

MAX_UES = 30
"""More rows than this are not legible on a page."""

ROW_IN = 0.15

Row = Mapping[Hashable, Any]
"""One transmission, by column."""


class RecordedRun(Protocol):
    """What is read of a run: its transmissions."""

    @property
    def transfers(self) -> pd.DataFrame: ...


class Span(NamedTuple):
    """What one party does from one simulated moment to another [s]."""

    party: str
    activity: str
    start_s: float
    end_s: float
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Shade:
    """How an activity is drawn: told apart by lightness and hatch where there is no colour."""

    label: str
    facecolor: str
    edgecolor: str
    hatch: str = ""


SHADES: Mapping[str, Shade] = {
    "downlink": Shade("on air (down)", "#0072B2", "#0072B2"),
    "compute": Shade("computes", "#dcdcdc", "#dcdcdc"),
    "wait": Shade("waits", "#ffffff", "#909090", "/////"),
    "uplink": Shade("on air (up)", "#E69F00", "#E69F00"),
}


def timeline(result: RecordedRun, *, round: int = 1, width_in: float = DOUBLE_IN) -> Figure:
    """One row per UE and one for the base station, in simulated seconds since the first of them did something.

    UEs stand in the order in which their uploads end, those without an upload last; of more than
    :data:`MAX_UES` the first are drawn, and a line says so. The base station's row has what it sends above what
    it receives. A cross is a transmission that did not arrive.

    Args:
        result: one run.
        round: number of the round.
        width_in: width of the figure [inch].

    Raises:
        ConfigError: nothing was sent in that round.
    """
    found = spans(result.transfers, round)
    ues = _by_upload_end(found)
    parties = [BASE_STATION, *ues[:MAX_UES]]
    start_s = min(span.start_s for span in found)
    with styled():
        figure, axes = drawing(width_in, 0.55 + ROW_IN * (len(parties) + 1))
        _draw(axes, found, {party: y for y, party in enumerate(parties)}, start_s)
        axes.set_yticks(range(len(parties)), parties)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(parties) - 0.4, -0.6)  # the base station on top
        axes.grid(True, axis="x")
        axes.set_xlabel(f"Simulated time in round {round} [s], from {number(start_s)} s on")
        axes.set_xlim(0, 1.02 * (max(span.end_s for span in found if span.party in parties[1:]) - start_s))
        if len(ues) > MAX_UES:
            axes.set_title(f"the first {MAX_UES} of {len(ues)} UEs by the end of their upload", loc="left")
        outside_legend(figure, axes, above=True)
    return figure


def spans(transfers: pd.DataFrame, round: int) -> list[Span]:
    """Everything that happens in a round, read off its transmissions.

    A UE computes from the end of the last model that it received to the moment at which it hands over its own
    model (or, where it sends none, its last other message, such as a SKIP), then waits until the first bit
    is on the air. In asynchronous rounds the model may have come in an earlier round.

    Args:
        transfers: one row per transmission.
        round: number of the round.

    Returns:
        Spans with the activities ``downlink``, ``compute``, ``wait``, ``uplink``.

    Raises:
        ConfigError: nothing was sent in that round.
    """
    rounds = sorted(set(transfers["round"])) if len(transfers) else []
    valid = f"one of {rounds[0]} … {rounds[-1]}" if rounds else "one with a transmission, and there is none"
    require(round in rounds, "round", round, valid)
    rows = transfers[transfers["round"] == round].to_dict("records")
    models = transfers[(transfers["direction"] == "downlink") & (transfers["kind"] == "model")]
    return [*_on_the_air(rows), *_at_work(rows, models.to_dict("records"))]


def _on_the_air(rows: Iterable[Row]) -> Iterator[Span]:
    """Transmissions as both ends see them, and what a UE waited before its own."""
    for row in rows:
        yield Span(BASE_STATION, row["direction"], row["start_s"], row["end_s"])
        for ue in row["ues"]:
            yield Span(ue, row["direction"], row["start_s"], row["end_s"], lost=ue in row["lost"])
            if row["direction"] == "uplink" and row["start_s"] > row["offered_s"]:
                yield Span(ue, "wait", row["offered_s"], row["start_s"])


def _at_work(rows: Iterable[Row], models: Iterable[Row]) -> Iterator[Span]:
    """From the model that a UE received last to the moment at which it was done with it."""
    done_s = _done([row for row in rows if row["direction"] == "uplink"])
    received_s: dict[str, list[float]] = {ue: [] for ue in done_s}
    for row in models:
        for ue in set(row["ues"]).difference(row["lost"]).intersection(done_s):
            received_s[ue].append(row["end_s"])
    for ue, moments_s in done_s.items():
        for moment_s in moments_s:
            start_s = max((one for one in received_s[ue] if one <= moment_s), default=moment_s)
            if start_s < moment_s:
                yield Span(ue, "compute", start_s, moment_s)


def _done(uplinks: Sequence[Row]) -> dict[str, list[float]]:
    """When each UE handed over what it had computed [s]."""
    done_s: dict[str, list[float]] = {}
    for row in uplinks:
        if row["kind"] == "model":
            done_s.setdefault(row["ues"][0], []).append(row["offered_s"])
    last_s = {row["ues"][0]: [row["offered_s"]] for row in sorted(uplinks, key=lambda row: row["offered_s"])}
    return last_s | done_s


def _by_upload_end(found: Iterable[Span]) -> list[str]:
    """UEs, first the one whose upload ends first; those without one last."""
    ends_s: dict[str, float] = {}
    for span in found:
        if span.party != BASE_STATION:
            end_s = span.end_s if span.activity == "uplink" else -1.0
            ends_s[span.party] = max(ends_s.get(span.party, -1.0), end_s)
    return sorted(ends_s, key=lambda ue: (ends_s[ue] < 0, ends_s[ue]))


def _draw(axes: Axes, found: Sequence[Span], rows: Mapping[str, int], start_s: float) -> None:
    shown = [span for span in found if span.party in rows]
    for activity, shade in SHADES.items():
        bars = [span for span in shown if span.activity == activity]
        if bars:
            axes.barh(
                [rows[bar.party] + _offset(bar) for bar in bars],
                [bar.end_s - bar.start_s for bar in bars],
                left=[bar.start_s - start_s for bar in bars],
                height=[_height(bar) for bar in bars],
                facecolor=shade.facecolor,
                edgecolor=shade.edgecolor,  # keeps what is shorter than a dot visible
                hatch=shade.hatch,
                linewidth=0.3,
                label=shade.label,
            )
    lost = [span for span in shown if span.lost]
    if lost:
        axes.plot(
            [span.end_s - start_s for span in lost],
            [rows[span.party] for span in lost],
            "kx",
            markersize=4,
            label="did not arrive",
        )


def _height(span: Span) -> float:
    return 0.36 if span.party == BASE_STATION else 0.72


def _offset(span: Span) -> float:
    """The base station sends in the upper half of its row and receives in the lower (y grows downwards)."""
    if span.party != BASE_STATION:
        return 0.0
    return -0.18 if span.activity == "downlink" else 0.18
