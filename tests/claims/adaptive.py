"""Claims of rules that choose levels: those of the quantiser behind, at what they choose where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from claims.claim import Claim, Numbers
from claims.levels import LEVELS
from claims.scalar import SCALAR
from syft_fl.vectors import Layout

_BEHIND = {**SCALAR, **LEVELS}


def claim(codec: Any) -> Claim:
    return _BEHIND[codec.codec.kind]


def chosen(codec: Any) -> Any:
    """The quantiser of a first message: without a loss, and in no round yet."""
    if hasattr(codec.codec, "levels"):
        return replace(codec.codec, levels=codec.first)
    steps = codec.first if codec.kind == "scheduled" else int(np.ceil(np.log2(codec.first + 1)))
    return replace(codec.codec, bits=steps)


def worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return claim(codec).worst(chosen(codec), x, layout)


def variance(codec: Any, x: Numbers, layout: Layout) -> Numbers | None:
    return claim(codec).variance(chosen(codec), x, layout)


def of(*settings: dict[str, Any]) -> Claim:
    return Claim(
        settings,
        worst,
        variance=variance,
        random=lambda codec: claim(codec).random(chosen(codec)),
        unbiased=lambda codec: claim(codec).unbiased(chosen(codec)),
        shares_key=lambda codec: claim(codec).shares_key(chosen(codec)),
        sized=lambda codec: claim(codec).sized(chosen(codec)),
        says_each_bit_once=lambda codec: claim(codec).says_each_bit_once(chosen(codec)),
    )


ADAPTIVE: dict[str, Claim] = {
    "adaquantfl": of({}, {"first": 100, "codec": {"kind": "uniform", "bits": 2}}),
    "dadaquant": of({"first": 3}, {"first": 15, "codec": {"kind": "natural-dithering", "block": 64}}),
    "scheduled": of(
        {},
        {"first": 3, "last": 12, "codec": {"kind": "uniform", "bits": 4, "rounding": "stochastic"}},
        {"first": 8, "last": 2, "course": "geometric", "codec": {"kind": "dithered", "bits": 4}},
    ),
}
