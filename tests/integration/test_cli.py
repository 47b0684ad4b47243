"""The command line as a stranger meets it."""

import json
import math
import re
import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest

from syft_fl.cli import main
from syft_fl.experiment import load, load_scenario, run, scenarios
from syft_fl.schema import plain

TOML = """
name = "tiny"
seeds = [0, 1]
target_accuracy = 0.2

[data]
kind = "synthetic"
train_samples = 120
test_samples = 40

[model]
kind = "softmax"

[population]
ues = 3

[stop]
rounds = 3

[[variants]]
name = "float32"

[[variants]]
name = "uniform-4"
uplink.codec = { kind = "uniform", bits = 4 }
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TOML)
    return path


def _exit(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def test_compare_writes_a_folder_prints_the_table_and_draws_figures_that_the_files_alone_give_again(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit("compare", str(config)) == 0
    printed = capsys.readouterr()
    assert "rho = 1" in printed.out
    lines = printed.out.splitlines()
    assert any(line.startswith("float32") for line in lines)
    assert any(line.startswith("uniform-4") for line in lines)
    folder = config.parent / "results" / "tiny"
    for variant in ("float32", "uniform-4"):
        for seed in (0, 1):
            names = {path.name for path in (folder / variant / f"seed{seed}").iterdir()}
            tables = {"rounds.jsonl", "transfers.jsonl", "computations.jsonl"}
            assert names == {"config.json", *tables, "provenance.json"}
    first = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert {"accuracy-latency_s.png", "accuracy-latency_s.pdf", "time-to-target.svg"} <= first.keys()
    config.unlink()
    assert _exit("plot", str(folder), "--out", "again") == 0
    again = {path.name: path.read_bytes() for path in (config.parent / "again").iterdir()}
    assert again == first


def test_run_takes_overrides_a_variant_and_a_seed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = _exit(
        "run", str(config), "stop.rounds=2", "--variant", "uniform-4", "--seed", "7", "--out", "here"
    )
    assert code == 0
    assert "uniform-4 (seed 7): accuracy" in capsys.readouterr().out
    held = json.loads((config.parent / "here" / "config.json").read_text())
    assert held["seed"] == 7
    assert held["stop"]["rounds"] == 2
    assert held["uplink"]["codec"] == {
        "kind": "uniform",
        "bits": 4,
        "rounding": "nearest",
        "block": "tensor",
        "ends": "affine",
        "coder": {"kind": "fixed"},
    }
    assert held["balance"]["rho"] == 1.0


def test_a_resolved_config_runs_again_and_gives_the_same_rounds(config: Path) -> None:
    _exit("run", str(config), "--out", "a")
    assert _exit("run", "a/config.json", "--out", "b") == 0
    folder = config.parent
    assert (folder / "a/rounds.jsonl").read_bytes() == (folder / "b/rounds.jsonl").read_bytes()


def test_check_trains_nothing_and_prints_scenario_rho_and_airtime(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syft_fl.experiment.runs.Simulation", None)
    assert _exit("check", str(config)) == 0
    printed = capsys.readouterr().out
    assert 'kind = "per_sample"' in printed
    assert "# rho = 1:" in printed
    float32, uniform = (
        next(line.split() for line in printed.splitlines() if line.startswith(f"# {name} "))
        for name in ("float32", "uniform-4")
    )
    up, _, down, down_s, compute_s, up_s, round_s = range(2, 9)
    assert int(float32[up].replace(",", "")) == int(float32[down].replace(",", "")) == 32 * 210 + 8 * 36
    assert int(uniform[up].replace(",", "")) == 4 * 210 + 2 * 64 + 8 * 36
    # Three UEs, one after the other at 10 Mbit/s, and one multicast at the same rate.
    assert float(float32[up_s]) == pytest.approx(3 * 7008 / 10e6, rel=1e-3)
    assert float(uniform[up_s]) == pytest.approx(3 * 1256 / 10e6, rel=1e-3)
    assert float(uniform[down_s]) == pytest.approx(7008 / 10e6, rel=1e-3)
    assert float(uniform[compute_s]) == pytest.approx(3 * 7008 / 10e6, rel=1e-3)
    assert float(uniform[round_s]) == pytest.approx((7008 + 3 * 7008 + 3 * 1256) / 10e6, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "none.toml"], "error: none.toml can't be read"),
        (["check", "tiny.toml", "uplink.codec=qsgdd"], "did you mean 'qsgd'"),
        (["run", "tiny.toml", "--variant", "float16"], "variant = 'float16' is not in tiny"),
        (["run", "tiny.toml", "population.ues=500"], "500"),
        (["plot", "."], "holds no comparison"),
        (["check", "tiny.toml", "data.kind=mnist", "--data-root", "nowhere"], "--data-root"),
        (
            ["check", "nb-io"],
            "'nb-io' is neither a file nor a scenario that comes with syft_fl; did you mean 'nb-iot'?",
        ),
        (["run", "tiny.toml", "scenario=nb-io"], "scenario = 'nb-io' is none that comes with syft_fl"),
        (["plot"], "plot needs either the FOLDER of a run or of a comparison, or --cell NAME_OR_FILE"),
        (["plot", ".", "--cell", "nb-iot"], "plot needs either"),
        (["plot", "--cell", "nb-io"], "did you mean 'nb-iot'?"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert _exit(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_an_interrupt_keeps_finished_rounds_and_says_how_to_go_on(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from syft_fl.federation import Simulation

    step = Simulation.step

    def interrupted(self: Simulation) -> object:
        if self.round == 2:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Simulation, "step", interrupted)
    assert _exit("run", str(config), "--out", "here") == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert len((config.parent / "here" / "rounds.jsonl").read_bytes().splitlines()) == 3
    monkeypatch.setattr(Simulation, "step", step)
    assert _exit("run", str(config), "--out", "here", "--resume") == 0
    assert len((config.parent / "here" / "rounds.jsonl").read_bytes().splitlines()) == 4


def test_trace_prints_the_messages_of_a_round_and_json_says_all_of_them(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["trigger.kind=random", "trigger.probability=0.5", "stop.rounds=2"]
    assert _exit("run", str(config), *overrides, "--out", "here") == 0
    capsys.readouterr()
    assert _exit("trace", "here", "--round", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("round 2: ")
    assert "bs -> ue0,ue1,ue2" in lines[1]
    assert "MODEL v2" in lines[1]
    assert "closes" in lines[-1]
    assert _exit("trace", "here", "--json", "--ue", "ue1") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["round"] for row in rows] == sorted(row["round"] for row in rows)
    assert {row["what"] for row in rows} == {"message", "computation", "decision", "closing"}
    decided = {(row["of_round"], row["send"]) for row in rows if row["what"] == "decision"}
    sent = {(row["of_round"], row["kind"] == "UPDATE") for row in rows if row.get("sender") == "ue1"}
    assert decided == sent
    assert _exit("trace", "here", "--ue", "ue7") == 2
    assert "ue = 'ue7' must be one of ue0 … ue2" in capsys.readouterr().err
    assert _exit("trace", str(config.parent)) == 2
    assert "holds no run" in capsys.readouterr().err


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\n"
        "from syft_fl.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules), 'imported too much'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "syft_fl", "check", "none.toml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: none.toml can't be read")


def test_codecs_prints_a_table_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--kind",
        "sign",
        "--kind",
        "qsgd",
        "--entries",
        "2048",
        "--keys",
        "2",
        "--out",
        str(tmp_path / "c"),
    ]
    assert _exit("codecs", *arguments) == 0
    printed = capsys.readouterr().out
    assert "bits/entry" in printed
    assert "Alistarh" in printed
    assert {path.name for path in (tmp_path / "c").iterdir()} >= {"codecs.csv", "codecs.png"}
    assert (tmp_path / "c" / "codecs.csv").read_text().splitlines()[1].startswith("qsgd levels=3,qsgd,")


def test_codecs_of_exact_codecs_alone_writes_the_table_without_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit("codecs", "--kind", "float32", "--entries", "256", "--out", str(tmp_path / "c")) == 0
    assert "figure: none, as no codec has an error" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["codecs.csv"]


def test_codecs_refuses_a_file_for_a_folder_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c").touch()
    assert _exit("codecs", "--kind", "sign", "--entries", "256", "--out", str(tmp_path / "c")) == 2
    assert "c can't be written (File exists); choose another folder with --out" in capsys.readouterr().err


def test_codecs_refuses_an_unknown_kind_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit("codecs", "--kind", "qsdg") == 2
    assert capsys.readouterr().err.startswith("error: kind = 'qsdg' is no codec; did you mean 'qsgd'?")


@pytest.mark.parametrize("name", scenarios())
def test_every_scenario_is_checked_and_learns_digits(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    # The paper's compute is nothing beside its uplink where UEs have few samples, and rho says so.
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert _exit("check", name) == 0
    printed, said = capsys.readouterr()
    assert ("warning: rho = " in said) == (name == "yang-2021")
    _, _, radio = printed.partition("# radio of the base scenario")
    for direction in ("uplink", "downlink"):
        for row in (r"SNR \[dB\]", r"rate.* \[bit/s\]", r"airtime of [\d,]+ bits at that rate \[s\]"):
            (found,) = re.findall(rf"^# {direction}: {row} +(.*)$", radio, flags=re.MULTILINE)
            numbers = [float(number.replace(",", "")) for number in found.split()]
            assert len(numbers) == 3
            assert all(map(math.isfinite, numbers))
            assert numbers == sorted(numbers, reverse="airtime" in row)
        lossy = load_scenario(name).uplink.link.loss.kind != "none"
        assert lossy == ("uplink: " in radio and "such messages lost" in radio)
    with pytest.warns(UserWarning, match="rho = ") if name == "yang-2021" else nullcontext():
        result = run(load(name, ["stop.rounds=1"]))
    last = result.rounds.iloc[-1]
    assert 0 < last["arrived"] <= last["cohort"]
    assert math.isfinite(last["latency_s"])
    assert last["latency_s"] > 0


def test_a_run_in_a_named_cell_keeps_all_settings_and_not_the_name(config: Path) -> None:
    assert _exit("run", str(config), "scenario=nb-iot", "uplink.codec=float16", "--out", "here") == 0
    held = json.loads((config.parent / "here" / "config.json").read_text())
    iot = plain(load_scenario("nb-iot"))
    assert "scenario" not in held
    assert held["cell"] == iot["cell"]
    assert held["uplink"] == iot["uplink"] | {"codec": {"kind": "float16"}}
    assert held["population"]["ues"] == 3
    assert _exit("run", "here/config.json", "--out", "again") == 0
    folder = config.parent
    assert (folder / "again/rounds.jsonl").read_bytes() == (folder / "here/rounds.jsonl").read_bytes()


def test_a_cell_is_drawn_without_a_run(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit("plot", "--cell", "leo-satellite", "--out", "drawn") == 0
    assert "figure: drawn/cell-leo-satellite.png (3 files)" in capsys.readouterr().out
    assert _exit("plot", "--cell", str(config)) == 0
    names = {path.name for path in (config.parent / "results" / "tiny" / "figures").iterdir()}
    assert names == {"cell-tiny.png", "cell-tiny.pdf", "cell-tiny.svg"}


def test_scenarios_are_listed_with_the_airtime_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit("scenarios", "--parameters", "1000") == 0
    printed = capsys.readouterr().out
    assert all(f"- `{name}`: " in printed for name in scenarios())
    # 1000 float32 and a frame of 36 bytes at 20.83 kbit/s: a tone at its best.
    (row,) = [line for line in printed.splitlines() if line.startswith("| `nb-iot` | uplink")]
    assert float(row.split(" | ")[-1].removesuffix(" |")) == pytest.approx(32_288 / 20_835, rel=1e-2)
