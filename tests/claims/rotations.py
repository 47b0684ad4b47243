"""Claims of codecs behind a random rotation: bounds hold for the vector, not for an entry."""

from __future__ import annotations

from typing import Any

import numpy as np

from claims.claim import Claim, Numbers, always
from syft_fl.vectors import Layout


def whole_norm(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    """An entry is off by no more than the whole vector could be."""
    return np.full(x.size, np.sqrt(energy(codec, x, layout)))


def energy(codec: Any, x: Numbers, layout: Layout) -> float:
    r"""The unbiased scale is least where all rotated entries are equal, :math:`\|x\|^2/\langle Rx, Q\rangle`.

    A block of :math:`B` has :math:`\langle u, Q(u)\rangle` of a vector of norm :math:`\sqrt B` at least
    :math:`q_1\sqrt B` with :math:`q_1` the least level, so no vector becomes longer than
    :math:`(\sqrt B\,q_L/q_1)\|x\|`; that is loose, and all that holds for the worst rotation.
    """
    levels = 6.0 / 0.01
    with np.errstate(over="ignore"):
        return float((levels * np.sqrt(codec.block)) ** 2 * np.sum(x**2) + 1e-80)


def rotated_energy(codec: Any, x: Numbers, layout: Layout) -> float:
    # The default inner codec is off by less than a step of a grid whose ends are within the block's root.
    with np.errstate(over="ignore"):
        return float(4 * codec.block * x.size * np.max(np.abs(x), initial=0.0) ** 2 + 1e-80)


def rotated_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    return np.full(x.size, np.sqrt(rotated_energy(codec, x, layout)))


ROTATIONS: dict[str, Claim] = {
    "rotated": Claim(
        ({}, {"block": 16, "codec": {"kind": "uniform", "bits": 8}}, {"codec": {"kind": "qsgd"}}),
        rotated_worst,
        energy=rotated_energy,
        random=always,
        unbiased=lambda codec: codec.codec.kind == "qsgd" or codec.codec.rounding == "stochastic",
        shares_key=always,
        says_each_bit_once=lambda codec: False,
    ),
    "drive": Claim(
        ({}, {"scale": "least-error", "block": 16}),
        whole_norm,
        energy=energy,
        random=always,
        shares_key=always,
        says_each_bit_once=lambda codec: False,
    ),
    "eden": Claim(
        ({}, {"bits": 0.5}, {"bits": 2.5, "block": 64}, {"bits": 8.0}, {"bits": 4.0, "scale": "least-error"}),
        whole_norm,
        energy=energy,
        random=always,
        shares_key=always,
        says_each_bit_once=lambda codec: False,
    ),
}
