"""One worker API under question: the genuine ``syft`` 0.2.5 or ``syft_fl``, behind the names that both have.

All of the probe runs under Python 3.8 with torch 1.4 too, so it uses nothing newer.
"""

from __future__ import annotations

import importlib
import itertools
import re
import warnings
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["FACTS", "TOPICS", "World", "ask", "fact"]

TOPICS = (
    "hook",
    "worker",
    "tensor.send(w)",
    "pointer",
    "get()",
    "GC",
    "move(w)",
    "module.send(w)",
    "module.get()",
    "copy",
    "remote training",
    "mixed locations",
    "missing object",
    "datasets",
    "averaging",
    "search / multi",
    "operations",
)
"""The rows of the semantics table, and what torch itself does on pointers."""

FACTS: dict[str, tuple[str, Callable[[World], Any]]] = {}
"""Topic and question by the name of the fact."""


def fact(topic: str, claim: str) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """Register a question: a function of a world whose answer JSON can hold, without ids or addresses."""
    if topic not in TOPICS:
        raise ValueError(f"no topic {topic!r}")

    def register(question: Callable[[World], Any]) -> Callable[[World], Any]:
        name = f"{topic}: {claim}"
        if name in FACTS:
            raise ValueError(f"two facts are called {name!r}")
        FACTS[name] = (topic, question)
        return question

    return register


MODULES = {"syft": ("syft", "syft.frameworks.torch.fl.utils"), "syft_fl": ("syft_fl",)}
"""Where each package has its names."""


class Names:
    """A package's names, whichever of its modules has them."""

    def __init__(self, *modules: str) -> None:
        self._modules = [importlib.import_module(module) for module in modules]

    def __getattr__(self, name: str) -> Any:
        for module in self._modules:
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"nothing is called {name!r} in {self._modules}")


class World:
    """A worker API and a hook in it; every fact takes fresh workers from here.

    Args:
        name: the package, ``"syft"`` or ``"syft_fl"``.

    Attributes:
        sy: what a script has by ``import syft as sy``.
        hook: the hook of the workers.
    """

    def __init__(self, name: str) -> None:
        # 0.2.5 has federated_avg at another place.
        self.sy: Any = Names(*MODULES[name])
        self.hook = self.sy.TorchHook(torch)
        self._serials = itertools.count(1)

    def worker(self, name: str) -> Any:
        """A worker that nobody has used, whose id begins with ``name``."""
        return self.sy.VirtualWorker(hook=self.hook, id=f"{name}{next(self._serials)}")

    @staticmethod
    def tensors(worker: Any) -> int:
        """How many tensors a worker holds (0.2.5 keeps plans in the same store)."""
        return sum(isinstance(held, torch.Tensor) for held in worker._objects.values())

    @staticmethod
    def called(worker: Any) -> str:
        """A worker's (or an id's) name without its serial number."""
        return re.sub(r"\d+", "", str(getattr(worker, "id", worker)))

    @staticmethod
    def masked(pointer: Any) -> str:
        """What a pointer prints, numbers aside."""
        return re.sub(r"\d+", "#", repr(pointer))

    @staticmethod
    def raised(attempt: Callable[[], Any]) -> str:
        """The name of what an attempt raises, or ``"nothing"``."""
        try:
            attempt()
        except Exception as error:
            return type(error).__name__
        return "nothing"


def ask(world: World) -> dict[str, Any]:
    """Every fact's answer in a world; what a question raises is its answer."""
    return {name: _answer(question, world) for name, (_, question) in FACTS.items()}


def _answer(question: Callable[[World], Any], world: World) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _plain(question(world))
        except Exception as error:
            return {"raises": type(error).__name__}


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    raise TypeError(f"a fact answered with a {type(value).__name__}")
