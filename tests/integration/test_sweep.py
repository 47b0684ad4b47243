"""Many runs: the same side by side as one after another, none twice, none lost, and none that takes others along."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import syft_fl.experiment.sweeps as sweeps
from syft_fl.cli import main
from syft_fl.errors import ConfigError, RunError
from syft_fl.experiment import SweepResult, compare, load, sweep
from syft_fl.experiment.processes import Failure, carry_out
from syft_fl.federation import Simulation

TOML = """
name = "tiny"
seeds = [0, 1]
target_accuracy = 0.2
data = { kind = "synthetic", train_samples = 120, test_samples = 40 }
model = "softmax"
population.ues = 3
stop.rounds = 3
uplink.codec = { kind = "uniform", bits = 4 }
uplink.link = "shannon"
"""
VARIANTS = """
[[variants]]
name = "float32"
uplink.codec = "float32"

[[variants]]
name = "uniform-4"
"""
# A codec that fails, or takes its process with it, by a setting.
PARTS = """
import os
import signal
from typing import ClassVar

from syft_fl.codecs import Uniform
from syft_fl.schema import schema


@schema
class Flaky:
    kind: ClassVar[str] = "flaky"
    lossless: ClassVar[bool] = False
    fails: str = "never"

    def encode(self, x, *, ctx):
        if self.fails == "raises":
            raise ValueError("out of patience")
        if self.fails == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return Uniform(bits=4).encode(x, ctx=ctx)

    def decode(self, payload, *, ctx):
        return Uniform(bits=4).decode(payload, ctx=ctx)
"""
GRID = {"uplink.codec.bits": [2, 4], "cell.radius_m": [100.0, 250.0]}
RESULT_FILES = ("config.json", "rounds.jsonl", "transfers.jsonl", "computations.jsonl")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seed of every simulation that is made in this process."""
    seeds: list[int] = []
    init = Simulation.__init__

    def counted(self: Simulation, scenario: Any, *args: Any, **kwargs: Any) -> None:
        seeds.append(scenario.seed)
        init(self, scenario, *args, **kwargs)

    monkeypatch.setattr(Simulation, "__init__", counted)
    return seeds


def result_files(folder: Path) -> dict[str, bytes]:
    paths = (path for name in RESULT_FILES for path in folder.rglob(name))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _exit(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def command(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal would start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "syft_fl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        **settings,
    )


def until_rounds(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait for the first rounds of a run."""
    while not any(path.stat().st_size for path in folder.rglob("rounds.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.parametrize("retime", [False, True])
def test_side_by_side_gives_the_bytes_of_one_after_another(config: Path, retime: bool) -> None:
    one = sweep(config, grid=GRID, out="one", retime=False)
    two = sweep(config, grid=GRID, jobs=2, out="two", retime=retime)
    folder = config.parent
    files = result_files(folder / "one")
    assert len(files) == 8 * len(RESULT_FILES)
    assert files == result_files(folder / "two")
    assert (folder / "one/sweep.parquet").read_bytes() == (folder / "two/sweep.parquet").read_bytes()
    pd.testing.assert_frame_equal(one.frame(), two.frame())


def test_one_table_has_grid_and_rounds_and_is_read_again(config: Path) -> None:
    result = sweep(config, grid=GRID, seeds=range(3), out="out")
    frame = result.frame()
    assert list(frame.columns[:5]) == ["variant", "uplink.codec.bits", "cell.radius_m", "seed", "run"]
    assert len(frame) == 2 * 2 * 3 * 4
    assert frame["uplink.codec.bits"].tolist()[::24] == [2, 4]
    table = result.table()
    assert table["cell.radius_m"].tolist() == [100.0, 250.0, 100.0, 250.0]
    assert (table["seeds"] == 3).all()
    assert table["time_to_target_half_width_s"].notna().all()
    # Farther away it takes longer, with the very same learning.
    assert (table["simulated_s"].to_numpy()[1::2] > table["simulated_s"].to_numpy()[::2]).all()
    again = SweepResult.load("out")
    pd.testing.assert_frame_equal(again.frame(), frame)
    assert (again.name, again.grid, again.target_accuracy) == ("tiny", tuple(GRID), 0.2)
    assert str(again) == str(result)
    run = frame["run"].iloc[0]
    alone = pd.read_json(Path("out/runs") / run / "rounds.jsonl", lines=True)
    assert alone["latency_s"].tolist() == pytest.approx(frame["latency_s"].tolist()[:4])


def test_a_point_is_the_run_that_its_scenario_alone_would_be(config: Path) -> None:
    result = sweep(config, grid={"uplink.codec.bits": [2]}, seeds=[1])
    varied = load(config, ["uplink.codec.bits=2"])
    alone = compare(varied).results[1]
    columns = list(alone.rounds.columns)
    pd.testing.assert_frame_equal(result.frame()[columns], alone.rounds)


def test_nothing_runs_twice(
    config: Path, trained: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(config, grid={"uplink.codec.bits": [2, 4]}, out="out")
    assert len(trained) == 4
    wider = sweep(config, grid={"uplink.codec.bits": [4, 2, 3]}, seeds=range(3), out="out")
    assert len(trained) == 4 + 5
    assert "finished before: 4" in capsys.readouterr().out
    assert wider.frame()["uplink.codec.bits"].drop_duplicates().tolist() == [4, 2, 3]
    del trained[:]
    sweep(config, grid={"uplink.codec.bits": [2]}, out="out", force=True)
    assert len(trained) == 2
    monkeypatch.setattr(sweeps, "_version", lambda name: "another")
    sweep(config, grid={"uplink.codec.bits": [2]}, out="out")
    assert len(trained) == 4


def test_what_learns_the_same_is_trained_once_and_the_files_are_those_of_training_each(
    config: Path, trained: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    each = sweep(config, grid=GRID, out="each", retime=False)
    assert sorted(trained) == [0] * 4 + [1] * 4
    assert "re-timed" not in capsys.readouterr().out
    del trained[:]
    sweep(config, grid=GRID, out="once")
    assert sorted(trained) == [0] * 2 + [1] * 2
    assert "re-timed from others that learn the same, not trained: 4" in capsys.readouterr().out
    assert result_files(Path("once")) == result_files(Path("each"))
    assert len(result_files(Path("once"))) == 8 * len(RESULT_FILES)
    assert Path("once/sweep.parquet").read_bytes() == Path("each/sweep.parquet").read_bytes()
    pd.testing.assert_frame_equal(sweep(config, grid=GRID).frame(), each.frame())
    # A wider sweep is re-timed from what is finished, and one over again from nothing.
    del trained[:]
    wider = GRID | {"cell.radius_m": [50.0, 100.0], "uplink.access": ["tdma", "ofdma"]}
    sweep(config, grid=wider, out="once")
    assert trained == []
    sweep(config, grid=wider, out="each", retime=False)
    assert Path("once/sweep.parquet").read_bytes() == Path("each/sweep.parquet").read_bytes()
    del trained[:]
    sweep(config, grid=GRID, out="once", force=True)
    assert sorted(trained) == [0] * 2 + [1] * 2
    assert (
        _exit("sweep", "tiny.toml", "--grid", "cell.radius_m=30.0,40.0", "--no-retime", "--out", "cli") == 0
    )
    assert len(trained) == 4 + 4


def test_where_timing_counts_every_point_is_trained(config: Path, trained: list[int]) -> None:
    loss = "uplink.link={kind = 'wireless', loss = {kind = 'packet'}}"
    lossy = load(config, [loss])
    grid = {"cell.radius_m": [100.0, 250.0], "uplink.codec.bits": [2, 4]}
    once = sweep(lossy, grid=grid, seeds=[0])
    assert len(trained) == 4
    pd.testing.assert_frame_equal(once.frame(), sweep(lossy, grid=grid, seeds=[0], retime=False).frame())


def test_a_re_timing_that_fails_does_not_stop_the_others(config: Path, trained: list[int]) -> None:
    nowhere = {"radius_m": 1e300, "distances_m": [1e300] * 3}
    result = sweep(config, grid={"cell": [{"radius_m": 100.0}, nowhere, {"radius_m": 200.0}]}, seeds=[0])
    assert len(trained) == 1
    assert [failure.where for failure in result.failures] == [
        "base, cell = (radius_m=1e+300, distances_m=[1e+300, 1e+300, 1e+300]), seed = 0"
    ]
    assert "0 bit/s" in result.failures[0].message
    assert len(result.results) == 2


def test_points_with_the_same_scenario_are_one_run(config: Path, trained: list[int]) -> None:
    (config.parent / "two.toml").write_text(TOML + VARIANTS)
    result = sweep("two.toml", grid={"uplink.codec": ["float16"]}, out="out")
    assert sorted(trained) == [0, 1]
    assert len(result.frame()) == 2 * 2 * 4
    assert result.frame()["run"].nunique() == 2
    assert [run.name for run in result.results][::2] == [
        "float32, codec = float16",
        "uniform-4, codec = float16",
    ]


def test_compute_time_is_settled_once_from_the_base(config: Path) -> None:
    def compute_s(grid: dict[str, Any]) -> list[float]:
        result = sweep(config, grid=grid, seeds=[0], out="out")
        configs = [
            json.loads((Path("out/runs") / run / "config.json").read_text())
            for run in result.frame()["run"].unique()
        ]
        assert all(config["balance"] == configs[0]["balance"] for config in configs)
        return [config["compute"]["seconds_per_sample"] for config in configs]

    near, far = compute_s({"cell.radius_m": [50.0, 500.0]})
    assert near == far
    half, whole, double = compute_s({"compute.rho": [0.5, 1.0, 2.0]})
    assert whole == near
    assert half == pytest.approx(2 * whole)
    assert double == pytest.approx(whole / 2)


@pytest.fixture
def flaky(config: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Names a codec of one's own in a module beside the file."""
    (config.parent / "flaky_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(config.parent))
    return "uplink.codec=flaky_parts:Flaky"


def test_a_run_that_fails_does_not_stop_the_others(flaky: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "tiny.toml", flaky, "--grid", "uplink.codec.fails=raises,never", "--out", "out"]
    assert _exit(*arguments) == 1
    raised = (
        "base, uplink.codec.fails = raises, seed = 1: ValueError: out of patience (flaky_parts.py, line 18)"
    )
    assert f"2 runs failed:\n  {raised}".replace("seed = 1", "seed = 0") in (
        printed := capsys.readouterr().out
    )
    assert raised in printed
    result = SweepResult.load("out")
    assert result.frame()["uplink.codec.fails"].unique().tolist() == ["never"]
    assert [(run.name, run.seed) for run in result.results] == [("fails = never", 0), ("fails = never", 1)]
    assert [failure.where for failure in result.failures] == [
        f"base, uplink.codec.fails = raises, seed = {seed}" for seed in (0, 1)
    ]
    # What failed is tried again, what came through is not.
    assert _exit(*arguments) == 1
    assert "finished before: 2" in capsys.readouterr().out


@pytest.mark.long
def test_a_process_that_dies_takes_one_run_along(flaky: str, capsys: pytest.CaptureFixture[str]) -> None:
    values = ["--grid", "uplink.codec.fails=dies,raises,never", "--seeds", "0"]
    assert _exit("sweep", "tiny.toml", flaky, *values, "-j", "2", "--out", "out") == 1
    printed = capsys.readouterr().out
    assert "2 runs failed:" in printed
    assert (
        "fails = dies, seed = 0: its process ended (killed by SIGKILL, perhaps for want of memory)" in printed
    )
    assert "fails = raises, seed = 0: ValueError: out of patience (flaky_parts.py, line 18)" in printed
    assert [run.name for run in SweepResult.load("out").results] == ["fails = never"]


def test_where_all_fail_there_is_an_empty_table(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Simulation) -> None:
        raise RuntimeError("never\nmind")

    monkeypatch.setattr(Simulation, "step", broken)
    result = sweep(config, grid={"uplink.codec.bits": [2]}, seeds=[0], out="out")
    assert result.results == ()
    assert SweepResult.load("out").failures == result.failures
    assert str(result).startswith(
        "1 run failed:\n  base, uplink.codec.bits = 2, seed = 0: RuntimeError: never mind ("
    )
    with pytest.raises(ConfigError, match="at least one run"):
        result.table()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "uplink.codec.bitz=2,4"], "error: uplink.codec.bitz: unknown key; did you mean 'bits'?"),
        (["--grid", "uplink.codec.bits=4,17"], "error: uplink.codec.bits = 17 must be in 1 … 16"),
        (
            ["--grid", "uplink.codec.bits"],
            "must be key.path=value,value, for example uplink.codec.bits=2,4,8",
        ),
        (["--grid", "uplink.codec=qsgd,qsdg"], "did you mean 'qsgd'?"),
        (["--grid", "population.ues=3,500"], "(at base, population.ues = 500, seed = 0 and 1 more)"),
        (["--grid", "seed=0,1"], "seeds are given with --seeds"),
        (["--seeds", "a"], "seeds = 'a' must be whole numbers"),
        (["--seeds", "1,1"], "all different"),
        (["-j", "0"], "jobs = 0 must be at least 1"),
        (["--track", "tensorbord"], "did you mean 'tensorboard'?"),
    ],
)
def test_everything_is_checked_before_anything_is_trained(
    config: Path,
    trained: list[int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert _exit("sweep", "tiny.toml", *arguments, "--out", "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("error:") == 1
    assert "Traceback" not in error
    assert trained == []
    assert not Path("out").exists()


def test_a_folder_that_can_not_be_written_is_said_before_training(config: Path, trained: list[int]) -> None:
    Path("out").touch()
    with pytest.raises(RunError, match="choose another folder with --out"):
        sweep(config, out="out")
    assert trained == []


def test_what_only_this_process_knows_is_refused_by_others(config: Path, trained: list[int]) -> None:
    from torch import nn

    class Mine(nn.Linear):
        def __init__(self) -> None:
            super().__init__(20, 10)

    with pytest.raises(ConfigError, match="put them into a module beside it, or use jobs = 1"):
        sweep(config, model=Mine, jobs=2)
    assert trained == []


def test_an_interrupted_sweep_goes_on(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sweep(config, grid=GRID, out="whole")
    step, steps = Simulation.step, iter(range(1000))

    def interrupted(self: Simulation) -> object:
        if next(steps) == 10:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Simulation, "step", interrupted)
    grid = ["--grid", "uplink.codec.bits=2,4", "--grid", "cell.radius_m=100.0,250.0"]
    assert _exit("sweep", "tiny.toml", *grid, "--out", "cut") == 130
    assert "finished rounds are kept; the same command goes on" in capsys.readouterr().err
    assert not Path("cut/sweep.parquet").exists()
    assert _exit("sweep", "tiny.toml", *grid, "--out", "cut") == 0
    assert next(steps) == 1 + 4 * 4  # radii are re-timed
    assert result_files(Path("cut")) == result_files(Path("whole"))
    assert Path("cut/sweep.parquet").read_bytes() == Path("whole/sweep.parquet").read_bytes()
    assert len(whole.results) == 8


@pytest.mark.long
def test_ctrl_c_ends_all_processes_cleanly(config: Path) -> None:
    process = command("sweep", "tiny.toml", "stop.rounds=100000", "-j", "2", "--out", "out")
    until_rounds(config.parent / "out", process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.long
def test_a_killed_sweep_leaves_nothing_that_writes_on(config: Path) -> None:
    process = command("sweep", "tiny.toml", "stop.rounds=120", "-j", "2", "--out", "out")
    until_rounds(config.parent / "out", process)
    process.kill()
    process.communicate()
    # Its workers may be in the middle of a round; who goes on at once waits for that.
    varied = load(config, ["stop.rounds=120"])
    sweep(varied, out="out")
    assert all(len(rows) == 121 for rows in (run.rounds for run in SweepResult.load("out").results))
    sweep(varied, out="whole")
    assert result_files(Path("out")) == result_files(Path("whole"))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("workers outlive the sweep")


def test_a_worker_that_can_not_begin_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syft_fl.experiment.processes._BOOT", "raise SystemExit(3)")
    with pytest.raises(RunError, match=r"ended as it began \(exit code 3\)"):
        carry_out([1, 2], work="x:y", settings=None, processes=2, hear=lambda index, value: None)


def test_tasks_are_told_of_in_this_process_too() -> None:
    heard: list[tuple[int, Any]] = []
    outcomes = carry_out(
        [2, 0], work=f"{__name__}:_divider", settings=10, processes=1, hear=lambda *told: heard.append(told)
    )
    assert outcomes[0] == 5
    assert isinstance(outcomes[1], Failure)
    assert outcomes[1].message.startswith(
        "ZeroDivisionError: integer division or modulo by zero (test_sweep.py, line "
    )
    assert heard == [(0, "begins"), (0, 5), (1, "begins"), (1, outcomes[1])]


def _divider(settings: int) -> Any:
    def work(task: int, tell: Any) -> int:
        tell("begins")
        return settings // task

    return work


@pytest.mark.long
def test_compare_side_by_side_gives_the_same_files(config: Path) -> None:
    config.write_text(TOML + VARIANTS)
    one = compare(config, out="one")
    two = compare(config, out="two", jobs=2)
    files = result_files(Path("one"))
    assert len(files) == 4 * len(RESULT_FILES)
    assert files == result_files(Path("two"))
    assert Path("one/experiment.json").read_bytes() == Path("two/experiment.json").read_bytes()
    assert str(one) == str(two)
    with pytest.raises(ConfigError, match="1 where progress is given"):
        compare(config, jobs=2, progress=lambda name, seed: lambda simulation, record: None)


def test_without_a_folder_a_run_comes_back_whole_from_another_process(config: Path) -> None:
    config.write_text(TOML.replace("[0, 1]", "[0]"))
    (here,), (there,) = (compare(config, jobs=jobs).results for jobs in (1, 2))
    assert (here.name, here.seed, here.config) == (there.name, there.seed, there.config)
    for table in ("rounds", "transfers", "computations"):
        pd.testing.assert_frame_equal(getattr(here, table), getattr(there, table))


def test_a_comparison_side_by_side_says_which_runs_failed(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(*args: Any, processes: int, **kwargs: Any) -> list[Any]:
        return carry_out(*args, processes=1, **kwargs)

    monkeypatch.setattr("syft_fl.experiment.runs.carry_out", here)
    compare(config, out="out")
    with pytest.raises(RunError) as caught:
        compare(load(config, ["stop.rounds=2"]), out="out", jobs=2)
    first, *failed = str(caught.value).splitlines()
    assert first == "2 of 2 runs failed"
    assert failed[0].startswith("base seed 0: ")
    assert "holds a run of another scenario (differs in stop.rounds: 3 there, 2 here)" in failed[0]


def test_figures_of_a_sweep_are_drawn_from_its_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = sweep(config, grid={"uplink.codec.bits": [2, 4]}, out="out")
    assert result.plot("uplink_bits").axes[0].get_xlabel() == "Sent on the uplink [Mbit]"
    assert _exit("plot", "out") == 0
    assert "bits = 4" in capsys.readouterr().out
    names = {path.name for path in Path("out/figures").iterdir()}
    assert {"accuracy-latency_s.png", "time-to-target.svg"} <= names
    with pytest.raises(RunError, match="nowhere holds no sweep"):
        SweepResult.load("nowhere")
