"""Stochastic rounding: up or down at random, so that the mean is the number itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from syft_fl.codecs.backends import Backend, Rows
from syft_fl.codecs.groups import Span
from syft_fl.keys import Key

__all__ = ["Dither", "random_words"]

_FRACTION_BITS = 16
_EXACT = 1 << 24 - _FRACTION_BITS


class Dither:
    r"""Random numbers for rounding, 16 bits for each entry, in their order.

    A number becomes fixed point with 16 fractional bits, 16 random bits are added, and the fraction is cut off.
    A fraction :math:`f` thus rounds up with a probability of the multiple of :math:`2^{-16}` next to :math:`f`: the
    mean is off by at most :math:`2^{-17}` of a step, 1/65536 of the standard deviation of a number halfway
    between two steps, and with no preferred sign. Whole numbers stay what they are.

    Args:
        keys: of [vectors], each names the stream of one. The decoder needs none of it.
        entries: of each vector.
        backend: what computes with these. The draws are the host's.
    """

    ONE: ClassVar[int] = 1 << _FRACTION_BITS

    def __init__(self, keys: Sequence[Key], entries: int, backend: Backend) -> None:
        self._backend = backend
        self._draws = backend.words(random_words(keys, entries))

    def round(self, numbers: Rows, piece: Span, *, top: int, out: Rows, plus: int = 0) -> None:
        """Round to a whole number above or below, and write it down.

        Args:
            numbers: [vectors, groups, width] those of a piece, float, in units of 1 / ``Dither.ONE``; overwritten.
            piece: where they are.
            top: largest magnitude of a whole number, up to 65535; above 32767, none may be negative.
            out: [vectors, entries] gets them, as unsigned numbers.
            plus: is added to each; no sum is negative.
        """
        self._backend.rint(numbers)
        draws, to = piece.rows(self._draws), piece.rows(out)
        if top + plus < _EXACT:
            # float32 has all multiples of 2**-16 below 256, and to cut a fraction off is how it becomes a whole number.
            numbers += draws
            numbers *= 1 / self.ONE
            numbers += plus
            to[...] = numbers
            return
        fixed = self._backend.integers(numbers, most=(top + 1) * self.ONE - 1)
        fixed += draws
        fixed >>= _FRACTION_BITS
        fixed += plus
        to[...] = fixed


def random_words(keys: Sequence[Key], entries: int) -> NDArray[np.uint16]:
    """[vectors, entries] uniform random numbers of 16 bits, each vector's from its own key."""
    words = -(-entries // 4)
    drawn = np.empty((len(keys), words), np.uint64)
    for row, key in zip(drawn, keys, strict=True):
        seed: Any = _Digest(key)  # numpy's stubs know fewer kinds of seeds than it takes
        row[...] = np.random.SFC64(seed).random_raw(words)
    return drawn.view(np.uint16)[:, :entries]


class _Digest(ISeedSequence):
    """A key's hash as a generator's first state: as good as numpy's own mixing, and in a tenth of the time."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        size = n_words * np.dtype(dtype).itemsize
        return np.frombuffer(self._key.digest(size), np.dtype(dtype).newbyteorder("<")).astype(dtype)
