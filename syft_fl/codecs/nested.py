"""A codec inside a codec: what the inner one gets of the context and of the payload.

The inner codec has a key and a memory of its own, under the outer one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from syft_fl.codecs.codec import Context, Memory, Payload
from syft_fl.errors import CodecError
from syft_fl.vectors import Layout

__all__ = ["inner_context", "inner_payload", "merged", "needs_loss"]


def inner_context(ctx: Context, layout: Layout, name: str = "inner") -> Context:
    """The context of a codec that sees ``layout`` instead of the message's."""
    memory = ctx.memory.get(name, {})
    return replace(
        ctx, layout=layout, key=ctx.key / name, memory=memory if isinstance(memory, Mapping) else {}
    )


def merged(memory: Memory, inner: Memory, name: str = "inner") -> Memory:
    """The outer codec's memory with the inner one's in it; as it was where there is none."""
    return {**memory, name: inner} if inner else memory


def inner_payload(payload: Payload, *, side_bytes: int) -> Payload:
    """What is behind the outer codec's side information.

    Raises:
        CodecError: the payload ends before.
    """
    if payload.bits < 8 * side_bytes:
        raise CodecError(
            f"payload of {payload.bits} bits ends within the {8 * side_bytes} bits of side information; "
            "both ends must have the same codec settings and the same architecture"
        )
    return Payload(payload.body[side_bytes:], payload.bits - 8 * side_bytes)


def needs_loss(codec: Any) -> bool:
    """Whether a codec, or one anywhere behind it, wants to be told of the training loss (``needs_loss = True``)."""
    if getattr(codec, "needs_loss", False):
        return True
    if isinstance(codec, tuple):
        return any(needs_loss(part) for part in codec)
    is_value = is_dataclass(codec) and not isinstance(codec, type)
    return is_value and any(needs_loss(getattr(codec, field.name)) for field in fields(codec))
