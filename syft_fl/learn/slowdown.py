r"""UEs that don't compute equally fast: a factor on the time of each training.

===============  ==================================================  =========================================
``kind``         the factor                                          its mean
===============  ==================================================  =========================================
``uniform``      between two bounds                                  :math:`(a + b)/2`
``lognormal``    a product of many small causes                      1
``exponential``  a fixed part and an exponential one                 :math:`a + b`
``pareto``       a heavy tail                                        :math:`a\,\alpha/(\alpha - 1)`
``stragglers``   now and then, or at some UEs, a fixed factor        :math:`1 + p\,(b - 1)`
``trace``        as measured (:mod:`~syft_fl.learn.slowdown_trace`)  that of its numbers
===============  ==================================================  =========================================

The nominal time is the compute model's (:mod:`~syft_fl.learn.compute`). A factor says how much longer a training took
than that, below 1 how much less: ``per = "training"`` draws it anew for each training of each UE (a processor with
other things to do), ``per = "ue"`` once for each UE (devices that differ). Either way it is a function of key, UE and
training, so it is the same whatever the codec, the radio or the selection.

What is slowed down is time alone. A factor stands for waiting (background load, a throttled queue), so the work, and
with it the energy, is the nominal one: ``cycles`` charges :math:`\kappa f^2 c\,n` however long that took. A processor
that runs the same cycles at a lower clock spends less, and is not modelled here.

Left out: slowness that lasts over several trainings of a UE, or that UEs share.
"""

from __future__ import annotations

import abc
import math
from typing import ClassVar, Literal, Protocol, runtime_checkable

from syft_fl.keys import Key
from syft_fl.schema import Registry, require, schema

__all__ = [
    "SLOWDOWNS",
    "DrawnSlowdown",
    "ExponentialSlowdown",
    "LognormalSlowdown",
    "ParetoSlowdown",
    "Slowdown",
    "Stragglers",
    "UniformSlowdown",
]

SLOWDOWNS = Registry("slowdown", "factor", "expected")
"""Slowdowns by kind; ``SLOWDOWNS(MySlowdown)`` adds one."""

Per = Literal["training", "ue"]


@runtime_checkable
class Slowdown(Protocol):
    """The settings of a slowdown: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def factor(self, ue: str, *, training: int, key: Key) -> float:
        """What the nominal time of one training is multiplied by.

        Args:
            ue: who trains.
            training: which of its trainings it is, counted from 0.
            key: the UE's own stream; nothing else is drawn from it.

        Returns:
            A factor above 0 that follows from the arguments alone.
        """
        ...

    def expected(self, ue: str, *, key: Key) -> float:
        """Mean factor of this UE's trainings: the factor itself where the UE has a fixed one."""
        ...


class DrawnSlowdown(abc.ABC):
    """A factor that is drawn from one law for all UEs.

    Attributes:
        per: ``"training"``: anew for each training; ``"ue"``: once for each UE.
    """

    per: Per

    @property
    @abc.abstractmethod
    def mean(self) -> float:
        """Mean of the law."""

    @abc.abstractmethod
    def draw(self, key: Key) -> float:
        """One draw."""

    def factor(self, ue: str, *, training: int, key: Key) -> float:
        return self.draw(_stream(key, self.per, training))

    def expected(self, ue: str, *, key: Key) -> float:
        return self.draw(key) if self.per == "ue" else self.mean


@SLOWDOWNS
@schema
class UniformSlowdown(DrawnSlowdown):
    """Anything between two bounds, alike.

    Attributes:
        low, high: the bounds; the mean is in the middle.
        per: as of :class:`DrawnSlowdown`.
    """

    kind: ClassVar[str] = "uniform"
    low: float = 0.5
    high: float = 1.5
    per: Per = "training"

    def __post_init__(self) -> None:
        _require_positive("low", self.low)
        require(self.low <= self.high < math.inf, "high", self.high, f"at least low = {self.low} and finite")

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    def draw(self, key: Key) -> float:
        return self.low + (self.high - self.low) * key.uniform()


@SLOWDOWNS
@schema
class LognormalSlowdown(DrawnSlowdown):
    r"""A normal logarithm, and a mean of 1 whatever the spread: :math:`e^{\sigma z - \sigma^2/2}`, z standard normal.

    Attributes:
        sigma: standard deviation of the logarithm, 0 … 10; the factor's own variance is :math:`e^{\sigma^2} - 1`.
        per: as of :class:`DrawnSlowdown`.
    """

    kind: ClassVar[str] = "lognormal"
    sigma: float = 0.5
    per: Per = "training"

    def __post_init__(self) -> None:
        require(0 <= self.sigma <= 10, "sigma", self.sigma, "in 0 … 10", "0.5 spreads the middle 68 % by 2.7")

    @property
    def mean(self) -> float:
        return 1.0

    def draw(self, key: Key) -> float:
        return math.exp(self.sigma * key.normal() - self.sigma**2 / 2)


@SLOWDOWNS
@schema
class ExponentialSlowdown(DrawnSlowdown):
    r"""The shifted exponential, the usual model of stragglers.

    .. math:: P(F > x) = e^{-(x - a)/b}, \quad x \ge a

    Its mean is :math:`a + b`. The slowest of K has the mean :math:`a + b\,H_K`, with the harmonic number
    :math:`H_K = 1 + 1/2 + … + 1/K`.

    Attributes:
        shift: the smallest factor :math:`a`, at least 0.
        scale: mean of what comes on top, :math:`b`; the paper's straggling parameter is :math:`\mu = 1/b`.
        per: as of :class:`DrawnSlowdown`.

    Source: K. Lee et al., *Speeding Up Distributed Machine Learning Using Codes*, 2018, where :math:`a = 1`. Differs
    from it in: nothing.
    """

    kind: ClassVar[str] = "exponential"
    shift: float = 1.0
    scale: float = 1.0
    per: Per = "training"

    def __post_init__(self) -> None:
        require(0 <= self.shift < math.inf, "shift", self.shift, "at least 0 and finite")
        _require_positive("scale", self.scale)

    @property
    def mean(self) -> float:
        return self.shift + self.scale

    def draw(self, key: Key) -> float:
        return self.shift + self.scale * key.exponential()


@SLOWDOWNS
@schema
class ParetoSlowdown(DrawnSlowdown):
    r"""A heavy tail: :math:`P(F > x) = (a/x)^\alpha` for :math:`x \ge a`; the mean is :math:`a\,\alpha/(\alpha - 1)`.

    Attributes:
        shape: :math:`\alpha`, above 1 (else there is no mean); up to 2 the variance is infinite.
        scale: the smallest factor :math:`a`.
        per: as of :class:`DrawnSlowdown`.
    """

    kind: ClassVar[str] = "pareto"
    shape: float = 2.5
    scale: float = 1.0
    per: Per = "training"

    def __post_init__(self) -> None:
        require(
            1 < self.shape < math.inf,
            "shape",
            self.shape,
            "above 1 and finite",
            "at 1 and below the mean is infinite, and so is what a round is expected to take",
        )
        _require_positive("scale", self.scale)

    @property
    def mean(self) -> float:
        return self.scale * self.shape / (self.shape - 1)

    def draw(self, key: Key) -> float:
        return float(self.scale * key.uniform() ** (-1 / self.shape))


@SLOWDOWNS
@schema
class Stragglers:
    """Some are slower by a factor; all else takes its nominal time.

    Attributes:
        times: how much slower a straggler is, :math:`b`.
        probability: of being one, :math:`p`: in each training, or for each UE, as ``per`` has it. None: 0.1, or 1 where
            ``ues`` are named.
        ues: names of those that can be stragglers, such as ``"ue3"``; empty: all can.
        per: as of :class:`DrawnSlowdown`. With ``"ue"`` the share of stragglers is p on average.
    """

    kind: ClassVar[str] = "stragglers"
    times: float = 5.0
    probability: float | None = None
    ues: tuple[str, ...] = ()
    per: Per = "training"

    def __post_init__(self) -> None:
        _require_positive("times", self.times)
        require(
            self.probability is None or 0 <= self.probability <= 1,
            "probability",
            self.probability,
            "in 0 … 1",
            "write 0.1 for 10 %",
        )

    @property
    def chance(self) -> float:
        """The probability, the default resolved."""
        if self.probability is not None:
            return self.probability
        return 1.0 if self.ues else 0.1

    @property
    def mean(self) -> float:
        """Mean factor of a UE that can be a straggler."""
        return 1.0 + self.chance * (self.times - 1.0)

    def factor(self, ue: str, *, training: int, key: Key) -> float:
        return self._draw(ue, _stream(key, self.per, training))

    def expected(self, ue: str, *, key: Key) -> float:
        if self.per == "ue":
            return self._draw(ue, key)
        return self.mean if self._can(ue) else 1.0

    def _can(self, ue: str) -> bool:
        return not self.ues or ue in self.ues

    def _draw(self, ue: str, key: Key) -> float:
        return self.times if self._can(ue) and key.uniform() < self.chance else 1.0


def _stream(key: Key, per: Per, training: int) -> Key:
    return key if per == "ue" else key / f"training{training}"


def _require_positive(name: str, value: float) -> None:
    require(0 < value < math.inf, name, value, "above 0 and finite", "it is a factor on time, 1 is no change")
