r"""Rates of 5G NR: resource blocks, slots and overhead.

.. math:: R = v\,\eta\,\frac{12\,N_\text{PRB}}{T_s}\,(1 - OH), \quad T_s = \frac{10^{-3}}{14 \cdot 2^\mu}\ \text{s}

with :math:`v` layers, :math:`\eta` bits per symbol from the CQI table and :math:`N_\text{PRB}` resource blocks of 12
subcarriers of :math:`15 \cdot 2^\mu` kHz. Power and noise are those of the resource blocks, without the band's guards.

Source: TS 38.306, 4.1.2 (rate and overhead), TS 38.101-1 and 38.101-2, tables 5.3.2-1 (resource blocks). Left out:
several carriers, transport block sizes in whole bytes, slots that are downlink or uplink alone (TDD).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from syft_fl.errors import ConfigError
from syft_fl.radio.rates import RATES, CqiTable, Floats, check_delay
from syft_fl.schema import require, schema

__all__ = ["NrRate", "resource_blocks"]

_FR1_15 = {3: 15, 5: 25, 10: 52, 15: 79, 20: 106, 25: 133, 30: 160, 35: 188, 40: 216, 45: 242, 50: 270}
_FR1_30 = {
    5: 11,
    10: 24,
    15: 38,
    20: 51,
    25: 65,
    30: 78,
    35: 92,
    40: 106,
    45: 119,
    50: 133,
    60: 162,
    70: 189,
    80: 217,
    90: 245,
    100: 273,
}
_FR1_60 = {
    10: 11,
    15: 18,
    20: 24,
    25: 31,
    30: 38,
    35: 44,
    40: 51,
    45: 58,
    50: 65,
    60: 79,
    70: 93,
    80: 107,
    90: 121,
    100: 135,
}
# MHz: blocks, by frequency range and numerology.
_BLOCKS: dict[tuple[str, int], dict[int, int]] = {
    ("FR1", 0): _FR1_15,
    ("FR1", 1): _FR1_30,
    ("FR1", 2): _FR1_60,
    ("FR2", 2): {50: 66, 100: 132, 200: 264},
    ("FR2", 3): {50: 32, 100: 66, 200: 132, 400: 264},
}
_OVERHEADS = {
    ("FR1", "downlink"): 0.14,
    ("FR1", "uplink"): 0.08,
    ("FR2", "downlink"): 0.18,
    ("FR2", "uplink"): 0.10,
}
_SUBCARRIERS = 12
_SYMBOLS_IN_SLOT = 14


def resource_blocks(bandwidth_hz: float, *, numerology: int, frequency_range: str = "FR1") -> int:
    """Resource blocks in a channel.

    Args:
        bandwidth_hz: the channel's bandwidth, guards included [Hz].
        numerology: subcarriers of 15 kHz times two to this power.
        frequency_range: ``"FR1"`` (below 7.125 GHz) or ``"FR2"`` (millimetre waves).

    Raises:
        ConfigError: the standard has no such channel.

    Example:
        >>> resource_blocks(20e6, numerology=1)
        51
    """
    widths = _BLOCKS.get((frequency_range, numerology), {})
    if bandwidth_hz / 1e6 not in widths:
        valid = ", ".join(str(width) for width in widths)
        raise ConfigError(
            f"bandwidth_hz = {bandwidth_hz!r} is no channel of {frequency_range} with numerology {numerology}; "
            + (
                f"valid: {valid} MHz, or set rate.blocks"
                if valid
                else "valid: FR1 with 0, 1, 2 and FR2 with 2, 3"
            )
        )
    return widths[int(bandwidth_hz / 1e6)]


@RATES
@schema
class NrRate:
    """5G NR with modulation and code by CQI.

    A share of the band that is no whole number of resource blocks has part of one in time.

    Attributes:
        numerology: μ, 0 … 3: subcarriers of 15, 30, 60, 120 kHz.
        frequency_range: ``"FR1"`` (below 7.125 GHz; μ = 0, 1, 2) or ``"FR2"`` (millimetre waves; μ = 2, 3).
        blocks: resource blocks of the whole band; None: the standard's number for the link's ``bandwidth_hz``.
        layers: MIMO layers, 1 … 8, each at the link's SNR.
        overhead: part of the symbols for control and pilots, 0 … 1; None: the standard's (FR1: 0.14 down, 0.08 up).
        table: thresholds of the CQI table (:class:`~syft_fl.radio.rates.CqiTable`).
        report_delay_s: how old the SNR is by which the sender chooses [s].

    Example:
        >>> best = NrRate(numerology=1).rate_bps(1e9, bandwidth_hz=20e6, share=1.0, direction="uplink")
        >>> round(best / 1e6, 2)
        87.57
    """

    kind: ClassVar[str] = "nr"

    numerology: int = 1
    frequency_range: Literal["FR1", "FR2"] = "FR1"
    blocks: int | None = None
    layers: int = 1
    overhead: float | None = None
    table: CqiTable = CqiTable()
    report_delay_s: float = 0.0

    def __post_init__(self) -> None:
        require(
            (self.frequency_range, self.numerology) in _BLOCKS,
            "numerology",
            self.numerology,
            "0, 1 or 2 in FR1, 2 or 3 in FR2",
            f"frequency_range = {self.frequency_range!r}",
        )
        require(self.blocks is None or 1 <= self.blocks <= 275, "blocks", self.blocks, "in 1 … 275")
        require(1 <= self.layers <= 8, "layers", self.layers, "in 1 … 8")
        require(self.overhead is None or 0 <= self.overhead < 1, "overhead", self.overhead, "in 0 … 1, not 1")
        check_delay(self.report_delay_s)

    def check(self, bandwidth_hz: float) -> None:
        """Refuse a band that is no NR channel, or too narrow for its blocks.

        Raises:
            ConfigError: it is not in the table, or the blocks don't fit in it.
        """
        occupied_hz = self.occupied_hz(bandwidth_hz)
        require(
            occupied_hz <= bandwidth_hz,
            "blocks",
            self.blocks,
            f"at most what fits in bandwidth_hz = {bandwidth_hz}",
            f"{self.resource_blocks(bandwidth_hz)} take {occupied_hz} Hz",
        )

    def occupied_hz(self, bandwidth_hz: float) -> float:
        return self.resource_blocks(bandwidth_hz) * _SUBCARRIERS * 15e3 * 2.0**self.numerology

    def rate_bps(self, snr: float, *, bandwidth_hz: float, share: float, direction: str) -> float:
        return share * self.symbols_per_s(bandwidth_hz, direction=direction) * self.table.efficiency(snr)

    def rates_bps(self, snrs: Floats, *, bandwidth_hz: float, share: float, direction: str) -> Floats:
        return share * self.symbols_per_s(bandwidth_hz, direction=direction) * self.table.efficiencies(snrs)

    def needed_snr(self, rates_bps: Floats, *, bandwidth_hz: float, shares: Floats, direction: str) -> Floats:
        symbols_per_s = self.symbols_per_s(bandwidth_hz, direction=direction)
        return self.table.needed_snr(rates_bps / (symbols_per_s * shares))

    def symbols_per_s(self, bandwidth_hz: float, *, direction: str) -> float:
        """Symbols for data in a second, in the whole band and all layers."""
        overhead = self.overhead
        if overhead is None:
            overhead = _OVERHEADS[self.frequency_range, direction]
        subcarriers = self.resource_blocks(bandwidth_hz) * _SUBCARRIERS
        return self.layers * subcarriers * _SYMBOLS_IN_SLOT * 1e3 * 2.0**self.numerology * (1.0 - overhead)

    def resource_blocks(self, bandwidth_hz: float) -> int:
        """Resource blocks of the whole band."""
        if self.blocks is not None:
            return self.blocks
        return resource_blocks(bandwidth_hz, numerology=self.numerology, frequency_range=self.frequency_range)
