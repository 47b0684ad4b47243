"""Fixed-length codes: symbols of 1 to 16 bits, one after the other, without a gap.

A stream of symbols of up to 8 bits is written lowest bit first: symbol ``i`` has bits ``i * bits`` to
``(i + 1) * bits - 1``, bit ``k`` being bit ``k % 8`` of byte ``k // 8``. Wider symbols are written as two
streams, all low bytes and then all the bits above them, so that byte-sized work stays byte-sized.
Either way ``n`` symbols take ``n * bits`` bits, and only the last byte may have unused ones.

Left out: variable-length codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.coders.coder import Symbols
from syft_fl.errors import CodecError

__all__ = ["pack", "symbol_dtype", "unpack"]

_WORD = np.dtype("<u8")


def symbol_dtype(bits: int) -> type[np.uint8] | type[np.uint16]:
    """The narrowest type that holds symbols of so many bits."""
    return np.uint8 if bits <= 8 else np.uint16


def pack(symbols: Symbols, bits: int) -> bytes:
    """Write symbols in ``bits`` bits each.

    Args:
        symbols: [n] unsigned, each below ``2**bits``. Not changed.
        bits: 1 … 16.

    Returns:
        ``ceil(n * bits / 8)`` bytes; unused bits of the last one are 0.

    Raises:
        CodecError: a symbol does not fit in ``bits`` bits.

    Example:
        >>> pack(np.array([1, 0, 3, 2, 1], np.uint8), 2).hex()
        'b101'
    """
    if symbols.size and int(symbols.max()) >> bits:
        raise CodecError(f"symbol {int(symbols.max())} does not fit in {bits} bits; use more bits per symbol")
    if bits <= 8:
        return _pack_stream(symbols, bits)
    return _pack_stream(symbols.astype(np.uint8), 8) + _pack_stream(symbols >> np.uint8(8), bits - 8)


def unpack(body: bytes | memoryview, bits: int, *, count: int) -> Symbols:
    """Read ``count`` symbols that :func:`pack` wrote.

    Returns:
        [count] uint8 for up to 8 bits, else uint16; each below ``2**bits``.

    Raises:
        CodecError: the body has not exactly ``ceil(count * bits / 8)`` bytes.
    """
    expected = -(-count * bits // 8)
    if len(body) != expected:
        raise CodecError(f"{len(body)} bytes can't be {count} symbols of {bits} bits, which take {expected}")
    if bits <= 8:
        return _unpack_stream(body, bits, count)
    low = _unpack_stream(body[:count], 8, count)
    high = _unpack_stream(body[count:], bits - 8, count).astype(np.uint16)
    return low | high << np.uint16(8)


def _pack_stream(symbols: Symbols, bits: int) -> bytes:
    if bits == 8:
        return symbols.astype(np.uint8, copy=False).tobytes()
    words = np.zeros(-(-symbols.size // 8), _WORD)
    words.view(np.uint8)[: symbols.size] = symbols
    for width in (8, 16, 32):
        words = _move_odd_fields(words, width, bits, apart=False)
    return _low_bytes(words, bits).tobytes()[: -(-symbols.size * bits // 8)]


def _unpack_stream(body: bytes | memoryview, bits: int, count: int) -> Symbols:
    packed = np.frombuffer(body, np.uint8)
    if bits == 8:
        return packed
    eights = -(-count // 8)
    padded = np.zeros(eights * bits, np.uint8)
    padded[: packed.size] = packed
    words = _words_of(padded, bits)
    for width in (32, 16, 8):
        words = _move_odd_fields(words, width, bits, apart=True)
    return words.view(np.uint8)[:count]


def _low_bytes(words: NDArray[Any], count: int) -> NDArray[Any]:
    """The lowest ``count`` bytes of each word: eight symbols, once they are side by side."""
    if count in (1, 2, 4):
        return words.astype(f"<u{count}")  # numpy narrows several times faster than it gathers bytes
    return words.view(np.uint8).reshape(-1, 8)[:, :count]


def _words_of(low_bytes: NDArray[np.uint8], count: int) -> NDArray[Any]:
    """Words from the lowest ``count`` bytes of each."""
    if count in (1, 2, 4):
        return low_bytes.view(f"<u{count}").astype(_WORD)
    words = np.zeros(low_bytes.size // count, _WORD)
    words.view(np.uint8).reshape(-1, 8)[:, :count] = low_bytes.reshape(-1, count)
    return words


def _move_odd_fields(words: NDArray[Any], width: int, bits: int, *, apart: bool) -> NDArray[Any]:
    """One step between symbols in a byte each and symbols side by side.

    A field of ``width`` bits has ``width // 8`` symbols in its lowest bits. Fields come in pairs; the upper
    one of each pair moves down to the end of the lower one's symbols, or ``apart`` again.
    """
    used = bits * width // 8
    gap = np.uint64(width - used)
    lower = np.uint64(sum(((1 << used) - 1) << start for start in range(0, 64, 2 * width)))
    even = words & lower
    odd = words ^ even
    moved: NDArray[Any] = even | (odd << gap if apart else odd >> gap)
    return moved
