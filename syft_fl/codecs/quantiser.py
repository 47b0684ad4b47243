"""A quantiser with a coder behind it: entries -> side information and symbols -> bytes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.backends import Rows
from syft_fl.codecs.codec import Context, Gaps, Memory, Part, Payload
from syft_fl.codecs.coders import Alphabet, Coder, Located, Symbols
from syft_fl.codecs.entries import checked_entries
from syft_fl.codecs.erasure import blanked, cut, entries_of_groups, lost_groups, share_of
from syft_fl.codecs.groups import Block, count_groups, spans_of
from syft_fl.errors import CodecError
from syft_fl.vectors import Layout, Vector

__all__ = ["BatchQuantiser", "Quantiser"]


class Quantiser(abc.ABC):
    """A codec that writes one symbol for each entry, and some bytes of side information before them.

    Abstract: a codec says how entries become symbols; its field ``coder`` says how these become bits.
    The payload is the side information, then what the coder wrote. With a coder that is
    :class:`~syft_fl.codecs.coders.coder.Located` what came of a payload can be decoded: entries with a bit in a gap are
    0, and so is a group without its scale.

    Attributes:
        scale_bytes: of a number of the side information, where this is some for each group of ``block``, one array
            behind the other; 0: it is something else, and without a part of it nothing can be decoded.
    """

    coder: Coder
    block: Block
    scale_bytes: ClassVar[int] = 0

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
        side, symbols = self._taken_apart(payload, ctx)
        return torch.from_numpy(self.restore(side, symbols, ctx)), ctx.memory

    @property
    def erasable(self) -> bool:
        return isinstance(self.coder, Located)

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        assert isinstance(self.coder, Located)
        side, symbols = self._taken_apart(Payload(blanked(payload.body, gaps), payload.bits), ctx)
        side_bits = 8 * len(side)
        without_scale = self._blank_groups(side, cut(gaps, 0, side_bits), ctx.layout)
        if without_scale is None:
            return None
        side, missing = without_scale
        behind = cut(gaps, side_bits, payload.bits)
        missing |= self.coder.touched(behind, self.alphabet(), count=ctx.layout.length)
        entries = self.restore(side, symbols, ctx)
        entries[missing] = 0
        return Part(torch.from_numpy(entries), ctx.memory, share_of(missing))

    def _blank_groups(
        self, side: memoryview, gaps: Gaps, layout: Layout
    ) -> tuple[memoryview, NDArray[np.bool_]] | None:
        """Side information with all numbers 0 of the groups that lack one, and [entries] which are theirs."""
        if not gaps:
            return side, np.zeros(layout.length, np.bool_)
        if not self.scale_bytes:
            return None
        spans = spans_of(layout, self.block)
        numbers = len(side) // (self.scale_bytes * count_groups(spans))
        lost = lost_groups(gaps, spans, number_bytes=self.scale_bytes, numbers=numbers)
        rows = np.frombuffer(side, np.uint8).reshape(numbers, lost.size, -1)
        kept = np.where(lost[:, None], np.uint8(0), rows)
        return kept.reshape(-1).data, entries_of_groups(lost, spans, layout.length)

    def _taken_apart(self, payload: Payload, ctx: Context) -> tuple[memoryview, Symbols]:
        size = self.side_bytes(ctx.layout)
        body = memoryview(payload.body)
        if len(body) < size:
            raise CodecError(
                f"payload of {len(body)} bytes ends within the {size} bytes of side information; "
                "both ends must have the same codec settings and the same architecture"
            )
        rest: Any = body[size:]
        symbols = self.coder.read(rest, payload.bits - 8 * size, self.alphabet(), count=ctx.layout.length)
        return body[:size], symbols


class BatchQuantiser(Quantiser):
    """A quantiser whose arithmetic runs over vectors of several UEs side by side (:mod:`syft_fl.codecs.batch`).

    Abstract: a codec says how rows of entries become rows of symbols, none of which depends on another row. One
    vector is one row. Rows are arrays on the host or tensors on a card, and the arithmetic is that of both
    (:mod:`syft_fl.codecs.backends`).
    """

    @abc.abstractmethod
    def quantise_rows(self, entries: Rows, ctxs: Sequence[Context]) -> tuple[NDArray[np.uint8], Rows]:
        """[vectors, bytes] side information and [vectors, entries] symbols of [vectors, entries], of one layout.

        Side information is on the host, symbols are where the entries are.

        Raises:
            VectorsDifferError: the vectors must be done one by one.
        """

    @abc.abstractmethod
    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Rows, ctxs: Sequence[Context], entries: Rows
    ) -> None:
        """Write finite values into [vectors, entries].

        Args:
            sides: [vectors, bytes] side information, on the host.
            symbols: [vectors, entries]
            ctxs: [vectors]
            entries: [vectors, entries] float32, where the symbols are.

        Raises:
            CodecError: the side information is damaged.
            VectorsDifferError: the vectors must be done one by one.
        """

    def quantise(self, entries: NDArray[np.float32], ctx: Context) -> tuple[bytes, Symbols]:
        sides, symbols = self.quantise_rows(entries[None], [ctx])
        return sides.tobytes(), symbols[0]

    def restore(self, side: memoryview, symbols: Symbols, ctx: Context) -> NDArray[np.float32]:
        entries = np.empty(symbols.shape, np.float32)
        self.restore_rows(np.frombuffer(side, np.uint8)[None], symbols[None], [ctx], entries[None])
        return entries
