"""UEs side by side in processes of this machine, for modules that hold Python's lock (many small operations).

Models and samples lie in files that both sides map into memory (in ``/dev/shm`` where there is one): a job is a short
message that names them. A model is written before its training and read after it; samples are written once, and a whole
that UEs have shares in once for all of them. The module itself travels once to each process, by value if it can't be
imported there: a class of a script or a notebook needs no ``if __name__ == "__main__"``.

Left out: what a program has set in its own interpreter beside ``sys.path`` (torch's flags and default dtype).
"""

from __future__ import annotations

import mmap
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, cast

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn

from syft_fl.errors import ConfigError, RunError
from syft_fl.learn.engines.engine import ENGINES, Engine, Job, Outcome
from syft_fl.learn.engines.pool import PooledEngine, Worker, cores
from syft_fl.learn.engines.scratch import Scratch
from syft_fl.learn.training import LabelledSamples, shared
from syft_fl.schema import require, schema
from syft_fl.vectors import Layout, ModelState

__all__ = ["Processes", "packed_module", "serve", "unpacked_module"]


@ENGINES
@schema
class Processes:
    """UEs side by side in processes of this machine; the same to the bit as ``loop``.

    A process takes some seconds and 200 MB to start: for long runs.

    Attributes:
        workers: processes; None: one for each core that may be used.
    """

    kind: ClassVar[str] = "processes"
    ignores_timing: ClassVar[bool] = True
    cpu_only: ClassVar[bool] = True
    workers: int | None = None

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, "workers", self.workers, "at least 1")

    def open(self, module: nn.Module, layout: Layout, *, cohort: int) -> Engine:
        packed, files = packed_module(module), _Files()

        def hire() -> Worker:
            return _Process(packed, layout, files)

        return PooledEngine(hire, self.workers or cores())


def packed_module(module: nn.Module) -> bytes:
    """A module as bytes, with its class where that can't be imported.

    Raises:
        ConfigError: it holds something that can't be sent.
    """
    try:
        return cloudpickle.dumps(module)  # type: ignore[no-any-return]
    except Exception as error:
        raise ConfigError(
            f"model {type(module).__name__} can't be sent to another process ({error}); "
            "hold nothing in it that can't be pickled, or use engine.kind = 'threads'"
        ) from error


def unpacked_module(packed: bytes) -> nn.Module:
    """The module again.

    Raises:
        ConfigError: its class can't be imported here.
    """
    try:
        return pickle.loads(packed)  # type: ignore[no-any-return]
    except Exception as error:
        raise ConfigError(
            f"the model can't be made in another process ({type(error).__name__}: {error}); "
            "put its class into a module on the Python path, or use engine.kind = 'threads'"
        ) from error


class _Process:
    """A process that trains jobs, seen from here."""

    def __init__(self, packed: bytes, layout: Layout, files: _Files) -> None:
        self._hello: bytes | None = packed
        self._layout = layout
        self._files = files
        # The model on its way there and back.
        self._vector = files.new(torch.zeros(layout.length))
        self._buffers = {n: files.new(torch.zeros(shape, dtype=dtype)) for n, shape, dtype in layout.buffers}
        self._correction: _Mapped | None = None
        self._model = ModelState(self._vector.open(), {n: b.open() for n, b in self._buffers.items()})
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({files.folders!r})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def train(self, job: Job) -> Outcome:
        self._model.vector.copy_(job.state.vector)
        for name, buffer in self._model.buffers.items():
            buffer.copy_(job.state.buffers[name])
        correction = None
        if job.correction is not None:
            self._correction = correction = self._correction or self._files.new(job.correction)
            correction.open().copy_(job.correction)
        message = replace(
            job,
            state=ModelState(self._vector, self._buffers),  # type: ignore[arg-type]
            samples=_in_files(job.samples, self._files),  # type: ignore[arg-type]
            correction=correction,  # type: ignore[arg-type]
        )
        found = self._ask(message)
        if isinstance(found, Exception):
            raise found
        return Outcome(
            ModelState(_copied(self._model.vector), {n: b.clone() for n, b in self._model.buffers.items()}),
            found,
        )

    def _ask(self, message: Job) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if self._hello is not None:
                pickle.dump((self._hello, self._layout), self._process.stdin)
                self._hello = None
            self._process.stdin.write(cloudpickle.dumps(message))
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (EOFError, OSError) as error:
            raise RunError(
                f"a process of engine.kind = 'processes' ended (status {self._process.wait()}) while it trained "
                f"{message.ue}; it may have run out of memory: give engine.workers a smaller number"
            ) from error

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):  # it is gone, with something still on the way
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def serve(folders: Sequence[str]) -> None:
    """Train what comes through standard input, until it ends. What a module prints goes to standard error.

    Args:
        folders: removed at the end: where the program that started this one was killed, nobody else does it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that started this one decides
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    scratch: Scratch | None = None
    try:
        packed, layout = pickle.load(inbox)
        while True:
            message = pickle.load(inbox)
            try:
                if scratch is None:
                    scratch = Scratch(unpacked_module(packed), layout)
                    packed = b""  # as large as the module
                answer: object = _train(scratch, message)
            except Exception as error:
                answer = error
            outbox.write(_packed_answer(answer))
            outbox.flush()
    except EOFError:
        _remove(folders)


def _train(scratch: Scratch, message: Job) -> object:
    """Train on what lies in files, and write the model back to where it came from."""
    vector, buffers, samples = message.state.vector, message.state.buffers, cast(Any, message.samples)
    model = ModelState(_open(vector), {name: _open(buffer) for name, buffer in buffers.items()})
    return scratch.train_there(
        replace(
            message,
            state=model,
            samples=_opened(samples),
            correction=None if message.correction is None else _open(message.correction),
        )
    )


def _packed_answer(answer: object) -> bytes:
    try:
        packed: bytes = cloudpickle.dumps(answer)
        pickle.loads(packed)  # some exceptions can be written, but not read
    except Exception:
        packed = pickle.dumps(RunError(f"{type(answer).__name__} in another process: {answer}"))
    return packed


@dataclass(frozen=True)
class _Samples:
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class _Filed:
    """Samples in files; with an index, those at its places."""

    x: _Mapped
    y: _Mapped
    index: np.ndarray[Any, Any] | None


def _in_files(samples: LabelledSamples, files: _Files) -> _Filed:
    if shared(samples):
        # The whole is written once for all UEs; of a UE's own there is only what it takes to name them.
        return _Filed(files.of(samples.whole.x), files.of(samples.whole.y), samples.index.numpy())
    return _Filed(files.of(samples.x), files.of(samples.y), None)


def _opened(samples: _Filed) -> _Samples:
    x, y = samples.x.open(), samples.y.open()
    if samples.index is None:
        return _Samples(x, y)
    index = torch.from_numpy(samples.index)
    return _Samples(x[index], y[index])


@dataclass(frozen=True)
class _Mapped:
    """A tensor in a file, by name."""

    path: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def open(self) -> Tensor:
        if prod(self.shape) == 0:  # nothing can't be mapped
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.from_file(self.path, shared=True, size=prod(self.shape), dtype=self.dtype).view(
            self.shape
        )


def _copied(tensor: Tensor) -> Tensor:
    """A copy in pages of its own, given back with it.

    What one thread takes from the common heap and another gives back stays with the process: some models a worker.
    """
    if tensor.nbytes < mmap.PAGESIZE:
        return tensor.clone()
    pages = np.frombuffer(mmap.mmap(-1, tensor.nbytes), np.uint8)
    return torch.from_numpy(pages).view(tensor.dtype).view(tensor.shape).copy_(tensor)


def _open(mapped: Any) -> Tensor:
    found: Tensor = mapped.open()
    return found


class _Files:
    """Tensors in files of one engine, gone with it."""

    def __init__(self) -> None:
        self._known: dict[int, _Mapped] = {}
        self._count = 0
        self._lock = RLock()

    @cached_property
    def folders(self) -> list[str]:
        """Where they are, the quickest first; made when asked for."""
        memory = ["/dev/shm"] if os.access("/dev/shm", os.W_OK) else []
        made = [tempfile.mkdtemp(prefix="syft_fl-", dir=place) for place in (*memory, None)]
        weakref.finalize(self, _remove, made)
        return made

    def new(self, tensor: Tensor) -> _Mapped:
        """A tensor's value in a file of its own."""
        with self._lock:
            self._count += 1
            data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
            # Written and not only made long: a full /dev/shm is an error here, and not the end of a process later.
            for folder in self.folders:
                path = Path(folder) / str(self._count)
                try:
                    data.tofile(path)
                    return _Mapped(str(path), tuple(tensor.shape), tensor.dtype)
                except OSError:
                    path.unlink(missing_ok=True)
        raise RunError(
            f"no room for {data.nbytes} bytes in {' or '.join(self.folders)}; set TMPDIR to a folder with room, "
            "or use engine.kind = 'threads'"
        )

    def of(self, tensor: Tensor) -> _Mapped:
        """The file of a tensor: written when it is first met, removed when nobody holds the tensor any more."""
        with self._lock:
            if id(tensor) not in self._known:
                self._known[id(tensor)] = found = self.new(tensor)
                weakref.finalize(tensor, _forget, self._known, id(tensor), found.path)
            return self._known[id(tensor)]


def _forget(known: dict[int, _Mapped], number: int, path: str) -> None:
    del known[number]
    Path(path).unlink(missing_ok=True)


def _remove(folders: Sequence[str]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
