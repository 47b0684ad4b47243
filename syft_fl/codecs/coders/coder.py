"""What a coder is: symbols -> bits -> symbols, without loss.

A quantiser turns entries into symbols; a coder writes symbols as bits. Any quantiser goes with any coder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import Gaps, Payload
from syft_fl.errors import CodecError
from syft_fl.schema import Registry, require

__all__ = ["CODERS", "Alphabet", "Coder", "Located", "Symbols", "refuse_foreign"]

Symbols = NDArray[np.unsignedinteger[Any]]
"""[symbols] uint8, uint16 or uint32."""

CODERS = Registry("coder", "write", "read")
"""Coders by kind; ``CODERS(MyCoder)`` adds one."""


@dataclass(frozen=True, slots=True, eq=False)
class Alphabet:
    """What both ends know of the symbols before any is sent.

    Attributes:
        size: symbols are 0 … ``size - 1``; 1 … 65536.
        centre: the symbol that small numbers lie around; codes for whole numbers give it the shortest word.
        prior: [size] probabilities that the quantiser knows by theory, above 0; None: it knows none.
    """

    size: int
    centre: int = 0
    prior: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        require(1 <= self.size <= 65536, "size", self.size, "in 1 … 65536", "quantise more coarsely")
        require(0 <= self.centre < self.size, "centre", self.centre, f"in 0 … {self.size - 1}", "a symbol")
        if self.prior is not None:
            shape = self.prior.shape
            require(
                shape == (self.size,), "prior.shape", shape, f"({self.size},)", "a number for each symbol"
            )

    @property
    def bits(self) -> int:
        """Bits of the highest symbol; 0 where there is but one."""
        return (self.size - 1).bit_length()


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


@runtime_checkable
class Located(Protocol):
    """A coder of whose bits each belongs to a symbol that both ends know beforehand.

    Where some bits are cleared, it still reads symbols of the alphabet.
    """

    def touched(self, gaps: Gaps, alphabet: Alphabet, *, count: int) -> NDArray[np.bool_]:
        """[count] which symbols have a bit in a gap of what :meth:`Coder.write` made."""
        ...


def refuse_foreign(symbols: Symbols, alphabet: Alphabet) -> None:
    """Check symbols that are to be written, or that came out of a payload.

    Raises:
        CodecError: one is not of the alphabet.
    """
    if symbols.size and int(symbols.max()) >= alphabet.size:
        raise CodecError(
            f"symbol {int(symbols.max())} of an alphabet of {alphabet.size} is above {alphabet.size - 1}; "
            "the bytes are damaged, or a quantiser has more levels than it says"
        )
