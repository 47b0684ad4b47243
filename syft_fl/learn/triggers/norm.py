"""Thresholds on the length of an update: in absolute terms, and for a UE's share of the band."""

from __future__ import annotations

import math
from typing import ClassVar

from syft_fl.learn.triggers.trigger import TRIGGERS, Decision, Memory, TriggerView, compared, norm
from syft_fl.schema import require, schema

__all__ = ["Bandwidth", "Norm", "Relative"]


@TRIGGERS
@schema
class Norm:
    r"""Send an update that is long enough.

    .. math:: \|u + r\|_2 \ge \tau\,\delta^{\,t-1}

    with :math:`u` the update, :math:`r` what is owed, in round :math:`t = 1, 2, …`. What is held back is owed with
    error feedback: then :math:`u + r` is how far the UE has moved since the base station last heard of it, which is
    what the literature compares, and small steps add up until they are sent. Without error feedback it is dropped.

    Attributes:
        tau: :math:`\tau`, at least 0; 0 sends always.
        decay: :math:`\delta`, above 0 and at most 1. Updates grow shorter as training converges: a threshold that
            stays where it is silences everybody in the end, and leaves an error in proportion to it.

    Source: the threshold on the deviation from what was sent last, :math:`\|w - \hat w\|`, of event-triggered consensus
    and learning; decreasing thresholds: S. Zehtabi, S. Hosseinalipour and C. G. Brinton, *Decentralized Event-Triggered
    Federated Learning with Heterogeneous Communication Thresholds*, 2022, broadcast event. Differs from it in: the norm
    is not divided by the square root of the number of entries; it decreases geometrically.
    """

    kind: ClassVar[str] = "norm"

    tau: float
    decay: float = 1.0

    def __post_init__(self) -> None:
        _require_threshold("tau", self.tau)
        _require_decay(self.decay)

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        return compared(norm(view.outgoing), _decayed(self.tau, self.decay, view.round))


@TRIGGERS
@schema
class Relative:
    r"""Send an update that is long enough beside the model.

    .. math:: \|u + r\|_2 / \|w\|_2 \ge \varepsilon

    with :math:`u` the update, :math:`r` what is owed, :math:`w` the model received. Beside a model of zeros any update
    is infinitely long, but one of zeros, which is 0. What is held back is owed with error feedback, and dropped
    without.

    Attributes:
        epsilon: :math:`\varepsilon`, at least 0; 0 sends always.

    Source: the relative threshold of the event-triggered literature, as in K. Hsieh et al., *Gaia: Geo-Distributed
    Machine Learning Approaching LAN Speeds*, 2017 (significance filter). Differs from it in: one test of
    the whole vector in place of one for each parameter.
    """

    kind: ClassVar[str] = "relative"

    epsilon: float

    def __post_init__(self) -> None:
        _require_threshold("epsilon", self.epsilon)

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        moved, size = norm(view.outgoing), norm(view.received)
        beside_nothing = math.inf if moved else 0.0
        return compared(moved / size if size else beside_nothing, self.epsilon)


@TRIGGERS
@schema
class Bandwidth:
    r"""A threshold on the length of an update that is higher where the air is dear.

    .. math:: \|u + r\|_2 \ge \tau\,\delta^{\,t-1}\,\bar b / b_m

    with :math:`b_m` the UE's rate over the whole band now and :math:`\bar b` the mean of that over the cell's UEs, in
    round :math:`t = 1, 2, …`: a UE of twice the rate needs half the reason. Without a rate it does not send. What is
    held back is owed with error feedback, and dropped without.

    Attributes:
        tau: :math:`\tau`, at least 0: the threshold of a UE of mean rate; 0 sends always.
        decay: :math:`\delta`, above 0 and at most 1.

    Source: S. Zehtabi, S. Hosseinalipour and C. G. Brinton, *Decentralized Event-Triggered Federated Learning with
    Heterogeneous Communication Thresholds*, 2022, broadcast event: :math:`n^{-1/2}\|w_i - \hat w_i\| \ge r\rho_i
    \gamma^{(k)}` with :math:`\rho_i` the inverse of a device's bandwidth. Differs from it in: the norm is not divided
    by the square root of the number of entries; rates are relative to their mean, and change with the channel;
    :math:`\gamma` decreases geometrically.
    """

    kind: ClassVar[str] = "bandwidth"

    tau: float
    decay: float = 1.0

    def __post_init__(self) -> None:
        _require_threshold("tau", self.tau)
        _require_decay(self.decay)

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        rate_bps = view.rate_bps()
        scale = view.mean_rate_bps() / rate_bps if rate_bps > 0 else math.inf
        tau = _decayed(self.tau, self.decay, view.round)
        return compared(norm(view.outgoing), tau * scale if tau else 0.0)


def _decayed(tau: float, decay: float, round: int) -> float:
    return float(tau * decay ** max(round - 1, 0))


def _require_threshold(name: str, value: float) -> None:
    require(0 <= value < math.inf, name, value, "at least 0 and finite", "0 sends always")


def _require_decay(decay: float) -> None:
    require(0 < decay <= 1, "decay", decay, "above 0 and at most 1", "1 leaves the threshold where it is")
