r"""Senders that nobody schedules: they start by themselves, and may collide.

:class:`SlottedAloha` tosses a coin in every slot; a slot carries bits if just one sends in it. With :math:`n` senders
that is so in a part

.. math:: S = n\,p\,(1-p)^{n-1} \le \Bigl(1-\tfrac1n\Bigr)^{n-1} \to e^{-1}

of the slots (Abramson 1970; Roberts 1975).

:class:`CarrierSense` waits a random number of idle slots, drawn from a window that doubles with every collision (IEEE
802.11, distributed coordination function). Its throughput under saturation is known in closed form (Bianchi,
*Performance Analysis of the IEEE 802.11 Distributed Coordination Function*, 2000).

What is drawn is drawn by the sender and the slot (Aloha), or by the sender, its message and the number of the draw
(carrier sense), whatever the others do.

Left out: hidden stations, capture of the stronger of two, a limit to retries (who collides tries on), several packets
under one acknowledgement; that a counter that was just frozen may need one more slot; who has something new to send
while others are sending waits for the next access, as a deferring station does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key
from syft_fl.radio.flow import Flow
from syft_fl.radio.links import Links
from syft_fl.radio.steps import next_step_s, step_number
from syft_fl.radio.turns import Grant, Memory, Turn

__all__ = ["CarrierSense", "SlottedAloha"]

_SLOTS_AT_ONCE = 1024


@dataclass(frozen=True)
class SlottedAloha:
    """A rule of turns (:mod:`~syft_fl.radio.turns`): one turn is one slot, until somebody sends.

    Attributes:
        slot_s: length of a slot [s].
        probability: with which each sends in it; None: one over the number of those who have something to send.
        key: of the coins.
    """

    slot_s: float
    probability: float | None
    key: Key

    def begin_s(self, ready_s: float) -> float:
        slot = step_number(ready_s, self.slot_s)
        return ready_s if slot * self.slot_s == ready_s else next_step_s(ready_s, self.slot_s)

    def turn(self, flows: Sequence[Flow], links: Links, begin_s: float, memory: Memory) -> Turn:
        rates_bps = _rates_bps(flows, links, begin_s)
        able = [number for number in range(len(flows)) if rates_bps[number] > 0]
        end_s = next_step_s(begin_s, self.slot_s)
        if not able:
            change_s = links.steady_until_s(time_s=begin_s)
            return Turn(math.inf if change_s == math.inf else max(end_s, change_s), (), Memory())
        probability = 1.0 / len(able) if self.probability is None else self.probability
        slot = step_number(begin_s, self.slot_s)
        senders = [n for n in able if self._coin(flows[n].offer.ues, slot) < probability]
        grants = tuple(
            Grant(
                flows[n],
                begin_s,
                self.slot_s,
                min(flows[n].left_bits, rates_bps[n] * self.slot_s) if len(senders) == 1 else 0.0,
                rates_bps[n],
            )
            for n in senders
        )
        return Turn(end_s, grants, Memory())

    def _coin(self, ues: tuple[str, ...], slot: int) -> float:
        return float(_coins(self.key / "+".join(ues), slot // _SLOTS_AT_ONCE)[slot % _SLOTS_AT_ONCE])


@lru_cache(maxsize=4096)
def _coins(key: Key, stretch: int) -> NDArray[np.float64]:
    """[slots of a stretch] a number in 0 … 1 for each."""
    return (key / stretch).numpy().random(_SLOTS_AT_ONCE)


@dataclass(frozen=True)
class CarrierSense:
    """A rule of turns: one turn is one access, from the end of the one before to the end of the acknowledgement.

    Attributes:
        slot_s: an idle slot [s].
        sifs_s: pause before an acknowledgement [s].
        difs_s: pause before counters go on [s].
        preamble_s: at the beginning of a packet, whatever its rate [s].
        ack_s: an acknowledgement [s]; after a collision its time passes too.
        packet_bits: of the message in one packet.
        header_bits: that a packet carries besides, at its rate.
        least, greatest: window of the counter: drawn from 0 … window.
        key: of the counters.
    """

    slot_s: float
    sifs_s: float
    difs_s: float
    preamble_s: float
    ack_s: float
    packet_bits: int
    header_bits: int
    least: int
    greatest: int
    key: Key

    def begin_s(self, ready_s: float) -> float:
        return ready_s

    def turn(self, flows: Sequence[Flow], links: Links, begin_s: float, memory: Memory) -> Turn:
        # Of each message: collisions in a row, the idle slot at which it sends (counted from the beginning, so that who
        # waits need not be looked at), draws so far.
        passed = memory.of_all.get("idle", 0)
        of_flows = memory.of_flows
        fresh = {
            str(flow.offer.ticket): self._drawn(flow, 0, 0, passed)
            for flow in flows
            if str(flow.offer.ticket) not in of_flows
        }
        due = [(fresh.get(ticket) or of_flows[ticket])[1] for ticket in _tickets(flows)]
        able = list(range(len(flows)))
        while able:
            first = min([due[number] for number in able])
            senders = [number for number in able if due[number] == first]
            rates_bps = {number: self._rate_bps(flows[number], links, begin_s) for number in senders}
            if all(rates_bps.values()):
                break
            # Who has no rate now does not start, and holds nobody up.
            able = [number for number in able if rates_bps.get(number, 1.0) > 0]
        else:
            return Turn(links.steady_until_s(time_s=begin_s), (), Memory(of_flows=fresh))
        first = max(first, passed)
        on_air_s = begin_s + self.difs_s + (first - passed) * self.slot_s
        through = len(senders) == 1
        grants = []
        for number in senders:
            flow, rate_bps = flows[number], rates_bps[number]
            bits = min(flow.left_bits, self.packet_bits)
            head_s = self.preamble_s + self.header_bits / rate_bps
            grants.append(Grant(flow, on_air_s, head_s + bits / rate_bps, bits if through else 0.0, rate_bps))
            ticket = str(flow.offer.ticket)
            collisions, _, draws = fresh.get(ticket) or of_flows[ticket]
            fresh[ticket] = self._drawn(flow, 0 if through else collisions + 1, draws, first)
        longest_s = max(grant.duration_s for grant in grants)
        learnt = Memory(of_flows=fresh, of_all={"idle": first})
        return Turn(on_air_s + longest_s + self.sifs_s + self.ack_s, tuple(grants), learnt)

    def _rate_bps(self, flow: Flow, links: Links, time_s: float) -> float:
        offer = flow.offer
        asked = {"share": 1.0, "time_s": time_s}
        return min(links.rate_bps(ue, block=offer.block, **asked) for ue in offer.ues)

    def _drawn(self, flow: Flow, collisions: int, draws: int, passed: int) -> list[int]:
        """A message's counter anew, after some collisions in a row, some draws and some idle slots."""
        offer = flow.offer
        window = min((self.least + 1) * 2 ** min(collisions, 30) - 1, self.greatest)
        key = self.key / offer.ues[0] / offer.block / offer.serials[0] / draws
        return [collisions, passed + min(int(key.uniform() * (window + 1)), window), draws + 1]


def _tickets(flows: Sequence[Flow]) -> list[str]:
    return [str(flow.offer.ticket) for flow in flows]


def _rates_bps(flows: Sequence[Flow], links: Links, time_s: float) -> list[float]:
    """[flows] rate of each in the whole band [bit/s]; of several UEs, the slowest one's."""
    if all(len(flow.offer.ues) == 1 for flow in flows):
        ues, blocks = [flow.offer.ues[0] for flow in flows], [flow.offer.block for flow in flows]
        found: list[float] = links.rates_bps(ues, share=1.0, blocks=blocks, time_s=time_s).tolist()
        return found
    asked = {"share": 1.0, "time_s": time_s}
    return [
        min(links.rate_bps(ue, block=flow.offer.block, **asked) for ue in flow.offer.ues) for flow in flows
    ]
