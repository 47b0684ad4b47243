"""Where the UEs of a cell are.

Left out: mobility, several cells, antenna patterns.
"""

from __future__ import annotations

import math
import re

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.schema import require, schema

__all__ = ["Cell"]

_TRAILING_NUMBER = re.compile(r"[0-9]+$")


@schema
class Cell:
    """A disc around the base station in which UEs are placed uniformly.

    Attributes:
        radius_m: largest distance [m].
        min_distance_m: smallest distance [m]; path loss laws don't hold nearer.
        distances_m: distances [m] of ue0, ue1, … where they are given; empty: drawn.

    Example:
        >>> Cell(distances_m=(250.0, 100.0)).distance_m("ue1", Key(0))
        100.0
    """

    radius_m: float = 500.0
    min_distance_m: float = 10.0
    distances_m: tuple[float, ...] = ()

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

    def distance_m(self, ue: str, key: Key) -> float:
        r"""Distance [m] between the base station and a UE.

        .. math:: d = \sqrt{d_0^2 + U\,(R^2 - d_0^2)}

        with :math:`U` uniform in (0, 1), :math:`R` the radius and :math:`d_0` the smallest distance: equal areas
        are equally likely. Drawn from ``key / "distance" / ue``, so a UE stays where it is whoever else is there.

        Raises:
            ConfigError: distances are given, but none for this UE.
        """
        if self.distances_m:
            return self._given_m(ue)
        nearest_m2 = self.min_distance_m**2
        drawn = (key / "distance" / ue).uniform()
        return math.sqrt(nearest_m2 + drawn * (self.radius_m**2 - nearest_m2))

    def _given_m(self, ue: str) -> float:
        found = _TRAILING_NUMBER.search(ue)
        if found is None:
            raise ConfigError(
                f"cell.distances_m has no entry for {ue!r}: a UE's entry is the number its name ends in; "
                "name the UEs ue0, ue1, … or leave distances_m empty to draw them"
            )
        number = int(found.group())
        if number >= len(self.distances_m):
            raise ConfigError(
                f"cell.distances_m has {len(self.distances_m)} entries, none for {ue!r} (entry {number}); "
                "give one for each UE, or leave distances_m empty to draw them"
            )
        return self.distances_m[number]
