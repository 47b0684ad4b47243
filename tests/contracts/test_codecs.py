"""What every registered codec must do. A new codec joins by being registered, and by a claim in ``tests/claims``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from claims import CLAIMS, Claim
from claims.claim import FLOAT32_MAX, ROUNDING, Numbers
from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from syft_fl.codecs import CODECS, Codec, Context, Payload
from syft_fl.codecs.batch import decode_batch, encode_batch
from syft_fl.errors import CodecError, ConfigError
from syft_fl.keys import Key
from syft_fl.schema import plain
from syft_fl.vectors import Layout, Slot

PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)

OURS = [cls for cls in CODECS if cls.__module__.startswith("syft_fl.")]


def claim_of(codec: Codec) -> Claim:
    return CLAIMS[codec.kind]


def name_of(codec: Codec) -> str:
    return ",".join(str(value) for value in plain(codec).values())


EVERY = [
    CODECS.build({"kind": cls.kind} | fields)
    for cls in OURS
    for fields in CLAIMS.get(cls.kind, Claim(({},), lambda c, x, y: x)).settings
]
every_codec = pytest.mark.parametrize("codec", EVERY, ids=name_of)
# All settings of a kind meet each drawn example: drawing takes longer than encoding.
every_kind = pytest.mark.parametrize(
    "codecs", [[c for c in EVERY if isinstance(c, cls)] for cls in OURS], ids=[cls.kind for cls in OURS]
)
RANDOM = [codec for codec in EVERY if claim_of(codec).random(codec)]
every_random_codec = pytest.mark.parametrize("codec", RANDOM, ids=name_of)
OF_KNOWN_VARIANCE = [c for c in RANDOM if claim_of(c).variance(c, np.ones(4), Layout.flat(4)) is not None]
every_codec_of_known_variance = pytest.mark.parametrize("codec", OF_KNOWN_VARIANCE, ids=name_of)
every_other_unbiased_codec = pytest.mark.parametrize(
    "codec", [c for c in RANDOM if claim_of(c).unbiased(c) and c not in OF_KNOWN_VARIANCE], ids=name_of
)
every_sized_codec = pytest.mark.parametrize(
    "codec", [codec for codec in EVERY if claim_of(codec).sized(codec)], ids=name_of
)


def layout_of(*lengths: int) -> Layout:
    starts = np.cumsum([0, *lengths])
    return Layout(tuple(Slot(f"tensor{i}", (n,), int(starts[i])) for i, n in enumerate(lengths)))


def gaussian(length: int, name: str = "gaussian") -> torch.Tensor:
    return torch.randn(length, generator=(Key(0) / name).torch())


def through(codec: Codec, x: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Encode, then decode from nothing but bytes and what the receiver knows (of the key, nothing unless claimed)."""
    payload, _ = codec.encode(x, ctx=ctx)
    received = Payload(bytes(payload.body), payload.bits)
    return codec.decode(received, ctx=receiving(codec, ctx))[0]


def many_through(codec: Codec, x: torch.Tensor, ctxs: list[Context]) -> Numbers:
    """[sends, entries] the same for each context, many at once, with the same bits: ``test_batches.py``."""
    encoded = encode_batch(codec, x.expand(len(ctxs), -1).contiguous(), ctxs)
    received = [Payload(bytes(payload.body), payload.bits) for payload, _ in encoded]
    decoded, _ = decode_batch(codec, received, [receiving(codec, ctx) for ctx in ctxs])
    return decoded.double().numpy()


def receiving(codec: Codec, ctx: Context) -> Context:
    """What the other end knows."""
    return Context(ctx.layout, ctx.key if claim_of(codec).shares_key(codec) else Key(987))


def assert_within_claim(codec: Codec, x: torch.Tensor, layout: Layout) -> None:
    decoded = through(codec, x, Context(layout, Key(1)))
    assert decoded.dtype == torch.float32
    assert decoded.shape == x.shape
    assert bool(torch.isfinite(decoded).all())
    exact = x.double().numpy()
    error = np.abs(decoded.double().numpy() - exact)
    claim = claim_of(codec)
    worst = claim.worst(codec, exact, layout)
    assert (error <= worst).all(), f"off by {error.max()}, claimed {worst[error.argmax()]}"
    if claim.energy is not None:
        with np.errstate(over="ignore"):
            assert np.sum(error**2) <= claim.energy(codec, exact, layout)


@st.composite
def vectors(draw: st.DrawFn) -> tuple[torch.Tensor, Layout]:
    """Any finite float32 entries, cut into tensors anywhere; some tensors are empty."""
    values = draw(hnp.arrays(np.float32, st.integers(0, 70), elements=finite_entries()))
    cuts = sorted(draw(st.lists(st.integers(0, values.size), max_size=4)))
    lengths = np.diff([0, *cuts, values.size])
    return torch.from_numpy(values), layout_of(*(int(n) for n in lengths))


def finite_entries() -> st.SearchStrategy[float]:
    usual = st.floats(-10, 10, width=32)
    return st.one_of(usual, st.floats(width=32, allow_nan=False, allow_infinity=False))


def named(codecs: list[Codec]) -> Iterator[Codec]:
    """One after another; a report of a failure ends with the one that failed."""
    for codec in codecs:
        note(f"{codec}")
        yield codec


# --- the registry ---------------------------------------------------------------------------------


def test_every_registered_codec_has_a_claim() -> None:
    assert {cls.kind for cls in OURS} == set(CLAIMS)  # type: ignore[attr-defined]


@every_codec
def test_a_codec_names_its_paper_and_its_bound(codec: Any) -> None:
    assert codec.paper
    assert codec.bound


@every_codec
def test_settings_survive_a_config_file(codec: Codec) -> None:
    table = json.loads(json.dumps(plain(codec)))
    assert CODECS.build(table) == codec


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("uniform", "bits", 0),
        ("uniform", "bits", 17),
        ("uniform", "block", 0),
        ("qsgd", "levels", 0),
        ("qsgd", "levels", 32768),
        ("qsgd", "block", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_with_a_way_out(kind: str, field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"{field} = {value} must be .*; "):
        CODECS.build({"kind": kind, field: value})


# --- error ----------------------------------------------------------------------------------------


@every_kind
@given(case=vectors())
@PROPERTY
def test_no_error_exceeds_the_stated_bound(codecs: list[Codec], case: tuple[torch.Tensor, Layout]) -> None:
    for codec in named(codecs):
        assert_within_claim(codec, *case)


@every_codec
@pytest.mark.parametrize("length", [0, 1, 2, 3, 511, 512, 513, 1023, 1025, 65537])
def test_every_size_arrives_within_the_bound(codec: Codec, length: int) -> None:
    assert_within_claim(codec, gaussian(length), Layout.flat(length))


@every_codec
def test_tensors_longer_than_a_cache_arrive_within_the_bound(codec: Codec) -> None:
    lengths = (3, 2**18 + 5, 0, 2**18, 10)
    assert_within_claim(codec, gaussian(sum(lengths)), layout_of(*lengths))


@every_codec
@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([0.0] * 20, id="zero"),
        pytest.param([-0.0, 0.0] * 10, id="negative zero"),
        pytest.param([0.1] * 20, id="constant"),
        pytest.param([-3.4e38] * 20, id="huge constant"),
        pytest.param([1.4e-45, 0.0, -1.4e-45, 4.2e-45] * 5, id="least denormals"),
        pytest.param([1e-40, -3e-39, 2e-42, 0.0] * 5, id="denormals"),
        pytest.param([1e38, -1e38] * 10, id="huge"),
        pytest.param([FLOAT32_MAX, -FLOAT32_MAX, 0.0, 1.0] * 5, id="the whole range"),
        pytest.param([FLOAT32_MAX, 3 * 2.0**103] * 10, id="a range that rounds up"),
        pytest.param([1e38, 1e-38, 1e-45, -1.0] * 5, id="all magnitudes"),
        pytest.param([1000.0, 1000.0001] * 10, id="a step below the precision"),
        pytest.param([0.0] * 19 + [7.0], id="one entry alone"),
    ],
)
def test_extreme_vectors_arrive_within_the_bound(codec: Codec, entries: list[float]) -> None:
    assert_within_claim(codec, torch.tensor(entries), Layout.flat(len(entries)))


@every_codec
def test_nothing_but_zeros_arrives_as_zeros(codec: Codec) -> None:
    zeros = torch.zeros(100)
    assert torch.equal(through(codec, zeros, Context(Layout.flat(100), Key(1))), zeros)


@every_codec
def test_lossless_means_every_bit(codec: Codec) -> None:
    x = gaussian(1000) * torch.logspace(-44, 38, 1000)
    # A vector and a matrix: codecs of low rank change only the one, others may spare it.
    layout = Layout((Slot("vector", (100,), 0), Slot("tensor0", (25, 36), 100)))
    decoded = through(codec, x, Context(layout, Key(1)))
    assert torch.equal(decoded.view(torch.int32), x.view(torch.int32)) == codec.lossless


def test_float16_saturates_instead_of_overflowing() -> None:
    codec = CODECS.build("float16")
    x = torch.tensor([65504.0, 65519.0, 65520.0, 1e38, -70000.0])
    decoded = through(codec, x, Context(Layout.flat(5), Key(1)))
    assert decoded.tolist() == [65504.0, 65504.0, 65504.0, 65504.0, -65504.0]


# --- chance ---------------------------------------------------------------------------------------


@every_codec_of_known_variance
def test_mean_and_variance_of_every_entry_are_those_claimed(codec: Codec) -> None:
    sends, length = 1000, 24
    layout = layout_of(10, 14)
    x = gaussian(length)
    exact = x.double().numpy()
    variance = claim_of(codec).variance(codec, exact, layout)
    assert variance is not None
    error = many_through(codec, x, [Context(layout, Key(i)) for i in range(sends)]) - exact
    scale = claim_of(codec).worst(codec, exact, layout)
    resolution = 2.0**-16 * scale + ROUNDING * np.abs(exact).max() * 2
    mean_error = 5 * np.sqrt(variance / sends) + resolution
    assert (np.abs(error.mean(axis=0)) <= mean_error).all()
    # A fourth moment is at most the variance times the largest square.
    fourth = (variance * (scale**2 - variance)).clip(0)
    variance_error = 5 * np.sqrt(fourth / sends) + 2.0**-14 * scale**2 + resolution**2
    assert (np.abs((error**2).mean(axis=0) - variance) <= variance_error).all()


@every_other_unbiased_codec
def test_the_mean_over_keys_is_the_vector(codec: Codec) -> None:
    sends, layout = 400, layout_of(10, 14)
    x = gaussian(layout.length)
    sent = many_through(codec, x, [Context(layout, Key(i)) for i in range(sends)])
    # The scatter is the codec's own, measured; codecs of known variance are held to that instead.
    error = np.abs(sent.mean(axis=0) - x.numpy())
    assert (
        error <= 5.5 * sent.std(axis=0, ddof=1) / np.sqrt(sends) + 2.0**-14 * np.abs(x.numpy()).max()
    ).all()


@every_codec_of_known_variance
def test_the_mean_of_n_senders_is_n_times_as_good(codec: Codec) -> None:
    senders, length = 64, 3000
    ctxs = [Context(Layout.flat(length), Key(5) / f"ue{i}") for i in range(senders)]
    x = gaussian(length)
    exact = x.double().numpy()
    error = (many_through(codec, x, ctxs) - exact).mean(axis=0)
    variance = claim_of(codec).variance(codec, exact, ctxs[0].layout)
    assert variance is not None
    # The squares of nearly Gaussian means: twice the squared variance each. A sixth standard error for the nearly.
    spread = np.sqrt(2 * np.sum(variance**2)) / variance.sum()
    floor = length * (ROUNDING * float(np.abs(exact).max())) ** 2
    assert abs(np.sum(error**2) - variance.sum() / senders) <= (6 * spread * variance.sum() / senders + floor)


@every_codec
def test_the_same_key_gives_the_same_bytes(codec: Codec) -> None:
    x, layout = gaussian(1000), Layout.flat(1000)
    first, again = (codec.encode(x.clone(), ctx=Context(layout, Key(3) / "ue1"))[0] for _ in range(2))
    assert first == again


@every_codec
def test_another_key_gives_another_vector_where_chance_is_used_and_only_there(codec: Codec) -> None:
    x, layout = gaussian(1000), Layout.flat(1000)
    keys = [Key(3) / f"ue{i}" for i in range(4)]
    decoded = {through(codec, x, Context(layout, key)).numpy().tobytes() for key in keys}
    assert len(decoded) == (4 if claim_of(codec).random(codec) else 1)


@every_codec
def test_global_generators_are_neither_asked_nor_moved(codec: Codec) -> None:
    x, ctx = gaussian(300), Context(Layout.flat(300), Key(3))
    bodies = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()
        bodies.append(codec.encode(x, ctx=ctx)[0].body)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]
    assert bodies[0] == bodies[1]


@every_codec
def test_the_vector_and_the_memory_are_left_as_they_were(codec: Codec) -> None:
    x, memory = gaussian(100), {"kept": 1}
    before = x.clone()
    ctx = Context(Layout.flat(100), Key(1), memory=memory)
    payload, sender = codec.encode(x, ctx=ctx)
    decoded, receiver = codec.decode(payload, ctx=ctx)
    assert torch.equal(x, before)
    assert memory == {"kept": 1}
    if not claim_of(codec).remembers(codec):
        assert sender == receiver == memory
    decoded.zero_()  # has memory of its own
    assert torch.equal(x, before)


# --- bits -----------------------------------------------------------------------------------------


@every_codec
@pytest.mark.parametrize("length", [1, 2, 3, 8, 13, 40])
def test_payload_bits_count_every_bit_on_the_air_and_no_other(codec: Codec, length: int) -> None:
    """Each charged bit says something: flipped, it changes what is decoded, or damage is noticed."""
    layout = Layout.flat(length)
    ctx = Context(layout, Key(2))
    # Positive, with entries near their group's norm, so that no bit's effect is lost in rounding.
    x = torch.linspace(3.0, 4.0, length)
    payload, _ = codec.encode(x, ctx=ctx)
    assert len(payload.body) == (payload.bits + 7) // 8
    decoded = codec.decode(payload, ctx=ctx)[0].numpy().tobytes()
    silent = []
    for bit in range(8 * len(payload.body)):
        body = bytearray(payload.body)
        body[bit // 8] ^= 1 << bit % 8
        try:
            changed = codec.decode(Payload(bytes(body), payload.bits), ctx=ctx)[0].numpy().tobytes()
        except CodecError:
            continue
        if changed == decoded:
            silent.append(bit)
    # The unused end of the last byte is not charged.
    if length >= 8 and claim_of(codec).says_each_bit_once(codec):
        assert silent == list(range(payload.bits, 8 * len(payload.body)))
    assert set(range(payload.bits, 8 * len(payload.body))) <= set(silent)


@every_codec
def test_an_empty_vector_is_free(codec: Codec) -> None:
    for layout in (Layout.flat(0), Layout(()), layout_of(0, 0)):
        payload, _ = codec.encode(torch.empty(0), ctx=Context(layout, Key(1)))
        assert payload == Payload(b"", 0)
        assert codec.decode(payload, ctx=Context(layout, Key(1)))[0].shape == (0,)


@every_codec
def test_empty_tensors_cost_nothing(codec: Codec) -> None:
    x, full = gaussian(30), layout_of(10, 20)
    empty = [Slot(f"empty{i}", (0,), start) for i, start in enumerate((0, 10, 30))]
    between = Layout((empty[0], full.slots[0], empty[1], full.slots[1], empty[2]))
    without = codec.encode(x, ctx=Context(full, Key(1)))[0]
    assert codec.encode(x, ctx=Context(between, Key(1)))[0] == without


# --- what is refused ------------------------------------------------------------------------------


@every_codec
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_an_entry_that_is_no_number_is_refused_by_name(codec: Codec, wrong: float) -> None:
    x = gaussian(50)
    x[[17, 40]] = wrong
    with pytest.raises(CodecError, match=r"2 of 50 .* index 17 \(.*'tensor1'\).* lower the learning rate"):
        codec.encode(x, ctx=Context(layout_of(10, 40), Key(1)))


@every_codec
def test_opposite_infinities_do_not_cancel(codec: Codec) -> None:
    x = torch.tensor([1.0, float("inf"), float("-inf")])
    with pytest.raises(CodecError, match="2 of 3"):
        codec.encode(x, ctx=Context(Layout.flat(3), Key(1)))


@every_codec
@pytest.mark.parametrize(
    "x", [torch.zeros(9), torch.zeros(11), torch.zeros(2, 5), torch.zeros(10, dtype=torch.float64)]
)
def test_a_tensor_that_is_not_the_layouts_vector_is_refused(codec: Codec, x: torch.Tensor) -> None:
    with pytest.raises(CodecError, match="float32 vector of 10 entries"):
        codec.encode(x, ctx=Context(Layout.flat(10), Key(1)))


def decode_or_refuse(codec: Codec, body: bytes, bits: int, layout: Layout) -> torch.Tensor | None:
    try:
        decoded, _ = codec.decode(Payload(body, bits), ctx=Context(layout, Key(1)))
    except CodecError:
        return None
    assert decoded.dtype == torch.float32
    assert decoded.shape == (layout.length,)
    assert bool(torch.isfinite(decoded).all())
    return decoded


@every_kind
@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=3), seed=st.integers(0, 2**32 - 1))
@PROPERTY
def test_bytes_of_the_right_size_decode_to_a_finite_vector_or_are_refused(
    codecs: list[Codec], lengths: list[int], seed: int
) -> None:
    layout, random = layout_of(*lengths), Random(seed)
    for codec in named(codecs):
        true, _ = codec.encode(torch.zeros(layout.length), ctx=Context(layout, Key(1)))
        size = len(true.body)
        for body in (random.randbytes(size), b"\xff" * size, b"\0" * size, b"\x7f" * size):
            decode_or_refuse(codec, body, true.bits, layout)
        # One byte of a true payload damaged: more likely to get past the checks than noise is.
        damaged = bytearray(codec.encode(gaussian(layout.length), ctx=Context(layout, Key(1)))[0].body)
        if damaged:
            damaged[random.randrange(len(damaged))] = random.randrange(256)
            decode_or_refuse(codec, bytes(damaged), true.bits, layout)


@every_kind
@given(body=st.binary(max_size=200), unused=st.integers(0, 7), length=st.integers(0, 60))
@PROPERTY
def test_any_bytes_at_all_decode_to_a_finite_vector_or_are_refused(
    codecs: list[Codec], body: bytes, unused: int, length: int
) -> None:
    for codec in named(codecs):
        decode_or_refuse(codec, body, max(0, 8 * len(body) - unused), Layout.flat(length))


@every_sized_codec
def test_a_payload_cut_short_or_drawn_out_is_refused(codec: Codec) -> None:
    layout = Layout.flat(33)
    payload, _ = codec.encode(gaussian(33), ctx=Context(layout, Key(1)))
    body, bits = payload.body, payload.bits
    wrong = [
        (body[:-1], 8 * len(body) - 8),
        (body + b"\0", 8 * len(body) + 1),
        (b"", 0),
        (body * 2, bits * 2),
    ]
    for other_body, other_bits in wrong:
        with pytest.raises(CodecError):
            codec.decode(
                Payload(other_body, max(other_bits, 8 * len(other_body) - 7)), ctx=Context(layout, Key(1))
            )


@every_sized_codec
def test_another_architecture_at_the_receiver_is_refused(codec: Codec) -> None:
    payload, _ = codec.encode(gaussian(100), ctx=Context(Layout.flat(100), Key(1)))
    with pytest.raises(CodecError, match="same architecture"):
        codec.decode(payload, ctx=Context(Layout.flat(200), Key(1)))


@pytest.mark.parametrize(
    ("fields", "body", "says"),
    [
        ({"kind": "float32"}, np.array([np.nan], "<f4"), "an entry .* is NaN or infinite"),
        ({"kind": "float16"}, np.array([np.inf], "<f2"), "an entry .* is NaN or infinite"),
        ({"kind": "uniform", "bits": 16}, np.array([np.inf, 1, 0], "<f4"), "lower end .* NaN or infinite"),
        ({"kind": "uniform", "bits": 16}, np.array([1, np.nan, 0], "<f4"), "upper end .* NaN or infinite"),
        ({"kind": "uniform", "bits": 16}, np.array([2, 1, 0], "<f4"), "lower end above its upper end"),
        ({"kind": "qsgd", "levels": 32767}, np.array([np.inf, 0], "<f4"), "norm .* NaN or infinite"),
        ({"kind": "qsgd", "levels": 32767}, np.array([-1, 0], "<f4"), "norm .* is negative"),
    ],
)
def test_damage_is_called_by_its_name(fields: dict[str, Any], body: Numbers, says: str) -> None:
    codec = CODECS.build(fields)
    ctx = Context(Layout.flat(1), Key(1))
    bits = codec.encode(torch.ones(1), ctx=ctx)[0].bits
    with pytest.raises(CodecError, match=says):
        codec.decode(Payload(body.tobytes()[: (bits + 7) // 8], bits), ctx=ctx)


def test_a_qsgd_symbol_above_the_highest_level_is_refused() -> None:
    codec = CODECS.build("qsgd")
    norm = np.array([1], "<f4").tobytes()
    ctx = Context(Layout.flat(2), Key(1))
    assert codec.decode(Payload(norm + b"\xe0", 40), ctx=ctx)[0].tolist() == [-1.0, 1.0]
    with pytest.raises(CodecError, match=r"symbol 15 .* is above 14"):
        codec.decode(Payload(norm + b"\xf0", 40), ctx=ctx)


# --- from bytes alone -----------------------------------------------------------------------------

RECEIVER = """
import json, sys
from syft_fl.codecs import CODECS, Context, Payload
from syft_fl.keys import Key
from syft_fl.vectors import Layout, Slot
for line in sys.stdin:
    sent = json.loads(line)
    codec = CODECS.build(sent["settings"])
    layout = Layout(tuple(Slot(name, tuple(shape), start) for name, shape, start in sent["slots"]))
    payload = Payload(bytes.fromhex(sent["body"]), sent["bits"])
    key = Key(sent["seed"], tuple(sent["path"]))
    print(codec.decode(payload, ctx=Context(layout, key))[0].numpy().tobytes().hex())
"""


def test_a_fresh_process_decodes_from_bytes_and_settings_alone() -> None:
    layout = layout_of(100, 0, 513)
    ctx = Context(layout, Key(4) / "ue1")
    lines, expected = [], []
    for codec in EVERY:
        payload, _ = codec.encode(gaussian(layout.length), ctx=ctx)
        known = receiving(codec, ctx).key
        message = {
            "settings": plain(codec),
            "seed": known.seed,
            "path": known.path,
            "slots": [(slot.name, slot.shape, slot.start) for slot in layout.slots],
            "body": payload.body.hex(),
            "bits": payload.bits,
        }
        lines.append(json.dumps(message))
        expected.append(codec.decode(payload, ctx=ctx)[0].numpy().tobytes().hex())
    receiver = [sys.executable, "-c", RECEIVER]
    done = subprocess.run(receiver, input="\n".join(lines), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected
