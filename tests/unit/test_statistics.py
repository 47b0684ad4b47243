import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from syft_fl.errors import ConfigError
from syft_fl.experiment.statistics import by_variant, interval, on_grid, summary, time_to
from syft_fl.experiment.table import number, table

NAN = math.nan


@dataclass(frozen=True)
class FakeRun:
    name: str
    seed: int
    rounds: pd.DataFrame


@dataclass(frozen=True)
class FakeComparison:
    results: tuple[FakeRun, ...]
    target_accuracy: float | None = None


def run(name, seed, latency_s, accuracy, *, uplink_bits=None):
    n = len(latency_s)
    frame = pd.DataFrame(
        {
            "round": range(n),
            "latency_s": latency_s,
            "accuracy": accuracy,
            "uplink_bits": np.arange(n) * 1_500_000 if uplink_bits is None else uplink_bits,
            "downlink_bits": np.arange(n) * 500_000,
            "energy_j": np.arange(n) * 0.25,
        }
    )
    return FakeRun(name, seed, frame)


def reaching(name, seed, time_s, *, end_s=100.0):
    """A run that gets to 0.9 at a time, or never."""
    if math.isnan(time_s):
        return run(name, seed, [0.0, end_s], [0.1, 0.5])
    return run(name, seed, [0.0, time_s, end_s], [0.1, 0.9, 0.92])


def test_grid_holds_the_last_value_and_takes_the_mean_of_what_each_run_had():
    runs = [run("a", 0, [0, 2, 4], [0.1, 0.5, 0.7]), run("a", 1, [0, 3, 5], [0.1, 0.3, 0.9])]
    curve = on_grid(runs, "latency_s", "accuracy")
    assert curve["latency_s"].tolist() == [0, 2, 3, 4]
    np.testing.assert_allclose(curve["mean"], [0.1, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(curve["low"], [0.1, 0.1, 0.3, 0.3])
    np.testing.assert_allclose(curve["high"], [0.1, 0.5, 0.5, 0.7])
    np.testing.assert_allclose(curve["std"], np.array([0, 0.4, 0.2, 0.4]) / math.sqrt(2), atol=1e-12)
    assert set(curve["seeds"]) == {2}


def test_grid_is_never_longer_than_the_shortest_run():
    runs = [run("a", 0, [0, 10], [0.1, 0.5]), run("a", 1, [0, 30], [0.1, 0.9])]
    assert on_grid(runs, "latency_s", "accuracy")["latency_s"].max() == 10
    assert on_grid(runs, "latency_s", "accuracy", points=5)["latency_s"].tolist() == [0, 2.5, 5, 7.5, 10]


def test_grid_ends_at_the_last_evaluation_not_at_the_last_round():
    curve = on_grid([run("a", 0, [0, 10, 20], [0.1, 0.5, NAN])], "latency_s", "accuracy")
    assert curve["latency_s"].tolist() == [0, 10]


def test_rounds_without_evaluation_hold_the_value_before():
    curve = on_grid([run("a", 0, [0, 1, 2], [0.1, NAN, 0.5])], "latency_s", "accuracy", points=3)
    np.testing.assert_allclose(curve["mean"], [0.1, 0.1, 0.5])


def test_grid_is_unknown_before_the_first_evaluation_of_any_run():
    runs = [run("a", 0, [0, 2], [0.1, 0.5]), run("a", 1, [0, 1, 2], [NAN, 0.3, 0.7])]
    curve = on_grid(runs, "latency_s", "accuracy")
    assert curve["latency_s"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(curve["mean"], [NAN, 0.2, 0.6])


def test_of_several_values_at_one_x_the_latest_counts():
    runs = [run("a", 0, [0, 1, 2], [0.1, 0.4, 0.6], uplink_bits=[0, 8, 8])]
    np.testing.assert_allclose(on_grid(runs, "uplink_bits", "accuracy")["mean"], [0.1, 0.6])


def test_one_seed_has_a_mean_and_no_deviation():
    curve = on_grid([run("a", 0, [0, 1], [0.1, 0.4])], "latency_s", "accuracy")
    assert curve["std"].isna().all()
    assert curve["low"].tolist() == curve["high"].tolist() == [0.1, 0.4]


def test_a_run_that_was_never_evaluated_leaves_no_grid():
    runs = [run("a", 0, [0, 1], [0.1, 0.4]), run("a", 1, [0, 1], [NAN, NAN])]
    assert on_grid(runs, "latency_s", "accuracy").empty


def test_a_wrong_column_is_named_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'latency_s'"):
        on_grid([run("a", 0, [0, 1], [0.1, 0.4])], "latency", "accuracy")


def test_x_must_not_fall():
    with pytest.raises(ConfigError, match="never falls"):
        on_grid([run("a", 0, [0, 2, 1], [0.1, 0.4, 0.5])], "latency_s", "accuracy")


def test_time_to_target_is_that_of_an_evaluation_and_not_between_two():
    one = run("a", 0, [0, 10, 20, 30], [0.1, 0.5, 0.9, 0.7])
    assert time_to(one, 0.7) == 20
    assert time_to(one, 0.9) == 20
    assert time_to(one, 0.1) == 0
    assert time_to(one, 0.7, x="uplink_bits") == 3_000_000
    assert math.isnan(time_to(one, 0.91))


def test_time_to_target_skips_rounds_without_evaluation():
    assert time_to(run("a", 0, [0, 10, 20], [0.1, NAN, 0.9]), 0.8) == 20


def test_a_target_in_per_cent_is_refused():
    with pytest.raises(ConfigError, match=r"90 % is 0\.9"):
        time_to(run("a", 0, [0, 1], [0.1, 0.4]), 90)


@pytest.mark.parametrize(
    ("n", "confidence", "quantile"),
    # Student's table, two-sided 95 % (and 90 %): t(1), t(2), t(4).
    [(2, 0.95, 12.7062), (3, 0.95, 4.30265), (5, 0.95, 2.77645), (3, 0.90, 2.91999)],
)
def test_half_width_is_that_of_students_table(n, confidence, quantile):
    values = np.arange(n) * 2.0
    mean, half_width = interval(values, confidence=confidence)
    assert mean == n - 1
    # The sample variance of 0, 2, …, 2(n-1) is n(n+1)/3.
    assert half_width == pytest.approx(quantile * math.sqrt((n + 1) / 3), rel=1e-5)


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    trials = 4000
    draws = np.random.default_rng(5).normal(3.0, 2.0, size=(trials, 4))
    covered = sum(abs(mean - 3.0) <= half for mean, half in map(interval, draws)) / trials
    assert abs(covered - 0.95) < 5 * math.sqrt(0.95 * 0.05 / trials)


def test_one_value_has_no_half_width_and_none_no_mean():
    mean, half_width = interval([0.5])
    assert mean == 0.5
    assert math.isnan(half_width)
    assert all(map(math.isnan, interval([])))


def test_variants_stand_in_the_order_of_first_appearance():
    runs = [reaching(name, seed, 1.0) for seed in (0, 1) for name in ("z", "a")]
    assert list(by_variant(runs)) == ["z", "a"]


def test_a_seed_twice_is_refused():
    with pytest.raises(ConfigError, match="'a'"):
        by_variant([reaching("a", 0, 1.0), reaching("a", 0, 2.0)])


def test_speed_up_is_paired_by_seed():
    # Times differ tenfold between seeds, the ratio is 2 in each: pairing leaves no uncertainty.
    runs = [reaching("float32", seed, t) for seed, t in enumerate([2.0, 8.0, 20.0])]
    runs += [reaching("q", seed, t) for seed, t in reversed(list(enumerate([1.0, 4.0, 10.0])))]
    row = summary(FakeComparison(tuple(runs), 0.9)).loc["q"]
    assert row["speed_up"] == pytest.approx(2)
    assert row["speed_up_low"] == pytest.approx(2)
    assert row["speed_up_high"] == pytest.approx(2)


def test_speed_up_averages_ratios_by_their_logarithm():
    runs = [reaching("b", 0, 4.0), reaching("b", 1, 4.0), reaching("q", 0, 2.0), reaching("q", 1, 8.0)]
    row = summary(FakeComparison(tuple(runs), 0.9)).loc["q"]
    assert row["speed_up"] == pytest.approx(1)
    # Logarithms ±ln 2: their standard error is ln 2, Student's t with one degree of freedom 12.7062.
    assert row["speed_up_high"] == pytest.approx(2**12.7062, rel=1e-3)
    assert row["speed_up_low"] * row["speed_up_high"] == pytest.approx(1)


def test_speed_up_uses_the_seeds_that_both_have():
    runs = [reaching("b", 0, 4.0), reaching("b", 1, 9.0), reaching("q", 1, 3.0), reaching("q", 2, 1.0)]
    row = summary(FakeComparison(tuple(runs), 0.9)).loc["q"]
    assert row["speed_up"] == pytest.approx(3)
    assert math.isnan(row["speed_up_low"])


def test_one_seed_that_misses_the_target_leaves_no_mean_time_and_no_speed_up():
    runs = [reaching("float32", seed, 10.0) for seed in range(3)]
    runs += [reaching("q", seed, t) for seed, t in enumerate([5.0, NAN, 5.0])]
    row = summary(FakeComparison(tuple(runs), 0.9)).loc["q"]
    assert row["reached"] == 2
    assert math.isnan(row["time_to_target_s"])
    assert math.isnan(row["speed_up"])


def test_a_baseline_that_misses_the_target_leaves_no_speed_up():
    runs = (reaching("float32", 0, NAN), reaching("q", 0, 5.0))
    row = summary(FakeComparison(runs, 0.9)).loc["q"]
    assert row["time_to_target_s"] == 5
    assert math.isnan(row["speed_up"])


def test_a_target_that_the_initial_model_meets_leaves_no_speed_up():
    runs = (run("float32", 0, [0, 1], [0.9, 0.9]), run("q", 0, [0, 1], [0.9, 0.9]))
    row = summary(FakeComparison(runs, 0.9)).loc["q"]
    assert row["time_to_target_s"] == 0
    assert math.isnan(row["speed_up"])


def test_the_baseline_is_float32_where_there_is_one_else_the_first():
    runs = [reaching("q", 0, 5.0), reaching("float32", 0, 10.0)]
    assert summary(FakeComparison(tuple(runs), 0.9)).loc["q", "speed_up"] == pytest.approx(2)
    named = summary(FakeComparison(tuple(runs), 0.9), baseline="q")
    assert named.loc["float32", "speed_up"] == pytest.approx(0.5)
    other = [reaching("a", 0, 5.0), reaching("b", 0, 10.0)]
    assert summary(FakeComparison(tuple(other), 0.9)).loc["b", "speed_up"] == pytest.approx(0.5)


def test_an_unknown_baseline_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'float32'"):
        summary(FakeComparison((reaching("float32", 0, 5.0),), 0.9), baseline="float23")


def test_summary_counts_decimal_megabits_and_means_over_seeds():
    runs = (run("a", 0, [0, 1, 2], [0.1, 0.4, 0.6]), run("a", 1, [0, 2, 4], [0.1, 0.8, NAN]))
    row = summary(FakeComparison(runs)).loc["a"]
    assert row["uplink_mbit"] == 3.0
    assert row["downlink_mbit"] == 1.0
    assert row["energy_j"] == 0.5
    assert row["simulated_s"] == 3.0
    assert row["seeds"] == 2
    assert row["final_accuracy"] == pytest.approx(0.7)
    assert row["final_accuracy_half_width"] == pytest.approx(12.7062 * 0.1, rel=1e-5)


def test_without_a_target_there_are_no_times():
    frame = summary(FakeComparison((reaching("a", 0, 5.0),)))
    assert not {"time_to_target_s", "reached", "speed_up"} & set(frame.columns)
    assert "reached" not in table(frame)


def test_table_says_how_many_seeds_did_not_reach_the_target():
    runs = [reaching("float32", seed, 10.0 + seed) for seed in range(3)]
    runs += [reaching("q", seed, t) for seed, t in enumerate([5.0, NAN, NAN])]
    lines = table(summary(FakeComparison(tuple(runs), 0.9))).splitlines()
    assert len(lines) == 4
    # 10, 11, 12: deviation 1, so 4.30265 / √3 = 2.484.
    assert "11.00 ± 2.48" in lines[2]
    assert "3 of 3" in lines[2]
    assert "not reached (2 of 3)" in lines[3]
    assert "1 of 3" in lines[3]
    assert "nan" not in "".join(lines)


def test_numbers_stand_right_under_the_titles():
    runs = [reaching("a", 0, 5.0), reaching("a long name", 0, NAN)]
    title, _, *lines = table(summary(FakeComparison(tuple(runs), 0.9))).splitlines()
    end = title.index("reached") + len("reached")
    assert [line.rindex("of 1") + len("of 1") for line in lines] == [end, end]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (1234567.0, "1234567"), (0.98765, "0.9877"), (-2.5, "-2.500"), (NAN, "–")],
)
def test_numbers_have_four_digits_and_no_exponent(value, text):
    assert number(value) == text
