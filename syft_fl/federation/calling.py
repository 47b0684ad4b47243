"""Whom an asynchronous mode calls, and when enough has come for the next model.

The mode itself (:mod:`~syft_fl.federation.asynchronous`) is a value; here it is shown the cell as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from syft_fl.federation.asynchronous import Asynchronous, Cell
from syft_fl.federation.choosing import Choosing
from syft_fl.federation.merging import Merging
from syft_fl.federation.protocol import Exchange
from syft_fl.federation.reach import Reach
from syft_fl.federation.round import Round

__all__ = ["Calling"]

_CALLS_A_UE = 300
"""Calls for each UE of a cell (of ten at least) after which a next update is not waited for any more."""


class Calling:
    """An asynchronous mode in a run.

    Args:
        mode: what calls and takes.
        cohort: how many UEs are to be at work.
        reach: who can be called.
        choosing: names some of those.
        exchange: knows who is at work.
        merging: has what the mode remembers.
    """

    def __init__(
        self,
        mode: Asynchronous,
        *,
        cohort: int,
        reach: Reach,
        choosing: Choosing,
        exchange: Exchange,
        merging: Merging,
    ) -> None:
        self._mode = mode
        self._cohort = cohort
        self._reach = reach
        self._choosing = choosing
        self._exchange = exchange
        self._merging = merging

    def groups(self, now: Round, waiting: Iterable[str]) -> list[tuple[str, ...]]:
        """Groups of UEs to send the model to, now.

        Args:
            now: the round.
            waiting: UEs that the base station waits for.
        """
        groups, self._merging.mode_memory = self._mode.calls(
            self._cell(now, waiting), self._merging.mode_memory
        )
        return groups

    def takes(self, now: Round, waiting: Iterable[str]) -> frozenset[str]:
        """UEs whose updates are to make the next model, now; empty: not yet."""
        return self._mode.takes(self._cell(now, waiting), self._merging.mode_memory)

    def in_vain(self, now: Round) -> bool:
        """Whether UEs would be called for ever, and none sends enough for a next model."""
        return len(now.cohort) >= _CALLS_A_UE * max(10, len(self._reach.ues)) * (1 + len(now.updates))

    def _cell(self, now: Round, waiting: Iterable[str]) -> Cell:
        at_work = frozenset(waiting)

        def free() -> tuple[str, ...]:
            return tuple(
                ue
                for ue in self._reach.ues
                if ue not in at_work and self._reach.knows(ue) and not self._exchange.ue(ue).at_work
            )

        def choose(ues: tuple[str, ...], count: int) -> tuple[str, ...]:
            return self._choosing.called(self._reach.known(ues), count, round=now.number)

        def duration_s(ue: str) -> float:
            return self._choosing.duration_s(ue, round=now.number)

        return Cell(
            ues=self._reach.ues,
            free=free,
            waiting=at_work,
            arrived=tuple(update.ue for update in now.updates),
            cohort=self._cohort,
            choose=choose,
            duration_s=duration_s,
        )
