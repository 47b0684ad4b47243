"""What every registered fading keeps to. A new one joins by being registered."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_fl.keys import Key
from syft_fl.radio import FADINGS, FadingModel, GaussMarkov, Jakes, Nakagami, Rayleigh, Rician
from syft_fl.schema import plain

KEY = Key(12)
MODELS: list[FadingModel] = [
    FADINGS.build(cls.kind) for cls in FADINGS if cls.__module__.startswith("syft_fl.")
] + [
    Rayleigh(block="time", coherence_s=0.01),
    Rician(k_db=-3.0, block="time"),
    Rician(k_db=40.0),
    Nakagami(m=0.5),
    Nakagami(m=1000.0, block="time", coherence_s=2.0),
    Jakes(doppler_hz=500.0),
    Jakes(doppler_hz=0.01, step_s=1.0),
    GaussMarkov(coherence_s=3.0, step_s=0.7),
]
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)
questions = st.lists(
    st.tuples(st.sampled_from(["ue0", "ue1", "ue17"]), st.integers(0, 5), st.floats(0, 1e5)),
    min_size=1,
    max_size=8,
)


def in_time(model: FadingModel) -> bool:
    return math.isfinite(model.open(KEY).steady_until_s(time_s=0.0))


CHANGING = [model for model in MODELS if model.kind != "none"]
every_changing_model = pytest.mark.parametrize("model", CHANGING, ids=repr)


@every_model
@settings(max_examples=20, deadline=None)
@given(asked=questions)
def test_gains_depend_neither_on_the_order_nor_on_the_number_of_questions(
    model: FadingModel, asked: list[tuple[str, int, float]]
) -> None:
    def answers(which: list[tuple[str, int, float]]) -> list[float]:
        fading = model.open(KEY)
        return [fading.gain(ue, block=block, time_s=time_s) for ue, block, time_s in which]

    once = answers(asked)
    assert answers(asked[::-1])[::-1] == once
    assert answers(asked * 2) == once * 2
    assert [answers([question])[0] for question in asked] == once
    assert all(0 < gain < math.inf for gain in once)


@every_model
@settings(max_examples=20, deadline=None)
@given(time_s=st.floats(0, 1e5))
def test_gains_hold_until_the_time_that_the_fading_names(model: FadingModel, time_s: float) -> None:
    fading = model.open(KEY)
    until_s = fading.steady_until_s(time_s=time_s)
    assert until_s > time_s
    gain = fading.gain("ue0", block=0, time_s=time_s)
    assert fading.gain("ue0", block=0, time_s=math.nextafter(min(until_s, 1e9), 0.0)) == gain
    if math.isfinite(until_s):
        assert fading.gain("ue0", block=0, time_s=until_s) != gain


@every_model
def test_a_fading_in_time_ignores_rounds_and_one_per_round_ignores_time(model: FadingModel) -> None:
    fading = model.open(KEY)
    first, later, other = (fading.gain("ue0", block=b, time_s=t) for b, t in ((0, 0.0), (0, 5e3), (5, 0.0)))
    if model.kind == "none":
        assert first == later == other == 1.0
    elif in_time(model):
        assert first == other != later
    else:
        assert first == later != other


@every_changing_model
def test_gains_change_with_key_ue_and_block(model: FadingModel) -> None:
    def gain(ue: str = "ue0", seed: int = 0, number: int = 0) -> float:
        return model.open(Key(seed)).gain(ue, block=number, time_s=1e3 * number)

    drawn = [gain(), gain("ue1"), gain(seed=1), gain(number=1)]
    assert len(set(drawn)) == 4


@every_model
def test_gains_are_1_on_average_over_ues(model: FadingModel) -> None:
    fading = model.open(KEY)
    gains = np.array([fading.gain(f"ue{k}", block=3, time_s=100.0) for k in range(2000)])
    assert gains.mean() == pytest.approx(1, abs=5 * gains.std() / math.sqrt(2000) + 1e-12)
    # Gains of neighbours in the list have nothing to do with each other.
    if model.kind != "none":
        assert abs(np.corrcoef(gains[1:], gains[:-1])[0, 1]) < 5 / math.sqrt(2000)


@every_model
def test_settings_survive_a_file(model: FadingModel) -> None:
    assert FADINGS.build(json.loads(json.dumps(plain(model)))) == model


def test_defaults_are_found_by_their_kind_alone() -> None:
    built: list[Any] = [FADINGS.build(kind) for kind in FADINGS.kinds()]
    assert all(isinstance(model, FadingModel) for model in built)
    assert {"none", "rayleigh", "rician", "nakagami", "jakes", "gauss-markov"} <= set(FADINGS.kinds())
