"""Rounds whose uplink is analog: what goes before the sum, how long it takes, who is in it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import syft_fl as sy
from syft_fl.data import Synthetic
from syft_fl.errors import ConfigError, TransportError
from syft_fl.experiment import parse, preview, run
from syft_fl.federation import Population, Scenario, Stop
from syft_fl.learn import Pairwise, PerSample, Softmax, Training
from syft_fl.radio import Arq, Cell, Constant, OverTheAir, Packet, Shannon, Wireless
from syft_fl.transport import Downlink, Uplink

# Transmission vanishes beside compute here; seconds are counted, not compared.
pytestmark = pytest.mark.filterwarnings("ignore:rho")

QUIET = Shannon(noise_dbm_per_hz=-300.0, shadowing_db=0.0)
SCENARIO = Scenario(
    data=Synthetic(train_samples=200, test_samples=50),
    model=Softmax(),
    cell=Cell(distances_m=(100.0, 150.0, 200.0, 250.0, 300.0)),
    population=Population(ues=5),
    training=Training(batch_size=10, learning_rate=0.5),
    compute=PerSample(seconds_per_sample=0.01),
    uplink=Uplink(link=QUIET, analog=OverTheAir(threshold=0.0, power="peak", sync_s=0.002)),
    downlink=Downlink(link=Constant(rate_bps=1e6)),
    stop=Stop(rounds=3),
)
ENTRIES = 20 * 10 + 10


def test_a_round_is_download_compute_reports_common_statistics_and_one_sum() -> None:
    result = run(SCENARIO)
    sent = result.transfers[result.transfers["round"] == 2]
    down, *reports = sent.iloc[0], *(row for _, row in sent.iloc[1:6].iterrows())
    told, *sums = (row for _, row in sent.iloc[6:].iterrows())
    assert (down["kind"], down["direction"]) == ("model", "downlink")
    assert {row["kind"] for row in reports} == {"control"}
    assert [row["start_s"] for row in reports[1:]] == pytest.approx([row["end_s"] for row in reports[:-1]])
    assert (told["direction"], told["start_s"]) == ("downlink", reports[-1]["end_s"])
    assert len(sums) == 5
    for row in sums:
        assert (row["kind"], row["bits"], row["start_s"]) == ("analog", 0, told["end_s"])
        assert row["airtime_s"] == pytest.approx(0.002 + math.ceil(ENTRIES / 2) / 1e6)
    after = result.rounds["latency_s"].iloc[2]
    assert after == sums[0]["end_s"]


def test_without_noise_and_threshold_it_learns_what_float32_learns() -> None:
    digital = replace(SCENARIO, uplink=Uplink(link=QUIET))
    one, other = (run(scenario).rounds for scenario in (SCENARIO, digital))
    assert list(one["loss"]) == pytest.approx(list(other["loss"]), rel=1e-4)
    assert list(one["arrived"].iloc[1:]) == [5, 5, 5]
    assert one["uplink_bits"].iloc[-1] < other["uplink_bits"].iloc[-1]


def test_who_fades_below_the_threshold_has_not_arrived() -> None:
    analog = OverTheAir(threshold=0.7)
    rounds = run(replace(SCENARIO, uplink=Uplink(link=QUIET, analog=analog), stop=Stop(rounds=8))).rounds
    arrived = rounds["arrived"].iloc[1:]
    # e^-0.7 of five, on average.
    assert 0 < arrived.mean() < 5
    assert arrived.mean() == pytest.approx(5 * math.exp(-0.7), abs=5 * math.sqrt(0.25 * 5 / 8))


def test_who_could_not_report_is_not_in_the_sum() -> None:
    link = Wireless(loss=Packet(probability=0.4), retransmission=Arq(tries=1, mtu_bytes=100))
    result = run(replace(SCENARIO, uplink=Uplink(link=link, analog=OverTheAir(threshold=0.01))))
    transfers = result.transfers
    reports = transfers[transfers["stream"] == "statistics"]
    reports = reports[reports["direction"] == "uplink"]
    heard = reports[reports["lost"].map(len) == 0]
    assert 0 < len(heard) < len(reports) == 15
    summed = transfers[transfers["kind"] == "analog"]
    key = ["round", "ues"]
    assert set(summed[key].itertuples(index=False, name=None)) == set(
        heard[key].itertuples(index=False, name=None)
    )


def test_the_forecast_is_what_a_round_takes() -> None:
    experiment = parse(
        {
            "data": {"kind": "synthetic", "train_samples": 200, "test_samples": 50},
            "model": {"kind": "softmax"},
            "population": {"ues": 5},
            "compute": {"kind": "per_sample", "seconds_per_sample": 0.01},
            "uplink": {"link": {"kind": "shannon", "fading": "none"}, "analog": {"sync_s": 0.5}},
        }
    )
    text = preview(experiment)
    uplink_s = float(text.splitlines()[-1].split()[-2])
    rounds = run(experiment.base).rounds["latency_s"].diff()
    assert 0.5 < uplink_s < 0.52
    assert rounds.mean() == pytest.approx(uplink_s + 0.4, rel=0.02)


class _Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(20), nn.Linear(20, 10))

    def forward(self, x):
        return self.layers(x)


def test_what_a_sum_can_not_do_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(ConfigError, match=r"population\.aggregator = 'pairwise' must be 'fedavg' where"):
        replace(SCENARIO, population=Population(ues=5, aggregator=Pairwise()))
    hook = sy.TorchHook(torch, transport=sy.Transport(uplink=SCENARIO.uplink, cell=SCENARIO.cell))
    model = nn.Linear(2, 2).send(sy.VirtualWorker(hook=hook, id="ue0"))  # type: ignore[operator]
    with pytest.raises(TransportError, match=r"'ue0' can't send its model by itself where uplink\.analog"):
        model.get()
    with pytest.raises(ConfigError, match=r"has buffers .* use GroupNorm"):
        run(SCENARIO, model=_Normed)
