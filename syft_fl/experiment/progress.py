"""A progress bar of a run: round, simulated seconds, accuracy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from syft_fl.federation import RoundRecord, Simulation

__all__ = ["Bar", "Progress"]

Progress = Callable[[Simulation, RoundRecord], None]
"""Called after every round."""


class Bar:
    """One bar on standard error, for one run after another; nothing where nobody watches."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._run = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def of(self, name: str, seed: int) -> Progress:
        """The progress callback of one run."""

        def show(simulation: Simulation, record: RoundRecord) -> None:
            if self._run != f"{name} seed {seed}":
                self.__exit__()
                self._run = f"{name} seed {seed}"
                # A bar that stays would leave a line for each variant and seed.
                self._bar = tqdm(
                    total=simulation.scenario.stop.rounds,
                    desc=self._run,
                    unit="round",
                    leave=False,
                    disable=not _watched(),
                )
            row = record.row
            accuracy = "" if row["accuracy"] is None else f", accuracy {100 * row['accuracy']:.1f} %"
            self._bar.set_postfix_str(f"{row['latency_s']:.3g} simulated s{accuracy}", refresh=False)
            self._bar.update(row["round"] - self._bar.n)

        return show


def _watched() -> bool:
    """Whether standard error is a terminal, or this is a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
