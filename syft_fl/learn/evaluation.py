"""How good a model is on samples that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.errors import DataError

__all__ = ["Evaluation", "evaluate"]


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
        batch_size: samples at a time, for memory only. The loss is summed in float64, so it hardly depends on this.

    Raises:
        DataError: there are no samples.
    """
    if len(y) == 0:
        raise DataError("a test needs at least one sample; give the data set some for testing")
    right, total_loss = 0, 0.0
    with torch.no_grad(), _evaluation_mode(module):
        for inputs, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
            scores = module(inputs).double()
            total_loss += F.cross_entropy(scores, labels, reduction="sum").item()
            right += int((scores.argmax(dim=1) == labels).sum())
    return Evaluation(right / len(y), total_loss / len(y))


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
