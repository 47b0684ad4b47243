"""Progress bars: of one run (round, simulated seconds, accuracy), and of many runs side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from syft_fl.experiment.processes import Failure
from syft_fl.federation import RoundRecord, Simulation

__all__ = ["Bar", "ManyBar", "Progress"]

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


class ManyBar:
    """One bar on standard error for many runs at a time; nothing where nobody watches.

    It counts rounds, so that it moves before the first run ends. A run that stops early takes all of its rounds along.

    Args:
        rounds: of each run, at most.
        finished: runs that there are beside them already.
    """

    def __init__(self, rounds: Sequence[int], *, finished: int = 0) -> None:
        self._rounds = list(rounds)
        self._done = [0] * len(self._rounds)
        self._finished, self._runs = finished, finished + len(self._rounds)
        self._failed = 0
        # What is finished already says nothing of the time that is left, so it is not in the bar.
        self._bar: Any = tqdm(total=sum(self._rounds), unit="round", leave=False, disable=not _watched())
        self._tell()

    def __enter__(self) -> ManyBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def hear(self, index: int, value: Any) -> None:
        """Take in the row of a run's round, or how the run ended."""
        if isinstance(value, Mapping):
            self._go_to(index, min(int(value["round"]), self._rounds[index]))
            return
        self._finished += 1
        self._failed += isinstance(value, Failure)
        self._go_to(index, self._rounds[index])
        self._tell()

    def _go_to(self, index: int, done: int) -> None:
        self._bar.update(done - self._done[index])
        self._done[index] = done

    def _tell(self) -> None:
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.set_description_str(f"{self._finished} of {self._runs} runs{failed}", refresh=True)


def _watched() -> bool:
    """Whether standard error is a terminal, or this is a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
