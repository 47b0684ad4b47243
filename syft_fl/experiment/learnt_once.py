"""Jobs of which some learn the same: one of them is carried out, and the others are re-timed from it.

What is finished counts as carried out, wherever it stands. Where a re-timing comes to nothing (a medium of the user's
own lost something, another version wrote the run), the job is carried out as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from syft_fl.data import Dataset
from syft_fl.errors import RunError
from syft_fl.experiment.folder import RunFolder
from syft_fl.experiment.processes import Failure, described
from syft_fl.experiment.result import Result
from syft_fl.experiment.retiming import recorded, replayed, result_of, write
from syft_fl.federation import Recording, Retimed, Scenario, learning_of, why_not
from syft_fl.transport import Local

if TYPE_CHECKING:
    from syft_fl.experiment.runs import Job

__all__ = ["Outcome", "learnt_once"]

Outcome = Result | Failure | None
"""What became of a job; None: its result is in its folder."""


def learnt_once(
    todo: Sequence[Job],
    carried_out: Callable[[Sequence[int]], Sequence[Outcome]],
    load_data: Callable[[Any], Dataset],
    *,
    finished: Sequence[Job],
    goes_on: bool,
    hear: Callable[[int, Job, Outcome], None],
) -> list[Outcome]:
    """What became of each job: of those that learn the same, one is carried out and the others are re-timed from it.

    Args:
        todo: jobs that are not finished.
        carried_out: carries out those at some places among them.
        load_data: loads a data set.
        finished: jobs whose results are in their folders, for others that learn the same.
        goes_on: whether a re-timing that raises an error leaves the others alone.
        hear: called with the place of a job that is not carried out, the one that it is re-timed from, and its outcome.
    """
    outcomes: dict[int, Outcome] = {}
    waiting = _Waiting.of(todo)
    sources = [_Source(job, None) for job in finished]
    while True:
        for source in sources:
            for index in waiting.like(source):
                try:
                    outcome = _retimed(todo[index], source, load_data)
                except _NotTold:
                    continue
                except Exception as error:
                    if not goes_on:
                        raise
                    outcome = Failure(described(error))
                waiting.strike(index)
                outcomes[index] = outcome
                hear(index, source.job, outcome)
            source.forget()
        first = waiting.first()
        if not first:
            return [outcomes[index] for index in range(len(todo))]
        for index in first:
            waiting.strike(index)
        outcomes |= zip(first, carried_out(first), strict=True)
        sources = [
            _Source(todo[index], outcomes[index])
            for index in first
            if not isinstance(outcomes[index], Failure)
        ]


class _NotTold(Exception):
    """What a run learnt does not tell what a job learns: it has to be trained."""


@dataclass
class _Waiting:
    """Jobs without an outcome, those that may learn the same together: among thousands, not every pair is looked at."""

    jobs: Sequence[Job]
    places: dict[str | int, dict[int, None]] = field(default_factory=dict)
    learning: dict[int, str | int] = field(default_factory=dict)

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> _Waiting:
        waiting = cls(jobs)
        for index, job in enumerate(jobs):
            learning = _learning(job)
            waiting.learning[index] = index if learning is None else learning  # by itself
            waiting.places.setdefault(waiting.learning[index], {})[index] = None
        return waiting

    def like(self, source: _Source) -> list[int]:
        """Places of those that learn what a source has learnt."""
        scenario = source.job.scenario
        found = () if source.learning is None else self.places.get(source.learning, ())
        return [index for index in found if not why_not(scenario, self.jobs[index].scenario)]

    def first(self) -> list[int]:
        """Places of the first of each that learn the same, in order."""
        found: list[int] = []
        for alike in self.places.values():
            chosen: list[int] = []
            for index in alike:
                scenario = self.jobs[index].scenario
                if all(why_not(self.jobs[other].scenario, scenario) for other in chosen):
                    chosen.append(index)
            found += chosen
        return sorted(found)

    def strike(self, index: int) -> None:
        del self.places[self.learning[index]][index]


@dataclass
class _Source:
    """A job that is done, for others that may learn the same."""

    job: Job
    result: Outcome

    @cached_property
    def learning(self) -> str | None:
        return _learning(self.job)

    @cached_property
    def read(self) -> Result:
        """Its result, from its folder where it is not at hand."""
        if isinstance(self.result, Result):
            return self.result
        assert self.job.out is not None
        return Result.load(self.job.out, name=self.job.name)

    @cached_property
    def recording(self) -> Recording:
        return recorded(self.read, self.job.scenario)

    def retimed(self, scenario: Scenario, dataset: Dataset) -> Retimed:
        """Its tables with the times of another scenario.

        Raises:
            _NotTold: another version wrote it, or a medium of the user's own has lost something.
        """
        try:
            return replayed(self.recording, scenario, dataset)
        except RunError:
            raise _NotTold from None

    def forget(self) -> None:
        """Let go of the tables: those of all sources need not fit into memory."""
        self.__dict__.pop("read", None)
        self.__dict__.pop("recording", None)


def _learning(job: Job) -> str | None:
    # A carrier is chosen to be watched at work: re-timing carries nothing.
    return learning_of(job.scenario) if isinstance(job.scenario.carrier, Local) else None


def _retimed(job: Job, source: _Source, load_data: Callable[[Any], Dataset]) -> Outcome:
    """The outcome of a job that learns what a source has learnt.

    Raises:
        _NotTold: it has to be trained.
    """
    retimed = source.retimed(job.scenario, load_data(job.scenario.data))
    if job.out is None:
        _show(job, retimed)
        return result_of(retimed, name=job.name, config=job.config)
    folder = RunFolder(job.out)
    with folder.held():
        if not job.finished:  # by another process, for which this one may have waited
            write(folder, retimed, job.config, source=source.read, resume=job.resume, force=job.force)
            _show(job, retimed)
    return None


def _show(job: Job, retimed: Retimed) -> None:
    """Mirror a result as if it had been trained."""
    with job.mirrored.mirror(job.name, job.scenario.seed, job.config) as mirror:
        for row in retimed.rows("rounds"):
            mirror.log(row)
