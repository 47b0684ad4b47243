"""UEs that move: random waypoints, and traces from a file.

Left out: groups, streets, acceleration, handing over to another cell.
"""

from __future__ import annotations

import bisect
import csv
import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio.placement import PLACEMENTS, Disc, Place, Placement
from syft_fl.schema import nearest, require, schema

if TYPE_CHECKING:
    from syft_fl.radio.cell import Cell

__all__ = ["RandomWaypoint", "Trace"]

_COLUMNS = ("time_s", "ue", "x_m", "y_m")


@PLACEMENTS
@schema
class RandomWaypoint:
    r"""Every UE walks straight to a place drawn anew, rests there, and goes on to the next.

    At time 0 it is where it would stand still; later UEs are more often near the middle than a uniform draw has them.
    The speed is drawn for each leg. A leg may cross the hole around the base station.

    Attributes:
        within: where the places are drawn; a placement of UEs that don't move.
        speed_min_m_per_s: lowest speed :math:`v_0`, above 0 m/s (with 0 the walkers come to rest by and by).
        speed_max_m_per_s: highest speed :math:`v_1`. As a mean over time the speed is :math:`(v_1-v_0)/\ln(v_1/v_0)`
            without rests.
        pause_s: rest at each place, at least 0 s.
        step_s: how often positions are looked at, above 0 s; in between links take them as fixed.

    Source: Johnson and Maltz 1996; lowest speed after Yoon, Liu and Noble 2003. Differs from it in: nothing.
    """

    kind: ClassVar[str] = "random-waypoint"

    within: Annotated[Placement, PLACEMENTS] = Disc()
    speed_min_m_per_s: float = 0.5
    speed_max_m_per_s: float = 1.5
    pause_s: float = 0.0
    step_s: float = 1.0

    def __post_init__(self) -> None:
        require(
            0 < self.speed_min_m_per_s < math.inf,
            "speed_min_m_per_s",
            self.speed_min_m_per_s,
            "above 0 and finite",
            "for UEs that stand still use placement = {kind = 'disc'}",
        )
        require(
            self.speed_min_m_per_s <= self.speed_max_m_per_s < math.inf,
            "speed_max_m_per_s",
            self.speed_max_m_per_s,
            f"at least speed_min_m_per_s = {self.speed_min_m_per_s} and finite",
        )
        require(0 <= self.pause_s < math.inf, "pause_s", self.pause_s, "at least 0 and finite")
        _check_step(self.step_s)
        require(
            self.within.step_s == math.inf,
            "within",
            getattr(self.within, "kind", self.within),
            "a placement of UEs that don't move",
            "such as 'disc'",
        )

    def check(self, cell: Cell) -> None:
        require(
            not isinstance(self.within, Disc) or cell.min_distance_m < cell.radius_m,
            "radius_m",
            cell.radius_m,
            f"above min_distance_m = {cell.min_distance_m} for UEs that move",
        )
        self.within.check(cell)

    def place(self, ue: str, key: Key, *, cell: Cell, time_s: float) -> Place:
        return _walk(self, cell, ue, key).at(time_s)


@dataclass
class _Walk:
    """The legs of one UE's walk, as many as were asked for; a memo, since they follow from the key alone."""

    model: RandomWaypoint
    cell: Cell
    ue: str
    key: Key
    starts_s: list[float] = field(default_factory=list)
    """When each leg begins, rest included at its end."""
    places: list[Place] = field(default_factory=list)
    """Where each leg begins; one more than legs."""
    walks_s: list[float] = field(default_factory=list)
    """How long each leg takes without the rest."""
    end_s: float = 0.0

    def at(self, time_s: float) -> Place:
        while self.end_s <= time_s:
            self._add_leg()
        leg = max(bisect.bisect_right(self.starts_s, time_s) - 1, 0)
        start, end = self.places[leg], self.places[leg + 1]
        elapsed_s = max(time_s - self.starts_s[leg], 0.0)
        if elapsed_s >= self.walks_s[leg]:
            return end
        done = elapsed_s / self.walks_s[leg]
        return Place.at(start.x_m + done * (end.x_m - start.x_m), start.y_m + done * (end.y_m - start.y_m))

    def _add_leg(self) -> None:
        model, number = self.model, len(self.starts_s)
        if not self.places:
            self.places.append(model.within.place(self.ue, self.key, cell=self.cell, time_s=0.0))
        start = self.places[-1]
        end = model.within.place(self.ue, self.key / "waypoint" / (number + 1), cell=self.cell, time_s=0.0)
        drawn = (self.key / "speed" / self.ue / number).uniform()
        speed = model.speed_min_m_per_s + drawn * (model.speed_max_m_per_s - model.speed_min_m_per_s)
        walk_s = math.hypot(end.x_m - start.x_m, end.y_m - start.y_m) / speed
        self.starts_s.append(self.end_s)
        self.walks_s.append(walk_s)
        self.places.append(end)
        self.end_s += walk_s + model.pause_s


@lru_cache(maxsize=65536)
def _walk(model: RandomWaypoint, cell: Cell, ue: str, key: Key) -> _Walk:
    return _Walk(model, cell, ue, key)


@PLACEMENTS
@schema
class Trace:
    """Positions from a file: CSV with the columns ``time_s, ue, x_m, y_m``, in any order of rows.

    Between two rows a UE goes straight and evenly; before its first row it is there, after its last one it stays. The
    file belongs to the config: another one gives other results.

    Attributes:
        file: path of the CSV file.
        step_s: how often positions are looked at, above 0 s; in between links take them as fixed.
    """

    kind: ClassVar[str] = "trace"

    file: str
    step_s: float = 1.0

    def __post_init__(self) -> None:
        _check_step(self.step_s)

    def check(self, cell: Cell) -> None:
        for ue, (times_s, positions_m) in self._tracks().items():
            distances_m = np.hypot(positions_m[:, 0], positions_m[:, 1])
            farthest = int(distances_m.argmax())
            require(
                float(distances_m[farthest]) <= cell.radius_m,
                f"placement.file: distance of {ue} at {times_s[farthest]:g} s",
                float(distances_m[farthest]),
                f"at most radius_m = {cell.radius_m}",
                "widen the cell",
            )

    def place(self, ue: str, key: Key, *, cell: Cell, time_s: float) -> Place:
        tracks = self._tracks()
        if ue not in tracks:
            raise ConfigError(f"placement.file = {self.file!r} has no row for {ue!r}; {nearest(ue, tracks)}")
        times_s, positions_m = tracks[ue]
        x_m, y_m = (float(np.interp(time_s, times_s, positions_m[:, axis])) for axis in range(2))
        return Place.at(x_m, y_m)

    def _tracks(self) -> dict[str, Track]:
        path = Path(self.file)
        try:
            found = path.stat()
        except OSError as error:
            raise ConfigError(
                f"placement.file = {self.file!r} can't be read ({error.strerror}); "
                f"give the path of a CSV file with the columns {', '.join(_COLUMNS)}"
            ) from None
        return _read(path.absolute(), found.st_mtime_ns, found.st_size)


Track = tuple[NDArray[np.float64], NDArray[np.float64]]
"""[rows] times [s] in order, and [rows, 2] positions [m], of one UE."""


@lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int, size: int) -> dict[str, Track]:
    """Tracks by UE. When the file was changed, and its size, tell a rewritten file from the one in memory."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        require(
            not missing,
            "placement.file",
            str(path),
            f"a CSV file with the columns {', '.join(_COLUMNS)}",
            f"it lacks {', '.join(missing)}",
        )
        for row in reader:
            try:
                numbers = tuple(float(row[name]) for name in ("time_s", "x_m", "y_m"))
            except (TypeError, ValueError):
                numbers = (math.nan,)
            require(
                all(map(math.isfinite, numbers)),
                f"placement.file: {path}, line {reader.line_num}",
                ",".join(str(row[name]) for name in _COLUMNS),
                "a time, a UE and two coordinates",
            )
            rows.setdefault(row["ue"], []).append(numbers)  # type: ignore[arg-type]
    require(bool(rows), "placement.file", str(path), "a CSV file with at least one row")
    return {ue: _track(ue, np.array(sorted(found)), path) for ue, found in rows.items()}


def _track(ue: str, rows: NDArray[np.float64], path: Path) -> Track:
    twice = np.flatnonzero(np.diff(rows[:, 0]) == 0)
    require(
        not len(twice),
        f"placement.file: {path}, time of {ue}",
        float(rows[twice[0], 0]) if len(twice) else None,
        "there once",
    )
    return rows[:, 0], rows[:, 1:]


def _check_step(step_s: float) -> None:
    require(
        0 < step_s < math.inf, "step_s", step_s, "above 0 and finite", "for UEs that stand still use 'given'"
    )
