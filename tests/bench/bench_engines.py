"""Engines against bare torch, in one process: ``python tests/bench/bench_engines.py [--full] [--check]``.

- Many small models: 100 UEs with 20 samples each, an MLP of 784, 64 and 10 neurons, one step each.
- Few larger ones: 10 UEs, the document's CNN, batch 16, one epoch of 128 samples (``--full``: 600).

What they are compared with has no line of ours: the usual loop over UEs, or two threads that do the same; all at one
intra-op thread. ``bench_federation.py`` has the CNN in threads and the MLPs in stacks, against what is faster than the
usual loop. Competitors are timed in turn, pair by pair; medians of ratios are printed. What runs in one thread is timed
by the processor's clock, which others on the machine disturb less. ``--check`` fails where a ratio is past its bound.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.keys import Key
from syft_fl.learn import ENGINES, MLP, DocumentCNN, Engine, Job, Training
from syft_fl.vectors import Layout

RATE = 0.01
Models = list[dict[str, Tensor]]


@dataclass(frozen=True)
class Labelled:
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Work:
    """A cohort's training: each UE starts from the same model."""

    net: nn.Module
    data: list[Labelled]
    batch: int


def work(net: nn.Module, shape: tuple[int, ...], *, ues: int, samples: int, batch: int) -> Work:
    generator = torch.Generator().manual_seed(0)
    return Work(
        net,
        [
            Labelled(
                torch.randn(samples, *shape, generator=generator),
                torch.randint(10, (samples,), generator=generator),
            )
            for _ in range(ues)
        ],
        batch,
    )


def train_bare(net: nn.Module, start: dict[str, Tensor], data: Labelled, batch: int) -> dict[str, Tensor]:
    """What a person would write for one UE."""
    net.load_state_dict(start)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for index in torch.randperm(len(data.y)).split(batch):
        optimizer.zero_grad()
        F.cross_entropy(net(data.x[index]), data.y[index]).backward()
        optimizer.step()
    return {name: value.clone() for name, value in net.state_dict().items()}


def usual_loop(work: Work) -> Callable[[], Models]:
    net = copy.deepcopy(work.net)
    start = copy.deepcopy(net.state_dict())
    return lambda: [train_bare(net, start, data, work.batch) for data in work.data]


def two_bare_threads(work: Work) -> Callable[[], Models]:
    nets = [copy.deepcopy(work.net) for _ in range(2)]
    start = copy.deepcopy(work.net.state_dict())
    pool = ThreadPoolExecutor(2)

    def half(which: int) -> Models:
        torch.set_num_threads(1)
        return [train_bare(nets[which], start, data, work.batch) for data in work.data[which::2]]

    return lambda: [model for half_done in pool.map(half, range(2)) for model in half_done]


def ours(work: Work, kind: str, **fields: int) -> Callable[[], list[Tensor]]:
    net = copy.deepcopy(work.net)
    layout = Layout.of(net)
    start = layout.read(net)
    engine: Engine = ENGINES.build({"kind": kind} | fields).open(net, layout, cohort=len(work.data))
    training = Training(learning_rate=RATE, batch_size=work.batch)
    first = Job("ue", start, work.data[0], training, Key(0), round=1)
    jobs = [
        replace(first, ue=f"ue{ue}", samples=data, key=Key(0) / f"ue{ue}")
        for ue, data in enumerate(work.data)
    ]

    def train() -> list[Tensor]:
        handles = [engine.submit(job) for job in jobs]
        return [engine.result(handle).state.vector for handle in handles]

    return train


def seconds(train: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    train()
    return clock() - start


def ratio(
    train: Callable[[], object], bare: Callable[[], object], *, pairs: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """Median of the ratios of pairs timed one after the other, in either order; and the median time of ``bare`` [s]."""
    for warm_up in (train, bare):
        seconds(warm_up, clock)
    ratios, times = [], []
    for pair in range(pairs):
        order = (train, bare) if pair % 2 else (bare, train)
        took = {one: seconds(one, clock) for one in order}
        ratios.append(took[train] / took[bare])
        times.append(took[bare])
    return statistics.median(ratios), statistics.median(times)


def main() -> None:
    torch.set_num_threads(1)
    samples = 600 if "--full" in sys.argv else 128
    small = work(MLP(hidden=(64,)).build((784,), 10), (784,), ues=100, samples=20, batch=20)
    large = work(DocumentCNN().build((1, 28, 28), 10), (1, 28, 28), ues=10, samples=samples, batch=16)
    # Bounds leave room for a machine that others use, too.
    rows = [
        ("100 small MLPs", small, "loop", {}, "the usual loop", usual_loop, 15, 1.4),
        ("100 small MLPs", small, "threads", {"workers": 2}, "two bare threads", two_bare_threads, 15, 1.6),
        ("100 small MLPs", small, "batched", {}, "the usual loop", usual_loop, 15, 1.0),
        ("10 CNNs", large, "loop", {}, "the usual loop", usual_loop, 3, 1.1),
    ]
    only = [arg for arg in sys.argv[1:] if not arg.startswith("--")]
    late = []
    for title, what, kind, fields, against, bare, pairs, bound in rows:
        if only and kind not in only:
            continue
        clock = time.perf_counter if kind == "threads" else time.process_time
        found, bare_s = ratio(ours(what, kind, **fields), bare(what), pairs=pairs, clock=clock)
        print(
            f"{title:<15} {kind:<10} {found:.3f} of {against:<17} ({bare_s * 1e3:.0f} ms; bound {bound})",
            flush=True,
        )
        if found > bound:
            late.append(f"{title}, {kind}: {found:.3f} of {against}, more than {bound}")
    if late and "--check" in sys.argv:
        sys.exit("\n".join(late))


if __name__ == "__main__":
    main()
