"""Run one scenario, or compare several."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from syft_fl.codecs import Codec
from syft_fl.data import Dataset, own_data
from syft_fl.errors import RunError
from syft_fl.experiment.config import Experiment, load
from syft_fl.experiment.folder import RunFolder, write_atomically
from syft_fl.experiment.progress import Bar, Progress
from syft_fl.experiment.provenance import environment
from syft_fl.experiment.result import Comparison, Result
from syft_fl.experiment.retiming import (
    recorded,
    replayed,
    result_of,
    retimed_provenance,
    write,
)
from syft_fl.federation import (
    Budget,
    Recording,
    Retimed,
    Scenario,
    Simulation,
    check_fits,
    measure,
    settle,
    why_not,
)
from syft_fl.learn import intra_op_threads, own_model
from syft_fl.radio import LinkModel
from syft_fl.schema import plain

__all__ = ["cached_loader", "compare", "run"]


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
        progress: called after every round; None: a bar, where somebody watches.

    Raises:
        ConfigError, DataError: before anything is trained.
        RunError: ``out`` can't be written, or holds another run.
    """
    if isinstance(config, str | Path):
        config = load(config)
    if isinstance(config, Scenario):
        config = Experiment(name="run", base=config, variants=(), seeds=(config.seed,))
    own = {"model": model, "data": data, "codec": codec, "link": link}
    base = _with_own_parts(config.base, **own)
    chosen = base if variant is None else _with_own_parts(config.variant(variant), **own)
    load_data = cached_loader(_path(data_root), accept_checksum_mismatch)
    budget = measure(base, load_data(base.data))
    print(budget)
    budget.check()
    scenario = settle(chosen, budget)
    if seed is not None:
        scenario = scenario.with_seed(seed)
    dataset = load_data(scenario.data)
    check_fits(scenario, dataset)
    with Bar() as bar:
        return _run_resolved(
            scenario,
            dataset,
            budget,
            name=variant or "base",
            out=_path(out),
            resume=resume,
            force=force,
            progress=progress or bar.of(variant or "base", scenario.seed),
        )


def compare(
    config: Experiment | str | Path,
    *,
    out: str | Path | None = None,
    model: Any = None,
    data: Any = None,
    resume: bool = False,
    force: bool = False,
    retime: bool = True,
    data_root: str | Path | None = None,
    accept_checksum_mismatch: bool = False,
    progress: Callable[[str, int], Progress] | None = None,
) -> Comparison:
    """Run every variant of an experiment with every seed.

    Compute time is resolved once, from the base scenario, and inherited by all variants. A variant that is finished in
    ``out`` is not run again, unless forced. One that differs from an earlier one in nothing but time
    (:mod:`syft_fl.federation.retiming`) is not trained: its result files are the same to the byte.

    Args:
        config: an experiment, or a TOML file.
        out: folder for ``<variant>/seed<n>/``; None: nothing is written.
        retime: whether variants that learn the same are trained once; false: each is trained.
        progress: gives the progress callback of a variant and seed; None: a bar, where somebody watches. Of what is not
            trained it hears nothing.
        model, data, resume, force, data_root, accept_checksum_mismatch: as in :func:`run`.

    Raises:
        ConfigError, DataError: before anything is trained.
        RunError: ``out`` can't be written, or holds other runs.
    """
    experiment = load(config) if isinstance(config, str | Path) else config
    base = _with_own_parts(experiment.base, model=model, data=data)
    load_data = cached_loader(_path(data_root), accept_checksum_mismatch)
    budget = measure(base, load_data(base.data))
    print(budget)
    budget.check()
    scenarios = {
        variant.name: settle(_with_own_parts(variant.scenario, model=model, data=data), budget)
        for variant in experiment.variants
    }
    for scenario in scenarios.values():
        for seed in experiment.seeds:
            check_fits(scenario.with_seed(seed), load_data(scenario.data))
    folder = _path(out)
    if folder is not None:
        _write_facts(folder, experiment)
    results: list[Result] = []
    trained: dict[int, list[_Trained]] = {seed: [] for seed in experiment.seeds}
    with Bar() as bar:
        for name, scenario in scenarios.items():
            for seed in experiment.seeds:
                seeded = scenario.with_seed(seed)
                result = _run_resolved(
                    seeded,
                    load_data(scenario.data),
                    budget,
                    name=name,
                    out=folder / name / f"seed{seed}" if folder is not None else None,
                    resume=resume,
                    force=force,
                    progress=(progress or bar.of)(name, seed),
                    trained=trained[seed],
                )
                results.append(result)
                if retime:
                    trained[seed].append(_Trained(seeded, result))
    return Comparison(experiment.name, tuple(results), experiment.target_accuracy, folder)


@dataclass(frozen=True)
class _Trained:
    """A variant of a comparison that is there, for others that may learn the same."""

    scenario: Scenario
    result: Result

    @cached_property
    def recording(self) -> Recording:
        return recorded(self.result, self.scenario)

    def retimed(self, scenario: Scenario, dataset: Dataset) -> Retimed | None:
        """Its tables with the times of another scenario; None: that has to be trained."""
        if why_not(self.scenario, scenario):
            return None
        try:
            return replayed(self.recording, scenario, dataset)
        except RunError:  # another version wrote it, or a medium of the user's own has lost something
            return None


def _run_resolved(
    scenario: Scenario,
    dataset: Dataset,
    budget: Budget,
    *,
    name: str,
    out: Path | None,
    resume: bool,
    force: bool,
    progress: Progress,
    trained: Iterable[_Trained] = (),
) -> Result:
    """Run a scenario whose compute time is in seconds, or read it where it is finished, or re-time what is trained."""
    config = plain(scenario) | {"balance": plain(budget)}
    folder = RunFolder(out) if out is not None else None
    if folder is not None and folder.finished and not force and folder.config == config:
        return Result.load(folder.path, name=name)
    for other in trained:
        retimed = other.retimed(scenario, dataset)
        if retimed is not None:
            print(
                f"{name} seed {scenario.seed}: learns what {other.result.name} has learnt, and is not trained again"
            )
            if folder is None:
                return result_of(retimed, name=name, config=config)
            folder.start(config, resume=resume, force=force, from_checkpoint=False)
            write(folder, retimed, retimed_provenance(other.result))
            return Result.load(folder.path, name=name)
    rows: list[Mapping[str, Any]] = []
    transfers: list[Mapping[str, Any]] = []
    computations: list[Mapping[str, Any]] = []
    started = time.perf_counter()
    with intra_op_threads(scenario.training.threads):
        state = folder.start(config, resume=resume, force=force) if folder is not None else None
        simulation = Simulation(scenario, dataset)
        if state is not None:
            simulation.load(state)
        try:
            while simulation.stopped_by is None:
                record = simulation.step()
                if folder is not None:
                    folder.append(record)
                    folder.checkpoint(simulation.state())
                else:
                    rows.append(record.row)
                    transfers += [asdict(entry) for entry in record.entries]
                    computations += [asdict(computation) for computation in record.computations]
                progress(simulation, record)
        finally:
            simulation.close()
            if folder is not None:
                folder.close()
    if folder is None:
        return Result.of(name, config, rows, transfers, computations=computations)
    folder.finish(_provenance(simulation, host_s=time.perf_counter() - started, resumed=state is not None))
    return Result.load(folder.path, name=name)


def _with_own_parts(
    scenario: Scenario,
    *,
    model: Any = None,
    data: Any = None,
    codec: Codec | None = None,
    link: LinkModel | None = None,
) -> Scenario:
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
        "threads": simulation.scenario.training.threads,
        "carrier": dict(simulation.transport.carrier.report()),
    }


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
