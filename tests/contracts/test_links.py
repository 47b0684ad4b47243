"""What every link model keeps to, and what its settings promise."""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from claims.radio import skipping_sionna
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import (
    FADINGS,
    INTERFERENCES,
    LINKS,
    LOSSES,
    PATHS,
    POWER_CONTROLS,
    RATES,
    RETRANSMISSIONS,
    Bler,
    Cell,
    ChannelLink,
    Constant,
    CqiRate,
    FixedRate,
    FlatLink,
    Fractional,
    FullPower,
    GilbertElliott,
    InH,
    InterferenceLevel,
    LinkModel,
    Links,
    Neighbours,
    NrRate,
    Packet,
    RandomWaypoint,
    RateTrace,
    Rayleigh,
    Shannon,
    ShannonRate,
    Sionna,
    TargetSnr,
    UMa,
    UMi,
    Waterfall,
    Wireless,
)
from syft_fl.schema import Registry, plain
from syft_fl.units import dbm_to_watt

CELL = Cell()
TIMED = Rayleigh(block="time", coherence_s=0.1)
KEY = Key(11)
DIRECTIONS = ("uplink", "downlink")
TRACE = RateTrace(times_s=(5.0, 5.5, 8.0), rates_bps=(1e6, 3e6, 2e6))
# A trace has no default: it is a file, or given.
MODELS = [LINKS.build(kind) for kind in LINKS.kinds() if kind != "trace"] + [
    TRACE,
    RateTrace(times_s=(0.0, 0.1), rates_bps=(1e6, 3e6), end="hold"),
    RateTrace(times_s=(-3.0,), rates_bps=(4e5,)),
    Wireless(
        rate=ShannonRate(gap_db=2.0, cap_bps_per_hz=6.0, report_delay_s=0.03), fading=TIMED, loss=Packet()
    ),
    Wireless(rate=CqiRate(report_delay_s=0.017), fading=TIMED, loss=Bler(), interference_dbm_per_hz=-170.0),
    Wireless(rate=NrRate(), bandwidth_hz=20e6, path=UMi(), loss=GilbertElliott(), noise_figure_db=7.0),
    Wireless(rate=FixedRate(), loss=Waterfall(), latency_s=0.01),
    Wireless(power_control=Fractional()),
    Wireless(power_control=Fractional(alpha=1.0), fading=TIMED, interference=Neighbours(load=0.5)),
    Wireless(power_control=TargetSnr(), rate=CqiRate(report_delay_s=0.017), fading=TIMED, loss=Bler()),
    Wireless(
        power_control=TargetSnr(inversion="instantaneous"), interference=InterferenceLevel(dbm_per_hz=-165.0)
    ),
    Wireless(
        power_control=TargetSnr(inversion="instantaneous"),
        rate=ShannonRate(report_delay_s=0.03),
        fading=TIMED,
        interference=Neighbours(block="time", block_s=0.07),
    ),
    Wireless(interference=Neighbours(rings=2, load=0.7)),
    Wireless(interference=Neighbours(block="time", block_s=0.07, power_dbm=23.0), path=UMi()),
    Constant(rate_bps=3e5, latency_s=0.1),
    Shannon(fading_block="time", coherence_s=0.1),
    Shannon(fading="none", latency_s=0.002),
    Shannon(power_dbm=-200.0),
    Sionna(path=UMa(), block="time", coherence_s=0.3, mcs_table="256qam", bler_target=0.01),
    Sionna(power_dbm=-150.0, numerology=0, bandwidth_hz=5e6),
]


def is_controlled(model: LinkModel) -> bool:
    """Whether power is other than all: in the uplink alone."""
    return isinstance(model, Wireless) and not isinstance(model.power_control, FullPower)


UPLINKS = [m for m in MODELS if is_controlled(m)]
BOTH_WAYS = [(m, d) for m in MODELS for d in DIRECTIONS if d == "uplink" or not is_controlled(m)]
FADING = [m for m in MODELS if isinstance(m, Shannon) and m.fading != "none"]

every_model = pytest.mark.parametrize("model", skipping_sionna(MODELS), ids=repr)
every_link = pytest.mark.parametrize(("model", "direction"), skipping_sionna(BOTH_WAYS), ids=repr)
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


@every_link
@settings(max_examples=20, deadline=None)
@given(asked=questions)
def test_rates_depend_neither_on_the_order_nor_on_the_number_of_questions(
    model: LinkModel, asked: list[tuple[str, float, int, float]], direction: str
) -> None:
    once = answers(model, asked, direction)
    assert answers(model, asked[::-1], direction)[::-1] == once
    assert answers(model, asked * 2, direction) == once * 2
    assert [answers(model, [question], direction)[0] for question in asked] == once


@every_link
def test_rates_are_positive_and_a_share_never_beats_the_whole_band(model: LinkModel, direction: str) -> None:
    link = model.link(CELL, KEY, direction)
    for ue in ("ue0", "ue1", "ue2"):
        for block in range(20):
            asked = {"block": block, "time_s": 0.1 * block}
            rates = [link.rate_bps(ue, share=share, **asked) for share in (0.001, 0.1, 0.5, 1.0)]
            assert all(0 < rate < math.inf for rate in rates)
            # In the noise capacity goes with power alone: equal up to rounding. The rows of a table are no capacity: a
            # share, in which the power is denser, may reach a row that more than makes up for its width.
            by_rows = isinstance(getattr(model, "rate", None), CqiRate | NrRate) or isinstance(model, Sionna)
            assert by_rows or all(a <= b * (1 + 1e-9) for a, b in pairwise(rates))


@every_link
@settings(max_examples=20, deadline=None)
@given(time_s=st.floats(0, 1e6))
def test_rates_and_powers_are_steady_until_the_time_that_the_link_names(
    model: LinkModel, direction: str, time_s: float
) -> None:
    link = model.link(CELL, KEY, direction)
    until_s = link.steady_until_s(time_s=time_s)
    assert until_s > time_s
    asked = {"share": 1.0, "block": 0}
    rate_bps = link.rate_bps("ue0", time_s=time_s, **asked)
    last_s = math.nextafter(min(until_s, 1e9), 0.0)
    assert link.rate_bps("ue0", time_s=last_s, **asked) == rate_bps
    power_w = link.transmit_power_w("ue0", time_s=time_s, **asked)
    assert link.transmit_power_w("ue0", time_s=last_s, **asked) == power_w
    # Two channels may have the same row of a table, or be beyond the same cap.
    if math.isfinite(until_s) and not isinstance(model, Wireless | Sionna):
        assert link.rate_bps("ue0", share=1.0, block=0, time_s=until_s) != rate_bps


@given(coherence_s=st.floats(1e-4, 10), start_s=st.floats(0, 1e5))
def test_stepping_from_block_to_block_skips_none(coherence_s: float, start_s: float) -> None:
    link = Shannon(fading_block="time", coherence_s=coherence_s).link(CELL, KEY, "uplink")
    edge_s = link.steady_until_s(time_s=start_s)
    for _ in range(20):
        next_s = link.steady_until_s(time_s=edge_s)
        assert next_s - edge_s == pytest.approx(coherence_s, rel=1e-5)
        edge_s = next_s


@pytest.mark.parametrize("model", [m for m in MODELS if not is_controlled(m)], ids=repr)
def test_uplink_power_stays_whole_and_downlink_power_is_split(model: LinkModel) -> None:
    uplink, downlink = (model.link(CELL, KEY, direction) for direction in DIRECTIONS)
    whole_w = uplink.transmit_power_w("ue0", share=1.0, block=0, time_s=0.0)
    assert downlink.transmit_power_w("ue0", share=1.0, block=0, time_s=0.0) == whole_w > 0
    assert uplink.transmit_power_w("ue0", share=0.25, block=0, time_s=0.0) == whole_w
    assert downlink.transmit_power_w("ue0", share=0.25, block=0, time_s=0.0) == whole_w / 4


@pytest.mark.parametrize("model", UPLINKS, ids=repr)
def test_controlled_power_is_at_most_all_and_the_uplinks_alone(model: Wireless) -> None:
    link = model.link(CELL, KEY, "uplink")
    most_w = dbm_to_watt(model.power_dbm)
    for number in range(50):
        powers_w = [
            link.transmit_power_w(f"ue{number}", share=share, block=number, time_s=0.3 * number)
            for share in (0.001, 0.1, 1.0)
        ]
        assert 0 < powers_w[0] <= powers_w[1] <= powers_w[2] <= most_w
    kind = model.power_control.kind
    with pytest.raises(ConfigError, match=f"power_control = '{kind}' must be 'full' in the downlink"):
        model.link(CELL, KEY, "downlink")


@every_link
def test_the_ratio_is_what_is_received_over_noise_and_interference(model: LinkModel, direction: str) -> None:
    link = model.link(CELL, KEY, direction)
    if not isinstance(link, ChannelLink):
        assert isinstance(model, Constant | RateTrace)
        return
    for number in range(20):
        asked = {"block": number, "time_s": 0.11 * number}
        shared = {"share": 0.3, **asked}
        gain = link.mean_gain("ue1", time_s=asked["time_s"]) * link.fading_gain("ue1", **asked)
        received_w = link.transmit_power_w("ue1", **shared) * gain
        assert link.snr("ue1", **shared) == pytest.approx(received_w / link.noise_w("ue1", **shared))


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


FIELDS = {
    "rate": RATES,
    "loss": LOSSES,
    "retransmission": RETRANSMISSIONS,
    "path": PATHS,
    "fading": FADINGS,
    "power_control": POWER_CONTROLS,
    "interference": INTERFERENCES,
}
PARTS = [(field, kind) for field, registry in FIELDS.items() for kind in registry.kinds()]
# What a kind needs to be said.
NEEDED = {"level": {"dbm_per_hz": -170.0}}


@pytest.mark.parametrize(("field", "kind"), PARTS)
def test_every_part_of_a_radio_survives_a_file_and_makes_a_link(field: str, kind: str) -> None:
    registry = FIELDS[field]
    part = registry.build({"kind": kind, **NEEDED.get(kind, {})})
    assert registry.build(json.loads(json.dumps(plain(part)))) == part
    model = Wireless(bandwidth_hz=20e6, **{field: part})
    assert LINKS.build(json.loads(json.dumps(plain(model)))) == model
    # In a cell that suits every path model.
    link = model.link(Cell(radius_m=100.0), KEY, "uplink")
    assert link.rate_bps("ue0", share=1.0, block=0, time_s=0.0) > 0


@pytest.mark.parametrize("kind", LOSSES.kinds())
def test_losses_are_probabilities_of_the_packet_alone(kind: str) -> None:
    loss, n = LOSSES.build(kind), 200
    snr, needed, times_s = (KEY / kind).numpy().exponential(size=(3, n)) * [[10.0], [10.0], [1.0]]

    def errors(at: slice | list[int]) -> list[float]:
        asked = {"snr": snr[at], "needed": needed[at], "times_s": times_s[at]}
        return list(loss.error("ue0", key=KEY, **asked))

    whole = errors(slice(None))
    assert all(0 <= error <= 1 for error in whole)
    assert errors(slice(None, None, -1)) == whole[::-1]
    assert [errors([k])[0] for k in range(n)] == whole
    assert errors([]) == []


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
        ("wireless", "power_dbm", -301.0),
        ("wireless", "bandwidth_hz", math.inf),
        ("wireless", "noise_figure_db", -0.1),
        ("wireless", "interference_dbm_per_hz", math.nan),
        ("wireless", "latency_s", -1.0),
        ("trace", "path", ""),
        ("sionna", "power_dbm", 301.0),
        ("sionna", "bandwidth_hz", 1e6),
        ("sionna", "noise_figure_db", 101.0),
        ("sionna", "latency_s", math.inf),
        ("sionna", "coherence_s", 0.0),
        ("sionna", "bler_target", 1.0),
        ("sionna", "mcs_table", "16qam"),
        ("sionna", "path", {"kind": "free-space"}),
    ],
)
def test_wrong_settings_are_refused_by_name(kind: str, field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{field} = "):
        LINKS[kind](**{field: value})


@pytest.mark.parametrize(
    ("registry", "kind", "field", "value"),
    [
        (POWER_CONTROLS, "fractional", "alpha", 1.1),
        (POWER_CONTROLS, "fractional", "alpha", -0.1),
        (POWER_CONTROLS, "fractional", "p0_dbm", 301.0),
        (POWER_CONTROLS, "fractional", "block_hz", 0.0),
        (POWER_CONTROLS, "target-snr", "snr_db", math.nan),
        (POWER_CONTROLS, "target-snr", "inversion", "sometimes"),
        (INTERFERENCES, "level", "dbm_per_hz", -301.0),
        (INTERFERENCES, "neighbours", "rings", 0),
        (INTERFERENCES, "neighbours", "rings", 6),
        (INTERFERENCES, "neighbours", "inter_site_m", 0.0),
        (INTERFERENCES, "neighbours", "load", 1.01),
        (INTERFERENCES, "neighbours", "load", -0.01),
        (INTERFERENCES, "neighbours", "power_dbm", math.inf),
        (INTERFERENCES, "neighbours", "block", "slot"),
        (INTERFERENCES, "neighbours", "block_s", 0.0),
    ],
)
def test_wrong_settings_of_parts_are_refused_by_name(
    registry: Registry, kind: str, field: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=f"{field} = "):
        registry.build({"kind": kind, field: value})


def test_interference_is_said_once() -> None:
    with pytest.raises(
        ConfigError, match=r"interference_dbm_per_hz = -170.0 must be left out where interference"
    ):
        Wireless(interference_dbm_per_hz=-170.0, interference=Neighbours())


def test_neighbours_that_suit_neither_cell_nor_path_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"interference.inter_site_m = 20.0 must be more than twice .* = 10.0"
    ):
        Wireless(interference=Neighbours(inter_site_m=20.0)).link(CELL, KEY, "uplink")
    far = Wireless(interference=Neighbours(rings=2, inter_site_m=2500.0), path=UMi())
    for direction, distance in (("uplink", "6443.38"), ("downlink", "5500")):
        message = (
            rf"inter_site_m = 2500.0 with rings = 2 brings signals from {distance} m away: .* at most 5000"
        )
        with pytest.raises(ConfigError, match=message):
            far.link(CELL, KEY, direction)


def test_wireless_of_default_parts_is_the_shannon_link_draw_by_draw() -> None:
    for parts, whole in (
        (Wireless(), Shannon()),
        (
            Wireless(fading=TIMED, noise_figure_db=5.0),
            Shannon(fading_block="time", coherence_s=0.1, noise_figure_db=5.0),
        ),
    ):
        asked = [(f"ue{k}", share, k % 3, 0.07 * k) for k in range(20) for share in (1.0, 0.1)]
        for direction in DIRECTIONS:
            assert answers(parts, asked, direction) == answers(whole, asked, direction)


@pytest.mark.parametrize("delay_s", [0.1, 0.017, 1 / 3, 1e-6, 7.3])
@settings(max_examples=30, deadline=None)
@given(time_s=st.floats(0, 1e5))
def test_a_sender_that_knows_of_the_channel_late_sends_at_the_rate_of_before(
    delay_s: float, time_s: float
) -> None:
    prompt, late = (
        Wireless(fading=TIMED, rate=ShannonRate(report_delay_s=d)).link(CELL, KEY, "uplink")
        for d in (0.0, delay_s)
    )
    # Edge by edge, so that rounding at the very edges would be seen.
    for _ in range(5):
        asked = {"share": 1.0, "block": 0}
        before_s = max(time_s - delay_s, 0.0)
        assert late.rate_bps("ue0", time_s=time_s, **asked) == prompt.rate_bps(
            "ue0", time_s=before_s, **asked
        )
        until_s = late.steady_until_s(time_s=time_s)
        last_s = math.nextafter(until_s, 0.0)
        rate_bps = late.rate_bps("ue0", time_s=time_s, **asked)
        assert late.rate_bps("ue0", time_s=last_s, **asked) == rate_bps
        assert late.rate_bps("ue0", time_s=until_s, **asked) != rate_bps
        time_s = until_s


def test_the_mean_gain_follows_a_ue_that_moves_and_holds_for_a_step() -> None:
    cell = Cell(placement=RandomWaypoint(step_s=2.0))
    link = Wireless(fading=Rayleigh(block="round")).link(cell, KEY, "uplink")
    rates = [link.rate_bps("ue0", share=1.0, block=0, time_s=t) for t in (0.0, 1.9, 200.0, 0.5)]
    assert rates[0] == rates[1] == rates[3] != rates[2]
    assert link.steady_until_s(time_s=3.0) == 4.0


def test_a_trace_steps_and_repeats_or_holds() -> None:
    def rates(model: RateTrace) -> list[float]:
        link = model.link(CELL, KEY, "uplink")
        times_s = (0.0, 0.49, 0.5, 2.99, 3.0, 5.49, 5.5, 6.0, 8.5)
        return [link.rate_bps("ue0", share=0.5, block=0, time_s=t) / 5e5 for t in times_s]

    # The third row is as long as the second: 2.5 s; the whole, 5.5 s.
    assert rates(TRACE) == [1, 1, 3, 3, 2, 2, 1, 3, 2]
    held = RateTrace(times_s=TRACE.times_s, rates_bps=TRACE.rates_bps, end="hold")
    assert rates(held) == [1, 1, 3, 3, 2, 2, 2, 2, 2]
    link = held.link(CELL, KEY, "uplink")
    assert [link.steady_until_s(time_s=t) for t in (0.2, 0.5, 3.0)] == [0.5, 3.0, math.inf]


def test_a_trace_is_read_from_a_table_of_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("rate_bps,time_s,cell\n1e6,5,a\n3e6,5.5,a\n2e6,8,b\n")
    file, given = (model.link(CELL, KEY, "uplink") for model in (RateTrace(path=str(path)), TRACE))
    for time_s in (0.0, 0.5, 4.0, 77.7):
        asked = {"share": 1.0, "block": 0, "time_s": time_s}
        assert file.rate_bps("ue0", **asked) == given.rate_bps("ue0", **asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,rate\n0,1\n", r"has the columns \['time', 'rate'\]; it must have time_s and rate_bps"),
        ("time_s,rate_bps\n0,1\n1,fast\n", r"line 3: time_s and rate_bps must be numbers"),
        ("time_s,rate_bps\n0\n", r"line 2: time_s and rate_bps must be numbers"),
        ("time_s,rate_bps\n0,1\n0,2\n", r"times_s\[1\] = 0.0 must be after the time before it"),
        ("time_s,rate_bps\n0,1\n1,-2\n", r"rates_bps\[1\] = -2.0 must be at least 0"),
        ("time_s,rate_bps\n0,0\n1,0\n", "above 0 somewhere"),
        ("time_s,rate_bps\n", "at least one"),
        ("", "has the columns"),
    ],
)
def test_a_trace_that_is_no_table_of_rates_is_refused_by_name(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"path = .*rates.csv'.*{message}"):
        RateTrace(path=str(path)).link(CELL, KEY, "uplink")


def test_a_trace_is_a_file_or_given_and_the_file_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"path = 'a.csv' must be the name of a CSV file, and times_s"):
        RateTrace(path="a.csv", times_s=(0.0,), rates_bps=(1.0,))
    with pytest.raises(ConfigError, match=r"no.csv' can't be read"):
        RateTrace(path=str(tmp_path / "no.csv")).link(CELL, KEY, "uplink")


@every_model
@settings(max_examples=15)
@given(asked=questions)
def test_many_ues_at_once_get_what_each_gets_alone(
    model: LinkModel, asked: list[tuple[str, float, int, float]]
) -> None:
    link = model.link(CELL, KEY, "uplink")
    _, share, _, time_s = asked[0]
    ues, blocks = [ue for ue, _, _, _ in asked], [block for _, _, block, _ in asked]
    together = {"share": share, "blocks": blocks, "time_s": time_s}
    alone = [{"share": share, "block": block, "time_s": time_s} for block in blocks]
    each = list(zip(ues, alone, strict=True))
    many = Links(link)
    for method, one in (("rates_bps", link.rate_bps), ("powers_w", link.transmit_power_w)):
        found = getattr(many, method)(ues, **together)
        np.testing.assert_allclose(found, [one(ue, **at) for ue, at in each], rtol=1e-12)
    if isinstance(link, FlatLink):
        np.testing.assert_allclose(
            link.snrs(ues, **together), [link.snr(ue, **at) for ue, at in each], rtol=1e-12
        )
        if link.report_delay_s == 0:
            snrs = link.snrs(ues, **together)
            rates_bps = link.rates_at_bps(snrs, share=share)
            np.testing.assert_allclose(rates_bps, many.rates_bps(ues, **together), rtol=1e-12)


def test_without_sionna_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sionna", None)
    monkeypatch.setitem(sys.modules, "sionna.sys", None)
    with pytest.raises(
        ConfigError, match=r"kind = 'sionna' must have Sionna .*pip install 'syft_fl\[radio\]'"
    ):
        Sionna().link(CELL, KEY, "uplink")


def test_a_cell_that_does_not_suit_the_scenario_is_refused_before_sionna_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"cell.radius_m = 500.0 must be at most"):
        Sionna(path=InH()).link(CELL, KEY, "uplink")
