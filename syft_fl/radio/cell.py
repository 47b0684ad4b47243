"""Where the UEs of a cell are.

Left out: several cells, antenna patterns.
"""

from __future__ import annotations

import math
from typing import Annotated

from syft_fl.keys import Key
from syft_fl.radio.placement import PLACEMENTS, Disc, Place, Placement
from syft_fl.radio.steps import next_step_s, step_number
from syft_fl.schema import require, schema

__all__ = ["Cell"]


@schema
class Cell:
    """A disc around the base station, and where in it UEs are.

    Attributes:
        radius_m: largest distance [m].
        min_distance_m: smallest distance [m]; path loss laws don't hold nearer. A UE that moves nearer counts as here.
        distances_m: distances [m] of ue0, ue1, … where they are given; empty: drawn.
        placement: how UEs are placed or move (:mod:`~syft_fl.radio.placement`); uniformly over the disc by default.

    Example:
        >>> Cell(distances_m=(250.0, 100.0)).distance_m("ue1", Key(0))
        100.0
    """

    radius_m: float = 500.0
    min_distance_m: float = 10.0
    distances_m: tuple[float, ...] = ()
    placement: Annotated[Placement, PLACEMENTS] = Disc()

    def __post_init__(self) -> None:
        require(self.min_distance_m > 0, "min_distance_m", self.min_distance_m, "above 0")
        require(
            self.min_distance_m <= self.radius_m < math.inf,
            "radius_m",
            self.radius_m,
            f"at least min_distance_m = {self.min_distance_m} and finite",
        )
        for number, distance_m in enumerate(self.distances_m):
            require(
                self.min_distance_m <= distance_m <= self.radius_m,
                f"distances_m[{number}]",
                distance_m,
                f"in {self.min_distance_m} … {self.radius_m} m",
                "or change min_distance_m and radius_m",
            )
        require(
            not self.distances_m or isinstance(self.placement, Disc),
            "distances_m",
            self.distances_m,
            f"empty where placement is {getattr(self.placement, 'kind', self.placement)!r}",
            "leave either out",
        )
        self.placement.check(self)

    @property
    def moves(self) -> bool:
        """Whether a UE's place depends on time."""
        return self.placement.step_s < math.inf

    def distance_m(self, ue: str, key: Key, time_s: float = 0.0) -> float:
        """Distance [m] on the ground between the base station and a UE; at least ``min_distance_m``.

        Drawn from the key by the UE's name, so a UE stays where it is whoever else is there.

        Raises:
            ConfigError: places or distances are given, but none for this UE.
        """
        return max(self._place(ue, key, time_s).distance_m, self.min_distance_m)

    def position_m(self, ue: str, key: Key, time_s: float = 0.0) -> tuple[float, float]:
        """Coordinates [m] of a UE; the base station is at (0, 0).

        A UE that moves is where it was at the beginning of the step (``placement.step_s``) that ``time_s`` lies in.

        Raises:
            ConfigError: places or distances are given, but none for this UE.
        """
        place = self._place(ue, key, time_s)
        return place.x_m, place.y_m

    def steady_until_s(self, *, time_s: float) -> float:
        """First time [s] after ``time_s`` at which UEs may be elsewhere; infinity where they don't move."""
        return next_step_s(time_s, self.placement.step_s) if self.moves else math.inf

    def _place(self, ue: str, key: Key, time_s: float) -> Place:
        if self.moves:
            time_s = step_number(time_s, self.placement.step_s) * self.placement.step_s
        return self.placement.place(ue, key, cell=self, time_s=time_s)
