"""Runs as tasks of a Ray cluster: a task is a run, its address is what its result depends on.

A machine writes a run into a folder for temporary files, and its files travel back as they are; the program that asked
writes them where they belong. So machines share no disk, and a run is there whole or not at all: where a machine is
lost, Ray begins its runs again elsewhere, to the same bytes. The package, in the same versions, and the data must be on
every machine; models and codecs of your own in a module that is there, too.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from syft_fl.errors import RunError
from syft_fl.experiment.folder import TABLES, RunFolder
from syft_fl.experiment.learnt_once import Outcome
from syft_fl.experiment.processes import Failure, Work, described, pickled
from syft_fl.experiment.provenance import environment
from syft_fl.experiment.result import Result
from syft_fl.learn.engines import connected
from syft_fl.schema import import_path

if TYPE_CHECKING:
    from syft_fl.experiment.runs import Job

__all__ = ["carry_out_on_ray"]

_RETRIES = 4
"""How often a run whose machine or process was lost is begun again."""


@dataclass(frozen=True)
class _Arrived:
    """What a task sends back.

    Attributes:
        outcome: a :class:`Failure`, or the result of a run that writes no files.
        files: the others' by name.
        warned: what it was warned of.
    """

    outcome: Result | Failure | None
    files: Mapping[str, bytes] = field(default_factory=dict)
    warned: tuple[str, ...] = ()


def carry_out_on_ray(
    jobs: Sequence[Job],
    *,
    address: str,
    work: str,
    settings: Any,
    hear: Callable[[int, Any], None],
) -> list[Outcome]:
    """Carry out jobs on the cores of a Ray cluster.

    Args:
        jobs: runs.
        address: of the cluster, as ``ray.init`` takes it.
        work: import path of a function that makes a :data:`~syft_fl.experiment.processes.Work` from the settings;
            called once in each process.
        settings: for that function.
        hear: called here, with a job's index and its outcome.

    Raises:
        ConfigError: a job holds something that exists only here, Ray is not installed, or no cluster answers.
        RunError: a folder holds another run.
    """
    tasks = [pickled(replace(job, out=None), who="tasks of Ray", instead="no ray") for job in jobs]
    ray = connected(address, asked="ray", setting="ray", instead="jobs")
    for job in jobs:
        if job.out is not None and not job.finished:
            RunFolder(job.out).admit(job.config, resume=job.resume, force=job.force)
    task: Any = ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_carry_out)
    versions = environment()["versions"]
    outcomes: list[Outcome] = [None] * len(jobs)
    waiting = {
        task.remote(tasks[index], work, settings, versions, writes=job.out is not None): index
        for index, job in enumerate(jobs)
        if not job.finished
    }
    try:
        while waiting:
            (ready, *_), _ = ray.wait(list(waiting))
            index = waiting.pop(ready)
            outcomes[index] = _taken(ray, ready, jobs[index])
            hear(index, outcomes[index])
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
    return outcomes


def _taken(ray: Any, ready: Any, job: Job) -> Outcome:
    """A task's outcome, its files written."""
    try:
        arrived: _Arrived = ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        return Failure(described(error.cause))
    except ray.exceptions.RayError as error:  # all tries were lost
        return Failure(f"lost {1 + _RETRIES} times: {str(error).splitlines()[0]}")
    for message in arrived.warned:
        warnings.warn(message, UserWarning, stacklevel=2)
    if job.out is not None and arrived.files:
        try:
            _write(job, arrived.files)
        except RunError as error:
            return Failure(described(error))
    return arrived.outcome


def _write(job: Job, files: Mapping[str, bytes]) -> None:
    assert job.out is not None
    folder = RunFolder(job.out)
    with folder.held():
        if job.finished:  # by another process, for which this one may have waited
            return
        with closing(folder):
            folder.start(job.config, resume=job.resume, force=job.force, from_checkpoint=False)
            folder.take({name: files[f"{name}.jsonl"] for name in TABLES if f"{name}.jsonl" in files})
            folder.finish(json.loads(files["provenance.json"]))
    with job.mirrored.mirror(job.name, job.scenario.seed, job.config) as mirror:
        for row in folder.rounds():
            mirror.log(row)


def _carry_out(
    data: bytes, work: str, settings: Any, versions: Mapping[str, str], *, writes: bool
) -> _Arrived:
    """What a machine does with a job, pickled; ``writes`` says whether its files are asked for."""
    here = environment()["versions"]
    for name, version in versions.items():
        if here[name] != version:
            return _Arrived(Failure(f"a machine of the cluster has {name} {here[name]}, this one {version}"))
    with warnings.catch_warnings(record=True) as caught, TemporaryDirectory() as folder:
        out = Path(folder) / "run" if writes else None
        try:
            job: Job = pickle.loads(data)
            alone = replace(job, out=out, force=False, mirrored=replace(job.mirrored, trackers=()))
            outcome = _work(work, settings)(alone, lambda _: None)
        except Exception as error:
            outcome = Failure(described(error))
        whole = out is not None and not isinstance(outcome, Failure)
        files = {path.name: path.read_bytes() for path in out.iterdir()} if whole and out is not None else {}
    return _Arrived(outcome, files, tuple(str(warning.message) for warning in caught))


@lru_cache(maxsize=1)
def _work(path: str, settings: Any) -> Work:
    """With the data that it has loaded, for the next job that comes to this process."""
    work: Work = import_path(path)(settings)
    return work
