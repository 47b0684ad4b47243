"""A federation on the simulated clock: distribute, train, upload, get, aggregate, test, send again.

Two sources of events are merged in time order: the clock's own (a UE has computed, a timer rings) and the medium's (a
frame has arrived). At one instant the air comes first. Nothing here reads the host's clock.

In a round the base station chooses a cohort (:mod:`~syft_fl.federation.selection`) and sends it the model. Each UE that
receives it computes for its compute time, decides whether to send (the trigger) and uploads, all by the messages of the
protocol (:mod:`~syft_fl.federation.protocol`). The round closes when nobody is left to wait for, or as its closing rule
says. Where the downlink is a broadcast, the other UEs hear the model as well, and hold it; a round that waits for all
waits until it has gone out. What is under way when a round closes goes on in the next.

In an asynchronous mode there is no cohort: UEs are sent the newest model whenever they are free, and a *round* is one
model of the base station (:mod:`~syft_fl.federation.asynchronous`).

Aggregation and testing at the base station take no simulated time.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from syft_fl.clock import Clock, Event
from syft_fl.data import Dataset
from syft_fl.devices import ready
from syft_fl.errors import CodecError
from syft_fl.federation.asynchronous import Cell
from syft_fl.federation.balance import float32_bits
from syft_fl.federation.cohort import ages, choose_cohort, look, ue_name, ue_names
from syft_fl.federation.computation import Computation
from syft_fl.federation.deciding import Decided, Deciding
from syft_fl.federation.merging import Merging
from syft_fl.federation.protocol import Exchange, Protocol
from syft_fl.federation.round import CameUp, Round, Work, mean_loss, plain
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.selection import RoundView, State
from syft_fl.federation.slowing import expected_slowdown, slowdown_of
from syft_fl.federation.streaming import Streaming, streams
from syft_fl.federation.summing import SumOnTheAir
from syft_fl.federation.ue import UE
from syft_fl.federation.variates import Variates, float32_state
from syft_fl.keys import Key
from syft_fl.learn import (
    Job,
    Loop,
    Outcome,
    Scaffold,
    build_seeded,
    evaluate,
)
from syft_fl.radio import Transfer
from syft_fl.spill import Spill
from syft_fl.transport import (
    Accepted,
    Arrival,
    Entry,
    Frame,
    Landed,
    Message,
    ModelContent,
    Outgoing,
    Transport,
)
from syft_fl.vectors import Layout, ModelState
from syft_fl.workers import Station, VirtualWorker

__all__ = ["BS", "RoundRecord", "Simulation"]

BS = "bs"
"""The base station's name."""

_STREAM = "model"

_CALLS_A_UE = 300
"""Calls for each UE of a cell (of ten at least) after which a next update is not waited for any more."""

_NO_TRANSFER = Transfer(-1, (), 0, 0.0, 0.0, 0.0, 0.0, 0, 0.0)


@dataclass(frozen=True)
class RoundRecord:
    """What a closed round leaves behind.

    Attributes:
        row: the round's figures, plain data; see :class:`~syft_fl.experiment.result.Result`.
        entries: its transmissions.
        computations: what its UEs computed, in order of their end.
        decisions: of its triggers, in order.
    """

    row: Mapping[str, Any]
    entries: list[Entry]
    computations: list[Computation]
    decisions: list[Decided]


class Simulation:
    """One run of one scenario. Create it, then call :meth:`step` until :attr:`stopped_by` says why it ended.

    Args:
        scenario: with its compute time resolved to seconds (:func:`~syft_fl.federation.balance.settle`).
        dataset: what is learnt; on the CPU, and brought to the scenario's device.

    Attributes:
        device: where models and data are.

    Raises:
        ConfigError: the model does not fit the data, the partition leaves a UE without samples, or the scenario's
            device is not here.
    """

    def __init__(self, scenario: Scenario, dataset: Dataset) -> None:
        self.scenario = scenario
        self.device = ready(scenario.device)
        self.dataset = dataset.to(self.device)
        self.key = Key(scenario.seed)
        module = build_seeded(scenario.model, dataset.shape, dataset.classes, self.key / "model")
        self._module = module.to(self.device)  # the same values to begin with, on whichever device
        self.layout = Layout.of(self._module)
        self.model = self.layout.read(self._module)
        engine = scenario.engine or Loop()
        self._engine = engine.open(self._module, self.layout, cohort=scenario.population.chosen)
        spill_mb = scenario.population.spill_mb
        self._spill = None if spill_mb is None else Spill(spill_mb * 1e6)
        self.transport = Transport(
            uplink=scenario.uplink,
            downlink=scenario.downlink,
            cell=scenario.cell,
            key=self.key,
            hub=BS,
            users=scenario.population.chosen,
            carrier=scenario.carrier,
            holds_back=scenario.event_triggered,
            device=self.device,
            spill=self._spill,
        )
        self._protocol = scenario.protocol or Protocol()
        self._exchange = Exchange(
            self.transport, self._protocol, hub=BS, stream=_STREAM, federation=self, timers=self._set_timer
        )
        self._station = Station(transport=self.transport, compute=scenario.compute)
        self.ues = self._place_samples(dataset.train.y)
        self._names = tuple(self.ues)
        self._place = {ue: number for number, ue in enumerate(self._names)}
        self._standalone = self._twin() if scenario.population.standalone else None
        self._mean_samples = sum(self._processed(ue) for ue in self.ues.values()) / len(self.ues)
        self._compute_energy_j = 0.0
        self._computations: list[Computation] = []
        self._told_samples: dict[str, int] = {}
        self._told_loss = math.nan
        # For the selection: what it remembers, whose update arrived in which round last, the latest frames' bits.
        self._selection: State = {}
        self._merging = Merging(scenario, self.transport)
        self._streams = streams(scenario)
        self.variates = self._new_variates()  # SCAFFOLD's
        self._arrived: dict[str, int] = {}
        self._frame_bits = dict.fromkeys(
            ("uplink", "downlink"), float32_bits(float32_state(scenario.population.aggregator, self.model))
        )
        self._jobs: dict[str, int] = {}
        # Of UEs that will have computed soon: what comes out, and the message of it.
        self._outcomes: dict[str, Outcome] = {}
        self._messages: dict[str, Message] = {}
        plain = not scenario.event_triggered and self.variates is None and scenario.uplink.analog is None
        self.transport.looks_ahead = plain
        self._deciding = self._new_deciding()
        if scenario.population.failures is not None or scenario.population.availability is not None:
            self.transport.misses = self._misses
        self._copies: dict[
            str, tuple[int, int]
        ] = {}  # of a UE's last upload: its number, how often it was sent
        # Whom the base station waits for, and for the update to the model of which round; who is not in reach.
        self._waiting: dict[str, int] = {}
        self._absent: set[str] = set()
        self._work: dict[str, Work] = {}
        self._pending: list[CameUp] = []  # updates that wait for a later model
        self._calls = 0
        self._now = Round(0, 0.0)
        self._started = False
        self.round = 0
        self.stopped_by: str | None = None

    @property
    def clock(self) -> Clock:
        """The simulated time."""
        return self.transport.clock

    def step(self) -> RoundRecord:
        """Go on to the end of the next round. The first step tests the initial model (round 0, time 0)."""
        if not self._started:
            self._started = True
            self._watch_reach()
            return self._record(Round(0, 0.0), arrived=0, train_loss=None, tested=True)
        self.round += 1
        now = self._now = Round(self.round, self.clock.now_s, updates=self._pending)
        self._pending = []
        going = self._begin(now)
        while not self._is_over(now) and going:
            going = not self._in_vain(now) and self._go_on(now)
        record = self._close(now)
        self._let_go(now)
        if not going and self.stopped_by is None:
            self.stopped_by = "silence"
            warnings.warn(
                f"round {self.round}: {self._why_silent(now)}, so the run ends here; look at "
                "population.availability, population.failures, protocol.patience_s and the trigger",
                UserWarning,
                stacklevel=2,
            )
        return record

    def _let_go(self, now: Round) -> None:
        """Between rounds, keep no model for what is over: else each would be held for as long as a UE is idle."""
        now.updates.clear()
        for name in [name for name in self._work if self._exchange.ue(name).is_done]:
            del self._work[name]
            self.ues[name].let_go()

    # How a round goes.

    def _in_vain(self, now: Round) -> bool:
        """Whether an asynchronous mode would call UEs for ever, and none sends enough for a next model."""
        if self.scenario.population.asynchronous is None:
            return False
        return len(now.cohort) >= _CALLS_A_UE * max(10, len(self.ues)) * (1 + len(now.updates))

    def _why_silent(self, now: Round) -> str:
        if self._in_vain(now):
            return f"UEs were called {len(now.cohort)} times and sent {len(now.updates)} updates"
        return "nobody is in reach or will ever answer"

    def _begin(self, now: Round) -> bool:
        """Call the first UEs; false: nobody is in reach, or ever will be."""
        if self.scenario.population.asynchronous is not None:
            self._call(now)
            return True
        self._waiting.clear()
        if self.scenario.uplink.analog is not None:
            now.summing = SumOnTheAir(self.transport, hub=BS, round=self.round)
        if self._standalone is not None:
            self._submit(self._standalone, self._standalone.model, self.round)
        while len(self._absent) == len(self.ues):
            if not self._go_on(now):
                return False
        asked = self._choose(self._view(), self.scenario.population.chosen)
        if self._deciding is not None:
            asked = tuple(
                ue
                for ue in asked
                if self._deciding.asks(ue, self.model, round=self.round, now_s=self.clock.now_s)
            )
        if self._streams:
            now.streaming = Streaming({ue: len(self.ues[ue].samples) for ue in asked})
        self._tell(now, asked)
        return True

    def _view(self) -> RoundView:
        return look(
            self.scenario,
            round=self.round,
            now_s=self.clock.now_s,
            links={direction: self.transport.radio(direction) for direction in ("uplink", "downlink")},
            bits=self._frame_bits,
            compute_s=self._expected_compute_s,
            age=ages(self._arrived, self.round),
        )

    def _choose(self, view: RoundView, count: int) -> tuple[str, ...]:
        """So many UEs of a view that are in reach, as the selection says."""
        ues = tuple(ue for ue in view.ues if ue not in self._absent) if self._absent else view.ues
        if not ues:
            return ()
        view = replace(view, ues=ues, cohort=min(count, len(ues)))
        cohort, self._selection = choose_cohort(self.scenario.population, view, self._selection)
        return cohort

    def _tell(self, now: Round, ues: tuple[str, ...]) -> None:
        """Send some UEs the model, and wait for what they make of it."""
        now.cohort += ues
        self._waiting |= dict.fromkeys(ues, now.number)
        audience = self.transport.audience(ues, _STREAM, cell=self._names)
        if not audience:
            return
        heard = self._told_samples.values()
        message = Message(
            "model",
            BS,
            audience,
            _STREAM,
            self._download(),
            round=now.number,
            samples=round(sum(heard) / len(heard)) if heard else 0,
            loss=self._told_loss,
        )
        self._exchange.tell(message, wanted=ues)

    def _call(self, now: Round) -> None:
        """Asynchronous: send the model to UEs that are free, as the mode says."""
        mode = self.scenario.population.asynchronous
        assert mode is not None
        groups, self._merging.mode_memory = mode.calls(self._cell(now), self._merging.mode_memory)
        for group in groups:
            self._tell(now, group)

    def _cell(self, now: Round) -> Cell:
        def free() -> tuple[str, ...]:
            return tuple(
                ue
                for ue in self.ues
                if ue not in self._waiting and ue not in self._absent and not self._exchange.ue(ue).at_work
            )

        def choose(ues: tuple[str, ...], count: int) -> tuple[str, ...]:
            view = self._view()
            key = view.key / f"call{self._calls}"
            self._calls += 1
            return self._choose(replace(view, ues=ues, key=key), count)

        def duration_s(ue: str) -> float:
            return self._view().uplink.airtime_s(ue) + self._expected_compute_s(ue)

        return Cell(
            ues=self._names,
            free=free,
            waiting=frozenset(self._waiting),
            arrived=tuple(update.ue for update in now.updates),
            cohort=self.scenario.population.chosen,
            choose=choose,
            duration_s=duration_s,
        )

    def _is_over(self, now: Round) -> bool:
        mode, closing = self.scenario.population.asynchronous, self.scenario.population.closing
        if mode is not None:
            return bool(now.updates) and bool(mode.takes(self._cell(now), self._merging.mode_memory))
        if closing is None:
            return not self._waiting and self.transport.next_event_s() == math.inf
        if not self._waiting:
            return True
        closes_s = now.began_s + closing.closes_s(now.standing(len(self._waiting)))
        if closes_s <= self.clock.now_s:
            return True
        if closes_s < now.closing_s:
            now.closing_s = closes_s
            self.clock.schedule(closes_s, "closing")
        return False

    def _go_on(self, now: Round) -> bool:
        """Let the next thing happen; False: there is none."""
        air_s, clock_s = self.transport.next_event_s(), self.clock.peek_s()
        if air_s == clock_s == math.inf:
            return False
        if air_s <= clock_s:
            landed = self.transport.land(air_s)
            self.clock.advance(air_s)
            for one in landed:
                self._on_landed(one, now)
        else:
            self._on_event(self.clock.pop())
        if now.summing is not None:
            now.summing.go_on(tuple(now.cohort), set(self._waiting), now_s=self.clock.now_s)
        self._exchange.grant_due()
        if self.scenario.population.asynchronous is not None and not self._is_over(now):
            self._call(now)
        return True

    def _on_landed(self, landed: Landed | Arrival, now: Round) -> None:
        if isinstance(landed, Arrival):  # models that the channel added up
            now.added = landed
            self._waiting.clear()
            self._arrived |= dict.fromkeys(landed.received, now.number)
            return
        outgoing = landed.outgoing
        if outgoing.kind == "control":  # what goes before
            assert now.summing is not None
            accepted = self.transport.accept(outgoing, landed.received) if landed.received else None
            samples = accepted.frame.samples if accepted else 0
            content = accepted.content if accepted else None
            now.summing.arrived(Arrival(outgoing, landed.transfer, content, samples))
            for ue in landed.transfer.lost:
                self._waiting.pop(ue, None)
            return
        if outgoing.kind == "model":
            now.frame_bits[outgoing.direction] = max(outgoing.bits, now.frame_bits.get(outgoing.direction, 0))
        self._exchange.landed(landed)

    def _on_event(self, event: Event) -> None:
        data = event.data
        if event.kind == "timer":
            self._exchange.rings(data["party"], data["ue"], data["number"])
        elif event.kind == "reach":
            self._on_reach(data["ue"])
        elif event.kind in ("computed", "failed"):
            work = self._work.get(data["ue"])
            if work is None or work.training != data["training"] or not work.computing:
                return  # it was abandoned
            if event.kind == "computed":
                self._on_computed(self.ues[data["ue"]])
            else:
                self._on_failed(data["ue"], work)

    # What the protocol calls back.

    def received(self, ue: str, content: ModelContent, frame: Frame) -> None:
        """A UE has a model now, instead of the one before."""
        state = content.state
        if self.variates is not None:
            state = self.variates.heard(state, (ue,))
        self.ues[ue].receive(state, at_s=self.clock.now_s)
        if self._deciding is not None:
            self._deciding.heard(ue, state.vector)

    def train(self, ue: str, *, round: int) -> None:
        """A UE begins to compute from its newest model."""
        worker, training = self.ues[ue], self.ues[ue].trainings
        worker.wait_until(self.clock.now_s)
        began_s, samples = worker.worker.time_s, self._charged_samples(worker)
        ends_s = worker.compute(samples, factor=slowdown_of(self.scenario, ue, training=training))
        self._work[ue] = Work(round, worker.model, training, began_s, ends_s, samples)
        self._submit(worker, worker.model, round)
        failures = self.scenario.population.failures
        fails = None
        if failures is not None:
            fails = failures.during_compute(self.key / ue / f"training{training}" / "failure")
        if fails is None:
            self.clock.schedule(ends_s, "computed", ue=ue, training=training)
        else:
            fails_s = began_s + fails * (ends_s - began_s)
            self.clock.schedule(fails_s, "failed", ue=ue, training=training)

    def abandon(self, ue: str) -> None:
        """A UE stops computing: its time and its energy until now are spent."""
        work = self._work[ue]
        self._engine.cancel(self._jobs.pop(ue))
        lasts_s = work.ends_s - work.began_s
        done = (self.clock.now_s - work.began_s) / lasts_s if lasts_s > 0 else 1.0
        self.ues[ue].worker.time_s = self.clock.now_s
        self._charge(ue, work.round, work.samples * done)
        self._work[ue] = replace(work, computing=False)

    def decide(self, message: Message) -> tuple[bool, float]:
        """Whether a UE sends what it computed, and how urgent that is."""
        if self._deciding is None:
            return True, math.inf
        base = self._work[message.sender].base
        return self._deciding.decide(message, base=base, now_s=self.clock.now_s)

    def sends(self, ue: str, number: int) -> None:
        """A UE sends what it has decided on last, as its upload of this number."""
        if self._deciding is not None:
            self._deciding.sends(ue, number)

    def settled(self, ue: str, number: int | None, *, applied: bool) -> None:
        """A UE knows what became of an upload; None: it keeps what it has decided on last."""
        if self._deciding is not None:
            self._deciding.settled(ue, number, applied=applied)

    def wants(self, ue: str, *, round: int) -> bool:
        """Whether an upload that was trained from the model of a round is of use now."""
        population = self.scenario.population
        return population.asynchronous is not None or population.late is not None or round == self.round

    def discarded(self, ue: str) -> None:
        """An upload came that is of no use any more."""
        self._now.discarded += 1

    def came(self, outgoing: Outgoing, accepted: Accepted) -> None:
        """An upload was decoded."""
        now, frame, content = self._now, accepted.frame, accepted.content
        assert isinstance(content, ModelContent)
        (ue,) = outgoing.ues
        state = content.state
        if self.variates is not None:
            state = self.variates.arrived(ue, state)
        work = self._work[ue]
        arrival = None
        if accepted.written is not None:
            arrival = Arrival(outgoing, _NO_TRANSFER, None, frame.samples, accepted.written)
        if now.streaming is not None:
            now.streaming.add(ue, state, samples=frame.samples)
        kept = state if now.streaming is None else None
        now.updates.append(CameUp(ue, kept, work, frame.samples, arrival))
        now.gone.discard(ue)
        self._arrived[ue] = now.number
        self._told_samples[ue] = frame.samples
        if frame.loss is not None and math.isfinite(frame.loss):
            now.reported[ue] = (frame.loss, frame.samples)
        if self._deciding is not None:
            self._deciding.arrived(ue, state, base=work.base, samples=frame.samples, round=work.round)
        if self._waiting.get(ue) == frame.round:
            del self._waiting[ue]
            now.answered(self.clock.now_s, arrived=True)

    def skipped(self, ue: str, *, round: int) -> None:
        """A UE keeps its update of a round."""
        if self._waiting.get(ue) == round:
            del self._waiting[ue]
            self._now.skipped.add(ue)
            self._now.answered(self.clock.now_s, arrived=False)

    def gone(self, ue: str, *, round: int) -> None:
        """There is no point in waiting for a UE's update of a round."""
        if self._waiting.get(ue) == round:
            del self._waiting[ue]
            implied = self._protocol.skip == "implied" and self._exchange.ue(ue).state == "idle"
            (self._now.skipped if implied else self._now.gone).add(ue)

    def waiting(self) -> Iterable[str]:
        """UEs that the base station waits for, in their fixed order."""
        return [ue for ue in self.ues if ue in self._waiting]

    def present(self, ue: str, here: bool) -> None:
        """A UE says that it is here, or leaves."""
        if here:
            self._absent.discard(ue)
        else:
            self._absent.add(ue)

    # What happens at UEs.

    def _on_computed(self, ue: UE) -> None:
        self._look_ahead(ue.name)
        work = self._work[ue.name] = replace(self._work[ue.name], computing=False)
        outcome = self._outcome(ue.name)
        del self._outcomes[ue.name]
        if not outcome.report.finite:
            # Said here and not left to the codec: a user's own need not look.
            raise CodecError(
                f"{ue.name}'s model in round {work.round} is NaN or infinite after training; lower the learning rate "
                f"(training.learning_rate = {self.scenario.training.learning_rate}), or check the data"
            )
        self._charge(ue.name, work.round, work.samples)
        self._now.losses[ue.name] = (outcome.report.loss, outcome.report.samples)
        message = self._messages.pop(ue.name, None) or self._message(ue, work, outcome)
        if self._now.summing is not None:
            self._exchange.ue(ue.name).rests()
            self._now.summing.computed(message, now_s=self.clock.now_s)
            return
        self._exchange.computed(message)

    def _outcome(self, ue: str) -> Outcome:
        """What a UE's training comes to."""
        if ue not in self._outcomes:
            self._outcomes[ue] = self._engine.result(self._jobs.pop(ue))
        return self._outcomes[ue]

    def _look_ahead(self, first: str) -> None:
        """Let the transport write side by side what a UE and those that compute beside it will send, where that pays.

        In plain rounds all of them will send, whatever happens.
        """
        if not self.transport.looks_ahead or first in self._messages:
            return
        most = self.transport.side_by_side(first, self.layout.length)
        if most == 1:
            return
        later = (ue for ue in self._jobs if ue in self.ues and ue != first)
        outcomes = {ue: self._outcome(ue) for ue in (first, *list(itertools.islice(later, most - 1)))}
        ahead = {
            ue: self._message(self.ues[ue], self._work[ue], outcome)
            for ue, outcome in outcomes.items()
            if outcome.report.finite
        }
        self.transport.look_ahead(list(ahead.values()))
        self._messages |= ahead

    def _message(self, ue: UE, work: Work, outcome: Outcome) -> Message:
        """What a UE sends of what it has computed."""
        return Message(
            "model",
            ue.name,
            BS,
            _STREAM,
            self._upload(ue, outcome.state, work),
            round=work.round,
            samples=len(ue.samples),
            loss=outcome.report.loss,
            reference=self._exchange.ue(ue.name).base if self.transport.keeps_references else None,
        )

    def _on_failed(self, ue: str, work: Work) -> None:
        self._exchange.ue(ue).stops()
        if self._protocol.acknowledgements == "free":
            self.gone(ue, round=work.round)

    def _watch_reach(self) -> None:
        """Let UEs be where they are when the run begins, and learn of the first change of each."""
        if self.scenario.population.availability is None:
            return
        for ue in self.ues:
            if not self._in_reach(ue):
                self._absent.add(ue)
                self._exchange.ue(ue).leaves(says=False)
            self._schedule_reach(ue)

    def _in_reach(self, ue: str) -> bool:
        availability = self.scenario.population.availability
        return availability is None or availability.on(ue, self.clock.now_s, key=self.key / "availability")

    def _schedule_reach(self, ue: str) -> None:
        availability = self.scenario.population.availability
        assert availability is not None
        change_s = availability.next_change_s(ue, self.clock.now_s, key=self.key / "availability")
        if change_s < math.inf:
            self.clock.schedule(change_s, "reach", ue=ue)

    def _on_reach(self, ue: str) -> None:
        if self._in_reach(ue):
            self._exchange.ue(ue).comes_back()
        else:
            self._exchange.ue(ue).leaves(says=True)
        self._schedule_reach(ue)

    def _download(self) -> ModelContent:
        if self.variates is None:
            return ModelContent(self.model, self.layout)
        return self.variates.down(self.model)

    def _upload(self, ue: UE, trained: ModelState, work: Work) -> ModelContent:
        if self.variates is None:
            return ModelContent(trained, self.layout)
        training, samples = self.scenario.training, len(ue.samples)
        return self.variates.up(
            ue.name, work.base, trained, training=training, samples=samples, round=work.round
        )

    def _charge(self, ue: str, round: int, samples: float) -> None:
        """Write down what a UE has computed until now, and what it spent on it."""
        energy_j = self.scenario.compute.energy_j(samples)
        self._compute_energy_j += energy_j
        self._computations.append(Computation(round, ue, samples, self.clock.now_s, energy_j))

    # What the base station makes of it.

    def _close(self, now: Round) -> RoundRecord:
        updates = self._taken(now)
        self._frame_bits |= now.frame_bits
        self.model = self._aggregate(now, updates)
        if self._deciding is not None:
            self._deciding.made(self.model)
        if self.variates is not None:
            self.variates.close(now.cohort)
        train_loss = mean_loss(now.losses, self._place)
        reported = mean_loss(now.reported, self._place)
        self._told_loss = self._told_loss if reported is None else reported
        if self._standalone is not None:
            trained = self._engine.result(self._jobs.pop(self._standalone.name)).state
            self._standalone.receive(trained, at_s=self.clock.now_s)
        stopped_by = self._limit_reached()
        due = self.round % self.scenario.population.eval_every == 0
        record = self._record(
            now,
            arrived=len(updates) if now.added is None else len(now.added.received),
            train_loss=train_loss,
            tested=due or stopped_by is not None,
            ages=[now.number - update.work.round for update in updates],
        )
        goal, accuracy = self.scenario.stop.accuracy, record.row["accuracy"]
        reached = goal is not None and accuracy is not None and accuracy >= goal
        self.stopped_by = stopped_by or ("accuracy" if reached else None)
        return record

    def _taken(self, now: Round) -> list[CameUp]:
        """The updates that make the next model, in the fixed order of UEs; others stay for a later one."""
        mode = self.scenario.population.asynchronous
        updates = now.updates
        if mode is not None:
            taken = mode.takes(self._cell(now), self._merging.mode_memory)
            self._pending = [update for update in updates if update.ue not in taken]
            updates = [update for update in updates if update.ue in taken]
        return sorted(updates, key=lambda update: self._place[update.ue])

    def _aggregate(self, now: Round, updates: Sequence[CameUp]) -> ModelState:
        if now.added is not None:
            assert isinstance(now.added.content, ModelContent)
            return now.added.content.state
        return self._merging.next_model(
            self.model, updates, round=now.number, deciding=self._deciding, streaming=now.streaming
        )

    def _limit_reached(self) -> str | None:
        stop = self.scenario.stop
        if self.round >= stop.rounds:
            return "rounds"
        if stop.seconds is not None and self.clock.now_s >= stop.seconds:
            return "seconds"
        if stop.uplink_bits is not None and self.transport.ledger.uplink_bits >= stop.uplink_bits:
            return "uplink_bits"
        return None

    def _record(
        self,
        now: Round,
        *,
        arrived: int,
        train_loss: float | None,
        tested: bool,
        ages: Sequence[int] = (),
    ) -> RoundRecord:
        ledger = self.transport.ledger
        row: dict[str, Any] = {
            "round": self.round,
            "latency_s": self.clock.now_s,
            "accuracy": None,
            "loss": None,
            "train_loss": train_loss,
            "uplink_bits": ledger.uplink_bits,
            "downlink_bits": ledger.downlink_bits,
            **self._energies(),
            "cohort": len(now.cohort),
            "arrived": arrived,
        }
        if self.scenario.event_triggered:
            row |= {
                "skipped": len(now.skipped),
                "gone": len(now.gone),
                "discarded": now.discarded,
                "staleness": sum(ages) / len(ages) if ages else None,
            }
        if tested:
            row["accuracy"], row["loss"] = self._test(self.model)
        if self._standalone is not None:
            row["standalone_accuracy"] = self._test(self._standalone.model)[0] if tested else None
        computations, self._computations = self._computations, []
        decisions = [] if self._deciding is None else self._deciding.drain()
        return RoundRecord(row, ledger.drain(), computations, decisions)

    def _energies(self) -> dict[str, float]:
        """Spent since the start [J]: all of it, the UEs' share, and the parts."""
        ledger, compute_j = self.transport.ledger, self._compute_energy_j
        return {
            "energy_j": ledger.energy_j + compute_j + ledger.receive_energy_j,
            "ue_energy_j": ledger.uplink_transmit_energy_j + ledger.receive_energy_j + compute_j,
            "uplink_transmit_energy_j": ledger.uplink_transmit_energy_j,
            "downlink_transmit_energy_j": ledger.downlink_transmit_energy_j,
            "receive_energy_j": ledger.receive_energy_j,
            "compute_energy_j": compute_j,
        }

    def _test(self, model: ModelState) -> tuple[float, float]:
        self.layout.write(model, self._module)
        found = evaluate(self._module, self.dataset.test.x, self.dataset.test.y)
        return found.accuracy, found.loss

    # UEs and their work.

    def _place_samples(self, labels: Tensor) -> dict[str, UE]:
        names = ue_names(self.scenario.population.ues)
        parts = self.scenario.partition.split(labels, ues=len(names), key=self.key / "partition")
        # Of the data a UE has an index, and a model not before it receives one: many UEs are little more than names.
        return {
            name: UE(self._worker(name), self.dataset.train.share(part.to(self.device)), None)
            for name, part in zip(names, parts, strict=True)
        }

    def _worker(self, name: str) -> VirtualWorker:
        return VirtualWorker(self._station, name)

    def _twin(self) -> UE:
        return UE(self._worker("standalone"), self.ues[ue_name(0)].samples, self.model)

    def _new_variates(self) -> Variates | None:
        if not isinstance(self.scenario.population.aggregator, Scaffold):
            return None
        owed = self.transport.feeds_back
        return Variates(self.layout, ues=len(self.ues), owed=owed, device=self.device, spill=self._spill)

    def _new_deciding(self) -> Deciding | None:
        if self.scenario.trigger is None:
            return None
        return Deciding(
            self.scenario.trigger,
            self.transport,
            key=self.key,
            ues=self._names,
            learning_rate=self.scenario.training.rate,
            spill=self._spill,
        )

    def _set_timer(self, after_s: float, party: str, ue: str, number: int) -> None:
        self.clock.schedule(self.clock.now_s + after_s, "timer", party=party, ue=ue, number=number)

    def _misses(self, outgoing: Outgoing) -> Sequence[str]:
        """UEs to or from whom a frame does not come, whatever its link does."""
        if outgoing.kind == "bye":  # the last thing that a UE does
            return ()
        away = [ue for ue in outgoing.ues if self._exchange.ue(ue).state == "away"]
        failures = self.scenario.population.failures
        if failures is None or outgoing.direction != "uplink" or outgoing.kind != "model":
            return away
        (ue,) = outgoing.ues
        number, copies = self._copies.get(ue, (0, 0))
        copies = copies + 1 if number == outgoing.serial else 1
        self._copies[ue] = outgoing.serial, copies
        key = self.key / ue / f"upload{outgoing.serial}" / "failure" / copies
        return [ue] if failures.during_upload(key) else away

    def _submit(self, ue: UE, state: ModelState, round: int) -> None:
        self._hand_in(ue, state, training=ue.trainings, round=round)
        ue.trainings += 1

    def _hand_in(self, ue: UE, state: ModelState, *, training: int, round: int) -> None:
        # The twin hears of no variate, and learns without.
        variates = None if ue is self._standalone else self.variates
        self._jobs[ue.name] = self._engine.submit(
            Job(
                ue=ue.name,
                state=state,
                samples=ue.samples,
                training=self.scenario.training,
                key=self.key / ue.name / f"training{training}",
                round=round,
                correction=None if variates is None else variates.correction(ue.name),
            )
        )

    def _processed(self, ue: UE) -> float:
        return self.scenario.training.processed(len(ue.samples))

    def _charged_samples(self, ue: UE) -> float:
        equal = self.scenario.population.equal_compute
        return self._mean_samples if equal else self._processed(ue)

    def _expected_compute_s(self, name: str) -> float:
        nominal_s = self.scenario.compute.seconds(self._charged_samples(self.ues[name]))
        return nominal_s * expected_slowdown(self.scenario, name)

    def close(self) -> None:
        """Let go of what carrier and engine hold, when no step is to follow."""
        self._engine.close()
        self.transport.carrier.close()

    # Checkpoints, between rounds.

    def state(self) -> dict[str, Any]:
        """All that the rounds to come depend on, as plain data and tensors."""
        return {
            "round": self.round,
            "stopped_by": self.stopped_by,
            "clock": self.clock.state(),
            "transport": self.transport.state(),
            "exchange": self._exchange.state(),
            "model": plain(self.model),
            "trainings": {name: ue.trainings for name, ue in self.ues.items() if ue.trainings},
            "compute_energy_j": self._compute_energy_j,
            "told_samples": dict(self._told_samples),
            "told_loss": self._told_loss,
            "selection": dict(self._selection),
            "merging": self._merging.state(),
            "arrived": dict(self._arrived),
            "frame_bits": dict(self._frame_bits),
            "variates": None if self.variates is None else self.variates.state(),
            "standalone": None if self._standalone is None else plain(self._standalone.model),
            "deciding": None if self._deciding is None else self._deciding.state(),
            "waiting": dict(self._waiting),
            "absent": sorted(self._absent),
            # Only of UEs that are at something: the others' is over.
            "work": {name: _work_state(self._work[name]) for name in self._at_work()},
            "models": {name: plain(self.ues[name].model) for name in self._at_work()},
            "times_s": {name: self.ues[name].worker.time_s for name in self._at_work()},
            "pending": [
                [update.ue, plain(update.state), _work_state(update.work), update.samples]
                for update in self._pending
                if update.state is not None
            ],
            "calls": self._calls,
            "copies": {ue: list(copies) for ue, copies in self._copies.items()},
        }

    def _at_work(self) -> list[str]:
        return [name for name in self._work if self._exchange.ue(name).at_work]

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.round = state["round"]
        self.stopped_by = state["stopped_by"]
        self.transport.clock = Clock.restore(state["clock"])
        layout = self._download().layout
        self.transport.load(state["transport"], layout=layout)
        self._exchange.load(state["exchange"], layout=layout)
        self.model = ModelState(*state["model"])
        for name, count in state["trainings"].items():
            self.ues[name].trainings = count
        self._compute_energy_j = state["compute_energy_j"]
        self._told_samples = dict(state["told_samples"])
        self._told_loss = state["told_loss"]
        self._selection = state["selection"]
        self._merging.load(state["merging"])
        self._arrived = dict(state["arrived"])
        self._frame_bits = dict(state["frame_bits"])
        if self.variates is not None:
            self.variates.load(state["variates"])
        if self._standalone is not None:
            self._standalone.receive(ModelState(*state["standalone"]), at_s=self.clock.now_s)
            self._standalone.trainings = self.round
        if self._deciding is not None:
            self._deciding.load(state["deciding"])
        self._waiting, self._absent = dict(state["waiting"]), set(state["absent"])
        for name, work in state["work"].items():
            self._go_back_to_work(name, work, state)
        self._pending = [
            CameUp(ue, ModelState(*model), _work(work), samples)
            for ue, model, work, samples in state["pending"]
        ]
        self._calls = state["calls"]
        self._copies = {ue: (number, copies) for ue, (number, copies) in state["copies"].items()}
        self._started = True

    def _go_back_to_work(self, name: str, state: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
        ue, work = self.ues[name], _work(state)
        ue.receive(ModelState(*whole["models"][name]), at_s=0.0)
        ue.worker.time_s = whole["times_s"][name]
        self._work[name] = work
        if work.computing:
            self._hand_in(ue, work.base, training=work.training, round=work.round)


def _work_state(work: Work) -> dict[str, Any]:
    facts = {name: getattr(work, name) for name in Work.__dataclass_fields__}
    return facts | {"base": plain(work.base)}


def _work(state: Mapping[str, Any]) -> Work:
    return Work(**{**state, "base": ModelState(*state["base"])})
