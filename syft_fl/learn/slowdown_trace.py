"""Factors on compute time as they were measured: from a CSV file, or given as they are.

Left out: traces in simulated time; a factor belongs to a training, whenever that takes place.
"""

from __future__ import annotations

import csv
import math
import re
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn.slowdown import SLOWDOWNS
from syft_fl.schema import nearest, require, schema

__all__ = ["SlowdownTrace"]

_COLUMNS = ("ue", "factor")
_TRAILING_NUMBER = re.compile(r"\d+$")


@SLOWDOWNS
@schema
class SlowdownTrace:
    """A list of factors for each UE; its trainings take them in turn, from the first one again after the last.

    Attributes:
        path: a CSV file with the columns ``ue`` and ``factor``, a row per training, those of a UE in their order;
            empty: ``values`` are given.
        values: a list for each of ue0, ue1, …; UEs beyond them take them in turn, too.

    Example:
        >>> trace = SlowdownTrace(values=((1.0, 4.0), (2.0,)))
        >>> [trace.factor("ue2", training=training, key=Key(0)) for training in range(3)]
        [1.0, 4.0, 1.0]
    """

    kind: ClassVar[str] = "trace"
    path: str = ""
    values: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        require(
            bool(self.path) != bool(self.values),
            "path",
            self.path,
            "the name of a CSV file, and values left out",
            "or leave path out and give values",
        )
        for number, factors in enumerate(self.values):
            require(len(factors) >= 1, f"values[{number}]", factors, "at least one factor")
            for training, factor in enumerate(factors):
                require(_is_factor(factor), f"values[{number}][{training}]", factor, "above 0 and finite")

    @property
    def mean(self) -> float:
        """Mean factor of the lists' means."""
        lists = tuple(self._file.values()) if self.path else self.values
        return math.fsum(map(_mean, lists)) / len(lists)

    def factor(self, ue: str, *, training: int, key: Key) -> float:
        """The factor of a training; no key matters to it.

        Raises:
            ConfigError: the trace has nothing of this UE, or the file is not what it should be.
        """
        factors = self._of(ue)
        return factors[training % len(factors)]

    def expected(self, ue: str, *, key: Key) -> float:
        """Mean of this UE's factors.

        Raises:
            ConfigError: as of :meth:`factor`.
        """
        return _mean(self._of(ue))

    def _of(self, ue: str) -> tuple[float, ...]:
        if self.path:
            if ue not in self._file:
                raise ConfigError(f"path = {self.path!r} has no row for {ue!r}; {nearest(ue, self._file)}")
            return self._file[ue]
        number = _TRAILING_NUMBER.search(ue)
        if number is None:
            raise ConfigError(
                f"values has no list for {ue!r}: a UE's list is that of the number its name ends in; "
                "name the UEs ue0, ue1, …, or give a path to a file that has their names"
            )
        return self.values[int(number.group()) % len(self.values)]

    @cached_property
    def _file(self) -> dict[str, tuple[float, ...]]:
        # Read once, when it is first needed: a run can't change its mind half-way.
        return _read(self.path)


def _read(path: str) -> dict[str, tuple[float, ...]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"path = {path!r} can't be read ({error}); name a CSV file of ue and factor"
        ) from None
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise ConfigError(f"path = {path!r} has the columns {reader.fieldnames}; it must have ue and factor")
    found: dict[str, list[float]] = {}
    for row in reader:
        try:
            factor = float(row["factor"])
        except (TypeError, ValueError):
            factor = math.nan
        require(
            _is_factor(factor),
            f"path = {path!r}, line {reader.line_num}: factor",
            row["factor"],
            "above 0 and finite",
        )
        found.setdefault(row["ue"], []).append(factor)
    require(bool(found), "path", path, "a CSV file with at least one row")
    return {ue: tuple(factors) for ue, factors in found.items()}


def _is_factor(value: float) -> bool:
    return 0 < value < math.inf


def _mean(factors: tuple[float, ...]) -> float:
    return math.fsum(factors) / len(factors)
