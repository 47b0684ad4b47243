"""Two machines of a Ray cluster, of which one is lost in mid-work; on this one, as Ray's own tests have it.

Each test is a program of its own, and what hangs is ended with all that it has started.
"""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import syft_fl
from syft_fl.errors import ConfigError
from syft_fl.experiment import compare, parse, sweep

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")

# Models that tell on which machine they are, in a module beside the script.
NETS = """
import os
from pathlib import Path

import ray
from torch import nn

SEEN = Path(__file__).parent / "seen"


class Net(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers or (nn.Linear(20, 10),))

    def forward(self, x):
        if ray.is_initialized():
            (SEEN / f"{ray.get_runtime_context().get_node_id()} {os.getpid()}").touch()
        return super().forward(x)


class Failing(Net):
    def forward(self, x):
        if self.training:
            raise ValueError("out of patience")
        return super().forward(x)
"""
# Small stores, since both machines share this one's memory, and a head that soon misses a machine that is gone (by
# default that takes up to half a minute), yet forgives a busy one.
TWO_MACHINES = """
import os
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from nets import SEEN, Failing, Net
from torch import nn

SEEN.mkdir()


def seen():
    return {tuple(path.name.split()) for path in SEEN.iterdir()}


def machines():
    return {machine for machine, _ in seen()}


PART = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
HEALTH = {"initial_delay_ms": 0, "period_ms": 1000, "timeout_ms": 5000, "failure_threshold": 3}


def cluster_of_two():
    system = {f"health_check_{name}": value for name, value in HEALTH.items()}
    cluster = Cluster(initialize_head=True, head_node_args=PART | {"_system_config": system})
    other = cluster.add_node(**PART)
    cluster.wait_for_nodes(timeout=60)
    ray.init(address=cluster.address, log_to_driver=False)
    return cluster, other
"""

ENGINE = """
from dataclasses import dataclass

import torch
from syft_fl.keys import Key
from syft_fl.learn import ENGINES, Job, Loop, Training
from syft_fl.vectors import Layout


@dataclass
class Labelled:
    x: torch.Tensor
    y: torch.Tensor


net = Net(nn.Linear(20, 30), nn.Dropout(0.2), nn.Linear(30, 3))
layout = Layout.of(net)
state = layout.read(net)
data = [Labelled(torch.randn(200, 20), torch.randint(3, (200,))) for _ in range(8)]
jobs = [Job(f"ue{u}", state, d, Training(epochs=20), Key(0) / u, round=1) for u, d in enumerate(data)]
loop = Loop().open(net, layout, cohort=8)
expected = [loop.result(loop.submit(job)).state.vector for job in jobs]

cluster, other = cluster_of_two()
engine = ENGINES.build({"kind": "ray", "workers": 2}).open(net, layout, cohort=8)
for handle in [engine.submit(job) for job in jobs[:2]]:
    engine.result(handle)
both = len(machines())
handles = [engine.submit(job) for job in jobs]
found = [engine.result(handle).state.vector for handle in handles[:2]]
cluster.remove_node(other, allow_graceful=False)
found += [engine.result(handle).state.vector for handle in handles[2:]]
print("found:", both, len(seen()), all(map(torch.equal, found, expected)))
engine.close()
ray.shutdown()
cluster.shutdown()
"""

SWEEP = """
import syft_fl as sy

experiment = sy.parse({
    "data": {"kind": "synthetic", "train_samples": 400, "test_samples": 40},
    "population": {"ues": 4},
    "training": {"epochs": 5},
    "uplink": {"codec": "uniform", "link": "shannon"},
    "stop": {"rounds": 40},
})
grid = {"uplink.codec.bits": [2, 4], "cell.radius_m": [100.0, 250.0]}
here = sy.sweep(experiment, grid=grid, model=Net, out="here", retime=False)
files = lambda folder: {
    str(path.relative_to(folder)): path.read_bytes()
    for path in Path(folder).rglob("*") if path.suffix in (".json", ".jsonl") and path.name != "provenance.json"
}
cluster, other = cluster_of_two()


def lose():
    while len(machines()) < 2:
        time.sleep(0.05)
    cluster.remove_node(other, allow_graceful=False)


losing = threading.Thread(target=lose, daemon=True)
losing.start()
there = sy.sweep(experiment, grid=grid, model=Net, out="there", ray="auto", retime=RETIME)
losing.join(timeout=1)
same = files("here") == files("there")
table = Path("here/sweep.parquet").read_bytes() == Path("there/sweep.parquet").read_bytes()
print("found:", len(machines()), losing.is_alive(), len(there.results), same, table, there.failures)
ray.shutdown()
cluster.shutdown()
"""


def printed(script: str, folder: Path, *, timeout_s: float) -> str:
    """What a program finds; it ends in time, or is ended with all that it has started."""
    (folder / "nets.py").write_text(NETS)
    (folder / "script.py").write_text(script)
    paths = [str(Path(syft_fl.__file__).parents[1]), str(folder)]
    program = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "RAY_AUTH_MODE": "disabled"},
    )
    try:
        said, complained = program.communicate(timeout=timeout_s)
    finally:
        for process in _of_session(program.pid):
            os.kill(process, signal.SIGKILL)
    assert program.returncode == 0, complained
    (found,) = (line for line in said.splitlines() if line.startswith("found: "))  # Ray says much between
    return found.removeprefix("found: ")


def _of_session(leader: int) -> list[int]:
    """Processes of a session, also those that left its process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            session = stat.read_text().rpartition(")")[2].split()[3]
        except OSError:  # it has ended
            continue
        if int(session) == leader:
            found.append(int(stat.parent.name))
    return found


@needs_ray
@pytest.mark.long
def test_what_a_lost_machine_had_is_trained_again_and_nothing_changes(tmp_path: Path) -> None:
    # Two machines, and a third actor that took over.
    assert printed(TWO_MACHINES + ENGINE, tmp_path, timeout_s=240) == "2 3 True"


@needs_ray
@pytest.mark.long
def test_a_sweep_of_which_a_machine_is_lost_has_the_bytes_of_one_here(tmp_path: Path) -> None:
    script = TWO_MACHINES + SWEEP.replace("RETIME", "False")
    assert printed(script, tmp_path, timeout_s=240) == "2 False 4 True True ()"


@needs_ray
@pytest.mark.long
def test_a_comparison_as_tasks_is_that_of_one_here(tmp_path: Path) -> None:
    script = """
import syft_fl as sy

experiment = sy.parse({
    "data": {"kind": "synthetic", "train_samples": 60, "test_samples": 20},
    "model": "softmax",
    "population": {"ues": 3},
    "uplink": {"codec": "qsgd", "link": "shannon"}, "stop": {"rounds": 2}, "seeds": [0, 1],
    "variants": [
        {"name": "one"},
        {"name": "far", "cell": {"radius_m": 400.0}},
        {"name": "two", "uplink": {"codec": "float32"}},
    ],
})
here = sy.compare(experiment)
cluster, _ = cluster_of_two()
there = sy.compare(experiment, ray="auto")
same = all(a.rounds.equals(b.rounds) and a.transfers.equals(b.transfers) and a.config == b.config
           for a, b in zip(here.results, there.results, strict=True))

failed = sy.sweep(experiment, model=Failing, ray="auto", seeds=[0]).failures
print("found:", same, len(there.results), len(failed), failed[0].message.split(" (")[0])
ray.shutdown()
cluster.shutdown()
"""
    expected = "True 6 3 ValueError: out of patience"
    assert printed(TWO_MACHINES + script, tmp_path, timeout_s=240) == expected


TINY = {
    "data": {"kind": "synthetic", "train_samples": 60, "test_samples": 20},
    "model": "softmax",
    "stop": {"rounds": 1},
}


def test_a_cluster_and_processes_here_are_refused_together() -> None:
    for many in (sweep, compare):
        with pytest.raises(ConfigError, match="jobs = 2 must be 1 with ray"):
            many(parse(TINY), jobs=2, ray="auto")
    with pytest.raises(ConfigError, match="ray = 'auto' must be left out where progress is given"):
        compare(parse(TINY), ray="auto", progress=lambda name, seed: lambda *_: None)


@pytest.mark.skipif(find_spec("ray") is not None, reason="it is installed")
def test_a_sweep_without_ray_says_how_to_get_it() -> None:
    with pytest.raises(
        ConfigError, match=r"ray needs Ray; install it with pip install 'syft_fl\[ray\]', or use jobs"
    ):
        sweep(parse(TINY), ray="auto")


@needs_ray
def test_a_cluster_that_does_not_answer_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(**_: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ConfigError, match=r"ray = 'auto' is no Ray cluster that answers \(nobody there\)"):
        sweep(parse(TINY), ray="auto")
