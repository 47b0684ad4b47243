"""Throughput of a sweep with two processes, over that with one.

``python tests/bench/bench_sweep.py``: runs of a multilayer perceptron with 478,410 parameters, one thread each, a few
seconds a run. Throughput is that of six runs more, eight instead of two, so that starting processes, each of which
imports torch once, is not in it; what a whole sweep of eight takes is told too. With ``--check`` the exit code is 1
where two processes have less than 1.7 times the throughput of one, which needs two cores that nobody else uses.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import torch

import syft_fl as sy

FEW, MANY, LEAST, ROUNDS = 2, 8, 1.7, 8
TABLE = {
    "data": {"kind": "synthetic", "features": 784, "train_samples": 4000, "test_samples": 500},
    "model": {"kind": "mlp", "hidden": [400, 400]},
    "training": {"batch_size": 16},
    "uplink": {"codec": {"kind": "qsgd"}, "link": {"kind": "shannon"}},
}


def seconds(jobs: int, runs: int) -> float:
    experiment = sy.parse(TABLE, overrides=[f"stop.rounds={ROUNDS}"])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = sy.sweep(experiment, seeds=range(runs), jobs=jobs, out=Path(folder) / "sweep")
        end = time.perf_counter()
    assert len(result.results) == runs
    return end - start


def main() -> int:
    torch.set_num_threads(1)
    sy.sweep(sy.parse(TABLE, overrides=["stop.rounds=1"]), seeds=[0])  # what is imported late
    few = {jobs: seconds(jobs, FEW) for jobs in (1, 2)}
    many = {jobs: seconds(jobs, MANY) for jobs in (1, 2)}
    per_run = {jobs: (many[jobs] - few[jobs]) / (MANY - FEW) for jobs in (1, 2)}
    ratio = per_run[1] / per_run[2]
    print(f"{MANY} runs on {os.cpu_count()} cores: {many[1]:.1f} s with -j 1, {many[2]:.1f} s with -j 2")
    print(f"once started, a run every {per_run[1]:.2f} s with -j 1, every {per_run[2]:.2f} s with -j 2")
    print(f"throughput of -j 2: {ratio:.2f} of -j 1 (at least {LEAST} on two free cores)")
    return int("--check" in sys.argv and ratio < LEAST)


if __name__ == "__main__":
    sys.exit(main())
