"""The 1797 handwritten digits that come with scikit-learn: real data without a download.

8 × 8 pixels of 17 grey levels. Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*,
UCI Machine Learning Repository, 1998 (its test part).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch.nn import functional as F

from syft_fl.data.dataset import DATASETS, Dataset, Samples
from syft_fl.keys import Key
from syft_fl.schema import require, schema

__all__ = ["Digits"]

_TRAIN_SAMPLES = 1437
_GREY_LEVELS = 16.0
# Mean and standard deviation of all pixels, as fractions of full scale.
_MEAN, _STD = 0.3053, 0.3760


@DATASETS
@schema
class Digits:
    """scikit-learn's digits, 1437 for training and 360 for testing, [1, size, size] each.

    Attributes:
        size: pixels along a side; above 8 the images are enlarged bilinearly (28: the document's CNN fits).
    """

    kind: ClassVar[str] = "digits"
    size: int = 8

    def __post_init__(self) -> None:
        require(8 <= self.size <= 256, "size", self.size, "in 8 … 256")

    def load(self, *, root: Path | None = None, accept_checksum_mismatch: bool = False) -> Dataset:
        """Read the digits; ``root`` and checksums don't matter, they come with scikit-learn."""
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        x = torch.from_numpy(pixels).float().view(-1, 1, 8, 8).div_(_GREY_LEVELS)
        x = x.sub_(_MEAN).div_(_STD)
        if self.size > 8:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)
        every = Samples(x, torch.from_numpy(labels).long())
        order = _split_order(len(every))
        return Dataset(every[order[:_TRAIN_SAMPLES]], every[order[_TRAIN_SAMPLES:]], classes=10)


def _split_order(samples: int) -> torch.Tensor:
    # By hashes and not by a generator: the split stays the same whatever a library makes of its streams.
    key = Key(0) / "digits" / "split"
    return torch.tensor(sorted(range(samples), key=lambda i: (key / i).digest()))
