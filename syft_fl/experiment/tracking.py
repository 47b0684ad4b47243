"""Runs mirrored to TensorBoard or MLflow, for those who watch experiments there (extra ``track``).

A mirror shows what a run writes anyway: every figure of a round, by round, and on the axes that trackers call wall time
or relative time the *simulated* seconds. The local files stay the truth: nothing is read back, a scenario does not know
of it, and a tracker that fails in mid-run is left alone, with a warning. A run that is resumed is shown from its
beginning; one that is finished and only read is not shown again.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from syft_fl.errors import ConfigError
from syft_fl.schema import nearest

__all__ = ["TRACKERS", "Mirror", "Tracking", "tracking"]

TRACKERS = ("mlflow", "tensorboard")
"""Trackers by the name of the library that each needs."""

_PARAMS_AT_ONCE = 100
"""As many as MLflow takes in one call."""


@dataclass(frozen=True)
class Tracking:
    """Where runs are mirrored.

    Attributes:
        trackers: of :data:`TRACKERS`.
        experiment: name under which MLflow keeps the runs.
        folder: what TensorBoard's files are written below.
    """

    trackers: tuple[str, ...]
    experiment: str
    folder: Path | None

    def mirror(self, name: str, seed: int, config: Mapping[str, Any]) -> Mirror:
        """A mirror of one run.

        Args:
            name: of the variant or point.
            seed: of the run.
            config: the resolved scenario.
        """
        return Mirror(self, name=name, seed=seed, config=config)


def tracking(trackers: str | Sequence[str], *, experiment: str, out: Path | None) -> Tracking:
    """Where runs are mirrored, checked.

    Args:
        trackers: names, of which there may be none.
        experiment: its name.
        out: folder of the results.

    Raises:
        ConfigError: no such tracker, its library is not installed, or TensorBoard has no folder to write to.
    """
    names = (trackers,) if isinstance(trackers, str) else tuple(dict.fromkeys(trackers))
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"track = {name!r} is no tracker; {nearest(name, TRACKERS)}")
        if find_spec(name) is None:
            raise ConfigError(
                f"track = {name!r} needs the library {name}, which is not installed; pip install 'syft_fl[track]', "
                f"or pip install {name}"
            )
    if "tensorboard" in names and out is None:
        raise ConfigError("track = 'tensorboard' needs out, the folder that its files are written in")
    return Tracking(names, experiment, None if out is None else out / "tensorboard")


class Tracker(Protocol):
    """Shows one run."""

    def log(self, figures: Mapping[str, float], *, round: int, time_s: float) -> None: ...
    def close(self, *, finished: bool) -> None: ...


class Mirror:
    """One run in all trackers that were asked for; to be used in a ``with``, which says whether the run came through.

    Whatever a tracker raises is a warning, and the end of its mirror.
    """

    def __init__(self, tracking: Tracking, *, name: str, seed: int, config: Mapping[str, Any]) -> None:
        self._open: dict[str, Tracker] = {}
        for tracker in tracking.trackers:
            try:
                self._open[tracker] = _MAKERS[tracker](tracking, name, seed, config)
            except Exception as error:
                _leave(tracker, error)

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for tracker, shown in self._open.items():
            try:
                shown.close(finished=kind is None)
            except Exception as error:
                _leave(tracker, error)

    def log(self, row: Mapping[str, Any]) -> None:
        """Show a round's row."""
        figures = dict(_figures(row))
        for tracker, shown in list(self._open.items()):
            try:
                shown.log(figures, round=row["round"], time_s=row["latency_s"])
            except Exception as error:
                del self._open[tracker]
                _leave(tracker, error)


class _TensorBoard:
    """An event file in ``<folder>/<name>/seed<n>``, written anew."""

    def __init__(self, tracking: Tracking, name: str, seed: int, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        assert tracking.folder is not None  # tracking() has seen to it
        folder = tracking.folder / name.replace("/", "_") / f"seed{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        self._writer: Any = SummaryWriter(str(folder))

    def log(self, figures: Mapping[str, float], *, round: int, time_s: float) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, round, walltime=time_s)
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        self._writer.close()


class _MLflow:
    """A run of MLflow, where its own settings say (``$MLFLOW_TRACKING_URI``), with the scenario as parameters."""

    def __init__(self, tracking: Tracking, name: str, seed: int, config: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()
        run = self._client.create_run(self._experiment(tracking.experiment), run_name=f"{name} seed{seed}")
        self._run: str = run.info.run_id
        self._log_params(dict(_flat(config)))

    def log(self, figures: Mapping[str, float], *, round: int, time_s: float) -> None:
        from mlflow.entities import Metric

        at_ms = int(1000 * time_s)
        self._client.log_batch(
            self._run, metrics=[Metric(name, value, at_ms, round) for name, value in figures.items()]
        )

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if finished else "KILLED")

    def _experiment(self, name: str) -> str:
        """The experiment's id, made where there is none."""
        known = self._client.get_experiment_by_name(name)
        if known is None:
            # Of several processes that begin at once, one makes it and the others find it a moment later.
            with suppress(Exception):
                return str(self._client.create_experiment(name))
            known = self._client.get_experiment_by_name(name)
        return str(known.experiment_id)

    def _log_params(self, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in settings.items()]
        for start in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(self._run, params=params[start : start + _PARAMS_AT_ONCE])


_MAKERS: Mapping[str, Any] = {"mlflow": _MLflow, "tensorboard": _TensorBoard}


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What of a row is a finite number, but not the round, which is the axis."""
    for name, value in row.items():
        if name != "round" and isinstance(value, int | float) and math.isfinite(value):
            yield name, float(value)


def _flat(settings: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _leave(tracker: str, error: Exception) -> None:
    warnings.warn(
        f"{tracker} failed ({type(error).__name__}: {error}); the run goes on without it, its files are complete",
        UserWarning,
        stacklevel=3,
    )
