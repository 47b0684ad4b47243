"""Claims of codecs that send a vector's shadow on fewer numbers: factors of low rank, sketches."""

from __future__ import annotations

from typing import Any

import numpy as np

from claims.claim import DENORMAL, ROUNDING, Claim, Numbers, always
from syft_fl.vectors import Layout

HALF = 2.0**-11  # float16's relative error
LEAST_HALF = 2.0**-25
LARGEST_HALF = 65504.0


def matrices(codec: Any, x: Numbers, layout: Layout) -> list[tuple[Numbers, bool]]:
    """Each tensor's entries, and whether it is written as two factors."""
    found = []
    for slot in layout.slots:
        rows = slot.shape[0] if len(slot.shape) > 1 else 1
        columns = slot.length // max(rows, 1)
        found.append((x[slot.start : slot.stop], codec.rank * (rows + columns) < rows * columns))
    return found


def factored_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    """Nothing where a tensor is written as it is; a projection is off by no more than the whole matrix."""
    parts = [np.empty(0)]
    for entries, factored in matrices(codec, x, layout):
        norm = np.sqrt(np.sum(entries**2))
        kept = np.zeros(entries.size)
        if codec.codec.kind == "float16":
            size = np.abs(entries)
            kept = np.maximum(size * HALF + LEAST_HALF, size - LARGEST_HALF)
        parts.append(np.full(entries.size, norm * (1 + ROUNDING) + DENORMAL) if factored else kept)
    return np.concatenate(parts)


def sketched_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    """An entry may meet all others in its place, and their sum may saturate."""
    halves = codec.codec.kind == "float16"
    total = np.sum(np.abs(x))
    slack = total * (HALF if halves else ROUNDING) + (LEAST_HALF if halves else DENORMAL)
    return np.full(x.size, total + np.abs(x).max(initial=0.0) + slack)


PROJECTIONS: dict[str, Claim] = {
    # Matrices, their random start and the memory of it are in tests/laws/test_projections.py: these vectors have none.
    "powersgd": Claim(
        ({}, {"rank": 1, "steps": 2, "codec": {"kind": "float16"}}, {"rank": 2, "warm_start": False}),
        factored_worst,
    ),
    "count-sketch": Claim(
        (
            {},
            {"rows": 1, "share": 0.5, "recover": 1.0},
            {"rows": 4, "share": 2.0, "recover": 0.1, "rest": "subtracted", "codec": {"kind": "float16"}},
        ),
        sketched_worst,
        # Of the key, the seed: the same in all of a run's messages.
        shares_key=always,
        says_each_bit_once=lambda codec: False,
    ),
}
