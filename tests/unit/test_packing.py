from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.codecs.coders.packing import pack, pack_rows, unpack
from syft_fl.codecs.coders.packing_on_card import pack_on_card, unpack_on_card
from syft_fl.errors import CodecError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=200)


def dtype_of(bits: int) -> type[np.unsignedinteger]:
    return np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32


def draw(bits: int, count: int) -> np.ndarray:
    return np.random.Generator(np.random.SFC64(bits)).integers(0, 2**bits, count, dtype=dtype_of(bits))


def as_number(symbols: np.ndarray, bits: int) -> int:
    """Symbols side by side, the first one lowest: what a stream is, in Python's whole numbers."""
    return sum(int(symbol) << (i * bits) for i, symbol in enumerate(symbols))


@st.composite
def streams(draw_from: st.DrawFn) -> tuple[int, list[int]]:
    bits = draw_from(st.integers(1, 32))
    return bits, draw_from(st.lists(st.integers(0, 2**bits - 1), max_size=70))


@given(streams())
@PROPERTY
def test_symbols_come_back(stream: tuple[int, list[int]]) -> None:
    bits, numbers = stream
    symbols = np.array(numbers, dtype_of(bits))
    read = unpack(pack(symbols, bits), bits, count=symbols.size)
    assert read.tolist() == numbers
    assert read.dtype == symbols.dtype


@pytest.mark.parametrize("bits", [*range(1, 18), 23, 24, 25, 31, 32])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097])
def test_no_bit_is_added(bits: int, count: int) -> None:
    symbols = draw(bits, count)
    body = pack(symbols, bits)
    assert len(body) == (count * bits + 7) // 8
    assert np.array_equal(unpack(body, bits, count=count), symbols)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 8, 13, 100])
def test_a_stream_is_its_symbols_side_by_side_lowest_first(bits: int, count: int) -> None:
    symbols = draw(bits, count)
    assert int.from_bytes(pack(symbols, bits), "little") == as_number(symbols, bits)


@pytest.mark.parametrize("bits", range(9, 17))
@pytest.mark.parametrize("count", [1, 8, 13, 100])
def test_wide_symbols_are_their_low_bytes_and_then_the_bits_above(bits: int, count: int) -> None:
    symbols = draw(bits, count)
    body = pack(symbols, bits)
    assert list(body[:count]) == [int(symbol) % 256 for symbol in symbols]
    assert int.from_bytes(body[count:], "little") == as_number(symbols // 256, bits - 8)


@pytest.mark.parametrize("bits", range(17, 33))
def test_wider_symbols_are_the_same_again_above_their_low_bytes(bits: int) -> None:
    symbols = draw(bits, 13)
    body = pack(symbols, bits)
    assert list(body[:13]) == [int(symbol) % 256 for symbol in symbols]
    assert body[13:] == pack((symbols // 256).astype(dtype_of(bits - 8)), bits - 8)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_powers_of_two_agree_with_numpy_packbits(bits: int) -> None:
    symbols = draw(bits, 1001)
    columns = (symbols[:, None] >> np.arange(bits)) & 1
    assert pack(symbols, bits) == np.packbits(columns.astype(np.uint8), bitorder="little").tobytes()


@given(st.integers(1, 32), st.integers(0, 40), st.randoms(use_true_random=False))
@PROPERTY
def test_any_bytes_are_symbols_that_fit(bits: int, count: int, random: object) -> None:
    body = random.randbytes((count * bits + 7) // 8)  # type: ignore[attr-defined]
    symbols = unpack(body, bits, count=count)
    assert symbols.shape == (count,)
    assert all(int(symbol) < 2**bits for symbol in symbols)


@pytest.mark.parametrize("bits", range(1, 32))
def test_a_symbol_too_many_is_refused(bits: int) -> None:
    # The published trap: 2**n + 1 symbols written in n bits.
    symbols = np.array([0, 2**bits], dtype_of(bits + 1))
    with pytest.raises(CodecError, match=f"symbol {2**bits} does not fit in {bits} bits"):
        pack(symbols, bits)


@pytest.mark.parametrize("bits", range(1, 33))
def test_a_body_of_another_length_is_refused(bits: int) -> None:
    body = pack(draw(bits, 21), bits)
    for wrong in (body[:-1], body + b"\0"):
        with pytest.raises(CodecError, match=f"21 symbols of {bits} bits"):
            unpack(wrong, bits, count=21)


def test_the_symbols_are_left_as_they_were() -> None:
    symbols = draw(5, 33)
    before = symbols.copy()
    pack(symbols, 5)
    assert np.array_equal(symbols, before)


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 16, 37, 4096])
def test_a_card_s_tensors_are_packed_to_the_same_bytes(bits: int, rows: int, count: int) -> None:
    symbols = draw(bits, rows * count).reshape(rows, count)
    before = symbols.copy()
    tensor = torch.from_numpy(symbols if bits <= 8 else symbols.astype(np.int32))
    packed = pack_on_card(tensor, bits)
    assert np.array_equal(packed.numpy(), pack_rows(symbols, bits))
    read = unpack_on_card(packed, bits, count=count)
    assert torch.equal(read, tensor)
    assert np.array_equal(symbols, before)
    assert read.dtype == tensor.dtype
