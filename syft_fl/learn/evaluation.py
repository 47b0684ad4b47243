"""How good a model is on samples that it was not trained on.

A test is a pass through the model in batches, and little else. A batch goes through in pieces whose tensors the
allocator keeps; larger ones it takes from the system every time, which for a convolutional network on a thousand images
takes as long as the convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from syft_fl.devices import CPU
from syft_fl.errors import DataError

__all__ = ["Evaluation", "evaluate"]

_LARGEST_BYTES = 1 << 22
"""glibc takes blocks above 32 MiB from the system every time, and gives back what is free beyond twice the largest
block that it took so: the tensors of a layer or two must stay well below that."""
_FEWEST = 64
"""Samples of a piece at the least. A product of a few rows has other last bits than the same rows among many."""
_TRIED = 8
"""Samples that tell how large a model's tensors get."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a test found.

    Attributes:
        accuracy: share of samples classified right, 0 … 1.
        loss: mean cross-entropy [nat].
    """

    accuracy: float
    loss: float


def evaluate(module: nn.Module, x: Tensor, y: Tensor, *, batch_size: int = 1000) -> Evaluation:
    """Test a module in evaluation mode; every submodule's mode is put back.

    Args:
        module: gives [samples, classes] logits or log-probabilities.
        x: [samples, ...] inputs.
        y: [samples] int64 labels.
        batch_size: samples at a time at the most, for memory only. The loss is summed in float64, batch by batch, so it
            hardly depends on this.

    Raises:
        DataError: there are no samples.
    """
    if len(y) == 0:
        raise DataError("a test needs at least one sample; give the data set some for testing")
    right, losses = [], []
    with torch.no_grad(), _evaluation_mode(module):
        fitting = _fitting(module, x[:batch_size])
        for inputs, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
            count = max(min(-(-len(inputs) // fitting), len(inputs) // _FEWEST), 1)
            parts = [module(piece) for piece in torch.tensor_split(inputs, count)]
            scores = (torch.cat(parts) if len(parts) > 1 else parts[0]).double()
            losses.append(F.cross_entropy(scores, labels, reduction="sum"))
            right.append(torch.count_nonzero(scores.max(dim=1).indices == labels))
    # Asked for at the end: a card would have to be waited for after every batch.
    total_loss = 0.0
    for loss in torch.stack(losses).tolist():
        total_loss += loss
    return Evaluation(sum(torch.stack(right).tolist()) / len(y), total_loss / len(y))


def _fitting(module: nn.Module, batch: Tensor) -> int:
    """Samples that go through a module together without any tensor larger than the allocator keeps."""
    if len(batch) < 2 * _FEWEST or batch.device != CPU:  # a card's allocator keeps all that it is given
        return len(batch)
    largest = _Largest()
    with largest:
        module(batch[:_TRIED])
    return max(_LARGEST_BYTES * _TRIED // max(largest.bytes, 1), 1)


class _Largest(TorchFunctionMode):
    """Watches torch's functions: how many bytes the largest result has."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.bytes = max(self.bytes, result.nbytes)
        return result


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    # Part by part: someone may hold a single layer in evaluation mode while the rest trains.
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
