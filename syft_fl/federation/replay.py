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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from syft_fl.errors import RunError
from syft_fl.federation.recording import STATIC, Plan, PlannedRound, Recording, Sent
from syft_fl.federation.retiming import link_of
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.slowing import slowdown_of
from syft_fl.keys import Key
from syft_fl.radio import Link, Links, Medium, Ofdma, Tdma, Transfer
from syft_fl.radio.constant import ConstantLink
from syft_fl.radio.offers import never
from syft_fl.radio.shannon import ShannonLink

__all__ = ["Air", "Queues", "RealMedia", "Retimed", "air_of", "replay"]

_DIRECTIONS = ("downlink", "uplink")  # in the order of what happens at one instant
_KEPT = 1_000_000
"""Draws of fading that a recording keeps."""


class Landing(NamedTuple):
    """The end of a transmission; in order of (end, direction, ticket).

    Attributes:
        direction: 0 for the downlink, 1 for the uplink.
        row: its place in the plan's columns.
    """

    end_s: float
    direction: int
    ticket: int
    row: int
    offered_s: float
    start_s: float
    airtime_s: float
    attempts: int
    energy_j: float


class Computed(NamedTuple):
    """The end of a training; in order of (end, number), numbered as they began."""

    end_s: float
    number: int
    ue: str


@dataclass(frozen=True, slots=True)
class Played:
    """How a round went: what landed and what was computed, each in order, and when the round ended [s]."""

    landed: list[Landing]
    computed: list[Computed]
    end_s: float


class Air(Protocol):
    """Both directions' media, from round to round."""

    def play(self, round: PlannedRound, *, now_s: float, lasts_s: Mapping[str, float]) -> Played:
        """Let a round begin now.

        Args:
            lasts_s: how long each UE of the cohort computes [s].

        Raises:
            TransportError: a link never carries a frame.
        """
        ...


@dataclass(frozen=True, slots=True)
class Retimed:
    """The tables of a re-timed run, as columns: those that running it anew gives."""

    rounds: Mapping[str, list[Any]]
    transfers: Mapping[str, list[Any]]
    computations: Mapping[str, list[Any]]

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
    air = air_of(scenario, gains=recording.gains) if air is None else air
    played, samples, now_s = [], [], 0.0
    for round in plan.rounds:
        charges = round.samples if charged is None else {ue: charged[ue] for ue in round.uploads}
        played.append(air.play(round, now_s=now_s, lasts_s=_lasts_s(scenario, round, charges)))
        samples.append([charges[done.ue] for done in played[-1].computed])
        now_s = played[-1].end_s
    return _tables(recording, scenario, plan, played, samples)


def _lasts_s(scenario: Scenario, round: PlannedRound, charges: Mapping[str, float]) -> dict[str, float]:
    """How long each UE of a round computes [s]."""
    nominal_s = {samples: scenario.compute.seconds(samples) for samples in set(charges.values())}
    return {
        ue: slowdown_of(scenario, ue, training=training) * nominal_s[charges[ue]]
        for ue, training in round.trainings.items()
    }


def air_of(scenario: Scenario, *, gains: dict[tuple[str, str, int], float] | None = None) -> Air:
    """The quickest media of a scenario that are right.

    Args:
        gains: fading that was drawn before, and is filled.
    """
    links = {direction: link_of(scenario, direction) for direction in _DIRECTIONS}
    accesses = (scenario.downlink.access, scenario.uplink.access)
    split = all(type(access) in (Tdma, Ofdma) for access in accesses)
    if split and all(link.steady_until_s(time_s=0.0) == math.inf for link in links.values()):
        return Queues(scenario, links, {} if gains is None else gains)
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

    def play(self, round: PlannedRound, *, now_s: float, lasts_s: Mapping[str, float]) -> Played:
        for sent in round.downloads:
            self._offer(0, sent, now_s, round.number)
        computing: list[Computed] = []
        landed: list[Landing] = []
        computed: list[Computed] = []
        began = 0
        while True:
            air_s = min(medium.next_event_s() for medium in self._media)
            ready_s = computing[0].end_s if computing else math.inf
            if air_s == ready_s == math.inf:
                return Played(landed, computed, now_s)
            if ready_s < air_s:
                done = heapq.heappop(computing)
                now_s = done.end_s
                computed.append(done)
                self._offer(1, round.uploads[done.ue], now_s, round.number)
                continue
            now_s = max(now_s, air_s)
            for landing, sent in self._arrived(air_s):
                landed.append(landing)
                if landing.direction == 1:
                    continue
                for ue in sent.ues:
                    if ue in lasts_s:
                        heapq.heappush(computing, Computed(now_s + lasts_s[ue], began, ue))
                        began += 1

    def _offer(self, direction: int, sent: Sent, now_s: float, block: int) -> None:
        ticket = self._media[direction].offer(sent.ues, sent.bits, now_s=now_s, block=block)
        self._sent[direction, ticket] = sent

    def _arrived(self, to_s: float) -> list[tuple[Landing, Sent]]:
        ended: list[tuple[int, Transfer]] = []
        for direction, medium in enumerate(self._media):
            ended += [(direction, transfer) for transfer in medium.advance(to_s)]
        ended.sort(key=lambda item: item[1].end_s)
        arrived = []
        for direction, transfer in ended:
            sent = self._sent.pop((direction, transfer.ticket))
            if transfer.lost:
                raise RunError(
                    f"{', '.join(transfer.lost)} lost a frame of {_DIRECTIONS[direction]}.access: what is lost changes "
                    "what is learnt; run it anew"
                )
            landing = Landing(
                transfer.end_s,
                direction,
                transfer.ticket,
                sent.row,
                transfer.offered_s,
                transfer.start_s,
                transfer.airtime_s,
                transfer.attempts,
                transfer.energy_j,
            )
            arrived.append((landing, sent))
        return arrived


class Queues:
    """Bands that are split for good, over links whose rates don't change within a round.

    Args:
        links: of both directions.
        gains: fading that was drawn before, by direction, UE and block; filled.
    """

    def __init__(
        self, scenario: Scenario, links: Mapping[str, Link], gains: dict[tuple[str, str, int], float]
    ) -> None:
        users = scenario.population.chosen
        self._down = _Queue(scenario.downlink.access, links["downlink"], users, "downlink", gains)
        self._up = _Queue(scenario.uplink.access, links["uplink"], users, "uplink", gains)

    def play(self, round: PlannedRound, *, now_s: float, lasts_s: Mapping[str, float]) -> Played:
        block, uploads = round.number, round.uploads
        down = [self._down.carry(sent, now_s, block, 0) for sent in round.downloads]
        # Who has its model first begins first; a frame's UEs in its order.
        ues = {sent.row: sent.ues for sent in round.downloads}
        told = [(landing.end_s, ue) for landing in sorted(down) for ue in ues[landing.row] if ue in lasts_s]
        computed = sorted(
            Computed(began_s + lasts_s[ue], number, ue) for number, (began_s, ue) in enumerate(told)
        )
        up = [self._up.carry(uploads[done.ue], done.end_s, block, 1) for done in computed]
        landed = sorted(down + up)
        return Played(landed, computed, landed[-1].end_s)


class _Queue:
    """One direction: who is offered first goes first, in the subchannel that is free first."""

    def __init__(
        self,
        access: Any,
        link: Link,
        users: int,
        direction: str,
        gains: dict[tuple[str, str, int], float],
    ) -> None:
        subchannels = 1 if isinstance(access, Tdma) else access.subchannels or users
        self._share = 1.0 / subchannels
        self._free_s = [0.0] * subchannels
        self._latency_s = link.latency_s
        self._link = link
        self._rate_bps = _rates(link, self._share, direction, gains)
        # Whether one power is all UEs' in all blocks.
        self._one_power = type(link) in (ConstantLink, ShannonLink)
        self._power_w = 0.0
        if self._one_power:
            self._power_w = link.transmit_power_w("ue0", share=self._share, block=0, time_s=0.0)
        self._tickets = 0

    def carry(self, sent: Sent, offered_s: float, block: int, direction: int) -> Landing:
        """The end of what is offered now, after all that was offered before.

        Raises:
            TransportError: a rate is 0 bit/s.
        """
        rate_of, ues = self._rate_bps, sent.ues
        rate_bps = rate_of(ues[0], block) if len(ues) == 1 else min([rate_of(ue, block) for ue in ues])
        if rate_bps <= 0:
            raise never(min((rate_of(ue, block), ue) for ue in ues)[1], offered_s)
        free_s = self._free_s[0]
        start_s = free_s if free_s > offered_s else offered_s
        airtime_s = sent.bits / rate_bps
        off_air_s = start_s + airtime_s
        heapq.heapreplace(self._free_s, off_air_s)
        power_w = self._power_w if self._one_power else self._greatest_power_w(ues, block, start_s)
        ticket = self._tickets
        self._tickets += 1
        return Landing(
            off_air_s + self._latency_s,
            direction,
            ticket,
            sent.row,
            offered_s,
            start_s,
            airtime_s,
            1,
            power_w * airtime_s,
        )

    def _greatest_power_w(self, ues: Sequence[str], block: int, time_s: float) -> float:
        asked = {"share": self._share, "block": block, "time_s": time_s}
        return max(self._link.transmit_power_w(ue, **asked) for ue in ues)  # type: ignore[arg-type]


def _rates(
    link: Link, share: float, direction: str, gains: dict[tuple[str, str, int], float]
) -> Callable[[str, int], float]:
    """A UE's rate [bit/s] in a block, over a link whose rates change with nothing else."""
    if type(link) is ConstantLink:
        rate_bps = link.rate_bps("ue0", share=share, block=0, time_s=0.0)
        return lambda ue, block: rate_bps
    if type(link) is not ShannonLink:
        return lambda ue, block: link.rate_bps(ue, share=share, block=block, time_s=0.0)
    return _shannon_rates(link, share, direction, gains)


def _shannon_rates(
    link: ShannonLink, share: float, direction: str, gains: dict[tuple[str, str, int], float]
) -> Callable[[str, int], float]:
    """What :meth:`ShannonLink.rate_bps` gives, in its order of operations, with all that can be asked once."""
    power_w = link.transmit_power_w("ue0", share=share, block=0, time_s=0.0)
    noise_w = link.noise_w("ue0", share=share, block=0, time_s=0.0)
    width_hz, log, log_2 = share * link.bandwidth_hz, math.log1p, math.log(2.0)
    means: dict[str, float] = {}
    fades = link.fades

    def rate_bps(ue: str, block: int) -> float:
        mean = means.get(ue)
        if mean is None:
            mean = means[ue] = link.mean_gain(ue, time_s=0.0)
        fading = 1.0
        if fades:
            asked = direction, ue, block
            known = gains.get(asked)
            if known is None:
                known = link.fading_gain(ue, block=block, time_s=0.0)
                if len(gains) < _KEPT:
                    gains[asked] = known
            fading = known
        return width_hz * log(power_w * (mean * fading) / noise_w) / log_2

    return rate_bps


# The tables.


def _tables(
    recording: Recording,
    scenario: Scenario,
    plan: Plan,
    played: Sequence[Played],
    samples: Sequence[Sequence[float]],
) -> Retimed:
    landed = [landing for round in played for landing in round.landed]
    done = [one for round in played for one in round.computed]
    of_samples = [count for round in samples for count in round]
    energy_j = {count: scenario.compute.energy_j(count) for count in set(of_samples)}
    columns = list(zip(*landed, strict=True))
    end_s, _, _, rows, offered_s, start_s, airtime_s, attempts, sent_j = map(list, columns)
    received_j = _received_j(scenario, plan, landed)
    static = {name: [plan.columns[name][row] for row in rows] for name in STATIC}
    transfers = {
        **static,
        "offered_s": offered_s,
        "start_s": start_s,
        "end_s": end_s,
        "airtime_s": airtime_s,
        "attempts": attempts,
        "energy_j": sent_j,
        "receive_energy_j": received_j,
        "lost": [()] * len(landed),
        "missing_bits": [0] * len(landed),
    }
    computations = {
        "round": [number for number, round in enumerate(played, start=1) for _ in round.computed],
        "ue": [one.ue for one in done],
        "samples": of_samples,
        "end_s": [one.end_s for one in done],
        "energy_j": [energy_j[count] for count in of_samples],
    }
    spent = _Spent()
    found = [spent.row(0.0)]
    received = iter(received_j)
    computed_j = iter(computations["energy_j"])
    for round in played:
        spent.go_on(plan, round, received, computed_j)
        found.append(spent.row(round.end_s))
    rounds = {name: [row[name] for row in recording.rounds] for name in recording.rounds[0]}
    return Retimed(
        rounds | {name: [row[name] for row in found] for name in found[0]}, transfers, computations
    )


def _received_j(scenario: Scenario, plan: Plan, landed: Iterable[Landing]) -> list[float]:
    """What the UEs of each transmission spent on listening [J]."""
    power_w, ues = scenario.downlink.receive_power_w, plan.columns["ues"]
    return [
        0.0 if landing.direction == 1 else power_w * landing.airtime_s * len(ues[landing.row])
        for landing in landed
    ]


class _Spent:
    """Bits and energy [J] since the start, added up in the order in which things ended."""

    def __init__(self) -> None:
        self._bits = [0, 0]
        self._sent_j = [0.0, 0.0]
        self._all_sent_j = 0.0
        self._received_j = 0.0
        self._computed_j = 0.0

    def go_on(
        self, plan: Plan, round: Played, received_j: Iterator[float], computed_j: Iterator[float]
    ) -> None:
        """Add a round."""
        bits = plan.columns["bits"]
        for landing in round.landed:
            self._bits[landing.direction] += bits[landing.row]
            self._sent_j[landing.direction] += landing.energy_j
            self._all_sent_j += landing.energy_j
            self._received_j += next(received_j)
        for _ in round.computed:
            self._computed_j += next(computed_j)

    def row(self, now_s: float) -> dict[str, Any]:
        """What a round's row says of it."""
        down_j, up_j = self._sent_j
        return {
            "latency_s": now_s,
            "uplink_bits": self._bits[1],
            "downlink_bits": self._bits[0],
            "energy_j": self._all_sent_j + self._computed_j + self._received_j,
            "ue_energy_j": up_j + self._received_j + self._computed_j,
            "uplink_transmit_energy_j": up_j,
            "downlink_transmit_energy_j": down_j,
            "receive_energy_j": self._received_j,
            "compute_energy_j": self._computed_j,
        }
