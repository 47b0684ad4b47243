"""What an experiment will be, without training: the resolved scenario, rho, its radio, and each variant's airtime."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from syft_fl.codecs import Codec, Context
from syft_fl.data import Dataset
from syft_fl.experiment.cell_survey import BLOCKS, DirectionSurvey, airtimes_s, survey_cell
from syft_fl.experiment.config import Experiment, Variant
from syft_fl.experiment.runs import cached_loader
from syft_fl.experiment.table import number
from syft_fl.federation import (
    Scenario,
    check_fits,
    compute_times,
    expected_downlink_phase_s,
    expected_rounds,
    mean_compute_s,
    measure,
    settle,
    upload_bits,
)
from syft_fl.keys import Key
from syft_fl.learn import build_seeded
from syft_fl.radio.over_the_air import bandwidth_hz
from syft_fl.schema import plain
from syft_fl.transport import OVERHEAD_BYTES
from syft_fl.transport.frame import pack_facts
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

    The radio is that of the base scenario, and of each variant that has another one: SNR, rates and the airtime of the
    float32 model at these rates, each UE being alone on the air, as quantiles over UEs and 32 blocks.
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
    for name, scenario in _radios(experiment):
        lines += ["", *_radio(name, scenario, upload_bits(scenario, load_data(scenario.data)))]
    lines += ["", *_aligned(rows)]
    budget.check()
    return "\n".join(lines)


def _radios(experiment: Experiment) -> list[tuple[str, Scenario]]:
    """The base scenario, and the variants whose radio is no earlier one's."""
    found: list[tuple[str, Scenario]] = []
    for name, scenario in (("the base scenario", experiment.base), *map(_named, experiment.variants)):
        if all(_radio_of(scenario) != _radio_of(known) for _, known in found):
            found.append((name, scenario))
    return found


def _named(variant: Variant) -> tuple[str, Scenario]:
    return variant.name, variant.scenario


def _radio_of(scenario: Scenario) -> tuple[Any, ...]:
    directions = (scenario.uplink, scenario.downlink)
    links = tuple(part for direction in directions for part in (direction.link, direction.access))
    return (scenario.seed, scenario.cell, scenario.population.ues, scenario.population.chosen, *links)


def _radio(name: str, scenario: Scenario, bits: int) -> list[str]:
    """A scenario's radio as lines of text."""
    survey = survey_cell(scenario, bits=bits)
    rows: list[tuple[str, ...]] = [("below this are", "5 %", "50 %", "95 %")]
    for direction in (survey.uplink, survey.downlink):
        rows += _direction_rows(direction, bits)
    return [
        f"# radio of {name}: {survey.who} in {BLOCKS} fading blocks, each UE alone on the air",
        *_aligned(rows),
    ]


def _direction_rows(survey: DirectionSurvey, bits: int) -> list[tuple[str, ...]]:
    name = survey.direction
    rates_bps = survey.rate_quantiles_bps
    rows: list[tuple[str, ...]] = []
    if survey.snr_db is not None:
        rows.append((f"{name}: SNR [dB]", *(f"{level_db:.1f}" for level_db in survey.snr_db)))
    part = "" if survey.share == 1 else f" in 1/{1 / survey.share:.4g} of the band"
    rows.append((f"{name}: rate{part} [bit/s]", *(f"{rate_bps:,.0f}" for rate_bps in rates_bps)))
    rows.append(
        (f"{name}: airtime of {bits:,} bits at that rate [s]", *map(number, airtimes_s(rates_bps, bits)))
    )
    if survey.lost is not None:
        lost, tried = int(survey.lost.sum()), survey.lost.size
        rows.append(
            (f"{name}: {lost} of {tried} such messages lost ({100 * lost / tried:.2g} %)", "", "", "")
        )
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as comments of fixed width: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "# " + "  ".join((row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]))).rstrip()
        for row in rows
    ]


def _forecast(scenario: Scenario, dataset: Dataset) -> tuple[str, ...]:
    """A round's bits and expected seconds, as text."""
    layout = Layout.of(build_seeded(scenario.model, dataset.shape, dataset.classes, Key(0)))
    up, down = (
        _bits(direction.codec, scenario, layout) for direction in (scenario.uplink, scenario.downlink)
    )
    analog = scenario.uplink.analog
    if analog is not None:
        # What UEs report before they send at once; the amplitudes themselves are no bits.
        up = 8 * (
            len(pack_facts({"mean": -0.0123456789012345, "square": 0.123456789012345})) + OVERHEAD_BYTES
        )
    expected = expected_rounds(scenario, up, download_bits=down, compute_s=compute_times(scenario, dataset))
    up_s = expected.uplink_phase_s
    if analog is not None:
        up_s += analog.duration_s(layout.length, bandwidth_hz=bandwidth_hz(scenario.uplink.link))
    down_s = expected_downlink_phase_s(scenario, down, cohorts=expected.cohorts)
    compute_s = mean_compute_s(scenario, dataset)
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
