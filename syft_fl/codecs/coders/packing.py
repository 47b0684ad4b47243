"""Fixed-length codes: symbols of 1 to 32 bits, one after the other, without a gap.

A stream of symbols of up to 8 bits is written lowest bit first: symbol ``i`` has bits ``i * bits`` to
``(i + 1) * bits - 1``, bit ``k`` being bit ``k % 8`` of byte ``k // 8``. Wider symbols are written as several
streams, all low bytes and then all the bits above them, so that byte-sized work stays byte-sized.
Either way ``n`` symbols take ``n * bits`` bits, and only the last byte may have unused ones.

Left out: variable-length codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import Gaps
from syft_fl.codecs.coders.coder import Symbols
from syft_fl.codecs.erasure import cut, touched
from syft_fl.errors import CodecError

__all__ = ["pack", "pack_rows", "symbol_dtype", "touched_symbols", "unpack", "unpack_rows"]

_WORD, _PAIR = np.dtype("<u8"), np.dtype("<u2")


def symbol_dtype(bits: int) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
    """The narrowest type that holds symbols of so many bits (at most 32)."""
    if bits <= 8:
        return np.uint8
    return np.uint16 if bits <= 16 else np.uint32


def pack(symbols: Symbols, bits: int) -> bytes:
    """Write symbols in ``bits`` bits each.

    Args:
        symbols: [n] unsigned, each below ``2**bits``. Not changed.
        bits: 1 … 32.

    Returns:
        ``ceil(n * bits / 8)`` bytes; unused bits of the last one are 0.

    Raises:
        CodecError: a symbol does not fit in ``bits`` bits.

    Example:
        >>> pack(np.array([1, 0, 3, 2, 1], np.uint8), 2).hex()
        'b101'
    """
    return pack_rows(symbols[None], bits).tobytes()


def pack_rows(symbols: Symbols, bits: int) -> NDArray[np.uint8]:
    """[rows, ceil(n * bits / 8)] as :func:`pack`, for each row of [rows, n] symbols."""
    if symbols.size and int(symbols.max()) >> bits:
        raise CodecError(f"symbol {int(symbols.max())} does not fit in {bits} bits; use more bits per symbol")
    if bits <= 8:
        return _pack_streams(symbols, bits)
    low, high = symbols.astype(np.uint8), pack_rows(symbols >> np.uint8(8), bits - 8)
    return np.concatenate([low, high], axis=1)


def unpack(body: bytes | memoryview, bits: int, *, count: int) -> Symbols:
    """Read ``count`` symbols that :func:`pack` wrote.

    Returns:
        [count] uint8 for up to 8 bits, uint16 for up to 16, else uint32; each below ``2**bits``.

    Raises:
        CodecError: the body has not exactly ``ceil(count * bits / 8)`` bytes.
    """
    expected = -(-count * bits // 8)
    if len(body) != expected:
        raise CodecError(f"{len(body)} bytes can't be {count} symbols of {bits} bits, which take {expected}")
    symbols: Symbols = unpack_rows(np.frombuffer(body, np.uint8)[None], bits, count=count)[0]
    return symbols


def unpack_rows(packed: NDArray[np.uint8], bits: int, *, count: int) -> Symbols:
    """[rows, count] as :func:`unpack`, for each row of bytes."""
    if bits <= 8:
        return _unpack_streams(packed, bits, count)
    high: NDArray[Any] = unpack_rows(packed[:, count:], bits - 8, count=count).astype(symbol_dtype(bits))
    return packed[:, :count] | high << np.uint8(8)


def touched_symbols(gaps: Gaps, bits: int, *, count: int) -> NDArray[np.bool_]:
    """[count] which symbols of ``bits`` bits have one in a gap of what :func:`pack` wrote."""
    if bits <= 8:
        return touched(gaps, width=bits, count=count)
    found = touched_symbols(cut(gaps, 0, 8 * count), 8, count=count)
    found |= touched_symbols(cut(gaps, 8 * count, bits * count), bits - 8, count=count)
    return found


def _pack_streams(symbols: Symbols, bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return symbols.astype(np.uint8, copy=False)
    rows, count = symbols.shape
    size = -(-count * bits // 8)
    fields = np.zeros((rows, -(-count // 8) * 8), np.uint8)
    fields[:, :count] = symbols
    if bits in (1, 2, 4):
        for width in _doubled(bits):
            pairs = fields.view(_PAIR)
            pairs |= pairs >> np.uint16(8 - width)
            fields = pairs.astype(np.uint8)  # what is above the low byte is the upper one of a pair again
        return fields[:, :size]
    words = fields.reshape(-1).view(_WORD)
    for width in (8, 16, 32):
        words = _move_odd_fields(words, width, bits, apart=False)
    return _low_bytes(words, bits).reshape(rows, fields.shape[1] // 8 * bits)[:, :size]


def _unpack_streams(packed: NDArray[np.uint8], bits: int, count: int) -> Symbols:
    if bits == 8:
        return packed
    if bits in (1, 2, 4):
        for width in reversed(_doubled(bits)):
            pairs = packed.astype(_PAIR)
            pairs |= pairs << np.uint16(8 - width)
            pairs &= np.uint16(((1 << width) - 1) * 0x101)
            packed = pairs.view(np.uint8)
        return packed[:, :count]
    rows, eights = len(packed), -(-count // 8)
    padded = np.zeros((rows, eights * bits), np.uint8)
    padded[:, : packed.shape[1]] = packed
    words = _words_of(padded.reshape(-1), bits, rows * eights)
    for width in (32, 16, 8):
        words = _move_odd_fields(words, width, bits, apart=True)
    return words.view(np.uint8).reshape(rows, eights * 8)[:, :count]


def _doubled(bits: int) -> list[int]:
    """Widths of the fields that are joined in pairs until they fill a byte."""
    return [width for width in (1, 2, 4) if width >= bits]


def _low_bytes(words: NDArray[Any], count: int) -> NDArray[np.uint8]:
    """The lowest ``count`` bytes (3 … 7) of each word, one after the other; what is above them must be 0."""
    written = np.zeros(words.size * count + _WORD.itemsize, np.uint8)
    phases = -(-_WORD.itemsize // count)  # so many places apart, whole words don't overlap
    for phase in range(min(phases, words.size)):
        part = words[phase::phases]
        places = _every(written, phase * count, phases * count, part.size)
        places |= part
    return written[: words.size * count]


def _words_of(packed: NDArray[np.uint8], count: int, words: int) -> NDArray[Any]:
    """[words] from the lowest ``count`` bytes of each; missing bytes are 0."""
    padded = np.zeros(words * count + _WORD.itemsize, np.uint8)
    padded[: packed.size] = packed
    return _every(padded, 0, count, words) & np.uint64((1 << 8 * count) - 1)


def _every(body: NDArray[np.uint8], start: int, step: int, words: int) -> NDArray[Any]:
    """[words] the words that begin at every ``step``-th byte; a view."""
    return np.ndarray((words,), _WORD, body.data, start, (step,))


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
    if apart:
        odd <<= gap
    else:
        odd >>= gap
    even |= odd
    return even
