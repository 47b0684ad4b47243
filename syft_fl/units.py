"""Decibels, watts and thermal noise: the only module where ``10 * log10`` stands.

dB and dBm appear at the edges (configs, figures); everything between is linear and in SI units.
"""

from __future__ import annotations

import math

__all__ = [
    "SPEED_OF_LIGHT_M_PER_S",
    "db_to_linear",
    "dbm_to_watt",
    "linear_to_db",
    "noise_power_w",
    "watt_to_dbm",
]

SPEED_OF_LIGHT_M_PER_S = 299_792_458.0


def db_to_linear(value_db: float) -> float:
    """Power ratio of a level in dB.

    Example:
        >>> db_to_linear(20.0)
        100.0
    """
    return float(10.0 ** (value_db / 10.0))


def linear_to_db(ratio: float) -> float:
    """Level in dB of a power ratio; minus infinity for 0.

    Raises:
        ValueError: the ratio is negative.
    """
    if ratio == 0:
        return -math.inf
    return 10.0 * math.log10(ratio)


def dbm_to_watt(power_dbm: float) -> float:
    """Power [W] of a level in dBm.

    Example:
        >>> dbm_to_watt(10.0)
        0.01
    """
    return db_to_linear(power_dbm) / 1000.0


def watt_to_dbm(power_w: float) -> float:
    """Level [dBm] of a power in watts; minus infinity for 0."""
    return linear_to_db(power_w * 1000.0)


def noise_power_w(
    bandwidth_hz: float, *, noise_dbm_per_hz: float = -174.0, noise_figure_db: float = 0.0
) -> float:
    """Thermal noise power [W] in a band.

    Args:
        bandwidth_hz: width of the band [Hz].
        noise_dbm_per_hz: spectral density; -174 dBm/Hz is kT at 290 K.
        noise_figure_db: what the receiver adds.

    Example:
        >>> round(watt_to_dbm(noise_power_w(180e3)), 2)
        -121.45
    """
    return dbm_to_watt(noise_dbm_per_hz + noise_figure_db) * bandwidth_hz
