"""PySyft 0.2's vocabulary on current torch: virtual workers, pointers, and the hook that adds ``send`` and ``get``."""

from syft_fl.workers.averaging import add_model, federated_avg, scale_model
from syft_fl.workers.datasets import BaseDataset, FederatedDataset, federate
from syft_fl.workers.hook import TorchHook, copy, get, local_worker, move, send
from syft_fl.workers.loader import FederatedDataLoader
from syft_fl.workers.multi import MultiPointerTensor, combine_pointers
from syft_fl.workers.pointer import PointerTensor
from syft_fl.workers.station import Station
from syft_fl.workers.worker import LocalWorker, VirtualWorker

__all__ = [
    "BaseDataset",
    "FederatedDataLoader",
    "FederatedDataset",
    "LocalWorker",
    "MultiPointerTensor",
    "PointerTensor",
    "Station",
    "TorchHook",
    "VirtualWorker",
    "add_model",
    "combine_pointers",
    "copy",
    "federate",
    "federated_avg",
    "get",
    "local_worker",
    "move",
    "scale_model",
    "send",
]
