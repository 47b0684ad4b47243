"""Losses are values: a round goes on with what came, the same in every run, and resumed where it was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from syft_fl.experiment import parse, run

RESULT_FILES = ("config.json", "rounds.jsonl", "transfers.jsonl", "computations.jsonl")
CODEC = {"kind": "uniform", "bits": 3, "rounding": "stochastic"}
LOSSY = {
    "kind": "wireless",
    "fading": {"kind": "rayleigh", "block": "time"},
    "rate": {"kind": "cqi", "report_delay_s": 0.05},
    "loss": {"kind": "bler"},
    "retransmission": {"kind": "harq", "mtu_bytes": 50, "tries": 2, "feedback_s": 0.001},
}
BURSTS = {
    "kind": "wireless",
    "loss": {"kind": "gilbert-elliott", "to_bad": 0.1, "to_good": 0.2, "slot_s": 0.005},
    "retransmission": {"kind": "arq", "mtu_bytes": 50, "tries": 2, "feedback_s": 0.001},
}
SURE = {"kind": "wireless"}


def _scenario(up: dict[str, Any], down: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "seed": 4,
        "data": {"kind": "synthetic", "train_samples": 120, "test_samples": 30},
        "model": {"kind": "mlp", "hidden": [8]},
        "population": {"ues": 6, "cohort": 4},
        "training": {"batch_size": 8},
        "uplink": {"codec": CODEC, "error_feedback": True, "link": up, "access": {"kind": "ofdma"}},
        "downlink": {"codec": {"kind": "qsgd", "block": 32}, "link": down},
        "stop": {"rounds": 8},
    } | changes


def _lost(transfers: pd.DataFrame, direction: str) -> pd.Series:
    """UEs that did not get or get through, by round."""
    sent = transfers[transfers["direction"] == direction]
    return sent["lost"].map(len).groupby(sent["round"]).sum()


@pytest.mark.parametrize(("up", "down"), [(LOSSY, SURE), (SURE, BURSTS), (LOSSY, BURSTS)])
@pytest.mark.parametrize("cast", ["multicast", "unicast"])
def test_a_round_aggregates_who_came_and_waits_for_nobody_who_was_lost(
    up: dict[str, Any], down: dict[str, Any], cast: str
) -> None:
    scenario = _scenario(up, down)
    scenario["downlink"]["cast"] = cast
    result = run(parse(scenario))
    rounds = result.rounds[result.rounds["round"] > 0].set_index("round")
    lost_up, lost_down = (
        _lost(result.transfers, d).reindex(rounds.index).fillna(0) for d in ("uplink", "downlink")
    )
    assert len(rounds) == 8
    assert (rounds["cohort"] == 4).all()
    # Who was not reached does not train and does not send; who was not heard is not averaged.
    assert (rounds["arrived"] == 4 - lost_down - lost_up).all()
    sent_up = result.transfers[result.transfers["direction"] == "uplink"].groupby("round").size()
    assert (sent_up.reindex(rounds.index).fillna(0) == 4 - lost_down).all()
    assert (lost_up.sum() > 0) == (up is LOSSY)
    assert (lost_down.sum() > 0) == (down is BURSTS)
    assert (rounds["arrived"] < 4).any()
    # Repetition is on the air and in the ledger.
    assert result.transfers["attempts"].max() == 2


def test_a_round_in_which_nothing_arrives_leaves_the_model_as_it_is() -> None:
    dead = SURE | {"loss": {"kind": "packet", "probability": 1.0}, "retransmission": {"kind": "none"}}
    for up, down in ((dead, SURE), (SURE, dead)):
        result = run(parse(_scenario(up, down)))
        assert (result.rounds["arrived"] == 0).all()
        assert result.rounds["accuracy"].nunique() == 1
        assert result.rounds["latency_s"].is_monotonic_increasing
        assert result.rounds["energy_j"].iloc[-1] > 0


def test_another_codec_of_as_many_bits_meets_the_same_losses() -> None:
    found = []
    for rounding in ("stochastic", "nearest"):
        scenario = _scenario(LOSSY, BURSTS)
        scenario["uplink"]["codec"] = CODEC | {"rounding": rounding}
        transfers = run(parse(scenario)).transfers
        found.append(transfers[["round", "direction", "ues", "start_s", "end_s", "attempts", "lost"]])
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize("cast", ["multicast", "broadcast"])
def test_a_run_with_losses_is_the_same_twice_and_resumed_anywhere(cast: str, tmp_path: Path) -> None:
    scenario = _scenario(LOSSY, BURSTS)
    scenario["downlink"]["cast"] = cast
    run(parse(scenario), out=tmp_path / "whole")
    run(parse(scenario), out=tmp_path / "again")

    def interrupt(_: Any, record: Any) -> None:
        if record.row["round"] % 3 == 2:
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(parse(scenario), out=tmp_path / "cut", resume=True, progress=interrupt)
        if len((tmp_path / "cut" / "rounds.jsonl").read_bytes().splitlines()) > 6:
            break
    run(parse(scenario), out=tmp_path / "cut", resume=True)
    for name in RESULT_FILES:
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == whole
        assert (tmp_path / "cut" / name).read_bytes() == whole


def _erasure(up: dict[str, Any], **uplink: Any) -> dict[str, Any]:
    scenario = _scenario(up, SURE)
    scenario["uplink"] |= {"erasure": True} | uplink
    return scenario


ERASED = SURE | {
    "loss": {"kind": "packet", "probability": 0.3},
    "retransmission": {"kind": "arq", "mtu_bytes": 40, "tries": 1},
}


@pytest.mark.parametrize("feedback", [False, True])
def test_a_model_that_came_in_part_has_arrived(feedback: bool) -> None:
    with_it, without = (
        run(parse(_erasure(ERASED, erasure=erasure, error_feedback=feedback))) for erasure in (True, False)
    )
    up = with_it.transfers[with_it.transfers["direction"] == "uplink"]
    is_lost = up["lost"].map(len) > 0
    # Of 3 packets the first has the header: with it lost, all is.
    assert (up["missing_bits"] > 0).sum() >= 5
    assert (up["missing_bits"][is_lost] == 0).all()
    assert (up["missing_bits"] < up["bits"]).all()
    arrived = up[~is_lost].groupby("round").size().reindex(range(9)).fillna(0)
    assert (with_it.rounds.set_index("round")["arrived"] == arrived).all()
    assert with_it.rounds["arrived"].sum() > without.rounds["arrived"].sum()
    # The same packets were lost, in the same seconds.
    there = without.transfers
    assert (there["missing_bits"] == 0).all()
    for column in ("round", "ues", "bits", "start_s", "end_s", "attempts"):
        assert with_it.transfers[column].equals(there[column])
    assert (with_it.rounds["accuracy"] != without.rounds["accuracy"]).any()


def test_where_nothing_is_lost_the_policy_changes_nothing() -> None:
    with_it, without = (run(parse(_erasure(SURE, erasure=erasure))) for erasure in (True, False))
    pd.testing.assert_frame_equal(with_it.rounds, without.rounds)
    pd.testing.assert_frame_equal(with_it.transfers, without.transfers)


def test_float32_takes_differences_where_parts_may_be_missing() -> None:
    # What is missing of a whole model would be 0; and where nothing is, only rounding differs.
    with_it, without = (
        run(parse(_erasure(SURE, erasure=erasure, codec={"kind": "float32"}))) for erasure in (True, False)
    )
    assert with_it.transfers["bits"].equals(without.transfers["bits"])
    assert with_it.rounds["loss"].to_numpy() == pytest.approx(without.rounds["loss"].to_numpy(), rel=1e-4)
    torn = run(parse(_erasure(ERASED, codec={"kind": "float32"})))
    assert (torn.transfers["missing_bits"] > 0).any()
    assert torn.rounds["loss"].iloc[-1] < torn.rounds["loss"].iloc[0]


def test_a_run_with_parts_is_the_same_twice_and_resumed_anywhere(tmp_path: Path) -> None:
    scenario = _erasure(ERASED)
    run(parse(scenario), out=tmp_path / "whole")

    def interrupt(_: Any, record: Any) -> None:
        if record.row["round"] % 3 == 2:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(parse(scenario), out=tmp_path / "cut", resume=True, progress=interrupt)
    run(parse(scenario), out=tmp_path / "cut", resume=True)
    for name in RESULT_FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
