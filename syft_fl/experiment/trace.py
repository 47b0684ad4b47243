"""The messages of a run as a story: who told whom what when, what was computed and decided between, how rounds closed.

Read off a run's tables alone, so it works for any run that has ever been written. What a frame says besides is not in
them: the version in an ACK of a UE is that of the model which it answers, and why a NACK was sent is not told. Neither
is what was still on the air when the run ended.

A round lasts from one closing to the next. What goes beyond a closing is in each round that it touches.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from syft_fl.experiment.table import number
from syft_fl.federation import BS, ue_name
from syft_fl.schema import nearest, require

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Happening", "Trace", "TracedRun", "copies", "in_vain", "trace"]

Row = Mapping[Hashable, Any]
"""One line of a table, by column."""

_NAMED = 5
"""More receivers than this are counted in a line, and not named."""


class TracedRun(Protocol):
    """What is read of a run."""

    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def rounds(self) -> pd.DataFrame: ...
    @property
    def transfers(self) -> pd.DataFrame: ...
    @property
    def computations(self) -> pd.DataFrame: ...
    @property
    def decisions(self) -> pd.DataFrame: ...


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of a trace.

    Attributes:
        what: ``message``, ``computation``, ``decision`` or ``closing``.
        time_s: when a message was handed over for sending, a UE had computed or decided, a round closed [s].
        rounds: the first and the last round in which it was under way, by the clock.
        ues: who is concerned; empty: the base station alone.
        facts: the rest of it, plain data, by name.
    """

    what: str
    time_s: float
    rounds: tuple[int, int]
    ues: tuple[str, ...]
    facts: Mapping[str, Any]

    @property
    def row(self) -> dict[str, Any]:
        """All of it, as one flat dictionary."""
        return {"what": self.what, "time_s": self.time_s, "round": self.rounds[0], **self.facts}


@dataclass(frozen=True, repr=False)
class Trace:
    """What happened in a run, or in a part of it, in order. ``print`` it.

    Attributes:
        happenings: one for each line.
        spans_s: beginning and end of the rounds that are shown [s].
    """

    happenings: tuple[Happening, ...]
    spans_s: Mapping[int, tuple[float, float]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines as flat dictionaries; ``pandas.DataFrame(trace.rows)`` is a table of them."""
        return [happening.row for happening in self.happenings]

    def json_lines(self) -> str:
        """The lines as JSON, one object each."""
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.rows)

    def __str__(self) -> str:
        cells = [_cells(happening) for happening in self.happenings]
        widths = [max((len(line[column]) for line in cells), default=0) for column in range(3)]
        widths.append(max((len(line[3]) for line in cells if len(line) > 4), default=0))
        lines: list[str] = []
        shown: set[int] = set()
        for happening, line in zip(self.happenings, cells, strict=True):
            begins = max(happening.rounds[0], min(self.spans_s, default=0))
            if begins in self.spans_s and begins not in shown:
                shown.add(begins)
                start_s, end_s = self.spans_s[begins]
                lines.append(f"round {begins}: {start_s:.6f} … {end_s:.6f} s")
            time_s, *texts = (text.ljust(width) for text, width in zip(line, widths, strict=False))
            lines.append("  ".join(["", time_s.rjust(widths[0]), *texts, *line[4:]]).rstrip())
        return "\n".join(lines)

    __repr__ = __str__


def trace(result: TracedRun, *, round: int | None = None, ue: str | None = None) -> Trace:
    """What happened in a run: messages, computations, decisions of triggers, closings of rounds; in order.

    Args:
        result: a run.
        round: only what was under way between the closing of the round before and that of this one; None: all.
        ue: only what concerns this UE, and closings; None: all.

    Raises:
        ConfigError: there is no such round, or no such UE.
    """
    closes_s = _closings(result.rounds)
    last = max(closes_s, default=0)
    valid = f"one of 1 … {last}" if last else "left out: no round has closed yet"
    require(round is None or round in closes_s, "round", round, valid)
    ues = [ue_name(index) for index in range(result.config["population"]["ues"])]
    require(ue is None or ue in ues, "ue", ue, f"one of {ues[0]} … {ues[-1]}", nearest(str(ue), ues))
    found = [
        (order, happening)
        for order, happening in _all(result, closes_s)
        if (round is None or happening.rounds[0] <= round <= happening.rounds[1])
        and (ue is None or happening.what == "closing" or ue in happening.ues)
    ]
    found.sort(key=lambda item: item[0])
    spans_s = {
        each: (closes_s.get(each - 1, 0.0), closes_s[each]) for each in closes_s if round in (None, each)
    }
    return Trace(tuple(happening for _, happening in found), spans_s)


# Of all happenings, what they are and where they stand.

_Order = tuple[int, float, int, int, int]
"""Round, time; within one instant: what the base station decides, what the air causes, what UEs that have computed do,
closings; within that, whose turn it is; and of one UE, what follows from what."""


def _all(result: TracedRun, closes_s: Mapping[int, float]) -> Iterable[tuple[_Order, Happening]]:
    transfers, computations, decisions = (
        _rows(table) for table in (result.transfers, result.computations, result.decisions)
    )
    turns = {(row["ue"], row["end_s"]): turn for turn, row in enumerate(computations)}
    vain = in_vain(computations, transfers, decisions)
    for (turn, row), lost in zip(enumerate(computations), vain, strict=True):
        at = _round_of(closes_s, row["round"], row["end_s"])
        facts = {"ue": row["ue"], "of_round": row["round"], "samples": row["samples"], "in_vain": lost}
        yield (
            (at, row["end_s"], 2, turn, 0),
            Happening("computation", row["end_s"], (at, at), (row["ue"],), facts),
        )
    for row in decisions:
        at = _round_of(closes_s, row["round"], row["time_s"])
        turn = turns.get((row["ue"], row["time_s"]), len(turns))
        order = (at, row["time_s"], 0 if row["at"] == "bs" else 2, turn, 1)
        facts = {"ue": row["ue"], "at": row["at"], "of_round": row["round"]}
        facts |= {"quantity": _finite(row["quantity"]), "threshold": _finite(row["threshold"])}
        facts |= {"send": bool(row["send"])}
        yield order, Happening("decision", row["time_s"], (at, at), (row["ue"],), facts)
    yield from _messages(transfers, turns, closes_s)
    for row in _rows(result.rounds):
        if row["round"] >= 1:
            facts = {name: _plain(row[name]) for name in _CLOSING if name in row}
            at = row["round"]
            yield (at, row["latency_s"], 3, 0, 0), Happening("closing", row["latency_s"], (at, at), (), facts)


_CLOSING = ("cohort", "arrived", "skipped", "gone", "discarded", "staleness", "accuracy")
"""What is told of a closing, of the columns of ``rounds``."""


def _messages(
    transfers: Sequence[Row], turns: Mapping[tuple[str, float], int], closes_s: Mapping[int, float]
) -> Iterable[tuple[_Order, Happening]]:
    copy = copies(transfers, turns)
    versions = _acknowledged(transfers)
    for place, row in enumerate(transfers):
        first = _round_of(closes_s, row["round"], row["offered_s"])
        last = _round_of(closes_s, first, row["end_s"])
        ues, up = tuple(row["ues"]), row["direction"] == "uplink"
        turn = turns.get((ues[0], row["offered_s"])) if up and row["kind"] != "ack" else None
        order = (
            (first, row["offered_s"], 1, place, 0) if turn is None else (first, row["offered_s"], 2, turn, 2)
        )
        ends = {"sender": ues[0], "receivers": [BS]} if up else {"sender": BS, "receivers": list(ues)}
        number = versions.get(place, row["serial"]) or None
        facts = {
            "kind": _kind(row),
            **ends,
            "of_round": row["round"],
            "version" if _names_version(row) else "number": number,
            "bits": row["bits"],
            "start_s": row["start_s"],
            "end_s": row["end_s"],
            "end_round": last,
            "tries": row["attempts"],
            "copy": copy[place],
            "lost": list(row["lost"]),
        }
        yield order, Happening("message", row["offered_s"], (first, last), ues, facts)


def _kind(row: Row) -> str:
    if row["kind"] == "model":
        return "UPDATE" if row["direction"] == "uplink" else "MODEL"
    return str(row["kind"]).upper()


def _names_version(row: Row) -> bool:
    """Whether its number is a model's; else it is that of an upload (or of another message)."""
    up = row["direction"] == "uplink"
    return bool(up if row["kind"] in ("ack", "nack") else not up and row["kind"] == "model")


def _acknowledged(transfers: Sequence[Row]) -> dict[int, int]:
    """By place in the table: the version that the ACK or NACK of a UE names."""
    came: dict[tuple[str, float], list[int]] = {}
    for row in transfers:
        if row["direction"] == "downlink" and row["kind"] == "model":
            for ue in set(row["ues"]).difference(row["lost"]):
                came.setdefault((ue, row["end_s"]), []).append(row["serial"])
    newest: dict[str, int] = {}
    found = {}
    answers = [
        (row["offered_s"], place, row)
        for place, row in enumerate(transfers)
        if row["direction"] == "uplink" and row["kind"] in ("ack", "nack")
    ]
    for offered_s, place, row in sorted(answers, key=lambda item: item[:2]):
        (ue,) = row["ues"]
        version = max(came.get((ue, offered_s), [0]))
        if row["kind"] == "ack":  # it may be that of a copy of a model older than what it holds
            version = newest[ue] = max(version, newest.get(ue, 0))
        found[place] = version
    return found


_ONCE = ("skip", "hello", "bye")
"""What is never sent again: it is about something else each time, whatever its number."""


def copies(transfers: Sequence[Row], turns: Mapping[tuple[str, float], int]) -> list[int]:
    """How often each message had been sent by the protocol when it was over, 1 for the first time.

    Args:
        transfers: one row per transmission.
        turns: number of each computation, by the UE and the moment at which it was done [s].
    """
    done: dict[str, list[tuple[float, int]]] = {}
    for (ue, end_s), turn in sorted(turns.items(), key=lambda item: item[0][1]):
        done.setdefault(ue, []).append((end_s, turn))
    counts: Counter[tuple[Any, ...]] = Counter()
    found = [1] * len(transfers)
    for place in sorted(range(len(transfers)), key=lambda place: transfers[place]["offered_s"]):
        row = transfers[place]
        keys = []
        for ue in row["ues"]:
            key = [row["direction"], row["kind"], row.get("stream", ""), ue, row["serial"]]
            if row["kind"] in ("request", "grant", "nack", "ack"):
                # These have no number of their own: it is the same question, or its answer, until more is computed.
                before = bisect_left(done.get(ue, []), (row["offered_s"], len(turns)))
                key += [row["round"], before if row["kind"] in ("request", "grant") else 0]
            keys.append(tuple(key))
        answers = row["kind"] in ("ack", "nack") and row["direction"] == "uplink"
        if answers or row["kind"] in _ONCE:
            continue
        counts.update(keys)
        found[place] = max(counts[key] for key in keys)
    return found


def in_vain(computations: Sequence[Row], transfers: Sequence[Row], decisions: Sequence[Row]) -> list[bool]:
    """Of each computation, whether it came to nothing: it was abandoned or failed, and no message or decision follows.

    Of the last one of a UE nothing may follow for another reason: its message is on the air when the run ends. It came
    to nothing if it was shorter than another one of that UE.
    """
    followed = {
        (row["ues"][0], row["offered_s"])
        for row in transfers
        # A UE that stops computing may say at that moment that it has another model now, or that it leaves.
        if row["direction"] == "uplink" and row["kind"] not in ("ack", "nack", "hello", "bye")
    }
    followed |= {(row["ue"], row["time_s"]) for row in decisions if row["at"] == "ue"}
    longest: dict[str, float] = {}
    last: dict[str, int] = {}
    for place, row in enumerate(computations):
        longest[row["ue"]] = max(row["samples"], longest.get(row["ue"], 0.0))
        last[row["ue"]] = place
    return [
        (row["ue"], row["end_s"]) not in followed
        and (place != last[row["ue"]] or row["samples"] < longest[row["ue"]])
        for place, row in enumerate(computations)
    ]


def _closings(rounds: pd.DataFrame) -> dict[int, float]:
    """When each round closed [s]."""
    return {int(row["round"]): float(row["latency_s"]) for row in _rows(rounds) if row["round"] >= 1}


def _round_of(closes_s: Mapping[int, float], at_least: int, time_s: float) -> int:
    """The first round from one on that was not closed before a moment."""
    ends_s = list(closes_s.values())
    index = bisect_left(ends_s, time_s)
    found = list(closes_s)[min(index, len(ends_s) - 1)] if ends_s else at_least
    return max(found, at_least, 1)


def _rows(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table.to_dict("records")


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else value


def _finite(value: float) -> float | None:
    return float(value) if abs(value) < float("inf") else None


# As text.


def _cells(happening: Happening) -> list[str]:
    """Time, parties, kind and number; of a message its bits and its time on the air, of others what there is to say."""
    facts = happening.facts
    time_s = f"{happening.time_s:.6f}"
    if happening.what == "message":
        named = f"{facts['kind']} {_numbered(facts)}".rstrip()
        parties = f"{facts['sender']} -> {_listed(facts['receivers'])}"
        air = f"on the air {facts['start_s']:.6f} … {facts['end_s']:.6f}"
        return [time_s, parties, named, f"{facts['bits']} bits", _sentence([air, *_remarks(happening)])]
    if happening.what == "computation":
        said = [f"{facts['samples']:g} samples", "in vain" if facts["in_vain"] else "", _of(happening)]
        return [time_s, facts["ue"], "computed", _sentence(said)]
    if happening.what == "decision":
        who, verb = _VERBS[facts["at"], facts["send"]]
        return [time_s, who.format(ue=facts["ue"]), verb, _sentence([_compared(facts), _of(happening)])]
    return [time_s, BS, "closes", _counted(facts)]


_VERBS = {
    ("ue", True): ("{ue}", "sends"),
    ("ue", False): ("{ue}", "keeps"),
    ("bs", True): (f"{BS} of {{ue}}", "asks"),
    ("bs", False): (f"{BS} of {{ue}}", "does not ask"),
}
"""Who decides what, by the party and whether the UE is to send."""


def _sentence(parts: Iterable[str]) -> str:
    return ", ".join(part for part in parts if part)


def _numbered(facts: Mapping[str, Any]) -> str:
    if facts.get("version") is not None:
        return f"v{facts['version']}"
    return "" if facts.get("number") is None else f"#{facts['number']}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return ",".join(names)
    return f"{names[0]},{names[1]},…,{names[-1]} ({len(names)})"


def _remarks(happening: Happening) -> list[str]:
    facts = happening.facts
    found = []
    if facts["lost"]:
        alone = len(facts["receivers"]) == 1
        found.append("LOST" if alone else f"LOST at {_listed(facts['lost'])}")
    if facts["tries"] > 1:
        found.append(f"{facts['tries']} tries on the link")
    if facts["copy"] > 1:
        found.append(f"sent again (copy {facts['copy']})")
    found.append(_of(happening))
    if facts["end_round"] > happening.rounds[0]:
        found.append(f"ends in round {facts['end_round']}")
    return found


def _of(happening: Happening) -> str:
    facts = happening.facts
    if facts["of_round"] == happening.rounds[0] or facts.get("kind") in ("HELLO", "BYE"):
        return ""
    return f"about round {facts['of_round']}'s model"


def _compared(facts: Mapping[str, Any]) -> str:
    if facts["quantity"] is None:
        return "nothing to compare with yet"
    threshold = "no limit" if facts["threshold"] is None else number(facts["threshold"])
    return f"{number(facts['quantity'])} against {threshold}"


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _counted(facts: Mapping[str, Any]) -> str:
    """How a round closed."""
    counts = [_some(facts["arrived"], "update") + " used", _some(facts["cohort"], "UE") + " told"]
    for name, text in (("skipped", "skipped"), ("gone", "gone"), ("discarded", "too late")):
        if facts.get(name):
            counts.append(f"{facts[name]} {text}")
    if facts.get("staleness"):
        counts.append(f"mean staleness {number(facts['staleness'], digits=3)}")
    if facts.get("accuracy") is not None:
        counts.append(f"accuracy {100 * facts['accuracy']:.1f} %")
    return ", ".join(counts)
