"""How long Python takes to start with the package, and the command to show its help.

``python tests/bench/bench_startup.py``: medians of processor time, which other work on the machine hardly lengthens, in
fresh processes, all in turn. What imports cost is counted from where torch has been imported. ``--check``: fail where
``import syft_fl`` costs more than 0.3 s over ``import torch``, or a help more than 0.5 s in all.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Case(NamedTuple):
    """Arguments of a whole process, or code to run after ``import torch``; the most that it may take [s]."""

    run: list[str] | str
    most_s: float | None = None


def command(*arguments: str) -> list[str]:
    return ["-c", f"from syft_fl.cli import main; main({list(arguments)})"]


CASES = {
    "python": Case(["-c", "pass"]),
    "import torch": Case(["-c", "import torch"]),
    "+ import syft_fl": Case("import syft_fl", 0.3),
    "+ sy.TorchHook": Case("import syft_fl as sy; sy.TorchHook"),
    "+ sy.run": Case("import syft_fl as sy; sy.run"),
    "+ every public name": Case("from syft_fl import *"),
    "syft-fl --help": Case(command("--help"), 0.5),
    "syft-fl run --help": Case(command("run", "--help"), 0.5),
    "syft-fl --version": Case(command("--version"), 0.5),
    "python -m syft_fl --help": Case(["-m", "syft_fl", "--help"], 0.5),
}


def seconds(case: Case) -> float:
    """Processor time in a fresh process."""
    if isinstance(case.run, str):
        timed = "import torch, time; start_s = time.process_time()\n"
        timed += f"{case.run}\nprint(time.process_time() - start_s)"
        return float(_run(["-c", timed]))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(case.run)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(arguments: list[str]) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where something takes longer than it may")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    for case in CASES.values():
        seconds(case)  # writes bytecode, and brings files in
    rows = [{name: seconds(case) for name, case in CASES.items()} for _ in range(arguments.repeats)]
    print(f"{'':<26}{'s':>7}{'at most':>9}")
    failed = []
    for name, case in CASES.items():
        took_s = statistics.median(row[name] for row in rows)
        late = case.most_s is not None and took_s > case.most_s
        failed += [f"{name} {took_s:.2f} s, at most {case.most_s}"] if late else []
        print(f"{name:<26}{took_s:>7.2f}{case.most_s or '':>9}{'  !' if late else ''}")
    if arguments.check and failed:
        sys.exit("too slow: " + "; ".join(failed))


if __name__ == "__main__":
    main()
