"""The base station's side of virtual workers; torch is left as it is."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator

from torch import nn

from syft_fl.errors import WorkerError
from syft_fl.learn import Compute, PerSample
from syft_fl.transport import Transport
from syft_fl.workers.worker import LocalWorker, VirtualWorker

__all__ = ["Station"]


class Station:
    """A base station and the virtual workers that it talks to, over one transport.

    Args:
        transport: what every message passes; the default carries float32 at 10 Mbit/s both ways.
        compute: how long computing takes at a worker; the default is 1 ms per sample.

    Attributes:
        local_worker: the base station itself.
        workers: all virtual workers by id.
    """

    first_id = 1_000_000_000
    """The first id that is given to an object; those below are a script's own."""

    def __init__(self, *, transport: Transport | None = None, compute: Compute | None = None) -> None:
        self.transport = transport if transport is not None else Transport()
        self.compute = compute if compute is not None else PerSample(seconds_per_sample=1e-3)
        self.local_worker = LocalWorker(self)
        self.workers: dict[str, VirtualWorker] = {}
        self.ids: Iterator[int] = itertools.count(self.first_id)
        self._streams: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
        self._stream_serials = itertools.count(1)

    def worker(self, worker: VirtualWorker | str) -> VirtualWorker:
        """A worker by its id; a worker itself is handed back.

        Raises:
            WorkerError: there is none of that id, or it is the base station itself.
        """
        if isinstance(worker, VirtualWorker):
            return worker
        if self.is_here(worker):
            raise WorkerError(
                f"{self.local_worker.id!r} is the base station, where plain tensors are; get() or move() brings them "
                "there, and send() is to a UE"
            )
        if not isinstance(worker, str):
            raise WorkerError(f"{worker!r} is no worker; give a VirtualWorker or its id, such as 'ue1'")
        if worker not in self.workers:
            known = ", ".join(map(repr, self.workers)) or "none"
            raise WorkerError(
                f"no worker {worker!r}; make it by VirtualWorker(hook=hook, id={worker!r}) (there are: {known})"
            )
        return self.workers[worker]

    def is_here(self, worker: object) -> bool:
        """Whether a worker, or an id, is the base station itself."""
        return isinstance(worker, LocalWorker) or worker == self.local_worker.id

    def wait(self) -> float:
        """Let the base station wait until every worker is done.

        Returns:
            The time then [s].
        """
        latest_s = max((worker.time_s for worker in self.workers.values()), default=self.local_worker.time_s)
        self.local_worker.hear(latest_s, telemetry=False)
        return self.local_worker.gate_s

    def stream_of(self, module: nn.Module) -> str:
        """The name of what a module's messages are versions of; a copy of the module has another.

        It lives as long as the module: what the transport remembers of it goes with it.
        """
        if module not in self._streams:
            stream = self._streams[module] = f"model-{next(self._stream_serials)}"
            # Both ends' memories of a model die with it. The module may outlive this station, which it doesn't hold.
            weakref.finalize(module, _forget, weakref.ref(self.transport), stream).atexit = False
        return self._streams[module]


def _forget(transport: weakref.ref[Transport], stream: str) -> None:
    alive = transport()
    if alive is not None:
        alive.forget(stream)
