r"""With which probability a packet does not arrive.

===================  =================================================================================
``kind``             a packet is lost
===================  =================================================================================
``none``             never
``packet``           with a fixed probability, each for itself
``waterfall``        with 1 - exp(-m / SNR), whatever its rate
``bler``             with 10 % where the SNR is what its modulation and code need; the rest by a curve
``gilbert-elliott``  in bursts: the channel is good or bad for a while
===================  =================================================================================

A model says the probability; the link draws (:mod:`~syft_fl.radio.wireless`). Losses that noise makes (``waterfall``,
``bler``) fall with the SNR, to which a packet's tries may add up (:class:`~syft_fl.radio.retransmission.Harq`); the
others don't know of it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import scipy  # its parts load when they are first used
from numpy.typing import NDArray

from syft_fl.keys import Key
from syft_fl.schema import Registry, require, schema

__all__ = ["LOSSES", "Bler", "GilbertElliott", "Loss", "NoLoss", "Packet", "Waterfall"]

LOSSES = Registry("loss model", "error")
"""Loss models by kind; ``LOSSES(MyLoss)`` adds one."""

Floats = NDArray[np.float64]

_NORMAL_QUANTILES = (1.2815515655446004, 2.3263478740408408)
"""Where the standard normal's upper tail is 10 % and 1 %."""
_SLOTS_AT_ONCE = 1024
_LEAST_RESET = 1e-6


@runtime_checkable
class Loss(Protocol):
    """With which probability packets are lost: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def error(self, ue: str, *, snr: Floats, needed: Floats, times_s: Floats, key: Key) -> Floats:
        """[packets] probability of losing each.

        Args:
            ue: at the other end from the base station.
            snr: [packets] signal-to-noise ratio (linear).
            needed: [packets] ratio at which the chosen modulation and code lose 10 %.
            times_s: [packets] when each begins.
            key: the stream of losses that come and go with time, whatever is sent.
        """
        ...


@LOSSES
@schema
class NoLoss:
    """Everything arrives."""

    kind: ClassVar[str] = "none"

    def error(self, ue: str, *, snr: Floats, needed: Floats, times_s: Floats, key: Key) -> Floats:
        return np.zeros_like(times_s)


@LOSSES
@schema
class Packet:
    """The same probability for every packet.

    Attributes:
        probability: 0 … 1.
    """

    kind: ClassVar[str] = "packet"

    probability: float = 0.1

    def __post_init__(self) -> None:
        _check_probability("probability", self.probability)

    def error(self, ue: str, *, snr: Floats, needed: Floats, times_s: Floats, key: Key) -> Floats:
        return np.full_like(times_s, self.probability)


@LOSSES
@schema
class Waterfall:
    r"""The usual law of papers on federated learning over a radio: one formula for all rates.

    .. math:: p = 1 - \exp\Bigl(-\frac{m}{\mathrm{SNR}}\Bigr) = 1 - \exp\Bigl(-\frac{m(\sigma^2 + I)}{P\,h}\Bigr)

    Attributes:
        m: waterfall threshold, above 0.

    Source: M. Chen et al., *A Joint Learning and Communications Framework for Federated Learning over Wireless
    Networks*, 2021; m as in its published code. Differs from it in: per packet, where a model is more than one.
    """

    kind: ClassVar[str] = "waterfall"

    m: float = 1.08

    def __post_init__(self) -> None:
        require(0 < self.m < math.inf, "m", self.m, "above 0 and finite", "for no loss use kind = 'none'")

    def error(self, ue: str, *, snr: Floats, needed: Floats, times_s: Floats, key: Key) -> Floats:
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(-np.expm1(-self.m / snr))


@LOSSES
@schema
class Bler:
    r"""The block error curve of a modulation and a code: a Gaussian tail over decibels.

    .. math:: p = Q\bigl(z_{10} + (z_1 - z_{10})\,(\mathrm{SNR} - \mathrm{SNR}_{10}) / w\bigr), \quad
              Q(z_{10}) = 0.1,\ Q(z_1) = 0.01

    with both ratios in dB: 10 % at :math:`\mathrm{SNR}_{10}`, which the rate model says of what it chose, and 1 % at
    :math:`w` more.

    Attributes:
        decade_db: width :math:`w`, 0 … 100 dB; 0: a step, all or nothing (outage).
    """

    kind: ClassVar[str] = "bler"

    decade_db: float = 0.5

    def __post_init__(self) -> None:
        require(0 <= self.decade_db <= 100, "decade_db", self.decade_db, "in 0 … 100", "it is in dB")

    def error(self, ue: str, *, snr: Floats, needed: Floats, times_s: Floats, key: Key) -> Floats:
        if self.decade_db == 0:
            return (snr < needed).astype(np.float64)
        with np.errstate(divide="ignore"):
            above_db = 10.0 * np.log10(snr / needed)
        ten, one = _NORMAL_QUANTILES
        return np.asarray(
            0.5 * scipy.special.erfc((ten + (one - ten) * above_db / self.decade_db) / math.sqrt(2.0))
        )


@LOSSES
@schema
class GilbertElliott:
    r"""Losses in bursts: each UE's channel is good or bad, and stays so for a while.

    From slot to slot it turns bad with probability :math:`g` and good with :math:`b`. So it is bad for :math:`g/(g+b)`
    of the time, in bursts of :math:`1/b` slots on average, and the states of slots :math:`k` apart have correlation
    :math:`(1-g-b)^k`. One realisation in simulated time: whoever sends in a slot meets the same state, whatever was
    sent before. A packet's slot is the one it begins in.

    Attributes:
        to_bad: :math:`g`, above 0.
        to_good: :math:`b`, above 0; with ``to_bad`` at most 1 (bursts, not alternation) and at least 1e-6.
        slot_s: length of a slot [s].
        loss_good, loss_bad: probability of losing a packet in each state, 0 … 1.

    Source: Gilbert 1960, Elliott 1963. The state of a slot is found without a history: a slot's own draw u decides
    alone where u < g (bad) or u >= 1 - b (good), and keeps the state before it otherwise; so one looks back to the
    last slot that decided.
    """

    kind: ClassVar[str] = "gilbert-elliott"

    to_bad: float = 0.01
    to_good: float = 0.1
    slot_s: float = 0.01
    loss_good: float = 0.0
    loss_bad: float = 1.0

    def __post_init__(self) -> None:
        for name in ("to_bad", "to_good"):
            value = getattr(self, name)
            require(0 < value <= 1, name, value, "above 0 and at most 1")
        require(
            _LEAST_RESET <= self.to_bad + self.to_good <= 1,
            "to_bad + to_good",
            self.to_bad + self.to_good,
            f"in {_LEAST_RESET} … 1",
            "for independent losses use kind = 'packet'",
        )
        require(0 < self.slot_s < math.inf, "slot_s", self.slot_s, "above 0 and finite")
        _check_probability("loss_good", self.loss_good)
        _check_probability("loss_bad", self.loss_bad)

    def error(self, ue: str, *, snr: Floats, needed: Floats, times_s: Floats, key: Key) -> Floats:
        bad = self.bad(ue, np.floor(times_s / self.slot_s).astype(np.int64), key=key)
        return np.where(bad, self.loss_bad, self.loss_good)

    def bad(self, ue: str, slots: NDArray[np.int64], *, key: Key) -> NDArray[np.bool_]:
        """[slots] whether a UE's channel is bad in each."""
        stretches = slots // _SLOTS_AT_ONCE
        found = np.zeros(len(slots), dtype=np.bool_)
        for stretch in np.unique(stretches):
            here = stretches == stretch
            states = _states(key / ue, int(stretch), self.to_bad, self.to_good)
            found[here] = states[slots[here] - stretch * _SLOTS_AT_ONCE]
        return found


@lru_cache(maxsize=256)
def _states(key: Key, stretch: int, to_bad: float, to_good: float) -> NDArray[np.bool_]:
    """[slots of a stretch] whether each is bad."""
    draws = _draws(key, stretch)
    bad, last = draws < to_bad, _last_decided(draws, to_bad, to_good)
    # Slots before the first one that decided have the state in which the stretches before it ended.
    before = stretch
    while last[0] < 0:
        before -= 1
        earlier = _draws(key, before)
        decided = _last_decided(earlier, to_bad, to_good)[-1]
        if decided >= 0:
            return np.where(last < 0, earlier[decided] < to_bad, bad[last])
    return np.asarray(bad[last])


def _draws(key: Key, stretch: int) -> Floats:
    return (key / stretch).numpy().random(_SLOTS_AT_ONCE)


def _last_decided(draws: Floats, to_bad: float, to_good: float) -> NDArray[np.int64]:
    """[slots] the last slot up to each whose own draw decided; -1: none."""
    decides = (draws < to_bad) | (draws >= 1.0 - to_good)
    return np.maximum.accumulate(np.where(decides, np.arange(len(draws)), -1))


def _check_probability(name: str, value: float) -> None:
    require(0 <= value <= 1, name, value, "in 0 … 1", "it is a probability")
