"""How long a cohort's common transmission takes on average: the numerator of the balance rho."""

from __future__ import annotations

import math
from collections.abc import Sequence

from syft_fl.radio.medium import Access, Link, Medium
from syft_fl.schema import require

__all__ = ["expected_phase_s"]


def expected_phase_s(
    access: Access, link: Link, ues: Sequence[str], bits: int, *, users: int, blocks: int = 32
) -> float:
    """Mean time [s] from the instant at which all UEs offer their bits until the last of them has arrived.

    The mean is over ``blocks`` repetitions, each on a fresh medium. Where fading is drawn per block, repetition ``b``
    has block ``b`` and starts at time 0. Where it is a function of time, the first one starts at time 0 and each
    further one at the first change of the fading after the end of the one before, so that no stretch of fading
    counts twice.

    Args:
        access: the access scheme.
        link: the radio.
        ues: the cohort, one offer each, in this order.
        bits: bits of each UE.
        users: what a static split of the band divides by.
        blocks: repetitions.

    Raises:
        ConfigError: no UE, or no repetition.
        TransportError: no bits, or a rate of 0 bit/s for good.
    """
    require(len(ues) >= 1, "ues", list(ues), "at least one UE")
    require(blocks >= 1, "blocks", blocks, "at least 1")
    durations_s = []
    start_s = 0.0
    for block in range(blocks):
        medium = access.open(link, users=users)
        for ue in ues:
            medium.offer([ue], bits, now_s=start_s, block=block)
        end_s = _last_end_s(medium)
        durations_s.append(end_s - start_s)
        change_s = link.steady_until_s(time_s=end_s)
        start_s = change_s if math.isfinite(change_s) else 0.0
    return math.fsum(durations_s) / blocks


def _last_end_s(medium: Medium) -> float:
    """Let a medium carry all that it was offered; when the last of it arrives [s]."""
    end_s = 0.0
    while (event_s := medium.next_event_s()) < math.inf:
        for transfer in medium.advance(event_s):
            end_s = transfer.end_s
    return end_s
