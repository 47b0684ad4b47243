"""One scenario: everything that a run depends on, as one frozen value.

The compute time may be left open here, as a balance between transmission and compute;
:func:`~syft_fl.federation.balance.settle` turns it into seconds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any

from syft_fl.codecs import Summing
from syft_fl.data import DATASETS, Digits
from syft_fl.devices import is_device_name
from syft_fl.errors import ConfigError
from syft_fl.federation.asynchronous import ASYNCHRONOUS, Asynchronous
from syft_fl.federation.availability import AVAILABILITIES, Availability
from syft_fl.federation.closing import CLOSINGS, Closing
from syft_fl.federation.failures import Failures
from syft_fl.federation.protocol import Protocol
from syft_fl.federation.selection import SELECTIONS, Random, Selection
from syft_fl.federation.staleness import STALENESS, Staleness
from syft_fl.learn import (
    AGGREGATORS,
    COMPUTES,
    ENGINES,
    IID,
    MLP,
    MODELS,
    PARTITIONS,
    SLOWDOWNS,
    Aggregator,
    Balance,
    Compute,
    EngineModel,
    FedAvg,
    ModelFactory,
    Partition,
    Scaffold,
    Slowdown,
    Training,
)
from syft_fl.learn.triggers import TRIGGERS, Trigger, properties
from syft_fl.radio import Cell
from syft_fl.schema import require, schema
from syft_fl.transport import CARRIERS, CarrierModel, Downlink, Local, Uplink

__all__ = ["Population", "Scenario", "Stop"]


@schema
class Population:
    """Who takes part, and how the base station runs a round.

    Attributes:
        ues: UEs in the cell.
        cohort: UEs chosen for a round; None: all.
        selection: who is chosen (:mod:`~syft_fl.federation.selection`); None: ``random``, that is uniformly without
            replacement.
        equal_compute: every UE takes the mean UE's compute time; false: each its own, by its samples.
        slowdown: a factor on that for each training, or each UE (:mod:`syft_fl.learn.slowdown`); None: 1.
        aggregator: how updates become the next model.
        closing: when a round closes (:mod:`~syft_fl.federation.closing`); None: ``all``, when all have answered.
        late: weight of an update that comes after its round was closed, by its age
            (:mod:`~syft_fl.federation.staleness`); it is used as a difference to the model that it was computed from.
            None: it is discarded.
        asynchronous: rounds that don't wait (:mod:`~syft_fl.federation.asynchronous`); None: synchronous ones.
        availability: when UEs are in reach (:mod:`~syft_fl.federation.availability`); None: always.
        failures: trainings and uploads that come to nothing (:mod:`~syft_fl.federation.failures`); None: none.
        eval_every: rounds between tests of the model (the last round is always tested).
        standalone: also train a twin of ue0 that never sends or receives, and test it beside the federation.
        spill_mb: what is remembered of each UE (residuals, models that differences refer to, memories of codecs and
            triggers, control variates) takes so many MB of memory; what was used longest ago lies in a temporary file.
            It changes no result. None: all of it is in memory.
    """

    ues: int = 10
    cohort: int | None = None
    selection: Annotated[Selection, SELECTIONS] | None = None
    equal_compute: bool = True
    slowdown: Annotated[Slowdown, SLOWDOWNS] | None = None
    aggregator: Annotated[Aggregator, AGGREGATORS] = FedAvg()
    closing: Annotated[Closing, CLOSINGS] | None = None
    late: Annotated[Staleness, STALENESS] | None = None
    asynchronous: Annotated[Asynchronous, ASYNCHRONOUS] | None = None
    availability: Annotated[Availability, AVAILABILITIES] | None = None
    failures: Failures | None = None
    eval_every: int = 1
    standalone: bool = False
    spill_mb: float | None = None

    def __post_init__(self) -> None:
        require(self.ues >= 1, "ues", self.ues, "at least 1")
        require(
            self.cohort is None or 1 <= self.cohort <= self.ues,
            "cohort",
            self.cohort,
            f"in 1 … ues = {self.ues}",
            "leave it out to choose all UEs",
        )
        require(
            self.cohort is not None or not getattr(self.selection, "needs_cohort", False),
            "cohort",
            self.cohort,
            f"given where selection is {getattr(self.selection, 'kind', self.selection)!r}",
            "without it all UEs are chosen, and there is nothing to select",
        )
        require(self.eval_every >= 1, "eval_every", self.eval_every, "at least 1")
        require(
            self.spill_mb is None or 0 <= self.spill_mb < math.inf,
            "spill_mb",
            self.spill_mb,
            "at least 0 and finite",
            "leave it out to keep all in memory",
        )
        self._check("aggregator", "require_cohort", self.chosen)
        self._check("closing", "require_cohort", self.chosen)
        self._check("asynchronous", "require_ues", self.ues)

    @property
    def chosen(self) -> int:
        """UEs in a round: as many, or where the selection has a deadline at most as many."""
        return self.ues if self.cohort is None else self.cohort

    def _check(self, part: str, check: str, count: int) -> None:
        """Let a part that has such a check say whether it can do with so many UEs."""
        check_of_part = getattr(getattr(self, part), check, None)
        if check_of_part is not None:
            try:
                check_of_part(count)
            except ConfigError as error:
                raise ConfigError(f"{part}.{error}") from None

    @property
    def rule(self) -> Selection:
        """Who is chosen, the default resolved."""
        return Random() if self.selection is None else self.selection


@schema
class Stop:
    """When a run ends: whichever comes first. The round that reaches a limit is the last one.

    Attributes:
        rounds: federated rounds.
        seconds: simulated time [s].
        uplink_bits: bits sent by all UEs together.
        accuracy: test accuracy, 0 … 1.
    """

    rounds: int = 20
    seconds: float | None = None
    uplink_bits: float | None = None
    accuracy: float | None = None

    def __post_init__(self) -> None:
        require(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        for name in ("seconds", "uplink_bits"):
            value = getattr(self, name)
            require(value is None or 0 < value < math.inf, name, value, "above 0 and finite")
        require(
            self.accuracy is None or 0 < self.accuracy <= 1,
            "accuracy",
            self.accuracy,
            "above 0 and at most 1",
            "write 0.95 for 95 %",
        )

    def limit(self, *, rounds: int, seconds: float, uplink_bits: float) -> str | None:
        """The limit that a run has reached, by name; None: none, and what its test says of accuracy is apart."""
        if rounds >= self.rounds:
            return "rounds"
        if self.seconds is not None and seconds >= self.seconds:
            return "seconds"
        if self.uplink_bits is not None and uplink_bits >= self.uplink_bits:
            return "uplink_bits"
        return None


@schema
class Scenario:
    """Everything that a run depends on.

    Attributes:
        seed: of every random stream.
        data, model, partition: what is learnt, by what, and how samples are spread over UEs.
        population: who takes part and how rounds go.
        training: what a UE does between receiving a model and sending one.
        compute: how long that takes in simulated time.
        cell, uplink, downlink: the radio and how models are written for it.
        trigger: by what rule a UE decides whether to send what it computed (:mod:`syft_fl.learn.triggers`); None:
            always.
        protocol: how base station and UEs talk (:mod:`~syft_fl.federation.protocol`); None: its defaults, with
            nothing to acknowledge, to ask for or to wait for.
        carrier: who hands the frames' bytes over; it changes no result.
        engine: who trains the UEs; it changes no result, but ``batched`` may in the last digits. None: ``loop``.
        device: where models and data are, and training, testing and aggregation take place: ``cuda``, ``cuda:N``, or
            ``cpu``, which is None. Another one changes results in the last digits, and what dropout draws.
        stop: when the run ends.
    """

    seed: int = 0
    data: Annotated[Any, DATASETS] = Digits()
    model: Annotated[ModelFactory, MODELS] = MLP()
    partition: Annotated[Partition, PARTITIONS] = IID()
    population: Population = Population()
    training: Training = Training()
    compute: Annotated[Compute, COMPUTES] = Balance()
    cell: Cell = Cell()
    uplink: Uplink = Uplink()
    downlink: Downlink = Downlink()
    trigger: Annotated[Trigger, TRIGGERS] | None = None
    protocol: Protocol | None = None
    carrier: Annotated[CarrierModel, CARRIERS] = Local()
    engine: Annotated[EngineModel, ENGINES] | None = None
    device: str | None = None
    stop: Stop = Stop()

    def __post_init__(self) -> None:
        self._check_device()
        rule, uplink = self.population.aggregator, self.uplink
        kind = getattr(rule, "kind", type(rule).__qualname__)
        require(
            uplink.analog is None or isinstance(rule, FedAvg),
            "population.aggregator",
            kind,
            "'fedavg' where uplink.analog adds up models on the air",
            "the base station gets their weighted sum, and no model by itself",
        )
        adds_up = isinstance(uplink.codec, Summing) and uplink.delta and not uplink.error_feedback
        require(
            not (adds_up and getattr(rule, "needs_each", False)),
            "population.aggregator",
            kind,
            f"one that sees no more than a mean where uplink.codec = {getattr(uplink.codec, 'kind', '')!r}",
            "its payloads are added up before they are decoded; use kind = 'fedavg', or another codec",
        )
        require(
            self.training.optimizer == "sgd" or not getattr(rule, "needs_sgd", False),
            "training.optimizer",
            self.training.optimizer,
            f"'sgd' where population.aggregator = {kind!r}",
            "the rule divides by steps that are linear in gradients",
        )
        self._check_events()

    def _check_device(self) -> None:
        require(
            self.device is None or is_device_name(self.device),
            "device",
            self.device,
            "'cpu', 'cuda' or 'cuda:N'",
            "leave it out for the CPU; others, as 'mps', have no float64",
        )
        if self.device == "cpu":
            object.__setattr__(self, "device", None)  # said or not, it is the same scenario
        require(
            self.device is None or not getattr(self.engine, "cpu_only", False),
            "engine.kind",
            getattr(self.engine, "kind", ""),
            f"'loop', 'batched' or 'auto' where device = {self.device!r}",
            "this one spreads UEs over a CPU's cores",
        )

    @property
    def event_triggered(self) -> bool:
        """Whether a round may be anything else than: all are told, all send, the base station waits for all."""
        population, protocol = self.population, self.protocol
        return any(
            part is not None
            for part in (
                self.trigger,
                protocol,
                population.closing,
                population.late,
                population.asynchronous,
                population.availability,
                population.failures,
            )
        )

    def _check_events(self) -> None:
        """What can't be combined with rounds in which not all send, or not at once."""
        population, uplink, rule = self.population, self.uplink, self.population.aggregator
        kind, mode = getattr(rule, "kind", type(rule).__qualname__), population.asynchronous
        wanted = properties(self.trigger) if self.trigger is not None else None
        plain = "leave out trigger, protocol, and population's closing, late, asynchronous, availability and failures"
        require(
            not (self.event_triggered and uplink.analog is not None),
            "uplink.analog",
            "over the air",
            "left out where not all send at once",
            plain,
        )
        require(
            not (self.event_triggered and isinstance(rule, Scaffold)),
            "population.aggregator",
            kind,
            "another one where not all UEs of a cohort send in every round",
            f"the base station's control variate is that of all who were told; {plain}",
        )
        require(
            not (wanted is not None and wanted.reuses and uplink.error_feedback),
            "uplink.error_feedback",
            uplink.error_feedback,
            "false where the trigger lets the base station use the last update again",
            "what is held back is not owed there",
        )
        reuses = wanted is not None and wanted.reuses
        summing = isinstance(uplink.codec, Summing) and uplink.delta and not uplink.error_feedback
        require(
            not (summing and (reuses or population.late is not None or mode is not None)),
            "uplink.codec",
            getattr(uplink.codec, "kind", ""),
            "one whose payloads are not added up, where updates of several rounds make one model",
        )
        require(
            mode is None
            or (
                population.closing is None
                and population.late is None
                and not reuses
                and not population.standalone
            ),
            "population.asynchronous",
            getattr(mode, "kind", ""),
            "used without closing, late, standalone, and a trigger whose updates are used again",
            "these are about rounds that wait",
        )
        require(
            mode is None or self.downlink.cast != "broadcast",
            "downlink.cast",
            self.downlink.cast,
            "'multicast' or 'unicast' with population.asynchronous",
            "each UE gets its model when it is free",
        )
        require(
            not getattr(mode, "needs_fedavg", False) or isinstance(rule, FedAvg),
            "population.aggregator",
            kind,
            f"'fedavg' with population.asynchronous = {getattr(mode, 'kind', '')!r}",
            "that mode mixes models itself",
        )
        require(
            not (reuses and not isinstance(rule, FedAvg)),
            "population.aggregator",
            kind,
            "'fedavg' where the trigger lets the base station use the last update again",
        )
        if self.protocol is not None:
            require(
                self.protocol.acknowledgements == "free" or not uplink.erasure,
                "uplink.erasure",
                uplink.erasure,
                "false where protocol.acknowledgements = 'sent'",
                "an ACK does not say which packets came",
            )
            require(
                self.protocol.granted is None or mode is None,
                "protocol.granted",
                self.protocol.granted,
                "left out with population.asynchronous",
                "there is no cohort whose requests could be compared",
            )

    def with_seed(self, seed: int) -> Scenario:
        """The same scenario with other random streams."""
        return replace(self, seed=seed)
