"""UEs spread over the machines of a Ray cluster; the extra ``ray``.

Ray's object store holds the samples (a whole that UEs have shares in, or each UE's own) and each model that is sent,
once for all machines that ask. Where a machine
is lost, the jobs that it had are trained again elsewhere: a job is a value, so nothing else changes.

The package must be installed on every machine, in the same versions: other processors and libraries may round in
another way.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from syft_fl.errors import ConfigError, RunError
from syft_fl.learn.engines.engine import ENGINES, Engine, Job, Outcome
from syft_fl.learn.engines.pool import PooledEngine, Worker
from syft_fl.learn.engines.processes import packed_module, unpacked_module
from syft_fl.learn.engines.scratch import Scratch
from syft_fl.learn.training import TrainingReport, shared
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, ModelState

__all__ = ["Ray"]

Array = np.ndarray[Any, Any]


@ENGINES
@schema
class Ray:
    """UEs spread over a Ray cluster; the same to the bit as ``loop`` on machines of one kind.

    Attributes:
        address: of the cluster, as ``ray.init`` takes it; None: the one that this program is connected to, else one on
            this machine.
        workers: actors; None: one for each core of the cluster.
        attempts: how often a job is begun before the run gives up, where machines or processes are lost.
    """

    kind: ClassVar[str] = "ray"
    ignores_timing: ClassVar[bool] = True
    address: str | None = None
    workers: int | None = None
    attempts: int = 5

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, "workers", self.workers, "at least 1")
        require(self.attempts >= 1, "attempts", self.attempts, "at least 1")

    def open(self, module: nn.Module, layout: Layout, *, cohort: int) -> Engine:
        ray = _ray()
        packed = packed_module(module)
        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=False)
            except Exception as error:
                raise ConfigError(
                    f"engine.address = {self.address!r} is no Ray cluster that answers ({error}); "
                    "start one with ray start --head, or leave it out for one on this machine"
                ) from error
        store = _Store()

        def hire() -> Worker:
            return _Hired(packed, layout, store=store, attempts=self.attempts)

        return PooledEngine(hire, self.workers or max(1, int(ray.cluster_resources().get("CPU", 1))))


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "engine.kind = 'ray' needs Ray; install it with pip install 'syft_fl[ray]', "
            "or use engine.kind = 'threads'"
        ) from None
    return ray


class _Hired:
    """An actor, seen from here; another one takes its place where it is lost."""

    def __init__(self, packed: bytes, layout: Layout, *, store: _Store, attempts: int) -> None:
        self._ray = _ray()
        self._store = store
        self._attempts = attempts
        # What an actor takes from the cluster by default is a core while a place is sought for it and nothing later: so
        # others still find room where a machine was lost.
        actor: Any = self._ray.remote(max_restarts=0, scheduling_strategy="SPREAD")(_Actor)
        self._new_actor: Callable[[], Any] = lambda: actor.remote(packed, layout)
        self._actor = self._new_actor()

    def train(self, job: Job) -> Outcome:
        lost = (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError)
        for _ in range(self._attempts):
            try:
                vector, buffers, report = self._ray.get(self._begun(job))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except lost as error:
                why = error
                self._actor = self._new_actor()
            else:
                model = ModelState(_own(vector), {name: _own(buffer) for name, buffer in buffers.items()})
                return Outcome(model, report)
        raise RunError(
            f"{job.ue}'s training was lost {self._attempts} times ({str(why).splitlines()[0]}); "
            "see ray logs, or give engine.attempts a larger number"
        )

    def _begun(self, job: Job) -> Any:
        of, samples = self._store.of, job.samples
        whole, index = (samples.whole, samples.index) if shared(samples) else (samples, None)
        return self._actor.train.remote(
            replace(job, state=None, samples=None, correction=None),  # type: ignore[arg-type]
            of(job.state.vector),
            {name: buffer.numpy() for name, buffer in job.state.buffers.items()},
            of(whole.x),
            of(whole.y),
            None if index is None else index.numpy(),
            None if job.correction is None else job.correction.numpy(),
        )

    def close(self) -> None:
        if self._ray.is_initialized():
            self._ray.kill(self._actor)


class _Actor:
    """Trains jobs on some machine of the cluster."""

    def __init__(self, packed: bytes, layout: Layout) -> None:
        self._packed = packed
        self._layout = layout
        self._scratch: Scratch | None = None

    def train(
        self,
        job: Job,
        vector: Array,
        buffers: Mapping[str, Array],
        x: Array,
        y: Array,
        index: Array | None,
        correction: Array | None,
    ) -> tuple[Array, dict[str, Array], TrainingReport]:
        if self._scratch is None:
            self._scratch = Scratch(unpacked_module(self._packed), self._layout)
        outcome = self._scratch.train(
            replace(
                job,
                state=ModelState(_seen(vector), {name: _seen(buffer) for name, buffer in buffers.items()}),
                # The store's arrays are the whole, where a UE has a share in one.
                samples=_Samples(*(_seen(part) if index is None else _own(part[index]) for part in (x, y))),
                correction=None if correction is None else _seen(correction),
            )
        )
        state = outcome.state
        return state.vector.numpy(), {n: b.numpy() for n, b in state.buffers.items()}, outcome.report


@dataclass(frozen=True)
class _Samples:
    x: Tensor
    y: Tensor


def _seen(array: Array) -> Tensor:
    """A tensor in the store's own memory; training reads models and samples, and writes to neither."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _own(array: Array) -> Tensor:
    return torch.from_numpy(array.copy())


class _Store:
    """Tensors in Ray's object store: put there when first met, gone when nobody here holds them."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}
        self._lock = RLock()

    def of(self, tensor: Tensor) -> Any:
        with self._lock:
            if id(tensor) not in self._known:
                self._known[id(tensor)] = _ray().put(tensor.detach().contiguous().numpy())
                weakref.finalize(tensor, self._known.pop, id(tensor))
            return self._known[id(tensor)]
