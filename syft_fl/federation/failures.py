"""Trainings and uploads that fail: a battery that dies, an app that is closed, a connection that is cut off.

Packets that get lost on the radio are its own affair (``uplink.link.loss``); here it is the device that gives up.
Whether something fails is drawn from a key alone, by the very number that it is compared with: the failures at a low
probability are among those at a higher one.

Left out: failures that UEs share, that depend on how long something takes, and repair.
"""

from __future__ import annotations

from syft_fl.keys import Key
from syft_fl.schema import require, schema

__all__ = ["Failures"]


@schema
class Failures:
    """How often what a UE does comes to nothing.

    Attributes:
        compute: probability that a training fails before it ends.
        upload: probability that an upload is cut off.
    """

    compute: float = 0.0
    upload: float = 0.0

    def __post_init__(self) -> None:
        for name in ("compute", "upload"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, value, "in 0 … 1", "write 0.1 for 10 %")

    def during_compute(self, key: Key) -> float | None:
        """The fraction of its compute time after which a training fails, uniform in 0 … 1; None: it does not fail.

        Args:
            key: of this training; nothing else may be drawn from it.
        """
        if (key / "compute fails").uniform() >= self.compute:
            return None
        return (key / "compute fails after").uniform()

    def during_upload(self, key: Key) -> bool:
        """Whether an upload is cut off.

        Args:
            key: of this upload; nothing else may be drawn from it.
        """
        return (key / "upload fails").uniform() < self.upload
