"""Who did what from when to when, read off a run's tables."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from syft_fl.experiment.trace import copies, in_vain
from syft_fl.schema import require

__all__ = ["BASE_STATION", "SIGNALS", "Span", "spans"]

BASE_STATION = "BS"

SIGNALS: Mapping[str, str] = {
    "skip": "S",
    "request": "R",
    "grant": "G",
    "ack": "A",
    "nack": "N",
    "hello": "H",
    "bye": "B",
}
"""Frames of the protocol that bring no model, and the letters that stand for them."""

Row = Mapping[Hashable, Any]
"""One line of a table, by column."""


class Span(NamedTuple):
    """What one party does from one simulated moment to another [s].

    Attributes:
        party: a UE, or the base station.
        activity: ``downlink``, ``uplink``, ``late`` (an upload that arrives when the round of the model that it was
            computed from has closed), ``compute``, ``vain`` (computing that comes to nothing) or ``wait``.
        start_s, end_s: from when to when.
        lost: it did not arrive at this party, or from it.
        kind: of the message.
        tries: passes on the link.
        again: the protocol had sent the same frame before.
    """

    party: str
    activity: str
    start_s: float
    end_s: float
    lost: bool = False
    kind: str = "model"
    tries: int = 1
    again: bool = False


def spans(
    transfers: pd.DataFrame,
    round: int | None = None,
    *,
    computations: pd.DataFrame | None = None,
    decisions: pd.DataFrame | None = None,
    closes_s: Mapping[int, float] | None = None,
) -> list[Span]:
    """Everything that happens in a run, or around the model of one round.

    A UE computes from the end of the model that it received to the moment at which it is done. If the model found it
    at work, it begins when that is over, as far as its messages show. Where no computations are written
    down, it is done when it hands over its own model (or, where it sends none, its last other message, such as a SKIP).
    Then it waits until the first bit is on the air.

    Args:
        transfers: one row per transmission.
        round: of the model that all of it is about; None: all.
        computations: one row per training of a UE; None: they are inferred from its messages.
        decisions: one row per decision of a trigger; None: there is none.
        closes_s: when each round closed [s]; None: no upload is late.

    Raises:
        ConfigError: nothing was sent about that round's model.
    """
    rows = _rows(transfers)
    rounds = sorted({row["round"] for row in rows})
    valid = f"one of {rounds[0]} … {rounds[-1]}" if rounds else "one with a transmission, and there is none"
    require(round is None or round in rounds, "round", round, valid)
    about = [row for row in rows if round in (None, row["round"])]
    done, decided = _rows(computations), _rows(decisions)
    found = list(_on_the_air(about, closes_s or {}, _again(about, done)))
    if done:
        mine = [row for row in _computing(done, decided, rows) if round in (None, row[0])]
        return [*found, *(span for _, span in mine)]
    for each in rounds if round is None else [round]:
        found += _at_work([row for row in about if row["round"] == each], rows)
    return found


def _again(rows: Sequence[Row], done: Sequence[Row]) -> list[bool]:
    turns = {(row["ue"], row["end_s"]): turn for turn, row in enumerate(done)}
    # Tables without numbers of messages don't show it.
    return [copy > 1 for copy in copies(rows, turns)] if rows and "serial" in rows[0] else [False] * len(rows)


def _on_the_air(rows: Sequence[Row], closes_s: Mapping[int, float], again: Sequence[bool]) -> Iterator[Span]:
    """Transmissions as both ends see them, and what a UE waited before its own."""
    for row, copy in zip(rows, again, strict=True):
        up, start_s, end_s = row["direction"] == "uplink", row["start_s"], row["end_s"]
        late = up and row["kind"] == "model" and closes_s.get(row["round"], end_s) < end_s
        activity = "late" if late else row["direction"]
        how: dict[str, Any] = {"kind": row["kind"], "tries": row.get("attempts", 1), "again": copy}
        yield Span(BASE_STATION, activity, start_s, end_s, **how)
        for ue in row["ues"]:
            yield Span(ue, activity, start_s, end_s, lost=ue in row["lost"], **how)
            if up and start_s > row["offered_s"]:
                yield Span(ue, "wait", row["offered_s"], start_s)


def _computing(
    computations: Sequence[Row], decisions: Sequence[Row], transfers: Sequence[Row]
) -> Iterator[tuple[int, Span]]:
    """Trainings as they are written down, each with the round of the model that it began from."""
    vain = in_vain(computations, transfers, decisions)
    came, settled = _models(transfers), _settled(transfers)
    before: dict[str, Row] = {}
    for row, lost in zip(computations, vain, strict=True):
        ue, end_s = row["ue"], row["end_s"]
        moments = [at_s for round, at_s in came.get(ue, []) if round == row["round"] and at_s <= end_s]
        earlier = before.get(ue)
        if earlier is not None and earlier["end_s"] <= end_s:
            moments += [at_s for at_s in settled.get((ue, earlier["round"]), []) if at_s < end_s]
            moments.append(earlier["end_s"])
        before[ue] = row
        if moments and max(moments) < end_s:
            yield row["round"], Span(ue, "vain" if lost else "compute", max(moments), end_s)


def _models(transfers: Sequence[Row]) -> dict[str, list[tuple[int, float]]]:
    """By UE: round of each model that it got, and when it came first [s]."""
    refused = {
        (row["ues"][0], row["offered_s"])
        for row in transfers
        if row["direction"] == "uplink" and row["kind"] == "nack"
    }
    found: dict[str, list[tuple[int, float]]] = {}
    known: set[tuple[str, Any]] = set()
    for row in sorted(transfers, key=lambda row: row["end_s"]):
        if row["direction"] != "downlink" or row["kind"] != "model":
            continue
        for ue in row["ues"]:
            version = (ue, row.get("serial", (row["round"], row["end_s"])))
            if ue not in row["lost"] and version not in known and (ue, row["end_s"]) not in refused:
                known.add(version)
                found.setdefault(ue, []).append((row["round"], row["end_s"]))
    return found


def _settled(transfers: Sequence[Row]) -> dict[tuple[str, int], list[float]]:
    """By UE and round: ends of its requests and uploads, and of the answers to them [s]."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in transfers:
        kinds = ("model", "request") if row["direction"] == "uplink" else ("ack", "nack", "grant")
        if row["kind"] in kinds:
            found.setdefault((row["ues"][0], row["round"]), []).append(row["end_s"])
    return found


def _at_work(rows: Sequence[Row], all_rows: Iterable[Row]) -> Iterator[Span]:
    """From the model that a UE received last to the moment at which it was done with it."""
    done_s = _done([row for row in rows if row["direction"] == "uplink"])
    received_s: dict[str, list[float]] = {ue: [] for ue in done_s}
    for row in all_rows:
        if row["direction"] == "downlink" and row["kind"] == "model":
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


def _rows(table: pd.DataFrame | None) -> list[dict[Hashable, Any]]:
    return [] if table is None else table.to_dict("records")
