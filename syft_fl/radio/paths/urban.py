"""Streets: base stations above the roofs (UMa) and below them (UMi, street canyon).

Source: 3GPP TR 38.901 V16.1.0, tables 7.4.1-1 and 7.4.2-1.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from syft_fl.radio.cell import Cell
from syft_fl.radio.paths.path import PATHS
from syft_fl.radio.paths.tr38901 import SPEED_OF_LIGHT_38901_M_PER_S, Tr38901, check_above, check_in
from syft_fl.schema import schema

__all__ = ["UMa", "UMi"]

_STREET_M = 1.0
"""Height of what stands on the ground (cars, people), above which waves are reflected."""


@PATHS
@schema
class UMa(Tr38901):
    r"""Urban macro cell: the base station stands above the roofs.

    With :math:`d` the distance from antenna to antenna [m], :math:`f` in GHz and the breakpoint
    :math:`d' = 4 (h_{BS} - 1)(h_{UT} - 1) f/c`:

    .. math::
        L_{LOS} &= 28.0 + 22 \log d + 20 \log f && \text{on the ground up to } d' \\
                &= 28.0 + 40 \log d + 20 \log f - 9 \log(d'^2 + (h_{BS} - h_{UT})^2) && \text{beyond} \\
        L_{NLOS} &= \max(L_{LOS},\ 13.54 + 39.08 \log d + 20 \log f - 0.6 (h_{UT} - 1.5))

    A line of sight is certain within 18 m on the ground, then :math:`P = 18/d + e^{-d/63}(1 - 18/d)`. Shadowing: 4 dB
    in line of sight, 6 dB without; it correlates over 37 and 50 m, the line of sight over 50 m.

    Attributes:
        h_bs_m: height of the base station's antenna [m], above 1 m; the model was made for 25.
        h_ut_m: height of the UE's antenna, 1.5 … 13 m. (Higher ones are in houses, which are left out.)

    Cells: 10 … 5000 m on the ground.
    """

    kind: ClassVar[str] = "uma"

    h_bs_m: float = 25.0
    h_ut_m: float = 1.5

    def __post_init__(self) -> None:
        self._check_frequency()
        check_above("h_bs_m", self.h_bs_m, _STREET_M)
        check_in("h_ut_m", self.h_ut_m, 1.5, 13.0, "m")

    @property
    def heights_m(self) -> tuple[float, float]:
        return self.h_bs_m, self.h_ut_m

    def check(self, cell: Cell) -> None:
        self._check_ground(cell, 10.0, 5000.0)

    def loss_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        slant = np.log10(self.slant_m(distance_m))
        ghz = self.frequency_hz / 1e9
        seen = _two_slopes(self, distance_m, intercept_db=28.0, slope_db=22.0, beyond_db=9.0)
        hidden = 13.54 + 39.08 * slant + 20.0 * np.log10(ghz) - 0.6 * (self.h_ut_m - 1.5)
        return np.where(los, seen, np.maximum(seen, hidden))

    def los_probability(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        return _street_sight(distance_m, decay_m=63.0)

    def shadowing_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        return np.where(np.broadcast_to(los, np.shape(distance_m)), 4.0, 6.0)

    def correlation_m(self, *, los: bool) -> float:
        return 37.0 if los else 50.0

    def los_correlation_m(self) -> float:
        return 50.0


@PATHS
@schema
class UMi(Tr38901):
    r"""Urban micro cell in a street canyon: the base station stands below the roofs.

    With :math:`d, f, d'` as of :class:`UMa`:

    .. math::
        L_{LOS} &= 32.4 + 21 \log d + 20 \log f && \text{on the ground up to } d' \\
                &= 32.4 + 40 \log d + 20 \log f - 9.5 \log(d'^2 + (h_{BS} - h_{UT})^2) && \text{beyond} \\
        L_{NLOS} &= \max(L_{LOS},\ 22.4 + 35.3 \log d + 21.3 \log f - 0.3 (h_{UT} - 1.5))

    A line of sight is certain within 18 m on the ground, then :math:`P = 18/d + e^{-d/36}(1 - 18/d)`. Shadowing: 4 dB
    in line of sight, 7.82 dB without; it correlates over 10 and 13 m, the line of sight over 50 m.

    Attributes:
        h_bs_m: height of the base station's antenna [m], above 1 m; the model was made for 10.
        h_ut_m: height of the UE's antenna, 1.5 … 22.5 m.

    Cells: 10 … 5000 m on the ground.
    """

    kind: ClassVar[str] = "umi"

    h_bs_m: float = 10.0
    h_ut_m: float = 1.5

    def __post_init__(self) -> None:
        self._check_frequency()
        check_above("h_bs_m", self.h_bs_m, _STREET_M)
        check_in("h_ut_m", self.h_ut_m, 1.5, 22.5, "m")

    @property
    def heights_m(self) -> tuple[float, float]:
        return self.h_bs_m, self.h_ut_m

    def check(self, cell: Cell) -> None:
        self._check_ground(cell, 10.0, 5000.0)

    def loss_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        slant = np.log10(self.slant_m(distance_m))
        ghz = self.frequency_hz / 1e9
        seen = _two_slopes(self, distance_m, intercept_db=32.4, slope_db=21.0, beyond_db=9.5)
        hidden = 22.4 + 35.3 * slant + 21.3 * np.log10(ghz) - 0.3 * (self.h_ut_m - 1.5)
        return np.where(los, seen, np.maximum(seen, hidden))

    def los_probability(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        return _street_sight(distance_m, decay_m=36.0)

    def shadowing_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        return np.where(np.broadcast_to(los, np.shape(distance_m)), 4.0, 7.82)

    def correlation_m(self, *, los: bool) -> float:
        return 10.0 if los else 13.0

    def los_correlation_m(self) -> float:
        return 50.0


def _two_slopes(
    model: UMa | UMi, distance_m: ArrayLike, *, intercept_db: float, slope_db: float, beyond_db: float
) -> NDArray[np.float64]:
    """Loss in line of sight: from the breakpoint on, where the reflection from the street counts, 40 dB a decade."""
    slant = np.log10(model.slant_m(distance_m))
    carrier_db = 20.0 * np.log10(model.frequency_hz / 1e9)
    breakpoint_m = (
        4.0
        * (model.h_bs_m - _STREET_M)
        * (model.h_ut_m - _STREET_M)
        * model.frequency_hz
        / SPEED_OF_LIGHT_38901_M_PER_S
    )
    near = intercept_db + slope_db * slant + carrier_db
    turn_db = beyond_db * np.log10(breakpoint_m**2 + (model.h_bs_m - model.h_ut_m) ** 2)
    far = intercept_db + 40.0 * slant + carrier_db - turn_db
    before = np.asarray(distance_m, np.float64) <= breakpoint_m
    return np.asarray(np.where(before, near, far), np.float64)


def _street_sight(distance_m: ArrayLike, *, decay_m: float) -> NDArray[np.float64]:
    """Probability of a line of sight along a street: certain within 18 m."""
    distances_m: NDArray[np.float64] = np.maximum(np.asarray(distance_m, np.float64), 18.0)
    ahead = 18.0 / distances_m
    return np.asarray(ahead + np.exp(-distances_m / decay_m) * (1.0 - ahead))
