"""What is imported when: public names at their first use, heavy libraries only where they are needed."""

import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import syft_fl as sy
import syft_fl.schema  # the module, which must not take the decorator's name
from syft_fl.cli import app

ROOT = Path(sy.__file__).parent.parent
HEAVY = {"constriction", "matplotlib", "numpy", "pandas", "pydantic", "scipy", "sionna", "sklearn", "syft"}
HEAVY |= {"torch", "torchvision", "tqdm", "typer", "zstandard"}
COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]
SAYS_WHAT_IS_LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def _python(code: str) -> "subprocess.CompletedProcess[str]":
    """Runs code in a fresh process, in which warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )


def _loaded_after(code: str) -> set[str]:
    """Names of all modules that a fresh process has imported after running code."""
    done = _python(f"{code}\n{SAYS_WHAT_IS_LOADED}")
    return set(json.loads(done.stderr.splitlines()[-1]))


def _command(*arguments: str) -> str:
    return f"from syft_fl.cli import main\ntry: main({list(arguments)})\nexcept SystemExit as end: assert not end.code"


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = _loaded_after("import syft_fl; dir(syft_fl)")
    assert "syft_fl.schema" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_and_version_import_typer_and_nothing_else_that_is_heavy(arguments: list[str]) -> None:
    # typer imports pydantic where that is installed, to read arguments.
    assert _loaded_after(_command(*arguments)) & HEAVY <= {"typer", "pydantic"}


def test_the_package_run_as_a_module_is_the_command() -> None:
    code = (
        "import runpy, sys; sys.argv = ['syft-fl', '--version']\n"
        "try: runpy.run_module('syft_fl', run_name='__main__')\nexcept SystemExit: pass"
    )
    assert _loaded_after(code) & HEAVY <= {"typer", "pydantic"}
    assert _python(code).stdout == f"syft-fl {sy.__version__}\n"


def test_names_come_without_what_they_may_never_need() -> None:
    loaded = _loaded_after(
        "import syft_fl as sy\n"
        "sy.TorchHook, sy.Transport, sy.load, sy.Result, sy.compare, sy.codecs, sy.data, sy.learn, sy.radio"
    )
    assert "torch" in loaded
    assert not loaded & {"matplotlib", "pandas", "sionna", "sklearn", "syft", "torchvision", "typer"}
    assert not loaded & {"scipy.linalg", "scipy.special", "scipy.stats"}


def test_a_star_import_brings_every_public_name() -> None:
    done = _python("from syft_fl import *\nimport syft_fl\nprint(set(syft_fl.__all__) <= set(globals()))")
    assert done.stdout == "True\n"


@pytest.mark.parametrize("name", sy.__all__)
def test_a_public_name_is_listed_and_the_same_every_time(name: str) -> None:
    assert name in dir(sy)
    assert getattr(sy, name) is getattr(sy, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'Simulator'"):
        _ = sy.Simulator  # type: ignore[attr-defined]


def test_classes_reached_lazily_pickle_as_those_of_their_modules() -> None:
    sent = pickle.loads(pickle.dumps(sy.Uplink(delta=False)))
    assert type(sent) is sy.Uplink
    assert sent == sy.Uplink(delta=False)


def test_schema_is_the_decorator_though_a_module_has_its_name() -> None:
    assert inspect.isfunction(sy.schema)
    assert sy.schema is sys.modules["syft_fl.schema"].schema


@pytest.mark.parametrize(
    "first",
    [
        "import syft_fl",
        "import syft_fl.schema",
        "from syft_fl.schema import Registry",
        "import importlib; importlib.import_module('syft_fl.schema')",
        # These take torch along, and with it seconds.
        "import syft_fl.codecs",
        "from syft_fl import Scenario",
    ],
)
def test_schema_is_the_decorator_whatever_is_imported_first(first: str) -> None:
    code = f"""
{first}
import syft_fl as sy
assert sy.schema.__name__ == 'schema' and sy.schema.__module__ == 'syft_fl.schema', sy.schema
import syft_fl.schema, syft_fl.units
assert sy.schema.__module__ == 'syft_fl.schema', sy.schema

@sy.schema
class Mine:
    bits: int = 3

print(Mine(bits=4))
"""
    assert _python(code).stdout == "Mine(bits=4)\n"
