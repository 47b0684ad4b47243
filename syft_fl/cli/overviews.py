"""Commands that train nothing and need no run: what an experiment will be, what scenarios and codecs there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syft_fl.cli.arguments import Config, DataRoot, Device, Mismatch, Overrides, with_device
from syft_fl.errors import RunError

__all__ = ["check", "codecs", "scenarios"]


def check(
    config: Config,
    overrides: Overrides = None,
    device: Device = None,
    data_root: DataRoot = None,
    accept_checksum_mismatch: Mismatch = False,
) -> None:
    """Say what an experiment will be.

    Trains nothing. Prints all settings, those left out of the file included; rho, the time of a float32 uplink phase
    over the compute time; SNR, rates, airtime and losses of each radio; and what a round of each variant is expected
    to take.
    """
    from syft_fl.experiment import load, preview

    experiment = load(config, with_device(overrides, device))
    typer.echo(preview(experiment, data_root=data_root, accept_checksum_mismatch=accept_checksum_mismatch))


def scenarios(
    parameters: Annotated[
        int,
        typer.Option(
            help="Parameters of the model whose airtime is told; in float32.",
            show_default="1199882, a CNN for MNIST",
        ),
    ] = 1_199_882,
) -> None:
    """List the scenarios in the package.

    With SNR and rate of each, and how long a model is on the air. A scenario's name goes wherever an experiment file
    does.
    """
    from syft_fl.experiment.overview import overview

    typer.echo(overview(parameters))


def codecs(
    source: Annotated[
        str,
        typer.Option(
            help="gaussian, laplace, digits (a real update), or a file: .npy, or .pt with a tensor or state_dict."
        ),
    ] = "gaussian",
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only codecs of this kind; may be given again.", show_default="all"),
    ] = None,
    entries: Annotated[int, typer.Option(help="Entries of a drawn source.")] = 65536,
    keys: Annotated[
        int, typer.Option(help="Random streams that error and bias are means over; bias takes two.")
    ] = 16,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for codecs.csv and the figure.", show_default="none written"
        ),
    ] = None,
) -> None:
    """Compare all codecs on one vector.

    Bits, error, gap to Shannon's distortion-rate function D(R), bias and speed of each; with --out also as a figure.
    """
    from syft_fl.experiment.survey import of_kinds, shown, source_of, survey
    from syft_fl.learn import intra_op_threads

    with intra_op_threads(1):
        vector = source_of(source, entries=entries)
        table = survey(vector, of_kinds(kind or ()), keys=keys)
    typer.echo(shown(table))
    if out is not None:
        from syft_fl.plots import rate_distortion, save

        try:
            out.mkdir(parents=True, exist_ok=True)
            table.to_csv(out / "codecs.csv", index=False)
        except OSError as error:
            raise RunError(
                f"{out} can't be written ({error.strerror or error}); choose another folder with --out"
            ) from None
        drawn = "none, as no codec has an error"
        if (table["error"] > 0).any():
            figure = rate_distortion(table, source=f"{vector.name}, {len(vector.vector):,} entries")
            drawn = str(save(figure, out, "codecs")[0])
        typer.echo(f"figure: {drawn}; table: {out / 'codecs.csv'}")
