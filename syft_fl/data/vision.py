"""MNIST and CIFAR-10 through torchvision, as tensors in memory.

Caps take the first samples in the order of the files, so anyone can take the same ones (both sets are shuffled as
published; of MNIST's test set the first half is known to be the easier one).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from syft_fl.data.dataset import DATASETS, Dataset, Samples
from syft_fl.data.published import (
    check_files,
    data_root,
    download,
    missing_files,
    reading,
    torchvision_datasets,
)
from syft_fl.errors import DataError
from syft_fl.schema import require, schema

__all__ = ["CIFAR10", "MNIST"]

# Of the unpacked files; torchvision knows only the archives' MD5s.
_MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@DATASETS
@schema
class MNIST:
    """60000 training and 10000 test images of handwritten digits, [1, 28, 28], 10 classes.

    Normalised by mean 0.1307 and standard deviation 0.3081, to the bit as ``ToTensor`` and ``Normalize`` do.
    Source: Y. LeCun, C. Cortes and C. Burges, *The MNIST Database of Handwritten Digits*.

    Attributes:
        train_samples, test_samples: only the first ones of each; None: all.
        pixels: ``unit``: 0 … 1, as ``ToTensor`` alone gives them, what many papers take; None: normalised.
        download: fetch the files where they are missing.
    """

    kind: ClassVar[str] = "mnist"
    train_samples: int | None = None
    test_samples: int | None = None
    pixels: Literal["unit"] | None = None
    download: bool = False

    def __post_init__(self) -> None:
        _require_caps(self.train_samples, self.test_samples)

    def load(self, *, root: Path | None = None, accept_checksum_mismatch: bool = False) -> Dataset:
        """Read ``MNIST/raw`` below the root: ``root``, else ``$SYFT_FL_DATA``, else ``./data``.

        Raises:
            DataError: files are missing, damaged or not the published ones, or can't be downloaded.
        """
        source, base = torchvision_datasets().MNIST, data_root(root)
        folder = base / "MNIST" / "raw"
        if self.download and missing_files(folder, _MNIST_MD5):
            download(source, base)
        check_files(folder, _MNIST_MD5, root=base, accept_mismatch=accept_checksum_mismatch)

        def read(train: bool, cap: int | None) -> Samples:
            with reading(folder):
                found = source(base, train=train)
                pixels, labels = found.data.unsqueeze(1), found.targets
                _check(pixels, labels, [1, 28, 28])
            mean, std = ((0.1307,), (0.3081,)) if self.pixels is None else ((0.0,), (1.0,))
            return _samples(pixels, labels, cap, mean=mean, std=std)

        return Dataset(read(True, self.train_samples), read(False, self.test_samples), classes=10)


@DATASETS
@schema
class CIFAR10:
    """50000 training and 10000 test photographs, [3, 32, 32], 10 classes.

    Normalised by the training set's channel means and standard deviations. No augmentation.
    Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.

    Attributes:
        train_samples, test_samples: only the first ones of each; None: all.
        download: fetch the files where they are missing.
    """

    kind: ClassVar[str] = "cifar10"
    train_samples: int | None = None
    test_samples: int | None = None
    download: bool = False

    def __post_init__(self) -> None:
        _require_caps(self.train_samples, self.test_samples)

    def load(self, *, root: Path | None = None, accept_checksum_mismatch: bool = False) -> Dataset:
        """Read ``cifar-10-batches-py`` below the root: ``root``, else ``$SYFT_FL_DATA``, else ``./data``.

        The files are pickles, and reading a pickle runs what is in it: accept another checksum only for a copy
        whose origin you trust.

        Raises:
            DataError: files are missing, damaged or not the published ones, or can't be downloaded.
        """
        published, base = torchvision_datasets().CIFAR10, data_root(root)
        folder = base / published.base_folder
        md5s = dict([*published.train_list, *published.test_list])
        md5s[published.meta["filename"]] = published.meta["md5"]
        if self.download and missing_files(folder, md5s):
            download(published, base)
        check_files(folder, md5s, root=base, accept_mismatch=accept_checksum_mismatch)
        source = _without_checksums(published)

        def read(train: bool, cap: int | None) -> Samples:
            with reading(folder):
                found = source(base, train=train)
                pixels = torch.from_numpy(found.data).permute(0, 3, 1, 2)
                labels = torch.tensor(found.targets, dtype=torch.int64)
                _check(pixels, labels, [3, 32, 32])
            means, stds = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
            return _samples(pixels, labels, cap, mean=means, std=stds)

        return Dataset(read(True, self.train_samples), read(False, self.test_samples), classes=10)


def _require_caps(train_samples: int | None, test_samples: int | None) -> None:
    for name, cap in (("train_samples", train_samples), ("test_samples", test_samples)):
        require(cap is None or cap >= 1, name, cap, "at least 1", "leave it out for all")


def _without_checksums(published: Any) -> Any:
    """torchvision's class without its own check, which would read all the files twice more."""
    lists = {
        name: [(file, None) for file, _ in getattr(published, name)] for name in ("train_list", "test_list")
    }
    return type(published.__name__, (published,), {**lists, "meta": {**published.meta, "md5": None}})


def _check(pixels: Tensor, labels: Tensor, shape: list[int]) -> None:
    if list(pixels.shape[1:]) != shape or pixels.dtype != torch.uint8:
        raise ValueError(
            f"{pixels.dtype} images of shape {list(pixels.shape[1:])} where uint8 {shape} was expected"
        )
    if len(pixels) != len(labels):
        raise ValueError(f"{len(pixels)} images but {len(labels)} labels")
    if len(labels) == 0 or not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        raise ValueError("labels outside 0 … 9, or none")


def _samples(
    pixels: Tensor, labels: Tensor, cap: int | None, *, mean: Sequence[float], std: Sequence[float]
) -> Samples:
    """The first ``cap`` samples, normalised by the operations and in the order of torchvision's transforms.

    Args:
        pixels: [samples, channels, height, width] 8-bit.
        labels: [samples].
        cap: how many of them; None: all.
        mean, std: of each channel, as fractions of full scale.
    """
    if cap is not None and cap > len(labels):
        raise DataError(f"{cap} samples are asked for and there are {len(labels)}; leave the cap out for all")
    means, stds = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    x = pixels[:cap].contiguous().float().div_(255).sub_(means).div_(stds)
    return Samples(x, labels[:cap])
