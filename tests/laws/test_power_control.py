"""What must hold of uplink power: open loops level what arrives, closed loops meet their target, and energy follows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from claims.radio import KEY, at_snr, carried
from scipy.special import exp1

from syft_fl.radio import (
    Arq,
    Cell,
    Fractional,
    InterferenceLevel,
    LogDistance,
    NoFading,
    NrRate,
    Packet,
    PowerControl,
    RandomWaypoint,
    Rayleigh,
    Shannon,
    ShannonRate,
    TargetSnr,
    UMa,
    Wireless,
)
from syft_fl.radio.wireless import WirelessLink
from syft_fl.units import db_to_linear, dbm_to_watt, linear_to_db, watt_to_dbm

UES = [f"ue{k}" for k in range(30)]
AT = {"block": 3, "time_s": 0.0}
UNBOUNDED_DBM = 300.0


def linked(control: PowerControl, *, cell: Cell | None = None, **parts: object) -> WirelessLink:
    link = Wireless(power_control=control, **parts).link(cell or Cell(), KEY, "uplink")
    assert isinstance(link, WirelessLink)
    return link


def powers_dbm(link: WirelessLink, share: float = 1.0) -> np.ndarray:
    return np.array([watt_to_dbm(link.transmit_power_w(ue, share=share, **AT)) for ue in UES])


def path_losses_db(link: WirelessLink) -> np.ndarray:
    return np.array([-linear_to_db(link.mean_gain(ue, time_s=0.0)) for ue in UES])


@pytest.mark.parametrize("path", [LogDistance(), UMa()], ids=lambda path: path.kind)
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_full_compensation_levels_what_is_received_in_each_block(path: LogDistance, share: float) -> None:
    link = linked(Fractional(p0_dbm=-107.0, alpha=1.0), path=path, power_dbm=UNBOUNDED_DBM)
    losses_db = path_losses_db(link)
    assert np.ptp(losses_db) > 20  # shadows included
    received_dbm = powers_dbm(link, share) - losses_db
    blocks = share * 1e6 / 180e3
    assert received_dbm - 10 * math.log10(blocks) == pytest.approx(np.full(len(UES), -107.0))


def test_no_compensation_is_a_constant_power_per_block() -> None:
    link = linked(Fractional(p0_dbm=-3.0, alpha=0.0))
    for share in (1.0, 0.36, 0.018):
        expected_dbm = -3.0 + 10 * math.log10(share * 1e6 / 180e3)
        assert powers_dbm(link, share) == pytest.approx(np.full(len(UES), expected_dbm))


@pytest.mark.parametrize("alpha", [0.4, 0.8])
def test_a_fraction_of_the_path_loss_is_made_up_for(alpha: float) -> None:
    link = linked(Fractional(p0_dbm=-80.0, alpha=alpha), power_dbm=UNBOUNDED_DBM)
    expected_dbm = -80.0 + alpha * path_losses_db(link) + 10 * math.log10(1e6 / 180e3)
    assert powers_dbm(link) == pytest.approx(expected_dbm)


@pytest.mark.parametrize(("p0_dbm", "alpha"), [(-80.0, 0.8), (-100.0, 1.0), (200.0, 0.5)])
def test_the_cap_holds_and_binds_only_where_it_must(p0_dbm: float, alpha: float) -> None:
    control = Fractional(p0_dbm=p0_dbm, alpha=alpha)
    free, capped = (linked(control, power_dbm=level) for level in (UNBOUNDED_DBM, 10.0))
    assert powers_dbm(capped) == pytest.approx(np.minimum(powers_dbm(free), 10.0))
    assert (powers_dbm(free) > 10.0).any()


@pytest.mark.parametrize(("numerology", "blocks"), [(0, 106), (1, 51), (2, 24)])
def test_nr_counts_blocks_of_180_khz_whatever_its_subcarriers(numerology: int, blocks: int) -> None:
    # TS 38.213, 7.1.1: 10 log10(2^mu M_RB).
    control = Fractional(p0_dbm=-20.0, alpha=0.0)
    link = linked(control, rate=NrRate(numerology=numerology), bandwidth_hz=20e6)
    assert powers_dbm(link) == pytest.approx(-20.0 + 10 * math.log10(2**numerology * blocks))


def test_open_loops_follow_neither_fading_nor_interference() -> None:
    control = Fractional()
    still, busy = linked(control, fading=NoFading()), linked(control, interference_dbm_per_hz=-150.0)
    assert powers_dbm(still).tolist() == powers_dbm(busy).tolist()


@pytest.mark.parametrize("level", [None, -168.0])
@pytest.mark.parametrize("share", [1.0, 0.2])
def test_a_closed_loop_meets_its_target_as_far_as_power_goes(level: float | None, share: float) -> None:
    asked = {"share": share, **AT}
    parts = {"interference_dbm_per_hz": level, "noise_figure_db": 5.0}
    for inversion, followed in (("instantaneous", {}), ("mean", {"fading": NoFading()})):
        control = TargetSnr(snr_db=7.0, inversion=inversion)
        link = linked(control, power_dbm=UNBOUNDED_DBM, **parts, **followed)
        assert [link.snr(ue, **asked) for ue in UES] == pytest.approx([db_to_linear(7.0)] * len(UES))
        capped = linked(control, power_dbm=0.0, **parts, **followed)
        for ue in UES:
            power_w, most_w = capped.transmit_power_w(ue, **asked), dbm_to_watt(0.0)
            needed_w = link.transmit_power_w(ue, **asked)
            assert power_w == pytest.approx(min(needed_w, most_w))
            assert capped.snr(ue, **asked) == pytest.approx(db_to_linear(7.0) * power_w / needed_w)


def test_inversion_of_the_mean_leaves_the_fading() -> None:
    link = linked(TargetSnr(snr_db=7.0), power_dbm=UNBOUNDED_DBM)
    for ue in UES:
        expected = db_to_linear(7.0) * link.fading_gain(ue, **AT)
        assert link.snr(ue, share=0.5, **AT) == pytest.approx(expected)


@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_inversion_of_rayleigh_fading_takes_the_power_of_the_exponential_integral(margin: float) -> None:
    # With a cap at what a gain of g needs: E[min(1/h, 1/g)] = E_1(g) + (1 - e^-g) / g.
    blocks = 20_000
    link = at_snr(
        -linear_to_db(margin),
        fading=Rayleigh(),
        power_control=TargetSnr(snr_db=0.0, inversion="instantaneous"),
    )
    asked = {"share": 1.0, "time_s": 0.0}
    most_w = dbm_to_watt(-linear_to_db(margin) + 128.1 + 37.6 * math.log10(0.25) - 174 + 60)
    powers = [link.transmit_power_w("ue0", block=b, **asked) / (margin * most_w) for b in range(blocks)]
    expected = exp1(margin) - math.expm1(-margin) / margin
    assert np.mean(powers) == pytest.approx(expected, abs=5 * np.std(powers) / math.sqrt(blocks))


def test_the_rate_at_a_target_is_the_capacity_of_the_target() -> None:
    control = TargetSnr(snr_db=12.0, inversion="instantaneous")
    link = linked(control, power_dbm=UNBOUNDED_DBM)
    rates = [link.rate_bps(ue, share=0.25, **AT) for ue in UES]
    assert rates == pytest.approx([0.25e6 * math.log2(1 + db_to_linear(12.0))] * len(UES))


@pytest.mark.parametrize("lossy", [False, True])
def test_energy_is_the_power_that_was_sent_times_the_airtime(lossy: bool) -> None:
    parts = {"loss": Packet(probability=0.2), "retransmission": Arq(mtu_bytes=100)} if lossy else {}
    for control in (Fractional(p0_dbm=-100.0), TargetSnr(snr_db=3.0)):
        transfer, whole = (
            carried(at_snr(25.0, **parts, **controlled), 80_000)
            for controlled in ({"power_control": control}, {})
        )
        link = at_snr(25.0, **parts, power_control=control)
        power_w = link.transmit_power_w("ue0", share=1.0, block=1, time_s=0.0)
        assert power_w < dbm_to_watt(15.0) / 100
        assert transfer.energy_j == pytest.approx(power_w * transfer.airtime_s)
        # Less power takes longer, and less energy all the same: at capacity bits are the cheaper the slower they go.
        assert transfer.airtime_s > whole.airtime_s
        assert transfer.energy_j < whole.energy_j


def test_energy_follows_a_power_that_follows_the_fading() -> None:
    coherence_s = 0.05
    link = at_snr(
        30.0,
        fading=Rayleigh(block="time", coherence_s=coherence_s),
        power_control=TargetSnr(snr_db=5.0, inversion="instantaneous"),
    )
    transfer = carried(link, 1_000_000)
    edges_s = [*np.arange(0.0, transfer.end_s, coherence_s), transfer.end_s]
    energy_j = sum(
        (after_s - before_s)
        * link.transmit_power_w("ue0", share=1.0, block=1, time_s=(before_s + after_s) / 2)
        for before_s, after_s in pairwise(edges_s)
    )
    assert len(edges_s) > 8
    assert transfer.energy_j == pytest.approx(energy_j)


def test_a_report_that_is_old_sets_the_power_of_before() -> None:
    control, delay_s = TargetSnr(snr_db=5.0, inversion="instantaneous"), 0.12
    parts = {"fading": Rayleigh(block="time", coherence_s=0.1), "power_dbm": UNBOUNDED_DBM}
    prompt, late = (linked(control, rate=ShannonRate(report_delay_s=d), **parts) for d in (0.0, delay_s))
    for number in range(50):
        asked, time_s = {"share": 1.0, "block": 0}, 1.0 + 0.013 * number
        power_w = late.transmit_power_w("ue0", time_s=time_s, **asked)
        assert power_w == prompt.transmit_power_w("ue0", time_s=time_s - delay_s, **asked)
        # The rate is that of the target, and the ratio what the channel has become since.
        assert late.rate_bps("ue0", time_s=time_s, **asked) == pytest.approx(
            1e6 * math.log2(1 + db_to_linear(5.0))
        )
        gains = [late.fading_gain("ue0", block=0, time_s=t) for t in (time_s, time_s - delay_s)]
        assert late.snr("ue0", time_s=time_s, **asked) == pytest.approx(
            db_to_linear(5.0) * gains[0] / gains[1]
        )


def test_power_follows_a_ue_that_walks() -> None:
    link = linked(
        Fractional(p0_dbm=-107.0, alpha=1.0),
        cell=Cell(placement=RandomWaypoint(speed_min_m_per_s=5.0, speed_max_m_per_s=9.0)),
        power_dbm=UNBOUNDED_DBM,
    )
    asked = {"share": 0.18, "block": 0}
    powers_w = [link.transmit_power_w("ue0", time_s=float(t), **asked) for t in range(60)]
    assert len(set(powers_w)) == 60
    received_w = [p * link.mean_gain("ue0", time_s=float(t)) for t, p in enumerate(powers_w)]
    assert received_w == pytest.approx([dbm_to_watt(-107.0)] * 60)


def test_full_power_is_what_links_without_control_send() -> None:
    parts, whole = (
        model.link(Cell(), KEY, "uplink") for model in (Wireless(power_control={"kind": "full"}), Shannon())
    )
    for share in (1.0, 0.1, 0.001):
        assert parts.transmit_power_w("ue0", share=share, **AT) == dbm_to_watt(10.0)
        assert parts.snr("ue0", share=share, **AT) == whole.snr("ue0", share=share, **AT)


def test_a_level_of_interference_is_the_old_setting_by_another_name() -> None:
    old = Wireless(interference_dbm_per_hz=-171.0)
    new = Wireless(interference=InterferenceLevel(dbm_per_hz=-171.0))
    for direction in ("uplink", "downlink"):
        links = [model.link(Cell(), KEY, direction) for model in (old, new)]
        snrs = [[link.snr(ue, share=0.3, **AT) for ue in UES] for link in links]
        assert snrs[0] == snrs[1]


@pytest.mark.parametrize("control", [Fractional(), TargetSnr()], ids=lambda control: control.kind)
def test_a_ue_that_nothing_comes_from_sends_all_it_has(control: PowerControl) -> None:
    @dataclass(frozen=True)
    class Void:
        width_hz: float = 180e3
        mean_gain: float = 0.0
        fading_gain: float = 1.0
        noise_w: float = 1e-15

    assert control.power_w(0.2, Void()) == 0.2
