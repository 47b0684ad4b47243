"""How much memory large simulations take: ``python tests/bench/bench_memory.py [--check] [NAME …]``.

Each case runs in fresh processes. Measured is the peak of resident memory over what a process takes that has imported
torch and the package, holds the data and has done a training step; in MB, or in models (4 bytes a parameter).
``--check`` fails where one is past its bound. Linux only: elsewhere nothing is measured.

- ``idle loop``, ``idle batched``: 100,000 UEs, a cohort of 100, an MLP of 784, 64 and 10 neurons. [MB]
- ``touched``: what a UE adds by having taken part once. [bytes]
- ``cohort``: 1,000 UEs that all send 4 bits an entry: models that are held at once. [models]
- ``threads``, ``processes``: the document's CNN; what one more worker of the engine takes over what one more thread (or
  process) of bare torch does, which has a model, its gradients and a batch's activations. [models]
- ``spill``: 2,000 UEs with error feedback, a residual each (400 MB), and ``population.spill_mb = 40``. [MB]
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.codecs import QSGD, Float32
from syft_fl.data import Dataset, Samples
from syft_fl.federation import Population, RoundRobin, Scenario, Simulation, Stop
from syft_fl.keys import Key
from syft_fl.learn import ENGINES, MLP, DocumentCNN, Job, PerSample, Training
from syft_fl.transport import Uplink
from syft_fl.vectors import Layout

FEATURES, CLASSES, HIDDEN = 784, 10, 64
MODEL_MB = 4 * (FEATURES * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES) / 1e6
STATUS = Path("/proc/self/status")


def resident_mb(field: str, pid: int | str = "self") -> float:
    """``VmHWM`` (the peak) or ``VmRSS`` of a process [MB]."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 / 1e6


def forget_peak(pid: int | str = "self") -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def labelled(samples: int, shape: tuple[int, ...]) -> Samples:
    generator = torch.Generator().manual_seed(0)
    # Filled in place: a peak while the data are made would hide what follows.
    x = torch.empty(samples, *shape).normal_(generator=generator)
    return Samples(x, torch.randint(CLASSES, (samples,), generator=generator))


def train_bare(net: nn.Module, x: Tensor, y: Tensor, batch: int) -> None:
    torch.set_num_threads(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for first in range(0, len(y), batch):
        optimizer.zero_grad()
        part = slice(first, first + batch)
        F.cross_entropy(net(x[part]), y[part]).backward()
        optimizer.step()
    optimizer.zero_grad()


def simulated_mb(
    *, ues: int, cohort: int, engine: str, uplink: Uplink, rounds: int, spill_mb: float | None = None
) -> float:
    """Peak of a simulation over the data, the libraries and a step [MB]."""
    data = labelled(ues, (FEATURES,))
    dataset = Dataset(data, Samples(data.x[:100], data.y[:100]), CLASSES)
    model = MLP(hidden=(HIDDEN,))
    train_bare(model.build((FEATURES,), CLASSES), data.x[:20], data.y[:20], 20)
    forget_peak()
    before = resident_mb("VmHWM")
    scenario = Scenario(
        model=model,
        population=Population(ues=ues, cohort=cohort, spill_mb=spill_mb),
        training=Training(batch_size=20),
        compute=PerSample(seconds_per_sample=1e-3),
        engine=ENGINES.build({"kind": engine}),
        uplink=uplink,
        stop=Stop(rounds=10_000),
    )
    simulation = Simulation(scenario, dataset)
    for _ in range(rounds + 1):
        simulation.step()
    return resident_mb("VmHWM") - before


def touched_bytes() -> float:
    """Of a small model, so that nothing else is seen."""
    few, more = 20, 120
    data = labelled(20_000, (4,))
    scenario = Scenario(
        model=MLP(hidden=(2,)),
        population=Population(ues=20_000, cohort=100, selection=RoundRobin(), eval_every=10_000),
        compute=PerSample(seconds_per_sample=1e-3),
        stop=Stop(rounds=10_000),
    )
    simulation = Simulation(scenario, Dataset(data, Samples(data.x[:100], data.y[:100]), CLASSES))
    for number in range(more):
        if number == few:
            before = resident_mb("VmRSS")
        simulation.step()
    return (resident_mb("VmRSS") - before) * 1e6 / (100 * (more - few))


def bare_threads(net: nn.Module, data: Samples, workers: int) -> float:
    nets = [copy.deepcopy(net) for _ in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(4):
            list(pool.map(lambda one: train_bare(one, data.x, data.y, 16), nets))
    return resident_mb("VmHWM")


def engine_workers(net: nn.Module, data: Samples, kind: str, workers: int) -> float:
    """Peak of this process, and of those that it has started [MB]."""
    layout = Layout.of(net)
    start, index = layout.read(net), torch.arange(len(data))
    engine = ENGINES.build({"kind": kind, "workers": workers}).open(net, layout, cohort=workers)
    training, children = Training(batch_size=16), list[int]()
    for number in range(4):
        handles = [
            engine.submit(Job(f"ue{ue}", start, data.share(index), training, Key(0) / ue / number, round=1))
            for ue in range(workers)
        ]
        for handle in handles:
            engine.result(handle)
        if number == 0 and kind == "processes":
            children = children_of(os.getpid())
            for pid in children:
                forget_peak(pid)
    peak = resident_mb("VmHWM") + sum(resident_mb("VmHWM", pid) for pid in children)
    engine.close()
    return peak


def children_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def cnn_mb(kind: str, workers: int) -> float:
    torch.set_num_threads(1)
    net, data = DocumentCNN().build((1, 28, 28), CLASSES), labelled(64, (1, 28, 28))
    train_bare(copy.deepcopy(net), data.x, data.y, 16)
    forget_peak()
    before = resident_mb("VmHWM")
    if kind == "bare process":  # as the first one that trains in the same way
        train_bare(net, data.x, data.y, 16)
        return resident_mb("VmHWM")
    if kind == "bare threads":
        return bare_threads(net, data, workers) - before
    return engine_workers(net, data, kind, workers) - before


def measured(case: str, *arguments: object) -> float:
    """What a case gives in a process of its own."""
    command = [sys.executable, __file__, "--case", case, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return float(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


CASES: dict[str, Callable[..., float]] = {
    "idle": lambda engine: simulated_mb(
        ues=100_000, cohort=100, engine=engine, uplink=Uplink(codec=Float32()), rounds=12
    ),
    "touched": touched_bytes,
    "cohort": lambda: simulated_mb(
        ues=1000, cohort=1000, engine="loop", uplink=Uplink(codec=QSGD(levels=7, block=64)), rounds=2
    ),
    "spill": lambda spill_mb: simulated_mb(
        ues=2000,
        cohort=200,
        engine="loop",
        uplink=Uplink(codec=QSGD(levels=7, block=64), error_feedback=True),
        rounds=30,
        spill_mb=float(spill_mb) or None,
    ),
    "cnn": lambda kind, workers: cnn_mb(kind, int(workers)),
}


def per_worker(kind: str) -> float:
    """MB of one more worker; the lesser of two tries, for what allocators keep differs by a model from run to run."""
    return min((measured("cnn", kind, 4) - measured("cnn", kind, 1)) / 3 for _ in range(2))


CNN_MB = 4 * 1_199_882 / 1e6


@dataclass(frozen=True)
class Row:
    """A measurement: its name, what it is in, its bound, and how it is taken."""

    name: str
    unit: str
    bound: float
    take: Callable[[], float]


ROWS = [
    Row("idle loop", "MB", 300, lambda: measured("idle", "loop")),
    Row("idle batched", "MB", 300, lambda: measured("idle", "batched")),
    Row("touched", "bytes", 2000, lambda: measured("touched")),
    Row("cohort", "models", 500, lambda: measured("cohort") / MODEL_MB),
    Row("threads", "models", 3, lambda: (per_worker("threads") - per_worker("bare threads")) / CNN_MB),
    Row(
        "processes",
        "models",
        3,
        # The file of a model is mapped by both ends, and counted twice.
        lambda: (per_worker("processes") - measured("cnn", "bare process", 1)) / CNN_MB - 1,
    ),
    Row("spill", "MB", 350, lambda: measured("spill", 40)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where a measurement is past its bound")
    parser.add_argument("--case", nargs="+", help="one case, in this process")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(row.name for row in ROWS))
    arguments = parser.parse_args()
    if not STATUS.exists():
        print("nothing measured: there is no /proc here")
        return
    if arguments.case:
        case, *rest = arguments.case
        torch.set_num_threads(1)
        print(CASES[case](*rest))
        return
    late = []
    for row in ROWS:
        if arguments.names and row.name not in arguments.names:
            continue
        start_s = time.perf_counter()
        found = row.take()
        took_s = time.perf_counter() - start_s
        print(f"{row.name:<14}{found:>8.1f} {row.unit:<8} bound {row.bound:<6g} ({took_s:.0f} s)", flush=True)
        if found > row.bound:
            late.append(f"{row.name}: {found:.1f} {row.unit}, more than {row.bound:g}")
    if late and arguments.check:
        sys.exit("\n".join(late))


if __name__ == "__main__":
    main()
