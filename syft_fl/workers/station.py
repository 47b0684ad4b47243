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

_FIRST_ID = 1_000_000_000


class Station:
    """A base station and the virtual workers that it talks to, over one transport.

    Args:
        transport: what every message passes; the default carries float32 at 10 Mbit/s both ways.
        compute: how long computing takes at a worker; the default is 1 ms per sample.

    Attributes:
        local_worker: the base station itself.
        workers: all virtual workers by id.
    """

    def __init__(self, *, transport: Transport | None = None, compute: Compute | None = None) -> None:
        self.transport = transport if transport is not None else Transport()
        self.compute = compute if compute is not None else PerSample(seconds_per_sample=1e-3)
        self.local_worker = LocalWorker(self.transport)
        self.workers: dict[str, VirtualWorker] = {}
        self.ids: Iterator[int] = itertools.count(_FIRST_ID)
        self._streams: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
        self._stream_serials = itertools.count(1)

    def worker(self, worker: VirtualWorker | str) -> VirtualWorker:
        """A worker by its id; a worker itself is handed back.

        Raises:
            WorkerError: there is none of that id.
        """
        if isinstance(worker, VirtualWorker):
            return worker
        if worker not in self.workers:
            known = ", ".join(map(repr, self.workers)) or "none"
            raise WorkerError(
                f"no worker {worker!r}; make it by VirtualWorker(hook=hook, id={worker!r}) (there are: {known})"
            )
        return self.workers[worker]

    def wait(self) -> float:
        """Let the base station wait until every worker is done.

        Returns:
            The time then [s].
        """
        latest_s = max((worker.time_s for worker in self.workers.values()), default=self.local_worker.time_s)
        self.local_worker.hear(latest_s, telemetry=False)
        return self.local_worker.gate_s

    def stream_of(self, module: nn.Module) -> str:
        """The name of what a module's messages are versions of; a copy of the module has another."""
        if module not in self._streams:
            self._streams[module] = f"model-{next(self._stream_serials)}"
        return self._streams[module]
