"""Words of one length: what needs no thought, and no model of the symbols."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import Gaps, Payload
from syft_fl.codecs.coders.coder import CODERS, Alphabet, Symbols, refuse_foreign
from syft_fl.codecs.coders.packing import pack, touched_symbols, unpack
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
        refuse_foreign(symbols, alphabet)
        width = alphabet.bits
        return Payload(pack(symbols, width) if width else b"", width * symbols.size)

    def read(self, body: memoryview, bits: int, alphabet: Alphabet, *, count: int) -> Symbols:
        width = alphabet.bits
        if bits != width * count:
            raise CodecError(
                f"{bits} bits can't be {count} symbols of {width} bits, which take {width * count}; "
                "both ends must have the same codec settings and the same architecture"
            )
        symbols = unpack(body, width, count=count) if width else np.zeros(count, np.uint8)
        if alphabet.size < 1 << width:
            refuse_foreign(symbols, alphabet)
        return symbols

    def touched(self, gaps: Gaps, alphabet: Alphabet, *, count: int) -> NDArray[np.bool_]:
        return touched_symbols(gaps, alphabet.bits, count=count)
