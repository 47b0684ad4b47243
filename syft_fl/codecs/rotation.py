r"""The randomised Hadamard transform: it spreads a vector's energy evenly over its entries.

.. math:: R = \tfrac{1}{\sqrt B} H_B D

with :math:`H_B` the Hadamard matrix of a block of :math:`B = 2^k` entries and :math:`D` random signs from the
message's key, which both ends know. After it the entries of a block are nearly Gaussian, whatever they were.

A vector whose length is no multiple of the block ends in blocks of falling powers of two, down to one entry. So
nothing is padded, and the transform is orthogonal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.groups import Span
from syft_fl.keys import Key
from syft_fl.schema import require

__all__ = ["Rotation", "require_rotation_block", "rotate", "rotate_back", "rotation_pieces", "rotation_spans"]

_PIECE_ENTRIES = 2**16  # two buffers of a quarter of a megabyte stay near the processor
_SHORT = 64  # rows as short are added as columns, transposed before and after: quicker than short rows are
_SIGN = np.uint32(2**31)
_PLACES = np.arange(32, dtype=np.uint32)[:, None]


def require_rotation_block(block: int) -> None:
    """Check a field ``block``.

    Raises:
        ConfigError: it is no power of two, or there is no Hadamard matrix of so many rows here.
    """
    ok = 2 <= block <= 2**20 and block & (block - 1) == 0
    require(ok, "block", block, "a power of two in 2 … 1048576", "8192 is usual")


def rotation_spans(length: int, block: int) -> list[Span]:
    """Where the blocks are: as many whole ones as fit, then powers of two.

    Args:
        length: of the vector.
        block: a power of two.
    """
    spans: list[Span] = []
    start = group = 0
    size = block
    while start < length:
        count = (length - start) // size
        if count:
            stop = start + count * size
            spans.append(Span(start, stop, group, size))
            start, group = stop, group + count
        size //= 2
    return spans


def rotation_pieces(spans: list[Span]) -> list[Span]:
    """The same blocks, few enough at a time for a cache."""
    found: list[Span] = []
    for start, stop, first, width in spans:
        step = max(_PIECE_ENTRIES // width, 1) * width
        for at in range(start, stop, step):
            found.append(Span(at, min(at + step, stop), first + (at - start) // width, width))
    return found


class Rotation:
    """The rotation of one message, piece by piece: in the order of :func:`rotation_pieces`, since signs are drawn.

    Neither method normalises: each is :math:`\\sqrt B` times an orthogonal transform, so that callers can do it with
    a division of theirs.

    Args:
        key: the message's.
    """

    def __init__(self, key: Key) -> None:
        self._words = (key / "rotation").numpy().bit_generator
        self._butterflies: dict[tuple[int, ...], _Butterflies] = {}

    def forward(self, rows: NDArray[np.float32], divisors: NDArray[np.float32]) -> NDArray[np.float32]:
        r"""[blocks, width] :math:`H D` of rows, each divided by its divisor; valid until the next call.

        Args:
            rows: [blocks, width]; quotients must be below about 1e30, or sums overflow.
            divisors: [blocks, 1].
        """
        work = self._work(rows)
        np.divide(rows, divisors, out=work.rows)
        bits = work.rows.view(np.uint32)
        bits ^= self._signs(rows)
        return work.transform()

    def back(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """[blocks, width] :math:`D H` of rows; valid until the next call."""
        work = self._work(rows)
        work.rows[...] = rows
        found = work.transform()
        bits = found.view(np.uint32)
        bits ^= self._signs(rows)
        return found

    def _work(self, rows: NDArray[np.float32]) -> _Butterflies:
        if rows.shape not in self._butterflies:
            self._butterflies = {rows.shape: _Butterflies(*rows.shape)}
        return self._butterflies[rows.shape]

    def _signs(self, rows: NDArray[np.float32]) -> NDArray[np.uint32]:
        """[blocks, width] 2**31 or 0 at random: one random bit each, those of a word a 32nd part of the rows apart."""
        words = self._words.random_raw(-(-rows.size // 64)).view(np.uint32)
        signs = np.left_shift(words, _PLACES)
        signs &= _SIGN
        return signs.reshape(-1)[: rows.size].reshape(rows.shape)


class _Butterflies:
    """The Hadamard transform of [blocks, width] in two buffers, whose views are made once for many transforms.

    By torch, which adds and transposes short rows several times as quickly as numpy does. Each number is the sum or
    the difference of two, so the number of threads changes nothing.
    """

    def __init__(self, blocks: int, width: int) -> None:
        size, short = blocks * width, min(width, _SHORT)
        now, spare = torch.empty((2, size), dtype=torch.float32, device="cpu")
        self.rows: NDArray[np.float32] = now.numpy().reshape(blocks, width)
        """Where the input goes."""
        self._steps: list[tuple[Any, ...]] = []
        now, spare = self._sums(now, spare, times=width // short, row=short)
        # Of the short rows it is the columns that are added.
        now, spare = self._copy(now.view(-1, short).t(), spare)
        now, spare = self._sums(now, spare, times=short, row=size // short)
        now, spare = self._copy(now.view(short, -1).t(), spare)
        self._found: NDArray[np.float32] = now.numpy().reshape(blocks, width)

    def transform(self) -> NDArray[np.float32]:
        """Transform ``rows``; the result is in one of the buffers, which the next one overwrites."""
        for step in self._steps:
            if len(step) == 2:
                step[0].copy_(step[1])
            else:
                first, second, sums, differences = step
                torch.add(first, second, out=sums)
                torch.sub(first, second, out=differences)
        return self._found

    def _sums(
        self, now: torch.Tensor, spare: torch.Tensor, *, times: int, row: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Steps of the transform over the middle axis of [blocks, times, row]."""
        step = 1
        while step < times:
            pairs, found = (buffer.view(-1, 2, step * row) for buffer in (now, spare))
            self._steps.append((pairs[:, 0], pairs[:, 1], found[:, 0], found[:, 1]))
            now, spare = spare, now
            step *= 2
        return now, spare

    def _copy(self, source: torch.Tensor, to: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self._steps.append((to.view(source.shape), source))
        return to, source.t().view(-1)


def rotate(entries: NDArray[np.float32], key: Key, block: int) -> NDArray[np.float32]:
    """[entries] the rotated vector. Magnitudes must be below about 1e30, or sums overflow."""
    out = np.empty_like(entries)
    rotation = Rotation(key)
    for piece in rotation_pieces(rotation_spans(entries.size, block)):
        root = np.full((1, 1), piece.width**0.5, np.float32)
        piece.rows(out)[...] = rotation.forward(piece.rows(entries), root)
    return out


def rotate_back(entries: NDArray[np.float32], key: Key, block: int) -> NDArray[np.float32]:
    """[entries] what :func:`rotate` was given, to float32 rounding."""
    out = np.empty_like(entries)
    rotation = Rotation(key)
    for piece in rotation_pieces(rotation_spans(entries.size, block)):
        np.multiply(rotation.back(piece.rows(entries)), np.float32(piece.width**-0.5), out=piece.rows(out))
    return out
