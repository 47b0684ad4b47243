"""What a UE does between receiving a model and sending one: the plain loop of stochastic gradient descent.

Nothing is added to what a person would write by hand in torch, so nothing is slower, and losses and parameters
are the same to the bit. The loss is cross-entropy of the module's outputs. That is right for logits *and* for a
module that ends in ``log_softmax`` (as the document's does): log-probabilities are logits too, since
``log_softmax(log_softmax(z)) = log_softmax(z)``, and so it equals ``nll_loss`` there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.errors import DataError
from syft_fl.keys import Key
from syft_fl.learn.generators import torch_generator
from syft_fl.learn.schedule import SCHEDULES, Constant, Schedule
from syft_fl.schema import require, schema

__all__ = ["LabelledSamples", "Training", "TrainingReport", "intra_op_threads", "train"]


class LabelledSamples(Protocol):
    """Anything with [samples, ...] inputs ``x`` and [samples] int64 labels ``y``."""

    @property
    def x(self) -> Tensor: ...

    @property
    def y(self) -> Tensor: ...


@schema
class Training:
    """Local training of one UE in one round.

    Attributes:
        optimizer: stock torch optimiser; a fresh one each round (its memory does not travel with the model).
        learning_rate: of the first round; the schedule scales it.
        momentum: of ``sgd``.
        weight_decay: of any of the three.
        batch_size: samples per step; the last batch of an epoch may be short.
        epochs: passes over the UE's samples between uploads; may be a fraction, rounded up to whole batches.
            None: one, unless ``steps`` is given.
        steps: batches between uploads, in place of epochs; they go on over epochs.
        schedule: how the learning rate changes with the round.
        threads: of torch within one operation, while this UE trains. Results may differ in the last bits between
            numbers of threads, so it is a setting and not the machine's number of cores.
    """

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 16
    epochs: float | None = None
    steps: int | None = None
    schedule: Annotated[Schedule, SCHEDULES] = Constant()
    threads: int = 1

    def __post_init__(self) -> None:
        require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "above 0 and finite")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in 0 … 1, 1 excluded")
        require(
            self.momentum == 0 or self.optimizer == "sgd",
            "momentum",
            self.momentum,
            f"0 where optimizer = {self.optimizer!r}",
            "it has its own; use optimizer = 'sgd' for this one",
        )
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "at least 0 and finite")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(
            self.epochs is None or 0 < self.epochs < math.inf, "epochs", self.epochs, "above 0 and finite"
        )
        require(self.steps is None or self.steps >= 1, "steps", self.steps, "at least 1")
        require(
            self.steps is None or self.epochs is None,
            "steps",
            self.steps,
            f"left out where epochs = {self.epochs} is given",
            "give one of the two",
        )
        require(self.threads >= 1, "threads", self.threads, "at least 1")

    def steps_for(self, samples: int) -> int:
        """Batches that a UE with so many samples goes through in a round."""
        if self.steps is not None:
            return self.steps
        epochs = 1.0 if self.epochs is None else self.epochs
        return math.ceil(epochs * math.ceil(samples / self.batch_size))

    def processed(self, samples: int) -> int:
        """Samples that a UE with so many samples goes through in a round, repeats counted.

        Example:
            >>> Training(batch_size=16, epochs=2).processed(50)
            100
            >>> Training(batch_size=16, steps=5).processed(50)
            66
        """
        epochs, rest = divmod(self.steps_for(samples), math.ceil(samples / self.batch_size))
        return epochs * samples + rest * self.batch_size

    def new_optimizer(self, module: nn.Module, *, round: int) -> torch.optim.Optimizer:
        """A fresh torch optimiser at this round's learning rate."""
        rate = self.learning_rate * self.schedule.factor(round)
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                module.parameters(), lr=rate, momentum=self.momentum, weight_decay=self.weight_decay
            )
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(module.parameters(), lr=rate, weight_decay=self.weight_decay)


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training leaves behind beside the trained model.

    Attributes:
        loss: mean over the samples processed, each at the moment of its step.
        samples: samples processed, repeats counted.
        steps: batches.
        finite: neither the loss nor a parameter has become NaN or infinite. Whoever knows the UE and the round
            makes one clear error of it.
    """

    loss: float
    samples: int
    steps: int
    finite: bool


def train(
    module: nn.Module, samples: LabelledSamples, *, training: Training, key: Key, round: int
) -> TrainingReport:
    """Train a module in place, in training mode.

    Args:
        module: its parameters and buffers are changed.
        samples: the UE's own.
        training: how.
        key: batches are drawn from ``key / "batches"``; whatever the module draws from torch's global generator
            (dropout) is served from ``key / "dropout"``.
        round: federated round, counted from 1, for the schedule.

    Raises:
        DataError: there are no samples.
    """
    x, y = samples.x, samples.y
    if len(y) == 0:
        raise DataError("a UE without samples can't train; use another partition, or fewer UEs")
    module.train()
    optimizer = training.new_optimizer(module, round=round)
    steps, processed, total_loss = training.steps_for(len(y)), 0, 0.0
    with torch_generator(key / "dropout"):
        for index in _batches(len(y), training.batch_size, steps=steps, key=key / "batches"):
            optimizer.zero_grad()
            loss = F.cross_entropy(module(x[index]), y[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            processed += len(index)
            total_loss += loss.item() * len(index)
    # The last step's loss says nothing of what that step did to the parameters.
    finite = math.isfinite(total_loss) and _all_finite(module)
    return TrainingReport(total_loss / processed, processed, steps, finite)


@torch.no_grad()
def _all_finite(module: nn.Module) -> bool:
    # A sum is finite only if each term is, and is several times faster than testing the terms.
    return all(math.isfinite(parameter.sum().item()) for parameter in module.parameters())


def _batches(samples: int, size: int, *, steps: int, key: Key) -> Iterator[Tensor]:
    """Index tensors of ``steps`` batches: a new order each epoch, all from one generator."""
    generator = key.torch()
    while True:
        for index in torch.split(torch.randperm(samples, generator=generator), size):
            if steps == 0:
                return
            steps -= 1
            yield index


@contextmanager
def intra_op_threads(threads: int) -> Iterator[None]:
    """Run a block with so many torch threads per operation, then put the number back.

    The number belongs to the process: an engine that trains UEs in parallel sets it once, around them all.
    """
    before = torch.get_num_threads()
    if threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
