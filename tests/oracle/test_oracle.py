"""The probe under syft_fl against the recording of the genuine syft 0.2.5, fact by fact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from oracle.deviations import DEVIATIONS
from oracle.probe import QUESTIONS
from oracle.training import RUNS, summary, train
from oracle.world import FACTS, TOPICS, World, ask

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "syft_0_2_5.json").read_text(encoding="utf-8"))
DOCS = (HERE.parents[1] / "docs" / "pysyft.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def world() -> World:
    return World("syft_fl")


@pytest.fixture(scope="module")
def ours(world: World) -> dict[str, Any]:
    return ask(world)


def titles(heading: str) -> set[str]:
    """First cells of the table below a heading of docs/pysyft.md."""
    section = DOCS.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return {row.split(" | ")[0].removeprefix("| ") for row in rows}


def test_the_recording_is_of_the_genuine_one() -> None:
    versions = RECORDED["versions"]
    assert (versions["syft"], versions["torch"]) == ("0.2.5", "1.4.0")


def test_every_row_of_the_semantics_has_a_fact_and_every_fact_a_recording() -> None:
    assert {topic for topic, _ in FACTS.values()} == set(TOPICS)
    assert set(FACTS) == set(RECORDED["facts"])
    assert set(RUNS) == set(RECORDED["training"])
    assert len(QUESTIONS) == len(list(HERE.glob("facts_*.py")))


@pytest.mark.parametrize("name", sorted(set(FACTS) - set(DEVIATIONS)))
def test_ours_does_what_the_genuine_one_does(name: str, ours: dict[str, Any]) -> None:
    assert ours[name] == RECORDED["facts"][name]


@pytest.mark.parametrize("name", sorted(DEVIATIONS))
def test_a_deviation_is_exactly_the_one_that_is_listed(name: str, ours: dict[str, Any]) -> None:
    expected, _ = DEVIATIONS[name]
    assert ours[name] == expected
    assert expected != RECORDED["facts"][name], f"{name!r} differs no more: take it off the list"


def test_the_documentation_has_a_row_for_every_deviation_and_no_other() -> None:
    assert {row for _, row in DEVIATIONS.values()} == titles("Differs on purpose")


@pytest.mark.parametrize("name", sorted(RUNS))
def test_training_on_pointers_is_the_genuine_ones_to_float_tolerance(name: str, world: World) -> None:
    got, recorded = summary(*train(name, world.worker("alice"))), RECORDED["training"][name]
    # The two torches sum in another order; the runs are too short for that to grow.
    assert got["losses"] == pytest.approx(recorded["losses"], rel=1e-5)
    assert got["weights"].keys() == recorded["weights"].keys()
    for parameter, entries in recorded["weights"].items():
        assert got["weights"][parameter] == pytest.approx(entries, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", sorted(RUNS))
def test_training_on_pointers_is_plain_torch_to_the_bit(name: str, world: World) -> None:
    losses, model = train(name, world.worker("alice"))
    plain_losses, plain = train(name)
    assert losses == plain_losses
    there, here = model.state_dict(), plain.state_dict()
    assert there.keys() == here.keys()
    for key in here:
        assert torch.equal(there[key], here[key])
