"""Commands about a finished run: its accuracy over another radio, its messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syft_fl.cli.arguments import DataRoot, Force, Mismatch, Overrides

__all__ = ["retime", "trace"]


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
