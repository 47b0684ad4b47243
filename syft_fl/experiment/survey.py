r"""What codecs do to one vector: rate, error, bias and host speed, beside what theory allows.

The yardstick is the distortion-rate function of independent Gaussian entries of variance :math:`\sigma^2`,
:math:`D(R) = \sigma^2 2^{-2R}` (Shannon 1959): no codec is below it on such a source. On independent Laplacian entries
none is below Shannon's lower bound :math:`\frac{e}{\pi}\sigma^2 2^{-2R}`. A real update is neither, and may be easier.

Rates are counted from the payload's bits, all side information in them. Speeds are the host's, and nothing simulated
depends on them.
"""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from syft_fl.codecs import CODECS, Codec, Context
from syft_fl.data import Digits
from syft_fl.errors import ConfigError, DataError
from syft_fl.keys import Key
from syft_fl.learn import IID, MLP, Job, LoopEngine, Training, build_seeded
from syft_fl.schema import nearest, plain, require
from syft_fl.vectors import Layout, Slot, Vector

__all__ = ["SHANNON_DB", "SURVEYED", "Source", "label_of", "of_kinds", "shown", "source_of", "survey"]

_ANS = {"kind": "ans"}
_FINE = {"kind": "uniform", "bits": 5}

SURVEYED: tuple[Mapping[str, Any], ...] = (
    {"kind": "float32"},
    {"kind": "float16"},
    {"kind": "bfloat16"},
    {"kind": "fp8"},
    {"kind": "fp8", "format": "e5m2"},
    *({"kind": "block-float", "bits": b} for b in (3, 4, 6)),
    *({"kind": "uniform", "bits": b, "block": 1024} for b in (1, 2, 4, 8)),
    *({"kind": "uniform", "bits": b, "coder": _ANS} for b in (3, 4, 6)),
    *({"kind": "dithered", "bits": b, "coder": _ANS} for b in (3, 4, 6)),
    *({"kind": "lloyd-max", "bits": b} for b in (1, 2, 4)),
    *({"kind": "lloyd-max", "bits": b, "law": "fitted", "coder": _ANS} for b in (2, 4)),
    *({"kind": "laq", "bits": b} for b in (2, 4)),
    *({"kind": "logarithmic", "bits": b} for b in (3, 4, 6)),
    {"kind": "natural"},
    *({"kind": "natural-dithering", "levels": s, "coder": _ANS} for s in (4, 7)),
    *({"kind": "qsgd", "levels": s} for s in (3, 7, 31)),
    *({"kind": "qsgd", "levels": s, "coder": _ANS} for s in (7, 31, 127)),
    {"kind": "terngrad", "block": 1024},
    {"kind": "terngrad", "block": 1024, "coder": _ANS},
    {"kind": "clipped", "codec": {"kind": "terngrad", "coder": _ANS}},
    {"kind": "sign"},
    {"kind": "one-bit"},
    *({"kind": "rotated", "codec": {"kind": "uniform", "bits": b, "block": 8192}} for b in (2, 3, 4)),
    {"kind": "drive"},
    *({"kind": "eden", "bits": b} for b in (0.5, 1.5, 2.0, 4.0)),
    *({"kind": "uveqfed", "lattice": "hexagonal", "step": s} for s in (2.0, 1.0, 0.25)),
    *({"kind": "uveqfed", "lattice": "e8", "step": s} for s in (2.0, 1.0, 0.25)),
    *({"kind": "top-k", "fraction": f, "codec": _FINE} for f in (0.01, 0.1, 0.3)),
    *({"kind": "rand-k", "fraction": f, "scale": "none", "codec": _FINE} for f in (0.1, 0.3)),
    {"kind": "threshold", "threshold": 1.5, "codec": _FINE},
    {"kind": "layered", "codec": {"kind": "eden", "bits": 2.0}, "first": {"kind": "float16"}},
    *({"kind": "powersgd", "rank": r} for r in (2, 8)),
    *({"kind": "count-sketch", "share": s} for s in (0.05, 0.25)),
    {"kind": "adaquantfl", "codec": {"kind": "qsgd", "coder": _ANS}},
    {"kind": "dadaquant", "codec": {"kind": "qsgd", "coder": _ANS}},
    {"kind": "scheduled", "codec": {"kind": "qsgd", "coder": _ANS}},
)
"""What is surveyed unless asked otherwise: each kind, at several rates where it has them."""

SHANNON_DB = 10 * math.log10(math.e / math.pi)
"""Shannon's lower bound for Laplacian entries, relative to the Gaussian's distortion [dB]."""


class Source(NamedTuple):
    """A vector to be written, with its layout and a name for figures."""

    name: str
    vector: Vector
    layout: Layout


def source_of(name: str, *, entries: int = 65536) -> Source:
    """A vector to survey codecs on.

    Args:
        name: ``"gaussian"`` or ``"laplace"`` (independent entries of variance 1, in a matrix of 256 columns),
            ``"digits"`` (what one UE learnt of scikit-learn's digits in an epoch), or a file: ``.npy``, or ``.pt`` with
            a tensor or a state dictionary.
        entries: of the drawn ones, rounded up to whole rows.

    Raises:
        ConfigError: an unknown name, or fewer than one entry.
        DataError: a file that can't be read as a vector.
    """
    if name in ("gaussian", "laplace"):
        require(entries >= 1, "entries", entries, "at least 1")
        shape = (-(-entries // 256), 256)
        rng = (Key(0) / "survey" / name).numpy()
        drawn = (
            rng.standard_normal(shape)
            if name == "gaussian"
            else rng.laplace(scale=math.sqrt(0.5), size=shape)
        )
        return _flat(name, {"matrix": torch.from_numpy(drawn.astype(np.float32))})
    if name == "digits":
        return _digits_update()
    if Path(name).suffix in (".npy", ".pt", ".pth"):
        return _flat(Path(name).stem, _read(Path(name)))
    raise ConfigError(f"source = {name!r} must be 'gaussian', 'laplace', 'digits' or a file .npy or .pt")


def survey(
    source: Source, codecs: Iterable[Codec | Mapping[str, Any]] = SURVEYED, *, keys: int = 16
) -> pd.DataFrame:
    r"""Write and read a vector with each codec, under several keys.

    Args:
        source: what is written.
        codecs: codecs, or their settings.
        keys: how many random streams; error and rate are means over them.

    Returns:
        A row a codec, with columns ``codec`` (kind and what differs from its defaults), ``kind``, ``bits_per_entry``,
        ``error`` (:math:`\|\hat x - x\|^2/\|x\|^2`), ``gap_db`` (error over :math:`2^{-2R}`; NaN where there is no
        error), ``bias`` (:math:`\|E\hat x - x\|/\|x\|`, estimated without the part that is chance;
        NaN with one key), ``encode_entries_per_s``, ``decode_entries_per_s``, ``paper``.

    Raises:
        ConfigError: settings of no codec, or less than one key.
        CodecError: an entry is NaN or infinite.
    """
    require(keys >= 1, "keys", keys, "at least 1", "bias takes two or more")
    built = [codec if isinstance(codec, Codec) else CODECS.build(dict(codec)) for codec in codecs]
    return pd.DataFrame([_row(codec, source, keys) for codec in built])


def of_kinds(kinds: Sequence[str]) -> list[Mapping[str, Any]]:
    """Those of :data:`SURVEYED` that are of some kinds (none: all); a codec of one's own with its defaults.

    Raises:
        ConfigError: no codec is of that kind.
    """
    known = _kinds()
    for kind in kinds:
        if kind not in known:
            raise ConfigError(f"kind = {kind!r} is no codec; {nearest(kind, known)}")
    if not kinds:
        return list(SURVEYED)
    found = [settings for settings in SURVEYED if settings["kind"] in kinds]
    have = {settings["kind"] for settings in found}
    return [*found, *({"kind": kind} for kind in kinds if kind not in have)]


def shown(table: pd.DataFrame) -> str:
    """A survey as text of fixed width, for a terminal."""
    frame = pd.DataFrame(
        {
            "codec": table["codec"],
            "bits/entry": table["bits_per_entry"].map("{:.3f}".format),
            "error": table["error"].map("{:.3g}".format),
            "over D(R) [dB]": table["gap_db"].map(lambda gap: "-" if math.isnan(gap) else f"{gap:.2f}"),
            "bias": table["bias"].map(lambda bias: "-" if math.isnan(bias) else f"{bias:.3f}"),
            "encode [M/s]": (table["encode_entries_per_s"] / 1e6).map("{:.0f}".format),
            "decode [M/s]": (table["decode_entries_per_s"] / 1e6).map("{:.0f}".format),
            "paper": table["paper"],
        }
    )
    left = ("codec", "paper")
    lines: list[list[str]] = [
        [str(name) for name in frame],
        [""] * len(frame.columns),
        *frame.to_numpy().tolist(),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(frame.columns))]
    lines[1] = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(lines[0], line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _kinds() -> list[str]:
    return [str(cls.kind) for cls in CODECS]  # type: ignore[attr-defined]


def label_of(codec: Codec) -> str:
    """A codec's kind, and its settings where they are not the defaults."""
    return _label(plain(codec))


def _label(settings: Mapping[str, Any]) -> str:
    kind = str(settings["kind"])
    defaults = plain(CODECS.build({"kind": kind})) if kind in _kinds() else {}
    parts = [
        _shown(name, value)
        for name, value in settings.items()
        if name != "kind" and value != defaults.get(name)
    ]
    return f"{kind} {' '.join(parts)}" if parts else kind


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        inner = str(value["kind"]) if name == "coder" else f"({_label(value)})"
        return inner if name in ("coder", "codec") else f"{name}={inner}"
    return f"{name}={value}" if isinstance(value, int | float) else str(value)


def _row(codec: Codec, source: Source, keys: int) -> dict[str, Any]:
    x = source.vector.double()
    energy = float(x.square().sum())
    bits, errors, encode_s, decode_s = [], [], [], []
    mean, squares = torch.zeros_like(x), 0.0
    for number in range(keys):
        ctx = Context(source.layout, Key(number) / "survey")
        (payload, _), seconds = _timed(lambda ctx=ctx: codec.encode(source.vector, ctx=ctx))  # type: ignore[misc]
        encode_s.append(seconds)
        (decoded, _), seconds = _timed(lambda p=payload, ctx=ctx: codec.decode(p, ctx=ctx))  # type: ignore[misc]
        decode_s.append(seconds)
        error = decoded.double() - x
        bits.append(payload.bits / max(len(x), 1))
        errors.append(float(error.square().sum()))
        mean += error / keys
        squares += errors[-1] / keys
    whole = float(mean.square().sum())
    # Of the mean of so many, chance leaves the variance over their number; of one, no telling how much.
    chance = (squares - whole) / (keys - 1) if keys > 1 else math.nan
    rate, loss = float(np.mean(bits)), float(np.mean(errors)) / energy if energy else 0.0
    return {
        "codec": label_of(codec),
        "kind": codec.kind,
        "bits_per_entry": rate,
        "error": loss,
        "gap_db": 10 * math.log10(loss) + 20 * math.log10(2) * rate if loss > 0 else math.nan,
        "bias": math.sqrt(np.maximum(whole - chance, 0.0) / energy) if energy else 0.0,
        "encode_entries_per_s": len(x) / min(encode_s),
        "decode_entries_per_s": len(x) / min(decode_s),
        "paper": getattr(codec, "paper", ""),
    }


def _timed(step: Callable[[], Any]) -> tuple[Any, float]:
    start_s = time.perf_counter()
    result = step()
    return result, time.perf_counter() - start_s


def _flat(name: str, tensors: Mapping[str, Tensor]) -> Source:
    slots, parts, start = [], [], 0
    for key, tensor in tensors.items():
        slots.append(Slot(key, tuple(tensor.shape) or (1,), start))
        parts.append(tensor.detach().reshape(-1).to(torch.float32))
        start = slots[-1].stop
    return Source(name, torch.cat(parts), Layout(tuple(slots)))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".npy":
            held: Any = torch.from_numpy(np.load(path, allow_pickle=False))
        else:
            held = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, ValueError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"{path} can't be read as a vector ({first}); save a tensor or a state_dict"
        ) from None
    tensors = held if isinstance(held, Mapping) else {"vector": held}
    found = {
        str(name): tensor
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel()
    }
    if not found:
        raise DataError(
            f"{path} holds no floating-point tensor; save an update or a state_dict with torch.save"
        )
    return found


def _digits_update() -> Source:
    """What the second of two UEs learns in an epoch, from the model that the first one left behind."""
    digits, key = Digits().load(), Key(0) / "survey"
    module = build_seeded(MLP(hidden=(64,)), digits.shape, digits.classes, key / "model")
    layout = Layout.of(module)
    engine, before = LoopEngine(module, layout), layout.read(module)
    state = before
    for ue, part in enumerate(IID().split(digits.train.y, ues=2, key=key / "partition")):
        before = state
        job = Job(f"ue{ue}", before, digits.train[part], Training(learning_rate=0.1), key / ue, round=1)
        state = engine.result(engine.submit(job)).state
    return Source("an update of digits", state.vector - before.vector, layout)
