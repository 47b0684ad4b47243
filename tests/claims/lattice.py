"""Claims of lattice codecs: the error is uniform on the cell, whatever the entry."""

from __future__ import annotations

from typing import Any

import numpy as np

from claims.claim import DENORMAL, FLOAT32_MAX, ROUNDING, Claim, Numbers, always, groups_of
from syft_fl.vectors import Layout

MOMENTS = {
    "cubic": 1 / 12,
    "hexagonal": 5 / (36 * np.sqrt(3)),
    "d4": 13 / (120 * np.sqrt(2)),
    "e8": 929 / 12960,
}
"""Normalised second moments (Conway, Sloane 1982, "Voronoi regions of lattices", table I)."""

RADII = {"cubic": 0.5, "hexagonal": np.sqrt(2 / (3 * np.sqrt(3))), "d4": 2**-0.25, "e8": 1.0}
"""Covering radii of lattices with cells of volume 1 (Conway, Sloane 1999, chapter 4)."""


def cell(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    """Edges: what is asked for, or as long as keeps every entry within 16384 of them."""
    groups = groups_of(layout, codec.block)
    norms = np.sqrt(groups.each(np.add, x**2))
    widths = groups.each(np.add, np.ones(x.size))
    asked = codec.step * np.minimum(norms, FLOAT32_MAX) / np.sqrt(widths)
    needed = groups.each(np.maximum, np.abs(x)) / 2**14
    return np.minimum(np.maximum(asked, needed), FLOAT32_MAX)


def lattice_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    largest = groups_of(layout, codec.block).each(np.maximum, np.abs(x))
    edges = cell(codec, x, layout)
    return RADII[codec.lattice] * edges + ROUNDING * (largest + edges) + DENORMAL


LATTICE: dict[str, Claim] = {
    "uveqfed": Claim(
        (
            {},
            {"lattice": "cubic", "step": 0.25, "block": 16},
            {
                "lattice": "d4",
                "step": 4.0,
                "block": "vector",
                "coder": {"kind": "range", "model": "adaptive"},
            },
            {"lattice": "d4", "step": 0.001, "coder": {"kind": "fixed"}},
            {"lattice": "e8"},
            {"lattice": "e8", "step": 0.1, "block": 5, "coder": {"kind": "elias-gamma"}},
        ),
        lattice_worst,
        variance=lambda codec, x, layout: MOMENTS[codec.lattice] * cell(codec, x, layout) ** 2,
        random=always,
        unbiased=always,
        shares_key=always,
        # The alphabet and the coder's words follow the vector.
        sized=lambda codec: False,
        says_each_bit_once=lambda codec: False,
    ),
}
