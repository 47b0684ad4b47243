import math
from dataclasses import dataclass, field, replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from syft_fl.errors import ConfigError
from syft_fl.experiment.statistics import on_grid, summary
from syft_fl.plots import (
    SINGLE_IN,
    accuracy_against,
    draw_all,
    energy_by_part,
    looks,
    participation,
    rounds_and_seconds,
    save,
    time_to_target,
    timeline,
    trigger_quantity,
)
from syft_fl.plots.participation import heard
from syft_fl.plots.style import PALETTE
from syft_fl.plots.timeline import BASE_STATION, MAX_UES, Span, spans

NAN = math.nan


@dataclass(frozen=True)
class FakeRun:
    name: str
    seed: int
    rounds: pd.DataFrame
    transfers: pd.DataFrame = field(default_factory=pd.DataFrame)
    computations: pd.DataFrame = field(default_factory=pd.DataFrame)
    decisions: pd.DataFrame = field(default_factory=pd.DataFrame)

    def energy(self):
        """Two UEs, one of them idle; the other spends 4 mJ, 2 mJ and, by its seed, 1 or 2 mJ."""
        rows = [
            {
                "round": number,
                "ue": ue,
                "transmit_j": 4e-3 * on,
                "receive_j": 2e-3 * on,
                "compute_j": on * cost_j,
            }
            for number in self.rounds["round"].iloc[1:]
            for ue, on in (("ue0", 1), ("ue1", 0))
            for cost_j in (1e-3 * (1 + self.seed),)
        ]
        frame = pd.DataFrame(rows)
        return frame.assign(total_j=frame["transmit_j"] + frame["receive_j"] + frame["compute_j"])


@dataclass(frozen=True)
class SettledRun(FakeRun):
    config: dict = field(default_factory=dict)


@dataclass(frozen=True)
class FakeComparison:
    results: tuple[FakeRun, ...]
    target_accuracy: float | None = None


def run(name, seed, *, scale_s=1.0, top=0.95, rounds=6, transfers=None):
    number = np.arange(rounds + 1)
    frame = pd.DataFrame(
        {
            "round": number,
            "latency_s": number * scale_s * (1 + 0.1 * seed),
            "accuracy": top - (top - 0.1) * 0.5**number,
            "loss": 2.0 * 0.5**number,
            "train_loss": [NAN, *(1.5 * 0.5 ** number[1:])],
            "uplink_bits": number * scale_s * 2e6,
            "downlink_bits": number * 4e6,
            "energy_j": number * scale_s * 0.01,
            "ue_energy_j": number * scale_s * 0.007,
            "downlink_transmit_energy_j": number * scale_s * 0.003,
        }
    )
    return FakeRun(name, seed, frame, pd.DataFrame() if transfers is None else transfers)


def comparison(*, seeds=3, target=0.8):
    variants = [("float32", 8.0, 0.95), ("qsgd-4", 2.0, 0.93), ("sign", 1.0, 0.7)]
    runs = [run(name, seed, scale_s=s, top=top) for name, s, top in variants for seed in range(seeds)]
    return FakeComparison(tuple(runs), target)


def sent(direction, ues, offered_s, start_s, end_s, *, round_=1, kind="model", lost=()):
    return {
        "round": round_,
        "direction": direction,
        "kind": kind,
        "ues": list(ues),
        "offered_s": offered_s,
        "start_s": start_s,
        "end_s": end_s,
        "lost": list(lost),
    }


def recorded(*rows):
    return FakeRun("float32", 0, pd.DataFrame(), pd.DataFrame(rows))


def one_round(*, ues=2, offset_s=10.0):
    """A multicast of 1 s, then uploads of 1 s, one after the other, of UEs that are done after 3, 3.5, 4, … s."""
    names = [f"ue{i}" for i in range(ues)]
    rows = [sent("downlink", names, offset_s, offset_s, offset_s + 1)]
    for i, name in enumerate(names):
        start_s = offset_s + 3 + i
        rows.append(sent("uplink", [name], offset_s + 3 + 0.5 * i, start_s, start_s + 1))
    return recorded(*rows)


def line_of(figure, name):
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == name]
    return line


def legend_names(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(
    ("x", "label", "unit"),
    [
        ("latency_s", "Simulated time [s]", 1),
        ("uplink_bits", "Sent on the uplink [Mbit]", 1e6),
        ("downlink_bits", "Sent on the downlink [Mbit]", 1e6),
        ("energy_j", "Energy of UEs and base station [J]", 1),
        ("ue_energy_j", "Battery energy of the UEs [J]", 1),
        ("downlink_transmit_energy_j", "Transmit energy of the base station [J]", 1),
        ("round", "Round", 1),
    ],
)
def test_curves_are_the_statistics_in_the_unit_of_the_label(x, label, unit):
    results = comparison().results
    figure = accuracy_against(results, x)
    assert figure.axes[0].get_xlabel() == label
    assert figure.axes[0].get_ylabel() == "Accuracy [%]"
    for name in ("float32", "qsgd-4", "sign"):
        curve = on_grid([one for one in results if one.name == name], x, "accuracy")
        line = line_of(figure, name)
        np.testing.assert_allclose(line.get_xdata(), curve[x] / unit)
        np.testing.assert_allclose(line.get_ydata(), curve["mean"])
        assert line.get_drawstyle() == "steps-post"


def test_bands_reach_from_the_smallest_to_the_largest_seed():
    results = (run("a", 0, top=0.9), run("a", 1, top=0.5))
    curve = on_grid(results, "latency_s", "accuracy")
    (band,) = accuracy_against(results).axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(curve["low"].min())
    assert heights.max() == pytest.approx(curve["high"].max())


def test_one_seed_has_no_band_and_no_word_of_seeds():
    figure = accuracy_against(comparison(seeds=1).results)
    assert not figure.axes[0].collections
    assert figure.legends[0].get_title().get_text() == ""
    assert (
        accuracy_against(comparison().results).legends[0].get_title().get_text()
        == "mean and range of 3 seeds"
    )


def test_legend_names_every_variant_and_the_target():
    figure = accuracy_against(comparison().results, target=0.8)
    assert legend_names(figure) == ["float32", "qsgd-4", "sign", "target 80 %"]
    assert set(line_of(figure, "target 80 %").get_ydata()) == {0.8}


def test_a_target_is_no_line_among_losses():
    figure = accuracy_against(comparison().results, y="train_loss", target=0.8)
    assert legend_names(figure) == ["float32", "qsgd-4", "sign"]
    assert figure.axes[0].get_ylabel() == "Training loss"


def test_a_variant_that_was_never_evaluated_says_so():
    silent = run("silent", 0)
    silent.rounds["accuracy"] = NAN
    figure = accuracy_against([run("a", 0), silent])
    assert legend_names(figure) == ["a", "silent (too few evaluations)"]


def test_a_single_evaluated_round_is_a_visible_point():
    single = run("a", 0)
    single.rounds.loc[single.rounds["round"] != 4, "accuracy"] = NAN
    line = line_of(accuracy_against([single]), "a")
    known = ~np.isnan(line.get_ydata())
    assert line.get_xdata()[known].tolist() == [4.0]
    assert line.get_marker() == "o"
    assert np.flatnonzero(known)[0] % line.get_markevery() == 0


def test_unknown_axes_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="latency_s, uplink_bits"):
        accuracy_against([run("a", 0)], "wall_s")
    with pytest.raises(ConfigError, match="train_loss"):
        accuracy_against([run("a", 0)], y="cohort")


def test_a_logarithmic_axis_shows_every_variant():
    figure = accuracy_against(comparison().results, "uplink_bits", log_x=True)
    assert figure.axes[0].get_xscale() == "log"
    assert 0 < figure.axes[0].get_xlim()[0] <= 2.0  # the first upload of the cheapest variant


def test_twelve_variants_all_differ_without_colour():
    pairs = {(str(look.linestyle), look.marker) for look in looks(map(str, range(12))).values()}
    assert len(pairs) == 12


def test_a_variant_has_one_colour_in_all_figures():
    whole = comparison()
    same = looks(one.name for one in whole.results)
    some = [one for one in whole.results if one.name == "sign"]
    curve = line_of(accuracy_against(some, variant_looks=same), "sign")
    bars = time_to_target(whole, variant_looks=same).axes[0].patches
    assert curve.get_color() == same["sign"].color == PALETTE[2]
    assert [bar.get_facecolor()[:3] for bar in bars[:2]] == [to_rgba(color)[:3] for color in PALETTE[:2]]
    assert bars[2].get_edgecolor() == to_rgba(PALETTE[2])


def test_bars_are_as_long_as_the_mean_times_of_the_summary():
    whole = comparison()
    figure = time_to_target(whole)
    frame = summary(whole)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(widths[:2], frame["time_to_target_s"].iloc[:2])
    assert figure.axes[0].get_xlabel() == "Simulated time to 80 % accuracy [s]"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["float32", "qsgd-4", "sign"]


def test_whiskers_are_the_interval_of_the_summary():
    whole = comparison()
    row = summary(whole).loc["float32"]
    whiskers = time_to_target(whole).axes[0].collections[0].get_segments()[0][:, 0]
    half_s = row["time_to_target_half_width_s"]
    np.testing.assert_allclose(whiskers, [row["time_to_target_s"] - half_s, row["time_to_target_s"] + half_s])


def test_a_variant_that_never_gets_there_is_an_open_bar_to_the_end_of_its_run():
    figure = time_to_target(comparison())
    bar = figure.axes[0].patches[2]
    assert bar.get_width() == pytest.approx(6.0)  # seed 0 ends first, after 6 rounds of 1 s
    assert bar.get_hatch()
    assert bar.get_facecolor() == to_rgba("white")
    assert texts(figure)[2] == "not reached"


def test_a_variant_that_gets_there_with_some_seeds_says_with_how_many_it_did_not():
    runs = (run("a", 0, scale_s=2.0), run("a", 1, scale_s=3.0, top=0.5), run("a", 2, scale_s=2.0, top=0.5))
    figure = time_to_target(FakeComparison(runs, 0.8))
    assert texts(figure) == ["not reached (2 of 3)"]
    assert figure.axes[0].patches[0].get_width() == pytest.approx(6 * 2.0 * 1.2)


def test_one_seed_has_a_bar_without_whiskers():
    axes = time_to_target(comparison(seeds=1)).axes[0]
    assert not axes.collections
    assert not axes.lines


def test_bars_need_a_target():
    with pytest.raises(ConfigError, match="target_accuracy"):
        time_to_target(comparison(target=None))


def test_a_ue_receives_computes_waits_and_sends_without_a_gap():
    found = spans(one_round().transfers, 1)
    assert [span for span in found if span.party == "ue0"] == [
        Span("ue0", "downlink", 10, 11),
        Span("ue0", "uplink", 13, 14),
        Span("ue0", "compute", 11, 13),
    ]
    mine = sorted((span for span in found if span.party == "ue1"), key=lambda span: span.start_s)
    assert [(span.activity, span.start_s, span.end_s) for span in mine] == [
        ("downlink", 10, 11),
        ("compute", 11, 13.5),
        ("wait", 13.5, 14),
        ("uplink", 14, 15),
    ]


def test_the_base_station_is_there_for_every_transmission_once():
    found = [span for span in spans(one_round().transfers, 1) if span.party == BASE_STATION]
    assert [(span.activity, span.start_s, span.end_s) for span in found] == [
        ("downlink", 10, 11),
        ("uplink", 13, 14),
        ("uplink", 14, 15),
    ]


def test_computing_starts_at_the_last_model_that_arrived_even_of_an_earlier_round():
    rows = [
        sent("downlink", ["ue0"], 0, 0, 1),
        sent("downlink", ["ue0"], 2, 2, 3, lost=["ue0"]),
        sent("downlink", ["ue0"], 3, 3, 4, kind="control"),
        sent("uplink", ["ue0"], 5, 5, 6, round_=2),
    ]
    found = spans(recorded(*rows).transfers, 2)
    assert [span for span in found if span.activity == "compute"] == [Span("ue0", "compute", 1, 5)]


def test_a_ue_that_skips_has_computed_until_its_skip():
    rows = [sent("downlink", ["ue0"], 0, 0, 1), sent("uplink", ["ue0"], 4, 4, 4.1, kind="control")]
    found = spans(recorded(*rows).transfers, 1)
    assert [span for span in found if span.activity == "compute"] == [Span("ue0", "compute", 1, 4)]


def test_the_timeline_starts_at_0_and_draws_what_the_spans_say():
    figure = timeline(one_round())
    axes = figure.axes[0]
    containers = {container.get_label(): container for container in axes.containers}
    uplinks = [(bar.get_x(), bar.get_width()) for bar in containers["on air (up)"]]
    np.testing.assert_allclose(sorted(uplinks), [(3, 1), (3, 1), (4, 1), (4, 1)])
    assert axes.get_xlabel() == "Simulated time in round 1 [s], from 10.00 s on"
    assert axes.get_xlim()[0] == 0
    assert legend_names(figure) == ["on air (down)", "computes", "waits", "on air (up)"]


def test_rows_are_the_base_station_and_ues_by_the_end_of_their_upload():
    rows = [
        sent("downlink", ["a", "b", "c"], 0, 0, 1),
        sent("uplink", ["b"], 2, 2, 3),
        sent("uplink", ["c"], 2, 3, 4),
    ]
    labels = [label.get_text() for label in timeline(recorded(*rows)).axes[0].get_yticklabels()]
    assert labels == [BASE_STATION, "b", "c", "a"]


def test_what_did_not_arrive_is_crossed():
    rows = [sent("downlink", ["a", "b"], 0, 0, 1, lost=["b"]), sent("uplink", ["a"], 2, 2, 3, lost=["a"])]
    figure = timeline(recorded(*rows))
    cross = line_of(figure, "did not arrive")
    assert sorted(cross.get_xydata().tolist()) == [[1, 2], [3, 1]]


def test_of_many_ues_the_first_are_drawn_and_the_figure_says_so():
    figure = timeline(one_round(ues=MAX_UES + 5))
    axes = figure.axes[0]
    assert len(axes.get_yticks()) == MAX_UES + 1
    assert (
        axes.get_title(loc="left") == f"the first {MAX_UES} of {MAX_UES + 5} UEs by the end of their upload"
    )
    assert timeline(one_round(ues=MAX_UES)).axes[0].get_title(loc="left") == ""


def test_a_round_without_transmissions_is_refused():
    with pytest.raises(ConfigError, match="round = 7"):
        timeline(one_round(), round=7)
    with pytest.raises(ConfigError, match="there is none"):
        timeline(recorded())


@pytest.mark.parametrize("width_in", [SINGLE_IN, 2 * SINGLE_IN])
def test_nothing_is_cut_off_at_the_edges(width_in):
    whole = comparison()
    figures = [
        accuracy_against(whole.results, target=0.8, width_in=width_in),
        time_to_target(whole, width_in=width_in),
        timeline(one_round(ues=10), width_in=width_in),
    ]
    for figure in figures:
        figure.draw_without_rendering()
        drawn_in = figure.get_tightbbox(figure.canvas.get_renderer())
        assert figure.get_figwidth() == width_in
        assert min(drawn_in.x0, drawn_in.y0) >= 0
        assert drawn_in.x1 <= width_in
        assert drawn_in.y1 <= figure.get_figheight()


@pytest.mark.parametrize("width_in", [SINGLE_IN, 2 * SINGLE_IN])
def test_the_legend_covers_no_data(width_in):
    figure = accuracy_against(comparison().results, target=0.8, width_in=width_in)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent(figure.canvas.get_renderer())
    assert not legend.overlaps(figure.axes[0].bbox)


def test_the_users_settings_are_left_as_found_and_not_used():
    def pixels():
        figure = accuracy_against(comparison().results)
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())

    mine = {"font.size": 21.0, "lines.linewidth": 9.0, "font.sans-serif": ["DejaVu Serif"]}
    before = pixels()
    with matplotlib.rc_context(mine):
        np.testing.assert_array_equal(pixels(), before)
        assert {name: matplotlib.rcParams[name] for name in mine} == mine


def test_a_figure_shows_itself_in_a_notebook():
    assert timeline(one_round())._repr_png_().startswith(b"\x89PNG")


def test_the_same_data_give_the_same_bytes(tmp_path):
    first, second = (save(accuracy_against(comparison().results), tmp_path / side, "f") for side in "ab")
    assert [path.suffix for path in first] == [".png", ".pdf", ".svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_files_hold_no_date_and_no_version(tmp_path):
    png, pdf, svg = (path.read_bytes() for path in save(timeline(one_round()), tmp_path, "f"))
    assert b"Software" not in png
    assert b"CreationDate" not in pdf
    assert b"dc:date" not in svg
    assert not any(matplotlib.__version__.encode() in content for content in (pdf, svg))


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'png'"):
        save(timeline(one_round()), tmp_path / "new", "f", formats=("pdf", "pngg"))
    assert not (tmp_path / "new").exists()


def test_rounds_times_seconds_is_the_time_to_the_target():
    both = FakeComparison((run("float32", 0, scale_s=8.0), run("slow", 0, scale_s=1.0, top=0.82)), 0.8)
    axes = rounds_and_seconds(both).axes[0]
    points = {
        container.get_label(): (container[0].get_xdata()[0], container[0].get_ydata()[0])
        for container in axes.containers
    }
    times_s = summary(both)["time_to_target_s"]
    # Halving the distance to 0.95 from 0.1: 0.8 is passed in round 3; to 0.82 from 0.1: in round 6.
    assert points["float32"] == pytest.approx((8.0, 3))
    assert points["slow"] == pytest.approx((1.0, 6))
    assert {name: x * y for name, (x, y) in points.items()} == pytest.approx(dict(times_s))


def test_a_variant_that_is_not_there_has_no_point_and_says_so():
    axes = rounds_and_seconds(comparison()).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["float32", "qsgd-4", "sign (not reached by 3 of 3)"]
    missing = axes.containers[labels.index("sign (not reached by 3 of 3)")][0]
    assert math.isnan(float(missing.get_ydata()[0]))


def test_a_comparison_without_a_target_has_no_such_figure():
    with pytest.raises(ConfigError, match="target_accuracy"):
        rounds_and_seconds(comparison(target=None))


def test_all_figures_are_drawn_from_the_tables(tmp_path):
    transfers = one_round().transfers
    runs = tuple(run(name, seed, transfers=transfers) for name in ("float32", "q") for seed in range(2))
    paths = draw_all(FakeComparison(runs, 0.8), tmp_path, formats=("svg",))
    assert [path.name for path in paths] == [
        "accuracy-latency_s.svg",
        "accuracy-uplink_bits.svg",
        "accuracy-energy_j.svg",
        "accuracy-ue_energy_j.svg",
        "energy-by-part.svg",
        "time-to-target.svg",
        "rounds-and-seconds.svg",
        "timeline-float32.svg",
        "timeline-q.svg",
    ]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_bars_stack_the_mean_of_each_part_over_ues_rounds_and_seeds():
    axes = energy_by_part([run("a", seed) for seed in (0, 1)]).axes[0]
    bars = [container.patches[0] for container in axes.containers]
    # Half of the UEs are idle. Computing: 1 mJ and 2 mJ.
    assert [bar.get_x() for bar in bars] == pytest.approx([0, 2e-3, 3e-3])
    assert [bar.get_width() for bar in bars] == pytest.approx([2e-3, 1e-3, 0.75e-3])
    (dots,) = axes.lines
    assert list(dots.get_xdata()) == pytest.approx([3.5e-3, 4e-3])
    assert [text.get_text() for text in axes.texts] == ["3.75 mJ"]
    assert axes.get_xlabel() == "Battery energy of a UE in a round; the base station's energy is not in it"
    assert axes.xaxis.get_major_formatter()(2.5e-3) == "2.5 mJ"


def test_bars_of_energy_have_a_legend_a_row_per_variant_and_dots_for_several_seeds_only():
    figure = energy_by_part([run("b", 0), run("a", 0)])
    assert legend_names(figure) == ["transmit", "receive", "compute"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "a"]
    assert not figure.axes[0].lines
    with pytest.raises(ConfigError, match="at least one run"):
        energy_by_part([])


def test_without_a_target_transmissions_and_energy_of_ues_those_figures_are_left_out(tmp_path):
    made = run("a", 0)
    early = replace(made, rounds=made.rounds.drop(columns="ue_energy_j"))
    paths = draw_all(FakeComparison((early,)), tmp_path, formats=("png",))
    assert [path.stem for path in paths] == [
        "accuracy-latency_s",
        "accuracy-uplink_bits",
        "accuracy-energy_j",
    ]


def test_participation_is_the_share_of_rounds_heard_by_distance_and_a_mean_over_seeds():
    def sent(round, ue, *, lost=(), direction="uplink", kind="model"):
        return {"round": round, "direction": direction, "kind": kind, "ues": [ue], "lost": list(lost)}

    def settled(seed, rows):
        config = {"cell": {"distances_m": [300.0, 100.0, 200.0]}, "population": {"ues": 3}}
        found = run("best", seed, rounds=4, transfers=pd.DataFrame(rows))
        return SettledRun(found.name, found.seed, found.rounds, found.transfers, config=config)

    near = [sent(round, "ue1") for round in (1, 2, 3, 4)]
    first = [*near, sent(1, "ue0"), sent(2, "ue0", lost=["ue0"]), sent(1, "ue2", direction="downlink")]
    second = [*near, sent(3, "ue2"), sent(4, "ue2"), sent(4, "ue0", kind="control")]
    runs = [settled(0, first), settled(1, second)]
    assert heard(runs[0]).values.tolist() == [["ue1", 100.0, 1.0], ["ue2", 200.0, 0.0], ["ue0", 300.0, 0.25]]
    (line,) = participation(runs).axes[0].get_lines()
    assert line.get_xdata().tolist() == [100.0, 200.0, 300.0]
    assert line.get_ydata().tolist() == [1.0, 0.25, 0.125]
    assert line.get_label() == "best"


def test_participation_is_of_whoever_is_in_the_cell_where_nothing_was_sent():
    config = {"cell": {"radius_m": 400.0}, "population": {"ues": 5}}
    silent = SettledRun("none", 0, run("none", 0).rounds, pd.DataFrame(), config=config)
    table = heard(silent)
    assert table["share"].tolist() == [0.0] * 5
    assert table["distance_m"].is_monotonic_increasing
    assert table["distance_m"].between(10.0, 400.0).all()


def message(direction, kind, ues, start_s, end_s, serial, *, round_=1, lost=(), attempts=1):
    row = sent(direction, ues, start_s, start_s, end_s, round_=round_, kind=kind, lost=lost)
    return row | {"serial": serial, "attempts": attempts}


def event_triggered():
    """ue0 sends, twice; ue1 skips; ue2 is late; ue3 stops when the next model comes."""
    ues = [f"ue{i}" for i in range(4)]
    rows = [
        message("downlink", "model", ues, 0, 1, 1, attempts=3),
        message("uplink", "model", ["ue0"], 2, 3, 1, lost=["ue0"]),
        message("uplink", "skip", ["ue1"], 3, 3.2, 0),
        message("uplink", "model", ["ue0"], 3.5, 4, 1),
        message("downlink", "model", ["ue3"], 4, 5, 2, round_=2),
        message("uplink", "ack", ["ue3"], 5, 5.1, 0, round_=2),
        message("uplink", "model", ["ue2"], 5, 6, 1),
        message("uplink", "model", ["ue3"], 7, 8, 1, round_=2),
    ]
    done = [(1, "ue0", 8, 2), (1, "ue1", 8, 3), (1, "ue2", 8, 5), (1, "ue3", 4, 5), (2, "ue3", 8, 7)]
    rounds = pd.DataFrame({"round": [0, 1, 2], "latency_s": [0.0, 4.0, 8.0], "skipped": [0, 1, 0]})
    computations = pd.DataFrame(done, columns=["round", "ue", "samples", "end_s"])
    decisions = pd.DataFrame(
        [
            (1, "ue0", "ue", 2.0, 0.3, 0.2, True),
            (1, "ue1", "ue", 3.0, 0.1, 0.2, False),
            (1, "ue2", "ue", 5.0, NAN, 0.2, True),
            (2, "ue3", "ue", 7.0, 4.0, 0.1, True),
        ],
        columns=["round", "ue", "at", "time_s", "quantity", "threshold", "send"],
    )
    return FakeRun("events", 0, rounds, pd.DataFrame(rows), computations, decisions)


def bars_of(figure, label):
    (container,) = [one for one in figure.axes[0].containers if one.get_label() == label]
    return sorted((bar.get_x(), bar.get_width()) for bar in container)


def test_trainings_that_are_written_down_begin_with_the_model_and_may_be_in_vain():
    made = event_triggered()
    found = spans(made.transfers, computations=made.computations, decisions=made.decisions)
    at_work = {
        (span.party, span.activity, *span[2:4]) for span in found if span.activity in ("compute", "vain")
    }
    assert at_work == {
        ("ue0", "compute", 1, 2),
        ("ue1", "compute", 1, 3),
        ("ue2", "compute", 1, 5),
        ("ue3", "vain", 1, 5),
        ("ue3", "compute", 5, 7),
    }


def test_a_ue_that_was_at_work_begins_when_its_upload_is_over():
    rows = [
        message("downlink", "model", ["ue0"], 0, 1, 1),
        message("downlink", "model", ["ue0"], 2, 3, 2, round_=2),
        message("uplink", "model", ["ue0"], 4, 5, 1),
        message("downlink", "ack", ["ue0"], 5, 5.5, 1),
        message("uplink", "model", ["ue0"], 9, 10, 2, round_=2),
    ]
    done = pd.DataFrame([(1, "ue0", 8, 4), (2, "ue0", 8, 9)], columns=["round", "ue", "samples", "end_s"])
    found = [span[2:4] for span in spans(pd.DataFrame(rows), computations=done) if span.activity == "compute"]
    assert found == [(1, 4), (5.5, 9)]


def test_a_window_shows_late_uploads_repeats_tries_letters_and_closings():
    figure = timeline(event_triggered(), seconds=(0, 8))
    axes = figure.axes[0]
    assert bars_of(figure, "on air (up), after its round") == [(5, 1), (5, 1)]  # at both ends
    assert bars_of(figure, "sent again by the protocol") == [(3.5, 0.5), (3.5, 0.5)]
    assert bars_of(figure, "tried again by the link") == [(0, 1)] * 5
    assert bars_of(figure, "computes in vain") == [(1, 4)]
    assert texts(figure) == ["S", "A"]
    assert {"SKIP", "ACK", "a round closes", "did not arrive"} < set(legend_names(figure))
    closings = [
        line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--" and len(line.get_xdata())
    ]
    assert closings == [4, 8]
    (above,) = axes.child_axes
    assert [label.get_text() for label in above.get_xticklabels()] == ["1", "2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        BASE_STATION,
        "ue0",
        "ue1",
        "ue2",
        "ue3",
    ]
    assert axes.get_xlim() == (0, 8)


def test_what_crosses_the_edges_of_a_round_is_cut():
    figure = timeline(event_triggered(), round=2)
    axes = figure.axes[0]
    assert axes.get_xlabel() == "Simulated time in round 2 [s], from 4.000 s on"
    assert bars_of(figure, "computes in vain") == [(0, 1)]
    assert bars_of(figure, "computes") == [(0, 1), (1, 2)]
    first = timeline(event_triggered(), round=1)
    assert bars_of(first, "computes in vain") == [(1, 3)]
    assert "on air (up), after its round" not in legend_names(first)
    cross = line_of(first, "did not arrive")
    assert cross.get_xydata().tolist() == [[3, 1]]


def test_letters_too_close_for_a_mark_each_stand_in_one_word():
    rows = [
        message("uplink", kind, ["ue0"], at_s, at_s + 0.01, 0)
        for kind, at_s in (("request", 1), ("bye", 1.02))
    ]
    rows += [
        message("downlink", "grant", ["ue0"], 1.01, 1.02, 0),
        message("uplink", "hello", ["ue0"], 9, 9.01, 0),
    ]
    assert texts(timeline(recorded(*rows), seconds=(0, 10))) == ["RGB", "H"]


def test_a_window_is_two_times_with_something_between_and_no_round_beside():
    made = event_triggered()
    with pytest.raises(ConfigError, match="left out where seconds are given"):
        timeline(made, round=1, seconds=(0, 1))
    with pytest.raises(ConfigError, match=r"seconds = \(3, 3\) must be two times"):
        timeline(made, seconds=(3, 3))
    with pytest.raises(ConfigError, match=r"the run ends at 8\.000 s"):
        timeline(made, seconds=(20, 30))


def test_the_triggers_quantity_is_drawn_against_its_threshold_with_what_was_decided():
    figure = trigger_quantity(event_triggered())
    assert legend_names(figure) == ["threshold", "a UE", "sent", "kept"]
    assert line_of(figure, "sent").get_xydata().tolist() == [[1, 0.3], [2, 4.0]]
    assert line_of(figure, "kept").get_xydata().tolist() == [[1, 0.1]]
    assert line_of(figure, "threshold").get_xydata().tolist() == [[1, 0.2], [2, 0.1]]
    assert figure.axes[0].get_yscale() == "log"  # 0.1 … 4
    assert line_of(trigger_quantity(event_triggered(), x="time_s"), "sent").get_xdata().tolist() == [2, 7]


def test_many_ues_have_a_band_and_what_the_base_station_decides_goes_first():
    made = event_triggered()
    rows = [(1, f"ue{i}", "bs", 0.0, i / 20, 1.0 + i, i > 10) for i in range(20)]
    asked = replace(made, decisions=pd.DataFrame(rows, columns=made.decisions.columns))
    figure = trigger_quantity(asked)
    assert legend_names(figure) == ["threshold (median)", "10 … 90 % of the UEs", "median UE", "sent", "kept"]
    assert figure.axes[0].get_ylabel() == "Compared by the base station"
    assert figure.axes[0].get_yscale() == "linear"  # a quantity of 0
    assert line_of(figure, "median UE").get_ydata().tolist() == [0.475]
    with pytest.raises(ConfigError, match="at = 'ue' must be one of bs"):
        trigger_quantity(asked, at="ue")
    with pytest.raises(ConfigError, match="a run with a trigger"):
        trigger_quantity(recorded())


def test_uploads_count_each_model_once_however_often_it_was_sent():
    made = event_triggered()
    tested = replace(made, rounds=made.rounds.assign(accuracy=[0.1, 0.5, 0.6]))
    line = line_of(accuracy_against([tested], "uploads"), "events")
    assert line.get_xydata().tolist() == [[0, 0.1], [1, 0.5], [3, 0.6]]


def test_of_a_run_with_a_trigger_its_first_rounds_and_the_trigger_are_drawn(tmp_path):
    made = event_triggered()
    whole = run("events", 0)
    made = replace(made, rounds=whole.rounds.assign(latency_s=2.0 * whole.rounds["round"], skipped=0))
    names = {path.name for path in draw_all(FakeComparison((made,)), tmp_path, formats=("svg",))}
    assert {"timeline-events.svg", "trigger-events.svg"} < names
