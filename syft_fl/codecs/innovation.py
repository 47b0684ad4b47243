"""The quantised innovation of LAQ: a uniform grid around the last vector that arrived."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Context, Memory, Payload
from syft_fl.codecs.coders import CODERS, Alphabet, Coder, Fixed, symbol_dtype
from syft_fl.codecs.entries import checked_entries
from syft_fl.codecs.groups import Block, Span, count_groups, pieces, require_block, spans_of
from syft_fl.codecs.nested import inner_payload
from syft_fl.codecs.scales import FLOAT32_MAX, read_scales
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, Vector

__all__ = ["Innovation"]

_LAST = "last"
_NUMBER_BYTES = 4


@CODECS
@schema
class Innovation:
    r"""``bits`` bits an entry, on a grid around the vector that this link delivered last.

    .. math:: \hat x = \hat x' - R + k\,\Delta, \quad \Delta = 2R/(2^b - 1), \quad k \in \{0, …, 2^b - 1\},
        \quad R = \max_i |x_i - \hat x'_i|

    with :math:`\hat x'` the last vector decoded, 0 before a first one. Rounded to the nearest level (half a step goes
    up), it is off by at most :math:`\Delta/2 = R/(2^b - 1)`: as vectors change less from message to message, the same
    bits say more. To that comes the rounding of float32, below :math:`2^{-20}` of the larger one of x and
    :math:`\hat x'`. Zero is no level; a vector that did not change arrives as the last one.

    Both ends remember the vector decoded; a message that does not arrive changes it at neither. Where the transport
    keeps no memory (the downlink) every message is the first. What came in part is not decoded: the ends would remember
    different vectors. What differs from the last vector by more than float32 holds is cut to that.

    Attributes:
        bits: per entry, b, 1 … 16.
        block: which entries share R; the paper's is the whole vector's.
        coder: how symbols become bits.

    Payload: float32 R of each group, symbols; with ``Fixed`` words ``32 * groups + bits * entries`` bits.

    Source: J. Sun, T. Chen, G. B. Giannakis and Z. Yang, *Communication-Efficient Distributed Learning via Lazily
    Aggregated Quantized Gradients*, 2019, section 2.1. Differs from it in: updates in place of
    gradients, in groups if asked for.
    """

    kind: ClassVar[str] = "laq"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = (
        "Sun, Chen, Giannakis, Yang 2019, Lazily Aggregated Quantized Gradients, section 2.1"
    )
    bound: ClassVar[str] = (
        "|error| <= R / (2**b - 1), R the largest change since the last vector that arrived"
    )

    bits: int = 4
    block: Block = "vector"
    coder: Annotated[Coder, CODERS] = Fixed()

    def __post_init__(self) -> None:
        require(
            1 <= self.bits <= 16, "bits", self.bits, "in 1 … 16", "to send entries whole use kind = 'float32'"
        )
        require_block(self.block)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        entries = checked_entries(x, ctx)
        spans, last = self._spans(ctx.layout), _last(ctx)
        radii = _radii(entries, last, spans)
        symbols = np.empty(entries.shape, symbol_dtype(self.bits))
        for piece in pieces(spans):
            radius = piece.column(radii).astype(np.float64)
            levels = np.subtract(piece.rows(entries), piece.rows(last), dtype=np.float64)
            levels += radius
            levels *= np.divide(self._top, 2 * radius, out=np.zeros_like(radius), where=radius > 0)
            levels += 0.5
            np.floor(levels, out=levels)
            piece.rows(symbols)[...] = np.clip(levels, 0, self._top, out=levels)
        side = radii.astype("<f4", copy=False).tobytes()
        written = self.coder.write(symbols, self._alphabet)
        decoded = self._restored(radii, symbols, last, spans)
        return Payload(b"".join((side, written.body)), 8 * len(side) + written.bits), _with(ctx, decoded)

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        spans = self._spans(ctx.layout)
        size = _NUMBER_BYTES * count_groups(spans)
        behind = inner_payload(payload, side_bytes=size)
        radii = read_scales(memoryview(payload.body)[:size], "largest change of a group")
        symbols = self.coder.read(
            memoryview(behind.body), behind.bits, self._alphabet, count=ctx.layout.length
        )
        decoded = self._restored(radii, symbols, _last(ctx), spans)
        return torch.from_numpy(decoded.copy()), _with(ctx, decoded)

    @property
    def _top(self) -> int:
        return (1 << self.bits) - 1

    @property
    def _alphabet(self) -> Alphabet:
        return Alphabet(self._top + 1, centre=(self._top + 1) // 2)

    def _spans(self, layout: Layout) -> list[Span]:
        return spans_of(layout, self.block)

    def _restored(
        self,
        radii: NDArray[np.float32],
        symbols: NDArray[np.unsignedinteger],
        last: NDArray[np.float32],
        spans: list[Span],
    ) -> NDArray[np.float32]:
        """[entries] in double precision until the end, so that both ends get the same bits."""
        entries = np.empty(symbols.shape, np.float32)
        for piece in pieces(spans):
            radius = piece.column(radii).astype(np.float64)
            values = piece.rows(symbols) * (2 * radius / self._top)
            values -= radius
            values += piece.rows(last)
            piece.rows(entries)[...] = np.clip(values, -FLOAT32_MAX, FLOAT32_MAX, out=values)
        return entries


def _last(ctx: Context) -> NDArray[np.float32]:
    """[entries] what this link delivered last; 0 before that, and where the model was another one."""
    kept = ctx.memory.get(_LAST)
    if not isinstance(kept, torch.Tensor) or kept.shape != (ctx.layout.length,):
        return np.zeros(ctx.layout.length, np.float32)
    entries: NDArray[np.float32] = kept.numpy()
    return entries


def _with(ctx: Context, decoded: NDArray[np.float32]) -> Memory:
    return {**ctx.memory, _LAST: torch.from_numpy(decoded)} if decoded.size else ctx.memory


def _radii(entries: NDArray[np.float32], last: NDArray[np.float32], spans: list[Span]) -> NDArray[np.float32]:
    """[groups] largest changes, rounded up to float32: no entry lies outside of its grid."""
    exact = np.zeros(count_groups(spans), np.float64)
    for piece in pieces(spans):
        change = np.subtract(piece.rows(entries), piece.rows(last), dtype=np.float64)
        np.abs(change, out=change)
        column = piece.column(exact)
        np.maximum(column, change.max(axis=1, keepdims=True), out=column)
    radii = np.minimum(exact, FLOAT32_MAX).astype(np.float32)
    below = (radii < exact) & (radii < np.float32(FLOAT32_MAX))
    np.nextafter(radii, np.float32(np.inf), out=radii, where=below)
    return radii
