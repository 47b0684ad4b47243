"""What every codec must do that decodes a part of a payload; it joins by having ``decode_part``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from claims import CLAIMS
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.codecs import (
    CODECS,
    Codec,
    Context,
    Erasable,
    Float32,
    Gaps,
    Layered,
    Part,
    Payload,
    PowerSGD,
    RandK,
    Rotated,
    TopK,
    Uniform,
    blanked,
    cut,
    encode_batch,
    erasable_kinds,
    why_not_erasable,
)
from syft_fl.codecs.coders import ANS, CODERS, Alphabet, Coder, Located
from syft_fl.codecs.erasure import touched
from syft_fl.codecs.quantiser import Quantiser
from syft_fl.errors import CodecError, ConfigError
from syft_fl.keys import Key
from syft_fl.schema import plain
from syft_fl.transport import Uplink
from syft_fl.vectors import Layout, Slot

PROPERTY = settings(derandomize=True, deadline=None, max_examples=10)

EVERY = [CODECS.build({"kind": kind} | fields) for kind, claim in CLAIMS.items() for fields in claim.settings]
ERASABLE: list[Any] = [codec for codec in EVERY if not why_not_erasable(codec)]


def name_of(codec: Codec) -> str:
    return ",".join(str(value) for value in plain(codec).values())


every_codec = pytest.mark.parametrize("codec", ERASABLE, ids=name_of)
# Whose entries are at places of their own, neither rotated nor drawn.
every_plain_codec = pytest.mark.parametrize(
    "codec",
    [
        codec
        for codec in ERASABLE
        if codec.kind not in ("rotated", "eden", "drive", "rand-k", "layered")
        and getattr(codec, "codec", None) is None
    ],
    ids=name_of,
)
every_quantiser = pytest.mark.parametrize(
    "codec", [codec for codec in ERASABLE if isinstance(codec, Quantiser)], ids=name_of
)

LAYOUT = Layout((Slot("tensor0", (6, 5), 0), Slot("empty", (0,), 30), Slot("tensor1", (14,), 30)))


def gaussian(length: int, name: str = "gaussian") -> torch.Tensor:
    return torch.randn(length, generator=(Key(0) / name).torch())


def context(layout: Layout = LAYOUT) -> Context:
    return Context(layout, Key(1))


def sent(codec: Codec, layout: Layout = LAYOUT) -> tuple[Payload, torch.Tensor]:
    """A payload, and what the whole of it decodes to."""
    payload, _ = codec.encode(gaussian(layout.length), ctx=context(layout))
    return payload, codec.decode(payload, ctx=context(layout))[0]


def garbled(payload: Payload, gaps: Gaps, fill: str) -> Payload:
    """The payload with anything in its gaps."""
    bits = np.unpackbits(np.frombuffer(payload.body, np.uint8), bitorder="little")
    for first, end in gaps:
        draws = (Key(2) / fill).numpy().integers(0, 2, end - first)
        bits[first:end] = {"ones": 1, "zeros": 0}.get(fill, draws)
    return Payload(np.packbits(bits, bitorder="little").tobytes(), payload.bits)


@st.composite
def gaps_within(draw: st.DrawFn, bits: int, *, start: int = 0) -> Gaps:
    """Stretches in order and apart, at any bit from ``start`` on."""
    edges = sorted(draw(st.sets(st.integers(min(start, bits), bits), max_size=6)))
    return tuple(zip(edges[::2], edges[1::2], strict=False))


# --- which codecs ---------------------------------------------------------------------------------


def test_what_can_be_decoded_in_part_is_known_before_anything_is_sent() -> None:
    for codec in EVERY:
        can = isinstance(codec, Erasable) and codec.erasable
        assert can == (not why_not_erasable(codec))
        coder = getattr(codec, "coder", None)
        assert not can or coder is None or coder.kind == "fixed"
    assert {codec.kind for codec in ERASABLE} == set(erasable_kinds())
    assert {"float32", "float16", "uniform", "qsgd", "rand-k", "eden", "rotated", "layered"} <= set(
        erasable_kinds()
    )
    assert not {"top-k", "threshold", "uveqfed", "powersgd", "count-sketch"} & set(erasable_kinds())


@pytest.mark.parametrize(
    ("codec", "why"),
    [
        (TopK(), "codec 'top-k'"),
        (Uniform(coder=ANS()), "codec 'uniform' with coder 'ans'"),
        (Rotated(codec=Uniform(coder=ANS())), "codec 'uniform' with coder 'ans' within 'rotated'"),
        (RandK(codec=PowerSGD()), "codec 'powersgd' within 'rand-k'"),
    ],
)
def test_a_policy_that_the_codec_can_not_follow_is_refused_with_those_that_can(
    codec: Codec, why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Uplink(codec=codec, erasure=True)
    (line,) = str(caught.value).splitlines()
    assert f"erasure = True must be false with {why}, of which a part can't be decoded" in line
    assert "with coder = 'fixed' these can: adaquantfl, bfloat16" in line
    assert Uplink(codec=codec).erasure is False


def test_a_policy_needs_differences() -> None:
    with pytest.raises(
        ConfigError, match=r"erasure = True must be false where delta = false.*set delta = true"
    ):
        Uplink(codec=Uniform(), delta=False, erasure=True)


# --- what a part decodes to -----------------------------------------------------------------------


@every_codec
def test_without_a_gap_a_part_is_the_whole(codec: Any) -> None:
    for layout in (LAYOUT, Layout.flat(0), Layout.flat(1), Layout.flat(5000)):
        payload, whole = sent(codec, layout)
        part = codec.decode_part(payload, (), ctx=context(layout))
        assert torch.equal(part.vector.view(torch.int32), whole.view(torch.int32))
        assert part.share == 1
        assert part.memory == codec.decode(payload, ctx=context(layout))[1]


@every_codec
@given(data=st.data())
@PROPERTY
def test_what_is_in_the_gaps_changes_nothing(codec: Any, data: st.DataObject) -> None:
    payload, _ = sent(codec)
    gaps = data.draw(gaps_within(payload.bits))
    parts = [
        codec.decode_part(garbled(payload, gaps, fill), gaps, ctx=context())
        for fill in ("zeros", "ones", "noise")
    ]
    before = bytes(payload.body)
    parts.append(codec.decode_part(payload, gaps, ctx=context()))
    assert bytes(payload.body) == before
    if parts[0] is None:
        assert parts == [None] * 4
        return
    for part in parts:
        assert part.vector.dtype == torch.float32
        assert part.vector.shape == (LAYOUT.length,)
        assert bool(torch.isfinite(part.vector).all())
        assert 0 <= part.share <= 1
        assert torch.equal(part.vector, parts[0].vector)
        assert part.share == parts[0].share


@every_codec
def test_of_nothing_comes_nothing(codec: Any) -> None:
    payload, _ = sent(codec)
    part = codec.decode_part(payload, ((0, payload.bits),), ctx=context())
    assert part is None or (part.share == 0 and not part.vector.any())


@every_codec
def test_the_later_a_gap_begins_the_more_came(codec: Any) -> None:
    payload, _ = sent(codec)
    shares = [0.0]
    for first in range(0, payload.bits, 4):
        part = codec.decode_part(payload, ((first, payload.bits),), ctx=context())
        if part is not None:
            assert part.share > 0 or not part.vector.any()
            shares.append(part.share)
    assert shares == sorted(shares)
    if not isinstance(codec, Layered):
        assert shares[-1] > 0.9 or payload.bits <= 32


@every_codec
def test_a_gap_at_either_end_leaves_the_rest(codec: Any) -> None:
    layout = Layout.flat(5000)
    payload, whole = sent(codec, layout)
    last = codec.decode_part(payload, ((payload.bits - 1, payload.bits),), ctx=context(layout))
    assert last is not None
    if not isinstance(codec, Layered):
        # The last entries of the last block, or a value that was drawn.
        assert 0.5 < last.share < 1
        assert float((last.vector != whole).float().mean()) < 0.5
    assert not torch.equal(last.vector, whole) or not whole[-64:].all()
    first = codec.decode_part(payload, ((0, 1),), ctx=context(layout))
    assert first is None or first.share < 1


@every_plain_codec
@given(data=st.data())
@PROPERTY
def test_an_entry_is_missing_just_where_one_of_its_bits_is(codec: Any, data: st.DataObject) -> None:
    payload, whole = sent(codec)
    first_bit = data.draw(st.integers(0, payload.bits))
    gaps = data.draw(gaps_within(min(first_bit + 80, payload.bits), start=first_bit))
    part = codec.decode_part(payload, gaps, ctx=context())
    side = payload.bits - _entry_bits(codec) * LAYOUT.length
    if part is None:
        assert cut(gaps, 0, side)
        return
    missing = part.vector != whole
    assert not part.vector[missing].any()
    # Bit by bit: what another bit would have changed depends on it.
    depends, refused = torch.zeros_like(missing), False
    for first, end in gaps:
        for bit in range(first, end):
            body = bytearray(payload.body)
            body[bit // 8] ^= 1 << bit % 8
            try:
                other, _ = codec.decode(Payload(bytes(body), payload.bits), ctx=context())
            except CodecError:
                refused = True
                continue
            # Where a scale asks for other arithmetic, all entries are rounded in another way.
            same = torch.isclose(other, whole, rtol=1e-5, atol=0) if bit < side else other == whole
            depends |= ~same
    assert not part.vector[depends].any()
    # One bit of a scale may change no more than some entries of its group.
    if not refused and not cut(gaps, 0, side):
        assert not (missing & ~depends).any()
        assert part.share == pytest.approx(1 - int(depends.sum()) / LAYOUT.length, abs=1e-12)


def _entry_bits(codec: Any) -> int:
    """Bits of an entry, scales aside."""
    bits = {"float32": 32, "float16": 16, "bfloat16": 16, "fp8": 8}
    return bits.get(codec.kind) or int(codec.alphabet().bits)


@every_quantiser
def test_a_gap_over_a_border_of_entries_drops_both(codec: Any) -> None:
    layout = Layout.flat(64)
    payload, whole = sent(codec, layout)
    width = min(codec.alphabet().bits, 8)  # of wider ones the low bytes come first
    start = 8 * codec.side_bytes(layout)
    border = start + 4 * width
    part = codec.decode_part(payload, ((border - 1, border + 1),), ctx=context(layout))
    expected = whole.clone()
    expected[3:5] = 0
    assert torch.equal(part.vector, expected)
    assert part.share == 62 / 64
    all_gone = codec.decode_part(payload, ((start, payload.bits),), ctx=context(layout))
    assert all_gone.share == 0
    assert not all_gone.vector.any()


@pytest.mark.parametrize(
    "kind", ["uniform", "qsgd", "terngrad", "sign", "one-bit", "dithered", "block-float", "fp8"]
)
def test_a_scale_that_is_missing_takes_its_group_and_no_other(kind: str) -> None:
    codec = CODECS.build({"kind": kind, "block": 16})
    layout = Layout.flat(64)
    payload, whole = sent(codec, layout)
    number = 8 if kind == "block-float" else 32
    part = codec.decode_part(payload, ((2 * number + 1, 2 * number + 2),), ctx=context(layout))
    expected = whole.clone()
    expected[32:48] = 0
    assert torch.equal(part.vector, expected)
    assert part.share == 0.75


@every_codec
def test_payloads_of_a_batch_are_decoded_in_part_as_those_of_single_calls(codec: Any) -> None:
    ctxs = [Context(LAYOUT, Key(1) / f"ue{i}") for i in range(3)]
    xs = torch.stack([gaussian(LAYOUT.length, f"ue{i}") for i in range(3)])
    for x, ctx, (payload, _) in zip(xs, ctxs, encode_batch(codec, xs, ctxs), strict=True):
        gaps = ((payload.bits // 2, payload.bits // 2 + 9),)
        alone = codec.encode(x, ctx=ctx)[0]
        found, expected = (codec.decode_part(of, gaps, ctx=ctx) for of in (payload, alone))
        assert (found is None) == (expected is None)
        if found is not None:
            assert torch.equal(found.vector, expected.vector)
            assert found.share == expected.share


def test_drawn_entries_that_are_missing_are_zero_and_the_others_stay() -> None:
    codec = RandK(fraction=0.5)
    layout = Layout.flat(40)
    payload, whole = sent(codec, layout)
    drawn = torch.nonzero(whole).flatten()
    part = codec.decode_part(payload, ((32 * 3, 32 * 5),), ctx=context(layout))
    assert part is not None
    expected = whole.clone()
    expected[drawn[3:5]] = 0
    assert torch.equal(part.vector, expected)
    assert part.share == 18 / 20


# --- layers ---------------------------------------------------------------------------------------

MODEL = Layout((Slot("a.weight", (8, 4), 0), Slot("a.bias", (8,), 32), Slot("b.weight", (3, 8), 40)))


def layered_part(codec: Layered, gaps: Gaps) -> tuple[Part, torch.Tensor]:
    payload, whole = sent(codec, MODEL)
    part = codec.decode_part(payload, gaps, ctx=context(MODEL))
    assert part is not None
    return part, whole


def test_each_layer_is_decoded_from_what_came_of_it() -> None:
    # Biases (behind a length of two bytes: 256 bits), then the last layer (the same: 384), then all others.
    codec = Layered(codec=Float32(), biases=Float32(), last=CODECS.build("float16"))
    biases, last, others = 16, 16 + 256 + 16, 16 + 256 + 16 + 384
    part, whole = layered_part(
        codec, ((biases + 32, biases + 33), (last, last + 16), (others + 1023, others + 1024))
    )
    expected = whole.clone()
    expected[[33, 40, 31]] = 0
    assert torch.equal(part.vector, expected)
    assert part.share == pytest.approx(61 / 64)


def test_a_layer_whose_codec_can_not_is_zero_and_the_others_are_there() -> None:
    codec = Layered(codec=TopK(fraction=0.5), biases=Float32())
    part, whole = layered_part(codec, ((16 + 256 + 5, 16 + 256 + 6),))
    expected = torch.zeros(MODEL.length)
    expected[32:40] = whole[32:40]
    assert torch.equal(part.vector, expected)
    assert part.share == 8 / 64
    untouched, _ = layered_part(codec, ((16, 16 + 32),))
    expected = whole.clone()
    expected[32] = 0
    assert torch.equal(untouched.vector, expected)


@pytest.mark.parametrize("bit", [16 + 256, 16 + 256 + 8])
def test_without_its_length_a_layer_and_those_behind_it_are_missing(bit: int) -> None:
    codec = Layered(codec=Float32(), biases=Float32(), last=CODECS.build("float16"))
    part, whole = layered_part(codec, ((bit, bit + 1),))
    expected = torch.zeros(MODEL.length)
    expected[32:40] = whole[32:40]
    assert torch.equal(part.vector, expected)


# --- bits and gaps --------------------------------------------------------------------------------


@given(st.binary(max_size=40), st.data())
@PROPERTY
def test_gaps_are_cleared_and_nothing_else(body: bytes, data: st.DataObject) -> None:
    gaps = data.draw(gaps_within(8 * len(body)))
    bits = np.unpackbits(np.frombuffer(body, np.uint8), bitorder="little")
    for first, end in gaps:
        bits[first:end] = 0
    assert blanked(body, gaps) == np.packbits(bits, bitorder="little").tobytes()


@given(gaps_within(120), st.integers(0, 120), st.integers(0, 120))
@PROPERTY
def test_a_cut_counts_from_its_first_bit(gaps: Gaps, first: int, end: int) -> None:
    inside = {bit for start, stop in gaps for bit in range(start, stop)}
    kept = {bit for start, stop in cut(gaps, first, end) for bit in range(start, stop)}
    assert kept == {bit - first for bit in inside if first <= bit < end}


@given(gaps_within(150), st.integers(0, 30))
@PROPERTY
def test_a_word_is_touched_by_any_of_its_bits(gaps: Gaps, width: int) -> None:
    count = 150 // width if width else 7
    inside = {bit for start, stop in gaps for bit in range(start, stop)}
    expected = [any(bit in inside for bit in range(i * width, (i + 1) * width)) for i in range(count)]
    assert touched(gaps, width=width, count=count).tolist() == expected


LOCATED = [cls() for cls in CODERS if isinstance(cls(), Located) and cls.__module__.startswith("syft_fl.")]


@pytest.mark.parametrize("coder", LOCATED, ids=lambda coder: coder.kind)
@pytest.mark.parametrize("size", [1, 2, 3, 15, 200, 256, 257, 5000, 65536])
@given(data=st.data())
@PROPERTY
def test_a_located_coder_knows_which_symbols_a_bit_is_of(
    coder: Coder, size: int, data: st.DataObject
) -> None:
    assert isinstance(coder, Located)
    alphabet = Alphabet(size)
    symbols = (Key(3) / size).numpy().integers(0, size, 21).astype(np.uint16)
    written = coder.write(symbols, alphabet)
    gaps = data.draw(gaps_within(written.bits))
    expected, refused = np.zeros(symbols.size, bool), False
    for first, end in gaps:
        for bit in range(first, end):
            body = bytearray(written.body)
            body[bit // 8] ^= 1 << bit % 8
            try:
                read = coder.read(memoryview(bytes(body)), written.bits, alphabet, count=symbols.size)
            except CodecError:
                refused = True
                continue
            expected |= read != symbols
    found = coder.touched(gaps, alphabet, count=symbols.size)
    assert not (expected & ~found).any()
    assert refused or (found == expected).all()
    # Cleared bits never make a symbol that there is not.
    cleared = coder.read(memoryview(blanked(written.body, gaps)), written.bits, alphabet, count=symbols.size)
    assert (cleared[~found] == symbols[~found]).all()
