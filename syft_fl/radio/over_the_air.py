r"""Analog aggregation: UEs send at once, and the channel adds up what they send.

Every entry of an update is an amplitude. UE :math:`k` multiplies it with

.. math:: \frac{\sqrt{\rho_0}\,w_k}{\sqrt{G_k h_k}} \quad\text{where } h_k \ge g, \text{ and is silent elsewhere}

with :math:`G_k` the gain of its path, :math:`h_k` that of its fading and :math:`w_k` its weight, so that all arrive
with the same power: *truncated channel inversion*. Under Rayleigh fading a part :math:`1 - e^{-g}` is cut off, and
inverting the rest takes :math:`E_1(g)` of the power that a channel of gain :math:`G_k` would. The base station receives

.. math:: y = \sqrt{\rho_0} \sum_{k\,\text{sends}} w_k (1 + \varepsilon_k)\, z_k + n

and takes :math:`y / (\sqrt{\rho_0} \sum_k w_k)` for the mean of those who sent. :math:`\varepsilon_k` is what is left
of a UE's amplitude and phase after synchronisation (its real part, of standard deviation
:math:`\sigma_\varepsilon`), :math:`n` the noise of one real dimension. So, for entries of variance 1, the mean square
error of an entry is

.. math:: \frac{N/2}{\rho_0 (\sum_k w_k)^2} + \sigma_\varepsilon^2\, \frac{\sum_k w_k^2}{(\sum_k w_k)^2}

with :math:`N` the noise in the band. :math:`\rho_0` is what the UE that is worst off can afford. A symbol takes
:math:`1/B` seconds, however many send: the time does not grow with their number.

Source: G. Zhu, Y. Wang, K. Huang, *Broadband Analog Aggregation for Low-Latency Federated Edge Learning*, 2020
(truncated inversion, mean power, entries normalised by common statistics). The alignment error is one draw for a UE and
round, ours. Left out: quantisation in the converters, peak-to-average limits, other cells that send too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy  # its parts load when they are first used
from numpy.typing import NDArray

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio.links import Links
from syft_fl.radio.medium import ChannelLink
from syft_fl.schema import require, schema

__all__ = ["OverTheAir", "Superposition", "bandwidth_hz", "fading_kind", "mean_inversion"]

Floats = NDArray[np.float64]

_RAYLEIGH = ("rayleigh", "jakes", "gauss-markov")
"""Fadings whose power gain is exponential at any one time."""


@schema
class OverTheAir:
    r"""How an uplink adds up models on the air.

    Attributes:
        threshold: :math:`g`, power gain of the fading below which a UE is silent, at least 0.
        power: ``mean``: every UE keeps to its power on average over the fading (Rayleigh, or none), so that
            :math:`\rho_0` follows from places alone; ``peak``: in every round, by the fading it has.
        alignment_error: :math:`\sigma_\varepsilon`, at least 0; 0: perfect synchronisation.
        entries_per_symbol: 2: one in each of the two dimensions of a symbol; 1: in one of them, at twice the power.
        coherence_entries: entries in a row that share a draw of the fading, as those in one part of a wide band do,
            each part anew (Rayleigh); None: all have that of the link.
        sync_s: time for pilots and synchronisation before the first symbol [s], at full power.
    """

    threshold: float = 0.1
    power: Literal["mean", "peak"] = "mean"
    alignment_error: float = 0.0
    entries_per_symbol: Literal[1, 2] = 2
    coherence_entries: int | None = None
    sync_s: float = 0.001

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 100, "threshold", self.threshold, "in 0 … 100", "it is a linear gain")
        require(
            self.threshold > 0 or self.power == "peak",
            "threshold",
            self.threshold,
            "above 0 with power = 'mean'",
            "inverting all of a Rayleigh fading takes infinite power on average",
        )
        error = self.alignment_error
        require(0 <= error <= 10, "alignment_error", error, "in 0 … 10", "0.1 is a tenth of the amplitude")
        count = self.coherence_entries
        require(count is None or count >= 1, "coherence_entries", count, "at least 1")
        require(0 <= self.sync_s < math.inf, "sync_s", self.sync_s, "at least 0 and finite")

    def check(self, link: Any) -> None:
        """Refuse a link model over which amplitudes can't be added up.

        Raises:
            ConfigError: it has no band or no fading, or one whose mean inversion is not known.
        """
        require(
            hasattr(link, "bandwidth_hz") and hasattr(link, "fading"),
            "link",
            getattr(link, "kind", type(link).__name__),
            "one with a band and a channel to add up models over the air",
            "use kind = 'shannon' or 'wireless'",
        )
        fading = fading_kind(link)
        if self.power == "mean" or self.coherence_entries is not None:
            known = (*_RAYLEIGH, "none") if self.coherence_entries is None else _RAYLEIGH
            require(
                fading in known,
                "link.fading",
                fading,
                f"one of {', '.join(known)} here",
                "or set power = 'peak' and leave coherence_entries out",
            )

    def duration_s(self, entries: int, *, bandwidth_hz: float) -> float:
        """Time on the air [s] of a vector, whoever sends.

        Example:
            >>> OverTheAir(sync_s=0.0).duration_s(1_000_000, bandwidth_hz=1e6)
            0.5
        """
        return self.sync_s + math.ceil(entries / self.entries_per_symbol) / bandwidth_hz

    def superpose(
        self,
        links: Links,
        ues: Sequence[str],
        *,
        weights: Sequence[float],
        squares: Sequence[float],
        entries: int,
        block: int,
        time_s: float,
        fading: str,
        key: Key,
    ) -> Superposition:
        """Who sends what part of a vector, and what becomes of it.

        Args:
            weights: [ues] :math:`w_k`, in any unit.
            squares: [ues] mean square of each one's entries, about 1.
            entries: length of the vectors.
            fading: kind of the link's fading.
            key: of fading by parts, alignment and noise.
        """
        channels = [links.of(ue) for ue in ues]
        asked = {"block": block, "time_s": time_s}
        gains = self._fading_gains(links, ues, entries, asked, key)
        sent = gains >= self.threshold
        powers_w, means, noises_w = np.array(
            [_budget(channel, ue, asked) for channel, ue in zip(channels, ues, strict=True)]
        ).T
        scaled = np.asarray(weights, dtype=np.float64) ** 2 * self.entries_per_symbol / means
        # What a symbol of each UE takes for a received power of 1 W an entry, on average over its entries [W].
        spent = scaled * np.asarray(squares) * _by_entries(np.where(sent, 1.0 / gains, 0.0), entries, self)
        needed = scaled * mean_inversion(fading, self.threshold) if self.power == "mean" else spent
        able = needed > 0
        received_w = float((powers_w[able] / needed[able]).min()) if able.any() else 0.0
        errors = np.array([(key / "alignment" / ue / block).normal() for ue in ues]) * self.alignment_error
        return Superposition(
            sent=sent,
            amplitudes=np.asarray(weights) * (1.0 + errors),
            weights=np.asarray(weights, dtype=np.float64),
            received_w=received_w,
            noise_w=float(noises_w[0]) / 2.0,
            transmit_w=received_w * spent,
            pilot_w=powers_w,
            group_entries=self.coherence_entries or entries,
        )

    def _fading_gains(
        self, links: Links, ues: Sequence[str], entries: int, asked: dict[str, Any], key: Key
    ) -> Floats:
        """[ues, groups] power gains of the fading."""
        if self.coherence_entries is None:
            return np.array([[_channel(links, ue).fading_gain(ue, **asked)] for ue in ues])
        groups = math.ceil(entries / self.coherence_entries)
        keys = [key / "fading" / ue / asked["block"] for ue in ues]
        return np.array([one.numpy().exponential(size=groups) for one in keys])


@dataclass(frozen=True)
class Superposition:
    """What the base station gets of the sum.

    Attributes:
        sent: [ues, groups] whether each sends each group of entries.
        amplitudes: [ues] with which each arrives, weight and alignment error included.
        weights: [ues] that it should arrive with.
        received_w: received power of an entry of unit square and weight [W], :math:`\\rho_0`.
        noise_w: noise in one real dimension [W].
        transmit_w: [ues] mean power of each one's symbols [W].
        pilot_w: [ues] power of each one's pilots [W].
        group_entries: entries in a group.
    """

    sent: NDArray[np.bool_]
    amplitudes: Floats
    weights: Floats
    received_w: float
    noise_w: float
    transmit_w: Floats
    pilot_w: Floats
    group_entries: int

    def mask(self, number: int, entries: int) -> NDArray[np.bool_]:
        """[entries] which of a UE's entries it sends."""
        return np.repeat(self.sent[number], self.group_entries)[:entries]

    def noise_std(self) -> Floats:
        """[groups] standard deviation of the noise in an entry of the mean; infinity where nobody sends."""
        total = self.weights @ self.sent
        with np.errstate(divide="ignore"):
            return (
                np.asarray(math.sqrt(self.noise_w / self.received_w) / total)
                if self.received_w
                else total * 0
            )

    def total(self, entries: int) -> Floats:
        """[entries] weights of those who send each."""
        return np.repeat(self.weights @ self.sent, self.group_entries)[:entries]

    def energies_j(self, *, symbols_s: float, pilots_s: float) -> list[float]:
        """[ues] energy of each [J]."""
        found: list[float] = (self.transmit_w * symbols_s + self.pilot_w * pilots_s).tolist()
        return found


def mean_inversion(fading: str, threshold: float) -> float:
    r"""Mean of :math:`1/h` over the gains :math:`h \ge g`: :math:`E_1(g)` under Rayleigh fading.

    Raises:
        ConfigError: it is not known for this fading.

    Example:
        >>> round(mean_inversion("rayleigh", 0.1), 4)
        1.8229
    """
    if fading in _RAYLEIGH:
        return float(scipy.special.exp1(threshold))
    if fading == "none":
        return 1.0 if threshold <= 1 else 0.0
    raise ConfigError(f"fading = {fading!r}: its mean inversion power is not known; set power = 'peak'")


def fading_kind(link: Any) -> str:
    """The kind of a link model's fading."""
    return link.fading if isinstance(link.fading, str) else str(link.fading.kind)


def bandwidth_hz(link: Any) -> float:
    """The whole band of a link model [Hz]."""
    return float(link.bandwidth_hz)


def _by_entries(values: Floats, entries: int, model: OverTheAir) -> Floats:
    """[ues] mean over entries of [ues, groups] values; the last group may be shorter."""
    size = model.coherence_entries or entries
    counts = np.full(values.shape[1], size, dtype=np.float64)
    counts[-1] = entries - size * (values.shape[1] - 1)
    return np.asarray(values @ counts / entries)


def _budget(link: Any, ue: str, asked: dict[str, Any]) -> tuple[float, float, float]:
    """Transmit power [W], mean gain and noise [W] of a UE in the whole band."""
    power_w = link.transmit_power_w(ue, share=1.0, **asked)
    mean_gain = link.mean_gain(ue, time_s=asked["time_s"])
    return power_w, mean_gain, link.noise_w(ue, share=1.0, **asked)


def _channel(links: Links, ue: str) -> ChannelLink:
    link = links.of(ue)
    if not isinstance(link, ChannelLink):
        raise ConfigError(
            f"{ue}'s link says nothing of its channel; over the air it needs shannon or wireless"
        )
    return link
