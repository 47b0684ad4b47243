r"""What other cells' signals add to the noise.

==============  ========================================================================================
``kind``        density of interference
==============  ========================================================================================
``none``        0
``level``       given, everywhere and always
``neighbours``  of rings of hexagonal cells around: their UEs (uplink) or base stations (downlink)
==============  ========================================================================================

Whatever interferes has the whole band, with even density, and is noise to the receiver. It is a function of key, UE
and block, never of how often or in which order it is asked for: so runs of different codecs meet the same.

Left out: cancelling, coordination between cells, neighbours that answer to what our cell does, UEs that belong to the
strongest site and not to the nearest.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, Protocol, runtime_checkable

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.fading import FadingModel
from syft_fl.radio.paths import Path
from syft_fl.radio.placement import Hexagon, Place
from syft_fl.radio.power_control import PowerControl
from syft_fl.radio.steps import next_step_s, step_number
from syft_fl.schema import Registry, require, schema
from syft_fl.units import dbm_to_watt

__all__ = [
    "INTERFERENCES",
    "Interference",
    "InterferenceLevel",
    "InterferenceModel",
    "Neighbours",
    "NoInterference",
    "Victim",
    "sites_m",
]

INTERFERENCES = Registry("interference model", "open")
"""Interference models by kind; ``INTERFERENCES(MyInterference)`` adds one."""


_KEPT_BLOCKS = 1024


@dataclass(frozen=True, slots=True)
class Victim:
    """The link that is disturbed.

    Attributes:
        cell: its cell.
        key: the stream of the cell, from which the places of its UEs are drawn.
        direction: ``"uplink"`` (the base station receives) or ``"downlink"`` (UEs do).
        path: how much of a signal arrives on average.
        fading: what echoes do to it.
        power_control: how UEs set their power.
        power_w: transmit power [W]; of UEs the most.
        width_hz: the band that is sent in [Hz].
        noise_w: thermal noise [W] in that band.
    """

    cell: Cell
    key: Key
    direction: str
    path: Path
    fading: FadingModel
    power_control: PowerControl
    power_w: float
    width_hz: float
    noise_w: float


class Interference(Protocol):
    """The interference that a link suffers."""

    def density_w_per_hz(self, ue: str, *, block: int, time_s: float) -> float:
        """Density [W/Hz] where the signal from or for a UE is received."""
        ...

    def steady_until_s(self, *, time_s: float) -> float:
        """First time [s] after ``time_s`` at which it may change while the cell and its fading don't."""
        ...


@runtime_checkable
class InterferenceModel(Protocol):
    """The settings of interference: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def open(self, victim: Victim) -> Interference:
        """The interference of a link.

        Raises:
            ConfigError: the settings don't suit its cell or path.
        """
        ...


@INTERFERENCES
@schema
class NoInterference:
    """A cell alone in the world."""

    kind: ClassVar[str] = "none"

    def open(self, victim: Victim) -> Interference:
        """The interference; nothing matters to it."""
        return _Even(0.0)


@INTERFERENCES
@schema
class InterferenceLevel:
    """A given density, everywhere and always.

    Attributes:
        dbm_per_hz: the density, -300 … 300 dBm/Hz; thermal noise is -174.
    """

    kind: ClassVar[str] = "level"

    dbm_per_hz: float

    def __post_init__(self) -> None:
        require(
            -300 <= self.dbm_per_hz <= 300,
            "dbm_per_hz",
            self.dbm_per_hz,
            "in -300 … 300",
            "for no interference use kind = 'none'",
        )

    def open(self, victim: Victim) -> Interference:
        """The interference; the link does not matter to it."""
        return _Even(dbm_to_watt(self.dbm_per_hz))


@dataclass(frozen=True, slots=True)
class _Even:
    """One density for all."""

    density: float

    def density_w_per_hz(self, ue: str, *, block: int, time_s: float) -> float:
        return self.density

    def steady_until_s(self, *, time_s: float) -> float:
        return math.inf


@INTERFERENCES
@schema
class Neighbours:
    r"""Hexagonal cells in rings around ours, on a lattice; 6 in the first ring, 12 in the second.

    In each block a neighbour cell is on the air with the probability ``load``; of :math:`n` cells then interferes

    .. math:: I_0 = \frac{1}{B} \sum_{i \le n} a_i\,p_i\,g_i\,h_i, \quad P(a_i = 1) = \text{load}

    In the uplink :math:`g_i` is the path from one of its UEs to our base station. That UE is drawn anew for each block,
    uniformly over its hexagon (but for the hole of the cell's ``min_distance_m``). It obeys the link's power control,
    over the path to its own base station: so :math:`p_i` is all power, or what that leaves of it. In the downlink
    :math:`g_i` is the path from its base station, at full power, to our UE.

    Paths are the link's own (a line of sight and a shadow of their own included), and so is the fading :math:`h_i`.

    Attributes:
        rings: 1 … 5; with :math:`r` rings there are :math:`3 r (r + 1)` cells.
        inter_site_m: distance between neighbouring base stations [m], more than twice the cell's ``min_distance_m``;
            None: :math:`\sqrt 3` times its ``radius_m``, for hexagons whose corners lie at that radius.
        load: probability that a cell is on the air in a block, 0 … 1.
        power_dbm: transmit power of a neighbour's UE (at most) or base station, -300 … 300 dBm; None: the link's.
        block: ``"round"``: drawn per round, as the caller numbers them; ``"time"``: per stretch of simulated time.
        block_s: how long such a stretch is [s], used with ``block = "time"``: what a scheduler leaves to one UE.

    Source: the hexagonal grid of system-level simulations, TR 36.814, table A.2.1.1-2 (19 sites: two rings). Differs
    from it in: one sector a site, no wrapping around (the cell is the middle one), shadows of different sites
    uncorrelated; UEs of full power stand in for schedulers.

    Example:
        >>> from syft_fl.radio import Wireless
        >>> link = Wireless(interference=Neighbours(load=0.5)).link(Cell(), Key(0), "uplink")
        >>> noise_w = link.noise_w("ue0", share=1.0, block=1, time_s=0.0)
    """

    kind: ClassVar[str] = "neighbours"

    rings: int = 1
    inter_site_m: float | None = None
    load: float = 1.0
    power_dbm: float | None = None
    block: Literal["round", "time"] = "round"
    block_s: float = 0.05

    def __post_init__(self) -> None:
        require(1 <= self.rings <= 5, "rings", self.rings, "in 1 … 5", "for none use kind = 'none'")
        distance_m = self.inter_site_m
        require(
            distance_m is None or 0 < distance_m < math.inf,
            "inter_site_m",
            distance_m,
            "above 0 and finite",
            "to take it from the cell's radius leave it out",
        )
        require(0 <= self.load <= 1, "load", self.load, "in 0 … 1", "it is a probability")
        level = self.power_dbm
        require(
            level is None or -300 <= level <= 300,
            "power_dbm",
            level,
            "in -300 … 300",
            "for the link's own power leave it out",
        )
        require(0 < self.block_s < math.inf, "block_s", self.block_s, "above 0 and finite")

    def open(self, victim: Victim) -> Interference:
        """The interference of a link.

        Raises:
            ConfigError: the neighbours are too near for the cell, or too far for the path model.
        """
        cell = victim.cell
        apart_m = math.sqrt(3.0) * cell.radius_m if self.inter_site_m is None else self.inter_site_m
        require(
            apart_m > 2.0 * cell.min_distance_m,
            "interference.inter_site_m",
            apart_m,
            f"more than twice the cell's min_distance_m = {cell.min_distance_m}",
        )
        opened = _UesAround if victim.direction == "uplink" else _StationsAround
        return opened(self, victim, apart_m)


def sites_m(rings: int, inter_site_m: float) -> list[tuple[float, float]]:
    r"""Coordinates [m] of the base stations around the one at (0, 0), ring by ring, anticlockwise.

    The first lies 30 degrees north of east: there a hexagon with a corner in the east has an edge.

    Args:
        rings: 1, 2, …
        inter_site_m: distance between neighbours [m].

    Example:
        >>> [(round(x_m), round(y_m)) for x_m, y_m in sites_m(1, 100.0)]
        [(87, 50), (0, 100), (-87, 50), (-87, -50), (0, -100), (87, -50)]
    """
    bearings = [math.radians(30 + 60 * side) for side in range(6)]
    steps_m = [(inter_site_m * math.cos(b), inter_site_m * math.sin(b)) for b in bearings]
    return [
        # Out to a corner of the ring, and from there along its side.
        (
            ring * steps_m[side][0] + along * steps_m[(side + 2) % 6][0],
            ring * steps_m[side][1] + along * steps_m[(side + 2) % 6][1],
        )
        for ring in range(1, rings + 1)
        for side in range(6)
        for along in range(ring)
    ]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A placement: UEs of a cell, seen from a base station that stands elsewhere.

    Attributes:
        cell: whose UEs.
        key: the stream that their places are drawn from there, whatever this one is asked with.
        x_m, y_m: the cell's base station, seen from the other one [m].
    """

    kind: ClassVar[str] = "seen"

    cell: Cell
    key: Key
    x_m: float
    y_m: float

    @property
    def step_s(self) -> float:
        return self.cell.placement.step_s

    def check(self, cell: Cell) -> None:
        """What was placed in its own cell may be anywhere here."""

    def place(self, ue: str, key: Key, *, cell: Cell, time_s: float) -> Place:
        if self.cell.moves:
            x_m, y_m = self.cell.position_m(ue, self.key, time_s)
        else:
            x_m, y_m = _still_m(self.cell, self.key, ue)
        return Place.at(self.x_m + x_m, self.y_m + y_m)


@lru_cache(maxsize=1024)
def _still_m(cell: Cell, key: Key, ue: str) -> tuple[float, float]:
    """Where a UE that stands still is [m]; kept, since path models ask several times."""
    return cell.position_m(ue, key)


@dataclass(frozen=True, slots=True)
class _Site:
    """A neighbour cell.

    Attributes:
        name: ``"site1"``, ``"site2"``, …
        key: the stream of what is drawn for it.
        across: a cell for the path between the two: around our base station with its UEs in it (uplink), or around its
            base station with ours (downlink).
    """

    name: str
    key: Key
    across: Cell


@dataclass(frozen=True, slots=True)
class _Home:
    """What a neighbour's UE knows of the channel to its own base station; there is no interference in its noise."""

    width_hz: float
    noise_w: float
    path: Path
    ue: str
    cell: Cell
    key: Key
    fading_gain: float = 1.0

    @property
    def mean_gain(self) -> float:
        return self.path.gain(self.ue, cell=self.cell, key=self.key)


class _Around(abc.ABC):
    """Neighbour cells around a link's own."""

    def __init__(self, model: Neighbours, victim: Victim, inter_site_m: float) -> None:
        self._model = model
        self._victim = victim
        self._stream = victim.key / victim.direction / "neighbours"
        self._fading = victim.fading.open(self._stream / "fading")
        self._power_w = victim.power_w if model.power_dbm is None else dbm_to_watt(model.power_dbm)
        # A neighbour's cell; its corners are where three of them meet.
        self._home = Cell(
            radius_m=inter_site_m / math.sqrt(3.0),
            min_distance_m=victim.cell.min_distance_m,
            placement=Hexagon(),
        )
        self._sites = [
            self._site(f"site{number}", *place_m)
            for number, place_m in enumerate(sites_m(model.rings, inter_site_m), start=1)
        ]
        self._check(inter_site_m)
        # The last question and its answer: rate and power ask for the same.
        self._answered: tuple[tuple[str, int, float], float] = (("", 0, math.nan), math.nan)

    def density_w_per_hz(self, ue: str, *, block: int, time_s: float) -> float:
        asked = (ue, block, time_s)
        if self._answered[0] != asked:
            received_w = (
                power_w * self._fading.gain(signal, block=block, time_s=time_s)
                for signal, power_w in self._signals(ue, self._number(block, time_s), time_s)
            )
            self._answered = (asked, sum(received_w, 0.0) / self._victim.width_hz)
        return self._answered[1]

    def steady_until_s(self, *, time_s: float) -> float:
        return next_step_s(time_s, self._model.block_s) if self._model.block == "time" else math.inf

    @abc.abstractmethod
    def _seen(self, key: Key, x_m: float, y_m: float) -> _Seen:
        """The placement of the path between a site and ours."""

    @abc.abstractmethod
    def _signals(self, ue: str, number: int, time_s: float) -> tuple[tuple[str, float], ...]:
        """Name and mean received power [W] of what is on the air in a block."""

    @abc.abstractmethod
    def _farthest_m(self, site_m: float) -> float:
        """From how far [m] a signal may come, of a site at a distance [m]."""

    def _site(self, name: str, x_m: float, y_m: float) -> _Site:
        key = self._victim.key / "neighbours" / name
        across = Cell(
            radius_m=self._farthest_m(math.hypot(x_m, y_m)),
            min_distance_m=self._victim.cell.min_distance_m,
            placement=self._seen(key, x_m, y_m),
        )
        return _Site(name, key, across)

    def _check(self, inter_site_m: float) -> None:
        farthest = max((site.across for site in self._sites), key=lambda cell: cell.radius_m)
        try:
            self._victim.path.check(farthest)
        except ConfigError as error:
            raise ConfigError(
                f"interference.inter_site_m = {inter_site_m!r} with rings = {self._model.rings} brings signals from "
                f"{farthest.radius_m:.6g} m away: {error}"
            ) from None

    def _number(self, block: int, time_s: float) -> int:
        return step_number(time_s, self._model.block_s) if self._model.block == "time" else block

    def _is_on_air(self, site: _Site, number: int) -> bool:
        return (self._stream / "activity" / site.name / number).uniform() < self._model.load


class _UesAround(_Around):
    """The uplink: UEs of other cells at our base station, the same for all of ours."""

    def __init__(self, model: Neighbours, victim: Victim, inter_site_m: float) -> None:
        super().__init__(model, victim, inter_site_m)
        # Of the latest blocks: what is on the air.
        self._kept: dict[int, tuple[tuple[str, float], ...]] = {}

    def _seen(self, key: Key, x_m: float, y_m: float) -> _Seen:
        return _Seen(self._home, key, x_m, y_m)

    def _farthest_m(self, site_m: float) -> float:
        return site_m + self._home.radius_m

    def _signals(self, ue: str, number: int, time_s: float) -> tuple[tuple[str, float], ...]:
        if number not in self._kept:
            if len(self._kept) >= _KEPT_BLOCKS:
                self._kept.clear()
            on_air = (site for site in self._sites if self._is_on_air(site, number))
            self._kept[number] = tuple(self._signal(site, f"{site.name}/{number}") for site in on_air)
        return self._kept[number]

    def _signal(self, site: _Site, name: str) -> tuple[str, float]:
        victim = self._victim
        channel = _Home(victim.width_hz, victim.noise_w, victim.path, name, self._home, site.key)
        power_w = victim.power_control.power_w(self._power_w, channel)
        return name, power_w * victim.path.gain(name, cell=site.across, key=victim.key)


class _StationsAround(_Around):
    """The downlink: base stations of other cells, at one of our UEs."""

    def __init__(self, model: Neighbours, victim: Victim, inter_site_m: float) -> None:
        super().__init__(model, victim, inter_site_m)
        # Of each UE: until when [s] it stays where it is, and what it receives of each site [W].
        self._kept: dict[str, tuple[float, list[float]]] = {}

    def _seen(self, key: Key, x_m: float, y_m: float) -> _Seen:
        return _Seen(self._victim.cell, self._victim.key, -x_m, -y_m)

    def _farthest_m(self, site_m: float) -> float:
        return site_m + self._victim.cell.radius_m

    def _signals(self, ue: str, number: int, time_s: float) -> tuple[tuple[str, float], ...]:
        return tuple(
            (f"{site.name}/{ue}", power_w)
            for site, power_w in zip(self._sites, self._received_w(ue, time_s), strict=True)
            if self._is_on_air(site, number)
        )

    def _received_w(self, ue: str, time_s: float) -> list[float]:
        """[sites] mean power [W] at a UE; kept while it stays where it is."""
        until_s = self._victim.cell.steady_until_s(time_s=time_s)
        kept = self._kept.get(ue)
        if kept is None or kept[0] != until_s:
            path = self._victim.path
            gains = (path.gain(ue, cell=site.across, key=site.key, time_s=time_s) for site in self._sites)
            kept = (until_s, [self._power_w * gain for gain in gains])
            self._kept[ue] = kept
        return kept[1]
