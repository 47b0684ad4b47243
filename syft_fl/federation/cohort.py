"""The UEs of a round: what their selection is shown, and that what it returns is a cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

from syft_fl.errors import ConfigError
from syft_fl.federation.scenario import Population, Scenario
from syft_fl.federation.selection import Measured, RoundView, State
from syft_fl.keys import Key
from syft_fl.radio import Link

__all__ = ["ages", "choose_cohort", "look", "ue_name", "ue_names"]


def ue_name(index: int) -> str:
    """Name of the UE with this index, counted from 0."""
    return f"ue{index}"


@lru_cache(maxsize=4)
def ue_names(count: int) -> tuple[str, ...]:
    """Names of so many UEs, in their fixed order; the same strings every time."""
    return tuple(map(ue_name, range(count)))


def look(
    scenario: Scenario,
    *,
    round: int,
    now_s: float,
    links: Mapping[str, Link],
    bits: Mapping[str, int],
    compute_s: Callable[[str], float],
    age: Callable[[str], int],
) -> RoundView:
    """What a selection is shown at the beginning of a round.

    Args:
        round: its number.
        now_s: simulated time [s].
        links: ``uplink`` and ``downlink``.
        bits: what a frame has that way, as far as is known.
        compute_s: a UE's compute time [s].
        age: rounds since a UE's last update arrived.
    """

    def measured(direction: str) -> Measured:
        link = links[direction]

        @cache  # a selection asks often, and a rate is a chain of draws
        def rate_bps(ue: str) -> float:
            return link.rate_bps(ue, share=1.0, block=round, time_s=now_s)

        return Measured(bits[direction], rate_bps, link.latency_s)

    population = scenario.population
    return RoundView(
        round=round,
        now_s=now_s,
        ues=ue_names(population.ues),
        cohort=population.chosen,
        key=Key(scenario.seed) / f"round{round}",
        uplink=measured("uplink"),
        downlink=measured("downlink"),
        multicast=scenario.downlink.cast != "unicast",
        compute_s=compute_s,
        age=age,
    )


def ages(arrived: Mapping[str, int], round: int) -> Callable[[str], int]:
    """Each UE's age when a round begins, from the round in which an update of it arrived last; without one, 0."""
    return lambda ue: round - 1 - arrived.get(ue, 0)


def choose_cohort(population: Population, view: RoundView, state: State) -> tuple[tuple[str, ...], State]:
    """The UEs of a round, in the order of their indices, and what their selection remembers.

    Raises:
        ConfigError: a selection of the user's own returns something else than UEs in their order.
    """
    rule = population.rule
    cohort, remembered = rule.choose(view, state)
    chosen = set(cohort)
    if not cohort or tuple(cohort) != tuple(ue for ue in view.ues if ue in chosen):
        raise ConfigError(
            f"population.selection = {_named(rule)!r} chose {cohort!r} for round {view.round}; it must return "
            "at least one UE, each once and in the order of view.ues; view.first(ranked) puts them in order"
        )
    return tuple(cohort), remembered


def _named(rule: Any) -> str:
    return str(getattr(rule, "kind", type(rule).__qualname__))
