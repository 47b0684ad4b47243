"""What a scenario's radio offers, before anything is learnt: where the UEs are, their SNR, their rates, their losses.

Every UE is looked at in 32 blocks, alone on the air: with the part of the band that the access scheme gives to one
transmission, in the very draws of places, shadowing and fading that a run of the scenario has. Left out: waiting for
others and sharing with them; that is in the expected phases (:mod:`~syft_fl.federation.balance`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.federation import Scenario, ue_name
from syft_fl.keys import Key
from syft_fl.radio import Access, Cell, ChannelLink, Hexagon, Link, Medium
from syft_fl.radio.sending import retransmission_of
from syft_fl.schema import require
from syft_fl.units import linear_to_db

__all__ = ["BLOCKS", "MOST_UES", "QUANTILES", "CellSurvey", "DirectionSurvey", "airtimes_s", "survey_cell"]

BLOCKS = 32
"""Fading blocks in which each UE is looked at."""

MOST_UES = 200
"""UEs that are looked at; of more the first ones, who are as good as any."""

QUANTILES = (0.05, 0.5, 0.95)

_CHANGES = 20
"""Changes of the fading between two blocks where it follows time: apart by a period of the largest Doppler shift."""
_TRACK_STEPS = 300
"""Steps of a moving UE's track."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DirectionSurvey:
    """One direction of a cell's radio.

    Attributes:
        direction: ``"uplink"`` or ``"downlink"``.
        share: the part of the band (0 … 1] that one transmission has.
        snr: [ues, blocks] signal-to-noise ratio (linear) in that part; None: the link's rate follows from no channel.
        rates_bps: [ues, blocks] rate [bit/s].
        lost: [ues, blocks] whether a message did not arrive; None: nothing is ever lost, or none was tried.
    """

    direction: str
    share: float
    snr: Floats | None
    rates_bps: Floats
    lost: NDArray[np.bool_] | None

    @property
    def snr_db(self) -> tuple[float, ...] | None:
        """SNR [dB] that 5, 50 and 95 % of all UEs and blocks stay below; None: there is none."""
        return None if self.snr is None else tuple(map(linear_to_db, _quantiles(self.snr)))

    @property
    def rate_quantiles_bps(self) -> tuple[float, ...]:
        """Rate [bit/s] that 5, 50 and 95 % of all UEs and blocks stay below."""
        return _quantiles(self.rates_bps)


@dataclass(frozen=True, slots=True)
class CellSurvey:
    """A cell and both directions of its radio, as plain numbers.

    Attributes:
        ues: UEs of the scenario; all or the first :data:`MOST_UES` of them are looked at.
        radius_m: of the cell.
        hexagonal: whether its corners, and not its edge, lie at the radius.
        positions_m: [ues, 2] places at time 0, the base station being at (0, 0).
        tracks_m: [ues, times, 2] where UEs go from then on; None: they don't move.
        track_s: how long the tracks are [s].
        uplink, downlink: the radio.
    """

    ues: int
    radius_m: float
    hexagonal: bool
    positions_m: Floats
    tracks_m: Floats | None
    track_s: float
    uplink: DirectionSurvey
    downlink: DirectionSurvey

    @property
    def who(self) -> str:
        """The UEs that are looked at, in words."""
        seen = len(self.positions_m)
        if seen < self.ues:
            return f"{seen} of {self.ues} UEs"
        return f"{seen} UE{'s' if seen > 1 else ''}"

    def drawn(self, name: str) -> dict[str, Any]:
        """What :func:`~syft_fl.plots.map_and_rates` takes, under a title: its arguments by name.

        UEs are coloured by the median of their uplink's SNR, or rate where there is no SNR.
        """
        up = self.uplink
        if up.snr is None:
            colours, label = np.median(up.rates_bps, axis=1) / 1e6, "Median rate, uplink [Mbit/s]"
        else:
            colours = np.array([linear_to_db(float(one)) for one in np.median(up.snr, axis=1)])
            label = "Median SNR, uplink [dB]"
        moving = f", and where they go in {self.track_s:g} s" if self.tracks_m is not None else ""
        return {
            "positions_m": self.positions_m,
            "colours": colours,
            "rates_bps": {way.direction: way.rates_bps for way in (up, self.downlink)},
            "radius_m": self.radius_m,
            "hexagonal": self.hexagonal,
            "tracks_m": self.tracks_m,
            "colour_label": label,
            "title": f"{name}: {self.who}{moving}",
        }


def survey_cell(scenario: Scenario, *, bits: int | None = None, blocks: int = BLOCKS) -> CellSurvey:
    """Look at every UE of a scenario (of very many: at the first ones) in both directions.

    Args:
        scenario: the scenario; nothing is trained.
        bits: of the message whose loss is tried, once for each UE and block, where something may be lost; None: none.
        blocks: fading blocks in which each UE is looked at, at least 1.

    Raises:
        ConfigError: the cell does not suit the radio.
        TransportError: a rate that never carries the message.
    """
    require(blocks >= 1, "blocks", blocks, "at least 1")
    cell, key = scenario.cell, Key(scenario.seed) / "radio"
    ues = [ue_name(index) for index in range(min(scenario.population.ues, MOST_UES))]
    step_s = cell.placement.step_s if cell.moves else 0.0
    steps = range(_TRACK_STEPS + 1) if cell.moves else range(1)
    tracks_m = np.array([[cell.position_m(ue, key, step * step_s) for step in steps] for ue in ues])
    return CellSurvey(
        ues=scenario.population.ues,
        radius_m=cell.radius_m,
        hexagonal=isinstance(getattr(cell.placement, "within", cell.placement), Hexagon),
        positions_m=tracks_m[:, 0],
        tracks_m=tracks_m if cell.moves else None,
        track_s=_TRACK_STEPS * step_s,
        uplink=_direction(scenario, "uplink", ues, bits=bits, blocks=blocks),
        downlink=_direction(scenario, "downlink", ues, bits=bits, blocks=blocks),
    )


def airtimes_s(rates_bps: Sequence[float], bits: int) -> tuple[float, ...]:
    """Time on the air [s] of a message at each of some rates, nothing being sent twice; infinity at 0 bit/s.

    Example:
        >>> airtimes_s([1e6, 0.0], 500_000)
        (0.5, inf)
    """
    return tuple(bits / rate_bps if rate_bps > 0 else math.inf for rate_bps in rates_bps)


def _direction(
    scenario: Scenario, direction: str, ues: Sequence[str], *, bits: int | None, blocks: int
) -> DirectionSurvey:
    settings = scenario.uplink if direction == "uplink" else scenario.downlink
    access, users = settings.access, scenario.population.chosen
    key = Key(scenario.seed) / "radio"
    link = settings.link.link(scenario.cell, key, direction)
    share = _share(access, link, users=users)
    times_s = list(_times_s(link, scenario.cell, blocks=blocks))

    def asked(question: Callable[[str, int, float], float | bool]) -> NDArray[Any]:
        """[ues, blocks] answers."""
        return np.array(
            [[question(ue, block, time_s) for block, time_s in enumerate(times_s, start=1)] for ue in ues]
        )

    snr = lost = None
    if isinstance(link, ChannelLink):
        channel = link
        snr = asked(lambda ue, block, time_s: channel.snr(ue, share=share, block=block, time_s=time_s))
    if bits is not None and retransmission_of(link) is not None:
        sent = bits
        lost = asked(
            lambda ue, block, time_s: _is_lost(
                access.open(link, users=users, key=key / direction / "access"),
                ue,
                sent,
                block=block,
                time_s=time_s,
            )
        )
    rates_bps = asked(lambda ue, block, time_s: link.rate_bps(ue, share=share, block=block, time_s=time_s))
    return DirectionSurvey(direction=direction, share=share, snr=snr, rates_bps=rates_bps, lost=lost)


def _times_s(link: Link, cell: Cell, *, blocks: int) -> Iterator[float]:
    """When each block is looked at [s]: where the radio changes with time, so far apart that it has changed."""
    time_s = 0.0
    for block in range(blocks):
        yield time_s
        if cell.moves:
            time_s = (block + 1) * cell.placement.step_s * _TRACK_STEPS / blocks
            continue
        for _ in range(_CHANGES if isinstance(link, ChannelLink) else 1):
            change_s = link.steady_until_s(time_s=time_s)
            time_s = change_s if change_s < math.inf else time_s


class _Overheard:
    """A link that remembers which part of the band it was asked about last."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.share = 1.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        self.share = share
        return self._link.rate_bps(ue, share=share, block=block, time_s=time_s)


def _share(access: Access, link: Link, *, users: int) -> float:
    """The part of the band that an access scheme gives to one transmission, nobody else being there."""
    overheard: Any = _Overheard(link)
    medium = access.open(overheard, users=users, key=Key(0))
    medium.offer([ue_name(0)], 1, now_s=0.0, block=1)
    medium.advance(medium.next_event_s())
    return float(overheard.share)


def _is_lost(medium: Medium, ue: str, bits: int, *, block: int, time_s: float) -> bool:
    medium.offer([ue], bits, now_s=time_s, block=block)
    while (event_s := medium.next_event_s()) < math.inf:
        for transfer in medium.advance(event_s):
            if transfer.lost:
                return True
    return False


def _quantiles(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, QUANTILES))
