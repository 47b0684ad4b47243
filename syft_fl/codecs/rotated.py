"""Rotate first, quantise then: any codec behind a randomised Hadamard transform."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch

from syft_fl.codecs.codec import CODECS, Codec, Context, Erasable, Gaps, Memory, Part, Payload
from syft_fl.codecs.entries import checked_body, checked_entries
from syft_fl.codecs.erasure import blanked, cut, why_not_erasable
from syft_fl.codecs.nested import inner_context, inner_payload, merged
from syft_fl.codecs.rotation import require_rotation_block, rotate, rotate_back
from syft_fl.codecs.scales import FLOAT32_MAX, read_scales
from syft_fl.codecs.uniform import Uniform
from syft_fl.schema import schema
from syft_fl.vectors import Layout, Vector

__all__ = ["Rotated"]


@CODECS
@schema
class Rotated:
    r"""Another codec behind a random rotation, which makes all entries alike before they are quantised.

    With ``Uniform`` stochastic rounding at :math:`k` levels over a whole rotated vector the mean of :math:`n` senders
    has

    .. math:: \text{MSE} \le \frac{2\ln d + 2}{n(k-1)^2}\,\frac1n\sum_i\|X_i\|^2

    where without rotation one large entry would spoil the grid of all.

    Attributes:
        codec: what writes the rotated vector; it sees one tensor.
        block: entries rotated together, a power of two.

    Payload: float32 largest magnitude, by which the vector is divided (so that no sum overflows), then the codec's. Of
    what came in part, what the codec misses is 0 in the rotated vector: over rotations, every entry of :math:`n` then
    arrives on average as :math:`r/n` of itself, :math:`r` the coordinates that came, whichever these are. Without the
    largest magnitude nothing can be decoded.

    Source: Suresh, Yu, Kumar, McMahan 2017, "Distributed Mean Estimation with Limited Communication", section 3 and
    theorem 3. Differs from it in: blocks instead of padding to a power of two.
    """

    kind: ClassVar[str] = "rotated"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = (
        "Suresh et al. 2017, Distributed Mean Estimation with Limited Communication, section 3"
    )
    bound: ClassVar[str] = "the squared error of the codec behind it, on the rotated vector"

    codec: Annotated[Codec, CODECS] = Uniform(bits=4, rounding="stochastic", block=8192)
    block: int = 8192

    def __post_init__(self) -> None:
        require_rotation_block(self.block)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        entries = checked_entries(x, ctx)
        if not entries.size:
            return Payload(b"", 0), ctx.memory
        scale = max(float(entries.max()), -float(entries.min()))
        rotated = rotate(entries / np.float32(scale or 1), ctx.key, self.block)
        inner, memory = self.codec.encode(torch.from_numpy(rotated), ctx=_flat(ctx))
        body = np.float32(scale).astype("<f4").tobytes() + inner.body
        return Payload(body, 32 + inner.bits), merged(ctx.memory, memory)

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        if not ctx.layout.length:
            checked_body(payload, 0, self.kind)
            return torch.empty(0, dtype=torch.float32), ctx.memory
        inner = inner_payload(payload, side_bytes=4)
        rotated, memory = self.codec.decode(inner, ctx=_flat(ctx))
        return self._rotated_back(rotated, payload, ctx), merged(ctx.memory, memory)

    @property
    def erasable(self) -> bool:
        return not why_not_erasable(self.codec)

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        assert isinstance(self.codec, Erasable)
        if not ctx.layout.length:
            return Part(*self.decode(payload, ctx=ctx), 1.0)
        if cut(gaps, 0, 32):
            return None
        payload = Payload(blanked(payload.body, gaps), payload.bits)
        inner = inner_payload(payload, side_bytes=4)
        part = self.codec.decode_part(inner, cut(gaps, 32, payload.bits), ctx=_flat(ctx))
        if part is None:
            return None
        x = self._rotated_back(part.vector, payload, ctx)
        return Part(x, merged(ctx.memory, part.memory), part.share)

    def _rotated_back(self, rotated: Vector, payload: Payload, ctx: Context) -> Vector:
        (scale,) = read_scales(memoryview(payload.body)[:4], "largest magnitude")
        bounded = np.clip(rotated.numpy(), -1e30, 1e30)  # no honest entry is beyond the block's square root
        entries = rotate_back(bounded, ctx.key, self.block)
        with np.errstate(over="ignore"):
            entries *= scale
        return torch.from_numpy(np.clip(entries, -FLOAT32_MAX, FLOAT32_MAX, out=entries))


def _flat(ctx: Context) -> Context:
    return inner_context(ctx, Layout.flat(ctx.layout.length))
