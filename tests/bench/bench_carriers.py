"""Host time of one exchange between PySyft peers, plain and in envelopes, and the envelope's bytes.

Run: ``python tests/bench/bench_carriers.py``. One frame is handed over from the base station to a UE or back. The
frames are as long as the 1.2 M parameter CNN's in float32 (4.8 MB) and in 4 bits (0.6 MB), and as a short message.
Medians; both ways in turn. With ``--check`` the exit code is 1 where an exchange takes more than five times what it did
when this was written.
"""

from __future__ import annotations

import sys
import time
from itertools import product
from statistics import median

from syft_fl.keys import Key
from syft_fl.transport import SyftCarrier

LENGTHS = {"4.8 MB": 4_799_564, "0.6 MB": 599_977, "100 B": 100}
ROUNDS, PAIRS = 31, 20
NEEDS = ["syft"]
# Milliseconds.
MOST = {
    ("4.8 MB", "plain"): 5.0,
    ("4.8 MB", "encrypted"): 90.0,
    ("0.6 MB", "plain"): 2.0,
    ("0.6 MB", "encrypted"): 25.0,
    ("100 B", "plain"): 1.5,
    ("100 B", "encrypted"): 15.0,
}
WAYS = {"down": ("bs", "ue"), "up": ("ue", "bs")}


def main() -> int:
    carriers = {"plain": SyftCarrier().open("bs"), "encrypted": SyftCarrier(encrypted=True).open("bs")}
    print(
        f"PySyft {carriers['plain'].report()['syft']}; ready in {carriers['plain'].report()['setup_s']:.2f} s"
    )
    times: dict[tuple[str, str, str], list[float]] = {}
    for size, length in LENGTHS.items():
        frame = Key(0).numpy().bytes(length)
        for name, carrier in carriers.items():
            # Sizes in turn would be charged for the page faults after each other's freed memory.
            for _, way in product(range(ROUNDS), WAYS):
                sender, receiver = WAYS[way]
                start = time.perf_counter()
                received = carrier.hand_over(frame, sender=sender, receiver=receiver)
                times.setdefault((size, name, way), []).append(time.perf_counter() - start)
                assert received == frame
    over = []
    print(f"{'frame':<9}{'envelope':<11}{'down [ms]':>10}{'up [ms]':>10}")
    for size in LENGTHS:
        for name in carriers:
            down, up = (1e3 * median(times[size, name, way]) for way in WAYS)
            print(f"{size:<9}{name:<11}{down:>10.2f}{up:>10.2f}")
            over += [f"{size} {name}"] if max(down, up) > MOST[size, name] else []
    for name, carrier in carriers.items():
        before = carrier.report()
        for number in range(PAIRS):
            carrier.hand_over(b"", sender="bs", receiver=f"ue{number}")
        pairing_s = (carrier.report()["setup_s"] - before["setup_s"]) / PAIRS
        added = before["envelope_bytes"] / before["frames"]
        print(
            f"{name}: {added:.0f} bytes of envelope per frame; {1e3 * pairing_s:.1f} ms to pair with a new UE"
        )
        carrier.close()
    if "--check" in sys.argv and over:
        print(f"past its bound: {', '.join(over)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
