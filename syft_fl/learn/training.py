"""What a UE does between receiving a model and sending one: the plain loop of stochastic gradient descent.

Nothing is added to what a person would write by hand in torch, so nothing is slower, and losses and parameters
are the same to the bit. The loss is cross-entropy of the module's outputs. That is right for logits *and* for a
module that ends in ``log_softmax`` (as the document's does): log-probabilities are logits too, since
``log_softmax(log_softmax(z)) = log_softmax(z)``, and so it equals ``nll_loss`` there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.devices import CPU
from syft_fl.errors import DataError
from syft_fl.keys import Key
from syft_fl.learn.generators import torch_generator
from syft_fl.learn.schedule import SCHEDULES, Constant, Schedule
from syft_fl.schema import require, schema
from syft_fl.vectors import Vector

__all__ = [
    "LabelledSamples",
    "SharedSamples",
    "Training",
    "TrainingReport",
    "batches",
    "intra_op_threads",
    "no_samples",
    "shared",
    "train",
]


class LabelledSamples(Protocol):
    """Anything with [samples, ...] inputs ``x`` and [samples] int64 labels ``y``."""

    @property
    def x(self) -> Tensor: ...

    @property
    def y(self) -> Tensor: ...


class SharedSamples(LabelledSamples, Protocol):
    """Some of the samples of a ``whole`` that many have a share in: those at the places of an ``index``.

    ``x`` and ``y`` of these are copies, put together each time that they are asked for.
    """

    @property
    def whole(self) -> LabelledSamples: ...

    @property
    def index(self) -> Tensor: ...


def shared(samples: LabelledSamples) -> TypeGuard[SharedSamples]:
    """Whether samples are a share of a whole. Asked often: checking a protocol member by member takes too long."""
    return hasattr(samples, "whole")


@schema
class Training:
    r"""Local training of one UE in one round.

    Attributes:
        optimizer: stock torch optimiser; a fresh one each round (its memory does not travel with the model).
        learning_rate: of the first round; the schedule scales it.
        momentum: of ``sgd``.
        weight_decay: of any of the three.
        proximal_mu: FedProx's :math:`\mu`: each step's gradient has :math:`\mu\,(w - w_t)` added, which draws a UE
            back to the model :math:`w_t` that it received. The reported loss is without the term. None: no term.
        batch_size: samples per step; the last batch of an epoch may be short. ``"all"``: each step is over all of a
            UE's samples, in their order: nothing is drawn, and nothing is copied.
        epochs: passes over the UE's samples between uploads; may be a fraction, rounded up to whole batches.
            None: one, unless ``steps`` is given.
        steps: batches between uploads, in place of epochs; they go on over epochs.
        schedule: how the learning rate changes with the round.
        threads: of torch within one operation, while this UE trains. Results may differ in the last bits between
            numbers of threads, so it is a setting and not the machine's number of cores.
        layout: ``"channels-last"``: images lie in memory with their channels last while a UE trains, which some
            processors convolve faster. The function is the same, its sums are in another order. None: as torch has it.
        precision: ``"bf16"``: matrix products and convolutions in bfloat16 (torch's autocast); parameters, optimiser
            and loss stay float32. Slow on a processor without instructions for it. None: float32.

    Source of the proximal term: T. Li et al., *Federated Optimization in Heterogeneous Networks*, 2020, eq. (2).
    """

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    proximal_mu: float | None = None
    batch_size: int | Literal["all"] = 16
    epochs: float | None = None
    steps: int | None = None
    schedule: Annotated[Schedule, SCHEDULES] = Constant()
    threads: int = 1
    layout: Literal["channels-last"] | None = None
    precision: Literal["bf16"] | None = None

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
        require(
            self.proximal_mu is None or 0 <= self.proximal_mu < math.inf,
            "proximal_mu",
            self.proximal_mu,
            "at least 0 and finite",
        )
        require(
            self.batch_size == "all" or self.batch_size >= 1,
            "batch_size",
            self.batch_size,
            "at least 1, or 'all'",
        )
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
        # 1.1 epochs of 10 batches are 11: the product is a little more.
        return max(1, math.ceil(epochs * math.ceil(samples / self._batch(samples)) - 1e-9))

    def processed(self, samples: int) -> int:
        """Samples that a UE with so many samples goes through in a round, repeats counted.

        Example:
            >>> Training(batch_size=16, epochs=2).processed(50)
            100
            >>> Training(batch_size=16, steps=5).processed(50)
            66
        """
        size = self._batch(samples)
        epochs, rest = divmod(self.steps_for(samples), math.ceil(samples / size))
        return epochs * samples + rest * size

    def _batch(self, samples: int) -> int:
        return samples if self.batch_size == "all" else self.batch_size

    def rate(self, round: int) -> float:
        """Learning rate of a round."""
        return self.learning_rate * self.schedule.factor(round)

    def effective_steps(self, samples: int, *, round: int) -> float:
        r"""Plain steps of SGD that a UE's local training is worth: how far it gets under a constant gradient of 1,
        over the learning rate.

        That is the sum of the weights :math:`a_i` with which each step's gradient is in the update,
        :math:`\|a\|_1` in the FedNova paper: the number of steps :math:`\tau` without momentum,

        .. math:: \frac{1}{1-\rho}\Bigl(\tau - \frac{\rho\,(1 - \rho^\tau)}{1-\rho}\Bigr)
            \quad\text{with momentum } \rho, \qquad
            \frac{1 - (1 - \eta\mu)^\tau}{\eta\mu}
            \quad\text{with a proximal term } \mu

        and with both what their recursion gives. Weight decay counts as part of the gradient. Of Adam there is no such
        number: the update is not linear in gradients.

        Source: J. Wang et al., *Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization*,
        2020, section 4.1.

        Example:
            >>> Training(batch_size=16, epochs=2).effective_steps(50, round=1)
            8.0
        """
        steps, mu = self.steps_for(samples), self.proximal_mu or 0.0
        if self.momentum == mu == 0:
            return float(steps)
        way, velocity, pull = 0.0, 0.0, self.rate(round) * mu
        for _ in range(steps):
            velocity = self.momentum * velocity + 1 - pull * way
            way += velocity
        return way

    def laid_out(self, x: Tensor) -> Tensor:
        """[samples, ...] the same samples, as :attr:`layout` says."""
        is_image = self.layout is not None and x.dim() == 4
        return x.to(memory_format=torch.channels_last) if is_image else x

    def scores(self, module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """[samples, classes] what a module makes of samples in :attr:`precision`, as float32."""
        if self.precision is None:
            return module(x)
        # torch's cache of weights in bfloat16 is one for all threads: whoever is done clears everybody's.
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            return module(x).float()

    def new_optimizer(self, module: nn.Module, *, round: int) -> torch.optim.Optimizer:
        """A fresh torch optimiser at this round's learning rate."""
        rate = self.rate(round)
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
    module: nn.Module,
    samples: LabelledSamples,
    *,
    training: Training,
    key: Key,
    round: int,
    correction: Vector | None = None,
    draws: Callable[[Key], AbstractContextManager[object]] = torch_generator,
) -> TrainingReport:
    """Train a module in place, in training mode.

    Args:
        module: its parameters and buffers are changed.
        samples: the UE's own.
        training: how.
        key: batches are drawn from ``key / "batches"``; whatever the module draws from torch's global generator
            (dropout) is served from ``key / "dropout"``.
        round: federated round, counted from 1, for the schedule.
        correction: [entries] added to the gradient of every step (SCAFFOLD's :math:`c - c_i`); None: nothing.
        draws: the block in which the module's draws are served from a key.

    Raises:
        DataError: there are no samples.
    """
    x, y = training.laid_out(samples.x), samples.y
    if len(y) == 0:
        raise no_samples()
    module.train()
    optimizer = training.new_optimizer(module, round=round)
    terms = _LocalTerms.of(module, mu=training.proximal_mu, correction=correction)
    steps, processed, total_loss = training.steps_for(len(y)), 0, 0.0
    # A card's losses are read at the end: each reading waits for the card.
    waiting: list[tuple[Tensor, int]] = []
    on_card = y.device != CPU
    with draws(key / "dropout"), _laid_out(module, training):
        for index in batches(len(y), training.batch_size, steps=steps, key=key / "batches", device=y.device):
            labels = y[index]
            loss = F.cross_entropy(training.scores(module, x[index]), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if terms is not None:
                terms.add_to_gradients()
            optimizer.step()
            processed += len(labels)
            if on_card:
                waiting.append((loss.detach(), len(labels)))
            else:
                total_loss += loss.item() * len(labels)
    for number, (_, count) in zip(_numbers([one for one, _ in waiting]), waiting, strict=True):
        total_loss += number * count
    optimizer.zero_grad()  # as large as the model, and of no use any more
    # The last step's loss says nothing of what that step did to the parameters.
    finite = math.isfinite(total_loss) and _all_finite(module)
    return TrainingReport(total_loss / processed, processed, steps, finite)


def no_samples() -> DataError:
    """The error for a UE that has nothing to train on."""
    return DataError("a UE without samples can't train; use another partition, or fewer UEs")


class _LocalTerms:
    """What is added to each step's gradient, where something is: a pull back to the start, a fixed correction."""

    def __init__(self, module: nn.Module, mu: float, correction: Vector | None) -> None:
        # As in a Layout: each parameter once, floating-point ones only.
        self._parameters = [p for p in module.parameters() if p.is_floating_point()]
        self._mu = mu
        self._start = [p.detach().clone() for p in self._parameters] if mu else []
        self._fixed: list[Tensor] = []
        if correction is not None:
            parts = torch.split(correction, [p.numel() for p in self._parameters])
            self._fixed = [part.view_as(p) for part, p in zip(parts, self._parameters, strict=True)]

    @classmethod
    def of(cls, module: nn.Module, *, mu: float | None, correction: Vector | None) -> _LocalTerms | None:
        return cls(module, mu or 0.0, correction) if mu or correction is not None else None

    @torch.no_grad()
    def add_to_gradients(self) -> None:
        for index, parameter in enumerate(self._parameters):
            if parameter.grad is None:  # frozen, or not used: the optimiser leaves it alone, too
                continue
            if self._start:
                parameter.grad.add_(parameter - self._start[index], alpha=self._mu)
            if self._fixed:
                parameter.grad.add_(self._fixed[index])


@contextmanager
def _laid_out(module: nn.Module, training: Training) -> Iterator[None]:
    """For a block, let a module's parameters lie in memory as its training says; afterwards as they did."""
    filters = [] if training.layout is None else [p for p in module.parameters() if p.dim() == 4]
    moved = [(p, p.stride()) for p in filters if p.is_contiguous()]
    for parameter, _ in moved:
        # Not .contiguous(): it takes what has one channel for being laid out already, and torch then does not.
        parameter.data = parameter.data.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for parameter, strides in moved:
            parameter.data = torch.empty_strided(
                parameter.shape, strides, dtype=parameter.dtype, device=parameter.device
            ).copy_(parameter.data)


@torch.no_grad()
def _all_finite(module: nn.Module) -> bool:
    # A sum is finite only if each term is, and is several times faster than testing the terms.
    return all(map(math.isfinite, _numbers([parameter.sum() for parameter in module.parameters()])))


def _numbers(tensors: Sequence[Tensor]) -> list[float]:
    """What scalars of one device are; of a card's all at once."""
    if not tensors or tensors[0].device == CPU:
        return [tensor.item() for tensor in tensors]
    found: list[float] = torch.stack(list(tensors)).tolist()
    return found


def batches(
    samples: int, size: int | Literal["all"], *, steps: int, key: Key, device: torch.device = CPU
) -> Iterator[Tensor] | Iterator[slice]:
    """Indices of ``steps`` batches: a new order each epoch, all from one generator; or everything as it is.

    They are drawn on the CPU whatever the device, so that they are the same on each.
    """
    if size == "all":
        return itertools.repeat(slice(None), steps)
    return _drawn_batches(samples, size, steps=steps, key=key, device=device)


def _drawn_batches(
    samples: int, size: int, *, steps: int, key: Key, device: torch.device
) -> Iterator[Tensor]:
    generator = key.torch()
    while True:
        order = torch.randperm(samples, generator=generator).to(device)  # once an epoch
        for index in torch.split(order, size):
            yield index
            steps -= 1
            if steps == 0:
                return


@contextmanager
def intra_op_threads(threads: int) -> Iterator[None]:
    """Run a block with so many torch threads per operation, then put the number back.

    torch keeps the number by thread; a thread that has not computed yet starts with the last one that was set anywhere.
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
