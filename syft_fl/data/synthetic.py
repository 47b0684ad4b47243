"""Data of a known law, made from a key: for tests and for studies that need no pictures.

``mixture``: each class has a Gaussian centre, a sample is its centre plus noise. ``linear``: inputs are Gaussian,
labels are drawn from the softmax of a random linear map, so softmax regression is the true model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from syft_fl.data.dataset import DATASETS, Dataset, Samples
from syft_fl.keys import Key
from syft_fl.schema import require, schema

__all__ = ["Synthetic"]


@DATASETS
@schema
class Synthetic:
    r"""Samples of a Gaussian mixture or of a linear softmax law. Inputs have about unit variance.

    .. math::
        \text{mixture:}\quad & x = (\mu_y + \sigma z)/\sqrt{1 + \sigma^2},\ \mu_c, z \sim N(0, I) \\
        \text{linear:}\quad & x \sim N(0, I),\ y \sim \text{softmax}(W x / \sigma),\ W_{cf} \sim N(0, 1)

    Attributes:
        law: which of the two.
        train_samples, test_samples: how many of each.
        features: entries of an input.
        classes: number of labels, equally likely a priori.
        noise: :math:`\sigma`, 0 for none: of the samples around their centre, or of the labels.
        seed: of the data alone, so that runs with other seeds learn the same data.
    """

    kind: ClassVar[str] = "synthetic"
    law: Literal["mixture", "linear"] = "mixture"
    train_samples: int = 2000
    test_samples: int = 500
    features: int = 20
    classes: int = 10
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train_samples", "test_samples", "features"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.classes >= 2, "classes", self.classes, "at least 2")
        require(0 <= self.noise < math.inf, "noise", self.noise, "at least 0 and finite")

    def load(self, *, root: Path | None = None, accept_checksum_mismatch: bool = False) -> Dataset:
        """Draw the data; ``root`` and checksums don't matter, there are no files."""
        key = Key(self.seed) / "synthetic" / self.law
        generator = (key / "classes").torch()
        classes = torch.randn(self.classes, self.features, generator=generator)
        draw = self._mixture if self.law == "mixture" else self._linear
        train = draw(classes, self.train_samples, (key / "train").torch())
        test = draw(classes, self.test_samples, (key / "test").torch())
        return Dataset(train, test, self.classes)

    def _mixture(self, centres: Tensor, samples: int, generator: torch.Generator) -> Samples:
        y = torch.randint(self.classes, (samples,), generator=generator)
        z = torch.randn(samples, self.features, generator=generator)
        return Samples((centres[y] + self.noise * z) / math.sqrt(1.0 + self.noise**2), y)

    def _linear(self, weights: Tensor, samples: int, generator: torch.Generator) -> Samples:
        x = torch.randn(samples, self.features, generator=generator)
        # The largest of logits plus Gumbel noise is a draw from their softmax; without noise it is the largest logit.
        uniform = torch.rand(samples, self.classes, generator=generator, dtype=torch.float64)
        gumbel = -torch.log(-torch.log(uniform.clamp_min(1e-300)))
        return Samples(x, ((x @ weights.T).double() + self.noise * gumbel).argmax(dim=1))
