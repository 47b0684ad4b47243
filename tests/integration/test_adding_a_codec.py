"""The page on adding a codec holds: its code, put into the package, passes the contract suite."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import syft_fl as sy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding_a_codec.md").read_text(encoding="utf-8")
CODEC, CLAIM = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
CONFTEST = """
import importlib.util, sys
from pathlib import Path

import syft_fl.codecs

spec = importlib.util.spec_from_file_location("syft_fl.codecs.dead_zone", Path(__file__).with_name("dead_zone.py"))
module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
exec(Path(__file__).with_name("claim.txt").read_text())
"""


def test_the_example_is_short() -> None:
    assert len([line for line in CODEC.splitlines() if line.strip()]) < 40


@pytest.mark.long  # a whole contract suite, in a process of its own
@pytest.mark.parametrize(("spoilt", "verdict"), [(False, 0), (True, 1)])
def test_the_example_passes_the_contract_suite_and_a_wrong_one_does_not(
    spoilt: bool, verdict: int, tmp_path: Path
) -> None:
    code = CODEC.replace("np.rint(entries / (m or 1))", "np.floor(entries / (m or 1))") if spoilt else CODEC
    assert (code != CODEC) == spoilt
    (tmp_path / "dead_zone.py").write_text(code)
    (tmp_path / "claim.txt").write_text(CLAIM)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    shutil.copytree(ROOT / "tests" / "claims", tmp_path / "claims")
    shutil.copy(ROOT / "tests" / "contracts" / "test_codecs.py", tmp_path)
    # Other processes do not know the module, and the registry's own tests know no codec outside the package.
    chosen = "dead-zone and not fresh_process"
    command = [
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        ".",
        "-k",
        chosen,
        "test_codecs.py",
    ]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == verdict, done.stdout[-3000:]
    assert ("passed" in done.stdout) or spoilt
    assert spoilt or int(re.search(r"(\d+) passed", done.stdout)[1]) > 20  # type: ignore[index]


def test_the_settings_shown_in_the_pages_are_settings() -> None:
    text = (ROOT / "docs" / "codecs.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    scenario = sy.parse(tomllib.loads(block)).base
    assert scenario.uplink.codec.kind == "layered"
    assert scenario.uplink.error_feedback


def test_the_choosing_page_names_every_kind() -> None:
    text = (ROOT / "docs" / "codecs.md").read_text(encoding="utf-8")
    kinds = {cls.kind for cls in sy.codecs.CODECS if cls.__module__.startswith("syft_fl.")}
    assert {kind for kind in kinds if f"`{kind}`" not in text} == set()
