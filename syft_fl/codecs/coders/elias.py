"""Elias's codes for whole numbers: short words for symbols near the centre, and no model of how often they occur.

Each symbol takes its word's exact length. The words' bits are ordered by rank, not word by word: the first bit of every
word, then the second bit of every word that has one, and so on, so that arrays of bits are written and read
and nothing loops over symbols.

Left out: Elias's recursive omega code, which is nowhere shorter than both of these below 32768.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import Payload
from syft_fl.codecs.coders.bits import Bits, Taker, joined
from syft_fl.codecs.coders.coder import CODERS, Alphabet, Symbols, refuse_foreign
from syft_fl.codecs.coders.packing import symbol_dtype
from syft_fl.errors import CodecError
from syft_fl.schema import schema

__all__ = ["EliasDelta", "EliasGamma", "delta_bits", "gamma_bits", "read_delta", "read_gamma"]

Numbers = NDArray[np.unsignedinteger[Any]]
"""[numbers] whole numbers from 1."""


@CODERS
@schema
class EliasGamma:
    r"""Symbols as gamma words: :math:`2\lfloor\log_2 n\rfloor + 1` bits for the :math:`n`-th nearest to the centre.

    The centre is 1, the symbol above it 2, the one below 3, and so on, one side alone where the other has ended.
    A word is :math:`\lfloor\log_2 n\rfloor` bits that say "more", one that says "enough", and as many bits of
    :math:`n` below its leading one. It suits symbols whose probabilities fall as :math:`n^{-2}`.

    Source: Elias 1975, "Universal Codeword Sets and Representations of the Integers", section IV.
    Differs from it in: the order of the bits in the stream.
    """

    kind: ClassVar[str] = "elias-gamma"

    def write(self, symbols: Symbols, alphabet: Alphabet) -> Payload:
        refuse_foreign(symbols, alphabet)
        return joined(gamma_bits(_places(alphabet.size, alphabet.centre)[0].take(symbols)))

    def read(self, body: memoryview, bits: int, alphabet: Alphabet, *, count: int) -> Symbols:
        taker = Taker(body, bits)
        places = read_gamma(taker, count, top=alphabet.size)
        taker.finish()
        return _places(alphabet.size, alphabet.centre)[1].take(places)


@CODERS
@schema
class EliasDelta:
    r"""Symbols as delta words: as gamma words, but the length itself is a gamma word.

    :math:`\lfloor\log_2 n\rfloor + 2\lfloor\log_2(\lfloor\log_2 n\rfloor + 1)\rfloor + 1` bits for the :math:`n`-th
    nearest to the centre: a bit longer than gamma at 2, 3 and 8 … 15, shorter from 32, else as long.

    Source: Elias 1975, "Universal Codeword Sets and Representations of the Integers", section IV.
    Differs from it in: the order of the bits in the stream.
    """

    kind: ClassVar[str] = "elias-delta"

    def write(self, symbols: Symbols, alphabet: Alphabet) -> Payload:
        refuse_foreign(symbols, alphabet)
        return joined(delta_bits(_places(alphabet.size, alphabet.centre)[0].take(symbols)))

    def read(self, body: memoryview, bits: int, alphabet: Alphabet, *, count: int) -> Symbols:
        taker = Taker(body, bits)
        places = read_delta(taker, count, top=alphabet.size)
        taker.finish()
        return _places(alphabet.size, alphabet.centre)[1].take(places)


def gamma_bits(numbers: Numbers) -> Iterator[NDArray[Any]]:
    """Arrays of bits that are the gamma words of numbers."""
    while numbers.size:
        more = numbers > 1
        yield more
        numbers = numbers.compress(more)  # several times as fast as numbers[more]
        yield numbers & np.uint8(1)
        numbers = numbers >> np.uint8(1)


def read_gamma(taker: Taker, count: int, *, top: int) -> Numbers:
    """[count] numbers of 1 … ``top`` (below 2**32) from :func:`gamma_bits`.

    Raises:
        CodecError: there are no such words.
    """
    ranks: list[tuple[Bits, Bits]] = []
    while count:
        more = taker.take(count)
        count = int(np.count_nonzero(more))
        if count and len(ranks) == top.bit_length() - 1:
            raise CodecError(f"a word in the payload is longer than that of {top}; the bytes are damaged")
        ranks.append((more, taker.take(count)))
    return _numbers(ranks, top)


def delta_bits(numbers: Numbers) -> Iterator[NDArray[Any]]:
    """Arrays of bits that are the delta words of numbers, with a table as long as the largest."""
    lengths = np.frexp(np.arange(int(numbers.max(initial=1)) + 1, dtype=np.float64))[1].astype(np.uint8)
    yield from gamma_bits(lengths.take(numbers))
    while numbers.size:
        numbers = numbers.compress(numbers > 1)
        yield numbers & np.uint8(1)
        numbers = numbers >> np.uint8(1)


def read_delta(taker: Taker, count: int, *, top: int) -> Numbers:
    """[count] numbers of 1 … ``top`` (below 2**32) from :func:`delta_bits`.

    Raises:
        CodecError: there are no such words.
    """
    lengths = read_gamma(taker, count, top=top.bit_length())
    ranks: list[tuple[Bits, Bits]] = []
    while lengths.size:
        more = lengths > 1
        lengths = lengths.compress(more) - np.uint8(1)
        ranks.append((more, taker.take(lengths.size)))
    return _numbers(ranks, top)


def _numbers(ranks: list[tuple[Bits, Bits]], top: int) -> Numbers:
    """[numbers] from, rank by rank, whether a number has bits above, and where it has, its bit of this rank."""
    dtype = symbol_dtype(top.bit_length())
    numbers: Numbers = np.empty(0, dtype)
    for more, low in reversed(ranks):
        above = numbers
        numbers = np.ones(more.size, dtype)
        numbers[np.flatnonzero(more)] = above << 1 | low
    if numbers.size and int(numbers.max()) > top:
        raise CodecError(f"number {int(numbers.max())} in the payload is above {top}; the bytes are damaged")
    return numbers


@functools.lru_cache(maxsize=16)
def _places(size: int, centre: int) -> tuple[Numbers, Symbols]:
    """[size] each symbol's place by nearness to the centre, from 1; and [size + 1] the symbol at each place."""
    dtype = symbol_dtype(size.bit_length())
    distance = np.arange(size) - centre
    both = min(centre, size - 1 - centre)  # as far, there are symbols on both sides
    places = np.where(abs(distance) <= both, 2 * abs(distance) + (distance <= 0), both + abs(distance) + 1)
    symbols = np.zeros(size + 1, symbol_dtype((size - 1).bit_length()))
    symbols[places] = np.arange(size)
    return places.astype(dtype), symbols
