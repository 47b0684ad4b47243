"""Global random generators that are used and left as found.

``nn.Module`` initialisers and dropout draw from torch's global generator; a user's own model may draw from numpy's or
Python's while it is made. Here they are served from a :class:`~syft_fl.keys.Key` for the length of a block and then
put back. Saving numpy's and Python's takes a third of a millisecond, as long as a step of a small model: so training
serves torch's alone.

These states belong to the process. Threads that train side by side serve what their UE draws operation by operation
instead (:func:`thread_generator`); the numbers are the same.

A module on a card draws from that card's generator, which is served from the same key (:func:`serving`). Its numbers
are the card's own: no CPU has the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from threading import Condition, Lock
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from syft_fl.devices import CPU
from syft_fl.keys import Key

__all__ = [
    "ServedDraws",
    "Trust",
    "drawing_part",
    "global_generators",
    "may_draw",
    "serving",
    "thread_generator",
    "torch_generator",
]


@contextmanager
def torch_generator(key: Key) -> Iterator[None]:
    """Start torch's global generator (the CPU's) from a key; restore it afterwards.

    Example:
        >>> with torch_generator(Key(1)):
        ...     first = torch.rand(2)
        >>> with torch_generator(Key(1)):
        ...     torch.equal(first, torch.rand(2))
        True
    """
    before = torch.get_rng_state()
    # Not torch.manual_seed: it would also reseed accelerators, which nothing here restores.
    torch.default_generator.manual_seed(key.integer(63))
    try:
        yield
    finally:
        torch.set_rng_state(before)


def serving(device: torch.device) -> Callable[[Key], AbstractContextManager[object]]:
    """Who serves what a module draws on a device: the block in which its draws come from a key."""
    return torch_generator if device == CPU else lambda key: _card_generator(key, device)


@contextmanager
def _card_generator(key: Key, device: torch.device) -> Iterator[None]:
    """Start torch's global generators of the CPU and of one card from a key; restore them afterwards."""
    with torch_generator(key):  # some modules draw on the CPU, and move what they drew
        before = torch.cuda.get_rng_state(device)
        torch.cuda.default_generators[device.index].manual_seed(key.integer(63))
        try:
            yield
        finally:
            torch.cuda.set_rng_state(before, device)


@contextmanager
def global_generators(key: Key) -> Iterator[None]:
    """Start torch's, numpy's and Python's global generators from a key; restore them afterwards."""
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    np.random.seed(key.integer(32))  # noqa: NPY002
    random.seed(key.integer(63))
    try:
        with torch_generator(key):
            yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])


def thread_generator(key: Key) -> ServedDraws:
    """Serve what *this thread* draws from torch's global generator from a key, for the length of a block.

    The numbers are those of :func:`torch_generator`, and the global generator is left as found. Operations that draw
    are told by torch's own tag, so this holds for any of them, in compiled layers (LSTM) and in backward passes too.
    One that takes a generator gets this one; for the others (``torch.rand``) the global generator's state is exchanged
    for the length of the operation, one thread at a time.

    Example:
        >>> with torch_generator(Key(1)):
        ...     first = torch.rand(2)
        >>> with thread_generator(Key(1)):
        ...     torch.equal(first, torch.rand(2))
        True
    """
    return ServedDraws(key.torch())


class ServedDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The block of :func:`thread_generator`; ``drew`` tells whether anything was drawn in it so far."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = generator
        self.drew = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags or given.get("generator") is not None:
            return func(*args, **given)
        self.drew = True
        if any(argument.name == "generator" for argument in func._schema.arguments):
            return func(*args, **given | {"generator": self._generator})
        with _EXCHANGED:
            before = torch.get_rng_state()
            torch.set_rng_state(self._generator.get_state())
            try:
                return func(*args, **given)
            finally:
                self._generator.set_state(torch.get_rng_state())
                torch.set_rng_state(before)


_EXCHANGED = Lock()


class Trust:
    """Whether threads may train copies of one module without anybody serving what it draws.

    Serving costs some 10 µs for each operation, which a module that draws nothing should not pay. A module is trusted
    once a whole training of it was served, and nothing was drawn. From then on the global generator gives it away:
    where that has moved while a copy trained, the module is trusted no more, and the training counts for nothing.
    What it drew then is gone from the global generator. (Whatever else in the process drew
    meanwhile looks the same, and costs time only.)
    """

    def __init__(self) -> None:
        self._trusted: bool | None = None
        self._inside = 0
        self._found: torch.Tensor | None = None
        self._changed = Condition()

    def enter(self) -> bool:
        """Whether a training may begin unserved; it must :meth:`leave` then."""
        with self._changed:
            if self._trusted:
                if not self._inside:
                    self._found = _global_state()
                self._inside += 1
                return True
            # What is drawn unserved may be drawn from a generator that was put in place for somebody who is served.
            self._changed.wait_for(lambda: not self._inside)
            return False

    def leave(self) -> bool:
        """End an unserved training; whether what came of it counts."""
        with self._changed:
            self._inside -= 1
            if self._found is None or not torch.equal(self._found, _global_state()):
                self._trusted = False
            self._changed.notify_all()
            return bool(self._trusted)

    def saw(self, served: ServedDraws) -> None:
        """Take note of a whole training that was served."""
        with self._changed:
            self._trusted = not served.drew if self._trusted is None else self._trusted and not served.drew


def _global_state() -> torch.Tensor:
    with _EXCHANGED:
        return torch.get_rng_state()


def may_draw(module: nn.Module) -> bool:
    """Whether training a module may draw random numbers: no only if all its parts are known, and none draws.

    Example:
        >>> may_draw(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), may_draw(nn.Sequential(nn.Dropout(0.5)))
        (False, True)
    """
    return drawing_part(module) is not None or not all(map(_is_known, module.modules()))


def drawing_part(module: nn.Module) -> nn.Module | None:
    """The first part of a module that is known to draw random numbers in training."""
    return next((part for part in module.modules() if isinstance(part, _DRAWING)), None)


_DRAWING = (
    nn.modules.dropout._DropoutNd,
    nn.RReLU,
    nn.FractionalMaxPool2d,
    nn.FractionalMaxPool3d,
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,  # these call dropout as a function, too
    nn.TransformerDecoderLayer,
)


def _is_known(part: nn.Module) -> bool:
    ours = type(part).__module__.startswith(("torch.nn.modules.", "syft_fl.learn."))
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    return ours and "forward" not in vars(part) and not any(hooks)
