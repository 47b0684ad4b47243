"""Bands that those on the air share: fair OFDMA and NOMA, against processor sharing and capacity regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from claims.radio import at_snr
from hypothesis import given
from hypothesis import strategies as st

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import (
    Access,
    Cell,
    Constant,
    FairOfdma,
    Link,
    Medium,
    Noma,
    Ofdma,
    Shannon,
    Tdma,
    Transfer,
    Wireless,
)

KEY = Key(11)
RATE_BPS = 1e6


def drained(medium: Medium) -> list[Transfer]:
    transfers = []
    while (event_s := medium.next_event_s()) < math.inf:
        transfers += medium.advance(event_s)
    return sorted(transfers, key=lambda t: t.ticket)


def carried(access: Access, link: Link, offers: Sequence[tuple[float, int]]) -> list[Transfer]:
    """Offers of (time, bits), one of each UE, all told beforehand."""
    medium = access.open(link, users=len(offers), key=KEY)
    for k, (now_s, bits) in enumerate(offers):
        medium.offer([f"ue{k}"], bits, now_s=now_s, block=1)
    return drained(medium)


def constant() -> Link:
    return Constant(rate_bps=RATE_BPS).link(Cell(), KEY, "uplink")


@given(sizes=st.lists(st.integers(1, 10**7), min_size=1, max_size=12))
def test_fair_sharing_of_a_constant_rate_is_processor_sharing(sizes: list[int]) -> None:
    transfers = carried(FairOfdma(), constant(), [(0.0, bits) for bits in sizes])
    # While n are there each gets a n-th: the k-th smallest ends when all smaller ones have, and its rest has gone.
    ends_s, before, time_s = {}, 0, 0.0
    for rank, number in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        time_s += (len(sizes) - rank) * (sizes[number] - before) / RATE_BPS
        ends_s[number], before = time_s, sizes[number]
    assert [t.end_s for t in transfers] == pytest.approx([ends_s[k] for k in range(len(sizes))], rel=1e-9)


def flowed(offers: Sequence[tuple[float, int]], rates: dict[int, Sequence[float]]) -> list[float]:
    """The same by hand: ends [s] of offers, where each of n has its own rate ``rates[n][k]``."""
    left = [float(bits) for _, bits in offers]
    ends_s = [math.inf] * len(offers)
    time_s = 0.0
    while math.inf in ends_s:
        here = [k for k, (at_s, _) in enumerate(offers) if at_s <= time_s and ends_s[k] == math.inf]
        coming_s = min([at_s for at_s, _ in offers if at_s > time_s], default=math.inf)
        speeds = rates[len(here)] if here else []
        next_s = min([time_s + left[k] / speeds[k] for k in here], default=math.inf)
        until_s = min(next_s, coming_s)
        for k in here:
            left[k] -= speeds[k] * (until_s - time_s)
            if left[k] <= 1e-6:
                ends_s[k] = until_s
        time_s = until_s
    return ends_s


offers_in_time = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 1.0, 2.0, 7.0]), st.integers(1000, 3 * 10**6)),
    min_size=1,
    max_size=7,
)


@given(offers=offers_in_time)
def test_who_starts_later_slows_the_others_and_leaves_them_the_band_at_its_end(
    offers: list[tuple[float, int]],
) -> None:
    transfers = carried(FairOfdma(), constant(), offers)
    expected = flowed(offers, {n: [RATE_BPS / n] * len(offers) for n in range(1, 8)})
    assert [t.end_s for t in transfers] == pytest.approx(expected, rel=1e-6)
    # Nothing is idle while somebody has something to send, and nobody waits to begin.
    assert [t.start_s for t in transfers] == [at_s for at_s, _ in offers]
    first_s, last_s = min(at_s for at_s, _ in offers), max(t.end_s for t in transfers)
    assert sum(bits for _, bits in offers) / RATE_BPS <= last_s - first_s + 1e-9


@given(offers=offers_in_time)
def test_at_capacity_a_narrower_share_is_stronger(offers: list[tuple[float, int]]) -> None:
    link = Shannon(shadowing_db=4.0).link(Cell(radius_m=200.0), KEY, "uplink")
    transfers = carried(FairOfdma(), link, offers)
    asked = {"share": 1.0, "block": 1, "time_s": 0.0}
    snrs = [link.snr(f"ue{k}", **asked) for k in range(len(offers))]  # type: ignore[attr-defined]
    rates = {n: [1e6 / n * math.log2(1 + n * snr) for snr in snrs] for n in range(1, 8)}
    assert [t.end_s for t in transfers] == pytest.approx(flowed(offers, rates), rel=1e-6)
    for t in transfers:
        assert t.airtime_s == pytest.approx(t.end_s - t.start_s)
        assert t.energy_j == pytest.approx(0.01 * t.airtime_s)


@pytest.mark.parametrize(("snr_db", "ratio"), [(0.0, 3.459), (20.0, 1.497)])
@pytest.mark.parametrize("access", [Ofdma(), FairOfdma()], ids=repr)
def test_tdma_against_ofdma_at_equal_power(snr_db: float, ratio: float, access: Access) -> None:
    """Fact 30, K = 10."""
    link = at_snr(snr_db)
    offers = [(0.0, 10**5)] * 10
    tdma_s, ofdma_s = (max(t.end_s for t in carried(a, link, offers)) for a in (Tdma(), access))
    assert tdma_s / ofdma_s == pytest.approx(ratio, rel=1e-3)
    snr = 10 ** (snr_db / 10)
    assert tdma_s / ofdma_s == pytest.approx(math.log2(1 + 10 * snr) / math.log2(1 + snr))


@given(sizes=st.lists(st.integers(1000, 10**6), min_size=2, max_size=8))
def test_fair_shares_never_end_after_fixed_ones(sizes: list[int]) -> None:
    link = Shannon().link(Cell(), KEY, "uplink")
    fair, fixed = (carried(a, link, [(0.0, bits) for bits in sizes]) for a in (FairOfdma(), Ofdma()))
    assert all(a.end_s <= b.end_s * (1 + 1e-9) for a, b in zip(fair, fixed, strict=True))


@given(
    snrs_db=st.lists(st.floats(-10, 40), min_size=1, max_size=8),
    bits=st.lists(st.integers(1000, 10**6), min_size=8, max_size=8),
)
def test_superposed_rates_add_up_to_the_capacity_of_all_power_together(
    snrs_db: list[float], bits: list[int]
) -> None:
    link = Given([10 ** (snr_db / 10) for snr_db in snrs_db])
    transfers = carried(Noma(), link, [(0.0, bits[k]) for k in range(len(snrs_db))])
    # From one end to the next, what went is the sum capacity of those who were there.
    capacity = 0.0
    edges_s = [0.0, *sorted(t.end_s for t in transfers)]
    for from_s, to_s in pairwise(edges_s):
        there = [k for k, t in enumerate(transfers) if t.end_s > from_s + 1e-15]
        capacity += (to_s - from_s) * 1e6 * math.log2(1 + sum(link.linear[k] for k in there))
    assert sum(bits[: len(snrs_db)]) == pytest.approx(capacity, rel=1e-6)


class Given:
    """A flat link at capacity whose SNRs are given by UE."""

    latency_s = 0.0
    report_delay_s = 0.0

    def __init__(self, linear: list[float]) -> None:
        self.linear = linear

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return 0.5

    def powers_w(self, ues, *, share, blocks, time_s):  # type: ignore[no-untyped-def]
        return np.full(len(ues), 0.5)

    def snr(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return self.linear[int(ue[2:])] / share

    def snrs(self, ues, *, share, blocks, time_s):  # type: ignore[no-untyped-def]
        return np.array([self.linear[int(ue[2:])] / share for ue in ues])

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return share * 1e6 * math.log2(1 + self.snr(ue, share=share, block=block, time_s=time_s))

    def rates_bps(self, ues, *, share, blocks, time_s):  # type: ignore[no-untyped-def]
        return self.rates_at_bps(self.snrs(ues, share=share, blocks=blocks, time_s=time_s), share=share)

    def rates_at_bps(self, snrs, *, share):  # type: ignore[no-untyped-def]
        return share * 1e6 * np.log2(1 + snrs)

    def mean_gain(self, ue: str, *, time_s: float) -> float:
        return 1.0

    def fading_gain(self, ue: str, *, block: int, time_s: float) -> float:
        return 1.0

    def noise_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return share * 0.5 / self.linear[int(ue[2:])]

    def steady_until_s(self, *, time_s: float) -> float:
        return math.inf


def test_the_strong_one_is_decoded_first_and_the_weak_one_has_no_interference() -> None:
    strong, weak = 100.0, 3.0
    link = Given([weak, strong])
    weak_bps = 1e6 * math.log2(1 + weak)
    strong_bps = 1e6 * math.log2(1 + strong / (1 + weak))
    # Bits such that both end after one second, at the corner of the capacity region.
    transfers = carried(Noma(), link, [(0.0, round(weak_bps)), (0.0, round(strong_bps))])
    assert [t.end_s for t in transfers] == pytest.approx([1.0, 1.0], rel=1e-5)
    assert [t.energy_j for t in transfers] == pytest.approx([0.5, 0.5], rel=1e-5)
    tdma = carried(Tdma(), link, [(0.0, round(weak_bps)), (0.0, round(strong_bps))])
    assert max(t.end_s for t in tdma) > 1.3


@given(snrs_db=st.lists(st.floats(-10, 40), min_size=2, max_size=6), bits=st.integers(1000, 10**6))
def test_alone_it_is_tdma_and_together_all_have_gone_no_later(snrs_db: list[float], bits: int) -> None:
    link = Given([10 ** (snr_db / 10) for snr_db in snrs_db])
    one, other = (carried(access, link, [(0.0, bits)])[0].end_s for access in (Noma(), Tdma()))
    assert one == pytest.approx(other)
    offers = [(0.0, bits)] * len(snrs_db)
    superposed_s, queued_s = (max(t.end_s for t in carried(a, link, offers)) for a in (Noma(), Tdma()))
    # With equal messages the sum capacity of all is never less than any one's own.
    assert superposed_s <= queued_s * (1 + 1e-9)


def test_superposing_takes_a_link_that_knows_its_channel() -> None:
    with pytest.raises(
        ConfigError, match=r"link = 'ConstantLink' must be one whose rate follows from a channel"
    ):
        Noma().open(constant(), users=2, key=KEY)
    late = Wireless(rate={"kind": "cqi", "report_delay_s": 0.01})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="without report_delay_s"):
        Noma().open(late.link(Cell(), KEY, "uplink"), users=2, key=KEY)


@pytest.mark.parametrize("access", [Tdma(), Ofdma(), FairOfdma(), Noma()], ids=repr)
def test_events_grow_linearly_with_ues(access: Access) -> None:
    counts = []
    for ues in (50, 100, 200, 400):
        medium = access.open(Shannon().link(Cell(), KEY, "uplink"), users=ues, key=KEY)
        for k in range(ues):
            medium.offer([f"ue{k}"], 10**5, now_s=0.0, block=1)
        count = 0
        while (event_s := medium.next_event_s()) < math.inf:
            medium.advance(event_s)
            count += 1
        counts.append(count / ues)
    assert max(counts) <= 2.1
