"""Several symbols of a small alphabet as one symbol of a larger one: digits of a number.

A coder's cost for each symbol that it handles, in time and in rounding, is then shared by several.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.coders.coder import Symbols
from syft_fl.codecs.coders.packing import symbol_dtype

__all__ = ["digits", "grouped", "joint_weights", "symbols_in_one"]


def symbols_in_one(size: int, *, limit: int) -> int:
    """How many symbols of an alphabet of ``size`` >= 2 make one of at most ``limit``; at least 1."""
    group = 1
    while size ** (group + 1) <= limit:
        group += 1
    return group


def grouped(symbols: Symbols, size: int, group: int) -> NDArray[np.int32]:
    """[n / group] numbers whose digits to the base ``size`` are the symbols, the first one lowest.

    Args:
        symbols: [n] ``n`` a multiple of ``group``.
    """
    rows = symbols.reshape(-1, group)
    numbers = rows[:, -1].astype(np.int32)
    for column in rows.T[-2::-1]:
        numbers *= size
        numbers += column
    return numbers


@functools.lru_cache(maxsize=64)
def digits(size: int, group: int) -> Symbols:
    """[size**group, group] the digits of each number that :func:`grouped` makes."""
    numbers = np.arange(size**group)[:, None]
    table: Symbols = (numbers // size ** np.arange(group) % size).astype(
        symbol_dtype((size - 1).bit_length())
    )
    table.flags.writeable = False
    return table


def joint_weights(weights: NDArray[Any], group: int) -> NDArray[np.float64]:
    """[size**group] weights of such numbers, where symbols of [size] ``weights`` are independent."""
    joint = weights.astype(np.float64)
    for _ in range(group - 1):
        joint = np.multiply.outer(weights, joint).reshape(-1)
    return joint
