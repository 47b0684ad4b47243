"""Zstandard over bytes of symbols: what a general compressor makes of them, as a baseline."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import zstandard

from syft_fl.codecs.codec import Payload
from syft_fl.codecs.coders.bits import checked
from syft_fl.codecs.coders.coder import CODERS, Alphabet, Symbols, refuse_foreign
from syft_fl.codecs.coders.packing import pack, symbol_dtype, unpack
from syft_fl.codecs.coders.radix import digits, grouped, symbols_in_one
from syft_fl.errors import CodecError
from syft_fl.schema import require, schema

__all__ = ["Zstd"]

_LARGEST_WINDOW = 2**23  # what level 19 uses; a decoder allocates no more, whatever a frame asks for


@CODERS
@schema
class Zstd:
    """Bytes of several symbols each, through zstandard.

    As many symbols as fit make a byte (:mod:`syft_fl.codecs.coders.radix`): on Gaussian entries a byte for each of
    them costs a seventh to a half more. Symbols of more than a byte are written in
    :mod:`fixed words <syft_fl.codecs.coders.packing>` first. What both ends know anyway (magic number, length, check
    sum) is not in the frame.

    Attributes:
        level: 1 … 19, quick … small.

    Source: Collet, Kucherawy 2021, "Zstandard Compression and the 'application/zstd' Media Type", RFC 8878.
    """

    kind: ClassVar[str] = "zstd"

    level: int = 3

    def __post_init__(self) -> None:
        require(1 <= self.level <= 19, "level", self.level, "in 1 … 19", "levels beyond need 128 MiB to read")

    def write(self, symbols: Symbols, alphabet: Alphabet) -> Payload:
        refuse_foreign(symbols, alphabet)
        if not symbols.size or alphabet.size == 1:
            return Payload(b"", 0)
        settings = zstandard.ZstdCompressionParameters.from_level(
            self.level,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=False,
            write_checksum=False,
        )
        body = zstandard.ZstdCompressor(compression_params=settings).compress(_bytes_of(symbols, alphabet))
        return Payload(body, 8 * len(body))

    def read(self, body: memoryview, bits: int, alphabet: Alphabet, *, count: int) -> Symbols:
        checked(body, bits)
        if not count or alphabet.size == 1:
            checked(body, 0)
            return np.zeros(count, symbol_dtype(alphabet.bits))
        size = _byte_count(count, alphabet)
        decompressor = zstandard.ZstdDecompressor(
            format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=_LARGEST_WINDOW
        )
        try:
            # A stream's reader never makes more than it is asked for, whatever length the frame declares.
            found = decompressor.stream_reader(body).read(size + 1)
        except zstandard.ZstdError as error:
            raise CodecError(f"{bits} bits are no zstandard frame ({error}); the bytes are damaged") from None
        if len(found) != size:
            raise CodecError(
                f"{bits} bits of zstandard are not {size} bytes, as {count} symbols take; "
                "the bytes are damaged, or of another architecture"
            )
        return _symbols_of(found, alphabet, count=count)


def _bytes_of(symbols: Symbols, alphabet: Alphabet) -> bytes:
    if alphabet.bits > 8:
        return pack(symbols, alphabet.bits)
    group = symbols_in_one(alphabet.size, limit=256)
    padded = np.concatenate([symbols, np.zeros(-symbols.size % group, symbols.dtype)])
    return grouped(padded, alphabet.size, group).astype(np.uint8).tobytes()


def _byte_count(count: int, alphabet: Alphabet) -> int:
    if alphabet.bits > 8:
        return -(-count * alphabet.bits // 8)
    return -(-count // symbols_in_one(alphabet.size, limit=256))


def _symbols_of(found: bytes, alphabet: Alphabet, *, count: int) -> Symbols:
    if alphabet.bits > 8:
        symbols = unpack(found, alphabet.bits, count=count)
    else:
        group = symbols_in_one(alphabet.size, limit=256)
        numbers = np.frombuffer(found, np.uint8)
        if int(numbers.max()) >= alphabet.size**group:
            raise CodecError(
                f"byte {int(numbers.max())} is no {group} symbols below {alphabet.size}; the bytes are damaged"
            )
        symbols = digits(alphabet.size, group).take(numbers, axis=0).reshape(-1)[:count]
    refuse_foreign(symbols, alphabet)
    return symbols
