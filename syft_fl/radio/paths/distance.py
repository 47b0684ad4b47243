"""Path loss that grows with the logarithm of the distance, and nothing else: the classics.

Left out: line of sight, what stands in the way (shadowing aside), antenna gains, the air's absorption.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.pathloss import path_gain, shadowing_gain
from syft_fl.radio.paths.path import PATHS
from syft_fl.radio.paths.shadowing import spatial_normal
from syft_fl.schema import require, schema
from syft_fl.units import SPEED_OF_LIGHT_M_PER_S, db_to_linear

__all__ = ["FreeSpace", "LogDistance", "free_space_loss_db"]


@PATHS
@schema
class LogDistance:
    r"""A loss that grows by a fixed number of decibels for ten times the distance.

    .. math:: L = L_0 + \alpha \log_{10}(d / \mathrm{km}) + X_\sigma

    The defaults are those of a macro cell at 2 GHz; 128.1 + 37.6 log10 d is 90.5 dB at 100 m. Without correlation it
    is the mean gain of ``{kind = "shannon"}``, draw by draw.

    Attributes:
        intercept_db: loss at 1 km, :math:`L_0`, -300 … 300 dB.
        slope_db_per_decade: loss for ten times the distance, :math:`\alpha`, 0 … 100 dB (10 times the exponent).
        shadowing_db: standard deviation of the log-normal shadowing :math:`X_\sigma`, 0 … 100 dB; 0: none.
        correlation_m: distance over which the correlation of shadowing falls to 1/e [m]; 0: every UE has its own
            shadow
            for good, wherever it goes.

    Source: 3GPP TR 36.814, table A.2.1.1-2. Differs from it in: nothing at 2 GHz; there the correlation is 50 m.

    Example:
        >>> float(LogDistance().loss_db(1000.0))
        128.1
    """

    kind: ClassVar[str] = "log-distance"

    intercept_db: float = 128.1
    slope_db_per_decade: float = 37.6
    shadowing_db: float = 8.0
    correlation_m: float = 0.0

    def __post_init__(self) -> None:
        require(-300 <= self.intercept_db <= 300, "intercept_db", self.intercept_db, "in -300 … 300")
        for name in ("slope_db_per_decade", "shadowing_db"):
            level = getattr(self, name)
            require(0 <= level <= 100, name, level, "in 0 … 100", "it is in dB")
        _check_correlation(self.correlation_m)

    def check(self, cell: Cell) -> None:
        """Any cell suits it."""

    def loss_db(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        """[ues] loss without shadowing [dB] at [ues] distances [m] on the ground."""
        distance_km = np.asarray(distance_m, np.float64) / 1000.0
        return np.asarray(self.intercept_db + self.slope_db_per_decade * np.log10(distance_km))

    def gain(self, ue: str, *, cell: Cell, key: Key, time_s: float = 0.0) -> float:
        path = path_gain(
            cell.distance_m(ue, key, time_s),
            intercept_db=self.intercept_db,
            slope_db_per_decade=self.slope_db_per_decade,
        )
        return path * _shadow(self, ue, cell, key, time_s)


@PATHS
@schema
class FreeSpace:
    r"""Nothing but distance: Friis' law between isotropic antennas.

    .. math:: L = 20 \log_{10} \frac{4 \pi d f}{c}, \quad d^2 = d_\text{ground}^2 + (h_\text{BS} - h_\text{UT})^2

    Attributes:
        frequency_hz: carrier :math:`f`, above 0 Hz.
        h_bs_m: height of the base station's antenna [m], at least 0; a satellite's is 5e5 and more.
        h_ut_m: height of the UE's antenna [m], at least 0.
        shadowing_db: standard deviation of log-normal shadowing, 0 … 100 dB; 0: none.
        correlation_m: as of :class:`LogDistance`.

    Source: Friis 1946. Differs from it in: shadowing, where it is asked for. Far field only: the loss is held at 0 dB
    where the formula would give a gain.
    """

    kind: ClassVar[str] = "free-space"

    frequency_hz: float = 2e9
    h_bs_m: float = 25.0
    h_ut_m: float = 1.5
    shadowing_db: float = 0.0
    correlation_m: float = 0.0

    def __post_init__(self) -> None:
        require(0 < self.frequency_hz < math.inf, "frequency_hz", self.frequency_hz, "above 0 and finite")
        for name in ("h_bs_m", "h_ut_m"):
            height_m = getattr(self, name)
            require(0 <= height_m < math.inf, name, height_m, "at least 0 and finite")
        require(0 <= self.shadowing_db <= 100, "shadowing_db", self.shadowing_db, "in 0 … 100", "it is in dB")
        _check_correlation(self.correlation_m)

    def check(self, cell: Cell) -> None:
        """Any cell suits it."""

    def loss_db(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        """[ues] loss without shadowing [dB] at [ues] distances [m] on the ground."""
        slant_m = np.hypot(np.asarray(distance_m, np.float64), self.h_bs_m - self.h_ut_m)
        return np.maximum(free_space_loss_db(slant_m, frequency_hz=self.frequency_hz), 0.0)

    def gain(self, ue: str, *, cell: Cell, key: Key, time_s: float = 0.0) -> float:
        loss_db = float(self.loss_db(cell.distance_m(ue, key, time_s)))
        return db_to_linear(-loss_db) * _shadow(self, ue, cell, key, time_s)


def free_space_loss_db(
    distance_m: ArrayLike, *, frequency_hz: float, speed_m_per_s: float = SPEED_OF_LIGHT_M_PER_S
) -> NDArray[np.float64]:
    """Friis' loss [dB] over distances [m] from antenna to antenna.

    Example:
        >>> round(float(free_space_loss_db(1000.0, frequency_hz=1e9)), 2)
        92.45
    """
    waves = np.asarray(distance_m, np.float64) * (frequency_hz / speed_m_per_s)
    return np.asarray(20.0 * np.log10(4.0 * math.pi * waves))


def _shadow(path: LogDistance | FreeSpace, ue: str, cell: Cell, key: Key, time_s: float) -> float:
    if not path.correlation_m:
        return shadowing_gain(key / "shadowing" / ue, shadowing_db=path.shadowing_db)
    position_m = cell.position_m(ue, key, time_s)
    level = spatial_normal(key / "shadowing", position_m, correlation_m=path.correlation_m)
    return db_to_linear(path.shadowing_db * level)


def _check_correlation(correlation_m: float) -> None:
    require(
        0 <= correlation_m < math.inf,
        "correlation_m",
        correlation_m,
        "at least 0 and finite",
        "0 gives every UE a shadow of its own",
    )
