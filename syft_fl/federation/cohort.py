"""Who takes part in a round."""

from __future__ import annotations

from syft_fl.federation.scenario import Population
from syft_fl.keys import Key

__all__ = ["choose_cohort", "ue_name"]


def ue_name(index: int) -> str:
    """Name of the UE with this index, counted from 0."""
    return f"ue{index}"


def choose_cohort(population: Population, *, key: Key, round: int) -> tuple[str, ...]:
    """The UEs of a round, uniform without replacement, in the order of their indices.

    A function of key and round only: it is the same whatever happened before.
    """
    if population.chosen == population.ues:
        return tuple(ue_name(index) for index in range(population.ues))
    generator = (key / f"round{round}" / "cohort").numpy()
    chosen = generator.choice(population.ues, population.chosen, replace=False)
    return tuple(ue_name(index) for index in sorted(chosen.tolist()))
