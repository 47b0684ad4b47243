"""Tasks in worker processes: fresh interpreters that take one task after another and tell how far they are.

A worker knows what to do from an import path, is asked for by ``-c`` and talks in pickles over its standard input and
output. So it never runs the caller's script or notebook again, as multiprocessing's would, and needs no ``if __name__``
around it; what is defined there can't be handed to it, and is refused before anything starts.

A worker computes with one thread. Ctrl-C reaches the caller alone, who ends its workers; where the caller is gone,
a worker notices as it tells of its next step. A worker that dies takes its task with it and is replaced.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from syft_fl.errors import ConfigError, RunError, SyftFLError
from syft_fl.schema import import_path

__all__ = ["Failure", "Tell", "Work", "carry_out", "described", "pickled"]

Tell = Callable[[Any], None]
"""Takes a word on how far a task is."""

Work = Callable[[Any, Tell], Any]
"""Carries out a task."""

# Ctrl-C in a terminal goes to all of its processes, also to one that is still importing.
_BOOT = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from syft_fl.experiment.processes import serve; serve()"
)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Failure:
    """A task that raised an error, or took its worker with it.

    Attributes:
        message: what is wrong, in one line or, of an error of ours, as many as it has.
    """

    message: str


def carry_out(
    tasks: Sequence[Any],
    *,
    work: str,
    settings: Any,
    processes: int,
    hear: Callable[[int, Any], None],
) -> list[Any]:
    """Carry out tasks side by side.

    Args:
        tasks: values that can be pickled.
        work: import path of a function that makes a :data:`Work` from the settings; called once in each worker.
        settings: for that function.
        processes: workers; 1: the tasks are carried out here, one after another.
        hear: called here, with a task's index and what it tells; and at its end with its result or
            :class:`Failure`.

    Returns:
        Results in the order of the tasks; a :class:`Failure` in the place of one that failed.

    Raises:
        ConfigError: a task can't be handed to another process.
        RunError: no worker can be started.
    """
    if processes == 1:
        return _one_after_another(tasks, import_path(work)(settings), hear)
    crew = _Crew([pickled(task) for task in tasks], pickled((work, settings)))
    return crew.carry_out(min(processes, len(tasks)), hear)


def described(error: Exception) -> str:
    """An error in words; of one that is not ours also where it was raised."""
    if isinstance(error, SyftFLError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def serve() -> None:
    """What a worker does: tasks from standard input, until that ends."""
    inbox = sys.stdin.buffer
    outbox = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model of a user's own prints must not come between our pickles

    def say(word: str, value: Any = None) -> None:
        # Pickled before it is written: half a pickle could not be told from its end.
        outbox.write(pickle.dumps((word, value)))
        outbox.flush()

    warnings.showwarning = lambda message, *_, **__: say("warns", str(message))
    try:
        path, settings = pickle.load(inbox)
        work = import_path(path)(settings)
        say("ready")
        while True:
            try:
                data = pickle.load(inbox)
            except EOFError:
                return
            say("ends", _outcome(data, work, say))
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more, and what is still to be written would only complain


def _outcome(data: bytes, work: Work, say: Callable[[str, Any], None]) -> Any:
    try:
        return work(pickle.loads(data), lambda value: say("tells", value))
    except BrokenPipeError:
        raise
    except Exception as error:
        return Failure(described(error))


def _one_after_another(tasks: Sequence[Any], work: Work, hear: Callable[[int, Any], None]) -> list[Any]:
    outcomes = []
    for index, task in enumerate(tasks):
        try:
            outcome = work(task, lambda value, index=index: hear(index, value))  # type: ignore[misc]
        except Exception as error:
            outcome = Failure(described(error))
        hear(index, outcome)
        outcomes.append(outcome)
    return outcomes


def pickled(value: Any, *, who: str = "jobs above 1", instead: str = "jobs = 1") -> bytes:
    """A task as bytes that mean the same in another process.

    Args:
        value: the task.
        who: needs other processes.
        instead: what needs none.

    Raises:
        ConfigError: it holds something that exists only here.
    """
    try:
        data = pickle.dumps(value)
    except Exception as error:
        raise ConfigError(_can_not_travel(described(error), who, instead)) from None
    for place in (b"__main__", b"<locals>", b"memory:"):
        if place in data:
            raise ConfigError(_can_not_travel(f"it has {place.decode()} in its name", who, instead))
    return data


def _can_not_travel(why: str, who: str, instead: str) -> str:
    return (
        f"{who} need worker processes, and these can't see a model, codec or data of your own that exist only "
        f"in this script or notebook ({why}); put them into a module beside it, or use {instead}"
    )


class _Crew:
    """Workers, each with a thread here that speaks with it."""

    def __init__(self, tasks: Sequence[bytes], opening: bytes) -> None:
        self._tasks, self._opening = tasks, opening
        self._todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(len(tasks)):
            self._todo.put(index)
        self._heard: queue.SimpleQueue[tuple[str, int, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def carry_out(self, processes: int, hear: Callable[[int, Any], None]) -> list[Any]:
        outcomes: list[Any] = [None] * len(self._tasks)
        threads = [threading.Thread(target=self._lead, daemon=True) for _ in range(processes)]
        for thread in threads:
            thread.start()
        try:
            while processes:
                word, index, value = self._heard.get()
                if word == "leaves":
                    processes -= 1
                elif word == "breaks":
                    raise RunError(value)
                elif word == "warns":
                    warnings.warn(value, UserWarning, stacklevel=2)
                else:
                    if word == "ends":
                        outcomes[index] = value
                    hear(index, value)
        finally:
            self._stop()
            for thread in threads:
                thread.join()
        return outcomes

    def _lead(self) -> None:
        """Give a worker one task after another, and a new worker the next task where it dies."""
        worker = None
        try:
            while True:
                try:
                    index = self._todo.get_nowait()
                except queue.Empty:
                    return
                worker = worker or self._started()
                try:
                    _write(worker, self._tasks[index])
                    self._listen(worker, index)
                except (EOFError, OSError, pickle.UnpicklingError):
                    self._heard.put(("ends", index, Failure(f"its process ended ({_end(worker)})")))
                    worker = None
        except _NoWorkerError as error:
            self._heard.put(("breaks", -1, str(error)))
        finally:
            if worker is not None:
                _leave(worker)
            self._heard.put(("leaves", -1, None))

    def _listen(self, worker: subprocess.Popen[bytes], index: int) -> None:
        """Hear what a worker says, up to the end of its task."""
        word = ""
        while word != "ends":
            word, value = pickle.load(_of(worker.stdout))
            self._heard.put((word, index, value))

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise _NoWorkerError("stopped")
            worker = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | _ONE_THREAD,
            )
            self._workers.append(worker)
        try:
            _of(worker.stdin).write(self._opening)
            _of(worker.stdin).flush()
            while pickle.load(_of(worker.stdout)) != ("ready", None):
                pass
        except (EOFError, OSError, pickle.UnpicklingError):
            raise _NoWorkerError(
                f"a worker process ended as it began ({_end(worker)}), for the reason above; jobs = 1 needs none"
            ) from None
        return worker

    def _stop(self) -> None:
        """End all workers: a run's files survive that at any instant."""
        with self._lock:
            self._stopped = True
            self._cleared()
            for worker in self._workers:
                worker.terminate()

    def _cleared(self) -> None:
        while True:
            try:
                self._todo.get_nowait()
            except queue.Empty:
                return


class _NoWorkerError(Exception):
    pass


def _write(worker: subprocess.Popen[bytes], task: bytes) -> None:
    pickle.dump(task, _of(worker.stdin))
    _of(worker.stdin).flush()


def _leave(worker: subprocess.Popen[bytes]) -> None:
    """Close a worker's input, upon which it ends, and wait for that."""
    with suppress(OSError):  # it is gone already
        _of(worker.stdin).close()
    worker.wait()
    _of(worker.stdout).close()


def _end(worker: subprocess.Popen[bytes]) -> str:
    """How a worker ended, in words."""
    _leave(worker)
    code = worker.returncode
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}" + (", perhaps for want of memory" if code == -9 else "")


def _of(pipe: Any) -> BinaryIO:
    found: BinaryIO = pipe
    return found
