"""docs/radio.md: its snippets run, and its tables have every part with every field and default."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from syft_fl.experiment import parse
from syft_fl.federation import SELECTIONS
from syft_fl.radio import (
    ACCESS,
    FADINGS,
    INTERFERENCES,
    LINKS,
    LOSSES,
    PATHS,
    PLACEMENTS,
    POWER_CONTROLS,
    RATES,
    RETRANSMISSIONS,
    Cell,
)
from syft_fl.schema import Registry

PAGE = Path(__file__).parents[2] / "docs" / "radio.md"
TEXT = PAGE.read_text(encoding="utf-8")
REGISTRIES = {
    "Links": LINKS,
    "Where UEs are": PLACEMENTS,
    "Paths": PATHS,
    "Fading": FADINGS,
    "Rates": RATES,
    "Losses": LOSSES,
    "Retransmission": RETRANSMISSIONS,
    "Access: who has the band when": ACCESS,
    "Interference": INTERFERENCES,
    "Power control": POWER_CONTROLS,
}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def _section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, flags=re.DOTALL | re.MULTILINE)
    return str(found)


def _row(section: str, kind: str) -> str:
    """The line of a table that begins with a kind."""
    lines = [line for line in section.splitlines() if re.match(rf"\| `{re.escape(kind)}`[ |]", line)]
    assert len(lines) == 1, kind
    return lines[0]


def _default(field: Any) -> Any:
    """A default as the page writes it: a part by its kind; None where it has none."""
    default = None if field.default is dataclasses.MISSING else field.default
    return getattr(default, "kind", default)


@pytest.mark.parametrize("block", _blocks("toml"))
def test_the_toml_of_the_page_is_a_scenario(block: str) -> None:
    parse(tomllib.loads(block))


@pytest.mark.parametrize("block", _blocks("python"))
def test_the_python_of_the_page_runs(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the page registers is gone afterwards.
    monkeypatch.setattr(SELECTIONS, "_classes", dict(SELECTIONS._classes))
    exec(compile(block, PAGE.name, "exec"), {"__name__": "page"})


@pytest.mark.parametrize(("title", "registry"), REGISTRIES.items())
def test_a_table_has_every_kind_with_its_fields_and_defaults(title: str, registry: Registry) -> None:
    section = _section(title)
    for cls in registry:
        if not cls.__module__.startswith("syft_fl."):  # another test's own part
            continue
        row = _row(section, cls.kind)
        for field in dataclasses.fields(cls):
            assert f"`{field.name}`" in section, (cls.kind, field.name)
            default = _default(field)
            for said in re.findall(rf"`{field.name}` \(`?\"?([^)`\";:, ]+)", row):
                if isinstance(default, bool):
                    assert said == str(default).lower()
                elif isinstance(default, int | float):
                    assert float(said) == default, (cls.kind, field.name)
                elif isinstance(default, str) and default:
                    assert said == default, (cls.kind, field.name)


def test_the_cells_fields_are_on_the_page() -> None:
    section = _section("Where UEs are")
    for field in dataclasses.fields(Cell):
        assert f"`{field.name}`" in section
    assert f"`radius_m` ({Cell().radius_m:g})" in section
    assert f"`min_distance_m` ({Cell().min_distance_m:g})" in section


def test_every_link_of_the_page_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT)
    assert len(links) >= 3
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
