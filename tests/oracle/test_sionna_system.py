"""Sionna's system level against ours: open-loop power control, and who is served under proportional fairness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest

from syft_fl.keys import Key
from syft_fl.radio import Cell, Fractional, Links, LogDistance, NoFading, Wireless
from syft_fl.radio.flow import Flow
from syft_fl.radio.offers import Offer
from syft_fl.radio.scheduler import SlotScheduler
from syft_fl.radio.turns import Memory

if find_spec("sionna") is None:
    pytest.skip("the oracle is Sionna: pip install 'syft_fl[radio]'", allow_module_level=True)

import torch
from sionna.sys import PFSchedulerSUMIMO, open_loop_uplink_power_control

UES = 6
SLOTS = 400


@pytest.mark.parametrize("alpha", [0.0, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("blocks", [1, 10, 50])
def test_fractional_power_control_is_sionnas(alpha: float, blocks: int) -> None:
    distances_m = (20.0, 100.0, 300.0, 500.0)
    link = Wireless(
        power_dbm=23.0,
        bandwidth_hz=50 * 180e3,
        path=LogDistance(shadowing_db=0.0),
        fading=NoFading(),
        power_control=Fractional(p0_dbm=-80.0, alpha=alpha),
    ).link(Cell(distances_m=distances_m), Key(0), "uplink")
    losses = [1.0 / link.mean_gain(f"ue{k}", time_s=0.0) for k in range(4)]
    theirs_w = open_loop_uplink_power_control(
        torch.tensor(losses, dtype=torch.float64),
        torch.full((4,), 12 * blocks),
        alpha=alpha,
        p0_dbm=-80.0,
        ut_max_power_dbm=23.0,
        precision="double",
    ).numpy()
    ours_w = [link.transmit_power_w(f"ue{k}", share=blocks / 50, block=0, time_s=0.0) for k in range(4)]
    np.testing.assert_allclose(ours_w, theirs_w, rtol=1e-9)
    # The cap and what is below it are both met.
    assert max(ours_w) <= 10**-0.7 * (1 + 1e-12)


@dataclass(frozen=True)
class Rates:
    """A link whose rates are given, slot by slot of a second; in proportion to the share."""

    rates_bps: np.ndarray
    latency_s: float = 0.0

    def transmit_power_w(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return 1.0

    def rate_bps(self, ue: str, *, share: float, block: int, time_s: float) -> float:
        return share * float(self.rates_bps[math.floor(time_s), int(ue[2:])])

    def steady_until_s(self, *, time_s: float) -> float:
        return math.floor(time_s) + 1.0


@pytest.mark.parametrize("window", [5.0, 20.0, 100.0])
def test_proportional_fairness_serves_whom_sionna_serves(window: float) -> None:
    draws = Key(4).numpy().exponential(size=(SLOTS, UES)) * np.geomspace(1e5, 1e7, UES)
    links = Links(Rates(draws))
    flows = [Flow(Offer(0.0, k, (f"ue{k}",), 10**12, 0.0, 0, (0,)), links) for k in range(UES)]
    ours = SlotScheduler(groups=1, slot_s=1.0, policy="proportional", window=window)
    theirs = PFSchedulerSUMIMO(UES, 1, 1, beta=1.0 - 1.0 / window, precision="double", device="cpu")
    memory, last = Memory(), torch.zeros(UES, dtype=torch.float64)
    served = []
    for slot in range(SLOTS):
        turn = ours.turn(flows, links, float(slot), memory)
        memory = Memory(of_ues={**memory.of_ues, **turn.memory.of_ues})
        (grant,) = turn.grants
        rates = torch.from_numpy(draws[slot])
        chosen = theirs(last, rates.reshape(1, 1, UES)).reshape(UES)
        last = torch.where(chosen, rates, torch.zeros(UES, dtype=torch.float64))
        assert grant.flow.offer.ues[0] == f"ue{int(chosen.int().argmax())}", slot
        served.append(grant.flow.offer.ues[0])
    # Everybody is served, though one has a hundred times another's rate.
    assert set(served) == {f"ue{k}" for k in range(UES)}
