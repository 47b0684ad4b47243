"""Time of encode + decode of every codec, as a multiple of a clone of the same vector in the same run.

Run: ``python tests/bench/bench_codecs.py``; with ``--check`` it fails where a codec costs more than it should.

One thread. Rounds are interleaved, clone after codec after clone, so that a machine that gets slower meanwhile slows
down all alike. What counts is the least time of all rounds, both of the clone and of the codecs: other work on the
machine can only add to it.

A clone's time is mostly that of its memory. Into pages that the process has never touched it takes up to ten times as
long as into those of a vector freed before, and which of them ``x.clone()`` gets depends on what ran before it. So it
is timed in both ways, as it is and as a copy into memory that is there (``y.copy_(x)``), and the quicker one counts:
what the hardware needs to read and write the vector once. That is the hardest measure for a codec, which pays for its
own fresh pages.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from syft_fl.codecs import CODECS, Codec, Context
from syft_fl.codecs.batch import decode_batch, encode_batch
from syft_fl.keys import Key
from syft_fl.schema import plain
from syft_fl.vectors import Layout

ENTRIES = 1_199_882
"""The document's network."""
BATCHES = ((100, 50_890), (1000, 7_850))

STOCHASTIC = {"kind": "uniform", "rounding": "stochastic"}
CASES: tuple[tuple[dict[str, Any], float | None], ...] = (
    ({"kind": "float32"}, None),
    ({"kind": "float16"}, 15),
    ({"kind": "bfloat16"}, None),
    ({"kind": "fp8"}, None),
    ({"kind": "block-float"}, None),
    ({"kind": "uniform", "bits": 8}, 15),
    ({"kind": "uniform", "bits": 4}, None),
    ({"kind": "uniform", "bits": 1}, None),
    ({"kind": "uniform", "bits": 6}, None),
    ({"kind": "uniform", "bits": 16}, None),
    ({"kind": "uniform", "bits": 8, "block": 512}, None),
    (STOCHASTIC | {"bits": 8}, 80),
    (STOCHASTIC | {"bits": 4}, 80),
    (STOCHASTIC | {"bits": 2}, 80),
    (STOCHASTIC | {"bits": 1}, 80),
    (STOCHASTIC | {"bits": 4, "block": 512}, 80),
    ({"kind": "uniform", "bits": 4, "coder": {"kind": "range", "model": "sent"}}, 400),
    ({"kind": "uniform", "bits": 4, "coder": {"kind": "range", "model": "adaptive"}}, 400),
    ({"kind": "uniform", "bits": 4, "coder": {"kind": "ans"}}, 400),
    ({"kind": "qsgd"}, 100),
    ({"kind": "qsgd", "block": "vector"}, 100),
    ({"kind": "qsgd", "levels": 16}, 100),
    ({"kind": "qsgd", "levels": 127}, 100),
    ({"kind": "dithered"}, None),
    ({"kind": "lloyd-max"}, None),
    ({"kind": "lloyd-max", "law": "fitted"}, None),
    ({"kind": "logarithmic"}, None),
    ({"kind": "natural"}, None),
    ({"kind": "natural-dithering"}, None),
    ({"kind": "terngrad"}, None),
    ({"kind": "sign"}, None),
    ({"kind": "one-bit"}, None),
    ({"kind": "top-k", "fraction": 0.01}, 30),
    ({"kind": "rotated"}, None),
    ({"kind": "drive"}, 300),
    ({"kind": "eden", "bits": 1.0}, 300),
    ({"kind": "eden", "bits": 4.0}, 300),
    ({"kind": "uveqfed", "lattice": "hexagonal"}, None),
    ({"kind": "uveqfed", "lattice": "d4"}, None),
    ({"kind": "uveqfed", "lattice": "e8"}, 500),
    ({"kind": "top-k", "fraction": 0.1}, None),
    ({"kind": "top-k", "fraction": 0.01, "codec": {"kind": "qsgd"}}, None),
    ({"kind": "rand-k"}, None),
    ({"kind": "rand-k", "fraction": 0.1}, None),
    ({"kind": "threshold"}, None),
    ({"kind": "clipped"}, None),
    ({"kind": "layered"}, None),
)
"""Settings of codecs, and the most they may cost in clones. A registered codec that is not here is timed as it is."""


def cases() -> dict[str, tuple[Codec, float | None]]:
    """By name: codec and the most it may cost."""
    known = {cls.kind for cls in CODECS}  # type: ignore[attr-defined]
    named = {fields["kind"] for fields, _ in CASES}
    every = [case for case in CASES if case[0]["kind"] in known]
    every += [({"kind": kind}, None) for kind in sorted(known - named)]
    return {name_of(fields): (CODECS.build(fields), most) for fields, most in every}


def name_of(fields: Mapping[str, Any]) -> str:
    return " ".join(name_of(value) if isinstance(value, Mapping) else str(value) for value in fields.values())


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def least_seconds(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least time of each call, in rounds of all of them."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            call()  # brings its code and its memory in
            least[name] = min(least[name], seconds(call))
    return least


def time_codecs(rounds: int) -> list[str]:
    """Print a line for each codec; names of those that cost too much."""
    x = torch.randn(ENTRIES, generator=Key(0).torch())
    y = torch.empty_like(x)
    ctx = Context(Layout.flat(ENTRIES), Key(1))
    codecs = cases()
    payloads = {name: codec.encode(x, ctx=ctx)[0] for name, (codec, _) in codecs.items()}
    calls: dict[str, Callable[[], object]] = {"copy": lambda: y.copy_(x), "clone": x.clone}
    for name, (codec, _) in codecs.items():
        calls[f"{name}: encode"] = lambda codec=codec: codec.encode(x, ctx=ctx)
        calls[f"{name}: decode"] = lambda codec=codec, sent=payloads[name]: codec.decode(sent, ctx=ctx)
        calls[name] = lambda codec=codec: codec.decode(codec.encode(x, ctx=ctx)[0], ctx=ctx)
    took = least_seconds(calls, rounds)
    clone_s = min(took["copy"], took["clone"])
    print(
        f"{ENTRIES} float32 entries; a clone takes {1e3 * clone_s:.3f} ms "
        f"(x.clone() {1e3 * took['clone']:.3f}, y.copy_(x) {1e3 * took['copy']:.3f})"
    )
    print(
        f"{'codec':<36}{'bits each':>10}{'encode ms':>11}{'decode ms':>11}{'both ms':>9}{'clones':>8}{'at most':>9}"
    )
    failed = []
    for name, (_, most) in codecs.items():
        clones = took[name] / clone_s
        late = most is not None and clones > most
        failed += [f"{name}: {clones:.1f} clones, at most {most}"] if late else []
        print(
            f"{name:<36}{payloads[name].bits / ENTRIES:>10.3f}{1e3 * took[f'{name}: encode']:>11.2f}"
            f"{1e3 * took[f'{name}: decode']:>11.2f}{1e3 * took[name]:>9.2f}{clones:>8.1f}{most or '':>9}"
            f"{'  !' if late else ''}"
        )
    return failed


def time_batches(rounds: int) -> None:
    """Print what a batch gains over calls of their own."""
    print(f"\n{'batch':<14}{'codec':<36}{'each us':>9}{'batch us':>10}{'gain':>6}   (a UE's encode + decode)")
    for ues, entries in BATCHES:
        xs = torch.randn(ues, entries, generator=Key(0).torch())
        ctxs = [Context(Layout.flat(entries), Key(1) / f"ue{i}") for i in range(ues)]
        for codec in (CODECS.build(fields) for fields in (STOCHASTIC | {"bits": 4}, {"kind": "qsgd"})):

            def each(codec: Codec = codec, xs: torch.Tensor = xs, ctxs: list[Context] = ctxs) -> None:
                for x, ctx in zip(xs, ctxs, strict=True):
                    codec.decode(codec.encode(x, ctx=ctx)[0], ctx=ctx)

            def batch(codec: Codec = codec, xs: torch.Tensor = xs, ctxs: list[Context] = ctxs) -> None:
                decode_batch(codec, [payload for payload, _ in encode_batch(codec, xs, ctxs)], ctxs)

            took = least_seconds({"each": each, "batch": batch}, rounds)
            print(
                f"{f'{ues} x {entries}':<14}{name_of(plain(codec)):<36}{1e6 * took['each'] / ues:>9.0f}"
                f"{1e6 * took['batch'] / ues:>10.0f}{took['each'] / took['batch']:>6.1f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where a codec costs more than it may")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    failed = time_codecs(arguments.rounds)
    time_batches(max(arguments.rounds // 5, 1))
    if arguments.check and failed:
        sys.exit("too slow: " + "; ".join(failed))


if __name__ == "__main__":
    main()
