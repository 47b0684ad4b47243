"""Stochastic rounding: up or down at random, so that the mean is the number itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key

__all__ = ["Dither"]

_FRACTION_BITS = 16


class Dither:
    r"""A stream of random numbers for rounding, 16 bits for each number rounded.

    A number becomes fixed point with 16 fractional bits, 16 random bits are added, and the fraction is cut off.
    A fraction :math:`f` thus rounds up with a probability of the multiple of :math:`2^{-16}` next to :math:`f`: the
    mean is off by at most :math:`2^{-17}` of a step, 1/65536 of the standard deviation of a number halfway
    between two steps, and with no preferred sign. Whole numbers stay what they are.

    Args:
        key: names the stream. The decoder needs none of it.
    """

    def __init__(self, key: Key) -> None:
        self._words = key.numpy().bit_generator

    def round(self, numbers: NDArray[Any], dtype: type[np.int32] | type[np.uint32]) -> NDArray[Any]:
        """Round to a whole number above or below, and return those.

        Args:
            numbers: any shape, float; overwritten. Magnitudes up to 32767 for int32; 0 … 65535 for uint32.
            dtype: of the result.
        """
        numbers *= 2.0**_FRACTION_BITS
        fixed: NDArray[Any] = np.rint(numbers, out=numbers).astype(dtype)
        draws = self._words.random_raw(-(-fixed.size // 4)).view(np.uint16)
        fixed += draws[: fixed.size].reshape(fixed.shape)
        fixed >>= _FRACTION_BITS
        return fixed
