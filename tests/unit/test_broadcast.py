"""One frame for the whole cell: who hears it, who can use it, what it takes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from syft_fl.codecs import Uniform
from syft_fl.data import Synthetic
from syft_fl.experiment import parse, preview, run
from syft_fl.federation import (
    Population,
    Scenario,
    Stop,
    expected_downlink_phase_s,
)
from syft_fl.keys import Key
from syft_fl.learn import PerSample, Softmax, Training
from syft_fl.radio import Cell, Shannon
from syft_fl.transport import Downlink, Message, ModelContent, Transport, Uplink
from syft_fl.vectors import Layout, ModelState
from syft_fl.workers import TorchHook, VirtualWorker

pytestmark = pytest.mark.filterwarnings("ignore:rho")

UES = ("ue0", "ue1", "ue2", "ue3")
LAYOUT = Layout.flat(40)
SCENARIO = Scenario(
    data=Synthetic(train_samples=120, test_samples=30),
    model=Softmax(),
    population=Population(ues=8, cohort=3),
    training=Training(batch_size=8),
    compute=PerSample(seconds_per_sample=1e-3),
    stop=Stop(rounds=6),
)


def _cast(cast: Any, **changes: Any) -> Scenario:
    return replace(SCENARIO, downlink=replace(SCENARIO.downlink, cast=cast, **changes))


def _down(scenario: Scenario) -> pd.DataFrame:
    transfers = run(scenario).transfers
    return transfers[transfers["direction"] == "downlink"]


def drawn(ues: int, cohort: int, seed: int, round: int) -> tuple[str, ...]:
    """The cohort of a round: uniform without replacement, by seed and round."""
    generator = (Key(seed) / f"round{round}" / "cohort").numpy()
    return tuple(f"ue{k}" for k in sorted(generator.choice(ues, cohort, replace=False).tolist()))


def test_with_differences_and_partial_cohorts_a_multicast_splits_and_a_broadcast_does_not() -> None:
    codec = Uniform(bits=8)
    multicast, broadcast = (_down(_cast(cast, codec=codec)) for cast in ("multicast", "broadcast"))
    assert multicast.groupby("round").size().max() > 1
    assert (broadcast.groupby("round").size() == 1).all()
    everybody = sorted(f"ue{i}" for i in range(8))
    assert all(sorted(ues) == everybody for ues in broadcast["ues"])
    # The first model goes whole, all others as differences of 8 bits: nobody is sent a whole one later.
    assert broadcast["payload_bits"].iloc[0] == 32 * 210
    assert (broadcast["payload_bits"].iloc[1:] < 9 * 210).all()
    # In the multicast, each UE's first model is a whole one.
    assert (multicast["payload_bits"] == 32 * 210).sum() > 1


def test_only_the_cohort_trains_and_learns_what_it_learns_by_multicast() -> None:
    multicast, broadcast = (run(_cast(cast)) for cast in ("multicast", "broadcast"))
    columns = ["round", "accuracy", "loss", "train_loss", "uplink_bits", "downlink_bits", "cohort", "arrived"]
    pd.testing.assert_frame_equal(broadcast.rounds[columns], multicast.rounds[columns])
    up = broadcast.transfers[broadcast.transfers["direction"] == "uplink"]
    for number, rows in up.groupby("round"):
        cohort = drawn(SCENARIO.population.ues, SCENARIO.population.chosen, SCENARIO.seed, number)
        assert sorted(ue for ues in rows["ues"] for ue in ues) == sorted(cohort)


def test_a_broadcast_goes_at_the_rate_of_the_slowest_ue_of_the_cell() -> None:
    # ue7 is at the edge, and in few cohorts.
    scenario = replace(
        _cast("broadcast", link=Shannon(shadowing_db=0.0, fading="none")),
        cell=Cell(distances_m=(100.0,) * 7 + (450.0,)),
    )
    link = scenario.downlink.link.link(scenario.cell, Key(scenario.seed) / "radio", "downlink")
    slowest_bps = link.rate_bps("ue7", share=1.0, block=1, time_s=0.0)
    down = _down(scenario)
    assert (down["airtime_s"] * slowest_bps).to_numpy() == pytest.approx(down["bits"].to_numpy())
    unhurried = _down(replace(scenario, downlink=replace(scenario.downlink, cast="multicast")))
    assert unhurried["airtime_s"].min() < 0.5 * down["airtime_s"].min()


def test_the_expected_downlink_is_that_of_the_slowest_of_the_cell_and_check_says_so() -> None:
    radio = Shannon(shadowing_db=0.0, fading="none")
    scenario = replace(_cast("broadcast", link=radio), cell=Cell(distances_m=(100.0,) * 7 + (450.0,)))
    link = radio.link(scenario.cell, Key(scenario.seed) / "radio", "downlink")
    expected_s = 1e6 / link.rate_bps("ue7", share=1.0, block=1, time_s=0.0)
    assert expected_downlink_phase_s(scenario, 10**6) == pytest.approx(expected_s)
    multicast = replace(scenario, downlink=replace(scenario.downlink, cast="multicast"))
    assert expected_downlink_phase_s(multicast, 10**6) < 0.9 * expected_s
    tables = {
        "data": {"kind": "synthetic", "train_samples": 60, "test_samples": 20},
        "population": {"ues": 3, "cohort": 1},
        "cell": {"distances_m": [100.0, 100.0, 450.0]},
        "downlink": {"link": {"kind": "shannon", "shadowing_db": 0.0, "fading": "none"}},
    }
    seconds = []
    for cast in ("multicast", "broadcast"):
        text = preview(parse(tables | {"downlink": tables["downlink"] | {"cast": cast}}))
        seconds.append(float(text.splitlines()[-1].split()[5]))
    assert seconds[0] < seconds[1]


# All or nothing by the channel of the round: who hears below the threshold loses everything.
FIXED: dict[str, Any] = {
    "kind": "wireless",
    "rate": {"kind": "fixed", "bps_per_hz": 6.0},
    "loss": {"kind": "bler", "decade_db": 0.0},
    "retransmission": {"kind": "none"},
}


def _fixed(**changes: Any) -> dict[str, Any]:
    return {
        "seed": 3,
        "data": {"kind": "synthetic", "train_samples": 120, "test_samples": 30},
        "model": "softmax",
        "population": {"ues": 6, "cohort": 3},
        "cell": {"distances_m": [150.0, 200.0, 250.0, 300.0, 350.0, 400.0]},
        "training": {"batch_size": 8},
        "compute": {"kind": "per_sample", "seconds_per_sample": 1e-4},
        "downlink": {"cast": "broadcast", "link": FIXED, "receive_power_w": 0.1} | changes,
        "stop": {"rounds": 12},
    }


def test_at_a_fixed_rate_who_hears_too_badly_loses_it_and_pays_for_listening() -> None:
    result = run(parse(_fixed()))
    down = result.transfers[result.transfers["direction"] == "downlink"]
    assert (down["airtime_s"] * 6e6).to_numpy() == pytest.approx(down["bits"].to_numpy())
    assert (down.groupby("round").size() == 1).all(), (
        "a whole model is one frame for all, whoever missed the last"
    )
    assert all(len(ues) == 6 for ues in down["ues"])
    lost = down.set_index("round")["lost"]
    assert lost.map(len).between(1, 5).any()
    rounds = result.rounds.set_index("round").loc[1:]
    for number, missed in lost.items():
        cohort = drawn(6, 3, 3, number)
        assert rounds.loc[number, "arrived"] == len(set(cohort).difference(missed))
    spent = result.energy()
    assert spent["receive_j"].to_numpy() == pytest.approx(0.1 * down["airtime_s"].iloc[0])


def test_who_missed_a_difference_gets_the_next_one_to_what_it_holds_and_only_when_it_is_needed() -> None:
    result = run(parse(_fixed(codec={"kind": "uniform", "bits": 8})))
    down = result.transfers[result.transfers["direction"] == "downlink"]
    assert down.groupby("round").size().max() > 1
    holds = dict.fromkeys((f"ue{i}" for i in range(6)), 0)
    for number, frames in down.groupby("round"):
        cohort = drawn(6, 3, 3, number)
        newest = max(holds.values())
        served = {newest, *(holds[ue] for ue in cohort)}
        groups = {version: {ue for ue in holds if holds[ue] == version} for version in served}
        assert sorted(map(sorted, frames["ues"])) == sorted(map(sorted, groups.values()))
        for frame in frames.to_dict("records"):
            (version,) = {holds[ue] for ue in frame["ues"]}
            whole = frame["payload_bits"] == 32 * 210
            assert whole == (version == 0)
        for frame in frames.to_dict("records"):
            holds |= dict.fromkeys(set(frame["ues"]).difference(frame["lost"]), frame["serial"])


def _model(number: int) -> ModelContent:
    return ModelContent(ModelState(torch.full((40,), float(number)), {}), LAYOUT)


def test_the_audience_is_the_cell_in_a_broadcast_and_who_is_wanted_otherwise() -> None:
    for cast, audience in (
        ("multicast", ("ue2",)),
        ("unicast", ("ue2",)),
        ("broadcast", ("ue2", "ue0", "ue1", "ue3")),
    ):
        transport = Transport(downlink=Downlink(codec=Uniform(bits=8), cast=cast), hub="bs")
        assert transport.audience(("ue2",), "model", cell=UES) == audience


def test_the_audience_leaves_out_who_could_make_nothing_of_it() -> None:
    transport = Transport(downlink=Downlink(codec=Uniform(bits=8), cast="broadcast"), hub="bs")
    for number, ues in enumerate([UES, ("ue0", "ue1", "ue2"), ("ue0",)], start=1):
        for out in transport.prepare(Message("model", "bs", ues, "model", _model(number))):
            transport.offer(out, now_s=transport.clock.now_s)
        while transport.next_event_s() < float("inf"):
            transport.advance(transport.next_event_s())
    # ue0 holds version 3; ue1 and ue2 version 2; ue3 version 1.
    assert transport.audience(("ue0",), "model", cell=UES) == ("ue0",)
    assert transport.audience(("ue1",), "model", cell=UES) == ("ue1", "ue0", "ue2")
    assert transport.audience(("ue3",), "model", cell=UES) == ("ue3", "ue0")
    # A UE whose models are sent whole can use any.
    transport.configure("downlink", "ue3", delta=False)
    assert transport.audience(("ue0",), "model", cell=UES) == ("ue0", "ue3")


def test_a_round_waits_until_the_broadcast_has_gone_out(tmp_path: Path) -> None:
    # A UE alone in its round that loses its own frame, which goes first: nobody else is waited for.
    scenario = _fixed(codec={"kind": "uniform", "bits": 8})
    result = run(parse(scenario | {"population": {"ues": 6, "cohort": 1}}), out=tmp_path)
    down = result.transfers[result.transfers["direction"] == "downlink"]
    firsts = down.groupby("round").nth(0)
    in_vain = firsts[
        (down.groupby("round").size() > 1).to_numpy() & (firsts["ues"].map(len) == firsts["lost"].map(len))
    ]
    assert len(in_vain) > 0
    ends_s = result.transfers.groupby("round")["end_s"].max()
    closed_s = result.rounds.set_index("round")["latency_s"]
    assert (closed_s.loc[ends_s.index] >= ends_s).all()


@pytest.mark.parametrize("cast", ["multicast", "broadcast"])
def test_what_is_sent_to_one_worker_is_for_that_worker(cast: Any) -> None:
    transport = Transport(
        uplink=Uplink(), downlink=Downlink(codec=Uniform(bits=8), cast=cast, receive_power_w=0.5), hub="me"
    )
    hook = TorchHook(torch, transport=transport)
    ues = [VirtualWorker(hook=hook, id=f"ue{i}") for i in range(3)]
    net = torch.nn.Linear(3, 2).send(ues[0])
    net.get()
    with transport.parallel():
        for ue in ues:
            torch.zeros(100).send(ue)
    down = [entry for entry in transport.ledger.entries if entry.direction == "downlink"]
    assert all(len(entry.ues) == 1 for entry in down)
    for entry in transport.ledger.entries:
        listening = entry.direction == "downlink"
        assert entry.receive_energy_j == pytest.approx(0.5 * entry.airtime_s * listening)
    assert transport.ledger.receive_energy_j == pytest.approx(sum(entry.receive_energy_j for entry in down))
    sent = transport.ledger.uplink_transmit_energy_j + transport.ledger.downlink_transmit_energy_j
    assert sent == pytest.approx(transport.ledger.energy_j)
