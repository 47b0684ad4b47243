r"""Fading that goes on from one instant to the next: echoes that turn as the UE moves.

=================  ===========================================================================
``kind``           autocorrelation of the complex gain h over a time :math:`\tau`
=================  ===========================================================================
``jakes``          :math:`J_0(2 \pi f_D \tau)`: echoes from all around a UE at constant speed
``gauss-markov``   :math:`e^{-\tau/T}`: at equal steps an autoregression of order 1 (AR-1)
=================  ===========================================================================

Both are Rayleigh fading at any instant (the power gain is exponential). Each is a sum of sinusoids: a function of
key, UE and time, that remembers nothing, so that asking twice or in another order changes nothing. Between steps the
gain is held.

Left out: correlation between UEs and over the band, line of sight.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key
from syft_fl.radio.fading import FADINGS, Fading
from syft_fl.radio.steps import next_step_s, step_number
from syft_fl.schema import require, schema

__all__ = ["Echoes", "GaussMarkov", "Jakes"]

_ECHOES = 128
"""With 128 echoes the mean square of the power gain is 1.992 (exponential: 2)."""


class EchoModel(abc.ABC):
    """Settings of fading that is a sum of echoes, each with its own frequency."""

    @abc.abstractmethod
    def frequencies_hz(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """[echoes] frequencies [Hz] of [echoes] uniform numbers: the spectrum's inverse distribution function."""


@FADINGS
@schema
class Jakes(EchoModel):
    r"""A UE at constant speed among echoes from all around.

    .. math:: h(t) = \sqrt{1/N} \sum_n e^{j (2 \pi f_D t \cos\alpha_n + \varphi_n)}, \quad
              E[h^*(t)\,h(t + \tau)] = J_0(2 \pi f_D \tau)

    with one direction :math:`\alpha_n` from each of N equal sectors and uniform phases.

    Attributes:
        doppler_hz: largest Doppler shift :math:`f_D = v f / c`, above 0 Hz; 5.6 Hz is a walker's (3 km/h) at 2 GHz.
        step_s: how long the gain is held [s]; None: a twentieth of a period of :math:`f_D`, over which h keeps a
            correlation of 0.975.

    Source: Clarke 1968, Jakes 1974; random phases after Zheng and Xiao 2003. Differs from it in: directions from
        sectors.
    """

    kind: ClassVar[str] = "jakes"

    doppler_hz: float = 5.6
    step_s: float | None = None

    def __post_init__(self) -> None:
        require(
            0 < self.doppler_hz < math.inf,
            "doppler_hz",
            self.doppler_hz,
            "above 0 and finite",
            "for a UE that stands still use kind = 'rayleigh'",
        )
        _check_step(self.step_s)

    def open(self, key: Key) -> Fading:
        """The fading of one direction."""
        return Echoes(self, key, 0.05 / self.doppler_hz if self.step_s is None else self.step_s)

    def frequencies_hz(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.doppler_hz * np.cos(2.0 * math.pi * uniform))


@FADINGS
@schema
class GaussMarkov(EchoModel):
    r"""Fading that forgets at a constant rate; seen at equal steps it is an autoregression of order 1.

    .. math:: E[h^*(t)\,h(t + \tau)] = e^{-|\tau|/T}

    The sum of sinusoids of :class:`Jakes` with the spectrum of that: frequencies of a Cauchy distribution.

    Attributes:
        coherence_s: time :math:`T` over which the correlation falls to 1/e, above 0 s.
        step_s: how long the gain is held [s]; None: a twentieth of T, over which h keeps a correlation of 0.951.
    """

    kind: ClassVar[str] = "gauss-markov"

    coherence_s: float = 0.05
    step_s: float | None = None

    def __post_init__(self) -> None:
        require(0 < self.coherence_s < math.inf, "coherence_s", self.coherence_s, "above 0 and finite")
        _check_step(self.step_s)

    def open(self, key: Key) -> Fading:
        """The fading of one direction."""
        return Echoes(self, key, self.coherence_s / 20.0 if self.step_s is None else self.step_s)

    def frequencies_hz(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        # tan is finite in floating point even at the ends of its branch.
        return np.asarray(np.tan(math.pi * (uniform - 0.5)) / (2.0 * math.pi * self.coherence_s))


@dataclass(frozen=True, slots=True)
class Echoes:
    """A channel of echoes, one for each UE.

    Attributes:
        model: what frequencies they have.
        key: the stream of one direction.
        step_s: how long a gain is held [s].
    """

    model: EchoModel
    key: Key
    step_s: float

    def gain(self, ue: str, *, block: int, time_s: float) -> float:
        return abs(self.amplitude(ue, time_s=time_s)) ** 2

    def amplitude(self, ue: str, *, time_s: float) -> complex:
        """The complex gain h; its square has a mean of 1."""
        frequencies_hz, phases = _echoes(self.model, self.key / ue)
        held_s = step_number(time_s, self.step_s) * self.step_s
        # Whole turns first: far from time 0 the angle itself would lose its digits.
        turns = np.mod(frequencies_hz * held_s, 1.0) + phases
        return complex(np.exp(2j * math.pi * turns).sum()) / math.sqrt(_ECHOES)

    def steady_until_s(self, *, time_s: float) -> float:
        return next_step_s(time_s, self.step_s)


@lru_cache(maxsize=8192)
def _echoes(model: EchoModel, key: Key) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[echoes] frequencies [Hz] and phases [turns] of one UE; kept, since they depend on settings and key alone."""
    draws, phases = key.numpy().random((2, _ECHOES))
    return model.frequencies_hz((np.arange(_ECHOES) + draws) / _ECHOES), phases


def _check_step(step_s: float | None) -> None:
    require(
        step_s is None or 0 < step_s < math.inf, "step_s", step_s, "above 0 and finite", "or leave it out"
    )
