"""Who sent what, when, in how many bits: one row per transmission."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Entry", "Ledger"]

_FIRST_COLUMNS = (
    "kind",
    "sender",
    "receiver",
    "object",
    "raw_bits",
    "bits",
    "start_s",
    "end_s",
    "energy_j",
    "lost",
)
_SHOWN = 20
"""Rows that a notebook shows."""


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
        energy_j: spent on sending [J]: the UE's in the uplink, the base station's in the downlink.
        receive_energy_j: what all of ``ues`` together spent on listening to the base station [J], each as much as
            the other; 0 in the uplink, whose receiver is fed by the mains and left out.
        lost: those of ``ues`` that did not get it.
        missing_bits: of ``bits``, what did not come of a model that was decoded without them (``erasure``).
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
    receive_energy_j: float
    lost: tuple[str, ...]
    missing_bits: int = 0


class Ledger:
    """Transmissions in the order of their end, and running totals.

    Every transmission adds an entry, and an entry stays until :meth:`drain` takes it: a session of many messages that
    doesn't want to keep them all drains its ledger.

    Args:
        hub: the base station's name.

    Attributes:
        entries: the transmissions since the last :meth:`drain`.
        uplink_bits, downlink_bits: sent so far.
        energy_j: spent on sending so far, both ways [J].
        uplink_transmit_energy_j: the UEs' part of it [J].
        downlink_transmit_energy_j: the base station's part of it [J].
        receive_energy_j: spent by UEs on listening so far [J].
    """

    def __init__(self, hub: str = "me") -> None:
        self.entries: list[Entry] = []
        self.uplink_bits = 0
        self.downlink_bits = 0
        self.energy_j = 0.0
        self.uplink_transmit_energy_j = 0.0
        self.downlink_transmit_energy_j = 0.0
        self.receive_energy_j = 0.0
        self._hub = hub
        # Beside the entries, for these are the rows of result files, and what an object's id was means nothing there.
        self._objects: list[str] = []

    def add(self, entry: Entry, *, about: str = "") -> None:
        """Add a transmission; ``about`` names the object that it was about (default: its stream)."""
        self.entries.append(entry)
        self._objects.append(about or entry.stream)
        self.energy_j += entry.energy_j
        self.receive_energy_j += entry.receive_energy_j
        if entry.direction == "uplink":
            self.uplink_bits += entry.bits
            self.uplink_transmit_energy_j += entry.energy_j
        else:
            self.downlink_bits += entry.bits
            self.downlink_transmit_energy_j += entry.energy_j

    def drain(self) -> list[Entry]:
        """The entries so far, which are then forgotten here; totals stay."""
        entries, self.entries = self.entries, []
        self._objects = []
        return entries

    def frame(self) -> pd.DataFrame:
        """The entries as a table, one row per transmission.

        Columns are those of :class:`Entry`, and ``sender`` and ``receiver`` (of a multicast, all of them) and
        ``object``: the id of what was sent or fetched, the name of a model, else the stream.
        """
        return self._table(len(self.entries))

    def totals(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "uplink_bits": self.uplink_bits,
            "downlink_bits": self.downlink_bits,
            "energy_j": self.energy_j,
            "uplink_transmit_energy_j": self.uplink_transmit_energy_j,
            "downlink_transmit_energy_j": self.downlink_transmit_energy_j,
            "receive_energy_j": self.receive_energy_j,
        }

    def __repr__(self) -> str:
        count = len(self.entries)
        return (
            f"<Ledger: {count} transmission{'' if count == 1 else 's'}; so far {self.uplink_bits} bits up, "
            f"{self.downlink_bits} bits down, {self.energy_j:.4g} J; frame() is the table>"
        )

    def _repr_html_(self) -> str:
        """For notebooks: what there is, and its last rows."""
        rows: str = self._table(_SHOWN).to_html(columns=list(_FIRST_COLUMNS))
        return f"<p>{html.escape(repr(self))}</p>{rows}"

    def _table(self, rows: int) -> pd.DataFrame:
        """The last rows of the table."""
        import pandas as pd

        start = max(0, len(self.entries) - rows)
        records = [
            {**asdict(entry), **self._ends(entry), "object": about}
            for entry, about in zip(self.entries[start:], self._objects[start:], strict=True)
        ]
        others = [name for name in Entry.__dataclass_fields__ if name not in _FIRST_COLUMNS]
        index = range(start, start + len(records))
        return pd.DataFrame(records, columns=[*_FIRST_COLUMNS, *others], index=index)

    def _ends(self, entry: Entry) -> dict[str, str]:
        ues = ", ".join(entry.ues)
        sender, receiver = (ues, self._hub) if entry.direction == "uplink" else (self._hub, ues)
        return {"sender": sender, "receiver": receiver}
