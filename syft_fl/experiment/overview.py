"""The scenarios that come with the package, side by side: what each is, and what its radio offers."""

from __future__ import annotations

from collections.abc import Iterator

from syft_fl.experiment.cell_survey import DirectionSurvey, airtimes_s, survey_cell
from syft_fl.experiment.config import load_scenario
from syft_fl.experiment.shipped import headline, scenarios
from syft_fl.experiment.table import number
from syft_fl.transport import OVERHEAD_BYTES

__all__ = ["overview"]

_BITS = 32
_TITLES = ("scenario", "direction", "SNR [dB]", "rate [Mbit/s]", "5 %", "95 %", "model [s]")


def overview(parameters: int) -> str:
    """A list and a table in Markdown.

    The table has medians over UEs and 32 blocks, each UE being alone on the air, the rate's 5 and 95 % quantiles, and
    the airtime at the median rate of a model of so many float32 parameters.
    """
    names = scenarios()
    rows = [row for name in names for row in _rows(name, _BITS * parameters + 8 * OVERHEAD_BYTES)]
    lines = [f"- `{name}`: {headline(name)}" for name in names]
    lines += ["", f"Medians of one UE at a time; the model has {parameters:,} parameters, float32.", ""]
    lines += [_line(_TITLES), _line(("---", "---", *["---:"] * (len(_TITLES) - 2)))]
    return "\n".join([*lines, *map(_line, rows)])


def _rows(name: str, bits: int) -> Iterator[tuple[str, ...]]:
    survey = survey_cell(load_scenario(name))
    for title, direction in ((f"`{name}`", survey.uplink), ("", survey.downlink)):
        yield (title, direction.direction, *_cells(direction, bits))


def _cells(survey: DirectionSurvey, bits: int) -> Iterator[str]:
    rates_bps = survey.rate_quantiles_bps
    low, median, high = (number(rate_bps / 1e6, digits=3) for rate_bps in rates_bps)
    yield "–" if survey.snr_db is None else f"{survey.snr_db[1]:.1f}"
    yield from (median, low, high, number(airtimes_s(rates_bps, bits)[1], digits=3))


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"
