"""Subtractive dither: the error is noise of one law, whatever was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.backends import Backend, Rows, backend_of
from syft_fl.codecs.codec import CODECS, Context
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, symbol_dtype
from syft_fl.codecs.groups import Block, count_groups, require_block, spans_of
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.rounding import random_words
from syft_fl.codecs.scales import FLOAT32_MAX, read_scales
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout

__all__ = ["Dithered"]


@CODECS
@schema
class Dithered(BatchQuantiser):
    r"""Both ends know the dither :math:`u`; the sender adds it before rounding, the receiver takes it away.

    .. math:: \hat x = \Delta\left(\operatorname{round}(x/\Delta + u) - u\right), \quad u \sim U(-1/2, 1/2), \quad
        \Delta = m/T

    with :math:`m` the largest magnitude of the group and levels :math:`-T … T`, :math:`T = 2^{b-1} - 1`. The error is
    independent of :math:`x` and uniform on :math:`\pm\Delta/2`: unbiased, with variance :math:`\Delta^2/12`, at most
    a third of the stochastic rounding's on the same grid. The dither costs nothing on the air: it is drawn from the
    message's key, which both ends know. It has 16 bits, so all this holds to :math:`2^{-17}` of a step.

    Attributes:
        bits: per entry, 2 … 16.
        block: which entries share a step of 32 bits.
        coder: how symbols become bits.

    Payload: float32 largest magnitudes, then symbols (level plus :math:`T`).

    Source: Roberts 1962, "Picture coding using pseudo-random noise"; Gray, Stockham 1993, "Dithered quantizers",
    theorem 1. Differs from it in: the step follows the group.
    """

    kind: ClassVar[str] = "dithered"
    lossless: ClassVar[bool] = False
    scale_bytes: ClassVar[int] = 4
    paper: ClassVar[str] = "Gray, Stockham 1993, Dithered Quantizers, theorem 1"
    bound: ClassVar[str] = "unbiased; |error| <= step / 2, variance step**2 / 12 whatever the input"

    bits: int = 4
    block: Block = "tensor"
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 16, "bits", self.bits, "in 2 … 16", "at 1 bit use kind = 'sign'")
        require_block(self.block)

    def alphabet(self) -> Alphabet:
        return Alphabet(2 * self._top + 1, centre=self._top)

    def side_bytes(self, layout: Layout) -> int:
        return 4 * count_groups(spans_of(layout, self.block))

    def quantise_rows(self, entries: Rows, ctxs: Sequence[Context]) -> tuple[NDArray[np.uint8], Rows]:
        spans = spans_of(ctxs[0].layout, self.block)
        backend = backend_of(entries)
        scales = backend.largest(entries, spans)
        words = _words(ctxs, entries.shape[1], backend)
        symbols = backend.empty(entries.shape, symbol_dtype(self.bits))
        divisors = backend.put(np.where(scales > 0, scales, np.float32(1)))
        for piece in backend.pieces(spans, vectors=len(entries)):
            steps = piece.rows(entries) / piece.column(divisors)
            steps *= self._top
            steps += _dither(piece.rows(words), backend)
            backend.rint(steps)
            # Nothing clips: at most T + 1/2 - 2**-17, even where the sum was rounded up, is taken down to T.
            backend.clip(steps, self._top)
            steps += self._top
            piece.rows(symbols)[...] = steps
        return scales.astype("<f4", copy=False).view(np.uint8), symbols

    def restore_rows(
        self, sides: NDArray[np.uint8], symbols: Rows, ctxs: Sequence[Context], entries: Rows
    ) -> None:
        backend = backend_of(symbols)
        scales = backend.put(read_scales(sides, "scale of a group"))
        words = _words(ctxs, symbols.shape[1], backend)
        top = backend.put(np.array([[self._top]], np.float32))
        for piece in backend.pieces(spans_of(ctxs[0].layout, self.block), vectors=len(entries)):
            values = piece.rows(entries)
            values[...] = piece.rows(symbols)
            values -= self._top
            values -= _dither(piece.rows(words), backend)
            # First into about -1 … 1: a scale near the largest float32 number then overflows only where the
            # dither leads beyond the largest entry.
            values /= top
            with np.errstate(over="ignore"):
                values *= piece.column(scales)
            backend.clip(values, FLOAT32_MAX)

    @property
    def _top(self) -> int:
        return (1 << (self.bits - 1)) - 1


def _words(ctxs: Sequence[Context], entries: int, backend: Backend) -> Rows:
    """[vectors, entries] the dither of each message."""
    return backend.words(random_words([ctx.key / "dither" for ctx in ctxs], entries))


def _dither(words: Rows, backend: Backend) -> Rows:
    """Uniform in -1/2 … 1/2, ends left out, in steps of 2**-16."""
    numbers = backend.cast(words, np.float32)
    numbers += 0.5 - 2.0**15
    numbers *= 2.0**-16
    return numbers
