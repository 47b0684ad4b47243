r"""A histogram in few bits: what a receiver must know of the symbols, no finer than is worth its bits.

A count :math:`c` is known from :math:`c` samples to about one part in :math:`\sqrt c`, so a floating number with half
of the bits below its leading one serves as well: it costs the symbols a tenth of a bit (at most 0.2) and saves the
histogram :math:`\frac12\log_2 c`. (Rissanen 1983, "A universal prior for integers and estimation by minimum description
length": :math:`\frac12\log_2 n` bits a parameter.)

In the stream: how many symbols occur, less one; which, as gamma words of the gaps between them, unless all do;
exponents of the counts, as gamma words of their zigzag differences, since neighbours occur about as often; bits below
the leading one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.coders.bits import Taker, joined
from syft_fl.codecs.coders.elias import gamma_bits, read_gamma
from syft_fl.errors import CodecError

__all__ = ["read_histogram", "write_histogram"]

_EXPONENTS = 31  # counts below 2**32


def write_histogram(counts: NDArray[np.int64]) -> bytes:
    """Write how often symbols occur.

    Args:
        counts: [size] of the symbols 0 … size - 1, below 2**32; one at least is above 0.
    """
    return bytes(joined(_parts(counts)).body)


def _parts(counts: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    used = np.flatnonzero(counts)
    yield _binary(used.size - 1, counts.size)
    if used.size < counts.size:
        yield from gamma_bits(np.diff(used, prepend=-1).astype(np.uint32))
    exponents = np.frexp(counts[used].astype(np.float64))[1] - 1
    steps = np.diff(exponents, prepend=0)
    yield from gamma_bits((2 * abs(steps) + (steps <= 0)).astype(np.uint32))
    below = counts[used] - (1 << exponents)
    kept = _kept(exponents)
    for place in range(1, int(kept.max()) + 1):
        here = kept >= place
        yield below[here] >> (exponents[here] - place) & 1


def read_histogram(body: memoryview, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Read what :func:`write_histogram` wrote.

    Args:
        body: any bytes at all; those after the histogram are left.
        size: of the alphabet.

    Returns:
        [used] symbols that occur, rising; [used] weights, above 0; how many bytes they took.

    Raises:
        CodecError: the bytes are no histogram of such an alphabet.
    """
    # No histogram is longer: two words and 16 bits for each symbol.
    body = body[: size * (2 * 17 + 13 + 16) // 8 + 4]
    taker = Taker(body, 8 * len(body))
    places = taker.take((size - 1).bit_length())
    count = 1 + int(places @ (1 << np.arange(places.size)))
    if count > size:
        raise CodecError(f"{count} symbols in a histogram of an alphabet of {size}; the bytes are damaged")
    gaps = read_gamma(taker, count, top=size) if count < size else np.ones(size, np.uint32)
    used = np.cumsum(gaps, dtype=np.int64) - 1
    if used[-1] >= size:
        raise CodecError(
            f"symbol {int(used[-1])} in a histogram of an alphabet of {size}; the bytes are damaged"
        )
    steps = read_gamma(taker, count, top=2 * _EXPONENTS + 1).astype(np.int64)
    exponents = np.cumsum(np.where(steps % 2, -(steps // 2), steps // 2))
    if exponents.min() < 0 or exponents.max() > _EXPONENTS:
        raise CodecError("a count in the histogram is below 1 or above 2**32; the bytes are damaged")
    kept = _kept(exponents)
    weights = np.ones(count, np.int64)
    for place in range(1, int(kept.max()) + 1):
        here = kept >= place
        weights[here] = weights[here] << 1 | taker.take(int(np.count_nonzero(here)))
    # Twice the middle of the counts that are written alike.
    left = exponents - kept
    return used, 2 * (weights << left) + (1 << left) - 1, -(-taker.at // 8)


def _binary(number: int, size: int) -> NDArray[Any]:
    """The bits of a number below ``size``."""
    return number >> np.arange((size - 1).bit_length()) & 1


def _kept(exponents: NDArray[Any]) -> NDArray[Any]:
    """Bits below the leading one that are written."""
    return (exponents + 1) // 2
