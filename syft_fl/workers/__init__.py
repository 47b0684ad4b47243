"""PySyft 0.2's vocabulary on current torch: virtual workers, pointers, and the hook that adds ``send`` and ``get``."""

from syft_fl.workers.hook import TorchHook, copy, get, move, send
from syft_fl.workers.pointer import PointerTensor
from syft_fl.workers.station import Station
from syft_fl.workers.worker import LocalWorker, VirtualWorker

__all__ = [
    "LocalWorker",
    "PointerTensor",
    "Station",
    "TorchHook",
    "VirtualWorker",
    "copy",
    "get",
    "move",
    "send",
]
