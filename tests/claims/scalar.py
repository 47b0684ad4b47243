"""Claims of the floats, the uniform quantiser and QSGD."""

from __future__ import annotations

from typing import Any

import numpy as np

from claims.claim import (
    DENORMAL,
    FLOAT32_MAX,
    ROUNDING,
    Claim,
    Numbers,
    always,
    bernoulli_variance,
    groups_of,
)
from syft_fl.vectors import Layout


def uniform_grid(codec: Any, x: Numbers, layout: Layout) -> tuple[Numbers, Numbers]:
    """Lower ends and steps."""
    groups = groups_of(layout, codec.block)
    lower, upper = groups.each(np.minimum, x), groups.each(np.maximum, x)
    if codec.ends == "symmetric":
        upper = np.maximum(upper, -lower)
        lower = -upper
    steps = 2**codec.bits - (2 if codec.ends == "symmetric" and codec.bits > 1 else 1)
    return lower, (upper - lower) / steps


def uniform_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    largest = groups_of(layout, codec.block).each(np.maximum, np.abs(x))
    steps = 0.5 if codec.rounding == "nearest" else 1.0
    return steps * uniform_grid(codec, x, layout)[1] + ROUNDING * largest + DENORMAL


def uniform_variance(codec: Any, x: Numbers, layout: Layout) -> Numbers | None:
    lower, step = uniform_grid(codec, x, layout)
    return None if codec.rounding == "nearest" else bernoulli_variance(x - lower, step)


def qsgd_step(codec: Any, x: Numbers) -> Numbers:
    groups = groups_of(Layout.flat(x.size), codec.block)
    return np.minimum(np.sqrt(groups.each(np.add, x**2)), FLOAT32_MAX) / codec.levels


def qsgd_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    # A denormal norm is rounded to a whole number of 2**-149, and so are the levels.
    return qsgd_step(codec, x) * (1 + ROUNDING * codec.levels) + DENORMAL


def qsgd_variance(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return bernoulli_variance(x, qsgd_step(codec, x))


def of_known_size(codec: Any) -> bool:
    """Whether the coder's words are of one length."""
    return codec.coder.kind == "fixed"


def of_words(codec: Any) -> bool:
    """Whether the coder's bits are words of single symbols, so that each changes one."""
    return codec.coder.kind in ("fixed", "elias-gamma", "elias-delta")


def float16_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    beyond = np.maximum(np.abs(x) - 65504.0, 0)
    return beyond + 2.0**-11 * np.minimum(np.abs(x), 65504.0) + 2.0**-25


SCALAR: dict[str, Claim] = {
    "float32": Claim(({},), lambda codec, x, layout: np.zeros(x.size)),
    "float16": Claim(({},), float16_worst),
    "uniform": Claim(
        (
            {},
            {"bits": 1},
            {"bits": 3, "block": 7},
            {"bits": 4, "block": "channel", "ends": "symmetric"},
            {"bits": 4, "block": "vector", "ends": "symmetric", "rounding": "stochastic"},
            {"bits": 16},
            {"bits": 8, "rounding": "stochastic"},
            {"bits": 2, "rounding": "stochastic", "block": 5},
            {"bits": 16, "rounding": "stochastic", "block": 64},
            {"bits": 4, "coder": {"kind": "range"}},
            {"bits": 4, "ends": "symmetric", "coder": {"kind": "ans", "model": "adaptive"}},
            {"bits": 3, "rounding": "stochastic", "block": 40, "coder": {"kind": "elias-gamma"}},
            {"bits": 12, "coder": {"kind": "zstd"}},
        ),
        uniform_worst,
        variance=uniform_variance,
        random=lambda codec: codec.rounding == "stochastic",
        unbiased=always,
        sized=of_known_size,
        says_each_bit_once=lambda codec: (
            of_words(codec) and (isinstance(codec.block, str) or codec.block >= 8)
        ),
    ),
    "qsgd": Claim(
        (
            {},
            {"levels": 1, "block": "vector"},
            {"levels": 2, "block": 3},
            {"levels": 16, "block": 9},
            {"levels": 127},
            {"levels": 32767, "block": "vector"},
            {"coder": {"kind": "range", "model": "adaptive"}},
            {"levels": 16, "block": 64, "coder": {"kind": "ans"}},
            {"levels": 127, "block": "vector", "coder": {"kind": "elias-delta"}},
            {"levels": 1, "coder": {"kind": "zstd"}},
        ),
        qsgd_worst,
        variance=qsgd_variance,
        random=always,
        unbiased=always,
        # A group of one entry is all scale; at a few levels all entries may be 0.
        sized=of_known_size,
        says_each_bit_once=lambda codec: (
            of_words(codec) and codec.levels >= 7 and (codec.block == "vector" or codec.block >= 8)
        ),
    ),
}
