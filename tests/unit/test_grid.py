"""Grids as they stand on a command line, and the scenarios at their points."""

from typing import Any

import pytest

from syft_fl.codecs import QSGD, Uniform
from syft_fl.errors import ConfigError
from syft_fl.experiment import Experiment, load_scenario, parse
from syft_fl.experiment.config import changed
from syft_fl.experiment.grid import checked_grid, parse_grid, parse_seeds, points, shown
from syft_fl.experiment.sweep_result import labels
from syft_fl.federation import Scenario
from syft_fl.transport import Uplink


def experiment(**tables: Any) -> Experiment:
    return parse({"uplink": {"codec": {"kind": "uniform", "bits": 8}}} | tables)


def refusal(grid: dict[str, Any], at: Experiment | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        points(at or experiment(), checked_grid(grid))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=2,4,8", (2, 4, 8)),
        ("a.b=0.5, 1e3", (0.5, 1000.0)),
        ("a.b=1..4,10", (1, 2, 3, 4, 10)),
        ("a.b=-1..1", (-1, 0, 1)),
        ("a.b=true,false", (True, False)),
        ("a.b=nb-iot,nr-umi-3.5GHz", ("nb-iot", "nr-umi-3.5GHz")),
        ("a.b='x,y',\"z\"", ("x,y", "z")),
        ("a.b={kind='qsgd', levels=3},[1, 2]", ({"kind": "qsgd", "levels": 3}, [1, 2])),
    ],
)
def test_values_of_a_grid_are_what_an_override_would_take(text: str, values: tuple[Any, ...]) -> None:
    assert parse_grid([text]) == {"a.b": values}


@pytest.mark.parametrize("text", ["a.b", "a.b=", "=1", "a.b=1,,2", "a.b=1,"])
def test_what_is_no_grid_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be key\.path=value,value, for example"):
        parse_grid([text])


def test_seeds_are_numbers_and_ranges() -> None:
    assert parse_seeds("0..4") == (0, 1, 2, 3, 4)
    assert parse_seeds("7") == (7,)
    for text in ("a", "0,,1", "1.5", ""):
        with pytest.raises(ConfigError, match="must be whole numbers"):
            parse_seeds(text)
    with pytest.raises(ConfigError, match="from the smaller number to the larger"):
        parse_seeds("4..0")


def test_points_are_the_product_and_the_last_setting_changes_fastest() -> None:
    grid = {"uplink.codec.bits": (2, 4), "cell.radius_m": (100.0, 250.0)}
    found = points(experiment(), grid)
    assert [point.values for point in found] == [(2, 100.0), (2, 250.0), (4, 100.0), (4, 250.0)]
    assert [point.scenario.cell.radius_m for point in found] == [100.0, 250.0, 100.0, 250.0]
    assert found[0].scenario.uplink.codec == Uniform(bits=2)


def test_a_grid_goes_over_what_a_variant_says() -> None:
    variants = [
        {"name": "four", "uplink": {"codec": {"bits": 4}}},
        {"name": "near", "cell": {"radius_m": 50.0}},
    ]
    found = points(experiment(variants=variants), {"uplink.codec.bits": (2, 3)})
    assert [point.variant for point in found] == ["four", "four", "near", "near"]
    assert [point.scenario.uplink.codec.bits for point in found] == [2, 3, 2, 3]
    assert [point.scenario.cell.radius_m for point in found][2:] == [50.0, 50.0]


def test_a_value_may_be_an_object_and_a_scenario_goes_below() -> None:
    found = points(
        experiment(), {"uplink.codec": (QSGD(levels=7),), "scenario": ("nb-iot",), "cell.radius_m": (77.0,)}
    )
    (point,) = found
    iot = load_scenario("nb-iot")
    assert point.scenario.uplink.codec == QSGD(levels=7)
    assert point.scenario.uplink.link == iot.uplink.link
    assert point.scenario.cell.radius_m == 77.0
    assert point.scenario.cell.placement == iot.cell.placement


def test_what_is_not_changed_stays_the_object_that_it_was() -> None:
    class Mine:
        kind = "mine"

        def encode(self) -> None: ...
        def decode(self) -> None: ...

    codec = Mine()
    base = Scenario(uplink=Uplink(codec=codec))
    found = changed(base, {"cell": {"radius_m": 10.0}, "uplink": {"link": {"rate_bps": 1e6}}})
    assert found.uplink.codec is codec
    assert found.uplink.link.rate_bps == 1e6
    assert found.population is base.population


def test_a_wrong_key_is_said_once_with_the_nearest() -> None:
    message = refusal({"uplink.codec.bitz": (2, 4, 8), "cell.radius_m": (100.0, 200.0)})
    assert message.splitlines() == [
        "uplink.codec.bitz: unknown key; did you mean 'bits'? valid: bits, block, coder, ends, rounding"
    ]


def test_all_wrong_values_are_said_at_once_with_their_place() -> None:
    lines = refusal({"uplink.codec.bits": (0, 4, 99), "cell.radius_m": (100.0, 200.0)}).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("uplink.codec.bits = 0 must be in 1 … 16")
    assert lines[0].endswith("(at base, uplink.codec.bits = 0, cell.radius_m = 100 and 1 more)")
    assert lines[1].startswith("uplink.codec.bits = 99 must be in 1 … 16")


def test_a_setting_that_a_variant_has_not_is_refused_with_its_name() -> None:
    variants = [{"name": "exact", "uplink": {"codec": "float32"}}, {"name": "coarse"}]
    message = refusal({"uplink.codec.bits": (2,)}, experiment(variants=variants))
    assert "uplink.codec.bits: unknown key" in message
    assert "(at exact, uplink.codec.bits = 2)" in message


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"seed": (1, 2)}, "seeds are given with --seeds"),
        ({"target_accuracy": (0.5,)}, "must be a setting of a scenario"),
        ({"cell.radius_m": ()}, "at least one value"),
        ({"cell.radius_m": (1.0, 1.0)}, "all different"),
        ({"cell.radius_m": 1.0}, "write [4] for one value"),
        ({"uplink.codec": "qsgd"}, "write [4] for one value"),
    ],
)
def test_what_can_not_be_varied_is_refused(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_grid(grid)
    assert message in str(caught.value)


def test_a_setting_is_given_once() -> None:
    with pytest.raises(ConfigError, match="given once"):
        parse_grid(["a=1", "a=2"])


def test_points_are_called_by_what_tells_them_apart() -> None:
    grid = ["cell.radius_m", "uplink.codec"]
    assert labels([("base", 100.0, "qsgd"), ("base", 250.5, "uniform(bits=4)")], grid) == [
        "radius_m = 100, codec = qsgd",
        "radius_m = 250.5, codec = uniform(bits=4)",
    ]
    assert labels([("a", 1), ("b", 1)], ["stop.rounds"]) == ["a, rounds = 1", "b, rounds = 1"]
    assert labels([("base",)], []) == ["base"]


def test_an_object_is_shown_by_its_kind_and_settings() -> None:
    assert shown(QSGD(levels=7)).startswith("qsgd(levels=7")
    assert shown([1, True]) == "[1, true]"
