"""Rules per layer: which codec writes which tensors."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, NamedTuple

import torch

from syft_fl.codecs.codec import CODECS, Codec, Context, Erasable, Gaps, Memory, Part, Payload
from syft_fl.codecs.entries import checked_body, checked_entries
from syft_fl.codecs.erasure import blanked, cut
from syft_fl.codecs.nested import inner_context, merged
from syft_fl.codecs.parts import chained, read_number, taken, write_number
from syft_fl.codecs.qsgd import QSGD
from syft_fl.schema import nearest, require, schema
from syft_fl.vectors import Layout, Slot, Vector

__all__ = ["Layered", "Rule"]


@schema
class Rule:
    """Tensors, by name, and their codec.

    Attributes:
        tensors: a pattern of names as of files: ``*`` is any characters (dots too), ``?`` one, ``[ab]`` one of these.
        codec: what writes them.
    """

    tensors: str
    codec: Annotated[Codec, CODECS]


@CODECS
@schema
class Layered:
    r"""A codec for each kind of tensor, as a model's first and last layer and its biases are often spared.

    .. code-block:: toml

        uplink.codec = { kind = "layered", codec = "qsgd", first = "float32", last = "float32", biases = "float16" }

    or by name, ``rules = [{ tensors = "layer4.*", codec = { kind = "top-k", fraction = 0.01 } }]``. What is first in
    this order decides:

    1. the first of ``rules`` whose pattern is of the tensor's name;
    2. ``biases``, of a tensor of at most one dimension (biases, gains of normalisation);
    3. ``first``, of the first tensor of two dimensions or more, then ``last``, of the last one;
    4. ``codec``.

    The tensors that one of these decides on are one vector for its codec, in their order: top-k chooses among them all,
    scales per tensor stay per tensor.

    Attributes:
        codec: of all other tensors.
        first, last, biases: of these tensors; left out, ``codec`` is.
        rules: by name. One whose pattern is of no tensor's name is refused when a message is encoded.

    Payload: a part for each of these that has entries: the rules' in order, the biases', the first's, the last's, the
    others'; each from a whole byte on, and all but the last one behind its length (bits, seven in a byte, low ones
    first). What came in part is decoded part by part: one with a gap by its codec, if that can, else it is 0. A gap in
    a length hides the parts behind it, which are 0 then.

    Source: Zhou, Wu, Ni, Zhou, Wen, Zou 2016, "DoReFa-Net" (first and last layer whole); Alistarh et al. 2017, "QSGD",
    section 5 (small tensors whole). Differs from them in: the user decides.
    """

    kind: ClassVar[str] = "layered"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Zhou et al. 2016, DoReFa-Net; Alistarh et al. 2017, QSGD, section 5"
    bound: ClassVar[str] = "those of the codecs, each on its tensors"

    codec: Annotated[Codec, CODECS] = QSGD()
    first: Annotated[Codec, CODECS] | None = None
    last: Annotated[Codec, CODECS] | None = None
    biases: Annotated[Codec, CODECS] | None = None
    rules: tuple[Rule, ...] = ()

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        checked_entries(x, ctx)
        groups = list(self._groups(ctx.layout))
        parts: list[Payload] = []
        memory = ctx.memory
        for group in groups:
            part, kept = group.codec.encode(group.of(x), ctx=inner_context(ctx, group.layout, group.name))
            memory = merged(memory, kept, group.name)
            if group is not groups[-1]:
                length = write_number(part.bits)
                parts.append(Payload(length, 8 * len(length)))
            parts.append(part)
        return chained(parts), memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        groups = list(self._groups(ctx.layout))
        if not groups:
            checked_body(payload, 0, self.kind)
        x = torch.zeros(ctx.layout.length, dtype=torch.float32)
        memory = ctx.memory
        for group in groups:
            part, behind = payload, Payload(b"", 0)
            if group is not groups[-1]:
                bits, size = read_number(memoryview(payload.body))
                part, behind = taken(taken(payload, 8 * size)[1], bits)
            entries, kept = group.codec.decode(part, ctx=inner_context(ctx, group.layout, group.name))
            group.put(entries, x)
            memory = merged(memory, kept, group.name)
            payload = behind
        return x, memory

    @property
    def erasable(self) -> bool:
        return True

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        groups = list(self._groups(ctx.layout))
        if not groups:
            return Part(*self.decode(payload, ctx=ctx), 1.0)
        payload = Payload(blanked(payload.body, gaps), payload.bits)
        x = torch.zeros(ctx.layout.length, dtype=torch.float32)
        memory, came, bits = ctx.memory, 0.0, payload.bits
        for group in groups:
            first, part, behind = bits - payload.bits, payload, Payload(b"", 0)
            if group is not groups[-1]:
                length, size = read_number(memoryview(payload.body))
                # A byte that did not come reads as the last one of a number: it is among these.
                if cut(gaps, first, first + 8 * size):
                    break
                first += 8 * size
                part, behind = taken(taken(payload, 8 * size)[1], length)
            found = group.part(part, cut(gaps, first, first + part.bits), ctx)
            if found is not None:
                group.put(found.vector, x)
                memory = merged(memory, found.memory, group.name)
                came += found.share * group.layout.length
            payload = behind
        return Part(x, memory, came / ctx.layout.length)

    def _groups(self, layout: Layout) -> Iterator[_Group]:
        """Tensors by what decides on them; those without an entry are in none.

        Raises:
            ConfigError: a rule is of no tensor.
        """
        names = [slot.name for slot in layout.slots]
        for i, rule in enumerate(self.rules):
            ok = not names or any(fnmatchcase(name, rule.tensors) for name in names)
            hint = "" if ok else nearest(rule.tensors, names)
            require(
                ok, f"rules[{i}].tensors", rule.tensors, "a pattern that some tensor's name matches", hint
            )
        codecs = {f"rule{i}": rule.codec for i, rule in enumerate(self.rules)}
        named = {"biases": self.biases, "first": self.first, "last": self.last, "codec": self.codec}
        codecs |= {name: codec for name, codec in named.items() if codec is not None}
        filled = [slot for slot in layout.slots if slot.length]
        deciding = [self._decides(slot, filled) for slot in filled]
        for name, codec in codecs.items():
            slots = [slot for slot, by in zip(filled, deciding, strict=True) if by == name]
            if slots:
                yield _Group(name, codec, tuple(slots), _side_by_side(slots))

    def _decides(self, slot: Slot, slots: list[Slot]) -> str:
        for i, rule in enumerate(self.rules):
            if fnmatchcase(slot.name, rule.tensors):
                return f"rule{i}"
        weights = [slot for slot in slots if len(slot.shape) > 1]
        if len(slot.shape) < 2:
            return "codec" if self.biases is None else "biases"
        if self.first is not None and slot == weights[0]:
            return "first"
        return "codec" if self.last is None or slot != weights[-1] else "last"


class _Group(NamedTuple):
    """Tensors with one codec.

    Attributes:
        name: of what decides on them.
        codec: theirs.
        slots: where they are in the message's vector.
        layout: where they are in the codec's.
    """

    name: str
    codec: Codec
    slots: tuple[Slot, ...]
    layout: Layout

    def of(self, x: Vector) -> Vector:
        """The codec's vector out of the message's; a copy."""
        return torch.cat([x[slot.start : slot.stop] for slot in self.slots])

    def part(self, payload: Payload, gaps: Gaps, ctx: Context) -> Part | None:
        """What came of the codec's vector; None: nothing."""
        inner = inner_context(ctx, self.layout, self.name)
        if isinstance(self.codec, Erasable) and self.codec.erasable:
            return self.codec.decode_part(payload, gaps, ctx=inner)
        return None if gaps else Part(*self.codec.decode(payload, ctx=inner), 1.0)

    def put(self, entries: Vector, x: Vector) -> None:
        """The codec's vector back into the message's."""
        for slot, own in zip(self.slots, self.layout.slots, strict=True):
            x[slot.start : slot.stop] = entries[own.start : own.stop]


def _side_by_side(slots: list[Slot]) -> Layout:
    moved: list[Slot] = []
    start = 0
    for slot in slots:
        moved.append(Slot(slot.name, slot.shape, start))
        start = moved[-1].stop
    return Layout(tuple(moved))
