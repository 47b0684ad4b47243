"""A federated round against the bare SGD steps in it, in one process at one intra-op thread.

``python tests/bench/bench_round.py``: the document's CNN, 10 UEs of 600 samples, 1 local epoch, batch 16. The round
has everything but the test of the model: codecs, frames, radio, clock, aggregation, files, checkpoint. The bare loop is
plain torch with no line of ours. Both are timed in turn, in processor time, and the median of the ratios is printed.
With ``--check`` three pairs are enough, and the exit code is 1 where that is above 1.10 for float32 or above 1.15 for
QSGD both ways.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from syft_fl.codecs import QSGD, Float32
from syft_fl.data import MNIST, as_dataset
from syft_fl.experiment.folder import RunFolder
from syft_fl.federation import Population, Scenario, Simulation, Stop
from syft_fl.learn import IID, DocumentCNN, PerSample, Training
from syft_fl.radio import Shannon
from syft_fl.transport import Downlink, Uplink

UES, SAMPLES, BATCH = 10, 600, 16
MOST = {"float32": 1.10, "qsgd 4 bit, both ways": 1.15}


class BareNet(nn.Module):
    """The document's CNN, written again here so that the bare loop shares nothing with the package."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU())
        self.fc = nn.Sequential(nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.conv(x), 2).view(-1, 64 * 12 * 12)
        return F.log_softmax(self.fc(x), dim=1)


def bare_round(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    for ue in range(UES):
        mine = slice(ue * SAMPLES, (ue + 1) * SAMPLES)
        images, labels = x[mine], y[mine]
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        for batch in torch.randperm(SAMPLES).split(BATCH):
            optimizer.zero_grad()
            F.nll_loss(net(images[batch]), labels[batch]).backward()
            optimizer.step()


def our_round(codec: Any, dataset: Any, folder: Path) -> Callable[[], None]:
    scenario = Scenario(
        model=DocumentCNN(),
        partition=IID(samples_per_ue=SAMPLES),
        population=Population(ues=UES, eval_every=10_000),
        training=Training(batch_size=BATCH, learning_rate=0.01),
        compute=PerSample(seconds_per_sample=1e-3),
        uplink=Uplink(codec=codec, link=Shannon()),
        downlink=Downlink(codec=codec, link=Shannon()),
        stop=Stop(rounds=10_000),
    )
    simulation = Simulation(scenario, dataset)
    files = RunFolder(folder)
    files.start({}, resume=False, force=True)

    def one() -> None:
        files.append(simulation.step())
        files.checkpoint(simulation.state())

    one()  # tests the initial model
    one()  # the first downlink has no reference yet
    return one


def seconds(work: Callable[[], None]) -> float:
    """Processor time [s], all of it this thread's: others on the machine change little."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> int:
    check = "--check" in sys.argv
    repeats = 3 if check else 5
    torch.set_num_threads(1)
    if os.environ.get("SYFT_FL_DATA"):
        dataset = MNIST(train_samples=UES * SAMPLES, test_samples=1000).load()
    else:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(UES * SAMPLES, 1, 28, 28, generator=generator)
        y = torch.randint(0, 10, (UES * SAMPLES,), generator=generator)
        dataset = as_dataset(((x, y), (x[:1000], y[:1000])), classes=10)
    net = BareNet()
    with tempfile.TemporaryDirectory() as folder:
        rounds = {
            "float32": our_round(Float32(), dataset, Path(folder) / "float32"),
            "qsgd 4 bit, both ways": our_round(QSGD(levels=7, block=64), dataset, Path(folder) / "qsgd"),
        }
        bare: list[float] = []
        ours: dict[str, list[float]] = {name: [] for name in rounds}
        for _ in range(repeats):
            bare.append(seconds(lambda: bare_round(net, dataset.train.x, dataset.train.y)))
            for name, one in rounds.items():
                ours[name].append(seconds(one))
    steps = UES * -(-SAMPLES // BATCH)
    print(f"bare torch: {statistics.median(bare):.2f} s for {steps} steps, medians of {repeats}")
    middles = {}
    for name, times in ours.items():
        ratios = sorted(t / b for t, b in zip(times, bare, strict=True))
        middle = middles[name] = statistics.median(ratios)
        spread = f"{ratios[0]:.3f} … {ratios[-1]:.3f}"
        print(f"{name:<22} {middle:.3f} of bare torch ({spread}; at most {MOST[name]:.2f})")
    return int(check and any(middles[name] > most for name, most in MOST.items()))


if __name__ == "__main__":
    sys.exit(main())
