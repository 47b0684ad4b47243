"""What an experiment will be, without training: the resolved scenario, rho, and each variant's airtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from syft_fl.codecs import Codec, Context
from syft_fl.data import Dataset
from syft_fl.experiment.config import Experiment
from syft_fl.experiment.runs import cached_loader
from syft_fl.experiment.table import number
from syft_fl.federation import (
    Scenario,
    check_fits,
    compute_times,
    expected_downlink_phase_s,
    expected_rounds,
    mean_samples,
    measure,
    settle,
)
from syft_fl.keys import Key
from syft_fl.learn import build_seeded
from syft_fl.schema import plain
from syft_fl.transport import OVERHEAD_BYTES
from syft_fl.vectors import Layout

__all__ = ["preview"]

_TITLES = (
    "variant",
    "bits up",
    "bits per entry",
    "bits down",
    "downlink [s]",
    "compute [s]",
    "uplink [s]",
    "round [s]",
)


def preview(
    experiment: Experiment,
    *,
    data_root: str | Path | None = None,
    accept_checksum_mismatch: bool = False,
) -> str:
    """Check an experiment and describe it.

    Each variant's airtime is that of a Gaussian vector of the model's length, really encoded; a round's expected
    time is downlink, compute and uplink one after the other.

    Raises:
        ConfigError, DataError: what :func:`~syft_fl.experiment.runs.compare` would raise before it trains.
    """
    load_data = cached_loader(Path(data_root) if data_root else None, accept_checksum_mismatch)
    budget = measure(experiment.base, load_data(experiment.base.data))
    base = settle(experiment.base, budget)
    lines = [f"# {experiment.name}", *_toml(plain(base)), "", f"# {budget}"]
    rows: list[tuple[str, ...]] = [_TITLES]
    for variant in experiment.variants:
        scenario = settle(variant.scenario, budget)
        dataset = load_data(scenario.data)
        for seed in experiment.seeds:
            check_fits(scenario.with_seed(seed), dataset)
        rows.append((variant.name, *_forecast(scenario, dataset)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines.append("")
    for name, *cells in rows:
        aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("# " + "  ".join((name.ljust(widths[0]), *aligned)))
    budget.check()
    return "\n".join(lines)


def _forecast(scenario: Scenario, dataset: Dataset) -> tuple[str, ...]:
    """A round's bits and expected seconds, as text."""
    layout = Layout.of(build_seeded(scenario.model, dataset.shape, dataset.classes, Key(0)))
    up, down = (
        _bits(direction.codec, scenario, layout) for direction in (scenario.uplink, scenario.downlink)
    )
    expected = expected_rounds(scenario, up, download_bits=down, compute_s=compute_times(scenario, dataset))
    up_s = expected.uplink_phase_s
    down_s = expected_downlink_phase_s(scenario, down, cohorts=expected.cohorts)
    compute_s = scenario.compute.seconds(mean_samples(scenario, dataset))
    seconds = (down_s, compute_s, up_s, down_s + compute_s + up_s)
    return (f"{up:,}", f"{up / layout.length:.3f}", f"{down:,}", *(number(value) for value in seconds))


def _bits(codec: Codec, scenario: Scenario, layout: Layout) -> int:
    """Bits on the air of a Gaussian vector of the model's length, really encoded, frame included."""
    key = Key(scenario.seed) / "preview"
    vector = torch.randn(layout.length, generator=key.torch())
    payload, _ = codec.encode(vector, ctx=Context(layout, key))
    return 8 * (len(payload.body) + OVERHEAD_BYTES)


def _toml(table: Mapping[str, Any], path: str = "") -> list[str]:
    """Settings as TOML, one line per value."""
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            name = f"{path}{key}"
            inner = {k: v for k, v in value.items() if not isinstance(v, dict)}
            lines += ["", f"[{name}]"] if inner or not value else []
            lines += _toml(value, f"{name}.")
    return lines


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
