"""The survey of codecs: what it prints is what theory says, and a lie shows."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from syft_fl.codecs import CODECS, Eden, Float32, LloydMax, TopK, Uniform
from syft_fl.errors import ConfigError, DataError
from syft_fl.experiment.survey import SHANNON_DB, SURVEYED, label_of, of_kinds, shown, source_of, survey
from syft_fl.plots import rate_distortion


def test_every_kind_of_codec_is_surveyed() -> None:
    ours = {cls.kind for cls in CODECS if cls.__module__.startswith("syft_fl.")}
    assert {settings["kind"] for settings in SURVEYED} == ours


def test_lloyd_max_and_float32_are_what_theory_says() -> None:
    table = survey(source_of("gaussian", entries=2**16), [Float32(), LloydMax(bits=2)], keys=1)
    assert table["bits_per_entry"].tolist() == [32.0, pytest.approx(2 + 32 / 2**16)]
    assert table["error"][0] == 0
    assert math.isnan(table["gap_db"][0])
    # Max 1960: 0.11748; five standard errors of a mean over 65,536 entries are about 0.004.
    assert table["error"][1] == pytest.approx(0.11748, abs=0.004)
    assert table["gap_db"][1] == pytest.approx(10 * math.log10(0.11748) + 4 * 10 * math.log10(2), abs=0.15)


def test_bias_is_seen_apart_from_chance() -> None:
    table = survey(source_of("gaussian", entries=2**14), [Eden(bits=1.0), TopK(fraction=0.1)], keys=16)
    unbiased, biased = table["bias"]
    assert unbiased < 0.06, "DRIVE's error is 0.57 of the energy in each draw"
    assert biased == pytest.approx(math.sqrt(0.561), rel=0.02), "what top-k leaves out is the same each time"


def test_one_key_says_nothing_of_bias_and_none_is_refused() -> None:
    source = source_of("gaussian", entries=256)
    table = survey(source, [Eden(bits=1.0)], keys=1)
    assert math.isnan(table["bias"][0])
    assert shown(table).splitlines()[2].split()[5] == "-"
    with pytest.raises(ConfigError, match="keys = 0 must be at least 1"):
        survey(source, [Eden(bits=1.0)], keys=0)


def test_no_codec_is_below_shannon_on_his_sources() -> None:
    for name, bound_db in (("gaussian", 0.0), ("laplace", SHANNON_DB)):
        gaps_db = survey(source_of(name, entries=2**14), keys=2)["gap_db"].dropna()
        # The sample's own energy stands for the variance, so a rate of zero is at 0 dB; little more is chance.
        assert gaps_db.min() > bound_db - 0.1


def test_a_lie_about_bits_shows_below_the_curve() -> None:
    class Liar(Uniform):
        def encode(self, x, *, ctx):
            payload, memory = super().encode(x, ctx=ctx)
            half = payload.bits // 2
            return type(payload)(payload.body[: -(-half // 8)], half), memory

        def decode(self, payload, *, ctx):
            return nearly, ctx.memory

    source = source_of("gaussian", entries=4096)
    nearly = source.vector + 0.01 * torch.sign(source.vector)
    assert survey(source, [Liar(bits=4)], keys=1)["gap_db"][0] < -10


def test_a_real_update_has_its_models_layout_and_is_the_same_each_time() -> None:
    first, second = source_of("digits"), source_of("digits")
    assert torch.equal(first.vector, second.vector)
    assert [slot.shape for slot in first.layout.slots] == [(64, 64), (64,), (10, 64), (10,)]
    assert first.vector.abs().max() > 0


@pytest.mark.parametrize("form", ["npy", "tensor", "state_dict"])
def test_a_saved_vector_is_read_with_its_shapes(form: str, tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    if form == "npy":
        path = tmp_path / "u.npy"
        np.save(path, values)
    else:
        path = tmp_path / "u.pt"
        tensor = torch.from_numpy(values)
        torch.save(tensor if form == "tensor" else {"w": tensor, "steps": torch.tensor(3)}, path)
    source = source_of(str(path))
    assert source.vector.tolist() == list(range(12))
    assert [slot.shape for slot in source.layout.slots] == [(3, 4)]


def test_what_is_no_source_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source = 'gauss' must be"):
        source_of("gauss")
    with pytest.raises(ConfigError, match="entries = 0"):
        source_of("laplace", entries=0)
    (tmp_path / "broken.pt").write_bytes(b"no tensor")
    for name in ("broken.pt", "missing.npy"):
        with pytest.raises(DataError, match="can't be read"):
            source_of(str(tmp_path / name))
    with pytest.raises(ConfigError, match="did you mean 'qsgd'"):
        of_kinds(["qsdg"])


def test_labels_say_what_is_not_the_default() -> None:
    assert label_of(Uniform()) == "uniform"
    assert (
        label_of(CODECS.build({"kind": "qsgd", "levels": 3, "coder": {"kind": "ans"}})) == "qsgd levels=3 ans"
    )
    nested = CODECS.build({"kind": "top-k", "fraction": 0.1, "codec": {"kind": "uniform", "bits": 5}})
    assert label_of(nested) == "top-k fraction=0.1 (uniform bits=5)"


def test_the_figure_draws_what_the_table_says() -> None:
    table = survey(source_of("gaussian", entries=2048), of_kinds(["uniform", "float32"]), keys=1)
    axes = rate_distortion(table, source="a test").axes[0]
    points = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert "float32" not in points, "it has no error, and 32 bits"
    expected = table[(table["kind"] == "uniform") & (table["bits_per_entry"] < 8.5)]
    assert sorted(points["uniform"][:, 0]) == pytest.approx(sorted(expected["bits_per_entry"]))
    assert points["D(R), Gaussian"][1] == pytest.approx([8.5, -20 * math.log10(2) * 8.5])


def test_no_point_is_off_the_figure() -> None:
    table = survey(source_of("gaussian", entries=2048), of_kinds(["natural", "float32"]), keys=1)
    axes = rate_distortion(table).axes[0]
    assert axes.get_xlim()[1] == pytest.approx(9.5), "nine bits an entry are the least here"
    fine = pd.DataFrame({"kind": ["a", "b"], "bits_per_entry": [8.0, 2.0], "error": [1e-6, 100.0]})
    low_db, high_db = rate_distortion(fine).axes[0].get_ylim()
    assert low_db < -60
    assert high_db > 20
    with pytest.raises(ConfigError, match="most_bits = 5 must be at least 9, the least rate with an error"):
        rate_distortion(table, most_bits=5)
    with pytest.raises(ConfigError, match=r"error = 0\.0 must be above 0 for one codec at least"):
        rate_distortion(table[table["kind"] == "float32"])


def test_the_printed_table_has_a_line_a_codec() -> None:
    table = survey(source_of("gaussian", entries=256), of_kinds(["sign", "float32"]), keys=1)
    lines = shown(table).splitlines()
    assert lines[0].split()[:2] == ["codec", "bits/entry"]
    assert [line.split()[0] for line in lines[2:]] == ["float32", "sign"]
    assert shown(pd.DataFrame(columns=table.columns)).splitlines()[0].startswith("codec")
