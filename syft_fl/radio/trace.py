"""A link whose rate was measured: a table of times and rates.

Left out: distance, noise, fading, loss; one trace holds for all UEs (give a UE its own link for its own).
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.medium import LINKS, Link
from syft_fl.radio.power import check_direction, power_in_share_w
from syft_fl.radio.steps import step_number
from syft_fl.schema import require, schema

__all__ = ["RateTrace", "TraceLink"]

_COLUMNS = ("time_s", "rate_bps")


@LINKS
@schema
class RateTrace:
    """Rates from a CSV file with the columns ``time_s`` and ``rate_bps``, or given as they are.

    Each rate holds from its time to the next one's. Simulated time 0 is the first row's time.

    Attributes:
        path: the file; empty: ``times_s`` and ``rates_bps`` are given.
        times_s: ascending times [s].
        rates_bps: rates over the whole band [bit/s], at least 0; a share of the band has that share of it.
        end: what follows the last row: ``"repeat"``: the whole again, the last row being as long as the one before it
            (a single one holds); ``"hold"``: the last rate for good.
        latency_s: time from the last bit on the air to its arrival [s].
        power_w: transmit power [W]; a base station's is split with the band.

    Example:
        >>> link = RateTrace(times_s=(0.0, 1.0), rates_bps=(1e6, 4e6)).link(Cell(), Key(0), "uplink")
        >>> [link.rate_bps("ue0", share=0.5, block=0, time_s=t) for t in (0.5, 1.5, 2.5)]
        [500000.0, 2000000.0, 500000.0]
    """

    kind: ClassVar[str] = "trace"

    path: str = ""
    times_s: tuple[float, ...] = ()
    rates_bps: tuple[float, ...] = ()
    end: Literal["repeat", "hold"] = "repeat"
    latency_s: float = 0.0
    power_w: float = 0.1

    def __post_init__(self) -> None:
        given = bool(self.times_s or self.rates_bps)
        require(
            bool(self.path) != given,
            "path",
            self.path,
            "the name of a CSV file, and times_s and rates_bps left out",
            "or leave path out and give both",
        )
        require(0 <= self.latency_s < math.inf, "latency_s", self.latency_s, "at least 0 and finite")
        require(0 <= self.power_w < math.inf, "power_w", self.power_w, "at least 0 and finite")
        if given:
            _check(self.times_s, self.rates_bps)

    def link(self, cell: Cell, key: Key, direction: str) -> Link:
        """The link; neither the cell nor the key matters to it.

        Raises:
            ConfigError: the direction is neither ``"uplink"`` nor ``"downlink"``, or the file is not what it should be.
        """
        check_direction(direction)
        times_s, rates_bps = _read(self.path) if self.path else (self.times_s, self.rates_bps)
        return TraceLink(self, direction, tuple(time_s - times_s[0] for time_s in times_s), rates_bps)


@dataclass(frozen=True, slots=True)
class TraceLink:
    """One direction of a :class:`RateTrace`; ``times_s`` begin at 0."""

    model: RateTrace
    direction: str
    times_s: tuple[float, ...]
    rates_bps: tuple[float, ...]

    @property
    def latency_s(self) -> float:
        return self.model.latency_s

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return power_in_share_w(self.model.power_w, share=share, direction=self.direction)

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return share * self.rates_bps[self._row(time_s)[1]]

    def steady_until_s(self, *, time_s: float) -> float:
        repeat, row = self._row(time_s)
        if row + 1 < len(self.times_s):
            return self._start_s(repeat, row + 1)
        return self._start_s(repeat + 1, 0) if self._period_s < math.inf else math.inf

    @property
    def _period_s(self) -> float:
        """Length of the whole [s]; infinity where it does not repeat."""
        if self.model.end == "hold" or len(self.times_s) == 1:
            return math.inf
        return 2.0 * self.times_s[-1] - self.times_s[-2]

    def _start_s(self, repeat: int, row: int) -> float:
        return repeat * self._period_s + self.times_s[row] if repeat else self.times_s[row]

    def _row(self, time_s: float) -> tuple[int, int]:
        """Repetition and row whose rate holds at a time: the last that starts by then, in floating point too."""
        repeat = step_number(time_s, self._period_s) if self._period_s < math.inf else 0
        starts = range(len(self.times_s))
        row = bisect_right(starts, time_s, key=lambda row: self._start_s(repeat, row)) - 1
        return repeat, max(row, 0)


def _read(path: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"path = {path!r} can't be read ({error}); name a CSV file of {_named()}") from None
    reader = csv.DictReader(text.splitlines())
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise ConfigError(f"path = {path!r} has the columns {reader.fieldnames}; it must have {_named()}")
    rows: list[tuple[float, float]] = []
    for row in reader:
        try:
            rows.append((float(row["time_s"]), float(row["rate_bps"])))
        except (TypeError, ValueError):
            raise ConfigError(
                f"path = {path!r}, line {reader.line_num}: {_named()} must be numbers"
            ) from None
    times_s, rates_bps = tuple(time_s for time_s, _ in rows), tuple(rate for _, rate in rows)
    try:
        _check(times_s, rates_bps)
    except ConfigError as error:
        raise ConfigError(f"path = {path!r}: {error}") from None
    return times_s, rates_bps


def _named() -> str:
    return " and ".join(_COLUMNS)


def _check(times_s: tuple[float, ...], rates_bps: tuple[float, ...]) -> None:
    require(
        len(times_s) == len(rates_bps) >= 1,
        "times_s",
        times_s[:5],
        f"at least one, and as many as rates_bps ({len(times_s)} and {len(rates_bps)})",
    )
    for number, (earlier_s, later_s) in enumerate(pairwise(times_s), start=1):
        require(later_s > earlier_s, f"times_s[{number}]", later_s, f"after the time before it, {earlier_s}")
    require(all(map(math.isfinite, times_s)), "times_s", times_s[:5], "finite")
    for number, rate_bps in enumerate(rates_bps):
        require(0 <= rate_bps < math.inf, f"rates_bps[{number}]", rate_bps, "at least 0 and finite")
    require(any(rates_bps), "rates_bps", rates_bps[:5], "above 0 somewhere")
