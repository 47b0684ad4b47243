"""UEs that decide whether to send: what a trigger is shown, what is remembered of each UE, and the record of it.

What a rule remembers follows what its UE knows: after a decision it is not settled until the UE has learnt what became
of its upload (or has kept it), and then it is what the rule gave for that case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from syft_fl.errors import ConfigError
from syft_fl.federation.cohort import ue_names
from syft_fl.federation.scenario import Scenario
from syft_fl.keys import Key
from syft_fl.learn.triggers import Decision, ServerSide, Trigger, TriggerView, properties
from syft_fl.radio import ChannelLink
from syft_fl.spill import Spill, kept
from syft_fl.transport import Message, ModelContent, Transport
from syft_fl.vectors import ModelState, Vector

__all__ = ["Decided", "Deciding", "deciding_of"]


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision: one row of a run's files.

    Attributes:
        round: federated round.
        ue: whose update it is about.
        at: ``ue``, or ``bs`` where the base station decides whether to ask the UE at all.
        time_s: when [s].
        quantity: what was compared; not finite: there was nothing to compare yet.
        threshold: with what.
        send: what was decided.
    """

    round: int
    ue: str
    at: str
    time_s: float
    quantity: float
    threshold: float
    send: bool


class Deciding:
    """The trigger of a run, and what it remembers of the UEs.

    Args:
        trigger: the rule.
        transport: what would be sent, and over which radio.
        key: the run's.
        ues: all UEs, in their fixed order.
        learning_rate: of a round.
        spill: how much of what is remembered of each UE is in memory; None: all.
    """

    def __init__(
        self,
        trigger: Trigger,
        transport: Transport,
        *,
        key: Key,
        ues: Sequence[str],
        learning_rate: Callable[[int], float],
        spill: Spill | None = None,
    ) -> None:
        self.trigger = trigger
        self.properties = properties(trigger)
        self._transport = transport
        self._key = key
        self._ues = tuple(ues)
        self._learning_rate = learning_rate
        self._memory: MutableMapping[str, Mapping[str, Any]] = kept(spill)
        self._latest: dict[str, Decision] = {}  # until it is sent, or kept
        self._sent: dict[str, dict[int, Decision]] = {}  # by number, until the UE knows what became of it
        self._silence: dict[str, int] = {}
        self._decisions: dict[str, int] = {}
        # Models that UEs received, newest first, and the base station's own; only as many as the rule wants.
        self._heard: dict[str, list[Vector]] = {}
        self._made: list[Vector] = []
        # Of a UE whose last update is reused: that, its samples and learning rate; and the model it was computed at.
        self._last: MutableMapping[str, tuple[ModelState, int, float]] = kept(spill)
        self._told: dict[str, Vector] = {}
        self._rows: list[Decided] = []
        self._mean_rate = (0, math.nan, math.nan)

    # What a UE decides.

    def heard(self, ue: str, vector: Vector) -> None:
        """A UE received a model."""
        if self.properties.history:
            self._heard[ue] = [vector, *self._heard.get(ue, [])][: self.properties.history + 1]

    def decide(self, message: Message, *, base: ModelState, now_s: float) -> tuple[bool, float]:
        """Whether a UE sends what it computed from a model; and how urgent that is: quantity over threshold."""
        ue, content = message.sender, message.content
        assert isinstance(content, ModelContent)
        number = self._decisions.get(ue, 0)
        self._decisions[ue] = number + 1
        view = TriggerView(
            ue=ue,
            round=message.round,
            key=self._key / ue / f"decision{number}",
            update=content.state.vector - base.vector,
            owed=self._transport.residual(ue, message.stream),
            received=base.vector,
            earlier=self._earlier(ue, base.vector),
            loss=message.loss,
            silence=self._silence.get(ue, 0),
            samples=message.samples,
            learning_rate=self._learning_rate(message.round),
            users=len(self._ues),
            decoded=lambda: self._transport.preview(message, base=base.vector),
            rate_bps=lambda: self._rate_bps(ue, message.round, now_s),
            mean_rate_bps=lambda: self._mean_rate_bps(message.round, now_s),
            gain=lambda: self._gain(ue, message.round, now_s),
        )
        decision = self.trigger.decide(view, self._memory.get(ue, {}))
        self._latest[ue] = decision
        self._note(message.round, ue, "ue", now_s, decision)
        return decision.send, _urgency(decision)

    def sends(self, ue: str, number: int) -> None:
        """A UE sends what it has decided on last, as its upload of this number."""
        if ue in self._latest:
            self._sent.setdefault(ue, {})[number] = self._latest.pop(ue)

    def settled(self, ue: str, number: int | None, *, applied: bool) -> None:
        """A UE knows what became of an upload: applied, or not; None: it keeps what it has decided on last."""
        decision = self._latest.pop(ue, None) if number is None else self._sent.get(ue, {}).pop(number, None)
        if decision is None:
            return
        self._memory[ue] = decision.sent if applied else decision.kept
        self._silence[ue] = 0 if applied else self._silence.get(ue, 0) + 1

    def _earlier(self, ue: str, base: Vector) -> tuple[Vector, ...]:
        heard = self._heard.get(ue, [])
        # A UE that got another model while it computed decides by what came before the one that it began from.
        start = next((n for n, vector in enumerate(heard) if vector is base), -1) + 1
        return tuple(heard[start : start + self.properties.history])

    def _rate_bps(self, ue: str, block: int, now_s: float) -> float:
        return self._transport.radio("uplink").rate_bps(ue, share=1.0, block=block, time_s=now_s)

    def _mean_rate_bps(self, block: int, now_s: float) -> float:
        if self._mean_rate[:2] != (block, now_s):  # UEs that compute equally long ask at the same instant
            rates = [self._rate_bps(ue, block, now_s) for ue in self._ues]
            self._mean_rate = block, now_s, math.fsum(rates) / len(rates)
        return self._mean_rate[2]

    def _gain(self, ue: str, block: int, now_s: float) -> float:
        link = self._transport.radio("uplink").of(ue)
        if not isinstance(link, ChannelLink):
            kind = getattr(self.trigger, "kind", type(self.trigger).__qualname__)
            raise ConfigError(
                f"trigger = {kind!r} looks at the fading gain, and uplink.link has no channel; "
                "use a link with fading (kind = 'shannon' or 'wireless'), or a rate threshold"
            )
        return link.fading_gain(ue, block=block, time_s=now_s)

    # What the base station decides, and reuses.

    def asked(self, ues: tuple[str, ...], model: ModelState, *, round: int, now_s: float) -> tuple[str, ...]:
        """Those of some UEs that the base station asks for an update to its model."""
        if not self.properties.server_side:
            return ues
        return tuple(ue for ue in ues if self._asks(ue, model, round=round, now_s=now_s))

    def _asks(self, ue: str, model: ModelState, *, round: int, now_s: float) -> bool:
        assert isinstance(self.trigger, ServerSide)
        decision = self.trigger.wanted(
            ue=ue,
            model=model.vector,
            told=self._told.get(ue),
            earlier=tuple(self._made[1:] if self._made and self._made[0] is model.vector else self._made),
            learning_rate=self._learning_rate(round),
            users=len(self._ues),
        )
        self._note(round, ue, "bs", now_s, decision)
        return decision.send

    def made(self, model: ModelState) -> None:
        """The base station has a new model."""
        if self.properties.server_side:
            self._made = [model.vector, *self._made][: self.properties.history + 1]

    def arrived(self, ue: str, state: ModelState, *, base: ModelState, samples: int, round: int) -> None:
        """The base station has an update of a UE, and may use it again."""
        if self.properties.reuses:
            change = ModelState(state.vector - base.vector, state.buffers)
            self._last[ue] = change, samples, self._learning_rate(round)
            if self.properties.server_side:
                self._told[ue] = base.vector

    def reused(self, model: ModelState, *, round: int, but: set[str]) -> list[tuple[str, ModelState, int]]:
        """What the last updates of UEs make of the base station's model, with their samples.

        An update is a gradient times a learning rate: it is scaled to the rate of the round in which it is used again.

        Args:
            but: UEs that have sent a new one.
        """
        found = []
        for ue in self._ues:
            if ue in self._last and ue not in but:
                change, samples, rate = self._last[ue]
                scale = self._learning_rate(round) / rate if rate > 0 else 1.0
                vector = model.vector + (change.vector if scale == 1 else scale * change.vector)
                found.append((ue, ModelState(vector, change.buffers), samples))
        return found

    def drain(self) -> list[Decided]:
        """The decisions since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def _note(self, round: int, ue: str, at: str, now_s: float, decision: Decision) -> None:
        self._rows.append(Decided(round, ue, at, now_s, decision.quantity, decision.threshold, decision.send))

    # Checkpoints.

    def state(self) -> dict[str, Any]:
        """Plain data and tensors, for a checkpoint."""
        return {
            "memory": {ue: dict(memory) for ue, memory in self._memory.items()},
            "latest": {ue: _plain(decision) for ue, decision in self._latest.items()},
            "sent": {
                ue: {number: _plain(decision) for number, decision in sent.items()}
                for ue, sent in self._sent.items()
            },
            "silence": dict(self._silence),
            "decisions": dict(self._decisions),
            "heard": {ue: list(vectors) for ue, vectors in self._heard.items()},
            "made": list(self._made),
            "last": {
                ue: [change.vector, dict(change.buffers), samples, rate]
                for ue, (change, samples, rate) in self._last.items()
            },
            "told": dict(self._told),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self._memory.clear()
        self._memory.update(state["memory"])
        self._latest = {ue: Decision(*decision) for ue, decision in state["latest"].items()}
        self._sent = {
            ue: {number: Decision(*decision) for number, decision in sent.items()}
            for ue, sent in state["sent"].items()
        }
        self._silence, self._decisions = dict(state["silence"]), dict(state["decisions"])
        self._heard = {ue: list(vectors) for ue, vectors in state["heard"].items()}
        self._made = list(state["made"])
        self._last.clear()
        self._last.update(
            (ue, (ModelState(vector, buffers), samples, rate))
            for ue, (vector, buffers, samples, rate) in state["last"].items()
        )
        self._told = dict(state["told"])


def deciding_of(scenario: Scenario, transport: Transport, *, spill: Spill | None) -> Deciding | None:
    """The deciding of a scenario; None: it has no trigger, and all send."""
    if scenario.trigger is None:
        return None
    return Deciding(
        scenario.trigger,
        transport,
        key=Key(scenario.seed),
        ues=ue_names(scenario.population.ues),
        learning_rate=scenario.training.rate,
        spill=spill,
    )


def _plain(decision: Decision) -> list[Any]:
    return [decision.send, decision.quantity, decision.threshold, dict(decision.sent), dict(decision.kept)]


def _urgency(decision: Decision) -> float:
    if math.isnan(decision.quantity) or decision.threshold <= 0:
        return math.inf
    return decision.quantity / decision.threshold
