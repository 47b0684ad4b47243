"""What must hold of the radio whatever its code: closed forms and published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import exp1

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import Cell, Constant, Link, Ofdma, Shannon, Tdma, Transfer, expected_phase_s
from syft_fl.radio.pathloss import path_gain
from syft_fl.units import linear_to_db, noise_power_w, watt_to_dbm

KEY = Key(2024)
UES = [f"ue{k}" for k in range(10)]
BAND_HZ = 1e6


def at_snr(
    snr_db: float, *, distance_m: float = 250.0, direction: str = "uplink", **settings: object
) -> Link:
    """A link on which every UE has this mean signal-to-noise ratio over the whole band."""
    loss_db = 128.1 + 37.6 * math.log10(distance_m / 1000)
    power_dbm = snr_db + loss_db - 174 + 10 * math.log10(BAND_HZ)
    cell = Cell(radius_m=distance_m, min_distance_m=distance_m)
    model = Shannon(power_dbm=power_dbm, bandwidth_hz=BAND_HZ, **{"shadowing_db": 0.0, **settings})
    return model.link(cell, KEY, direction)


def gain_of(rate_bps: float, snr: float) -> float:
    """The fading gain behind a rate: the capacity formula, inverted."""
    return math.expm1(rate_bps / BAND_HZ * math.log(2)) / snr


def standard_error(samples: np.ndarray) -> float:
    return float(samples.std(ddof=1) / math.sqrt(len(samples)))


@pytest.mark.parametrize(
    ("bandwidth_hz", "figure_db", "level_dbm"),
    [(180e3, 0, -121.45), (1e6, 0, -114.00), (20e6, 0, -100.99), (10e6, 5, -99.00), (100e6, 9, -85.00)],
)
def test_noise_is_minus_174_dbm_per_hz_times_the_band(
    bandwidth_hz: float, figure_db: float, level_dbm: float
) -> None:
    noise_w = noise_power_w(bandwidth_hz, noise_figure_db=figure_db)
    assert watt_to_dbm(noise_w) == pytest.approx(level_dbm, abs=0.006)


@pytest.mark.parametrize(
    ("distance_m", "loss_db"), [(100, 90.50), (250, 105.46), (500, 116.78), (1000, 128.10), (10_000, 165.70)]
)
def test_macro_path_loss_has_the_published_values(distance_m: float, loss_db: float) -> None:
    assert -linear_to_db(path_gain(distance_m)) == pytest.approx(loss_db, abs=0.006)


def test_path_loss_takes_any_intercept_and_slope() -> None:
    gain = path_gain(50.0, intercept_db=140.7, slope_db_per_decade=36.7)
    assert -linear_to_db(gain) == pytest.approx(140.7 + 36.7 * math.log10(0.05))


def test_shannon_rate_has_the_published_anchor_value() -> None:
    snr, rate_bps = snr_and_rate(power_dbm=10.0, bandwidth_hz=1e6, distance_m=250.0)
    assert linear_to_db(snr) == pytest.approx(18.54, abs=0.006)
    assert rate_bps == pytest.approx(6.178e6, abs=600)


@pytest.mark.parametrize(
    ("power_dbm", "bandwidth_hz", "distance_m"),
    [(23.0, 20e6, 500.0), (10.0, 180e3, 1000.0), (0.0, 5e6, 40.0)],
)
def test_shannon_rate_is_the_link_budget_in_decibels(
    power_dbm: float, bandwidth_hz: float, distance_m: float
) -> None:
    snr, rate_bps = snr_and_rate(power_dbm=power_dbm, bandwidth_hz=bandwidth_hz, distance_m=distance_m)
    noise_dbm = -174 + 10 * math.log10(bandwidth_hz)
    budget_db = power_dbm - 128.1 - 37.6 * math.log10(distance_m / 1000) - noise_dbm
    assert linear_to_db(snr) == pytest.approx(budget_db)
    assert rate_bps == pytest.approx(bandwidth_hz * math.log2(1 + 10 ** (budget_db / 10)))


def snr_and_rate(*, power_dbm: float, bandwidth_hz: float, distance_m: float) -> tuple[float, float]:
    cell = Cell(radius_m=1000.0, distances_m=(distance_m,))
    model = Shannon(power_dbm=power_dbm, bandwidth_hz=bandwidth_hz, shadowing_db=0.0, fading="none")
    link = model.link(cell, KEY, "uplink")
    asked = {"share": 1.0, "block": 0, "time_s": 0.0}
    return link.snr("ue0", **asked), link.rate_bps("ue0", **asked)


def test_noise_figure_takes_its_decibels_from_the_snr() -> None:
    asked = {"share": 1.0, "block": 0, "time_s": 0.0}
    quiet, noisy = at_snr(10, fading="none"), at_snr(10, fading="none", noise_figure_db=7.0)
    assert linear_to_db(quiet.snr("ue0", **asked) / noisy.snr("ue0", **asked)) == pytest.approx(7.0)


def test_ues_are_uniform_over_the_disc() -> None:
    n, cell = 20_000, Cell(radius_m=500.0, min_distance_m=50.0)
    squares = np.array([cell.distance_m(f"ue{k}", KEY) for k in range(n)]) ** 2
    uniform = (squares - 50.0**2) / (500.0**2 - 50.0**2)
    assert uniform.min() >= 0
    assert uniform.max() <= 1
    for level in (0.1, 0.5, 0.9):
        assert (uniform < level).mean() == pytest.approx(level, abs=5 * math.sqrt(level * (1 - level) / n))


def test_given_distances_belong_to_the_number_at_the_end_of_the_name() -> None:
    cell = Cell(distances_m=(100.0, 200.0, 300.0))
    assert [cell.distance_m(ue, KEY) for ue in ("ue2", "ue0", "phone-01")] == [300.0, 100.0, 200.0]
    with pytest.raises(ConfigError, match=r"distances_m has 3 entries, none for 'ue3'"):
        cell.distance_m("ue3", KEY)
    with pytest.raises(ConfigError, match="no entry for 'alice'"):
        cell.distance_m("alice", KEY)
    with pytest.raises(ConfigError, match=r"distances_m\[1\] = 900.0 must be in 10.0 … 500.0 m"):
        Cell(distances_m=(100.0, 900.0))


@pytest.mark.parametrize("shadowing_db", [8.0, 3.0])
def test_shadowing_is_normal_in_decibels(shadowing_db: float) -> None:
    n, snr = 20_000, 100.0
    link = at_snr(20.0, fading="none", shadowing_db=shadowing_db)
    asked = {"share": 1.0, "block": 0, "time_s": 0.0}
    levels_db = np.array([linear_to_db(link.snr(f"ue{k}", **asked) / snr) for k in range(n)])
    assert levels_db.mean() == pytest.approx(0, abs=5 * shadowing_db / math.sqrt(n))
    assert levels_db.std() == pytest.approx(shadowing_db, abs=5 * shadowing_db / math.sqrt(2 * n))
    within = (np.abs(levels_db) < shadowing_db).mean()
    assert within == pytest.approx(math.erf(math.sqrt(0.5)), abs=5 * math.sqrt(0.68 * 0.32 / n))


def ergodic_rate(snr: float) -> float:
    """Mean capacity under Rayleigh fading [bit/s/Hz]: e^(1/snr) E1(1/snr) / ln 2."""
    return math.exp(1 / snr) * float(exp1(1 / snr)) / math.log(2)


def test_ergodic_rate_formula_has_the_published_values() -> None:
    assert ergodic_rate(1.0) == pytest.approx(0.8603, abs=5e-5)
    assert ergodic_rate(100.0) == pytest.approx(5.8840, abs=5e-5)


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 7.0, 20.0])
@pytest.mark.parametrize("fading_block", ["round", "time"])
def test_rayleigh_blocks_average_to_the_ergodic_rate(snr_db: float, fading_block: str) -> None:
    link = at_snr(snr_db, fading_block=fading_block, coherence_s=0.25)
    rates = np.array(
        [link.rate_bps("ue0", share=1.0, block=b, time_s=0.1 + 0.25 * b) / BAND_HZ for b in range(20_000)]
    )
    expected = ergodic_rate(10 ** (snr_db / 10))
    assert rates.mean() == pytest.approx(expected, abs=5 * standard_error(rates))


def test_long_transmission_over_a_fading_channel_goes_at_the_ergodic_rate() -> None:
    blocks, coherence_s = 20_000, 0.01
    link = at_snr(10.0, fading_block="time", coherence_s=coherence_s)
    bits = int(ergodic_rate(10.0) * BAND_HZ * blocks * coherence_s)
    duration_s = expected_phase_s(Tdma(), link, [["ue0"]], bits, users=1)
    rates = np.array([link.rate_bps("ue0", share=1.0, block=0, time_s=0.001 + 0.01 * b) for b in range(500)])
    relative = rates.std(ddof=1) / rates.mean() / math.sqrt(blocks)
    assert bits / duration_s == pytest.approx(ergodic_rate(10.0) * BAND_HZ, rel=5 * relative)


@pytest.mark.parametrize(("snr_db", "rate"), [(0.0, 0.5), (10.0, 1.0), (20.0, 4.0)])
def test_rayleigh_outage_is_the_exponential_law(snr_db: float, rate: float) -> None:
    n, link = 20_000, at_snr(snr_db)
    below = [link.rate_bps("ue0", share=1.0, block=b, time_s=0.0) < rate * BAND_HZ for b in range(n)]
    outage = 1 - math.exp(-(2**rate - 1) / 10 ** (snr_db / 10))
    assert np.mean(below) == pytest.approx(outage, abs=5 * math.sqrt(outage * (1 - outage) / n))


def test_two_ues_and_two_blocks_fade_independently() -> None:
    n, link = 10_000, at_snr(0.0)
    gains = np.array(
        [
            [gain_of(link.rate_bps(ue, share=1.0, block=b, time_s=0.0), 1.0) for b in range(n)]
            for ue in ("ue0", "ue1")
        ]
    )
    # A correlation of independent samples has a standard error of 1 / sqrt(n).
    assert abs(np.corrcoef(gains[0], gains[1])[0, 1]) < 5 / math.sqrt(n)
    assert abs(np.corrcoef(gains[0, 1:], gains[0, :-1])[0, 1]) < 5 / math.sqrt(n - 1)


@pytest.mark.parametrize(("k", "harmonic"), [(10, 2.928968), (4, 25 / 12), (1, 1.0)])
def test_best_and_worst_of_k_gains_follow_the_straggler_law(k: int, harmonic: float) -> None:
    n, link = 4_000, at_snr(0.0)
    gains = np.array(
        [
            [gain_of(link.rate_bps(ue, share=1.0, block=b, time_s=0.0), 1.0) for ue in UES[:k]]
            for b in range(n)
        ]
    )
    best, worst = gains.max(axis=1), gains.min(axis=1)
    assert best.mean() == pytest.approx(harmonic, abs=5 * standard_error(best))
    assert worst.mean() == pytest.approx(1 / k, abs=5 * standard_error(worst))


@pytest.mark.parametrize(
    ("k", "snr_db", "ratio"),
    [(10, 0.0, 3.459), (10, 20.0, 1.497), (4, 10.0, math.log2(41) / math.log2(11)), (1, 5.0, 1.0)],
)
def test_tdma_takes_longer_than_ofdma_in_the_uplink(k: int, snr_db: float, ratio: float) -> None:
    link = at_snr(snr_db, fading="none")
    tdma_s = expected_phase_s(Tdma(), link, [UES[:k]], 10**6, users=k)
    ofdma_s = expected_phase_s(Ofdma(), link, [UES[:k]], 10**6, users=k)
    assert tdma_s / ofdma_s == pytest.approx(ratio, abs=6e-4)


def test_tdma_takes_as_long_as_ofdma_in_the_downlink_where_power_is_split_too() -> None:
    link = at_snr(3.0, direction="downlink", fading="none")
    tdma_s = expected_phase_s(Tdma(), link, [UES], 10**6, users=10)
    assert expected_phase_s(Ofdma(), link, [UES], 10**6, users=10) == pytest.approx(tdma_s)


def test_full_downlink_spends_the_base_stations_power_however_the_band_is_split() -> None:
    for access in (Tdma(), Ofdma(), Ofdma(subchannels=5)):
        medium = access.open(at_snr(3.0, direction="downlink", fading="none"), users=10)
        for ue in UES:
            medium.offer([ue], 10**6, now_s=0.0)
        transfers = medium.advance(1e6)
        elapsed_s = max(t.end_s for t in transfers)
        power_w = at_snr(3.0, direction="downlink").transmit_power_w("ue0", share=1.0, block=0, time_s=0.0)
        assert sum(t.energy_j for t in transfers) == pytest.approx(power_w * elapsed_s)


def transfers_of_a_busy_cell(access: Tdma | Ofdma, link: Link) -> list[Transfer]:
    """300 offers of 10 UEs at random times, a tenth of them multicasts."""
    draws = (KEY / "offers").numpy()
    medium = access.open(link, users=10)
    times_s = np.cumsum(draws.exponential(0.2, 300))
    for number, time_s in enumerate(times_s):
        ues = UES[:3] if number % 10 == 0 else [UES[draws.integers(10)]]
        medium.offer(ues, int(draws.integers(1, 2_000_000)), now_s=float(time_s), block=number)
    return medium.advance(1e6)


@pytest.mark.parametrize("fading", ["round", "time"])
@pytest.mark.parametrize(("access", "subchannels"), [(Tdma(), 1), (Ofdma(), 10), (Ofdma(subchannels=3), 3)])
def test_airtime_bits_and_energy_are_conserved(access: Tdma | Ofdma, subchannels: int, fading: str) -> None:
    link = at_snr(5.0, fading_block=fading)
    share = 1 / subchannels
    transfers = transfers_of_a_busy_cell(access, link)
    assert len(transfers) == 300
    assert sum(t.airtime_s for t in transfers) <= subchannels * max(t.end_s for t in transfers)
    for t in transfers:
        assert t.energy_j == pytest.approx(
            link.transmit_power_w("ue0", share=share, block=0, time_s=0.0) * t.airtime_s
        )
        assert t.offered_s <= t.start_s < t.end_s
        # Bits are the integral of the slowest UE's rate, here summed block by block.
        edges = [t.start_s]
        while (edge := link.steady_until_s(time_s=edges[-1])) < t.end_s:
            edges.append(edge)
        carried = sum(
            (b - a) * min(link.rate_bps(ue, share=share, block=t.ticket, time_s=a) for ue in t.ues)
            for a, b in zip(edges, [*edges[1:], t.end_s], strict=True)
        )
        assert carried == pytest.approx(t.bits, rel=1e-6)


def test_a_million_bits_at_a_decimal_megabit_per_second_take_exactly_one_second() -> None:
    medium = Tdma().open(Constant(rate_bps=1e6).link(Cell(), KEY, "uplink"), users=1)
    medium.offer(["ue0"], 1_000_000, now_s=0.0)
    (transfer,) = medium.advance(2.0)
    assert (transfer.end_s, transfer.airtime_s) == (1.0, 1.0)
    assert transfer.energy_j == 0.1


@pytest.mark.parametrize("latency_s", [0.0, 0.75])
def test_expected_phase_of_a_constant_rate_has_closed_forms(latency_s: float) -> None:
    link = Constant(rate_bps=2e6, latency_s=latency_s).link(Cell(), KEY, "uplink")
    one_s = 1_000_000 / 2e6

    def phase_s(access: Tdma | Ofdma, ues: list[str], users: int) -> float:
        return expected_phase_s(access, link, [ues], 1_000_000, users=users)

    assert phase_s(Tdma(), UES, 10) == pytest.approx(10 * one_s + latency_s)
    assert phase_s(Ofdma(), UES, 10) == pytest.approx(10 * one_s + latency_s)
    # Ten UEs on three subchannels: four go one after the other on one of them, at a third of the rate.
    assert phase_s(Ofdma(subchannels=3), UES, 10) == pytest.approx(4 * 3 * one_s + latency_s)
    # Half of the users take part: half of the band lies idle.
    assert phase_s(Ofdma(), UES[:5], 10) == pytest.approx(10 * one_s + latency_s)
    assert phase_s(Tdma(), UES[:1], 10) == pytest.approx(one_s + latency_s)


def test_expected_phase_averages_over_the_fading_blocks() -> None:
    link = at_snr(5.0)
    inverse = [
        [1 / link.rate_bps(ue, share=share, block=b, time_s=0.0) for ue in UES[:4]]
        for b in range(1, 8)
        for share in (1.0, 0.25)
    ]
    tdma_s, ofdma_s = np.mean([sum(i) for i in inverse[::2]]), np.mean([max(i) for i in inverse[1::2]])
    bits = 123_456
    assert expected_phase_s(Tdma(), link, [UES[:4]] * 7, bits, users=4) == pytest.approx(bits * tdma_s)
    assert expected_phase_s(Ofdma(), link, [UES[:4]] * 7, bits, users=4) == pytest.approx(bits * ofdma_s)


def test_expected_phase_never_uses_a_stretch_of_fading_twice() -> None:
    coherence_s, bits = 0.05, 1_000
    link = at_snr(20.0, fading_block="time", coherence_s=coherence_s)
    # So few bits fit in one coherence time: repetition b then has interval b to itself.
    rates = [link.rate_bps("ue0", share=1.0, block=0, time_s=(b + 0.5) * coherence_s) for b in range(16)]
    assert bits / min(rates) < coherence_s
    mean_s = expected_phase_s(Tdma(), link, [["ue0"]] * 16, bits, users=1)
    assert mean_s == pytest.approx(np.mean([bits / rate for rate in rates]))


def test_expected_phase_wants_cohorts_that_are_not_empty() -> None:
    link = Constant().link(Cell(), KEY, "uplink")
    with pytest.raises(ConfigError, match="at least one cohort"):
        expected_phase_s(Tdma(), link, [], 1, users=1)
    with pytest.raises(ConfigError, match="at least one UE each"):
        expected_phase_s(Tdma(), link, [["ue0"], []], 1, users=1)
