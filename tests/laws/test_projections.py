"""Low rank and sketches: what linear algebra and the theorems say of them, and what they are for in a federation."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from claims.projections import factored_worst
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threadpoolctl import threadpool_limits

from syft_fl.codecs import (
    CODECS,
    Codec,
    Context,
    CountSketch,
    Float16,
    Layered,
    Memory,
    Payload,
    PowerSGD,
    Rule,
)
from syft_fl.errors import CodecError, ConfigError
from syft_fl.experiment import parse, run
from syft_fl.federation import Simulation
from syft_fl.keys import Key
from syft_fl.transport import Downlink, Message, ModelContent, Transport, Uplink
from syft_fl.vectors import Layout, ModelState, Slot

KEY = Key(2019)


def layout_of(*shapes: tuple[int, ...]) -> Layout:
    slots: list[Slot] = []
    for i, shape in enumerate(shapes):
        slots.append(Slot(f"tensor{i}", shape, slots[-1].stop if slots else 0))
    return Layout(tuple(slots))


def gaussian(*shape: int, name: str = "gaussian") -> np.ndarray:
    return (KEY / name).numpy().standard_normal(shape)


def send(
    codec: Codec, x: np.ndarray, layout: Layout, *, key: Key = KEY, memory: Memory | None = None
) -> tuple[np.ndarray, Payload, Memory]:
    """What arrives (float64), its payload, and what the sender remembers; the receiver remembers nothing."""
    ctx = Context(layout, key, memory=memory or {})
    payload, remembered = codec.encode(torch.from_numpy(x.astype(np.float32).ravel()), ctx=ctx)
    received = Payload(bytes(payload.body), payload.bits)
    return codec.decode(received, ctx=Context(layout, key))[0].double().numpy(), payload, remembered


def energy(x: np.ndarray) -> float:
    return float(np.sum(np.square(x, dtype=np.float64)))


# --- PowerSGD: Vogels, Karimireddy, Jaggi 2019 ---------------------------------------------------------


def of_spectrum(m: int, n: int, singular: np.ndarray) -> np.ndarray:
    left, _ = np.linalg.qr(gaussian(m, singular.size, name="left"))
    right, _ = np.linalg.qr(gaussian(n, singular.size, name="right"))
    return (left * singular) @ right.T


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (13, 200), (16, 8, 3, 3)])
@pytest.mark.parametrize(("rank", "held"), [(1, 1), (2, 2), (4, 3), (4, 1), (4, 0)])
def test_a_matrix_of_no_more_than_the_rank_arrives_exactly(
    shape: tuple[int, ...], rank: int, held: int
) -> None:
    m, n = shape[0], math.prod(shape[1:])
    x = (gaussian(m, held, name="a") @ gaussian(held, n, name="b")).astype(np.float32)
    arrived, _, _ = send(PowerSGD(rank=rank), x, layout_of(shape))
    assert np.abs(arrived - x.ravel()).max() <= 2.0**-20 * np.abs(x).max(initial=0.0)


def repeated(codec: PowerSGD, x: np.ndarray, times: int) -> list[float]:
    """Squared errors of one matrix that is sent again and again."""
    errors, memory = [], {}
    for i in range(times):
        arrived, _, memory = send(codec, x, layout_of(x.shape), key=KEY / i, memory=memory)
        errors.append(energy(arrived - x.ravel()))
    return errors


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_steps_on_one_matrix_lead_monotonously_to_the_best_of_that_rank(rank: int) -> None:
    x = of_spectrum(40, 60, 0.8 ** np.arange(40)).astype(np.float32)
    best = energy(np.linalg.svd(x.astype(np.float64), compute_uv=False)[rank:])
    errors = repeated(PowerSGD(rank=rank), x, 40)
    assert errors[0] > 1.02 * best
    # A step of subspace iteration can't raise the error: tr(P'AP) is convex, and P' the best by its linear part.
    assert (np.diff(errors) <= 1e-6 * best).all()
    # The angle to the best space falls by (σ_{r+1}/σ_r)² = 0.64 a step, the excess by its square.
    assert errors[-1] == pytest.approx(best, rel=1e-5)
    cold = repeated(PowerSGD(rank=rank, warm_start=False), x, 20)
    assert min(cold) > 1.005 * best
    assert repeated(PowerSGD(rank=rank, warm_start=False, steps=20), x, 1)[0] == pytest.approx(best, rel=1e-3)


def test_a_cold_start_is_the_randomised_range_finder() -> None:
    """Halko, Martinsson, Tropp 2011, theorem 10.5: k + p random vectors, E|A - PP'A|² <= (1 + k/(p-1)) Σ_{j>k} σ_j²."""
    x = of_spectrum(50, 80, 1.0 / np.arange(1, 51)).astype(np.float32)
    spectrum = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    for rank, k in ((4, 1), (4, 2), (8, 4), (8, 6)):
        codec = PowerSGD(rank=rank, warm_start=False)
        sent = [send(codec, x, layout_of(x.shape), key=KEY / i)[0] for i in range(40)]
        mean = np.mean([energy(arrived - x.ravel()) for arrived in sent])
        assert energy(spectrum[rank:]) < mean <= (1 + k / (rank - k - 1)) * energy(spectrum[k:])


@pytest.mark.parametrize("rank", [1, 2, 4, 7])
def test_bits_are_those_of_the_factors_and_of_what_is_no_matrix(rank: int) -> None:
    layout = layout_of((40, 60), (40,), (32, 16, 3, 3), (), (2, 2), (0, 5), (10, 40))
    factored = sum(rank * (m + n) for m, n in ((40, 60), (32, 144), (10, 40)))
    whole = 40 + 1 + 4
    x = gaussian(layout.length)
    arrived, payload, _ = send(PowerSGD(rank=rank), x, layout)
    assert payload.bits == 32 * (factored + whole)
    for i in (1, 3, 4):
        slot = layout.slots[i]
        assert np.array_equal(arrived[slot.start : slot.stop], x[slot.start : slot.stop].astype(np.float32))
    assert send(PowerSGD(rank=rank, codec=Float16()), x, layout)[1].bits == 16 * (factored + whole)
    halves = Layered(codec="float32", rules=(Rule(tensors="*.[pq]", codec=Float16()),))
    bits = send(PowerSGD(rank=rank, codec=halves), x, layout)[1].bits
    assert bits - 16 * factored - 32 * whole in range(8, 65)  # a length of the first part stands between


def test_a_matrix_that_factors_would_not_shorten_is_sent_as_it_is() -> None:
    for shape, gains in (
        ((8, 8), True),
        ((2, 8), False),
        ((2, 500), False),
        ((5, 20), False),
        ((5, 21), True),
    ):
        rank = 4 if 5 in shape else 2
        x = gaussian(*shape)
        arrived, payload, memory = send(PowerSGD(rank=rank), x, layout_of(shape))
        assert (payload.bits < 32 * x.size) is gains
        assert np.array_equal(arrived, x.astype(np.float32).ravel()) is not gains
        assert bool(memory) is gains


def test_float16_factors_cost_half_and_lose_little() -> None:
    x = of_spectrum(40, 60, 0.5 ** np.arange(8)).astype(np.float32)
    exact, _, _ = send(PowerSGD(), x, layout_of(x.shape))
    halves, _, _ = send(PowerSGD(codec=Float16()), x, layout_of(x.shape))
    # Both factors are off by 2^-11 of an entry at the most.
    assert energy(halves - exact) <= (2 * 2.0**-11) ** 2 * energy(exact)


def test_the_start_is_the_messages_own_and_then_the_links() -> None:
    x, layout = gaussian(40, 60), layout_of((40, 60))
    first, _, memory = send(PowerSGD(), x, layout, key=Key(1) / "ue0")
    other, _, _ = send(PowerSGD(), x, layout, key=Key(1) / "ue1")
    assert not np.array_equal(first, other)
    warm = {send(PowerSGD(), x, layout, key=Key(1) / name, memory=memory)[0].tobytes() for name in ("a", "b")}
    assert len(warm) == 1
    cold = PowerSGD(warm_start=False)
    assert send(cold, x, layout, memory={"kept": 1})[2] == {"kept": 1}
    # What is not of these matrices (another model's) starts anew.
    assert np.array_equal(
        send(PowerSGD(), x, layout, memory={"start": torch.ones(3)})[0], send(cold, x, layout)[0]
    )


def test_a_direction_that_vanished_comes_back_when_it_is_needed() -> None:
    layout = layout_of((40, 60))
    thin, full = of_spectrum(40, 60, np.array([1.0])), of_spectrum(40, 60, np.ones(4))
    memory: Memory = {}
    for x in (np.zeros((40, 60)), thin, full):
        arrived, _, memory = send(PowerSGD(), x, layout, memory=memory)
        assert energy(arrived - x.astype(np.float32).ravel()) <= 1e-10


def test_the_number_of_threads_changes_no_bit() -> None:
    x, layout = gaussian(128, 4000), layout_of((128, 4000))
    sent = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            _, payload, memory = send(PowerSGD(), x, layout)
            arrived, again, _ = send(PowerSGD(), x, layout, memory=memory)
        sent.append((payload.body, again.body, arrived.tobytes()))
    assert sent[0] == sent[1]


@given(
    x=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 30)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    rank=st.integers(1, 3),
)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_no_matrix_arrives_with_an_error_longer_than_itself(x: np.ndarray, rank: int) -> None:
    layout = layout_of(x.shape)
    codec = PowerSGD(rank=rank)
    arrived, _, memory = send(codec, x, layout)
    again, _, _ = send(codec, x, layout, memory=memory)
    for y in (arrived, again):
        assert np.isfinite(y).all()
        assert (np.abs(y - x.ravel()) <= factored_worst(codec, x.astype(np.float64).ravel(), layout)).all()
        # Least denormals have no precision to be factored in.
        assert energy(y - x.ravel()) <= energy(x) * (1 + 1e-5) + x.size * (rank * 2.0**-147) ** 2


@given(random=st.randoms(use_true_random=False), rank=st.integers(1, 3))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_any_factors_multiply_to_finite_entries_or_are_refused(random: Any, rank: int) -> None:
    layout = layout_of((9, 30), (7,))
    size = 4 * (39 * rank + 7)
    codec = PowerSGD(rank=rank)
    huge = np.full(size // 4, np.finfo(np.float32).max, "<f4").tobytes()
    for body in (random.randbytes(size), huge, b"\xff" * size, b"\0" * size):
        try:
            entries, _ = codec.decode(Payload(body, 8 * size), ctx=Context(layout, KEY))
        except CodecError:
            continue
        assert entries.shape == (277,)
        assert bool(torch.isfinite(entries).all())
    with pytest.raises(CodecError, match="same architecture"):
        codec.decode(Payload(huge, 8 * size), ctx=Context(layout_of((9, 31), (7,)), KEY))


@pytest.mark.parametrize("rank", [1, 4, 15])
@pytest.mark.parametrize("inner", [{"kind": "float32"}, {"kind": "float16"}, {"kind": "uniform", "bits": 6}])
def test_no_low_rank_beats_the_rate_distortion_limit(rank: int, inner: dict[str, Any]) -> None:
    x = gaussian(32, 32)
    arrived, payload, _ = send(
        PowerSGD(rank=rank, steps=20, codec=CODECS.build(inner)), x, layout_of((32, 32))
    )
    assert energy(arrived - x.ravel()) / x.size > 2.0 ** (-2 * payload.bits / x.size)


def model(vector: torch.Tensor, layout: Layout) -> ModelContent:
    return ModelContent(ModelState(vector, {}), layout)


def drained(transport: Transport) -> list[Any]:
    arrivals = []
    while transport.next_event_s() < float("inf"):
        arrivals += transport.advance(transport.next_event_s())
    return arrivals


def one_round(
    transport: Transport,
    w: torch.Tensor,
    layout: Layout,
    *,
    number: int,
    learn: Callable[[int, torch.Tensor], torch.Tensor],
    ues: int,
) -> list[Any]:
    """The base station sends ``w``, each UE adds to it what it learnt; what came back."""
    names = tuple(f"ue{i}" for i in range(ues))
    for out in transport.prepare(Message("model", "bs", names, "model", model(w, layout), round=number)):
        transport.offer(out, now_s=transport.clock.now_s)
    (down,) = drained(transport)
    for i, name in enumerate(names):
        here = down.content.state.vector
        content = model(here + learn(i, here), layout)
        (out,) = transport.prepare(Message("model", name, "bs", "model", content, round=number, samples=1))
        transport.offer(out, now_s=transport.clock.now_s)
    return drained(transport)


@pytest.mark.parametrize("feedback", [True, False])
def test_only_with_error_feedback_do_opposite_ues_find_their_common_optimum(feedback: bool) -> None:
    """Two quadratics |W - S ± B|²/2: rank 1 sends ±B, which cancel, and without feedback never S."""
    layout = layout_of((12, 20))
    basis = torch.from_numpy(of_spectrum(12, 20, np.array([1.0]))).float()
    left = torch.from_numpy(np.linalg.svd(basis.numpy())[0][:, 3]).float()
    right = torch.from_numpy(np.linalg.svd(basis.numpy())[2][5]).float()
    common, opposite = torch.outer(left, right).flatten(), 5 * basis.flatten()
    transport = Transport(uplink=Uplink(codec=PowerSGD(rank=1), error_feedback=feedback), hub="bs", key=KEY)

    def learn(ue: int, w: torch.Tensor) -> torch.Tensor:
        return 0.1 * (common + (opposite if ue else -opposite) - w)

    w = torch.zeros(240)
    models = []
    for number in range(1, 241):
        arrivals = one_round(transport, w, layout, number=number, learn=learn, ues=2)
        w = torch.stack([arrival.content.state.vector for arrival in arrivals]).mean(dim=0)
        models.append(w)
    gaps = [float((w - common).norm()) for w in models]
    mean_gap = float((torch.stack(models[120:]).mean(dim=0) - common).norm())
    if feedback:
        # What is owed is bounded, so the mean gradient falls as 1/rounds; W itself moves in steps of what has gathered.
        assert mean_gap < 0.05
        assert np.mean(gaps[120:]) < 0.3
    else:
        assert mean_gap > 0.95
        assert min(gaps) > 0.95


# --- the count sketch: Charikar, Chen, Farach-Colton 2002 ----------------------------------------------


def sketch_of(
    columns: int, entries: int, *, rows: int = 1, recover: float = 1.0, **fields: Any
) -> CountSketch:
    codec = CountSketch(rows=rows, share=rows * columns / entries, recover=recover, **fields)
    assert codec.columns(entries) == columns
    return codec


def estimates(codec: CountSketch, x: np.ndarray, seed: int) -> np.ndarray:
    return send(codec, x, Layout.flat(x.size), key=Key(seed) / "ue0" / "upload1")[0]


def table(codec: CountSketch, x: np.ndarray, key: Key) -> np.ndarray:
    payload = send(codec, x, Layout.flat(x.size), key=key)[1]
    return np.frombuffer(payload.body, "<f4").reshape(codec.rows, -1).astype(np.float64)


@pytest.mark.parametrize(("entries", "columns"), [(300, 20), (1000, 64), (64, 200)])
def test_a_row_estimates_each_entry_without_bias_and_with_the_stated_variance(
    entries: int, columns: int
) -> None:
    draws = 500
    x = gaussian(entries).astype(np.float32)
    errors = np.stack([estimates(sketch_of(columns, entries), x, i) for i in range(draws)]) - x
    # Each other entry is in the same place with a chance of 1/c, and with a sign of its own.
    variance = (energy(x) - x.astype(np.float64) ** 2) / columns
    assert (np.abs(errors.mean(axis=0)) <= 5 * np.sqrt(variance / draws)).all()
    assert np.mean(errors**2) == pytest.approx(np.mean(variance), rel=0.05)
    assert (np.mean(errors**2, axis=0) <= 1.6 * energy(x) / columns).all()


@pytest.mark.parametrize("distance", [1, 2, 3, 16, 100, 256, 999])
def test_two_entries_meet_as_chance_has_it_and_their_signs_agree_half_the_time(distance: int) -> None:
    columns, draws = 8, 800
    x = np.zeros(1000)
    x[0], x[distance] = 1.0, 2.0
    met, agreed = [], []
    for i in range(draws):
        row = table(sketch_of(columns, x.size), x, Key(i))[0]
        found = row[row != 0]
        met.append(found.size == 1)
        agreed.append(abs(found.sum()) == 3.0)
    assert np.mean(met) == pytest.approx(1 / columns, abs=5 * math.sqrt(7 / 64 / draws))
    assert np.mean(agreed) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(draws))


def test_the_median_of_rows_is_within_charikars_bound_and_finds_the_heavy_entries() -> None:
    entries, columns, heavy = 4000, 200, np.arange(7, 4000, 400)
    x = gaussian(entries)
    # |x_i| = sqrt(8/c)|x|, with the heavy ones' own share in |x|².
    light = energy(np.delete(x, heavy))
    x[heavy] = math.sqrt(8 * light / (columns - 8 * heavy.size)) * np.where(heavy % 3, 1, -1)
    bound = math.sqrt(8 * energy(x) / columns)
    assert np.abs(x[heavy]) == pytest.approx(bound)
    for seed in range(5):
        every = estimates(sketch_of(columns, entries, rows=15), x, seed)
        assert np.abs(every - x).max() <= bound
        found = estimates(sketch_of(columns, entries, rows=15, recover=heavy.size / entries), x, seed)
        assert np.flatnonzero(found).tolist() == heavy.tolist()
        assert np.array_equal(found[heavy], every[heavy])


@pytest.mark.parametrize(("rows", "shrinks"), [(1, 1.0), (3, 0.449), (5, 0.287), (9, 0.166), (4, 0.298)])
def test_more_rows_bring_the_variance_of_a_median(rows: int, shrinks: float) -> None:
    """Of normal numbers the median of 3, 5, 9 has 0.4487, 0.2868, 0.1661 of the variance; of 4 (mean of two) 0.298."""
    entries, columns = 3000, 100
    x = gaussian(entries)
    errors = [estimates(sketch_of(columns, entries, rows=rows), x, seed) - x for seed in range(12)]
    assert np.mean(np.square(errors)) == pytest.approx(shrinks * energy(x) / columns, rel=0.06)


def test_sketches_of_all_ues_and_rounds_add_up() -> None:
    codec = CountSketch()
    # Whole numbers: float32 adds them exactly.
    x, y = (np.round(10 * gaussian(1000, name=name)) for name in "xy")
    one, other = table(codec, x, Key(3) / "ue0" / "upload1"), table(codec, y, Key(3) / "ue5" / "upload9")
    assert np.array_equal(one + other, table(codec, x + y, Key(3) / "bs"))
    assert not np.array_equal(table(codec, x, Key(4)), table(codec, x, Key(3)))


def test_what_is_left_of_several_pieces_is_one_sketch() -> None:
    entries = 2**16 + 500
    x = np.zeros(entries)
    at = [0, 2**16 - 1, 2**16, entries - 1]
    x[at] = [5.0, -6.0, 7.0, -8.0]
    assert np.array_equal(estimates(CountSketch(share=0.05, recover=4 / entries), x, 0), x)


@pytest.mark.parametrize(
    ("rows", "share", "columns"), [(5, 0.25, 50), (1, 1.0, 1000), (3, 0.001, 1), (63, 2.0, 32)]
)
def test_bits_are_those_of_the_table(rows: int, share: float, columns: int) -> None:
    codec = CountSketch(rows=rows, share=share)
    assert send(codec, gaussian(1000), Layout.flat(1000))[1].bits == 32 * rows * columns


def test_of_equal_estimates_the_first_are_kept() -> None:
    found = estimates(CountSketch(share=500.0, recover=0.3), np.ones(10), 0)
    assert found.tolist() == [1.0] * 3 + [0.0] * 7


# --- sums in code space: Rothchild et al. 2020 ---------------------------------------------------------


def aggregated(
    codec: CountSketch, xs: np.ndarray, weights: list[float], memory: Memory
) -> tuple[np.ndarray, Memory]:
    layout = Layout.flat(xs.shape[1])
    ctxs = [Context(layout, KEY / f"ue{i}") for i in range(len(xs))]
    payloads = [
        codec.encode(torch.from_numpy(x.astype(np.float32)), ctx=c)[0] for x, c in zip(xs, ctxs, strict=True)
    ]
    vector, memory = codec.aggregate(payloads, weights, ctxs=ctxs, memory=memory)
    return vector.double().numpy(), memory


def common_signal(ues: int, entries: int) -> tuple[np.ndarray, np.ndarray]:
    """What many UEs have in common, one entry in a hundred, no larger than each one's noise."""
    signal = np.where(np.arange(entries) % 100 == 37, 1.0, 0.0)
    return signal, signal + gaussian(ues, entries)


def test_the_sum_shows_what_is_too_small_in_each() -> None:
    ues, entries = 100, 4000
    signal, xs = common_signal(ues, entries)
    codec = CountSketch(share=1.0, recover=0.01)
    there = np.flatnonzero(signal)
    summed, _ = aggregated(codec, xs, [1 / ues] * ues, {})
    each = np.stack([send(codec, x, Layout.flat(entries), key=KEY / "ue")[0] for x in xs])
    # Deviations of an estimate, UEs' noise and the sketch's √(0.287 |x|²/c) together: 0.2 of the sum's, 1.9 of each's.
    assert np.isin(there, np.flatnonzero(summed)).mean() >= 0.95
    assert np.mean(each[:, there] != 0) < 0.1
    assert energy(summed - signal) < 0.1 * energy(signal)
    assert energy(each.mean(axis=0) - signal) > 0.5 * energy(signal)


def test_what_is_subtracted_and_what_is_owed_is_all_that_was_learnt() -> None:
    entries, weights = 600, [0.2, 0.5, 0.3]
    codec = CountSketch(rest="subtracted", recover=0.01)
    delivered, learnt, memory = np.zeros(entries), np.zeros(entries), {}
    for number in range(6):
        xs = gaussian(3, entries, name=f"round{number}")
        vector, memory = aggregated(codec, xs, weights, memory)
        assert np.count_nonzero(vector) == 6
        delivered += vector
        learnt += np.array(weights) @ xs
    owed = memory["owed"].numpy()
    assert owed == pytest.approx(table(codec, learnt - delivered, KEY), abs=1e-4)


def test_a_sum_that_is_zeroed_forgets_the_places_it_was_found_at() -> None:
    entries = 600
    x = gaussian(1, entries)
    vector, memory = aggregated(CountSketch(recover=0.01, momentum=0.5), x, [1.0], {})
    found = (
        table(CountSketch(recover=0.01), np.where(vector != 0, 1.0, 0.0) * np.arange(1, entries + 1), KEY)
        != 0
    )
    before = table(CountSketch(recover=0.01), x[0], KEY)
    for name in ("owed", "velocity"):
        assert memory[name].numpy() == pytest.approx(np.where(found, 0.0, before), abs=1e-5)


def test_a_sum_that_is_dropped_leaves_nothing_behind() -> None:
    x = gaussian(2, 600)
    codec = CountSketch(rest="dropped")
    vector, memory = aggregated(codec, x, [0.5, 0.5], {})
    assert memory == {}
    assert np.array_equal(aggregated(codec, x, [0.5, 0.5], memory)[0], vector)


def test_momentum_is_the_papers_geometric_sum() -> None:
    codec = CountSketch(rest="subtracted", momentum=0.9)
    memory: Memory = {}
    xs = [gaussian(1, 600, name=f"m{i}") for i in range(4)]
    for x in xs:
        _, memory = aggregated(codec, x, [1.0], memory)
    expected = sum(0.9 ** (3 - i) * x[0] for i, x in enumerate(xs))
    assert memory["velocity"].numpy() == pytest.approx(table(codec, expected, KEY), abs=1e-4)


def test_a_persistent_signal_below_the_noise_is_found_in_time() -> None:
    """What each round's sum hides gathers in what is owed; without that it is never found."""
    entries = 2000
    signal = np.where(np.arange(entries) == 1234, 1.0, 0.0)
    codecs = {
        rest: CountSketch(rest=rest, share=0.5, recover=1 / entries) for rest in ("subtracted", "dropped")
    }
    found = {}
    for rest, codec in codecs.items():
        total, memory = np.zeros(entries), {}
        for number in range(40):
            noise = 0.3 * gaussian(1, entries, name=f"n{number}")
            vector, memory = aggregated(codec, signal + noise, [1.0], memory)
            total += vector
        found[rest] = total[1234]
    assert found["subtracted"] > 20
    assert found["dropped"] < found["subtracted"]


# --- in the transport and in a federation --------------------------------------------------------------


def summing(codec: Codec, *, ues: int, **fields: Any) -> tuple[Transport, list[Any], np.ndarray, np.ndarray]:
    """One round of UEs that have a small signal in common; what the base station sent, and what they learnt."""
    entries = 4000
    layout = Layout.flat(entries)
    signal, xs = common_signal(ues, entries)
    learnt = torch.from_numpy(xs).float()
    transport = Transport(uplink=Uplink(codec=codec, **fields), hub="bs", key=KEY)
    w = torch.from_numpy(gaussian(entries, name="model")).float()
    arrivals = one_round(transport, w, layout, number=1, learn=lambda i, _: learnt[i], ues=ues)
    return transport, arrivals, w.double().numpy(), signal


def test_a_base_station_that_sums_first_recovers_what_each_upload_hides() -> None:
    ues = 100
    transport, arrivals, w, signal = summing(CountSketch(share=1.0, recover=0.01), ues=ues)
    vector = transport.aggregate(arrivals, [1 / ues] * ues)
    assert vector is not None
    each = torch.stack([a.content.state.vector for a in arrivals]).double().mean(dim=0).numpy()
    assert energy(vector.double().numpy() - w - signal) < 0.1 * energy(signal)
    assert energy(each - w - signal) > 0.5 * energy(signal)
    assert transport.state()["sums"]["model"]["owed"].shape == (5, 800)
    transport.forget("model")
    assert transport.state()["sums"] == {}


@pytest.mark.parametrize(
    ("codec", "fields"),
    [
        (CountSketch(), {"error_feedback": True}),
        (CountSketch(), {"delta": False}),
        (PowerSGD(), {}),
        (Float16(), {}),
    ],
    ids=str,
)
def test_what_does_not_add_up_is_decoded_one_by_one(codec: Codec, fields: dict[str, Any]) -> None:
    transport, arrivals, _, _ = summing(codec, ues=3, **fields)
    assert all(arrival.written is None for arrival in arrivals)
    assert transport.aggregate(arrivals, [1 / 3] * 3) is None
    assert transport.aggregate([], []) is None
    assert transport.state()["sums"] == {}


def test_ues_that_hold_different_references_still_add_up() -> None:
    """One UE got another model than the others: the mean is that of references and of differences."""
    entries = 200
    layout = Layout.flat(entries)
    codec = CountSketch(rows=5, share=200.0, recover=1.0)  # as good as exact
    transport = Transport(
        uplink=Uplink(codec=codec), downlink=Downlink(codec="float16", cast="unicast"), hub="bs", key=KEY
    )
    vectors = {}
    for i, name in enumerate(("ue0", "ue1", "ue2")):
        first = torch.from_numpy(gaussian(entries, name=f"held{min(i, 1)}")).float()
        (out,) = transport.prepare(Message("model", "bs", name, "model", model(first, layout)))
        transport.offer(out, now_s=transport.clock.now_s)
        (down,) = drained(transport)
        vectors[name] = down.content.state.vector + torch.from_numpy(gaussian(entries, name=name)).float()
    for name, vector in vectors.items():
        (out,) = transport.prepare(Message("model", name, "bs", "model", model(vector, layout), samples=1))
        transport.offer(out, now_s=transport.clock.now_s)
    shares = [0.5, 0.3, 0.2]
    mean = transport.aggregate(drained(transport), shares)
    assert mean is not None
    expected = sum(share * vector.double() for share, vector in zip(shares, vectors.values(), strict=True))
    torch.testing.assert_close(mean.double(), expected, atol=1e-5, rtol=0)


def test_another_codec_forgets_what_the_old_one_owed() -> None:
    transport, arrivals, _, _ = summing(CountSketch(), ues=2)
    transport.aggregate(arrivals, [0.5, 0.5])
    assert transport._ends.sums
    transport.configure("uplink", codec=CountSketch(rows=3))
    assert not transport._ends.sums


SCENARIO: dict[str, Any] = {
    "seed": 4,
    "data": {"kind": "synthetic", "train_samples": 120, "test_samples": 30},
    "model": {"kind": "mlp", "hidden": [8]},
    "population": {"ues": 5, "cohort": 3},
    "training": {"batch_size": 8},
    "downlink": {"codec": {"kind": "qsgd", "block": 32}},
    "stop": {"rounds": 5},
}
UPLINKS: dict[str, dict[str, Any]] = {
    "powersgd": {"codec": {"kind": "powersgd", "rank": 1}, "error_feedback": True},
    "count-sketch": {"codec": {"kind": "count-sketch", "recover": 0.1, "momentum": 0.5}},
    "sketch-of-uniform": {
        "codec": {
            "kind": "count-sketch",
            "rest": "subtracted",
            "codec": {"kind": "uniform", "bits": 8, "rounding": "stochastic"},
        }
    },
    "sketch-with-feedback": {"codec": {"kind": "count-sketch"}, "error_feedback": True},
}


@pytest.mark.parametrize("aggregator", ["fedavg", "pairwise"])
@pytest.mark.parametrize("uplink", ["count-sketch", "sketch-with-feedback"])
def test_a_federation_sums_first_where_updates_are_averaged_and_ues_owe_nothing(
    aggregator: str, uplink: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    population = SCENARIO["population"] | {"aggregator": aggregator}
    scenario = parse(
        SCENARIO
        | {
            "uplink": UPLINKS[uplink],
            "population": population,
            "compute": {"kind": "per_sample", "seconds_per_sample": 1.0},
        }
    ).base
    sums: list[tuple[int, Any]] = []
    aggregate = Transport.aggregate

    def noted(self: Transport, arrivals: Any, shares: Any) -> Any:
        sums.append((len(arrivals), aggregate(self, arrivals, shares)))
        return sums[-1][1]

    monkeypatch.setattr(Transport, "aggregate", noted)
    simulation = Simulation(scenario, scenario.data.load())
    for _ in range(3):
        simulation.step()
        if sums:
            assert sums[-1][0] == 3
            assert simulation.model.vector is sums[-1][1]
    assert len(sums) == (2 if (aggregator, uplink) == ("fedavg", "count-sketch") else 0)


@pytest.mark.parametrize("uplink", UPLINKS)
def test_interrupted_after_any_round_and_resumed_a_run_is_the_same_to_the_byte(
    uplink: str, tmp_path: Path
) -> None:
    config = parse(SCENARIO | {"uplink": UPLINKS[uplink]})

    def interrupted_after(rounds: int) -> Any:
        def progress(_: Any, record: Any) -> None:
            if record.row["round"] == rounds:
                raise KeyboardInterrupt

        return progress

    run(config, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "cut", progress=interrupted_after(1))
    for rounds in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            run(config, out=tmp_path / "cut", resume=True, progress=interrupted_after(rounds))
    run(config, out=tmp_path / "cut", resume=True)
    for name in ("config.json", "rounds.jsonl", "transfers.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("powersgd", "rank", 0),
        ("powersgd", "steps", 0),
        ("count-sketch", "rows", 0),
        ("count-sketch", "rows", 64),
        ("count-sketch", "share", 0.0),
        ("count-sketch", "recover", 1.5),
        ("count-sketch", "momentum", 1.0),
    ],
)
def test_a_setting_out_of_range_is_refused(kind: str, field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{field} = {value} must be"):
        CODECS.build({"kind": kind, field: value})
