"""Clip first, quantise then: any codec, of a vector whose largest entries or whose norm are limited."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Codec, Context, Erasable, Gaps, Memory, Part, Payload
from syft_fl.codecs.entries import checked_entries
from syft_fl.codecs.erasure import why_not_erasable
from syft_fl.codecs.groups import Block, Span, count_groups, pieces, require_block, spans_of
from syft_fl.codecs.nested import inner_context, merged
from syft_fl.codecs.scales import group_widths
from syft_fl.codecs.terngrad import TernGrad
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, Vector

__all__ = ["Clipped"]

_USUAL_DEVIATIONS = 2.5


@CODECS
@schema
class Clipped:
    r"""Another codec, behind a clip that the decoder need not know of.

    .. math:: \operatorname{clip}(x)_i = \operatorname{sgn}(x_i)\min(|x_i|, c\,\sigma), \quad
        \sigma^2 = \tfrac1n \textstyle\sum_i x_i^2 \text{ of the group}

    so that one large entry no longer decides the scale of all: of Gaussian entries 1.24 % are clipped at 2.5
    deviations, at an error of 0.0024 of the energy. With a ``norm`` the whole vector is shortened to it if it is
    longer: :math:`x\min(1, c/\|x\|)`. What is clipped is owed: error feedback sends it later.

    Attributes:
        deviations: the largest magnitude in standard deviations :math:`\sigma` of a group, above 0; left out: 2.5, the
            paper's, or without such a limit if there is a ``norm``.
        norm: the largest l2 norm of the vector, above 0; left out: without one. If there are both, deviations are
            first.
        block: which entries share :math:`\sigma`.
        codec: what writes the vector then.

    Payload: the codec's, also of what came in part.

    Source: Wen, Xu, Yan, Wu, Wang, Chen, Li 2017, "TernGrad: Ternary Gradients to Reduce Communication in Distributed
    Deep Learning", gradient clipping (deviations). Differs from it in: the deviation is about 0, as the clip is, so
    that a group that lies far from 0, or has but one entry, does not vanish. Pascanu, Mikolov, Bengio 2013, "On the
    difficulty of training recurrent neural networks", algorithm 1 (norm).
    """

    kind: ClassVar[str] = "clipped"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Wen et al. 2017, TernGrad, gradient clipping; Pascanu et al. 2013, algorithm 1"
    bound: ClassVar[str] = "what is clipped, and the error of the codec behind it on what is left"

    deviations: float | None = None
    norm: float | None = None
    block: Block = "tensor"
    codec: Annotated[Codec, CODECS] = TernGrad()

    def __post_init__(self) -> None:
        for name, limit in (("deviations", self.deviations), ("norm", self.norm)):
            ok = limit is None or 0 < limit < math.inf
            require(ok, name, limit, "above 0 and finite", "leave it out for no such limit")
        require_block(self.block)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        clipped = self._clip(checked_entries(x, ctx), ctx.layout)
        payload, memory = self.codec.encode(torch.from_numpy(clipped), ctx=inner_context(ctx, ctx.layout))
        return payload, merged(ctx.memory, memory)

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        x, memory = self.codec.decode(payload, ctx=inner_context(ctx, ctx.layout))
        return x, merged(ctx.memory, memory)

    @property
    def erasable(self) -> bool:
        return not why_not_erasable(self.codec)

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        assert isinstance(self.codec, Erasable)
        part = self.codec.decode_part(payload, gaps, ctx=inner_context(ctx, ctx.layout))
        return None if part is None else replace(part, memory=merged(ctx.memory, part.memory))

    def _clip(self, entries: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
        deviations = _USUAL_DEVIATIONS if self.deviations is None and self.norm is None else self.deviations
        if deviations is not None:
            entries = _within_deviations(entries, layout, self.block, deviations)
        return entries if self.norm is None else _within_norm(entries, self.norm)


def _within_deviations(
    entries: NDArray[np.float32], layout: Layout, block: Block, most: float
) -> NDArray[np.float32]:
    spans = spans_of(layout, block)
    with np.errstate(over="ignore"):  # beyond float32 nothing is clipped
        limits = (most * _deviations(entries, spans)).astype(np.float32)
    clipped = np.empty_like(entries)
    for piece in pieces(spans):
        limit = piece.column(limits)
        np.clip(piece.rows(entries), -limit, limit, out=piece.rows(clipped))
    return clipped


def _deviations(entries: NDArray[np.float32], spans: list[Span]) -> NDArray[np.float64]:
    """[groups] root mean squares, beyond float32 too. No BLAS, whose sums depend on the number of threads."""
    squares = np.empty(count_groups(spans), np.float64)
    for span in spans:
        rows = span.rows(entries)
        np.einsum("ij,ij->i", rows, rows, dtype=np.float64, out=span.column(squares)[:, 0])
    return np.sqrt(squares / group_widths(spans))


def _within_norm(entries: NDArray[np.float32], most: float) -> NDArray[np.float32]:
    norm = math.sqrt(float(np.einsum("i,i->", entries, entries, dtype=np.float64)))
    if norm <= most:
        return entries
    return np.multiply(
        entries, most / norm, out=np.empty_like(entries), dtype=np.float64, casting="same_kind"
    )
