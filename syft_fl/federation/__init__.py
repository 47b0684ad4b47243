"""UEs, base station and rounds on the simulated clock; the balance between transmission and compute."""

from syft_fl.federation.availability import (
    AVAILABILITIES,
    Availability,
    MarkovAvailability,
    PeriodicAvailability,
)
from syft_fl.federation.availability_trace import AvailabilityTrace
from syft_fl.federation.balance import (
    Budget,
    ExpectedRounds,
    charged_samples,
    compute_times,
    expected_downlink_phase_s,
    expected_rounds,
    expected_uplink_phase_s,
    mean_compute_s,
    mean_samples,
    mean_slowdown,
    measure,
    settle,
    upload_bits,
)
from syft_fl.federation.cohort import choose_cohort, look, ue_name
from syft_fl.federation.computation import Computation
from syft_fl.federation.deadline import Deadline
from syft_fl.federation.failures import Failures
from syft_fl.federation.fitting import check_fits
from syft_fl.federation.recording import Recording
from syft_fl.federation.replay import Retimed, replay
from syft_fl.federation.retiming import check_retimable, learning_of, why_not
from syft_fl.federation.scenario import Population, Scenario, Stop
from syft_fl.federation.selection import (
    SELECTIONS,
    Age,
    BestChannel,
    Measured,
    ProportionalFair,
    Random,
    RoundRobin,
    RoundView,
    Selection,
)
from syft_fl.federation.simulation import BS, RoundRecord, Simulation
from syft_fl.federation.slowing import expected_slowdown, slowdown_of
from syft_fl.federation.ue import UE

__all__ = [
    "AVAILABILITIES",
    "BS",
    "SELECTIONS",
    "UE",
    "Age",
    "Availability",
    "AvailabilityTrace",
    "BestChannel",
    "Budget",
    "Computation",
    "Deadline",
    "ExpectedRounds",
    "Failures",
    "MarkovAvailability",
    "Measured",
    "PeriodicAvailability",
    "Population",
    "ProportionalFair",
    "Random",
    "Recording",
    "Retimed",
    "RoundRecord",
    "RoundRobin",
    "RoundView",
    "Scenario",
    "Selection",
    "Simulation",
    "Stop",
    "charged_samples",
    "check_fits",
    "check_retimable",
    "choose_cohort",
    "compute_times",
    "expected_downlink_phase_s",
    "expected_rounds",
    "expected_slowdown",
    "expected_uplink_phase_s",
    "learning_of",
    "look",
    "mean_compute_s",
    "mean_samples",
    "mean_slowdown",
    "measure",
    "replay",
    "settle",
    "slowdown_of",
    "ue_name",
    "upload_bits",
    "why_not",
]
