r"""A link put together from parts: path, fading, rate, loss, retransmission, power control, interference.

.. code-block:: toml

    [uplink.link]
    kind = "wireless"
    path = {kind = "uma", frequency_hz = 3.5e9}
    fading = {kind = "rician", k_db = 9.0, block = "time"}
    rate = {kind = "cqi", report_delay_s = 0.01}
    loss = {kind = "bler"}
    power_control = {kind = "fractional", p0_dbm = -90.0, alpha = 0.8}
    interference = {kind = "neighbours", rings = 1, load = 0.5}
    retransmission = {kind = "harq", tries = 4}

Each part is a registry of its own. With the defaults it is ``{kind = "shannon"}``, draw by draw.

Whether a packet is lost is drawn from ``key / direction / "losses" / UE / block / serial / try``, one number for each
packet: so the same packets meet the same luck whatever the codec, and whoever else is on the air.

Left out: fading over the band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.fading import FADINGS, FadingModel, Rayleigh
from syft_fl.radio.gains import Gains
from syft_fl.radio.interference import (
    INTERFERENCES,
    InterferenceLevel,
    InterferenceModel,
    NoInterference,
    Victim,
)
from syft_fl.radio.losses import LOSSES, Loss, NoLoss
from syft_fl.radio.medium import LINKS, Link, Try
from syft_fl.radio.paths import PATHS, LogDistance, Path
from syft_fl.radio.power import check_direction, power_in_share_w
from syft_fl.radio.power_control import POWER_CONTROLS, FullPower, PowerControl
from syft_fl.radio.rates import RATES, Floats, Rate, ShannonRate
from syft_fl.radio.retransmission import RETRANSMISSIONS, Arq, Retransmission
from syft_fl.schema import require, schema
from syft_fl.units import db_to_linear, dbm_to_watt, noise_power_w

__all__ = ["Wireless", "WirelessLink"]


@LINKS
@schema
class Wireless:
    """The parts of a radio, and its budget; the defaults are those of a small uplink in a macro cell.

    Attributes:
        power_dbm: transmit power, -300 … 300 dBm; 10 dBm is 0.01 W. A base station's is split with the band; a UE's is
            the most that its power control may take.
        bandwidth_hz: the whole band [Hz].
        noise_dbm_per_hz: density of thermal noise, -300 … 300 dBm/Hz.
        noise_figure_db: what the receiver adds to it, 0 … 100 dB.
        interference_dbm_per_hz: density of other cells' signals, -300 … 300 dBm/Hz: short for
            ``interference = {kind = "level", dbm_per_hz = …}``; None: what ``interference`` says.
        antenna_gain_db: gain of both antennas together, less what cables and walls take, -300 … 300 dB; it adds to the
            path's, so that the transmit power, and with it the energy, stays what the amplifier gives. None: 0 dB.
        latency_s: time from the last bit on the air to its arrival [s].
        path: how much power arrives on average.
        fading: what echoes do to it.
        rate: how fast is sent at which signal-to-noise ratio.
        loss: with which probability a packet is lost.
        retransmission: what happens then; it matters only where something can be lost.
        power_control: how much of its power a UE puts into its share; in the downlink ``full``.
        interference: what other cells' signals add to the noise.

    Example:
        >>> from syft_fl.radio import Cell, Shannon
        >>> links = [model.link(Cell(), Key(0), "uplink") for model in (Wireless(), Shannon())]
        >>> parts, whole = (link.rate_bps("ue0", share=0.1, block=3, time_s=0.0) for link in links)
        >>> parts == whole
        True
    """

    kind: ClassVar[str] = "wireless"

    power_dbm: float = 10.0
    bandwidth_hz: float = 1e6
    noise_dbm_per_hz: float = -174.0
    noise_figure_db: float = 0.0
    interference_dbm_per_hz: float | None = None
    antenna_gain_db: float | None = None
    latency_s: float = 0.0
    path: Annotated[Path, PATHS] = LogDistance()
    fading: Annotated[FadingModel, FADINGS] = Rayleigh()
    rate: Annotated[Rate, RATES] = ShannonRate()
    loss: Annotated[Loss, LOSSES] = NoLoss()
    retransmission: Annotated[Retransmission, RETRANSMISSIONS] = Arq()
    power_control: Annotated[PowerControl, POWER_CONTROLS] = FullPower()
    interference: Annotated[InterferenceModel, INTERFERENCES] = NoInterference()

    def __post_init__(self) -> None:
        for name in ("power_dbm", "noise_dbm_per_hz", "interference_dbm_per_hz", "antenna_gain_db"):
            level = getattr(self, name)
            require(
                level is None or -300 <= level <= 300, name, level, "in -300 … 300", "it is a level in dB"
            )
        require(
            0 <= self.noise_figure_db <= 100,
            "noise_figure_db",
            self.noise_figure_db,
            "in 0 … 100",
            "it is in dB",
        )
        require(0 < self.bandwidth_hz < math.inf, "bandwidth_hz", self.bandwidth_hz, "above 0 and finite")
        require(0 <= self.latency_s < math.inf, "latency_s", self.latency_s, "at least 0 and finite")
        require(
            self.interference_dbm_per_hz is None or isinstance(self.interference, NoInterference),
            "interference_dbm_per_hz",
            self.interference_dbm_per_hz,
            f"left out where interference is {getattr(self.interference, 'kind', self.interference)!r}",
            "leave either out",
        )
        self.rate.check(self.bandwidth_hz)

    def link(self, cell: Cell, key: Key, direction: str) -> Link:
        """The link of a cell; places and shadowing are the same in both directions, fading and losses are not.

        Raises:
            ConfigError: the direction is neither ``"uplink"`` nor ``"downlink"``, the cell does not suit the path or
                the neighbours, or a base station is to control its power.
        """
        check_direction(direction)
        require(
            direction == "uplink" or isinstance(self.power_control, FullPower),
            "power_control",
            getattr(self.power_control, "kind", self.power_control),
            "'full' in the downlink, where the base station's power is split as the band is",
            "leave it out there, or lower power_dbm",
        )
        self.path.check(cell)
        return WirelessLink(self, cell, key, direction)


class WirelessLink:
    """One direction of a :class:`Wireless` radio."""

    def __init__(self, model: Wireless, cell: Cell, key: Key, direction: str) -> None:
        self.latency_s = model.latency_s
        self._model = model
        self._cell = cell
        self._key = key
        self._direction = direction
        self._fading = model.fading.open(key / direction / "fading")
        self._power_w = dbm_to_watt(model.power_dbm)
        self._path = _Antennas(model.path, db_to_linear(model.antenna_gain_db or 0.0))
        self._occupied_hz = model.rate.occupied_hz(model.bandwidth_hz)
        self._thermal_w_per_hz = noise_power_w(
            1.0, noise_dbm_per_hz=model.noise_dbm_per_hz, noise_figure_db=model.noise_figure_db
        )
        # Of each UE: until when [s] its mean gain holds, and the gain.
        self._mean_gains: dict[str, tuple[float, float]] = {}
        self._gains = Gains(self._gain, self._change_s)
        self._quiet = isinstance(_interference_of(model), NoInterference)
        self._interference = _interference_of(model).open(
            Victim(
                cell=cell,
                key=key,
                direction=direction,
                path=self._path,
                fading=model.fading,
                power_control=model.power_control,
                power_w=self._power_w,
                width_hz=self._occupied_hz,
                noise_w=self._thermal_w_per_hz * self._occupied_hz,
            )
        )

    @property
    def retransmission(self) -> Retransmission | None:
        return None if isinstance(self._model.loss, NoLoss) else self._model.retransmission

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        """Power [W] in a share of the band, set by the channel that was reported last."""
        return self._controlled_w(_Known(self, ue, share, block, self._reported_s(time_s)))

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        """Rate [bit/s] of a share of the band: by the channel that was reported last, and the power that it led to."""
        known = _Known(self, ue, share, block, self._reported_s(time_s))
        return self._model.rate.rate_bps(
            self._controlled_w(known) * (known.mean_gain * known.fading_gain) / known.noise_w,
            bandwidth_hz=self._model.bandwidth_hz,
            share=share,
            direction=self._direction,
        )

    def snr(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        r"""Signal-to-noise-and-interference ratio (linear) in a share :math:`s` of the band.

        .. math:: \mathrm{SNR} = \frac{p\,g\,h}{(N_0 + I_0)\,s B}

        with :math:`p` the power in that share, :math:`g` the gain of path and antennas, :math:`h` that of the fading,
        and of the band :math:`B` what the rate model sends in.
        """
        gain = self._gain(ue, block, time_s)
        power_w = self.transmit_power_w(ue, share=share, block=block, time_s=time_s)
        return power_w * gain / self.noise_w(ue, share=share, block=block, time_s=time_s)

    @property
    def report_delay_s(self) -> float:
        return self._model.rate.report_delay_s

    def snrs(self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float) -> Floats:
        if self.report_delay_s == 0 or isinstance(self._model.power_control, FullPower):
            return self._known_snrs(ues, share, blocks, time_s)
        each = zip(ues, blocks, strict=True)
        return np.array([self.snr(ue, share=share, block=block, time_s=time_s) for ue, block in each])

    def powers_w(self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float) -> Floats:
        return self._known_powers_w(ues, share, blocks, self._reported_s(time_s))

    def rates_bps(self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float) -> Floats:
        snrs = self._known_snrs(ues, share, blocks, self._reported_s(time_s))
        return self.rates_at_bps(snrs, share=share)

    def rates_at_bps(self, snrs: Floats, *, share: float) -> Floats:
        return self._model.rate.rates_bps(
            snrs, bandwidth_hz=self._model.bandwidth_hz, share=share, direction=self._direction
        )

    def _gain(self, ue: str, block: int, time_s: float) -> float:
        return self.mean_gain(ue, time_s=time_s) * self.fading_gain(ue, block=block, time_s=time_s)

    def steady_until_s(self, *, time_s: float) -> float:
        delay_s = self._model.rate.report_delay_s
        change_s = self._change_s(self._reported_s(time_s))
        return _first_s(change_s, delay_s) if delay_s and math.isfinite(change_s) else change_s

    def lost(self, ue: str, tried: Try) -> tuple[NDArray[np.bool_], Floats]:
        model = self._model
        snr = self._snrs(ue, tried) * tried.clear
        needed = model.rate.needed_snr(
            tried.rates_bps,
            bandwidth_hz=model.bandwidth_hz,
            shares=tried.shares,
            direction=self._direction,
        )
        if model.retransmission.combines:
            snr += tried.combined_snr
        bursts = self._key / self._direction / "bursts"
        probability = model.loss.error(ue, snr=snr, needed=needed, times_s=tried.times_s, key=bursts)
        luck = self._key / self._direction / "losses" / ue / tried.block / tried.serial / tried.number
        draws = luck.numpy().random(int(tried.packets[-1]) + 1)[tried.packets]
        return draws < probability, snr

    def _snrs(self, ue: str, tried: Try) -> Floats:
        """[packets] SNR (linear) that each had."""
        times_s, shares, block = tried.times_s, tried.shares, tried.block
        snr = np.empty_like(times_s)
        first = 0
        while first < len(times_s):
            # All that began before anything changes are alike.
            time_s, share = float(times_s[first]), float(shares[first])
            end = int(np.searchsorted(times_s, self._snr_change_s(time_s)))
            other = np.flatnonzero(shares[first:end] != share)
            end = first + int(other[0]) if len(other) else end
            snr[first:end] = self.snr(ue, share=share, block=block, time_s=time_s)
            first = end
        return snr

    def _reported_s(self, time_s: float) -> float:
        """When that was measured which the sender knows at a time [s]; what it knows first is of time 0."""
        return max(time_s - self._model.rate.report_delay_s, 0.0)

    def _change_s(self, time_s: float) -> float:
        """First time [s] after ``time_s`` at which a channel may change."""
        return min(
            self._fading.steady_until_s(time_s=time_s),
            self._cell.steady_until_s(time_s=time_s),
            self._interference.steady_until_s(time_s=time_s),
        )

    def _snr_change_s(self, time_s: float) -> float:
        """First time [s] after ``time_s`` at which an SNR may change: with the channel, or with a power set by it."""
        change_s = self._change_s(time_s)
        if isinstance(self._model.power_control, FullPower):
            return change_s
        return min(change_s, self.steady_until_s(time_s=time_s))

    def noise_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        width_hz = share * self._occupied_hz
        density = self._interference.density_w_per_hz(ue, block=block, time_s=time_s)
        return self._thermal_w_per_hz * width_hz + density * width_hz

    def _known_snrs(self, ues: Sequence[str], share: float, blocks: Sequence[int], time_s: float) -> Floats:
        """[ues] SNRs with powers that are set by the channels of the same time."""
        gains = self._gains.of(ues, blocks, time_s)
        noises_w: Floats | float
        if self._quiet:
            noises_w = self._thermal_w_per_hz * self.share_hz(share)
        else:
            each = zip(ues, blocks, strict=True)
            noises_w = np.array(
                [self.noise_w(ue, share=share, block=block, time_s=time_s) for ue, block in each]
            )
        return np.asarray(self._known_powers_w(ues, share, blocks, time_s) * gains / noises_w)

    def _known_powers_w(
        self, ues: Sequence[str], share: float, blocks: Sequence[int], time_s: float
    ) -> Floats:
        """[ues] powers [W] that are set by the channels of a time."""
        if isinstance(self._model.power_control, FullPower):
            power_w = power_in_share_w(self._power_w, share=share, direction=self._direction)
            return np.full(len(ues), power_w)
        each = zip(ues, blocks, strict=True)
        return np.array([self._controlled_w(_Known(self, ue, share, block, time_s)) for ue, block in each])

    def share_hz(self, share: float) -> float:
        """Width [Hz] of a share (0 … 1] of the band that is sent in."""
        return share * self._occupied_hz

    def _controlled_w(self, known: _Known) -> float:
        most_w = power_in_share_w(self._power_w, share=known.share, direction=self._direction)
        return self._model.power_control.power_w(most_w, known)

    def fading_gain(self, ue: str, *, block: int, time_s: float) -> float:
        return self._fading.gain(ue, block=block, time_s=time_s)

    def mean_gain(self, ue: str, *, time_s: float) -> float:
        """Gain of path and antennas; kept while the UE stays where it is."""
        until_s = self._cell.steady_until_s(time_s=time_s)
        kept = self._mean_gains.get(ue)
        if kept is None or kept[0] != until_s:
            kept = (until_s, self._path.gain(ue, cell=self._cell, key=self._key, time_s=time_s))
            self._mean_gains[ue] = kept
        return kept[1]


@dataclass(frozen=True)
class _Antennas:
    """A path with antennas at both ends: those of neighbour cells are like our own."""

    kind: ClassVar[str] = "antennas"

    path: Path
    antenna_gain: float

    def check(self, cell: Cell) -> None:
        self.path.check(cell)

    def gain(self, ue: str, *, cell: Cell, key: Key, time_s: float = 0.0) -> float:
        return self.path.gain(ue, cell=cell, key=key, time_s=time_s) * self.antenna_gain


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a UE's channel: that of the time of the report."""

    link: WirelessLink
    ue: str
    share: float
    block: int
    time_s: float

    @property
    def width_hz(self) -> float:
        return self.link.share_hz(self.share)

    @property
    def mean_gain(self) -> float:
        return self.link.mean_gain(self.ue, time_s=self.time_s)

    @property
    def fading_gain(self) -> float:
        return self.link.fading_gain(self.ue, block=self.block, time_s=self.time_s)

    @property
    def noise_w(self) -> float:
        return self.link.noise_w(self.ue, share=self.share, block=self.block, time_s=self.time_s)


def _interference_of(model: Wireless) -> InterferenceModel:
    if model.interference_dbm_per_hz is None:
        return model.interference
    return InterferenceLevel(dbm_per_hz=model.interference_dbm_per_hz)


def _first_s(change_s: float, delay_s: float) -> float:
    """The first time [s] at which what changes at ``change_s`` is known, in floating point too."""
    time_s = change_s + delay_s
    while time_s - delay_s < change_s:
        time_s = math.nextafter(time_s, math.inf)
    while math.nextafter(time_s, 0.0) - delay_s >= change_s:
        time_s = math.nextafter(time_s, 0.0)
    return time_s
