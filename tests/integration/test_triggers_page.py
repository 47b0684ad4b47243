"""docs/triggers.md: its snippets run, and its table has every rule with every field and default."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from syft_fl.codecs import CODECS
from syft_fl.learn.triggers import TRIGGERS, Trigger, properties

PAGE = Path(__file__).parents[2] / "docs" / "triggers.md"
TEXT = PAGE.read_text(encoding="utf-8")
OURS: list[Any] = [cls for cls in TRIGGERS if cls.__module__.startswith("syft_fl.")]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def _cells(kind: str) -> list[str]:
    lines = [line for line in TEXT.splitlines() if line.startswith(f"| `{kind}`")]
    assert len(lines) == 1, kind
    return [cell.strip() for cell in lines[0].strip("|").split(" | ")]


def test_the_table_has_every_kind_and_no_other() -> None:
    rules = TEXT.split("## Rules")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)`", rules, flags=re.MULTILINE)) == sorted(
        cls.kind for cls in OURS
    )


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.kind)
def test_a_row_has_the_rules_fields_and_defaults(cls: Any) -> None:
    fields = _cells(cls.kind)[2]
    said = dict(re.findall(r"`(\w+)` \(([^)]+)\)", fields))
    expected = {}
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING
        expected[field.name] = "required" if required else "none" if field.default is None else field.default
    assert said.keys() == expected.keys()
    for name, default in expected.items():
        assert said[name] == default if isinstance(default, str) else float(said[name]) == default, name


@pytest.mark.parametrize("kind", ["always", "norm", "lag", "lag-server", "laq", "silence"])
def test_a_row_says_whether_the_last_update_is_reused(kind: str) -> None:
    needed = {"norm": {"tau": 1.0}, "silence": {"k": 1}, "lag-server": {"smoothness": 1.0}}
    rule: Trigger = TRIGGERS.build({"kind": kind, **needed.get(kind, {})})
    assert (_cells(kind)[3] == "reused") == properties(rule).reuses


@pytest.mark.parametrize("block", _blocks("toml"))
def test_the_toml_of_the_page_is_made_of_settings(block: str) -> None:
    table = tomllib.loads(block)
    TRIGGERS.build(table["trigger"])
    if "uplink" in table:
        CODECS.build(table["uplink"]["codec"])


@pytest.mark.parametrize("block", _blocks("python"))
def test_the_python_of_the_page_runs(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the page registers is gone afterwards.
    monkeypatch.setattr(TRIGGERS, "_classes", dict(TRIGGERS._classes))
    exec(compile(block, PAGE.name, "exec"), {"__name__": "page"})
