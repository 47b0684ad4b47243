"""All measurements with a bound, one after another, and a table of them.

``python tests/bench``: runs every ``bench_*.py`` here that has ``--check``, each in a process of its own. Asked to
check, it fails where one of them is past its bound. Names, as ``clock codecs``, run only those. A script that names
libraries in ``NEEDS`` is left out where one of them is not installed.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPTS = {
    path.stem.removeprefix("bench_"): path
    for path in sorted(HERE.glob("bench_*.py"))
    if '"--check"' in path.read_text(encoding="utf-8")
}


def missing(path: Path) -> list[str]:
    """Libraries in the script's ``NEEDS`` that are not installed."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NEEDS":
            return [name for name in ast.literal_eval(node.value) if find_spec(name) is None]
    return []


def verdict(path: Path) -> tuple[str, str]:
    """Run a script: what came of it, in a word, and why."""
    if absent := missing(path):
        return "skipped", f"{', '.join(absent)} is not installed"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(path), "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    why = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    return ("ok", "") if done.returncode == 0 else ("FAILED", why[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where a measurement is past its bound")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(SCRIPTS)}")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(SCRIPTS)):
        parser.error(f"no measurement {', '.join(unknown)}; there are {', '.join(SCRIPTS)}")
    table = []
    for name in arguments.names or SCRIPTS:
        print(f"\n{name}\n{'-' * len(name)}", flush=True)
        start_s = time.perf_counter()
        word, why = verdict(SCRIPTS[name])
        table.append((name, word, time.perf_counter() - start_s, why))
    print(f"\n{'measured':<14}{'':<9}{'s':>6}")
    for name, word, took_s, why in table:
        print(f"{name:<14}{word:<9}{took_s:>6.0f}  {why}".rstrip())
    if arguments.check and any(word == "FAILED" for _, word, _, _ in table):
        sys.exit(1)


if __name__ == "__main__":
    main()
