"""The command that draws figures, from the files of runs or from a cell alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syft_fl.errors import ConfigError

if TYPE_CHECKING:
    from syft_fl.experiment import Comparison

__all__ = ["draw", "plot"]


def plot(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="Folder that compare, run or sweep has written; left out with --cell."
        ),
    ] = None,
    cell: Annotated[
        Path | None,
        typer.Option(
            metavar="CONFIG",
            help="Draw where the UEs of this experiment file or scenario are, and their rates.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for figures.", show_default="FOLDER/figures or results/NAME/figures"
        ),
    ] = None,
) -> None:
    """Draw figures; runs nothing.

    Those of a comparison, run or sweep again, from the files in its FOLDER alone; or, with --cell, a cell from above
    and the distribution of its rates.
    """
    from syft_fl.experiment import Comparison, Result

    if (folder is None) == (cell is None):
        raise ConfigError("plot needs either the FOLDER of a run or of a comparison, or --cell NAME_OR_FILE")
    if folder is None:
        assert cell is not None  # for the type checker
        _draw_cell(cell, out)
        return
    if (folder / "sweep.parquet").exists():
        _draw_sweep(folder, out)
        return
    single = (folder / "config.json").exists()
    found = (
        Comparison(folder.name, (Result.load(folder, name=folder.name),), None, folder)
        if single
        else Comparison.load(folder)
    )
    typer.echo(str(found))
    draw(found, out or folder / "figures")


def draw(comparison: Comparison, folder: Path) -> None:
    """Draw all figures of a comparison into a folder, and say so."""
    from syft_fl.plots import draw_all

    written = draw_all(comparison, folder)
    typer.echo(f"figure: {written[0]} ({len(written)} files of figures beside it)")


def _draw_sweep(folder: Path, out: Path | None) -> None:
    from syft_fl.experiment import SweepResult
    from syft_fl.plots import save, time_to_target

    result = SweepResult.load(folder)
    typer.echo(str(result))
    if not result.results:
        return
    figures = {"accuracy-latency_s": result.plot()}
    if result.target_accuracy is not None:
        figures["time-to-target"] = time_to_target(result)
    into = out or folder / "figures"
    written = [path for name, figure in figures.items() for path in save(figure, into, name)]
    typer.echo(f"figure: {written[0]} ({len(written)} files of figures beside it)")


def _draw_cell(source: Path, out: Path | None) -> None:
    from syft_fl.experiment import load
    from syft_fl.experiment.cell_survey import survey_cell
    from syft_fl.plots import map_and_rates, save

    experiment = load(source)
    folder = out or Path("results") / experiment.name / "figures"
    figure = map_and_rates(**survey_cell(experiment.base).drawn(experiment.name))
    written = save(figure, folder, f"cell-{experiment.name}")
    typer.echo(f"figure: {written[0]} ({len(written)} files)")
