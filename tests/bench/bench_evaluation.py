"""A test of up to 10,000 MNIST-shaped images against the same in bare torch, in one process at one intra-op thread.

``python tests/bench/bench_evaluation.py``: the bare pass calls the model on batches without gradients, adds up the loss
(in float32, where ours takes float64) and counts what is right. Its batches have the size that was quickest for it,
among those tried. All are timed in turn; printed are the least processor times, and medians of neighbours' ratios,
also to the model's calls alone. ``--check``: fail where a test takes more than 1.1 times as long as the bare pass.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.keys import Key
from syft_fl.learn import MLP, DocumentCNN, LeNet5, ModelFactory, build_seeded, evaluate

MOST = 1.1
IMAGES, SHAPE, CLASSES = 10_000, (1, 28, 28), 10
BATCHES = (100, 250, 1000)
MODELS: dict[str, tuple[ModelFactory, int, int]] = {
    "mlp 784-64-10": (MLP(hidden=(64,)), IMAGES, 100),
    "lenet-5": (LeNet5(), IMAGES, 5),
    "document-cnn": (DocumentCNN(), IMAGES // 5, 3),
}
"""By name: the model, images (of which this one takes a millisecond each), and how often it is timed."""


def calls_alone(model: nn.Module, x: Tensor, batch: int) -> None:
    with torch.no_grad():
        for images in x.split(batch):
            model(images)


def bare_pass(model: nn.Module, x: Tensor, y: Tensor, batch: int) -> tuple[float, float]:
    loss, right = 0.0, 0
    with torch.no_grad():
        for images, labels in zip(x.split(batch), y.split(batch), strict=True):
            scores = model(images)
            loss += F.cross_entropy(scores, labels, reduction="sum").item()
            right += (scores.argmax(dim=1) == labels).sum().item()
    return right / len(y), loss / len(y)


def seconds(work: Callable[[], object]) -> float:
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def compare(name: str, factory: ModelFactory, x: Tensor, y: Tensor, *, repeats: int) -> float:
    """Print a model's line; the ratio of ours to the quickest bare pass."""
    model = build_seeded(factory, SHAPE, CLASSES, Key(1)).eval()
    calls: dict[str, Callable[[], object]] = {
        f"batches of {batch}": lambda batch=batch: bare_pass(model, x, y, batch) for batch in BATCHES
    }
    calls |= {"ours": lambda: evaluate(model, x, y), "alone": lambda: calls_alone(model, x, BATCHES[-1])}
    rows = [{call: seconds(work) for call, work in calls.items()} for _ in range(repeats)]
    least = {call: min(row[call] for row in rows) for call in calls}
    bare = min(list(calls)[: len(BATCHES)], key=lambda call: least[call])
    ratio, of_alone = (statistics.median(row["ours"] / row[call] for row in rows) for call in (bare, "alone"))
    print(
        f"{name:<14} least: ours {1e3 * least['ours']:.1f} ms, bare {1e3 * least[bare]:.1f} ms in {bare}; "
        f"median ratio {ratio:.3f}, of the calls alone in {BATCHES[-1]} {of_alone:.3f}"
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help=f"fail where the ratio is above {MOST}")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = Key(0).torch()
    x = torch.randn(IMAGES, *SHAPE, generator=generator)
    y = torch.randint(CLASSES, (IMAGES,), generator=generator)
    ratios = {
        name: compare(name, factory, x[:images], y[:images], repeats=repeats)
        for name, (factory, images, repeats) in MODELS.items()
    }
    late = [f"{name} {ratio:.3f}" for name, ratio in ratios.items() if ratio > MOST]
    if arguments.check and late:
        sys.exit(f"a test takes more than {MOST} times as long as a bare pass: {', '.join(late)}")


if __name__ == "__main__":
    main()
