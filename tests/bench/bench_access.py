"""How long the host takes to schedule a round, under each access scheme, against TDMA in the same run.

``python tests/bench/bench_access.py``: UEs at different places upload 251,200 bits each (7,850 parameters in float32)
at once, over a Shannon uplink of 1 MHz. Slots are 0.1 s, for the UE that is worst off takes minutes.
"""

from __future__ import annotations

import math
import time

from syft_fl.keys import Key
from syft_fl.radio import Access, Aloha, Cell, Csma, FairOfdma, Noma, Ofdma, Scheduler, Shannon, Tdma

BITS = 251_200
SCHEMES: list[tuple[str, Access]] = [
    ("tdma", Tdma()),
    ("ofdma", Ofdma()),
    ("ofdma-fair", FairOfdma()),
    ("noma", Noma()),
    ("round-robin", Scheduler(policy="round-robin", groups=50, slot_s=0.1)),
    ("proportional", Scheduler(policy="proportional", groups=50, slot_s=0.1)),
    ("max-rate", Scheduler(policy="max-rate", groups=50, slot_s=0.1)),
    ("aloha", Aloha(slot_s=0.1)),
    ("csma", Csma()),
]


def scheduled(access: Access, ues: int) -> tuple[float, float, int]:
    """Host time [s], simulated time [s] and events of one round."""
    started = time.perf_counter()
    medium = access.open(Shannon().link(Cell(), Key(0), "uplink"), users=ues, key=Key(0))
    for k in range(ues):
        medium.offer([f"ue{k}"], BITS, now_s=0.0, block=1)
    events, end_s = 0, 0.0
    while (event_s := medium.next_event_s()) < math.inf:
        ended = medium.advance(event_s)
        events += 1
        end_s = ended[-1].end_s if ended else end_s
    return time.perf_counter() - started, end_s, events


def main() -> None:
    for ues in (100, 1000):
        base_s = min(scheduled(Tdma(), ues)[0] for _ in range(3))
        print(f"{ues} UEs; TDMA takes the host {base_s:.3f} s")
        for name, access in SCHEMES:
            host_s, end_s, events = scheduled(access, ues)
            print(
                f"  {name:13s} {host_s / base_s:7.1f} times TDMA's host time ({host_s:.3f} s), "
                f"{events / ues:6.1f} events a UE, round of {end_s:.4g} simulated s"
            )


if __name__ == "__main__":
    main()
