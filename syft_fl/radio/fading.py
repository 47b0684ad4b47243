r"""Fast fading: what many echoes do to a channel whose mean gain is known.

============  =====================================================================================
``kind``      the power gain, 1 on average
============  =====================================================================================
``none``      1
``rayleigh``  exponential: no line of sight
``rician``    non-central chi-square: a line of sight K times as strong as all echoes together
``nakagami``  gamma of shape m: between a half Gaussian (m = 0.5), Rayleigh (m = 1) and none
============  =====================================================================================

They hold still for a block and are drawn anew for the next one. A block is either the caller's round (the usual
assumption in the field: one draw per UE and round) or a stretch of simulated time as long as the coherence time.
Either way the gain is a function of key, UE and block, never of how often or in which order it is asked for. Blocks
are independent; fading that is correlated in time (``jakes``, ``gauss-markov``) is in :mod:`syft_fl.radio.doppler`.

Left out: correlation between UEs and over the band.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import scipy  # its parts load when they are first used

from syft_fl.keys import Key
from syft_fl.radio.steps import next_step_s, step_number
from syft_fl.schema import Registry, require, schema
from syft_fl.units import db_to_linear

__all__ = ["FADINGS", "Fading", "FadingModel", "Nakagami", "NoFading", "Rayleigh", "Rician"]

FADINGS = Registry("fading", "open")
"""Fading models by kind; ``FADINGS(MyFading)`` adds one."""

Block = Literal["round", "time"]


class Fading(Protocol):
    """The power gain of each UE's channel, 1 on average."""

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        """Linear power gain."""
        ...

    def steady_until_s(self, *, time_s: float) -> float:
        """First time [s] after ``time_s`` at which gains may change; infinity where never within a block."""
        ...


@runtime_checkable
class FadingModel(Protocol):
    """The settings of fading: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def open(self, key: Key) -> Fading:
        """The fading that these settings describe, drawn from the key of one direction."""
        ...


@FADINGS
@schema
class NoFading:
    """A gain of 1: a channel that echoes don't change."""

    kind: ClassVar[str] = "none"

    def open(self, key: Key) -> Fading:
        """The fading; no key matters to it."""
        return _Still()


@FADINGS
@schema
class Rayleigh:
    r"""No line of sight: the sum of many echoes is complex normal, its power :math:`g` exponential.

    .. math:: P(g > x) = e^{-x}

    Attributes:
        block: ``"round"``: one draw per UE and round; ``"time"``: one per UE and coherence time.
        coherence_s: coherence time [s], used with ``block = "time"``; 0.05 s is a walker's at 2 GHz.
    """

    kind: ClassVar[str] = "rayleigh"

    block: Block = "round"
    coherence_s: float = 0.05

    def __post_init__(self) -> None:
        _check_coherence(self.coherence_s)

    def open(self, key: Key) -> Fading:
        """The fading of one direction."""
        return _blocks(key, Key.exponential, self.block, self.coherence_s)


@FADINGS
@schema
class Rician:
    r"""A line of sight and many echoes.

    .. math:: g = \Bigl|\sqrt{\tfrac{K}{K+1}} + \sqrt{\tfrac{1}{K+1}}\,z\Bigr|^2, \quad z \sim CN(0, 1)

    so that :math:`E[g] = 1` and :math:`\mathrm{Var}[g] = (1 + 2K)/(1 + K)^2`.

    Attributes:
        k_db: power of the line of sight over that of the echoes, :math:`K`, -100 … 100 dB.
        block: as of :class:`Rayleigh`.
        coherence_s: as of :class:`Rayleigh`.
    """

    kind: ClassVar[str] = "rician"

    k_db: float = 6.0
    block: Block = "round"
    coherence_s: float = 0.05

    def __post_init__(self) -> None:
        require(-100 <= self.k_db <= 100, "k_db", self.k_db, "in -100 … 100", "it is in dB")
        _check_coherence(self.coherence_s)

    def open(self, key: Key) -> Fading:
        """The fading of one direction."""
        return _blocks(key, self._draw, self.block, self.coherence_s)

    def _draw(self, key: Key) -> float:
        k = db_to_linear(self.k_db)
        in_phase = math.sqrt(2.0 * k) + (key / "in phase").normal()
        return (in_phase**2 + (key / "quadrature").normal() ** 2) / (2.0 * (k + 1.0))


@FADINGS
@schema
class Nakagami:
    r"""Echoes in clusters: the power is gamma distributed with shape :math:`m` and mean 1.

    .. math:: p(g) = \frac{m^m g^{m-1}}{\Gamma(m)} e^{-mg}, \quad \mathrm{Var}[g] = 1/m

    Drawn by inversion from the very number that an exponential gain is drawn from: ``m = 1`` gives Rayleigh's gains,
    and a greater m gives the same blocks a milder fate.

    Attributes:
        m: shape, 0.5 … 1000.
        block: as of :class:`Rayleigh`.
        coherence_s: as of :class:`Rayleigh`.

    Source: Nakagami 1960.
    """

    kind: ClassVar[str] = "nakagami"

    m: float = 2.0
    block: Block = "round"
    coherence_s: float = 0.05

    def __post_init__(self) -> None:
        require(0.5 <= self.m <= 1000, "m", self.m, "in 0.5 … 1000", "for no fading use kind = 'none'")
        _check_coherence(self.coherence_s)

    def open(self, key: Key) -> Fading:
        """The fading of one direction."""
        return _blocks(key, self._draw, self.block, self.coherence_s)

    def _draw(self, key: Key) -> float:
        return float(scipy.special.gammainccinv(self.m, key.uniform())) / self.m


@dataclass(frozen=True, slots=True)
class _Still:
    """A gain of 1."""

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        return 1.0

    def steady_until_s(self, *, time_s: float) -> float:
        return math.inf


Law = Callable[[Key], float]
"""One draw of a power gain from a key."""


class _Draws:
    """One draw per UE and block. Those of the block asked for last are kept, for a medium asks several times."""

    def __init__(self, key: Key, law: Law) -> None:
        self._key, self._law = key, law
        self._block: int | None = None
        self._gains: dict[str, float] = {}

    def gain(self, ue: str, block: int) -> float:
        if block != self._block:
            self._block, self._gains = block, {}
        gain = self._gains.get(ue)
        if gain is None:
            gain = self._gains[ue] = self._law(self._key / ue / block)
        return gain


class _PerRound:
    """One draw per UE and the caller's block."""

    def __init__(self, key: Key, law: Law) -> None:
        self._draws = _Draws(key, law)

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        return self._draws.gain(ue, block)

    def steady_until_s(self, *, time_s: float) -> float:
        return math.inf


class _PerTime:
    """One draw per UE and coherence time: one realisation h(t) for all callers."""

    def __init__(self, key: Key, law: Law, coherence_s: float) -> None:
        self._draws = _Draws(key, law)
        self._coherence_s = coherence_s

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        return self._draws.gain(ue, step_number(time_s, self._coherence_s))

    def steady_until_s(self, *, time_s: float) -> float:
        return next_step_s(time_s, self._coherence_s)


def _blocks(key: Key, law: Law, block: Block, coherence_s: float) -> Fading:
    return _PerTime(key, law, coherence_s) if block == "time" else _PerRound(key, law)


def _check_coherence(coherence_s: float) -> None:
    require(
        0 < coherence_s < math.inf,
        "coherence_s",
        coherence_s,
        "above 0 and finite",
        "for a channel that never changes use kind = 'none'",
    )
