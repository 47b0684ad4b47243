r"""Who takes part in a round, by what the base station knows of channels, work and ages when the round begins.

=====================  =====================================================================================
``kind``               the cohort
=====================  =====================================================================================
``random``             uniform without replacement; the default
``round-robin``        in turn
``best-channel``       the highest rates
``proportional-fair``  the highest rates, each over what the UE was served with so far
``age``                those that were not heard for longest
``deadline``           as many as finish in time (:mod:`~syft_fl.federation.deadline`)
=====================  =====================================================================================

A selection is a value. What it remembers from round to round is a value too: plain data that :meth:`Selection.choose`
gets and gives back, and that is part of a run's checkpoint.

What is known is the rate of each UE over the whole band at the beginning of the round. Where fading is drawn per round,
that is the rate of the upload; where it is a function of time, it is old by the time that the UE has received and
computed. Left out: what measuring costs (the UEs' sounding signals and reports take no time, bits or energy), errors
of measurement, selection by losses or gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from syft_fl.keys import Key
from syft_fl.schema import Registry, require, schema

__all__ = [
    "SELECTIONS",
    "Age",
    "BestChannel",
    "Measured",
    "ProportionalFair",
    "Random",
    "RoundRobin",
    "RoundView",
    "Selection",
    "State",
]

SELECTIONS = Registry("selection", "choose")
"""Selections by kind; ``SELECTIONS(MySelection)`` adds one."""

State = Mapping[str, Any]
"""What a selection remembers: plain data (numbers, strings, lists, dicts with names); empty before the first round."""


@dataclass(frozen=True)
class Measured:
    """One direction's radio when a round begins.

    Attributes:
        bits: estimate of what a UE is sent or sends.
        rate_bps: rate [bit/s] of a UE that has the whole band.
        latency_s: from the last bit on the air to its arrival [s].
    """

    bits: int
    rate_bps: Callable[[str], float]
    latency_s: float = 0.0

    def airtime_s(self, ue: str) -> float:
        """How long a UE's bits are on the air [s], where the rate stays as it is; infinity at 0 bit/s."""
        rate_bps = self.rate_bps(ue)
        return self.bits / rate_bps if rate_bps > 0 else math.inf


@dataclass(frozen=True)
class RoundView:
    """What the base station knows when it chooses the UEs of a round.

    Attributes:
        round: its number: 1, 2, …
        now_s: simulated time [s].
        ues: all UEs, in their fixed order.
        cohort: how many are asked for; all, where the population names no cohort.
        key: of this round; a selection draws from nothing else.
        uplink, downlink: the radio both ways.
        multicast: whether one transmission brings the model to all; else each UE gets its own, one after another.
        compute_s: a UE's compute time [s].
        age: rounds that have gone by since the one in which a UE's last update arrived: 0 right after it. Before a
            first update: all rounds so far.
    """

    round: int
    now_s: float
    ues: tuple[str, ...]
    cohort: int
    key: Key
    uplink: Measured
    downlink: Measured
    multicast: bool
    compute_s: Callable[[str], float]
    age: Callable[[str], int]

    def rate_bps(self, ue: str) -> float:
        """A UE's rate on the uplink [bit/s], with the whole band."""
        return self.uplink.rate_bps(ue)

    def first(self, ranked: Sequence[str]) -> tuple[str, ...]:
        """The cohort that a ranking of all UEs begins with, in the UEs' fixed order."""
        chosen = set(ranked[: self.cohort])
        return tuple(filter(chosen.__contains__, self.ues))


@runtime_checkable
class Selection(Protocol):
    """The settings of a selection: a frozen dataclass with a ``kind``.

    One that takes the population's cohort as it is may say so by ``needs_cohort = True`` (a class attribute): then it
    is an error to leave the cohort out. One whose choice depends on no rate and no time, so that a run with it can be
    re-timed (:mod:`~syft_fl.federation.retiming`), says so by ``ignores_timing = True``.
    """

    kind: ClassVar[str]

    def choose(self, view: RoundView, state: State) -> tuple[tuple[str, ...], State]:
        """The UEs of a round.

        Args:
            view: what is known.
            state: what this selection returned in the round before. Not changed.

        Returns:
            At least one UE, each once, in the order of ``view.ues``; and what to remember. Both follow from the
            arguments alone.
        """
        ...


@SELECTIONS
@schema
class Random:
    """Uniform without replacement: the same whatever happened before, whatever the radio."""

    kind: ClassVar[str] = "random"
    ignores_timing: ClassVar[bool] = True

    def choose(self, view: RoundView, state: State) -> tuple[tuple[str, ...], State]:
        if view.cohort == len(view.ues):
            return view.ues, {}
        generator = (view.key / "cohort").numpy()
        chosen = generator.choice(len(view.ues), view.cohort, replace=False)
        return tuple(view.ues[index] for index in sorted(chosen.tolist())), {}


@SELECTIONS
@schema
class RoundRobin:
    r"""In turn: round :math:`t` takes the K UEs from the one with index :math:`(t-1)K \bmod n` on, in a circle.

    Where K divides n each UE is in one cohort of every n/K.

    Source: one of the three policies that H. H. Yang et al. compare, *Scheduling Policies for Federated Learning in
    Wireless Networks*, 2020.
    """

    kind: ClassVar[str] = "round-robin"
    needs_cohort: ClassVar[bool] = True
    ignores_timing: ClassVar[bool] = True

    def choose(self, view: RoundView, state: State) -> tuple[tuple[str, ...], State]:
        first, count = (view.round - 1) * view.cohort, len(view.ues)
        return view.first([view.ues[(first + place) % count] for place in range(view.cohort)]), {}


@SELECTIONS
@schema
class BestChannel:
    """The highest rates on the uplink; of equal ones, the UEs that come first.

    The shortest uplink phase that a cohort of this size can have where fading is drawn per round and uploads go one
    after another; those far away may never be heard.
    """

    kind: ClassVar[str] = "best-channel"
    needs_cohort: ClassVar[bool] = True

    def choose(self, view: RoundView, state: State) -> tuple[tuple[str, ...], State]:
        # Sorting is stable: who comes first stays first.
        return view.first(sorted(view.ues, key=view.rate_bps, reverse=True)), {}


@SELECTIONS
@schema
class ProportionalFair:
    r"""The highest ratios :math:`R_k(t)/T_k(t)` of rate to the average of what the UE was served with.

    .. math:: T_k(t+1) = \Bigl(1 - \frac{1}{t_c}\Bigr)\,T_k(t) + \frac{1}{t_c}\,R_k(t)\,\bigl[k \in S(t)\bigr]

    with :math:`S(t)` the cohort of round t. So a UE is chosen when its channel is good for *its* circumstances.
    Averages begin at 0, where the ratio is infinite: everybody has a first turn before anyone has a second one. Of
    equal ratios the higher rate is chosen. A UE counts as served whether or not its update arrived: the air was its
    own.

    Attributes:
        window: :math:`t_c` in rounds.

    Source: P. Viswanath, D. Tse and R. Laroia, *Opportunistic Beamforming Using Dumb Antennas*, 2002. Differs from it
    in: as many UEs a round as the cohort has, not one a slot. H. H. Yang et al., *Scheduling Policies for Federated
    Learning in Wireless Networks*, 2020, compare a proportional fair policy with random and round-robin ones.
    """

    kind: ClassVar[str] = "proportional-fair"
    needs_cohort: ClassVar[bool] = True

    window: float = 50.0

    def __post_init__(self) -> None:
        require(
            1 <= self.window < math.inf, "window", self.window, "at least 1 and finite", "it is in rounds"
        )

    def choose(self, view: RoundView, state: State) -> tuple[tuple[str, ...], State]:
        served_bps: Mapping[str, float] = state.get("served_bps", {})
        rates_bps = {ue: view.rate_bps(ue) for ue in view.ues}

        def merit(ue: str) -> tuple[float, float]:
            rate_bps, mean_bps = rates_bps[ue], served_bps.get(ue, 0.0)
            if mean_bps > 0:
                return rate_bps / mean_bps, rate_bps
            return (math.inf if rate_bps > 0 else 0.0), rate_bps

        chosen = view.first(sorted(view.ues, key=merit, reverse=True))
        served = set(chosen)
        # Also of those that can't be chosen now (out of reach, at work): who comes back is not new.
        means_bps = {
            ue: (1 - 1 / self.window) * served_bps.get(ue, 0.0)
            + (rates_bps[ue] / self.window if ue in served else 0.0)
            for ue in dict.fromkeys((*view.ues, *served_bps))
        }
        return chosen, {"served_bps": means_bps}


@SELECTIONS
@schema
class Age:
    r"""The largest ages: the rounds since the base station got a UE's last update.

    .. math:: A_k(t+1) = \bigl(A_k(t) + 1\bigr)\,(1 - S_k(t)), \quad A_k(1) = 0

    with :math:`S_k(t) = 1` where the update of round t arrived. Where all arrive, no age exceeds
    :math:`\lceil n/K \rceil - 1`. Who was chosen and not heard goes on ageing, and is asked until it is heard.

    Attributes:
        ties: who goes first of equally old UEs: the higher ``"rate"``, or the lower ``"index"``.

    Source: the *age of update* of H. H. Yang, A. Arafa, T. Q. S. Quek and H. V. Poor, *Age-Based Scheduling Policy for
    Federated Learning in Mobile Edge Networks*, 2020. Differs from their policy, which weighs age and channel against
    each other: here age goes first, and the channel breaks ties.
    """

    kind: ClassVar[str] = "age"
    needs_cohort: ClassVar[bool] = True

    ties: Literal["rate", "index"] = "rate"

    @property
    def ignores_timing(self) -> bool:
        """Whether the choice depends on no rate: an age counts rounds."""
        return self.ties == "index"

    def choose(self, view: RoundView, state: State) -> tuple[tuple[str, ...], State]:
        def rank(ue: str) -> tuple[int, float]:
            return view.age(ue), view.rate_bps(ue) if self.ties == "rate" else 0.0

        return view.first(sorted(view.ues, key=rank, reverse=True)), {}
