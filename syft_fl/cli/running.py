"""Commands that train: one run, a comparison, a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from syft_fl.cli.arguments import (
    Config,
    DataRoot,
    Device,
    Force,
    Jobs,
    Mismatch,
    NoRetime,
    Out,
    Overrides,
    RayCluster,
    Resume,
    Track,
    with_device,
)
from syft_fl.cli.figures import draw

__all__ = ["compare", "run", "sweep"]


def run(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    variant: Annotated[
        str | None, typer.Option(help="Run this variant instead of the base scenario.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    resume: Resume = False,
    force: Force = False,
    track: Track = None,
    device: Device = None,
    data_root: DataRoot = None,
    accept_checksum_mismatch: Mismatch = False,
) -> None:
    """Run one scenario, write its folder.

    Without --variant it is the base scenario; without --seed its own seed, 0 unless the file says another.
    """
    from syft_fl.experiment import load
    from syft_fl.experiment import run as run_one

    experiment = load(config, with_device(overrides, device))
    folder = out or Path("results") / experiment.name / (variant or "base")
    with _says_how_to_go_on():
        result = run_one(
            experiment,
            variant=variant,
            seed=seed,
            out=folder,
            resume=resume,
            force=force,
            track=track or (),
            data_root=data_root,
            accept_checksum_mismatch=accept_checksum_mismatch,
        )
    typer.echo(str(result))
    typer.echo(f"written to {folder}")


def compare(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    jobs: Jobs = 1,
    ray: RayCluster = None,
    resume: Resume = False,
    force: Force = False,
    no_retime: NoRetime = False,
    track: Track = None,
    device: Device = None,
    data_root: DataRoot = None,
    accept_checksum_mismatch: Mismatch = False,
) -> None:
    """Run all variants with all seeds.

    Prints the table of accuracies, times and paired speed-ups, and draws the figures. Variants that differ in nothing
    but time (radio, access, compute) are trained once; --no-retime trains each.
    """
    from syft_fl.experiment import compare as compare_all
    from syft_fl.experiment import load

    experiment = load(config, with_device(overrides, device))
    folder = out or Path("results") / experiment.name
    with _says_how_to_go_on():
        comparison = compare_all(
            experiment,
            out=folder,
            jobs=jobs,
            ray=ray,
            resume=resume,
            force=force,
            retime=not no_retime,
            track=track or (),
            data_root=data_root,
            accept_checksum_mismatch=accept_checksum_mismatch,
        )
    typer.echo(str(comparison))
    draw(comparison, folder / "figures")


def sweep(
    config: Config,
    overrides: Overrides = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            "-g",
            metavar="KEY=VALUE,VALUE",
            help="A setting and its values, for example uplink.codec.bits=2,4,8; given again, all combinations "
            "are run. A value is a number, a word, a range 0..4, or a table: {kind = 'qsgd', levels = 7}.",
            show_default="the scenario as it is",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="SEEDS", help="Seeds of each point, for example 0..4 or 0,1,7.", show_default="the file's"
        ),
    ] = None,
    jobs: Jobs = 1,
    ray: RayCluster = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for results; what is finished in it is not run again.",
            show_default="results/NAME-sweep",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished.")] = False,
    no_retime: NoRetime = False,
    track: Track = None,
    device: Device = None,
    data_root: DataRoot = None,
    accept_checksum_mismatch: Mismatch = False,
) -> None:
    """Run a grid of settings: all variants, all values, all seeds.

    Checks every combination before it trains, prints the time to the target at each point of the grid, and writes all
    rounds of all runs into one table, OUT/sweep.parquet. The same command goes on where a killed sweep stopped. A run
    that fails does not stop the others; they are listed at the end, and the exit code is 1. Runs that differ in nothing
    but time (radio, access, compute) are trained once; --no-retime trains each.

    Values of the grid go over what a variant says, KEY=VALUE below it. Compute time is settled once, from CONFIG's base
    scenario with KEY=VALUE applied, and every point of the grid inherits it in seconds: no UE computes faster in a
    smaller cell. To vary it, put it into the grid: --grid compute.rho=0.3,1,3.
    """
    from syft_fl.experiment import load
    from syft_fl.experiment import sweep as sweep_all
    from syft_fl.experiment.grid import parse_grid, parse_seeds

    experiment = load(config, with_device(overrides, device))
    folder = out or Path("results") / f"{experiment.name}-sweep"
    with _says_how_to_go_on("the same command"):
        result = sweep_all(
            experiment,
            grid=parse_grid(grid or ()),
            seeds=None if seeds is None else parse_seeds(seeds),
            jobs=jobs,
            ray=ray,
            out=folder,
            force=force,
            retime=not no_retime,
            track=track or (),
            data_root=data_root,
            accept_checksum_mismatch=accept_checksum_mismatch,
        )
    typer.echo(str(result))
    typer.echo(f"written to {folder / 'sweep.parquet'}")
    if result.failures:
        raise typer.Exit(1)


@contextmanager
def _says_how_to_go_on(command: str = "the same command with --resume") -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted: finished rounds are kept; {command} goes on", err=True)
        raise typer.Exit(130) from None
