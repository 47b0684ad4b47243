"""Each experiment's script runs, made small by overrides, and draws its figures."""

import os
import re
import runpy
import sys
from pathlib import Path

import pytest

from syft_fl.cli import main
from syft_fl.experiment import Comparison

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SMALL = [
    "seeds=[0]",
    "stop.rounds=1",
    "population.ues=2",
    "cell.distances_m=[100.0, 200.0]",
    "training.steps=1",
]
NEEDS_DATA = pytest.mark.skipif(not os.environ.get("SYFT_FL_DATA"), reason="SYFT_FL_DATA is not set")


@pytest.mark.filterwarnings("ignore:.*published MD5 checksums")
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("digits", ["partition.kind=iid"]),
        (
            "selection",
            [
                "partition.kind=iid",
                "population.cohort=1",
                "variants=[{name='random'}, {name='near', population={selection='best-channel'}}]",
            ],
        ),
        pytest.param("mnist", ["data.test_samples=50"], marks=NEEDS_DATA),
        # Sixteen codecs, each with its figures: a minute and more.
        pytest.param("codecs", ["data.test_samples=50"], marks=[NEEDS_DATA, pytest.mark.long]),
        pytest.param(
            "cifar10", ["data.test_samples=50", "population.cohort=2"], marks=[NEEDS_DATA, pytest.mark.long]
        ),
    ],
)
def test_an_experiments_script_runs_and_draws_its_figures(
    name: str, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*SMALL, *overrides, "--out", str(tmp_path / name), "--accept-checksum-mismatch"]
    # epochs and steps exclude each other: the files that give epochs are overridden as a whole.
    if name != "cifar10":
        arguments[SMALL.index("training.steps=1")] = "training.epochs=0.1"
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    assert not _exit_code(EXPERIMENTS / f"{name}.py")
    figures = {path.name for path in (tmp_path / name / "figures").iterdir()}
    assert {"accuracy-latency_s.png", "accuracy-uplink_bits.pdf", "time-to-target.svg"} <= figures


@pytest.mark.long
def test_the_experiment_on_lost_packets_runs_and_draws_its_figures(tmp_path: Path) -> None:
    small = [item.replace("training.steps=1", "training.epochs=0.1") for item in SMALL]
    # In the first round of this seed both UEs' headers are lost.
    overrides = [*small, "partition.kind=iid", "stop.rounds=2"]
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(EXPERIMENTS / "erasure.toml"), *overrides, "--out", str(tmp_path)])
    assert not ended.value.code
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"accuracy-latency_s.png", "accuracy-uplink_bits.pdf", "time-to-target.svg"} <= figures
    transfers = Comparison.load(tmp_path).results[1].transfers
    assert (transfers["missing_bits"] > 0).any()


@pytest.mark.long
def test_the_experiment_over_the_air_runs_and_draws_its_figures(tmp_path: Path) -> None:
    overrides = [item.replace("training.steps=1", "training.epochs=0.1") for item in SMALL]
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(EXPERIMENTS / "over_the_air.toml"), *overrides, "--out", str(tmp_path)])
    assert not ended.value.code
    assert (tmp_path / "figures" / "timeline-over-the-air.png").exists()
    bits = {
        result.name: result.rounds["uplink_bits"].iloc[-1] for result in Comparison.load(tmp_path).results
    }
    assert bits["over-the-air"] < bits["uniform-4"] < bits["float32"]


@pytest.mark.long
def test_the_experiment_on_aggregation_runs_and_draws_its_figures(tmp_path: Path) -> None:
    small = [item.replace("training.steps=1", "training.epochs=0.1") for item in SMALL]
    overrides = [*small, "population.cohort=2", "partition.kind=iid"]
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(EXPERIMENTS / "aggregation.toml"), *overrides, "--out", str(tmp_path)])
    assert not ended.value.code
    assert (tmp_path / "figures" / "rounds-and-seconds.png").exists()
    last = {result.name: result.rounds.iloc[-1] for result in Comparison.load(tmp_path).results}
    assert set(last) == {"fedavg", "fedprox", "scaffold", "fednova", "fedavgm", "fedadam", "median"}
    for bits in ("uplink_bits", "downlink_bits"):
        assert {last[name][bits] for name in last if name != "scaffold"} == {last["fedavg"][bits]}
        assert 1.99 < last["scaffold"][bits] / last["fedavg"][bits] < 2


@pytest.mark.long
def test_laq_is_as_near_to_the_minimum_as_gradient_descent_for_fewer_uploads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Digits instead of MNIST, in the same setting.
    script = runpy.run_path(str(EXPERIMENTS / "laq.py"))
    overrides = ["data={kind='digits'}", "seeds=[0]", "stop.rounds=45", "population.eval_every=15"]
    monkeypatch.setattr(sys, "argv", ["laq.py", *overrides, "--residual", "0.2", "--out", str(tmp_path)])
    script["main"]()
    printed = capsys.readouterr().out
    assert (tmp_path / "figures" / "residual.png").exists()
    least = float(re.search(r"least loss: ([0-9.]+)", printed)[1])
    uploads, bits, entries = {}, {}, 64 * 10 + 10
    for result in Comparison.load(tmp_path).results:
        lazy = result.name not in ("gd", "qgd")
        bits_an_entry = result.config["uplink"]["codec"].get("bits", 32)
        spent, left = script["counted"](result), script["residuals"](result, least=least)
        assert (spent["paper_bits"] == spent["uploads"] * entries * bits_an_entry).all()
        # On the air there are frames and radii too, and what is said where nothing is sent.
        assert (spent["bits"] > spent["paper_bits"] + spent["skip_bits"])[1:].all()
        assert (spent["skip_bits"].iloc[-1] > 0) == lazy
        reached = spent.loc[left.index[left <= 0.2][0]]
        uploads[result.name], bits[result.name] = reached["uploads"], reached["bits"]
    assert uploads["gd"] % 10 == 0
    for name in ("lag", "laq", "lag-classes", "laq-classes", "laq-8-classes"):
        assert uploads[name] < 0.5 * uploads["gd"]
    assert bits["laq"] < 0.5 * bits["qgd"] < 0.1 * bits["gd"]


def _exit_code(script: Path) -> object:
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        return ended.code
    return 0
