"""Rounds in which not all send, or not at once: the same twice, resumed anywhere, and what they must have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from syft_fl.errors import ConfigError
from syft_fl.experiment import parse, run
from syft_fl.experiment.result import Result
from syft_fl.federation import calling

pytestmark = pytest.mark.filterwarnings("ignore:rho")  # compute is given, so that times are round numbers

HEADER_BITS = 8 * 36
RESULT_FILES = ("config.json", "rounds.jsonl", "transfers.jsonl", "computations.jsonl")
LOSSY = {
    "kind": "wireless",
    "loss": {"kind": "packet", "probability": 0.2},
    "retransmission": {"kind": "none"},
}
SLOW = {"slowdown": {"kind": "exponential", "shift": 0.5}}
SENT = {"acknowledgements": "sent", "patience_s": 5.0, "timeout_s": 0.1}
BASE: dict[str, Any] = {
    "seed": 1,
    "data": {"kind": "synthetic", "train_samples": 200, "test_samples": 40},
    "model": "softmax",
    "population": {"ues": 6},
    "training": {"batch_size": 8},
    "compute": {"kind": "per_sample", "seconds_per_sample": 0.01},
    "uplink": {
        "codec": {"kind": "uniform", "bits": 4},
        "error_feedback": True,
        "link": {"kind": "constant", "rate_bps": 1e4},
    },
    "downlink": {
        "codec": {"kind": "uniform", "bits": 8},
        "link": {"kind": "constant", "rate_bps": 1e5},
    },
    "stop": {"rounds": 6},
}
FLOAT32 = {"codec": {"kind": "float32"}, "error_feedback": False}
WAYS: dict[str, dict[str, Any]] = {
    "norm": {"trigger": {"kind": "norm", "tau": 1.0}},
    "lag": {"trigger": {"kind": "lag"}, "uplink": FLOAT32},
    "lag-server": {"trigger": {"kind": "lag-server", "smoothness": 3.0}, "uplink": FLOAT32},
    "laq": {
        "trigger": {"kind": "laq"},
        "uplink": {"codec": {"kind": "laq", "bits": 4}, "error_feedback": False},
    },
    "channel": {"trigger": {"kind": "channel", "gain": 0.5}, "uplink": {"link": {"kind": "shannon"}}},
    "sent": {"protocol": SENT},
    "sent-over-losses": {"protocol": SENT, "uplink": {"link": LOSSY}, "downlink": {"link": LOSSY}},
    "granted-over-losses": {
        "protocol": SENT | {"grants": True, "granted": 3},
        "trigger": {"kind": "random", "probability": 0.7},
        "uplink": {"link": LOSSY},
        "downlink": {"link": LOSSY},
    },
    "grants": {"protocol": {"grants": True}},
    "implied": {
        "trigger": {"kind": "random", "probability": 0.5},
        "protocol": {"skip": "implied", "patience_s": 1.0},
    },
    "first": {"population": SLOW | {"closing": {"kind": "first", "updates": 3}}},
    "late": {
        "population": SLOW | {"closing": {"kind": "first", "updates": 3}, "late": {"kind": "polynomial"}}
    },
    "restart": {
        "protocol": {"busy": "restart"},
        "population": SLOW | {"closing": {"kind": "first", "updates": 3}},
    },
    "ignore": {
        "protocol": {"busy": "ignore"},
        "population": SLOW | {"closing": {"kind": "first", "updates": 3}},
    },
    "deadline": {"population": SLOW | {"closing": {"kind": "deadline", "seconds": 0.6}}},
    "stragglers": {"population": SLOW | {"closing": {"kind": "stragglers"}}},
    "fedasync": {"population": SLOW | {"cohort": 3, "asynchronous": {"kind": "fedasync"}}},
    "fedbuff": {"population": SLOW | {"cohort": 4, "asynchronous": {"kind": "fedbuff", "buffer": 3}}},
    "fedbuff-over-losses": {
        "population": SLOW | {"cohort": 4, "asynchronous": {"kind": "fedbuff", "buffer": 3}},
        "protocol": SENT,
        "uplink": {"link": LOSSY},
        "downlink": {"link": LOSSY},
    },
    "tiers": {"population": SLOW | {"cohort": 2, "asynchronous": {"kind": "tiers", "tiers": 3}}},
    "markov": {
        "population": {"availability": {"kind": "markov", "mean_on_s": 1.0, "mean_off_s": 0.5}},
        "protocol": SENT,
    },
    "failures": {"population": {"failures": {"compute": 0.2, "upload": 0.2}}},
}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario with changes; what has a kind of its own is replaced."""
    out = dict(base)
    for key, value in changes.items():
        inner = isinstance(value, Mapping) and isinstance(out.get(key), Mapping) and "kind" not in value
        out[key] = merged(out[key], value) if inner else value
    return out


def runs(**changes: Any) -> Result:
    return run(parse(merged(BASE, changes)))


def sent(result: Result, direction: str, kind: str) -> pd.DataFrame:
    rows = result.transfers
    return rows[(rows["direction"] == direction) & (rows["kind"] == kind)]


QUICKLY = (
    "laq",
    "granted-over-losses",
    "late",
    "restart",
    "fedbuff-over-losses",
    "tiers",
    "markov",
    "failures",
)
"""Ways that together have all that a checkpoint holds; the others run with the long tests."""


@pytest.mark.parametrize(
    "way", [way if way in QUICKLY else pytest.param(way, marks=pytest.mark.long) for way in WAYS]
)
def test_a_run_is_the_same_resumed_anywhere(way: str, tmp_path: Path) -> None:
    scenario = parse(merged(BASE, WAYS[way]))
    run(scenario, out=tmp_path / "whole")

    def interrupt(_: Any, record: Any) -> None:
        if record.row["round"] % 2 == 1:
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(scenario, out=tmp_path / "cut", resume=True, progress=interrupt)
    run(scenario, out=tmp_path / "cut", resume=True)
    for name in (*RESULT_FILES, *(["decisions.jsonl"] if "trigger" in WAYS[way] else [])):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("way", WAYS)
def test_conservation(way: str) -> None:
    result = runs(**WAYS[way])
    rounds, transfers, computed = result.rounds, result.transfers, result.computations
    assert rounds["latency_s"].is_monotonic_increasing
    assert rounds["uplink_bits"].iloc[-1] == transfers.loc[transfers["direction"] == "uplink", "bits"].sum()
    # An upload is of one computation of that UE, and was handed over when that was done, or later.
    uploads = sent(result, "uplink", "model").drop_duplicates(["ues", "serial"])
    assert len(uploads) <= len(computed)
    done = computed.groupby("ue")["end_s"].apply(list)
    for row in uploads.to_dict("records"):
        assert any(end_s <= row["offered_s"] + 1e-12 for end_s in done[row["ues"][0]])
    # TDMA: one at a time on the air.
    for direction in ("uplink", "downlink"):
        of = transfers[transfers["direction"] == direction]
        assert of["airtime_s"].sum() <= rounds["latency_s"].iloc[-1] + 1e-9
    assert (rounds["arrived"] <= len(computed)).all()
    assert rounds["accuracy"].iloc[-1] > rounds["accuracy"].iloc[0]


def test_what_is_left_out_is_the_default() -> None:
    plain = run(parse(BASE))
    for changes in (
        {"protocol": {}},
        {"trigger": {"kind": "always"}},
        {"population": {"closing": {"kind": "all"}}},
        {"population": {"closing": {"kind": "fraction", "fraction": 1.0}}},
    ):
        other = run(parse(merged(BASE, changes)))
        pd.testing.assert_frame_equal(other.transfers, plain.transfers)
        pd.testing.assert_frame_equal(other.rounds[plain.rounds.columns], plain.rounds)


def test_acknowledgements_cost_frames_and_change_no_model() -> None:
    free, answered = run(parse(BASE)), runs(protocol=SENT | {"timeout_s": 2.0})
    for column in ("accuracy", "loss", "train_loss", "arrived"):
        assert answered.rounds[column].equals(free.rounds[column])
    for direction in ("uplink", "downlink"):
        acks = sent(answered, direction, "ack")
        assert len(acks) == 36  # of 6 UEs in 6 rounds
        assert set(acks["bits"]) == {HEADER_BITS}
    more = answered.rounds["uplink_bits"] - free.rounds["uplink_bits"]
    assert more.iloc[-1] == 36 * HEADER_BITS
    assert answered.rounds["latency_s"].iloc[-1] > free.rounds["latency_s"].iloc[-1]


def test_what_is_lost_is_sent_again_until_it_is_known_to_be_there() -> None:
    lossy = {"link": LOSSY}
    free = runs(uplink=lossy, downlink=lossy)
    answered = runs(protocol=SENT, uplink=lossy, downlink=lossy)
    assert answered.rounds["arrived"].sum() > free.rounds["arrived"].sum()
    again = sent(answered, "uplink", "model")
    assert again.duplicated(["ues", "serial"]).any()


def test_a_skip_is_a_frame_of_a_header() -> None:
    result = runs(trigger={"kind": "random", "probability": 0.5})
    skips = sent(result, "uplink", "skip")
    assert len(skips) == result.rounds["skipped"].sum() > 5
    assert set(skips["bits"]) == {HEADER_BITS}
    assert (result.rounds["arrived"] + result.rounds["skipped"] == result.rounds["cohort"]).all()
    silent = runs(
        trigger={"kind": "random", "probability": 0.5}, protocol={"skip": "implied", "patience_s": 2.0}
    )
    assert len(sent(silent, "uplink", "skip")) == 0
    # The same UEs keep the same updates: only the air and the waiting differ.
    assert silent.rounds["arrived"].equals(result.rounds["arrived"])
    assert silent.rounds["accuracy"].equals(result.rounds["accuracy"])
    assert silent.rounds["latency_s"].iloc[-1] > result.rounds["latency_s"].iloc[-1]


def test_what_a_ue_keeps_is_owed_where_there_is_error_feedback() -> None:
    every = {"kind": "every", "k": 3}
    float32 = {"codec": {"kind": "float32"}}
    stops = {"rounds": 9}
    kept = runs(trigger=every, uplink=float32 | {"error_feedback": True}, stop=stops)
    dropped = runs(trigger=every, uplink=float32 | {"error_feedback": False}, stop=stops)
    assert kept.rounds["arrived"].sum() == dropped.rounds["arrived"].sum()
    assert kept.rounds["loss"].iloc[-1] < 0.9 * dropped.rounds["loss"].iloc[-1]


def test_grants_are_asked_for_before_anything_is_sent() -> None:
    result = runs(protocol={"grants": True})
    for kind, direction in (("request", "uplink"), ("grant", "downlink"), ("model", "uplink")):
        assert len(sent(result, direction, kind)) == 36
    asked = sent(result, "uplink", "request")
    assert set(asked["bits"]) == {HEADER_BITS + 32}  # the urgency
    of_the_first_round = result.transfers[result.transfers["round"] == 1]
    ends_s = of_the_first_round.groupby(["direction", "kind"])["end_s"].min()
    offered_s = sent(result, "uplink", "model")["offered_s"].min()
    assert ends_s["uplink", "request"] < ends_s["downlink", "grant"] <= offered_s


def test_the_most_urgent_are_granted() -> None:
    trigger = {"kind": "norm", "tau": 0.01}
    result = runs(trigger=trigger, protocol={"grants": True, "granted": 2})
    assert set(result.rounds["arrived"].iloc[1:]) == {2}
    assert set(result.rounds["skipped"].iloc[1:]) == {4}
    assert len(sent(result, "downlink", "nack")) == 24


def test_late_updates_are_discarded_or_used_but_always_paid_for() -> None:
    dropped, used = runs(**WAYS["first"]), runs(**WAYS["late"])
    assert dropped.rounds["discarded"].sum() > 5
    assert used.rounds["discarded"].sum() == 0
    assert used.rounds["staleness"].max() > 0
    # The same was sent at the same times, whatever was made of it.
    columns = ["round", "ues", "bits", "start_s", "end_s", "energy_j"]
    pd.testing.assert_frame_equal(dropped.transfers[columns], used.transfers[columns])


def test_a_busy_ue_finishes_restarts_or_ignores() -> None:
    finish, restart, ignore = (runs(**WAYS[way]) for way in ("first", "restart", "ignore"))
    whole = finish.computations["samples"].max()
    assert (finish.computations["samples"] == whole).all()
    assert (restart.computations["samples"] < whole).any()
    assert (ignore.computations["samples"] == whole).all()
    # Who ignores what comes while it computes has less to do; who restarts is never late with what it has.
    assert len(ignore.computations) <= len(finish.computations)


def test_a_ue_that_lets_a_model_pass_is_not_waited_for() -> None:
    values = [[1.0], [1.0], [1.0], [1.0], [1.0], [5.0]]
    slow = {"slowdown": {"kind": "trace", "values": values}, "closing": {"kind": "first", "updates": 5}}
    result = runs(population=slow, protocol={"busy": "ignore"})
    # Its first training lasts over the second round, in which it ignores the model: five others come, and it is gone.
    assert result.rounds["gone"].sum() > 0
    assert result.rounds["arrived"].iloc[1:].ge(4).all()


def test_a_run_in_which_nobody_will_ever_answer_ends_and_says_so() -> None:
    # In reach at the beginning, and never again.
    ends = [[0.0, 0.05]]
    trace = {"kind": "trace", "intervals": [ends] * 6}
    with pytest.warns(UserWarning, match="nobody is in reach"):
        result = runs(population={"availability": trace}, protocol=SENT)
    assert len(result.rounds) < 5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trigger": {"kind": "norm", "tau": 1e9}}, "called 60 times and sent 0 updates"),
        ({"population": {"failures": {"compute": 1.0}}}, "called 60 times and sent 0 updates"),
    ],
)
@pytest.mark.parametrize("mode", [{"kind": "fedasync"}, {"kind": "fedbuff", "buffer": 3}])
def test_an_asynchronous_run_in_which_nobody_ever_sends_ends_and_says_so(
    mode: dict[str, Any], changes: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "_CALLS_A_UE", 6)
    population = {"cohort": 3, "asynchronous": mode} | changes.get("population", {})
    with pytest.warns(
        UserWarning, match=rf"^round 1: UEs were {says}, so the run ends here; .* and the trigger"
    ):
        result = runs(**changes | {"population": population})
    assert list(result.rounds["arrived"]) == [0, 0]
    assert len(result.computations) <= 60


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trigger": {"kind": "norm"}}, "trigger.tau"),
        ({"protocol": {"acknowledgements": "sent"}}, "patience_s"),
        ({"protocol": {"skip": "implied"}}, "patience_s"),
        ({"protocol": {"granted": 2}}, "granted"),
        ({"trigger": {"kind": "lag"}}, "error_feedback"),
        ({"population": {"closing": {"kind": "first", "updates": 0}}}, "updates"),
        (
            {
                "population": {
                    "closing": {"kind": "deadline", "seconds": 1.0},
                    "asynchronous": {"kind": "fedbuff"},
                }
            },
            "population.asynchronous",
        ),
        (
            {"population": {"asynchronous": {"kind": "fedasync"}, "aggregator": {"kind": "fedadam"}}},
            "population.aggregator",
        ),
        (
            {
                "population": {"aggregator": {"kind": "scaffold"}},
                "trigger": {"kind": "random", "probability": 0.5},
            },
            "population.aggregator",
        ),
        ({"population": {"asynchronous": {"kind": "fedbuff"}}, "downlink": {"cast": "broadcast"}}, "cast"),
    ],
)
def test_what_does_not_go_together_is_one_clear_error(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(merged(BASE, changes))
