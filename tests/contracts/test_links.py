"""What every link model keeps to, and what its settings promise."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import LINKS, Cell, Constant, LinkModel, Shannon
from syft_fl.schema import plain

CELL = Cell()
KEY = Key(11)
DIRECTIONS = ("uplink", "downlink")
MODELS = [LINKS.build(kind) for kind in LINKS.kinds()] + [
    Constant(rate_bps=3e5, latency_s=0.1),
    Shannon(fading_block="time", coherence_s=0.1),
    Shannon(fading="none", latency_s=0.002),
    Shannon(power_dbm=-200.0),
]
FADING = [m for m in MODELS if isinstance(m, Shannon) and m.fading != "none"]

every_model = pytest.mark.parametrize("model", MODELS, ids=repr)
questions = st.lists(
    st.tuples(
        st.sampled_from(["ue0", "ue1", "ue17"]),
        st.sampled_from([1.0, 0.5, 1 / 3, 0.001]),
        st.integers(0, 3),
        st.floats(0, 100),
    ),
    min_size=1,
    max_size=8,
)


def answers(model: LinkModel, asked: list[tuple[str, float, int, float]], direction: str) -> list[float]:
    link = model.link(CELL, KEY, direction)
    return [link.rate_bps(ue, share=share, block=block, time_s=t) for ue, share, block, t in asked]


@every_model
@settings(max_examples=30)
@given(asked=questions, direction=st.sampled_from(DIRECTIONS))
def test_rates_depend_neither_on_the_order_nor_on_the_number_of_questions(
    model: LinkModel, asked: list[tuple[str, float, int, float]], direction: str
) -> None:
    once = answers(model, asked, direction)
    assert answers(model, asked[::-1], direction)[::-1] == once
    assert answers(model, asked * 2, direction) == once * 2
    assert [answers(model, [question], direction)[0] for question in asked] == once


@every_model
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_rates_are_positive_and_a_share_never_beats_the_whole_band(model: LinkModel, direction: str) -> None:
    link = model.link(CELL, KEY, direction)
    for ue in ("ue0", "ue1", "ue2"):
        for block in range(20):
            asked = {"block": block, "time_s": 0.1 * block}
            rates = [link.rate_bps(ue, share=share, **asked) for share in (0.001, 0.1, 0.5, 1.0)]
            assert all(0 < rate < math.inf for rate in rates)
            # In the noise capacity goes with power alone: equal up to rounding.
            assert all(a <= b * (1 + 1e-9) for a, b in pairwise(rates))


@every_model
@settings(max_examples=30)
@given(time_s=st.floats(0, 1e6))
def test_rates_are_steady_until_the_time_that_the_link_names(model: LinkModel, time_s: float) -> None:
    link = model.link(CELL, KEY, "uplink")
    until_s = link.steady_until_s(time_s=time_s)
    assert until_s > time_s
    rate_bps = link.rate_bps("ue0", share=1.0, block=0, time_s=time_s)
    last_s = math.nextafter(min(until_s, 1e9), 0.0)
    assert link.rate_bps("ue0", share=1.0, block=0, time_s=last_s) == rate_bps
    if math.isfinite(until_s):
        assert link.rate_bps("ue0", share=1.0, block=0, time_s=until_s) != rate_bps


@given(coherence_s=st.floats(1e-4, 10), start_s=st.floats(0, 1e5))
def test_stepping_from_block_to_block_skips_none(coherence_s: float, start_s: float) -> None:
    link = Shannon(fading_block="time", coherence_s=coherence_s).link(CELL, KEY, "uplink")
    edge_s = link.steady_until_s(time_s=start_s)
    for _ in range(20):
        next_s = link.steady_until_s(time_s=edge_s)
        assert next_s - edge_s == pytest.approx(coherence_s, rel=1e-5)
        edge_s = next_s


@every_model
def test_uplink_power_stays_whole_and_downlink_power_is_split(model: LinkModel) -> None:
    uplink, downlink = (model.link(CELL, KEY, direction) for direction in DIRECTIONS)
    whole_w = uplink.transmit_power_w(share=1.0)
    assert downlink.transmit_power_w(share=1.0) == whole_w > 0
    assert uplink.transmit_power_w(share=0.25) == whole_w
    assert downlink.transmit_power_w(share=0.25) == whole_w / 4


@every_model
def test_settings_survive_a_file(model: LinkModel) -> None:
    assert LINKS.build(json.loads(json.dumps(plain(model)))) == model


@every_model
def test_unknown_direction_is_refused(model: LinkModel) -> None:
    with pytest.raises(ConfigError, match="direction = 'sideways' must be 'uplink' or 'downlink'"):
        model.link(CELL, KEY, "sideways")


def test_constant_rate_goes_with_the_share() -> None:
    for direction in DIRECTIONS:
        link = Constant(rate_bps=6e6).link(CELL, KEY, direction)
        rates = [link.rate_bps("ue0", share=share, block=9, time_s=5.0) for share in (1.0, 0.5, 0.25)]
        assert rates == [6e6, 3e6, 1.5e6]


@pytest.mark.parametrize("share", [1.0, 0.1, 1 / 7])
def test_shannon_concentrates_power_in_the_uplink_only(share: float) -> None:
    asked = {"block": 0, "time_s": 0.0}
    model = Shannon(fading="none", bandwidth_hz=5e6)
    uplink, downlink = (model.link(CELL, KEY, direction) for direction in DIRECTIONS)
    snr = 2 ** (uplink.rate_bps("ue0", share=1.0, **asked) / 5e6) - 1
    assert uplink.rate_bps("ue0", share=share, **asked) == pytest.approx(
        share * 5e6 * math.log2(1 + snr / share)
    )
    assert downlink.rate_bps("ue0", share=share, **asked) == pytest.approx(share * 5e6 * math.log2(1 + snr))


def test_distance_and_shadowing_are_the_same_in_both_directions() -> None:
    uplink, downlink = (Shannon(fading="none").link(CELL, KEY, direction) for direction in DIRECTIONS)
    rates = [
        [link.rate_bps(f"ue{k}", share=1.0, block=0, time_s=0.0) for k in range(20)]
        for link in (uplink, downlink)
    ]
    assert rates[0] == rates[1]
    assert len(set(rates[0])) == 20


@pytest.mark.parametrize("model", FADING, ids=repr)
def test_fading_changes_with_direction_seed_ue_and_block(model: Shannon) -> None:
    # The UE stands still and has no shadow, so that only its fading can differ.
    model = LINKS.build(plain(model) | {"shadowing_db": 0.0})
    cell = Cell(distances_m=(100.0, 100.0))

    def rate_bps(ue: str = "ue0", seed: int = 1, direction: str = "uplink", number: int = 0) -> float:
        link = model.link(cell, Key(seed), direction)
        return link.rate_bps(ue, share=1.0, block=number, time_s=number * 1.0)

    drawn = [
        rate_bps(),
        rate_bps("ue1"),
        rate_bps(seed=2),
        rate_bps(direction="downlink"),
        rate_bps(number=1),
    ]
    assert len(set(drawn)) == 5


def test_round_fading_ignores_time_and_time_fading_ignores_rounds() -> None:
    per_round, per_time = (Shannon(fading_block=b).link(CELL, KEY, "uplink") for b in ("round", "time"))
    asked = [(0, 0.0), (0, 77.0), (5, 0.0)]
    first, later, other = (per_round.rate_bps("ue0", share=1.0, block=b, time_s=t) for b, t in asked)
    assert first == later != other
    first, later, other = (per_time.rate_bps("ue0", share=1.0, block=b, time_s=t) for b, t in asked)
    assert first == other != later


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("constant", "rate_bps", 0.0),
        ("constant", "rate_bps", math.inf),
        ("constant", "latency_s", -1.0),
        ("constant", "power_w", -0.1),
        ("constant", "power_w", math.nan),
        ("shannon", "power_dbm", math.inf),
        ("shannon", "power_dbm", 1e6),
        ("shannon", "bandwidth_hz", 0.0),
        ("shannon", "noise_figure_db", -1.0),
        ("shannon", "shadowing_db", -8.0),
        ("shannon", "fading", "rice"),
        ("shannon", "fading_block", "slot"),
        ("shannon", "coherence_s", 0.0),
        ("shannon", "latency_s", math.nan),
    ],
)
def test_wrong_settings_are_refused_by_name(kind: str, field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{field} = "):
        LINKS[kind](**{field: value})
