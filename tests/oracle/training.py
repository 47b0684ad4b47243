"""Short training runs on pointers, from numbers that every Python makes alike.

Initial weights and batches come from a linear congruential generator in plain Python, so an old torch and a new
one start from equal float32 values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["RUNS", "summary", "train"]

STEPS, BATCH, ENTRIES_SHOWN = 8, 6, 4


class Numbers:
    r"""Equal numbers on every machine: :math:`s \gets (1664525 s + 1013904223) \bmod 2^{32}`, the top 24 bits of it.

    Source: Press et al., Numerical Recipes, 2nd ed., section 7.1 ("quick and dirty" generator).
    """

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, bound: int) -> int:
        """A whole number in 0 … bound - 1."""
        self.state = (1664525 * self.state + 1013904223) % 2**32
        return (self.state >> 8) * bound >> 24

    def tensor(self, *shape: int, scale: float = 1.0) -> torch.Tensor:
        """Multiples of 2^-12 in [-1, 1), times the scale: exact in float32 where the scale is a power of two."""
        count = 1
        for length in shape:
            count *= length
        values = [(self.below(8192) - 4096) / 4096 * scale for _ in range(count)]
        return torch.tensor(values).view(*shape)


class Cnn(nn.Module):
    """The federated MNIST network of the PySyft tutorials, small: two convolutions, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.conv2 = nn.Conv2d(4, 6, 3)
        self.fc1 = nn.Linear(6 * 4 * 4, 12)
        self.fc2 = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.view(-1, 6 * 4 * 4)))
        return self.fc2(x)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 4))


RUNS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Callable[[Any], torch.optim.Optimizer]]] = {
    "mlp, SGD": (mlp, (8,), lambda ps: torch.optim.SGD(ps, lr=0.1)),
    "mlp, SGD with momentum and decay": (
        mlp,
        (8,),
        lambda ps: torch.optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=1e-2),
    ),
    "mlp, Adam": (mlp, (8,), lambda ps: torch.optim.Adam(ps, lr=0.01)),
    "batch norm, SGD": (normed, (8,), lambda ps: torch.optim.SGD(ps, lr=0.1)),
    "cnn, SGD": (Cnn, (1, 12, 12), lambda ps: torch.optim.SGD(ps, lr=0.05)),
    "cnn, SGD with momentum": (Cnn, (1, 12, 12), lambda ps: torch.optim.SGD(ps, lr=0.02, momentum=0.9)),
}
"""Model, shape of one sample, and optimizer by name."""


def train(name: str, worker: Any = None) -> tuple[list[float], nn.Module]:
    """Train one of the runs at a worker, or right here.

    Returns:
        Losses [steps], and the trained model, fetched.
    """
    build, shape, optimise = RUNS[name]
    numbers = Numbers(seed=20_000 + sorted(RUNS).index(name))
    model = build()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(numbers.tensor(*p.shape, scale=0.5))
    batches = []
    for _ in range(3):
        x = numbers.tensor(BATCH, *shape)
        batches.append((x, torch.tensor([numbers.below(4) for _ in range(BATCH)])))
    optimizer = optimise(model.parameters())
    if worker is not None:
        model.send(worker)
        batches = [(x.send(worker), y.send(worker)) for x, y in batches]
    losses = []
    for i in range(STEPS):
        x, y = batches[i % len(batches)]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append((loss if worker is None else loss.get()).item())
    if worker is not None:
        model.get()
    return losses, model


def summary(losses: list[float], model: nn.Module) -> dict[str, Any]:
    """What is recorded of a run: losses, and of each parameter its first entries, sum and sum of squares."""
    weights = {}
    for name, p in model.named_parameters():
        flat = p.detach().reshape(-1).double()
        weights[name] = [*flat[:ENTRIES_SHOWN].tolist(), flat.sum().item(), (flat * flat).sum().item()]
    return {"losses": losses, "weights": weights}
