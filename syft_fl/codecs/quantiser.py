"""A quantiser with a coder behind it: entries -> side information and symbols -> bytes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import Context, Memory, Payload
from syft_fl.codecs.coders import Alphabet, Coder, Symbols
from syft_fl.codecs.entries import checked_entries
from syft_fl.errors import CodecError
from syft_fl.vectors import Layout, Vector

__all__ = ["BatchQuantiser", "Quantiser"]


class Quantiser(abc.ABC):
    """A codec that writes one symbol for each entry, and some bytes of side information before them.

    Abstract: a codec says how entries become symbols; its field ``coder`` says how these become bits.
    The payload is the side information, then what the coder wrote.
    """

    coder: Coder

    @abc.abstractmethod
    def alphabet(self) -> Alphabet:
        """What both ends know of the symbols."""

    @abc.abstractmethod
    def side_bytes(self, layout: Layout) -> int:
        """Length of the side information (scales, norms)."""

    @abc.abstractmethod
    def quantise(self, entries: NDArray[np.float32], ctx: Context) -> tuple[bytes, Symbols]:
        """Side information, and [entries] symbols; ``entries`` are finite and not changed."""

    @abc.abstractmethod
    def restore(self, side: memoryview, symbols: Symbols, ctx: Context) -> NDArray[np.float32]:
        """[entries] finite values of symbols.

        Raises:
            CodecError: the side information is damaged.
        """

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        side, symbols = self.quantise(checked_entries(x, ctx), ctx)
        written = self.coder.write(symbols, self.alphabet())
        body = b"".join((side, written.body))
        return Payload(body, 8 * len(side) + written.bits), ctx.memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        size = self.side_bytes(ctx.layout)
        body = memoryview(payload.body)
        if len(body) < size:
            raise CodecError(
                f"payload of {len(body)} bytes ends within the {size} bytes of side information; "
                "both ends must have the same codec settings and the same architecture"
            )
        rest: Any = body[size:]
        symbols = self.coder.read(rest, payload.bits - 8 * size, self.alphabet(), count=ctx.layout.length)
        return torch.from_numpy(self.restore(body[:size], symbols, ctx)), ctx.memory


class BatchQuantiser(Quantiser):
    """A quantiser whose arithmetic runs over vectors of several UEs side by side (:mod:`syft_fl.codecs.batch`).

    Abstract: a codec says how rows of entries become rows of symbols, none of which depends on another row. One
    vector is one row.
    """

    @abc.abstractmethod
    def quantise_rows(
        self, entries: NDArray[np.float32], ctxs: Sequence[Context]
    ) -> tuple[NDArray[np.uint8], Symbols]:
        """[vectors, bytes] side information and [vectors, entries] symbols of [vectors, entries], of one layout.

        Raises:
            VectorsDifferError: the vectors must be done one by one.
        """

    @abc.abstractmethod
    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Symbols, ctxs: Sequence[Context]
    ) -> NDArray[np.float32]:
        """[vectors, entries] finite values of [vectors, bytes] side information and [vectors, entries] symbols.

        Raises:
            CodecError: the side information is damaged.
            VectorsDifferError: the vectors must be done one by one.
        """

    def quantise(self, entries: NDArray[np.float32], ctx: Context) -> tuple[bytes, Symbols]:
        sides, symbols = self.quantise_rows(entries[None], [ctx])
        return sides.tobytes(), symbols[0]

    def restore(self, side: memoryview, symbols: Symbols, ctx: Context) -> NDArray[np.float32]:
        entries: NDArray[np.float32] = self.restore_rows(
            np.frombuffer(side, np.uint8)[None], symbols[None], [ctx]
        )[0]
        return entries
