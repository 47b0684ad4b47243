r"""Sets of indices, for codecs that send few entries: k of d, in rising order.

What is written is the gap before each index, the number of indices left out. Of two ways the shorter is taken, and
named in the first byte:

- words: Golomb–Rice (Golomb 1966, "Run-length encodings"; Rice 1979): a gap's low :math:`r` bits as they are, the rest
  in unary, with the best :math:`r` for this set, which is said;
- coded: the length and the two leading bits of each gap's binary number (of the gap plus one) as a symbol for
  :class:`~syft_fl.codecs.coders.entropy.ANS`, whose model is sent; the bits below as they are.

Other codes in use are words with a certain :math:`r`, or not shorter: at :math:`r = 0` the words are the bitmap, up to
its last 1; at :math:`r = \lceil\log_2 d\rceil - 1` they take as many bits as the indices themselves, and one more at
most; Elias and Fano's code (Elias 1974; Fano 1971) does to the indices what words does to gaps, whose high bits add up
to no more.

A range-coded bitmap would come nearer to the entropy (within 0.1 % at any density, against 0.3 … 0.6 %), but takes ten
times as long to write.

A set drawn at random has an entropy of :math:`d\,H_2(k/d)` bits: 8.080 an index where one in 100 is in it, 4.690 at
one in 10. Words take 8.11 and 4.76, coded gaps 8.11 and 4.71. Where the set has clusters, as those of a network with
layers of different spread have, coded gaps take a tenth less or better.

Both ends know how many indices there are; none, and all, take no bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import Payload
from syft_fl.codecs.coders.bits import Taker, bits_of, joined
from syft_fl.codecs.coders.coder import Alphabet
from syft_fl.codecs.coders.entropy import ANS
from syft_fl.codecs.coders.packing import pack, unpack
from syft_fl.errors import CodecError

__all__ = ["Indices", "read_indices", "write_indices"]

Indices = NDArray[np.int64]
"""[k] rising, each below the length."""

_MOST_LOW_BITS, _CODED = 31, 32  # the first byte: a number of low bits, or this


def write_indices(indices: NDArray[np.integer], length: int) -> Payload:
    """Write a set of indices.

    Args:
        indices: [k] rising, each below ``length``. Not changed.
        length: d, below 2**32.

    Returns:
        A byte that names the way, then the set.

    Raises:
        CodecError: the indices don't rise, or one is not below ``length``.
    """
    chosen = indices.astype(np.int64)
    count = chosen.size
    gaps = np.diff(chosen, prepend=-1) - 1
    if count and (int(gaps.min()) < 0 or int(chosen[-1]) >= length):
        raise CodecError(f"{count} indices don't rise from 0 to below {length}; sort them, each once")
    if count in (0, length):
        return Payload(b"", 0)
    words, coded = _words(gaps, length), _coded(gaps, length)
    return words if words.bits <= coded.bits else coded


def read_indices(body: memoryview, length: int, *, count: int) -> tuple[Indices, int]:
    """Read a set of indices.

    Args:
        body: what :func:`write_indices` wrote, and whatever comes after it; or any bytes at all. Time and memory
            are bounded by their length and ``length``.
        length, count: d and k.

    Returns:
        [count] indices, rising, each below ``length``; and how many bits they took.

    Raises:
        CodecError: the bytes are no such set.
    """
    if not 0 <= count <= length:
        raise CodecError(f"{count} indices can't be different and below {length}; use at most {length}")
    if count in (0, length):
        return np.arange(count), 0
    way = int(_first(body, 8)[0])
    if way > _CODED:
        raise CodecError(f"{way} names no way of writing indices; the bytes are damaged")
    gaps, bits = (
        _read_coded(body[1:], length, count) if way == _CODED else _read_words(body[1:], length, count, way)
    )
    indices = np.cumsum(gaps + 1) - 1
    if int(indices[-1]) >= length:
        raise CodecError(f"the indices in the payload are not all below {length}; the bytes are damaged")
    return indices, 8 + bits


def _words(gaps: Indices, length: int) -> Payload:
    # One low bit more takes one of each gap, and saves no more high bits than there are: length >> low at most.
    most = min((length // gaps.size).bit_length(), _MOST_LOW_BITS)
    low = min(range(most + 1), key=lambda low: gaps.size * low + int((gaps >> low).sum()))
    lows = pack((gaps & (1 << low) - 1).astype(np.uint32), low) if low else b""
    ends = np.cumsum((gaps >> low) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1, np.bool_)
    unary[ends] = True
    words = joined([bits_of(lows, low * gaps.size), unary])
    return Payload(bytes([low]) + bytes(words.body), 8 + words.bits)


def _read_words(body: memoryview, length: int, count: int, low: int) -> tuple[Indices, int]:
    start = low * count
    lows = unpack(_first(body, start), low, count=count) if low else np.zeros(count, np.uint8)
    # With as many bits, the indices are beyond the length.
    limit = min(8 * len(body), start + count + (length >> low))
    ends = np.flatnonzero(bits_of(body[: -(-limit // 8)], limit)[start:])[:count]
    if ends.size < count:
        raise CodecError(f"the payload ends after {ends.size} of {count} indices; the bytes are damaged")
    return ((np.diff(ends, prepend=-1) - 1) << low) | lows, start + int(ends[-1]) + 1


def _coded(gaps: Indices, length: int) -> Payload:
    numbers = gaps + 1
    below = np.frexp(numbers.astype(np.float64))[1] - 2  # bits below the two leading ones; -1 of the number 1
    symbols = (2 * (below + 1) + (numbers >> np.maximum(below, 0) & (below >= 0))).astype(np.uint8)
    leading = ANS().write(symbols, _leading(length))
    planes = [numbers[below > place] >> place & 1 for place in range(int(below.max()))]
    parts = joined([bits_of(leading.body, leading.bits), *planes])
    return Payload(bytes([_CODED]) + leading.bits.to_bytes(4, "little") + bytes(parts.body), 40 + parts.bits)


def _read_coded(body: memoryview, length: int, count: int) -> tuple[Indices, int]:
    bits = int.from_bytes(_first(body, 32), "little")
    body = body[4:]
    symbols = ANS().read(_first(body, bits), bits, _leading(length), count=count).astype(np.int64)
    below = symbols // 2 - 1
    numbers: Indices = np.where(below < 0, 1, 2 + symbols % 2).astype(np.int64) << np.maximum(below, 0)
    limit = min(8 * len(body), bits + int(np.maximum(below, 0).sum()))
    taker = Taker(body[: -(-limit // 8)], limit)
    taker.take(bits)
    for place in range(int(below.max())):
        here = below > place
        numbers[here] |= taker.take(int(np.count_nonzero(here))).astype(np.int64) << place
    return numbers - 1, 32 + taker.at


def _leading(length: int) -> Alphabet:
    """Lengths of numbers up to ``length``, with the bit below the leading one."""
    return Alphabet(2 * length.bit_length())


def _first(body: memoryview, bits: int) -> memoryview:
    """The bytes of the first so many bits."""
    size = -(-bits // 8)
    if len(body) < size:
        raise CodecError(f"{len(body)} bytes end within {size} bytes of indices; the bytes are damaged")
    return body[:size]
