"""Bits and time of every coder on the symbols of a 4-bit quantiser, and of sets of indices.

Run: ``python tests/bench/bench_coders.py``. The medians are over interleaved rounds, as in ``bench_codecs.py``.
With ``--check`` the exit code is 1 where the coders that follow a model need more than a thousandth above the ideal,
another one more than half of it above, or any more than about five times as long as when this was written.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from syft_fl.codecs.coders import CODERS, Alphabet, Coder, read_indices, write_indices
from syft_fl.codecs.lloyd_max import lloyd_max_levels
from syft_fl.keys import Key

ENTRIES = 1_199_882
ROUNDS = 15
BITS = 4

CASES: tuple[dict[str, Any], ...] = (
    {"kind": "fixed"},
    {"kind": "elias-gamma"},
    {"kind": "elias-delta"},
    *(
        {"kind": kind, "model": model}
        for kind in ("range", "ans")
        for model in ("sent", "static", "adaptive")
    ),
    {"kind": "zstd"},
    {"kind": "zstd", "level": 19},
)
DENSITIES = (0.001, 0.01, 0.1)
# Of the ideal bits, and milliseconds; zstd's highest level is meant to be slow.
MOST_BITS, MOST_MS, MOST_MS_19 = 1.5, 150.0, 700.0


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def coder_calls(
    coder: Coder, symbols: Any, alphabet: Alphabet
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    written = coder.write(symbols, alphabet)
    body = memoryview(written.body)
    return (
        lambda: coder.write(symbols, alphabet),
        lambda: coder.read(body, written.bits, alphabet, count=symbols.size),
    )


def index_calls(indices: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    body = memoryview(write_indices(indices, ENTRIES).body)
    return (
        lambda: write_indices(indices, ENTRIES),
        lambda: read_indices(body, ENTRIES, count=indices.size),
    )


def main() -> int:
    x = Key(0).numpy().standard_normal(ENTRIES)
    levels, chances = lloyd_max_levels("gaussian", BITS)
    symbols = np.searchsorted((levels[1:] + levels[:-1]) / 2, x).astype(np.uint8)
    alphabet = Alphabet(1 << BITS, 1 << BITS - 1, chances)
    counts = np.bincount(symbols)
    entropy = -np.sum(counts * np.log2(counts / ENTRIES))
    rows = {
        " ".join(str(value) for value in fields.values()): (
            *coder_calls(CODERS.build(fields), symbols, alphabet),
            ENTRIES,
            float(entropy) / ENTRIES,
        )
        for fields in CASES
    }
    for part in DENSITIES:
        indices = np.flatnonzero(Key(1).numpy().random(ENTRIES) < part)
        p = indices.size / ENTRIES
        ideal = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) / p
        rows[f"indices, {100 * part:g} %"] = (*index_calls(indices), indices.size, float(ideal))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, (write, read, _, _) in rows.items():
            times[name].append((seconds(write), seconds(read)))
    print(f"{ENTRIES} symbols of {BITS} bits, or as many entries to choose indices from")
    over: list[str] = []
    print(f"{'coder':<18}{'bits each':>10}{'ideal':>8}{'write ms':>10}{'read ms':>10}")
    for name, (write, _, count, least) in rows.items():
        taken = [1e3 * median(column) for column in zip(*times[name], strict=True)]
        bits = write().bits / count
        print(f"{name:<18}{bits:>10.4f}{least:>8.4f}{taken[0]:>10.2f}{taken[1]:>10.2f}")
        over += [name] if past_a_bound(name, bits / least, taken) else []
    if "--check" in sys.argv and over:
        print(f"past its bound: {', '.join(over)}", file=sys.stderr)
        return 1
    return 0


def past_a_bound(name: str, bits: float, taken_ms: list[float]) -> bool:
    """Whether the bits, over the ideal, or the milliseconds to write or to read are."""
    slow = MOST_MS_19 if name == "zstd 19" else MOST_MS
    return bits > (1.001 if name.startswith(("range", "ans")) else MOST_BITS) or max(taken_ms) > slow


if __name__ == "__main__":
    sys.exit(main())
