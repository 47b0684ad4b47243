"""A run told as a story: what each line says is in the tables, and nothing that is in the tables is missing."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest

from syft_fl.errors import ConfigError
from syft_fl.experiment import parse, run
from syft_fl.experiment.trace import trace


@dataclass(frozen=True)
class Run:
    transfers: pd.DataFrame
    rounds: pd.DataFrame
    computations: pd.DataFrame = field(default_factory=pd.DataFrame)
    decisions: pd.DataFrame = field(default_factory=pd.DataFrame)
    config: dict[str, Any] = field(default_factory=lambda: {"population": {"ues": 9}})


def sent(
    direction: str, kind: str, ues: list[str], serial: int, start_s: float, end_s: float, **more: Any
) -> Any:
    return {
        "round": 1,
        "direction": direction,
        "kind": kind,
        "ues": ues,
        "serial": serial,
        "bits": 800,
        "offered_s": start_s,
        "start_s": start_s,
        "end_s": end_s,
        "attempts": 1,
        "lost": [],
    } | more


def closed(*latencies_s: float, **more: Any) -> pd.DataFrame:
    rows = [
        {"round": number, "latency_s": latency_s, "accuracy": math.nan, "cohort": 1, "arrived": 1} | more
        for number, latency_s in enumerate([0.0, *latencies_s])
    ]
    return pd.DataFrame(rows)


def computed(*rows: tuple[int, str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["round", "ue", "samples", "end_s"])


def made(rows: list[Any], rounds: pd.DataFrame, **tables: pd.DataFrame) -> Run:
    return Run(pd.DataFrame(rows), rounds, **tables)


def lines(run: Any, **options: Any) -> list[str]:
    return str(trace(run, **options)).splitlines()


def test_a_round_reads_in_the_order_of_cause_and_effect() -> None:
    story = made(
        [
            sent("downlink", "model", ["ue0", "ue1"], 1, 0.0, 1.0, lost=["ue1"], attempts=2),
            sent("uplink", "ack", ["ue0"], 0, 1.0, 1.1),
            sent("uplink", "model", ["ue0"], 7, 2.0, 3.0),
            sent("downlink", "ack", ["ue0"], 7, 3.0, 3.1),
        ],
        closed(3.1, accuracy=0.5),
        computations=computed((1, "ue0", 12, 2.0)),
        decisions=pd.DataFrame(
            [
                {
                    "round": 1,
                    "ue": "ue0",
                    "at": "ue",
                    "time_s": 2.0,
                    "quantity": 0.5,
                    "threshold": 0.25,
                    "send": True,
                },
                {
                    "round": 1,
                    "ue": "ue1",
                    "at": "bs",
                    "time_s": 0.0,
                    "quantity": math.nan,
                    "threshold": 1,
                    "send": True,
                },
            ]
        ),
    )
    assert lines(story) == [
        "round 1: 0.000000 … 3.100000 s",
        "  0.000000  bs of ue1      asks       nothing to compare with yet",
        "  0.000000  bs -> ue0,ue1  MODEL v1   800 bits  on the air 0.000000 … 1.000000, "
        "LOST at ue1, 2 tries on the link",
        "  1.000000  ue0 -> bs      ACK v1     800 bits  on the air 1.000000 … 1.100000",
        "  2.000000  ue0            computed   12 samples",
        "  2.000000  ue0            sends      0.5000 against 0.2500",
        "  2.000000  ue0 -> bs      UPDATE #7  800 bits  on the air 2.000000 … 3.000000",
        "  3.000000  bs -> ue0      ACK #7     800 bits  on the air 3.000000 … 3.100000",
        "  3.100000  bs             closes     1 update used, 1 UE told, accuracy 50.0 %",
    ]


def test_every_transmission_computation_and_decision_has_one_line() -> None:
    scenario = {
        "data": {"kind": "synthetic", "train_samples": 40, "test_samples": 10},
        "model": "softmax",
        "population": {"ues": 3},
        "trigger": {"kind": "random", "probability": 0.5},
        "protocol": {"acknowledgements": "sent", "patience_s": 9.0},
        "stop": {"rounds": 3},
    }
    result = run(parse(scenario))
    whole = result.trace()
    counts = pd.Series([row["what"] for row in whole.rows]).value_counts()
    assert counts["message"] == len(result.transfers)
    assert counts["computation"] == len(result.computations)
    assert counts["decision"] == len(result.decisions)
    assert counts["closing"] == 3
    assert sum(row.get("bits", 0) for row in whole.rows) == result.transfers["bits"].sum()
    # Nothing crosses a closing where the base station waits for all, so rounds divide it.
    parts = [row for number in (1, 2, 3) for row in result.trace(round=number).rows]
    assert parts == whole.rows
    assert [json.loads(line) for line in whole.json_lines().splitlines()] == whole.rows
    mine = result.trace(ue="ue1").rows
    assert 3 < len(mine) < len(whole.rows)
    assert all(
        "ue1" in (row.get("ue"), row.get("sender"), *row.get("receivers", [])) or row["what"] == "closing"
        for row in mine
    )


def test_what_goes_beyond_a_closing_is_in_both_rounds_and_says_so() -> None:
    late = made([sent("uplink", "model", ["ue0"], 1, 0.5, 1.5)], closed(1.0, 2.0))
    assert [row["kind"] for row in trace(late, round=2).rows if row["what"] == "message"] == ["UPDATE"]
    (line,) = [line for line in lines(late, round=1) if "UPDATE" in line]
    assert line.endswith("ends in round 2")
    assert sum("UPDATE" in line for line in lines(late)) == 1
    after = made([sent("uplink", "model", ["ue0"], 1, 1.5, 1.7)], closed(1.0, 2.0))
    assert not any("UPDATE" in line for line in lines(after, round=1))
    (line,) = [line for line in lines(after, round=2) if "UPDATE" in line]
    assert line.endswith("about round 1's model")


def test_the_answer_to_the_last_update_belongs_to_its_round_and_the_next_model_to_the_next() -> None:
    rows = [
        sent("uplink", "model", ["ue0"], 1, 0.5, 1.0),
        sent("downlink", "ack", ["ue0"], 1, 1.0, 1.1),
        sent("downlink", "model", ["ue0"], 2, 1.0, 1.5, round=2),
    ]
    found = [(row["round"], row.get("kind", row["what"])) for row in trace(made(rows, closed(1.0, 2.0))).rows]
    assert found == [(1, "UPDATE"), (1, "ACK"), (1, "closing"), (2, "MODEL"), (2, "closing")]


def test_what_the_protocol_repeats_is_a_copy_and_what_is_new_is_not() -> None:
    rows = [
        sent("downlink", "model", ["ue0", "ue1"], 1, 0.0, 1.0, lost=["ue1"]),
        sent("downlink", "model", ["ue1"], 1, 1.0, 1.5),
        sent("downlink", "model", ["ue2"], 1, 1.5, 2.0),  # unicast: the same version, to somebody else
        sent("uplink", "request", ["ue0"], 0, 2.0, 2.1, lost=["ue0"]),
        sent("uplink", "request", ["ue0"], 0, 3.0, 3.1),
        sent("downlink", "grant", ["ue0"], 0, 3.1, 3.2),
        sent("uplink", "model", ["ue0"], 1, 3.2, 3.4, lost=["ue0"]),
        sent("uplink", "model", ["ue0"], 1, 3.6, 3.8),
        sent("uplink", "model", ["ue1"], 1, 3.8, 3.9),
        sent("uplink", "request", ["ue0"], 0, 5.0, 5.1),  # of the same round, after computing once more
        sent("uplink", "bye", ["ue0"], 1, 6.0, 6.1),
        sent("uplink", "bye", ["ue0"], 1, 8.0, 8.1),  # it was back in between
    ]
    story = made(rows, closed(9.0), computations=computed((1, "ue0", 9, 2.0), (1, "ue0", 9, 5.0)))
    copies = [row["copy"] for row in trace(story).rows if row["what"] == "message"]
    assert copies == [1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1]
    assert [line for line in lines(story) if "sent again (copy 2)" in line] == [
        line for line in lines(story) if line.lstrip()[:4] in ("1.00", "3.00", "3.60")
    ]


def test_an_answer_of_a_ue_names_the_version_that_it_holds_or_can_not_decode() -> None:
    rows = [
        sent("downlink", "model", ["ue0"], 2, 0.0, 1.0),
        sent("uplink", "ack", ["ue0"], 0, 1.0, 1.1),
        sent("downlink", "model", ["ue0"], 1, 1.0, 2.0),  # overtaken
        sent("uplink", "ack", ["ue0"], 0, 2.0, 2.1),
        sent("downlink", "model", ["ue0"], 5, 2.0, 3.0),
        sent("uplink", "nack", ["ue0"], 0, 3.0, 3.1),
        sent("downlink", "nack", ["ue0"], 4, 4.0, 4.1),
        sent("uplink", "skip", ["ue0"], 0, 5.0, 5.1),
    ]
    found = {
        (row["kind"], row.get("version"), row.get("number"))
        for row in trace(made(rows, closed(6.0))).rows[:-1]
    }
    answers = {("ACK", 2, None), ("NACK", 5, None), ("NACK", None, 4), ("SKIP", None, None)}
    assert found == answers | {("MODEL", version, None) for version in (1, 2, 5)}


def test_a_training_that_nothing_follows_was_in_vain() -> None:
    rows = [sent("uplink", "skip", ["ue0"], 0, 2.0, 2.1), sent("uplink", "model", ["ue1"], 1, 3.0, 3.1)]
    computations = computed((1, "ue0", 5, 1.0), (1, "ue0", 12, 2.0), (1, "ue1", 12, 3.0), (1, "ue0", 12, 4.0))
    found = [
        row["in_vain"]
        for row in trace(made(rows, closed(9.0), computations=computations)).rows
        if "in_vain" in row
    ]
    assert found == [True, False, False, False]  # of the last one the message is on the air when the run ends
    # That a UE answers a new model, or leaves, at the moment at which it stops is no result of its work.
    left = [sent("uplink", kind, ["ue0"], 0, 1.0, 1.1) for kind in ("ack", "bye")]
    story = made([*left, *rows], closed(9.0), computations=computations)
    assert [row["in_vain"] for row in trace(story).rows if "in_vain" in row] == found
    # A UE that says nothing of what it keeps has decided all the same.
    decision = {
        "round": 1,
        "ue": "ue0",
        "at": "ue",
        "time_s": 1.0,
        "quantity": 0.0,
        "threshold": 1.0,
        "send": False,
    }
    story = made(rows, closed(9.0), computations=computations, decisions=pd.DataFrame([decision]))
    assert not any(row.get("in_vain") for row in trace(story).rows)


def test_of_many_receivers_the_first_are_named_and_all_are_counted() -> None:
    ues = [f"ue{i}" for i in range(9)]
    story = made([sent("downlink", "model", ues, 1, 0.0, 1.0)], closed(1.0))
    assert "bs -> ue0,ue1,…,ue8 (9)" in lines(story)[1]
    assert trace(story).rows[0]["receivers"] == ues


def test_a_run_without_a_closed_round_is_told_as_far_as_it_went() -> None:
    story = made([sent("downlink", "model", ["ue0"], 1, 0.0, 1.0)], closed())
    assert lines(story) == ["  0.000000  bs -> ue0  MODEL v1  800 bits  on the air 0.000000 … 1.000000"]


def test_an_unknown_round_or_ue_is_refused_with_the_known_ones() -> None:
    story = made([sent("downlink", "model", ["ue0"], 1, 0.0, 1.0)], closed(1.0, 2.0))
    with pytest.raises(ConfigError, match="round = 3 must be one of 1 … 2"):
        trace(story, round=3)
    with pytest.raises(ConfigError, match=r"ue = 'ue9' must be one of ue0 … ue8"):
        trace(story, ue="ue9")
    with pytest.raises(ConfigError, match="no round has closed yet"):
        trace(made([], closed()), round=1)
