"""What rotated codecs must obey: an orthogonal transform, Suresh's bound, and the errors of DRIVE and EDEN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg

from syft_fl.codecs import Codec, Context, Drive, Eden, Rotated, Uniform
from syft_fl.codecs.lloyd_max import lloyd_max_levels
from syft_fl.codecs.nearest import NearestLevel
from syft_fl.codecs.rotation import rotate, rotate_back, rotation_spans
from syft_fl.keys import Key
from syft_fl.vectors import Layout

KEY = Key(2027)

LEAST_ERROR = {0: 1.0, 1: 0.3633802276, 2: 0.1174818478, 3: 0.0345477608, 4: 0.0095010080}
"""Of a unit Gaussian's Lloyd–Max quantiser (Max 1960); of no bits at all, its variance."""


def gaussian(entries: int, name: str = "gaussian") -> np.ndarray:
    return (KEY / name).numpy().standard_normal(entries).astype(np.float32).astype(np.float64)


def send(codec: Codec, x: np.ndarray, name: str = "ue0") -> np.ndarray:
    ctx = Context(Layout.flat(x.size), KEY / name)
    payload, _ = codec.encode(torch.from_numpy(x.astype(np.float32)), ctx=ctx)
    return codec.decode(payload, ctx=ctx)[0].double().numpy()


def energy(x: np.ndarray) -> float:
    return float(np.sum(x * x))


def relative_error(codec: Codec, x: np.ndarray, name: str = "ue0") -> float:
    return energy(send(codec, x, name) - x) / energy(x)


# --- the transform --------------------------------------------------------------------------------


@pytest.mark.parametrize(("entries", "block"), [(4096, 4096), (2048, 128), (16, 16), (8, 2)])
def test_it_is_the_hadamard_matrix_times_random_signs(entries: int, block: int) -> None:
    rows = np.stack([rotate(row, KEY, block) for row in np.eye(entries, dtype=np.float32)[:: entries // 8]])
    matrix = linalg.hadamard(block) / math.sqrt(block)
    for at, row in zip(range(0, entries, entries // 8), rows, strict=True):
        start = at // block * block
        column = row[start : start + block]
        assert np.allclose(np.abs(column @ matrix), np.arange(block) == at - start, atol=1e-5)
        assert not row[:start].any()
        assert not row[start + block :].any()


def test_signs_are_fair_and_differ_between_keys() -> None:
    signs = [np.sign(rotate(np.ones(2**14, np.float32), KEY / f"ue{i}", 2)[::2]) for i in range(2)]
    # Of two entries that are alike the rotated ones are 0 and ±√2.
    assert abs(np.mean(signs[0])) < 5 / math.sqrt(signs[0].size)
    assert abs(np.mean(signs[0] * signs[1])) < 5 / math.sqrt(signs[0].size)


@pytest.mark.parametrize("entries", [1, 2, 3, 63, 1000, 8191, 70_001])
@pytest.mark.parametrize("block", [2, 64, 8192, 2**20])
def test_it_is_orthogonal_at_any_length(entries: int, block: int) -> None:
    x, y = (gaussian(entries, name).astype(np.float32) for name in ("x", "y"))
    rotated = [rotate(v, KEY, block).astype(np.float64) for v in (x, y)]
    assert energy(rotated[0]) == pytest.approx(energy(x.astype(np.float64)), rel=1e-5)
    assert rotated[0] @ rotated[1] == pytest.approx(
        x.astype(np.float64) @ y, abs=1e-5 * np.sqrt(energy(x) * energy(y))
    )
    assert np.abs(rotate_back(rotated[0].astype(np.float32), KEY, block) - x).max() < 1e-5


@pytest.mark.parametrize("entries", [1, 7, 8192, 8193, 1_199_882])
def test_blocks_are_powers_of_two_and_fill_the_vector_without_padding(entries: int) -> None:
    spans = rotation_spans(entries, 8192)
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == entries
    assert all(span.width & (span.width - 1) == 0 for span in spans)


def test_the_number_of_threads_changes_no_bit() -> None:
    x = gaussian(300_001).astype(np.float32)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(rotate(x, KEY, 2**17).tobytes() + rotate_back(x, KEY, 2**17).tobytes())
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    "levels",
    [
        *(lloyd_max_levels(law, bits)[0] for law in ("gaussian", "laplace") for bits in (1, 2, 4, 5, 8)),
        np.array([-1.0, -1.0, -1.0, 5.0]),
        np.linspace(-3, 9, 17),
        np.concatenate([np.linspace(0, 1e-6, 100), [7.0]]),
        np.full(40, 2.0),
    ],
    ids=len,
)
def test_the_nearest_level_is_found_however_it_is_looked_for(levels: np.ndarray) -> None:
    numbers = np.concatenate([3 * gaussian(5000), [0.0, 1e30, -1e30, 1e-7]]).astype(np.float32)
    found = NearestLevel(levels)(numbers)
    least = np.abs(numbers[:, None].astype(np.float64) - levels).min(axis=1)
    assert (np.abs(numbers - levels[found]) <= least + 1e-6 * (1 + np.abs(numbers))).all()


# --- Suresh et al. 2017, theorem 3 ------------------------------------------------------------------


def spread(d: int, i: int) -> np.ndarray:
    return gaussian(d, f"x{i}")


def two_spikes(d: int, i: int) -> np.ndarray:
    """The grid reaches from one to the other, and all other entries are half way between two levels."""
    return 1.0 * (np.arange(d) == 7 + i) - 1.0 * (np.arange(d) == d // 2)


@pytest.mark.parametrize("levels", [2, 4, 16])
@pytest.mark.parametrize(
    ("d", "block", "senders"), [(64, 64, 20), (1000, 512, 1), (4096, 4096, 5), (2048, 2048, 40)]
)
@pytest.mark.parametrize("source", [spread, two_spikes])
def test_a_rotated_uniform_quantiser_keeps_the_published_bound(
    source: object, d: int, block: int, senders: int, levels: int
) -> None:
    plain = Uniform(bits=int(math.log2(levels)), rounding="stochastic", block="vector")
    xs = [source(d, i) for i in range(senders)]  # type: ignore[operator]
    bound = (2 * math.log(d) + 2) / (senders * (levels - 1) ** 2) * np.mean([energy(x) for x in xs])

    def error(codec: Codec) -> float:
        return energy(np.mean([send(codec, x, f"ue{i}") - x for i, x in enumerate(xs)], axis=0))

    assert error(Rotated(codec=plain, block=block)) <= bound
    if source is two_spikes and d >= 1000:
        assert error(plain) > 5 * bound


# --- DRIVE and EDEN -----------------------------------------------------------------------------------


def expected_error(bits: float) -> float:
    """D / (1 - D), D the mean error of the two rates that are mixed."""
    floor = math.floor(bits)
    mean = LEAST_ERROR[floor]
    if bits > floor:
        mean += (bits - floor) * (LEAST_ERROR[floor + 1] - mean)
    return mean / (1 - mean)


@pytest.mark.parametrize("bits", [0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.75, 4.0])
@pytest.mark.parametrize("entries", [50_000, 2**17])
def test_eden_error_is_that_of_the_best_levels_over_one_minus_it_at_any_length_and_rate(
    entries: int, bits: float
) -> None:
    # By sign, as far from Gaussian as spread-out entries may be; the last blocks of 50000 are short.
    for x in (gaussian(entries), np.sign(gaussian(entries)) * (1 + np.arange(entries) % 3)):
        assert relative_error(Eden(bits=bits), x) == pytest.approx(expected_error(bits), rel=0.03)


def test_drive_at_one_bit_is_off_by_half_pi_less_one() -> None:
    assert expected_error(1.0) == pytest.approx(math.pi / 2 - 1, rel=1e-8)
    assert expected_error(2.0) == pytest.approx(0.133121, rel=1e-5)
    x = gaussian(2**17)
    assert relative_error(Drive(), x) == pytest.approx(0.570796, rel=0.02)
    assert relative_error(Drive(scale="least-error"), x) == pytest.approx(1 - 2 / math.pi, rel=0.02)


@pytest.mark.parametrize("entries", [1, 5, 8192, 10_001, 70_000])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.77, 0.99999])
def test_a_lone_entry_arrives_exactly_at_one_bit(entries: int, place: float) -> None:
    x = np.zeros(entries)
    x[int(place * entries)] = -0.7
    for codec in (Drive(), Drive(scale="least-error"), Eden(bits=1.0)):
        assert relative_error(codec, x) < 1e-12


@pytest.mark.parametrize("bits", [0.5, 1.0, 2.0, 3.25])
@pytest.mark.parametrize("senders", [4, 16, 64])
def test_n_senders_are_n_times_as_good(senders: int, bits: float) -> None:
    x = gaussian(2**13 + 100)
    codec = Eden(bits=bits, block=4096)
    alike = np.mean([send(codec, x, f"ue{i}") for i in range(senders)], axis=0)
    assert energy(alike - x) / energy(x) == pytest.approx(expected_error(bits) / senders, rel=0.1)
    xs = [(1 + i % 3) * gaussian(2**13 + 100, f"x{i}") for i in range(senders)]
    errors = [send(codec, y, f"ue{i}") - y for i, y in enumerate(xs)]
    total = sum(energy(y) for y in xs)
    assert energy(np.sum(errors, axis=0)) == pytest.approx(expected_error(bits) * total, rel=0.1)


@pytest.mark.parametrize("bits", [1.0, 1.5, 2.0, 3.3, 4.0, 8.0])
@pytest.mark.parametrize("entries", [1_199_882, 159_010, 61_706, 7850, 1001])
def test_bits_are_the_rate_and_a_scale_for_each_block(entries: int, bits: float) -> None:
    ctx = Context(Layout.flat(entries), KEY)
    payload, _ = Eden(bits=bits).encode(torch.ones(entries), ctx=ctx)
    whole, tail = divmod(entries, 8192)
    side = 32 * (whole + bin(tail).count("1"))
    # Of a fractional rate, each block rounds its share of entries, and the first stream ends with a byte.
    rounding = 0 if bits % 1 == 0 else side / 64 + 7
    assert abs(payload.bits - side - bits * entries) <= rounding
    if entries >= 61_706:
        assert (
            payload.bits <= 1.01 * bits * entries
        )  # padding to a power of two would cost 1.75 times the bits


def test_rates_below_one_bit_cost_no_more_than_they_say() -> None:
    entries = 1_199_882
    ctx = Context(Layout.flat(entries), KEY)
    for bits in (0.1, 0.5, 0.9):
        payload, _ = Eden(bits=bits).encode(torch.ones(entries), ctx=ctx)
        assert payload.bits == pytest.approx(bits * entries + 32 * 151, rel=1e-3)
