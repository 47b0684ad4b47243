"""Slots and contention: who is served, how fairly, and how much gets through, against closed forms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from claims.radio import at_snr
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import Access, Aloha, Cell, Constant, Csma, Medium, Scheduler, Shannon, Transfer
from syft_fl.radio.flow import Flow
from syft_fl.radio.links import Links
from syft_fl.radio.offers import Offer
from syft_fl.radio.scheduler import SlotScheduler
from syft_fl.radio.turns import Memory

KEY = Key(21)
POLICIES = ("round-robin", "max-rate", "proportional")
ENDLESS = 10**15


def drained(medium: Medium) -> list[Transfer]:
    transfers = []
    while (event_s := medium.next_event_s()) < math.inf:
        transfers += medium.advance(event_s)
    return sorted(transfers, key=lambda t: t.ticket)


@dataclass(frozen=True)
class Slots:
    """A link whose full-band SNRs are given by slot and UE; at capacity, all power in whatever share."""

    snrs: np.ndarray
    latency_s: float = 0.0

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return 1.0

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        snr = self.snrs[math.floor(time_s) % len(self.snrs), int(ue[2:])]
        return share * 1e6 * math.log2(1 + snr / share)

    def steady_until_s(self, *, time_s: float) -> float:
        return math.floor(time_s) + 1.0


def scheduled(
    snrs: np.ndarray, *, policy: Any, groups: int = 1, window: float = 50.0
) -> tuple[np.ndarray, np.ndarray]:
    """[slots, ues] groups and bits that UEs who always have something to send get."""
    slots, ues = snrs.shape
    links = Links(Slots(snrs))
    flows = [Flow(Offer(0.0, k, (f"ue{k}",), ENDLESS, 0.0, 0, (0,)), links) for k in range(ues)]
    rule = SlotScheduler(groups=groups, slot_s=1.0, policy=policy, window=window)
    memory, counts, bits = Memory(), np.zeros((slots, ues)), np.zeros((slots, ues))
    for slot in range(slots):
        turn = rule.turn(flows, links, float(slot), memory)
        memory = Memory({**memory.of_flows, **turn.memory.of_flows}, {**memory.of_ues, **turn.memory.of_ues})
        assert turn.end_s == slot + 1.0
        for grant in turn.grants:
            number = flows.index(grant.flow)
            counts[slot, number] = grant.share * groups
            bits[slot, number] = grant.bits
    return counts, bits


def rayleigh(slots: int, mean_snrs: list[float]) -> np.ndarray:
    return KEY.numpy().exponential(size=(slots, len(mean_snrs))) * np.array(mean_snrs)


def jain(values: np.ndarray) -> float:
    """Jain's index: 1 where all have the same, 1/n where one has all."""
    return float(values.sum() ** 2 / (len(values) * (values**2).sum()))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("groups", [1, 4, 10])
def test_no_slot_gives_away_more_than_there_is(policy: str, groups: int) -> None:
    counts, _ = scheduled(rayleigh(200, [1.0, 3.0, 10.0, 30.0]), policy=policy, groups=groups)
    # Everybody always wants more, so all of it is given away, in whole groups.
    assert np.allclose(counts.sum(axis=1), groups)
    assert np.allclose(counts, np.round(counts))


@given(groups=st.integers(1, 12), ues=st.integers(1, 9), slots=st.integers(1, 30))
def test_round_robin_gives_everybody_the_same_but_for_one(groups: int, ues: int, slots: int) -> None:
    counts, _ = scheduled(np.ones((slots, ues)), policy="round-robin", groups=groups)
    total = counts.sum(axis=0)
    assert total.max() - total.min() <= 1 + 1e-9
    # Nobody waits longer than a turn takes.
    for slot in range(slots - math.ceil(ues / groups) + 1):
        assert (counts[slot : slot + math.ceil(ues / groups)].sum(axis=0) > 0).all()


def test_max_rate_gives_one_group_to_the_strongest() -> None:
    snrs = rayleigh(500, [1.0, 1.0, 5.0])
    counts, _ = scheduled(snrs, policy="max-rate")
    assert (counts.argmax(axis=1) == snrs.argmax(axis=1)).all()


def test_max_rate_splits_several_groups_as_they_bring_most() -> None:
    """Greedy is best where what a group adds falls: against all ways to split six groups among three."""
    snrs = rayleigh(40, [2.0, 4.0, 6.0])
    counts, bits = scheduled(snrs, policy="max-rate", groups=6)
    for slot, row in enumerate(snrs):

        def rate_bps(count: int, snr: float) -> float:
            return count / 6 * 1e6 * math.log2(1 + 6 * snr / count) if count else 0.0

        best = max(
            rate_bps(a, row[0]) + rate_bps(b, row[1]) + rate_bps(6 - a - b, row[2])
            for a in range(7)
            for b in range(7 - a)
        )
        assert bits[slot].sum() == pytest.approx(best, rel=1e-9), counts[slot]


def test_proportional_fairness_between_the_two() -> None:
    """Equal means: as fair as turns, nearly as quick as the best of each slot. Unequal: equal times, best log-sum."""
    equal = rayleigh(4000, [4.0] * 6)
    bits = {policy: scheduled(equal, policy=policy)[1].sum(axis=0) for policy in POLICIES}
    assert jain(bits["proportional"]) > 0.99
    assert bits["proportional"].sum() > 1.25 * bits["round-robin"].sum()
    assert bits["proportional"].sum() > 0.95 * bits["max-rate"].sum()
    unequal = rayleigh(6000, [0.5, 1.0, 4.0, 16.0, 64.0])
    runs = {policy: scheduled(unequal, policy=policy, window=200.0) for policy in POLICIES}
    times = runs["proportional"][0].mean(axis=0)
    assert times.min() > 0.12
    assert times.max() < 0.30
    with np.errstate(divide="ignore"):
        logs = {policy: np.log(run[1].mean(axis=0)).sum() for policy, run in runs.items()}
    assert logs["proportional"] > logs["round-robin"] > logs["max-rate"]
    # The gain of choosing: with one dominant UE, max-rate serves it nearly always.
    assert runs["max-rate"][0].mean(axis=0)[4] > 0.75


def test_messages_end_with_slots_on_the_grid_and_averages_outlive_a_checkpoint() -> None:
    link = Shannon(fading_block="time", coherence_s=0.01).link(Cell(), KEY, "uplink")
    access = Scheduler(policy="proportional", slot_s=0.01, groups=5, window=20.0)
    medium = access.open(link, users=4, key=KEY)
    for k in range(4):
        medium.offer([f"ue{k}"], 50_000, now_s=0.003 * k)
    first = drained(medium)
    for t in first:
        assert t.end_s / 0.01 == pytest.approx(round(t.end_s / 0.01))
        assert t.start_s / 0.01 == pytest.approx(round(t.start_s / 0.01))
    state = medium.state()
    assert state["memory"]["of_flows"] == {}
    assert set(state["memory"]["of_ues"]) == {f"ue{k}" for k in range(4)}

    def second(of_ues: dict[str, float]) -> list[Transfer]:
        resumed = access.open(link, users=4, key=KEY)
        resumed.load({**state, "memory": {"of_flows": {}, "of_ues": of_ues}})
        for k in range(4):
            resumed.offer([f"ue{k}"], 50_000, now_s=state["now_s"])
        return drained(resumed)

    for k in range(4):
        medium.offer([f"ue{k}"], 50_000, now_s=state["now_s"])
    assert second(state["memory"]["of_ues"]) == drained(medium) != second({"ue0": 1e9})


@pytest.mark.parametrize(
    ("ues", "probability"), [(1, 0.5), (2, 0.5), (5, 0.2), (10, 0.05), (10, 0.1), (10, 0.3)]
)
def test_slotted_aloha_gets_through_what_it_must(ues: int, probability: float) -> None:
    slots = 20_000
    medium = Aloha(slot_s=1.0, probability=probability).open(
        Constant(rate_bps=100.0, power_w=2.0).link(Cell(), KEY, "uplink"), users=ues, key=KEY
    )
    for k in range(ues):
        medium.offer([f"ue{k}"], ENDLESS, now_s=0.0)
    medium.advance(float(slots))
    flows = medium.state()["flows"]
    through = sum(ENDLESS - flow["left_bits"] for flow in flows) / 100.0
    expected = ues * probability * (1 - probability) ** (ues - 1)
    assert through / slots == pytest.approx(
        expected, abs=5 * math.sqrt(expected * (1 - expected) / slots) + 1e-9
    )
    # Collisions are on the air, too.
    sent = sum(flow["airtime_s"] for flow in flows) / slots
    spread = math.sqrt(ues * probability * (1 - probability) / slots)
    assert sent == pytest.approx(ues * probability, abs=5 * spread)
    assert sum(flow["energy_j"] for flow in flows) == pytest.approx(2.0 * sent * slots)


def test_the_best_coin_tends_to_one_over_e() -> None:
    for ues in (2, 10, 40):
        medium = Aloha(slot_s=1.0).open(
            Constant(rate_bps=1.0).link(Cell(), KEY, "uplink"), users=ues, key=KEY
        )
        for k in range(ues):
            medium.offer([f"ue{k}"], ENDLESS, now_s=0.0)
        medium.advance(8000.0)
        through = sum(ENDLESS - flow["left_bits"] for flow in medium.state()["flows"]) / 8000
        expected = (1 - 1 / ues) ** (ues - 1)
        assert through == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / 8000))
    assert expected == pytest.approx(math.exp(-1), abs=0.01)


def saturated(access: Csma, ues: int, *, seconds: float, rate_bps: float) -> tuple[float, float]:
    """Bits a second that get through, and the part of accesses that collide."""
    medium = access.open(
        Constant(rate_bps=rate_bps, power_w=1.0).link(Cell(), KEY, "uplink"), users=ues, key=KEY
    )
    for k in range(ues):
        medium.offer([f"ue{k}"], ENDLESS, now_s=0.0)
    medium.advance(seconds)
    flows = medium.state()["flows"]
    bits = sum(ENDLESS - flow["left_bits"] for flow in flows)
    packet_s = access.preamble_s + 8 * (access.header_bytes + access.packet_bytes) / rate_bps
    sent = sum(flow["airtime_s"] for flow in flows) / packet_s
    return bits / seconds, 1 - bits / (8 * access.packet_bytes) / sent


def bianchi(access: Csma, ues: int, rate_bps: float) -> tuple[float, float]:
    """Throughput [bit/s] and collision probability by Bianchi 2000, eqs. 7, 9 and 13."""
    window = access.least_window + 1
    stages = round(math.log2((access.greatest_window + 1) / window))

    def tau(p: float) -> float:
        return 2 / (1 + window + p * window * sum((2 * p) ** stage for stage in range(stages)))

    p = brentq(lambda p: p - (1 - (1 - tau(p)) ** (ues - 1)), 0.0, 1.0) if ues > 1 else 0.0
    t = tau(p)
    some = 1 - (1 - t) ** ues
    one = ues * t * (1 - t) ** (ues - 1) / some
    packet_s = access.preamble_s + 8 * (access.header_bytes + access.packet_bytes) / rate_bps
    busy_s = packet_s + access.sifs_s + access.ack_s + access.difs_s
    return some * one * 8 * access.packet_bytes / ((1 - some) * access.slot_s + some * busy_s), p


@pytest.mark.parametrize("ues", [2, 5, 10, 30])
def test_carrier_sensing_gets_through_what_bianchi_says(ues: int) -> None:
    """Within 4 %: a counter of ours stands still while others send, Bianchi's ticks once."""
    access, rate_bps = Csma(), 54e6
    throughput_bps, collisions = saturated(access, ues, seconds=3.0, rate_bps=rate_bps)
    expected_bps, p = bianchi(access, ues, rate_bps)
    assert throughput_bps == pytest.approx(expected_bps, rel=0.04)
    assert collisions == pytest.approx(p, abs=0.04)


@pytest.mark.parametrize(("rate_bps", "packet_bytes"), [(6e6, 1500), (54e6, 1500), (54e6, 200)])
def test_alone_a_packet_takes_its_overhead_and_half_a_window(rate_bps: float, packet_bytes: int) -> None:
    access = Csma(packet_bytes=packet_bytes)
    throughput_bps, collisions = saturated(access, 1, seconds=4.0, rate_bps=rate_bps)
    data_s = 8 * (packet_bytes + access.header_bytes) / rate_bps
    each_s = (
        access.difs_s
        + access.least_window / 2 * access.slot_s
        + access.preamble_s
        + data_s
        + access.sifs_s
        + access.ack_s
    )
    packets = 4.0 / each_s
    spread = access.slot_s * (access.least_window + 1) / math.sqrt(12) / math.sqrt(packets) / each_s
    assert throughput_bps == pytest.approx(8 * packet_bytes / each_s, rel=5 * spread + 2 / packets)
    assert collisions == pytest.approx(0.0, abs=1e-6)


SCHEMES: list[Access] = [
    *(Scheduler(policy=policy, groups=4, slot_s=0.02) for policy in POLICIES),  # type: ignore[arg-type]
    Aloha(slot_s=0.02),
    Csma(packet_bytes=4000),
]


@pytest.mark.parametrize("access", SCHEMES, ids=repr)
@given(
    offers=st.lists(
        st.tuples(st.integers(0, 3), st.integers(100, 200_000), st.sampled_from([0.0, 0.01, 0.5])),
        min_size=1,
        max_size=8,
    )
)
def test_a_ue_sends_one_message_at_a_time_and_pays_for_its_airtime(
    access: Access, offers: list[tuple[int, int, float]]
) -> None:
    medium = access.open(at_snr(15.0), users=4, key=KEY)
    now_s = 0.0
    for number, bits, pause_s in offers:
        now_s += pause_s
        medium.offer([f"ue{number}"], bits, now_s=now_s)
    transfers = drained(medium)
    power_w = at_snr(15.0).transmit_power_w("ue0", share=1.0, block=0, time_s=0.0)
    for number in range(4):
        mine = sorted((t for t in transfers if t.ues == (f"ue{number}",)), key=lambda t: t.start_s)
        for one, other in pairwise(mine):
            assert one.end_s <= other.start_s + 1e-12
        for t in mine:
            assert t.energy_j == pytest.approx(power_w * t.airtime_s)
            assert t.airtime_s <= t.end_s - t.start_s + 1e-9
            # At most the band's whole capacity while it was on the air.
            assert t.bits <= t.airtime_s * at_snr(15.0).rate_bps("ue0", share=1.0, block=0, time_s=0.0) * (
                1 + 1e-9
            )


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="groups = 0 must be in 1 … 275"):
        Scheduler(groups=0)
    with pytest.raises(ConfigError, match=r"slot_s = 0\.0 must be above 0"):
        Aloha(slot_s=0.0)
    with pytest.raises(ConfigError, match=r"probability = 1\.5 must be above 0 and at most 1"):
        Aloha(probability=1.5)
    with pytest.raises(ConfigError, match=r"least_window = 31 must be in 1 … greatest_window = 15"):
        Csma(least_window=31, greatest_window=15)
    with pytest.raises(ConfigError, match="policy"):
        Scheduler(policy="fifo")  # type: ignore[arg-type]
