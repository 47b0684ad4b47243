"""Runs mirrored to trackers: they show what the files say, and change nothing."""

import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest

import syft_fl.experiment.tracking as tracking
from syft_fl.cli import main
from syft_fl.errors import ConfigError
from syft_fl.experiment import Result, compare, parse, run, sweep
from syft_fl.federation import Simulation

TABLE = {
    "name": "tiny",
    "data": {"kind": "synthetic", "train_samples": 60, "test_samples": 20},
    "model": {"kind": "softmax"},
    "population": {"ues": 3, "eval_every": 2},
    "stop": {"rounds": 3},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Client:
    """As much of MLflow's client as a mirror uses; its calls are kept."""

    calls: ClassVar[list[tuple[str, Any]]] = []
    broken_at: int | None = None

    def get_experiment_by_name(self, name: str) -> None:
        self.calls.append(("looks for", name))

    def create_experiment(self, name: str) -> str:
        return f"id of {name}"

    def create_run(self, experiment: str, *, run_name: str) -> Any:
        self.calls.append(("begins", (experiment, run_name)))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

    def log_batch(self, run: str, *, metrics: Any = (), params: Any = ()) -> None:
        for key, value, at_ms, step in metrics:
            if step == self.broken_at:
                raise ConnectionError("no server")
            self.calls.append((key, (value, at_ms, step)))
        assert len(params) <= 100
        self.calls += [("param", param) for param in params]

    def set_terminated(self, run: str, *, status: str) -> None:
        self.calls.append(("ends", status))


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    monkeypatch.setattr(Client, "calls", [])
    monkeypatch.setattr(Client, "broken_at", None)
    entities = {"Metric": lambda *entry: entry, "Param": lambda *entry: entry}
    monkeypatch.setitem(sys.modules, "mlflow", types.ModuleType("mlflow"))
    for name, content in (("tracking", {"MlflowClient": Client}), ("entities", entities)):
        module = types.ModuleType(f"mlflow.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, f"mlflow.{name}", module)
    monkeypatch.setattr(tracking, "find_spec", lambda name: object())
    return Client


def test_a_missing_library_is_one_error_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    monkeypatch.setattr("syft_fl.experiment.runs.Simulation", None)
    experiment = parse(TABLE)
    for start in (run, compare, sweep):
        with pytest.raises(
            ConfigError, match=r"not installed; pip install 'syft_fl\[track\]', or pip install mlflow"
        ):
            start(experiment, out="out", track="mlflow")
    with pytest.raises(SystemExit) as caught:
        main(["run", "nb-iot", "--track", "tensorboard", "--out", "out"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: track = 'tensorboard' needs the library tensorboard")
    assert not (tmp_path / "out").exists()


def test_what_is_no_tracker_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mlflow'"):
        run(parse(TABLE), track="mlfow")


def test_tensorboard_without_a_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="needs out"):
        run(parse(TABLE), track="tensorboard")


def test_mlflow_gets_every_figure_of_every_round(mlflow: type[Client]) -> None:
    plain_run = run(parse(TABLE), out="plain")
    result = run(parse(TABLE), out="mirrored", track="mlflow")
    assert (Path("plain") / "rounds.jsonl").read_bytes() == (Path("mirrored") / "rounds.jsonl").read_bytes()
    assert (Path("plain") / "config.json").read_bytes() == (Path("mirrored") / "config.json").read_bytes()
    assert ("begins", ("id of tiny", "base seed0")) in mlflow.calls
    assert ("param", ("population.ues", "3")) in mlflow.calls
    assert mlflow.calls[-1] == ("ends", "FINISHED")
    for column in ("accuracy", "loss", "latency_s", "uplink_bits", "downlink_bits", "energy_j"):
        known = result.rounds[result.rounds[column].notna()]
        # On the time axis are simulated milliseconds.
        expected = [(row[column], int(1000 * row["latency_s"]), row["round"]) for _, row in known.iterrows()]
        assert [call for name, call in mlflow.calls if name == column] == expected
    assert len(plain_run.rounds) == 4


def test_a_resumed_run_is_shown_from_its_beginning_and_a_finished_one_not_again(
    mlflow: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Simulation.step

    def interrupted(self: Simulation) -> Any:
        if self.round == 1:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Simulation, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(parse(TABLE), out="out", track="mlflow")
    assert mlflow.calls[-1] == ("ends", "KILLED")
    mlflow.calls.clear()
    monkeypatch.setattr(Simulation, "step", step)
    run(parse(TABLE), out="out", track="mlflow", resume=True)
    assert [call[2] for name, call in mlflow.calls if name == "latency_s"] == [0, 1, 2, 3]
    mlflow.calls.clear()
    run(parse(TABLE), out="out", track="mlflow", resume=True)
    assert mlflow.calls == []


def test_a_tracker_that_fails_is_left_alone(mlflow: type[Client]) -> None:
    mlflow.broken_at = 2
    with pytest.warns(
        UserWarning, match=r"mlflow failed \(ConnectionError: no server\); the run goes on"
    ) as said:
        result = run(parse(TABLE), out="out", track="mlflow")
    assert len(said) == 1
    assert len(result.rounds) == 4
    assert max(call[2] for name, call in mlflow.calls if name == "latency_s") == 1


def test_tensorboards_event_files_hold_the_rounds() -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def shown(folder: str, column: str) -> list[tuple[int, float, float]]:
        events = EventAccumulator(folder)
        events.Reload()
        return [(event.step, event.value, event.wall_time) for event in events.Scalars(column)]

    result = run(parse(TABLE), out="out", track="tensorboard")
    for column in ("accuracy", "loss", "latency_s", "uplink_bits", "energy_j"):
        known = result.rounds[result.rounds[column].notna()]
        found = shown("out/tensorboard/base/seed0", column)
        assert [step for step, _, _ in found] == known["round"].tolist()
        assert [value for _, value, _ in found] == pytest.approx(known[column].tolist(), rel=1e-6)
        assert [at_s for _, _, at_s in found] == pytest.approx(known["latency_s"].tolist())
    # By worker processes too, under the names of the points.
    sweep(parse(TABLE), grid={"cell.radius_m": [50.0, 90.0]}, jobs=2, out="swept", track="tensorboard")
    for point in ("radius_m = 50", "radius_m = 90"):
        assert len(shown(f"swept/tensorboard/{point}/seed0", "latency_s")) == 4
    assert Result.load("out").rounds.equals(result.rounds)


def test_mlflows_own_store_holds_the_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    result = run(parse(TABLE), track="mlflow")
    client = MlflowClient()
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "base seed0"
    assert found.info.status == "FINISHED"
    assert found.data.params["stop.rounds"] == "3"
    history = client.get_metric_history(found.info.run_id, "uplink_bits")
    assert [metric.value for metric in history] == result.rounds["uplink_bits"].tolist()
