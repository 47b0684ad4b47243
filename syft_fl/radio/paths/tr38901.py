r"""What the 3GPP's models have in common: a line of sight that is there or not, and a shadow for either case.

Whether a UE sees the base station is drawn with the scenario's probability at its distance. Neighbours share their
fate: the draw is a normal value of the place (:mod:`~syft_fl.radio.paths.shadowing`) that correlates over the
scenario's distance, and so is the shadow. Both are the same for all UEs that stand at one place, in both directions,
at any time.

Outside the ranges that the models were fitted on they are refused, not extrapolated: a loss that nobody measured
looks like any other number in a result file. Frequencies and heights are checked when a model is made, distances
against the cell when its link is.

Left out: buildings that UEs are in, the air's absorption, soft changes of the line of sight, several base stations.
Source: 3GPP TR 38.901 V16.1.0 and V17.0.0, tables 7.4.1-1, 7.4.2-1, 7.5-6, 7.6.3.1-2. Differs from it in: the line of
sight is correlated always (there an option); the speed of light is the 3e8 m/s that its constants are made with.
"""

from __future__ import annotations

import abc
import math
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.paths.shadowing import spatial_normal
from syft_fl.schema import require, schema
from syft_fl.units import db_to_linear

__all__ = ["SPEED_OF_LIGHT_38901_M_PER_S", "Tr38901", "check_above", "check_in"]

SPEED_OF_LIGHT_38901_M_PER_S = 3.0e8

_STANDARD_NORMAL = NormalDist()


@schema
class Tr38901(abc.ABC):
    """A scenario of TR 38.901.

    Abstract: a scenario says what is lost and how likely a line of sight is; its fields are heights and surroundings.

    Attributes:
        frequency_hz: carrier, 0.5 … 100 GHz.
        los: whether UEs see the base station: ``"drawn"``, ``"always"`` or ``"never"``.
        shadowing: whether there is log-normal shadowing; its standard deviation is the scenario's.
        correlated: neighbours' shadows and lines of sight are alike; false: every UE has its own for good, wherever
            it goes.
    """

    frequency_hz: float = 3.5e9
    los: Literal["drawn", "always", "never"] = "drawn"
    shadowing: bool = True
    correlated: bool = True

    @property
    @abc.abstractmethod
    def heights_m(self) -> tuple[float, float]:
        """Heights [m] of the base station's and of the UE's antenna."""

    @abc.abstractmethod
    def loss_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        """[ues] loss without shadowing [dB] at [ues] distances [m] on the ground, with or without line of sight."""

    @abc.abstractmethod
    def los_probability(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        """[ues] probability of a line of sight at [ues] distances [m] on the ground."""

    @abc.abstractmethod
    def shadowing_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        """[ues] standard deviation of shadowing [dB]."""

    @abc.abstractmethod
    def correlation_m(self, *, los: bool) -> float:
        """Distance [m] over which the correlation of shadowing falls to 1/e."""

    @abc.abstractmethod
    def los_correlation_m(self) -> float:
        """The same of the draw that decides on the line of sight."""

    @abc.abstractmethod
    def check(self, cell: Cell) -> None:
        """Refuse a cell in which UEs may be outside the distances that the scenario was made for.

        Raises:
            ConfigError: the cell is too wide, or UEs may be too near.
        """

    def slant_m(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        """[ues] distance [m] from antenna to antenna."""
        h_bs_m, h_ut_m = self.heights_m
        return np.hypot(np.asarray(distance_m, np.float64), h_bs_m - h_ut_m)

    def gain(self, ue: str, *, cell: Cell, key: Key, time_s: float = 0.0) -> float:
        self.check(cell)
        distance_m = cell.distance_m(ue, key, time_s)
        los = self.sees(ue, cell=cell, key=key, time_s=time_s)
        level_db = -float(self.loss_db(distance_m, los=los))
        if self.shadowing:
            level = self._level(ue, cell, key / "shadowing", key, time_s, los)
            level_db += float(self.shadowing_db(distance_m, los=los)) * level
        return db_to_linear(level_db)

    def sees(self, ue: str, *, cell: Cell, key: Key, time_s: float = 0.0) -> bool:
        """Whether a UE sees the base station; arguments as of :meth:`gain`."""
        if self.los != "drawn":
            return self.los == "always"
        if self.correlated:
            position_m = cell.position_m(ue, key, time_s)
            level = spatial_normal(key / "line of sight", position_m, correlation_m=self.los_correlation_m())
            drawn = _STANDARD_NORMAL.cdf(level)
        else:
            drawn = (key / "line of sight" / ue).uniform()
        return drawn < float(self.los_probability(cell.distance_m(ue, key, time_s)))

    def _level(self, ue: str, cell: Cell, stream: Key, key: Key, time_s: float, los: bool) -> float:
        """The shadow of a UE in standard deviations."""
        if not self.correlated:
            return (stream / ue).normal()
        return spatial_normal(
            stream / ("line of sight" if los else "hidden"),
            cell.position_m(ue, key, time_s),
            correlation_m=self.correlation_m(los=los),
        )

    def _check_frequency(self, highest_hz: float = 100e9) -> None:
        check_in("frequency_hz", self.frequency_hz, 0.5e9, highest_hz, "Hz")

    def _check_ground(self, cell: Cell, nearest_m: float, farthest_m: float) -> None:
        """Distances on the ground."""
        _check_distances(self, cell, nearest_m, farthest_m, nearest_m, farthest_m)

    def _check_slant(self, cell: Cell, nearest_m: float, farthest_m: float) -> None:
        """Distances from antenna to antenna, said as distances on the ground."""
        h_bs_m, h_ut_m = self.heights_m
        rise_m2 = (h_bs_m - h_ut_m) ** 2
        _check_distances(
            self,
            cell,
            math.sqrt(max(nearest_m**2 - rise_m2, 0.0)),
            math.sqrt(max(farthest_m**2 - rise_m2, 0.0)),
            nearest_m,
            farthest_m,
        )


def check_in(name: str, value: float, lowest: float, highest: float, unit: str) -> None:
    """Refuse what the scenario was not made for."""
    require(
        lowest <= value <= highest,
        name,
        value,
        f"in {lowest:g} … {highest:g} {unit}, for which TR 38.901 was made",
        "beyond that use path = {kind = 'log-distance'} or 'free-space'",
    )


def check_above(name: str, value: float, lowest: float) -> None:
    """Refuse a height that is not above another one."""
    require(lowest < value < math.inf, name, value, f"above {lowest:g} m and finite")


def _check_distances(
    model: Tr38901, cell: Cell, nearest_m: float, farthest_m: float, first_m: float, last_m: float
) -> None:
    kind = getattr(model, "kind", type(model).__name__)
    made_for = f"path = {kind!r} was made for {first_m:g} … {last_m:g} m"
    require(
        cell.min_distance_m >= nearest_m,
        "cell.min_distance_m",
        cell.min_distance_m,
        f"at least {nearest_m:g}",
        made_for,
    )
    require(
        cell.radius_m <= farthest_m, "cell.radius_m", cell.radius_m, f"at most {farthest_m:.6g}", made_for
    )
