"""The claim of codecs that send what is new since the last message; in a first one all of it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from claims.claim import DENORMAL, ROUNDING, Claim, Numbers, always, groups_of
from claims.scalar import of_known_size, of_words
from syft_fl.vectors import Layout


def laq_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    radius = groups_of(layout, codec.block).each(np.maximum, np.abs(x))
    return radius / (2**codec.bits - 1) + ROUNDING * radius + DENORMAL


INNOVATION: dict[str, Claim] = {
    "laq": Claim(
        (
            {},
            {"bits": 1, "block": 7},
            {"bits": 16, "block": "tensor"},
            {"bits": 3, "coder": {"kind": "range"}},
        ),
        laq_worst,
        sized=of_known_size,
        says_each_bit_once=of_words,
        remembers=always,
    ),
}
