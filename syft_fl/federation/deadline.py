r"""FedCS: as many UEs as can be expected to finish a round by a deadline.

A round is taken to be: the model is sent to the cohort, all compute, and upload one after another as they finish.

.. math::
    T(S) &= T^d_S + \Theta_{|S|} \\
    \Theta_i &= \Theta_{i-1} + t^{UL}_{k_i} + \max\{0,\; t^{UD}_{k_i} - \Theta_{i-1}\}, \quad \Theta_0 = 0

for the ordered set :math:`S = (k_1, …)`, with :math:`T^d_S` the time of distribution, :math:`t^{UD}` a UE's time to
compute and :math:`t^{UL}` to upload. The set is grown greedily: of the candidates left, the next one is that which adds
least to :math:`T`, and it is kept where T does not exceed the deadline.

The estimate takes the rates of the round's beginning, and every upload with the whole band. Over a channel that keeps
these rates for the round, shared in time (``tdma``), where nothing is lost and one frame brings the model to all, the
round takes T where computing takes equally long at all UEs, and at most T where it does not: the air goes to who is
ready, so uploads may come in a better order than that of S. Under other access schemes, and where the channel changes
within the round, T is an estimate only.

Left out: times of selection and aggregation (0 in the paper's own experiments too), dropping those who are late.

Source: T. Nishio and R. Yonetani, *Client Selection for Federated Learning with Heterogeneous Resources in Mobile
Edge*, 2019, equations 1 to 4 and algorithm 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from syft_fl.federation.selection import SELECTIONS, RoundView, State
from syft_fl.schema import require, schema

__all__ = ["Deadline", "Plan"]


@dataclass(frozen=True)
class Plan:
    """A cohort in the order of its uploads, and how long its round is expected to take.

    Attributes:
        view: of the round.
        ues: who is in it so far.
        distribution_s: how long the model is on the air to them [s], :math:`T^d_S`.
        busy_s: from the end of the distribution to the end of the last upload [s], :math:`\\Theta`.
    """

    view: RoundView
    ues: tuple[str, ...] = ()
    distribution_s: float = 0.0
    busy_s: float = 0.0

    @property
    def round_s(self) -> float:
        """The round's expected time [s], latencies included."""
        return self.view.downlink.latency_s + self.distribution_s + self.busy_s + self.view.uplink.latency_s

    def and_then(self, ue: str) -> Plan:
        """The same with one more UE."""
        download_s = self.view.downlink.airtime_s(ue)
        together_s = (
            max(self.distribution_s, download_s) if self.view.multicast else self.distribution_s + download_s
        )
        waiting_s = max(0.0, self.view.compute_s(ue) - self.busy_s)
        busy_s = self.busy_s + self.view.uplink.airtime_s(ue) + waiting_s
        return replace(self, ues=(*self.ues, ue), distribution_s=together_s, busy_s=busy_s)


@SELECTIONS
@schema
class Deadline:
    """As many UEs as are expected to finish in time, by FedCS's greedy choice; at most ``population.cohort`` of them.

    Nobody may be expected to finish in time. Then it is the one UE that would finish first, however late, so that
    rounds go on. Of equal candidates the first one is taken.

    Attributes:
        deadline_s: how long a round may take [s], from its beginning to the last arrival.
        candidates: fraction of the UEs that the base station asks for their resources, drawn anew each round; the
            paper's experiments have 0.1. 1: all.

    Differs from the paper's algorithm in: a round that takes just the deadline is in time, as in its equation 4 (its
    listing demands less).
    """

    kind: ClassVar[str] = "deadline"

    deadline_s: float
    candidates: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.deadline_s < math.inf, "deadline_s", self.deadline_s, "above 0 and finite")
        require(
            0 < self.candidates <= 1,
            "candidates",
            self.candidates,
            "above 0 and at most 1",
            "it is a fraction of the UEs",
        )

    def choose(self, view: RoundView, state: State) -> tuple[tuple[str, ...], State]:
        asked = self._asked(view)
        plan = self.plan(view, asked)
        alone = min(asked, key=lambda ue: Plan(view).and_then(ue).round_s)
        return view.first(plan.ues or (alone,)), {}

    def plan(self, view: RoundView, candidates: tuple[str, ...]) -> Plan:
        """Algorithm 3: the UEs of the candidates that finish in time, in the order of their uploads; perhaps none."""
        left = [ue for ue in candidates if math.isfinite(Plan(view).and_then(ue).round_s)]
        plan = Plan(view)
        while left and len(plan.ues) < view.cohort:
            # The latencies and what there is so far are the same for all: least in all is least added.
            later = min((plan.and_then(ue) for ue in left), key=lambda one: one.round_s)
            left.remove(later.ues[-1])
            if later.round_s <= self.deadline_s:
                plan = later
        return plan

    def _asked(self, view: RoundView) -> tuple[str, ...]:
        count = math.ceil(self.candidates * len(view.ues))
        if count == len(view.ues):
            return view.ues
        drawn = (view.key / "candidates").numpy().choice(len(view.ues), count, replace=False)
        return tuple(view.ues[index] for index in sorted(drawn.tolist()))
