"""Who hands a frame's bytes from one end to the other.

Simulated time and loss are the medium's business. A carrier moves the bytes of what the medium delivered: inside
this process (:class:`Local`), or between real peers of another system
(:class:`~syft_fl.transport.pysyft_peers.SyftCarrier`). What it hands over is what is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from syft_fl.schema import Registry, schema

__all__ = ["CARRIERS", "Carrier", "CarrierModel", "Local"]

CARRIERS = Registry("carrier", "open")
"""Carriers by kind; ``CARRIERS(MyCarrier)`` adds one."""


class Carrier(Protocol):
    """A way for bytes, opened for one transport. What it holds is no state of the run: nothing depends on it."""

    def hand_over(self, frame: bytes, *, sender: str, receiver: str) -> bytes:
        """Take a frame from one end to the other.

        Returns:
            What the receiver got: the frame, or the transport refuses it.

        Raises:
            TransportError: the other system failed.
        """
        ...

    def report(self) -> Mapping[str, Any]:
        """What was carried and what it took on this host, for the provenance; still there after closing."""
        ...

    def close(self) -> None:
        """Let go of what the carrier holds; closing twice changes nothing."""
        ...


@runtime_checkable
class CarrierModel(Protocol):
    """Settings of a carrier."""

    kind: ClassVar[str]

    def open(self, hub: str) -> Carrier:
        """A carrier around the base station ``hub``."""
        ...


@CARRIERS
@schema
class Local:
    """Bytes stay in this process: the receiver reads the very object that the sender wrote."""

    kind: ClassVar[str] = "local"

    def open(self, hub: str) -> Carrier:
        return _SAME_BYTES


class _SameBytes:
    def hand_over(self, frame: bytes, *, sender: str, receiver: str) -> bytes:
        return frame

    def report(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        pass


_SAME_BYTES = _SameBytes()
