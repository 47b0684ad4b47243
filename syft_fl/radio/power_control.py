r"""How much of its power a UE puts into its share of the uplink's band.

==============  ========================================================================================
``kind``        transmit power, never more than the link's ``power_dbm``
==============  ========================================================================================
``full``        all of it, whatever the share
``fractional``  open loop: a level per resource block, and a fraction of the path loss on top
``target-snr``  closed loop (channel inversion): what gives a signal-to-noise ratio at the base station
==============  ========================================================================================

The path loss is the mean one: distance and shadowing, not the fading. What a UE knows of its channel, and thus its
power, is as old as the SNR by which its rate is chosen (the rate model's ``report_delay_s``).

The downlink has no such thing: a base station's power is split as the band is.

Left out: steps of closed loops (1 dB a command), a least power, offsets by modulation (:math:`\Delta_{TF}`), power that
is backed off for the amplifier's sake.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Protocol, runtime_checkable

from syft_fl.schema import Registry, require, schema
from syft_fl.units import db_to_linear, dbm_to_watt

__all__ = ["POWER_CONTROLS", "Fractional", "FullPower", "KnownChannel", "PowerControl", "TargetSnr"]

POWER_CONTROLS = Registry("power control", "power_w")
"""Power controls by kind; ``POWER_CONTROLS(MyControl)`` adds one."""


class KnownChannel(Protocol):
    """What is known of a UE's channel when its power is set."""

    @property
    def width_hz(self) -> float:
        """Width [Hz] of the UE's share of the band."""
        ...

    @property
    def mean_gain(self) -> float:
        """Power gain (linear) of path and shadowing."""
        ...

    @property
    def fading_gain(self) -> float:
        """Power gain (linear) of the fading, 1 on average."""
        ...

    @property
    def noise_w(self) -> float:
        """Power [W] of noise and interference that the base station receives in the share."""
        ...


@runtime_checkable
class PowerControl(Protocol):
    """How a UE sets its power: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def power_w(self, most_w: float, channel: KnownChannel) -> float:
        """Power [W] in a UE's share of the band, above 0 and at most ``most_w``."""
        ...


@POWER_CONTROLS
@schema
class FullPower:
    """All power in whatever share: the narrower it is, the higher the signal-to-noise ratio."""

    kind: ClassVar[str] = "full"

    def power_w(self, most_w: float, channel: KnownChannel) -> float:
        return most_w


@POWER_CONTROLS
@schema
class Fractional:
    r"""Open loop: every resource block gets a level, and a fraction of the path loss is made up for.

    .. math:: P = \min\bigl(P_\text{max},\ P_0 + \alpha\,PL + 10 \log_{10} M\bigr)\ \text{dBm}

    with :math:`M` the number of resource blocks in the share, part of one included. With :math:`\alpha = 1` all UEs are
    received at :math:`P_0` in each block, with :math:`\alpha = 0` all send it; in between UEs at the edge send more,
    but not so much more that they drown the neighbour cells.

    Attributes:
        p0_dbm: level per resource block, :math:`P_0`, -300 … 300 dBm. At the default of -90 dBm (a cell of 500 m
            and UEs of 10 dBm) it is power that limits the outermost UEs alone; with :math:`\alpha = 1` it is
            the level to be received, -121.5 dBm being the thermal noise in a block.
        alpha: fraction of the path loss, :math:`\alpha`, 0 … 1; LTE and NR have 0, 0.4, 0.5, …, 1.
        block_hz: width of a resource block [Hz]. In NR too: there :math:`M` is :math:`2^\mu M_\text{RB}`, which counts
            blocks of 180 kHz whatever the subcarriers.

    Source: TS 36.213, 5.1.1.1 and TS 38.213, 7.1.1. Differs from them in: no offset by modulation, no closed loop
    besides.

    Example:
        >>> from syft_fl.radio import Cell, Wireless
        >>> from syft_fl.keys import Key
        >>> from syft_fl.units import watt_to_dbm
        >>> control = Fractional(p0_dbm=-100.0, alpha=1.0)
        >>> model = Wireless(power_dbm=23.0, power_control=control, path={"kind": "log-distance", "shadowing_db": 0.0})
        >>> link = model.link(Cell(distances_m=(100.0,)), Key(0), "uplink")
        >>> power_w = link.transmit_power_w("ue0", share=0.18, block=0, time_s=0.0)  # one block; 90.5 dB of path loss
        >>> round(watt_to_dbm(power_w), 2)
        -9.5
    """

    kind: ClassVar[str] = "fractional"

    p0_dbm: float = -90.0
    alpha: float = 0.8
    block_hz: float = 180e3

    def __post_init__(self) -> None:
        require(-300 <= self.p0_dbm <= 300, "p0_dbm", self.p0_dbm, "in -300 … 300", "it is a level in dB")
        require(
            0 <= self.alpha <= 1, "alpha", self.alpha, "in 0 … 1", "for a constant power use kind = 'full'"
        )
        require(0 < self.block_hz < math.inf, "block_hz", self.block_hz, "above 0 and finite")

    def power_w(self, most_w: float, channel: KnownChannel) -> float:
        gain = channel.mean_gain
        if gain <= 0:  # no power is enough
            return most_w
        blocks = channel.width_hz / self.block_hz
        return min(most_w, dbm_to_watt(self.p0_dbm) * blocks * math.pow(gain, -self.alpha))


@POWER_CONTROLS
@schema
class TargetSnr:
    r"""Closed loop, or channel inversion: the power that gives a signal-to-noise ratio, as far as it goes.

    .. math:: P = \min\bigl(P_\text{max},\ \gamma\,(N + I) / g\bigr)

    with :math:`N + I` noise and interference in the share and :math:`g` the gain that is inverted: of path and
    shadowing (the ratio is :math:`\gamma` but for the fading), or times the fading (the ratio is :math:`\gamma`
    itself; with Rayleigh fading that takes much power, since :math:`E[1/h]` is infinite: the cap is what bounds it).
    The base station measures noise and interference, neighbour cells' included, and the loop is ideal.

    Attributes:
        snr_db: the ratio at the base station, :math:`\gamma`, -100 … 100 dB; over noise and interference.
        inversion: ``"mean"``: of path and shadowing, as slow loops do; ``"instantaneous"``: of the fading too.

    Source: Goldsmith and Varaiya 1997 (channel inversion). Differs from it in: a peak power in place of a mean
    one; where it does not suffice the UE sends with it all the same, and is received below the target.
    """

    kind: ClassVar[str] = "target-snr"

    snr_db: float = 10.0
    inversion: Literal["mean", "instantaneous"] = "mean"

    def __post_init__(self) -> None:
        require(-100 <= self.snr_db <= 100, "snr_db", self.snr_db, "in -100 … 100", "it is in dB")

    def power_w(self, most_w: float, channel: KnownChannel) -> float:
        gain = channel.mean_gain
        if self.inversion == "instantaneous":
            gain *= channel.fading_gain
        if gain <= 0:  # no power is enough
            return most_w
        return min(most_w, db_to_linear(self.snr_db) * channel.noise_w / gain)
