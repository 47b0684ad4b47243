"""Published files on disk: where they are, whether they are the published ones, and how torchvision gets them.

torchvision is imported when a set is loaded, never before: it takes a second, and beside a torch of another build it
needs :func:`torchvision_datasets`. Files are compared with the published MD5s *before* they are read, since some
of them are pickles. A folder that already holds the files is only read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from syft_fl.errors import DataError

__all__ = ["check_files", "data_root", "download", "missing_files", "reading", "torchvision_datasets"]

_ROOT_VARIABLE = "SYFT_FL_DATA"


def data_root(root: Path | None) -> Path:
    """The folder that holds the data sets' own folders: ``root``, else ``$SYFT_FL_DATA``, else ``./data``."""
    return Path(root or os.environ.get(_ROOT_VARIABLE) or "data").expanduser().absolute()


def torchvision_datasets() -> Any:
    """``torchvision.datasets``, also where torchvision's compiled operators don't fit the installed torch.

    A torchvision built for CUDA can't load its operators beside a CPU-only torch, and its import then fails on two
    operators whose schemas it takes for granted. Reading data needs neither, so the two are declared first.

    Raises:
        DataError: torchvision can't be imported all the same.
    """
    try:
        _declare_missing_operators()
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"torchvision can't be imported beside torch {torch.__version__} ({error}); "
            "install the torchvision release that belongs to it"
        ) from error
    return datasets


def _declare_missing_operators() -> None:
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return
    # Loading a library twice is harmless, defining an operator twice is not: so torchvision's own come first.
    for library in sorted(Path(package.origin).parent.glob("_C.*")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            continue
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", signature)


def missing_files(folder: Path, md5s: Mapping[str, str]) -> list[str]:
    """Those of the named files that are not in the folder."""
    return [name for name in md5s if not (folder / name).is_file()]


def download(source: Any, root: Path) -> None:
    """Fetch a torchvision data set, with its progress bar.

    Raises:
        DataError: it can't be fetched, unpacked or written.
    """
    try:
        source(root, download=True)
    # Network, file system, archive and checksum each have exceptions of their own.
    except Exception as error:
        raise DataError(
            f"{source.__name__} can't be downloaded to {root} ({type(error).__name__}: {error}); "
            f"put its files there by hand, or name a folder that has them (--data-root, ${_ROOT_VARIABLE})"
        ) from error


def check_files(folder: Path, md5s: Mapping[str, str], *, root: Path, accept_mismatch: bool) -> None:
    """Refuse files that are missing; refuse, or warn about, files that are not the published ones.

    Raises:
        DataError: a file is missing, or its MD5 is another one and that is not accepted.
    """
    missing = missing_files(folder, md5s)
    if missing:
        raise DataError(
            f"{', '.join(missing)} not found in {folder}; name the folder that holds "
            f"{folder.relative_to(root).parts[0]} with --data-root, or in ${_ROOT_VARIABLE}, "
            "or fetch the files with data.download = true"
        )
    other = [name for name, md5 in md5s.items() if _md5(folder / name) != md5]
    if not other:
        return
    message = f"{', '.join(other)} in {folder} don't have the published MD5 checksums"
    if not accept_mismatch:
        raise DataError(
            f"{message}; delete them and use data.download = true, or accept a copy "
            "whose origin you trust with accept_checksum_mismatch (--accept-checksum-mismatch)"
        )
    warnings.warn(f"{message}: results are not results on the published data", UserWarning, stacklevel=3)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn whatever reading damaged files raises into one error.

    Raises:
        DataError: the files can't be read.
    """
    try:
        with warnings.catch_warnings():
            # The published pickles are from Python 2; some releases of numpy 2.4 warn about how they spell a dtype.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            yield
    # A damaged pickle can raise nearly anything.
    except Exception as error:
        raise DataError(
            f"the files in {folder} can't be read ({type(error).__name__}: {error}); "
            "delete them and use data.download = true"
        ) from error
