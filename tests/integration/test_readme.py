"""The Python that the READMEs show runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from syft_fl.codecs import Float16

ROOT = Path(__file__).parents[2]
# Stands in for the experiment that the README names, which takes minutes.
TINY = """
seeds = [0]
[data]
kind = "synthetic"
train_samples = 60
test_samples = 20
[population]
ues = 3
[stop]
rounds = 1
"""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.linear(x), dim=1)


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_python_of_a_readme_runs_as_it_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "digits.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator)
    y = x[:, :3].argmax(dim=1)
    space: dict[str, Any] = {
        "Net": Net,
        "data": x,
        "target": y,
        "x": x,
        "y": y,
        "x_test": x[:10],
        "y_test": y[:10],
        "MyCodec": Float16,
        "config": "experiments/digits.toml",
    }
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 3
    exec("import torch\nfrom torch.nn import functional as F\n", space)
    for block in blocks:
        exec(compile(block, name, "exec"), space)


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "CONTRIBUTING.md", "experiments/README.md"])
def test_every_link_of_a_readme_leads_to_a_file(name: str) -> None:
    path = ROOT / name
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
