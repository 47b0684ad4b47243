"""The open country: base stations on towers (RMa).

Source: 3GPP TR 38.901 V16.1.0, tables 7.4.1-1 and 7.4.2-1.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from syft_fl.radio.cell import Cell
from syft_fl.radio.paths.distance import free_space_loss_db
from syft_fl.radio.paths.path import PATHS
from syft_fl.radio.paths.tr38901 import SPEED_OF_LIGHT_38901_M_PER_S, Tr38901, check_in
from syft_fl.schema import schema

__all__ = ["RMa"]


@PATHS
@schema
class RMa(Tr38901):
    r"""Rural macro cell.

    With :math:`d` the distance from antenna to antenna [m], :math:`f` in GHz, :math:`h` the height of houses,
    :math:`W` the width of streets and the breakpoint :math:`d_{BP} = 2 \pi h_{BS} h_{UT} f/c`:

    .. math::
        L_1(d) &= 20 \log(40 \pi d f / 3) + \min(0.03 h^{1.72}, 10) \log d \\
               &\quad - \min(0.044 h^{1.72}, 14.77) + 0.002 \log(h)\,d \\
        L_{LOS} &= L_1(d) \text{ on the ground up to } d_{BP}, \quad L_1(d_{BP}) + 40 \log(d / d_{BP}) \text{ beyond} \\
        L_{NLOS} &= \max(L_{LOS},\ 161.04 - 7.1 \log W + 7.5 \log h - (24.37 - 3.7 (h/h_{BS})^2) \log h_{BS} \\
                 &\quad + (43.42 - 3.1 \log h_{BS})(\log d - 3) + 20 \log f - (3.2 \log^2(11.75 h_{UT}) - 4.97))

    A line of sight is certain within 10 m on the ground, then :math:`P = e^{-(d - 10)/1000}`. Shadowing: in line of
    sight 4 dB up to the breakpoint and 6 dB beyond, without 8 dB; it correlates over 37 and 120 m, the line of sight
    over 60 m.

    Attributes:
        frequency_hz: carrier, 0.5 … 30 GHz.
        h_bs_m: height of the base station's antenna, 10 … 150 m.
        h_ut_m: height of the UE's antenna, 1 … 10 m.
        building_m: mean height of houses :math:`h`, 5 … 50 m.
        street_m: mean width of streets :math:`W`, 5 … 50 m.

    Cells: 10 m … 5 km on the ground; to 10 km where ``los = "always"``.
    """

    kind: ClassVar[str] = "rma"

    h_bs_m: float = 35.0
    h_ut_m: float = 1.5
    building_m: float = 5.0
    street_m: float = 20.0

    def __post_init__(self) -> None:
        self._check_frequency(30e9)
        check_in("h_bs_m", self.h_bs_m, 10.0, 150.0, "m")
        check_in("h_ut_m", self.h_ut_m, 1.0, 10.0, "m")
        check_in("building_m", self.building_m, 5.0, 50.0, "m")
        check_in("street_m", self.street_m, 5.0, 50.0, "m")

    @property
    def heights_m(self) -> tuple[float, float]:
        return self.h_bs_m, self.h_ut_m

    @property
    def breakpoint_m(self) -> float:
        """Distance on the ground [m] from which on the loss in line of sight grows by 40 dB a decade."""
        return 2.0 * math.pi * self.h_bs_m * self.h_ut_m * self.frequency_hz / SPEED_OF_LIGHT_38901_M_PER_S

    def check(self, cell: Cell) -> None:
        self._check_ground(cell, 10.0, 10_000.0 if self.los == "always" else 5000.0)

    def loss_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        slant_m = self.slant_m(distance_m)
        beyond_db = self._near_db(self.breakpoint_m) + 40.0 * np.log10(slant_m / self.breakpoint_m)
        seen = np.where(np.asarray(distance_m) <= self.breakpoint_m, self._near_db(slant_m), beyond_db)
        h_bs = math.log10(self.h_bs_m)
        hidden = (
            161.04
            - 7.1 * math.log10(self.street_m)
            + 7.5 * math.log10(self.building_m)
            - (24.37 - 3.7 * (self.building_m / self.h_bs_m) ** 2) * h_bs
            + (43.42 - 3.1 * h_bs) * (np.log10(slant_m) - 3.0)
            + 20.0 * math.log10(self.frequency_hz / 1e9)
            - (3.2 * math.log10(11.75 * self.h_ut_m) ** 2 - 4.97)
        )
        return np.where(los, seen, np.maximum(seen, hidden))

    def los_probability(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        beyond_m = np.maximum(np.asarray(distance_m, np.float64) - 10.0, 0.0)
        return np.asarray(np.exp(-beyond_m / 1000.0))

    def shadowing_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        return np.where(los, np.where(np.asarray(distance_m) <= self.breakpoint_m, 4.0, 6.0), 8.0)

    def correlation_m(self, *, los: bool) -> float:
        return 37.0 if los else 120.0

    def los_correlation_m(self) -> float:
        return 60.0

    def _near_db(self, slant_m: ArrayLike) -> NDArray[np.float64]:
        """Loss in line of sight before the breakpoint: free space, and what houses add."""
        houses = self.building_m**1.72
        free_db = free_space_loss_db(
            slant_m, frequency_hz=self.frequency_hz, speed_m_per_s=SPEED_OF_LIGHT_38901_M_PER_S
        )
        return np.asarray(
            free_db
            + min(0.03 * houses, 10.0) * np.log10(slant_m)
            - min(0.044 * houses, 14.77)
            + 0.002 * math.log10(self.building_m) * np.asarray(slant_m)
        )
