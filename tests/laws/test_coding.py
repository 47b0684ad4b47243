"""What coders must obey whatever their code: entropy, closed forms of words, published numbers of quantisers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

from syft_fl.codecs import QSGD, Context
from syft_fl.codecs.coders import ANS, CODERS, Alphabet, EliasGamma, Range, write_indices
from syft_fl.codecs.coders.histogram import write_histogram
from syft_fl.keys import Key
from syft_fl.vectors import Layout

KEY = Key(2025)
ENTROPY_CODERS = pytest.mark.parametrize("kind", ["range", "ans"])


def entropy(counts: np.ndarray) -> float:
    """[bit] of so many symbols, by how often they occurred."""
    seen = counts[counts > 0]
    return float(-np.sum(seen * np.log2(seen / seen.sum())))


def drawn(weights: np.ndarray, count: int) -> np.ndarray:
    cut = np.cumsum(weights / weights.sum())
    found = np.searchsorted(cut, (KEY / weights.size / count).numpy().random(count))
    return np.minimum(found, weights.size - 1).astype(np.uint8 if weights.size <= 256 else np.uint16)


def bell(size: int, width: float = 0.2) -> np.ndarray:
    """[size] probabilities of equal cells of a Gaussian."""
    place = (np.arange(size) - (size - 1) / 2) / (width * size)
    weights = np.exp(-(place**2) / 2)
    return weights / weights.sum()


def bits_of(kind: str, symbols: np.ndarray, alphabet: Alphabet, **fields: str) -> int:
    return CODERS.build({"kind": kind, **fields}).write(symbols, alphabet).bits


# --- entropy coders -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "size", "excess"),
    [("range", n, 1e-4) for n in (2, 3, 15, 16, 32)]
    # A range coder with words of 32 bits and probabilities of 24 leaves 2**23 of a range of 2**32 … 2**64 unused in the
    # mean, whose logarithm is uniform: 2**23 * 2**-32 / (32 ln(2)**2) = 1.27e-4 bit, and here for each symbol.
    + [("range", n, 1.6e-4) for n in (33, 255, 256)]
    + [("ans", n, 1e-4) for n in (2, 3, 15, 16, 32, 33, 255, 256)],
)
def test_a_million_symbols_take_their_entropy(kind: str, size: int, excess: float) -> None:
    symbols = drawn(bell(size), 10**6)
    counts = np.bincount(symbols, minlength=size)
    bits = bits_of(kind, symbols, Alphabet(size)) - 8 * len(write_histogram(counts))
    # No model says it in less; and a count is sent to half of its bits, which costs a fifth of a bit at most.
    assert entropy(counts) <= bits <= entropy(counts) + excess * symbols.size + 0.2 * size + 33


@ENTROPY_CODERS
@pytest.mark.parametrize("size", [2, 3, 16, 33, 256, 4096])
@pytest.mark.parametrize("count", [1, 2, 7, 100, 3001])
def test_symbols_of_known_probabilities_take_their_information(kind: str, size: int, count: int) -> None:
    prior = bell(size, width=0.3)
    symbols = drawn(prior, count)
    information = float(-np.sum(np.log2(prior[symbols])))
    bits = bits_of(kind, symbols, Alphabet(size, prior=prior), model="static")
    # Probabilities are whole numbers of 2**-24, and no less: the cheapest symbol here has 2e-5 or more.
    rounding = count * 2.0**-23 / prior.min()
    assert -24 <= bits - information <= (33 if kind == "range" else 23) + 1.4e-4 * count + rounding


@ENTROPY_CODERS
@pytest.mark.parametrize("size", [2, 16, 200])
@pytest.mark.parametrize("count", [300, 10_000, 300_000])
def test_a_model_learnt_on_the_way_costs_half_a_logarithm_a_parameter(
    kind: str, size: int, count: int
) -> None:
    symbols = drawn(bell(size), count)
    counts = np.bincount(symbols, minlength=size)
    bits = bits_of(kind, symbols, Alphabet(size), model="adaptive")
    # Krichevsky and Trofimov: (size - 1) / 2 * log2(count) + log2(size); as a block of a quarter of what went before
    # is coded with the counts before it, (1/4) / ln(5/4) = 1.12 times that, after 32 symbols that nothing is known of.
    learning = 1.13 * (size - 1) / 2 * math.log2(count) + 32 * math.log2(size)
    assert entropy(counts) - 24 <= bits <= entropy(counts) + learning + 1.6e-4 * count + 33


@ENTROPY_CODERS
@pytest.mark.parametrize(("size", "count"), [(16, 1000), (256, 10**4), (256, 10**6), (65536, 10**6)])
def test_a_histogram_sent_costs_about_half_a_logarithm_a_symbol_used(
    kind: str, size: int, count: int
) -> None:
    counts = np.bincount(drawn(bell(size), count), minlength=size)
    used = counts[counts > 0]
    # Half of the bits below the leading one, rounded up; and two words of a few bits: which symbol, and how long.
    half = float(np.sum(np.ceil(np.floor(np.log2(used)) / 2)))
    assert half <= 8 * len(write_histogram(counts)) <= half + 5 * used.size + 40


def test_a_model_of_what_is_there_beats_a_model_of_what_was_expected() -> None:
    expected, there = bell(16, width=0.2), bell(16, width=0.3)
    symbols = drawn(there, 10**5)
    alphabet = Alphabet(16, prior=expected)
    sent, static = (bits_of("range", symbols, alphabet, model=model) for model in ("sent", "static"))
    # The wrong model costs the divergence of the two, no less.
    divergence = float(np.sum(there * np.log2(there / expected)))
    assert static - sent == pytest.approx(divergence * symbols.size, rel=0.02)


def test_a_coder_of_symbols_alone_takes_the_marginal_entropy_however_they_follow_each_other() -> None:
    shuffled = drawn(bell(15), 20_000)
    alphabet = Alphabet(15, centre=7)
    for kind in ("fixed", "elias-gamma", "elias-delta", "range"):
        taken = {bits_of(kind, symbols, alphabet) // 64 for symbols in (shuffled, np.sort(shuffled))}
        assert max(taken) - min(taken) <= 1


@pytest.mark.parametrize("size", [2, 16, 256])
def test_a_general_compressor_comes_near_where_symbols_fill_their_bytes(size: int) -> None:
    symbols = drawn(bell(size), 10**6)
    least = entropy(np.bincount(symbols, minlength=size))
    assert least < bits_of("zstd", symbols, Alphabet(size)) < 1.03 * least


# --- Elias 1975 -----------------------------------------------------------------------------------


def gamma(n: int) -> int:
    return 2 * int(math.log2(n)) + 1


def delta(n: int) -> int:
    return int(math.log2(n)) + 2 * int(math.log2(int(math.log2(n)) + 1)) + 1


@pytest.mark.parametrize(("kind", "length"), [("elias-gamma", gamma), ("elias-delta", delta)])
def test_every_symbol_takes_the_length_of_its_word(kind: str, length: object) -> None:
    assert callable(length)
    alphabet = Alphabet(601, centre=300)
    for symbol in range(601):
        # Zigzag: the centre is 1, the one above it 2, the one below 3.
        place = 2 * (symbol - 300) if symbol > 300 else 2 * (300 - symbol) + 1
        assert bits_of(kind, np.array([symbol], np.uint16), alphabet) == length(place)


@pytest.mark.parametrize(("kind", "length"), [("elias-gamma", gamma), ("elias-delta", delta)])
@pytest.mark.parametrize("centre", [0, 1, 2, 3, 40, 255])
def test_an_alphabet_takes_its_first_words_and_no_others_wherever_its_centre(
    kind: str, length: object, centre: int
) -> None:
    assert callable(length)
    symbols = np.arange(256).astype(np.uint8)
    assert bits_of(kind, symbols, Alphabet(256, centre)) == sum(length(n) for n in range(1, 257))


def test_the_published_lengths() -> None:
    # Elias 1975, table: 1, 2, 4, 8, 16 and 32 take 1, 3, 5, 7, 9, 11 bits in gamma; 1, 4, 5, 8, 9, 10 in delta.
    for kind, published in (("elias-gamma", [1, 3, 5, 7, 9, 11]), ("elias-delta", [1, 4, 5, 8, 9, 10])):
        words = [bits_of(kind, np.array([2**i - 1], np.uint8), Alphabet(64)) for i in range(6)]
        assert words == published


def test_gamma_is_as_good_as_any_code_where_probabilities_fall_as_it_says() -> None:
    # Probabilities 2**-length make every word as long as its information.
    lengths = np.array([gamma(n) for n in range(1, 128)])
    assert np.sum(2.0**-lengths) == pytest.approx(1 - 2.0**-7)
    weights = 2.0**-lengths / np.sum(2.0**-lengths)
    symbols = drawn(weights, 10**5)
    bits = bits_of("elias-gamma", symbols, Alphabet(127))
    counts = np.bincount(symbols, minlength=127)
    assert entropy(counts) <= bits
    assert bits / symbols.size == pytest.approx(float(-np.sum(weights * np.log2(weights))), abs=0.06)


# --- QSGD with Elias words: Alistarh et al. 2017, theorem 3.2 ------------------------------------------


def expected_gamma_bits() -> float:
    r"""Bits an entry of a Gaussian vector at s = √n, where levels are :math:`|g|` rounded at random."""

    def inside(g: float) -> float:
        level = math.floor(g)
        part = g - level
        words = [1 if k == 0 else gamma(2 * k) for k in (level, level + 1)]
        return ((1 - part) * words[0] + part * words[1]) * math.sqrt(2 / math.pi) * math.exp(-g * g / 2)

    return sum(integrate.quad(inside, k, k + 1)[0] for k in range(9))


@pytest.mark.parametrize("entries", [1024, 16384, 262144])
def test_qsgd_at_root_n_levels_takes_no_more_than_2_8_bits_an_entry(entries: int) -> None:
    levels = math.isqrt(entries)
    codec = QSGD(levels=levels, block="vector", coder=EliasGamma())
    x = torch.from_numpy((KEY / "gaussian").numpy().standard_normal(entries).astype(np.float32))
    payload, _ = codec.encode(x, ctx=Context(Layout.flat(entries), KEY))
    assert payload.bits <= 2.8 * entries + 32
    # Words of 1, 3 and 5 bits: a standard deviation of 1.3 an entry.
    expected = expected_gamma_bits() * entries + 32
    assert payload.bits == pytest.approx(expected, abs=5 * 1.3 * math.sqrt(entries))


def test_range_coded_qsgd_takes_less_than_its_elias_words() -> None:
    x = torch.from_numpy((KEY / "gaussian").numpy().standard_normal(65536).astype(np.float32))
    ctx = Context(Layout.flat(65536), KEY)
    elias, coded = (
        QSGD(levels=256, block="vector", coder=coder).encode(x, ctx=ctx)[0].bits
        for coder in (EliasGamma(), Range())
    )
    assert coded < 0.95 * elias


# --- entropy-coded uniform quantisers: their gap to the rate-distortion limit ---------------------------


def gaussian_cells(step: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres of cells of one width, one around 0, and their probabilities under a unit Gaussian."""
    edge = math.ceil(9 / step)
    centres = step * np.arange(-edge, edge + 1)
    return centres, special.ndtr(centres + step / 2) - special.ndtr(centres - step / 2)


def step_of(rate: float) -> float:
    """The cell width at which the index has so many bits of entropy."""
    low, high = 0.01, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        _, chances = gaussian_cells(middle)
        if -np.sum(special.xlogy(chances, chances)) / math.log(2) > rate:
            low = middle
        else:
            high = middle
    return low


@pytest.mark.parametrize(("rate", "gap_db"), [(2, 1.938), (3, 1.631), (4, 1.557)])
@ENTROPY_CODERS
def test_entropy_coded_uniform_quantisers_are_as_far_from_the_limit_as_published(
    kind: str, rate: int, gap_db: float
) -> None:
    step = step_of(rate)
    x = (KEY / "source").numpy().standard_normal(10**6)
    indices = np.rint(x / step).astype(np.int64)
    centre = int(np.abs(indices).max())
    alphabet = Alphabet(2 * centre + 1, centre)
    symbols = (indices + centre).astype(np.uint8)
    payload = CODERS.build(kind).write(symbols, alphabet)
    read = CODERS.build(kind).read(memoryview(payload.body), payload.bits, alphabet, count=x.size)
    error = float(np.mean((x - step * (read.astype(np.int64) - centre)) ** 2))
    measured = 10 * math.log10(error / 2.0 ** (-2 * payload.bits / x.size))
    # A million draws: the error's mean is known to 0.1 % and the rate to 0.0008 bit (6.02 dB each).
    assert measured == pytest.approx(gap_db, abs=0.03)
    assert measured > 0  # nothing beats the limit


# --- sets of indices ------------------------------------------------------------------------------


def indices_of(length: int, count: int) -> np.ndarray:
    return np.sort((KEY / length / count).numpy().choice(length, count, replace=False))


def ideal(length: int, count: int) -> float:
    p = count / length
    return -length * (p * math.log2(p) + (1 - p) * math.log2(1 - p))


@pytest.mark.parametrize(
    ("part", "published", "within"), [(0.01, 8.079, 1.005), (0.1, 4.690, 1.005), (0.03, 6.480, 1.005)]
)
def test_indices_take_little_more_than_their_entropy(part: float, published: float, within: float) -> None:
    length = 10**6
    count = round(part * length)
    assert ideal(length, count) / count == pytest.approx(published, abs=1e-3)
    bits = write_indices(indices_of(length, count), length).bits
    # Of all sets of so many, a code can give a shorter word to but a few: the entropy less a logarithm of the length.
    assert ideal(length, count) - 10 <= bits <= within * ideal(length, count)


@pytest.mark.parametrize("length", [50, 1000, 100_003])
@pytest.mark.parametrize("part", [0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 0.999])
def test_indices_take_no_more_than_any_plain_code_does(length: int, part: float) -> None:
    count = min(max(1, round(part * length)), length - 1)
    spread = indices_of(length, count)
    for indices in (spread, np.arange(count), np.arange(count) + length - count, spread // 2 + length // 3):
        indices = np.unique(indices)
        k = indices.size
        raw = k * math.ceil(math.log2(length))
        low = max(0, math.floor(math.log2(length / k)))
        elias_fano = k * low + k + (length >> low)
        assert write_indices(indices, length).bits <= 8 + min(raw + 1, length, elias_fano)


def test_clustered_indices_take_less_than_scattered_ones() -> None:
    # One layer of ten takes nearly all of the largest entries, as it does in a network.
    scattered, clustered = indices_of(10**6, 10**4), indices_of(10**5, 10**4) + 3 * 10**5
    bits = [write_indices(indices, 10**6).bits for indices in (scattered, clustered)]
    assert bits[1] < 0.6 * bits[0]
    # As few as if both ends knew of the layer; and where it is, in a word or two.
    assert bits[1] < 1.01 * ideal(10**5, 10**4) + 100


def test_both_entropy_coders_agree_on_what_symbols_are_worth() -> None:
    symbols = drawn(bell(16), 10**5)
    first, second = (coder.write(symbols, Alphabet(16)).bits for coder in (Range(), ANS()))
    assert abs(first - second) <= 1e-4 * symbols.size + 33
