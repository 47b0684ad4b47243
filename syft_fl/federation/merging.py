"""What the base station makes of the updates of a round: the next model.

Updates to the present model are given to the aggregation rule as they are. Those that are older are first put upon the
present model, as the setting for late ones or the asynchronous mode says; those that are used again are put there by
what is remembered of them (:mod:`~syft_fl.federation.deciding`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from syft_fl.federation.asynchronous import Update, rebased
from syft_fl.federation.deciding import Deciding
from syft_fl.federation.round import CameUp
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.streaming import Streaming
from syft_fl.learn import Averaging, FedAvg, Memory, mean_rule, next_model
from syft_fl.transport import Transport
from syft_fl.vectors import ModelState, Vector

__all__ = ["Merging"]


class Merging:
    """The aggregation of a run, and what it remembers.

    Args:
        scenario: its rule, its asynchronous mode, what late updates weigh.
        transport: adds up payloads that are not decoded one by one.

    Attributes:
        mode_memory: what the asynchronous mode remembers.
    """

    def __init__(self, scenario: Scenario, transport: Transport) -> None:
        self._population = scenario.population
        self._training = scenario.training
        self._transport = transport
        self._rule_memory: Memory = {}
        self.mode_memory: Memory = {}

    def next_model(
        self,
        model: ModelState,
        updates: Sequence[CameUp],
        *,
        round: int,
        deciding: Deciding | None,
        streaming: Streaming | None = None,
    ) -> ModelState:
        """The next model.

        Args:
            model: the present one.
            updates: that make it, in the fixed order of UEs.
            round: that closes.
            deciding: knows which updates are used again; None: none.
            streaming: has the mean of the updates; None: they are still to be made one of.
        """
        rule = self._population.aggregator
        if streaming is not None:
            mean = streaming.mean()
            if isinstance(rule, Averaging):
                return mean
            return self._made(model, [(mean, streaming.weight)], steps=[])
        weighted = self._weighted(model, updates, round, deciding)
        added_up = self._added_up(updates)
        if added_up is not None:
            averaging = rule if isinstance(rule, Averaging) else FedAvg()
            # Buffers travel beside the codec, and are averaged as they are.
            mean = replace(averaging.aggregate(model, weighted), vector=added_up)
            if isinstance(rule, Averaging):
                return mean
            weighted = [(mean, sum(weight for _, weight in weighted))]
        # The header has a UE's samples, and its settings are known: that says how many steps it took.
        steps = [
            self._training.effective_steps(update.samples, round=update.work.round) for update in updates
        ]
        return self._made(model, weighted, steps=steps)

    def _made(
        self, model: ModelState, weighted: Sequence[tuple[ModelState, float]], *, steps: Sequence[float]
    ) -> ModelState:
        rule = self._population.aggregator
        made, self._rule_memory = next_model(rule, model, weighted, steps=steps, memory=self._rule_memory)
        return made

    def _weighted(
        self, model: ModelState, updates: Sequence[CameUp], round: int, deciding: Deciding | None
    ) -> list[tuple[ModelState, float]]:
        """Models and weights for the aggregation rule."""
        mode, late = self._population.asynchronous, self._population.late
        aged = [
            Update(update.ue, update.state, update.work.base, update.samples, round - update.work.round)
            for update in updates
            if update.state is not None
        ]
        if mode is not None:
            if not aged:
                return []
            merged, self.mode_memory = mode.merge(model, aged, self.mode_memory)
            return merged
        weighted = []
        for update in aged:
            if update.staleness == 0:
                weighted.append((update.state, float(update.samples)))
            elif late is not None:
                weight = late.weight(update.staleness)
                weighted.append((rebased(model, update), weight * update.samples))
        if deciding is not None:
            sent = {update.ue for update in updates}
            for _, state, samples in deciding.reused(model, round=round, but=sent):
                weighted.append((state, float(samples)))
        return weighted

    def _added_up(self, updates: Sequence[CameUp]) -> Vector | None:
        """The mean of what arrived, where payloads are added up before they are decoded."""
        averaging = mean_rule(self._population.aggregator)
        arrivals = [update.written for update in updates if update.written is not None]
        if averaging is None or not arrivals or len(arrivals) < len(updates):
            return None
        shares = averaging.shares([float(arrival.samples) for arrival in arrivals])
        return self._transport.aggregate(arrivals, shares)

    def state(self) -> dict[str, Any]:
        """Plain data and tensors, for a checkpoint."""
        return {"rule": dict(self._rule_memory), "mode": dict(self.mode_memory)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self._rule_memory, self.mode_memory = state["rule"], state["mode"]
