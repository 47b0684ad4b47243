r"""How fast is sent at a signal-to-noise ratio (SNR).

===========  =====================================================================================
``kind``     bit/s in a Hz
===========  =====================================================================================
``shannon``  capacity, with a gap and a cap
``fixed``    one modulation and code, whatever the channel
``cqi``      the best row of TS 38.214's table that the reported SNR allows
``nr``       the same, in resource blocks, slots and overhead of 5G NR (:mod:`~syft_fl.radio.nr`)
===========  =====================================================================================

The sender chooses by the SNR that was reported to it, which may be old (``report_delay_s``). So what it chose may need
more than the channel now gives: what it needs is what a loss model (:mod:`~syft_fl.radio.losses`) wants to know.

The SNR that a row of the table needs (to lose 10 % of its blocks) is not in the standard. Here it is capacity
with a gap :math:`\Gamma`: a row of efficiency :math:`\eta` needs :math:`\Gamma\,(2^\eta - 1)`. With 3 dB that is
within 0.3 dB of the thresholds that simulators commonly take for QPSK (-6.7, -4.7, -2.3, 0.2, 2.4, 4.3 dB); for 64QAM
those are up to 3.1 dB higher (22.7 dB for the last row). Simulated codes need less: Sionna's block error tables (code
blocks of 2000 bits, SNRs 1.8 dB apart and interpolated) reach 10 % between 2.6 dB (CQI 4) and 0.6 dB (CQI 15) below
these thresholds. Thresholds of one's own go into ``thresholds_db``.

Left out: rank adaptation, adaptation that learns from losses.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from syft_fl.schema import Registry, require, schema
from syft_fl.units import db_to_linear

__all__ = ["CQI_EFFICIENCIES", "RATES", "CqiRate", "CqiTable", "FixedRate", "Rate", "ShannonRate"]

RATES = Registry(
    "rate model", "rate_bps", "rates_bps", "needed_snr", "occupied_hz", "check", "report_delay_s"
)
"""Rate models by kind; ``RATES(MyRate)`` adds one."""

Floats = NDArray[np.float64]

_A_HAIR_MORE = 1.0 + 1e-9

# Modulation order and code rate times 1024 of CQI 1 … 15.
_ORDERS = (2,) * 6 + (4,) * 3 + (6,) * 6
_CODES = (78, 120, 193, 308, 449, 602, 378, 490, 616, 466, 567, 666, 772, 873, 948)
CQI_EFFICIENCIES = tuple(order * code / 1024 for order, code in zip(_ORDERS, _CODES, strict=True))
"""Bits per symbol of CQI 1 … 15: TS 38.214, table 5.2.2.1-2."""


@runtime_checkable
class Rate(Protocol):
    """How fast is sent at which SNR: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    @property
    def report_delay_s(self) -> float:
        """How old the SNR is by which the sender chooses [s]."""
        ...

    def check(self, bandwidth_hz: float) -> None:
        """Refuse a band that the model does not know.

        Raises:
            ConfigError: the model has no such bandwidth.
        """
        ...

    def occupied_hz(self, bandwidth_hz: float) -> float:
        """The part of the band [Hz] that is sent in, and noise is received in."""
        ...

    def rate_bps(self, snr: float, *, bandwidth_hz: float, share: float, direction: str) -> float:
        """Rate [bit/s] in a share (0 … 1] of the band, chosen by an SNR (linear) in that share."""
        ...

    def rates_bps(self, snrs: Floats, *, bandwidth_hz: float, share: float, direction: str) -> Floats:
        """[ues] the same for many at once, each with that share."""
        ...

    def needed_snr(self, rates_bps: Floats, *, bandwidth_hz: float, shares: Floats, direction: str) -> Floats:
        """[packets] SNR (linear) at which 10 % are lost of what is sent at [packets] rates in [packets] shares.

        Of several UEs the slowest sets the rate: it need not be one that the model would have chosen for this UE.
        """
        ...


def check_delay(report_delay_s: float) -> None:
    """Refuse a report from the future.

    Raises:
        ConfigError: the delay is negative or infinite.
    """
    require(0 <= report_delay_s < math.inf, "report_delay_s", report_delay_s, "at least 0 and finite")


def _check_level(name: str, level_db: float) -> None:
    require(0 <= level_db <= 100, name, level_db, "in 0 … 100", "it is in dB")


def snr_for(bps_per_hz: float, *, gap_db: float) -> float:
    r"""SNR (linear) that carries so many bits in a second and Hz: :math:`\Gamma\,(2^\eta - 1)`.

    Example:
        >>> snr_for(2.0, gap_db=0.0)
        3.0
    """
    return db_to_linear(gap_db) * math.expm1(bps_per_hz * math.log(2.0))


def _snrs_for(bps_per_hz: Floats, *, gap_db: float) -> Floats:
    """[packets] the same; a hair less, so that who sends at capacity is not beyond it by a rounding."""
    return np.asarray(db_to_linear(gap_db) * np.expm1(bps_per_hz * math.log(2.0)) / _A_HAIR_MORE)


@lru_cache(maxsize=64)
def _thresholds(gap_db: float, thresholds_db: tuple[float, ...]) -> tuple[float, ...]:
    if thresholds_db:
        return tuple(db_to_linear(level) for level in thresholds_db)
    return tuple(snr_for(efficiency, gap_db=gap_db) for efficiency in CQI_EFFICIENCIES)


@RATES
@schema
class ShannonRate:
    r"""Capacity, with what real codes lose of it.

    .. math:: R = B\,\min\bigl(\log_2(1 + \mathrm{SNR}/\Gamma),\ \eta_\text{max}\bigr)

    Attributes:
        gap_db: gap :math:`\Gamma` to capacity, 0 … 100 dB.
        cap_bps_per_hz: most bits in a second and Hz, :math:`\eta_\text{max}`, above 0; None: no cap.
        report_delay_s: how old the SNR is by which the sender chooses [s].
    """

    kind: ClassVar[str] = "shannon"

    gap_db: float = 0.0
    cap_bps_per_hz: float | None = None
    report_delay_s: float = 0.0

    def __post_init__(self) -> None:
        _check_level("gap_db", self.gap_db)
        cap = self.cap_bps_per_hz
        require(cap is None or 0 < cap < math.inf, "cap_bps_per_hz", cap, "above 0 and finite")
        check_delay(self.report_delay_s)

    def check(self, bandwidth_hz: float) -> None:
        """Any band suits it."""

    def occupied_hz(self, bandwidth_hz: float) -> float:
        return bandwidth_hz

    def rate_bps(self, snr: float, *, bandwidth_hz: float, share: float, direction: str) -> float:
        # log1p: far below the noise log2(1 + snr) would round to 0 and the bits never arrive.
        rate_bps = share * bandwidth_hz * math.log1p(snr / db_to_linear(self.gap_db)) / math.log(2.0)
        cap = math.inf if self.cap_bps_per_hz is None else self.cap_bps_per_hz
        return min(rate_bps, share * bandwidth_hz * cap)

    def rates_bps(self, snrs: Floats, *, bandwidth_hz: float, share: float, direction: str) -> Floats:
        rates_bps = share * bandwidth_hz * np.log1p(snrs / db_to_linear(self.gap_db)) / math.log(2.0)
        cap = math.inf if self.cap_bps_per_hz is None else self.cap_bps_per_hz
        return np.minimum(rates_bps, share * bandwidth_hz * cap)

    def needed_snr(self, rates_bps: Floats, *, bandwidth_hz: float, shares: Floats, direction: str) -> Floats:
        return _snrs_for(rates_bps / (bandwidth_hz * shares), gap_db=self.gap_db)


@RATES
@schema
class FixedRate:
    r"""One modulation and code for all, as of a broadcast: fast enough for some, lost on others.

    Attributes:
        bps_per_hz: bits in a second and Hz, :math:`\eta`, above 0.
        gap_db: gap to capacity, 0 … 100 dB: the SNR that it needs is :math:`\Gamma\,(2^\eta - 1)`.
    """

    kind: ClassVar[str] = "fixed"
    report_delay_s: ClassVar[float] = 0.0

    bps_per_hz: float = 1.0
    gap_db: float = 0.0

    def __post_init__(self) -> None:
        require(0 < self.bps_per_hz <= 100, "bps_per_hz", self.bps_per_hz, "above 0 and at most 100")
        _check_level("gap_db", self.gap_db)

    def check(self, bandwidth_hz: float) -> None:
        """Any band suits it."""

    def occupied_hz(self, bandwidth_hz: float) -> float:
        return bandwidth_hz

    def rate_bps(self, snr: float, *, bandwidth_hz: float, share: float, direction: str) -> float:
        return share * bandwidth_hz * self.bps_per_hz

    def rates_bps(self, snrs: Floats, *, bandwidth_hz: float, share: float, direction: str) -> Floats:
        return np.full_like(snrs, share * bandwidth_hz * self.bps_per_hz)

    def needed_snr(self, rates_bps: Floats, *, bandwidth_hz: float, shares: Floats, direction: str) -> Floats:
        return _snrs_for(rates_bps / (bandwidth_hz * shares), gap_db=self.gap_db)


@schema
class CqiTable:
    r"""Which row of the CQI table is sent with at which reported SNR.

    The highest row whose threshold the SNR meets. Below the first threshold :math:`\gamma_1` the first row is repeated
    until its energy adds up to it, as NB-IoT does: efficiency :math:`\eta_1\,\mathrm{SNR}/\gamma_1`. So a UE at the
    edge is slow, not silent.

    With a gap of 3 dB the thresholds are 0.6 … 2.6 dB above those of Sionna's block error tables (CQI 4 … 15).

    Attributes:
        gap_db: gap :math:`\Gamma` to capacity, 0 … 100 dB, from which thresholds follow.
        thresholds_db: the thresholds of CQI 1 … 15 themselves [dB], ascending; empty: from the gap.
    """

    gap_db: float = 3.0
    thresholds_db: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check_level("gap_db", self.gap_db)
        given = self.thresholds_db
        require(
            not given or (len(given) == len(CQI_EFFICIENCIES) and all(a < b for a, b in pairwise(given))),
            "thresholds_db",
            given,
            f"{len(CQI_EFFICIENCIES)} ascending numbers, or none",
        )
        require(all(abs(level) <= 100 for level in given), "thresholds_db", given, "in -100 … 100 dB")

    @property
    def thresholds(self) -> tuple[float, ...]:
        """SNR (linear) that CQI 1 … 15 need to lose 10 %."""
        return _thresholds(self.gap_db, self.thresholds_db)

    def cqi(self, snr: float) -> int:
        """The row that an SNR (linear) allows: 1 … 15; 0 below the first threshold."""
        return bisect_right(self.thresholds, snr)

    def efficiency(self, snr: float) -> float:
        """Bits per symbol that are sent at a reported SNR (linear)."""
        cqi = self.cqi(snr)
        return CQI_EFFICIENCIES[cqi - 1] if cqi else CQI_EFFICIENCIES[0] * (snr / self.thresholds[0])

    def efficiencies(self, snrs: Floats) -> Floats:
        """[ues] the same for many at once."""
        cqis = np.searchsorted(np.asarray(self.thresholds), snrs, side="right")
        repeated = CQI_EFFICIENCIES[0] * (snrs / self.thresholds[0])
        return np.where(cqis > 0, np.asarray(CQI_EFFICIENCIES)[cqis - 1], repeated)

    def needed_snr(self, efficiencies: Floats) -> Floats:
        """[packets] SNR (linear) at which 10 % are lost of what is sent with [packets] efficiencies.

        Between two rows: what the higher one needs; above the last: what it needs.
        """
        thresholds, rows = np.asarray(self.thresholds), np.asarray(CQI_EFFICIENCIES)
        # An efficiency that was multiplied with a band and divided by it again may be a hair off its row.
        at = np.minimum(np.searchsorted(rows * _A_HAIR_MORE, efficiencies), len(rows) - 1)
        repeated = thresholds[0] * np.minimum(efficiencies / rows[0], 1.0)
        return np.where(at > 0, thresholds[at], repeated) / _A_HAIR_MORE


@RATES
@schema
class CqiRate:
    """Modulation and code by a channel quality indicator: TS 38.214, table 5.2.2.1-2, QPSK to 64QAM.

    Attributes:
        table: thresholds (:class:`CqiTable`).
        report_delay_s: how old the SNR is by which the sender chooses [s]; it matters where channels change with time.

    Source: TS 38.214, 5.2.2.1. Differs from it in: thresholds, which it leaves to the receiver; CQI 0 (out of range) is
    sent with row 1 and repetition.
    """

    kind: ClassVar[str] = "cqi"

    table: CqiTable = CqiTable()
    report_delay_s: float = 0.0

    def __post_init__(self) -> None:
        check_delay(self.report_delay_s)

    def check(self, bandwidth_hz: float) -> None:
        """Any band suits it."""

    def occupied_hz(self, bandwidth_hz: float) -> float:
        return bandwidth_hz

    def rate_bps(self, snr: float, *, bandwidth_hz: float, share: float, direction: str) -> float:
        return share * bandwidth_hz * self.table.efficiency(snr)

    def rates_bps(self, snrs: Floats, *, bandwidth_hz: float, share: float, direction: str) -> Floats:
        return share * bandwidth_hz * self.table.efficiencies(snrs)

    def needed_snr(self, rates_bps: Floats, *, bandwidth_hz: float, shares: Floats, direction: str) -> Floats:
        return self.table.needed_snr(rates_bps / (bandwidth_hz * shares))
