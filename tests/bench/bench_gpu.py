"""Rounds on a card against bare torch on the same card: ``python tests/bench/bench_gpu.py [--device cuda] [--quick]``.

- W1: the document's CNN, 100 UEs with 600 samples of [1, 28, 28], 10 of them in a round, batch 16, one epoch.
- W2: an MLP of 784, 64 and 10 neurons, 1,000 UEs with 20 samples, 100 of them in a round, batch 20, one step.
- W3: ResNet-18, 100 UEs with 128 samples of [3, 32, 32], 10 of them in a round, batch 32, one epoch.

Samples are drawn, for nothing here depends on what they show. *Ours* is a whole round: choice of the cohort, frames,
codec, simulated radio, training, aggregation. *Bare* is the usual loop over as many UEs with models and samples on the
device, and the mean of what came out; it sends nothing. Both are timed in turn, pair by pair, each between two moments
at which the device has nothing left to do; medians are printed. There is no bound: cards differ.

``--seconds`` is what all measurements together take, about, beside the making of the cells; ``--quick`` takes smaller
ones, to see that the script runs. ``--device cpu`` is for that, too. ``--only W2`` leaves the others out.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.codecs import QSGD, Codec, Float32
from syft_fl.data import Dataset, Samples
from syft_fl.devices import describe, ready
from syft_fl.federation import Population, Scenario, Simulation, Stop
from syft_fl.keys import Key
from syft_fl.learn import ENGINES, IID, MLP, DocumentCNN, ModelFactory, PerSample, ResNet18, Training
from syft_fl.transport import Uplink

RATE = 0.01
MOST_PAIRS = 25


@dataclass(frozen=True)
class Work:
    """What a cell learns.

    Attributes:
        name: of the row.
        model: of the module.
        shape: of a sample.
        ues: in the cell, with so many ``samples`` each; ``cohort`` of them in a round.
        batch: samples a step, for one pass over the samples.
    """

    name: str
    model: ModelFactory
    shape: tuple[int, ...]
    ues: int
    samples: int
    cohort: int
    batch: int

    def dataset(self) -> Dataset:
        generator = (Key(0) / self.name).torch()

        def drawn(count: int) -> Samples:
            x = torch.randn(count, *self.shape, generator=generator)
            return Samples(x, torch.randint(10, (count,), generator=generator))

        return Dataset(drawn(self.ues * self.samples), drawn(100), classes=10)

    def smaller(self) -> Work:
        batch = min(self.batch, 8)
        return replace(self, ues=self.ues // 10, samples=batch, cohort=max(2, self.cohort // 10), batch=batch)


WORKS = (
    Work("W1", DocumentCNN(), (1, 28, 28), ues=100, samples=600, cohort=10, batch=16),
    Work("W2", MLP(hidden=(64,)), (784,), ues=1000, samples=20, cohort=100, batch=20),
    Work("W3", ResNet18(), (3, 32, 32), ues=100, samples=128, cohort=10, batch=32),
)
ROWS: tuple[tuple[str, str, Codec], ...] = (
    ("W1", "loop", Float32()),
    ("W1", "batched", Float32()),
    ("W2", "loop", Float32()),
    ("W2", "batched", Float32()),
    ("W2", "batched", QSGD()),
    ("W3", "loop", Float32()),
    ("W3", "batched", Float32()),
    ("W3", "loop", QSGD()),
)


def bare(work: Work, dataset: Dataset, device: torch.device) -> Callable[[], object]:
    """A round as a person would write it for one device."""
    torch.manual_seed(0)
    net: nn.Module = work.model.build(work.shape, 10).to(device)
    held = [
        (dataset.train.x[first : first + work.samples], dataset.train.y[first : first + work.samples])
        for first in range(0, work.cohort * work.samples, work.samples)
    ]
    parts = [(x.to(device), y.to(device)) for x, y in held]
    model = copy.deepcopy(net.state_dict())

    def round() -> None:
        total: dict[str, Tensor] = {}
        for x, y in parts:
            net.load_state_dict(model)
            optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
            for index in torch.randperm(len(y)).to(device).split(work.batch):
                optimizer.zero_grad()
                F.cross_entropy(net(x[index]), y[index]).backward()
                optimizer.step()
            for name, value in net.state_dict().items():
                share = value / len(parts)
                total[name] = total[name] + share if name in total else share
        model.update(total)

    return round


def ours(work: Work, dataset: Dataset, device: str, engine: str, codec: Codec) -> Simulation:
    simulation = Simulation(
        Scenario(
            model=work.model,
            partition=IID(),
            population=Population(ues=work.ues, cohort=work.cohort, eval_every=10**6),
            training=Training(batch_size=work.batch, learning_rate=RATE),
            compute=PerSample(seconds_per_sample=1e-3),
            uplink=Uplink(codec=codec),
            engine=ENGINES.build(engine),
            device=device,
            stop=Stop(rounds=10**6),
        ),
        dataset,
    )
    simulation.step()  # the test of the first model
    return simulation


def seconds(round: Callable[[], object], device: torch.device) -> float:
    settle(device)
    start = time.perf_counter()
    round()
    settle(device)
    return time.perf_counter() - start


def settle(device: torch.device) -> None:
    """Wait until a card has done all that it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(
    one: Callable[[], object], other: Callable[[], object], device: torch.device, *, lasts_s: float
) -> tuple[float, float, float, int]:
    """Medians: of the ratio of pairs, of each one's time [s]; and how many pairs."""
    ends = time.perf_counter() + lasts_s
    for warm_up in (one, other):
        seconds(warm_up, device)
    pairs: list[tuple[float, float]] = []
    while not pairs or (time.perf_counter() < ends and len(pairs) < MOST_PAIRS):
        order = (one, other) if len(pairs) % 2 else (other, one)
        took = {id(which): seconds(which, device) for which in order}
        pairs.append((took[id(one)], took[id(other)]))
    ratios = [mine / its for mine, its in pairs]
    mine_s, its_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    return statistics.median(ratios), mine_s, its_s, len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--seconds", type=float, default=200.0, help="for all measurements together")
    parser.add_argument("--quick", action="store_true", help="a tenth of the UEs, and a pair each")
    parser.add_argument("--only", nargs="*", metavar="W", help="only these of W1, W2, W3")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = ready(asked.device)
    rows = [row for row in ROWS if not asked.only or row[0] in asked.only]
    lasts_s = 0.0 if asked.quick else asked.seconds / len(rows)
    print(f"{describe(device)}, torch {torch.__version__}")
    print(
        f"{'':<4}{'engine':<9}{'codec':<9}{'ours [ms]':>11}{'bare [ms]':>11}{'ratio':>8}{'pairs':>7}{'peak [GB]':>11}"
    )
    for work in WORKS:
        here = [row for row in rows if row[0] == work.name]
        if not here:
            continue
        small = work.smaller() if asked.quick else work
        dataset = small.dataset()
        usual = bare(small, dataset, device)
        for name, engine, codec in here:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            simulation = ours(small, dataset, asked.device, engine, codec)
            ratio, ours_s, bare_s, pairs = measured(simulation.step, usual, device, lasts_s=lasts_s)
            simulation.close()
            peak = f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f}" if device.type == "cuda" else "–"
            print(
                f"{name:<4}{engine:<9}{codec.kind:<9}{1e3 * ours_s:>11.1f}{1e3 * bare_s:>11.1f}"
                f"{ratio:>8.2f}{pairs:>7}{peak:>11}",
                flush=True,
            )


if __name__ == "__main__":
    main()
