"""Who sent what, when, in how many bits: one row per transmission."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Entry", "Ledger"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One transmission.

    Attributes:
        round: federated round (0 outside of rounds).
        direction: ``uplink`` or ``downlink``.
        kind: message class.
        stream: what the message is a version of.
        ues: the UEs at the other end from the base station.
        serial: number of the message in its direction (uplink: of this UE).
        raw_bits: the content in its own dtype.
        payload_bits: what the codec wrote for it.
        bits: on the air: payload, side tensors, header, padding and CRC.
        offered_s, start_s, end_s: handed over, first bit on the air, last bit received [s].
        airtime_s: how long the sender was on the air [s].
        attempts: tries.
        energy_j: spent on sending [J].
        lost: those of ``ues`` that did not get it.
    """

    round: int
    direction: str
    kind: str
    stream: str
    ues: tuple[str, ...]
    serial: int
    raw_bits: int
    payload_bits: int
    bits: int
    offered_s: float
    start_s: float
    end_s: float
    airtime_s: float
    attempts: int
    energy_j: float
    lost: tuple[str, ...]


class Ledger:
    """Transmissions in the order of their end, and running totals."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.uplink_bits = 0
        self.downlink_bits = 0
        self.energy_j = 0.0

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.energy_j += entry.energy_j
        if entry.direction == "uplink":
            self.uplink_bits += entry.bits
        else:
            self.downlink_bits += entry.bits

    def drain(self) -> list[Entry]:
        """The entries so far, which are then forgotten here; totals stay."""
        entries, self.entries = self.entries, []
        return entries

    def frame(self) -> pd.DataFrame:
        """The entries as a table."""
        import pandas as pd

        columns = list(Entry.__dataclass_fields__)
        return pd.DataFrame([asdict(entry) for entry in self.entries], columns=columns)

    def totals(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "uplink_bits": self.uplink_bits,
            "downlink_bits": self.downlink_bits,
            "energy_j": self.energy_j,
        }
