"""A grid of settings: what is varied, as it stands on a command line, and the scenarios at its points.

A grid has the values of each setting by its path, ``{"uplink.codec.bits": (2, 4, 8), "cell.radius_m": (100, 250)}``;
its points are the product, the last setting changing fastest. A point is laid over a variant, so it has the last word.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syft_fl.errors import ConfigError, SyftFLError
from syft_fl.experiment.config import Experiment, changed, nested, value_of
from syft_fl.federation import Scenario
from syft_fl.schema import plain, require

__all__ = ["Faults", "Point", "checked_grid", "parse_grid", "parse_seeds", "points", "shown"]

Grid = Mapping[str, Sequence[Any]]
_RANGE = re.compile(r"\s*(-?\d+)\s*\.\.\s*(-?\d+)\s*")
_OF_THE_EXPERIMENT = ("seed", "seeds", "name", "target_accuracy", "variants")
_OPENING, _CLOSING, _QUOTES = "[{(", "]})", "\"'"


@dataclass(frozen=True)
class Point:
    """A variant at one point of the grid.

    Attributes:
        variant: its name.
        values: of the grid's settings, in the grid's order.
        scenario: the variant's, with these values.
    """

    variant: str
    values: tuple[Any, ...]
    scenario: Scenario

    def label(self, names: Sequence[str]) -> str:
        """``uniform, bits = 4``: where it is, for a message.

        Args:
            names: of the grid's settings.
        """
        settings = (f"{name} = {shown(value)}" for name, value in zip(names, self.values, strict=True))
        return ", ".join([self.variant, *settings])


class Faults:
    """What is wrong with many scenarios, each thing said once and with the first place where it is wrong."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}
        self._looked: int = 0

    def look(self, place: str, check: Callable[[], Any]) -> Any:
        """The check's result; None where it raised an error of ours, which is kept."""
        self._looked += 1
        try:
            return check()
        except SyftFLError as error:
            for line in str(error).splitlines():
                self._places.setdefault(line, []).append(place)
            return None

    def settle(self) -> None:
        """Raise what was found.

        Raises:
            ConfigError: all of it.
        """
        if self._places:
            raise ConfigError("\n".join(itertools.starmap(self._line, self._places.items())))

    def _line(self, line: str, places: Sequence[str]) -> str:
        if len(places) == self._looked:
            return line
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        return f"{line} (at {places[0]}{more})"


def parse_grid(texts: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """A grid as it stands on a command line.

    Args:
        texts: ``key.path=value,value`` each. Values are TOML or bare words; ``0..4`` is 0, 1, 2, 3, 4.

    Raises:
        ConfigError: a text that is not of this form, or a setting that is given twice.

    Example:
        >>> parse_grid(["uplink.codec.bits=2,4", "uplink.codec=qsgd,{kind = 'uniform', bits = 3}"])
        {'uplink.codec.bits': (2, 4), 'uplink.codec': ('qsgd', {'kind': 'uniform', 'bits': 3})}
    """
    grid: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        path, equals, values = text.partition("=")
        path = path.strip()
        items = [item.strip() for item in _items(values)]
        if not equals or not path or not all(items):
            raise ConfigError(
                f"grid {text!r} must be key.path=value,value, for example uplink.codec.bits=2,4,8"
            )
        require(path not in grid, "grid", path, "given once", "put all of its values behind one =")
        grid[path] = tuple(itertools.chain.from_iterable(map(_values, items)))
    return grid


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as they stand on a command line.

    Raises:
        ConfigError: something else than whole numbers and ranges of them.

    Example:
        >>> parse_seeds("0..3,10")
        (0, 1, 2, 3, 10)
    """
    found = tuple(itertools.chain.from_iterable(_values(item) for item in text.split(",")))
    if not all(type(seed) is int for seed in found):
        raise ConfigError(f"seeds = {text!r} must be whole numbers, for example 0..4 or 0,1,7")
    return found


def checked_grid(grid: Mapping[str, Iterable[Any]]) -> dict[str, tuple[Any, ...]]:
    """A grid whose settings have values, all different.

    Raises:
        ConfigError: they have not, or a setting is the seed or none of a scenario.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for path, values in grid.items():
        way_out = "seeds are given with --seeds 0..4" if path in ("seed", "seeds") else ""
        require(path not in _OF_THE_EXPERIMENT, "grid", path, "a setting of a scenario", way_out)
        one = isinstance(values, str | Mapping) or not isinstance(values, Iterable)
        require(not one, f"grid[{path!r}]", values, "a list of values", "write [4] for one value")
        found[path] = tuple(values)
        texts = [shown(value) for value in found[path]]
        require(bool(texts), f"grid[{path!r}]", texts, "at least one value")
        require(len(set(texts)) == len(texts), f"grid[{path!r}]", texts, "all different")
    return found


def points(experiment: Experiment, grid: Grid) -> list[Point]:
    """Every variant at every point of the grid, all of them checked.

    Raises:
        ConfigError: settings that break a rule at some point; all of them in one message, each once.
    """
    faults = Faults()
    found: list[Point] = []
    for variant, values in itertools.product(experiment.variants, itertools.product(*grid.values())):
        at = Point(variant.name, values, variant.scenario)
        tables = [nested(path, value) for path, value in zip(grid, values, strict=True)]
        scenario = faults.look(at.label(list(grid)), lambda: changed(variant.scenario, _united(tables)))  # noqa: B023
        if scenario is not None:
            found.append(Point(variant.name, values, scenario))
    faults.settle()
    return found


def shown(value: Any) -> str:
    """A value of the grid as people read it.

    Example:
        >>> shown("qsgd"), shown(100.0), shown({"kind": "uniform", "bits": 4})
        ('qsgd', '100', 'uniform(bits=4)')
    """
    value = plain(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name}={shown(item)}" for name, item in value.items() if name != "kind")
        kind = str(value.get("kind", ""))
        return f"{kind}({inner})" if inner or not kind else kind
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _united(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Tables in one; a setting below another goes into it, in whatever order they come."""
    found: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
            found[key] = _united([found[key], value]) if both else value
    return found


def _values(item: str) -> tuple[Any, ...]:
    ends = _RANGE.fullmatch(item)
    if ends is None:
        return (value_of(item.strip()),)
    first, last = map(int, ends.groups())
    require(first <= last, "range", item, "from the smaller number to the larger")
    return tuple(range(first, last + 1))


def _items(text: str) -> Iterator[str]:
    """Parts between commas, but not those inside of brackets or quotes."""
    depth, quote, item = 0, "", ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in _QUOTES:
            quote = sign
        elif sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
        elif sign == "," and depth == 0:
            yield item
            item = ""
            continue
        item += sign
    yield item
