"""Random numbers that operations draw at a worker: dropout, ``rand_like``, ``normal_``, ``multinomial`` and so on.

Each worker has a random stream of its own, ``key / worker / "operations"`` under the transport's key. What it draws
depends on that and on what it drew before: not on the other workers, on ``torch.manual_seed``, or on
what the script draws itself; and torch's global generator is left as found. A generator that a script passes
(``normal_(generator=...)``) is used as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from syft_fl.workers.worker import VirtualWorker

__all__ = ["generator_of", "global_draws"]

_GENERATORS: WeakKeyDictionary[VirtualWorker, torch.Generator] = WeakKeyDictionary()


def generator_of(worker: VirtualWorker) -> torch.Generator:
    """The generator of a worker's stream, where its draws so far have left it."""
    if worker not in _GENERATORS:
        _GENERATORS[worker] = (worker.hook.transport.key / worker.id / "operations").torch()
    return _GENERATORS[worker]


@contextmanager
def global_draws(worker: VirtualWorker) -> Iterator[None]:
    """Within it, what draws from torch's global generator (the CPU's) draws from the worker's stream."""
    mine = generator_of(worker)
    before = torch.get_rng_state()
    torch.set_rng_state(mine.get_state())
    try:
        yield
    finally:
        mine.set_state(torch.get_rng_state())
        torch.set_rng_state(before)
