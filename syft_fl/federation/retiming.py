"""Which runs differ in nothing but time, so that one need not be trained to know what the other learns.

Radio, access, compute model and the like say *when* things happen. Where all of a cohort are told, all send, nothing is
lost and the base station waits for all, they say nothing of *what* is learnt: models, cohorts and bits are the same.
:func:`why_not` names the first setting for which that does not hold.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from syft_fl.errors import ConfigError
from syft_fl.federation.scenario import Scenario
from syft_fl.keys import Key
from syft_fl.learn import Scaffold
from syft_fl.radio import Link, LossyLink
from syft_fl.schema import plain

__all__ = ["TIMING", "check_retimable", "learning_of", "link_of", "loses", "why_not"]

TIMING = (
    "cell",
    "carrier",
    "compute",
    "downlink.access",
    "downlink.cast",
    "downlink.link",
    "downlink.receive_power_w",
    "engine",
    "population.equal_compute",
    "population.slowdown",
    "population.spill_mb",
    "uplink.access",
    "uplink.link",
)
"""The settings in which a run and its re-timing may differ."""

_ANEW = "run it anew"
_EVENTS = (
    "trigger",
    "protocol",
    "population.closing",
    "population.late",
    "population.asynchronous",
    "population.availability",
    "population.failures",
)


def check_retimable(before: Scenario, after: Scenario) -> None:
    """Refuse scenarios of which one can't be re-timed to the other.

    Raises:
        ConfigError: as :func:`why_not` says.
    """
    reason = why_not(before, after)
    if reason:
        raise ConfigError(reason)


def why_not(before: Scenario, after: Scenario) -> str:
    """Why a run of one scenario does not say what another one learns; empty where it does.

    Args:
        before: the scenario that was run, its compute time in seconds.
        after: the other one.
    """
    for reason in (*_timing_counts(after), *_timing_counts(before), *_differences(before, after)):
        return reason
    return ""


def learning_of(scenario: Scenario) -> str | None:
    """All settings that are not of time, in one text; None where timing counts, so that no other run tells the same.

    Scenarios that learn the same share it, so that among thousands they are found without looking at every pair. Of two
    that share it :func:`why_not` has the last word.
    """
    if why_not(scenario, scenario):
        return None
    table = plain(scenario)
    for name in TIMING:
        *path, last = name.split(".")
        holder: Any = table
        for part in path:
            holder = holder.get(part, {})
        holder.pop(last, None)
    return json.dumps(table, sort_keys=True)


def link_of(scenario: Scenario, direction: str) -> Link:
    """The link of a scenario's cell in one direction."""
    settings = scenario.uplink if direction == "uplink" else scenario.downlink
    return settings.link.link(scenario.cell, Key(scenario.seed) / "radio", direction)


def loses(scenario: Scenario, direction: str) -> bool:
    """Whether a scenario's link in one direction may lose something."""
    link = link_of(scenario, direction)
    return isinstance(link, LossyLink) and link.retransmission is not None


def _timing_counts(scenario: Scenario) -> Iterator[str]:
    """Settings with which what is learnt depends on when things happen."""
    for name in _EVENTS:
        value = _at(scenario, name)
        if value is not None:
            yield _reason(name, value, "left out", f"with it, who comes when decides what is learnt: {_ANEW}")
    selection = scenario.population.rule
    if not getattr(selection, "ignores_timing", False):
        yield _reason(
            "population.selection",
            selection,
            "one that looks at no rate and no time, as 'random', 'round-robin' and 'age' with ties = 'index'",
            f"another radio means other cohorts: {_ANEW}",
        )
    engine = scenario.engine
    if engine is not None and not getattr(engine, "ignores_timing", False):
        yield _reason(
            "engine",
            engine,
            "left out, or one with the bits of 'loop', as 'threads', 'processes' and 'ray'",
            f"with it, who trains at one time decides the last digits: {_ANEW}",
        )
    if scenario.stop.seconds is not None:
        yield _reason(
            "stop.seconds",
            scenario.stop.seconds,
            "left out",
            f"with it, times decide how many rounds there are: {_ANEW}",
        )
    if scenario.uplink.analog is not None:
        yield _reason(
            "uplink.analog",
            scenario.uplink.analog,
            "left out",
            f"with it, the channel is part of what is learnt: {_ANEW}",
        )
    if scenario.uplink.erasure:
        yield _reason(
            "uplink.erasure", True, "false", f"parts that don't come change what is learnt: {_ANEW}"
        )
    for direction in ("uplink", "downlink"):
        if loses(scenario, direction):
            yield _reason(
                f"{direction}.link",
                _at(scenario, f"{direction}.link"),
                "one that loses nothing",
                f"what is lost changes what is learnt; leave out its loss, or {_ANEW}",
            )


def _differences(before: Scenario, after: Scenario) -> Iterator[str]:
    """Settings that differ, and change what is learnt."""
    for name, was, value in _changed(before, after):
        yield f"{name} = {_shown(value)} was {_shown(was)} in the run: that changes what is learnt; {_ANEW}"
    was, cast = before.downlink.cast, after.downlink.cast
    if was != cast and "broadcast" in (was, cast) and _who_hears_counts(after):
        yield (
            f"downlink.cast = {cast!r} was {was!r} in the run: UEs beside the cohort hear the model in only one of "
            f"them, which changes what it is a difference to; {_ANEW}"
        )


def _who_hears_counts(scenario: Scenario) -> bool:
    """Whether a model that UEs beside the cohort hear changes what is learnt later."""
    population, downlink = scenario.population, scenario.downlink
    if population.chosen == population.ues:
        return False
    differs = downlink.delta and not downlink.codec.lossless
    return differs or isinstance(population.aggregator, Scaffold)


def _changed(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    for field in dataclasses.fields(before):
        was, value = getattr(before, field.name), getattr(after, field.name)
        name = f"{path}{field.name}"
        if name in TIMING or was is value or was == value:
            continue
        if dataclasses.is_dataclass(was) and type(was) is type(value):
            yield from _changed(was, value, f"{name}.")
        else:
            yield name, was, value


def _at(scenario: Scenario, name: str) -> Any:
    value: Any = scenario
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _reason(name: str, value: Any, rule: str, way_out: str) -> str:
    return f"{name} = {_shown(value)} must be {rule} where a run is re-timed; {way_out}"


def _shown(value: Any) -> str:
    kind = getattr(type(value), "kind", None)
    if isinstance(kind, str):
        return repr(kind)
    return type(value).__name__ if dataclasses.is_dataclass(value) else repr(value)
