"""What every access scheme's medium keeps to, over every kind of link."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from claims.radio import skipping_sionna
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.errors import ClockError, ConfigError, TransportError
from syft_fl.keys import Key
from syft_fl.radio import (
    ACCESS,
    LINKS,
    Access,
    Aloha,
    Arq,
    Bler,
    Cell,
    Constant,
    CqiRate,
    Csma,
    FairOfdma,
    Fractional,
    Harq,
    Link,
    Medium,
    Neighbours,
    Noma,
    NoRetransmission,
    Ofdma,
    Packet,
    RateTrace,
    Rayleigh,
    Scheduler,
    Shannon,
    TargetSnr,
    Tdma,
    Transfer,
    Wireless,
)
from syft_fl.schema import plain
from syft_fl.units import dbm_to_watt

USERS = 4
KEY = Key(5)
# Slots and packets are large here, so that there are few of them.
TURNS = [
    *(
        Scheduler(policy=policy, groups=3, slot_s=0.1)
        for policy in ("round-robin", "max-rate", "proportional")
    ),
    Aloha(slot_s=0.1),
    Aloha(slot_s=0.1, probability=0.3),
    Csma(packet_bytes=5000),
]
IN_TURNS = {access.kind for access in TURNS}
SCHEMES = [
    *(ACCESS.build(kind) for kind in ACCESS.kinds() if kind not in IN_TURNS),
    Ofdma(subchannels=1),
    Ofdma(subchannels=3),
    *TURNS,
]
SUBCHANNELS = [(Tdma(), 1), (Ofdma(), USERS), (Ofdma(subchannels=1), 1), (Ofdma(subchannels=3), 3)]
LOSSY = [
    Wireless(loss=Packet(probability=0.3), retransmission=Arq(mtu_bytes=100, tries=3, feedback_s=0.01)),
    Wireless(loss=Packet(probability=0.01), retransmission=NoRetransmission(mtu_bytes=100)),
    Wireless(
        fading=Rayleigh(block="time"),
        rate=CqiRate(report_delay_s=0.06),
        loss=Bler(),
        retransmission=Harq(mtu_bytes=500, feedback_s=0.0),
        latency_s=0.02,
    ),
]
# Powers of their own for each UE, in the uplink alone.
CONTROLLED = [
    Wireless(power_control=Fractional(), interference=Neighbours(load=0.5)),
    Wireless(
        fading=Rayleigh(block="time", coherence_s=0.3),
        rate=CqiRate(report_delay_s=0.06),
        loss=Bler(),
        power_control=TargetSnr(inversion="instantaneous"),
        interference=Neighbours(load=0.3, block="time", block_s=0.4),
    ),
]
RADIOS = [LINKS.build(kind) for kind in LINKS.kinds() if kind != "trace"] + [
    *LOSSY,
    *CONTROLLED,
    Wireless(power_dbm=20.0, interference=Neighbours(power_dbm=0.0, block="time", block_s=0.2)),
    RateTrace(times_s=(0.0, 0.2), rates_bps=(1e5, 5e5)),
    Shannon(fading_block="time", coherence_s=0.05),
    Constant(rate_bps=1e5, latency_s=0.3),
]

CHANNELS = (Shannon, Wireless)


def fits(access: Access, radio: object) -> bool:
    """Whether a scheme knows what to do with a link: to superpose, one has to know how strong signals are."""
    outdated = isinstance(radio, Wireless) and radio.rate.report_delay_s > 0
    return not isinstance(access, Noma) or (isinstance(radio, CHANNELS) and not outdated)


# Every scheme over the radios that can surprise it, every radio under the schemes of one machine.
SURPRISING = [LOSSY[0], LOSSY[2], Shannon(fading_block="time", coherence_s=0.05), RADIOS[-1]]
PAIRS = [(access, radio) for access in SCHEMES for radio in SURPRISING if fits(access, radio)]
PAIRS += [
    (access, radio)
    for access in (Tdma(), Ofdma(subchannels=3), FairOfdma(), Noma(), TURNS[2])
    for radio in RADIOS
    if radio not in SURPRISING and fits(access, radio)
]
BOTH_WAYS = [(r, d) for r in RADIOS for d in ("uplink", "downlink") if d == "uplink" or r not in CONTROLLED]

every_scheme = pytest.mark.parametrize("access", SCHEMES, ids=repr)
every_radio = pytest.mark.parametrize("radio", skipping_sionna(RADIOS), ids=repr)
every_pair = pytest.mark.parametrize(("access", "radio"), skipping_sionna(PAIRS), ids=repr)


@dataclass(frozen=True)
class Wanted:
    """An offer to come: after a pause, these bits for these UEs."""

    pause_s: float
    ues: tuple[str, ...]
    bits: int
    block: int


workloads = st.lists(
    st.builds(
        Wanted,
        pause_s=st.sampled_from([0.0, 0.0, 0.01, 0.3, 2.0]),
        ues=st.lists(st.sampled_from(["ue0", "ue1", "ue2", "ue3"]), min_size=1, max_size=3, unique=True).map(
            tuple
        ),
        bits=st.integers(1, 200_000),
        block=st.integers(0, 3),
    ),
    min_size=1,
    max_size=10,
)


def open_medium(access: Access, radio: object, direction: str = "uplink") -> Medium:
    return access.open(radio.link(Cell(radius_m=100.0), KEY, direction), users=USERS)


def drained(medium: Medium) -> list[Transfer]:
    """All that is still on its way, event by event."""
    transfers = []
    while (event_s := medium.next_event_s()) < math.inf:
        transfers += medium.advance(event_s)
    return transfers


def run(
    medium: Medium, wanted: list[Wanted], between: Callable[[Medium, float, float], list[Transfer]]
) -> list[Transfer]:
    """Offer each at its time; ``between`` takes the medium from one time to the next."""
    transfers, now_s = [], 0.0
    for number, offer in enumerate(wanted):
        transfers += between(medium, now_s, now_s + offer.pause_s)
        now_s += offer.pause_s
        assert medium.offer(offer.ues, offer.bits, now_s=now_s, block=offer.block) == number
    return transfers + drained(medium)


def one_step(medium: Medium, from_s: float, to_s: float) -> list[Transfer]:
    return medium.advance(to_s)


def small_steps(medium: Medium, from_s: float, to_s: float) -> list[Transfer]:
    steps_s = [from_s + (to_s - from_s) * k / 7 for k in range(7)]
    return [transfer for time_s in [*steps_s, to_s] for transfer in medium.advance(time_s)]


def no_step(medium: Medium, from_s: float, to_s: float) -> list[Transfer]:
    return []


@every_pair
@settings(max_examples=8)
@given(wanted=workloads)
def test_every_offer_is_answered_once_with_its_own_bits(
    access: Access, radio: object, wanted: list[Wanted]
) -> None:
    transfers = run(open_medium(access, radio), wanted, one_step)
    assert sorted(t.ticket for t in transfers) == list(range(len(wanted)))
    assert [t.end_s for t in transfers] == sorted(t.end_s for t in transfers)
    now_s = 0.0
    for offer, t in zip(wanted, sorted(transfers, key=lambda t: t.ticket), strict=True):
        now_s += offer.pause_s
        assert (t.ues, t.bits, t.offered_s) == (offer.ues, offer.bits, now_s)
        assert t.offered_s <= t.start_s < t.end_s
        assert set(t.lost) <= set(t.ues)


@every_pair
@settings(max_examples=8)
@given(wanted=workloads)
def test_small_steps_one_step_and_none_give_the_same_transfers(
    access: Access, radio: object, wanted: list[Wanted]
) -> None:
    small, one, none = (
        run(open_medium(access, radio), wanted, step) for step in (small_steps, one_step, no_step)
    )
    assert small == one == none


@every_pair
@settings(max_examples=8)
@given(wanted=workloads, cut=st.integers(0, 9), later_s=st.sampled_from([0.0, 0.004, 0.11, 5.0]))
def test_state_taken_mid_transfer_continues_exactly(
    access: Access, radio: object, wanted: list[Wanted], cut: int, later_s: float
) -> None:
    medium, now_s = open_medium(access, radio), 0.0
    for offer in wanted[:cut]:
        now_s += offer.pause_s
        medium.offer(offer.ues, offer.bits, now_s=now_s, block=offer.block)
    medium.advance(now_s + later_s)
    # Through text, as a checkpoint keeps it.
    resumed = open_medium(access, radio)
    resumed.load(json.loads(json.dumps(medium.state())))
    assert resumed.state() == medium.state()
    for each in (medium, resumed):
        for offer in wanted[cut:]:
            each.offer(offer.ues, offer.bits, now_s=now_s, block=offer.block)
    assert resumed.next_event_s() == medium.next_event_s()
    assert drained(resumed) == drained(medium)


@pytest.mark.parametrize(("access", "subchannels"), SUBCHANNELS, ids=repr)
@pytest.mark.parametrize(("radio", "direction"), skipping_sionna(BOTH_WAYS), ids=repr)
@settings(max_examples=8)
@given(wanted=workloads)
def test_subchannels_carry_one_transmission_each(
    access: Access, subchannels: int, radio: object, direction: str, wanted: list[Wanted]
) -> None:
    link = radio.link(Cell(radius_m=100.0), KEY, direction)
    transfers = run(access.open(link, users=USERS), wanted, one_step)
    for t in transfers:
        asked = {"share": 1 / subchannels, "block": wanted[t.ticket].block, "time_s": t.start_s}
        power_w = max(link.transmit_power_w(ue, **asked) for ue in t.ues)
        waited_s = (t.attempts - 1) * feedback_s(radio)
        assert t.end_s == pytest.approx(t.start_s + t.airtime_s + waited_s + link.latency_s)
        if radio in CONTROLLED[1:]:  # where the power follows the fading
            assert 0 < t.energy_j <= dbm_to_watt(radio.power_dbm) * t.airtime_s * (1 + 1e-9)
        else:
            assert t.energy_j == pytest.approx(power_w * t.airtime_s)
        # A hair after a start, so that one who takes over at the very instant isn't counted twice.
        probe_s = t.start_s + 1e-9
        on_air = [u for u in transfers if u.start_s <= probe_s < u.start_s + u.airtime_s]
        assert len(on_air) <= subchannels
    elapsed_s = max(t.end_s for t in transfers) - min(t.start_s for t in transfers)
    assert sum(t.airtime_s for t in transfers) <= subchannels * elapsed_s + 1e-9


@pytest.mark.parametrize(("access", "subchannels"), SUBCHANNELS, ids=repr)
@every_radio
@settings(max_examples=8)
@given(wanted=workloads)
def test_queue_is_first_come_first_served_and_never_idle(
    access: Access, subchannels: int, radio: object, wanted: list[Wanted]
) -> None:
    transfers = sorted(run(open_medium(access, radio), wanted, one_step), key=lambda t: t.ticket)
    starts_s = [t.start_s for t in transfers]
    assert starts_s == sorted(starts_s)
    # An offer waits only while every subchannel is taken; then it starts at the instant one is free.
    for number, t in enumerate(transfers):
        busy_s = sorted((u.end_s - radio.latency_s for u in transfers[:number]), reverse=True)
        free_s = busy_s[subchannels - 1] if number >= subchannels else 0.0
        assert t.start_s == pytest.approx(max(t.offered_s, free_s))


def medium_of(*, subchannels: int = 1, latency_s: float = 0.0) -> Medium:
    link = Constant(rate_bps=1000.0 * subchannels, latency_s=latency_s).link(Cell(), KEY, "uplink")
    return Ofdma(subchannels=subchannels).open(link, users=9)


@pytest.mark.parametrize("radio", LOSSY[:2], ids=repr)
@pytest.mark.parametrize(("access", "subchannels"), SUBCHANNELS, ids=repr)
@settings(max_examples=8)
@given(wanted=workloads)
def test_every_try_of_every_packet_is_on_the_air(
    access: Access, subchannels: int, radio: Wireless, wanted: list[Wanted]
) -> None:
    share = 1 / subchannels
    link = radio.link(Cell(radius_m=100.0), KEY, "uplink")
    scheme = radio.retransmission
    for t in run(access.open(link, users=USERS), wanted, one_step):
        # Fading holds for a block: what was sent is the slowest one's rate times the airtime.
        asked = {"share": share, "block": wanted[t.ticket].block, "time_s": t.start_s}
        on_air = t.airtime_s * min(link.rate_bps(ue, **asked) for ue in t.ues)
        once = t.bits + 8 * scheme.header_bytes * math.ceil(t.bits / (8 * scheme.mtu_bytes))
        assert once <= on_air * (1 + 1e-9)
        assert on_air <= t.attempts * once * (1 + 1e-9)
        assert 1 <= t.attempts <= scheme.tries
        assert t.attempts == scheme.tries or not t.lost
        assert set(t.lost) == {ue for ue, _, _ in t.gaps}
        assert all(0 <= first < end <= t.bits for _, first, end in t.gaps)


def feedback_s(radio: object) -> float:
    """What a sender waits between two passes [s]."""
    return radio.retransmission.feedback_s if hasattr(radio, "retransmission") else 0.0


def test_latency_delays_arrival_and_does_not_occupy_the_medium() -> None:
    medium = medium_of(latency_s=5.0)
    for ue in ("ue0", "ue1"):
        medium.offer([ue], 1000, now_s=0.0)
    assert medium.advance(5.9) == []
    assert [(t.start_s, t.end_s, t.airtime_s) for t in medium.advance(7.0)] == [
        (0.0, 6.0, 1.0),
        (1.0, 7.0, 1.0),
    ]


def test_a_free_subchannel_is_taken_at_once_and_the_next_offer_waits() -> None:
    medium = medium_of(subchannels=2)
    for ue, bits in (("ue0", 3000), ("ue1", 1000), ("ue2", 500)):
        medium.offer([ue], bits, now_s=0.0)
    ended = medium.advance(10.0)
    assert [(t.ticket, t.start_s, t.end_s) for t in ended] == [(1, 0.0, 1.0), (2, 1.0, 1.5), (0, 0.0, 3.0)]


def test_an_offer_from_before_the_mediums_time_queues_and_keeps_its_own_time() -> None:
    medium = medium_of()
    medium.advance(10.0)
    medium.offer(["ue0"], 1000, now_s=4.0)
    (transfer,) = drained(medium)
    assert (transfer.offered_s, transfer.start_s, transfer.end_s) == (4.0, 10.0, 11.0)


def test_an_offer_for_later_lets_an_earlier_one_go_first() -> None:
    medium = medium_of()
    medium.offer(["ue0"], 1000, now_s=2.0)
    medium.offer(["ue1"], 500, now_s=0.0)
    assert [(t.ticket, t.start_s, t.end_s) for t in drained(medium)] == [(1, 0.0, 0.5), (0, 2.0, 3.0)]


def test_next_event_is_a_start_or_an_arrival() -> None:
    medium = medium_of(latency_s=0.5)
    assert medium.next_event_s() == math.inf
    medium.offer(["ue0"], 1000, now_s=3.0)
    assert medium.next_event_s() == 3.0
    assert medium.advance(3.0) == []
    assert medium.next_event_s() == 4.5
    assert len(medium.advance(4.5)) == 1
    assert medium.next_event_s() == math.inf


def test_going_back_in_time_changes_nothing() -> None:
    medium = medium_of()
    medium.advance(2.0)
    medium.offer(["ue0"], 1000, now_s=2.0)
    before = medium.state()
    assert medium.advance(1.0) == []
    assert medium.state() == before


@every_scheme
def test_multicast_goes_at_the_slowest_ones_rate(access: Access) -> None:
    radio = Shannon()
    alone_s = []
    for ues in (["ue0"], ["ue1"], ["ue2"], ["ue0", "ue1", "ue2"]):
        medium = open_medium(access, radio, "downlink")
        medium.offer(ues, 3_000_000, now_s=0.0, block=7)
        (transfer,) = drained(medium)
        alone_s.append(transfer.airtime_s)
    *single_s, together_s = alone_s
    assert together_s == max(single_s) > min(single_s)


@dataclass(frozen=True)
class Pattern:
    """A link whose rates repeat second by second, per UE; a power of 2 W."""

    rates_bps: dict[str, tuple[float, ...]]
    latency_s: float = 0.0

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return 2.0

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        rates = self.rates_bps[ue]
        return share * rates[math.floor(time_s) % len(rates)]

    def steady_until_s(self, *, time_s: float) -> float:
        return math.floor(time_s) + 1.0


@dataclass(frozen=True)
class Dead(Pattern):
    """The same, but the rate at the start holds for good."""

    def steady_until_s(self, *, time_s: float) -> float:
        return math.inf


def sent_over(link: Link, ues: list[str], bits: int, now_s: float = 0.0) -> Transfer:
    medium = Tdma().open(link, users=1)
    medium.offer(ues, bits, now_s=now_s)
    (transfer,) = drained(medium)
    return transfer


def test_bits_are_integrated_over_changing_rates_and_silence_costs_no_airtime() -> None:
    link = Pattern({"ue0": (10.0, 0.0, 20.0)})
    # 10 bits in the first second, none in the second, 20 in the third, 10 in the fourth, half of 20 in the sixth.
    transfer = sent_over(link, ["ue0"], 50)
    assert (transfer.end_s, transfer.airtime_s, transfer.energy_j) == (5.5, 3.5, 7.0)
    # From half a second on: 5 bits, none, 20, then 5 at 10 bit/s.
    transfer = sent_over(link, ["ue0"], 30, now_s=0.5)
    assert (transfer.start_s, transfer.end_s, transfer.airtime_s) == (0.5, 3.5, 2.0)


def test_multicast_is_as_slow_as_the_slowest_one_at_each_time() -> None:
    link = Pattern({"ue0": (10.0, 40.0), "ue1": (40.0, 20.0)})
    assert sent_over(link, ["ue0", "ue1"], 35).end_s == 2.5


def test_a_transmission_that_ends_on_an_edge_ends_there() -> None:
    assert sent_over(Pattern({"ue0": (10.0, 0.0)}), ["ue0"], 10).end_s == 1.0


def test_a_rate_of_zero_for_good_is_refused_by_name() -> None:
    medium = Tdma().open(Dead({"ue0": (5.0,), "ue1": (0.0,)}), users=1)
    before = medium.state()
    with pytest.raises(TransportError, match=r"ue1 gets 0 bit/s .* bring it nearer"):
        medium.offer(["ue0", "ue1"], 1, now_s=0.0)
    assert medium.state() == before
    assert medium.offer(["ue0"], 1, now_s=0.0) == 0


def test_a_link_that_stays_silent_block_after_block_is_refused_too() -> None:
    medium = Tdma().open(Pattern({"ue0": (0.0,)}), users=1)
    medium.offer(["ue0"], 1, now_s=0.0)
    with pytest.raises(TransportError, match="ue0 gets 0 bit/s"):
        drained(medium)


@every_scheme
def test_nothing_for_nobody_and_at_no_time_is_refused(access: Access) -> None:
    medium = open_medium(access, Shannon())
    before = medium.state()
    with pytest.raises(TransportError, match="no UE"):
        medium.offer([], 8, now_s=0.0)
    with pytest.raises(TransportError, match="0 bits offered for ue0: bits must be at least 1"):
        medium.offer(["ue0"], 0, now_s=0.0)
    with pytest.raises(ClockError, match="nan"):
        medium.offer(["ue0"], 8, now_s=math.nan)
    with pytest.raises(ClockError, match="inf"):
        medium.advance(math.inf)
    assert medium.state() == before


def test_a_state_of_another_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="subchannels = 2 must be 3"):
        medium_of(subchannels=3).load(medium_of(subchannels=2).state())


@every_scheme
def test_settings_survive_a_file(access: Access) -> None:
    assert ACCESS.build(json.loads(json.dumps(plain(access)))) == access


def test_wrong_splits_are_refused() -> None:
    link = Constant().link(Cell(), KEY, "uplink")
    with pytest.raises(ConfigError, match="subchannels = 0 must be at least 1"):
        Ofdma(subchannels=0)
    with pytest.raises(ConfigError, match="users = 0 must be at least 1"):
        Ofdma().open(link, users=0)
