"""Learn once, re-time everywhere: to the bit what running anew gives, or refused with the reason."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from syft_fl import cli
from syft_fl.errors import ConfigError, RunError, TransportError
from syft_fl.experiment import Result, compare, parse, retime, run
from syft_fl.federation import Scenario, replay
from syft_fl.federation.replay import Queues, RealMedia, air_of
from syft_fl.federation.retiming import TIMING
from syft_fl.keys import Key
from syft_fl.learn import ENGINES
from syft_fl.radio import Cell, Ofdma, Shannon, Tdma
from syft_fl.radio.access import ACCESS
from syft_fl.radio.split import SplitMedium
from syft_fl.schema import schema

# Runs anew whose radio is far from balance say so.
pytestmark = pytest.mark.filterwarnings("ignore:rho = ")

TABLES = ("rounds", "transfers", "computations")
FILES = ("config.json", *(f"{table}.jsonl" for table in TABLES))

# Frames of varying length, memory at both ends, unequal UEs, a twin, rounds that are not tested.
BASE: dict[str, Any] = {
    "seed": 3,
    "data": {"kind": "synthetic", "train_samples": 90, "test_samples": 20},
    "model": {"kind": "mlp", "hidden": [6]},
    "partition": {"kind": "dirichlet", "alpha": 5.0},
    "population": {
        "ues": 6,
        "cohort": 3,
        "equal_compute": False,
        "standalone": True,
        "eval_every": 2,
        "slowdown": {"kind": "exponential"},
    },
    "training": {"batch_size": 8},
    "uplink": {
        "codec": {"kind": "uniform", "bits": 3, "rounding": "stochastic", "coder": "range"},
        "error_feedback": True,
        "link": {"kind": "shannon"},
    },
    # Differences to what each UE holds: several frames in a round.
    "downlink": {"codec": {"kind": "qsgd", "block": 32}, "link": {"kind": "shannon", "power_dbm": 30.0}},
    "stop": {"rounds": 4},
}


@pytest.fixture(scope="module")
def recorded() -> Result:
    return run(parse(BASE))


@pytest.fixture(scope="module")
def plain_recorded() -> Result:
    """All UEs alike and all told in one frame, so that much happens at one instant."""
    return run(parse(_over(BASE, {"population": None, "downlink": None, "partition": None})))


def _over(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (table | changes).items() if value is not None}


def _asked_anew(result: Result, *overrides: str, **changes: Any) -> Result:
    table = {key: value for key, value in result.config.items() if key != "balance"}
    for key, value in changes.items():
        here = table.get(key)
        table[key] = here | value if isinstance(here, dict) and isinstance(value, dict) else value
    return run(parse(table, overrides=overrides))


def _assert_same(one: Result, other: Result) -> None:
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(one, table), getattr(other, table), check_exact=True)


LINKS = {
    "constant": "{kind='constant', rate_bps=2e6, latency_s=0.003}",
    "shannon": "{kind='shannon', power_dbm=17.0, latency_s=0.001}",
    "shannon, still": "{kind='shannon', fading='none', shadowing_db=3.0}",
    "shannon in time": "{kind='shannon', fading_block='time', coherence_s=0.002}",
    "wireless": "{kind='wireless', loss={kind='none'}, power_control={kind='fractional'}}",
    "wireless in time": "{kind='wireless', loss={kind='none'}, rate={kind='cqi', report_delay_s=0.004}, "
    "fading={kind='rician', block='time', coherence_s=0.002}}",
}
ACCESSES = ("tdma", "ofdma", "{kind='ofdma', subchannels=2}", "ofdma-fair", "{kind='scheduler', groups=3}")


# Every link with two schemes, every scheme with two links or more.
PAIRS = [(link, ACCESSES[(n + more) % len(ACCESSES)]) for n, link in enumerate(LINKS) for more in (0, 2)]


@pytest.mark.parametrize(("link", "access"), PAIRS)
def test_a_re_timed_run_is_to_the_bit_what_running_anew_gives(
    link: str, access: str, recorded: Result
) -> None:
    overrides = (f"uplink.link={LINKS[link]}", f"uplink.access={access}", "uplink.link.latency_s=0.002")
    _assert_same(recorded.retime(*overrides), _asked_anew(recorded, *overrides))


OTHERS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "another cell": ("cell.radius_m=120.0",),
    "UEs that move": ("cell={placement={kind='random-waypoint', step_s=0.01}}",),
    "another downlink": ("downlink.link={kind='constant', rate_bps=3e5, latency_s=0.01}",),
    "a shared downlink": ("downlink.access=ofdma-fair", "downlink.cast=unicast"),
    "a downlink in parts": ("downlink.access={kind='ofdma', subchannels=3}", "downlink.cast=unicast"),
    "unicast": ("downlink.cast=unicast",),
    "listening": ("downlink.receive_power_w=0.25",),
    "no time to compute": ("compute={kind='per_sample', seconds_per_sample=0}",),
    "cycles with energy": ("compute={kind='cycles', frequency_hz=7e8}", "downlink.receive_power_w=0.1"),
    "balance": ("compute={kind='balance', rho=3.0}", "uplink.link.bandwidth_hz=3e5"),
    "equal compute": ("population.equal_compute=true",),
    "fixed slowdown": ("population.slowdown={kind='lognormal', per='ue'}",),
    "drawn slowdown": ("population.slowdown={kind='stragglers', probability=0.4}",),
    "a scenario by name": (
        "scenario=nb-iot",
        "uplink.link.loss={kind='none'}",
        "downlink.link.loss={kind='none'}",
    ),
    "noma": ("uplink.access=noma",),
    "csma": ("uplink.access=csma",),
    "aloha": ("uplink.access=aloha",),
    "another engine": ("engine=threads", "cell.radius_m=120.0"),
}


# Where many things happen at one instant their order counts.
AT_ONE_INSTANT = ("unicast", "a shared downlink", "a downlink in parts", "cycles with energy", "noma", "csma")


@pytest.mark.parametrize(
    ("which", "name"),
    [("recorded", name) for name in OTHERS] + [("plain_recorded", name) for name in AT_ONE_INSTANT],
)
def test_whatever_else_says_when_may_change(name: str, which: str, request: pytest.FixtureRequest) -> None:
    source: Result = request.getfixturevalue(which)
    _assert_same(source.retime(*OTHERS[name]), _asked_anew(source, *OTHERS[name]))


@pytest.mark.parametrize(
    ("was", "cast", "cohort"),
    [
        *(
            (was, cast, 3)
            for was in ("multicast", "unicast", "broadcast")
            for cast in ("multicast", "unicast")
        ),
        *((was, "broadcast", cohort) for was in ("multicast", "unicast") for cohort in (3, 6)),
        ("broadcast", "unicast", 6),
    ],
)
def test_a_cast_may_change_where_the_same_is_heard(was: str, cast: str, cohort: int) -> None:
    population = BASE["population"] | {"cohort": cohort, "aggregator": {"kind": "fedavgm"}}
    # A cohort of all may be sent differences: nobody is beside it.
    downlink = {"cast": was, "link": {"kind": "shannon"}} | (
        {} if cohort == 3 else {"codec": {"kind": "qsgd"}}
    )
    source = run(parse(BASE | {"population": population, "downlink": downlink}))
    _assert_same(source.retime(f"downlink.cast={cast}"), _asked_anew(source, f"downlink.cast={cast}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"uplink": {"codec": {"kind": "adaquantfl"}}},
        {"uplink": {"codec": {"kind": "count-sketch", "rows": 2}, "error_feedback": False}},
        {"population": {"aggregator": {"kind": "scaffold"}}},
        {"population": {"selection": {"kind": "round-robin"}}},
        {"population": {"selection": {"kind": "age", "ties": "index"}}},
        {"stop": {"rounds": 9, "uplink_bits": 1500.0}},
        {"stop": {"rounds": 9, "accuracy": 0.05}},
    ],
)
def test_what_is_learnt_by_other_means_is_the_same(changes: dict[str, Any]) -> None:
    table = dict(BASE)
    for key, value in changes.items():
        table[key] = BASE[key] | value
    source = run(parse(table))
    overrides = ("uplink.link.bandwidth_hz=4e5", "uplink.access=ofdma", "cell.radius_m=300.0")
    _assert_same(source.retime(*overrides), _asked_anew(source, *overrides))


def test_settings_may_be_given_as_objects_and_tables(recorded: Result) -> None:
    cell, link = Cell(radius_m=90.0), Shannon(power_dbm=4.0)
    found = recorded.retime(cell=cell, uplink={"link": link, "access": Ofdma()})
    words = ("cell.radius_m=90.0", "uplink.link={kind='shannon', power_dbm=4.0}", "uplink.access=ofdma")
    _assert_same(found, recorded.retime(*words))
    assert not found.rounds["latency_s"].equals(recorded.rounds["latency_s"])
    assert found.rounds["accuracy"].equals(recorded.rounds["accuracy"])
    # An override goes into what is given as an object, and leaves the rest of it.
    wide = recorded.retime("cell.radius_m=90.0", cell=Cell(min_distance_m=20.0, radius_m=700.0))
    _assert_same(wide, recorded.retime("cell={radius_m=90.0, min_distance_m=20.0}"))


@pytest.mark.parametrize("access", ["tdma", "{kind='ofdma', subchannels=2}", "ofdma"])
@pytest.mark.parametrize("cast", ["multicast", "unicast"])
@pytest.mark.parametrize("link", ["constant", "shannon", "shannon, still", "wireless"])
def test_queues_are_the_real_media_to_the_bit(
    access: str, cast: str, link: str, recorded: Result, plain_recorded: Result
) -> None:
    for source in (recorded, plain_recorded):
        overrides = (f"uplink.link={LINKS[link]}", f"uplink.access={access}", f"downlink.access={access}")
        config = {key: value for key, value in source.config.items() if key != "balance"}
        scenario = parse(config, overrides=(*overrides, f"downlink.cast={cast}")).base
        assert isinstance(air_of(source.recording, scenario), Queues)
        quick = replay(source.recording, scenario)
        slow = replay(source.recording, scenario, air=RealMedia(scenario))
        for table in TABLES:
            assert getattr(quick, table) == getattr(slow, table)


def test_queues_are_used_only_where_rates_hold_still_and_bands_are_split(recorded: Result) -> None:
    config = {key: value for key, value in recorded.config.items() if key != "balance"}
    for override in (
        "uplink.access=ofdma-fair",
        "downlink.access=scheduler",
        f"uplink.link={LINKS['shannon in time']}",
        "cell={placement={kind='random-waypoint'}}",
    ):
        scenario = parse(config, overrides=[override]).base
        assert isinstance(air_of(recorded.recording, scenario), RealMedia)


def test_a_written_re_timing_is_the_folder_of_a_run_anew_to_the_byte(tmp_path: Path) -> None:
    run(parse(BASE), out=tmp_path / "a")
    overrides = ("uplink.link.bandwidth_hz=5e5", "compute={kind='cycles'}", "uplink.access=ofdma-fair")
    retime(tmp_path / "a", *overrides, out=tmp_path / "b")
    config = {key: v for key, v in Result.load(tmp_path / "a").config.items() if key != "balance"}
    run(parse(config, overrides=overrides), out=tmp_path / "anew")
    for name in FILES:
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "anew" / name).read_bytes()
    # It is a finished run like any other: read again, and re-timed again.
    _assert_same(retime(tmp_path / "a", *overrides, out=tmp_path / "b"), Result.load(tmp_path / "anew"))
    back = retime(
        tmp_path / "b", "uplink.link.bandwidth_hz=1e6", "uplink.access=tdma", "compute.frequency_hz=2e9"
    )
    _assert_same(back, retime(tmp_path / "a", "compute={kind='cycles', frequency_hz=2e9}"))
    with pytest.raises(RunError, match=r"another scenario .*--force"):
        retime(tmp_path / "a", "cell.radius_m=100.0", out=tmp_path / "b")


REFUSED = {
    "trigger={kind='norm', tau=0.1}": r"trigger = 'norm' must be left out .* run it anew",
    "protocol={acknowledgements='sent', patience_s=9.0}": "protocol = Protocol must be left out",
    "population.closing={kind='first', updates=2}": "population.closing = 'first' must be left out",
    "population.late={kind='constant'}": "population.late = 'constant' must be left out",
    "engine=batched": r"engine = 'batched' must be left out, or one with the bits of 'loop'.* run it anew",
    "engine=auto": r"engine = 'auto' must be left out, or one with the bits of 'loop'",
    "stop.seconds=5.0": "stop.seconds = 5.0 must be left out .* how many rounds",
    "population.selection=best-channel": "population.selection = 'best-channel' must be one that looks at no rate",
    "population.selection={kind='age'}": "population.selection = 'age' must be one .* ties = 'index'",
    "population.selection={kind='deadline', deadline_s=1.0}": "population.selection = 'deadline'",
    "uplink.link={kind='wireless', loss={kind='bler'}}": "uplink.link = 'wireless' must be one that loses nothing",
    "downlink.link={kind='wireless', loss={kind='packet'}}": "downlink.link = 'wireless' must be one that loses",
    "seed=4": "seed = 4 was 3 in the run: that changes what is learnt; run it anew",
    "data.train_samples=91": "data.train_samples = 91 was 90 in the run",
    "model.hidden=[7]": r"model.hidden = \(7,\) was \(6,\)",
    "partition=iid": "partition = 'iid' was 'dirichlet'",
    "training.learning_rate=0.5": "training.learning_rate = 0.5 was ",
    "uplink.codec.bits=4": "uplink.codec.bits = 4 was 3 in the run: that changes what is learnt; run it anew",
    "uplink.codec=qsgd": "uplink.codec = 'qsgd' was 'uniform'",
    "uplink.error_feedback=false": "uplink.error_feedback = False was True",
    "downlink.codec=float32": "downlink.codec = 'float32' was 'qsgd'",
    "downlink.cast=broadcast": "downlink.cast = 'broadcast' was 'multicast' .* UEs beside the cohort",
    "population.cohort=4": "population.cohort = 4 was 3",
    "population.aggregator=fedadam": "population.aggregator = 'fedadam' was 'fedavg'",
    "population.selection=round-robin": "population.selection = 'round-robin' was None",
    "population.eval_every=1": "population.eval_every = 1 was 2",
    "stop.rounds=5": "stop.rounds = 5 was 4",
    "seeds=[3, 4]": "a run has one seed",
    "uplink.link.rate=1": "uplink.link.rate: unknown key",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_may_change_what_is_learnt_is_refused_with_the_reason(override: str, recorded: Result) -> None:
    with pytest.raises(ConfigError, match=REFUSED[override]) as caught:
        recorded.retime(override)
    assert len(str(caught.value).splitlines()) == 1


def test_every_setting_is_either_one_of_time_or_refused(recorded: Result) -> None:
    names = set()
    for field in dataclasses.fields(Scenario):
        value = getattr(recorded.recording.scenario, field.name)
        if field.name in ("population", "uplink", "downlink"):
            names |= {f"{field.name}.{inner.name}" for inner in dataclasses.fields(value)}
        else:
            names.add(field.name)
    assert set(TIMING) <= names
    learnt = {
        *("seed", "device", "data", "model", "partition", "training", "trigger", "protocol", "stop"),
        *(f"population.{name}" for name in ("ues", "cohort", "selection", "aggregator", "closing", "late")),
        *(f"population.{name}" for name in ("asynchronous", "availability", "failures", "eval_every")),
        "population.standalone",
        *(f"uplink.{name}" for name in ("codec", "delta", "error_feedback", "erasure", "analog")),
        *(f"downlink.{name}" for name in ("codec", "delta")),
    }
    # A new field fails here until it is known which of the two it is.
    assert names - set(TIMING) == learnt


def test_every_engine_that_ignores_timing_claims_the_bits_of_the_loop() -> None:
    claims = {engine.kind for engine in ENGINES if getattr(engine, "ignores_timing", False)}
    assert claims == {"loop", "threads", "processes", "ray"}


def test_a_run_whose_engine_stacks_who_trains_at_one_time_is_not_re_timed() -> None:
    source = run(parse(BASE | {"engine": {"kind": "batched"}, "stop": {"rounds": 2}}))
    with pytest.raises(ConfigError, match="engine = 'batched' must be left out"):
        source.retime("cell.radius_m=100.0", "engine=loop")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"link": {"kind": "wireless", "loss": {"kind": "packet"}}}, "uplink.link = 'wireless' must be one"),
        ({"analog": {}, "codec": {"kind": "float32"}}, "uplink.analog = .* must be left out"),
        ({"erasure": True, "codec": {"kind": "qsgd"}}, "uplink.erasure = True must be false"),
    ],
)
def test_a_run_in_which_timing_counted_is_not_re_timed(changes: dict[str, Any], reason: str) -> None:
    source = run(parse(BASE | {"uplink": BASE["uplink"] | changes, "stop": {"rounds": 2}}))
    with pytest.raises(ConfigError, match=reason):
        source.retime("cell.radius_m=100.0", "uplink.link={kind='shannon'}")


def test_a_keyword_that_is_no_setting_is_an_error(recorded: Result) -> None:
    with pytest.raises(ConfigError, match=r"access: unknown setting; .* 'key.path=value'"):
        recorded.retime(access=Tdma())


def test_an_unfinished_run_is_not_re_timed(tmp_path: Path) -> None:
    def interrupt(_: Any, record: Any) -> None:
        if record.row["round"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(parse(BASE), out=tmp_path, progress=interrupt)
    with pytest.raises(RunError, match="unfinished run; go on with it"):
        retime(tmp_path, "cell.radius_m=100.0")


def test_a_rate_of_nothing_is_the_error_of_a_run(recorded: Result) -> None:
    nowhere = "cell={radius_m=1e300, distances_m=[1e300, 1e300, 1e300, 1e300, 1e300, 1e300]}"
    with pytest.raises(TransportError, match="0 bit/s"):
        _asked_anew(recorded, nowhere)
    with pytest.raises(TransportError, match="0 bit/s"):
        recorded.retime(nowhere)


class _Careless(SplitMedium):
    """Loses what it carries, though its link does not."""

    def advance(self, to_s: float) -> list[Any]:
        return [dataclasses.replace(t, lost=t.ues) if t.start_s > 0 else t for t in super().advance(to_s)]


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of an access scheme whose medium is careless."""
    monkeypatch.setattr(ACCESS, "_classes", dict(ACCESS._classes))

    @ACCESS
    @schema
    class Careless:
        kind: ClassVar[str] = "careless"

        def open(self, link: Any, *, users: int, key: Key = Key(0)) -> Any:
            return _Careless(link, subchannels=1)

    return Careless.kind


def test_a_medium_of_ones_own_that_loses_is_found_out(recorded: Result, careless: str) -> None:
    with pytest.raises(RunError, match="lost a frame of the uplink"):
        recorded.retime(f"uplink.access={careless}")


VARIANTS = [
    {"name": "slow"},
    {"name": "wide", "uplink": {"link": {"bandwidth_hz": 3e6}, "access": {"kind": "ofdma-fair"}}},
    {"name": "codec", "uplink": {"codec": {"kind": "qsgd"}}},
    {"name": "codec-wide", "uplink": {"codec": {"kind": "qsgd"}, "access": {"kind": "ofdma"}}},
    {"name": "lossy", "uplink": {"link": {"kind": "wireless", "loss": {"kind": "packet"}}}},
    {"name": "equal", "population": {"equal_compute": True}, "compute": {"kind": "cycles"}},
]


def test_compare_trains_once_what_learns_the_same_and_its_files_are_the_same_to_the_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = parse(BASE | {"variants": VARIANTS, "seeds": [0, 1], "name": "x"})
    stepped: list[tuple[str, int]] = []

    def progress(name: str, seed: int) -> Any:
        return lambda *_: stepped.append((name, seed))

    found = compare(experiment, out=tmp_path / "once", progress=progress)
    assert {name for name, _ in stepped} == {"slow", "codec", "lossy"}
    printed = capsys.readouterr().out
    assert "codec-wide seed 1: learns what codec has learnt, and is not trained again" in printed
    stepped.clear()
    each = compare(experiment, out=tmp_path / "each", retime=False, progress=progress)
    assert {name for name, _ in stepped} == {variant["name"] for variant in VARIANTS}
    for name, seed in sorted(set(stepped)):
        for file in FILES:
            path = Path(name) / f"seed{seed}" / file
            assert (tmp_path / "once" / path).read_bytes() == (tmp_path / "each" / path).read_bytes()
    kept = compare(experiment)
    for one, other, third in zip(found.results, each.results, kept.results, strict=True):
        _assert_same(one, other)
        assert third.rounds.equals(other.rounds)
        assert third.config == other.config
    # What is finished is read, and a finished variant is re-timed for one that is not.
    for path in (tmp_path / "once" / "wide" / "seed0").iterdir():
        path.unlink()
    stepped.clear()
    again = compare(experiment, out=tmp_path / "once", progress=progress)
    assert stepped == []
    _assert_same(again.results[2], each.results[2])
    # So it is whichever of them stands first.
    for path in (tmp_path / "once" / "slow" / "seed1").iterdir():
        path.unlink()
    compare(experiment, out=tmp_path / "once", progress=progress)
    assert stepped == []
    assert _files(tmp_path / "once") == _files(tmp_path / "each")


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for name in FILES for path in folder.rglob(name))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.long
def test_side_by_side_what_learns_the_same_is_trained_once_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = parse(BASE | {"variants": VARIANTS, "seeds": [0, 1], "name": "x"})
    here = compare(experiment, out=tmp_path / "here")
    said = sorted(line for line in capsys.readouterr().out.splitlines() if "not trained again" in line)
    assert len(said) == 2 * 3
    there = compare(experiment, out=tmp_path / "there", jobs=2)
    assert (
        sorted(line for line in capsys.readouterr().out.splitlines() if "not trained again" in line) == said
    )
    assert _files(tmp_path / "here") == _files(tmp_path / "there")
    assert str(here) == str(there)
    names = [(result.name, result.seed) for result in here.results]
    assert names == [(variant["name"], seed) for variant in VARIANTS for seed in (0, 1)]
    kept = compare(experiment, jobs=2)
    for one, other in zip(here.results, kept.results, strict=True):
        assert (one.name, one.seed, one.config) == (other.name, other.seed, other.config)
        assert one.rounds.equals(other.rounds)


def test_side_by_side_a_re_timing_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    nowhere = {"cell": {"radius_m": 1e300, "distances_m": [1e300] * 6}}
    variants = [{"name": "here"}, {"name": "nowhere"} | nowhere, VARIANTS[1]]
    experiment = parse(BASE | {"variants": variants, "stop": {"rounds": 2}})
    with pytest.raises(RunError, match=r"^1 of 3 runs failed\nnowhere seed 3: .*0 bit/s"):
        compare(experiment, out=tmp_path, jobs=2)
    finished = {path.parent.parent.name for path in tmp_path.rglob("provenance.json")}
    assert finished == {"here", "wide"}
    with pytest.raises(TransportError, match="0 bit/s"):
        compare(experiment)


def test_where_a_re_timing_comes_to_nothing_the_variant_is_trained(careless: str) -> None:
    stepped: list[str] = []
    access = {"access": {"kind": careless}}
    variants = [
        {"name": "careful"},
        {"name": "careless", "uplink": access},
        {"name": "wide", "uplink": {"link": {"bandwidth_hz": 3e6}}},
        {"name": "careless-wide", "uplink": access | {"link": {"bandwidth_hz": 3e6}}},
    ]
    experiment = parse(BASE | {"variants": variants, "stop": {"rounds": 2}})
    found = compare(experiment, progress=lambda name, seed: lambda *_: stepped.append(name))
    assert list(dict.fromkeys(stepped)) == ["careful", "careless", "careless-wide"]
    for one, other in zip(found.results, compare(experiment, retime=False).results, strict=True):
        assert one.name == other.name
        _assert_same(one, other)


def test_an_unfinished_variant_is_re_timed_where_it_is_to_go_on(tmp_path: Path) -> None:
    def interrupt(name: str, seed: int) -> Any:
        def stop(_: Any, record: Any) -> None:
            if name == "wide" and record.row["round"] == 2:
                raise KeyboardInterrupt

        return stop

    experiment = parse(BASE | {"variants": VARIANTS[:2]})
    with pytest.raises(KeyboardInterrupt):
        compare(experiment, out=tmp_path / "cut", retime=False, progress=interrupt)
    with pytest.raises(RunError, match="unfinished run; --resume"):
        compare(experiment, out=tmp_path / "cut")
    compare(experiment, out=tmp_path / "cut", resume=True, progress=interrupt)  # not trained: not interrupted
    compare(experiment, out=tmp_path / "whole", retime=False)
    assert _files(tmp_path / "cut") == _files(tmp_path / "whole")
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_the_command_tells_accuracy_against_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = run(parse(BASE), out=tmp_path / "run")
    monkeypatch.setattr("syft_fl.experiment.runs.Simulation", None)  # nothing is trained
    command = ["retime", str(tmp_path / "run"), "cell.radius_m=150.0"]
    command += ["--set", "uplink.link.bandwidth_hz=2e6", "--set", "uplink.access=ofdma"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    found = Result.load(tmp_path / "out")
    assert found.rounds["accuracy"].equals(Result.load(tmp_path / "run").rounds["accuracy"])
    assert f"{found.rounds['latency_s'].iloc[-1]:.6g}" in printed
    assert found.rounds["latency_s"].iloc[-1] < source.rounds["latency_s"].iloc[-1]
    with pytest.raises(SystemExit) as ended:
        cli.main(["retime", str(tmp_path / "run"), "--set", "uplink.codec.bits=4"])
    assert ended.value.code == 2
    assert "error: uplink.codec.bits = 4 was 3 in the run" in capsys.readouterr().err


def test_a_re_timing_obeys_the_law_of_one_rate_for_all(plain_recorded: Result) -> None:
    """TDMA at a constant rate: a round takes its bits over the rate, and what computing and the downlink take."""
    rate_bps = 1e5
    found = plain_recorded.retime(
        f"uplink.link={{kind='constant', rate_bps={rate_bps}}}",
        f"downlink.link={{kind='constant', rate_bps={rate_bps}}}",
        "compute={kind='per_sample', seconds_per_sample=0}",
    )
    bits = found.transfers["bits"].sum()
    assert math.isclose(found.rounds["latency_s"].iloc[-1], bits / rate_bps, rel_tol=1e-9)
