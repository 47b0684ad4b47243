"""A link at channel capacity over path loss, shadowing and block fading.

The sender knows the channel and codes at capacity, so nothing is lost and the rate follows the fading.
Left out: interference of other cells, finite block lengths, modulation tables, retransmission.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.fading import Fading, NoFading, Rayleigh
from syft_fl.radio.gains import Gains
from syft_fl.radio.medium import LINKS, Link
from syft_fl.radio.pathloss import path_gain, shadowing_gain
from syft_fl.radio.power import check_direction, power_in_share_w
from syft_fl.schema import require, schema
from syft_fl.units import dbm_to_watt, noise_power_w

__all__ = ["Shannon", "ShannonLink"]


@LINKS
@schema
class Shannon:
    """Capacity of each UE's channel; the defaults are those of a small uplink in a macro cell.

    Attributes:
        power_dbm: transmit power [dBm]; 10 dBm is 0.01 W. A base station's is split with the band.
        bandwidth_hz: the whole band [Hz].
        noise_dbm_per_hz: density of thermal noise [dBm/Hz].
        noise_figure_db: what the receiver adds to it [dB].
        intercept_db: path loss at 1 km [dB].
        slope_db_per_decade: further loss for ten times the distance [dB].
        shadowing_db: standard deviation of log-normal shadowing, one draw per UE [dB]; 0: none.
        fading: ``"rayleigh"`` or ``"none"``.
        fading_block: ``"round"``: one draw per UE and round; ``"time"``: one per UE and coherence time.
        coherence_s: coherence time [s], used with ``fading_block = "time"``; 0.05 s is a walker's at 2 GHz.
        latency_s: time from the last bit on the air to its arrival [s].
    """

    kind: ClassVar[str] = "shannon"

    power_dbm: float = 10.0
    bandwidth_hz: float = 1e6
    noise_dbm_per_hz: float = -174.0
    noise_figure_db: float = 0.0
    intercept_db: float = 128.1
    slope_db_per_decade: float = 37.6
    shadowing_db: float = 8.0
    fading: Literal["rayleigh", "none"] = "rayleigh"
    fading_block: Literal["round", "time"] = "round"
    coherence_s: float = 0.05
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("power_dbm", "noise_dbm_per_hz", "intercept_db"):
            level = getattr(self, name)
            require(-300 <= level <= 300, name, level, "in -300 … 300", "it is a level in dB")
        for name in ("noise_figure_db", "slope_db_per_decade", "shadowing_db"):
            level = getattr(self, name)
            require(0 <= level <= 100, name, level, "in 0 … 100", "it is in dB")
        require(0 < self.bandwidth_hz < math.inf, "bandwidth_hz", self.bandwidth_hz, "above 0 and finite")
        require(
            0 < self.coherence_s < math.inf,
            "coherence_s",
            self.coherence_s,
            "above 0 and finite",
            "for a channel that never changes use fading = 'none'",
        )
        require(0 <= self.latency_s < math.inf, "latency_s", self.latency_s, "at least 0 and finite")

    def link(self, cell: Cell, key: Key, direction: str) -> Link:
        """The link of a cell; distances and shadowing are the same in both directions, fading is not.

        Raises:
            ConfigError: the direction is neither ``"uplink"`` nor ``"downlink"``.
        """
        check_direction(direction)
        return ShannonLink(self, cell, key, direction)

    def fading_of(self, key: Key) -> Fading:
        """The fading that these settings describe, drawn from a key."""
        if self.fading == "none":
            return NoFading().open(key)
        return Rayleigh(block=self.fading_block, coherence_s=self.coherence_s).open(key)


class ShannonLink:
    """One direction of a :class:`Shannon` radio."""

    def __init__(self, model: Shannon, cell: Cell, key: Key, direction: str) -> None:
        self.latency_s = model.latency_s
        self._model = model
        self._cell = cell
        self._key = key
        self._direction = direction
        self._fading = model.fading_of(key / direction / "fading")
        self._power_w = dbm_to_watt(model.power_dbm)
        self._mean_gains: dict[str, float] = {}
        self._gains = Gains(self._gain, lambda time_s: self.steady_until_s(time_s=time_s))

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return power_in_share_w(self._power_w, share=share, direction=self._direction)

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        r"""Capacity [bit/s] of a share :math:`s` of the band :math:`B`.

        .. math:: R = s B \log_2(1 + \mathrm{SNR})
        """
        snr = self.snr(ue, share=share, block=block, time_s=time_s)
        # log1p: far below the noise log2(1 + snr) would round to 0 and the bits never arrive.
        return share * self._model.bandwidth_hz * math.log1p(snr) / math.log(2.0)

    def snr(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        r"""Signal-to-noise ratio (linear) in a share :math:`s` of the band.

        .. math:: \mathrm{SNR} = p\,g\,h / (N_0 s B)

        with :math:`p` the power in that share, :math:`g` the gain of path and shadowing, :math:`h` that of the fading.
        """
        gain = self._gain(ue, block, time_s)
        power_w = self.transmit_power_w(ue, share=share, block=block, time_s=time_s)
        return power_w * gain / self.noise_w(ue, share=share, block=block, time_s=time_s)

    @property
    def report_delay_s(self) -> float:
        return 0.0

    @property
    def bandwidth_hz(self) -> float:
        """The whole band [Hz]."""
        return self._model.bandwidth_hz

    @property
    def fades(self) -> bool:
        """Whether there is any fading."""
        return self._model.fading != "none"

    def snrs(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        power_w = power_in_share_w(self._power_w, share=share, direction=self._direction)
        return np.asarray(power_w * self._gains.of(ues, blocks, time_s) / self._noise_w(share))

    def powers_w(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        power_w = power_in_share_w(self._power_w, share=share, direction=self._direction)
        return np.full(len(ues), power_w)

    def rates_bps(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        return self.rates_at_bps(self.snrs(ues, share=share, blocks=blocks, time_s=time_s), share=share)

    def rates_at_bps(self, snrs: NDArray[np.float64], *, share: float) -> NDArray[np.float64]:
        return np.asarray(share * self._model.bandwidth_hz * np.log1p(snrs) / math.log(2.0))

    def _gain(self, ue: str, block: int, time_s: float) -> float:
        return self.mean_gain(ue, time_s=time_s) * self.fading_gain(ue, block=block, time_s=time_s)

    def steady_until_s(self, *, time_s: float) -> float:
        return min(self._fading.steady_until_s(time_s=time_s), self._cell.steady_until_s(time_s=time_s))

    def noise_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return self._noise_w(share)

    def _noise_w(self, share: float) -> float:
        model = self._model
        return noise_power_w(
            share * model.bandwidth_hz,
            noise_dbm_per_hz=model.noise_dbm_per_hz,
            noise_figure_db=model.noise_figure_db,
        )

    def fading_gain(self, ue: str, *, block: int, time_s: float) -> float:
        return self._fading.gain(ue, block=block, time_s=time_s)

    def mean_gain(self, ue: str, *, time_s: float) -> float:
        """Gain of path and shadowing; kept where UEs stay where they are."""
        if ue not in self._mean_gains or self._cell.moves:
            distance_m = self._cell.distance_m(ue, self._key, time_s)
            path = path_gain(
                distance_m,
                intercept_db=self._model.intercept_db,
                slope_db_per_decade=self._model.slope_db_per_decade,
            )
            shadow = shadowing_gain(self._key / "shadowing" / ue, shadowing_db=self._model.shadowing_db)
            self._mean_gains[ue] = path * shadow
        return self._mean_gains[ue]
