"""One link for all UEs of a direction, and others for some of them.

A :class:`Link` knows the latency and the power of its whole direction. Where some UEs have a link of their own, a
medium asks for the links that a transmission is about; one to several UEs (a multicast) goes at the slowest one's
rate, with the strongest one's power, and has arrived after the longest latency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from syft_fl.radio.medium import FlatLink, Link, LossyLink
from syft_fl.radio.offers import never

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
        # Asking a protocol's isinstance takes longer than many a rate.
        self._flat = common if isinstance(common, FlatLink) else None
        self._own: dict[str, Link] = {}
        self.lossy = isinstance(common, LossyLink)

    def set(self, ue: str | None, link: Link) -> None:
        """Give a UE a link of its own; None: all that have none."""
        if ue is None:
            self._common = link
            self._flat = link if isinstance(link, FlatLink) else None
        else:
            self._own[ue] = link
        self.lossy = any(isinstance(each, LossyLink) for each in self.all())

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
        return max(link.latency_s for link in self.all())

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return self.of(ue).transmit_power_w(ue, share=share, block=block, time_s=time_s)

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return self.of(ue).rate_bps(ue, share=share, block=block, time_s=time_s)

    def rates_bps(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        """[ues] :meth:`rate_bps` of many, each with ``share`` of the band in its own block."""
        common = None if self._own else self._flat
        if common is not None:
            return common.rates_bps(ues, share=share, blocks=blocks, time_s=time_s)
        asked = zip(ues, blocks, strict=True)
        return np.array([self.rate_bps(ue, share=share, block=b, time_s=time_s) for ue, b in asked])

    def snrs(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        """[ues] signal-to-noise ratio (linear) of many; all their links have to be ``FlatLink``."""
        common = None if self._own else self._flat
        if common is not None:
            return common.snrs(ues, share=share, blocks=blocks, time_s=time_s)
        asked = {"share": share, "time_s": time_s}
        each = zip(ues, blocks, strict=True)
        return np.array([self._flat_of(ue).snr(ue, block=b, **asked) for ue, b in each])

    def rates_at_bps(
        self, ues: Sequence[str], snrs: NDArray[np.float64], *, share: float
    ) -> NDArray[np.float64]:
        """[ues] rate [bit/s] that each is sent with at its SNR; all their links have to be ``FlatLink``."""
        common = None if self._own else self._flat
        if common is not None:
            return common.rates_at_bps(snrs, share=share)
        return np.array(
            [
                self._flat_of(ue).rates_at_bps(snrs[number : number + 1], share=share)[0]
                for number, ue in enumerate(ues)
            ]
        )

    def powers_w(
        self, ues: Sequence[str], *, share: float, blocks: Sequence[int], time_s: float
    ) -> NDArray[np.float64]:
        """[ues] :meth:`transmit_power_w` of many."""
        common = None if self._own else self._flat
        if common is not None:
            return common.powers_w(ues, share=share, blocks=blocks, time_s=time_s)
        each = zip(ues, blocks, strict=True)
        return np.array(
            [self.transmit_power_w(ue, share=share, block=block, time_s=time_s) for ue, block in each]
        )

    def require_rate(self, ues: Sequence[str], *, share: float, block: int, time_s: float) -> None:
        """Refuse UEs that would never get a bit.

        Raises:
            TransportError: one has 0 bit/s, and its link never changes.
        """
        for ue in ues:
            rate_bps = self.rate_bps(ue, share=share, block=block, time_s=time_s)
            if rate_bps <= 0 and self.of(ue).steady_until_s(time_s=time_s) == math.inf:
                raise never(ue, time_s)

    def steady_until_s(self, *, time_s: float) -> float:
        return min(link.steady_until_s(time_s=time_s) for link in self.all())

    def _flat_of(self, ue: str) -> FlatLink:
        link = self.of(ue)
        assert isinstance(link, FlatLink)
        return link

    def all(self) -> tuple[Link, ...]:
        """The common link, and those of their own."""
        return (self._common, *self._own.values())
