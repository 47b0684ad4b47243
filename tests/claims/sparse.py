"""Claims of sparse codecs and of those that wrap others: what is left out, and the claims of what is behind."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from claims.claim import ROUNDING, Claim, Numbers, groups_of
from claims.levels import LEVELS
from claims.scalar import SCALAR
from syft_fl.vectors import Layout, Slot

_BEHIND = {**SCALAR, **LEVELS}


def behind(codec: Any) -> Claim:
    return _BEHIND[codec.codec.kind]


def share(fraction: float, length: int) -> int:
    return min(length, max(1, round(fraction * length)))


def unbiased(codec: Any) -> bool:
    return codec.lossless or _BEHIND[codec.kind].unbiased(codec)


# --- top-k, rand-k, threshold ---------------------------------------------------------------------


def largest(x: Numbers, count: int) -> Numbers:
    """[entries] which ones are sent; of equal ones the first."""
    chosen = np.zeros(x.size, bool)
    chosen[np.argsort(-np.abs(x), kind="stable")[:count]] = True
    return chosen


def tensors(codec: Any, layout: Layout) -> list[slice]:
    if codec.block == "vector":
        return [slice(0, layout.length)] if layout.length else []
    return [slice(slot.start, slot.stop) for slot in layout.slots if slot.length]


def top_k_sent(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    parts = [largest(x[of], share(codec.fraction, x[of].size)) for of in tensors(codec, layout)]
    return np.concatenate([np.zeros(0, bool), *parts])


def off_behind(codec: Any, values: Numbers) -> Numbers:
    return behind(codec).worst(codec.codec, values, Layout.flat(values.size))


def top_k_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    sent = top_k_sent(codec, x, layout)
    worst = np.abs(x)
    worst[sent] = off_behind(codec, x[sent])
    return worst


def top_k_energy(codec: Any, x: Numbers, layout: Layout) -> float:
    left = sum(
        (1 - share(codec.fraction, x[of].size) / x[of].size) * np.sum(x[of] ** 2)
        for of in tensors(codec, layout)
    )
    values = x[top_k_sent(codec, x, layout)]
    return float(left * (1 + 1e-9) + np.sum(off_behind(codec, values) ** 2))


def whole_behind(codec: Any, x: Numbers) -> float:
    """The largest error behind on any part of the entries; of scales of a vector, that is on all of them."""
    return float(np.max(off_behind(codec, x), initial=0.0))


def rand_k_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    factor = x.size / share(codec.fraction, x.size) if codec.scale == "unbiased" and x.size else 1.0
    sent = (factor - 1 + factor * ROUNDING) * np.abs(x) + factor * whole_behind(codec, x)
    return np.maximum(np.abs(x), sent)


def rand_k_variance(codec: Any, x: Numbers, layout: Layout) -> Numbers | None:
    if codec.scale != "unbiased" or not codec.codec.lossless:
        return None
    return (x.size / share(codec.fraction, x.size) - 1) * x**2


def threshold_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    level = codec.threshold * (np.sqrt(np.mean(x**2)) if codec.measure == "rms" and x.size else 1.0)
    surely = np.abs(x) > level * (1 + ROUNDING)
    surely &= largest(x, share(codec.most, x.size))
    return np.where(surely, whole_behind(codec, x), np.abs(x))


# --- layered, clipped -----------------------------------------------------------------------------


def ruled(codec: Any, layout: Layout) -> list[tuple[Any, Numbers, Layout]]:
    """Codecs, which entries each of them writes, and their layout. Tensors of the contract suite have one dimension."""
    found = []
    by_rule: dict[int, list[Slot]] = {}
    for slot in layout.slots:
        matching = [i for i, rule in enumerate(codec.rules) if fnmatchcase(slot.name, rule.tensors)]
        by_rule.setdefault(min(matching, default=len(codec.rules)), []).append(slot)
    others = codec.biases or codec.codec
    for rule, slots in by_rule.items():
        of = [other.codec for other in codec.rules] + [others]
        lengths = [slot.length for slot in slots]
        starts = np.cumsum([0, *lengths])
        own = Layout(tuple(Slot(s.name, s.shape, int(starts[i])) for i, s in enumerate(slots)))
        entries = np.concatenate([np.arange(slot.start, slot.stop) for slot in slots])
        found.append((of[rule], entries, own))
    return found


def layered_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    worst = np.zeros(x.size)
    for of, entries, own in ruled(codec, layout):
        worst[entries] = _BEHIND[of.kind].worst(of, x[entries], own)
    return worst


def layered_variance(codec: Any, x: Numbers, layout: Layout) -> Numbers | None:
    variance = np.zeros(x.size)
    for of, entries, own in ruled(codec, layout):
        known = _BEHIND[of.kind].variance(of, x[entries], own)
        if known is None:
            return None
        variance[entries] = known
    return variance


def written_by(codec: Any) -> list[Any]:
    """The codecs that write tensors of one dimension."""
    every = [rule.codec for rule in codec.rules]
    return (
        every if any(rule.tensors == "*" for rule in codec.rules) else [*every, codec.biases or codec.codec]
    )


def clip(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    deviations = 2.5 if codec.deviations is None and codec.norm is None else codec.deviations
    if deviations is not None:
        groups = groups_of(layout, codec.block)
        most = deviations * np.sqrt(groups.each(np.add, x**2) / groups.each(np.add, np.ones(x.size)))
        x = np.clip(x, -most, most)
    norm = np.sqrt(np.sum(x**2))
    return x * (codec.norm / norm) if codec.norm is not None and norm > codec.norm else x


def clipped_worst(codec: Any, x: Numbers, layout: Layout) -> Numbers:
    left = clip(codec, x, layout)
    rounding = ROUNDING * np.abs(left) + 2.0**-149
    # What is behind is held to its bound on entries that may be off by their rounding.
    off = behind(codec).worst(codec.codec, left, layout)
    return np.abs(x - left) + rounding + (1 + 4 * ROUNDING) * off + np.max(rounding, initial=0.0)


SPARSE: dict[str, Claim] = {
    "top-k": Claim(
        (
            {},
            {"fraction": 0.25, "block": "tensor"},
            {"fraction": 0.1, "codec": {"kind": "uniform", "bits": 8}},
            {"fraction": 0.6, "codec": {"kind": "sign", "block": "vector"}},
        ),
        top_k_worst,
        energy=top_k_energy,
        # Bits of indices follow the vector; one index may be written in two ways.
        sized=lambda codec: False,
        says_each_bit_once=lambda codec: False,
    ),
    "rand-k": Claim(
        (
            {"fraction": 0.25},
            {"fraction": 0.75},
            {"fraction": 0.01, "scale": "none"},
            {"fraction": 0.5, "codec": {"kind": "qsgd", "block": "vector"}},
            {"fraction": 0.5, "codec": {"kind": "uniform", "bits": 8}},
        ),
        rand_k_worst,
        variance=rand_k_variance,
        random=lambda codec: True,
        unbiased=lambda codec: codec.scale == "unbiased" and unbiased(codec.codec),
        shares_key=lambda codec: True,
        # Times d/k, two neighbours may become one.
        says_each_bit_once=lambda codec: codec.scale == "none",
    ),
    "threshold": Claim(
        (
            {},
            {"threshold": 0.5, "measure": "absolute"},
            {"threshold": 1.0, "most": 0.1, "codec": {"kind": "uniform", "bits": 8, "block": "vector"}},
        ),
        threshold_worst,
        sized=lambda codec: False,
        says_each_bit_once=lambda codec: codec.codec.lossless,
    ),
    "layered": Claim(
        (
            {},
            {"codec": "qsgd", "first": "float32", "last": "float32", "biases": "float16"},
            {
                "codec": "terngrad",
                "rules": [
                    {"tensors": "*[r0]", "codec": {"kind": "uniform", "bits": 4, "rounding": "stochastic"}}
                ],
            },
            {
                "rules": [
                    {"tensors": "*[r0]", "codec": {"kind": "uniform", "coder": {"kind": "range"}}},
                    {"tensors": "*", "codec": "float16"},
                ]
            },
        ),
        layered_worst,
        variance=layered_variance,
        random=lambda codec: any(_BEHIND[of.kind].random(of) for of in written_by(codec)),
        unbiased=lambda codec: all(unbiased(of) for of in written_by(codec)),
        sized=lambda codec: all(_BEHIND[of.kind].sized(of) for of in written_by(codec)),
        says_each_bit_once=lambda codec: all(
            _BEHIND[of.kind].says_each_bit_once(of) for of in written_by(codec)
        ),
    ),
    "clipped": Claim(
        (
            {},
            {"deviations": 1.0, "block": 16, "codec": {"kind": "uniform", "bits": 8}},
            {"norm": 1.0, "codec": "qsgd"},
            {"norm": 0.1, "deviations": 2.0, "block": "vector", "codec": "float32"},
        ),
        clipped_worst,
        random=lambda codec: behind(codec).random(codec.codec),
        sized=lambda codec: behind(codec).sized(codec.codec),
        says_each_bit_once=lambda codec: behind(codec).says_each_bit_once(codec.codec),
    ),
}
