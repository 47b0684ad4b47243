"""UEs at work: what each computes, what comes out of it, and what time and energy it takes.

A training is handed to the engine when its UE begins, so that an engine may work ahead; in simulated time it is done
when the compute model says so, or fails before that (:mod:`~syft_fl.federation.failures`). A UE that stops has spent
its time and its energy until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from syft_fl.errors import CodecError
from syft_fl.federation.computation import Computation
from syft_fl.federation.contents import Contents
from syft_fl.federation.round import Work, plain
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.slowing import expected_slowdown, slowdown_of
from syft_fl.federation.ue import UE
from syft_fl.keys import Key
from syft_fl.learn import Engine, Job, Outcome
from syft_fl.transport import ModelContent
from syft_fl.vectors import ModelState

__all__ = ["Computing"]


class Computing:
    """The trainings of a run.

    Args:
        scenario: how UEs train, how long that takes, what it costs, how it fails.
        ues: all UEs, by name.
        engine: where they train.
        contents: say what UEs' gradients are corrected by, and what is sent for a model.

    Attributes:
        energy_j: spent since the start [J].
    """

    def __init__(self, scenario: Scenario, ues: Mapping[str, UE], engine: Engine, contents: Contents) -> None:
        self._scenario = scenario
        self._ues = ues
        self._engine = engine
        self._contents = contents
        self._key = Key(scenario.seed)
        self._mean_samples = sum(map(self._processed, ues.values())) / len(ues)
        self._work: dict[str, Work] = {}
        self._jobs: dict[str, int] = {}
        self._outcomes: dict[str, Outcome] = {}  # that were asked for before their UEs are done
        self._rows: list[Computation] = []
        self.energy_j = 0.0

    def begin(self, ue: str, *, round: int, now_s: float) -> tuple[str, float]:
        """A UE begins to compute from its newest model.

        Returns:
            What becomes of it, ``computed`` or ``failed``, and when [s].
        """
        worker, training = self._ues[ue], self._ues[ue].trainings
        worker.wait_until(now_s)
        began_s, samples = worker.worker.time_s, self._charged_samples(worker)
        ends_s = worker.compute(samples, factor=slowdown_of(self._scenario, ue, training=training))
        self._work[ue] = Work(round, worker.model, training, began_s, ends_s, samples)
        self._hand_in(worker, self._work[ue])
        worker.trainings += 1
        failures = self._scenario.population.failures
        fails = None
        if failures is not None:
            fails = failures.during_compute(self._key / ue / f"training{training}" / "failure")
        return ("computed", ends_s) if fails is None else ("failed", began_s + fails * (ends_s - began_s))

    def is_at(self, ue: str, *, training: int) -> bool:
        """Whether a UE is still at one of its trainings."""
        work = self._work.get(ue)
        return work is not None and work.computing and work.training == training

    def work(self, ue: str) -> Work:
        """What a UE is at, or was at last."""
        return self._work[ue]

    def under_way(self) -> Iterator[str]:
        """UEs whose outcome nobody has asked for yet, in the order in which they began."""
        return iter(self._jobs)

    def outcome(self, ue: str) -> Outcome:
        """What a UE's training comes to, be it done by now or later."""
        if ue not in self._outcomes:
            self._outcomes[ue] = self._engine.result(self._jobs.pop(ue))
        return self._outcomes[ue]

    def done(self, ue: str, *, now_s: float) -> Outcome:
        """A UE is done.

        Raises:
            CodecError: its model is not finite.
        """
        work = self._work[ue] = replace(self._work[ue], computing=False)
        outcome = self.outcome(ue)
        del self._outcomes[ue]
        if not outcome.report.finite:
            # Said here and not left to the codec: a user's own need not look.
            raise CodecError(
                f"{ue}'s model in round {work.round} is NaN or infinite after training; lower the learning rate "
                f"(training.learning_rate = {self._scenario.training.learning_rate}), or check the data"
            )
        self._charge(ue, work, work.samples, now_s)
        return outcome

    def content(self, ue: str, outcome: Outcome) -> ModelContent:
        """What a UE has to send of what it has computed."""
        work, samples, training = self._work[ue], len(self._ues[ue].samples), self._scenario.training
        return self._contents.up(
            ue, work.base, outcome.state, training=training, samples=samples, round=work.round
        )

    def abandon(self, ue: str, *, now_s: float) -> None:
        """A UE stops computing: its time and its energy until now are spent."""
        work = self._work[ue]
        self._engine.cancel(self._jobs.pop(ue))
        lasts_s = work.ends_s - work.began_s
        done = (now_s - work.began_s) / lasts_s if lasts_s > 0 else 1.0
        self._ues[ue].worker.time_s = now_s
        self._charge(ue, work, work.samples * done, now_s)
        self._work[ue] = replace(work, computing=False)

    def expected_s(self, ue: str) -> float:
        """How long a UE computes about [s]."""
        nominal_s = self._scenario.compute.seconds(self._charged_samples(self._ues[ue]))
        return nominal_s * expected_slowdown(self._scenario, ue)

    def drain(self) -> list[Computation]:
        """What was computed since the last call, in order of its end."""
        rows, self._rows = self._rows, []
        return rows

    def let_go(self, is_done: Callable[[str], bool]) -> None:
        """Keep no model for UEs that are done: else each would be held for as long as a UE is idle."""
        for name in [name for name in self._work if is_done(name)]:
            del self._work[name]
            self._ues[name].let_go()

    def _hand_in(self, ue: UE, work: Work) -> None:
        self._jobs[ue.name] = self._engine.submit(
            Job(
                ue=ue.name,
                state=work.base,
                samples=ue.samples,
                training=self._scenario.training,
                key=self._key / ue.name / f"training{work.training}",
                round=work.round,
                correction=self._contents.correction(ue.name),
            )
        )

    def _charge(self, ue: str, work: Work, samples: float, now_s: float) -> None:
        """Write down what a UE has computed until now, and what it spent on it."""
        energy_j = self._scenario.compute.energy_j(samples)
        self.energy_j += energy_j
        self._rows.append(Computation(work.round, ue, samples, now_s, energy_j))

    def _processed(self, ue: UE) -> float:
        return self._scenario.training.processed(len(ue.samples))

    def _charged_samples(self, ue: UE) -> float:
        equal = self._scenario.population.equal_compute
        return self._mean_samples if equal else self._processed(ue)

    # Checkpoints, between rounds.

    def state(self, is_at_work: Callable[[str], bool]) -> dict[str, Any]:
        """Plain data and tensors; of work, only that of UEs which are at something: the others' is over."""
        at_work = [self._ues[name] for name in self._work if is_at_work(name)]
        return {
            "energy_j": self.energy_j,
            "trainings": {name: ue.trainings for name, ue in self._ues.items() if ue.trainings},
            "work": {ue.name: self._work[ue.name].state() for ue in at_work},
            "models": {ue.name: plain(ue.model) for ue in at_work},
            "times_s": {ue.name: ue.worker.time_s for ue in at_work},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.energy_j = state["energy_j"]
        for name, count in state["trainings"].items():
            self._ues[name].trainings = count
        for name, facts in state["work"].items():
            ue = self._ues[name]
            ue.receive(ModelState(*state["models"][name]), at_s=0.0)
            ue.worker.time_s = state["times_s"][name]
            work = self._work[name] = Work.restore(facts)
            if work.computing:
                self._hand_in(ue, work)
