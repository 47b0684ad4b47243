"""One link for all UEs of a direction, and others for some of them.

A :class:`Link` knows the latency and the power of its whole direction. Where some UEs have a link of their own, a
medium asks for the links that a transmission is about; one to several UEs (a multicast) goes at the slowest one's
rate, with the strongest one's power, and has arrived after the longest latency.
"""

from __future__ import annotations

from collections.abc import Sequence

from syft_fl.radio.medium import Link

__all__ = ["Links"]


class Links:
    """A link for all, and links of their own for some UEs; itself a link.

    Asked as a link, without a UE, it answers for the whole cell: the longest latency, the first change anywhere. So an
    access scheme that knows nothing of this class still gets every UE's own rate and power.

    Args:
        common: the link of every UE that has none of its own.

    Example:
        >>> from syft_fl.keys import Key
        >>> from syft_fl.radio.cell import Cell
        >>> from syft_fl.radio.constant import Constant
        >>> slow, fast = (Constant(rate_bps=r).link(Cell(), Key(0), "uplink") for r in (1e6, 8e6))
        >>> links = Links(slow)
        >>> links.set("ue1", fast)
        >>> [links.rate_bps(ue, share=1.0, block=0, time_s=0.0) for ue in ("ue0", "ue1")]
        [1000000.0, 8000000.0]
    """

    def __init__(self, common: Link) -> None:
        self._common = common
        self._own: dict[str, Link] = {}

    def set(self, ue: str | None, link: Link) -> None:
        """Give a UE a link of its own; None: all that have none."""
        if ue is None:
            self._common = link
        else:
            self._own[ue] = link

    def of(self, ue: str) -> Link:
        """The link of a UE."""
        return self._own.get(ue, self._common)

    def among(self, ues: Sequence[str]) -> tuple[Link, ...]:
        """The links of some UEs, each once."""
        if not self._own:
            return (self._common,)
        return tuple({id(link): link for link in map(self.of, ues)}.values())

    @property
    def latency_s(self) -> float:
        return max(link.latency_s for link in self._all())

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return self.of(ue).transmit_power_w(ue, share=share, block=block, time_s=time_s)

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return self.of(ue).rate_bps(ue, share=share, block=block, time_s=time_s)

    def steady_until_s(self, *, time_s: float) -> float:
        return min(link.steady_until_s(time_s=time_s) for link in self._all())

    def _all(self) -> tuple[Link, ...]:
        return (self._common, *self._own.values())
