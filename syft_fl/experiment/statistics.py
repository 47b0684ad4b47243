"""What several runs say together: curves over seeds, time to a target, intervals, a summary.

Pure functions on the frames of finished runs. A run's curve is a step function: the model of a round
exists from the moment that the round ends, so its last evaluated accuracy holds until the next evaluation, and
nothing is known after the last one. Nothing here interpolates or extrapolates.

A mean time over only those seeds that reached the target would flatter the variant that fails most, so where one
seed did not reach it there is no mean (NaN), and the count says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are first used

from syft_fl.errors import ConfigError
from syft_fl.schema import nearest, require

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Interval",
    "RunGroup",
    "SeededRun",
    "by_variant",
    "interval",
    "on_grid",
    "summary",
    "time_to",
]

Array = npt.NDArray[np.float64]

BITS_PER_MBIT = 1e6
"""Decimal, as a radio engineer counts; not 2**20."""


class SeededRun(Protocol):
    """What is read of one run: its variant, its seed and its rounds."""

    @property
    def name(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def rounds(self) -> pd.DataFrame: ...


class RunGroup(Protocol):
    """What is read of a comparison: its runs and the accuracy that they are timed to."""

    @property
    def results(self) -> Sequence[SeededRun]: ...
    @property
    def target_accuracy(self) -> float | None: ...


AnyRun = TypeVar("AnyRun", bound=SeededRun)


class Interval(NamedTuple):
    """A mean and how far its confidence interval reaches to either side."""

    mean: float
    half_width: float


def by_variant(results: Iterable[AnyRun]) -> dict[str, list[AnyRun]]:
    """The runs of each variant, in the order in which variants first appear.

    Raises:
        ConfigError: there is no run, or a variant has one seed twice.
    """
    variants: dict[str, list[AnyRun]] = {}
    for run in results:
        variants.setdefault(run.name, []).append(run)
    require(bool(variants), "results", [], "at least one run")
    for name, runs in variants.items():
        seeds = [run.seed for run in runs]
        rule = f"different in each run of {name!r}"
        require(len(set(seeds)) == len(seeds), "seed", seeds, rule, "give each run its own seed")
    return variants


def interval(values: Sequence[float] | Array, *, confidence: float = 0.95) -> Interval:
    r"""Mean and Student-t half width of independent values.

    .. math:: \bar x \pm t_{(1+c)/2,\,n-1}\; s / \sqrt n

    Args:
        values: one number per seed; a NaN makes the result NaN.
        confidence: coverage :math:`c` in (0, 1).

    Returns:
        Mean (NaN without values) and half width (NaN below two values: one seed says nothing of the spread).

    Raises:
        ConfigError: the confidence is not between 0 and 1.

    Example:
        >>> interval([1.0, 3.0]).mean
        2.0
    """
    require(0 < confidence < 1, "confidence", confidence, "between 0 and 1")
    n = len(values)
    if n == 0:
        return Interval(math.nan, math.nan)
    mean = float(np.mean(values))
    if n == 1:
        return Interval(mean, math.nan)
    # What scipy.stats.t.ppf comes to, without the second that importing scipy.stats takes.
    quantile = float(scipy.special.stdtrit(n - 1, (1 + confidence) / 2))
    return Interval(mean, quantile * float(np.std(values, ddof=1)) / math.sqrt(n))


def on_grid(results: Iterable[SeededRun], x: str, y: str, *, points: int | None = None) -> pd.DataFrame:
    """Mean and spread over runs of one variant, on a common grid that starts at 0.

    Each run holds its last evaluated value until the next. The grid ends where the first of the runs ends: the
    mean over those that happen to go on longer would be another curve. Before a run's first evaluation
    the mean is NaN.

    Args:
        results: runs that differ in their seeds.
        x: column of ``rounds`` that never falls: ``latency_s``, ``uplink_bits``, ``energy_j``, ``ue_energy_j``,
            ``round``; or ``uploads``, the models that UEs have sent so far.
        y: column of ``rounds``; rounds where it is NaN were not evaluated.
        points: evenly spaced points; None for every x where a run was evaluated, which shows
            every step exactly.

    Returns:
        Columns x (under its own name), ``mean``, ``std`` (sample standard deviation, NaN for one run), ``low`` and
        ``high`` (smallest and largest run), ``seeds``. No rows where a run was never evaluated.

    Raises:
        ConfigError: no run, fewer than 2 points, no such column, or x falls.
    """
    import pandas as pd

    curves = [_evaluated(run, x, y) for run in results]
    require(bool(curves), "results", [], "at least one run")
    require(points is None or points >= 2, "points", points, "at least 2")
    grid = _common_grid([at for at, _ in curves], points)
    values = np.stack([_held(at, value, grid) for at, value in curves])
    spread = values.std(axis=0, ddof=1) if len(curves) > 1 else np.full(grid.size, math.nan)
    return pd.DataFrame(
        {
            x: grid,
            "mean": values.mean(axis=0),
            "std": spread,
            "low": values.min(axis=0),
            "high": values.max(axis=0),
            "seeds": len(curves),
        }
    )


def time_to(result: SeededRun, target: float, *, x: str = "latency_s") -> float:
    """First x at which the accuracy is at least the target; NaN where it never is.

    Not interpolated between evaluations: a line between two of them would credit an accuracy to a moment at
    which no model had it. The answer is thus late by at most one evaluation interval, never early.

    Args:
        result: one run.
        target: accuracy in 0 … 1.
        x: what is counted: ``latency_s`` [s], ``uplink_bits`` [bit], ``energy_j`` or ``ue_energy_j`` [J], ``round``,
            ``uploads``.

    Raises:
        ConfigError: the target is outside 0 … 1, no such column, or x falls.
    """
    require(0 <= target <= 1, "target", target, "in 0 … 1", "90 % is 0.9")
    at, accuracy = _evaluated(result, x, "accuracy")
    reached = np.flatnonzero(accuracy >= target)
    return float(at[reached[0]]) if reached.size else math.nan


def summary(comparison: RunGroup, *, baseline: str | None = None) -> pd.DataFrame:
    """One row per variant: what it reached, what that cost, and how much faster than the baseline it was.

    The speed-up is paired: the ratio of times is taken seed by seed (the same data split, batches and fading),
    and mean and interval are those of its logarithm, so that twice as fast and half as fast average to 1.

    Args:
        comparison: runs of several variants; without ``target_accuracy`` the last seven columns are left out.
        baseline: variant that speed-ups refer to; None for ``float32`` where there is one, else the first.

    Returns:
        Indexed by ``variant``, with columns ``seeds``; ``final_accuracy``, ``final_accuracy_half_width`` (last
        evaluation); ``simulated_s``, ``uplink_mbit``, ``downlink_mbit``, ``energy_j`` (UEs and base
        station; means at the end of the run);
        ``target_accuracy``, ``time_to_target_s``, ``time_to_target_half_width_s`` (NaN unless every seed
        reached it), ``reached`` (seeds that did), ``speed_up``, ``speed_up_low``, ``speed_up_high`` (NaN unless
        every seed that variant and baseline share reached it in both, and later than at 0 s). Half widths and bounds
        are those of a 95 % interval, NaN for one seed.

    Raises:
        ConfigError: no run, a seed twice, or the baseline is no variant.
    """
    import pandas as pd

    variants = by_variant(comparison.results)
    reference = _baseline(variants, baseline)
    target = comparison.target_accuracy
    rows = []
    for name, runs in variants.items():
        row: dict[str, object] = {"variant": name, "seeds": len(runs)} | _costs(runs)
        if target is not None:
            row |= _times(runs, variants[reference], target)
        rows.append(row)
    return pd.DataFrame(rows).set_index("variant")


def _evaluated(run: SeededRun, x: str, y: str) -> tuple[Array, Array]:
    """x and y of the rounds in which y was evaluated."""
    rounds = run.rounds
    if x == "uploads" and x not in rounds:
        rounds = rounds.assign(uploads=_uploads(rounds, getattr(run, "transfers", None)))
    for column in (x, y):
        if column not in rounds.columns:
            raise ConfigError(f"{column!r} is no column of rounds; {nearest(column, rounds.columns)}")
    at = rounds[x].to_numpy(dtype=np.float64)
    value = rounds[y].to_numpy(dtype=np.float64)
    require(
        bool(np.all(np.diff(at) >= 0)), "x", x, "a column that never falls along a run", "try 'latency_s'"
    )
    known = ~np.isnan(value)
    return at[known], value[known]


def _uploads(rounds: pd.DataFrame, transfers: pd.DataFrame | None) -> Array:
    """Models that UEs had sent when each round closed; one that was sent again, or lost, counts once."""
    if transfers is None or not len(transfers):
        return np.zeros(len(rounds))
    rows = transfers[(transfers["direction"] == "uplink") & transfers["kind"].isin(("model", "analog"))]
    first_s = rows["end_s"].groupby([rows["ues"].str[0], rows["serial"]]).min()
    return np.searchsorted(np.sort(first_s.to_numpy()), rounds["latency_s"], side="right").astype(np.float64)


def _common_grid(xs: Sequence[Array], points: int | None) -> Array:
    """From 0 to the smallest last x; empty where a run has no x at all."""
    if any(at.size == 0 for at in xs):
        return np.empty(0)
    end = min(float(at[-1]) for at in xs)
    if points is not None:
        return np.linspace(0.0, end, points)
    return np.unique(np.concatenate([np.zeros(1), *(at[at <= end] for at in xs)]))


def _held(at: Array, value: Array, grid: Array) -> Array:
    """The last value known at each point of the grid; NaN before the first."""
    if grid.size == 0:
        return np.empty(0)
    # side="right": of several values at one x (a round without an upload) the latest counts.
    last = np.searchsorted(at, grid, side="right") - 1
    return np.where(last >= 0, value[last], math.nan)


def _baseline(variants: Iterable[str], name: str | None) -> str:
    names = list(variants)
    if name is None:
        return "float32" if "float32" in names else names[0]
    if name not in names:
        raise ConfigError(f"baseline = {name!r} is no variant; {nearest(name, names)}")
    return name


def _costs(runs: Sequence[SeededRun]) -> dict[str, float]:
    """Final accuracy, and the totals at the end of the run."""
    accuracies = [run.rounds["accuracy"].dropna().to_numpy(dtype=np.float64)[-1:] for run in runs]
    final = interval([float(last[0]) if last.size else math.nan for last in accuracies])
    ends = [run.rounds.iloc[-1] for run in runs]

    def mean(column: str) -> float:
        return float(np.mean([end[column] for end in ends]))

    return {
        "final_accuracy": final.mean,
        "final_accuracy_half_width": final.half_width,
        "simulated_s": mean("latency_s"),
        "uplink_mbit": mean("uplink_bits") / BITS_PER_MBIT,
        "downlink_mbit": mean("downlink_bits") / BITS_PER_MBIT,
        "energy_j": mean("energy_j"),
    }


def _times(runs: Sequence[SeededRun], baseline: Sequence[SeededRun], target: float) -> dict[str, float]:
    """Time to the target, and the ratio of the baseline's time to it."""
    times_s = {run.seed: time_to(run, target) for run in runs}
    baseline_s = {run.seed: time_to(run, target) for run in baseline}
    mean_s = interval(list(times_s.values()))
    # A time of 0 s (the initial model is good enough) leaves no ratio to speak of: its logarithm is NaN too.
    logs = [_log(baseline_s[seed]) - _log(times_s[seed]) for seed in times_s if seed in baseline_s]
    ratio = interval(logs)
    return {
        "target_accuracy": target,
        "time_to_target_s": mean_s.mean,
        "time_to_target_half_width_s": mean_s.half_width,
        "reached": int(np.count_nonzero(~np.isnan(list(times_s.values())))),
        "speed_up": math.exp(ratio.mean),
        "speed_up_low": math.exp(ratio.mean - ratio.half_width),
        "speed_up_high": math.exp(ratio.mean + ratio.half_width),
    }


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan
