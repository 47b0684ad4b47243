"""A recorded run against time over another radio, without training it again (docs/retiming.md).

:func:`retime` is for a run that is there; :func:`~syft_fl.experiment.runs.compare` uses the same for variants that
differ in nothing but time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syft_fl.data import Dataset
from syft_fl.errors import ConfigError, RunError
from syft_fl.experiment.config import changed, overriding
from syft_fl.experiment.folder import RunFolder
from syft_fl.experiment.provenance import environment
from syft_fl.experiment.result import Result, table_of_rounds
from syft_fl.federation import (
    Recording,
    Retimed,
    Scenario,
    charged_samples,
    check_retimable,
    measure,
    replay,
    settle,
)
from syft_fl.federation.recording import Plan
from syft_fl.learn import Balance
from syft_fl.schema import plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["recorded", "replayed", "result_of", "retime", "write"]

_TABLES = ("rounds", "transfers", "computations")
"""What there is of a run that can be re-timed: no decisions, for these a trigger would take."""


def retime(
    run: Result | str | Path,
    *overrides: str,
    name: str | None = None,
    out: str | Path | None = None,
    force: bool = False,
    data_root: str | Path | None = None,
    accept_checksum_mismatch: bool = False,
    **changes: Any,
) -> Result:
    """A recorded run with other times and energies: to the bit, what running the changed scenario anew gives.

    What is changed may say when things happen, never what is learnt (:mod:`syft_fl.federation.retiming`). The compute
    time is the run's, in seconds, unless it is changed: then ``kind = "balance"`` is settled from the changed
    scenario, as by :func:`~syft_fl.experiment.runs.run`.

    Args:
        run: a finished run, or its folder.
        overrides: ``key.path=value`` each, as on the command line.
        name: of the result; None: the run's.
        out: folder for the files that running anew would write; None: nothing is written.
        force: replace what ``out`` holds.
        data_root, accept_checksum_mismatch: as in :func:`~syft_fl.experiment.runs.run`. Data are only loaded where
            the samples of UEs have to be counted: for ``out``, for another ``population.equal_compute`` and to balance.
        changes: settings of a :class:`~syft_fl.federation.Scenario`, as objects or tables; below the overrides.

    Returns:
        The result. It says what the changed scenario's budget (``balance``) is only where data were loaded.

    Raises:
        ConfigError: the changed scenario breaks a rule, or is one that may learn something else.
        RunError: the run is not finished, or ``out`` holds another one.
        TransportError: the changed radio never carries a frame.
    """
    result = run if isinstance(run, Result) else Result.load(run)
    scenario = _changed(result.scenario, changes, overrides)
    check_retimable(result.scenario, scenario)
    recording = result.recording
    name = result.name if name is None else name
    counts = _recounts(recording, scenario) or isinstance(scenario.compute, Balance)
    if not counts and out is None:
        return result_of(replay(recording, scenario), name=name, config=plain(scenario))
    root = None if data_root is None else Path(data_root)
    dataset = scenario.data.load(root=root, accept_checksum_mismatch=accept_checksum_mismatch)
    budget = measure(scenario, dataset)
    scenario = settle(scenario, budget)
    config = plain(scenario) | {"balance": plain(budget)}
    if out is None:
        return result_of(replayed(recording, scenario, dataset), name=name, config=config)
    folder = RunFolder(out)
    with folder.held():
        if force or not folder.finished or folder.config != config:
            retimed = replayed(recording, scenario, dataset)
            write(folder, retimed, config, source=result, force=force)
        return Result.load(folder.path, name=name)


def recorded(result: Result, scenario: Scenario) -> Recording:
    """What can be re-timed of the result of a scenario.

    Raises:
        RunError: the run is not finished, another version wrote it, or something was lost in it.
    """
    folder = None if result.folder is None else RunFolder(result.folder)
    if folder is not None and not folder.finished:
        raise RunError(
            f"{folder.path} holds an unfinished run; go on with it (--resume) before it is re-timed"
        )
    tables = (result.rounds, result.transfers, result.computations)
    return Recording.of(scenario, *(_rows(table) for table in tables))


def replayed(recording: Recording, scenario: Scenario, dataset: Dataset) -> Retimed:
    """A recording with the times of a scenario whose compute time is in seconds."""
    charged = charged_samples(scenario, dataset) if _recounts(recording, scenario) else None
    return replay(recording, scenario, charged=charged)


def _recounts(recording: Recording, scenario: Scenario) -> bool:
    """Whether UEs are charged for other samples than in the run."""
    return scenario.population.equal_compute != recording.scenario.population.equal_compute


def result_of(retimed: Retimed, *, name: str, config: Mapping[str, Any]) -> Result:
    """A result from re-timed tables, with nothing written."""
    import pandas as pd

    transfers = _static(retimed.plan).take(retimed.order).reset_index(drop=True)
    return Result(
        name=name,
        seed=int(config["seed"]),
        config=config,
        rounds=table_of_rounds(retimed.rounds),
        transfers=pd.concat([transfers, pd.DataFrame(retimed.timing)], axis=1),
        computations=pd.DataFrame(retimed.computations),
    )


@lru_cache(maxsize=2)
def _static(plan: Plan) -> pd.DataFrame:
    """The columns of transfers that no timing changes; telling text from other objects takes long."""
    import pandas as pd

    return pd.DataFrame({**plan.columns})


def write(
    folder: RunFolder,
    retimed: Retimed,
    config: Mapping[str, Any],
    *,
    source: Result,
    resume: bool = False,
    force: bool,
) -> None:
    """Write re-timed tables to a folder that is held, and mark it as complete.

    Args:
        config: the resolved scenario.
        source: what was re-timed.
        resume, force: as in :meth:`~syft_fl.experiment.folder.RunFolder.start`.

    Raises:
        RunError: as there.
    """
    with closing(folder):
        folder.start(config, resume=resume, force=force, from_checkpoint=False)
        folder.write({table: retimed.rows(table) for table in _TABLES})
        folder.finish(_provenance(source))


def _provenance(source: Result) -> dict[str, Any]:
    """Of a result that was not trained."""
    known = None if source.folder is None else RunFolder(source.folder).provenance
    facts = {"retimed_from": str(source.folder or source.name), **environment()}
    return facts if known is None else {"stopped_by": known.get("stopped_by"), **facts}


def _changed(scenario: Scenario, changes: Mapping[str, Any], overrides: Iterable[str]) -> Scenario:
    unknown = [key for key in changes if key not in Scenario.__dataclass_fields__ and key != "scenario"]
    if unknown:
        raise ConfigError(
            f"{unknown[0]}: unknown setting; for one inside a table write 'key.path=value', or give the table: "
            "uplink={'link': …}"
        )
    tables = overriding(overrides)
    if any("seeds" in table for table in tables):
        raise ConfigError("seeds can't be re-timed: a run has one seed; use compare")
    return changed(scenario, changes, *tables)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain data, with tuples for lists, as they were before they were written."""
    rows: list[Any] = table.to_dict("records")
    for name in ("ues", "lost"):
        for row in rows:
            if name in row:
                row[name] = tuple(row[name])
    return rows
