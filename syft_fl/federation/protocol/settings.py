"""How base station and UEs talk: what is answered, what is asked for before, and how long anybody waits."""

from __future__ import annotations

import math
from typing import Literal

from syft_fl.schema import require, schema

__all__ = ["Protocol"]


@schema
class Protocol:
    """The message-level protocol of a run (docs/protocol.md).

    Attributes:
        acknowledgements: ``free``: both ends learn at once, and for nothing, what became of a message; what is lost is
            not sent again and not waited for. ``sent``: MODEL and UPDATE are answered by ACK or NACK, which are frames
            like any other; what is not answered is sent again.
        grants: whether a UE asks (REQUEST) and is told (GRANT) before it sends an UPDATE.
        granted: of those who ask in a round, how many are granted: those with the greatest ratio of what
            their trigger compared to its threshold, which is in the REQUEST. The base station then answers when all of
            the cohort have asked or skipped. None: all, each at once.
        skip: ``sent``: a UE that keeps its update says so in a SKIP. ``implied``: it says nothing, and the base station
            waits for ``patience_s``.
        timeout_s: where acknowledgements are sent, how long a sender waits for an answer, counted from the end of its
            transmission [s].
        tries: how often MODEL, REQUEST and UPDATE are sent until they are answered.
        patience_s: how long the base station waits for a word of a UE that it knows to have the model [s]; then it goes
            on without it. None: as long as the UE may still send.
        busy: what a UE does with a model that comes while it computes: ``finish`` its work, send it, and go on
            with the new one; ``restart`` from the new one, the work lost; or ``ignore`` the new one. Once it sends, it
            always finishes.
    """

    acknowledgements: Literal["free", "sent"] = "free"
    grants: bool = False
    granted: int | None = None
    skip: Literal["sent", "implied"] = "sent"
    timeout_s: float = 1.0
    tries: int = 4
    patience_s: float | None = None
    busy: Literal["finish", "restart", "ignore"] = "finish"

    def __post_init__(self) -> None:
        require(0 < self.timeout_s < math.inf, "timeout_s", self.timeout_s, "above 0 and finite")
        require(self.tries >= 1, "tries", self.tries, "at least 1")
        require(
            self.patience_s is None or 0 < self.patience_s < math.inf,
            "patience_s",
            self.patience_s,
            "above 0 and finite",
        )
        require(
            self.granted is None or (self.grants and self.granted >= 1),
            "granted",
            self.granted,
            "at least 1, with grants = true" if self.grants else "left out where grants = false",
        )
        require(
            self.patience_s is not None or self.skip == "sent",
            "patience_s",
            self.patience_s,
            "given where skip = 'implied'",
            "silence means a skip only after some time",
        )
        require(
            self.patience_s is not None or self.acknowledgements == "free",
            "patience_s",
            self.patience_s,
            "given where acknowledgements = 'sent'",
            "a UE whose messages are all lost would be waited for for ever",
        )
