r"""A recorded run over another radio: when everything happens, to the bit, with nothing trained.

A synchronous round is what :class:`~syft_fl.federation.simulation.Simulation` makes of it: the base station offers its
frames when the round begins; each UE computes when its frame has come, and offers its upload when it has computed; the
round ends when nothing is on the air. At one instant the air comes first, and there the downlink.

What the air makes of it is one of two things that agree to the bit:

- :class:`RealMedia`: the media of the access schemes, event by event. Always right.
- :class:`Queues`: where the band is split for good (``tdma``, ``ofdma``) and no rate changes within a round, a queue

  .. math:: s_i = \max(r_i, f), \quad e_i = s_i + b_i / R_i

  with :math:`r_i` when an upload is offered, :math:`f` when the first subchannel is free, :math:`b_i` bits and
  :math:`R_i` the rate: the floating-point operations of :class:`~syft_fl.radio.split.SplitMedium`, in its order.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syft_fl.errors import RunError
from syft_fl.federation.recording import STATIC, Asked, Plan, PlannedRound, Recording, Sent
from syft_fl.federation.retiming import link_of
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.slowing import slowdown_of
from syft_fl.keys import Key
from syft_fl.radio import Link, Links, Medium, Ofdma, Shannon, Tdma, Transfer
from syft_fl.radio.constant import ConstantLink
from syft_fl.radio.offers import never
from syft_fl.radio.shannon import ShannonLink

__all__ = ["Air", "Log", "Queues", "RealMedia", "Retimed", "air_of", "replay"]

_DIRECTIONS = ("downlink", "uplink")  # in the order of what happens at one instant

Floats = NDArray[np.float64]


@dataclass
class Log:
    """What happened, in order: columns, for a tuple for each transmission would cost more than the rest.

    Attributes:
        row: of what landed, its place in the plan's columns; and as in :class:`~syft_fl.radio.Transfer`.
        ue: who has computed; computed_s: when [s].
        round_s: when each round ended [s]; landed, computed: how much had landed and was computed by then.
    """

    row: list[int] = field(default_factory=list)
    offered_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    airtime_s: list[float] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    energy_j: list[float] = field(default_factory=list)
    ue: list[str] = field(default_factory=list)
    computed_s: list[float] = field(default_factory=list)
    round_s: list[float] = field(default_factory=list)
    landed: list[int] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)

    def ends(self, now_s: float) -> None:
        """A round ends."""
        self.round_s.append(now_s)
        self.landed.append(len(self.row))
        self.computed.append(len(self.ue))


class Air(Protocol):
    """Both directions' media, from round to round."""

    def play(self, round: PlannedRound, *, now_s: float, lasts_s: Mapping[str, float], log: Log) -> float:
        """Let a round begin now.

        Args:
            lasts_s: how long each UE of the cohort computes [s].
            log: gets what happens.

        Returns:
            When it has ended [s].

        Raises:
            TransportError: a link never carries a frame.
        """
        ...


@dataclass(frozen=True)
class Retimed:
    """The tables of a re-timed run, as columns: those that running it anew gives.

    Attributes:
        rounds, computations: all columns of these tables.
        plan: has the columns of ``transfers`` that no timing changes, in another order.
        order: [transfers] their rows there.
        timing: the other columns of ``transfers``.
    """

    rounds: Mapping[str, list[Any]]
    computations: Mapping[str, list[Any]]
    plan: Plan
    order: list[int]
    timing: Mapping[str, list[Any]]

    @property
    def transfers(self) -> Mapping[str, list[Any]]:
        """All columns of this table."""
        return {name: [self.plan.columns[name][row] for row in self.order] for name in STATIC} | {
            **self.timing
        }

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """The rows of ``rounds``, ``transfers`` or ``computations``."""
        columns: Mapping[str, list[Any]] = getattr(self, table)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def replay(
    recording: Recording,
    scenario: Scenario,
    *,
    charged: Mapping[str, float] | None = None,
    air: Air | None = None,
) -> Retimed:
    """A recorded run with the times and energies of another scenario.

    Args:
        scenario: one that the recording can be re-timed to (:func:`~syft_fl.federation.retiming.check_retimable`), its
            compute time in seconds.
        charged: samples that each UE is charged for; None: those that it was charged for in the run.
        air: both directions' media; None: the quickest ones that are right.

    Raises:
        TransportError: a link never carries a frame.
        RunError: a medium lost something.
    """
    plan = recording.plan(scenario.downlink.cast)
    air = air_of(recording, scenario) if air is None else air
    log, now_s = Log(), 0.0
    samples: list[float] = []
    for round in plan.rounds:
        charges = round.samples if charged is None else charged
        lasts_s = _lasts_s(scenario, round, charges)
        now_s = air.play(round, now_s=now_s, lasts_s=lasts_s, log=log)
        samples += [charges[ue] for ue in log.ue[len(samples) :]]
        log.ends(now_s)
    return _tables(recording, scenario, plan, log, samples)


def _lasts_s(scenario: Scenario, round: PlannedRound, charges: Mapping[str, float]) -> dict[str, float]:
    """How long each UE of a round computes [s]."""
    nominal_s = {samples: scenario.compute.seconds(samples) for samples in set(charges.values())}
    if scenario.population.slowdown is None:
        return {ue: nominal_s[charges[ue]] for ue in round.trainings}
    return {
        ue: slowdown_of(scenario, ue, training=training) * nominal_s[charges[ue]]
        for ue, training in round.trainings.items()
    }


def air_of(recording: Recording, scenario: Scenario) -> Air:
    """The quickest media of a scenario that are right."""
    links = {direction: link_of(scenario, direction) for direction in _DIRECTIONS}
    accesses = (scenario.downlink.access, scenario.uplink.access)
    split = all(type(access) in (Tdma, Ofdma) for access in accesses)
    if split and all(link.steady_until_s(time_s=0.0) == math.inf for link in links.values()):
        return Queues(recording, scenario, links)
    return RealMedia(scenario, links)


class RealMedia:
    """The media of the access schemes.

    Args:
        links: of both directions; None: those of the scenario.
    """

    def __init__(self, scenario: Scenario, links: Mapping[str, Link] | None = None) -> None:
        self._media: list[Medium] = []
        for direction in _DIRECTIONS:
            settings = scenario.uplink if direction == "uplink" else scenario.downlink
            link = link_of(scenario, direction) if links is None else links[direction]
            key = Key(scenario.seed) / "radio" / direction / "access"
            users = scenario.population.chosen
            self._media.append(settings.access.open(Links(link), users=users, key=key))
        self._sent: dict[tuple[int, int], Sent] = {}

    def play(self, round: PlannedRound, *, now_s: float, lasts_s: Mapping[str, float], log: Log) -> float:
        for sent in round.downloads:
            self._offer(0, sent, now_s, round.number)
        # A heap: when who has computed, and at one instant who began first.
        computing: list[tuple[float, int, str]] = []
        began = 0
        while True:
            air_s = min(medium.next_event_s() for medium in self._media)
            ready_s = computing[0][0] if computing else math.inf
            if air_s == ready_s == math.inf:
                return now_s
            if ready_s < air_s:
                now_s, _, ue = heapq.heappop(computing)
                log.ue.append(ue)
                log.computed_s.append(now_s)
                self._offer(1, round.uploads[ue], now_s, round.number)
                continue
            now_s = max(now_s, air_s)
            for direction, transfer in self._arrived(air_s):
                sent = self._landed(direction, transfer, log)
                for ue in sent.ues if direction == 0 else ():
                    if ue in lasts_s:
                        heapq.heappush(computing, (now_s + lasts_s[ue], began, ue))
                        began += 1

    def _offer(self, direction: int, sent: Sent, now_s: float, block: int) -> None:
        ticket = self._media[direction].offer(sent.ues, sent.bits, now_s=now_s, block=block)
        self._sent[direction, ticket] = sent

    def _arrived(self, to_s: float) -> list[tuple[int, Transfer]]:
        """Downlink first at one instant."""
        ended: list[tuple[int, Transfer]] = []
        for direction, medium in enumerate(self._media):
            ended += [(direction, transfer) for transfer in medium.advance(to_s)]
        return sorted(ended, key=lambda item: item[1].end_s)

    def _landed(self, direction: int, transfer: Transfer, log: Log) -> Sent:
        sent = self._sent.pop((direction, transfer.ticket))
        if transfer.lost:
            raise RunError(
                f"{', '.join(transfer.lost)} lost a frame of the {_DIRECTIONS[direction]}; what is lost changes what "
                "is learnt; run it anew"
            )
        log.row.append(sent.row)
        for name in ("offered_s", "start_s", "end_s", "airtime_s", "attempts", "energy_j"):
            getattr(log, name).append(getattr(transfer, name))
        return sent


class Queues:
    """Bands that are split for good, over links whose rates don't change within a round.

    Args:
        recording: whose plan is played; it keeps channels for its next re-timing.
        links: of both directions.
    """

    def __init__(self, recording: Recording, scenario: Scenario, links: Mapping[str, Link]) -> None:
        plan = recording.plan(scenario.downlink.cast)
        airtimes_s, energies_j = np.empty(len(plan.columns["bits"])), np.empty(len(plan.columns["bits"]))
        # Heaps: when each subchannel is free.
        self._free_s: list[list[float]] = []
        self._latency_s: list[float] = []
        for direction in _DIRECTIONS:
            settings = scenario.uplink if direction == "uplink" else scenario.downlink
            access, users = settings.access, scenario.population.chosen
            subchannels = (access.subchannels or users) if isinstance(access, Ofdma) else 1
            link, asked = links[direction], plan.asked[direction]
            share = 1.0 / subchannels
            each_bps = np.array(_rates_bps(link, share, direction, recording, scenario))
            powers_w = np.array(_powers_w(link, share, asked))
            bits = np.array([plan.columns["bits"][row] for row in asked.rows], dtype=np.float64)
            # To several UEs: at the slowest one's rate, with the strongest one's power.
            with np.errstate(divide="ignore"):
                airtimes_s[asked.rows] = bits / np.minimum.reduceat(each_bps, asked.firsts)
            energies_j[asked.rows] = np.maximum.reduceat(powers_w, asked.firsts) * airtimes_s[asked.rows]
            self._free_s.append([0.0] * subchannels)
            self._latency_s.append(link.latency_s)
        self._airtime_s, self._energy_j = airtimes_s.tolist(), energies_j.tolist()

    def play(self, round: PlannedRound, *, now_s: float, lasts_s: Mapping[str, float], log: Log) -> float:
        down, up = round.downloads, round.uploads
        down_s = [now_s] * len(down)
        starts_s, ends_s = self._carried(0, down, down_s)
        # Who has its model first begins first; a frame's UEs in its order.
        told, done_s = [], []
        for number in _ascending(ends_s):
            for ue in down[number].ues:
                if ue in lasts_s:
                    told.append(ue)
                    done_s.append(ends_s[number] + lasts_s[ue])
        order = _ascending(done_s)
        log.ue += (ues := [told[number] for number in order])
        log.computed_s += (up_s := [done_s[number] for number in order])
        uploads = [up[ue] for ue in ues]
        up_starts_s, up_ends_s = self._carried(1, uploads, up_s)
        # At one instant the downlink comes first, then who was offered first: as they stand here.
        rows = [sent.row for sent in (*down, *uploads)]
        offered_s, starts_s, ends_s = down_s + up_s, starts_s + up_starts_s, ends_s + up_ends_s
        order = _ascending(ends_s)
        log.row += (landed := [rows[number] for number in order])
        log.offered_s += [offered_s[number] for number in order]
        log.start_s += [starts_s[number] for number in order]
        log.end_s += [ends_s[number] for number in order]
        log.airtime_s += [self._airtime_s[row] for row in landed]
        log.energy_j += [self._energy_j[row] for row in landed]
        log.attempts += [1] * len(rows)
        return log.end_s[-1]

    def _carried(
        self, direction: int, queue: list[Sent] | tuple[Sent, ...], offered_s: list[float]
    ) -> tuple[list[float], list[float]]:
        """When each of a queue starts and has arrived [s].

        Raises:
            TransportError: a rate is 0 bit/s.
        """
        free_s, latency_s, airtime_s = self._free_s[direction], self._latency_s[direction], self._airtime_s
        starts_s, ends_s = [], []
        for sent, ready_s in zip(queue, offered_s, strict=True):
            start_s = free_s[0]
            if start_s < ready_s:
                start_s = ready_s
            off_air_s = start_s + airtime_s[sent.row]
            if off_air_s == math.inf:
                raise never(sent.ues[0], ready_s)
            heapq.heapreplace(free_s, off_air_s)
            starts_s.append(start_s)
            ends_s.append(off_air_s + latency_s)
        return starts_s, ends_s


def _ascending(values: list[float]) -> list[int]:
    """The places of some values in ascending order; of equals the first one first."""
    return sorted(range(len(values)), key=values.__getitem__)


def _powers_w(link: Link, share: float, asked: Asked) -> list[float]:
    """[asked] power [W] over a link that does not change within a round."""
    if type(link) in (ConstantLink, ShannonLink):  # the same for all
        power_w = link.transmit_power_w(asked.names[0], share=share, block=0, time_s=0.0)
        return [power_w] * len(asked.blocks)
    return [
        link.transmit_power_w(asked.names[ue], share=share, block=block, time_s=0.0)
        for ue, block in zip(asked.ues.tolist(), asked.blocks, strict=True)
    ]


def _rates_bps(
    link: Link, share: float, direction: str, recording: Recording, scenario: Scenario
) -> list[float]:
    """[asked] rate [bit/s] over a link that does not change within a round."""
    plan = recording.plan(scenario.downlink.cast)
    asked = plan.asked[direction]
    if type(link) is ConstantLink:
        return [link.rate_bps(asked.names[0], share=share, block=0, time_s=0.0)] * len(asked.blocks)
    each = list(zip(asked.ues.tolist(), asked.blocks, strict=True))
    if type(link) is not ShannonLink:
        return [link.rate_bps(asked.names[ue], share=share, block=block, time_s=0.0) for ue, block in each]
    if direction not in plan.fading and link.fades:
        plan.fading[direction] = np.array(
            [link.fading_gain(asked.names[ue], block=block, time_s=0.0) for ue, block in each]
        )
    fading = plan.fading[direction] if link.fades else 1.0
    means = _means(link, direction, recording, scenario, asked)
    # What ShannonLink.rate_bps does, in its order. Its logarithm, too: numpy's may differ in the last bit.
    power_w = link.transmit_power_w(asked.names[0], share=share, block=0, time_s=0.0)
    snrs = (
        power_w * (means[asked.ues] * fading) / link.noise_w(asked.names[0], share=share, block=0, time_s=0.0)
    )
    width_hz, log, log_2 = share * link.bandwidth_hz, math.log1p, math.log(2.0)
    return [width_hz * log(snr) / log_2 for snr in snrs.tolist()]


def _means(
    link: ShannonLink, direction: str, recording: Recording, scenario: Scenario, asked: Asked
) -> Floats:
    """[names] mean gains, kept by the recording while cell and path stay the same."""
    model = scenario.uplink.link if direction == "uplink" else scenario.downlink.link
    assert isinstance(model, Shannon)
    here = scenario.cell, model.intercept_db, model.slope_db_per_decade, model.shadowing_db
    known = next((means for where, means in recording.means if where == here), None)
    if known is None:
        known = {}
        recording.means[:] = [(here, known), *recording.means[:1]]
    for ue in asked.names:
        if ue not in known:
            known[ue] = link.mean_gain(ue, time_s=0.0)
    return np.array([known[ue] for ue in asked.names])


# The tables.


def _tables(recording: Recording, scenario: Scenario, plan: Plan, log: Log, samples: list[float]) -> Retimed:
    energy_j = {count: scenario.compute.energy_j(count) for count in set(samples)}
    computed_j = [energy_j[count] for count in samples]
    counts = np.diff([0, *log.computed]).tolist()
    computations: dict[str, list[Any]] = {
        "round": [number for number, count in enumerate(counts, start=1) for _ in range(count)],
        "ue": log.ue,
        "samples": samples,
        "end_s": log.computed_s,
        "energy_j": computed_j,
    }
    uplink = np.array([direction == "uplink" for direction in plan.columns["direction"]])[log.row]
    listening = np.array([len(ues) for ues in plan.columns["ues"]])[log.row]
    power_w = scenario.downlink.receive_power_w
    received_j = np.where(uplink, 0.0, power_w * np.array(log.airtime_s) * listening)
    timing = {
        "offered_s": log.offered_s,
        "start_s": log.start_s,
        "end_s": log.end_s,
        "airtime_s": log.airtime_s,
        "attempts": log.attempts,
        "energy_j": log.energy_j,
        "receive_energy_j": received_j.tolist(),
        "lost": [()] * len(log.row),
        "missing_bits": [0] * len(log.row),
    }
    # Sums since the start, added one after another in the order in which things ended, as a ledger does.
    sent_j, bits = np.array(log.energy_j), np.array(plan.columns["bits"])[log.row]
    all_j, up_j, down_j, heard_j = (
        _since_start(spent, log.landed)
        for spent in (sent_j, np.where(uplink, sent_j, 0.0), np.where(uplink, 0.0, sent_j), received_j)
    )
    spent_j = _since_start(np.array(computed_j), log.computed)
    sums = {
        "latency_s": np.array([0.0, *log.round_s]),
        "uplink_bits": _since_start(np.where(uplink, bits, 0), log.landed),
        "downlink_bits": _since_start(np.where(uplink, 0, bits), log.landed),
        "energy_j": all_j + spent_j + heard_j,
        "ue_energy_j": up_j + heard_j + spent_j,
        "uplink_transmit_energy_j": up_j,
        "downlink_transmit_energy_j": down_j,
        "receive_energy_j": heard_j,
        "compute_energy_j": spent_j,
    }
    names = recording.rounds[0]
    rounds: dict[str, list[Any]] = {name: [row[name] for row in recording.rounds] for name in names}
    rounds |= {name: column.tolist() for name, column in sums.items()}
    return Retimed(rounds, computations, plan, log.row, timing)


def _since_start(values: NDArray[Any], ends: list[int]) -> NDArray[Any]:
    """[rounds + 1] sums of all values up to the end of each round, 0 first; numpy adds a ``cumsum`` in order."""
    sums = np.cumsum(values)
    return np.concatenate(([sums.dtype.type(0)], sums[np.array(ends) - 1]))
