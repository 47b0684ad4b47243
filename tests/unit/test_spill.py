"""What does not fit into so many MB lies in a file, and nothing but memory tells."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from syft_fl.errors import ConfigError, RunError
from syft_fl.experiment import parse
from syft_fl.federation import Population, Simulation
from syft_fl.schema import plain
from syft_fl.spill import Spill, Spilling, kept
from syft_fl.transport import LinkMemory
from syft_fl.vectors import ModelState

PAGE = 4096
ENTRIES = 1024  # of a page


def vector(seed: int, entries: int = ENTRIES) -> torch.Tensor:
    return torch.randn(entries, generator=torch.Generator().manual_seed(seed))


def test_the_least_recently_used_go_to_the_file_and_come_back_with_the_same_numbers() -> None:
    spill = Spill(2 * PAGE)
    held: Spilling[str, torch.Tensor] = Spilling(spill)
    for number in range(4):
        held[f"ue{number}"] = vector(number)
    assert (spill.in_memory_bytes, spill.in_file_bytes) == (2 * PAGE, 2 * PAGE)
    assert torch.equal(held["ue2"], vector(2))  # now ue3 is the oldest
    held["ue4"] = vector(4)
    for number in range(5):
        assert torch.equal(held[f"ue{number}"], vector(number))
        assert spill.in_memory_bytes <= 2 * PAGE
    del held["ue0"], held["ue1"]
    assert list(held) == ["ue2", "ue3", "ue4"]
    assert "ue0" not in held
    assert len(held) == 3


def test_of_a_value_only_large_tensors_move_and_its_shape_stays() -> None:
    held = kept(Spill(0))
    small, large = torch.arange(3), vector(1)
    held["link"] = LinkMemory(large.clone(), {"warm": [large[:ENTRIES].view(32, 32), small], "step": 3})
    held["last"] = (ModelState(large.clone(), {"count": small}), 7, 0.5)
    memory, (state, samples, rate) = held["link"], held["last"]
    assert torch.equal(memory.residual, large)
    assert torch.equal(memory.codec["warm"][0], large.view(32, 32))
    assert memory.codec["warm"][1] is small
    assert memory.codec["step"] == 3
    assert torch.equal(state.vector, large)
    assert state.buffers == {"count": small}
    assert (samples, rate) == (7, 0.5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int8, torch.bool])
def test_every_kind_of_number_comes_back(dtype: torch.dtype) -> None:
    held = kept(Spill(0))
    value = (100 * vector(0, 2 * PAGE)).to(dtype)
    held["x"] = value.clone()
    assert held["x"].dtype == dtype
    assert torch.equal(held["x"], value)


def test_who_still_holds_a_tensor_is_given_that_one() -> None:
    held = kept(Spill(0))
    mine = vector(0)
    held[1] = mine
    assert held[1] is mine
    del mine
    again = held[1]
    assert held[1] is again
    assert torch.equal(again, vector(0))


def test_room_in_the_file_is_used_again_but_never_under_who_reads() -> None:
    spill = Spill(0)
    held = kept(spill)
    held["ue"] = vector(0)
    read = held["ue"]
    part = held["ue"][10:20]
    for number in range(1, 50):
        held["ue"] = vector(number)
    assert torch.equal(read, vector(0))
    del read
    held["other"] = vector(99)
    assert torch.equal(part, vector(0)[10:20])
    del part
    gc.collect()
    assert spill.in_file_bytes == 2 * PAGE
    held.clear()
    assert spill.in_file_bytes == spill.in_memory_bytes == 0


def test_looking_at_all_uses_nothing() -> None:
    spill = Spill(PAGE)
    held = kept(spill)
    held.update({number: vector(number) for number in range(3)})
    before = spill.in_file_bytes
    assert all(torch.equal(value, vector(number)) for number, value in held.items())
    assert len(list(held.values())) == 3
    assert spill.in_file_bytes == before == 2 * PAGE


def fresh(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of a process")
def test_what_is_in_the_file_takes_no_memory_while_it_is_written_read_or_looked_through() -> None:
    # 160 MB of vectors, 8 MB in memory.
    done = fresh(
        """
        from pathlib import Path
        import torch
        from syft_fl.spill import Spill, kept

        def peak_mb():
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3

        held, entries = kept(Spill(8e6)), 100_000
        held["first"] = torch.ones(entries)
        before = peak_mb()
        for ue in range(400):
            held[ue] = torch.full((entries,), float(ue))
        for ue in range(400):
            assert held[ue].sum() == ue * entries
        print(peak_mb() - before)
        """
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 40


def test_nothing_is_left_behind_by_a_program_that_is_killed(tmp_path: Path) -> None:
    done = fresh(
        """
        import os, signal, torch
        from syft_fl.spill import Spill, kept
        held = kept(Spill(0))
        held["ue"] = torch.randn(5000)
        print(len(os.listdir(os.environ["TMPDIR"])), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        TMPDIR=str(tmp_path),
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(RunError, match=r"No space left.*TMPDIR.*population\.spill_mb"):
        kept(Spill(0))["ue"] = vector(0)


BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "features": 40, "classes": 5, "train_samples": 120, "test_samples": 40},
    "model": {"kind": "mlp", "hidden": [30]},  # 1,385 parameters: more than a page
    "population": {"ues": 6, "cohort": 3},
    "training": {"batch_size": 8},
    "compute": {"kind": "per_sample", "seconds_per_sample": 0.01},
    "stop": {"rounds": 6},
}
QSGD = {"kind": "qsgd", "levels": 7, "block": 64}
REMEMBERING: dict[str, dict[str, Any]] = {
    "residuals and references": {
        "uplink": {"codec": QSGD, "error_feedback": True},
        "downlink": {"codec": {"kind": "uniform", "bits": 8}},
    },
    "a codec's memory": {"uplink": {"codec": {"kind": "powersgd", "rank": 2}, "error_feedback": True}},
    "sums in code space": {"uplink": {"codec": {"kind": "count-sketch", "share": 0.5}}},
    "variates": {"population": {"ues": 6, "cohort": 3, "aggregator": {"kind": "scaffold"}}},
    "a trigger's memory": {"trigger": "lag", "uplink": {"codec": QSGD}},
    "updates used again": {"trigger": "laq", "uplink": {"codec": {"kind": "laq", "bits": 4}}},
    "what is under way": {
        "population": {"ues": 6, "asynchronous": {"kind": "fedbuff", "buffer": 2}},
        "uplink": {"codec": QSGD, "error_feedback": True},
    },
}


@pytest.mark.filterwarnings("ignore:rho")
@pytest.mark.parametrize("changes", REMEMBERING.values(), ids=REMEMBERING)
def test_a_run_is_the_same_to_the_bit_wherever_its_memories_lie(changes: dict[str, Any]) -> None:
    scenario = parse(BASE | changes).base
    dataset = scenario.data.load()
    rows, models = [], []
    for spill_mb in (None, 0, 0.008):
        population = replace(scenario.population, spill_mb=spill_mb)
        simulation = Simulation(replace(scenario, population=population), dataset)
        rows.append([dict(simulation.step().row) for _ in range(4)])
        # In the middle, another one goes on from what this one knows.
        resumed = Simulation(replace(scenario, population=population), dataset)
        resumed.load(simulation.state())
        rows[-1] += [dict(resumed.step().row) for _ in range(3)]
        models.append(resumed.model.vector)
        if spill_mb is not None:
            assert simulation._spill is not None
            assert simulation._spill.in_file_bytes > 0
    assert repr(rows[1]) == repr(rows[2]) == repr(rows[0])
    assert torch.equal(models[1], models[0])
    assert torch.equal(models[2], models[0])


def test_spill_mb_must_be_a_size_and_is_left_out_of_files_where_it_is_not_given() -> None:
    with pytest.raises(ConfigError, match=r"spill_mb = -1.* must be at least 0.*leave it out"):
        Population(spill_mb=-1)
    assert "spill_mb" not in plain(Population())
    assert plain(Population(spill_mb=500.0))["spill_mb"] == 500.0
