"""A training step on pointers against the plain step, in one process at one intra-op thread.

``python tests/bench/bench_pointers.py``: the document's CNN at batch 16, and a 784-64-10 MLP where the cost per
operation shows. ``--check``: fail where the CNN takes more than 1.2 times plain, or the MLP more than 0.8 ms more.

Timed in turn are the plain step, the step on pointers, and the step on *empty* wrappers: a dispatcher that
only unwraps, runs and wraps again, which is about the least that a tensor subclass costs on this machine. Printed are
medians of neighbours' differences and ratios, which a busy machine disturbs least, and the differences of the
quickest steps, which it hardly disturbs.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from syft_fl.keys import Key
from syft_fl.learn import MLP, DocumentCNN, build_seeded
from syft_fl.workers import TorchHook, VirtualWorker

BATCH = 16
CNN_RATIO, MLP_MORE_MS = 1.2, 0.8


class Empty(Tensor):
    """A wrapper with nothing to it."""

    inside: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        there = [a.inside if type(a) is cls else a for a in args]
        result = func(*there, **(kwargs or {}))
        if isinstance(result, Tensor):
            return cls.around(result)
        return tuple(cls.around(r) if isinstance(r, Tensor) else r for r in result)

    @classmethod
    def around(cls, plain: Tensor) -> Empty:
        made = cls._make_wrapper_subclass(
            cls, plain.shape, strides=plain.stride(), dtype=plain.dtype, device=plain.device
        )
        made.inside = plain
        return made


def emptied(model: nn.Module) -> nn.Module:
    """The model on empty wrappers."""
    for parameter in list(model.parameters()):
        torch.utils.swap_tensors(parameter, nn.Parameter(Empty.around(parameter.detach())))
    return model


def stepper(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def milliseconds(step: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start_s)


def compare(name: str, model: nn.Module, shape: tuple[int, ...], *, repeats: int) -> tuple[float, float]:
    """Print the lines of a model; how much longer a step on pointers takes, in ms and as a ratio."""
    rng = Key(0).torch()
    x = torch.randn(BATCH, *shape, generator=rng)
    y = torch.randint(10, (BATCH,), generator=rng)
    ue = VirtualWorker(hook=TorchHook(torch), id="ue")
    steps = {
        "plain": stepper(copy.deepcopy(model), x, y),
        "empty": stepper(emptied(copy.deepcopy(model)), Empty.around(x), Empty.around(y)),
        "pointers": stepper(copy.deepcopy(model).send(ue), x.send(ue), y.send(ue)),
    }
    for step in steps.values():
        for _ in range(5):
            step()
    rows = [[milliseconds(step) for step in steps.values()] for _ in range(repeats)]
    plain, *others = zip(*rows, strict=True)
    print(f"{name:14} plain     {statistics.median(plain):8.3f} ms (quickest {min(plain):.3f})")
    for kind, times in zip(list(steps)[1:], others, strict=True):
        more = statistics.median(t - p for p, t in zip(plain, times, strict=True))
        ratio = statistics.median(t / p for p, t in zip(plain, times, strict=True))
        print(
            f"{'':14} {kind:9} +{more:7.3f} ms (quickest +{min(times) - min(plain):.3f})   ratio {ratio:.3f}"
        )
    return more, ratio


def main() -> None:
    torch.set_num_threads(1)
    image = (1, 28, 28)
    _, cnn_ratio = compare("document_cnn", build_seeded(DocumentCNN(), image, 10, Key(1)), image, repeats=60)
    mlp = build_seeded(MLP(hidden=(64,)), (784,), 10, Key(1))
    mlp_more, _ = compare("mlp_784_64_10", mlp, (784,), repeats=1000)
    if "--check" in sys.argv and (cnn_ratio > CNN_RATIO or mlp_more > MLP_MORE_MS):
        sys.exit(f"too slow: CNN {cnn_ratio:.3f} times plain, MLP {mlp_more:.3f} ms more")


if __name__ == "__main__":
    main()
