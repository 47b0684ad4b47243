"""docs/compute.md: its snippets run, and its tables have every kind with its fields and defaults."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from syft_fl.experiment import parse
from syft_fl.learn import COMPUTES, SLOWDOWNS

PAGE = Path(__file__).parents[2] / "docs" / "compute.md"
TEXT = PAGE.read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_toml_of_the_page_is_a_scenario() -> None:
    (block,) = _blocks("toml")
    assert parse(tomllib.loads(block)).base.population.slowdown is not None


def test_the_python_of_the_page_makes_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the page registers is gone afterwards.
    monkeypatch.setattr(SLOWDOWNS, "_classes", dict(SLOWDOWNS._classes))
    (block,) = _blocks("python")
    exec(compile(block, PAGE.name, "exec"), {"__name__": "page"})
    base = parse({"population": {"slowdown": {"kind": "overheated", "times": 3.0}}}).base
    assert base.population.slowdown.times == 3.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for registry in (COMPUTES, SLOWDOWNS)
        for cls in registry
        if cls.__module__.startswith("syft_fl.")  # not another test's own part
    ],
)
def test_a_table_has_every_kind_with_its_fields_and_defaults(cls: type) -> None:
    (row,) = re.findall(rf"^\| `{cls.kind}`[ |].*$", TEXT, flags=re.MULTILINE)  # type: ignore[attr-defined]
    for field in dataclasses.fields(cls):
        assert f"`{field.name}`" in row
        for said in re.findall(rf"`{field.name}` \(([^)]+)\)", row):
            if isinstance(field.default, float):
                assert float(said) == field.default
            elif isinstance(field.default, str):
                assert said == field.default
            else:  # None, or nobody in particular
                assert (said, field.default) in {("none", None), ("all", ())}


def test_every_link_of_the_page_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT)
    assert len(links) >= 3
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
