"""The script in ``experiments/virtual_workers.py``, run small."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "virtual_workers.py"


def test_virtual_workers_learn_and_fewer_bits_take_less_simulated_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(*options: str) -> list[list[float]]:
        """Round, simulated seconds, uplink megabytes and accuracy of each round."""
        monkeypatch.setattr(sys, "argv", [SCRIPT.name, "--rounds", "4", "--ues", "3", *options])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return [[float(field) for field in line.split()] for line in capsys.readouterr().out.splitlines()[1:]]

    exact, coarse = rows(), rows("--uplink-bits", "4")
    for found in (exact, coarse):
        assert [row[0] for row in found] == [1, 2, 3, 4]
        times_s = [row[1] for row in found]
        assert times_s == sorted(times_s)
        assert found[-1][3] > 0.8
    assert coarse[-1][1] < exact[-1][1]
    # 4 of 32 bits an entry, and what frames add.
    assert coarse[-1][2] < exact[-1][2] / 7
