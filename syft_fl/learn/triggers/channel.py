"""By the air: send while the channel is good."""

from __future__ import annotations

import math
from typing import ClassVar

from syft_fl.learn.triggers.trigger import TRIGGERS, Decision, Memory, TriggerView, compared
from syft_fl.schema import require, schema

__all__ = ["Channel"]


@TRIGGERS
@schema
class Channel:
    r"""Send over a channel that is good enough: :math:`h_m \ge g`, or :math:`b_m \ge b`.

    Over Rayleigh fading a UE sends with probability :math:`e^{-g}`, whatever its distance. A limit on the rate instead
    spares the air of whoever is far away too, and never hears some of them. What is held back is owed with error
    feedback, and dropped without.

    Attributes:
        gain: the least fading gain :math:`g`, a ratio of powers that is 1 on average; above 0.
        rate_bps: the least rate :math:`b` over the whole band [bit/s]; above 0.

    One of them is given.

    Source: G. Zhu, Y. Wang and K. Huang, *Broadband Analog Aggregation for Low-Latency Federated Edge Learning*, 2020
    (truncated channel inversion). Differs from it in: a digital link; one gain for the whole band.
    """

    kind: ClassVar[str] = "channel"

    gain: float | None = None
    rate_bps: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("gain", "rate_bps") if getattr(self, name) is not None]
        require(len(given) == 1, "channel", given, "one of gain and rate_bps", "for both nest two in 'all'")
        value = getattr(self, given[0])
        require(0 < value < math.inf, given[0], value, "above 0 and finite", "for no limit use 'always'")

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        if self.gain is not None:
            return compared(view.gain(), self.gain)
        assert self.rate_bps is not None
        return compared(view.rate_bps(), self.rate_bps)
