"""A training step on pointers against the plain step, in one process at one intra-op thread.

``python tests/bench/bench_pointers.py``: the document's CNN at batch 16, and a small MLP where the cost per
operation shows. Both are timed in turn; printed are the medians, and the median of neighbours' ratios, which a busy
machine disturbs least. Goal for the CNN: at most 1.5, better 1.25.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from syft_fl.keys import Key
from syft_fl.learn import MLP, DocumentCNN, build_seeded
from syft_fl.workers import TorchHook, VirtualWorker

BATCH = 16


def stepper(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    step()
    return time.perf_counter() - start_s


def compare(name: str, model: nn.Module, shape: tuple[int, ...], *, repeats: int) -> None:
    rng = Key(0).torch()
    x = torch.randn(BATCH, *shape, generator=rng)
    y = torch.randint(10, (BATCH,), generator=rng)
    ue = VirtualWorker(hook=TorchHook(torch), id="ue")
    sent = copy.deepcopy(model).send(ue)
    plain, there = stepper(model, x, y), stepper(sent, x.send(ue), y.send(ue))
    for _ in range(5):
        plain(), there()
    pairs = [(seconds(plain), seconds(there)) for _ in range(repeats)]
    plain_ms, there_ms = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{name:12} plain {plain_ms:8.3f} ms   pointers {there_ms:8.3f} ms   ratio {ratio:.3f}")


def main() -> None:
    torch.set_num_threads(1)
    image = (1, 28, 28)
    compare("document_cnn", build_seeded(DocumentCNN(), image, 10, Key(1)), image, repeats=60)
    compare("mlp_64_32", build_seeded(MLP(hidden=(32,)), (64,), 10, Key(1)), (64,), repeats=500)


if __name__ == "__main__":
    main()
