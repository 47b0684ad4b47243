"""Tiny runs against pinned traces: two transmission by transmission, others as stories, message by message.

Times and bits over constant rates don't depend on the processor, and what triggers compare is told in four digits, so
the traces hold on every machine. After a change that is meant to move them: ``python tests/golden/test_trace.py`` pins
them again, and the diff is for review.
"""

from pathlib import Path
from typing import Any

import pytest

from syft_fl.experiment import parse, run

TRACES = Path(__file__).parent
BASE: dict[str, Any] = {
    "seed": 1,
    "data": {"kind": "synthetic", "train_samples": 48, "test_samples": 10},
    "model": "softmax",
    "population": {"ues": 4, "cohort": 3},
    "training": {"batch_size": 8},
    "compute": {"kind": "per_sample", "seconds_per_sample": 0.01},
    "stop": {"rounds": 3},
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "tdma-multicast": BASE
    | {
        "uplink": {
            "codec": {"kind": "uniform", "bits": 4},
            "link": {"kind": "constant", "rate_bps": 1e4, "latency_s": 0.01},
        },
        "downlink": {"link": {"kind": "constant", "rate_bps": 1e5, "latency_s": 0.02}},
    },
    "ofdma-unicast-deltas": BASE
    | {
        "uplink": {
            "codec": {"kind": "qsgd", "levels": 7, "block": 64},
            "error_feedback": True,
            "link": {"kind": "constant", "rate_bps": 1e4},
            "access": "ofdma",
        },
        "downlink": {
            "codec": {"kind": "uniform", "bits": 8},
            "cast": "unicast",
            "link": {"kind": "constant", "rate_bps": 1e5},
        },
    },
}


LOSSY = {
    "kind": "wireless",
    "bandwidth_hz": 1e4,
    "rate": {"kind": "fixed", "bps_per_hz": 1.0},
    "loss": {"kind": "packet", "probability": 0.25},
    "retransmission": {"kind": "arq", "mtu_bytes": 100, "tries": 2, "feedback_s": 0.01},
}
"""Of a constant rate; a frame of one packet is lost one time in 16, one of two packets almost twice as often."""

STORIES: dict[str, dict[str, Any]] = {
    "event-triggered": BASE
    | {
        "uplink": {"codec": {"kind": "uniform", "bits": 4}, "error_feedback": True, "link": LOSSY},
        "downlink": {"codec": {"kind": "uniform", "bits": 8}, "link": LOSSY | {"bandwidth_hz": 1e5}},
        "trigger": {"kind": "norm", "tau": 0.31},
        "protocol": {"acknowledgements": "sent", "grants": True, "timeout_s": 0.1, "patience_s": 2.0},
        "stop": {"rounds": 4},
    },
    "first-k-late": BASE
    | {
        "population": {
            "ues": 4,
            "slowdown": {"kind": "stragglers", "ues": ["ue1", "ue3"], "times": 4.0},
            "closing": {"kind": "first", "updates": 2},
            "late": {"kind": "polynomial"},
        },
        "uplink": {
            "codec": {"kind": "uniform", "bits": 4},
            "link": {"kind": "constant", "rate_bps": 1e4},
        },
        "downlink": {"link": {"kind": "constant", "rate_bps": 1e5}},
        "stop": {"rounds": 6},
    },
    "fedbuff": BASE
    | {
        "population": {
            "ues": 4,
            "cohort": 3,
            "slowdown": {"kind": "uniform", "low": 0.2, "high": 5.0, "per": "ue"},
            "asynchronous": {"kind": "fedbuff", "buffer": 2},
        },
        "uplink": {
            "codec": {"kind": "uniform", "bits": 4},
            "link": {"kind": "constant", "rate_bps": 1e4},
        },
        "downlink": {"link": {"kind": "constant", "rate_bps": 1e5}},
        "stop": {"rounds": 5},
    },
}


def trace(name: str) -> str:
    """A story; else one line per transmission, in order of arrival."""
    if name in STORIES:
        return f"{run(parse(STORIES[name])).trace()}\n"
    rows = run(parse(SCENARIOS[name])).transfers.to_dict("records")
    return "".join(
        f"round {row['round']}  {row['direction']:<8}  {','.join(row['ues']):<12}  serial {row['serial']}  "
        f"{row['raw_bits']:>5} -> {row['payload_bits']:>4} -> {row['bits']:>4} bits  offered {row['offered_s']:.6f}  "
        f"air {row['start_s']:.6f} … {row['end_s']:.6f} s  {row['energy_j']:.6f} J\n"
        for row in rows
    )


@pytest.mark.filterwarnings("ignore:rho")  # compute is given, so that the times are round numbers
@pytest.mark.parametrize("name", [*SCENARIOS, *STORIES])
def test_a_run_leaves_its_pinned_trace(name: str) -> None:
    assert trace(name) == (TRACES / f"{name}.txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    for scenario in (*SCENARIOS, *STORIES):
        (TRACES / f"{scenario}.txt").write_text(trace(scenario), encoding="utf-8")
