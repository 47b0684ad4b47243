"""Where tensors are and operations run: the CPU, or a card that CUDA (or ROCm, by the same name) drives.

A scenario names its device; what it names is looked for when a run is checked or begins, and not when a file is read: a
run of a machine with a card can be read and drawn on one without.

Left out: other accelerators. ``mps`` has no float64, in which losses are summed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from syft_fl.errors import ConfigError

__all__ = ["CPU", "describe", "device_of", "is_device_name", "loads_onto", "memory_bytes", "ready"]

CPU = torch.device("cpu")

_NAME = re.compile(r"cpu|cuda(:\d+)?")


def is_device_name(name: str) -> bool:
    """Whether a name is one of ``cpu``, ``cuda`` and ``cuda:N``, whatever there is here.

    Example:
        >>> is_device_name("cuda:1"), is_device_name("gpu")
        (True, False)
    """
    return _NAME.fullmatch(name) is not None


def ready(name: str | None) -> torch.device:
    """The device of a name, if it is here; a card with its number.

    Args:
        name: ``cuda`` is the card that torch takes by itself; None: the CPU.

    Raises:
        ConfigError: there is no such device here.
    """
    if name is None or name == "cpu":
        return CPU
    if not torch.cuda.is_available():
        build = "for cards" if torch.version.cuda or torch.version.hip else "for CPUs alone"
        raise ConfigError(
            f"device = {name!r} must be a card that torch finds, and it finds none "
            f"(torch {torch.__version__}, built {build}); leave device out to compute on the CPU"
        )
    index, count = torch.device(name).index, torch.cuda.device_count()
    number = torch.cuda.current_device() if index is None else index
    if number >= count:
        raise ConfigError(f"device = {name!r} must be a card here; there are cuda:0 … cuda:{count - 1}")
    # With its number, as tensors have it: torch takes "cuda" and "cuda:0" for two devices.
    return torch.device("cuda", number)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are; the CPU where it has none."""
    first = next(module.parameters(), None)
    return CPU if first is None else first.device


def memory_bytes(device: torch.device) -> int:
    """The memory of a card. All of it, and not what is free at the moment: the same on every run."""
    return int(torch.cuda.mem_get_info(device)[1])


def describe(device: torch.device) -> str:
    """A device and which make it is, for people."""
    return "cpu" if device.type == "cpu" else f"{device} ({torch.cuda.get_device_name(device)})"


def loads_onto(device: torch.device) -> Callable[[Any, str], Any]:
    """``map_location`` for ``torch.load``: what was on a card comes to this device, what was on the CPU stays there."""
    return lambda storage, location: storage if location == "cpu" else storage.to(device=device)
