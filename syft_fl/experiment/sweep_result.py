"""What a sweep leaves behind: one table of all rounds of all runs, which is one parquet file."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syft_fl.errors import RunError
from syft_fl.experiment.folder import write_atomically
from syft_fl.experiment.statistics import summary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["FailedRun", "SweepResult", "SweptRun", "labels", "short_names"]

_FACTS = b"syft_fl"
"""Key of the parquet file's metadata under which everything but the table is."""


@dataclass(frozen=True)
class FailedRun:
    """A run that did not come through.

    Attributes:
        where: its variant, values of the grid and seed.
        message: why.
    """

    where: str
    message: str


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep: what statistics and figures read.

    Attributes:
        name: of its point, that is variant and values of the grid.
        seed: of the run.
        rounds: as in :class:`~syft_fl.experiment.result.Result`.
    """

    name: str
    seed: int
    rounds: pd.DataFrame


@dataclass(frozen=True)
class SweepResult:
    """The runs of a sweep. It can be given to the figures that take a comparison, each point being a variant.

    Attributes:
        name: of the experiment.
        grid: settings that were varied; each is a column.
        rounds: a row per round of each run, with columns ``variant``, the grid's settings, ``seed``, ``run`` (the name
            of its folder), and those of :class:`~syft_fl.experiment.result.Result`'s rounds.
        target_accuracy: 0 … 1; None where none was asked for.
        failures: runs that are missing in ``rounds``.
        folder: where it was written; None where it was not.
    """

    name: str
    grid: tuple[str, ...]
    rounds: pd.DataFrame
    target_accuracy: float | None = None
    failures: tuple[FailedRun, ...] = ()
    folder: Path | None = None

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Read a sweep's folder, or its parquet file alone.

        Raises:
            RunError: there is no sweep.
        """
        import pyarrow
        from pyarrow import parquet

        path = Path(path)
        file = path / "sweep.parquet" if path.is_dir() else path
        try:
            table = parquet.read_table(file)
            facts = json.loads(table.schema.metadata[_FACTS])
        except (OSError, KeyError, TypeError, ValueError, pyarrow.ArrowException) as error:
            raise RunError(f"{path} holds no sweep: {file.name}: {error}") from None
        failures = tuple(FailedRun(**failure) for failure in facts["failures"])
        names, target = tuple(facts["grid"]), facts["target_accuracy"]
        return cls(facts["name"], names, table.to_pandas(), target, failures, file.parent)

    def save(self, folder: Path) -> Path:
        """Write ``sweep.parquet``, all of it.

        Raises:
            RunError: it can't be written.
        """
        import pyarrow
        from pyarrow import parquet

        facts = {
            "name": self.name,
            "grid": list(self.grid),
            "target_accuracy": self.target_accuracy,
            "failures": [asdict(failure) for failure in self.failures],
        }
        table = pyarrow.Table.from_pandas(self.rounds, preserve_index=False)
        metadata = {**(table.schema.metadata or {}), _FACTS: json.dumps(facts).encode()}
        buffer = io.BytesIO()
        parquet.write_table(table.replace_schema_metadata(metadata), buffer)
        path = folder / "sweep.parquet"
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise RunError(
                f"{path} can't be written ({error.strerror or error}); the runs are kept, the same sweep goes on"
            ) from None
        return path

    @property
    def results(self) -> tuple[SweptRun, ...]:
        """The runs, in the order of the grid."""
        if self.rounds.empty:
            return ()
        groups = self.rounds.groupby([*self._point, "seed"], sort=False, dropna=False)
        keys = [tuple(key) for key, _ in groups]
        names = labels([key[:-1] for key in keys], self.grid)
        return tuple(
            SweptRun(name, int(str(key[-1])), rounds.reset_index(drop=True))
            for name, key, (_, rounds) in zip(names, keys, groups, strict=True)
        )

    def frame(self) -> pd.DataFrame:
        """All rounds of all runs, as ``rounds`` says."""
        return self.rounds

    def table(self) -> pd.DataFrame:
        """One row per point: columns ``variant`` and the grid's settings, then those of
        :func:`~syft_fl.experiment.statistics.summary`: accuracy, costs, and where there is a target the time to it with
        its 95 % interval over seeds. Speed-ups refer to the variant ``float32`` at a point without other settings, else
        to the first point.

        Raises:
            ConfigError: there is no run.
        """
        import pandas as pd

        found = summary(self)
        places = self.rounds[self._point].drop_duplicates(ignore_index=True)
        return pd.concat([places, found.reset_index(drop=True)], axis=1)

    def plot(self, x: str = "latency_s", y: str = "accuracy") -> Figure:
        """Mean and spread over seeds of one quantity against another, a line per point."""
        from syft_fl import plots

        return plots.accuracy_against(self.results, x=x, y=y, target=self.target_accuracy)

    def __str__(self) -> str:
        from syft_fl.experiment.table import table

        lines = [] if self.rounds.empty else [table(summary(self), title="point")]
        if self.failures:
            count = len(self.failures)
            lines += [f"{count} run{'s' if count > 1 else ''} failed:"]
            lines += [f"  {failure.where}: {failure.message}" for failure in self.failures]
        return "\n".join(lines)

    @property
    def _point(self) -> list[str]:
        return ["variant", *self.grid]


def labels(places: Sequence[tuple[Any, ...]], grid: Sequence[str]) -> list[str]:
    """``bits = 4, radius_m = 100`` for each place, that is variant and values of the grid.

    The variant is said where there are several, or nothing else to say.
    """
    several = len({place[0] for place in places}) > 1
    names = short_names(grid)

    def label(place: tuple[Any, ...]) -> str:
        settings = [f"{name} = {_text(value)}" for name, value in zip(names, place[1:], strict=True)]
        return ", ".join([place[0], *settings] if several or not settings else settings)

    return [label(place) for place in places]


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of each path, as many as tell it from the others.

    Example:
        >>> short_names(["cell.radius_m", "uplink.codec.bits", "downlink.codec.bits"])
        ['radius_m', 'uplink.codec.bits', 'downlink.codec.bits']
    """
    return [_short(path.split("."), [other.split(".") for other in paths if other != path]) for path in paths]


def _short(parts: Sequence[str], others: Sequence[Sequence[str]]) -> str:
    for length in range(1, len(parts)):
        tail = parts[-length:]
        if all(other[-length:] != tail for other in others):
            return ".".join(tail)
    return ".".join(parts)


def _text(value: Any) -> str:
    """A cell of the table as :func:`~syft_fl.experiment.grid.shown` writes what it comes from."""
    return str(value).lower() if str(value) in ("True", "False") else str(value).removesuffix(".0")
