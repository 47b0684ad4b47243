"""How transmit power goes with a share of the band, in each direction.

In the uplink every UE has its own amplifier: it puts all its power into whatever part of the band it has, so a
narrower band has a higher signal-to-noise ratio. In the downlink one base station serves all parts
of the band at once, so its power is split as the band is. UEs that send with less than all of it:
:mod:`~syft_fl.radio.power_control`.
"""

from __future__ import annotations

from syft_fl.schema import require

__all__ = ["check_direction", "power_in_share_w"]

_DIRECTIONS = ("uplink", "downlink")


def check_direction(direction: str) -> None:
    """Refuse what is neither direction.

    Raises:
        ConfigError: the direction is not ``"uplink"`` or ``"downlink"``.
    """
    require(direction in _DIRECTIONS, "direction", direction, " or ".join(map(repr, _DIRECTIONS)))


def power_in_share_w(power_w: float, *, share: float, direction: str) -> float:
    """Power [W] that is sent in a share (0 … 1] of the band.

    Example:
        >>> power_in_share_w(0.1, share=0.5, direction="uplink")
        0.1
        >>> power_in_share_w(0.1, share=0.5, direction="downlink")
        0.05
    """
    return power_w if direction == "uplink" else power_w * share
