"""Ask a worker API every fact and run every training; ``--record FILE`` writes the answers of the genuine syft.

python tests/oracle/probe.py --record tests/oracle/syft_0_2_5.json
python tests/oracle/probe.py --world syft_fl
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script; pytest has this folder on its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from oracle import facts_data, facts_modules, facts_tensors
from oracle.training import RUNS, summary, train
from oracle.world import World, ask

__all__ = ["answers"]

QUESTIONS = (facts_tensors, facts_modules, facts_data)
"""Importing them registers their facts."""


def answers(world: World) -> dict[str, Any]:
    """Facts and training runs in a world."""
    runs = {name: summary(*train(name, world.worker("alice"))) for name in RUNS}
    return {"facts": ask(world), "training": runs}


def as_text(recording: dict[str, dict[str, Any]]) -> str:
    """JSON with a line for every answer, so that a new recording shows in a diff what is new."""
    parts = []
    for part, entries in sorted(recording.items()):
        lines = [f"  {json.dumps(name)}: {json.dumps(entries[name])}" for name in sorted(entries)]
        parts.append(f" {json.dumps(part)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="What does a worker API do?")
    parser.add_argument("--world", default="syft", help="the package: syft or syft_fl (default: syft)")
    parser.add_argument("--record", type=Path, help="write the answers here instead of printing them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    world = World(options.world)
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        options.world: world.sy.__version__,
    }
    text = as_text({"versions": versions, **answers(world)})
    if options.record:
        options.record.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
