"""Jobs of which some learn the same: one of them is carried out, and the others are re-timed from it.

What is finished counts as carried out, wherever it stands. Where a re-timing comes to nothing (a medium of the user's
own lost something, another version wrote the run), the job is carried out as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from syft_fl.data import Dataset
from syft_fl.errors import RunError
from syft_fl.experiment.folder import RunFolder
from syft_fl.experiment.processes import Failure, described
from syft_fl.experiment.result import Result
from syft_fl.experiment.retiming import recorded, replayed, result_of, write
from syft_fl.federation import Recording, Retimed, Scenario, why_not
from syft_fl.transport import Local

if TYPE_CHECKING:
    from syft_fl.experiment.runs import Job

__all__ = ["learnt_once"]


def learnt_once(
    todo: Sequence[Job],
    carried_out: Callable[[Sequence[Job]], Sequence[Result | Failure]],
    load_data: Callable[[Any], Dataset],
    *,
    goes_on: bool,
) -> list[Result | Failure]:
    """What became of each job: of those that learn the same, one is carried out and the others are re-timed from it.

    Args:
        todo: all jobs.
        carried_out: carries out some of them.
        load_data: loads a data set.
        goes_on: whether a re-timing that raises an error leaves the others alone.
    """
    outcomes: dict[int, Result | Failure] = {}
    for index, job in enumerate(todo):
        with suppress(RunError):  # a folder that can't be read: whoever carries it out says so
            kept = job.kept()
            if kept is not None:
                outcomes[index] = kept
    done = list(outcomes)
    while len(outcomes) < len(todo):
        sources = [
            _Source(todo[index], outcome) for index in done if isinstance(outcome := outcomes[index], Result)
        ]
        first: list[int] = []
        for index, job in enumerate(todo):
            if index in outcomes:
                continue
            try:
                result = _retimed(job, sources, load_data(job.scenario.data))
            except Exception as error:
                if not goes_on:
                    raise
                outcomes[index] = Failure(described(error))
                continue
            if result is not None:
                outcomes[index] = result
            elif not any(_learn_the_same(todo[other].scenario, job.scenario) for other in first):
                first.append(index)
        if first:
            outcomes |= zip(first, carried_out([todo[index] for index in first]), strict=True)
        done = first
    return [outcomes[index] for index in range(len(todo))]


@dataclass(frozen=True)
class _Source:
    """A job that is done, for others that may learn the same."""

    job: Job
    result: Result

    @cached_property
    def recording(self) -> Recording:
        return recorded(self.result, self.job.scenario)

    def retimed(self, scenario: Scenario, dataset: Dataset) -> Retimed | None:
        """Its tables with the times of another scenario; None: that has to be trained."""
        if not _learn_the_same(self.job.scenario, scenario):
            return None
        try:
            return replayed(self.recording, scenario, dataset)
        except RunError:  # another version wrote it, or a medium of the user's own has lost something
            return None


def _learn_the_same(one: Scenario, other: Scenario) -> bool:
    # A carrier is chosen to be watched at work: re-timing carries nothing.
    local = all(isinstance(scenario.carrier, Local) for scenario in (one, other))
    return local and one.seed == other.seed and not why_not(one, other)


def _retimed(job: Job, sources: Iterable[_Source], dataset: Dataset) -> Result | None:
    """The result of a job from the first source that learnt the same; None: it has to be trained."""
    for source in sources:
        retimed = source.retimed(job.scenario, dataset)
        if retimed is not None:
            seed, learner = job.scenario.seed, source.job.name
            print(f"{job.name} seed {seed}: learns what {learner} has learnt, and is not trained again")
            if job.out is None:
                return _shown(job, retimed, result_of(retimed, name=job.name, config=job.config))
            folder = RunFolder(job.out)
            with folder.held():
                kept = job.kept()  # by another process, for which this one may have waited
                if kept is not None:
                    return kept
                write(folder, retimed, job.config, source=source.result, resume=job.resume, force=job.force)
                return _shown(job, retimed, Result.load(job.out, name=job.name))
    return None


def _shown(job: Job, retimed: Retimed, result: Result) -> Result:
    """The result, mirrored as if it had been trained."""
    with job.mirrored.mirror(job.name, job.scenario.seed, job.config) as mirror:
        for row in retimed.rows("rounds"):
            mirror.log(row)
    return result
