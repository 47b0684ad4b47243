"""What a simulation costs the host, and how that grows: with UEs, cohort, parameters, steps, rounds and cores.

``python tests/bench/bench_growth.py``: tables, and with ``--figure PATH`` a figure of them; ``--quick`` measures fewer
points. Processor time of this process, so that others on the machine change little; for cores the ratio of wall times,
which needs cores that nobody else uses.

A round's time is taken to be a sum of costs, each with its own law: one of the round, one of each UE in the cohort, one
of each parameter of each model that is sent (both ways: codec, frame, copies, aggregation), one of each step and one of
each parameter in each step (batches of 16). The coefficients, none of them negative, are those with the least relative
errors over a grid of rounds; a round that is larger than all of these is held against what they say of it. ``--check``
fails where that is off by more than a factor of 2, or where a round of the same cohort takes three times as long
among many UEs as among few.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

import syft_fl as sy
from syft_fl.experiment.folder import RunFolder
from syft_fl.federation import Scenario, Simulation, measure
from syft_fl.learn.engines.pool import cores

FEATURES, CLASSES, BATCH = 64, 10, 16
NEVER = 10**9


@dataclass(frozen=True)
class Size:
    """A round: so many UEs train so many parameters for so many steps each."""

    cohort: float
    hidden: float
    steps: int

    @property
    def params(self) -> float:
        """Of a network of two equal hidden layers."""
        return (FEATURES + 1) * self.hidden + (self.hidden + 1) * (self.hidden + CLASSES)

    def terms(self) -> list[float]:
        """What each coefficient is multiplied by."""
        cohort, params, steps = self.cohort, self.params, self.steps
        return [1.0, cohort, cohort * params, cohort * steps, cohort * steps * params]


COSTS = ("a round", "a UE of the cohort", "and parameter", "a step of a UE", "and parameter")


def scenario(size: Size, *, ues: int | None = None, engine: Any = None) -> Scenario:
    """QSGD up, float32 down, over Shannon's links; nothing is tested."""
    ues = ues or size.cohort
    table = {
        "data": {
            "kind": "synthetic",
            "features": FEATURES,
            "classes": CLASSES,
            "train_samples": BATCH * ues,
            "test_samples": 100,
        },
        "partition": {"kind": "iid", "samples_per_ue": BATCH},
        "model": {"kind": "mlp", "hidden": [size.hidden, size.hidden]},
        "population": {"ues": ues, "cohort": size.cohort, "eval_every": NEVER},
        "training": {"batch_size": BATCH, "epochs": size.steps},
        "compute": {"kind": "per_sample", "seconds_per_sample": 1e-3},
        "uplink": {"codec": {"kind": "qsgd"}, "link": {"kind": "shannon"}},
        "downlink": {"link": {"kind": "shannon", "power_dbm": 30.0}},
        "stop": {"rounds": NEVER},
    }
    return sy.parse(table | ({"engine": engine} if engine else {})).base


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> float:
    start_s = clock()
    work()
    return clock() - start_s


def begun(settings: Scenario) -> Simulation:
    """A simulation that has gone two rounds: the first tests the model, the second makes what later ones have."""
    simulation = Simulation(settings, settings.data.load())
    for _ in range(3):
        simulation.step()
    return simulation


def round_s(size: Size, *, least_s: float = 0.3, **settings: Any) -> float:
    """Processor time of a round [s], the median of as many as fit into a while, at least three."""
    simulation = begun(scenario(size, **settings))
    found: list[float] = []
    while len(found) < 3 or (sum(found) < least_s and len(found) < 50):
        found.append(seconds(simulation.step))
    simulation.close()
    return statistics.median(found)


# Tables.


@dataclass(frozen=True)
class AmongMany:
    ues: int
    balance_s: float
    setup_s: float
    round_s: float


def among_ues(counts: list[int], cohort: int = 10) -> list[AmongMany]:
    """Rounds of the same cohort among more and more UEs."""
    return [_among(ues, Size(cohort, 16, 1)) for ues in counts]


def _among(ues: int, size: Size) -> AmongMany:
    settings = scenario(size, ues=ues)
    dataset = settings.data.load()
    balance_s = seconds(lambda: measure(settings, dataset))
    start_s = time.process_time()
    simulation = Simulation(settings, dataset)
    setup_s = time.process_time() - start_s
    for _ in range(3):
        simulation.step()
    return AmongMany(ues, balance_s, setup_s, statistics.median(seconds(simulation.step) for _ in range(20)))


@dataclass(frozen=True)
class Fit:
    coefficients: np.ndarray
    errors: np.ndarray

    def __call__(self, size: Size) -> float:
        return float(np.dot(self.coefficients, size.terms()))

    def training_share(self, size: Size) -> float:
        """Part of a round that is UEs' steps, which cores can share."""
        return float(np.dot(self.coefficients[3:], size.terms()[3:])) / self(size)


def fitted(times_s: dict[Size, float]) -> Fit:
    """Coefficients with the least sum of squared relative errors."""
    terms = np.array([size.terms() for size in times_s])
    measured_s = np.array(list(times_s.values()))
    scale = terms.max(axis=0)
    solution, _ = nnls(terms / scale / measured_s[:, None], np.ones(len(measured_s)))
    coefficients = solution / scale
    return Fit(coefficients, terms @ coefficients / measured_s - 1.0)


def over_rounds(rounds: int) -> tuple[list[float], list[float]]:
    """Processor time of each round [s], with all of its files; and the size of the folder after each [byte]."""
    size = Size(5, 16, 1)
    simulation = begun(scenario(size, ues=50))
    times_s, sizes = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = RunFolder(folder)
        files.start({}, resume=False, force=True)

        def one() -> None:
            files.append(simulation.step())
            files.checkpoint(simulation.state())

        for _ in range(rounds):
            times_s.append(seconds(one))
            sizes.append(sum(path.stat().st_size for path in Path(folder).iterdir()))
        files.close()
    return times_s, sizes


def speed_up(size: Size, workers: int, *, repeats: int) -> float:
    """Wall time of a round with one thread over that with several; medians of pairs."""
    one, many = (begun(scenario(size, engine={"kind": "threads", "workers": n})) for n in (1, workers))
    ratios = []
    for _ in range(repeats):
        alone_s = seconds(one.step, time.perf_counter)
        ratios.append(alone_s / seconds(many.step, time.perf_counter))
    one.close()
    many.close()
    return statistics.median(ratios)


def amdahl(share: float, cores: float) -> float:
    """Speed-up where a share of the work is spread over cores and the rest is not."""
    return 1.0 / (1.0 - share + share / cores)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller points")
    parser.add_argument("--check", action="store_true", help="fail past the bounds above")
    parser.add_argument("--figure", type=Path, metavar="PATH", help="draw them")
    arguments = parser.parse_args()
    quick = arguments.quick
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="rho = ")
    began_s = time.process_time()
    begun(scenario(Size(2, 4, 1))).close()  # what is imported late

    print(f"\nUEs: a cohort of 10, one step each, {Size(10, 16, 1).params:,} parameters [processor time]")
    print(f"{'UEs':>9}{'balance [s]':>13}{'set up [s]':>12}{'a round [ms]':>14}")
    counts = [10, 100, 1_000, 10_000] + ([] if quick else [100_000])
    many = among_ues(counts)
    for row in many:
        print(f"{row.ues:>9,}{row.balance_s:>13.3f}{row.setup_s:>12.3f}{1e3 * row.round_s:>14.1f}")

    cohorts, widths, steps = ((4, 16), (16, 128), (1, 8)) if quick else ((4, 16, 64), (16, 128, 512), (1, 8))
    grid = [Size(*of) for of in itertools.product(cohorts, widths, steps)]
    times_s = {size: round_s(size) for size in grid}
    fit = fitted(times_s)
    print("\ncohort, parameters, steps: a round [ms, processor time], and what the model says")
    print(f"{'cohort':>8}{'parameters':>12}{'steps':>7}{'measured':>11}{'model':>10}{'off by':>9}")
    for size, measured_s in times_s.items():
        off = fit(size) / measured_s - 1.0
        print(
            f"{size.cohort:>8}{size.params:>12,}{size.steps:>7}{1e3 * measured_s:>11.1f}"
            f"{1e3 * fit(size):>10.1f}{off:>+9.0%}"
        )
    size = Size(40, 256, 16) if quick else Size(160, 768, 4)
    held_s = round_s(size, least_s=0.0)
    held = fit(size) / held_s
    print(
        f"{size.cohort:>8}{size.params:>12,}{size.steps:>7}{1e3 * held_s:>11.1f}{1e3 * fit(size):>10.1f}"
        f"{held - 1:>+9.0%}  not fitted"
    )
    print("\nthe model: seconds for")
    for name, value in zip(COSTS, fit.coefficients, strict=True):
        print(f"  {name:<20}{value:>10.2e}")
    off = np.abs(fit.errors)
    print(f"off by {np.median(off):.0%} in the median, {off.max():.0%} at most, over {len(grid)} rounds")

    print("\nbeyond what was measured, by the model: a round on one core")
    print(f"{'cohort':>8}{'parameters':>12}{'steps':>7}{'a round [s]':>13}{'1,000 rounds [h]':>18}")
    ahead = [Size(100, 128, 40), Size(1_000, 128, 40), Size(100, 1_024, 40), Size(10_000, 128, 1)]
    for size in ahead:
        print(f"{size.cohort:>8,}{size.params:>12,}{size.steps:>7}{fit(size):>13.2f}{fit(size) / 3.6:>18.2f}")

    rounds = 100 if quick else 500
    each_s, bytes_after = over_rounds(rounds)
    tenth = rounds // 10
    early_s, late_s = statistics.median(each_s[:tenth]), statistics.median(each_s[-tenth:])
    print(f"\nrounds: a cohort of 5, with all files; {rounds} of them took {sum(each_s):.1f} s")
    print(f"the first {tenth}: {1e3 * early_s:.1f} ms each, the last {tenth}: {1e3 * late_s:.1f} ms")
    print(f"files: {(bytes_after[-1] - bytes_after[tenth]) / (rounds - tenth) / 1024:.1f} KiB a round")

    size = Size(8, 1_024, 2 if quick else 8)
    share = fit.training_share(size)
    usable = cores()
    print(
        f"\ncores: {size.cohort} UEs, {size.params:,} parameters, {size.steps} steps; {share:.1%} of it is steps"
    )
    print(f"{'threads':>9}{'measured':>11}{'Amdahl':>9}  (times as fast as one)")
    faster = {}
    for workers in [1, 2, 4, 8, 16, 64]:
        if 1 < workers <= usable:
            faster[workers] = speed_up(size, workers, repeats=3 if quick else 5)
        found = f"{faster[workers]:.2f}" if workers in faster else "–"
        print(f"{workers:>9}{found:>11}{amdahl(share, workers):>9.2f}")
    print(f"\nall in {time.process_time() - began_s:.0f} s of processor time")

    if arguments.figure:
        draw(arguments.figure, many=many, times_s=times_s, fit=fit, share=share, faster=faster)
    slower = many[-1].round_s / many[0].round_s
    return int(arguments.check and (not 0.5 <= held <= 2.0 or slower > 3.0))


def draw(
    path: Path,
    *,
    many: list[AmongMany],
    times_s: dict[Size, float],
    fit: Fit,
    share: float,
    faster: dict[int, float],
) -> None:
    """Four pairs of axes: UEs, cohort, parameters, cores; marks were measured, lines are the model."""
    from syft_fl.plots.style import DOUBLE_IN, PALETTE, Drawing, styled

    with styled():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure = Drawing(figsize=(DOUBLE_IN, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        ues, cohort, params, cores = (figure.add_subplot(2, 2, place) for place in range(1, 5))
        counts = [row.ues for row in many]
        ues.loglog(counts, [row.setup_s for row in many], "s--", color=PALETTE[1], label="set up, once")
        ues.loglog(counts, [row.balance_s for row in many], "^:", color=PALETTE[2], label="balance, once")
        ues.loglog(
            counts, [row.round_s for row in many], "o-", color=PALETTE[0], label="a round, cohort of 10"
        )
        ues.set(xlabel="UEs of the cell", ylabel="processor time [s]")
        widths = sorted({size.hidden for size in times_s})
        cohorts = sorted({size.cohort for size in times_s})
        steps = max(size.steps for size in times_s)
        for axes, lines, other, ahead in (
            (cohort, widths, cohorts, [10_000]),
            (params, cohorts, widths, [2_048]),
        ):
            for color, marker, fixed in zip(PALETTE, "os^", lines, strict=False):

                def at(x: float, fixed: int = fixed, axes: Any = axes) -> Size:
                    of = (x, fixed) if axes is cohort else (fixed, x)
                    return Size(*of, steps)

                def along(x: float, axes: Any = axes, at: Any = at) -> float:
                    return x if axes is cohort else at(x).params

                inside = np.geomspace(other[0], other[-1], 30)
                outside = np.geomspace(other[-1], ahead[-1], 30)
                what = f"{at(other[0]).params:,} parameters" if axes is cohort else f"cohort of {fixed}"
                axes.loglog([along(x) for x in inside], [fit(at(x)) for x in inside], "-", color=color)
                axes.loglog([along(x) for x in outside], [fit(at(x)) for x in outside], ":", color=color)
                found = [times_s[at(x)] for x in other]
                axes.loglog([along(x) for x in other], found, marker, color=color, label=what)
        cohort.set(xlabel="UEs of the cohort", ylabel=f"a round of {steps} steps [s]")
        params.set(xlabel="parameters", ylabel=f"a round of {steps} steps [s]")
        line = np.geomspace(1, 64, 50)
        cores.set_xscale("log", base=2)
        cores.set_yscale("log", base=2)
        cores.plot(
            line, [amdahl(share, n) for n in line], ":", color=PALETTE[0], label=f"Amdahl, {share:.1%} shared"
        )
        cores.plot([1, *faster], [1.0, *faster.values()], "o", color=PALETTE[0], label="measured")
        cores.set(xlabel="cores (engine = threads)", ylabel="times as fast as one", xticks=[1, 4, 16, 64])
        for axes in (ues, cohort, params, cores):
            axes.grid(True)
            axes.legend()
        for axis in (cores.xaxis, cores.yaxis):
            axis.set_major_formatter("{x:g}")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
