"""Claims of the other quantisers: short floats, signs, powers of two, best levels, subtractive dither."""

from __future__ import annotations

from typing import Any

import numpy as np

from claims.claim import DENORMAL, FLOAT32_MAX, ROUNDING, Claim, Numbers, always, groups_of
from syft_fl.vectors import Layout


def group_largest(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return groups_of(layout, codec.block).each(np.maximum, np.abs(x))


def group_norm(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return np.minimum(np.sqrt(groups_of(layout, codec.block).each(np.add, x**2)), FLOAT32_MAX)


def group_width(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return groups_of(layout, codec.block).each(np.add, np.ones(x.size))


def bfloat16_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return 2.0**-8 * np.abs(x) + 2.0**-134


def fp8_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    relative, least, top = {"e4m3": (2.0**-4, 2.0**-9, 448.0), "e5m2": (2.0**-3, 2.0**-16, 57344.0)}[
        codec.format
    ]
    scale = group_largest(codec, x, layout)
    return relative * np.abs(x) + least / top / 2 * scale + ROUNDING * scale + DENORMAL


def block_float_step(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    exponent = np.maximum(np.frexp(group_largest(codec, x, layout))[1], -126)
    return np.ldexp(1.0, exponent - codec.bits + 1)


def block_float_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    step = block_float_step(codec, x, layout)
    highest = (2.0 ** (codec.bits - 1) - 1) * step
    return np.where(x > highest, step, step / 2) + ROUNDING * np.abs(x) + DENORMAL


def sign_scale(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return groups_of(layout, codec.block).each(np.add, np.abs(x)) / group_width(codec, x, layout)


def sign_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    scale = sign_scale(codec, x, layout)
    return np.abs(np.abs(x) - scale) * (1 + ROUNDING) + ROUNDING * scale + DENORMAL


def one_bit_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    groups = groups_of(layout, codec.block)
    of = [groups.each(np.add, np.where(side, x, 0.0)) for side in (x >= 0, x < 0)]
    counts = [np.maximum(groups.each(np.add, side.astype(float)), 1) for side in (x >= 0, x < 0)]
    mean = np.where(x >= 0, of[0] / counts[0], of[1] / counts[1])
    return np.abs(x - mean) + ROUNDING * (np.abs(x) + group_largest(codec, x, layout)) + DENORMAL


def terngrad_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    scale = group_largest(codec, x, layout)
    return np.where(x == 0, 0.0, np.maximum(np.abs(x), scale - np.abs(x))) + ROUNDING * scale + DENORMAL


def terngrad_variance(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return np.abs(x) * (group_largest(codec, x, layout) - np.abs(x))


def power_below(x: Numbers) -> Numbers:
    """The power of two at or below each magnitude, 0 below the least exponent."""
    _, exponent = np.frexp(np.abs(x))
    return np.where(np.abs(x) < 2.0**-126, 0.0, np.ldexp(1.0, exponent - 1))


def natural_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    below = power_below(x)
    gap = np.where(below > 0, below, 2.0**-126)
    return np.where(np.abs(x) == below, 0.0, np.maximum(np.abs(x) - below, below + gap - np.abs(x)))


def natural_variance(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    below = power_below(x)
    return (np.abs(x) - below) * (2 * below - np.abs(x))


def natural_dithering_neighbours(codec: Any, x: Numbers, layout: Layout) -> tuple[Numbers, Numbers, Numbers]:
    norm = group_norm(codec, x, layout)
    part = np.minimum(np.abs(x) / np.where(norm > 0, norm, 1), 1)
    least = 2.0 ** (1 - codec.levels)
    below = np.where(part < least, 0.0, power_below(part))
    above = np.where(part < least, least, 2 * below)
    return norm, norm * below, norm * above


def natural_dithering_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    norm, below, above = natural_dithering_neighbours(codec, x, layout)
    # A part of the norm just below a power of two may be rounded onto it.
    return np.where(x == 0, 0.0, np.maximum(np.abs(x) - below, above - np.abs(x))) * (1 + 2.0**-18) + (
        ROUNDING * norm + DENORMAL
    )


def natural_dithering_variance(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    _, below, above = natural_dithering_neighbours(codec, x, layout)
    return (np.abs(x) - below) * (above - np.abs(x))


def logarithmic_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    scale = group_largest(codec, x, layout)
    ratio = 10.0 ** (-codec.decades / max(2 ** (codec.bits - 1) - 2, 1))
    least = scale * (10.0**-codec.decades if codec.bits > 2 else 1.0)
    relative = (1 - ratio) / (1 + ratio) if codec.bits > 2 else 0.0
    return np.maximum(relative * np.abs(x), least / 2) + ROUNDING * scale + DENORMAL


def lloyd_max_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    # Outer cells have no bound but that of the entry itself: a level lies between 0 and a few scales.
    return 40 * group_norm(codec, x, layout) + np.abs(x) + DENORMAL


def dithered_step(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return group_largest(codec, x, layout) / (2 ** (codec.bits - 1) - 1)


def dithered_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return dithered_step(codec, x, layout) / 2 + ROUNDING * group_largest(codec, x, layout) + DENORMAL


def wide(codec: Any) -> bool:
    """Whether groups have entries enough for each bit to show."""
    return isinstance(codec.block, str) or codec.block >= 8


LEVELS: dict[str, Claim] = {
    "bfloat16": Claim(({},), bfloat16_worst),
    "fp8": Claim(({}, {"format": "e5m2"}, {"block": 16}), fp8_worst),
    "block-float": Claim(
        ({}, {"bits": 4, "block": 16}, {"bits": 16, "block": "vector"}, {"bits": 2, "block": "channel"}),
        block_float_worst,
        says_each_bit_once=lambda codec: codec.bits >= 8,
    ),
    "sign": Claim(({}, {"block": 64}), sign_worst, says_each_bit_once=wide),
    # Of entries that are all positive, the negative ones' mean says nothing.
    "one-bit": Claim(({}, {"block": 64}), one_bit_worst, says_each_bit_once=lambda codec: False),
    "terngrad": Claim(
        ({}, {"block": 16}),
        terngrad_worst,
        variance=terngrad_variance,
        random=always,
        unbiased=always,
    ),
    "natural": Claim(({},), natural_worst, variance=natural_variance, random=always, unbiased=always),
    "natural-dithering": Claim(
        ({}, {"levels": 1, "block": "vector"}, {"levels": 3, "block": 16}, {"levels": 127, "block": 64}),
        natural_dithering_worst,
        variance=natural_dithering_variance,
        random=always,
        unbiased=always,
        says_each_bit_once=lambda codec: False,  # at levels that are powers of two, several entries may be 0
    ),
    "logarithmic": Claim(
        ({}, {"bits": 2}, {"bits": 8, "decades": 6.0, "block": 16}),
        logarithmic_worst,
        says_each_bit_once=wide,
    ),
    "lloyd-max": Claim(
        (
            {},
            {"bits": 1, "law": "laplace"},
            {"bits": 3, "law": "fitted", "block": 64},
            {"bits": 8, "law": "laplace", "block": "vector"},
        ),
        lloyd_max_worst,
        # A fitted level that no entry takes says nothing, nor does at 1 bit the last bit of a scale.
        says_each_bit_once=lambda codec: codec.law != "fitted" and codec.bits > 1,
    ),
    "dithered": Claim(
        ({}, {"bits": 2, "block": 16}, {"bits": 16}),
        dithered_worst,
        # Uniform on the cell whatever the entry.
        variance=lambda codec, x, layout: dithered_step(codec, x, layout) ** 2 / 12,
        random=always,
        unbiased=always,
        shares_key=always,
    ),
}
