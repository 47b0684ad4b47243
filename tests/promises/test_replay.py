"""Promises 2 and 5: no measured time; same config, same bytes; killed anywhere and resumed, the same bytes again."""

import ast
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import syft_fl
from syft_fl.errors import RunError
from syft_fl.experiment import parse, run

RESULT_FILES = ("config.json", "rounds.jsonl", "transfers.jsonl", "computations.jsonl")

# Everything that has memory is in it: residuals, references of several versions, queues, a stand-alone UE.
SCENARIO: dict[str, Any] = {
    "seed": 4,
    "data": {"kind": "synthetic", "train_samples": 120, "test_samples": 30},
    "model": {"kind": "mlp", "hidden": [8]},
    "population": {"ues": 5, "cohort": 3, "standalone": True, "eval_every": 2},
    "training": {"batch_size": 8},
    "uplink": {
        "codec": {"kind": "uniform", "bits": 3, "rounding": "stochastic"},
        "error_feedback": True,
        "link": {"kind": "shannon", "fading_block": "time", "coherence_s": 0.05},
        "access": {"kind": "ofdma"},
    },
    "downlink": {"codec": {"kind": "qsgd", "block": 32}, "link": {"kind": "shannon"}},
    "stop": {"rounds": 6},
}


def _run(folder: Path, **options: Any) -> None:
    run(parse(SCENARIO), out=folder, **options)


def _bytes(folder: Path, names: Sequence[str] = RESULT_FILES) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def test_the_same_config_gives_the_same_bytes(tmp_path: Path) -> None:
    _run(tmp_path / "a")
    _run(tmp_path / "b")
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")
    assert len((tmp_path / "a" / "rounds.jsonl").read_bytes().splitlines()) == 7


def test_sleeps_anywhere_leave_the_result_files_as_they_are(tmp_path: Path) -> None:
    _run(tmp_path / "a")
    package = str(Path(syft_fl.__file__).parent)
    calls = 0

    def drowse(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        if event == "call" and frame.f_code.co_filename.startswith(package):
            calls += 1
            if calls % 41 == 0:
                time.sleep(0.001)

    sys.setprofile(drowse)
    try:
        _run(tmp_path / "b")
    finally:
        sys.setprofile(None)
    assert calls > 41 * 50
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")


def test_only_what_reports_host_time_apart_from_results_reads_the_hosts_clock() -> None:
    package = Path(syft_fl.__file__).parent
    readers = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if {"time", "datetime"} & {name.split(".")[0] for name in names}:
                readers.add(path.relative_to(package).as_posix())
    # Provenance, the envelope's cost, and the speed of codecs in the survey.
    assert readers == {"experiment/runs.py", "experiment/survey.py", "transport/pysyft_peers.py"}


KILLER = """
    import os, signal, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    import syft_fl
    from syft_fl.experiment import parse, run
    from syft_fl.keys import Key
    from syft_fl import workers

    # All is imported before calls are counted; torch takes its compiler along with the first optimiser.
    torch.optim.SGD([torch.zeros(1)], lr=0.1)

    scenarios, folders = eval(sys.argv[1]), Path(sys.argv[2])
    package = str(Path(syft_fl.__file__).parent)

    def profiled(scenario, kill_at, **options):
        calls = 0
        def count(frame, event, _):
            nonlocal calls
            calls += event == "call" and frame.f_code.co_filename.startswith(package)
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(count)
        try:
            run(parse(scenario), **options)
        finally:
            sys.setprofile(None)
        return calls

    def forked(work):
        pid = os.fork()
        if pid == 0:
            try:
                work()
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
            os._exit(0)
        return os.waitpid(pid, 0)[1]

    for name, (scenario, points) in scenarios.items():
        total = profiled(scenario, -1, out=folders / name / "whole")
        for point in range(points):
            kill_at = 1 + int((Key(0) / point).uniform() * total)
            out = folders / name / f"killed{point}"
            status = forked(lambda: profiled(scenario, kill_at, out=out))
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            assert killed, (name, kill_at, total, status)
            with open(out / "rounds.jsonl" if (out / "rounds.jsonl").exists() else os.devnull, "ab") as f:
                f.write(b'{"round":9')  # and the last line is torn
            assert forked(lambda: run(parse(scenario), out=out, resume=True)) == 0, (name, kill_at)
"""


ON_THE_AIR: dict[str, Any] = {
    **SCENARIO,
    "uplink": {
        "error_feedback": True,
        "link": {"kind": "shannon"},
        "analog": {"threshold": 0.5, "alignment_error": 0.1},
    },
}


# What a scheduler remembers of UEs and the base station of steps, and lost packets.
IN_SLOTS: dict[str, Any] = {
    **SCENARIO,
    "population": {**SCENARIO["population"], "aggregator": {"kind": "fedadam"}},
    "uplink": {
        "codec": {"kind": "uniform", "bits": 3},
        "link": {
            "kind": "wireless",
            "fading": {"kind": "rayleigh", "block": "time"},
            "rate": {"kind": "cqi", "report_delay_s": 0.06},
            "loss": {"kind": "bler"},
            "retransmission": {"kind": "harq", "mtu_bytes": 30, "tries": 2},
        },
        "access": {"kind": "scheduler", "policy": "proportional", "groups": 4, "window": 30.0},
    },
}


# What UEs and the base station remember of gradients.
WITH_VARIATES: dict[str, Any] = {
    **SCENARIO,
    "population": {**SCENARIO["population"], "aggregator": {"kind": "scaffold"}},
}


# Memories of more than a page each, none of which may stay in memory.
SPILLED: dict[str, Any] = {
    **SCENARIO,
    "model": {"kind": "mlp", "hidden": [200]},
    "population": {**SCENARIO["population"], "spill_mb": 0},
}


# What a trigger decided, what UEs and base station know of each other, and what is under way when a round closes.
_LOSSY_LINK = {
    "kind": "wireless",
    "loss": {"kind": "packet", "probability": 0.2},
    "retransmission": {"kind": "arq", "mtu_bytes": 60, "tries": 2},
}
TRIGGERED: dict[str, Any] = {
    **SCENARIO,
    "population": {
        "ues": 5,
        "cohort": 3,
        "slowdown": {"kind": "exponential"},
        "closing": {"kind": "deadline", "seconds": 0.3},
        "late": {"kind": "polynomial"},
    },
    "compute": {"kind": "per_sample", "seconds_per_sample": 0.005},
    "trigger": {"kind": "norm", "tau": 0.188},
    "protocol": {
        "acknowledgements": "sent",
        "grants": True,
        "timeout_s": 0.02,
        "tries": 3,
        "patience_s": 0.2,
    },
    "uplink": {**SCENARIO["uplink"], "link": _LOSSY_LINK, "access": {"kind": "tdma"}},
    "downlink": {**SCENARIO["downlink"], "link": _LOSSY_LINK},
}


@pytest.mark.filterwarnings("ignore:rho")  # its compute time is given
@pytest.mark.parametrize(
    "scenarios",
    [
        # How many times each is killed. They share a process, which takes longer to start than a run does.
        {
            "usual": (SCENARIO, 12),
            "on-the-air": (ON_THE_AIR, 4),
            "spilled": (SPILLED, 4),
            "triggered": (TRIGGERED, 4),
        },
        pytest.param(
            {"in-slots": (IN_SLOTS, 4), "with-variates": (WITH_VARIATES, 4)}, marks=pytest.mark.long
        ),
    ],
    ids=",".join,
)
def test_killed_anywhere_and_resumed_a_run_is_the_same_to_the_byte(
    scenarios: dict[str, tuple[dict[str, Any], int]], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLER), repr(scenarios), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for name, (scenario, points) in scenarios.items():
        files = (*RESULT_FILES, "decisions.jsonl") if "trigger" in scenario else RESULT_FILES
        whole = _bytes(tmp_path / name / "whole", files)
        assert all(whole.values())
        for point in range(points):
            killed = tmp_path / name / f"killed{point}"
            assert _bytes(killed, files) == whole, (name, point)
            assert (killed / "decisions.jsonl").exists() == ("trigger" in scenario)


def test_a_finished_run_is_only_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(tmp_path)
    monkeypatch.setattr("syft_fl.experiment.runs.Simulation", None)
    _run(tmp_path)
    _run(tmp_path, resume=True)


def test_a_folder_with_another_run_is_left_alone_unless_forced(tmp_path: Path) -> None:
    _run(tmp_path)
    before = _bytes(tmp_path)
    with pytest.raises(RunError, match=r"another scenario \(differs in seed: 4 there, 5 here\).*--force"):
        run(parse(SCENARIO | {"seed": 5}), out=tmp_path)
    assert _bytes(tmp_path) == before
    run(parse(SCENARIO | {"seed": 5}), out=tmp_path, force=True)
    assert _bytes(tmp_path) != before


def test_an_unfinished_run_asks_whether_to_resume_or_to_force(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, progress=_interrupt_after(3))
    with pytest.raises(RunError, match="--resume to go on with it, --force to begin anew"):
        _run(tmp_path)
    kept = (tmp_path / "rounds.jsonl").read_bytes()
    assert len(kept.splitlines()) == 4
    _run(tmp_path, resume=True)
    assert (tmp_path / "rounds.jsonl").read_bytes().startswith(kept)


def _interrupt_after(rounds: int) -> Any:
    def progress(_: Any, record: Any) -> None:
        if record.row["round"] == rounds:
            raise KeyboardInterrupt

    return progress


def test_a_folder_that_can_not_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"can't be written .* --out"):
        _run(tmp_path / "file" / "run")


def test_decisions_of_a_trigger_are_read_again_and_are_gone_with_the_run_that_made_them(
    tmp_path: Path,
) -> None:
    scenario = parse({**SCENARIO, "trigger": {"kind": "loss", "epsilon": 0.05}})
    written, kept = run(scenario, out=tmp_path), run(scenario)
    pd.testing.assert_frame_equal(written.decisions, kept.decisions)
    first = written.decisions.drop_duplicates("ue")
    assert first["quantity"].isna().all()  # a first loss has nothing to be compared with
    assert first["send"].all()
    assert set(written.decisions["at"]) == {"ue"}
    assert not written.decisions["send"].all()
    plain = run(parse(SCENARIO), out=tmp_path, force=True)
    assert not (tmp_path / "decisions.jsonl").exists()
    assert plain.decisions.empty
