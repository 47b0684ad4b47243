"""docs/sweeps.md: its example runs, command, Python and all."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from syft_fl.cli import main
from syft_fl.experiment import parse
from syft_fl.experiment.grid import checked_grid, parse_grid, points

PAGE = Path(__file__).parents[2] / "docs" / "sweeps.md"
TEXT = PAGE.read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (toml,) = _blocks("toml")
    assert toml.count("rounds = 12") == 1
    (tmp_path / "bits.toml").write_text(toml.replace("rounds = 12", "rounds = 1"))
    (command,) = re.findall(r"^syft-fl sweep .*", TEXT, flags=re.MULTILINE)
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(command)[1:])
    assert not caught.value.code
    assert "18 runs" in capsys.readouterr().out
    space: dict[str, Any] = {}
    for block in _blocks("python"):
        exec(compile(block, PAGE.name, "exec"), space)
    assert "finished before: 18" in capsys.readouterr().out
    assert len(space["result"].table()) == 6
    assert len(space["last"]) == 18


def test_every_grid_of_the_page_is_one() -> None:
    rows = re.findall(r"^\| `([^`]+=[^`]+)` \|", TEXT, flags=re.MULTILINE)
    assert len(rows) == 5
    experiment = parse({"uplink": {"codec": {"kind": "uniform", "bits": 4}}})
    for row in rows:
        (argument,) = shlex.split(row)
        assert len(points(experiment, checked_grid(parse_grid([argument])))) >= 2


def test_every_link_of_the_page_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
