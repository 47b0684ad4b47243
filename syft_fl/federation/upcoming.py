"""What UEs will send before long: worked out ahead, and written side by side, where that pays.

In plain rounds whoever computes will send, whatever happens. So what comes out of the trainings under way can be asked
for with that of the first UE that is done, and the transport can write all of it together
(:mod:`syft_fl.transport.lookahead`). It changes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from syft_fl.federation.computing import Computing
from syft_fl.learn import Outcome
from syft_fl.transport import Message, Transport

__all__ = ["Upcoming"]


class Upcoming:
    """The messages of UEs that have computed, or will have before long.

    Args:
        transport: writes them, and says whether it looks ahead at all.
        computing: knows who is at work, and what comes out.
        write: gives the message for what a UE has computed.
        length: entries of a model.
    """

    def __init__(
        self,
        transport: Transport,
        computing: Computing,
        *,
        write: Callable[[str, Outcome], Message],
        length: int,
    ) -> None:
        self._transport = transport
        self._computing = computing
        self._write = write
        self._length = length
        self._messages: dict[str, Message] = {}

    def look_ahead(self, first: str) -> None:
        """A UE is done: let the transport write what it and those that compute beside it will send, where that pays."""
        if not self._transport.looks_ahead or first in self._messages:
            return
        most = self._transport.side_by_side(first, self._length)
        if most == 1:
            return
        later = (ue for ue in self._computing.under_way() if ue != first)
        together = [first, *itertools.islice(later, most - 1)]
        outcomes = {ue: self._computing.outcome(ue) for ue in together}
        ahead = {ue: self._write(ue, outcome) for ue, outcome in outcomes.items() if outcome.report.finite}
        self._transport.look_ahead(list(ahead.values()))
        self._messages |= ahead

    def message(self, ue: str, outcome: Outcome) -> Message:
        """The message for what a UE has computed, made now unless it was made ahead."""
        return self._messages.pop(ue, None) or self._write(ue, outcome)
