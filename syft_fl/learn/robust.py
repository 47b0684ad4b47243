r"""Rules that a few wrong models can't carry off: those of UEs that are broken, or that lie.

A *Byzantine* UE may send anything. One of them moves any mean anywhere; these rules stay with the majority. Each model
has one vote: samples are what a sender says of itself, and are not looked at. All assume that honest UEs agree by
and large. Where they hold unlike data they do not, and these rules then leave out what only a few know.

Buffers are treated as parameters are: coordinate-wise, or as those of the models that were chosen. Nothing more is sent
than by FedAvg. What counts is how many *arrived*: where packets are lost, fewer models than the cohort has stand
against as many liars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from syft_fl.learn.aggregation import AGGREGATORS, FedAvg, combine
from syft_fl.schema import require, schema
from syft_fl.vectors import ModelState

__all__ = ["Krum", "Median", "MultiKrum", "TrimmedMean"]

_Updates = Sequence[tuple[ModelState, float]]


@AGGREGATORS
@schema
class Median:
    """The median of every entry; of an even number of models, the mean of the two in the middle.

    Source: D. Yin, Y. Chen, K. Ramchandran and P. Bartlett, *Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates*, 2018, definition 1, on models in place of gradients.
    """

    kind: ClassVar[str] = "median"
    needs_each: ClassVar[bool] = True

    def aggregate(self, current: ModelState, updates: _Updates) -> ModelState:
        if not updates:
            return current
        # The middle one of an odd number, the middle two of an even one.
        return combine([state for state, _ in updates], lambda one: _inner_mean(one, (len(one) - 1) // 2))


@AGGREGATORS
@schema
class TrimmedMean:
    r"""The mean of every entry without its largest and smallest values.

    Of :math:`m` models, :math:`\lfloor \beta m \rfloor` are left out at each end, so that as many may lie.

    Attributes:
        fraction: :math:`\beta`, at each end; 0: the mean of all, each of the same weight.

    Source: D. Yin, Y. Chen, K. Ramchandran and P. Bartlett, *Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates*, 2018, definition 2, on models in place of gradients.
    """

    kind: ClassVar[str] = "trimmed-mean"
    needs_each: ClassVar[bool] = True

    fraction: float

    def __post_init__(self) -> None:
        require(
            0 <= self.fraction < 0.5,
            "fraction",
            self.fraction,
            "in 0 … 0.5, 0.5 excluded",
            "it is cut off at each end; kind = 'median' leaves the middle alone",
        )

    def require_cohort(self, users: int) -> None:
        """Refuse a fraction that cuts nothing off: that would be a mean by another name.

        Raises:
            ConfigError: it does.
        """
        require(
            self.fraction == 0 or self.trimmed(users) > 0,
            "fraction",
            self.fraction,
            f"at least 1/{users} with {users} UEs in a round",
            "less cuts nobody off; 0 says so",
        )

    def trimmed(self, models: int) -> int:
        """How many of so many models are left out at each end."""
        # 0.29 of 100 are 29, not 28.999…; and one is left.
        return min(math.floor(self.fraction * models + 1e-9), (models - 1) // 2)

    def aggregate(self, current: ModelState, updates: _Updates) -> ModelState:
        if not updates:
            return current
        return combine([state for state, _ in updates], lambda one: _inner_mean(one, self.trimmed(len(one))))


@AGGREGATORS
@schema
class Krum:
    r"""The one model that is nearest to its neighbours.

    .. math:: \arg\min_i \sum_{j \in N_i} \lVert x_i - x_j \rVert^2

    with :math:`N_i` the :math:`n - f - 2` models nearest to the i-th of n. Of equal ones, the first in order of the
    UEs. It holds against f liars where :math:`n \ge 2f + 3`. Where fewer models arrive it still chooses one (by one
    neighbour at least), and promises nothing.

    Attributes:
        byzantine: how many UEs of a round may lie, :math:`f`.

    Source: P. Blanchard, E. M. El Mhamdi, R. Guerraoui and J. Stainer, *Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent*, 2017, section 4, on models in place of gradients.
    """

    kind: ClassVar[str] = "krum"
    needs_each: ClassVar[bool] = True

    byzantine: int

    def __post_init__(self) -> None:
        _require_byzantine(self.byzantine)

    def require_cohort(self, users: int) -> None:
        """Refuse more liars than so many UEs can stand.

        Raises:
            ConfigError: they can't.
        """
        _require_majority(self.byzantine, users)

    def aggregate(self, current: ModelState, updates: _Updates) -> ModelState:
        return _mean_of_nearest(current, updates, byzantine=self.byzantine, kept=1)


@AGGREGATORS
@schema
class MultiKrum:
    r"""The mean of the m models of least :class:`Krum` score, each of the same weight.

    Attributes:
        byzantine: how many UEs of a round may lie, :math:`f`.
        kept: models in the mean, :math:`m`. Where fewer arrive, all of them.

    Source: as of :class:`Krum`.
    """

    kind: ClassVar[str] = "multi-krum"
    needs_each: ClassVar[bool] = True

    byzantine: int
    kept: int

    def __post_init__(self) -> None:
        _require_byzantine(self.byzantine)
        require(self.kept >= 1, "kept", self.kept, "at least 1", "1 is kind = 'krum'")

    def require_cohort(self, users: int) -> None:
        """Refuse more liars than so many UEs can stand, and a mean that would have to hold some of them.

        Raises:
            ConfigError: they can't, or it would.
        """
        _require_majority(self.byzantine, users)
        honest = users - self.byzantine
        require(
            self.kept <= honest,
            "kept",
            self.kept,
            f"at most {honest} with {users} UEs in a round of which {self.byzantine} may lie",
        )

    def aggregate(self, current: ModelState, updates: _Updates) -> ModelState:
        return _mean_of_nearest(current, updates, byzantine=self.byzantine, kept=self.kept)


def _inner_mean(tensors: Sequence[Tensor], cut: int) -> Tensor:
    """The mean of each entry without the ``cut`` smallest and largest values."""
    ordered = torch.stack(list(tensors)).sort(dim=0).values
    # Sorted, then summed: whoever sent what, the same bits.
    return ordered[cut : len(tensors) - cut].mean(dim=0)


def _mean_of_nearest(current: ModelState, updates: _Updates, *, byzantine: int, kept: int) -> ModelState:
    if not updates:
        return current
    scores = _krum_scores([state.vector for state, _ in updates], byzantine)
    # Sorting is stable, so of equal scores the first is taken; summed in the order of UEs, as all means are.
    chosen = sorted(sorted(range(len(scores)), key=scores.__getitem__)[:kept])
    return FedAvg().aggregate(current, [(updates[index][0], 1.0) for index in chosen])


def _krum_scores(vectors: Sequence[Tensor], byzantine: int) -> list[float]:
    """Of each, the sum of squared distances to its nearest neighbours."""
    every = torch.stack(list(vectors))
    neighbours = max(1, len(vectors) - byzantine - 2)
    scores = []
    for one in every:
        # Differences first: the short way by inner products loses what near models differ in.
        squares = (every - one).square().sum(dim=1, dtype=torch.float64).sort().values
        scores.append(squares[1 : 1 + neighbours].sum().item())  # the first is its own, 0
    return scores


def _require_byzantine(byzantine: int) -> None:
    require(byzantine >= 0, "byzantine", byzantine, "at least 0", "it is how many UEs of a round may lie")


def _require_majority(byzantine: int, users: int) -> None:
    most = (users - 3) // 2
    require(
        byzantine <= most,
        "byzantine",
        byzantine,
        f"at most {most} with {users} UEs in a round (n >= 2 f + 3)"
        if most >= 0
        else "used with 3 UEs or more",
        "take a larger cohort",
    )
