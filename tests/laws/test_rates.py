"""What must hold of rates: tables and formulas of the 3GPP, capacity, and adaptation that comes too late."""

from __future__ import annotations

import math

import numpy as np
import pytest
from claims.radio import KEY, at_snr, frequency, sent

from syft_fl.errors import ConfigError
from syft_fl.radio import (
    Bler,
    CqiRate,
    CqiTable,
    FixedRate,
    NoRetransmission,
    NrRate,
    Rayleigh,
    ShannonRate,
    Wireless,
)
from syft_fl.radio.nr import resource_blocks
from syft_fl.radio.rates import CQI_EFFICIENCIES
from syft_fl.units import db_to_linear, linear_to_db

# TS 38.214, table 5.2.2.1-2.
PUBLISHED_EFFICIENCIES = (
    *(0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141),
    *(2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547),
)
# The SNRs [dB] that simulators commonly take for CQI 1 … 15.
COMMON_THRESHOLDS_DB = (
    *(-6.7, -4.7, -2.3, 0.2, 2.4, 4.3, 5.9, 8.1, 10.3, 11.7, 14.1, 16.3, 18.7, 21.0, 22.7),
)
ASKED = {"bandwidth_hz": 1e6, "share": 1.0, "direction": "uplink"}


def test_cqi_efficiencies_are_those_of_the_standard() -> None:
    assert [round(efficiency, 4) for efficiency in CQI_EFFICIENCIES] == pytest.approx(
        PUBLISHED_EFFICIENCIES, abs=1.01e-4
    )


@pytest.mark.parametrize("gap_db", [0.0, 3.0, 7.0])
def test_cqi_thresholds_are_capacity_with_a_gap(gap_db: float) -> None:
    for number, threshold in enumerate(CqiTable(gap_db=gap_db).thresholds):
        capacity = math.log2(1 + threshold / db_to_linear(gap_db))
        assert capacity == pytest.approx(PUBLISHED_EFFICIENCIES[number], abs=1e-4)


def test_default_cqi_thresholds_lie_where_simulators_have_them() -> None:
    ours_db = np.array([linear_to_db(threshold) for threshold in CqiTable().thresholds])
    above_db = np.array(COMMON_THRESHOLDS_DB) - ours_db
    assert np.abs(above_db[:6]).max() <= 0.3
    # Theirs leave 16QAM and 64QAM more room.
    assert above_db.min() >= -0.3
    assert above_db.max() <= 3.1


def test_given_thresholds_replace_those_from_the_gap() -> None:
    table = CqiTable(thresholds_db=COMMON_THRESHOLDS_DB)
    for number, level_db in enumerate(COMMON_THRESHOLDS_DB, start=1):
        assert table.cqi(db_to_linear(level_db)) == number
        assert table.cqi(db_to_linear(level_db - 1e-9)) == number - 1
    with pytest.raises(ConfigError, match=r"thresholds_db = .* must be 15 ascending numbers"):
        CqiTable(thresholds_db=COMMON_THRESHOLDS_DB[::-1])
    with pytest.raises(ConfigError, match=r"thresholds_db = .* must be 15 ascending numbers"):
        CqiTable(thresholds_db=(1.0,))


def test_the_highest_row_is_sent_that_the_snr_allows() -> None:
    rate = CqiRate()
    for number, threshold in enumerate(rate.table.thresholds):
        at, above = (rate.rate_bps(snr, **ASKED) / 1e6 for snr in (threshold, threshold * 1.001))
        assert at == above == CQI_EFFICIENCIES[number]
    assert rate.rate_bps(1e9, **ASKED) == 1e6 * CQI_EFFICIENCIES[-1]


def test_below_the_table_the_first_row_is_repeated_until_its_energy_suffices() -> None:
    rate, first = CqiRate(), CqiTable().thresholds[0]
    for repeats in (2.0, 10.0, 1e6):
        rate_bps = rate.rate_bps(first / repeats, **ASKED)
        assert rate_bps == pytest.approx(1e6 * CQI_EFFICIENCIES[0] / repeats)


RATES = [
    ShannonRate(),
    ShannonRate(gap_db=4.0, cap_bps_per_hz=3.0),
    CqiRate(),
    CqiRate(table=CqiTable(gap_db=5.0)),
    NrRate(),
    NrRate(numerology=3, frequency_range="FR2", layers=4),
]


@pytest.mark.parametrize("rate", RATES, ids=repr)
@pytest.mark.parametrize("share", [1.0, 1 / 7])
def test_what_is_sent_at_a_known_snr_loses_at_most_ten_percent(rate: CqiRate, share: float) -> None:
    bandwidth_hz = 100e6
    snrs = db_to_linear(1.0) ** np.linspace(-20, 40, 601)
    asked = {"bandwidth_hz": bandwidth_hz, "direction": "uplink"}
    rates_bps = np.array([rate.rate_bps(float(snr), share=share, **asked) for snr in snrs])
    needed = rate.needed_snr(rates_bps, shares=np.full(len(snrs), share), **asked)
    assert (needed <= snrs).all()
    for decade_db in (0.0, 0.5, 3.0):
        errors = Bler(decade_db=decade_db).error("ue0", snr=snrs, needed=needed, times_s=snrs, key=KEY)
        assert errors.max() <= 0.1 + 1e-6
    # And it is what was chosen that needs it: a tenth of a decibel less is not enough.
    falls_short = Bler(decade_db=0.0).error("ue0", snr=needed * 0.977, needed=needed, times_s=snrs, key=KEY)
    assert (falls_short == 1.0).all()


@pytest.mark.parametrize("gap_db", [0.0, 2.0, 6.5])
def test_a_gap_costs_its_decibels_and_a_cap_cuts(gap_db: float) -> None:
    rate = ShannonRate(gap_db=gap_db, cap_bps_per_hz=5.0)
    for level_db in (-30.0, 0.0, 10.0):
        capacity = 1e6 * math.log2(1 + 10 ** ((level_db - gap_db) / 10))
        assert rate.rate_bps(db_to_linear(level_db), **ASKED) == pytest.approx(capacity)
    assert rate.rate_bps(1e6, **ASKED) == 5e6


def test_one_rate_for_all_asks_for_its_own_snr() -> None:
    rate = FixedRate(bps_per_hz=2.0, gap_db=10.0)
    assert rate.rate_bps(1e-3, **ASKED) == 2e6
    rates_bps, shares = np.array([2e6, 1e6]), np.array([1.0, 0.5])
    needed = rate.needed_snr(rates_bps, bandwidth_hz=1e6, shares=shares, direction="uplink")
    assert needed == pytest.approx([30.0, 30.0])


@pytest.mark.parametrize(
    ("settings", "bandwidth_hz", "direction", "mbps"),
    [
        # 51 blocks of 30 kHz subcarriers, 64QAM, one layer.
        ({"numerology": 1}, 20e6, "downlink", 81.86),
        ({"numerology": 1}, 20e6, "uplink", 87.57),
        # The same formula by hand: v * 5.5547 * 12 N * 14 * 2^mu / ms * (1 - OH).
        ({"numerology": 0}, 10e6, "uplink", 5.5547 * 12 * 52 * 14e3 * 0.92 / 1e6),
        ({"numerology": 1, "layers": 2}, 100e6, "downlink", 2 * 5.5547 * 12 * 273 * 28e3 * 0.86 / 1e6),
        (
            {"numerology": 3, "frequency_range": "FR2"},
            100e6,
            "downlink",
            5.5547 * 12 * 66 * 112e3 * 0.82 / 1e6,
        ),
        ({"numerology": 0, "blocks": 1, "overhead": 0.0}, 180e3, "uplink", 5.5547 * 12 * 14e3 / 1e6),
    ],
)
def test_nr_peak_rate_is_the_formula_of_ts_38_306(
    settings: dict[str, object], bandwidth_hz: float, direction: str, mbps: float
) -> None:
    rate = NrRate(**settings)
    rate.check(bandwidth_hz)
    asked = {"bandwidth_hz": bandwidth_hz, "direction": direction}
    assert rate.rate_bps(1e9, share=1.0, **asked) / 1e6 == pytest.approx(mbps, rel=1e-4)
    assert rate.rate_bps(1e9, share=0.3, **asked) / 1e6 == pytest.approx(0.3 * mbps, rel=1e-4)


@pytest.mark.parametrize(
    ("frequency_range", "numerology", "blocks"),
    [
        ("FR1", 0, {5: 25, 10: 52, 15: 79, 20: 106, 25: 133, 30: 160, 40: 216, 50: 270}),
        ("FR1", 1, {5: 11, 10: 24, 20: 51, 40: 106, 50: 133, 60: 162, 80: 217, 100: 273}),
        ("FR1", 2, {10: 11, 15: 18, 20: 24, 40: 51, 60: 79, 80: 107, 100: 135}),
        ("FR2", 2, {50: 66, 100: 132, 200: 264}),
        ("FR2", 3, {50: 32, 100: 66, 200: 132, 400: 264}),
    ],
)
def test_resource_blocks_are_those_of_the_standard_and_leave_guards(
    frequency_range: str, numerology: int, blocks: dict[int, int]
) -> None:
    for width_mhz, count in blocks.items():
        rate = NrRate(numerology=numerology, frequency_range=frequency_range)
        asked = {"numerology": numerology, "frequency_range": frequency_range}
        assert resource_blocks(width_mhz * 1e6, **asked) == count
        rate.check(width_mhz * 1e6)
        # All but the guards: 78 % in the narrowest channels, 98 % in the widest.
        assert 0.78 <= rate.occupied_hz(width_mhz * 1e6) / (width_mhz * 1e6) <= 0.984


def test_a_channel_that_nr_has_not_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"bandwidth_hz = 1000000.0 is no channel of FR1 .* 20, 25.* MHz"):
        Wireless(rate=NrRate(), bandwidth_hz=1e6)
    with pytest.raises(ConfigError, match=r"blocks = 2 must be at most what fits .* 720000.0 Hz"):
        Wireless(rate=NrRate(blocks=2), bandwidth_hz=700e3)
    with pytest.raises(ConfigError, match=r"numerology = 3 must be 0, 1 or 2 in FR1"):
        NrRate(numerology=3)


def test_power_and_noise_are_those_of_the_blocks_without_the_guards() -> None:
    asked = {"share": 1.0, "block": 0, "time_s": 0.0}
    whole, blocks = (
        at_snr(10.0, bandwidth_hz=20e6, rate=rate).snr("ue0", **asked) for rate in (ShannonRate(), NrRate())
    )
    assert blocks / whole == pytest.approx(20e6 / (51 * 12 * 30e3))


def test_interference_adds_to_the_noise() -> None:
    asked = {"share": 0.5, "block": 0, "time_s": 0.0}
    quiet, busy = (
        at_snr(10.0, interference_dbm_per_hz=level) for level in (None, -174.0 + 10 * math.log10(3.0))
    )
    assert quiet.snr("ue0", **asked) / busy.snr("ue0", **asked) == pytest.approx(4.0)


@pytest.mark.parametrize("snr_db", [5.0, 15.0])
def test_adaptation_to_an_independent_channel_fails_as_the_double_integral_says(snr_db: float) -> None:
    # The report is of a block that has nothing to do with the present one; nothing needs less than its row.
    mean = db_to_linear(snr_db)
    thresholds = np.array(CqiTable().thresholds)
    chosen = np.exp(-thresholds / mean) - np.append(np.exp(-thresholds[1:] / mean), 0.0)
    fails = -np.expm1(-thresholds / mean)
    # Below the table what is sent needs the reported SNR x itself: the integral of (1 - e^-u) e^-u to u = first / mean.
    below = -math.expm1(-thresholds[0] / mean)
    expected = float(chosen @ fails) + below**2 / 2
    blocks, coherence_s = 10_000, 1.0
    fading = Rayleigh(block="time", coherence_s=coherence_s)
    for delay_s, probability in ((10.0, expected), (0.0, 0.0)):
        link = at_snr(
            snr_db,
            fading=fading,
            rate=CqiRate(report_delay_s=delay_s),
            loss=Bler(decade_db=0.0),
            retransmission=NoRetransmission(),
        )
        begins_s = 20.5 + coherence_s * np.arange(blocks)
        rates_bps = np.array([link.rate_bps("ue0", share=1.0, block=0, time_s=t) for t in begins_s])
        is_lost, _ = link.lost("ue0", sent(begins_s, rates_bps))
        assert is_lost.mean() == pytest.approx(probability, abs=frequency(probability, blocks))
