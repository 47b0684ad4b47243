"""What a selection remembers is part of a checkpoint: cut off anywhere and resumed, a run is the same to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syft_fl.experiment import parse, run
from syft_fl.federation import SELECTIONS

RESULT_FILES = ("config.json", "rounds.jsonl", "transfers.jsonl")

# Losses, so that ages differ from turns; frames of varying length; fading in time, so that choices depend on when.
SCENARIO: dict[str, Any] = {
    "seed": 3,
    "data": {"kind": "synthetic", "train_samples": 120, "test_samples": 30},
    "model": {"kind": "mlp", "hidden": [8]},
    "population": {"ues": 7, "cohort": 3},
    "training": {"batch_size": 8},
    "uplink": {
        "codec": {"kind": "uniform", "bits": 3, "rounding": "stochastic", "coder": "range"},
        "error_feedback": True,
        "link": {
            "kind": "wireless",
            "fading": {"kind": "rayleigh", "block": "time"},
            "loss": {"kind": "packet", "probability": 0.2},
            "retransmission": {"kind": "none"},
        },
    },
    "downlink": {"link": {"kind": "wireless", "power_dbm": 30.0}},
    "stop": {"rounds": 10},
}
SELECTED = {
    "age": {},
    "best-channel": {},
    "deadline": {"deadline_s": 0.04, "candidates": 0.8},
    "proportional-fair": {"window": 4.0},
    "random": {},
    "round-robin": {},
}


def _scenario(kind: str) -> dict[str, Any]:
    population = SCENARIO["population"] | {"selection": {"kind": kind, **SELECTED[kind]}}
    return SCENARIO | {"population": population}


def test_every_registered_selection_is_under_test() -> None:
    assert set(SELECTED) == {cls.kind for cls in SELECTIONS if cls.__module__.startswith("syft_fl.")}


@pytest.mark.parametrize("kind", SELECTED)
def test_a_run_is_the_same_twice_and_resumed_after_every_round(kind: str, tmp_path: Path) -> None:
    run(parse(_scenario(kind)), out=tmp_path / "whole")
    run(parse(_scenario(kind)), out=tmp_path / "again")

    def interrupt(_: Any, record: Any) -> None:
        raise KeyboardInterrupt

    for _ in range(9):
        with pytest.raises(KeyboardInterrupt):
            run(parse(_scenario(kind)), out=tmp_path / "cut", resume=True, progress=interrupt)
    run(parse(_scenario(kind)), out=tmp_path / "cut", resume=True)
    for name in RESULT_FILES:
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == whole
        assert (tmp_path / "cut" / name).read_bytes() == whole


def test_another_codec_of_as_many_bits_meets_the_same_cohorts() -> None:
    for kind in SELECTED:
        cohorts = []
        for rounding in ("stochastic", "nearest"):
            scenario = _scenario(kind)
            codec = {"kind": "uniform", "bits": 3, "rounding": rounding}
            scenario["uplink"] = scenario["uplink"] | {"codec": codec}
            transfers = run(parse(scenario)).transfers
            cohorts.append(list(transfers[transfers["direction"] == "downlink"]["ues"]))
        assert cohorts[0] == cohorts[1]


def test_selections_choose_differently() -> None:
    found = set()
    for kind in SELECTED:
        transfers = run(parse(_scenario(kind))).transfers
        found.add(str(list(transfers[transfers["direction"] == "downlink"]["ues"])))
    assert len(found) == len(SELECTED)
