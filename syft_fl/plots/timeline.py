"""Who computes, waits and is on the air when, within one round or some seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syft_fl.experiment.table import number
from syft_fl.plots.spans import BASE_STATION, SIGNALS, Span, spans
from syft_fl.plots.style import DOUBLE_IN, drawing, outside_legend, styled
from syft_fl.schema import require

__all__ = ["BASE_STATION", "MAX_UES", "RecordedRun", "Span", "spans", "timeline"]

MAX_UES = 30
"""More rows than this are not legible on a page."""

MAX_CLOSINGS = 20
"""More numbers of rounds than this are not legible in a line."""

ROW_IN = 0.15

LETTER = 0.009
"""Room for a letter, by the width of the axes."""


class RecordedRun(Protocol):
    """What is read of a run."""

    @property
    def rounds(self) -> pd.DataFrame: ...
    @property
    def transfers(self) -> pd.DataFrame: ...
    @property
    def computations(self) -> pd.DataFrame: ...
    @property
    def decisions(self) -> pd.DataFrame: ...


@dataclass(frozen=True, slots=True)
class Shade:
    """How an activity is drawn: told apart by lightness and hatch where there is no colour."""

    label: str
    facecolor: str
    edgecolor: str
    hatch: str = ""
    linewidth: float = 0.3


SHADES: Mapping[str, Shade] = {
    "downlink": Shade("on air (down)", "#0072B2", "#0072B2"),
    "compute": Shade("computes", "#dcdcdc", "#dcdcdc"),
    "vain": Shade("computes in vain", "#f2f2f2", "#a0a0a0", "\\\\\\\\\\"),
    "wait": Shade("waits", "#ffffff", "#909090", "/////"),
    "uplink": Shade("on air (up)", "#E69F00", "#E69F00"),
    "late": Shade("on air (up), after its round", "#F9E2B3", "#E69F00", linewidth=0.6),
}

TRIED = Shade("tried again by the link", "none", "#202020", "||||", 0.0)
AGAIN = Shade("sent again by the protocol", "none", "#202020", "xxxxx", 0.6)
"""What is drawn over a transmission that was not the first."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a run that is drawn, and where its times are counted from [s]."""

    start_s: float
    end_s: float
    origin_s: float = 0.0

    def cut(self, found: Iterable[Span]) -> list[Span]:
        """What of some spans is inside; what ended later did not get lost here."""
        return [
            span._replace(
                start_s=max(span.start_s, self.start_s),
                end_s=min(span.end_s, self.end_s),
                lost=span.lost and span.end_s <= self.end_s,
            )
            for span in found
            if span.start_s < self.end_s and span.end_s > self.start_s
        ]


def timeline(
    result: RecordedRun,
    *,
    round: int | None = None,
    seconds: tuple[float, float] | None = None,
    width_in: float = DOUBLE_IN,
) -> Figure:
    """One row per UE and one for the base station, in simulated seconds.

    The base station's row has what it sends above what it receives. A cross is a transmission that did not arrive.
    Letters stand for the protocol's frames without a model (SKIP, REQUEST, …), upright lines for closings of rounds,
    with their numbers above. What began before or ends after is cut.

    Of one round: from the moment at which the first of them did something to its closing. UEs stand in the order in
    which their uploads end, those without an upload last. Of some seconds, whatever the rounds: UEs stand in the order
    of their numbers. Of more than :data:`MAX_UES` the first are drawn, and a line says so.

    Args:
        result: one run.
        round: number of the round; None: 1, unless ``seconds`` are given.
        seconds: from when to when, instead of a round [s].
        width_in: width of the figure [inch].

    Raises:
        ConfigError: nothing was sent in that round or between those seconds, or both are given.
    """
    require(round is None or seconds is None, "round", round, "left out where seconds are given")
    if seconds is not None:
        return _of_seconds(result, seconds, width_in)
    return _of_round(result, 1 if round is None else round, width_in)


def _of_round(result: RecordedRun, round: int, width_in: float) -> Figure:
    closes_s = _closings(result)
    found: list[Span] = []
    if round in closes_s:
        window = Window(closes_s.get(round - 1, 0.0), closes_s[round])
        found = window.cut(_all_spans(result, closes_s))
    if not found:  # it has not closed, or nothing happened in it
        found = spans(result.transfers, round, computations=result.computations, decisions=result.decisions)
    ues = _by_upload_end(found)
    start_s = min(span.start_s for span in found)
    end_s = max(span.end_s for span in found if span.party != BASE_STATION)
    # Where all are waited for, a round closes with the last transmission, and no line need say so.
    marked = {round: closes_s[round]} if "skipped" in result.rounds and round in closes_s else {}
    label = f"Simulated time in round {round} [s], from {number(start_s)} s on"
    length_s = max([end_s, *marked.values()]) - start_s
    order = "by the end of their upload"
    window = Window(start_s, start_s + 1.02 * length_s, start_s)
    return _drawn(found, ues, window, marked, label=label, order=order, width_in=width_in)


def _of_seconds(result: RecordedRun, seconds: tuple[float, float], width_in: float) -> Figure:
    start_s, end_s = seconds
    ok = 0 <= start_s < end_s < math.inf
    require(ok, "seconds", seconds, "two times, the second one greater", "the first at least 0")
    closes_s = _closings(result)
    found = Window(start_s, end_s).cut(_all_spans(result, closes_s))
    last_s = max(closes_s.values(), default=0.0)
    require(
        bool(found),
        "seconds",
        seconds,
        f"times at which something happens; the run ends at {number(last_s)} s",
    )
    marked = {round: at_s for round, at_s in closes_s.items() if start_s < at_s <= end_s}
    ues = sorted({span.party for span in found} - {BASE_STATION}, key=lambda ue: (len(ue), ue))
    window = Window(start_s, end_s)
    return _drawn(
        found, ues, window, marked, label="Simulated time [s]", order="by number", width_in=width_in
    )


def _all_spans(result: RecordedRun, closes_s: Mapping[int, float]) -> list[Span]:
    return spans(
        result.transfers, computations=result.computations, decisions=result.decisions, closes_s=closes_s
    )


def _closings(result: RecordedRun) -> dict[int, float]:
    """When each round closed [s]."""
    rounds = result.rounds
    if not len(rounds):
        return {}
    pairs = zip(rounds["round"], rounds["latency_s"], strict=True)
    return {int(round): float(at_s) for round, at_s in pairs if round >= 1}


def _by_upload_end(found: Iterable[Span]) -> list[str]:
    """UEs, first the one whose upload ends first; those without one last."""
    ends_s: dict[str, float] = {}
    for span in found:
        if span.party != BASE_STATION:
            uploads = span.activity in ("uplink", "late") and span.kind not in SIGNALS
            ends_s[span.party] = max(ends_s.get(span.party, -1.0), span.end_s if uploads else -1.0)
    return sorted(ends_s, key=lambda ue: (ends_s[ue] < 0, ends_s[ue]))


def _drawn(
    found: Sequence[Span],
    ues: Sequence[str],
    window: Window,
    closes_s: Mapping[int, float],
    *,
    label: str,
    order: str,
    width_in: float,
) -> Figure:
    parties = [BASE_STATION, *ues[:MAX_UES]]
    with styled():
        figure, axes = drawing(width_in, 0.55 + ROW_IN * (len(parties) + 1))
        _draw(axes, found, {party: y for y, party in enumerate(parties)}, window)
        axes.set_yticks(range(len(parties)), parties)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(parties) - 0.4, -0.6)  # the base station on top
        axes.grid(True, axis="x")
        axes.set_xlabel(label)
        axes.set_xlim(window.start_s - window.origin_s, window.end_s - window.origin_s)
        _draw_closings(axes, closes_s, window.origin_s)
        if len(ues) > MAX_UES:
            axes.set_title(f"the first {MAX_UES} of {len(ues)} UEs {order}", loc="left")
        outside_legend(figure, axes, above=True)
    return figure


def _draw(axes: Axes, found: Sequence[Span], rows: Mapping[str, int], window: Window) -> None:
    start_s = window.origin_s
    shown = [span for span in found if span.party in rows]
    for activity, shade in SHADES.items():
        _draw_bars(axes, [span for span in shown if span.activity == activity], shade, rows, start_s)
    sent = [span for span in shown if span.activity in ("downlink", "uplink", "late")]
    _draw_bars(axes, [span for span in sent if span.tries > 1], TRIED, rows, start_s)
    _draw_bars(axes, [span for span in sent if span.again], AGAIN, rows, start_s)
    _draw_letters(axes, [span for span in sent if span.kind in SIGNALS], rows, window)
    lost = [span for span in shown if span.lost]
    if lost:
        axes.plot(
            [span.end_s - start_s for span in lost],
            [rows[span.party] for span in lost],
            "kx",
            markersize=4,
            label="did not arrive",
        )


def _draw_bars(
    axes: Axes, bars: Sequence[Span], shade: Shade, rows: Mapping[str, int], start_s: float
) -> None:
    if bars:
        axes.barh(
            [rows[bar.party] + _offset(bar) for bar in bars],
            [bar.end_s - bar.start_s for bar in bars],
            left=[bar.start_s - start_s for bar in bars],
            height=[_height(bar) for bar in bars],
            facecolor=shade.facecolor,
            edgecolor=shade.edgecolor,  # keeps what is shorter than a dot visible
            hatch=shade.hatch,
            linewidth=shade.linewidth,
            label=shade.label,
        )


def _draw_letters(axes: Axes, signals: Sequence[Span], rows: Mapping[str, int], window: Window) -> None:
    """A letter for each frame that brings no model; where they are too close to be told apart, one after another."""
    room_s = LETTER * (window.end_s - window.start_s)
    words: dict[str, list[tuple[float, str]]] = {}
    for span in sorted(signals, key=lambda span: span.start_s):
        if span.party == BASE_STATION:
            continue
        mine, letter = words.setdefault(span.party, []), SIGNALS[span.kind]
        middle_s = (span.start_s + span.end_s) / 2
        if mine and middle_s < mine[-1][0] + room_s * len(mine[-1][1]):
            mine[-1] = (mine[-1][0], mine[-1][1] + letter)
        else:
            mine.append((middle_s, letter))
    for party, found in words.items():
        for at_s, word in found:
            # It begins where the first frame is.
            x = at_s - window.origin_s - 0.5 * room_s
            axes.text(x, rows[party], word, fontsize=5, fontweight="bold", va="center_baseline", clip_on=True)
    for kind in dict.fromkeys(kind for kind in SIGNALS if any(span.kind == kind for span in signals)):
        # In the legend alone.
        letter = rf"$\mathbf{{{SIGNALS[kind]}}}$"
        axes.plot([], [], linestyle="", marker=letter, color="black", mew=0, markersize=4, label=kind.upper())


def _draw_closings(axes: Axes, closes_s: Mapping[int, float], origin_s: float) -> None:
    if not closes_s:
        return
    for n, at_s in enumerate(closes_s.values()):
        label = None if n else "a round closes"
        axes.axvline(at_s - origin_s, color="black", linewidth=0.8, linestyle=(0, (4, 1.5)), label=label)
    step = math.ceil(len(closes_s) / MAX_CLOSINGS)
    named = list(closes_s.items())[::step]
    above = axes.secondary_xaxis("top")
    above.set_xticks([at_s - origin_s for _, at_s in named], [str(round) for round, _ in named])
    above.tick_params(length=0, pad=1)
    above.spines["top"].set_visible(False)


def _height(span: Span) -> float:
    return 0.36 if span.party == BASE_STATION else 0.72


def _offset(span: Span) -> float:
    """The base station sends in the upper half of its row and receives in the lower (y grows downwards)."""
    if span.party != BASE_STATION:
        return 0.0
    return -0.18 if span.activity == "downlink" else 0.18
