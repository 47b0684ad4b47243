"""Figures to files: the same data give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from syft_fl.plots.style import styled
from syft_fl.schema import nearest, require

__all__ = ["save"]

# None leaves an entry out: dates and versions say nothing of the data and would change the bytes.
METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


def save(
    figure: Figure, folder: str | Path, name: str, *, formats: Sequence[str] = ("png", "pdf", "svg")
) -> list[Path]:
    """Write a figure as ``folder/name.format`` in each format; the folder is made where there is none.

    Raises:
        ConfigError: a format that is not ``png``, ``pdf`` or ``svg``.
    """
    for one in formats:
        require(one in METADATA, "formats", one, "known", nearest(one, METADATA))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{one}" for one in formats]
    with styled():
        for path, one in zip(paths, formats, strict=True):
            figure.savefig(path, format=one, metadata=METADATA[one])
    return paths
