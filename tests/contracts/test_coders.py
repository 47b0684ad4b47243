"""What every registered coder must do, and the codes for sets of indices."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.codecs.coders import CODERS, Alphabet, Coder, read_indices, write_indices
from syft_fl.codecs.coders.histogram import read_histogram, write_histogram
from syft_fl.errors import CodecError, ConfigError
from syft_fl.keys import Key
from syft_fl.schema import plain

PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)

SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "fixed": ({},),
    "elias-gamma": ({},),
    "elias-delta": ({},),
    "range": ({}, {"model": "static"}, {"model": "adaptive"}),
    "ans": ({}, {"model": "static"}, {"model": "adaptive"}),
    "zstd": ({}, {"level": 19}),
}
SIZES = [1, 2, 3, 15, 33, 255, 256, 257, 4097, 65535, 65536]

OURS = [cls for cls in CODERS if cls.__module__.startswith("syft_fl.")]
EVERY = [
    CODERS.build({"kind": cls.kind} | fields) for cls in OURS for fields in SETTINGS.get(cls.kind, ({},))
]


def name_of(value: object) -> str | None:
    return ",".join(str(v) for v in plain(value).values()) if hasattr(value, "kind") else None


every_coder = pytest.mark.parametrize("coder", EVERY, ids=name_of)
every_size = pytest.mark.parametrize("size", SIZES)


def alphabet_of(size: int, centre: int | None = None) -> Alphabet:
    """A centre, and probabilities that fall with the distance to it."""
    middle = size // 2 if centre is None else centre
    weights = 1.0 / (1 + np.abs(np.arange(size) - middle)) ** 1.5
    return Alphabet(size, middle, weights / weights.sum())


def drawn(alphabet: Alphabet, count: int, name: str = "symbols") -> np.ndarray:
    assert alphabet.prior is not None
    symbols = (Key(0) / name).numpy().choice(alphabet.size, count, p=alphabet.prior)
    return as_symbols(symbols, alphabet)


def as_symbols(numbers: Any, alphabet: Alphabet) -> np.ndarray:
    return np.asarray(numbers).astype(np.uint8 if alphabet.size <= 256 else np.uint16)


def assert_returns(coder: Coder, symbols: np.ndarray, alphabet: Alphabet) -> None:
    symbols.flags.writeable = False
    before = symbols.copy()
    payload = coder.write(symbols, alphabet)
    assert np.array_equal(symbols, before)
    assert len(payload.body) == -(-payload.bits // 8)
    read = coder.read(memoryview(payload.body), payload.bits, alphabet, count=symbols.size)
    assert read.dtype == symbols.dtype
    assert read.shape == symbols.shape
    assert np.array_equal(read, symbols)


@st.composite
def messages(draw: st.DrawFn) -> tuple[np.ndarray, Alphabet]:
    size = draw(st.one_of(st.sampled_from(SIZES), st.integers(1, 65536)))
    alphabet = alphabet_of(size, draw(st.integers(0, size - 1)))
    few = st.sampled_from(draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=4)))
    element = draw(st.sampled_from([few, st.integers(0, size - 1)]))
    return as_symbols(draw(st.lists(element, max_size=90)), alphabet), alphabet


# --- round trip -----------------------------------------------------------------------------------


def test_every_registered_coder_is_tested_with_its_settings() -> None:
    assert {cls.kind for cls in OURS} == set(SETTINGS)  # type: ignore[attr-defined]


@every_coder
def test_settings_survive_a_config_file(coder: Coder) -> None:
    assert CODERS.build(json.loads(json.dumps(plain(coder)))) == coder


@every_coder
@given(message=messages())
@PROPERTY
def test_symbols_come_back(coder: Coder, message: tuple[np.ndarray, Alphabet]) -> None:
    assert_returns(coder, *message)


@every_coder
@every_size
def test_every_size_of_alphabet_and_message_comes_back(coder: Coder, size: int) -> None:
    alphabet = alphabet_of(size)
    for count in (0, 1, 2, 31, 33, 1001):
        for symbols in (
            drawn(alphabet, count),
            as_symbols(np.arange(count) * 31 % size, alphabet),
            as_symbols(np.full(count, size - 1), alphabet),
            as_symbols(np.zeros(count), alphabet),
        ):
            assert_returns(coder, symbols, alphabet)


@every_coder
@every_size
def test_all_symbols_of_an_alphabet_come_back(coder: Coder, size: int) -> None:
    alphabet = alphabet_of(size, centre=size // 3)
    assert_returns(coder, as_symbols(np.arange(size)[::-1].copy(), alphabet), alphabet)


@every_coder
@pytest.mark.parametrize("size", [2, 15, 16, 257])
def test_long_messages_come_back(coder: Coder, size: int) -> None:
    alphabet = alphabet_of(size)
    assert_returns(coder, drawn(alphabet, 300_007), alphabet)


@every_coder
def test_the_same_symbols_give_the_same_bytes(coder: Coder) -> None:
    alphabet = alphabet_of(15)
    assert coder.write(drawn(alphabet, 999), alphabet) == coder.write(drawn(alphabet, 999), alphabet)


@every_coder
@every_size
def test_no_symbols_take_no_bits(coder: Coder, size: int) -> None:
    assert coder.write(np.empty(0, np.uint8), alphabet_of(size)).bits == 0


RECEIVER = """
import json, sys
import numpy as np
from syft_fl.codecs.coders import CODERS, Alphabet
for line in sys.stdin:
    sent = json.loads(line)
    prior = np.array([float.fromhex(p) for p in sent["prior"]])
    alphabet = Alphabet(len(prior), sent["centre"], prior)
    body = memoryview(bytes.fromhex(sent["body"]))
    read = CODERS.build(sent["settings"]).read(body, sent["bits"], alphabet, count=sent["count"])
    print(read.tobytes().hex())
"""


def test_a_fresh_process_reads_from_bytes_and_settings_alone() -> None:
    lines, expected = [], []
    for coder in EVERY:
        for size in (2, 15, 300):
            alphabet = alphabet_of(size)
            assert alphabet.prior is not None
            symbols = drawn(alphabet, 777)
            payload = coder.write(symbols, alphabet)
            message = {
                "settings": plain(coder),
                "centre": alphabet.centre,
                "prior": [float(p).hex() for p in alphabet.prior],
                "body": payload.body.hex(),
                "bits": payload.bits,
                "count": symbols.size,
            }
            lines.append(json.dumps(message))
            expected.append(symbols.tobytes().hex())
    receiver = [sys.executable, "-c", RECEIVER]
    done = subprocess.run(receiver, input="\n".join(lines), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected


# --- what is refused ------------------------------------------------------------------------------


@every_coder
def test_a_symbol_beyond_the_alphabet_is_not_written(coder: Coder) -> None:
    # The published trap: 2**n + 1 symbols written in n bits.
    with pytest.raises(CodecError, match="symbol 16 of an alphabet of 16 is above 15"):
        coder.write(np.array([3, 16, 0], np.uint8), alphabet_of(16))


@pytest.mark.parametrize("kind", ["range", "ans"])
def test_a_static_model_of_a_quantiser_that_knows_none_is_refused_with_a_way_out(kind: str) -> None:
    coder = CODERS.build({"kind": kind, "model": "static"})
    symbols = np.array([1, 2], np.uint8)
    with pytest.raises(ConfigError, match=r"model = 'static' must .* model = 'sent' or 'adaptive'"):
        coder.write(symbols, Alphabet(4))
    with pytest.raises(ConfigError, match="model = 'static' must"):
        coder.read(memoryview(b"abc"), 24, Alphabet(4), count=2)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"size": 0}, "size"),
        ({"size": 65537}, "size"),
        ({"size": 4, "centre": 4}, "centre"),
        ({"size": 4, "prior": np.ones(3)}, "prior.shape"),
    ],
)
def test_an_impossible_alphabet_is_refused(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} = .* must be .*; "):
        Alphabet(**fields)


def test_a_level_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="level = 20 must be in 1 … 19; "):
        CODERS.build({"kind": "zstd", "level": 20})


def read_or_refuse(coder: Coder, body: bytes, bits: int, alphabet: Alphabet, count: int) -> np.ndarray | None:
    try:
        read = coder.read(memoryview(body), bits, alphabet, count=count)
    except CodecError:
        return None
    assert read.shape == (count,)
    assert not count or int(read.max()) < alphabet.size
    return read


@every_coder
@given(
    body=st.binary(max_size=120),
    unused=st.integers(-9, 9),
    size=st.sampled_from(SIZES),
    count=st.integers(0, 150),
)
@PROPERTY
def test_any_bytes_at_all_are_symbols_of_the_alphabet_or_refused(
    coder: Coder, body: bytes, unused: int, size: int, count: int
) -> None:
    read_or_refuse(coder, body, 8 * len(body) - unused, alphabet_of(size), count)
    read_or_refuse(coder, body, 8 * len(body), alphabet_of(size), count)


@every_coder
@given(message=messages(), where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
@PROPERTY
def test_a_damaged_message_is_symbols_of_the_alphabet_or_refused(
    coder: Coder, message: tuple[np.ndarray, Alphabet], where: float, byte: int
) -> None:
    symbols, alphabet = message
    payload = coder.write(symbols, alphabet)
    body = bytearray(payload.body)
    if body:
        body[int(where * len(body))] = byte
    read_or_refuse(coder, bytes(body), payload.bits, alphabet, symbols.size)


@every_coder
def test_as_many_bits_as_bytes_hold_or_refused(coder: Coder) -> None:
    alphabet = alphabet_of(16)
    symbols = drawn(alphabet, 101)
    payload = coder.write(symbols, alphabet)
    for bits in (-1, 0, payload.bits - 8, payload.bits + 8):
        with pytest.raises(CodecError):
            coder.read(memoryview(payload.body), bits, alphabet, count=symbols.size)


@pytest.mark.parametrize("kind", ["range", "ans"])
@pytest.mark.parametrize("used", [1, 2])
def test_a_message_that_ends_within_its_histogram_is_refused(kind: str, used: int) -> None:
    side = write_histogram(np.array([5] * used + [0] * (16 - used)))
    for bits in range(8 * len(side)):
        with pytest.raises(CodecError):
            CODERS.build(kind).read(memoryview(side)[: -(-bits // 8)], bits, alphabet_of(16), count=9)


@every_coder
def test_bits_where_there_are_no_symbols_are_refused(coder: Coder) -> None:
    with pytest.raises(CodecError):
        coder.read(memoryview(b"\x01"), 8, alphabet_of(16), count=0)


@every_coder
def test_unused_bits_of_the_last_byte_say_nothing(coder: Coder) -> None:
    alphabet = alphabet_of(15)
    for count in range(1, 40):
        symbols = drawn(alphabet, count)
        payload = coder.write(symbols, alphabet)
        body = bytearray(payload.body)
        for bit in range(payload.bits, 8 * len(body)):
            body[bit // 8] ^= 1 << bit % 8
        read = coder.read(memoryview(bytes(body)), payload.bits, alphabet, count=count)
        assert np.array_equal(read, symbols)


@pytest.mark.parametrize("kind", ["fixed", "elias-gamma", "elias-delta"])
def test_every_bit_of_a_word_says_something(kind: str) -> None:
    coder, alphabet = CODERS.build(kind), alphabet_of(16)
    symbols = drawn(alphabet, 60)
    payload = coder.write(symbols, alphabet)
    for bit in range(payload.bits):
        body = bytearray(payload.body)
        body[bit // 8] ^= 1 << bit % 8
        read = read_or_refuse(coder, bytes(body), payload.bits, alphabet, symbols.size)
        assert read is None or not np.array_equal(read, symbols)


@pytest.mark.parametrize("kind", ["fixed", "elias-gamma", "elias-delta", "zstd"])
@pytest.mark.parametrize("count", [400, 497, 503, 10**6])
def test_symbols_too_few_or_too_many_are_refused(kind: str, count: int) -> None:
    coder, alphabet = CODERS.build(kind), alphabet_of(16)
    payload = coder.write(drawn(alphabet, 500), alphabet)
    with pytest.raises(CodecError):
        coder.read(memoryview(payload.body), payload.bits, alphabet, count=count)


@pytest.mark.parametrize("model", ["sent", "static", "adaptive"])
def test_symbols_too_few_are_refused_by_ans(model: str) -> None:
    # What is left shows; past the end there are zeros for ever, of a stack as of a range.
    coder, alphabet = CODERS.build({"kind": "ans", "model": model}), alphabet_of(16)
    payload = coder.write(drawn(alphabet, 500), alphabet)
    with pytest.raises(CodecError, match="do not use all"):
        coder.read(memoryview(payload.body), payload.bits, alphabet, count=400)


@every_coder
def test_reading_takes_no_more_memory_than_its_symbols_and_bytes(coder: Coder) -> None:
    body = bytes(Key(1).numpy().integers(1, 256, 4000, dtype=np.uint8))
    tracemalloc.start()
    try:
        for count in (1, 10_000):
            for size in (15, 65536):
                read_or_refuse(coder, body, 8 * len(body), alphabet_of(size), count)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16e6  # the alphabet's own probabilities of half a megabyte, a few times over


def test_a_decompression_bomb_stays_small() -> None:
    packed = io.BytesIO()
    bomb = zstandard.ZstdCompressionParameters.from_level(3, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    writer = zstandard.ZstdCompressor(compression_params=bomb).stream_writer(packed, closefd=False)
    for _ in range(64):
        writer.write(bytes(2**20))
    writer.close()
    whole = zstandard.ZstdCompressor(compression_params=bomb).compress(bytes(2**26))  # declares its length
    tracemalloc.start()
    try:
        for body in (packed.getvalue(), whole):
            with pytest.raises(CodecError, match="are not 500 bytes"):
                CODERS.build("zstd").read(memoryview(body), 8 * len(body), alphabet_of(16), count=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1e6


# --- the histogram that is sent -------------------------------------------------------------------


@given(
    counts=st.lists(
        st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 2**32 - 1)), min_size=1, max_size=80
    )
)
@PROPERTY
def test_a_histogram_comes_back_to_half_of_its_bits(counts: list[int]) -> None:
    counts[len(counts) // 2] += not any(counts)
    exact = np.array(counts)
    body = write_histogram(exact)
    used, weights, size = read_histogram(memoryview(body + b"rest"), exact.size)
    assert size == len(body)
    assert used.tolist() == np.flatnonzero(exact).tolist()
    # Weights are in halves, and within half of a step of a root's width.
    assert (np.abs(weights / 2 - exact[used]) <= np.sqrt(exact[used]) / 2).all()


@given(body=st.binary(max_size=60), size=st.sampled_from([2, 3, 16, 256, 65536]))
@PROPERTY
def test_any_bytes_are_a_histogram_or_refused(body: bytes, size: int) -> None:
    try:
        used, weights, read = read_histogram(memoryview(body), size)
    except CodecError:
        return
    assert read <= len(body)
    assert used.size == weights.size >= 1
    assert (np.diff(used) > 0).all()
    assert used[0] >= 0
    assert used[-1] < size
    assert (weights > 0).all()


# --- sets of indices ------------------------------------------------------------------------------


def indices_of(length: int, count: int) -> np.ndarray:
    return np.sort((Key(3) / length / count).numpy().choice(length, count, replace=False))


def assert_indices_return(indices: np.ndarray, length: int) -> None:
    payload = write_indices(indices, length)
    assert len(payload.body) == -(-payload.bits // 8)
    read, bits = read_indices(memoryview(bytes(payload.body) + b"what follows"), length, count=indices.size)
    assert bits == payload.bits
    assert np.array_equal(read, indices)


@given(data=st.data())
@settings(PROPERTY, max_examples=200)
def test_sets_of_indices_come_back(data: st.DataObject) -> None:
    length = data.draw(st.one_of(st.integers(1, 300), st.integers(1, 2**32 - 1)))
    indices = data.draw(st.sets(st.integers(0, length - 1), max_size=60))
    assert_indices_return(np.array(sorted(indices), np.int64), length)


@pytest.mark.parametrize("length", [1, 2, 3, 255, 256, 257, 1000, 65537, 300_001])
@pytest.mark.parametrize("part", [0.0, 0.0001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.99, 1.0])
def test_sets_of_every_density_come_back(length: int, part: float) -> None:
    assert_indices_return(indices_of(length, round(part * length)), length)


def test_both_ways_of_writing_indices_are_taken() -> None:
    bodies = [write_indices(indices_of(10**4, count), 10**4).body for count in (100, 5000, 9000)]
    assert [body[0] for body in bodies] == [6, 0, 32]


def test_no_index_and_every_index_take_no_bits() -> None:
    for indices in (np.arange(0), np.arange(50)):
        assert write_indices(indices, 50).bits == 0


@pytest.mark.parametrize("indices", [[3, 2], [4, 4], [0, 10], [-1, 3]])
def test_indices_that_do_not_rise_below_the_length_are_not_written(indices: list[int]) -> None:
    with pytest.raises(CodecError, match="sort them, each once"):
        write_indices(np.array(indices), 10)


@given(data=st.data())
@settings(PROPERTY, max_examples=400)
def test_any_bytes_are_rising_indices_below_the_length_or_refused(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 5000))
    count = data.draw(st.integers(0, 60))
    if count <= length and data.draw(st.booleans()):
        body = bytearray(write_indices(indices_of(length, count), length).body)
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    else:
        body = bytearray(data.draw(st.binary(max_size=100)))
        if body and data.draw(st.booleans()):
            body[0] %= 33  # names a way
    try:
        indices, bits = read_indices(memoryview(bytes(body)), length, count=count)
    except CodecError:
        return
    assert bits <= 8 * len(body)
    assert indices.shape == (count,)
    assert (np.diff(indices) > 0).all()
    assert not count or (indices[0] >= 0 and indices[-1] < length)


@pytest.mark.parametrize("way", [0, 1, 31, 32, 33, 255])
def test_few_bytes_of_indices_take_little_memory(way: int) -> None:
    length = 2**20
    tracemalloc.start()
    try:
        for rest in (b"\xff" * 9, bytes(9)):
            with pytest.raises(CodecError):
                read_indices(memoryview(bytes([way]) + rest), length, count=length // 2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * length
