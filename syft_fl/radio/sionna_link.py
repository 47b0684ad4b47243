r"""A link whose channels and losses are Sionna's: TR 38.901 path by path, NR's codes by their block error tables.

.. code-block:: toml

    [uplink.link]
    kind = "sionna"
    path = {kind = "uma", frequency_hz = 3.5e9}
    bandwidth_hz = 20e6
    bler_target = 0.1

It needs the extra ``radio``: ``pip install 'syft_fl[radio]'``.

Places, lines of sight and shadows are those of ``{kind = "wireless"}`` with the same path: runs over both are compared
in pairs. What is Sionna's:

- the channel is not one number but one for each resource block (:mod:`~syft_fl.radio.multipath`);
- the sender takes the highest row of the MCS table that loses at most ``bler_target`` of the packets over all of them,
  and packets are lost with what the tables say (:mod:`~syft_fl.radio.transport_blocks`).

A share of the band is spread over all of it, some of the resource blocks here and some there; each UE thus has the
same diversity. The sender knows the channel of the block it sends in.

Left out: interference that comes and goes with other cells' load, power control, several antennas, late reports,
CRCs and the whole bytes of block sizes in the rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.medium import LINKS, Link, Try
from syft_fl.radio.multipath import Multipath
from syft_fl.radio.nr import NrRate
from syft_fl.radio.paths import PATHS, Path, Tr38901, UMi
from syft_fl.radio.power import check_direction, power_in_share_w
from syft_fl.radio.retransmission import RETRANSMISSIONS, Harq, Retransmission
from syft_fl.radio.sionna_library import import_sionna
from syft_fl.radio.steps import next_step_s, step_number
from syft_fl.radio.transport_blocks import McsTable, transport_blocks
from syft_fl.schema import require, schema
from syft_fl.units import dbm_to_watt, noise_power_w

__all__ = ["Sionna", "SionnaLink"]

Floats = NDArray[np.float64]


@LINKS
@schema
class Sionna:
    """TR 38.901 and 5G NR as Sionna has them; the defaults are a handset's uplink in a street.

    Attributes:
        power_dbm: transmit power, -300 … 300 dBm; 23 dBm is a handset's. A base station's is split with the band.
        bandwidth_hz: the channel's, guards included [Hz]; one of NR's.
        numerology: 0 … 3: subcarriers of 15, 30, 60, 120 kHz.
        frequency_range: ``"FR1"`` (below 7.125 GHz) or ``"FR2"`` (millimetre waves).
        overhead: part of the symbols for control and pilots, 0 … 1; None: the standard's.
        noise_dbm_per_hz: density of thermal noise, -300 … 300 dBm/Hz.
        noise_figure_db: what the receiver adds to it, 0 … 100 dB.
        interference_dbm_per_hz: density of other cells' signals, -300 … 300 dBm/Hz; None: no interference.
        latency_s: time from the last bit on the air to its arrival [s].
        path: the scenario: ``umi``, ``uma``, ``rma``, ``inh`` or ``inf``.
        block: ``"round"``: one channel per UE and round; ``"time"``: one per UE and coherence time.
        coherence_s: coherence time [s], used with ``block = "time"``; 0.05 s is a walker's at 2 GHz.
        mcs_table: ``"64qam"`` or ``"256qam"``: the highest modulation.
        bler_target: probability of losing a packet that the sender accepts, above 0 and below 1.
        retransmission: what happens to lost packets; each is one transport block of its ``mtu_bytes``.
    """

    kind: ClassVar[str] = "sionna"

    power_dbm: float = 23.0
    bandwidth_hz: float = 20e6
    numerology: int = 1
    frequency_range: Literal["FR1", "FR2"] = "FR1"
    overhead: float | None = None
    noise_dbm_per_hz: float = -174.0
    noise_figure_db: float = 0.0
    interference_dbm_per_hz: float | None = None
    latency_s: float = 0.0
    path: Annotated[Path, PATHS] = UMi()
    block: Literal["round", "time"] = "round"
    coherence_s: float = 0.05
    mcs_table: McsTable = "64qam"
    bler_target: float = 0.1
    retransmission: Annotated[Retransmission, RETRANSMISSIONS] = Harq()

    def __post_init__(self) -> None:
        for name in ("power_dbm", "noise_dbm_per_hz", "interference_dbm_per_hz"):
            level = getattr(self, name)
            require(
                level is None or -300 <= level <= 300, name, level, "in -300 … 300", "it is a level in dB"
            )
        noise_figure_db = self.noise_figure_db
        require(0 <= noise_figure_db <= 100, "noise_figure_db", noise_figure_db, "in 0 … 100", "it is in dB")
        require(0 <= self.latency_s < math.inf, "latency_s", self.latency_s, "at least 0 and finite")
        require(0 < self.coherence_s < math.inf, "coherence_s", self.coherence_s, "above 0 and finite")
        require(0 < self.bler_target < 1, "bler_target", self.bler_target, "above 0 and below 1")
        require(
            isinstance(self.path, Tr38901),
            "path",
            getattr(self.path, "kind", self.path),
            "'umi', 'uma', 'rma', 'inh' or 'inf'",
            "other path models go with kind = 'wireless'",
        )
        self.grid.check(self.bandwidth_hz)

    @property
    def grid(self) -> NrRate:
        """Resource blocks, slots and overhead."""
        return NrRate(
            numerology=self.numerology, frequency_range=self.frequency_range, overhead=self.overhead
        )

    def link(self, cell: Cell, key: Key, direction: str) -> Link:
        """The link of a cell; places, shadows and clusters are the same in both directions, phases and losses are not.

        Raises:
            ConfigError: the direction is neither ``"uplink"`` nor ``"downlink"``, the cell does not suit the path, or
                Sionna is not installed.
        """
        check_direction(direction)
        self.path.check(cell)
        import_sionna()
        return SionnaLink(self, cell, key, direction)


class _Known(NamedTuple):
    """[rows] effective SNR (linear), and the rate [bit/s] that it allows."""

    effective_snrs: Floats
    rate_bps: float


class SionnaLink:
    """One direction of a :class:`Sionna` radio."""

    def __init__(self, model: Sionna, cell: Cell, key: Key, direction: str) -> None:
        assert isinstance(model.path, Tr38901)
        grid, scheme = model.grid, model.retransmission
        self.latency_s = model.latency_s
        self.retransmission = scheme
        self._model = model
        self._path = model.path
        self._cell = cell
        self._key = key
        self._direction = direction
        self._power_w = dbm_to_watt(model.power_dbm)
        self._occupied_hz = grid.occupied_hz(model.bandwidth_hz)
        self._symbols_per_s = grid.symbols_per_s(model.bandwidth_hz, direction=direction)
        tones = grid.resource_blocks(model.bandwidth_hz)
        self._channel = Multipath(
            model.path,
            cell=cell,
            key=key,
            direction=direction,
            tones=tones,
            spacing_hz=self._occupied_hz / tones,
        )
        self._packets = transport_blocks(
            model.mcs_table, 8 * (scheme.mtu_bytes + scheme.header_bytes), target=model.bler_target
        )
        # Of each UE: until when [s] its place holds, its mean gain and whether it sees the base station.
        self._places: dict[str, tuple[float, float, bool]] = {}
        # Of each UE: the share, block and place that were asked for last; what is sent there.
        self._known: dict[str, tuple[tuple[float, int, float], _Known]] = {}

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return power_in_share_w(self._power_w, share=share, direction=self._direction)

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        """Rate [bit/s] of the row that the sender chooses, before losses."""
        return self._ask(ue, share=share, block=block, time_s=time_s).rate_bps

    def steady_until_s(self, *, time_s: float) -> float:
        fades_s = next_step_s(time_s, self._model.coherence_s) if self._model.block == "time" else math.inf
        return min(fades_s, self._cell.steady_until_s(time_s=time_s))

    def lost(self, ue: str, tried: Try) -> tuple[NDArray[np.bool_], Floats]:
        probability, snr = np.empty_like(tried.times_s), np.empty_like(tried.times_s)
        for alike in self._alike(tried):
            time_s, share = float(tried.times_s[alike.start]), float(tried.shares[alike.start])
            efficiency = float(tried.rates_bps[alike.start]) / (share * self._symbols_per_s)
            row, repeats = self._packets.row(efficiency)
            effective = self._ask(ue, share=share, block=tried.block, time_s=time_s).effective_snrs
            snr[alike] = repeats * effective[row]
            if self.retransmission.combines:
                snr[alike] += tried.combined_snr[alike]
            probability[alike] = self._packets.error(row, snr[alike])
        luck = self._key / self._direction / "losses" / ue / tried.block / tried.serial / tried.number
        draws = luck.numpy().random(int(tried.packets[-1]) + 1)[tried.packets]
        return draws < probability, snr

    def snr(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        r"""Signal-to-noise-and-interference ratio (linear), as a mean over the band."""
        return float(self._snrs(ue, share=share, block=block, time_s=time_s).mean())

    def mean_gain(self, ue: str, *, time_s: float) -> float:
        """Gain of path and shadow: that of a wireless link with the same path model."""
        return self._place(ue, time_s)[1]

    def fading_gain(self, ue: str, *, block: int, time_s: float) -> float:
        """Gain of the many paths, as a mean over the band."""
        return float(self._fading_gains(ue, block, time_s).mean())

    def noise_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        model, width_hz = self._model, share * self._occupied_hz
        noise_w = noise_power_w(
            width_hz, noise_dbm_per_hz=model.noise_dbm_per_hz, noise_figure_db=model.noise_figure_db
        )
        if model.interference_dbm_per_hz is not None:
            noise_w += dbm_to_watt(model.interference_dbm_per_hz) * width_hz
        return noise_w

    def _ask(self, ue: str, *, share: float, block: int, time_s: float) -> _Known:
        """What a medium asks for several times while it carries a message."""
        question = share, self._number(block, time_s), self._cell.steady_until_s(time_s=time_s)
        kept = self._known.get(ue)
        if kept is None or kept[0] != question:
            snrs = self._snrs(ue, share=share, block=block, time_s=time_s)
            effective = self._packets.effective_snrs(snrs)
            rate_bps = share * self._symbols_per_s * self._packets.efficiency(effective)
            kept = self._known[ue] = (question, _Known(effective, rate_bps))
        return kept[1]

    def _snrs(self, ue: str, *, share: float, block: int, time_s: float) -> Floats:
        """[tones] signal-to-noise ratio (linear) in each resource block."""
        power_w = self.transmit_power_w(ue, share=share, block=block, time_s=time_s)
        noise_w = self.noise_w(ue, share=share, block=block, time_s=time_s)
        mean = power_w * self.mean_gain(ue, time_s=time_s) / noise_w
        return np.asarray(self._fading_gains(ue, block, time_s) * mean)

    def _fading_gains(self, ue: str, block: int, time_s: float) -> Floats:
        """[tones] gain of the many paths in each resource block."""
        los = self._place(ue, time_s)[2]
        return self._channel.gains(ue, number=self._number(block, time_s), los=los)

    def _number(self, block: int, time_s: float) -> int:
        return step_number(time_s, self._model.coherence_s) if self._model.block == "time" else block

    def _place(self, ue: str, time_s: float) -> tuple[float, float, bool]:
        """Until when [s] a UE stays where it is, its mean gain there and whether it sees the base station."""
        until_s = self._cell.steady_until_s(time_s=time_s)
        kept = self._places.get(ue)
        if kept is None or kept[0] != until_s:
            gain = self._path.gain(ue, cell=self._cell, key=self._key, time_s=time_s)
            seen = self._path.sees(ue, cell=self._cell, key=self._key, time_s=time_s)
            kept = self._places[ue] = (until_s, gain, seen)
        return kept

    def _alike(self, tried: Try) -> Iterator[slice]:
        """Runs of packets that were sent in the same way over the same channel."""
        first, count = 0, len(tried.packets)
        while first < count:
            changes_s = self.steady_until_s(time_s=float(tried.times_s[first]))
            end = int(np.searchsorted(tried.times_s, changes_s))
            for sent in (tried.rates_bps, tried.shares):
                other = np.flatnonzero(sent[first:end] != sent[first])
                end = first + int(other[0]) if len(other) else end
            yield slice(first, end)
            first = end
