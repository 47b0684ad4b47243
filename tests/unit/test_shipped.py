"""Scenarios that come with the package: how they are named, and what they lie above and below."""

import re
from pathlib import Path
from typing import Any

import pytest

import syft_fl as sy
from syft_fl.codecs import QSGD, Uniform
from syft_fl.errors import ConfigError
from syft_fl.experiment import load, load_scenario, parse, scenarios
from syft_fl.experiment.overview import overview
from syft_fl.experiment.shipped import headline, scenario_table
from syft_fl.learn import Balance, Cycles
from syft_fl.radio import Cell, Constant, Hexagon
from syft_fl.schema import plain

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "syft_fl" / "scenarios").glob("*.toml"))
EXPERIMENT: dict[str, Any] = {
    "cell": {"distances_m": [100.0, 200.0]},
    "population": {"ues": 2},
    "uplink": {"codec": {"kind": "qsgd", "block": 8}, "link": {"kind": "constant"}},
    "stop": {"rounds": 3},
}


def _message(table: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(table, **options)
    return str(caught.value)


def test_the_names_are_those_of_the_files() -> None:
    assert list(scenarios()) == [path.name.removesuffix(".toml") for path in FILES]
    assert len(FILES) == 8
    assert sy.scenarios() == scenarios()


@pytest.mark.parametrize("name", scenarios())
def test_a_scenario_says_all_of_the_radio_and_nothing_of_the_learning(name: str) -> None:
    table = scenario_table(name)
    assert (
        {"cell", "uplink", "downlink"}
        <= set(table)
        <= {"cell", "uplink", "downlink", "population", "compute"}
    )
    # So that whatever it is laid over, nothing of another radio is left.
    assert set(table["uplink"]) == {"link", "access"}
    assert set(table["downlink"]) == {"link", "access", "cast"}
    assert all("kind" in table[way][part] for way in ("uplink", "downlink") for part in ("link", "access"))
    assert set(table.get("population", {})) <= {"ues", "cohort"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_header_says_where_every_setting_comes_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    header, _, settings = text.partition("\n\n")
    assert all(line.startswith("#") for line in header.splitlines())
    assert "#" not in settings
    assert headline(path.name.removesuffix(".toml")).endswith(".")
    for word in ("power_dbm", "path", "fading"):
        assert re.search(rf"^# {word}\b", header, flags=re.MULTILINE), word
    assert re.search(r"our choice", header)


@pytest.mark.parametrize("name", scenarios())
def test_a_resolved_scenario_is_complete_without_its_name(name: str) -> None:
    scenario = load_scenario(name)
    assert "scenario" not in plain(scenario)
    assert parse(plain(scenario)).base == scenario
    assert scenario.data.kind == "digits"


def test_a_files_own_tables_lie_above_its_scenario() -> None:
    table = {"scenario": "lte-macro", "cell": {"radius_m": 150.0}, "uplink": {"codec": {"kind": "qsgd"}}}
    base = parse(table).base
    assert base.cell == Cell(radius_m=150.0, min_distance_m=35.0, placement=Hexagon())
    assert base.uplink == load_scenario("lte-macro", ["uplink.codec=qsgd"]).uplink
    # A table with a kind replaces the whole table it meets.
    whole = parse({"scenario": "lte-macro", "uplink": {"link": {"kind": "constant", "rate_bps": 2e6}}}).base
    assert whole.uplink.link == Constant(rate_bps=2e6)
    one = parse({"scenario": "lte-macro", "uplink": {"link": {"power_dbm": 20.0}}}).base
    assert one.uplink.link.power_dbm == 20.0
    assert one.uplink.link.bandwidth_hz == 10e6


def test_a_variant_may_be_in_another_cell() -> None:
    variants = [
        {"name": "as it is"},
        {"name": "far", "scenario": "nb-iot"},
        {"name": "coded", "scenario": "nb-iot", "uplink": {"codec": {"kind": "uniform", "bits": 4}}},
        {"name": "paper", "scenario": "yang-2021"},
    ]
    here, far, coded, paper = (v.scenario for v in parse({**EXPERIMENT, "variants": variants}).variants)
    iot = load_scenario("nb-iot")
    assert here.cell.distances_m == (100.0, 200.0)
    # Distances in one cell mean nothing in another; what is learnt and how it is coded stays.
    assert far.cell == iot.cell
    assert (far.uplink.link, far.uplink.access) == (iot.uplink.link, iot.uplink.access)
    assert far.uplink.codec == QSGD(block=8)
    assert (far.population.ues, far.stop.rounds, far.compute) == (2, 3, Balance())
    assert coded.uplink.codec == Uniform(bits=4)
    assert coded.uplink.link == iot.uplink.link
    assert paper.population.ues == 50
    assert isinstance(paper.compute, Cycles)


def test_a_scenario_of_the_command_line_lies_above_the_file_and_below_the_other_overrides() -> None:
    overrides = ["uplink.link.power_dbm=14.0", "scenario=nb-iot", "cell.radius_m=400.0"]
    base = parse(EXPERIMENT, overrides=overrides).base
    assert base.uplink.link.bandwidth_hz == 180e3
    assert base.uplink.link.power_dbm == 14.0
    assert base.cell.radius_m == 400.0
    assert base.cell.distances_m == ()
    assert base.uplink.codec == QSGD(block=8)
    assert parse({"scenario": "lte-macro"}, overrides=["scenario=nb-iot"]).base == load_scenario("nb-iot")


def test_an_unknown_scenario_is_one_error_with_the_nearest_name() -> None:
    wrong = "scenario = 'nbiot' is none that comes with syft_fl; did you mean 'nb-iot'? valid: chen-2021,"
    assert _message({"scenario": "nbiot"}).startswith(wrong)
    assert _message({}, overrides=["scenario=nbiot"]).startswith(wrong)
    assert _message({"variants": [{"name": "v", "scenario": "nbiot"}]}).startswith(f"variants.v.{wrong}")
    assert "scenario = ['nb-iot'] is none" in _message({"scenario": ["nb-iot"]})
    assert "did you mean 'scenario'?" in _message({"scenarios": "nb-iot"})
    with pytest.raises(ConfigError, match="did you mean 'nb-iot'"):
        sy.load_scenario("nbiot")


def test_a_bare_name_is_an_experiment_of_digits_in_that_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = load("nr-umi-3.5GHz", ["stop.rounds=2"])
    assert experiment.name == "nr-umi-3.5GHz"
    assert experiment.base == load_scenario("nr-umi-3.5GHz", ["stop.rounds=2"])
    with pytest.raises(ConfigError, match=r"'nr-umi' is neither a file nor a scenario.*'nr-umi-3\.5GHz'"):
        load("nr-umi")
    # A file of that name is what is meant.
    (tmp_path / "nb-iot").write_text('name = "mine"')
    assert load("nb-iot").name == "mine"


def test_the_page_has_the_table_that_the_command_prints() -> None:
    assert overview(1_199_882) in (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
