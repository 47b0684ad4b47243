"""Global random generators that are used and left as found.

``nn.Module`` initialisers and dropout draw from torch's global generator; a user's own model may draw from numpy's or
Python's while it is made. Here they are served from a :class:`~syft_fl.keys.Key` for the length of a block and then
put back. Saving numpy's and Python's takes a third of a millisecond, as long as a step of a small model: so training
serves torch's alone.

Left out: accelerators' generators, and several threads: these states belong to the process, so an engine that trains
UEs in threads must serve dropout in another way (a ``TorchFunctionMode`` that passes each call its UE's generator).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from syft_fl.keys import Key

__all__ = ["global_generators", "torch_generator"]


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
