"""Time of encode + decode of every codec, as a multiple of ``x.clone()`` in the same run.

Run: ``python tests/bench/bench_codecs.py``. One thread; the medians are over interleaved rounds, so that a
machine that gets slower meanwhile slows down all alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from syft_fl.codecs import QSGD, Codec, Context, Float16, Float32, Uniform
from syft_fl.keys import Key
from syft_fl.vectors import Layout

ENTRIES = 1_199_882
ROUNDS = 41

CASES: dict[str, tuple[Codec, float | None]] = {
    "float32": (Float32(), None),
    "float16": (Float16(), 15),
    **{
        f"uniform {bits}": (Uniform(bits=bits), 15 if bits == 8 else None) for bits in (1, 2, 4, 6, 8, 12, 16)
    },
    "uniform 8, blocks of 512": (Uniform(block=512), None),
    **{
        f"uniform {bits} stochastic": (Uniform(bits=bits, rounding="stochastic"), 80) for bits in (1, 2, 4, 8)
    },
    "qsgd 7": (QSGD(), 100),
    "qsgd 7, one bucket": (QSGD(block="vector"), 100),
    "qsgd 16": (QSGD(levels=16), 100),
    "qsgd 127": (QSGD(levels=127), 100),
}
"""Codec, and the most it should cost in clones."""


def round_trip(codec: Codec, x: torch.Tensor, ctx: Context) -> Callable[[], object]:
    return lambda: codec.decode(codec.encode(x, ctx=ctx)[0], ctx=ctx)


def seconds(call: Callable[[], object]) -> float:
    call()  # brings its memory in, or a clone after a codec is charged for page faults, 20 times its own cost
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    x = torch.randn(ENTRIES, generator=Key(0).torch())
    ctx = Context(Layout.flat(ENTRIES), Key(1))
    calls = {name: round_trip(codec, x, ctx) for name, (codec, _) in CASES.items()} | {"clone": x.clone}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(seconds(call))
    clone = median(times["clone"])
    print(f"{ENTRIES} float32 entries; clone {clone * 1e3:.3f} ms")
    print(f"{'codec':<26}{'ms':>8}{'clones':>8}{'at most':>9}")
    for name, (_, most) in CASES.items():
        taken = median(times[name])
        print(f"{name:<26}{taken * 1e3:>8.2f}{taken / clone:>8.1f}{most or '':>9}")


if __name__ == "__main__":
    main()
