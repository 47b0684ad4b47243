"""When UEs were on, as it was logged: from a CSV file, or given as they are."""

from __future__ import annotations

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import ClassVar

from syft_fl.errors import ConfigError
from syft_fl.federation.availability import AVAILABILITIES
from syft_fl.keys import Key
from syft_fl.radio.steps import step_number
from syft_fl.schema import nearest, require, schema

__all__ = ["AvailabilityTrace"]

_COLUMNS = ("ue", "time_s", "on")
_STATES = {"1": True, "true": True, "0": False, "false": False}
_TRAILING_NUMBER = re.compile(r"\d+$")


@AVAILABILITIES
@schema
class AvailabilityTrace:
    """Stretches of time in which each UE is on.

    Attributes:
        path: a CSV file with the columns ``ue``, ``time_s`` and ``on`` (1 or 0, true or false): the state holds from
            that time to the UE's next row, and for good after its last one; a UE is off before its first one. Empty:
            ``intervals`` are given.
        intervals: for each of ue0, ue1, … a list of the pairs (from, to) between which it is on [s], ascending; it is
            off outside. UEs beyond them take the lists in turn.
        period_s: the first so many seconds are repeated for ever [s]; None: they are not.

    Example:
        >>> trace = AvailabilityTrace(intervals=(((0.0, 10.0), (30.0, 40.0)),), period_s=60.0)
        >>> [trace.on("ue0", time_s, key=Key(0)) for time_s in (5.0, 15.0, 65.0)]
        [True, False, True]
    """

    kind: ClassVar[str] = "trace"
    path: str = ""
    intervals: tuple[tuple[tuple[float, float], ...], ...] = ()
    period_s: float | None = None

    def __post_init__(self) -> None:
        require(
            bool(self.path) != bool(self.intervals),
            "path",
            self.path,
            "the name of a CSV file, and intervals left out",
            "or leave path out and give intervals",
        )
        require(
            self.period_s is None or 0 < self.period_s < math.inf,
            "period_s",
            self.period_s,
            "above 0 and finite",
        )
        for number, intervals in enumerate(self.intervals):
            _check(f"intervals[{number}]", tuple(chain.from_iterable(intervals)), touching=True)

    def on(self, ue: str, time_s: float, *, key: Key) -> bool:
        """Whether a UE is on; no key matters to it.

        Raises:
            ConfigError: the trace has nothing of this UE, or the file is not what it should be.
        """
        changes_s = self._of(ue)
        start_s = self._start_s(time_s)
        return bisect_right(changes_s, time_s, key=lambda change_s: start_s + change_s) % 2 == 1

    def next_change_s(self, ue: str, time_s: float, *, key: Key) -> float:
        """First time [s] after ``time_s`` at which the UE is switched on or off; infinity after the last one.

        Raises:
            ConfigError: as of :meth:`on`.
        """
        changes_s, start_s = self._of(ue), self._start_s(time_s)
        passed = bisect_right(changes_s, time_s, key=lambda change_s: start_s + change_s)
        if passed < len(changes_s):
            return start_s + changes_s[passed]
        if self.period_s is None or not changes_s:
            return math.inf
        again_s = (step_number(time_s, self.period_s) + 1) * self.period_s
        # What is on at the end of a period is switched off there, unless the next one begins with it.
        on_at_end, on_at_start = len(changes_s) % 2 == 1, changes_s[0] == 0
        if on_at_end != on_at_start:
            return again_s
        rest = changes_s[1:] if on_at_start else changes_s
        return again_s + rest[0] if rest else math.inf

    def _start_s(self, time_s: float) -> float:
        """When the repetition that a time lies in begins [s]."""
        return 0.0 if self.period_s is None else step_number(time_s, self.period_s) * self.period_s

    def _of(self, ue: str) -> tuple[float, ...]:
        """When a UE is switched on, off, on, … [s], within the period where there is one."""
        if not self.path:
            number = _TRAILING_NUMBER.search(ue)
            if number is None:
                raise ConfigError(
                    f"intervals has no list for {ue!r}: a UE's list is that of the number its name ends in; "
                    "name the UEs ue0, ue1, …, or give a path to a file that has their names"
                )
            return self._given[int(number.group()) % len(self._given)]
        if ue not in self._file:
            raise ConfigError(f"path = {self.path!r} has no row for {ue!r}; {nearest(ue, self._file)}")
        return self._file[ue]

    @cached_property
    def _given(self) -> tuple[tuple[float, ...], ...]:
        joined = (_joined(tuple(chain.from_iterable(intervals))) for intervals in self.intervals)
        return tuple(self._within(changes_s) for changes_s in joined)

    @cached_property
    def _file(self) -> dict[str, tuple[float, ...]]:
        # Read once, when it is first needed: a run can't change its mind half-way.
        return {ue: self._within(changes_s) for ue, changes_s in _read(self.path).items()}

    def _within(self, changes_s: tuple[float, ...]) -> tuple[float, ...]:
        end_s = math.inf if self.period_s is None else self.period_s
        return tuple(change_s for change_s in changes_s if change_s < end_s)


def _joined(changes_s: tuple[float, ...]) -> tuple[float, ...]:
    """The same without what is switched off and on at one instant."""
    found: list[float] = []
    for change_s in changes_s:
        if found and found[-1] == change_s:
            found.pop()
        else:
            found.append(change_s)
    return tuple(found)


def _read(path: str) -> dict[str, tuple[float, ...]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"path = {path!r} can't be read ({error}); name a CSV file of {', '.join(_COLUMNS)}"
        ) from None
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise ConfigError(
            f"path = {path!r} has the columns {reader.fieldnames}; it must have {', '.join(_COLUMNS)}"
        )
    rows: dict[str, list[tuple[float, bool]]] = {}
    for row in reader:
        try:
            time_s, on = float(row["time_s"]), _STATES[str(row["on"]).strip().lower()]
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f"path = {path!r}, line {reader.line_num}: time_s must be a number, and on 1 or 0"
            ) from None
        rows.setdefault(row["ue"], []).append((time_s, on))
    require(bool(rows), "path", path, "a CSV file with at least one row")
    return {ue: _changes_s(path, ue, found) for ue, found in rows.items()}


def _changes_s(path: str, ue: str, rows: Sequence[tuple[float, bool]]) -> tuple[float, ...]:
    """The rows that change something: on, off, on, …"""
    _check(f"path = {path!r}: time_s of {ue}", tuple(time_s for time_s, _ in rows), touching=False)
    before = [False, *(on for _, on in rows)]
    return tuple(time_s for (time_s, on), was in zip(rows, before, strict=False) if on != was)


def _check(name: str, times_s: Sequence[float], *, touching: bool) -> None:
    """Times from 0 on that ascend; where intervals may touch, one may begin at the time at which another ends."""
    require(all(0 <= time_s < math.inf for time_s in times_s), name, times_s[:6], "at least 0 and finite")
    for number, (earlier_s, later_s) in enumerate(pairwise(times_s)):
        touches = touching and number % 2 == 1 and later_s == earlier_s
        require(
            later_s > earlier_s or touches, name, times_s[:6], f"ascending, but {later_s} follows {earlier_s}"
        )
