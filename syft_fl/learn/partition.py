"""How training samples are spread over UEs.

A partition gives each UE an index tensor: disjoint, none empty, in ascending order, and a function of
labels, number of UEs and key alone.

Left out: spreads by features, by time, or by who wrote a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.schema import Registry, require, schema

__all__ = ["IID", "PARTITIONS", "Dirichlet", "Partition", "Quantity", "Shards"]

PARTITIONS = Registry("partition", "split")
"""Partitions by kind; ``PARTITIONS(MyPartition)`` adds one."""

_Indices = npt.NDArray[np.int64]

_DRAWS = 100
"""How often a random spread is drawn before it is said that it can't give every UE enough."""


@runtime_checkable
class Partition(Protocol):
    """The settings of a partition: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def split(self, labels: Tensor, *, ues: int, key: Key) -> list[Tensor]:
        """Spread samples over UEs.

        Args:
            labels: [samples] int64.
            ues: how many.
            key: random stream.

        Returns:
            For each UE the indices of its samples: disjoint, ascending, at least one.

        Raises:
            ConfigError: no UE, more UEs than samples, or a spread that leaves a UE without enough.
        """
        ...


@PARTITIONS
@schema
class IID:
    """Shuffled and dealt out: every UE has a uniform sample of the data, sizes equal up to one.

    Attributes:
        samples_per_ue: what each UE gets; None: all samples are dealt out.
    """

    kind: ClassVar[str] = "iid"
    samples_per_ue: int | None = None

    def __post_init__(self) -> None:
        require(
            self.samples_per_ue is None or self.samples_per_ue >= 1,
            "samples_per_ue",
            self.samples_per_ue,
            "at least 1",
            "leave it out to deal out all samples",
        )

    def split(self, labels: Tensor, *, ues: int, key: Key) -> list[Tensor]:
        _check_ues(labels, ues)
        order = key.numpy().permutation(len(labels))
        if self.samples_per_ue is not None:
            wanted = ues * self.samples_per_ue
            require(
                wanted <= len(labels),
                "samples_per_ue",
                self.samples_per_ue,
                f"at most {len(labels) // ues} for {ues} UEs and {len(labels)} samples",
            )
            order = order[:wanted]
        return _tensors(np.array_split(order, ues))


@PARTITIONS
@schema
class Dirichlet:
    r"""Label skew: of each class, the UEs hold shares :math:`(s_1, …, s_K) \sim \text{Dir}(\alpha, …, \alpha)`.

    So a UE's share of a class has mean :math:`1/K` and variance
    :math:`\frac{1}{K}\bigl(1-\frac{1}{K}\bigr)/(\alpha K + 1)`. Large alpha: as :class:`IID`; small alpha: each class
    is at few UEs. UEs differ in size as well.

    Attributes:
        alpha: concentration.
        min_samples: what every UE holds at least; spreads that don't are drawn anew.

    Source: M. Yurochkin et al., *Bayesian Nonparametric Federated Learning of Neural Networks*, 2019, section 4.
    Differs from T.-M. Hsu et al., *Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification*, 2019, who draw class shares for each UE and give all UEs equally many samples: classes
    then run out, and the last UEs' shares no longer follow the law.
    """

    kind: ClassVar[str] = "dirichlet"
    alpha: float = 0.5
    min_samples: int = 1

    def __post_init__(self) -> None:
        _require_skew(self.alpha, self.min_samples)

    def split(self, labels: Tensor, *, ues: int, key: Key) -> list[Tensor]:
        _check_ues(labels, ues)
        values = labels.numpy()
        classes = [np.flatnonzero(values == label) for label in np.unique(values)]

        def draw(rng: np.random.Generator) -> list[_Indices]:
            dealt = [_deal(rng.permutation(members), ues, alpha=self.alpha, rng=rng) for members in classes]
            return [np.concatenate(parts) for parts in zip(*dealt, strict=True)]

        return _draw_until_enough(draw, self.kind, key, min_samples=self.min_samples)


@PARTITIONS
@schema
class Shards:
    """Label skew of the extreme kind: sorted by label, cut into equal shards, each UE gets some at random.

    Where shards are no larger than a class, a shard has at most 2 labels and a UE at most ``2 * per_ue``;
    where they divide the classes evenly, at most ``per_ue``.

    Attributes:
        per_ue: shards for each UE.

    Source: B. McMahan et al., *Communication-Efficient Learning of Deep Networks from Decentralized Data*, 2017,
    section 3 (200 shards of 300 samples of MNIST, 2 for each of 100 UEs).
    """

    kind: ClassVar[str] = "shards"
    per_ue: int = 2

    def __post_init__(self) -> None:
        require(self.per_ue >= 1, "per_ue", self.per_ue, "at least 1")

    def split(self, labels: Tensor, *, ues: int, key: Key) -> list[Tensor]:
        _check_ues(labels, ues)
        count = ues * self.per_ue
        require(
            count <= len(labels),
            "per_ue",
            self.per_ue,
            f"at most {len(labels) // ues} for {ues} UEs and {len(labels)} samples",
        )
        shards = np.array_split(np.argsort(labels.numpy(), kind="stable"), count)
        hands = key.numpy().permutation(count).reshape(ues, self.per_ue)
        return _tensors([np.concatenate([shards[i] for i in hand]) for hand in hands])


@PARTITIONS
@schema
class Quantity:
    r"""Quantity skew: shares of the samples :math:`\sim \text{Dir}(\alpha, …, \alpha)`, labels as they come.

    A UE's share has mean :math:`1/K` and variance :math:`\frac{1}{K}\bigl(1-\frac{1}{K}\bigr)/(\alpha K + 1)`.

    Attributes:
        alpha: concentration; the smaller, the more unequal the sizes.
        min_samples: what every UE holds at least; spreads that don't are drawn anew.

    Source: Q. Li et al., *Federated Learning on Non-IID Data Silos: An Experimental Study*, 2022, section 4.
    """

    kind: ClassVar[str] = "quantity"
    alpha: float = 0.5
    min_samples: int = 1

    def __post_init__(self) -> None:
        _require_skew(self.alpha, self.min_samples)

    def split(self, labels: Tensor, *, ues: int, key: Key) -> list[Tensor]:
        _check_ues(labels, ues)

        def draw(rng: np.random.Generator) -> list[_Indices]:
            return _deal(rng.permutation(len(labels)), ues, alpha=self.alpha, rng=rng)

        return _draw_until_enough(draw, self.kind, key, min_samples=self.min_samples)


def _check_ues(labels: Tensor, ues: int) -> None:
    require(ues >= 1, "ues", ues, "at least 1")
    require(ues <= len(labels), "ues", ues, f"at most the number of samples, {len(labels)}", "use more data")


def _require_skew(alpha: float, min_samples: int) -> None:
    require(0 < alpha < math.inf, "alpha", alpha, "above 0 and finite", "for equal shares use kind = 'iid'")
    require(min_samples >= 1, "min_samples", min_samples, "at least 1")


def _deal(order: _Indices, ues: int, *, alpha: float, rng: np.random.Generator) -> list[_Indices]:
    """Cut a shuffled list where a Dirichlet draw says, each cut rounded to the nearest sample."""
    shares = rng.dirichlet(np.full(ues, alpha))
    cuts = np.rint(np.cumsum(shares)[:-1] * len(order)).astype(np.int64)
    return np.split(order, cuts)


def _draw_until_enough(
    draw: Callable[[np.random.Generator], list[_Indices]], kind: str, key: Key, *, min_samples: int
) -> list[Tensor]:
    for attempt in range(_DRAWS):
        parts = draw((key / attempt).numpy())
        if min(len(part) for part in parts) >= min_samples:
            return _tensors(parts)
    raise ConfigError(
        f"partition.kind = {kind!r} left one of {len(parts)} UEs with less than min_samples = {min_samples} "
        f"in each of {_DRAWS} draws; use a larger alpha, fewer UEs or more samples"
    )


def _tensors(parts: list[_Indices]) -> list[Tensor]:
    # Views of one tensor: one of its own for each of very many UEs takes several times as much.
    ordered = torch.from_numpy(np.concatenate([np.sort(part) for part in parts]))
    return list(torch.split(ordered, [len(part) for part in parts]))
