"""What the survey of a cell looks at, and what its figure shows."""

import math
from typing import Any

import numpy as np
import pytest

from syft_fl.errors import ConfigError
from syft_fl.experiment import load_scenario, parse, preview
from syft_fl.experiment.cell_survey import BLOCKS, MOST_UES, survey_cell
from syft_fl.keys import Key
from syft_fl.plots import map_and_rates
from syft_fl.radio import Hexagon

WIRELESS: dict[str, Any] = {"kind": "wireless", "fading": {"kind": "rayleigh"}}


def _scenario(uplink: dict[str, Any], **tables: Any) -> Any:
    return parse({"uplink": uplink, "population": {"ues": 4}, **tables}).base


def test_ues_stand_and_fade_as_in_a_run() -> None:
    scenario = _scenario({"link": WIRELESS}, seed=5)
    survey = survey_cell(scenario)
    link = scenario.uplink.link.link(scenario.cell, Key(5) / "radio", "uplink")
    assert survey.uplink.snr is not None
    assert survey.uplink.snr.shape == survey.uplink.rates_bps.shape == (4, BLOCKS)
    asked = {"share": 1.0, "block": 7, "time_s": 0.0}
    assert survey.uplink.snr[2, 6] == link.snr("ue2", **asked)
    assert survey.uplink.rates_bps[2, 6] == link.rate_bps("ue2", **asked)
    place = scenario.cell.position_m("ue2", Key(5) / "radio")
    assert tuple(survey.positions_m[2]) == place
    assert survey.tracks_m is None


@pytest.mark.parametrize(
    ("access", "share"),
    [
        ({"kind": "tdma"}, 1.0),
        ({"kind": "ofdma", "subchannels": 12}, 1 / 12),
        ({"kind": "ofdma"}, 1 / 3),
    ],
)
def test_a_ue_has_the_part_of_the_band_that_the_access_scheme_gives_it(
    access: dict[str, Any], share: float
) -> None:
    scenario = _scenario({"link": WIRELESS, "access": access}, population={"ues": 4, "cohort": 3})
    survey = survey_cell(scenario, blocks=2)
    assert survey.uplink.share == share
    link = scenario.uplink.link.link(scenario.cell, Key(0) / "radio", "uplink")
    assert survey.uplink.rates_bps[1, 0] == link.rate_bps("ue1", share=share, block=1, time_s=0.0)


def test_a_link_without_a_channel_has_rates_only() -> None:
    survey = survey_cell(_scenario({"link": {"kind": "constant", "rate_bps": 3e6}}))
    assert survey.uplink.snr_db is None
    assert survey.uplink.rate_quantiles_bps == (3e6, 3e6, 3e6)


def test_blocks_of_a_measured_link_are_its_rows_in_turn() -> None:
    rows = {"kind": "trace", "times_s": [0.0, 1.0, 2.0], "rates_bps": [1e6, 2e6, 3e6]}
    survey = survey_cell(_scenario({"link": rows}), blocks=6)
    assert survey.uplink.rates_bps[0].tolist() == [1e6, 2e6, 3e6, 1e6, 2e6, 3e6]


def test_fading_in_time_is_looked_at_far_apart() -> None:
    slow = {"kind": "jakes", "doppler_hz": 2.0}
    snr = survey_cell(
        _scenario({"link": {"kind": "wireless", "fading": slow}}, population={"ues": 60})
    ).uplink.snr
    assert snr is not None
    gains = snr / snr.mean(axis=1, keepdims=True)
    # A period of the Doppler shift apart, J0(2 pi)^2 = 0.049 is left of the correlation of two gains.
    correlation = float(np.corrcoef(gains[:, :-1].ravel(), gains[:, 1:].ravel())[0, 1])
    assert abs(correlation) < 0.049 + 5 / math.sqrt(60 * 31)


def test_the_part_of_lost_messages_is_the_closed_form() -> None:
    lossy = WIRELESS | {
        "loss": {"kind": "packet", "probability": 0.05},
        "retransmission": {"kind": "none", "mtu_bytes": 100},
    }
    scenario = _scenario({"link": lossy}, population={"ues": 40})
    lost = survey_cell(scenario, bits=8 * 100 * 7).uplink.lost
    assert lost is not None
    expected = 1 - 0.95**7
    error = math.sqrt(expected * (1 - expected) / lost.size)
    assert float(lost.mean()) == pytest.approx(expected, abs=5 * error)
    assert survey_cell(scenario, blocks=1).uplink.lost is None
    assert survey_cell(_scenario({"link": WIRELESS}), bits=800, blocks=1).uplink.lost is None


def test_tracks_are_where_ues_go() -> None:
    scenario = load_scenario("nr-mmwave-28GHz")
    survey = survey_cell(scenario, blocks=4)
    assert survey.hexagonal
    assert survey.track_s == 300.0
    assert survey.tracks_m is not None
    assert survey.tracks_m.shape == (10, 301, 2)
    assert tuple(survey.tracks_m[3, 200]) == scenario.cell.position_m("ue3", Key(0) / "radio", 200.0)
    # Blocks are spread over the walk: line of sight comes and goes.
    link = scenario.uplink.link.link(scenario.cell, Key(0) / "radio", "uplink")
    assert survey.uplink.snr is not None
    assert survey.uplink.snr[3, 3] == link.snr("ue3", share=1.0, block=4, time_s=225.0)


def test_a_preview_has_each_radio_once() -> None:
    variants = [
        {"name": "coded", "uplink": {"codec": {"kind": "qsgd"}}},
        {"name": "elsewhere", "scenario": "leo-satellite"},
        {"name": "there too", "scenario": "leo-satellite", "uplink": {"codec": {"kind": "qsgd"}}},
    ]
    text = preview(parse({"scenario": "yang-2021", "compute": {"kind": "balance"}, "variants": variants}))
    titles = [line for line in text.splitlines() if line.startswith("# radio of ")]
    assert titles == [
        "# radio of the base scenario: 50 UEs in 32 fading blocks, each UE alone on the air",
        "# radio of elsewhere: 50 UEs in 32 fading blocks, each UE alone on the air",
    ]


def _figure(**changes: Any) -> Any:
    survey = survey_cell(_scenario({"link": WIRELESS}), blocks=8)
    return map_and_rates(**(survey.drawn("cell") | changes))


def test_the_figure_shows_every_ue_and_every_rate() -> None:
    survey = survey_cell(_scenario({"link": WIRELESS}), blocks=8)
    figure = map_and_rates(**survey.drawn("mine"))
    above, rates, bar = figure.axes
    assert above.get_title(loc="left") == "mine: 4 UEs"
    np.testing.assert_allclose(above.collections[0].get_offsets(), survey.positions_m)
    assert bar.get_ylabel() == "Median SNR, uplink [dB]"
    uplink = rates.lines[0]
    assert uplink.get_label() == "uplink"
    np.testing.assert_allclose(uplink.get_xdata()[1:-1], np.sort(survey.uplink.rates_bps.ravel()) / 1e6)
    np.testing.assert_allclose(uplink.get_ydata()[1:-1], np.arange(1, 33) / 32)
    assert rates.get_xlabel().endswith("[Mbit/s]")


def test_a_wide_cell_is_drawn_in_kilometres_and_a_hexagon_with_a_corner_east() -> None:
    above = _figure(radius_m=5000.0, hexagonal=True).axes[0]
    assert above.get_xlabel().endswith("[km]")
    corners = above.patches[0].get_path().transformed(above.patches[0].get_patch_transform()).vertices
    assert np.isclose(np.hypot(*(corners - [5.0, 0.0]).T), 0.0).any()
    assert Hexagon.kind == "hexagon"


def test_the_figure_of_a_link_without_a_channel_is_coloured_by_rate() -> None:
    survey = survey_cell(_scenario({"link": {"kind": "constant"}}, population={"ues": 1}), blocks=2)
    figure = map_and_rates(**survey.drawn("one"))
    assert figure.axes[0].get_title(loc="left") == "one: 1 UE"
    assert figure.axes[2].get_ylabel() == "Median rate, uplink [Mbit/s]"
    figure.draw_without_rendering()


@pytest.mark.parametrize("spread", [1.02, 3.0, 40.0, 1e4, 1e12])
def test_the_axis_of_rates_has_few_and_round_ticks(spread: float) -> None:
    figure = _figure(rates_bps={"uplink": np.geomspace(1e6, 1e6 * spread, 50)})
    figure.draw_without_rendering()
    rates = figure.axes[1]
    low, high = rates.get_xlim()
    ticks = [tick for tick in rates.get_xticks() if low <= tick <= high]
    assert 1 <= len(ticks) <= 7
    assert all(float(f"{tick:.2g}") == pytest.approx(tick) for tick in ticks)


def test_nothing_of_the_figure_is_cut_off_or_covered() -> None:
    survey = survey_cell(load_scenario("nr-mmwave-28GHz"), blocks=4)
    figure = map_and_rates(**survey.drawn("nr-mmwave-28GHz"))
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    drawn_in = figure.get_tightbbox(renderer)
    assert min(drawn_in.x0, drawn_in.y0) >= 0
    assert drawn_in.x1 <= figure.get_figwidth()
    assert drawn_in.y1 <= figure.get_figheight()
    title = figure.axes[0]._left_title.get_window_extent(renderer)
    legend = figure.axes[1].get_legend().get_window_extent(renderer)
    assert not title.overlaps(legend)
    assert not legend.overlaps(figure.axes[1].bbox)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"positions_m": np.zeros((3, 3))}, r"positions_m = \(3, 3\) must be \(ues, 2\)"),
        ({"colours": np.zeros(3)}, r"colours = \(3,\) must be one for each of 4 UEs"),
        ({"rates_bps": {"uplink": np.zeros((4, 8))}}, "above 0 somewhere"),
        ({"rates_bps": {}}, "above 0 somewhere"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        _figure(**changes)


def test_of_very_many_ues_the_first_are_looked_at() -> None:
    survey = survey_cell(_scenario({"link": WIRELESS}, population={"ues": 10_000, "cohort": 10}), blocks=1)
    assert survey.uplink.rates_bps.shape == (MOST_UES, 1)
    assert survey.drawn("many")["title"] == f"many: {MOST_UES} of 10000 UEs"


def test_a_survey_of_no_block_is_refused() -> None:
    with pytest.raises(ConfigError, match="blocks = 0 must be at least 1"):
        survey_cell(_scenario({"link": WIRELESS}), blocks=0)
