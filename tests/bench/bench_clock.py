"""A million events on the clock against a bare heap of tuples, in one process.

``python tests/bench/bench_clock.py``: as many events as ``--events``, at random times that are the same for both, are
scheduled with a value each and taken out again: all in and then all out (``filled``), and as in a run, where a
thousand wait and each schedules its successor (``running``). The bare loop pushes and pops tuples (time, rank,
serial, payload) and has no line of ours. Both are timed in turn, without the garbage collector's pauses, and the least
processor time of each counts. ``--check``: fail where the clock takes more than 3 times as long.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import sys
import time
from collections.abc import Callable

from syft_fl.clock import Clock
from syft_fl.keys import Key

MOST = 3.0
WAITING = 1000


def bare_filled(times_s: list[float]) -> None:
    heap: list[tuple[float, int, int, object]] = []
    for serial, time_s in enumerate(times_s):
        heapq.heappush(heap, (time_s, 0, serial, {"ue": serial}))
    while heap:
        heapq.heappop(heap)


def our_filled(times_s: list[float]) -> None:
    clock = Clock()
    for serial, time_s in enumerate(times_s):
        clock.schedule(time_s, "upload", ue=serial)
    while len(clock):
        clock.pop()


def bare_running(waits_s: list[float]) -> None:
    heap: list[tuple[float, int, int, object]] = []
    for serial, wait_s in enumerate(waits_s[:WAITING]):
        heapq.heappush(heap, (wait_s, 0, serial, {"ue": serial}))
    for serial, wait_s in enumerate(waits_s[WAITING:], WAITING):
        now_s, _, _, _ = heapq.heappop(heap)
        heapq.heappush(heap, (now_s + wait_s, 0, serial, {"ue": serial}))
    while heap:
        heapq.heappop(heap)


def our_running(waits_s: list[float]) -> None:
    clock = Clock()
    for serial, wait_s in enumerate(waits_s[:WAITING]):
        clock.schedule(wait_s, "upload", ue=serial)
    for serial, wait_s in enumerate(waits_s[WAITING:], WAITING):
        clock.pop()
        clock.schedule(clock.now_s + wait_s, "upload", ue=serial)
    while len(clock):
        clock.pop()


CASES = {"filled": (bare_filled, our_filled), "running": (bare_running, our_running)}


def seconds(work: Callable[[list[float]], None], times_s: list[float]) -> float:
    gc.collect()
    gc.disable()
    try:
        start_s = time.process_time()
        work(times_s)
        return time.process_time() - start_s
    finally:
        gc.enable()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help=f"fail where the ratio is above {MOST}")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    times_s = Key(0).numpy().random(arguments.events).tolist()
    failed = []
    for name, (bare, ours) in CASES.items():
        rows = [(seconds(bare, times_s), seconds(ours, times_s)) for _ in range(arguments.repeats)]
        bare_s, our_s = (min(column) for column in zip(*rows, strict=True))
        ratio = our_s / bare_s
        print(
            f"{name:<8} {arguments.events:,} events: heap {bare_s:.2f} s, clock {our_s:.2f} s, ratio {ratio:.2f}"
        )
        failed += [f"{name} {ratio:.2f}"] if ratio > MOST else []
    if arguments.check and failed:
        sys.exit(f"the clock takes more than {MOST} times as long as a heap: {', '.join(failed)}")


if __name__ == "__main__":
    main()
