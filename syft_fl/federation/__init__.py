"""UEs, base station and rounds on the simulated clock; the balance between transmission and compute."""

from syft_fl.federation.balance import (
    Budget,
    expected_downlink_phase_s,
    expected_uplink_phase_s,
    mean_samples,
    measure,
    settle,
    upload_bits,
)
from syft_fl.federation.cohort import choose_cohort, ue_name
from syft_fl.federation.computation import Computation
from syft_fl.federation.scenario import Population, Scenario, Stop
from syft_fl.federation.simulation import BS, RoundRecord, Simulation, check_fits
from syft_fl.federation.ue import UE

__all__ = [
    "BS",
    "UE",
    "Budget",
    "Computation",
    "Population",
    "RoundRecord",
    "Scenario",
    "Simulation",
    "Stop",
    "check_fits",
    "choose_cohort",
    "expected_downlink_phase_s",
    "expected_uplink_phase_s",
    "mean_samples",
    "measure",
    "settle",
    "ue_name",
    "upload_bits",
]
