"""How long 100 re-timings of a run take: 100 UEs, 50 rounds, constant and Shannon links, TDMA and static OFDMA.

``python tests/bench/bench_retime.py``; with ``--check`` it fails where 100 re-timings of a cohort of 100 or of 10 take
more than 5 s of this process's time. The tables of the run are made up (nothing is trained); each re-timing has another
rate or power. Beside that it tells what the same takes event by event, to which it is equal to the bit; ``--slower``:
also fading in time, and media that go slot by slot or share by share.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from syft_fl.experiment import Result, parse
from syft_fl.federation import Recording, Scenario, replay, ue_name
from syft_fl.federation.replay import RealMedia
from syft_fl.keys import Key
from syft_fl.schema import plain

UES, ROUNDS, TIMES, MOST_S = 100, 50, 100, 5.0
BITS = 8 * 4000
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "constant, tdma": ({"kind": "constant"}, {"kind": "tdma"}),
    "constant, ofdma": ({"kind": "constant"}, {"kind": "ofdma"}),
    "shannon, tdma": ({"kind": "shannon"}, {"kind": "tdma"}),
    "shannon, ofdma": ({"kind": "shannon"}, {"kind": "ofdma"}),
}
SLOWER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "shannon in time, tdma": ({"kind": "shannon", "fading_block": "time"}, {"kind": "tdma"}),
    "shannon, ofdma-fair": ({"kind": "shannon"}, {"kind": "ofdma-fair"}),
    "shannon, scheduler": ({"kind": "shannon"}, {"kind": "scheduler"}),
}


def scenario_of(cohort: int, link: dict[str, Any], access: dict[str, Any]) -> Scenario:
    return parse(
        {
            "population": {"ues": UES, "cohort": cohort},
            "compute": {"kind": "per_sample", "seconds_per_sample": 1e-4},
            "uplink": {"link": link, "access": access},
            "downlink": {"link": link},
            "stop": {"rounds": ROUNDS},
        }
    ).base


def recorded(cohort: int) -> Result:
    """A result with the tables of a run of this cohort, whose accuracies and times are made up."""
    scenario = scenario_of(cohort, {"kind": "constant"}, {"kind": "tdma"})
    rounds: list[dict[str, Any]] = [_row(0, cohort)]
    sent, computed = [], []
    for number in range(1, ROUNDS + 1):
        drawn = (Key(0) / "cohort" / number).numpy().choice(UES, cohort, replace=False)
        ues = tuple(map(ue_name, sorted(drawn.tolist())))
        rounds.append(_row(number, cohort))
        sent.append(_transfer(number, "downlink", ues, number))
        sent += [_transfer(number, "uplink", (ue,), number) for ue in ues]
        computed += [
            {"round": number, "ue": ue, "samples": 150.0, "end_s": 0.0, "energy_j": 0.0} for ue in ues
        ]
    return Result.of("made up", plain(scenario), rounds, sent, computations=computed)


def _row(number: int, cohort: int) -> dict[str, Any]:
    numbers = dict.fromkeys(("energy_j", "ue_energy_j", "uplink_transmit_energy_j"), 0.0)
    numbers |= dict.fromkeys(("downlink_transmit_energy_j", "receive_energy_j", "compute_energy_j"), 0.0)
    bits = {"uplink_bits": 0, "downlink_bits": 0}
    measured = {"round": number, "latency_s": 0.0, "accuracy": 0.5, "loss": 1.0, "train_loss": 1.0}
    return {**measured, **bits, **numbers, "cohort": cohort, "arrived": cohort}


def _transfer(number: int, direction: str, ues: tuple[str, ...], serial: int) -> dict[str, Any]:
    sizes = {"serial": serial, "raw_bits": BITS, "payload_bits": BITS, "bits": BITS + 288}
    times = dict.fromkeys(("offered_s", "start_s", "end_s", "airtime_s"), 0.0)
    spent = {"attempts": 1, "energy_j": 0.0, "receive_energy_j": 0.0, "lost": (), "missing_bits": 0}
    facts = {"round": number, "direction": direction, "kind": "model", "stream": "model", "ues": ues}
    return {**facts, **sizes, **times, **spent}


def variations(cohort: int, link: dict[str, Any], access: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for step in range(TIMES):
        changed = (
            {"rate_bps": 1e6 * (1 + step)} if link["kind"] == "constant" else {"power_dbm": 5.0 + step / 10}
        )
        yield {"uplink": {"link": {**link, **changed}, "access": access}, "downlink": {"link": link}}


def seconds(work: Callable[..., object], *arguments: Any) -> tuple[float, float]:
    """By the clock, and of this process."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - start_s, time.process_time() - start_cpu_s


def all_of(result: Result, changes: list[dict[str, Any]]) -> None:
    for change in changes:
        result.retime(**change)


def by_events(recording: Recording, scenario: Scenario) -> None:
    replay(recording, scenario, air=RealMedia(scenario))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="fail where 100 re-timings take more than 5 s")
    parser.add_argument("--slower", action="store_true", help="also the media without a bound")
    arguments = parser.parse_args()
    too_slow = []
    for cohort in (100, 10):
        result = recorded(cohort)
        _, first_s = seconds(all_of, result, list(variations(cohort, *KINDS["shannon, ofdma"]))[:1])
        print(f"cohort {cohort}: the first re-timing, which reads tables, {1e3 * first_s:.0f} ms")
        for name, (link, access) in KINDS.items():
            clock_s, spent_s = seconds(all_of, result, list(variations(cohort, link, access)))
            _, event_s = seconds(by_events, result.recording, scenario_of(cohort, link, access))
            print(
                f"  {name:<22} {TIMES} in {spent_s:5.2f} s of this process ({clock_s:.2f} s by the clock); "
                f"event by event {1e3 * event_s:.0f} ms each"
            )
            if spent_s > MOST_S:
                too_slow.append(f"{name}, cohort {cohort}: {spent_s:.2f} s")
        for name, (link, access) in SLOWER.items() if arguments.slower else ():
            _, event_s = seconds(replay, result.recording, scenario_of(cohort, link, access))
            print(f"  {name:<22} event by event {1e3 * event_s:.0f} ms each")
    if arguments.check and too_slow:
        print(f"more than {MOST_S} s for {TIMES} re-timings: {'; '.join(too_slow)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
