"""What a coder is: symbols -> bits -> symbols, without loss.

A quantiser turns entries into symbols; a coder writes symbols as bits. Any quantiser goes with any coder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import Payload
from syft_fl.schema import Registry

__all__ = ["CODERS", "Alphabet", "Coder", "Symbols"]

Symbols = NDArray[np.unsignedinteger[Any]]
"""[symbols] uint8, uint16 or uint32."""

CODERS = Registry("coder", "write", "read")
"""Coders by kind; ``CODERS(MyCoder)`` adds one."""


@dataclass(frozen=True, slots=True, eq=False)
class Alphabet:
    """What both ends know of the symbols before any is sent.

    Attributes:
        size: symbols are 0 … ``size - 1``.
        centre: the symbol that small numbers lie around; codes for whole numbers give it the shortest word.
        prior: [size] probabilities that the quantiser knows by theory, above 0; None: it knows none.
    """

    size: int
    centre: int = 0
    prior: NDArray[np.float64] | None = None


@runtime_checkable
class Coder(Protocol):
    """One way of writing symbols. Implementations are frozen dataclasses with a ``kind``."""

    kind: ClassVar[str]

    def write(self, symbols: Symbols, alphabet: Alphabet) -> Payload:
        """Write symbols.

        Args:
            symbols: [n] each below ``alphabet.size``. Not changed.
            alphabet: what both ends know.
        """
        ...

    def read(self, body: memoryview, bits: int, alphabet: Alphabet, *, count: int) -> Symbols:
        """Read symbols from bytes that came over the air.

        Args:
            body, bits: what :meth:`write` made, or any bytes at all. Time and memory are bounded by their length
                and ``count``.
            count: symbols to read.

        Returns:
            [count] each below ``alphabet.size``.

        Raises:
            CodecError: the bytes are not ``count`` symbols of this alphabet.
        """
        ...
