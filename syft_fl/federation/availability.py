"""Temporary."""

from typing import ClassVar, Protocol, runtime_checkable

from syft_fl.keys import Key
from syft_fl.schema import Registry

AVAILABILITIES = Registry("availability", "on")


@runtime_checkable
class Availability(Protocol):
    kind: ClassVar[str]

    def on(self, ue: str, time_s: float, key: Key) -> bool: ...
    def next_change_s(self, ue: str, time_s: float, key: Key) -> float: ...
