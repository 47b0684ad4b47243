"""Whether the parts of a scenario go together, found out without training."""

from __future__ import annotations

import warnings

import torch

from syft_fl.data import Dataset
from syft_fl.devices import CPU, ready
from syft_fl.errors import ConfigError
from syft_fl.federation.scenario import Scenario
from syft_fl.keys import Key
from syft_fl.learn import build_seeded

__all__ = ["check_fits"]


def check_fits(scenario: Scenario, dataset: Dataset) -> None:
    """Check, without training, that model, data and partition go together, and that device and carrier are there.

    Raises:
        ConfigError: the device is not here, the model does not take the data or does not tell its classes apart, or
            the partition leaves a UE without samples.
        TransportError: the carrier does not work here.
    """
    device = ready(scenario.device)
    key = Key(scenario.seed)
    scenario.partition.split(dataset.train.y, ues=scenario.population.ues, key=key / "partition")
    module = build_seeded(scenario.model, dataset.shape, dataset.classes, key / "model").eval().to(device)
    x, training = dataset.test.x[:2].to(device), scenario.training
    try:
        with torch.no_grad():
            shape = tuple(module(x).shape)
    except RuntimeError as error:
        where = "" if device == CPU else f" on {device} (tensors that it makes must be on its input's device)"
        raise ConfigError(
            f"model {type(module).__name__} does not take samples of shape {tuple(dataset.shape)}{where}: {error}"
        ) from None
    if shape != (len(dataset.test.x[:2]), dataset.classes):
        raise ConfigError(
            f"model {type(module).__name__} gives {shape[1:]} for a sample, "
            f"but the data have {dataset.classes} classes; it must give one score per class"
        )
    if training.layout is not None:
        try:
            with torch.no_grad():
                module.to(memory_format=torch.channels_last)(training.laid_out(x))  # type: ignore[call-overload]
        except RuntimeError as error:
            raise ConfigError(
                f"model {type(module).__name__} can't be trained with training.layout = {training.layout!r}: {error} "
                "Use .flatten(1) for .view in its forward, or leave training.layout out"
            ) from None
    if scenario.uplink.analog is not None and any(True for _ in module.buffers()):
        raise ConfigError(
            f"model {type(module).__name__} has buffers (as BatchNorm's), and uplink.analog adds up parameters alone; "
            "use GroupNorm, or leave uplink.analog out"
        )
    if device == CPU and training.precision == "bf16" and not _multiplies_bfloat16():
        warnings.warn(
            "training.precision = 'bf16': this processor has no instructions for bfloat16, so training takes several "
            "times as long as in float32; leave training.precision out to be quicker",
            UserWarning,
            stacklevel=2,
        )
    scenario.carrier.open("bs").close()


def _multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # type: ignore[no-untyped-call]
