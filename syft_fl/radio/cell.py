"""Where the UEs of a cell are.

Left out: mobility, several cells, antenna patterns.
"""

from __future__ import annotations

import math

from syft_fl.keys import Key
from syft_fl.schema import require, schema

__all__ = ["Cell"]


@schema
class Cell:
    """A disc around the base station in which UEs are placed uniformly.

    Attributes:
        radius_m: largest distance [m].
        min_distance_m: smallest distance [m]; path loss laws don't hold nearer.
        distances_m: distances [m] of ue0, ue1, … where they are given; empty: drawn.
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
