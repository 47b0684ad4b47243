"""Energy: power times time, and what is written by UE, round and part adds up to the ledger's totals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from syft_fl.data import Synthetic
from syft_fl.errors import RunError
from syft_fl.experiment import Comparison, Result, parse, run
from syft_fl.federation import Population, Scenario, Stop
from syft_fl.learn import Cycles, Softmax, Training
from syft_fl.radio import Constant
from syft_fl.transport import OVERHEAD_BYTES, Downlink, Uplink

pytestmark = pytest.mark.filterwarnings("ignore:rho")  # compute is given, so that energies are round numbers

UES, COHORT, ROUNDS = 6, 4, 3
UP_W, DOWN_W, RECEIVE_W = 0.2, 2.0, 0.05
UP_BPS, DOWN_BPS = 1e5, 1e6
FRAME_BITS = 32 * (20 * 10 + 10) + 8 * OVERHEAD_BYTES
SAMPLES = 40
SCENARIO = Scenario(
    data=Synthetic(train_samples=SAMPLES * UES, test_samples=20),
    model=Softmax(),
    population=Population(ues=UES, cohort=COHORT),
    training=Training(batch_size=10),
    compute=Cycles(cycles_per_sample=1e6, frequency_hz=1e9, kappa=1e-28),
    uplink=Uplink(link=Constant(rate_bps=UP_BPS, power_w=UP_W)),
    downlink=Downlink(link=Constant(rate_bps=DOWN_BPS, power_w=DOWN_W), receive_power_w=RECEIVE_W),
    stop=Stop(rounds=ROUNDS),
)
SENT_J = UP_W * FRAME_BITS / UP_BPS
"""What one upload takes of its UE."""
DOWN_S = FRAME_BITS / DOWN_BPS
HEARD_J = RECEIVE_W * DOWN_S
"""What it takes to hear one frame."""
COMPUTED_J = 1e-28 * 1e18 * 1e6 * SAMPLES


@pytest.mark.parametrize(
    ("cast", "frames", "listeners"),
    [("multicast", 1, COHORT), ("unicast", COHORT, COHORT), ("broadcast", 1, UES)],
)
def test_each_part_of_a_rounds_energy_is_power_times_time(cast: Any, frames: int, listeners: int) -> None:
    rounds = run(replace(SCENARIO, downlink=replace(SCENARIO.downlink, cast=cast))).rounds
    spent = rounds.set_index("round").diff().loc[1:]
    assert spent["uplink_transmit_energy_j"].to_numpy() == pytest.approx(COHORT * SENT_J)
    assert spent["downlink_transmit_energy_j"].to_numpy() == pytest.approx(frames * DOWN_W * DOWN_S)
    assert spent["receive_energy_j"].to_numpy() == pytest.approx(listeners * HEARD_J)
    assert spent["compute_energy_j"].to_numpy() == pytest.approx(COHORT * COMPUTED_J)


def test_a_ues_row_says_what_it_did_in_that_round() -> None:
    result = run(SCENARIO)
    spent = result.energy()
    assert list(spent.columns) == ["round", "ue", "transmit_j", "receive_j", "compute_j", "total_j"]
    assert list(spent["round"]) == [number for number in range(1, ROUNDS + 1) for _ in range(UES)]
    assert list(spent["ue"]) == [f"ue{i}" for i in range(UES)] * ROUNDS
    down = result.transfers[result.transfers["direction"] == "downlink"].set_index("round")["ues"]
    for row in spent.to_dict("records"):
        part = row["ue"] in down[row["round"]]
        assert row["transmit_j"] == pytest.approx(part * SENT_J)
        assert row["receive_j"] == pytest.approx(part * HEARD_J)
        assert row["compute_j"] == pytest.approx(part * COMPUTED_J)
        assert row["total_j"] == row["transmit_j"] + row["receive_j"] + row["compute_j"]
    assert (spent["total_j"] == 0).sum() == ROUNDS * (UES - COHORT)


def test_a_broadcast_is_heard_by_all_and_trained_on_by_the_cohort() -> None:
    spent = run(replace(SCENARIO, downlink=replace(SCENARIO.downlink, cast="broadcast"))).energy()
    assert spent["receive_j"].to_numpy() == pytest.approx(HEARD_J)
    for part in ("transmit_j", "compute_j"):
        assert ((spent[part] > 0).groupby(spent["round"]).sum() == COHORT).all()


def test_without_power_at_the_receiver_energy_is_what_it_was() -> None:
    silent = run(replace(SCENARIO, downlink=replace(SCENARIO.downlink, receive_power_w=0.0))).rounds
    per_round = COHORT * (SENT_J + COMPUTED_J) + DOWN_W * DOWN_S
    assert silent["energy_j"].iloc[-1] == pytest.approx(ROUNDS * per_round)
    assert (silent["receive_energy_j"] == 0).all()
    heard = run(SCENARIO).rounds
    assert (heard["energy_j"] - silent["energy_j"]).to_numpy() == pytest.approx(
        heard["receive_energy_j"].to_numpy()
    )
    others = [name for name in silent if name not in ("energy_j", "ue_energy_j", "receive_energy_j")]
    pd.testing.assert_frame_equal(heard[others], silent[others])


LOSSY: dict[str, Any] = {
    "kind": "wireless",
    "fading": {"kind": "rayleigh", "block": "time"},
    "rate": {"kind": "cqi", "report_delay_s": 0.05},
    "loss": {"kind": "bler"},
    "retransmission": {"kind": "harq", "mtu_bytes": 50, "tries": 2, "feedback_s": 0.001},
}
FIXED = LOSSY | {"rate": {"kind": "fixed", "bps_per_hz": 4.0}}


@pytest.mark.parametrize("cast", ["multicast", "unicast", "broadcast"])
@pytest.mark.parametrize("equal_compute", [True, False])
@pytest.mark.parametrize(
    ("up", "down"), [({"kind": "shannon"}, {"kind": "shannon"}), (LOSSY, FIXED)], ids=["lossless", "lossy"]
)
def test_energy_of_ues_adds_up_to_the_totals(
    cast: str, equal_compute: bool, up: dict[str, Any], down: dict[str, Any], tmp_path: Path
) -> None:
    result = run(
        parse(
            {
                "seed": 4,
                "data": {"kind": "synthetic", "train_samples": 120, "test_samples": 30},
                "model": {"kind": "mlp", "hidden": [8]},
                "partition": {"kind": "quantity", "alpha": 2.0},
                "population": {"ues": 6, "cohort": 4, "equal_compute": equal_compute},
                "training": {"batch_size": 8},
                "compute": {"kind": "cycles", "kappa": 1e-26},
                "uplink": {
                    "codec": {"kind": "uniform", "bits": 3},
                    "error_feedback": True,
                    "link": up,
                    "access": "ofdma",
                },
                "downlink": {
                    "codec": {"kind": "qsgd", "block": 32},
                    "cast": cast,
                    "link": down,
                    "receive_power_w": 0.1,
                },
                "stop": {"rounds": 8},
            }
        ),
        out=tmp_path,
    )
    assert result.transfers["lost"].map(len).sum() > 0 or up["kind"] == "shannon"
    totals = result.rounds.iloc[-1]
    spent = result.energy()
    for part, column in {
        "transmit_j": "uplink_transmit_energy_j",
        "receive_j": "receive_energy_j",
        "compute_j": "compute_energy_j",
        "total_j": "ue_energy_j",
    }.items():
        assert totals[column] > 0
        assert spent[part].sum() == pytest.approx(totals[column], rel=1e-12)
        by_round = spent.groupby("round")[part].sum()
        steps = result.rounds.set_index("round")[column].diff().loc[1:]
        np.testing.assert_allclose(by_round, steps, rtol=1e-9, atol=1e-15)
    both = totals["ue_energy_j"] + totals["downlink_transmit_energy_j"]
    assert totals["energy_j"] == pytest.approx(both, rel=1e-12)
    # The files alone tell it.
    pd.testing.assert_frame_equal(Result.load(tmp_path).energy(), spent)
    computed = result.computations
    assert (computed.groupby(["round", "ue"]).size() == 1).all()
    assert (computed["samples"].nunique() == 1) == equal_compute


def test_a_comparison_tells_the_energy_of_all_its_runs() -> None:
    first, second = run(SCENARIO), run(SCENARIO, seed=1)
    spent = Comparison("c", (first, second)).energy()
    assert list(spent.columns[:4]) == ["variant", "seed", "round", "ue"]
    for result in (first, second):
        rows = spent[spent["seed"] == result.seed].drop(columns=["variant", "seed"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, result.energy())


def test_rounds_that_a_cut_off_run_has_not_finished_are_left_out(tmp_path: Path) -> None:
    whole = run(SCENARIO, out=tmp_path).energy()
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    cut = Result.load(tmp_path).energy()
    pd.testing.assert_frame_equal(cut, whole[whole["round"] < ROUNDS])


def test_files_of_an_earlier_version_have_no_energy_of_ues(tmp_path: Path) -> None:
    run(SCENARIO, out=tmp_path)
    (tmp_path / "computations.jsonl").unlink()
    path = tmp_path / "transfers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        del row["receive_energy_j"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match="run it again"):
        Result.load(tmp_path).energy()
