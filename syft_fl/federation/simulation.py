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

Here is the run alone. Its parts have modules of their own: who is in reach (:mod:`~syft_fl.federation.reach`), chosen
(:mod:`~syft_fl.federation.choosing`), called (:mod:`~syft_fl.federation.calling`) and waited for
(:mod:`~syft_fl.federation.answers`); what UEs compute (:mod:`~syft_fl.federation.computing`), will send before long
(:mod:`~syft_fl.federation.upcoming`) and decide (:mod:`~syft_fl.federation.deciding`); what becomes of it
(:mod:`~syft_fl.federation.merging`) and is told (:mod:`~syft_fl.federation.reporting`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syft_fl.clock import Clock, Event
from syft_fl.data import Dataset
from syft_fl.devices import ready
from syft_fl.federation.answers import Answers
from syft_fl.federation.balance import float32_bits
from syft_fl.federation.calling import Calling
from syft_fl.federation.choosing import Choosing
from syft_fl.federation.cohort import ue_name
from syft_fl.federation.computing import Computing
from syft_fl.federation.contents import Contents, ModelAlone
from syft_fl.federation.deciding import deciding_of
from syft_fl.federation.merging import Merging
from syft_fl.federation.opening import share_out, transport_of
from syft_fl.federation.protocol import Exchange, Protocol
from syft_fl.federation.reach import Reach
from syft_fl.federation.reporting import Reporting
from syft_fl.federation.round import CameUp, Round, RoundRecord, Work, mean_loss, plain
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.standalone import Standalone
from syft_fl.federation.streaming import Streaming, streams
from syft_fl.federation.summing import SumOnTheAir
from syft_fl.federation.ue import UE
from syft_fl.federation.upcoming import Upcoming
from syft_fl.federation.variates import float32_state, variates_of
from syft_fl.keys import Key
from syft_fl.learn import Loop, Outcome, build_seeded, evaluate
from syft_fl.spill import Spill
from syft_fl.transport import Accepted, Arrival, Frame, Landed, Message, ModelContent, Outgoing
from syft_fl.vectors import Layout, ModelState
from syft_fl.workers import Station, VirtualWorker

__all__ = ["BS", "RoundRecord", "Simulation"]

BS = "bs"
"""The base station's name."""

_STREAM = "model"


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
        self.transport = transport_of(scenario, hub=BS, device=self.device, spill=self._spill)
        self._protocol = scenario.protocol or Protocol()
        self._exchange = Exchange(
            self.transport, self._protocol, hub=BS, stream=_STREAM, federation=self, timers=self._set_timer
        )
        station = Station(transport=self.transport, compute=scenario.compute)
        self.ues = share_out(self.dataset.train, labels=dataset.train.y, scenario=scenario, station=station)
        self._names = tuple(self.ues)
        self._place = {ue: number for number, ue in enumerate(self._names)}
        self._standalone: Standalone | None = None
        if scenario.population.standalone:
            twin = UE(VirtualWorker(station, "standalone"), self.ues[ue_name(0)].samples, self.model)
            self._standalone = Standalone(twin, self._engine, training=scenario.training, key=self.key)
        # What UEs do, and what the base station makes of it.
        self.variates = variates_of(
            scenario, self.transport, self.layout, device=self.device, spill=self._spill
        )
        self._contents: Contents = self.variates or ModelAlone(self.layout)
        self._computing = Computing(scenario, self.ues, self._engine, self._contents)
        self._upcoming = Upcoming(
            self.transport, self._computing, write=self._upload, length=self.layout.length
        )
        all_send = not scenario.event_triggered and scenario.uplink.analog is None
        self.transport.looks_ahead = all_send and self.variates is None
        self._deciding = deciding_of(scenario, self.transport, spill=self._spill)
        self._merging = Merging(scenario, self.transport)
        self._streams = streams(scenario)
        # Whom the base station can reach, chooses and waits for.
        self._reach = Reach(scenario.population, self._names, self.transport, self._exchange, key=self.key)
        self._choosing = Choosing(
            scenario,
            self.transport,
            frame_bits=float32_bits(float32_state(scenario.population.aggregator, self.model)),
            compute_s=self._computing.expected_s,
        )
        self._answers = Answers(self._place)
        self._calling: Calling | None = None
        if scenario.population.asynchronous is not None:
            self._calling = Calling(
                scenario.population.asynchronous,
                cohort=scenario.population.chosen,
                reach=self._reach,
                choosing=self._choosing,
                exchange=self._exchange,
                merging=self._merging,
            )
        self._reporting = Reporting(
            self.transport,
            self._computing,
            deciding=self._deciding,
            standalone=self._standalone,
            test=self._test,
            event_triggered=scenario.event_triggered,
        )
        self._pending: list[CameUp] = []  # updates that wait for a later model
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
            self._reach.watch()
            return self._reporting.record(self._now, model=self.model)
        self.round += 1
        now = self._now = Round(self.round, self.clock.now_s, updates=self._pending)
        self._pending = []
        going = self._begin(now)
        while not self._is_over(now) and going:
            going = not self._is_in_vain(now) and self._go_on(now)
        record = self._close(now)
        now.updates.clear()  # between rounds no model is kept for what is over
        self._computing.let_go(lambda ue: self._exchange.ue(ue).is_done)
        if not going and self.stopped_by is None:
            self.stopped_by = "silence"
            warnings.warn(
                f"round {self.round}: {self._why_silent(now)}, so the run ends here; look at "
                "population.availability, population.failures, protocol.patience_s and the trigger",
                UserWarning,
                stacklevel=2,
            )
        return record

    # How a round goes.

    def _is_in_vain(self, now: Round) -> bool:
        return self._calling is not None and self._calling.in_vain(now)

    def _why_silent(self, now: Round) -> str:
        if self._is_in_vain(now):
            return f"UEs were called {len(now.cohort)} times and sent {len(now.updates)} updates"
        return "nobody is in reach or will ever answer"

    def _begin(self, now: Round) -> bool:
        """Call the first UEs; false: nobody is in reach, or ever will be."""
        if self._calling is not None:
            self._call(self._calling, now)
            return True
        self._answers.give_up_all()
        if self.scenario.uplink.analog is not None:
            now.summing = SumOnTheAir(self.transport, hub=BS, round=self.round)
        if self._standalone is not None:
            self._standalone.begin(round=self.round)
        while not self._reach.anybody:
            if not self._go_on(now):
                return False
        asked = self._choosing.cohort(self._reach.known(self._names), round=self.round)
        if self._deciding is not None:
            asked = self._deciding.asked(asked, self.model, round=self.round, now_s=self.clock.now_s)
        if self._streams:
            now.streaming = Streaming({ue: len(self.ues[ue].samples) for ue in asked})
        self._tell(now, asked)
        return True

    def _tell(self, now: Round, ues: tuple[str, ...]) -> None:
        """Send some UEs the model, and wait for what they make of it."""
        now.cohort += ues
        self._answers.await_from(ues, round=now.number)
        audience = self.transport.audience(ues, _STREAM, cell=self._names)
        if not audience:
            return
        message = Message(
            "model",
            BS,
            audience,
            _STREAM,
            self._contents.down(self.model),
            round=now.number,
            samples=self._answers.samples,
            loss=self._answers.loss,
        )
        self._exchange.tell(message, wanted=ues)

    def _call(self, calling: Calling, now: Round) -> None:
        """Send the model to UEs that are free, as an asynchronous mode says."""
        for group in calling.groups(now, self._answers):
            self._tell(now, group)

    def _is_over(self, now: Round) -> bool:
        if self._calling is not None:
            return bool(now.updates) and bool(self._calling.takes(now, self._answers))
        closing = self.scenario.population.closing
        if closing is None:
            return not self._answers and self.transport.next_event_s() == math.inf
        if not self._answers:
            return True
        closes_s = now.began_s + closing.closes_s(now.standing(len(self._answers)))
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
            now.summing.go_on(tuple(now.cohort), set(self._answers), now_s=self.clock.now_s)
        self._exchange.grant_due()
        if self._calling is not None and not self._is_over(now):
            self._call(self._calling, now)
        return True

    def _on_landed(self, landed: Landed | Arrival, now: Round) -> None:
        if isinstance(landed, Arrival):  # models that the channel added up
            now.added = landed
            self._answers.give_up_all()
            self._choosing.arrived(landed.received, round=now.number)
            return
        outgoing = landed.outgoing
        if outgoing.kind == "control":  # what goes before
            assert now.summing is not None
            now.summing.landed(landed)
            self._answers.give_up(landed.transfer.lost)
            return
        if outgoing.kind == "model":
            now.frame_bits[outgoing.direction] = max(outgoing.bits, now.frame_bits.get(outgoing.direction, 0))
        self._exchange.landed(landed)

    def _on_event(self, event: Event) -> None:
        data = event.data
        if event.kind == "timer":
            self._exchange.rings(data["party"], data["ue"], data["number"])
        elif event.kind == "reach":
            self._reach.changes(data["ue"])
        elif event.kind in ("computed", "failed"):
            if not self._computing.is_at(data["ue"], training=data["training"]):
                return  # it was abandoned
            if event.kind == "computed":
                self._on_computed(data["ue"])
            else:
                self._on_failed(data["ue"])

    # What the protocol calls back, as Federation says.

    def received(self, ue: str, content: ModelContent, frame: Frame) -> None:
        state = self._contents.heard(content.state, (ue,))
        self.ues[ue].receive(state, at_s=self.clock.now_s)
        if self._deciding is not None:
            self._deciding.heard(ue, state.vector)

    def train(self, ue: str, *, round: int) -> None:
        becomes, at_s = self._computing.begin(ue, round=round, now_s=self.clock.now_s)
        self.clock.schedule(at_s, becomes, ue=ue, training=self._computing.work(ue).training)

    def abandon(self, ue: str) -> None:
        self._computing.abandon(ue, now_s=self.clock.now_s)

    def decide(self, message: Message) -> tuple[bool, float]:
        if self._deciding is None:
            return True, math.inf
        base = self._computing.work(message.sender).base
        return self._deciding.decide(message, base=base, now_s=self.clock.now_s)

    def sends(self, ue: str, number: int) -> None:
        if self._deciding is not None:
            self._deciding.sends(ue, number)

    def settled(self, ue: str, number: int | None, *, applied: bool) -> None:
        if self._deciding is not None:
            self._deciding.settled(ue, number, applied=applied)

    def wants(self, ue: str, *, round: int) -> bool:
        late = self.scenario.population.late
        return self._calling is not None or late is not None or round == self.round

    def discarded(self, ue: str) -> None:
        self._now.discarded += 1

    def came(self, outgoing: Outgoing, accepted: Accepted) -> None:
        now, frame, content = self._now, accepted.frame, accepted.content
        assert isinstance(content, ModelContent)
        (ue,) = outgoing.ues
        state = self._contents.arrived(ue, content.state)
        work = self._computing.work(ue)
        if now.streaming is not None:
            now.streaming.add(ue, state, samples=frame.samples)
        kept = state if now.streaming is None else None
        now.updates.append(CameUp.of(outgoing, accepted, kept, work))
        now.gone.discard(ue)
        self._choosing.arrived((ue,), round=now.number)
        self._answers.header(ue, frame, now)
        if self._deciding is not None:
            self._deciding.arrived(ue, state, base=work.base, samples=frame.samples, round=work.round)
        if self._answers.end(ue, round=frame.round):
            now.answered(self.clock.now_s, arrived=True)

    def skipped(self, ue: str, *, round: int) -> None:
        if self._answers.end(ue, round=round):
            self._now.skipped.add(ue)
            self._now.answered(self.clock.now_s, arrived=False)

    def gone(self, ue: str, *, round: int) -> None:
        if self._answers.end(ue, round=round):
            implied = self._protocol.skip == "implied" and self._exchange.ue(ue).state == "idle"
            (self._now.skipped if implied else self._now.gone).add(ue)

    def waiting(self) -> Iterable[str]:
        return self._answers.in_order

    def present(self, ue: str, here: bool) -> None:
        self._reach.says(ue, here)

    # What happens at UEs.

    def _on_computed(self, ue: str) -> None:
        self._upcoming.look_ahead(ue)
        outcome = self._computing.done(ue, now_s=self.clock.now_s)
        self._now.losses[ue] = (outcome.report.loss, outcome.report.samples)
        message = self._upcoming.message(ue, outcome)
        if self._now.summing is not None:
            self._exchange.ue(ue).rests()
            self._now.summing.computed(message, now_s=self.clock.now_s)
            return
        self._exchange.computed(message)

    def _on_failed(self, ue: str) -> None:
        self._exchange.ue(ue).stops()
        if self._protocol.acknowledgements == "free":
            self.gone(ue, round=self._computing.work(ue).round)

    def _upload(self, ue: str, outcome: Outcome) -> Message:
        """What a UE sends of what it has computed."""
        round = self._computing.work(ue).round
        return Message(
            "model",
            ue,
            BS,
            _STREAM,
            self._computing.content(ue, outcome),
            round=round,
            samples=len(self.ues[ue].samples),
            loss=outcome.report.loss,
            reference=self._exchange.ue(ue).base if self.transport.keeps_references else None,
        )

    def _set_timer(self, after_s: float, party: str, ue: str, number: int) -> None:
        self.clock.schedule(self.clock.now_s + after_s, "timer", party=party, ue=ue, number=number)

    # What the base station makes of it.

    def _close(self, now: Round) -> RoundRecord:
        updates = self._taken(now)
        self._choosing.sent(now.frame_bits)
        self.model = self._aggregate(now, updates)
        if self._deciding is not None:
            self._deciding.made(self.model)
        self._contents.close(now.cohort)
        self._answers.close(now)
        if self._standalone is not None:
            self._standalone.end(now_s=self.clock.now_s)
        stop, uplink_bits = self.scenario.stop, self.transport.ledger.uplink_bits
        limit = stop.limit(rounds=self.round, seconds=self.clock.now_s, uplink_bits=uplink_bits)
        tested = limit is not None or self.round % self.scenario.population.eval_every == 0
        record = self._reporting.record(
            now,
            model=self.model if tested else None,
            arrived=len(updates) if now.added is None else len(now.added.received),
            train_loss=mean_loss(now.losses, self._place),
            ages=[now.number - update.work.round for update in updates],
        )
        accuracy = record.row["accuracy"]
        reached = stop.accuracy is not None and accuracy is not None and accuracy >= stop.accuracy
        self.stopped_by = limit or ("accuracy" if reached else None)
        return record

    def _taken(self, now: Round) -> list[CameUp]:
        """The updates that make the next model, in the fixed order of UEs; others stay for a later one."""
        updates = now.updates
        if self._calling is not None:
            taken = self._calling.takes(now, self._answers)
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

    def _test(self, model: ModelState) -> tuple[float, float]:
        self.layout.write(model, self._module)
        found = evaluate(self._module, self.dataset.test.x, self.dataset.test.y)
        return found.accuracy, found.loss

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
            "variates": None if self.variates is None else self.variates.state(),
            "computing": self._computing.state(lambda ue: self._exchange.ue(ue).at_work),
            "standalone": None if self._standalone is None else self._standalone.state(),
            "deciding": None if self._deciding is None else self._deciding.state(),
            "merging": self._merging.state(),
            "reach": self._reach.state(),
            "choosing": self._choosing.state(),
            "answers": self._answers.state(),
            "pending": [
                [update.ue, plain(update.state), update.work.state(), update.samples]
                for update in self._pending
                if update.state is not None
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.round = state["round"]
        self.stopped_by = state["stopped_by"]
        self.transport.clock = Clock.restore(state["clock"])
        layout = self._contents.down(self.model).layout
        self.transport.load(state["transport"], layout=layout)
        self._exchange.load(state["exchange"], layout=layout)
        self.model = ModelState(*state["model"])
        if self.variates is not None:
            self.variates.load(state["variates"])
        self._computing.load(state["computing"])
        if self._standalone is not None:
            self._standalone.load(state["standalone"])
        if self._deciding is not None:
            self._deciding.load(state["deciding"])
        self._merging.load(state["merging"])
        self._reach.load(state["reach"])
        self._choosing.load(state["choosing"])
        self._answers.load(state["answers"])
        self._pending = [
            CameUp(ue, ModelState(*model), Work.restore(work), samples)
            for ue, model, work, samples in state["pending"]
        ]
        self._started = True
