"""What a run's tables say of it that no timing changes: cohorts, frames, bits, accuracies.

A :class:`Recording` is read from the rows of a run's tables. Its :class:`Plan` is what has to go over the air in each
round, in the order in which the base station offers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.errors import RunError
from syft_fl.federation.cohort import ue_name
from syft_fl.federation.computation import Computation
from syft_fl.federation.scenario import Scenario
from syft_fl.transport import Entry

__all__ = ["STATIC", "Asked", "Plan", "PlannedRound", "Recording", "Sent"]

STATIC = ("round", "direction", "kind", "stream", "ues", "serial", "raw_bits", "payload_bits", "bits")
"""Columns of the table of transfers that no timing changes."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """A transmission that has to be made.

    Attributes:
        row: its place in the plan's columns.
        ues: the UEs at the other end from the base station.
        bits: on the air.
    """

    row: int
    ues: tuple[str, ...]
    bits: int


@dataclass(frozen=True, slots=True)
class PlannedRound:
    """One round's work.

    Attributes:
        number: counted from 1.
        downloads: in the order in which they are offered, all when the round begins.
        uploads: of each UE of the cohort, in the order of their indices.
        trainings: of each of them, which of its trainings it is, counted from 0.
        samples: of each of them, what it was charged for.
    """

    number: int
    downloads: tuple[Sent, ...]
    uploads: Mapping[str, Sent]
    trainings: Mapping[str, int]
    samples: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Asked:
    """All that one direction's link is asked about: UEs in their rounds, those of one transmission side by side.

    Attributes:
        rows: of each transmission, its place in the plan's columns.
        firsts: of each transmission, where its UEs begin in what follows.
        names: the UEs that occur, each once.
        ues: [asked] which of the names.
        blocks: [asked] the round.
    """

    rows: NDArray[np.int64]
    firsts: NDArray[np.int64]
    names: tuple[str, ...]
    ues: NDArray[np.int64]
    blocks: list[int]


@dataclass(frozen=True, eq=False)
class Plan:
    """All rounds of a recording, the model sent by one cast.

    Attributes:
        rounds: in order.
        columns: those of :data:`STATIC`, a row for each transmission.
        fading: [asked] power gains that were drawn for a re-timing, for the next one; by direction.
    """

    rounds: tuple[PlannedRound, ...]
    columns: Mapping[str, list[Any]]
    fading: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @cached_property
    def asked(self) -> Mapping[str, Asked]:
        """By direction."""
        return {direction: self._asked(direction) for direction in ("downlink", "uplink")}

    def _asked(self, direction: str) -> Asked:
        rows = [row for row, its in enumerate(self.columns["direction"]) if its == direction]
        ues = [self.columns["ues"][row] for row in rows]
        counts = np.array([len(group) for group in ues])
        place: dict[str, int] = {}
        return Asked(
            np.array(rows),
            np.cumsum(counts) - counts,
            names=tuple(dict.fromkeys(ue for group in ues for ue in group)),
            ues=np.array([place.setdefault(ue, len(place)) for group in ues for ue in group]),
            blocks=[self.columns["round"][row] for row, group in zip(rows, ues, strict=True) for _ in group],
        )


@dataclass
class Recording:
    """A run that can be re-timed.

    Attributes:
        scenario: that was run, its compute time in seconds.
        rounds: rows of its rounds, round 0 first.
        transfers: rows of its transmissions by round, from round 1 on.
        computations: rows of its trainings by round, from round 1 on.
        means: mean gains of UEs that were found for a re-timing, for the next one, and for which cell and path.
    """

    scenario: Scenario
    rounds: list[Row]
    transfers: list[list[Row]]
    computations: list[list[Row]]
    means: list[tuple[object, dict[str, float]]] = field(default_factory=list)
    _plans: dict[str, Plan] = field(default_factory=dict)

    @classmethod
    def of(
        cls, scenario: Scenario, rounds: Sequence[Row], transfers: Iterable[Row], computations: Iterable[Row]
    ) -> Recording:
        """A recording from the rows of a finished run's tables.

        Raises:
            RunError: a column is missing, or something was lost.
        """
        count = len(rounds) - 1
        if count < 1 or "compute_energy_j" not in rounds[0]:
            raise RunError("the run has no rounds, or another version wrote it; run it anew")
        sent: list[list[Row]] = [[] for _ in range(count)]
        computed: list[list[Row]] = [[] for _ in range(count)]
        for table, rows, wanted in (
            (sent, transfers, Entry.__dataclass_fields__),
            (computed, computations, Computation.__dataclass_fields__),
        ):
            for row in rows:
                missing = [name for name in wanted if name not in row]
                if missing:
                    raise RunError(
                        f"the run does not tell {', '.join(missing)} of each row: another version wrote it; run it anew"
                    )
                table[row["round"] - 1].append(row)
        if any(row["lost"] or row["missing_bits"] for rows in sent for row in rows):
            raise RunError(
                "something was lost in the run, and what is lost changes what is learnt; run it anew"
            )
        for number, rows in enumerate(computed, start=1):
            if not rows:
                raise RunError(f"the run does not tell who computed in round {number}; run it anew")
        return cls(scenario, list(rounds), sent, computed)

    def plan(self, cast: str) -> Plan:
        """What has to go over the air, the model by a cast of the downlink."""
        if cast not in self._plans:
            self._plans[cast] = self._planned(cast)
        return self._plans[cast]

    def _planned(self, cast: str) -> Plan:
        columns: dict[str, list[Any]] = {name: [] for name in STATIC}

        def planned(row: Row, ues: tuple[str, ...]) -> Sent:
            for name in STATIC:
                columns[name].append(ues if name == "ues" else row[name])
            return Sent(len(columns["bits"]) - 1, ues, row["bits"])

        trained: dict[str, int] = {}
        rounds = []
        for number, rows in enumerate(self.transfers, start=1):
            samples = {row["ue"]: row["samples"] for row in self.computations[number - 1]}
            cohort = sorted(samples, key=_index)
            up = {row["ues"][0]: row for row in rows if row["direction"] == "uplink"}
            down = self._downloads(rows, cohort, cast)
            rounds.append(
                PlannedRound(
                    number,
                    tuple(planned(row, ues) for row, ues in down),
                    {ue: planned(up[ue], (ue,)) for ue in cohort},
                    {ue: trained.get(ue, 0) for ue in cohort},
                    samples,
                )
            )
            trained.update({ue: trained.get(ue, 0) + 1 for ue in cohort})
        return Plan(tuple(rounds), columns)

    def _downloads(
        self, rows: Sequence[Row], cohort: Sequence[str], cast: str
    ) -> list[tuple[Row, tuple[str, ...]]]:
        """A round's frames in the order of their serials, and whom each is sent to.

        A frame has the same serial and bits in every cast: a unicast sends that of a group to each of it.
        """
        first: dict[int, Row] = {}
        groups: dict[int, list[str]] = {}
        for row in rows:
            if row["direction"] == "downlink":
                first.setdefault(row["serial"], row)
                groups.setdefault(row["serial"], []).extend(row["ues"])
        was, frames = self.scenario.downlink.cast, sorted(groups)
        if was == cast and cast != "unicast":
            return [(first[serial], tuple(groups[serial])) for serial in frames]
        wanted = set(cohort)
        told = {serial: sorted(wanted.intersection(groups[serial]), key=_index) for serial in frames}
        if cast == "unicast":
            return [(first[serial], (ue,)) for serial in frames for ue in told[serial]]
        if cast == "broadcast":  # one frame does for all, or the cohort is all there are
            others = [ue for ue in map(ue_name, range(self.scenario.population.ues)) if ue not in wanted]
            told[frames[0]] += others
        return [(first[serial], tuple(ues)) for serial, ues in told.items()]


def _index(ue: str) -> int:
    return int(ue.removeprefix("ue"))
