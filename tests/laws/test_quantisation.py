"""What quantisers must obey whatever their code: published theorems, information theory, published traps."""

from __future__ import annotations

import math
import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate

from syft_fl.codecs import (
    CODECS,
    FP8,
    QSGD,
    AdaQuantFL,
    BFloat16,
    BlockFloat,
    Clipped,
    Codec,
    Context,
    CountSketch,
    DAdaQuant,
    Dithered,
    Drive,
    Eden,
    Float16,
    Float32,
    Innovation,
    Layered,
    LloydMax,
    Logarithmic,
    Memory,
    NaturalCompression,
    NaturalDithering,
    OneBit,
    Payload,
    PowerSGD,
    RandK,
    Rotated,
    ScaledSign,
    Scheduled,
    TernGrad,
    Threshold,
    TopK,
    Uniform,
    UVeQFed,
)
from syft_fl.errors import CodecError
from syft_fl.keys import Key
from syft_fl.vectors import Layout, Slot, Vector

KEY = Key(2024)


def gaussian(entries: int, name: str = "gaussian") -> np.ndarray:
    """[entries] standard normal, in double precision: the source before it became float32."""
    return (KEY / name).numpy().standard_normal(entries)


def laplace(entries: int) -> np.ndarray:
    return (KEY / "laplace").numpy().laplace(size=entries)


def sparse(entries: int) -> np.ndarray:
    x = gaussian(entries, "sparse")
    return np.where(np.arange(entries) % 50 == 0, x, 0.0)


def send(codec: Codec, x: np.ndarray, name: str = "ue0") -> tuple[np.ndarray, int]:
    """What arrives (float64) and how many bits it took."""
    ctx = Context(Layout.flat(x.size), KEY / name)
    payload, _ = codec.encode(torch.from_numpy(x.astype(np.float32)), ctx=ctx)
    return codec.decode(payload, ctx=ctx)[0].double().numpy(), payload.bits


def energy(x: np.ndarray) -> float:
    return float(np.sum(x * x))


# --- QSGD: Alistarh et al. 2017, lemma 3.1 and theorem 3.2 --------------------------------------------


def levels_and_parts(x: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    steps = levels * np.abs(x) / math.sqrt(energy(x))
    return np.floor(steps), steps - np.floor(steps)


def exact_variance(x: np.ndarray, levels: int) -> float:
    r""":math:`(\|v\|^2/s^2)\sum p(1-p)`, relative to :math:`\|v\|^2`."""
    _, part = levels_and_parts(x, levels)
    return float(np.sum(part * (1 - part))) / levels**2


def gaussian_variance(entries: int, levels: int) -> float:
    """The same in the mean over Gaussian vectors, as n grows: an integral, level by level."""
    scale = levels / math.sqrt(entries)

    def inside(g: float) -> float:
        part = scale * g - math.floor(scale * g)
        return part * (1 - part) * math.sqrt(2 / math.pi) * math.exp(-g * g / 2)

    corners = [level / scale for level in range(1, math.floor(8 * scale) + 1)]
    total = sum(
        integrate.quad(inside, a, b)[0] for a, b in zip([0.0, *corners], [*corners, 8.0], strict=True)
    )
    return entries / levels**2 * total


@pytest.mark.parametrize(
    ("entries", "levels", "published"), [(16384, 1, 101.13), (16384, 16, 5.39), (16384, 128, 0.166)]
)
def test_qsgd_on_gaussian_entries_has_the_published_variance(
    entries: int, levels: int, published: float
) -> None:
    # Draw of x: a standard error of 0.2 %. Of 100 sends: at most 1 % (at one level, some 102 ± 10 non-zeros).
    assert gaussian_variance(entries, levels) == pytest.approx(published, rel=0.01)
    x = gaussian(entries)
    codec = QSGD(levels=levels, block="vector")
    measured = np.mean([energy(send(codec, x, f"ue{i}")[0] - x) for i in range(100)])
    assert measured / energy(x) == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize("source", [gaussian, laplace, sparse])
@pytest.mark.parametrize(
    ("entries", "levels"), [(16384, 1), (16384, 16), (16384, 128), (1000, 5), (333, 40), (5000, 70)]
)
def test_qsgd_error_is_its_exact_variance(source: Any, entries: int, levels: int) -> None:
    sends = 40
    x = source(entries).astype(np.float32).astype(np.float64)
    codec = QSGD(levels=levels, block="vector")
    errors = [energy(send(codec, x, f"ue{i}")[0] - x) / energy(x) for i in range(sends)]
    _, part = levels_and_parts(x, levels)
    # A squared error is (s p)² or (s (1-p))²; entries are independent.
    spread = math.sqrt(np.sum(part * (1 - part) * (1 - 2 * part) ** 2)) / levels**2
    expected = exact_variance(x, levels)
    assert np.mean(errors) == pytest.approx(expected, abs=5 * spread / math.sqrt(sends) + 1e-4 * expected)
    assert expected <= min(entries / levels**2, math.sqrt(entries) / levels)


@pytest.mark.parametrize(("entries", "levels"), [(16384, 1), (16384, 4), (2000, 1), (900, 3)])
def test_qsgd_sends_as_few_non_zeros_as_the_theorem_says(entries: int, levels: int) -> None:
    sends = 40
    x = gaussian(entries)
    codec = QSGD(levels=levels, block="vector")
    counts = [np.count_nonzero(send(codec, x, f"ue{i}")[0]) for i in range(sends)]
    level, part = levels_and_parts(x, levels)
    chance = np.where(level > 0, 1.0, part)
    spread = math.sqrt(np.sum(chance * (1 - chance)))
    assert np.mean(counts) == pytest.approx(chance.sum(), abs=5 * spread / math.sqrt(sends))
    assert chance.sum() <= levels * (levels + math.sqrt(entries))


def test_qsgd_at_one_level_sends_the_published_number_of_non_zeros() -> None:
    x = gaussian(16384)
    counts = [np.count_nonzero(send(QSGD(levels=1, block="vector"), x, f"ue{i}")[0]) for i in range(100)]
    # √(2n/pi) = 102.13; the mean of 100 counts has a standard error of 1.01, the draw of x one of 0.2.
    assert np.mean(counts) == pytest.approx(102.13, abs=5.2)


@pytest.mark.parametrize(("levels", "block"), [(7, 49), (7, 512), (16, 256), (1, 1), (3, 100)])
def test_qsgd_variance_is_bounded_bucket_by_bucket(levels: int, block: int) -> None:
    x = gaussian(block * 64)
    expected = sum(energy(b) * exact_variance(b, levels) for b in x.reshape(-1, block)) / energy(x)
    bound = min(block / levels**2, math.sqrt(block) / levels)
    errors = [energy(send(QSGD(levels=levels, block=block), x, f"ue{i}")[0] - x) for i in range(20)]
    assert expected <= bound
    assert np.mean(errors) / energy(x) == pytest.approx(expected, rel=0.05, abs=1e-12)


def test_qsgd_default_bucket_keeps_the_noise_of_the_order_of_the_update() -> None:
    # What the docstring says of 7 levels: 1.6 for 512 Gaussian entries, over a hundred for a million.
    assert gaussian_variance(512, 7) == pytest.approx(1.6, abs=0.05)
    assert gaussian_variance(10**6, 7) > 100
    x = gaussian(512 * 100)
    arrived, _ = send(QSGD(), x)
    assert energy(arrived - x) / energy(x) == pytest.approx(1.6, rel=0.1)


# --- rate and distortion ------------------------------------------------------------------------------


def distortion_limit(bits_per_entry: float) -> float:
    """Shannon: the least mean square error on unit Gaussian entries, whatever the code."""
    return 2.0 ** (-2.0 * bits_per_entry)


SETTINGS: list[Codec] = [
    Float32(),
    Float16(),
    *(
        Uniform(bits=b, rounding=r, block=n)
        for b in (1, 2, 4, 8, 16)
        for r in ("nearest", "stochastic")
        for n in ("tensor", 4, 64)
    ),
    *(QSGD(levels=s, block=n) for s in (1, 7, 16, 127, 32767) for n in ("vector", 1, 2, 16, 512)),
    BFloat16(),
    *(FP8(format=f, block=n) for f in ("e4m3", "e5m2") for n in ("tensor", 8)),
    *(BlockFloat(bits=b, block=n) for b in (2, 4, 8, 16) for n in (4, 64)),
    *(c(block=n) for c in (ScaledSign, OneBit, TernGrad) for n in ("tensor", 2, 16)),
    NaturalCompression(),
    *(NaturalDithering(levels=s, block=n) for s in (1, 3, 15, 127) for n in (4, 512)),
    *(Logarithmic(bits=b) for b in (2, 4, 8)),
    *(LloydMax(bits=b, law=m) for b in (1, 2, 4, 8) for m in ("gaussian", "laplace", "fitted")),
    *(Dithered(bits=b, block=n) for b in (2, 4, 8) for n in ("tensor", 16)),
    Rotated(),
    Rotated(codec=LloydMax(bits=2)),
    *(c(scale=s, block=n) for c in (Drive, Eden) for s in ("unbiased", "least-error") for n in (64, 8192)),
    *(Eden(bits=b, scale="least-error") for b in (0.25, 1.0, 1.5, 4.0, 8.0)),
    *(UVeQFed(lattice=g, step=s) for g in ("cubic", "hexagonal", "d4", "e8") for s in (0.02, 0.5, 1.0, 4.0)),
    *(PowerSGD(rank=r, codec=c) for r in (1, 4) for c in (Float32(), Float16())),
    *(CountSketch(share=s, recover=k) for s in (0.02, 0.25, 2.0) for k in (0.002, 1.0)),
    *(
        TopK(fraction=f, codec=c)
        for f in (0.01, 0.1, 0.5)
        for c in (Float32(), LloydMax(bits=2), ScaledSign())
    ),
    *(RandK(fraction=f, scale=s) for f in (0.01, 0.5) for s in ("unbiased", "none")),
    *(Threshold(threshold=t, codec=c) for t in (0.5, 1.5, 3.0) for c in (Float32(), LloydMax(bits=2))),
    *(Clipped(deviations=c, codec=q) for c in (1.0, 2.5) for q in (TernGrad(), Uniform(bits=2))),
    *(Layered(codec=c, biases=b) for c in (QSGD(),) for b in (TopK(fraction=0.2), Uniform(bits=4))),
    *(AdaQuantFL(first=s) for s in (1, 16, 127)),
    *(DAdaQuant(first=s, codec=NaturalDithering()) for s in (1, 7)),
    *(Innovation(bits=b, block=n) for b in (1, 4, 8) for n in (64, "vector")),
    *(Scheduled(first=b, codec=Rotated(codec=LloydMax())) for b in (1, 4)),
]


ENTROPY_POWER = {"gaussian": 1.0, "laplace": 2 * math.e / math.pi}
"""Of the two sources: the variance of a Gaussian of the same entropy; Laplacian entries of scale 1 have variance 2."""


def beats_shannon(codec: Codec, source: str = "gaussian") -> bool:
    """Whether the error is below Shannon's lower bound: on Gaussian entries that is the least there is."""
    x = {"gaussian": gaussian, "laplace": laplace}[source](2**14)
    arrived, bits = send(codec, x)
    return energy(arrived - x) / x.size < ENTROPY_POWER[source] * distortion_limit(bits / x.size)


@pytest.mark.parametrize("codec", SETTINGS, ids=repr)
def test_no_codec_beats_the_rate_distortion_limit(codec: Codec) -> None:
    """The error counts from the source in double precision, so that float32 too has one."""
    assert not beats_shannon(codec)


@pytest.mark.parametrize("codec", SETTINGS, ids=repr)
def test_no_codec_beats_shannons_lower_bound_on_laplacian_entries(codec: Codec) -> None:
    assert not beats_shannon(codec, "laplace")


def test_every_codec_of_the_registry_meets_the_lie_detector() -> None:
    ours = {cls.kind for cls in CODECS if cls.__module__.startswith("syft_fl.")}  # type: ignore[attr-defined]
    assert ours == {codec.kind for codec in SETTINGS}


class Smuggler:
    """Charges a quantiser's bits and hands the vector over beside them, as published simulators did."""

    kind = "smuggler"
    lossless = False

    def __init__(self) -> None:
        self._beside = torch.empty(0)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        self._beside = x
        return Uniform(bits=4).encode(x, ctx=ctx)

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        return self._beside, ctx.memory


class HalfCharged:
    """Decodes from all of an honest codec's bytes and charges half of them."""

    kind = "half-charged"
    lossless = False

    def __init__(self, honest: Codec) -> None:
        self._honest = honest
        self._whole = Payload(b"", 0)

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        self._whole, memory = self._honest.encode(x, ctx=ctx)
        half = self._whole.bits // 2
        return Payload(bytes(self._whole.body)[: math.ceil(half / 8)], half), memory

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        return self._honest.decode(self._whole, ctx=ctx)


@pytest.mark.parametrize("source", ENTROPY_POWER)
def test_the_lie_detector_catches_a_codec_that_smuggles_its_input(source: str) -> None:
    assert beats_shannon(Smuggler(), source)


@pytest.mark.parametrize("source", ENTROPY_POWER)
@pytest.mark.parametrize(
    "honest",
    [
        LloydMax(bits=4),
        Uniform(bits=8, block=64),
        Dithered(bits=8),
        Eden(bits=4.0),
        UVeQFed(lattice="e8", step=0.5),
        BlockFloat(bits=8),
        TopK(fraction=0.1, codec=ScaledSign()),
    ],
    ids=repr,
)
def test_the_lie_detector_catches_a_codec_that_charges_half(honest: Codec, source: str) -> None:
    # Charging half of R bits raises the bound by 3.01 R dB: a lie shows where the honest gap is less.
    assert beats_shannon(HalfCharged(honest), source)
    assert not beats_shannon(honest, source)


def test_bytes_can_not_be_charged_as_fewer_bits_than_they_are() -> None:
    body = Float32().encode(torch.ones(100), ctx=Context(Layout.flat(100), KEY))[0].body
    with pytest.raises(CodecError, match="can't hold exactly 400 bits"):
        Payload(body, 400)
    with pytest.raises(CodecError, match="can't hold exactly -1 bits"):
        Payload(b"", -1)


@pytest.mark.parametrize("bits", range(1, 12))
def test_each_bit_buys_the_uniform_quantiser_its_decibels(bits: int) -> None:
    """On entries spread evenly over the range: 9.54 dB for the second bit, tending to 6.02."""

    def error(b: int) -> float:
        x = np.linspace(-1.0, 3.0, 2**18 + 1)
        return energy(send(Uniform(bits=b), x)[0] - x.astype(np.float32)) / x.size

    gained_db = 10 * math.log10(error(bits) / error(bits + 1))
    law_db = 20 * math.log10((2 ** (bits + 1) - 1) / (2**bits - 1))
    assert gained_db == pytest.approx(law_db, abs=0.02)
    assert law_db > 20 * math.log10(2)


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 10])
def test_uniform_error_is_a_twelfth_of_the_squared_step(bits: int) -> None:
    x = np.linspace(-1.0, 3.0, 2**18 + 1)
    step = 4.0 / (2**bits - 1)
    arrived, _ = send(Uniform(bits=bits), x)
    assert energy(arrived - x) / x.size == pytest.approx(step**2 / 12, rel=0.002)
    # Rounded at random the mean of step²·p(1-p) is twice that: unbiasedness costs 3 dB.
    arrived, _ = send(Uniform(bits=bits, rounding="stochastic"), x)
    assert energy(arrived - x) / x.size == pytest.approx(step**2 / 6, rel=0.01)


def test_stochastic_uniform_meets_suresh_bound() -> None:
    """Suresh 2017, lemma 3 and theorem 2: error of the mean of n senders <= d·(max - min)²/(4n(k-1)²)."""
    senders, entries = 10, 4096
    vectors = [gaussian(entries, f"vector{i}").astype(np.float32).astype(np.float64) for i in range(senders)]
    for bits in (1, 2, 4):
        codec = Uniform(bits=bits, rounding="stochastic")
        arrived = [send(codec, x, f"ue{i}")[0] for i, x in enumerate(vectors)]
        bound = sum(entries * np.ptp(x) ** 2 / (4 * (2**bits - 1) ** 2) for x in vectors) / senders**2
        error = energy(np.mean(arrived, axis=0) - np.mean(vectors, axis=0))
        assert 0.1 * bound < error <= bound


# --- traps that published simulators fell into -----------------------------------------------------------


def test_qsgd_divides_by_the_l2_norm_and_not_by_the_largest_entry() -> None:
    values = {
        value
        for i in range(50)
        for value in send(QSGD(levels=1, block="vector"), np.array([3.0, 4.0]), f"ue{i}")[0]
    }
    assert values == {0.0, 5.0}


@pytest.mark.parametrize(
    ("levels", "bits"),
    [(1, 2), (2, 3), (3, 3), (4, 4), (7, 4), (8, 5), (15, 5), (16, 6), (127, 8), (128, 9), (32767, 16)],
)
def test_qsgd_bits_follow_its_levels_and_fit_all_its_symbols(levels: int, bits: int) -> None:
    x = np.array([-1.0, 1.0, 0.0])
    # Buckets of one entry: the lowest symbol, the highest and the middle one.
    arrived, charged = send(QSGD(levels=levels, block=1), x)
    assert charged == 3 * 32 + 3 * bits
    assert arrived.tolist() == x.tolist()


@pytest.mark.parametrize(
    ("codec", "bits"),
    [
        (Float32(), 1000 * 32),
        (Float16(), 1000 * 16),
        (Uniform(bits=4), 3 * 64 + 1000 * 4),
        (Uniform(bits=3, block=512), 2 * 64 + 1000 * 3),
        (QSGD(), 2 * 32 + 1000 * 4),
        (QSGD(levels=1, block="vector"), 32 + 1000 * 2),
    ],
    ids=repr,
)
def test_scales_and_norms_are_charged(codec: Codec, bits: int) -> None:
    layout = Layout((Slot("a", (10, 60), 0), Slot("b", (399,), 600), Slot("c", (), 999)))
    x = torch.from_numpy(gaussian(1000).astype(np.float32))
    payload, _ = codec.encode(x, ctx=Context(layout, KEY))
    assert payload.bits == bits
    assert len(payload.body) == math.ceil(bits / 8)


@pytest.mark.parametrize("codec", [Float16(), Uniform(), QSGD()], ids=repr)
def test_the_scale_of_a_vector_is_in_its_bytes(codec: Codec) -> None:
    x = gaussian(1000)
    arrived, bits = send(codec, x)
    larger, larger_bits = send(codec, 1024 * x)
    assert bits == larger_bits
    # Scaling by a power of two scales what arrives, down to float16's denormals.
    assert larger == pytest.approx(1024 * arrived, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("codec", [Float32(), Float16(), Uniform(), QSGD()], ids=repr)
def test_the_size_is_that_of_this_vector_and_not_of_the_first_one_sent(codec: Codec) -> None:
    _, first = send(codec, gaussian(4096))
    _, half = send(codec, gaussian(2048))
    _, again = send(codec, gaussian(4096))
    assert again == first
    assert 0.49 < half / first < 0.52


@pytest.mark.parametrize(
    "codec",
    [Float32(), Float16(), Uniform(bits=3, rounding="stochastic"), Uniform(block=16), QSGD(levels=16)],
    ids=repr,
)
def test_no_codec_loops_over_entries_in_python(codec: Codec) -> None:
    def lines_run(entries: int) -> int:
        x = gaussian(entries)
        count = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal count
            count += event == "line"
            return trace

        outer = sys.gettrace()
        sys.settrace(trace)
        try:
            send(codec, x)
        finally:
            sys.settrace(outer)
        return count

    assert lines_run(2**16) <= lines_run(2**12) + 50
