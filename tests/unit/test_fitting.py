"""What is said of a scenario's parts before anything is trained."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from syft_fl.data import Dataset, as_dataset
from syft_fl.errors import ConfigError
from syft_fl.federation import Population, Scenario, check_fits, fitting
from syft_fl.learn import IID, PerSample, Training


class Viewed(nn.Module):
    """Takes its features apart as most scripts do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv(x).view(-1, 4 * 36))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Model:
    kind: ClassVar[str] = "viewed"

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        return Viewed()


def images() -> Dataset:
    x, y = torch.randn(8, 3, 8, 8), torch.arange(8) % 3
    return as_dataset(((x, y), (x, y)), classes=3)


def scenario(training: Training) -> Scenario:
    return Scenario(
        model=Model(),
        partition=IID(),
        population=Population(ues=2),
        training=training,
        compute=PerSample(seconds_per_sample=1e-3),
    )


def test_a_module_that_takes_no_layout_is_refused_before_it_is_trained() -> None:
    check_fits(scenario(Training()), images())
    with pytest.raises(
        ConfigError,
        match=r"model Viewed can't be trained with training\.layout = 'channels-last': .*flatten\(1\)",
    ):
        check_fits(scenario(Training(layout="channels-last")), images())


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_where_it_is_emulated_is_warned_of(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_multiplies_bfloat16", lambda: native)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_fits(scenario(Training(precision="bf16")), images())
    assert [str(one.message).split(":")[0] for one in said] == (
        [] if native else ["training.precision = 'bf16'"]
    )
