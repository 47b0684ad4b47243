"""Where UEs are, and where they go: the placements and movements that a cell may have.

===================  ===================================================================
``kind``             a UE's place
===================  ===================================================================
``disc``             uniform over the cell's disc
``ring``             uniform over its outer part
``hexagon``          uniform over the hexagon that the disc's circle is drawn around
``given``            given coordinates
``random-waypoint``  walks to a place, rests, walks to the next (:mod:`~syft_fl.radio.movement`)
``trace``            read from a file, at any time (:mod:`~syft_fl.radio.movement`)
===================  ===================================================================

The base station is at (0, 0). A place is a function of key, UE and time: whoever asks in whatever order gets the same,
and a UE stays where it is whoever else is there.

Left out: several cells, floors, streets.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.schema import Registry, require, schema

if TYPE_CHECKING:
    from syft_fl.radio.cell import Cell

__all__ = ["PLACEMENTS", "Disc", "Given", "Hexagon", "Place", "Placement", "Ring", "entry_of"]

PLACEMENTS = Registry("placement", "place", "check", "step_s")
"""Placements by kind; ``PLACEMENTS(MyPlacement)`` adds one."""

_TRAILING_NUMBER = re.compile(r"[0-9]+$")


class Place(NamedTuple):
    """A point on the ground, seen from the base station.

    Attributes:
        x_m: east [m].
        y_m: north [m].
        distance_m: distance [m] from the base station.

    Example:
        >>> Place.at(300.0, 400.0).distance_m
        500.0
    """

    x_m: float
    y_m: float
    distance_m: float

    @classmethod
    def at(cls, x_m: float, y_m: float) -> Place:
        """The place with these coordinates."""
        return cls(x_m, y_m, math.hypot(x_m, y_m))

    @classmethod
    def polar(cls, distance_m: float, bearing: float) -> Place:
        """The place at a distance [m], ``bearing`` [rad] from east."""
        return cls(distance_m * math.cos(bearing), distance_m * math.sin(bearing), distance_m)


@runtime_checkable
class Placement(Protocol):
    """The settings of where UEs are: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    @property
    def step_s(self) -> float:
        """How often UEs that move are looked at [s]; infinity: they don't move."""
        ...

    def check(self, cell: Cell) -> None:
        """Refuse a cell that these settings don't fit.

        Raises:
            ConfigError: some UE would be outside it.
        """
        ...

    def place(self, ue: str, key: Key, *, cell: Cell, time_s: float) -> Place:
        """Where a UE is at a time; ``cell`` gives radius and smallest distance."""
        ...


@PLACEMENTS
@schema
class Disc:
    r"""Uniform over the disc of the cell's radius, but for a hole of the smallest distance.

    .. math:: d = \sqrt{d_0^2 + U\,(R^2 - d_0^2)}

    with :math:`U` uniform in (0, 1), :math:`R` the radius and :math:`d_0` the smallest distance: equal areas
    are equally likely. The bearing is uniform. Where the cell has ``distances_m``, those are the distances.
    """

    kind: ClassVar[str] = "disc"

    @property
    def step_s(self) -> float:
        return math.inf

    def check(self, cell: Cell) -> None:
        """Any cell suits it."""

    def place(self, ue: str, key: Key, *, cell: Cell, time_s: float) -> Place:
        if cell.distances_m:
            return Place.polar(
                cell.distances_m[entry_of(ue, cell.distances_m, "distances_m")], _bearing(ue, key)
            )
        return _in_ring(ue, key, cell.min_distance_m, cell.radius_m)


@PLACEMENTS
@schema
class Ring:
    """Uniform over what is left of the cell's disc outside an inner circle.

    Attributes:
        inner_m: radius of the inner circle [m], from the cell's smallest distance to its radius; where it is the
            radius
            itself, all UEs are equally far.
    """

    kind: ClassVar[str] = "ring"

    inner_m: float

    @property
    def step_s(self) -> float:
        return math.inf

    def check(self, cell: Cell) -> None:
        require(
            cell.min_distance_m <= self.inner_m <= cell.radius_m,
            "placement.inner_m",
            self.inner_m,
            f"in {cell.min_distance_m} … {cell.radius_m} m",
            "or change min_distance_m and radius_m",
        )

    def place(self, ue: str, key: Key, *, cell: Cell, time_s: float) -> Place:
        return _in_ring(ue, key, self.inner_m, cell.radius_m)


@PLACEMENTS
@schema
class Hexagon:
    """Uniform over a regular hexagon whose corners lie at the cell's radius (one of them east), but for the hole."""

    kind: ClassVar[str] = "hexagon"

    @property
    def step_s(self) -> float:
        return math.inf

    def check(self, cell: Cell) -> None:
        nearest_edge_m = math.sqrt(0.75) * cell.radius_m
        require(
            cell.min_distance_m < nearest_edge_m,
            "min_distance_m",
            cell.min_distance_m,
            f"below {nearest_edge_m:.6g} m, the distance of a hexagon's edges at radius_m = {cell.radius_m}",
            "lower it, or use placement = {kind = 'ring'}",
        )

    def place(self, ue: str, key: Key, *, cell: Cell, time_s: float) -> Place:
        draws = (key / "hexagon" / ue).numpy()
        while True:
            # A hexagon is three rhombi that meet in its centre; their sides are 120 degrees apart.
            along, across, rhombus = draws.random(3)
            first = math.tau / 3.0 * math.floor(3.0 * rhombus)
            second = first + math.tau / 3.0
            found = Place.at(
                cell.radius_m * (along * math.cos(first) + across * math.cos(second)),
                cell.radius_m * (along * math.sin(first) + across * math.sin(second)),
            )
            if found.distance_m >= cell.min_distance_m:
                return found


@PLACEMENTS
@schema
class Given:
    """Given coordinates.

    Attributes:
        positions_m: [ues, 2] coordinates [m] of ue0, ue1, … from the base station.

    Example:
        >>> from syft_fl.radio.cell import Cell
        >>> cell = Cell(placement=Given(positions_m=((300.0, 400.0), (0.0, -50.0))))
        >>> cell.distance_m("ue0", Key(0)), cell.position_m("ue1", Key(0))
        (500.0, (0.0, -50.0))
    """

    kind: ClassVar[str] = "given"

    positions_m: tuple[tuple[float, float], ...]

    @property
    def step_s(self) -> float:
        return math.inf

    def check(self, cell: Cell) -> None:
        for number, (x_m, y_m) in enumerate(self.positions_m):
            require(
                cell.min_distance_m <= math.hypot(x_m, y_m) <= cell.radius_m,
                f"placement.positions_m[{number}]",
                (x_m, y_m),
                f"{cell.min_distance_m} … {cell.radius_m} m from (0, 0)",
                "or change min_distance_m and radius_m",
            )

    def place(self, ue: str, key: Key, *, cell: Cell, time_s: float) -> Place:
        return Place.at(*self.positions_m[entry_of(ue, self.positions_m, "placement.positions_m")])


def entry_of(ue: str, entries: tuple[object, ...], name: str) -> int:
    """The entry that is a UE's: that of the number its name ends in.

    Raises:
        ConfigError: the name ends in no number, or there is no such entry.
    """
    found = _TRAILING_NUMBER.search(ue)
    if found is None:
        raise ConfigError(
            f"cell.{name} has no entry for {ue!r}: a UE's entry is the number its name ends in; "
            f"name the UEs ue0, ue1, … or leave {name} empty to draw them"
        )
    number = int(found.group())
    if number >= len(entries):
        raise ConfigError(
            f"cell.{name} has {len(entries)} entries, none for {ue!r} (entry {number}); "
            f"give one for each UE, or leave {name} empty to draw them"
        )
    return number


def _in_ring(ue: str, key: Key, inner_m: float, outer_m: float) -> Place:
    drawn = (key / "distance" / ue).uniform()
    return Place.polar(math.sqrt(inner_m**2 + drawn * (outer_m**2 - inner_m**2)), _bearing(ue, key))


def _bearing(ue: str, key: Key) -> float:
    return math.tau * (key / "bearing" / ue).uniform()
