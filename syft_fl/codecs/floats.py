"""Floating-point numbers as they are: the reference of every comparison."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch

from syft_fl.codecs.codec import CODECS, Context, Gaps, Memory, Part, Payload
from syft_fl.codecs.entries import checked_body, checked_entries, refuse_damaged
from syft_fl.codecs.erasure import blanked, share_of, touched
from syft_fl.schema import schema
from syft_fl.vectors import Vector

__all__ = ["Float16", "Float32"]


@CODECS
@schema
class Float32:
    """IEEE 754 binary32, little-endian: every entry as it is, 32 bits each.

    Of what came in part, entries with a bit in a gap are 0.
    """

    kind: ClassVar[str] = "float32"
    lossless: ClassVar[bool] = True
    paper: ClassVar[str] = "IEEE 754-2008"
    bound: ClassVar[str] = "no error"

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        lent = self.lend(x, ctx=ctx)
        return Payload(bytes(lent.body), lent.bits), ctx.memory

    def lend(self, x: Vector, *, ctx: Context) -> Payload:
        """As :meth:`encode`, without a copy: the payload is a view of the entries, for who reads it at once."""
        body = checked_entries(x, ctx).astype("<f4", copy=False).view(np.uint8).data.toreadonly()
        return Payload(body, 32 * x.numel())

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        body = checked_body(payload, 32 * ctx.layout.length, self.kind)
        x = torch.from_numpy(np.frombuffer(body, "<f4").astype(np.float32))
        # A finite sum has finite terms, and costs a fraction of a mask; a sum that overflows is looked at closely.
        if not math.isfinite(float(x.sum())):
            refuse_damaged(x.numpy(), "an entry")
        return x, ctx.memory

    @property
    def erasable(self) -> bool:
        return True

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        x, memory = self.decode(Payload(blanked(payload.body, gaps), payload.bits), ctx=ctx)
        missing = touched(gaps, width=32, count=x.numel())
        x.numpy()[missing] = 0
        return Part(x, memory, share_of(missing))


@CODECS
@schema
class Float16:
    r"""IEEE 754 binary16, little-endian, rounded to nearest: 16 bits an entry.

    Entries beyond ±65504, its largest finite number, are saturated to that number; entries below
    :math:`2^{-25}` become 0. Between them the error is at most :math:`2^{-11}|x| + 2^{-25}`. Of what came in part,
    entries with a bit in a gap are 0.
    """

    kind: ClassVar[str] = "float16"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "IEEE 754-2008"
    bound: ClassVar[str] = "|error| <= 2**-11 |x| + 2**-25 up to 65504, saturated beyond"

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        checked_entries(x, ctx)
        # torch converts halves with vector instructions; numpy does on few machines.
        largest = torch.finfo(torch.float16).max
        halves = x.detach().clamp(-largest, largest).to(torch.float16).numpy()
        return Payload(halves.astype("<f2", copy=False).tobytes(), 16 * x.numel()), ctx.memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        body = checked_body(payload, 16 * ctx.layout.length, self.kind)
        halves = np.frombuffer(body, "<f2").astype(np.float16)
        x = torch.from_numpy(halves).to(torch.float32)
        if not math.isfinite(float(x.sum())):
            refuse_damaged(x.numpy(), "an entry")
        return x, ctx.memory

    @property
    def erasable(self) -> bool:
        return True

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        x, memory = self.decode(Payload(blanked(payload.body, gaps), payload.bits), ctx=ctx)
        missing = touched(gaps, width=16, count=x.numel())
        x.numpy()[missing] = 0
        return Part(x, memory, share_of(missing))
