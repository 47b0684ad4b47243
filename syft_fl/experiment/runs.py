"""Run one scenario, or compare several."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from syft_fl.codecs import Codec
from syft_fl.data import Dataset, own_data
from syft_fl.devices import describe
from syft_fl.errors import RunError
from syft_fl.experiment.config import Experiment, load
from syft_fl.experiment.folder import RunFolder, write_atomically
from syft_fl.experiment.learnt_once import Outcome, learnt_once
from syft_fl.experiment.processes import Failure, Tell, Work, carry_out
from syft_fl.experiment.progress import Bar, ManyBar, Progress
from syft_fl.experiment.provenance import environment
from syft_fl.experiment.ray_tasks import carry_out_on_ray
from syft_fl.experiment.result import Comparison, Result
from syft_fl.experiment.tracking import Tracking, tracking
from syft_fl.federation import (
    Budget,
    RoundRecord,
    Scenario,
    Simulation,
    check_fits,
    measure,
    settle,
)
from syft_fl.learn import intra_op_threads, own_model
from syft_fl.radio import LinkModel
from syft_fl.schema import plain, require

__all__ = [
    "WORK",
    "Job",
    "cached_loader",
    "check_ray",
    "compare",
    "job_work",
    "run",
    "side_by_side",
    "with_own_parts",
]

WORK = "syft_fl.experiment.runs:job_work"
"""Where a worker process finds what to do with jobs."""


def run(
    config: Experiment | Scenario | str | Path,
    *,
    out: str | Path | None = None,
    model: Any = None,
    data: Any = None,
    codec: Codec | None = None,
    link: LinkModel | None = None,
    variant: str | None = None,
    seed: int | None = None,
    resume: bool = False,
    force: bool = False,
    data_root: str | Path | None = None,
    accept_checksum_mismatch: bool = False,
    track: str | Sequence[str] = (),
    progress: Progress | None = None,
) -> Result:
    """Run a scenario.

    Args:
        config: a scenario, an experiment, or a TOML file.
        out: folder for the run's files; None: nothing is written.
        model: your own module class, or a function that returns a module, instead of the scenario's.
        data: your own ``(train, test)`` instead of the scenario's, each a pair ``(x, y)`` of tensors.
        codec, link: your own for the uplink, instead of the scenario's.
        variant: of the experiment; None: its base scenario.
        seed: instead of the scenario's.
        resume: go on where a killed run in ``out`` stopped; a finished one is only read.
        force: replace what ``out`` holds.
        data_root: folder of MNIST or CIFAR-10; else ``$SYFT_FL_DATA``, else ``./data``.
        accept_checksum_mismatch: use a copy of a data set that differs from the published one, with a warning.
        track: mirror the run to ``"tensorboard"`` or ``"mlflow"`` (:mod:`~syft_fl.experiment.tracking`).
        progress: called after every round; None: a bar, where somebody watches.

    Raises:
        ConfigError, DataError: before anything is trained.
        RunError: ``out`` can't be written, or holds another run.
    """
    if isinstance(config, str | Path):
        config = load(config)
    if isinstance(config, Scenario):
        config = Experiment(name="run", base=config, variants=(), seeds=(config.seed,))
    mirrored = tracking(track, experiment=config.name, out=_path(out))
    own = {"model": model, "data": data, "codec": codec, "link": link}
    base = with_own_parts(config.base, **own)
    chosen = base if variant is None else with_own_parts(config.variant(variant), **own)
    load_data = cached_loader(_path(data_root), accept_checksum_mismatch)
    budget = measure(base, load_data(base.data))
    print(budget)
    budget.check()
    scenario = settle(chosen, budget)
    if seed is not None:
        scenario = scenario.with_seed(seed)
    dataset = load_data(scenario.data)
    check_fits(scenario, dataset)
    job = Job(
        name=variant or "base",
        scenario=scenario,
        budget=budget,
        out=_path(out),
        resume=resume,
        force=force,
        mirrored=mirrored,
    )
    with Bar() as bar:
        return job.run(dataset, progress or bar.of(job.name, scenario.seed))


def compare(
    config: Experiment | str | Path,
    *,
    out: str | Path | None = None,
    model: Any = None,
    data: Any = None,
    jobs: int = 1,
    ray: str | None = None,
    resume: bool = False,
    force: bool = False,
    retime: bool = True,
    data_root: str | Path | None = None,
    accept_checksum_mismatch: bool = False,
    track: str | Sequence[str] = (),
    progress: Callable[[str, int], Progress] | None = None,
) -> Comparison:
    """Run every variant of an experiment with every seed.

    Compute time is resolved once, from the base scenario, and inherited by all variants. A variant that is finished in
    ``out`` is not run again, unless forced. Of variants that differ in nothing but time
    (:mod:`syft_fl.federation.retiming`) the first is trained, and the others are re-timed from it: their result files
    are the same to the byte.

    Args:
        config: an experiment, or a TOML file.
        out: folder for ``<variant>/seed<n>/``; None: nothing is written.
        jobs: runs at a time, each in a process of its own with one thread; 1: one after another, here. The files are
            the same. What is re-timed is re-timed here, when the others are done.
        ray: address of a Ray cluster (``"auto"``: the one that was started here, ``"local"``: a new one), over whose
            cores runs are spread, instead of ``jobs`` (docs/cluster.md); the files are the same.
        retime: whether variants that learn the same are trained once; false: each is trained.
        progress: gives the progress callback of a variant and seed, which needs ``jobs`` = 1 and no ``ray``; None: a
            bar, where somebody watches. Of what is not trained it hears nothing.
        model, data, resume, force, data_root, accept_checksum_mismatch, track: as in :func:`run`.

    Raises:
        ConfigError, DataError: before anything is trained.
        RunError: ``out`` can't be written, or holds other runs; with more than one job also where a run failed, after
            the others are finished.
    """
    require(jobs >= 1, "jobs", jobs, "at least 1")
    require(jobs == 1 or progress is None, "jobs", jobs, "1 where progress is given", "leave progress out")
    check_ray(ray, jobs)
    require(ray is None or progress is None, "ray", ray, "left out where progress is given")
    experiment = load(config) if isinstance(config, str | Path) else config
    mirrored = tracking(track, experiment=experiment.name, out=_path(out))
    base = with_own_parts(experiment.base, model=model, data=data)
    load_data = cached_loader(_path(data_root), accept_checksum_mismatch)
    budget = measure(base, load_data(base.data))
    print(budget)
    budget.check()
    scenarios = {
        variant.name: settle(with_own_parts(variant.scenario, model=model, data=data), budget)
        for variant in experiment.variants
    }
    for scenario in scenarios.values():
        for seed in experiment.seeds:
            check_fits(scenario.with_seed(seed), load_data(scenario.data))
    folder = _path(out)
    if folder is not None:
        _write_facts(folder, experiment)
    todo = [
        Job(
            name=name,
            scenario=scenario.with_seed(seed),
            budget=budget,
            out=folder / name / f"seed{seed}" if folder is not None else None,
            resume=resume,
            force=force,
            mirrored=mirrored,
        )
        for name, scenario in scenarios.items()
        for seed in experiment.seeds
    ]

    apart = jobs > 1 or ray is not None
    settings = (_path(data_root), accept_checksum_mismatch)

    def carried_out(some: Sequence[Job]) -> Sequence[Outcome]:
        if apart:
            with ManyBar([job.scenario.stop.rounds for job in some]) as bar:
                return side_by_side(some, jobs=jobs, ray=ray, settings=settings, hear=bar.hear)
        with Bar() as bar:
            return [
                job.run(load_data(job.scenario.data), (progress or bar.of)(job.name, job.scenario.seed))
                for job in some
            ]

    outcomes = _learnt_once(todo, carried_out, load_data, goes_on=apart) if retime else carried_out(todo)
    results = _all_came_through(todo, outcomes)
    return Comparison(experiment.name, results, experiment.target_accuracy, folder)


@dataclass(frozen=True)
class Job:
    """One run, ready to be carried out in whichever process.

    Attributes:
        name: of the variant.
        scenario: with its compute time in seconds, and its seed.
        budget: what that time was settled from.
        out: the run's folder; None: nothing is written.
        resume, force: as in :func:`run`.
        mirrored: where else the run is shown.
    """

    name: str
    scenario: Scenario
    budget: Budget
    out: Path | None
    resume: bool
    force: bool
    mirrored: Tracking

    @property
    def config(self) -> dict[str, Any]:
        """The resolved scenario, as a run writes it down."""
        return {**plain(self.scenario), "balance": plain(self.budget)}

    @property
    def finished(self) -> bool:
        """Whether its folder holds the result, which is not to be replaced."""
        if self.out is None or self.force:
            return False
        folder = RunFolder(self.out)
        return folder.finished and folder.config == self.config

    def kept(self) -> Result | None:
        """The result, where it is finished and not to be replaced."""
        return Result.load(_path_of(self), name=self.name) if self.finished else None

    def run(self, dataset: Dataset, progress: Progress) -> Result:
        """Carry it out, or read it where it is finished."""
        if self.out is None:
            return _run_resolved(self, dataset, None, progress)
        folder = RunFolder(self.out)
        with folder.held():
            return _run_resolved(self, dataset, folder, progress)


def job_work(settings: tuple[Path | None, bool]) -> Work:
    """What a worker process does with jobs; data sets are loaded once in each.

    Args:
        settings: ``data_root`` and ``accept_checksum_mismatch``.
    """
    load_data = cached_loader(*settings)

    def work(job: Job, tell: Tell) -> Result | None:
        def progress(simulation: Simulation, record: RoundRecord) -> None:
            tell(record.row)

        result = job.run(load_data(job.scenario.data), progress)
        # What is in files is read from there.
        return result if job.out is None else None

    return work


def _learnt_once(
    todo: Sequence[Job],
    carried_out: Callable[[Sequence[Job]], Sequence[Outcome]],
    load_data: Callable[[Any], Dataset],
    *,
    goes_on: bool,
) -> Sequence[Outcome]:
    """The outcome of each job, one of those that learn the same being trained."""
    open_: list[Job] = []
    finished: dict[int, Job] = {}
    for index, job in enumerate(todo):
        with suppress(RunError):  # a folder that can't be read: whoever carries it out says so
            if job.finished:
                finished[index] = job
                continue
        open_.append(job)

    def hear(index: int, source: Job, outcome: Outcome) -> None:
        if not isinstance(outcome, Failure):
            job = open_[index]
            print(
                f"{job.name} seed {job.scenario.seed}: learns what {source.name} has learnt, and is not trained again"
            )

    found = iter(
        learnt_once(
            open_,
            lambda some: carried_out([open_[index] for index in some]),
            load_data,
            finished=list(finished.values()),
            goes_on=goes_on,
            hear=hear,
        )
    )
    return [None if index in finished else next(found) for index in range(len(todo))]


def check_ray(ray: str | None, jobs: int) -> None:
    """Refuse worker processes of this machine beside those of a cluster.

    Raises:
        ConfigError: both are asked for.
    """
    require(
        ray is None or jobs == 1, "jobs", jobs, "1 with ray", "a cluster has as many runs at a time as cores"
    )


def side_by_side(
    todo: Sequence[Job],
    *,
    jobs: int,
    ray: str | None,
    settings: tuple[Path | None, bool],
    hear: Callable[[int, Any], None],
) -> list[Outcome]:
    """Carry out jobs in worker processes of this machine or of a Ray cluster; with one process here.

    Args:
        todo: runs.
        jobs, ray: as in :func:`compare`.
        settings: of :func:`job_work`.
        hear: called with a job's index and what it tells, at last its outcome.
    """
    if ray is not None:
        return carry_out_on_ray(todo, address=ray, work=WORK, settings=settings, hear=hear)
    return carry_out(todo, work=WORK, settings=settings, processes=jobs, hear=hear)


def _all_came_through(todo: Sequence[Job], outcomes: Sequence[Outcome]) -> tuple[Result, ...]:
    failed = [
        f"{job.name} seed {job.scenario.seed}: {outcome.message}"
        for job, outcome in zip(todo, outcomes, strict=True)
        if isinstance(outcome, Failure)
    ]
    if failed:
        raise RunError("\n".join([f"{len(failed)} of {len(todo)} runs failed", *failed]))
    return tuple(
        outcome if isinstance(outcome, Result) else Result.load(_path_of(job), name=job.name)
        for job, outcome in zip(todo, outcomes, strict=True)
    )


def _path_of(job: Job) -> Path:
    assert job.out is not None
    return job.out


def _run_resolved(job: Job, dataset: Dataset, folder: RunFolder | None, progress: Progress) -> Result:
    name, scenario, config = job.name, job.scenario, job.config
    kept = job.kept()
    if kept is not None:
        return kept
    rows: list[Mapping[str, Any]] = []
    transfers: list[Mapping[str, Any]] = []
    computations: list[Mapping[str, Any]] = []
    decisions: list[Mapping[str, Any]] = []
    started = time.perf_counter()
    with intra_op_threads(scenario.training.threads), ExitStack() as at_end:
        state = None
        if folder is not None:
            at_end.callback(folder.close)
            state = folder.start(config, resume=job.resume, force=job.force)
        simulation = Simulation(scenario, dataset)
        at_end.callback(simulation.close)
        if state is not None:
            simulation.load(state)
        mirror = at_end.enter_context(job.mirrored.mirror(name, scenario.seed, config))
        for row in folder.rounds() if folder is not None else ():
            mirror.log(row)
        while simulation.stopped_by is None:
            record = simulation.step()
            if folder is not None:
                folder.append(record)
                folder.checkpoint(simulation.state())
            else:
                rows.append(record.row)
                transfers += [asdict(entry) for entry in record.entries]
                computations += [asdict(computation) for computation in record.computations]
                decisions += [asdict(decision) for decision in record.decisions]
            mirror.log(record.row)
            progress(simulation, record)
    if folder is None:
        return Result.of(name, config, rows, transfers, computations=computations, decisions=decisions)
    folder.finish(_provenance(simulation, host_s=time.perf_counter() - started, resumed=state is not None))
    return Result.load(folder.path, name=name)


def with_own_parts(
    scenario: Scenario,
    *,
    model: Any = None,
    data: Any = None,
    codec: Codec | None = None,
    link: LinkModel | None = None,
) -> Scenario:
    """A scenario with a user's own parts in the place of its own."""
    uplink = scenario.uplink
    if codec is not None:
        uplink = replace(uplink, codec=codec)
    if link is not None:
        uplink = replace(uplink, link=link)
    changes: dict[str, Any] = {"uplink": uplink}
    if model is not None:
        changes["model"] = own_model(model)
    if data is not None:
        changes["data"] = own_data(data)
    return replace(scenario, **changes)


def cached_loader(root: Path | None, accept_checksum_mismatch: bool) -> Callable[[Any], Dataset]:
    """Load each data set of a comparison once."""
    loaded: list[tuple[Any, Dataset]] = []

    def load_once(data: Any) -> Dataset:
        for known, dataset in loaded:
            if known == data:
                return dataset
        found: Dataset = data.load(root=root, accept_checksum_mismatch=accept_checksum_mismatch)
        loaded.append((data, found))
        return found

    return load_once


def _write_facts(folder: Path, experiment: Experiment) -> None:
    facts = {
        "name": experiment.name,
        "variants": [variant.name for variant in experiment.variants],
        "seeds": list(experiment.seeds),
        "target_accuracy": experiment.target_accuracy,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "experiment.json", json.dumps(facts, indent=1).encode() + b"\n")
    except OSError as error:
        raise RunError(
            f"{folder} can't be written ({error.strerror or error}); choose another folder with --out"
        ) from None


def _provenance(simulation: Simulation, *, host_s: float, resumed: bool) -> dict[str, Any]:
    """What the result does not depend on, or should not."""
    return {
        "stopped_by": simulation.stopped_by,
        "host_s": host_s,
        "resumed": resumed,
        **environment(),
        "device": describe(simulation.device),
        "threads": simulation.scenario.training.threads,
        "carrier": dict(simulation.transport.carrier.report()),
    }


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
