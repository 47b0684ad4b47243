"""What an experiment will be, without training: the resolved scenario, rho, and each variant's airtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syft_fl.codecs import Context
from syft_fl.experiment.config import Experiment
from syft_fl.experiment.runs import cached_loader
from syft_fl.federation import Scenario, check_fits, expected_uplink_phase_s, measure, settle
from syft_fl.keys import Key
from syft_fl.learn import build_seeded
from syft_fl.schema import plain
from syft_fl.transport import OVERHEAD_BYTES
from syft_fl.vectors import Layout

__all__ = ["preview"]


def preview(
    experiment: Experiment,
    *,
    data_root: str | Path | None = None,
    accept_checksum_mismatch: bool = False,
) -> str:
    """Check an experiment and describe it.

    Each variant's airtime is that of a Gaussian vector of the model's length, really encoded.

    Raises:
        ConfigError, DataError: what :func:`~syft_fl.experiment.runs.compare` would raise before it trains.
    """
    load_data = cached_loader(Path(data_root) if data_root else None, accept_checksum_mismatch)
    budget = measure(experiment.base, load_data(experiment.base.data))
    base = settle(experiment.base, budget)
    lines = [f"# {experiment.name}", *_toml(plain(base)), "", f"# {budget}"]
    width = max(len(variant.name) for variant in experiment.variants)
    lines += ["", f"# {'variant':<{width}}  bits per upload  bits per entry  expected uplink phase"]
    for variant in experiment.variants:
        scenario = settle(variant.scenario, budget)
        dataset = load_data(scenario.data)
        for seed in experiment.seeds:
            check_fits(scenario.with_seed(seed), dataset)
        module = build_seeded(scenario.model, dataset.shape, dataset.classes, Key(0))
        bits, entries = _upload_bits(scenario, Layout.of(module))
        phase_s = expected_uplink_phase_s(scenario, bits)
        lines.append(f"# {variant.name:<{width}}  {bits:>15,}  {bits / entries:>14.3f}  {phase_s:.4g} s")
    budget.check()
    return "\n".join(lines)


def _upload_bits(scenario: Scenario, layout: Layout) -> tuple[int, int]:
    """Bits of one upload's frame, and entries of the model."""
    import torch

    key = Key(scenario.seed) / "preview"
    vector = torch.randn(layout.length, generator=key.torch())
    payload, _ = scenario.uplink.codec.encode(vector, ctx=Context(layout, key))
    return 8 * (len(payload.body) + OVERHEAD_BYTES), layout.length


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
