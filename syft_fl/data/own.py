"""A user's own data: tensors in hand, checked once and then a data set like any other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from syft_fl.data.dataset import DATASETS, Dataset, DataSource, Samples
from syft_fl.devices import CPU
from syft_fl.errors import ConfigError, DataError
from syft_fl.schema import import_path, remember, schema

__all__ = ["OwnData", "as_dataset", "own_data"]


@DATASETS
@schema
class OwnData:
    """A user's own data set.

    Attributes:
        path: ``package.module:name`` of a function that returns what :func:`as_dataset` takes, or of such a value.
            Data that was handed over in memory has a fingerprint of all its tensors here, so that a run is not resumed
            with other data.
    """

    kind: ClassVar[str] = "own"
    path: str

    def __post_init__(self) -> None:
        import_path(self.path)

    def load(self, *, root: Path | None = None, accept_checksum_mismatch: bool = False) -> Dataset:
        """The data as it was given, checked."""
        found = import_path(self.path)
        return as_dataset(found() if callable(found) else found)


def own_data(value: object) -> DataSource:
    """A data source of a user's own data: a data source as it is, else what :func:`as_dataset` takes.

    Raises:
        ConfigError, DataError: as :func:`as_dataset`.
    """
    if isinstance(value, DataSource) and not isinstance(value, type):
        return value
    dataset = as_dataset(value)
    return OwnData(path=remember(dataset, f"memory:{_fingerprint(dataset)}"))


def _fingerprint(dataset: Dataset) -> str:
    state = hashlib.blake2b(digest_size=16)
    for tensor in (dataset.train.x, dataset.train.y, dataset.test.x, dataset.test.y):
        state.update(repr(tuple(tensor.shape)).encode())
        state.update(tensor.detach().cpu().contiguous().numpy().data)
    return state.hexdigest()


def as_dataset(value: object, *, classes: int | None = None) -> Dataset:
    """A user's own data as a data set, checked.

    Args:
        value: a :class:`Dataset`, or a pair (train, test) of :class:`Samples` or of (x, y) tensors.
        classes: number of classes; None: the largest label + 1, or what the ``Dataset`` says.

    Raises:
        ConfigError: not such a pair, or tensors of another type or shape.
        DataError: no samples, an input that is not finite, or a label outside 0 … classes - 1.

    Example:
        >>> x, y = torch.zeros(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
        >>> as_dataset(((x, y), (x[:3], y[:3]))).classes
        3
    """
    if isinstance(value, Dataset):
        train, test = value.train, value.test
        classes = value.classes if classes is None else classes
    else:
        first, second = _pair(value, "data", "(train, test)")
        train, test = _samples(first, "train"), _samples(second, "test")
    for name, samples in (("train", train), ("test", test)):
        _check_tensors(name, samples)
    if train.x.shape[1:] != test.x.shape[1:]:
        raise ConfigError(
            f"test.x has samples of shape {list(test.x.shape[1:])}, train.x of {list(train.x.shape[1:])}; "
            "both must have the same shape"
        )
    if classes is None:
        classes = int(max(train.y.max(), test.y.max())) + 1
    for name, samples in (("train", train), ("test", test)):
        _check_values(name, samples, classes)
    return Dataset(train, test, classes)


def _pair(value: object, name: str, meaning: str) -> tuple[object, object]:
    if isinstance(value, tuple | list) and len(value) == 2:
        return value[0], value[1]
    raise ConfigError(f"{name} is a {type(value).__name__}; it must be a pair {meaning}")


def _samples(value: object, name: str) -> Samples:
    if isinstance(value, Samples):
        return value
    x, y = _pair(value, name, "(x, y) of tensors, or Samples")
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return Samples(x, y)
    raise ConfigError(
        f"{name} holds {type(x).__name__} and {type(y).__name__}; x and y must be tensors: torch.as_tensor(…)"
    )


def _check_tensors(name: str, samples: Samples) -> None:
    x, y = samples.x, samples.y
    if x.device != CPU or y.device != CPU:
        raise ConfigError(
            f"{name}.x is on {x.device} and {name}.y on {y.device}; hand them over on the CPU (x.cpu()): "
            "a run brings them to the scenario's device"
        )
    if x.dtype != torch.float32 or x.ndim < 2:
        raise ConfigError(
            f"{name}.x is {x.dtype} of shape {list(x.shape)}; it must be float32 [samples, ...]: x.float()"
        )
    if y.dtype != torch.int64 or y.ndim != 1:
        raise ConfigError(
            f"{name}.y is {y.dtype} of shape {list(y.shape)}; it must be int64 [samples]: y.long()"
        )
    if len(x) != len(y):
        raise ConfigError(
            f"{name}.x has {len(x)} samples and {name}.y has {len(y)}; both need the same number"
        )
    if x.numel() == 0:
        raise DataError(f"{name} has no samples; it needs at least one")


def _check_values(name: str, samples: Samples, classes: int) -> None:
    if not bool(torch.isfinite(samples.x).all()):
        raise DataError(f"{name}.x has an entry that is NaN or infinite; clean the data first")
    low, high = int(samples.y.min()), int(samples.y.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"{name}.y has labels {low} … {high}; they must be in 0 … {classes - 1} (classes = {classes})"
        )
