"""The command line: ``syft-fl run | compare | retime | sweep | plot | trace | check | scenarios | codecs``.

Only typer is imported to show help; torch comes with the first command that needs it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syft_fl import __version__
from syft_fl.errors import ConfigError, RunError, SyftFLError

if TYPE_CHECKING:
    from syft_fl.experiment import Comparison

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="After how many seconds on the air is a federated model how accurate, "
    "for this way of compressing and sending it?",
)

Config = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="Experiment file (TOML), a run's config.json, or the name of a scenario (syft-fl scenarios lists them).",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings that differ from the file's, for example uplink.codec.bits=4, stop.rounds=5 or scenario=nb-iot; "
        "syft-fl check shows all keys.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder for results.", show_default="results/NAME")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a killed run stopped.")]
Force = Annotated[bool, typer.Option("--force", help="Run again, replacing what the folder holds.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of MNIST and CIFAR-10.", show_default="$SYFT_FL_DATA or ./data"),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        help="Runs at a time, each in a process of its own with one thread; take as many as there are cores.",
    ),
]
RayCluster = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Spread runs over the cores of this Ray cluster; auto: the one of $RAY_ADDRESS or of this machine, "
        "local: a new one here. Needs pip install 'syft_fl[ray]'.",
        show_default="none",
    ),
]
NoRetime = Annotated[
    bool, typer.Option("--no-retime", help="Train each run, also those that differ in nothing but time.")
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="cpu|cuda|cuda:N",
        help="Where to train, test and aggregate: device=… of the file's base scenario.",
        show_default="the file's, else cpu",
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="tensorboard|mlflow",
        help="Also show each run there, round by round; may be given again. Needs pip install 'syft_fl[track]'.",
        show_default="nowhere",
    ),
]
Mismatch = Annotated[
    bool,
    typer.Option(
        "--accept-checksum-mismatch",
        help="Use a copy of a data set that differs from the published one, with a warning.",
    ),
]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"syft-fl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command()
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

    experiment = load(config, _with_device(overrides, device))
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


@app.command()
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

    experiment = load(config, _with_device(overrides, device))
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
    _draw(comparison, folder / "figures")


@app.command()
def retime(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    overrides: Overrides = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="The same as KEY=VALUE by itself; may be given again."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the files that running anew would write.",
            show_default="none written",
        ),
    ] = None,
    force: Force = False,
    data_root: DataRoot = None,
    accept_checksum_mismatch: Mismatch = False,
) -> None:
    """Tell a recorded run's accuracy against time over another radio; trains nothing.

    Cell, links, access schemes, cast, compute model and slowdown may change: times and energies are, to the bit, those
    of running the changed scenario anew. What may change what is learnt is refused, and says why.
    """
    from syft_fl.experiment import retime as retime_one

    result = retime_one(
        folder,
        *(overrides or ()),
        *(settings or ()),
        name=folder.name,
        out=out,
        force=force,
        data_root=data_root,
        accept_checksum_mismatch=accept_checksum_mismatch,
    )
    shown = result.rounds[["round", "latency_s", "accuracy", "ue_energy_j"]]
    typer.echo(shown.dropna(subset=["accuracy"]).to_string(index=False, float_format="{:.6g}".format))
    typer.echo(str(result))
    if out is not None:
        typer.echo(f"written to {out}")


@app.command()
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

    experiment = load(config, _with_device(overrides, device))
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


@app.command()
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
    _draw(found, out or folder / "figures")


@app.command()
def trace(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder that run has written; of a comparison, NAME/VARIANT/seed0 for example.",
        ),
    ],
    round: Annotated[
        int | None, typer.Option(help="Only what was under way in this round.", show_default="all rounds")
    ] = None,
    ue: Annotated[
        str | None,
        typer.Option(help="Only what this UE sent, received, computed and decided.", show_default="all UEs"),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, for programs, with all there is to say.")
    ] = False,
) -> None:
    """Print the messages of a run, in order.

    Who sent what to whom: MODEL (v3 is its version), UPDATE (#2 is the second of that UE), SKIP, REQUEST, GRANT, ACK,
    NACK, HELLO, BYE; its bits, when it was on the air, whether it was lost, tried again by the link or sent again by
    the protocol. Between them what UEs computed, what their trigger compared and decided, and how rounds closed. All
    times are simulated seconds; a line stands where its message was handed over for sending.
    """
    from syft_fl.experiment import Result

    found = Result.load(folder).trace(round=round, ue=ue)
    typer.echo(found.json_lines() if json else str(found), nl=not json)


@app.command()
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

    experiment = load(config, _with_device(overrides, device))
    typer.echo(preview(experiment, data_root=data_root, accept_checksum_mismatch=accept_checksum_mismatch))


@app.command()
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


@app.command()
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


def _with_device(overrides: list[str] | None, device: str | None) -> list[str]:
    """Overrides, and the option that is short for one of them."""
    return [*(overrides or ()), *(() if device is None else (f"device={device}",))]


@contextmanager
def _says_how_to_go_on(command: str = "the same command with --resume") -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted: finished rounds are kept; {command} goes on", err=True)
        raise typer.Exit(130) from None


def _draw(comparison: Comparison, folder: Path) -> None:
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


def main(arguments: list[str] | None = None) -> None:
    """The ``syft-fl`` command: an error of ours is one message, never a traceback.

    Args:
        arguments: of the command line; None: the process's own.
    """
    warnings.showwarning = _show_warning
    try:
        app(arguments)
    except SyftFLError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"warning: {message}", err=True)
