"""What sparse codecs and wrappers must obey: published bounds, closed forms on Gaussian entries, their own settings."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from syft_fl.codecs import (
    CODECS,
    QSGD,
    Clipped,
    Codec,
    Context,
    Float16,
    Float32,
    Layered,
    Memory,
    Payload,
    RandK,
    Rule,
    ScaledSign,
    TernGrad,
    Threshold,
    TopK,
    Uniform,
)
from syft_fl.codecs.parts import chained, read_number, taken, write_number
from syft_fl.codecs.selection import drawn_indices, largest_indices
from syft_fl.errors import CodecError, ConfigError
from syft_fl.keys import Key
from syft_fl.vectors import Layout, Slot, Vector

KEY = Key(2028)


def gaussian(entries: int, name: str = "gaussian") -> np.ndarray:
    return (KEY / name).numpy().standard_normal(entries).astype(np.float32).astype(np.float64)


def laplace(entries: int) -> np.ndarray:
    return (KEY / "laplace").numpy().laplace(size=entries).astype(np.float32).astype(np.float64)


def constant(entries: int) -> np.ndarray:
    return np.full(entries, 0.5)


def sparse(entries: int) -> np.ndarray:
    return np.where(np.arange(entries) % 50 == 0, gaussian(entries), 0.0)


every_source = pytest.mark.parametrize("source", [gaussian, laplace, constant, sparse])


def send(
    codec: Codec, x: np.ndarray, name: str | int = "ue0", layout: Layout | None = None
) -> tuple[np.ndarray, int]:
    ctx = Context(layout or Layout.flat(x.size), KEY / name)
    payload, _ = codec.encode(torch.from_numpy(x.astype(np.float32)), ctx=ctx)
    return codec.decode(payload, ctx=ctx)[0].double().numpy(), payload.bits


def energy(x: np.ndarray) -> float:
    return float(np.sum(x * x))


def entropy(part: float) -> float:
    return -part * math.log2(part) - (1 - part) * math.log2(1 - part)


# --- selection ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 7, 300, 29_000, 59_999, 60_000])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(gaussian, id="gaussian"),
        pytest.param(lambda n: np.round(2 * gaussian(n)), id="ties"),
        pytest.param(constant, id="constant"),
        pytest.param(np.zeros, id="zero"),
        # A sample of every so-manieth entry sees none of the large ones, or nothing else.
        pytest.param(lambda n: np.where(np.arange(n) % 4 == 1, 100.0, 1.0) * gaussian(n), id="hidden"),
        pytest.param(lambda n: np.where(np.arange(n) % 4 == 0, 100.0, 1.0) * gaussian(n), id="seen"),
        pytest.param(lambda n: np.sort(gaussian(n)), id="sorted"),
    ],
)
def test_the_largest_are_those_of_a_stable_sort(make: Callable[[int], np.ndarray], count: int) -> None:
    x = make(60_000).astype(np.float32)
    expected = np.sort(np.argsort(-np.abs(x), kind="stable")[:count])
    assert np.array_equal(largest_indices(x, count), expected)


@pytest.mark.parametrize(("length", "count"), [(5, 2), (5, 3), (6, 1), (4, 4), (4, 0)])
def test_every_set_of_indices_is_drawn_as_often(length: int, count: int) -> None:
    sets = list(itertools.combinations(range(length), count))
    draws = 600 * len(sets)
    found = [tuple(drawn_indices(KEY / i, count, length).tolist()) for i in range(draws)]
    expected = draws / len(sets)
    for each in sets:
        assert abs(found.count(each) - expected) <= 5 * math.sqrt(expected * (1 - 1 / len(sets)))


@pytest.mark.parametrize("part", [0.001, 0.3, 0.5, 0.8])
def test_each_index_and_each_pair_of_neighbours_is_drawn_as_often(part: float) -> None:
    length = 200_000
    count = round(part * length)
    drawn = drawn_indices(KEY / "large", count, length)
    assert drawn.size == count
    assert np.all(np.diff(drawn) > 0)
    assert 0 <= drawn[0] <= drawn[-1] < length
    # Hypergeometric counts in tenths; the gaps between Bernoulli(p) entries are 1 with probability p.
    tenths = np.histogram(drawn, 10, (0, length))[0]
    assert np.abs(tenths - count / 10).max() <= 5 * math.sqrt(count * 0.1 * 0.9 * (1 - part))
    neighbours = np.count_nonzero(np.diff(drawn) == 1)
    assert abs(neighbours - count * part) <= 5 * math.sqrt(count * part) + 1


# --- top-k: Stich, Cordonnier, Jaggi 2018 ---------------------------------------------------------


@every_source
@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.1, 0.5, 1.0])
def test_top_k_is_a_contraction_by_one_minus_k_of_d(source: Any, fraction: float) -> None:
    x = source(10_000)
    error = energy(send(TopK(fraction=fraction), x)[0] - x)
    assert error <= (1 - fraction) * energy(x) * (1 + 1e-12)
    if source is constant:
        assert error == pytest.approx((1 - fraction) * energy(x))  # the bound is reached


@pytest.mark.parametrize(
    ("fraction", "published"), [(0.01, 0.916), (0.1, 0.561), (0.05, None), (0.3, None), (0.002, None)]
)
def test_top_k_of_gaussian_entries_loses_the_energy_below_its_quantile(
    fraction: float, published: float | None
) -> None:
    x = gaussian(2**18)
    least = stats.norm.isf(fraction / 2)
    expected = 1 - fraction - 2 * least * stats.norm.pdf(least)
    if published is not None:
        assert expected == pytest.approx(published, abs=6e-4)
    arrived, _ = send(TopK(fraction=fraction), x)
    # What an entry adds to the share of the energy that is kept, to first order.
    adds = np.maximum(x**2 - least**2, 0) - (1 - expected) * x**2
    within = 5 * adds.std() / math.sqrt(x.size)
    assert within < 0.01
    assert energy(arrived - x) / energy(x) == pytest.approx(expected, abs=within)


def test_nothing_with_as_few_entries_is_nearer_than_top_k() -> None:
    x = gaussian(8)
    error = energy(send(TopK(fraction=3 / 8), x)[0] - x)
    others = [energy(np.delete(x, list(kept))) for kept in itertools.combinations(range(8), 3)]
    assert error == pytest.approx(min(others))


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.1, 0.5])
def test_top_k_charges_its_indices_at_little_more_than_their_entropy(fraction: float) -> None:
    entries = 200_000
    _, bits = send(TopK(fraction=fraction), gaussian(entries))
    count = round(fraction * entries)
    each = (bits - 32 * count) / count
    ideal = entropy(fraction) / fraction
    if fraction == 0.01:
        assert ideal == pytest.approx(8.08, abs=0.005)
    assert ideal <= each <= 1.02 * ideal + 300 / count
    assert each < math.ceil(math.log2(entries))


@pytest.mark.parametrize(("fraction", "published"), [(0.01, 8.108), (1 / 400, 10.113)])
def test_positions_take_no_more_than_those_of_sparse_ternary_compression(
    fraction: float, published: float
) -> None:
    """Sattler et al. 2020, section V: Golomb words of b + 1 / (1 - (1-p)**(2**b)) bits in the mean."""
    low = 1 + math.floor(math.log2(math.log((math.sqrt(5) - 1) / 2) / math.log(1 - fraction)))
    words = low + 1 / (1 - (1 - fraction) ** (2**low))
    assert words == pytest.approx(published, abs=0.001)
    entries = 800_000
    count = round(fraction * entries)
    _, bits = send(TopK(fraction=fraction, codec=ScaledSign(block="vector")), gaussian(entries))
    spread = math.sqrt((1 - fraction) / count) / (fraction * 2**low)  # of a gap's high part
    assert (bits - count - 32) / count <= words + 5 * spread + 16 / count


def test_with_signs_behind_top_k_is_sparse_ternary_compression() -> None:
    x = gaussian(5000)
    arrived, _ = send(TopK(fraction=0.02, codec=ScaledSign(block="vector")), x)
    chosen = np.sort(np.argsort(-np.abs(x), kind="stable")[:100])
    expected = np.zeros(5000)
    expected[chosen] = np.sign(x[chosen]) * np.mean(np.abs(x[chosen]))
    assert arrived == pytest.approx(expected, rel=1e-6)


def test_top_k_per_tensor_keeps_the_largest_of_each() -> None:
    x = np.concatenate([100 * gaussian(1000), gaussian(500), gaussian(3)])
    layout = Layout((Slot("a", (10, 100), 0), Slot("b", (500,), 1000), Slot("c", (3,), 1500)))
    whole, _ = send(TopK(fraction=0.1), x, layout=layout)
    each, _ = send(TopK(fraction=0.1, block="tensor"), x, layout=layout)
    assert [np.count_nonzero(whole[slot.start : slot.stop]) for slot in layout.slots] == [150, 0, 0]
    assert [np.count_nonzero(each[slot.start : slot.stop]) for slot in layout.slots] == [100, 50, 1]
    for slot in layout.slots:
        part = x[slot.start : slot.stop]
        assert np.array_equal(each[slot.start : slot.stop], send(TopK(fraction=0.1), part)[0])


def test_the_error_of_the_codec_behind_adds_to_that_of_what_is_left_out() -> None:
    x, fraction = gaussian(50_000), 0.1
    least = energy(send(TopK(fraction=fraction), x)[0] - x)
    kept = np.sort(np.argsort(-np.abs(x), kind="stable")[:5000])
    behind = QSGD(levels=64, block="vector")
    steps = 64 * np.abs(x[kept]) / math.sqrt(energy(x[kept]))
    part = steps - np.floor(steps)
    variance = energy(x[kept]) / 64**2 * np.sum(part * (1 - part))
    errors = [energy(send(TopK(fraction=fraction, codec=behind), x, i)[0] - x) for i in range(20)]
    assert np.mean(errors) - least == pytest.approx(variance, rel=0.02)


def test_error_feedback_sends_at_last_what_top_k_leaves_out() -> None:
    """Sums of what arrives and what is owed are those of what was sent; what is owed stays bounded (Stich 2018)."""
    x, fraction, rounds = gaussian(500), 0.05, 400
    owed, arrived = np.zeros(500), np.zeros(500)
    for i in range(rounds):
        decoded, _ = send(TopK(fraction=fraction), x + owed, i)
        owed = x + owed - decoded
        arrived += decoded
    # |owed| <= (2 / delta) |x| for a contraction by 1 - delta: lemma 3.2 with a constant gradient.
    assert energy(owed) <= (2 / fraction) ** 2 * energy(x)
    assert energy(arrived / rounds - x) <= (2 / (fraction * rounds)) ** 2 * energy(x)


# --- rand-k: Konečný, Richtárik 2018; Stich et al. 2018 -------------------------------------------


@pytest.mark.parametrize(("entries", "fraction"), [(1000, 0.01), (1000, 0.1), (333, 0.5), (100, 0.9)])
@pytest.mark.parametrize("source", [gaussian, laplace])
def test_rand_k_has_its_exact_variance(source: Any, entries: int, fraction: float) -> None:
    x, sends = source(entries), 400
    ratio = entries / round(fraction * entries)
    errors = np.array([energy(send(RandK(fraction=fraction), x, i)[0] - x) for i in range(sends)])
    spread = errors.std(ddof=1) / math.sqrt(sends)
    assert errors.mean() == pytest.approx((ratio - 1) * energy(x), abs=5 * spread)
    biased = np.array(
        [energy(send(RandK(fraction=fraction, scale="none"), x, i)[0] - x) for i in range(sends)]
    )
    spread = biased.std(ddof=1) / math.sqrt(sends)
    assert biased.mean() == pytest.approx((1 - 1 / ratio) * energy(x), abs=5 * spread)


def test_rand_k_sends_values_and_no_index() -> None:
    x = gaussian(10_000)
    for fraction, count in ((0.01, 100), (0.5, 5000), (1.0, 10_000), (1e-9, 1)):
        assert send(RandK(fraction=fraction), x)[1] == 32 * count
    # QSGD behind: a norm for each bucket of 512, four bits an entry.
    assert send(RandK(fraction=0.1, codec=QSGD()), x)[1] == 2 * 32 + 4 * 1000


def test_rand_k_sends_other_entries_with_each_message() -> None:
    x = gaussian(1000)
    sent = np.mean([send(RandK(fraction=0.1, scale="none"), x, i)[0] != 0 for i in range(400)], axis=0)
    assert np.abs(sent - 0.1).max() <= 5 * math.sqrt(0.1 * 0.9 / 400)


def test_rand_k_of_huge_entries_stays_finite() -> None:
    arrived, _ = send(RandK(fraction=0.25), np.full(8, 3e38))
    assert np.isfinite(arrived).all()
    assert np.count_nonzero(arrived) == 2


# --- threshold ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "published"), [(3.0, (0.0027, 0.971)), (2.0, (0.0455, 0.739)), (0.7, None)]
)
def test_threshold_of_gaussian_entries_keeps_both_tails(
    threshold: float, published: tuple[float, float] | None
) -> None:
    entries = 2**18
    x = gaussian(entries)
    tail, density = 2 * stats.norm.sf(threshold), stats.norm.pdf(threshold)
    lost = 1 - tail - 2 * threshold * density
    if published is not None:
        assert (tail, lost) == pytest.approx(published, abs=6e-4)
    arrived, _ = send(Threshold(threshold=threshold), x)
    # What an entry adds to both, to first order: by itself, and by moving the rms and with it the threshold.
    inside, moves = np.abs(x) < threshold, threshold * density * (x**2 - 1)
    within = 5 * np.std(~inside - moves) / math.sqrt(entries)
    assert np.count_nonzero(arrived) / entries == pytest.approx(tail, abs=within)
    within = 5 * np.std(inside * x**2 - lost * x**2 + threshold**2 * moves) / math.sqrt(entries)
    assert within < 0.01
    assert energy(arrived - x) / energy(x) == pytest.approx(lost, abs=within)


@every_source
def test_what_threshold_leaves_out_is_below_it_and_what_it_sends_is_not(source: Any) -> None:
    x = source(5000)
    arrived, _ = send(Threshold(threshold=0.5, measure="absolute"), x)
    assert np.array_equal(arrived, np.where(np.abs(x) >= 0.5, x, 0.0))


def test_threshold_sends_the_largest_of_too_many() -> None:
    x = gaussian(5000)
    capped, bits = send(Threshold(threshold=0.1, most=0.02), x)
    top, top_bits = send(TopK(fraction=0.02), x)
    assert np.array_equal(capped, top)
    assert bits == top_bits + 16  # 5000 needs two bytes


@pytest.mark.parametrize(("entries", "size"), [(1, 8), (255, 8), (256, 16), (65536, 24)])
def test_threshold_of_nothing_costs_the_number_alone(entries: int, size: int) -> None:
    arrived, bits = send(Threshold(threshold=0.5), np.zeros(entries))
    assert bits == size
    assert not arrived.any()


def test_threshold_of_everything_costs_no_index() -> None:
    _, bits = send(Threshold(threshold=0.5), constant(300))
    assert bits == 16 + 32 * 300


def test_a_number_beyond_what_may_be_sent_is_refused() -> None:
    codec, ctx = Threshold(threshold=1.0, most=0.5), Context(Layout.flat(10), KEY)
    body = bytes([6]) + bytes(40)
    with pytest.raises(CodecError, match="6 entries in the payload are more than 5"):
        codec.decode(Payload(body, 8 * len(body)), ctx=ctx)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("top-k", "fraction", 0.0),
        ("top-k", "fraction", 1.5),
        ("rand-k", "fraction", -0.1),
        ("rand-k", "fraction", float("nan")),
        ("threshold", "threshold", 0.0),
        ("threshold", "threshold", math.inf),
        ("threshold", "most", 0.0),
        ("clipped", "deviations", 0.0),
        ("clipped", "norm", -1.0),
        ("clipped", "block", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_with_a_way_out(kind: str, field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{field} = {value} must be .*; "):
        CODECS.build({"kind": kind, field: value})


# --- layered --------------------------------------------------------------------------------------

NETWORK = (
    ("conv1.weight", (8, 1, 3, 3)),
    ("conv1.bias", (8,)),
    ("conv2.weight", (16, 8, 3, 3)),
    ("conv2.bias", (16,)),
    ("norm.scale", ()),
    ("fc.weight", (10, 64)),
    ("fc.bias", (10,)),
)


def network() -> Layout:
    slots: list[Slot] = []
    for name, shape in NETWORK:
        slots.append(Slot(name, shape, slots[-1].stop if slots else 0))
    return Layout(tuple(slots))


def parts(x: np.ndarray) -> dict[str, np.ndarray]:
    return {slot.name: x[slot.start : slot.stop] for slot in network().slots}


ONE_LINE = """
uplink.codec = { kind = "layered", codec = "qsgd", first = "float32", last = "float32", biases = "float16" }
"""


def test_one_line_spares_the_first_layer_the_last_and_the_biases() -> None:
    codec = CODECS.build(tomllib.loads(ONE_LINE)["uplink"]["codec"])
    assert codec == Layered(codec=QSGD(), first=Float32(), last=Float32(), biases=Float16())
    x = gaussian(network().length)
    arrived, bits = send(codec, x, layout=network())
    sent, got = parts(x), parts(arrived)
    for name in ("conv1.weight", "fc.weight"):
        assert np.array_equal(got[name], sent[name])
    for name in ("conv1.bias", "conv2.bias", "norm.scale", "fc.bias"):
        assert np.array_equal(got[name], sent[name].astype(np.float16))
    assert np.unique(np.abs(got["conv2.weight"])).size <= 1 + 3 * 7  # three buckets of seven levels and 0
    lengths = [
        16 * 35,
        32 * 72,
        32 * 640,
    ]  # biases, first, last: each behind its length of two or three bytes
    assert bits == sum(lengths) + 8 * (2 + 2 + 3) + (3 * 32 + 4 * 16 * 8 * 9)


def test_rules_come_first_in_their_order_and_names_are_patterns() -> None:
    codec = Layered(
        codec=Float32(),
        first=Float16(),
        biases=Float16(),
        rules=(
            Rule(tensors="conv?.bias", codec=Threshold(threshold=1e9)),
            Rule(tensors="conv*", codec=Float32()),
            Rule(tensors="*.w[e]ight", codec=Threshold(threshold=1e9)),
        ),
    )
    x = gaussian(network().length)
    sent, got = parts(x), parts(send(codec, x, layout=network())[0])
    for name in ("conv1.weight", "conv2.weight"):
        assert np.array_equal(got[name], sent[name])  # the second rule, before `first`
    for name in ("conv1.bias", "conv2.bias", "fc.weight"):
        assert not got[name].any()  # the first rule, before the second and `biases`; the third
    for name in ("norm.scale", "fc.bias"):
        assert np.array_equal(got[name], sent[name].astype(np.float16))


def test_tensors_under_one_rule_are_one_vector_for_its_codec() -> None:
    x = gaussian(network().length)
    of = parts(x)
    joined = np.concatenate([of[name] for name in ("conv1.weight", "conv2.weight", "fc.weight")])
    biases = np.concatenate([of[n] for n in ("conv1.bias", "conv2.bias", "norm.scale", "fc.bias")])
    got = parts(send(Layered(codec=TopK(fraction=0.02), biases=Uniform(bits=4)), x, layout=network())[0])
    arrived = np.concatenate([got[name] for name in ("conv1.weight", "conv2.weight", "fc.weight")])
    assert np.array_equal(arrived, send(TopK(fraction=0.02), joined)[0])
    # Scales stay per tensor.
    moved = Layout((Slot("a", (8,), 0), Slot("b", (16,), 8), Slot("c", (), 24), Slot("d", (10,), 25)))
    arrived = np.concatenate([got[n] for n in ("conv1.bias", "conv2.bias", "norm.scale", "fc.bias")])
    assert np.array_equal(arrived, send(Uniform(bits=4), biases, layout=moved)[0])


def test_the_only_matrix_is_the_first_one() -> None:
    layout = Layout((Slot("w", (4, 5), 0),))
    x = gaussian(20)
    assert np.array_equal(
        send(Layered(codec=TernGrad(), first=Float32(), last=Float16()), x, layout=layout)[0], x
    )
    half = send(Layered(codec=TernGrad(), last=Float16()), x, layout=layout)[0]
    assert np.array_equal(half, x.astype(np.float16))


def test_a_pattern_of_no_tensor_is_refused_with_the_nearest_name() -> None:
    codec = Layered(
        rules=(Rule(tensors="conv*", codec=Float32()), Rule(tensors="fc.weights", codec=Float32()))
    )
    with pytest.raises(ConfigError, match=r"rules\[1\].tensors = 'fc.weights' .* did you mean 'fc.weight'\?"):
        send(codec, gaussian(network().length), layout=network())


class Counting:
    """Sends nothing, and remembers how often."""

    kind = "counting"
    lossless = False

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        return Payload(b"", 0), {"times": ctx.memory.get("times", 0) + x.numel()}

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        assert payload.bits == 0
        return torch.zeros(ctx.layout.length), {"times": ctx.memory.get("times", 0) + ctx.layout.length}


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        (Layered(codec=Counting(), first=Counting()), {"first": {"times": 144}, "codec": {"times": 3654}}),
        (Clipped(codec=Counting()), {"inner": {"times": 2 * 1899}}),
        (TopK(fraction=0.1, codec=Counting()), {"inner": {"times": 2 * 190}}),
        (RandK(fraction=0.1, codec=Counting()), {"inner": {"times": 2 * 190}}),
        (Threshold(threshold=1e-9, codec=Counting()), {"inner": {"times": 2 * 1899}}),
    ],
    ids=lambda of: getattr(of, "kind", ""),
)
def test_each_codec_behind_has_a_memory_of_its_own(codec: Codec, expected: Memory) -> None:
    memory: Memory = {"other": 1}
    x = torch.from_numpy(gaussian(network().length).astype(np.float32))
    received = memory
    for i in range(2):
        payload, memory = codec.encode(x, ctx=Context(network(), KEY / i, memory=memory))
        _, received = codec.decode(payload, ctx=Context(network(), KEY / i, memory=received))
    assert memory == received == {"other": 1, **expected}


# --- clipped: Wen et al. 2017 ---------------------------------------------------------------------


@pytest.mark.parametrize("deviations", [1.0, 2.0, 2.5])
def test_clipping_gaussian_entries_costs_the_energy_beyond_the_limit(deviations: float) -> None:
    x = gaussian(2**18)
    clipped, _ = send(Clipped(deviations=deviations, codec=Float32()), x)
    tail, density = stats.norm.sf(deviations), stats.norm.pdf(deviations)
    expected = 2 * ((1 + deviations**2) * tail - deviations * density)
    error = (clipped - x) ** 2
    assert error.mean() == pytest.approx(expected, abs=5 * error.std() / math.sqrt(x.size) + 0.01 * expected)
    if deviations == 2.5:
        assert expected == pytest.approx(0.0024, abs=5e-5)
        assert np.array_equal(
            clipped, send(Clipped(codec=Float32()), x)[0]
        )  # the paper's limit is the default


def test_clipping_buys_terngrad_a_smaller_scale_for_little_error() -> None:
    x = gaussian(2**16)
    ternary, wide = send(Clipped(), x)[0], send(TernGrad(), x)[0]
    assert np.abs(wide).max() == pytest.approx(np.abs(x).max())
    assert np.abs(ternary).max() == pytest.approx(2.5 * math.sqrt(np.mean(x**2)), rel=1e-6)
    # |v|_max |v|_1 - |v|**2 of what is left, and what is cut off: 2.5 √(2/pi) - 1 and a little.
    assert energy(ternary - x) / x.size == pytest.approx(2.5 * math.sqrt(2 / math.pi) - 1, rel=0.02)
    expected = np.abs(x).max() * np.abs(x).sum() - energy(x)
    assert energy(wide - x) == pytest.approx(expected, rel=0.02)


def test_deviations_are_those_of_each_group() -> None:
    x = np.concatenate([gaussian(2000), 100 * gaussian(2000)])
    layout = Layout((Slot("small", (2000,), 0), Slot("large", (2000,), 2000)))
    each, _ = send(Clipped(deviations=1.0, codec=Float32()), x, layout=layout)
    whole, _ = send(Clipped(deviations=1.0, block="vector", codec=Float32()), x, layout=layout)
    for part in (slice(0, 2000), slice(2000, 4000)):
        assert np.abs(each[part]).max() == pytest.approx(math.sqrt(np.mean(x[part] ** 2)))
    assert np.array_equal(whole[:2000], x[:2000])


@pytest.mark.parametrize("x", [np.array([0.3]), np.full(50, -0.1), np.array([1.0, 1.0, 5.0])])
def test_groups_that_have_no_outlier_are_not_clipped(x: np.ndarray) -> None:
    """No entry of n is beyond √n deviations from 0; of equal entries none is beyond one."""
    assert np.array_equal(send(Clipped(codec=Float32()), x)[0], x.astype(np.float32))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e37])
def test_a_norm_shortens_the_vector_and_keeps_its_direction(scale: float) -> None:
    x = (scale * gaussian(3000)).astype(np.float32).astype(np.float64)
    norm = 0.1 * math.sqrt(energy(x))
    clipped, _ = send(Clipped(norm=norm, codec=Float32()), x)
    assert clipped == pytest.approx(0.1 * x, rel=1e-6)
    assert np.array_equal(send(Clipped(norm=20 * norm, codec=Float32()), x)[0], x)


def test_both_limits_hold_one_after_the_other() -> None:
    x = gaussian(1000)
    x[0] = 1000.0
    clipped, _ = send(Clipped(norm=2.0, deviations=1.0, codec=Float32()), x)
    within, _ = send(Clipped(deviations=1.0, codec=Float32()), x)
    assert math.sqrt(energy(clipped)) == pytest.approx(2.0, rel=1e-6)
    assert clipped == pytest.approx(within * 2 / math.sqrt(energy(within)), rel=1e-6)


def test_clipping_sends_nothing_of_its_own() -> None:
    x = gaussian(1000)
    for behind in (TernGrad(), Uniform(bits=4, block=64), Float32()):
        assert send(Clipped(codec=behind), x)[1] == send(behind, x)[1]


def test_what_is_clipped_arrives_later_with_error_feedback() -> None:
    x, rounds = gaussian(200), 300
    x[7] = 30.0
    owed, arrived = np.zeros(200), np.zeros(200)
    for i in range(rounds):
        decoded, _ = send(Clipped(codec=Float32()), x + owed, i)
        owed = x + owed - decoded
        arrived += decoded
    once, _ = send(Clipped(codec=Float32()), x)
    assert abs(once[7] - x[7]) > 20
    assert arrived / rounds == pytest.approx(x, abs=2.0)


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**40, 2**56 - 1])
def test_a_length_takes_a_byte_for_each_seven_bits(number: int) -> None:
    body = write_number(number)
    assert len(body) == max(1, -(-number.bit_length() // 7))
    assert read_number(memoryview(body + b"\xff")) == (number, len(body))


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xff" * 8 + b"\0"])
def test_a_length_that_does_not_end_is_refused(body: bytes) -> None:
    with pytest.raises(CodecError, match="ends within the length"):
        read_number(memoryview(body))


def test_bits_between_parts_are_charged_and_empty() -> None:
    # A codec may leave anything in the unused bits of its last byte.
    whole = chained([Payload(b"\xff", 3), Payload(b"", 0), Payload(b"\x01\x03", 10)])
    assert whole == Payload(b"\x07\x01\x03", 18)
    first, rest = taken(whole, 3)
    assert (bytes(first.body), first.bits) == (b"\x07", 3)
    assert (bytes(rest.body), rest.bits) == (b"\x01\x03", 10)
    for damaged, bits in ((b"\x0f\x01", 10), (b"\x07", 5)):
        with pytest.raises(CodecError, match="are not empty"):
            taken(Payload(damaged, bits), 3)
    with pytest.raises(CodecError, match="same architecture"):
        taken(whole, 19)
