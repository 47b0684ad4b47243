"""Which entries are sent: the largest, or some drawn by chance. Exact, the same at every call, and quick."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.coders.indices import Indices
from syft_fl.codecs.rounding import random_words
from syft_fl.keys import Key

__all__ = ["drawn_indices", "largest_indices"]

_SAMPLE = 2**14


def largest_indices(entries: NDArray[np.float32], count: int) -> Indices:
    """[count] indices of the entries of largest magnitude, rising; of equal ones the first.

    A guess from every so-manieth entry leaves few candidates, among which the exact selection is made; that takes a
    tenth of the time of one among all. Where the guess fails, all are candidates.
    """
    if count in (0, entries.size):
        return np.arange(count)
    guess = _guess(entries, count)
    # Two comparisons are as quick as magnitudes of all entries, and need a quarter of the memory.
    candidates = np.flatnonzero((entries >= guess) | (entries <= -guess))
    if candidates.size < count:
        candidates = np.arange(entries.size)
    found = np.abs(entries[candidates])
    least = np.partition(found, found.size - count)[found.size - count]
    chosen = found > least
    chosen[np.flatnonzero(found == least)[: count - np.count_nonzero(chosen)]] = True
    indices: Indices = candidates[chosen]
    return indices


def _guess(entries: NDArray[np.float32], count: int) -> np.float32:
    """A magnitude that ``count`` entries reach, and few more; nearly always."""
    sample = np.abs(entries[:: -(-entries.size // _SAMPLE)])
    expected = count / entries.size * sample.size
    rank = math.ceil(expected + 4 * math.sqrt(expected) + 4)
    if rank >= sample.size:
        return np.float32(0)
    guess: np.float32 = np.partition(sample, sample.size - rank)[sample.size - rank]
    return guess


def drawn_indices(key: Key, count: int, length: int) -> Indices:
    """[count] different indices below ``length``, rising; every such set is as likely, up to 2**-53 of it.

    These are the first different ones of a stream of indices; where more than half are asked for, the others are.
    """
    fewer = min(count, length - count)
    chosen = np.full(length, fewer < count)
    chosen[_drawn(key, fewer, length)] = fewer == count
    return np.flatnonzero(chosen)


def _drawn(key: Key, count: int, length: int) -> Indices:
    """[count] at most half of the indices, in any order."""
    if not count:
        return np.arange(0)
    # As many draws as have so many different ones in the mean, and eight deviations of that number.
    draws = math.ceil(-length * math.log1p(-count / length) + 8 * math.sqrt(count) + 8)
    while (different := _different(_stream(key, draws, length), length)).size < count:
        draws *= 2
    return different[:count]


def _stream(key: Key, draws: int, length: int) -> Indices:
    """[draws] indices below ``length``; fewer draws are the first of more."""
    words = random_words([key], 4 * draws)[0].view(np.uint64)
    # 53 bits fill a double; their product with a length stays below that length.
    stream: Indices = ((words >> np.uint64(11)) * (length * 2.0**-53)).astype(np.int64)
    return stream


def _different(stream: Indices, length: int) -> Indices:
    """What a stream has, each once, in the order of its first draws."""
    places = np.arange(stream.size, dtype=np.int32)
    first = np.empty(length, np.int32)
    first[stream[::-1]] = places[::-1]  # of draws of one index the last assignment stays
    different: Indices = stream[first[stream] == places]
    return different
