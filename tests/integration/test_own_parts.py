"""A user's own model, data, codec and link: as objects, and by import path in a TOML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

import syft_fl as sy
from syft_fl.codecs import CODECS, Context, Memory, Payload
from syft_fl.vectors import Vector

MODULE = """
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from syft_fl.codecs import Payload


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        return self.linear(x)


def load():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 6, generator=generator)
    y = x[:, :3].argmax(dim=1)
    return (x[:60], y[:60]), (x[60:], y[60:])


@dataclass(frozen=True)
class Sign:
    scale: float = 0.1
    kind: ClassVar[str] = "my_parts:Sign"
    lossless: ClassVar[bool] = False

    def encode(self, x, *, ctx):
        import numpy as np

        return Payload(np.packbits(x.numpy() > 0).tobytes(), x.numel()), {}

    def decode(self, payload, *, ctx):
        import numpy as np

        bits = np.unpackbits(np.frombuffer(payload.body, np.uint8), count=ctx.layout.length)
        return torch.from_numpy(bits.astype(np.float32) * 2 - 1) * self.scale, {}
"""

TOML = """
[model]
kind = "own"
path = "my_parts:Net"

[data]
kind = "own"
path = "my_parts:load"

[population]
ues = 4

[training]
learning_rate = 0.2

[uplink]
codec = { kind = "my_parts:Sign", scale = 0.05 }

[stop]
rounds = 6
"""


class Net(nn.Module):
    """The same as in the module, but defined here, as in a notebook's cell."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@dataclass(frozen=True)
class Halved:
    """Halves what it sends: a codec that is wrong in a way that shows."""

    kind: ClassVar[str] = "halved"
    lossless: ClassVar[bool] = False

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        body = (x / 2).numpy().tobytes()
        return Payload(body, 8 * len(body)), {}

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        return torch.frombuffer(bytearray(payload.body), dtype=torch.float32), {}


def _data() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 6, generator=generator)
    y = x[:, :3].argmax(dim=1)
    return (x[:60], y[:60]), (x[60:], y[60:])


CONFIG = sy.parse({"population": {"ues": 4}, "training": {"learning_rate": 0.2}, "stop": {"rounds": 6}})


def test_classes_and_tensors_in_hand_are_run() -> None:
    result = sy.run(CONFIG, model=Net, data=_data(), codec=Halved())
    accuracy = result.rounds["accuracy"]
    assert accuracy.iloc[-1] > accuracy.iloc[0]
    exact = sy.run(CONFIG, model=Net, data=_data())
    assert exact.rounds["loss"].iloc[0] == result.rounds["loss"].iloc[0]
    assert exact.rounds["loss"].iloc[-1] < result.rounds["loss"].iloc[-1]
    assert exact.rounds["uplink_bits"].iloc[-1] == result.rounds["uplink_bits"].iloc[-1]
    assert result.config["uplink"]["codec"] == {"kind": "halved"}


def test_a_diverged_update_is_refused_whether_the_codec_looks_or_not() -> None:
    class Diverging(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (torch.inf if self.training else 1.0)

    with pytest.raises(sy.CodecError, match=r"ue0's model in round 1 .*training\.learning_rate = 0\.2"):
        sy.run(CONFIG, model=Diverging, data=_data(), codec=Halved())


def test_the_same_parts_by_import_path_in_a_toml_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_parts.py").write_text(MODULE)
    (tmp_path / "own.toml").write_text(TOML)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = sy.run(tmp_path / "own.toml", out=tmp_path / "run")
    up = result.transfers[result.transfers["direction"] == "uplink"]
    assert (up["payload_bits"] == 21).all()
    assert result.rounds["accuracy"].iloc[-1] > result.rounds["accuracy"].iloc[0]
    again = sy.run(tmp_path / "run" / "config.json", out=tmp_path / "again")
    assert again.rounds.equals(result.rounds)


def test_a_model_that_can_not_be_made_is_one_clear_error() -> None:
    with pytest.raises(sy.ConfigError, match="model"):
        sy.run(CONFIG, model=3, data=_data())
    with pytest.raises(sy.ConfigError, match="can't be imported"):
        sy.parse({"model": {"kind": "own", "path": "no_such_module:Net"}})


def test_a_codec_joins_the_registry_in_a_line() -> None:
    try:
        CODECS(Halved)
        assert sy.parse({"uplink": {"codec": {"kind": "halved"}}}).base.uplink.codec == Halved()
    finally:
        del CODECS._classes["halved"]


def test_data_that_does_not_fit_together_is_refused() -> None:
    (x, y), test = _data()
    with pytest.raises(sy.ConfigError, match="same number"):
        sy.run(CONFIG, model=Net, data=((x, y[:-1]), test))
