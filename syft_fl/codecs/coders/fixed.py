"""Words of one length: what needs no thought, and no model of the symbols."""

from __future__ import annotations

from typing import ClassVar

from syft_fl.codecs.codec import Payload
from syft_fl.codecs.coders.coder import CODERS, Alphabet, Symbols
from syft_fl.codecs.coders.packing import pack, unpack
from syft_fl.errors import CodecError
from syft_fl.schema import schema

__all__ = ["Fixed"]


@CODERS
@schema
class Fixed:
    r"""Every symbol in :math:`\lceil\log_2 A\rceil` bits, :math:`A` the size of the alphabet (at most 65536).

    An alphabet of one symbol takes no bits. A power of two wastes nothing; one symbol more wastes almost a bit.
    """

    kind: ClassVar[str] = "fixed"

    def write(self, symbols: Symbols, alphabet: Alphabet) -> Payload:
        bits = _width(alphabet)
        return Payload(pack(symbols, bits) if bits else b"", bits * symbols.size)

    def read(self, body: memoryview, bits: int, alphabet: Alphabet, *, count: int) -> Symbols:
        width = _width(alphabet)
        if bits != width * count:
            raise CodecError(
                f"{bits} bits can't be {count} symbols of {width} bits, which take {width * count}; "
                "both ends must have the same codec settings and the same architecture"
            )
        symbols = unpack(body, width, count=count)
        if alphabet.size < 1 << width and symbols.size and int(symbols.max()) >= alphabet.size:
            raise CodecError(
                f"symbol {int(symbols.max())} in the payload is above {alphabet.size - 1}, the highest of its "
                "alphabet; the bytes are damaged"
            )
        return symbols


def _width(alphabet: Alphabet) -> int:
    return (alphabet.size - 1).bit_length()
