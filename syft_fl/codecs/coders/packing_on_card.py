"""Symbols of 1 to 16 bits packed and unpacked by torch, wherever a tensor is: the bytes of :mod:`.packing`.

Eight symbols, or as many fewer as fill whole bytes, make a word; that is put together symbol by symbol, all words at
once. Only types and operations that every card has: no unsigned ones but bytes, and words of up to 56 bits, which are
never negative.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["pack_on_card", "unpack_on_card"]

_WORD_BYTES = 8


def pack_on_card(symbols: Tensor, bits: int) -> Tensor:
    """[rows, ceil(n * bits / 8)] uint8, as :func:`~syft_fl.codecs.coders.packing.pack_rows` of each row.

    Args:
        symbols: [rows, n] uint8 for up to 8 bits, else int32; each in ``0 … 2**bits - 1``. Not changed.
        bits: 1 … 16.
    """
    if bits > 8:
        low = (symbols & 0xFF).to(torch.uint8)
        return torch.cat([low, pack_on_card((symbols >> 8).to(torch.uint8), bits - 8)], dim=1)
    if bits == 8:
        return symbols
    rows, count = symbols.shape
    lanes, size = _lanes_and_bytes(bits)
    fields = _padded(symbols, -(-count // lanes), lanes)
    word = torch.uint8 if size == 1 else torch.int64
    words = torch.empty(fields.shape[:2], dtype=word, device=symbols.device).copy_(fields[:, :, 0])
    for lane in range(1, lanes):
        words.add_(fields[:, :, lane], alpha=1 << bits * lane)
    packed = words if size == 1 else words.view(torch.uint8).reshape(*words.shape, _WORD_BYTES)[:, :, :size]
    return packed.reshape(rows, words.shape[1] * size)[:, : -(-count * bits // 8)]


def unpack_on_card(packed: Tensor, bits: int, *, count: int) -> Tensor:
    """[rows, count] symbols, as :func:`~syft_fl.codecs.coders.packing.unpack_rows` of each row of bytes.

    Returns:
        uint8 for up to 8 bits, else int32.
    """
    if bits > 8:
        high = unpack_on_card(packed[:, count:], bits - 8, count=count)
        return packed[:, :count].to(torch.int32).add_(high, alpha=1 << 8)
    if bits == 8:
        return packed
    lanes, size = _lanes_and_bytes(bits)
    rows, words = len(packed), -(-count // lanes)
    parts = _padded(packed, words, size)
    joined = parts[:, :, 0] if size == 1 else parts[:, :, 0].to(torch.int64)
    for part in range(1, size):
        joined.add_(parts[:, :, part], alpha=1 << 8 * part)
    symbols = torch.empty(rows, words, lanes, dtype=torch.uint8, device=packed.device)
    for lane in range(lanes):
        symbols[:, :, lane] = (joined >> bits * lane) & ((1 << bits) - 1)
    return symbols.reshape(rows, words * lanes)[:, :count]


def _lanes_and_bytes(bits: int) -> tuple[int, int]:
    """Symbols of a word, and bytes that they fill."""
    lanes = 8 // math.gcd(bits, 8)
    return lanes, lanes * bits // 8


def _padded(rows: Tensor, words: int, width: int) -> Tensor:
    """[rows, words, width] the rows with zeros behind them."""
    if rows.shape[1] == words * width:
        return rows.reshape(len(rows), words, width)
    padded = torch.zeros(len(rows), words * width, dtype=rows.dtype, device=rows.device)
    padded[:, : rows.shape[1]] = rows
    return padded.view(len(rows), words, width)
