"""What a run and a comparison leave behind, as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from syft_fl.errors import RunError
from syft_fl.experiment.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "Result"]


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        name: of the variant.
        seed: of the run.
        config: the resolved scenario, plain data.
        rounds: one row per round, row 0 the initial model: round, latency_s (simulated seconds when it was tested),
            accuracy (0 … 1; missing where it was not tested), loss, train_loss, uplink_bits and downlink_bits
            (since the start, all UEs together), energy_j (since the start), cohort, arrived; and
            standalone_accuracy where asked for.
        transfers: one row per transmission; columns as in :class:`~syft_fl.transport.Entry`.
        folder: where it was written; None where it was not.
    """

    name: str
    seed: int
    config: Mapping[str, Any]
    rounds: pd.DataFrame
    transfers: pd.DataFrame
    folder: Path | None = None

    @classmethod
    def of(
        cls,
        name: str,
        config: Mapping[str, Any],
        rounds: Iterable[Mapping[str, Any]],
        transfers: Iterable[Mapping[str, Any]],
        folder: Path | None = None,
    ) -> Result:
        """A result from plain rows."""
        rows = pd.DataFrame(list(rounds))
        for column in ("accuracy", "loss", "train_loss", "standalone_accuracy"):
            if column in rows:
                rows[column] = rows[column].astype(float)
        return cls(name, int(config["seed"]), config, rows, pd.DataFrame(list(transfers)), folder)

    @classmethod
    def load(cls, folder: str | Path, *, name: str | None = None) -> Result:
        """Read a run's folder; a run still going on (or killed) gives the rounds it has finished.

        Raises:
            RunError: the folder holds no run.
        """
        folder = Path(folder)
        config = RunFolder(folder).config
        if config is None:
            raise RunError(f"{folder} holds no run: it has no config.json")
        rounds, transfers = (_rows(folder / f"{part}.jsonl") for part in ("rounds", "transfers"))
        return cls.of(name or folder.parent.name, config, rounds, transfers, folder)

    def plot(self, x: str = "latency_s", y: str = "accuracy") -> Figure:
        """One quantity of the rounds against another; see :func:`syft_fl.plots.accuracy_against`."""
        from syft_fl import plots

        return plots.accuracy_against([self], x=x, y=y)

    def __str__(self) -> str:
        last = self.rounds.iloc[-1]
        tested = self.rounds["accuracy"].dropna()
        accuracy = f"{100 * tested.iloc[-1]:.1f} %" if len(tested) else "not tested"
        return (
            f"{self.name} (seed {self.seed}): accuracy {accuracy} after {int(last['round'])} rounds, "
            f"{last['latency_s']:.4g} simulated s, {last['uplink_bits'] / 1e6:.4g} Mbit up, "
            f"{last['downlink_bits'] / 1e6:.4g} Mbit down, {last['energy_j']:.3g} J"
        )


@dataclass(frozen=True)
class Comparison:
    """Several variants, each with several seeds.

    Attributes:
        name: of the experiment.
        results: in the order of the variants.
        target_accuracy: 0 … 1; None where none was asked for.
        folder: where it was written; None where it was not.
    """

    name: str
    results: tuple[Result, ...]
    target_accuracy: float | None = None
    folder: Path | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Read a comparison's folder.

        Raises:
            RunError: the folder holds no comparison.
        """
        folder = Path(folder)
        try:
            facts = json.loads((folder / "experiment.json").read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{folder} holds no comparison: experiment.json: {error}") from None
        results = [
            Result.load(folder / variant / f"seed{seed}", name=variant)
            for variant in facts["variants"]
            for seed in facts["seeds"]
        ]
        return cls(facts["name"], tuple(results), facts["target_accuracy"], folder)

    def summary(self) -> pd.DataFrame:
        """One row per variant: accuracy, simulated seconds, Mbit, energy, time to the target and its speed-up."""
        from syft_fl.experiment.statistics import summary

        return summary(self)

    def plot(self, x: str = "latency_s", y: str = "accuracy") -> Figure:
        """Mean and spread over seeds of one quantity against another, a line per variant."""
        from syft_fl import plots

        return plots.accuracy_against(self.results, x=x, y=y, target=self.target_accuracy)

    def __str__(self) -> str:
        from syft_fl.experiment.table import table

        return table(self.summary())


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; a last line without an end was torn by a kill and is left out."""
    data = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
