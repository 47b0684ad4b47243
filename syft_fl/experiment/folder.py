"""A run's folder: what is written when, so that a kill at any instant loses nothing that was finished.

::

    config.json         the resolved scenario (result file)
    rounds.jsonl        one line per round, appended (result file)
    transfers.jsonl     one line per transmission, appended (result file)
    computations.jsonl  one line per training of a UE, appended (result file)
    decisions.jsonl     one line per decision of a trigger, appended (result file); only of a run with a trigger
    checkpoint.pt       the simulation after a round, and the length of these files then; replaced atomically
    provenance.json     versions and host seconds; its `finished` says that the run is complete

Result files depend on scenario, machine and library versions only. Going on from a checkpoint cuts the appended files
to the lengths it knows: a torn line, or rounds after the checkpoint, are written anew, byte for byte.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import torch

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from syft_fl.devices import loads_onto, ready
from syft_fl.errors import RunError
from syft_fl.federation import RoundRecord

__all__ = ["TABLES", "RunFolder", "json_line", "read_rows", "write_atomically"]

TABLES = ("rounds", "transfers", "computations", "decisions")
"""What is appended round by round, each to a file of JSON lines."""

_TRIGGERED = ("decisions",)
"""Those that only a run with a trigger has."""


class RunFolder:
    """One run's files. Use :meth:`start`, then :meth:`append` and :meth:`checkpoint` after each round."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._files: dict[str, BinaryIO] = {}

    @property
    def config(self) -> dict[str, Any] | None:
        """The resolved scenario that this folder holds a run of; None where there is none."""
        return _read_json(self.path / "config.json")

    @property
    def provenance(self) -> dict[str, Any] | None:
        return _read_json(self.path / "provenance.json")

    @property
    def finished(self) -> bool:
        provenance = self.provenance
        return provenance is not None and provenance.get("finished") is True

    def rounds(self) -> list[dict[str, Any]]:
        """The rows of the rounds written so far."""
        return read_rows(self.path / "rounds.jsonl")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder; where one holds it, wait until it ends.

        A run whose caller was killed goes on to the end of its round, and must not write into what another goes on
        with. Nothing is kept out on Windows, and on file systems without locks.

        Raises:
            RunError: the folder can't be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _can_not_write(self.path, error) from None
        if fcntl is None:
            yield
            return
        held = os.open(self.path, os.O_RDONLY)
        try:
            with suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)

    def admit(self, config: Mapping[str, Any], *, resume: bool, force: bool) -> None:
        """Check that a run may begin here.

        Raises:
            RunError: the folder holds another run, or an unfinished one and neither ``resume`` nor ``force`` is said.
        """
        held = self.config
        if held is None or force:
            return
        if held != config:
            raise RunError(
                f"{self.path} holds a run of another scenario (differs in {_difference(held, config)}); "
                "choose another folder, or --force to replace it"
            )
        if not resume:
            raise RunError(
                f"{self.path} holds an unfinished run; --resume to go on with it, --force to begin anew"
            )

    def start(
        self, config: Mapping[str, Any], *, resume: bool, force: bool, from_checkpoint: bool = True
    ) -> dict[str, Any] | None:
        """Make the folder ready for a run.

        Args:
            config: the resolved scenario.
            resume: go on with an unfinished run of it.
            force: replace whatever is there.
            from_checkpoint: false: its tables are all written anew, whatever there is of them.

        Returns:
            The simulation's state to go on from, or None to begin.

        Raises:
            RunError: it can't be written, or it holds another run, or an unfinished one and neither ``resume`` nor
                ``force`` is said.
        """
        self.admit(config, resume=resume, force=force)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            goes_on = resume and not force and from_checkpoint
            spills = config.get("population", {}).get("spill_mb") is not None
            state = self._checkpointed(ready(config.get("device")), mapped=spills) if goes_on else None
            if state is None:
                for name in ("provenance.json", "checkpoint.pt"):
                    (self.path / name).unlink(missing_ok=True)
            write_atomically(self.path / "config.json", json.dumps(config, indent=1).encode() + b"\n")
            for name in TABLES:
                path = self.path / f"{name}.jsonl"
                if name in _TRIGGERED and config.get("trigger") is None:
                    path.unlink(missing_ok=True)  # of another run, which this one replaces
                else:
                    self._files[name] = _open_at(path, state[f"{name}_bytes"] if state else 0)
        except OSError as error:
            raise _can_not_write(self.path, error) from None
        return state["simulation"] if state else None

    def append(self, record: RoundRecord) -> None:
        """Write a round's lines."""
        lines = {
            "transfers": b"".join(json_line(asdict(entry)) for entry in record.entries),
            "computations": b"".join(json_line(asdict(computation)) for computation in record.computations),
            "decisions": b"".join(json_line(asdict(decision)) for decision in record.decisions),
            "rounds": json_line(record.row),  # last: what a round's row sums up is there before it
        }
        for name, data in lines.items():
            if name in self._files:
                self._files[name].write(data)
                self._files[name].flush()

    def write(self, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Write all lines of a run that is known as a whole."""
        for name, rows in tables.items():
            self._files[name].write(b"".join(map(json_line, rows)))
            self._files[name].flush()

    def take(self, tables: Mapping[str, bytes]) -> None:
        """Write the tables of a run that was written elsewhere, as they are."""
        for name, data in tables.items():
            self._files[name].write(data)
            self._files[name].flush()

    def checkpoint(self, simulation: Mapping[str, Any]) -> None:
        """Remember the simulation as it is after the rounds written so far."""
        state = {"simulation": dict(simulation)} | {
            f"{name}_bytes": file.tell() for name, file in self._files.items()
        }
        temporary = self.path / "checkpoint.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.path / "checkpoint.pt")

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Mark the run as complete; what was needed to go on with it is removed."""
        write_atomically(
            self.path / "provenance.json", json.dumps({**provenance, "finished": True}, indent=1).encode()
        )
        self.close()
        (self.path / "checkpoint.pt").unlink(missing_ok=True)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _checkpointed(self, device: torch.device, *, mapped: bool) -> dict[str, Any] | None:
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        # What does not fit into memory must not go through it either.
        state: dict[str, Any] = torch.load(
            path, weights_only=True, mmap=mapped, map_location=loads_onto(device)
        )
        return state


def json_line(row: Mapping[str, Any]) -> bytes:
    """A row as one line of strict JSON; what is not a finite number becomes null."""
    clean = {key: _finite(value) for key, value in row.items()}
    return json.dumps(clean, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; a last line without an end was torn by a kill and is left out."""
    data = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _can_not_write(path: Path, error: OSError) -> RunError:
    return RunError(f"{path} can't be written ({error.strerror or error}); choose another folder with --out")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _open_at(path: Path, length: int) -> BinaryIO:
    """Open for writing after the first ``length`` bytes; the rest is cut off."""
    file = path.open("r+b" if path.exists() else "w+b")
    file.truncate(length)
    file.seek(length)
    return file


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read ({error}); --force begins anew") from None
    return found


def _difference(one: Any, other: Any, path: str = "") -> str:
    """Path of the first setting in which two configs differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in {**one, **other}:
            if one.get(key) != other.get(key):
                return _difference(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    return f"{path}: {one!r} there, {other!r} here"
