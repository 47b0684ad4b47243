"""Throughput of a sweep with two processes, over that with one.

``python tests/bench/bench_sweep.py``: eight runs of a multilayer perceptron with 478,410 parameters, one thread each, a
few seconds a run. Both begin with an empty folder; with two jobs there are processes to start, and that is in the
numbers. With ``--check`` the exit code is 1 where two have less than 1.7 times the throughput of one, which needs two
cores that nobody else uses.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import torch

import syft_fl as sy

SEEDS, LEAST, ROUNDS = 8, 1.7, 4
SETTINGS = [
    "data={kind = 'synthetic', features = 784, train_samples = 4000, test_samples = 500}",
    "model={kind = 'mlp', hidden = [400, 400]}",
    "uplink.codec=qsgd",
    f"stop.rounds={ROUNDS}",
]


def seconds(jobs: int) -> float:
    experiment = sy.load("nb-iot", SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = sy.sweep(experiment, seeds=range(SEEDS), jobs=jobs, out=Path(folder) / "sweep")
        end = time.perf_counter()
    assert len(result.results) == SEEDS
    return end - start


def main() -> int:
    torch.set_num_threads(1)
    sy.sweep(sy.load("nb-iot", [*SETTINGS, "stop.rounds=1"]), seeds=[0])  # what is imported late
    times = {jobs: seconds(jobs) for jobs in (1, 2)}
    ratio = times[1] / times[2]
    print(f"{SEEDS} runs on {os.cpu_count()} cores: {times[1]:.1f} s with -j 1, {times[2]:.1f} s with -j 2")
    print(f"throughput of -j 2: {ratio:.2f} of -j 1 (at least {LEAST} on two free cores)")
    return int("--check" in sys.argv and ratio < LEAST)


if __name__ == "__main__":
    sys.exit(main())
