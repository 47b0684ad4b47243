"""Indoors: offices (InH) and factory halls (InF).

Source: 3GPP TR 38.901 V16.1.0, tables 7.2-4, 7.4.1-1, 7.4.2-1 and 7.8-7.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from syft_fl.radio.cell import Cell
from syft_fl.radio.paths.path import PATHS
from syft_fl.radio.paths.tr38901 import Tr38901, check_above
from syft_fl.schema import require, schema

__all__ = ["InF", "InH"]


@PATHS
@schema
class InH(Tr38901):
    r"""Indoor office: the base station hangs from the ceiling.

    With :math:`d` the distance from antenna to antenna [m] and :math:`f` in GHz:

    .. math::
        L_{LOS} &= 32.4 + 17.3 \log d + 20 \log f \\
        L_{NLOS} &= \max(L_{LOS},\ 17.3 + 38.3 \log d + 24.9 \log f)

    Probability of a line of sight at a distance :math:`d` on the ground, in a mixed office: 1 up to 1.2 m,
    :math:`e^{-(d - 1.2)/4.7}` up to 6.5 m, then :math:`0.32\,e^{-(d - 6.5)/32.6}`; in an open one: 1 up to 5 m,
    :math:`e^{-(d - 5)/70.8}` up to 49 m, then :math:`0.54\,e^{-(d - 49)/211.7}`. Shadowing: 3 dB in line of sight,
    8.03 dB without; it correlates over 10 and 6 m, the line of sight over 10 m.

    Attributes:
        h_bs_m: height of the base station's antenna, above 0 m.
        h_ut_m: height of the UE's antenna, above 0 m.
        office: ``"mixed"`` (rooms and corridors) or ``"open"``.

    Cells: 1 … 150 m from antenna to antenna.
    """

    kind: ClassVar[str] = "inh"

    h_bs_m: float = 3.0
    h_ut_m: float = 1.0
    office: Literal["mixed", "open"] = "mixed"

    def __post_init__(self) -> None:
        self._check_frequency()
        check_above("h_bs_m", self.h_bs_m, 0.0)
        check_above("h_ut_m", self.h_ut_m, 0.0)

    @property
    def heights_m(self) -> tuple[float, float]:
        return self.h_bs_m, self.h_ut_m

    def check(self, cell: Cell) -> None:
        self._check_slant(cell, 1.0, 150.0)

    def loss_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        slant = np.log10(self.slant_m(distance_m))
        carrier = math.log10(self.frequency_hz / 1e9)
        seen = 32.4 + 17.3 * slant + 20.0 * carrier
        return np.where(los, seen, np.maximum(seen, 17.3 + 38.3 * slant + 24.9 * carrier))

    def los_probability(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        distances_m = np.asarray(distance_m, np.float64)
        if self.office == "mixed":
            near = np.exp(-np.maximum(distances_m - 1.2, 0.0) / 4.7)
            return np.where(distances_m < 6.5, near, 0.32 * np.exp(-(distances_m - 6.5) / 32.6))
        near = np.exp(-np.maximum(distances_m - 5.0, 0.0) / 70.8)
        return np.where(distances_m <= 49.0, near, 0.54 * np.exp(-(distances_m - 49.0) / 211.7))

    def shadowing_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        return np.where(np.broadcast_to(los, np.shape(distance_m)), 3.0, 8.03)

    def correlation_m(self, *, los: bool) -> float:
        return 10.0 if los else 6.0

    def los_correlation_m(self) -> float:
        return 10.0


Hall = Literal["SL", "DL", "SH", "DH"]
"""A factory hall: sparse or dense clutter, base station low among it or high above it."""

_HIDDEN_DB: dict[Hall, tuple[float, float]] = {
    "SL": (33.0, 25.5),
    "DL": (18.6, 35.7),
    "SH": (32.4, 23.0),
    "DH": (33.63, 21.9),
}
"""Intercept and slope of the loss without line of sight."""

_HIDDEN_SHADOWING_DB: dict[Hall, float] = {"SL": 5.7, "DL": 7.2, "SH": 5.9, "DH": 4.0}


@PATHS
@schema
class InF(Tr38901):
    r"""Indoor factory: a hall with machines and shelves (clutter).

    With :math:`d` the distance from antenna to antenna [m] and :math:`f` in GHz:

    .. math::
        L_{LOS} &= 31.84 + 21.5 \log d + 19 \log f \\
        L_{NLOS} &= \max(L_{LOS},\ a + b \log d + 20 \log f)

    with (a, b) = (33, 25.5) SL, (18.6, 35.7) DL, (32.4, 23) SH, (33.63, 21.9) DH; in DL the loss is at least that of
    SL too. A line of sight has the probability :math:`e^{-d/k}` at a distance :math:`d` on the ground, with clutter
    of size :math:`s`, density :math:`r` and height :math:`h_c`:

    .. math:: k = -\frac{s}{\ln(1 - r)} \cdot \frac{h_{BS} - h_{UT}}{h_c - h_{UT}}

    without the second factor in SL and DL. Shadowing: 4.3 dB in line of sight, without 5.7, 7.2, 5.9 and 4 dB in SL,
    DL, SH, DH; it correlates over 10 m, the line of sight over half a clutter's size.

    Attributes:
        hall: ``"SL"``, ``"DL"``, ``"SH"`` or ``"DH"``: sparse or dense clutter, base station low among it or high
            above it.
        h_bs_m: height of the base station's antenna [m]; None: 1.5 (low) or 8 (high).
        h_ut_m: height of the UE's antenna, above 0 m and below the clutter's.
        clutter_m: size of clutter [m], above 0; None: 10 (sparse) or 2 (dense).
        clutter_density: share of the floor that it takes, above 0 and below 1; None: 0.2 (sparse) or 0.6 (dense).
        clutter_height_m: its height [m]; None: 2 (sparse) or 6 (dense).

    Cells: 1 … 600 m from antenna to antenna.
    """

    kind: ClassVar[str] = "inf"

    hall: Hall = "SH"
    h_bs_m: float | None = None
    h_ut_m: float = 1.5
    clutter_m: float | None = None
    clutter_density: float | None = None
    clutter_height_m: float | None = None

    def __post_init__(self) -> None:
        self._check_frequency()
        check_above("h_ut_m", self.h_ut_m, 0.0)
        size_m, density, height_m = self.clutter
        require(0 < size_m < math.inf, "clutter_m", size_m, "above 0 and finite")
        require(0 < density < 1, "clutter_density", density, "above 0 and below 1")
        require(
            self.h_ut_m < height_m < math.inf,
            "clutter_height_m",
            height_m,
            f"above h_ut_m = {self.h_ut_m} and finite",
            "lower h_ut_m",
        )
        h_bs_m = self.heights_m[0]
        if self._high:
            require(
                h_bs_m > height_m, "h_bs_m", h_bs_m, f"above the clutter's {height_m} m", "or hall = 'SL'"
            )
        else:
            require(0 < h_bs_m <= height_m, "h_bs_m", h_bs_m, f"in 0 … {height_m} m", "or hall = 'SH'")

    @property
    def heights_m(self) -> tuple[float, float]:
        if self.h_bs_m is not None:
            return self.h_bs_m, self.h_ut_m
        return (8.0 if self._high else 1.5), self.h_ut_m

    @property
    def clutter(self) -> tuple[float, float, float]:
        """Size [m], density and height [m] of the clutter."""
        usual = (10.0, 0.2, 2.0) if self.hall[0] == "S" else (2.0, 0.6, 6.0)
        given = (self.clutter_m, self.clutter_density, self.clutter_height_m)
        size_m, density, height_m = (u if g is None else g for g, u in zip(given, usual, strict=True))
        return size_m, density, height_m

    def check(self, cell: Cell) -> None:
        self._check_slant(cell, 1.0, 600.0)

    def loss_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        slant = np.log10(self.slant_m(distance_m))
        carrier = math.log10(self.frequency_hz / 1e9)
        seen = 31.84 + 21.5 * slant + 19.0 * carrier
        laws = [_HIDDEN_DB[self.hall]] + ([_HIDDEN_DB["SL"]] if self.hall == "DL" else [])
        hidden = seen
        for intercept_db, slope_db in laws:
            hidden = np.maximum(hidden, intercept_db + slope_db * slant + 20.0 * carrier)
        return np.where(los, seen, hidden)

    def los_probability(self, distance_m: ArrayLike) -> NDArray[np.float64]:
        size_m, density, height_m = self.clutter
        reach_m = -size_m / math.log1p(-density)
        if self._high:
            h_bs_m, h_ut_m = self.heights_m
            reach_m *= (h_bs_m - h_ut_m) / (height_m - h_ut_m)
        return np.asarray(np.exp(-np.asarray(distance_m, np.float64) / reach_m))

    def shadowing_db(self, distance_m: ArrayLike, *, los: ArrayLike) -> NDArray[np.float64]:
        return np.where(np.broadcast_to(los, np.shape(distance_m)), 4.3, _HIDDEN_SHADOWING_DB[self.hall])

    def correlation_m(self, *, los: bool) -> float:
        return 10.0

    def los_correlation_m(self) -> float:
        return self.clutter[0] / 2.0

    @property
    def _high(self) -> bool:
        return self.hall[1] == "H"
