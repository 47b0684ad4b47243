"""What happens to a model's vector between its owner and the codec.

A layer is a pair of functions and a rule for what its end remembers. Going out, a vector passes the layers in
order; coming in, in reverse order. None of them changes link memory. They say what it will be if the message
arrives (*committed*) and what if it does not (*rolled back*: lost on the air, or held back by a trigger). With error
feedback an update that does not arrive returns whole to the residual, so under any pattern of loss::

    residual + sum of what was delivered = sum of the updates

The same holds where a part was delivered (``erasure``): what is missing is in the residual.

Layers compute where models are, on a card too, and so do codecs that can
(:func:`~syft_fl.codecs.batch.is_everywhere`): of their vectors only packed bytes are on the host. For other codecs a
vector goes there to be written, and comes back when it was read. Both happen in :class:`Pipeline` and in batches of
codecs, and nowhere else. What codecs remember is on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch

from syft_fl.codecs import (
    Codec,
    Context,
    Erasable,
    Float32,
    Gaps,
    Memory,
    Payload,
    Summing,
    decode_batch,
    encode_batch,
    needs_loss,
)
from syft_fl.codecs.scales import FLOAT32_MAX
from syft_fl.devices import CPU
from syft_fl.vectors import Vector

__all__ = ["Decoded", "Delta", "Encoded", "ErrorFeedback", "Layer", "LinkMemory", "Pipeline"]

_WHOLE = Float32()

_NOT_NEEDED = torch.empty(0)


@dataclass(frozen=True, slots=True)
class LinkMemory:
    """What one end of one link remembers about one stream.

    Attributes:
        residual: [entries] what earlier messages failed to deliver; None for nothing.
        codec: what the codec remembers at this end.
    """

    residual: Vector | None = None
    codec: Memory = field(default_factory=dict)


class Layer(Protocol):
    """One transform of a vector on its way to and from the codec."""

    def outgoing(self, x: Vector, memory: LinkMemory, reference: Vector | None) -> Vector: ...

    def incoming(self, y: Vector, reference: Vector | None) -> Vector: ...

    def committed(self, sent: Vector, decoded: Vector, memory: LinkMemory) -> LinkMemory:
        """Memory after a message arrived: ``sent`` went into the codec, ``decoded`` came out of it."""
        ...

    def rolled_back(self, sent: Vector, memory: LinkMemory) -> LinkMemory:
        """Memory after a message did not arrive."""
        ...


@dataclass(frozen=True, slots=True)
class Delta:
    """The difference to the reference that both ends hold."""

    def outgoing(self, x: Vector, memory: LinkMemory, reference: Vector | None) -> Vector:
        return x if reference is None else x - reference

    def incoming(self, y: Vector, reference: Vector | None) -> Vector:
        return y if reference is None else reference + y

    def committed(self, sent: Vector, decoded: Vector, memory: LinkMemory) -> LinkMemory:
        return memory

    def rolled_back(self, sent: Vector, memory: LinkMemory) -> LinkMemory:
        return memory


@dataclass(frozen=True, slots=True)
class ErrorFeedback:
    """Adds the residual to what is sent; what is lost then makes the next residual.

    Source: Karimireddy et al. 2019, "Error feedback fixes SignSGD", algorithm 2.
    """

    def outgoing(self, x: Vector, memory: LinkMemory, reference: Vector | None) -> Vector:
        return x if memory.residual is None else x + memory.residual

    def incoming(self, y: Vector, reference: Vector | None) -> Vector:
        return y

    def committed(self, sent: Vector, decoded: Vector, memory: LinkMemory) -> LinkMemory:
        return replace(memory, residual=sent - decoded)

    def rolled_back(self, sent: Vector, memory: LinkMemory) -> LinkMemory:
        return replace(memory, residual=sent)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What went into the codec, and what the codec remembers if it arrives.

    Attributes:
        sent: None: a whole model; empty: no layer looks at it again.
    """

    sent: Vector | None
    codec_memory: Memory


@dataclass(frozen=True, slots=True)
class Decoded:
    """A received vector, what came out of the codec for it, and what the codec remembers."""

    vector: Vector
    from_codec: Vector
    codec_memory: Memory


@dataclass(frozen=True)
class Pipeline:
    """The layers of a direction with its codec at the end; a value, the same at both ends.

    Attributes:
        erasure: whether what came of a model is decoded where some of it did not.
        device: where vectors are that go in, and those that come out.
    """

    codec: Codec
    layers: tuple[Layer, ...]
    erasure: bool = False
    device: torch.device = CPU

    @classmethod
    def of(
        cls,
        codec: Codec,
        *,
        delta: bool,
        error_feedback: bool = False,
        erasure: bool = False,
        analog: bool = False,
        holds_back: bool = False,
        device: torch.device = CPU,
    ) -> Pipeline:
        """The pipeline of a direction's settings.

        A lossless codec needs no layers, but where parts may be missing (these are then 0 of a difference), where
        differences are sent without any codec (``analog``), and where whole updates are held back and owed.
        """
        if not delta or (codec.lossless and not erasure and not analog and not holds_back):
            return cls(codec, (), erasure, device)
        return cls(codec, (Delta(), ErrorFeedback()) if error_feedback else (Delta(),), erasure, device)

    @cached_property
    def needs_reference(self) -> bool:
        return bool(self.layers)

    @cached_property
    def feeds_back(self) -> bool:
        """Whether the sender keeps what a message lost, for the next one."""
        return ErrorFeedback() in self.layers

    @cached_property
    def needs_loss(self) -> bool:
        """Whether the codec wants to be told of the training loss."""
        return needs_loss(self.codec)

    def difference(self, x: Vector, *, reference: Vector | None, memory: LinkMemory) -> Vector:
        """What a vector is to its codec: all layers, and no more."""
        for layer in self.layers:
            x = layer.outgoing(x, memory, reference)
        return x

    def differences(
        self,
        xs: Sequence[Vector],
        *,
        references: Sequence[Vector | None],
        memories: Sequence[LinkMemory],
    ) -> Vector:
        """[vectors, entries] the :meth:`difference` of each."""
        if self.layers == (Delta(),) and all(reference is references[0] for reference in references):
            return Delta().outgoing(torch.stack(list(xs)), memories[0], references[0])
        each = zip(xs, references, memories, strict=True)
        return torch.stack([self.difference(x, reference=ref, memory=memory) for x, ref, memory in each])

    def encode(
        self, x: Vector, *, reference: Vector | None, memory: LinkMemory, ctx: Context
    ) -> tuple[Payload, Encoded]:
        """Write a vector. Changes nothing.

        With layers but no reference (a UE's first model) the whole vector goes out as float32: the codec is set
        up for differences, and what it did to a whole model would stay in every later one. A payload of float32 is a
        view of the vector, to be packed before anything else.
        """
        if self.needs_reference and reference is None:
            return _WHOLE.lend(x.cpu(), ctx=ctx), Encoded(None, memory.codec)
        x = self.difference(x, reference=reference, memory=memory)
        if isinstance(self.codec, Float32):
            return self.codec.lend(x.cpu(), ctx=ctx), self.encoded(x, ctx.memory)
        if x.device == CPU:
            payload, codec_memory = self.codec.encode(x, ctx=ctx)
        else:
            ((payload, codec_memory),) = encode_batch(self.codec, x[None], [ctx])
        return payload, self.encoded(x, codec_memory)

    def encoded(self, x: Vector, codec_memory: Memory) -> Encoded:
        """What is remembered of a vector until its fate is known."""
        # Only error feedback looks at it again: else a cohort's vectors need not be held until they have arrived.
        return Encoded(x if self.feeds_back else _NOT_NEEDED, codec_memory)

    def decode(self, payload: Payload, *, reference: Vector | None, ctx: Context) -> Decoded:
        """Read a vector from received bytes."""
        if self.needs_reference and reference is None:
            whole = _WHOLE.decode(payload, ctx=ctx)[0].to(self.device)
            return Decoded(whole, whole, ctx.memory)
        if self.device == CPU:
            from_codec, codec_memory = self.codec.decode(payload, ctx=ctx)
        else:
            (from_codec,), (codec_memory,) = decode_batch(self.codec, [payload], [ctx], device=self.device)
        return self.decoded(from_codec, reference=reference, codec_memory=codec_memory)

    def decoded(self, from_codec: Vector, *, reference: Vector | None, codec_memory: Memory) -> Decoded:
        """What came out of the codec, taken through the layers on this end's device."""
        from_codec = from_codec.to(self.device)
        return Decoded(self._incoming(from_codec, reference), from_codec, codec_memory)

    def decode_part(
        self, payload: Payload, gaps: Gaps, *, reference: Vector | None, ctx: Context
    ) -> Decoded | None:
        r"""Read a vector from what came of a payload, where :attr:`erasure` allows it.

        Missing entries count as 0 of the difference. With error feedback they stay in the sender's residual. Without,
        what came is divided by its share :math:`r/n`. Where losses meet all packets alike this is unbiased, and of a
        vector :math:`v` sent in packets that are each lost with probability :math:`p` loses

        .. math:: E\|\hat v - v\|^2 = E[n/r - 1]\,\|v\|^2 \approx \frac{p}{1 - p}\,\|v\|^2
            \quad\text{instead of}\quad p\,\|v\|^2 .

        Left out: the packet of the header is there whenever others count, so the few entries in it come out too large,
        by at most :math:`p/(1 - p)` of themselves.

        Returns:
            None where nothing of use came: it is a whole model, no entry, or not what the codec needs.
        """
        if reference is None or not self.layers:
            return None
        assert isinstance(self.codec, Erasable)
        part = self.codec.decode_part(payload, gaps, ctx=ctx)
        if part is None or not part.share:
            return None
        from_codec = part.vector.to(self.device)
        if part.share < 1 and not self.feeds_back:
            from_codec = (from_codec / part.share).clamp(-FLOAT32_MAX, FLOAT32_MAX)
        return Decoded(self._incoming(from_codec, reference), from_codec, part.memory)

    def _incoming(self, y: Vector, reference: Vector | None) -> Vector:
        for layer in reversed(self.layers):
            y = layer.incoming(y, reference)
        return y

    @cached_property
    def sums(self) -> bool:
        """Whether differences to what both ends hold add up in code space.

        With error feedback they do not: what each UE still owes follows from what its own payload decodes to.
        """
        return isinstance(self.codec, Summing) and self.layers == (Delta(),)

    def aggregate(
        self,
        payloads: Sequence[Payload],
        shares: Sequence[float],
        *,
        references: Sequence[Vector],
        ctxs: Sequence[Context],
        memory: Memory,
    ) -> tuple[Vector, Memory]:
        """The mean of vectors from the sum of their payloads, where the pipeline :attr:`sums`.

        Differences add up whatever they refer to: the mean of vectors is that of the references and that of the
        differences.

        Args:
            payloads, references, ctxs: [senders] what came, what it refers to, and what both ends knew of it.
            shares: [senders] of each in the mean, with a sum of 1.
            memory: what the last sum left behind.

        Returns:
            The mean, and what this sum leaves behind.
        """
        assert isinstance(self.codec, Summing)
        difference, memory = self.codec.aggregate(payloads, shares, ctxs=ctxs, memory=memory)
        base = references[0]
        for share, reference in zip(shares, references, strict=True):
            if reference is not references[0]:
                base = base + share * (reference - references[0])
        return base + difference.to(self.device), memory

    def committed(self, encoded: Encoded, decoded: Decoded, memory: LinkMemory) -> LinkMemory:
        """What the sender remembers once the message has arrived."""
        if encoded.sent is None:
            return LinkMemory(codec=encoded.codec_memory)
        for layer in self.layers:
            memory = layer.committed(encoded.sent, decoded.from_codec, memory)
        return replace(memory, codec=encoded.codec_memory)

    def rolled_back(self, encoded: Encoded, memory: LinkMemory) -> LinkMemory:
        """What the sender remembers once the message is known not to arrive."""
        if encoded.sent is not None:
            for layer in self.layers:
                memory = layer.rolled_back(encoded.sent, memory)
        return memory
