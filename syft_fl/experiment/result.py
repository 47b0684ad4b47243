"""What a run and a comparison leave behind, as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syft_fl.errors import RunError
from syft_fl.experiment.energy import energy_of_ues
from syft_fl.experiment.folder import TABLES, RunFolder, read_rows
from syft_fl.federation import ue_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from syft_fl.experiment.trace import Trace

__all__ = ["Comparison", "Result", "table_of_rounds"]


def _no_rows() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        name: of the variant.
        seed: of the run.
        config: the resolved scenario, plain data.
        rounds: one row per round, row 0 the initial model: round, latency_s (simulated seconds when it was tested),
            accuracy (0 … 1; missing where it was not tested), loss, train_loss, uplink_bits and downlink_bits
            (since the start, all UEs together), cohort, arrived; and standalone_accuracy where asked for. Energy
            since the start [J]: energy_j (UEs and base station), ue_energy_j (the UEs' batteries), which is the sum of
            uplink_transmit_energy_j, receive_energy_j and compute_energy_j; downlink_transmit_energy_j is the
            base station's.
        transfers: one row per transmission; columns as in :class:`~syft_fl.transport.Entry`.
        folder: where it was written; None where it was not.
        computations: one row per training of a UE; columns as in :class:`~syft_fl.federation.Computation`.
        decisions: one row per decision of a trigger; columns as in :class:`~syft_fl.federation.deciding.Decided`. A
            quantity is missing where there was nothing to compare with yet. Empty without a trigger.
    """

    name: str
    seed: int
    config: Mapping[str, Any]
    rounds: pd.DataFrame
    transfers: pd.DataFrame
    folder: Path | None = None
    computations: pd.DataFrame = field(default_factory=_no_rows)
    decisions: pd.DataFrame = field(default_factory=_no_rows)

    @classmethod
    def of(
        cls,
        name: str,
        config: Mapping[str, Any],
        rounds: Iterable[Mapping[str, Any]],
        transfers: Iterable[Mapping[str, Any]],
        folder: Path | None = None,
        *,
        computations: Iterable[Mapping[str, Any]] = (),
        decisions: Iterable[Mapping[str, Any]] = (),
    ) -> Result:
        """A result from plain rows."""
        import pandas as pd

        sent, computed = pd.DataFrame(list(transfers)), pd.DataFrame(list(computations))
        decided = _table_of_decisions(decisions)
        return cls(
            name, int(config["seed"]), config, table_of_rounds(rounds), sent, folder, computed, decided
        )

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
        rounds, transfers, computations, decisions = (
            read_rows(folder / f"{table}.jsonl") for table in TABLES
        )
        name = name or folder.parent.name
        return cls.of(name, config, rounds, transfers, folder, computations=computations, decisions=decisions)

    def energy(self) -> pd.DataFrame:
        """Battery energy [J] by UE, round and part; see :func:`~syft_fl.experiment.energy.energy_of_ues`.

        Every UE of the cell has a row in every round from 1 on, with zeros where it took no part. Sums over all rows
        are the last row of ``rounds``: ``transmit_j`` is uplink_transmit_energy_j, and so on.

        Raises:
            RunError: the run was written by a version that did not tell energy by UE.
        """
        names = [ue_name(index) for index in range(self.config["population"]["ues"])]
        return energy_of_ues(self.rounds, self.transfers, computations=self.computations, ues=names)

    def trace(self, *, round: int | None = None, ue: str | None = None) -> Trace:
        """The messages of the run in order, or of one round or UE; see :func:`~syft_fl.experiment.trace.trace`."""
        from syft_fl.experiment.trace import trace

        return trace(self, round=round, ue=ue)

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

    def energy(self) -> pd.DataFrame:
        """:meth:`Result.energy` of all runs, one after another, with columns ``variant`` and ``seed`` in front."""
        import pandas as pd

        frames = []
        for result in self.results:
            frame = result.energy()
            frame.insert(0, "variant", result.name)
            frame.insert(1, "seed", result.seed)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def plot(self, x: str = "latency_s", y: str = "accuracy") -> Figure:
        """Mean and spread over seeds of one quantity against another, a line per variant."""
        from syft_fl import plots

        return plots.accuracy_against(self.results, x=x, y=y, target=self.target_accuracy)

    def __str__(self) -> str:
        from syft_fl.experiment.table import table

        return table(self.summary())


def table_of_rounds(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of rounds as a table; what was not tested is missing."""
    import pandas as pd

    table = pd.DataFrame(list(rows))
    for column in ("accuracy", "loss", "train_loss", "standalone_accuracy"):
        if column in table:
            table[column] = table[column].astype(float)
    return table


def _table_of_decisions(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of decisions as a table; what is not finite is missing, as it is in files."""
    import pandas as pd

    table = pd.DataFrame(list(rows))
    for column in ("quantity", "threshold"):
        if column in table:
            table[column] = table[column].astype(float).replace([math.inf, -math.inf], math.nan)
    return table
