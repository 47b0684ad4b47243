"""What every registered path model keeps to. A new one joins by being registered."""

from __future__ import annotations

import json
import math
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import PATHS, Cell, FreeSpace, InF, InH, LogDistance, Path, RMa, UMa, UMi
from syft_fl.schema import plain, schema

KEY = Key(7)
STILL = Cell(radius_m=100.0)
"""A cell that every scenario was made for, a factory hall included."""
WALKING = Cell(radius_m=100.0, placement={"kind": "random-waypoint", "speed_max_m_per_s": 3.0})
MODELS: list[Path] = [PATHS.build(cls.kind) for cls in PATHS if cls.__module__.startswith("syft_fl.")] + [
    LogDistance(correlation_m=50.0),
    LogDistance(shadowing_db=0.0),
    FreeSpace(shadowing_db=3.0, frequency_hz=60e9),
    UMa(los="always", correlated=False),
    UMi(los="never", shadowing=False),
    RMa(correlated=False, frequency_hz=0.7e9),
    InH(office="open"),
    *(InF(hall=hall) for hall in ("SL", "DL", "DH")),
]
SHADOWED = [m for m in MODELS if getattr(m, "shadowing", True) and getattr(m, "shadowing_db", 1.0) != 0.0]
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)
questions = st.lists(
    st.tuples(st.sampled_from(["ue0", "ue1", "ue17"]), st.floats(0, 1e4)), min_size=1, max_size=6
)


@every_model
@settings(max_examples=15, deadline=None)
@given(asked=questions, moving=st.booleans())
def test_gains_depend_neither_on_the_order_nor_on_the_number_of_questions(
    model: Path, asked: list[tuple[str, float]], moving: bool
) -> None:
    cell = WALKING if moving else STILL

    def answers(which: list[tuple[str, float]]) -> list[float]:
        return [model.gain(ue, cell=cell, key=KEY, time_s=time_s) for ue, time_s in which]

    once = answers(asked)
    assert answers(asked[::-1])[::-1] == once
    assert answers(asked * 2) == once * 2
    assert all(0 < gain < 1 for gain in once)


@every_model
@settings(max_examples=15, deadline=None)
@given(time_s=st.floats(0, 1e5))
def test_gains_hold_until_the_time_that_the_cell_names(model: Path, time_s: float) -> None:
    until_s = WALKING.steady_until_s(time_s=time_s)
    gain = model.gain("ue0", cell=WALKING, key=KEY, time_s=time_s)
    assert model.gain("ue0", cell=WALKING, key=KEY, time_s=math.nextafter(until_s, 0.0)) == gain
    assert model.gain("ue0", cell=STILL, key=KEY, time_s=time_s) == model.gain("ue0", cell=STILL, key=KEY)


@every_model
def test_gains_change_as_a_ue_walks(model: Path) -> None:
    gains = {model.gain("ue0", cell=WALKING, key=KEY, time_s=float(t)) for t in range(30)}
    assert len(gains) == 30


@every_model
def test_a_ue_has_the_same_gain_whoever_else_is_there(model: Path) -> None:
    alone = model.gain("ue5", cell=STILL, key=KEY)
    assert [model.gain(f"ue{k}", cell=STILL, key=KEY) for k in range(8)][5] == alone


@every_model
def test_ues_and_seeds_differ(model: Path) -> None:
    gains = {model.gain(f"ue{k}", cell=STILL, key=Key(seed)) for k in range(10) for seed in range(3)}
    assert len(gains) == 30


@pytest.mark.parametrize("model", SHADOWED, ids=repr)
def test_the_shadow_is_another_one_under_another_key(model: Path) -> None:
    cell = Cell(radius_m=100.0, placement={"kind": "given", "positions_m": [[50.0, 30.0]]})
    gains = {model.gain("ue0", cell=cell, key=Key(seed)) for seed in range(10)}
    assert len(gains) == 10


@every_model
def test_settings_survive_a_file(model: Path) -> None:
    assert PATHS.build(json.loads(json.dumps(plain(model)))) == model


@every_model
def test_a_cell_that_suits_the_model_is_accepted(model: Path) -> None:
    model.check(STILL)
    model.check(WALKING)


def test_a_path_model_of_ones_own_joins_by_its_methods() -> None:
    @schema
    class Wall:
        kind: ClassVar[str] = "wall"

        def check(self, cell: Cell) -> None: ...

        def gain(self, ue: str, *, cell: Cell, key: Key, time_s: float = 0.0) -> float:
            return 1e-20

    assert isinstance(Wall(), Path)
    assert PATHS.build(Wall()) == Wall()
    with pytest.raises(ConfigError, match="is no path model: it needs gain, check"):
        PATHS.build(object())


def test_an_unknown_kind_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"kind = 'uma3d' is no path model; did you mean 'uma'\?"):
        PATHS.build("uma3d")
