"""What a data set is: two tensors for training, two for testing.

Everything is in memory and normalised once, when it is loaded. A UE's share is an index tensor, and a batch
is one indexing operation: no Python runs per sample.

Left out: data that does not fit in memory, random augmentation, and targets that are not class labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from syft_fl.schema import Registry

__all__ = ["DATASETS", "DataSource", "Dataset", "Samples", "Share"]

DATASETS = Registry("data set", "load")
"""Data sets by kind; ``DATASETS(MyData)`` adds one."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Labelled samples.

    Attributes:
        x: [samples, ...] float32 inputs.
        y: [samples] int64 labels, counted from 0.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Tensor) -> Samples:
        """The samples that an index tensor (or a mask) names; copies."""
        return Samples(self.x[index], self.y[index])

    def to(self, device: torch.device) -> Samples:
        """The same on a device; on that where they are, these themselves."""
        if self.x.device == self.y.device == device:
            return self
        return Samples(self.x.to(device), self.y.to(device))

    def share(self, index: Tensor) -> Share:
        """The samples that an index tensor names, copied when they are asked for and not kept."""
        return Share(self, index)


@dataclass(frozen=True, slots=True)
class Share:
    """Some of the samples of a whole that many have a share in; of its own it has an index.

    A hundred thousand UEs hold a data set once, not twice. What is asked for is put together every time.

    Attributes:
        whole: the samples that all have a share in.
        index: [samples] int64 places of these in the whole.
    """

    whole: Samples
    index: Tensor

    @property
    def x(self) -> Tensor:
        """[samples, ...] inputs; a copy."""
        return self.whole.x[self.index]

    @property
    def y(self) -> Tensor:
        """[samples] labels; a copy."""
        return self.whole.y[self.index]

    def __len__(self) -> int:
        return len(self.index)

    def __reduce__(self) -> tuple[type[Samples], tuple[Tensor, Tensor]]:
        # What is sent to another process are these samples, without the whole.
        return Samples, (self.x, self.y)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is learnt, and what it is tested on.

    Attributes:
        train, test: disjoint samples.
        classes: labels are 0 … classes - 1.
    """

    train: Samples
    test: Samples
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's input."""
        return tuple(self.train.x.shape[1:])

    def to(self, device: torch.device) -> Dataset:
        """The same on a device."""
        return Dataset(self.train.to(device), self.test.to(device), self.classes)


@runtime_checkable
class DataSource(Protocol):
    """The settings of a data set: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def load(self, *, root: Path | None = None, accept_checksum_mismatch: bool = False) -> Dataset:
        """Read (or make) the data.

        Args:
            root: folder that holds the data sets' own folders; sets made without files don't look at it.
            accept_checksum_mismatch: warn about files that are not the published ones, instead of refusing them.

        Raises:
            DataError: the data is missing, damaged, not the published one, or smaller than what is asked of it.
        """
        ...
