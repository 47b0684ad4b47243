"""What must hold of losses and repetition: closed forms, by simulation where they are statistical."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from claims.radio import KEY, at_snr, carried, frequency, sent
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import kv

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import (
    LOSSES,
    RETRANSMISSIONS,
    Arq,
    Bler,
    FixedRate,
    GilbertElliott,
    Harq,
    Link,
    Links,
    NoLoss,
    NoRetransmission,
    Ofdma,
    Packet,
    Rayleigh,
    Retransmission,
    Tdma,
    Transfer,
    Try,
    Waterfall,
    expected_phase_s,
)
from syft_fl.radio.sending import Receiver, Sending, Stretch, retransmission_of

PACKETS = 20_000
MTU_BYTES = 100
BITS = 8 * MTU_BYTES * PACKETS


def lost_packets(transfer: Transfer, ue: str = "ue0") -> int:
    """Packets of MTU_BYTES that a UE did not get."""
    return sum(end - first for who, first, end in transfer.gaps if who == ue) // (8 * MTU_BYTES)


def tries(transfer: Transfer, link: Link, header_bytes: int = 0) -> float:
    """How often each packet was sent on average, by the time on the air."""
    rate_bps = link.rate_bps("ue0", share=1.0, block=1, time_s=0.0)
    return transfer.airtime_s * rate_bps / (8 * (MTU_BYTES + header_bytes) * PACKETS)


def outage(snr: float, mean: float) -> float:
    return -math.expm1(-snr / mean)


# Row 26 and 27: what noise and fading do to a packet that is sent once.


@pytest.mark.parametrize(("rate", "snr_db"), [(1.0, 10.0), (0.5, 0.0), (4.0, 20.0)])
def test_a_fixed_rate_is_lost_in_a_rayleigh_channel_with_the_outage_probability(
    rate: float, snr_db: float
) -> None:
    link = at_snr(
        snr_db,
        fading=Rayleigh(),
        rate=FixedRate(bps_per_hz=rate),
        loss=Bler(decade_db=0.0),
        retransmission=NoRetransmission(),
    )
    medium, blocks = Tdma().open(link, users=1), 3000
    for block in range(blocks):
        medium.offer(["ue0"], 1000, now_s=0.0, block=block)
    is_lost = [bool(t.lost) for t in medium.advance(1e6)]
    expected = outage(2**rate - 1, 10 ** (snr_db / 10))
    assert len(is_lost) == blocks
    assert np.mean(is_lost) == pytest.approx(expected, abs=frequency(expected, blocks))


@pytest.mark.parametrize("m", [1.08, 0.2])
@pytest.mark.parametrize("snr_db", [-5.0, 3.0, 18.0])
def test_waterfall_is_an_exponential_of_the_inverse_snr(m: float, snr_db: float) -> None:
    link = at_snr(snr_db, loss=Waterfall(m=m), retransmission=NoRetransmission(mtu_bytes=MTU_BYTES))
    expected = 1 - math.exp(-m / 10 ** (snr_db / 10))
    transfer = carried(link, BITS)
    assert lost_packets(transfer) / PACKETS == pytest.approx(expected, abs=frequency(expected, PACKETS))


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_waterfall_over_rayleigh_blocks_has_its_closed_form(snr_db: float) -> None:
    # E[exp(-a / g)] of an exponential g is 2 sqrt(a) K_1(2 sqrt(a)).
    a, n = 1.08 / 10 ** (snr_db / 10), 20_000
    expected = 1 - 2 * math.sqrt(a) * kv(1, 2 * math.sqrt(a))
    fading = Rayleigh(block="time", coherence_s=1.0)
    link = at_snr(snr_db, fading=fading, loss=Waterfall(), retransmission=NoRetransmission())
    is_lost, _ = link.lost("ue0", sent(0.5 + np.arange(n), np.full(n, 1e6)))
    assert is_lost.mean() == pytest.approx(expected, abs=frequency(expected, n))


@pytest.mark.parametrize("decade_db", [0.2, 0.5, 3.0])
@pytest.mark.parametrize("needed_db", [-6.5, 4.0, 19.6])
def test_block_errors_are_ten_percent_at_the_threshold_and_one_a_decade_above(
    decade_db: float, needed_db: float
) -> None:
    above_db = np.array([-100.0, -decade_db, 0.0, decade_db, 100.0])
    needed = np.full(5, 10 ** (needed_db / 10))
    errors = Bler(decade_db=decade_db).error(
        "ue0", snr=needed * 10 ** (above_db / 10), needed=needed, times_s=above_db, key=KEY
    )
    # A Gaussian tail: as far below 10 % as 1 % is above lies Q(2 * 1.2816 - 2.3263) = Q(0.2368).
    assert errors == pytest.approx(
        [1.0, 0.5 * math.erfc(0.23675525 / math.sqrt(2)), 0.1, 0.01, 0.0], abs=1e-8
    )


@pytest.mark.parametrize("loss", [Waterfall(), Bler(), Bler(decade_db=0.0), Bler(decade_db=5.0)], ids=repr)
def test_noise_loses_everything_without_signal_and_less_the_more_there_is(loss: Waterfall | Bler) -> None:
    snr = np.concatenate([[0.0], np.logspace(-9, 9, 200)])
    errors = loss.error("ue0", snr=snr, needed=np.full(201, 2.0), times_s=snr, key=KEY)
    assert errors[0] == 1.0
    assert (np.diff(errors) <= 0).all()
    assert 0 <= errors[-1] < 1e-8


# Row 28: repetition.


@pytest.mark.parametrize(("p", "most"), [(0.1, 4), (0.5, 3), (0.3, 1), (0.05, 1000), (1.0, 5)])
def test_arq_tries_and_residual_loss_are_geometric(p: float, most: int) -> None:
    scheme = Arq(mtu_bytes=MTU_BYTES, header_bytes=6, tries=most, feedback_s=0.02)
    link = at_snr(10.0, loss=Packet(probability=p), retransmission=scheme)
    transfer = carried(link, BITS)
    mean = most if p == 1 else (1 - p**most) / (1 - p)
    k = np.arange(1, most + 1)
    weights = p ** (k - 1) * np.where(k < most, 1 - p, 1.0)
    spread = math.sqrt(max(weights @ k**2 - mean**2, 0.0))
    assert tries(transfer, link, 6) == pytest.approx(mean, abs=5 * spread / math.sqrt(PACKETS) + 1e-9)
    assert lost_packets(transfer) / PACKETS == pytest.approx(p**most, abs=frequency(p**most, PACKETS))
    assert transfer.lost == (("ue0",) if lost_packets(transfer) else ())
    assert transfer.attempts <= most
    # The report is waited for between two passes, and nobody is on the air then.
    waited_s = transfer.end_s - transfer.start_s - transfer.airtime_s
    assert waited_s == pytest.approx((transfer.attempts - 1) * 0.02)
    assert transfer.energy_j == pytest.approx(
        link.transmit_power_w("ue0", share=1.0, block=0, time_s=0.0) * transfer.airtime_s
    )


@pytest.mark.parametrize("n", [1, 10, 100])
def test_without_repetition_a_message_arrives_if_all_its_packets_do(n: int) -> None:
    p, messages = 0.02, 3000
    link = at_snr(10.0, loss=Packet(probability=p), retransmission=NoRetransmission(mtu_bytes=MTU_BYTES))
    medium = Tdma().open(link, users=1)
    for block in range(messages):
        medium.offer(["ue0"], 8 * MTU_BYTES * n, now_s=0.0, block=block)
    arrived = [not t.lost for t in medium.advance(1e6)]
    expected = (1 - p) ** n
    assert np.mean(arrived) == pytest.approx(expected, abs=frequency(expected, messages))


@pytest.mark.parametrize("ues", [2, 5])
def test_a_multicast_is_repeated_until_the_last_ue_has_it(ues: int) -> None:
    # The tries of a packet are the largest of K geometric numbers: sum over k of 1 - (1 - p^k)^K.
    p, most = 0.3, 6
    scheme = Arq(mtu_bytes=MTU_BYTES, header_bytes=0, tries=most, feedback_s=0.0)
    link = at_snr(10.0, direction="downlink", loss=Packet(probability=p), retransmission=scheme)
    names = tuple(f"ue{k}" for k in range(ues))
    transfer = carried(link, BITS, ues=names)
    tails = [1 - (1 - p**k) ** ues for k in range(most)]
    mean = sum(tails)
    spread = math.sqrt(sum((2 * k + 1) * tail for k, tail in enumerate(tails)) - mean**2)
    assert tries(transfer, link) == pytest.approx(mean, abs=5 * spread / math.sqrt(PACKETS))
    # Each UE's losses are its own.
    residual = p**most
    for name in names:
        assert lost_packets(transfer, name) / PACKETS == pytest.approx(
            residual, abs=frequency(residual, PACKETS)
        )
    assert len({tuple(gap[1:] for gap in transfer.gaps if gap[0] == name) for name in names}) == ues


def test_a_multicast_at_the_slowest_ones_rate_is_safe_for_those_that_hear_better() -> None:
    scheme = NoRetransmission(mtu_bytes=MTU_BYTES)
    far, near = (
        at_snr(level, direction="downlink", loss=Bler(), retransmission=scheme) for level in (3.0, 9.0)
    )
    links = Links(far)
    links.set("near", near)
    transfer = carried(links, BITS, ues=("far", "near"))
    # Capacity is sent with 10 % of errors; 6 dB above, the Gaussian tail has none.
    assert lost_packets(transfer, "far") / PACKETS == pytest.approx(0.1, abs=frequency(0.1, PACKETS))
    assert transfer.lost == ("far",)


# Chase combining.


@pytest.mark.parametrize("snr_db", [-3.0, 2.0])
@pytest.mark.parametrize("most", [1, 2, 4])
@pytest.mark.parametrize("loss", [Waterfall(), Bler(decade_db=4.0), Bler(decade_db=0.0)], ids=repr)
def test_the_kth_try_is_decoded_from_k_times_the_energy(
    snr_db: float, most: int, loss: Waterfall | Bler
) -> None:
    scheme = Harq(mtu_bytes=MTU_BYTES, header_bytes=0, tries=most, feedback_s=0.0)
    link = at_snr(snr_db, rate=FixedRate(bps_per_hz=2.0), loss=loss, retransmission=scheme)
    transfer = carried(link, BITS)
    snrs, needed = 10 ** (snr_db / 10) * np.arange(1, most + 1), np.full(most, 3.0)
    missing = np.cumprod(loss.error("ue0", snr=snrs, needed=needed, times_s=snrs, key=KEY))
    assert lost_packets(transfer) / PACKETS == pytest.approx(missing[-1], abs=frequency(missing[-1], PACKETS))
    tails = np.concatenate([[1.0], missing[:-1]])
    spread = math.sqrt(max(np.arange(1, 2 * most, 2) @ tails - tails.sum() ** 2, 0.0))
    assert tries(transfer, link) == pytest.approx(tails.sum(), abs=5 * spread / math.sqrt(PACKETS) + 1e-9)


def test_with_a_sharp_threshold_the_tries_needed_are_the_threshold_over_the_snr() -> None:
    # 4 bit/s/Hz need an SNR of 15: at 4 dB (2.51) the sixth try reaches it.
    scheme = Harq(mtu_bytes=MTU_BYTES, tries=10, feedback_s=0.001)
    link = at_snr(4.0, rate=FixedRate(bps_per_hz=4.0), loss=Bler(decade_db=0.0), retransmission=scheme)
    transfer = carried(link, 8 * MTU_BYTES * 7)
    assert (transfer.attempts, transfer.lost) == (math.ceil(15 / 10**0.4), ())


@pytest.mark.parametrize("most", [1, 2, 3])
def test_combined_tries_in_independent_rayleigh_blocks_lose_what_the_integral_says(most: int) -> None:
    # The mean of p(g1) p(g1 + g2) ... over exponential gains, with p(s) = 1 - exp(-a / s).
    a, n = 1.08 / 0.8, 20_000
    nodes, weights = np.polynomial.laguerre.laggauss(60)
    grid = np.stack(np.meshgrid(*[nodes] * most, indexing="ij"))
    lost = -np.expm1(-a / np.cumsum(grid, axis=0))
    expected = lost.prod(axis=0)
    for _ in range(most):
        expected = expected @ weights
    if most == 1:
        assert expected == pytest.approx(1 - 2 * math.sqrt(a) * kv(1, 2 * math.sqrt(a)), abs=1e-4)
    link = at_snr(
        10 * math.log10(0.8),
        fading=Rayleigh(block="time", coherence_s=1.0),
        loss=Waterfall(),
        retransmission=Harq(tries=most),
    )
    missing, combined = np.arange(n), np.zeros(n)
    for number in range(1, most + 1):
        begins_s = 0.5 + missing + number * n
        tried = Try(
            0, 0, number, missing, begins_s, 0 * begins_s + 1e6, 0 * begins_s + 1, 0 * begins_s + 1, combined
        )
        is_lost, combined = link.lost("ue0", tried)
        missing, combined = missing[is_lost], combined[is_lost]
    assert len(missing) / n == pytest.approx(expected, abs=frequency(expected, n))


def test_losses_that_are_not_noise_leave_nothing_to_combine() -> None:
    settings = {"mtu_bytes": MTU_BYTES, "tries": 3, "feedback_s": 0.001}
    arq, harq = (
        carried(at_snr(10.0, loss=Packet(probability=0.4), retransmission=scheme), BITS)
        for scheme in (Arq(**settings), Harq(**settings))
    )
    assert arq == harq


def test_combining_never_needs_more_tries_than_standing_alone() -> None:
    settings = {"mtu_bytes": MTU_BYTES, "tries": 4, "feedback_s": 0.001}
    arq, harq = (
        carried(at_snr(0.0, loss=Waterfall(), retransmission=scheme), BITS)
        for scheme in (Arq(**settings), Harq(**settings))
    )
    assert harq.airtime_s < arq.airtime_s
    assert lost_packets(harq) < lost_packets(arq)


# Bursts.


@pytest.mark.parametrize(("to_bad", "to_good"), [(0.01, 0.1), (0.2, 0.3), (0.5, 0.5), (0.001, 0.004)])
def test_bursts_have_the_lengths_and_the_correlation_of_a_two_state_chain(
    to_bad: float, to_good: float
) -> None:
    n = 400_000
    bad = GilbertElliott(to_bad=to_bad, to_good=to_good).bad("ue0", np.arange(n) - 1000, key=KEY)
    keeps = 1 - to_bad - to_good
    share = to_bad / (to_bad + to_good)
    # Samples that remember each other are worth fewer: (1 - keeps) / (1 + keeps) of them.
    worth = n * (1 - keeps) / (1 + keeps)
    assert bad.mean() == pytest.approx(share, abs=frequency(share, worth))
    ends = np.flatnonzero(bad[:-1] & ~bad[1:])
    starts = np.flatnonzero(~bad[:-1] & bad[1:])
    ends = ends[ends > starts[0]]
    lengths = ends - starts[: len(ends)]
    spread = math.sqrt(1 - to_good) / to_good / math.sqrt(len(lengths))
    assert lengths.mean() == pytest.approx(1 / to_good, abs=5 * spread)
    for lag in (1, 3):
        found = np.corrcoef(bad[:-lag], bad[lag:])[0, 1]
        assert found == pytest.approx(keeps**lag, abs=5 * math.sqrt((1 + keeps) / (1 - keeps) / n))


def test_the_state_of_a_slot_is_the_same_in_whatever_order_it_is_asked_for() -> None:
    loss = GilbertElliott(to_bad=0.0005, to_good=0.0005)
    slots = np.arange(50_000)
    at_once = loss.bad("ue0", slots, key=KEY)
    order = (Key(1) / "order").numpy().permutation(len(slots))
    one_by_one = np.concatenate([loss.bad("ue0", slots[[at]], key=KEY) for at in order[:500]])
    np.testing.assert_array_equal(one_by_one, at_once[order[:500]])
    assert not np.array_equal(loss.bad("ue1", slots, key=KEY), at_once)
    assert not np.array_equal(loss.bad("ue0", slots, key=KEY / "other"), at_once)


def test_packets_in_a_bad_slot_are_lost_together_whoever_sends_them() -> None:
    loss = GilbertElliott(to_bad=0.05, to_good=0.1, slot_s=0.5, loss_good=0.1, loss_bad=0.9)
    link = at_snr(10.0, loss=loss, retransmission=NoRetransmission())
    begins_s = np.arange(0, 10_000, 0.05)
    is_lost, _ = link.lost("ue0", sent(begins_s, np.full(len(begins_s), 1e6)))
    again, _ = link.lost("ue0", sent(begins_s, np.full(len(begins_s), 1e6), serial=1))
    in_slot, in_slot_again = is_lost.reshape(-1, 10).mean(axis=1), again.reshape(-1, 10).mean(axis=1)
    # Ten packets of one slot are lost one by one in their state, and the state is the slot's: two clear heaps.
    assert np.corrcoef(in_slot, in_slot_again)[0, 1] > 0.8
    share = 0.05 / 0.15
    expected = share * 0.9 + (1 - share) * 0.1
    keeps = 1 - 0.15
    worth = len(in_slot) * (1 - keeps) / (1 + keeps)
    assert is_lost.mean() == pytest.approx(expected, abs=frequency(share, worth))


# Luck.


def test_the_same_packets_meet_the_same_luck_whatever_else_is_sent() -> None:
    scheme = NoRetransmission(mtu_bytes=MTU_BYTES)
    link = at_snr(10.0, loss=Packet(probability=0.2), retransmission=scheme)

    def gaps(bits: int, before: tuple[tuple[str, int], ...] = ()) -> list[tuple[int, int]]:
        medium = Ofdma(subchannels=2).open(link, users=2)
        for ue, block in (*before, ("ue0", 3)):
            ticket = medium.offer([ue], bits, now_s=0.0, block=block)
        (transfer,) = (t for t in medium.advance(1e6) if t.ticket == ticket)
        return [(first, end) for _, first, end in transfer.gaps]

    whole = gaps(8 * MTU_BYTES * 500)
    # Half as many bits (another codec): the first half of the losses.
    half = [(first, min(end, 4 * MTU_BYTES * 500)) for first, end in whole if first < 4 * MTU_BYTES * 500]
    assert gaps(4 * MTU_BYTES * 500) == half
    # Neither another UE nor an earlier round matters; another message in the same round is another draw.
    assert gaps(8 * MTU_BYTES * 500, (("ue1", 3), ("ue0", 1), ("ue0", 2))) == whole
    assert gaps(8 * MTU_BYTES * 500, (("ue0", 3),)) != whole


def test_gilbert_elliott_and_fading_leave_the_luck_of_other_ues_alone() -> None:
    link = at_snr(10.0, fading=Rayleigh(), loss=Waterfall(), retransmission=NoRetransmission())
    n = 20_000
    first, second = (link.lost(ue, sent(np.zeros(n), np.full(n, 1e6)))[0] for ue in ("ue0", "ue1"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(n)


# Repetition, whatever is lost: hypothesis chooses.


class Patchy:
    """A link that loses what is drawn for each UE and try, with a chance of its own."""

    latency_s = 0.0

    def __init__(self, seed: int, chance: float, retransmission: Retransmission) -> None:
        self.retransmission = retransmission
        self.asked: list[NDArray[np.int64]] = []
        self._key, self._chance = Key(seed), chance

    def lost(self, ue: str, tried: Try) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        draws = (self._key / ue / tried.number).numpy().random(len(tried.packets))
        self.asked.append(tried.packets)
        return draws < self._chance, tried.combined_snr + 1.0


@settings(max_examples=100)
@given(
    bits=st.integers(1, 20_000),
    seed=st.integers(0, 99),
    ues=st.integers(1, 3),
    chance=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    scheme=st.builds(
        Arq,
        mtu_bytes=st.integers(1, 200),
        header_bytes=st.integers(0, 9),
        tries=st.integers(1, 6),
        feedback_s=st.sampled_from([0.0, 0.1]),
    ),
)
def test_repetition_sends_only_what_somebody_lacks_and_ends(
    bits: int, seed: int, ues: int, chance: float, scheme: Arq
) -> None:
    links = [Patchy(seed, chance, scheme) for _ in range(ues)]
    receivers = [Receiver(f"ue{k}", link, 0) for k, link in enumerate(links)]
    sending = Sending(receivers, bits, block=0)
    packets = math.ceil(bits / (8 * scheme.mtu_bytes))
    passes = []
    while sending.bits:
        passes.append(sending.bits)
        sending.sent([Stretch(0.0, 0.0, 1000.0, 1.0)])
        assert sending.attempts == len(passes)
    # The first pass is the whole message with its headers, the others less and less of it.
    assert passes[0] == bits + 8 * scheme.header_bytes * packets
    assert all(later <= earlier for earlier, later in pairwise(passes))
    assert 1 <= len(passes) <= scheme.tries
    assert len(passes) == scheme.tries or not sending.lost
    for k, link in enumerate(links):
        # A UE is told of what it lacks alone, and what it lacks gets less.
        assert all(set(later) <= set(earlier) for earlier, later in pairwise(link.asked))
        gaps = [(first, end) for ue, first, end in sending.gaps if ue == f"ue{k}"]
        assert bool(gaps) == (f"ue{k}" in sending.lost)
        edges = [edge for gap in gaps for edge in gap]
        assert edges == sorted(set(edges))
        assert all(0 <= first < end <= bits and first % (8 * scheme.mtu_bytes) == 0 for first, end in gaps)
    if chance == 0.0:
        assert len(passes) == 1
        assert not sending.lost
    if chance == 1.0:
        assert sending.gaps == tuple((f"ue{k}", 0, bits) for k in range(ues))


def test_a_link_that_loses_nothing_is_not_cut_and_not_headed() -> None:
    link = at_snr(10.0, loss=NoLoss(), retransmission=Arq(mtu_bytes=1, header_bytes=1000))
    transfer = carried(link, 10_000)
    assert transfer.airtime_s == 10_000 / link.rate_bps("ue0", share=1.0, block=1, time_s=0.0)
    assert retransmission_of(link) is None


def test_a_message_to_a_patient_and_an_impatient_ue_is_repeated_for_the_patient_one_alone() -> None:
    once, often = NoRetransmission(mtu_bytes=10), Arq(mtu_bytes=20, tries=3, header_bytes=1)
    links = [Patchy(0, 1.0, once), Patchy(0, 1.0, often)]
    sending = Sending([Receiver(f"ue{k}", link, 0) for k, link in enumerate(links)], 800, block=0)
    while sending.bits:
        assert sending.bits == 800 + 8 * 10
        sending.sent([Stretch(0.0, 0.0, 1000.0, 1.0)])
    assert (sending.attempts, sending.lost) == (3, ("ue0", "ue1"))


# Balance.


def test_the_expected_phase_includes_the_repetitions() -> None:
    scheme = Arq(mtu_bytes=MTU_BYTES, header_bytes=0, tries=1000, feedback_s=0.0)
    p, cohorts = 0.3, 8
    lossless, lossy = at_snr(10.0), at_snr(10.0, loss=Packet(probability=p), retransmission=scheme)
    ues = [f"ue{k}" for k in range(5)]
    alone_s, repeated_s = (
        expected_phase_s(Tdma(), link, [ues] * cohorts, BITS // 10, users=5) for link in (lossless, lossy)
    )
    spread = math.sqrt(p) / (1 - p) / math.sqrt(PACKETS / 10 * 5 * cohorts)
    assert repeated_s / alone_s == pytest.approx(1 / (1 - p), abs=5 * spread)


def test_the_expected_phase_meets_bursts_once() -> None:
    # Half of the time is bad, in bursts much longer than a phase: a phase is all good or all bad.
    loss = GilbertElliott(to_bad=1e-3, to_good=1e-3, slot_s=0.01)
    link = at_snr(10.0, loss=loss, retransmission=Arq(tries=2, feedback_s=0.0, header_bytes=0))
    once_s = 10**7 / link.rate_bps("ue0", share=1.0, block=0, time_s=0.0)
    mean_s = expected_phase_s(Tdma(), link, [["ue0"]] * 200, 10**7, users=1)
    assert 1.2 < mean_s / once_s < 1.8


# Settings.


@pytest.mark.parametrize(
    ("registry", "kind", "field", "value"),
    [
        (LOSSES, "packet", "probability", 1.1),
        (LOSSES, "waterfall", "m", 0.0),
        (LOSSES, "bler", "decade_db", -1.0),
        (LOSSES, "gilbert-elliott", "to_bad", 0.0),
        (LOSSES, "gilbert-elliott", "to_good", 1.5),
        (LOSSES, "gilbert-elliott", "slot_s", 0.0),
        (LOSSES, "gilbert-elliott", "loss_bad", -0.1),
        (RETRANSMISSIONS, "none", "mtu_bytes", 0),
        (RETRANSMISSIONS, "arq", "mtu_bytes", 0),
        (RETRANSMISSIONS, "arq", "header_bytes", -1),
        (RETRANSMISSIONS, "arq", "tries", 0),
        (RETRANSMISSIONS, "harq", "tries", 1001),
        (RETRANSMISSIONS, "harq", "feedback_s", math.inf),
    ],
)
def test_wrong_settings_are_refused_by_name(registry: object, kind: str, field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{field} = "):
        registry[kind](**{field: value})
    with pytest.raises(ConfigError, match=r"to_bad \+ to_good = 1.2 must be in"):
        GilbertElliott(to_bad=0.6, to_good=0.6)
