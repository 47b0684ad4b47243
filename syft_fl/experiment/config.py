"""Experiments as TOML files: one base scenario, and variants that say what they change.

::

    name = "digits"
    seeds = [0, 1, 2]
    target_accuracy = 0.9

    [population]                    # any table of a Scenario
    ues = 10

    [[variants]]
    name = "uniform-4"
    uplink.codec = {kind = "uniform", bits = 4}

A variant's tables are merged into the base scenario's, except that a table with a ``kind`` replaces the whole
table it meets. Every error of the file is reported at once, with its path.

``scenario = "nb-iot"`` puts a scenario that comes with the package (:mod:`~syft_fl.experiment.shipped`) below the
tables beside it: in a file below the whole file, in a variant between the base scenario and the variant's own tables,
on the command line between the file and the other overrides. What lies below keeps what the scenario does not speak of
(data, model, codecs), except for the cell, which is replaced whole: distances in one cell mean nothing in another.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from syft_fl.errors import ConfigError
from syft_fl.experiment.shipped import scenario_table, scenarios
from syft_fl.federation import Scenario
from syft_fl.schema import nearest, remember, require, schema

__all__ = ["Experiment", "Variant", "changed", "load", "load_scenario", "nested", "parse", "value_of"]

_EXPERIMENT_KEYS = ("name", "seeds", "target_accuracy", "variants")
_NAMED = "scenario"
"""The key that names a scenario which comes with the package."""


@schema
class Variant:
    """A scenario with the name of what is special about it."""

    name: str
    scenario: Scenario


@schema
class Experiment:
    """A base scenario, its variants and the seeds they are run with.

    Attributes:
        name: of the experiment, and of its result folder.
        base: the scenario that balance is resolved from.
        variants: what is compared; the first one is what speed-ups refer to. At least the base itself.
        seeds: every variant is run with each.
        target_accuracy: for the time to a target, 0 … 1.
    """

    name: str
    base: Scenario
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    target_accuracy: float | None = None

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        for name in names:
            require(bool(name) and "/" not in name, "variants.name", name, "a folder's name, without '/'")
            require(names.count(name) == 1, "variants.name", name, "used once")
        require(len(self.seeds) > 0, "seeds", self.seeds, "at least one")
        require(len(set(self.seeds)) == len(self.seeds), "seeds", self.seeds, "all different")
        target = self.target_accuracy
        require(target is None or 0 < target <= 1, "target_accuracy", target, "above 0 and at most 1")

    def variant(self, name: str) -> Scenario:
        """The scenario of a variant.

        Raises:
            ConfigError: there is none of that name.
        """
        scenarios = {variant.name: variant.scenario for variant in self.variants}
        if name not in scenarios:
            raise ConfigError(f"variant = {name!r} is not in {self.name}; {nearest(name, scenarios)}")
        return scenarios[name]


def load(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from a TOML file (or the ``config.json`` of a result folder).

    Args:
        path: the file; or the name of a scenario that comes with the package, which is then run as it is.
        overrides: ``key.path=value`` each, applied to the base scenario (or ``seeds=…``) before variants.

    Raises:
        ConfigError: no such file, not TOML, or settings that break a rule; all of them in one message.
    """
    name, path = str(path), Path(path)
    if name in scenarios() and not path.is_file():
        return parse({_NAMED: name}, name=name, overrides=overrides)
    if path.name == name and path.suffix not in (".toml", ".json") and not path.exists():
        raise ConfigError(
            f"{name!r} is neither a file nor a scenario that comes with syft_fl; {nearest(name, scenarios())}"
        )
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is no {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if path.suffix == ".json":
        table.pop("balance", None)  # what the run measured, not what was asked for
    return parse(table, name=path.stem, overrides=overrides)


def load_scenario(name: str, overrides: Iterable[str] = ()) -> Scenario:
    """A scenario that comes with the package, by name (:func:`~syft_fl.experiment.shipped.scenarios` has all names).

    Args:
        name: of the scenario.
        overrides: ``key.path=value`` each.

    Raises:
        ConfigError: there is none of that name, or an override breaks a rule.

    Example:
        >>> load_scenario("nb-iot", ["uplink.codec=qsgd"]).uplink.link.bandwidth_hz
        180000.0
    """
    return parse({_NAMED: name}, name=name, overrides=overrides).base


def parse(table: Mapping[str, Any], *, name: str = "run", overrides: Iterable[str] = ()) -> Experiment:
    """An experiment from nested tables, as a TOML file holds them.

    Raises:
        ConfigError: settings that break a rule; all of them in one message.
    """
    merged = _layered({}, table)
    # A scenario goes below what else is overridden, wherever on the command line it stands.
    for override in sorted(map(_override, overrides), key=lambda override: _NAMED not in override):
        merged = _layered(merged, override)
    base_table = {key: value for key, value in merged.items() if key not in _EXPERIMENT_KEYS}
    problems: list[str] = []
    base = _scenario(base_table, "", problems)
    variants: list[Variant] = []
    for index, entry in enumerate(merged.get("variants", [])):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            problems.append(f"variants[{index}]: each variant is a table with a name")
            continue
        changes = {key: value for key, value in entry.items() if key != "name"}
        found: list[str] = []
        try:
            table_of_variant = _layered(base_table, changes)
        except ConfigError as error:
            problems.append(f"variants.{entry['name']}.{error}")
            continue
        scenario = _scenario(table_of_variant, f"variants.{entry['name']}.", found)
        # What is wrong with the base is wrong with every variant: said once.
        problems += [
            line for line in found if line.removeprefix(f"variants.{entry['name']}.") not in problems
        ]
        if scenario is not None:
            variants.append(Variant(name=entry["name"], scenario=scenario))
    if problems or base is None:
        raise ConfigError("\n".join(problems))
    return Experiment(
        name=merged.get("name", name),
        base=base,
        variants=tuple(variants) or (Variant(name="base", scenario=base),),
        seeds=tuple(merged.get("seeds", (base.seed,))),
        target_accuracy=merged.get("target_accuracy"),
    )


def changed(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """A scenario with other tables laid over it, as a variant's are laid over its base.

    What the tables do not reach into stays the object that it is, a user's own too.

    Args:
        scenario: what is changed.
        changes: nested tables; ``scenario`` names one that comes with the package and goes below the others.

    Raises:
        ConfigError: settings that break a rule; all of them in one message.
    """
    named = {} if _NAMED not in changes else scenario_table(changes[_NAMED])
    own = {key: value for key, value in changes.items() if key != _NAMED}
    problems: list[str] = []
    found = _scenario(_layered(_opened(scenario, _merge(named, own)), changes), "", problems)
    if problems or found is None:
        raise ConfigError("\n".join(problems))
    return found


def _opened(value: Any, changes: Any) -> Any:
    """Settings as tables, but only as deep as changes go into them."""
    if not dataclasses.is_dataclass(value) or not isinstance(changes, Mapping) or "kind" in changes:
        return value
    # By its path, since a kind that nobody has registered would not be found again.
    kind = {"kind": remember(type(value))} if isinstance(getattr(value, "kind", None), str) else {}
    return kind | {
        field.name: _opened(getattr(value, field.name), changes.get(field.name))
        for field in dataclasses.fields(value)
    }


def _scenario(table: Mapping[str, Any], where: str, problems: list[str]) -> Scenario | None:
    valid = [*Scenario.__dataclass_fields__, *_EXPERIMENT_KEYS, _NAMED]
    unknown = [key for key in table if key not in Scenario.__dataclass_fields__]
    problems += [f"{where}{key}: unknown key; {nearest(key, valid)}" for key in unknown]
    try:
        return Scenario(**{key: value for key, value in table.items() if key not in unknown})
    except ConfigError as error:
        problems += [where + line for line in str(error).splitlines()]
        return None


def _layered(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes over a base; between the two, the scenario that the changes name."""
    own = {key: value for key, value in changes.items() if key != _NAMED}
    if _NAMED not in changes:
        return _merge(base, own)
    below = {key: value for key, value in base.items() if key != "cell"}
    return _merge(_merge(below, scenario_table(changes[_NAMED])), own)


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        here = merged.get(key)
        if isinstance(value, Mapping) and isinstance(here, Mapping) and "kind" not in value:
            merged[key] = _merge(here, value)
        else:
            merged[key] = value
    return merged


def _override(text: str) -> dict[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"override {text!r} must be key.path=value, for example uplink.codec.bits=4")
    return nested(path.strip(), value_of(value))


def value_of(text: str) -> Any:
    """A value as it stands on a command line: TOML, or a bare word, which is a string (``uplink.codec=qsgd``)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def nested(path: str, value: Any) -> dict[str, Any]:
    """Tables around a value: ``a.b`` and 1 are ``{"a": {"b": 1}}``."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)
