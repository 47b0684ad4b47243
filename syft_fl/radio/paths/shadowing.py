r"""Normal values that belong to places: near places have nearly the same one.

A stationary Gaussian field over the plane with the correlation :math:`e^{-d/d_c}` that measurements of shadowing
suggest (Gudmundson 1991), as a sum of plane waves. It is a function of key and position alone: no grid, no history,
and whoever asks in whatever order gets the same value at the same place.

Left out: the correlation of different base stations' shadowing.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key

__all__ = ["spatial_normal", "spatial_normals"]

_WAVES = 512
"""With 512 waves the fourth moment of a value is 2.994 (normal: 3)."""


def spatial_normal(key: Key, position_m: tuple[float, float], *, correlation_m: float) -> float:
    """The field at one place; see :func:`spatial_normals`."""
    return float(spatial_normals(key, np.array([position_m]), correlation_m=correlation_m)[0])


def spatial_normals(
    key: Key, positions_m: NDArray[np.float64], *, correlation_m: float
) -> NDArray[np.float64]:
    r"""[places] standard normal values at [places, 2] positions [m].

    .. math:: z(x) = \sqrt{2/N} \sum_n \cos(k_n \cdot x + \varphi_n), \quad E[z(x)\,z(y)] = e^{-|x-y|/d_c}

    The correlation's spectrum in the plane is :math:`(1 + |k|^2 d_c^2)^{-3/2}`, so that
    :math:`|k| d_c = \sqrt{(1-u)^{-2} - 1}` with uniform :math:`u`, one from each of N equal strata; directions and
    phases are uniform. The correlation is exact as a mean over keys; the sum of 512 waves is normal for every
    practical purpose.

    Args:
        key: the stream of the field.
        positions_m: [places, 2] positions.
        correlation_m: distance :math:`d_c` over which the correlation falls to 1/e, above 0.

    Source: Cai and Giannakis 2003 (sums of sinusoids for shadowing). Differs from it in: strata in place of fixed
        radii.
    """
    waves, phases = _waves(key)
    angles = np.einsum("pa,na->pn", np.asarray(positions_m, np.float64) / correlation_m, waves) + phases
    return np.asarray(math.sqrt(2.0 / _WAVES) * np.cos(angles).sum(axis=1))


@lru_cache(maxsize=256)
def _waves(key: Key) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[waves, 2] wave vectors for a correlation over 1 m, and [waves] phases; kept, since the key alone decides."""
    strata, directions, phases = key.numpy().random((3, _WAVES))
    # 1 - u, in (0, 1]: the longest wave of the last stratum is the shortest on the ground.
    rest = 1.0 - (np.arange(_WAVES) + strata) / _WAVES
    lengths = np.sqrt(rest**-2.0 - 1.0)
    turns = 2.0 * math.pi * directions
    return lengths[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1), 2.0 * math.pi * phases
