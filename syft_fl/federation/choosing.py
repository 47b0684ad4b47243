"""Whom the base station sends its model: the selection of a run, what it is shown, and what it remembers.

What a selection may look at (:class:`~syft_fl.federation.selection.RoundView`) is what the base station knows or
expects: rates, the length of frames so far, compute times, and when an update of each UE arrived last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from syft_fl.federation.cohort import ages, choose_cohort, look
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.selection import RoundView, State
from syft_fl.transport import Transport

__all__ = ["Choosing"]


class Choosing:
    """The selection of a run.

    Args:
        scenario: its rule, and how many it chooses.
        transport: the radio, and the time.
        frame_bits: what a frame has before any was sent.
        compute_s: how long a UE computes about [s].
    """

    def __init__(
        self, scenario: Scenario, transport: Transport, *, frame_bits: int, compute_s: Callable[[str], float]
    ) -> None:
        self._scenario = scenario
        self._transport = transport
        self._compute_s = compute_s
        self._frame_bits = dict.fromkeys(("uplink", "downlink"), frame_bits)
        self._memory: State = {}
        self._arrived: dict[str, int] = {}
        self._calls = 0

    def cohort(self, ues: tuple[str, ...], *, round: int) -> tuple[str, ...]:
        """The UEs of a round, out of some."""
        return self._choose(self._view(round), ues, self._scenario.population.chosen)

    def called(self, ues: tuple[str, ...], count: int, *, round: int) -> tuple[str, ...]:
        """So many out of some UEs; there may be several calls in a round."""
        view = self._view(round)
        key = view.key / f"call{self._calls}"
        self._calls += 1
        return self._choose(replace(view, key=key), ues, count)

    def duration_s(self, ue: str, *, round: int) -> float:
        """How long a UE takes about, to compute and to send [s]."""
        return self._view(round).uplink.airtime_s(ue) + self._compute_s(ue)

    def arrived(self, ues: Iterable[str], *, round: int) -> None:
        """Updates of some UEs have come."""
        self._arrived |= dict.fromkeys(ues, round)

    def sent(self, frame_bits: Mapping[str, int]) -> None:
        """A round's longest frame, by direction."""
        self._frame_bits |= frame_bits

    def _view(self, round: int) -> RoundView:
        return look(
            self._scenario,
            round=round,
            now_s=self._transport.clock.now_s,
            links={direction: self._transport.radio(direction) for direction in ("uplink", "downlink")},
            bits=self._frame_bits,
            compute_s=self._compute_s,
            age=ages(self._arrived, round),
        )

    def _choose(self, view: RoundView, ues: tuple[str, ...], count: int) -> tuple[str, ...]:
        if not ues:
            return ()
        view = replace(view, ues=ues, cohort=min(count, len(ues)))
        cohort, self._memory = choose_cohort(self._scenario.population, view, self._memory)
        return cohort

    # Checkpoints, between rounds.

    def state(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "memory": dict(self._memory),
            "arrived": dict(self._arrived),
            "frame_bits": dict(self._frame_bits),
            "calls": self._calls,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._memory = state["memory"]
        self._arrived, self._frame_bits = dict(state["arrived"]), dict(state["frame_bits"])
        self._calls = state["calls"]
