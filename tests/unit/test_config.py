"""Experiments from TOML: what is merged, what is refused, and how it is said."""

from pathlib import Path
from typing import Any

import pytest

from syft_fl.codecs import QSGD, Float32, Uniform
from syft_fl.errors import ConfigError
from syft_fl.experiment import load, parse
from syft_fl.radio import Shannon
from syft_fl.schema import plain

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))


def _message(table: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(table, **options)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_of_ours_is_valid_and_compares_over_three_seeds(path: Path) -> None:
    experiment = load(path)
    assert experiment.name == path.stem
    assert len(experiment.seeds) >= 3
    script = path.with_suffix(".py")
    sweeps = script.exists() and "sy.sweep(" in script.read_text(encoding="utf-8")
    assert sweeps or len(experiment.variants) >= 3
    # Speed-ups refer to the first one: that is what the others change.
    assert experiment.variants[0].scenario == experiment.base


def test_a_variant_changes_only_what_it_says() -> None:
    experiment = parse(
        {
            "uplink": {
                "link": {"kind": "shannon", "bandwidth_hz": 2e6},
                "codec": {"kind": "qsgd", "block": 8},
            },
            "variants": [
                {"name": "a"},
                {"name": "b", "uplink": {"codec": {"kind": "uniform", "bits": 3}}},
                {"name": "c", "uplink": {"link": {"kind": "constant"}}},
            ],
        }
    )
    a, b, c = (variant.scenario for variant in experiment.variants)
    assert a == experiment.base
    assert b.uplink.codec == Uniform(bits=3)
    assert b.uplink.link == a.uplink.link == Shannon(bandwidth_hz=2e6)
    # A table with a kind replaces the whole table it meets: no bandwidth is left over.
    assert c.uplink.link.kind == "constant"
    assert c.uplink.codec == QSGD(block=8)


def test_overrides_reach_the_base_and_every_variant() -> None:
    table = {"variants": [{"name": "a"}, {"name": "b", "uplink": {"codec": {"kind": "qsgd"}}}]}
    experiment = parse(table, overrides=["stop.rounds=3", "uplink.codec=float16", "seeds=[5, 6]"])
    assert [v.scenario.stop.rounds for v in experiment.variants] == [3, 3]
    assert [v.scenario.uplink.codec.kind for v in experiment.variants] == ["float16", "qsgd"]
    assert experiment.seeds == (5, 6)
    with pytest.raises(ConfigError, match=r"key\.path=value"):
        parse({}, overrides=["stop.rounds"])


def test_every_error_of_a_file_is_told_at_once_with_path_value_rule_and_nearest_name() -> None:
    lines = _message(
        {
            "populaton": {"ues": 3},
            "population": {"ues": 0, "cohrt": 2},
            "training": {"batch_size": "16"},
            "uplink": {"link": {"kind": "shanon"}},
            "variants": [
                {"name": "u", "uplink": {"codec": {"kind": "uniform", "bits": 0}}},
                {"nmae": "x"},
            ],
        }
    )
    text = "\n".join(lines)
    assert "populaton: unknown key; did you mean 'population'?" in text
    assert "population.cohrt: unknown key; did you mean 'cohort'?" in text
    assert "training.batch_size = '16'" in text
    assert "uplink.link.kind = 'shanon' is no link; did you mean 'shannon'?" in text
    assert "variants.u.uplink.codec.bits = 0 must be in 1 … 16" in text
    assert "variants[1]: each variant is a table with a name" in text
    assert len([line for line in lines if "batch_size" in line]) == 1


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"population": {"ues": 0}}, "population.ues = 0 must be at least 1"),
        ({"population": {"ues": 3, "cohort": 4}}, "population.cohort = 4 must be in 1 … ues = 3"),
        ({"stop": {"rounds": 0}}, "stop.rounds = 0 must be at least 1"),
        ({"stop": {"seconds": -1.0}}, "stop.seconds = -1.0 must be above 0"),
        ({"stop": {"accuracy": 95}}, "stop.accuracy = 95.0 must be above 0 and at most 1; write 0.95"),
        ({"uplink": {"delta": False, "error_feedback": True}}, "error_feedback = True must be false"),
        ({"downlink": {"error_feedback": True}}, "downlink.error_feedback: unknown key"),
        (
            {"downlink": {"access": {"kind": "csma"}}},
            "downlink.access = 'csma' must be one for a single sender",
        ),
        ({"downlink": {"cast": "anycast"}}, "downlink.cast = 'anycast'"),
        ({"downlink": {"receive_power_w": -0.1}}, "downlink.receive_power_w = -0.1 must be at least 0"),
        (
            {"uplink": {"codec": "top-k", "erasure": True}},
            "uplink.erasure = True must be false with codec 'top-k'",
        ),
        (
            {"uplink": {"delta": False, "erasure": True}},
            "uplink.erasure = True must be false where delta = false",
        ),
        ({"downlink": {"erasure": True}}, "downlink.erasure: unknown key"),
        ({"compute": {"kind": "balance", "rho": 0}}, "compute.rho = 0.0 must be above 0"),
        ({"uplink": {"link": {"kind": "constant", "power_w": -1}}}, "uplink.link.power_w = -1.0"),
        ({"cell": {"radius_m": -5}}, "cell.radius_m = -5.0"),
    ],
)
def test_a_broken_rule_is_named_with_its_path(table: dict[str, Any], rule: str) -> None:
    (line,) = _message(table)
    assert rule in line


def test_an_experiments_own_rules_are_checked() -> None:
    twice = {"variants": [{"name": "a"}, {"name": "a"}]}
    assert "used once" in _message(twice)[0]
    assert "all different" in _message({"seeds": [1, 1]})[0]
    assert "at most 1" in _message({"target_accuracy": 90})[0]
    assert "folder's name" in _message({"variants": [{"name": "a/b"}]})[0]


def test_a_file_that_is_missing_or_no_toml_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match="is no TOML"):
        load(tmp_path / "bad.toml")


def test_an_unknown_variant_is_refused_with_the_nearest_one() -> None:
    experiment = parse({"variants": [{"name": "float32"}, {"name": "qsgd-4"}]})
    assert experiment.variant("float32").uplink.codec == Float32()
    with pytest.raises(ConfigError, match="did you mean 'qsgd-4'"):
        experiment.variant("qsgd4")


def test_a_resolved_scenario_read_back_is_the_same() -> None:
    for path in EXPERIMENTS:
        base = load(path).base
        assert parse(plain(base)).base == base
