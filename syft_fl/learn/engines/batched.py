r"""Many small models in one: UEs' parameters lie in stacks, and each operation works on all UEs at once.

The gradients are ``torch.func``'s ``vmap(grad)`` over the stacks; the optimiser is torch's own, on stacks, for it works
entry by entry. UEs may have data of any size: whoever has done its steps drops out, and a short batch is filled up with
a sample of its own that counts nothing. Sums are taken in another order than one UE at a time would: an update differs
from the loop's by about :math:`10^{-6}` of its length (tests: :math:`10^{-5}`).

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

from syft_fl.errors import ConfigError, DataError
from syft_fl.learn.engines.engine import ENGINES, Engine, Job, Outcome, not_waiting
from syft_fl.learn.generators import drawing_part, torch_generator
from syft_fl.learn.training import (
    LabelledSamples,
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


@ENGINES
@schema
class Batched:
    """All UEs at once in stacked operations, when the first outcome is asked for; the fastest for small linear layers.

    Equal to ``loop`` to 1e-5 of the update, not to the bit. Convolutions gain nothing on a CPU.

    Attributes:
        chunk: UEs in a stack; None: as many as have 32 MiB of parameters.
    """

    kind: ClassVar[str] = "batched"
    chunk: int | None = None

    def __post_init__(self) -> None:
        require(self.chunk is None or self.chunk >= 1, "chunk", self.chunk, "at least 1")

    def open(self, module: nn.Module, layout: Layout, *, cohort: int) -> Engine:
        fitting = max(1, _STACK_BYTES // (4 * max(1, layout.length)))
        return BatchedEngine(module, layout, chunk=self.chunk or fitting)


class BatchedEngine:
    """Stacks all jobs that wait when the first outcome is asked for; a stack is trained when one of its outcomes is.

    Args:
        module: of the right architecture; only its ``forward`` is used.
        layout: of that module.
        chunk: UEs in a stack.

    Raises:
        ConfigError: the module has buffers or parameters that are no floating-point numbers, or draws random numbers.
    """

    def __init__(self, module: nn.Module, layout: Layout, *, chunk: int) -> None:
        reason = unfit(module, layout)
        if reason is not None:
            raise _refused(module, reason)
        self._module = module
        self._layout = layout
        self._chunk = chunk
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
            for first in range(0, len(alike), self._chunk):
                stack = dict(alike[first : first + self._chunk])
                self._stacked |= dict.fromkeys(stack, stack)
        self._jobs.clear()

    def _train_stack(self, stack: Mapping[int, Job]) -> None:
        # One stack at a time: the outcomes of a large cohort are not all held at once.
        for handle, outcome in zip(stack, self._train(tuple(stack.values())), strict=True):
            if self._stacked.pop(handle, None) is not None:
                self._found[handle] = outcome

    def _train(self, jobs: tuple[Job, ...]) -> list[Outcome]:
        training = jobs[0].training
        with intra_op_threads(training.threads):
            try:
                if self._learnt is None:
                    self._learnt = learnt(self._module.train(), jobs[0])
                return _Stacks(self._module.train(), self._layout, self._learnt, jobs, self._room).train()
            except RuntimeError as error:
                raise _refused(self._module, str(error).splitlines()[0]) from error


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
        self._rows = [_Rows.of(job.samples) for job in jobs]
        self._all = _stacked([job.state.vector for job in jobs], layout, room)
        self._start = [self._all[name].clone() for name in self._names] if self._training.proximal_mu else []
        self._corrections: list[Tensor] = []
        if jobs[0].correction is not None:
            corrections = _stacked([job.correction for job in jobs if job.correction is not None], layout, {})
            self._corrections = [corrections[name] for name in self._names]
        self._active = len(jobs)
        self._parameters = [nn.Parameter(self._all[name]) for name in self._names]
        self._optimizer = self._new_optimizer()
        self._gradients: Callable[..., Any] = vmap(grad_and_value(partial(_loss, module)))

    def train(self) -> list[Outcome]:
        size = self._training.batch_size
        order = [
            [
                index if isinstance(index, Tensor) else torch.arange(_size(job))
                for index in batches(_size(job), size, steps=steps, key=job.key / "batches")
            ]
            for job, steps in zip(self._jobs, self._steps, strict=True)
        ]
        total = torch.zeros(len(self._jobs), dtype=torch.float64)
        for step in range(self._steps[0]):
            self._go_on_with(sum(steps > step for steps in self._steps))
            total[: self._active] += self._step([indices[step] for indices in order[: self._active]])
        return self._outcomes(total.tolist(), [sum(map(Tensor.numel, indices)) for indices in order])

    def _step(self, indices: list[Tensor]) -> Tensor:
        """One step of those still at it; [active] each one's sum of losses."""
        sizes = [index.numel() for index in indices]
        counts, longest = torch.tensor(sizes), max(sizes)
        weights = (torch.arange(longest) < counts[:, None]) / counts[:, None]
        # What fills a batch up must be no stranger: the loss of some zeros may be infinite.
        rows = self._rows[: self._active]
        places = [one.places(_filled(index, longest)) for one, index in zip(rows, indices, strict=True)]
        x, y = _gathered([one.x for one in rows], places), _gathered([one.y for one in rows], places)
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


# A function and not a method: stacks that held themselves would stay until the garbage collector comes round.
def _loss(
    module: nn.Module,
    trained: dict[str, Tensor],
    fixed: dict[str, Tensor],
    x: Tensor,
    y: Tensor,
    weights: Tensor,
) -> Tensor:
    scores = functional_call(module, trained | fixed, (x,))
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
    return ConfigError(
        f"engine.kind = 'batched' can't train model {type(module).__name__}: {reason}; use engine.kind = 'threads'"
    )


def learnt(module: nn.Module, job: Job) -> tuple[str, ...]:
    """Names of the parameters that get a gradient: the optimiser leaves the others as they are."""
    names, parameters = zip(*((n, p) for n, p in module.named_parameters() if p.requires_grad), strict=True)
    with torch_generator(job.key):
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
