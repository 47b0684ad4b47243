"""docs/retiming.md: its snippet runs, its table is the settings of time, and its links lead to files."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from syft_fl.federation.retiming import TIMING

PAGE = Path(__file__).parents[2] / "docs" / "retiming.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_python_of_the_page_re_times_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    found: dict = {"__name__": "page"}
    exec(compile(block, PAGE.name, "exec"), found)
    plt.close("all")
    assert capsys.readouterr().out.count("rho = ") == 1  # one run, all else is re-timed
    result, by_radius = found["result"], found["by_radius"]
    assert found["nearer"].rounds["accuracy"].equals(result.rounds["accuracy"])
    assert found["nearer"].rounds["latency_s"].iloc[-1] < result.rounds["latency_s"].iloc[-1]
    assert by_radius[100.0] < by_radius[200.0] < by_radius[400.0]
    assert found["slow"].rounds["compute_energy_j"].iloc[-1] > 0


def test_the_table_has_every_setting_of_time() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", TEXT, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == {*TIMING, "scenario"}


def test_every_link_of_the_page_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT)
    assert len(links) >= 3
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
