"""After how many seconds on the air is a federated model how accurate, for this way of compressing and sending it?

Two ways in, one seam::

    import syft_fl as sy

    result = sy.run("experiments/digits.toml")            # a simulation: UEs, BS, radio, clock
    result.plot("latency_s", "accuracy")

    hook = sy.TorchHook(torch)                            # or PySyft 0.2's vocabulary, by hand
    ue = sy.VirtualWorker(hook=hook, id="ue1")
    model = Net().send(ue)

Names are imported when they are first used, so ``syft-fl --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# At once, and after its module: the module would else take the name whenever it is imported first.
from syft_fl.schema import schema

if TYPE_CHECKING:
    from syft_fl import codecs, data, learn, plots, radio
    from syft_fl.errors import (
        CannotRequestObjectAttribute,
        ClockError,
        CodecError,
        ConfigError,
        DataError,
        FrameError,
        ObjectNotFoundError,
        RunError,
        SyftFLError,
        TensorsNotCollocatedException,
        TransportError,
        WorkerError,
    )
    from syft_fl.experiment import (
        Comparison,
        Experiment,
        Result,
        SweepResult,
        Variant,
        compare,
        load,
        load_scenario,
        parse,
        preview,
        run,
        scenarios,
        sweep,
    )
    from syft_fl.experiment.trace import trace
    from syft_fl.federation import Population, Scenario, Stop
    from syft_fl.keys import Key
    from syft_fl.transport import Downlink, SyftCarrier, Transport, Uplink
    from syft_fl.workers import (
        BaseDataset,
        FederatedDataLoader,
        FederatedDataset,
        LocalWorker,
        MultiPointerTensor,
        PointerTensor,
        TorchHook,
        VirtualWorker,
        federated_avg,
    )

    local_worker: LocalWorker

__version__ = "0.1.0"

_HOME = {
    "syft_fl.errors": (
        "CannotRequestObjectAttribute",
        "ClockError",
        "CodecError",
        "ConfigError",
        "DataError",
        "FrameError",
        "ObjectNotFoundError",
        "RunError",
        "SyftFLError",
        "TensorsNotCollocatedException",
        "TransportError",
        "WorkerError",
    ),
    "syft_fl.keys": ("Key",),
    "syft_fl.transport": ("Downlink", "SyftCarrier", "Transport", "Uplink"),
    "syft_fl.workers": (
        "BaseDataset",
        "FederatedDataLoader",
        "FederatedDataset",
        "MultiPointerTensor",
        "PointerTensor",
        "TorchHook",
        "VirtualWorker",
        "federated_avg",
    ),
    "syft_fl.federation": ("Population", "Scenario", "Stop"),
    "syft_fl.experiment": (
        "Comparison",
        "Experiment",
        "Result",
        "SweepResult",
        "Variant",
        "compare",
        "load",
        "load_scenario",
        "parse",
        "preview",
        "run",
        "scenarios",
        "sweep",
        "trace",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_SUBPACKAGES = ("codecs", "data", "learn", "plots", "radio")

__all__ = [
    "BaseDataset",
    "CannotRequestObjectAttribute",
    "ClockError",
    "CodecError",
    "Comparison",
    "ConfigError",
    "DataError",
    "Downlink",
    "Experiment",
    "FederatedDataLoader",
    "FederatedDataset",
    "FrameError",
    "Key",
    "MultiPointerTensor",
    "ObjectNotFoundError",
    "PointerTensor",
    "Population",
    "Result",
    "RunError",
    "Scenario",
    "Stop",
    "SweepResult",
    "SyftCarrier",
    "SyftFLError",
    "TensorsNotCollocatedException",
    "TorchHook",
    "Transport",
    "TransportError",
    "Uplink",
    "Variant",
    "VirtualWorker",
    "WorkerError",
    "codecs",
    "compare",
    "data",
    "federated_avg",
    "learn",
    "load",
    "load_scenario",
    "parse",
    "plots",
    "preview",
    "radio",
    "run",
    "scenarios",
    "schema",
    "sweep",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"syft_fl.{name}")
    if (
        name == "local_worker"
    ):  # a hook's own, so it can't be kept here; not in __all__, as without one it is an error
        return import_module("syft_fl.workers").local_worker()
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module 'syft_fl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "local_worker"])
