"""How long the host takes to schedule a round, under each access scheme, against TDMA in the same run.

``python tests/bench/bench_access.py``: UEs at different places upload 251,200 bits each (7,850 parameters in float32)
at once, over a Shannon uplink of 1 MHz. Slots are 0.1 s, for the UE that is worst off takes minutes.
With ``--check`` only 100 UEs do so, and the exit code is 1 where a scheme takes more than about three times what it did
when this was written.
"""

from __future__ import annotations

import math
import sys
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
# Times TDMA's host time, of 100 UEs.
MOST = {
    "tdma": 3,
    "ofdma": 3,
    "ofdma-fair": 8,
    "noma": 12,
    "round-robin": 500,
    "proportional": 550,
    "max-rate": 550,
    "aloha": 300,
    "csma": 200,
}


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


def main() -> int:
    check, over = "--check" in sys.argv, []
    for ues in (100,) if check else (100, 1000):
        base_s = min(scheduled(Tdma(), ues)[0] for _ in range(3))
        print(f"{ues} UEs; TDMA takes the host {base_s:.3f} s")
        for name, access in SCHEMES:
            host_s, end_s, events = scheduled(access, ues)
            if ues == 100 and host_s > MOST[name] * base_s:
                over.append(name)
            print(
                f"  {name:13s} {host_s / base_s:7.1f} times TDMA's host time ({host_s:.3f} s), "
                f"{events / ues:6.1f} events a UE, round of {end_s:.4g} simulated s"
            )
    if check and over:
        print(f"past its bound: {', '.join(over)}", file=sys.stderr)
    return int(check and bool(over))


if __name__ == "__main__":
    sys.exit(main())
