"""The frames of the protocol that bring no model: their few bytes, and what these say.

==========  =========  =======================================================================================
kind        direction  header and detail
==========  =========  =======================================================================================
``skip``    up         round; version of the model that it trained from
``request`` up         round; number of the UE's last upload of whose fate it does not know (0: none);
                       detail: urgency (f32)
``grant``   down       number of that upload; detail: whether it was applied (u8)
``ack``     down       number of an upload that was applied
``ack``     up         version of a model that arrived
``nack``    down       number of an upload that was not applied; detail: why (u8), whether an upload of that
                       number had been applied (u8)
``nack``    up         version of a model that refers to one the UE does not hold; detail: why (u8)
``hello``   up         number of the UE's last upload; version of the newest model that it holds (0: none)
``bye``     up         number of the UE's last upload
==========  =========  =======================================================================================

Each is a frame of 36 bytes (header and CRC32) and its detail.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from syft_fl.transport import Signal

__all__ = ["Reason", "grant", "granted", "refusal", "refused", "request", "urgency_of"]

_URGENCY = struct.Struct("<f")
_MOST = 3.4e38


class Reason(IntEnum):
    """Why something was refused."""

    UNKNOWN_VERSION = 1
    TOO_LATE = 2
    NOT_GRANTED = 3
    NEVER_CAME = 4


def request(number: int, urgency: float) -> Signal:
    """A UE asks whether it may send, and what became of an earlier upload."""
    return Signal(number, detail=_URGENCY.pack(min(max(urgency, -_MOST), _MOST)))


def urgency_of(signal: Signal) -> float:
    """How urgent a request is."""
    (urgency,) = _URGENCY.unpack(signal.detail)
    return float(urgency)


def grant(number: int, *, applied: bool) -> Signal:
    """A UE may send; an earlier upload was applied, or never will be."""
    return Signal(number, detail=bytes([applied]))


def granted(signal: Signal) -> bool:
    """Whether the earlier upload was applied."""
    return bool(signal.detail[0])


def refusal(number: int, reason: Reason, *, applied: bool = False) -> Signal:
    """Something is of no use, or not wanted."""
    return Signal(number, detail=bytes([reason, applied]))


def refused(signal: Signal) -> tuple[Reason, bool]:
    """Why, and whether an upload of that number had been applied."""
    return Reason(signal.detail[0]), bool(signal.detail[1])
