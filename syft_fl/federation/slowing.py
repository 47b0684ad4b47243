"""How much longer than nominal the trainings of a scenario's UEs take (:mod:`syft_fl.learn.slowdown`)."""

from __future__ import annotations

import math

from syft_fl.errors import ConfigError
from syft_fl.federation.scenario import Scenario
from syft_fl.keys import Key
from syft_fl.learn import Slowdown

__all__ = ["expected_slowdown", "slowdown_of"]


def slowdown_of(scenario: Scenario, ue: str, *, training: int) -> float:
    """Factor on the compute time of one training; 1 where the population has no slowdown.

    Args:
        training: which of the UE's trainings it is, counted from 0.

    Raises:
        ConfigError: a slowdown of the user's own gives no factor.
    """
    slowdown = scenario.population.slowdown
    if slowdown is None:
        return 1.0
    return _checked(slowdown, slowdown.factor(ue, training=training, key=_key(scenario, ue)))


def expected_slowdown(scenario: Scenario, ue: str) -> float:
    """Mean factor of a UE's trainings; its very factor, where it has a fixed one.

    Raises:
        ConfigError: as of :func:`slowdown_of`.
    """
    slowdown = scenario.population.slowdown
    if slowdown is None:
        return 1.0
    return _checked(slowdown, slowdown.expected(ue, key=_key(scenario, ue)))


def _key(scenario: Scenario, ue: str) -> Key:
    return Key(scenario.seed) / ue / "slowdown"


def _checked(slowdown: Slowdown, factor: float) -> float:
    if not 0 < factor < math.inf:
        kind = getattr(slowdown, "kind", type(slowdown).__qualname__)
        raise ConfigError(
            f"population.slowdown = {kind!r} gave {factor!r}; a factor must be above 0 and finite"
        )
    return factor
