r"""Many small models in one: UEs' parameters lie in stacks, and each operation works on all UEs at once.

The gradients are ``torch.func``'s ``vmap(grad)`` over the stacks; the optimiser is torch's own, on stacks, for it works
entry by entry. UEs may have data of any size: whoever has done its steps drops out, and a short batch is filled up with
a sample of its own that counts nothing. Sums are taken in another order than one UE at a time would: an update differs
from the loop's by about :math:`10^{-6}` of its length (tests: :math:`10^{-5}`).

On a card the samples of a stack lie together, and all that was drawn goes there in one piece, so a step is as many
operations for a thousand UEs as for two. How many UEs make a stack follows from what one of them takes, and the card's
memory.

Left out: modules with buffers (BatchNorm), modules that draw (dropout), and those that mix the samples of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F

from syft_fl.devices import CPU, device_of, memory_bytes
from syft_fl.errors import ConfigError, DataError, RunError
from syft_fl.learn.engines.engine import ENGINES, Engine, Job, Outcome, not_waiting
from syft_fl.learn.generators import drawing_part, serving
from syft_fl.learn.training import (
    LabelledSamples,
    Training,
    TrainingReport,
    batches,
    intra_op_threads,
    no_samples,
    shared,
)
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, ModelState

__all__ = ["Batched", "BatchedEngine"]

_STACK_BYTES = 2**25
"""Of parameters, on a CPU: they stay in its caches."""

_SHARE = 0.5
"""Of a card's memory that a stack may take."""

_VECTORS = 8
"""What a UE of a stack has of a model's size at one time, at most: it, its gradient, what an optimiser remembers, what
is added to the gradient, and what comes out."""

_PASSES = 3
"""Of what a forward pass keeps for the backward pass, how many times that is in memory in between."""


@ENGINES
@schema
class Batched:
    """All UEs at once in stacked operations, when the first outcome is asked for; the fastest for small linear layers.

    Equal to ``loop`` to 1e-5 of the update, not to the bit. Convolutions gain nothing on a CPU, and ``training.layout``
    changes nothing.

    Attributes:
        chunk: UEs in a stack; None: on a CPU as many as have 32 MiB of parameters, on a card as many as take half of
            its memory.
    """

    kind: ClassVar[str] = "batched"
    chunk: int | None = None

    def __post_init__(self) -> None:
        require(self.chunk is None or self.chunk >= 1, "chunk", self.chunk, "at least 1")

    def open(self, module: nn.Module, layout: Layout, *, cohort: int) -> Engine:
        return BatchedEngine(module, layout, chunk=self.chunk)


class BatchedEngine:
    """Stacks all jobs that wait when the first outcome is asked for; a stack is trained when one of its outcomes is.

    Args:
        module: of the right architecture; only its ``forward`` is used.
        layout: of that module.
        chunk: UEs in a stack; None: as many as fit.

    Raises:
        ConfigError: the module has buffers or parameters that are no floating-point numbers, or draws random numbers.
    """

    def __init__(self, module: nn.Module, layout: Layout, *, chunk: int | None = None) -> None:
        reason = unfit(module, layout)
        if reason is not None:
            raise _refused(module, reason)
        self._module = module
        self._layout = layout
        self._chunk = chunk
        self._device = device_of(module)
        self._learnt: tuple[str, ...] | None = None
        self._jobs: dict[int, Job] = {}
        self._stacked: dict[int, Mapping[int, Job]] = {}
        # Where the last stack lay, for the next one: to give memory back and get it again takes a third of the time.
        self._room: dict[str, Tensor] = {}
        self._found: dict[int, Outcome | DataError] = {}
        self._submitted = 0

    def submit(self, job: Job) -> int:
        """Hand in a job; the number to ask for its outcome with."""
        handle = self._submitted
        self._submitted += 1
        self._jobs[handle] = job
        return handle

    def result(self, handle: int) -> Outcome:
        """Spread all that wait over stacks, if this job does, train its stack, and give its outcome.

        Raises:
            ConfigError: no such job, or its outcome was already taken; or the module can't be trained like this.
        """
        if handle in self._jobs:
            self._stack_all()
        if handle in self._stacked:
            self._train_stack(self._stacked[handle])
        found = self._found.pop(handle, None)
        if found is None:
            raise not_waiting(handle)
        if isinstance(found, DataError):
            raise found
        return found

    def cancel(self, handle: int) -> None:
        """Nobody will ask for the outcome of a job: it is not trained, unless it lies in a stack with others."""
        self._jobs.pop(handle, None)
        self._stacked.pop(handle, None)
        self._found.pop(handle, None)

    def close(self) -> None:
        """Forget jobs and outcomes that nobody asked for."""
        self._jobs.clear()
        self._stacked.clear()
        self._found.clear()
        self._room.clear()

    def _stack_all(self) -> None:
        """Who waits when the first outcome is asked for lies together; what a stack gives depends on who is in it."""
        groups: dict[object, list[tuple[int, Job]]] = {}
        for handle, job in self._jobs.items():
            if _size(job) == 0:
                self._found[handle] = no_samples()
            else:
                groups.setdefault(_together(job), []).append((handle, job))
        for alike in groups.values():
            # More samples are no fewer steps: who is still at it is then always a first part of the stack.
            alike.sort(key=lambda item: -_size(item[1]))
            chunk = self._chunk = self._chunk or self._fitting(alike[0][1])
            for first in range(0, len(alike), chunk):
                stack = dict(alike[first : first + chunk])
                self._stacked |= dict.fromkeys(stack, stack)
        self._jobs.clear()

    def _train_stack(self, stack: Mapping[int, Job]) -> None:
        # One stack at a time: the outcomes of a large cohort are not all held at once.
        for handle, outcome in zip(stack, self._train(tuple(stack.values())), strict=True):
            if self._stacked.pop(handle, None) is not None:
                self._found[handle] = outcome

    def _fitting(self, job: Job) -> int:
        """UEs that make a stack, if all are as this one."""
        vector = 4 * max(1, self._layout.length)
        if self._device == CPU:
            return max(1, _STACK_BYTES // vector)
        return max(
            1, int(_SHARE * memory_bytes(self._device)) // needed_bytes(self._module.train(), vector, job)
        )

    def _train(self, jobs: tuple[Job, ...]) -> list[Outcome]:
        training = jobs[0].training
        with intra_op_threads(training.threads):
            try:
                if self._learnt is None:
                    self._learnt = learnt(self._module.train(), jobs[0])
                return _Stacks(self._module.train(), self._layout, self._learnt, jobs, self._room).train()
            except torch.OutOfMemoryError as error:
                if len(jobs) == 1:
                    raise _no_room(self._device, error) from error
            except RuntimeError as error:
                raise _refused(self._module, str(error).splitlines()[0]) from error
        # What the card has no room for at once it may have room for in halves; from now on it is asked for no more.
        half = self._chunk = len(jobs) // 2
        return self._train(jobs[:half]) + self._train(jobs[half:])


class _Rows(NamedTuple):
    """Where a UE's samples lie: its own tensors, or rows of tensors that others have a share in, too."""

    x: Tensor
    y: Tensor
    own: Tensor | None

    @classmethod
    def of(cls, samples: LabelledSamples) -> _Rows:
        if shared(samples):
            return cls(samples.whole.x, samples.whole.y, samples.index)
        return cls(samples.x, samples.y, None)

    def places(self, index: Tensor) -> Tensor:
        """Rows of the UE's samples with these numbers."""
        return index if self.own is None else self.own[index]


class _Stacks:
    """Parameters of some UEs, [ues, ...] each, and their training."""

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        names: tuple[str, ...],
        jobs: tuple[Job, ...],
        room: dict[str, Tensor],
    ) -> None:
        self._module = module
        self._names = names
        self._jobs = jobs
        self._training = jobs[0].training
        self._steps = _steps(jobs)
        self._batches = (_Batches if jobs[0].samples.y.device == CPU else _BatchesTogether)(jobs, self._steps)
        self._all = _stacked([job.state.vector for job in jobs], layout, room)
        self._start = [self._all[name].clone() for name in self._names] if self._training.proximal_mu else []
        self._corrections: list[Tensor] = []
        if jobs[0].correction is not None:
            corrections = _stacked([job.correction for job in jobs if job.correction is not None], layout, {})
            self._corrections = [corrections[name] for name in self._names]
        self._active = len(jobs)
        self._parameters = [nn.Parameter(self._all[name]) for name in self._names]
        self._optimizer = self._new_optimizer()
        self._gradients: Callable[..., Any] = vmap(grad_and_value(partial(_loss, module, self._training)))

    def train(self) -> list[Outcome]:
        total = torch.zeros(len(self._jobs), dtype=torch.float64, device=self._jobs[0].state.vector.device)
        for step in range(self._steps[0]):
            self._go_on_with(sum(steps > step for steps in self._steps))
            total[: self._active] += self._step(step)
        return self._outcomes(total.tolist(), self._batches.processed())

    def _step(self, step: int) -> Tensor:
        """One step of those still at it; [active] each one's sum of losses."""
        x, y, counts = self._batches.of(step, self._active)
        weights = (torch.arange(y.shape[1], device=y.device) < counts[:, None]) / counts[:, None]
        fixed = {n: s[: self._active] for n, s in self._all.items() if n not in self._names}
        with torch.no_grad():
            trained = dict(zip(self._names, self._parameters, strict=True))
            gradients, losses = self._gradients(trained, fixed, x, y, weights)
            for index, (name, parameter) in enumerate(trained.items()):
                gradient = gradients[name]
                if self._start:
                    pull = parameter - self._start[index][: self._active]
                    gradient = gradient.add_(pull, alpha=self._training.proximal_mu)
                if self._corrections:
                    gradient = gradient.add_(self._corrections[index][: self._active])
                parameter.grad = gradient
        self._optimizer.step()
        return losses.double() * counts  # type: ignore[no-any-return]

    def _go_on_with(self, active: int) -> None:
        """Let the last ones of the stack drop out, with what the optimiser remembers of them."""
        if active == self._active:
            return
        before, memory = self._active, self._optimizer.state
        old, self._active = self._parameters, active
        self._parameters = [nn.Parameter(self._all[name][:active]) for name in self._names]
        self._optimizer = self._new_optimizer()
        for gone, parameter in zip(old, self._parameters, strict=True):
            self._optimizer.state[parameter] = {
                name: value[:active] if isinstance(value, Tensor) and value.shape[:1] == (before,) else value
                for name, value in memory[gone].items()
            }

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return self._training.new_optimizer(nn.ParameterList(self._parameters), round=self._jobs[0].round)

    def _outcomes(self, losses: list[float], processed: list[int]) -> list[Outcome]:
        flat = [stack.flatten(1) for stack in self._all.values()]
        # A sum is finite only if each term is.
        sums = torch.stack([stack.sum(dim=1) for stack in flat]).isfinite().all(dim=0).tolist()
        rows = zip(*(stack.unbind() for stack in flat), strict=True)
        return [
            Outcome(
                # Each in memory of its own: a row of a matrix would keep the others alive.
                ModelState(torch.cat(parts), {}),
                TrainingReport(
                    losses[ue] / processed[ue],
                    processed[ue],
                    self._steps[ue],
                    finite=sums[ue] and math.isfinite(losses[ue]),
                ),
            )
            for ue, parts in enumerate(rows)
        ]


class _Batches:
    """What a stack trains on, step by step: each UE's samples where they are."""

    def __init__(self, jobs: tuple[Job, ...], steps: list[int]) -> None:
        size = jobs[0].training.batch_size
        self._lie = [_Rows.of(job.samples) for job in jobs]
        self._order = [
            [
                index if isinstance(index, Tensor) else torch.arange(_size(job))
                for index in batches(_size(job), size, steps=count, key=job.key / "batches")
            ]
            for job, count in zip(jobs, steps, strict=True)
        ]

    def of(self, step: int, active: int) -> tuple[Tensor, Tensor, Tensor]:
        """[active, batch, ...] inputs and [active, batch] labels of the first UEs, and [active] how many count."""
        filled, sizes = self._indices(step, active)
        lie = self._lie[:active]
        places = [one.places(index) for one, index in zip(lie, filled, strict=True)]
        x, y = _gathered([one.x for one in lie], places), _gathered([one.y for one in lie], places)
        return x, y, torch.tensor(sizes)

    def processed(self) -> list[int]:
        """Of each UE, samples in all its steps."""
        return [sum(map(Tensor.numel, indices)) for indices in self._order]

    def _indices(self, step: int, active: int) -> tuple[list[Tensor], list[int]]:
        """Of the first UEs, their own indices, all filled up to the same length, and how many of them count."""
        indices = [order[step] for order in self._order[:active]]
        sizes = [index.numel() for index in indices]
        # What fills a batch up must be no stranger: the loss of some zeros may be infinite.
        return [_filled(index, max(sizes)) for index in indices], sizes


class _BatchesTogether(_Batches):
    """The same where each operation has its price, on a card: all samples in one tensor, all indices there at once."""

    def __init__(self, jobs: tuple[Job, ...], steps: list[int]) -> None:
        super().__init__(jobs, steps)
        self._x, self._y = (torch.cat([getattr(job.samples, name) for job in jobs]) for name in "xy")
        starts = torch.tensor([0, *(_size(job) for job in jobs)])[:-1].cumsum(0)
        rows, counts = [], []
        for step in range(steps[0]):
            filled, sizes = self._indices(step, sum(count > step for count in steps))
            rows.append(torch.stack(filled) + starts[: len(filled), None])
            counts.append(torch.tensor(sizes))
        self._rows = _moved_together(rows, self._y.device)
        self._counts = _moved_together(counts, self._y.device)

    def of(self, step: int, active: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = self._rows[step]
        return self._x[rows], self._y[rows], self._counts[step]


def _moved_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors on a device, by one copy."""
    flat = torch.cat([tensor.flatten() for tensor in tensors]).to(device)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def needed_bytes(module: nn.Module, vector: int, job: Job) -> int:
    """Memory that a UE takes in a stack, about: its models, its samples, and a batch on its way through the module.

    Args:
        module: in training mode.
        vector: bytes of its parameters.
        job: of such a UE.
    """
    x, y = job.samples.x, job.samples.y
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # held, or another may come to lie in its place
        return tensor

    with serving(x.device)(job.key), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        F.cross_entropy(module(x[:1]), y[:1])
    for parameter in module.parameters():
        kept.pop(parameter.untyped_storage()._cdata, None)
    batch = len(y) if job.training.batch_size == "all" else min(job.training.batch_size, len(y))
    of_batch = _PASSES * batch * sum(tensor.nbytes for tensor in kept.values())
    return _VECTORS * vector + x.nbytes + y.nbytes + of_batch


# A function and not a method: stacks that held themselves would stay until the garbage collector comes round.
def _loss(
    module: nn.Module,
    training: Training,
    trained: dict[str, Tensor],
    fixed: dict[str, Tensor],
    x: Tensor,
    y: Tensor,
    weights: Tensor,
) -> Tensor:
    scores = training.scores(lambda x: functional_call(module, trained | fixed, (x,)), x)
    return (F.cross_entropy(scores, y, reduction="none") * weights).sum()


def unfit(module: nn.Module, layout: Layout) -> str | None:
    """Why a module can't be trained many at once, as far as can be seen without running it; None: nothing is seen."""
    if layout.buffers:
        return f"it has {layout.buffers[0][0]!r}, which is no trained parameter (as BatchNorm's buffers)"
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        return "BatchNorm mixes the samples of a batch"
    part = drawing_part(module)
    return f"{type(part).__name__} draws random numbers" if part is not None else None


def _refused(module: nn.Module, reason: str) -> ConfigError:
    other = "threads" if device_of(module) == CPU else "loop"
    return ConfigError(
        f"engine.kind = 'batched' can't train model {type(module).__name__}: {reason}; use engine.kind = {other!r}"
    )


def _no_room(device: torch.device, error: Exception) -> RunError:
    return RunError(
        f"{device} has no room to train one UE ({str(error).splitlines()[0]}); "
        "give training.batch_size a smaller number, or let fewer programs use the card"
    )


def learnt(module: nn.Module, job: Job) -> tuple[str, ...]:
    """Names of the parameters that get a gradient: the optimiser leaves the others as they are."""
    names, parameters = zip(*((n, p) for n, p in module.named_parameters() if p.requires_grad), strict=True)
    with serving(job.samples.y.device)(job.key):
        loss = F.cross_entropy(module(job.samples.x[:1]), job.samples.y[:1])
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return tuple(name for name, gradient in zip(names, found, strict=True) if gradient is not None)


def _together(job: Job) -> tuple[object, ...]:
    """Jobs for which this is the same can lie in one stack."""
    x = (job.samples.whole if shared(job.samples) else job.samples).x
    return (job.round, id(job.training), x.shape[1:], x.dtype, job.correction is None)


def _size(job: Job) -> int:
    return job.samples.index.numel() if shared(job.samples) else job.samples.y.shape[0]


def _steps(jobs: Sequence[Job]) -> list[int]:
    """Of each job, all with one training."""
    sizes = [_size(job) for job in jobs]
    by_size = {size: jobs[0].training.steps_for(size) for size in set(sizes)}
    return [by_size[size] for size in sizes]


def _stacked(vectors: Sequence[Tensor], layout: Layout, room: dict[str, Tensor]) -> dict[str, Tensor]:
    """[ues, ...] of each parameter, from one vector for each UE; in a room that grows where it is too small."""
    one = all(vector is vectors[0] for vector in vectors)  # a cohort that was sent one model
    each = [_parts(layout, vector) for vector in (vectors[:1] if one else vectors)]
    stacks = {}
    for name, first in each[0].items():
        if name not in room or len(room[name]) < len(vectors):
            room[name] = first.new_empty(len(vectors), *first.shape)
        stacks[name] = room[name][: len(vectors)]
        if one:
            stacks[name].copy_(first)
        else:
            torch.stack([parts[name] for parts in each], out=stacks[name])
    return stacks


def _parts(layout: Layout, vector: Tensor) -> dict[str, Tensor]:
    pieces = torch.split(vector, [slot.length for slot in layout.slots])
    return {slot.name: piece.view(slot.shape) for slot, piece in zip(layout.slots, pieces, strict=True)}


def _gathered(tensors: list[Tensor], indices: list[Tensor]) -> Tensor:
    """[ues, batch, ...] samples of each UE by its own indices."""
    found = tensors[0].new_empty(len(tensors), indices[0].numel(), *tensors[0].shape[1:])
    for tensor, index, row in zip(tensors, indices, found.unbind(), strict=True):
        torch.index_select(tensor, 0, index, out=row)
    return found


def _filled(index: Tensor, length: int) -> Tensor:
    missing = length - index.numel()
    return torch.cat([index, index[:1].expand(missing)]) if missing else index
