"""A link that carries every UE's bits at one rate, for ever: the first rung of the ladder.

Left out: distance, noise, fading, loss. What it is for: closed forms, and runs in which only the bits matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.medium import LINKS, Link
from syft_fl.radio.power import check_direction, power_in_share_w
from syft_fl.schema import require, schema

__all__ = ["Constant", "ConstantLink"]


@LINKS
@schema
class Constant:
    """The same rate for every UE at every time.

    Attributes:
        rate_bps: rate over the whole band [bit/s] (10e6 is 10 Mbit/s); a share of the band has that share of it.
        latency_s: time from the last bit on the air to its arrival [s].
        power_w: transmit power [W]; a base station's is split with the band.

    Example:
        >>> link = Constant(rate_bps=1e6).link(Cell(), Key(0), "uplink")
        >>> link.rate_bps("ue0", share=0.25, block=0, time_s=0.0)
        250000.0
    """

    kind: ClassVar[str] = "constant"

    rate_bps: float = 10e6
    latency_s: float = 0.0
    power_w: float = 0.1

    def __post_init__(self) -> None:
        require(0 < self.rate_bps < math.inf, "rate_bps", self.rate_bps, "above 0 and finite")
        require(0 <= self.latency_s < math.inf, "latency_s", self.latency_s, "at least 0 and finite")
        require(0 <= self.power_w < math.inf, "power_w", self.power_w, "at least 0 and finite")

    def link(self, cell: Cell, key: Key, direction: str) -> Link:
        """The link; neither the cell nor the key matters to it.

        Raises:
            ConfigError: the direction is neither ``"uplink"`` nor ``"downlink"``.
        """
        check_direction(direction)
        return ConstantLink(self, direction)


@dataclass(frozen=True, slots=True)
class ConstantLink:
    """One direction of a :class:`Constant` radio."""

    model: Constant
    direction: str

    @property
    def latency_s(self) -> float:
        return self.model.latency_s

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return power_in_share_w(self.model.power_w, share=share, direction=self.direction)

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return share * self.model.rate_bps

    def steady_until_s(self, *, time_s: float) -> float:
        return math.inf
