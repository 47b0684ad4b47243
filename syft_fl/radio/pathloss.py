"""How much of the sent power arrives on average: distance and shadowing.

Left out: line of sight, antenna heights, correlation of the shadowing of UEs that are near each other.
Source: 3GPP TR 36.814 (macro cell at 2 GHz: 128.1 + 37.6 log10(d/km) dB, 8 dB log-normal shadowing).
"""

from __future__ import annotations

from syft_fl.keys import Key
from syft_fl.units import db_to_linear

__all__ = ["path_gain", "shadowing_gain"]


def path_gain(distance_m: float, *, intercept_db: float = 128.1, slope_db_per_decade: float = 37.6) -> float:
    r"""Linear power gain over a distance (below 1).

    .. math:: g = 10^{-L_0/10}\,d^{-\alpha/10}, \quad d\ \text{in km}

    which in dB is the loss :math:`L_0 + \alpha \log_{10} d`.

    Args:
        distance_m: distance [m].
        intercept_db: loss at 1 km, :math:`L_0` [dB].
        slope_db_per_decade: loss for ten times the distance, :math:`\alpha` [dB].

    Example:
        >>> from syft_fl.units import linear_to_db
        >>> round(-linear_to_db(path_gain(250.0)), 2)
        105.46
    """
    distance_km = distance_m / 1000.0
    return float(db_to_linear(-intercept_db) * distance_km ** (-slope_db_per_decade / 10.0))


def shadowing_gain(key: Key, *, shadowing_db: float) -> float:
    """Linear power gain of log-normal shadowing; its level is normal with mean 0 dB.

    Args:
        key: the stream of one UE.
        shadowing_db: standard deviation [dB]; 0: none.
    """
    return db_to_linear(shadowing_db * key.normal()) if shadowing_db else 1.0
