"""Many runs: variants at the points of a grid, each with several seeds, side by side and none of them twice.

::

    OUT/sweep.parquet       all rounds of all runs: variant, the grid's settings, seed, run, and the rounds' columns
    OUT/sweep.json          what was asked for, and the runs' names
    OUT/runs/<name>/        a run's folder, as `syft-fl run` writes it

A run's name is a hash of all that its result depends on: the resolved scenario, the budget that its compute time was
settled from, and the versions of the libraries that compute. So a sweep that was killed goes on, a wider one takes over
what is there, and two points that come to the same scenario are one run. The code of your own model or codec is not in
the hash: after a change there, force the runs.

Of runs that differ in nothing but time (:mod:`syft_fl.federation.retiming`) one is trained, and the others are re-timed
from it: their result files are the same to the byte.

A run holds its folder while it writes; a second process that wants it waits, and then reads what it finds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from syft_fl.data import Dataset
from syft_fl.errors import RunError
from syft_fl.experiment.config import Experiment, Variant, load
from syft_fl.experiment.folder import RunFolder, write_atomically
from syft_fl.experiment.grid import Faults, Point, checked_grid, points, shown
from syft_fl.experiment.learnt_once import Outcome, learnt_once
from syft_fl.experiment.processes import Failure
from syft_fl.experiment.progress import ManyBar
from syft_fl.experiment.result import table_of_rounds
from syft_fl.experiment.runs import Job, cached_loader, check_ray, side_by_side, with_own_parts
from syft_fl.experiment.sweep_result import FailedRun, SweepResult, labels
from syft_fl.experiment.tracking import tracking
from syft_fl.federation import Scenario, check_fits, measure, settle
from syft_fl.schema import plain, require

__all__ = ["sweep"]

_LIBRARIES = (
    "syft_fl",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "constriction",
    "zstandard",
)
"""Those whose version may change a result; Sionna's too, where a link is of that kind."""


@dataclass(frozen=True)
class _Run:
    """A job, its name, and where on the grid it is. Two of them may have one name, and then they are one run."""

    point: Point
    name: str
    job: Job

    def where(self, grid: Iterable[str]) -> str:
        return f"{self.point.label(list(grid))}, seed = {self.job.scenario.seed}"


def sweep(
    config: Experiment | Scenario | str | Path,
    *,
    grid: Mapping[str, Iterable[Any]] | None = None,
    seeds: Iterable[int] | None = None,
    jobs: int = 1,
    ray: str | None = None,
    out: str | Path | None = None,
    model: Any = None,
    data: Any = None,
    force: bool = False,
    retime: bool = True,
    data_root: str | Path | None = None,
    accept_checksum_mismatch: bool = False,
    track: str | Sequence[str] = (),
) -> SweepResult:
    """Run every variant at every point of a grid with every seed.

    Compute time is settled once, from the experiment's base scenario as it stands in the file, and inherited by all
    points: another radius or codec makes no UE compute faster. To vary it, put ``compute.rho`` into the grid, or
    ``compute`` whole.

    Args:
        config: an experiment, a scenario, or a TOML file.
        grid: values by the path of a setting, ``{"uplink.codec.bits": [2, 4, 8]}``; a value may be an object, as
            ``{"uplink.codec": [sy.codecs.QSGD(levels=7)]}``. It goes over what a variant says; ``scenario`` takes names
            of scenarios that come with the package.
        seeds: instead of the experiment's.
        jobs: runs at a time, each in a process of its own with one thread; 1: one after another, here. The results are
            the same. What is re-timed is re-timed here, when the others are done.
        ray: address of a Ray cluster, as in :func:`~syft_fl.experiment.compare`.
        out: folder for results, in which finished runs are kept and not run again; None: nothing is written.
        model, data: your own, as in :func:`~syft_fl.experiment.run`.
        force: run again what is finished.
        retime: whether runs that learn the same are trained once; false: each is trained.
        data_root, accept_checksum_mismatch, track: as in :func:`~syft_fl.experiment.run`.

    Returns:
        What came through, and what failed and why: a run that fails does not stop the others.

    Raises:
        ConfigError, DataError: before anything is trained.
        RunError: ``out`` can't be written.

    Example:
        >>> import syft_fl as sy
        >>> tiny = sy.load("nb-iot", ["data=synthetic", "model=softmax", "stop.rounds=1", "uplink.codec=uniform"])
        >>> len(sweep(tiny, grid={"uplink.codec.bits": [2, 4]}, seeds=[0, 1]).table())  # doctest: +ELLIPSIS
        rho = ...
        4 runs: points of the grid: 2, seeds: 2
        2
    """
    require(jobs >= 1, "jobs", jobs, "at least 1")
    check_ray(ray, jobs)
    experiment = _experiment(config, seeds, model=model, data=data)
    values = checked_grid(grid or {})
    folder = None if out is None else Path(out)
    mirrored = tracking(track, experiment=experiment.name, out=folder)
    settings = (None if data_root is None else Path(data_root), accept_checksum_mismatch)
    load_data = cached_loader(*settings)
    at = points(experiment, values)
    budget = measure(experiment.base, load_data(experiment.base.data))
    print(budget)
    budget.check()

    names = labels([(point.variant, *map(shown, point.values)) for point in at], list(values))
    runs = []
    for point, label in zip(at, names, strict=True):
        settled = settle(point.scenario, budget)
        for seed in experiment.seeds:
            job = Job(
                name=label,
                scenario=settled.with_seed(seed),
                budget=budget,
                out=None,
                resume=True,
                force=force,
                mirrored=mirrored,
            )
            name = _name(job)
            runs.append(_Run(point, name, replace(job, out=folder / "runs" / name) if folder else job))
    _check(runs, list(values), load_data)
    if folder is not None:
        _write_facts(folder, experiment, values, runs)
    with_hands = partial(side_by_side, jobs=jobs, ray=ray, settings=settings)
    outcomes = _carried_out(runs, with_hands, load_data, force=force, retime=retime)
    result = _result(experiment, values, runs, outcomes, folder)
    if folder is not None:
        result.save(folder)
    return result


def _experiment(
    config: Experiment | Scenario | str | Path, seeds: Iterable[int] | None, *, model: Any, data: Any
) -> Experiment:
    """What is varied, with the seeds and the user's own parts."""
    found = load(config) if isinstance(config, str | Path) else config
    if isinstance(found, Scenario):
        found = Experiment(name="run", base=found, variants=(), seeds=(found.seed,))
    return Experiment(
        name=found.name,
        base=with_own_parts(found.base, model=model, data=data),
        variants=tuple(
            Variant(name=variant.name, scenario=with_own_parts(variant.scenario, model=model, data=data))
            for variant in found.variants or (Variant(name="base", scenario=found.base),)
        ),
        seeds=found.seeds if seeds is None else tuple(seeds),
        target_accuracy=found.target_accuracy,
    )


def _check(runs: Sequence[_Run], grid: Sequence[str], load_data: Callable[[Any], Dataset]) -> None:
    """Check, without training, that every run's data and model go together.

    Raises:
        ConfigError, DataError, TransportError: they do not.
    """
    faults = Faults()
    for run in runs:
        scenario = run.job.scenario
        faults.look(run.where(grid), partial(_check_one, scenario, load_data))
    faults.settle()


def _check_one(scenario: Scenario, load_data: Callable[[Any], Dataset]) -> None:
    check_fits(scenario, load_data(scenario.data))


def _carried_out(
    runs: Sequence[_Run],
    with_hands: Callable[..., list[Outcome]],
    load_data: Callable[[Any], Dataset],
    *,
    force: bool,
    retime: bool,
) -> dict[str, Outcome]:
    """What became of each run that was not finished, by name."""
    unique = {run.name: run.job for run in runs}
    todo = {name: job for name, job in unique.items() if force or not _finished(job)}
    kept = [job for name, job in unique.items() if name not in todo]
    seeds = len({run.job.scenario.seed for run in runs})
    said = f"{len(runs)} runs: points of the grid: {len(runs) // seeds}, seeds: {seeds}"
    said += f", the same as others: {len(runs) - len(unique)}" if len(unique) < len(runs) else ""
    print(said + (f", finished before: {len(kept)}" if kept else ""))
    waiting = list(todo.values())
    retimed = 0
    with ManyBar([job.scenario.stop.rounds for job in waiting], finished=len(kept)) as bar:

        def carried_out(some: Sequence[int]) -> list[Outcome]:
            return with_hands(
                [waiting[index] for index in some], hear=lambda place, value: bar.hear(some[place], value)
            )

        def hear(index: int, _: Job, outcome: Outcome) -> None:
            nonlocal retimed
            retimed += not isinstance(outcome, Failure)
            bar.hear(index, outcome)

        if retime:
            outcomes = learnt_once(waiting, carried_out, load_data, finished=kept, goes_on=True, hear=hear)
        else:
            outcomes = carried_out(range(len(waiting)))
    if retimed:
        print(f"re-timed from others that learn the same, not trained: {retimed}")
    return dict(zip(todo, outcomes, strict=True))


def _finished(job: Job) -> bool:
    return job.out is not None and RunFolder(job.out).finished


def _result(
    experiment: Experiment,
    grid: Mapping[str, Sequence[Any]],
    runs: Sequence[_Run],
    outcomes: Mapping[str, Outcome],
    folder: Path | None,
) -> SweepResult:
    import pandas as pd

    columns = {path: _column(values) for path, values in grid.items()}
    frames, failures = [], []
    for run in runs:
        outcome = outcomes.get(run.name)
        if isinstance(outcome, Failure):
            failures.append(FailedRun(run.where(list(grid)), outcome.message))
            continue
        place: dict[str, Any] = {"variant": run.point.variant}
        for path, value in zip(grid, run.point.values, strict=True):
            place[path] = columns[path](value)
        place |= {"seed": run.job.scenario.seed, "run": run.name}
        frame = outcome.rounds if outcome is not None else table_of_rounds(RunFolder(_out(run.job)).rounds())
        frames.append(pd.concat([pd.DataFrame([place] * len(frame)), frame], axis=1))
    rounds = (
        pd.concat(frames, ignore_index=True)
        if frames
        else pd.DataFrame(columns=["variant", *grid, "seed", "run"])
    )
    target = experiment.target_accuracy
    return SweepResult(experiment.name, tuple(grid), rounds, target, tuple(failures), folder)


def _out(job: Job) -> Path:
    assert job.out is not None  # what is in no folder has an outcome
    return job.out


def _column(values: Sequence[Any]) -> Callable[[Any], Any]:
    """How a setting's values stand in the table: as they are if all numbers, or all true or false; else as text."""
    if all(isinstance(value, bool) for value in values):
        return bool
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return float if any(isinstance(value, float) for value in values) else int
    return shown


def _name(job: Job) -> str:
    """A hash of all that a run's result depends on."""
    config = json.dumps(job.config, sort_keys=True, separators=(",", ":"))
    libraries = (*_LIBRARIES, "sionna-no-rt") if '"kind":"sionna"' in config else _LIBRARIES
    text = "\n".join([config, *(f"{name} {_version(name)}" for name in libraries)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@cache
def _version(library: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(library)
    return None


def _write_facts(
    folder: Path, experiment: Experiment, grid: Mapping[str, Sequence[Any]], runs: Sequence[_Run]
) -> None:
    facts = {
        "name": experiment.name,
        "variants": [variant.name for variant in experiment.variants],
        "grid": {path: plain(list(values)) for path, values in grid.items()},
        "seeds": list(experiment.seeds),
        "target_accuracy": experiment.target_accuracy,
        "versions": {name: _version(name) for name in _LIBRARIES},
        "runs": {run.where(list(grid)): run.name for run in runs},
    }
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "sweep.json", json.dumps(facts, indent=1).encode() + b"\n")
    except OSError as error:
        raise RunError(
            f"{folder} can't be written ({error.strerror or error}); choose another folder with --out"
        ) from None
