"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Config",
    "DataRoot",
    "Device",
    "Force",
    "Jobs",
    "Mismatch",
    "NoRetime",
    "Out",
    "Overrides",
    "RayCluster",
    "Resume",
    "Track",
    "with_device",
]

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


def with_device(overrides: list[str] | None, device: str | None) -> list[str]:
    """Overrides, and the option that is short for one of them."""
    return [*(overrides or ()), *(() if device is None else (f"device={device}",))]
