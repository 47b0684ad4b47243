"""A round whose uplink is analog: what UEs and base station tell each other before the channel adds up.

A UE that has computed reports the mean and the mean square of what it is going to send (a frame of ``access``, with its
samples in the header). When all that the base station still waits for have reported, it tells them the common ones and
the mean samples, in one frame. When that has gone out, those who got it send at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from syft_fl.transport import Landed, Message, Statistics, Transport

__all__ = ["SumOnTheAir"]

_STREAM = "statistics"


class SumOnTheAir:
    """The exchange of one round.

    Args:
        transport: the seam.
        hub: the base station's name.
        round: its number.
    """

    def __init__(self, transport: Transport, *, hub: str, round: int) -> None:
        self._transport = transport
        self._hub = hub
        self._round = round
        self._models: dict[str, Message] = {}
        self._reports: dict[str, tuple[Statistics, int]] = {}
        self._common: Statistics | None = None
        self._telling = 0
        self._sent = False

    def computed(self, message: Message, *, now_s: float) -> None:
        """A UE has its model: it reports."""
        self._models[message.sender] = message
        found = self._transport.statistics(message)
        self._offer(
            Message(
                "control",
                message.sender,
                self._hub,
                _STREAM,
                {"mean": found.mean, "square": found.square},
                round=self._round,
                samples=message.samples,
            ),
            now_s,
        )

    def landed(self, landed: Landed) -> None:
        """A frame of the exchange has come, or was lost."""
        outgoing = landed.outgoing
        accepted = self._transport.accept(outgoing, landed.received) if landed.received else None
        if outgoing.direction == "downlink":
            self._telling -= 1
        elif accepted is not None and isinstance(accepted.content, Mapping):
            found = Statistics(accepted.content["mean"], accepted.content["square"])
            self._reports[outgoing.ues[0]] = found, accepted.frame.samples

    def go_on(self, cohort: tuple[str, ...], waiting: set[str], *, now_s: float) -> None:
        """Do what is due, while the base station waits for some of a cohort."""
        here = [name for name in cohort if name in waiting]
        if not here or self._sent or any(name not in self._reports for name in here):
            return
        if self._common is None:
            reports = [self._reports[name] for name in here]
            self._common = Statistics(
                sum(found.mean for found, _ in reports) / len(reports),
                sum(found.square for found, _ in reports) / len(reports),
            )
            facts = {
                "mean": self._common.mean,
                "square": self._common.square,
                "samples": sum(samples for _, samples in reports) / len(reports),
            }
            told = Message("control", self._hub, tuple(here), _STREAM, facts, round=self._round)
            self._telling = self._offer(told, now_s)
        elif not self._telling:
            self._sent = True
            self._transport.superpose([self._models[name] for name in here], self._common, now_s=now_s)

    def _offer(self, message: Message, now_s: float) -> int:
        """Put a message on the air; how many frames it is."""
        prepared = self._transport.prepare(message)
        for outgoing in prepared:
            self._transport.offer(outgoing, now_s=now_s)
        return len(prepared)
