"""Streams of single bits, the lowest bit of each byte first: joined where they are written, taken where they are read.

An array of bits is bool, one byte each in memory; a payload has eight in a byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import Payload
from syft_fl.errors import CodecError

__all__ = ["Bits", "Taker", "bits_of", "checked", "joined"]

Bits = NDArray[np.bool_]
"""[bits]"""


def joined(parts: Iterable[NDArray[Any]]) -> Payload:
    """Arrays of bits (0 and 1 of any type), one after the other; the last byte's unused bits are 0."""
    bits = np.concatenate([np.empty(0, np.bool_), *(part.astype(np.bool_, copy=False) for part in parts)])
    return Payload(np.packbits(bits, bitorder="little").tobytes(), bits.size)


def bits_of(body: bytes | memoryview, count: int) -> Bits:
    """[count] the first bits of a body, which has at least as many."""
    packed = np.frombuffer(body, np.uint8)
    return np.unpackbits(packed, count=count, bitorder="little").view(np.bool_)


def checked(body: memoryview, bits: int) -> None:
    """Check that a body has just the bytes that so many bits need.

    Raises:
        CodecError: it has more or fewer.
    """
    if bits < 0 or -(-bits // 8) != len(body):
        raise CodecError(
            f"{len(body)} bytes can't be {bits} bits of symbols; "
            "both ends must have the same codec settings and the same architecture"
        )


class Taker:
    """Reads a body from its first bit to its last.

    Args:
        body, bits: any bytes at all.

    Raises:
        CodecError: they do not go together.
    """

    def __init__(self, body: memoryview, bits: int) -> None:
        checked(body, bits)
        self._bits = bits_of(body, bits)
        self.at = 0

    def take(self, count: int) -> Bits:
        """[count] the next bits; a view.

        Raises:
            CodecError: there are not so many.
        """
        if self.at + count > self._bits.size:
            raise CodecError(
                f"{self._bits.size} bits end within a word; the bytes are damaged, or of another architecture"
            )
        self.at += count
        return self._bits[self.at - count : self.at]

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            CodecError: there is.
        """
        if self.at != self._bits.size:
            raise CodecError(
                f"{self._bits.size - self.at} of {self._bits.size} bits are left when all symbols are read; "
                "the bytes are damaged, or of another architecture"
            )
