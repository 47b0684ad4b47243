r"""What a vector loses with the packets that carry it.

Packets are lost for good with probability p, each for itself; of N packets of equal size M come. What came is divided
by its share, so that on average nothing is missing: E[N/M - 1] of the energy is lost, which tends to p/(1 - p). With
error feedback it is not, and p of the energy waits in the residual.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from syft_fl.codecs import QSGD, Context, Drive, Eden, Float16, Float32, Gaps, RandK, Rotated, Uniform
from syft_fl.codecs.lloyd_max import lloyd_max_levels
from syft_fl.keys import Key
from syft_fl.transport.layers import Pipeline
from syft_fl.vectors import Layout

LENGTH = 1024
LAYOUT = Layout.flat(LENGTH)
KEY = Key(20)
KEYS = 400
FIVE = 5.0
P = 0.25


def vector(length: int = LENGTH) -> torch.Tensor:
    """Uneven: the packets of the first half have nine times the energy of the others."""
    x = torch.randn(length, generator=(KEY / "vector").torch())
    x[: length // 2] *= 3
    return x


def lost_packets(key: Key, *, packets: int, p: float) -> np.ndarray:
    """[packets] which ones; at least one comes."""
    for attempt in range(100):
        lost = (key / f"loss{attempt}").numpy().random(packets) < p
        if not lost.all():
            break
    return lost


def gaps_of(lost: np.ndarray, *, start: int, end: int) -> Gaps:
    """The bits from ``start`` to ``end``, cut into equal packets of which some are lost."""
    edges = np.linspace(start, end, lost.size + 1).round().astype(int).tolist()
    found: list[tuple[int, int]] = []
    for is_lost, first, stop in zip(lost, edges[:-1], edges[1:], strict=True):
        if is_lost and found and found[-1][1] == first:
            found[-1] = (found[-1][0], stop)
        elif is_lost:
            found.append((first, stop))
    return tuple(found)


def received(
    codec: Any,
    x: torch.Tensor,
    *,
    number: int,
    packets: int,
    p: float,
    side_bits: int = 0,
    feedback: bool = False,
) -> torch.Tensor:
    """What comes out of the codec at the other end; scales always come."""
    pipeline = Pipeline.of(codec, delta=True, error_feedback=feedback, erasure=True)
    ctx = Context(LAYOUT, KEY / f"message{number}")
    payload, _ = codec.encode(x, ctx=ctx)
    lost = lost_packets(KEY / f"message{number}", packets=packets, p=p)
    gaps = gaps_of(lost, start=side_bits, end=payload.bits)
    decoded = pipeline.decode_part(payload, gaps, reference=torch.zeros(LENGTH), ctx=ctx)
    assert decoded is not None
    return decoded.from_codec


def mean_inverse_share(packets: int, p: float) -> float:
    """E[N/M] of M of N packets that come with 1 - p each, where at least one does."""
    came = np.arange(1, packets + 1)
    chances = np.array([math.comb(packets, int(m)) * (1 - p) ** m * p ** (packets - m) for m in came])
    return float(np.sum(chances * packets / came) / np.sum(chances))


def test_the_closed_form_tends_to_p_over_one_minus_p() -> None:
    for p in (0.05, 0.1, 0.3):
        assert mean_inverse_share(1000, p) - 1 == pytest.approx(p / (1 - p), rel=0.002)
        assert mean_inverse_share(10, p) - 1 > p / (1 - p)


@pytest.mark.parametrize("packets", [8, 64])
@pytest.mark.parametrize("p", [0.1, 0.4])
def test_what_whole_entries_lose_to_packets_is_the_closed_form(packets: int, p: float) -> None:
    # Energy alike in all packets, so that which one is lost does not matter: signs at random.
    x = torch.where(torch.rand(LENGTH, generator=(KEY / "signs").torch()) < 0.5, -1.0, 1.0)
    energy = float(x @ x)
    scaled, kept = [], []
    for number in range(KEYS):
        found = received(Float32(), x, number=number, packets=packets, p=p)
        scaled.append(float((found - x).square().sum()) / energy)
        found = received(Float32(), x, number=number, packets=packets, p=p, feedback=True)
        kept.append(float((found - x).square().sum()) / energy)
    # Given that one packet comes at least.
    expected = p * (1 - p ** (packets - 1)) / (1 - p**packets)
    for errors, closed in ((scaled, mean_inverse_share(packets, p) - 1), (kept, expected)):
        deviation = np.std(errors) / math.sqrt(KEYS)
        assert abs(np.mean(errors) - closed) < FIVE * deviation
    if packets == 64:
        assert np.mean(scaled) == pytest.approx(p / (1 - p), rel=0.05)
        assert np.mean(kept) == pytest.approx(p, rel=0.05)


UNBIASED: list[tuple[Any, int]] = [
    (Float32(), 0),
    (Uniform(bits=4, rounding="stochastic", block=64), 64 * 16),
    (QSGD(levels=7, block=64), 32 * 16),
    (RandK(fraction=0.5), 0),
    (RandK(fraction=0.5, codec=QSGD(levels=127, block="vector")), 32),
    (Rotated(codec=Uniform(bits=4, rounding="stochastic", block=1024), block=1024), 32 + 64),
    (Rotated(codec=Uniform(bits=4, rounding="stochastic", block=256), block=256), 32 + 64 * 4),
    (Eden(bits=2, block=1024), 32),
    (Eden(bits=2.5, block=256), 32 * 4),
    (Eden(bits=0.5, block=1024), 32),
    (Drive(block=1024), 32),
]


@pytest.mark.parametrize(("codec", "side_bits"), UNBIASED, ids=lambda value: str(value)[:60])
def test_the_mean_over_losses_is_the_vector(codec: Any, side_bits: int) -> None:
    x = vector()
    found = torch.stack(
        [received(codec, x, number=n, packets=16, p=P, side_bits=side_bits) for n in range(KEYS)]
    ).double()
    # Along the vector: a loss that is not made up for would be P of it. And along others, one for each packet.
    along = found @ x.double() / float(x.double() @ x.double())
    assert float(along.std()) / math.sqrt(KEYS) < P / 10
    assert abs(float(along.mean()) - 1) < FIVE * float(along.std()) / math.sqrt(KEYS)
    directions = x.double() * torch.block_diag(*torch.ones(16, 1, 64)).double()
    errors = (found - x.double()) @ directions.T
    assert (errors.mean(0).abs() < FIVE * errors.std(0) / math.sqrt(KEYS)).all()


@pytest.mark.parametrize("bits", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("pattern", ["first half", "every third packet"])
def test_a_rotation_makes_any_pattern_of_loss_cost_the_same(bits: float, pattern: str) -> None:
    # Over rotations, whichever coordinates are lost: with a share r and 1 - D_b kept of it, 1 / (r (1 - D_b)) - 1.
    codec = Eden(bits=bits, block=LENGTH)
    lost = np.arange(16) < 8 if pattern == "first half" else np.arange(16) % 3 == 1
    x = vector()
    pipeline = Pipeline.of(codec, delta=True, erasure=True)
    found = []
    keys = KEYS // 2
    for number in range(keys):
        ctx = Context(LAYOUT, KEY / "rotations" / f"{number}")
        payload, _ = codec.encode(x, ctx=ctx)
        gaps = gaps_of(lost, start=32, end=payload.bits)
        decoded = pipeline.decode_part(payload, gaps, reference=torch.zeros(LENGTH), ctx=ctx)
        assert decoded is not None
        found.append(decoded.from_codec.double())
    came = torch.stack(found)
    energy = float(x.double() @ x.double())
    along = came @ x.double() / energy
    assert abs(float(along.mean()) - 1) < FIVE * float(along.std()) / math.sqrt(keys)
    levels, chances = lloyd_max_levels("gaussian", int(bits))
    kept = float(np.sum(chances * levels**2))  # 1 - D_b
    share = 1 - lost.mean()
    error = (came - x.double()).square().sum(1).mean() / energy
    assert float(error) == pytest.approx(1 / (share * kept) - 1, rel=0.02)


def test_at_fractional_rates_a_coordinate_counts_by_what_its_quantiser_keeps() -> None:
    codec = Eden(bits=1.5, block=LENGTH)
    ctx = Context(LAYOUT, KEY)
    payload, _ = codec.encode(vector(), ctx=ctx)
    # 512 coordinates of 2 bits, then 512 of 1.
    two, one = (
        float(np.sum(chances * levels**2))
        for levels, chances in (lloyd_max_levels("gaussian", b) for b in (2, 1))
    )
    for gap, share in (
        ((32, 32 + 1024), one / (one + two)),
        ((32 + 1024, 32 + 1536), two / (one + two)),
        ((32 + 512, 32 + 1024), (one + two / 2) / (one + two)),
    ):
        part = codec.decode_part(payload, (gap,), ctx=ctx)
        assert part is not None
        assert part.share == pytest.approx(share, rel=1e-12)


def test_the_share_of_drawn_entries_makes_them_as_many_as_came() -> None:
    # k of d drawn, r of k come: each of those times d / r, whatever was drawn.
    codec = RandK(fraction=0.25)
    pipeline = Pipeline.of(codec, delta=True, erasure=True)
    ctx = Context(LAYOUT, KEY)
    x = vector()
    payload, _ = codec.encode(x, ctx=ctx)
    decoded = pipeline.decode_part(payload, ((0, 32 * 156),), reference=torch.zeros(LENGTH), ctx=ctx)
    assert decoded is not None
    there = decoded.from_codec != 0
    assert int(there.sum()) == 100
    torch.testing.assert_close(decoded.from_codec[there], x[there] * (LENGTH / 100))


@pytest.mark.parametrize("codec", [Float16(), Uniform(bits=8), QSGD()], ids=lambda codec: codec.kind)
def test_with_error_feedback_what_came_is_what_it_would_be(codec: Any) -> None:
    ctx = Context(LAYOUT, KEY)
    payload, _ = codec.encode(vector(), ctx=ctx)
    whole, _ = codec.decode(payload, ctx=ctx)
    pipeline = Pipeline.of(codec, delta=True, error_feedback=True, erasure=True)
    gap = (payload.bits - 1600, payload.bits)
    decoded = pipeline.decode_part(payload, (gap,), reference=torch.zeros(LENGTH), ctx=ctx)
    assert decoded is not None
    missing = 1600 // (payload.bits // LENGTH)
    assert torch.equal(decoded.from_codec[:-missing], whole[:-missing])
    assert not decoded.from_codec[-missing:].any()
