"""Jobs spread over workers that each train one at a time, whatever a worker is: a thread, a process, an actor."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol

from syft_fl.learn.engines.engine import Job, Outcome, not_waiting

__all__ = ["PooledEngine", "Worker", "cores"]


class Worker(Protocol):
    """Trains jobs, one at a time."""

    def train(self, job: Job) -> Outcome: ...

    def close(self) -> None: ...


class PooledEngine:
    """Jobs are begun as they come, in the order in which they come, by whichever worker is free.

    A thread waits beside each worker. Workers are made as jobs come, in the thread that hands them in.

    Args:
        hire: makes a worker.
        workers: how many there are at most.
    """

    def __init__(self, hire: Callable[[], Worker], workers: int) -> None:
        self._hire = hire
        self._workers = workers
        self._all: list[Worker] = []
        self._free: SimpleQueue[Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="syft_fl-engine")
        self._futures: dict[int, Future[Outcome]] = {}
        self._submitted = 0
        self._finalizer = weakref.finalize(self, _let_go, self._threads, self._all)

    def submit(self, job: Job) -> int:
        """Hand in a job; the number to ask for its outcome with."""
        if len(self._all) < self._workers:
            worker = self._hire()
            self._all.append(worker)
            self._free.put(worker)
        handle = self._submitted
        self._submitted += 1
        self._futures[handle] = self._threads.submit(_train, job, self._free)
        return handle

    def result(self, handle: int) -> Outcome:
        """Wait for a job, and give its outcome.

        Raises:
            ConfigError: no such job, or its outcome was already taken.
        """
        future = self._futures.pop(handle, None)
        if future is None:
            raise not_waiting(handle)
        return future.result()

    def cancel(self, handle: int) -> None:
        """Nobody will ask for the outcome of a job: it is not trained, unless it has begun."""
        future = self._futures.pop(handle, None)
        if future is not None:
            future.cancel()

    def close(self) -> None:
        """End the workers; a job that has begun is finished first, the others are not begun."""
        self._futures.clear()
        self._finalizer()


# Functions and not methods: a thread or a finaliser that held the engine would keep it alive.


def _train(job: Job, free: SimpleQueue[Worker]) -> Outcome:
    worker = free.get()
    try:
        return worker.train(job)
    finally:
        free.put(worker)


def _let_go(threads: ThreadPoolExecutor, workers: list[Worker]) -> None:
    threads.shutdown(wait=True, cancel_futures=True)
    for worker in workers:
        worker.close()


def cores() -> int:
    """Cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(usable(0)) if usable is not None else os.cpu_count() or 1
