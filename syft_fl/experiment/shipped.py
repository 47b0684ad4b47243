"""Scenarios that come with the package: cells, radios and populations of standards and papers, by name.

Each is a TOML file in ``syft_fl/scenarios`` whose header says where every number comes from. It speaks of the cell, of
link and access in both directions, and of compute and population where its source does; what is learnt, and how it is
coded, is up to who uses it (scikit-learn's digits, float32, unless said).
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from syft_fl.errors import ConfigError
from syft_fl.schema import nearest

__all__ = ["headline", "scenario_table", "scenarios"]

_SUFFIX = ".toml"


@cache
def scenarios() -> tuple[str, ...]:
    """The names of the scenarios that come with the package.

    Example:
        >>> "nb-iot" in scenarios()
        True
    """
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def scenario_table(name: object) -> dict[str, Any]:
    """The settings of a scenario that comes with the package, as nested tables.

    Raises:
        ConfigError: there is none of that name.
    """
    return tomllib.loads(_text(name))


def headline(name: object) -> str:
    """What a scenario is, in the one line that its file begins with.

    Raises:
        ConfigError: there is none of that name.
    """
    return _text(name).partition("\n")[0].removeprefix("# ")


def _text(name: object) -> str:
    if name not in scenarios():
        raise ConfigError(
            f"scenario = {name!r} is none that comes with syft_fl; {nearest(name, scenarios())}"
        )
    return (_folder() / f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def _folder() -> Traversable:
    return files("syft_fl") / "scenarios"
