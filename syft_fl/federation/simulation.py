"""A federation on the simulated clock: distribute, train, upload, get, aggregate, test, send again.

Two sources of events are merged in time order: the clock's own (a UE has computed) and the medium's (a frame has
arrived). At one instant the air comes first. Nothing here reads the host's clock.

In a round the base station chooses a cohort (:mod:`~syft_fl.federation.selection`) and sends it the model. Each UE that
receives it computes for its compute time and uploads, and the round closes when nobody is left to wait for. What was
lost is not waited for. Where the downlink is a broadcast, the other UEs hear the model as well, and hold it; the round
waits until it has gone out.
Aggregation and testing at the base station take no simulated time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from syft_fl.clock import Clock
from syft_fl.data import Dataset
from syft_fl.errors import CodecError, ConfigError
from syft_fl.federation.balance import float32_bits
from syft_fl.federation.cohort import ages, choose_cohort, look, ue_name
from syft_fl.federation.computation import Computation
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.selection import State
from syft_fl.federation.summing import SumOnTheAir
from syft_fl.federation.ue import UE
from syft_fl.keys import Key
from syft_fl.learn import (
    Averaging,
    FedAvg,
    Job,
    Loop,
    Memory,
    build_seeded,
    evaluate,
    mean_rule,
    next_model,
)
from syft_fl.transport import Arrival, Entry, Message, ModelContent, Transport
from syft_fl.vectors import Layout, ModelState, Vector
from syft_fl.workers import Station, VirtualWorker

__all__ = ["BS", "RoundRecord", "Simulation", "check_fits"]

BS = "bs"
"""The base station's name."""

_STREAM = "model"


@dataclass(frozen=True)
class RoundRecord:
    """What a closed round leaves behind.

    Attributes:
        row: the round's figures, plain data; see :class:`~syft_fl.experiment.result.Result`.
        entries: its transmissions.
        computations: what its UEs computed, in order of their end.
    """

    row: Mapping[str, Any]
    entries: list[Entry]
    computations: list[Computation]


@dataclass
class _Round:
    """The round in progress: whom the base station waits for, and what came so far.

    ``adding_up`` are those of the updates whose payloads may be added up before they are decoded; ``reported`` are
    the losses that came over the air, ``losses`` all of them, for the record; ``frame_bits`` are the longest frame's in
    each direction. Where the uplink is analog, ``summing`` is what goes before it, and ``added`` the sum.
    """

    number: int
    cohort: tuple[str, ...]
    waiting: set[str]
    updates: dict[str, tuple[ModelState, int]]
    adding_up: dict[str, Arrival]
    losses: dict[str, tuple[float, int]]
    reported: dict[str, tuple[float, int]]
    frame_bits: dict[str, int]
    summing: SumOnTheAir | None = None
    added: Arrival | None = None


class Simulation:
    """One run of one scenario. Create it, then call :meth:`step` until :attr:`stopped_by` says why it ended.

    Args:
        scenario: with its compute time resolved to seconds (:func:`~syft_fl.federation.balance.settle`).
        dataset: what is learnt.

    Raises:
        ConfigError: the model does not fit the data, or the partition leaves a UE without samples.
    """

    def __init__(self, scenario: Scenario, dataset: Dataset) -> None:
        self.scenario = scenario
        self.dataset = dataset
        self.key = Key(scenario.seed)
        self._module = build_seeded(scenario.model, dataset.shape, dataset.classes, self.key / "model")
        self.layout = Layout.of(self._module)
        self.model = self.layout.read(self._module)
        engine = scenario.engine or Loop()
        self._engine = engine.open(self._module, self.layout, cohort=scenario.population.chosen)
        self.transport = Transport(
            uplink=scenario.uplink,
            downlink=scenario.downlink,
            cell=scenario.cell,
            key=self.key,
            hub=BS,
            users=scenario.population.chosen,
            carrier=scenario.carrier,
        )
        self._station = Station(transport=self.transport, compute=scenario.compute)
        self.ues = self._place_samples()
        self._standalone = self._twin() if scenario.population.standalone else None
        self._mean_samples = sum(self._processed(ue) for ue in self.ues.values()) / len(self.ues)
        self._compute_energy_j = 0.0
        self._computations: list[Computation] = []
        self._told_samples: dict[str, int] = {}
        self._told_loss = math.nan
        # For the selection: what it remembers, whose update arrived in which round last, the latest frames' bits.
        self._selection: State = {}
        self._aggregation: Memory = {}  # what the rule of aggregation remembers
        self._arrived: dict[str, int] = {}
        self._frame_bits = dict.fromkeys(("uplink", "downlink"), float32_bits(self.model))
        self._jobs: dict[str, int] = {}
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
            return self._record(cohort=0, arrived=0, train_loss=None, tested=True)
        self.round += 1
        cohort = self._choose()
        now = _Round(self.round, cohort, set(cohort), {}, {}, {}, {}, {})
        if self.scenario.uplink.analog is not None:
            now.summing = SumOnTheAir(self.transport, hub=BS, round=self.round)
        if self._standalone is not None:
            self._submit(self._standalone)
        self._distribute(cohort)
        while now.waiting or self.transport.next_event_s() < math.inf:
            air_s, computed_s = self.transport.next_event_s(), self.clock.peek_s()
            if air_s <= computed_s:
                arrivals = self.transport.advance(air_s)
                self.clock.advance(air_s)
                for arrival in arrivals:
                    self._on_arrival(arrival, now)
            else:
                self._on_computed(self.ues[self.clock.pop().data["ue"]], now)
            if now.summing is not None:
                now.summing.go_on(cohort, now.waiting, now_s=self.clock.now_s)
        return self._close(now)

    def _choose(self) -> tuple[str, ...]:
        view = look(
            self.scenario,
            round=self.round,
            now_s=self.clock.now_s,
            links={direction: self.transport.radio(direction) for direction in ("uplink", "downlink")},
            bits=self._frame_bits,
            compute_s=lambda name: self.scenario.compute.seconds(self._charged_samples(self.ues[name])),
            age=ages(self._arrived, self.round),
        )
        cohort, self._selection = choose_cohort(self.scenario.population, view, self._selection)
        return cohort

    def _distribute(self, cohort: tuple[str, ...]) -> None:
        content = ModelContent(self.model, self.layout)
        heard = self._told_samples.values()
        message = Message(
            "model",
            BS,
            self.transport.audience(cohort, _STREAM, cell=tuple(self.ues)),
            _STREAM,
            content,
            round=self.round,
            samples=round(sum(heard) / len(heard)) if heard else 0,
            loss=self._told_loss,
        )
        for outgoing in self.transport.prepare(message):
            self.transport.offer(outgoing, now_s=self.clock.now_s)

    def _on_arrival(self, arrival: Arrival, now: _Round) -> None:
        outgoing = arrival.outgoing
        if outgoing.kind != "model":
            self._on_sum(arrival, now)
            return
        now.frame_bits[outgoing.direction] = max(outgoing.bits, now.frame_bits.get(outgoing.direction, 0))
        if outgoing.direction == "uplink":
            (name,) = outgoing.ues
            if isinstance(arrival.content, ModelContent):
                now.updates[name] = (arrival.content.state, arrival.samples)
                self._arrived[name] = now.number
                self._told_samples[name] = arrival.samples
                if arrival.loss is not None and math.isfinite(arrival.loss):
                    now.reported[name] = (arrival.loss, arrival.samples)
            if arrival.written is not None:
                now.adding_up[name] = arrival
            now.waiting.discard(name)
            return
        now.waiting -= set(arrival.transfer.lost)
        assert isinstance(arrival.content, ModelContent) or not arrival.received
        for name in arrival.received:
            ue = self.ues[name]
            ue.receive(arrival.content.state, at_s=arrival.transfer.end_s)  # type: ignore[union-attr]
            if name in now.waiting:
                self._submit(ue)
                self.clock.schedule(ue.compute(self._charged_samples(ue)), "computed", ue=name)

    def _on_sum(self, arrival: Arrival, now: _Round) -> None:
        """A frame of what goes before a sum on the air, or the sum itself."""
        if arrival.outgoing.kind == "analog":
            now.added = arrival
            now.waiting.clear()
            self._arrived |= dict.fromkeys(arrival.received, now.number)
            return
        assert now.summing is not None
        now.summing.arrived(arrival)
        now.waiting -= set(arrival.transfer.lost)

    def _on_computed(self, ue: UE, now: _Round) -> None:
        outcome = self._engine.result(self._jobs.pop(ue.name))
        if not outcome.report.finite:
            # Said here and not left to the codec: a user's own need not look.
            raise CodecError(
                f"{ue.name}'s model in round {now.number} is NaN or infinite after training; lower the learning rate "
                f"(training.learning_rate = {self.scenario.training.learning_rate}), or check the data"
            )
        self._charge(ue)
        now.losses[ue.name] = (outcome.report.loss, outcome.report.samples)
        message = Message(
            "model",
            ue.name,
            BS,
            _STREAM,
            ModelContent(outcome.state, self.layout),
            round=now.number,
            samples=len(ue.samples),
            loss=outcome.report.loss,
        )
        if now.summing is not None:
            now.summing.computed(message, now_s=self.clock.now_s)
            return
        (outgoing,) = self.transport.prepare(message)
        self.transport.offer(outgoing, now_s=self.clock.now_s)

    def _charge(self, ue: UE) -> None:
        """Write down what a UE has computed until now, and what it spent on it."""
        samples = self._charged_samples(ue)
        energy_j = self.scenario.compute.energy_j(samples)
        self._compute_energy_j += energy_j
        self._computations.append(Computation(self.round, ue.name, samples, self.clock.now_s, energy_j))

    def _close(self, now: _Round) -> RoundRecord:
        updates = [now.updates[name] for name in now.cohort if name in now.updates]
        self._frame_bits |= now.frame_bits
        self.model = self._aggregate(now, updates)
        train_loss = _mean_loss(now.losses, now.cohort)
        reported = _mean_loss(now.reported, now.cohort)
        self._told_loss = self._told_loss if reported is None else reported
        if self._standalone is not None:
            trained = self._engine.result(self._jobs.pop(self._standalone.name)).state
            self._standalone.receive(trained, at_s=self.clock.now_s)
        stopped_by = self._limit_reached()
        due = self.round % self.scenario.population.eval_every == 0
        record = self._record(
            cohort=len(now.cohort),
            arrived=len(updates) if now.added is None else len(now.added.received),
            train_loss=train_loss,
            tested=due or stopped_by is not None,
        )
        goal, accuracy = self.scenario.stop.accuracy, record.row["accuracy"]
        reached = goal is not None and accuracy is not None and accuracy >= goal
        self.stopped_by = stopped_by or ("accuracy" if reached else None)
        return record

    def _aggregate(self, now: _Round, updates: list[tuple[ModelState, int]]) -> ModelState:
        if now.added is not None:
            assert isinstance(now.added.content, ModelContent)
            return now.added.content.state
        rule, training = self.scenario.population.aggregator, self.scenario.training
        weighted = [(state, float(samples)) for state, samples in updates]
        added_up = self._added_up(now, updates)
        if added_up is not None:
            averaging = rule if isinstance(rule, Averaging) else FedAvg()
            # Buffers travel beside the codec, and are averaged as they are.
            mean = replace(averaging.aggregate(self.model, weighted), vector=added_up)
            if isinstance(rule, Averaging):
                return mean
            weighted = [(mean, sum(weight for _, weight in weighted))]
        # The header has a UE's samples, and its settings are known: that says how many steps it took.
        steps = [training.effective_steps(samples, round=now.number) for _, samples in updates]
        model, self._aggregation = next_model(
            rule, self.model, weighted, steps=steps, memory=self._aggregation
        )
        return model

    def _added_up(self, now: _Round, updates: list[tuple[ModelState, int]]) -> Vector | None:
        """The mean of what arrived, where payloads are added up before they are decoded."""
        averaging = mean_rule(self.scenario.population.aggregator)
        if averaging is None or not now.adding_up or len(now.adding_up) < len(updates):
            return None
        arrivals = [now.adding_up[name] for name in now.cohort if name in now.adding_up]
        shares = averaging.shares([float(arrival.samples) for arrival in arrivals])
        return self.transport.aggregate(arrivals, shares)

    def _limit_reached(self) -> str | None:
        stop = self.scenario.stop
        if self.round >= stop.rounds:
            return "rounds"
        if stop.seconds is not None and self.clock.now_s >= stop.seconds:
            return "seconds"
        if stop.uplink_bits is not None and self.transport.ledger.uplink_bits >= stop.uplink_bits:
            return "uplink_bits"
        return None

    def _record(self, *, cohort: int, arrived: int, train_loss: float | None, tested: bool) -> RoundRecord:
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
            "cohort": cohort,
            "arrived": arrived,
        }
        if tested:
            row["accuracy"], row["loss"] = self._test(self.model)
        if self._standalone is not None:
            row["standalone_accuracy"] = self._test(self._standalone.model)[0] if tested else None
        computations, self._computations = self._computations, []
        return RoundRecord(row, ledger.drain(), computations)

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

    def _place_samples(self) -> dict[str, UE]:
        count = self.scenario.population.ues
        parts = self.scenario.partition.split(self.dataset.train.y, ues=count, key=self.key / "partition")
        return {
            ue_name(i): UE(self._worker(ue_name(i)), self.dataset.train[part], self.model)
            for i, part in enumerate(parts)
        }

    def _worker(self, name: str) -> VirtualWorker:
        return VirtualWorker(self._station, name)

    def _twin(self) -> UE:
        return UE(self._worker("standalone"), self.ues[ue_name(0)].samples, self.model)

    def _submit(self, ue: UE) -> None:
        key = self.key / ue.name / f"training{ue.trainings}"
        ue.trainings += 1
        self._jobs[ue.name] = self._engine.submit(
            Job(
                ue=ue.name,
                state=ue.model,
                samples=ue.samples,
                training=self.scenario.training,
                key=key,
                round=self.round,
            )
        )

    def _processed(self, ue: UE) -> float:
        return self.scenario.training.processed(len(ue.samples))

    def _charged_samples(self, ue: UE) -> float:
        equal = self.scenario.population.equal_compute
        return self._mean_samples if equal else self._processed(ue)

    def close(self) -> None:
        """Let go of what the carrier holds, when no step is to follow."""
        self.transport.carrier.close()

    # Checkpoints, between rounds.

    def state(self) -> dict[str, Any]:
        """All that the rounds to come depend on, as plain data and tensors."""
        return {
            "round": self.round,
            "stopped_by": self.stopped_by,
            "clock": self.clock.state(),
            "transport": self.transport.state(),
            "model": _plain(self.model),
            "trainings": {name: ue.trainings for name, ue in self.ues.items() if ue.trainings},
            "compute_energy_j": self._compute_energy_j,
            "told_samples": dict(self._told_samples),
            "told_loss": self._told_loss,
            "selection": dict(self._selection),
            "aggregation": dict(self._aggregation),
            "arrived": dict(self._arrived),
            "frame_bits": dict(self._frame_bits),
            "standalone": None if self._standalone is None else _plain(self._standalone.model),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.round = state["round"]
        self.stopped_by = state["stopped_by"]
        self.transport.clock = Clock.restore(state["clock"])
        self.transport.load(state["transport"])
        self.model = ModelState(*state["model"])
        for name, count in state["trainings"].items():
            self.ues[name].trainings = count
        self._compute_energy_j = state["compute_energy_j"]
        self._told_samples = dict(state["told_samples"])
        self._told_loss = state["told_loss"]
        self._selection = state["selection"]
        self._aggregation = state["aggregation"]
        self._arrived = dict(state["arrived"])
        self._frame_bits = dict(state["frame_bits"])
        if self._standalone is not None:
            self._standalone.receive(ModelState(*state["standalone"]), at_s=self.clock.now_s)
            self._standalone.trainings = self.round
        self._started = True


def check_fits(scenario: Scenario, dataset: Dataset) -> None:
    """Check, without training, that model, data and partition go together, and that the carrier can be opened.

    Raises:
        ConfigError: the model does not take the data or does not tell its classes apart, or the partition leaves a UE
            without samples.
        TransportError: the carrier does not work here.
    """
    key = Key(scenario.seed)
    scenario.partition.split(dataset.train.y, ues=scenario.population.ues, key=key / "partition")
    module = build_seeded(scenario.model, dataset.shape, dataset.classes, key / "model").eval()
    try:
        with torch.no_grad():
            shape = tuple(module(dataset.test.x[:2]).shape)
    except RuntimeError as error:
        raise ConfigError(
            f"model {type(module).__name__} does not take samples of shape {tuple(dataset.shape)}: {error}"
        ) from None
    if shape != (len(dataset.test.x[:2]), dataset.classes):
        raise ConfigError(
            f"model {type(module).__name__} gives {shape[1:]} for a sample, "
            f"but the data have {dataset.classes} classes; it must give one score per class"
        )
    if scenario.uplink.analog is not None and any(True for _ in module.buffers()):
        raise ConfigError(
            f"model {type(module).__name__} has buffers (as BatchNorm's), and uplink.analog adds up parameters alone; "
            "use GroupNorm, or leave uplink.analog out"
        )
    scenario.carrier.open(BS).close()


def _mean_loss(losses: Mapping[str, tuple[float, int]], cohort: tuple[str, ...]) -> float | None:
    """By samples, in the cohort's order, so that no sum depends on who came first."""
    given = [losses[name] for name in cohort if name in losses]
    total = sum(samples for _, samples in given)
    return sum(loss * samples for loss, samples in given) / total if total else None


def _plain(model: ModelState) -> list[Any]:
    return [model.vector, dict(model.buffers)]
