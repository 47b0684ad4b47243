"""How long a cohort's common transmission takes on average: the numerator of the balance rho."""

from __future__ import annotations

import math
from collections.abc import Sequence

from syft_fl.keys import Key
from syft_fl.radio.medium import Access, Link, Medium
from syft_fl.radio.sending import retransmission_of
from syft_fl.schema import require

__all__ = ["expected_phase_s"]


def expected_phase_s(
    access: Access,
    link: Link,
    cohorts: Sequence[Sequence[str | Sequence[str]]],
    bits: int,
    *,
    users: int,
    key: Key = Key(0),
) -> float:
    """Mean time [s] from the instant at which all UEs of a cohort offer their bits until the last has arrived.

    The mean is over the given cohorts, one after another, each on a fresh medium. Where fading is drawn per block,
    the first cohort has block 1 (as the first round has) and each starts at time 0. Where it is a function of time, the
    first one starts at time 0 and each further one at the first change of the fading after the end of the one
    before, so that no stretch of fading counts twice. Over a link that loses packets the duration includes all
    repetitions, and the next cohort starts when the one before has ended (losses may come and go with time).

    Args:
        access: the access scheme.
        link: the radio.
        cohorts: what is transmitted together, in this order: a UE's own bits, or one multicast to several UEs.
        bits: bits of each UE.
        users: what a static split of the band divides by.
        key: of what the media draw.

    Raises:
        ConfigError: no cohort, or one without a UE.
        TransportError: no bits, or a rate of 0 bit/s for good.
    """
    require(len(cohorts) >= 1, "cohorts", list(cohorts), "at least one cohort")
    require(all(len(ues) >= 1 for ues in cohorts), "cohorts", list(cohorts), "of at least one UE each")
    durations_s = []
    start_s = 0.0
    for block, ues in enumerate(cohorts, start=1):
        medium = access.open(link, users=users, key=key)
        for ue in ues:
            medium.offer([ue] if isinstance(ue, str) else ue, bits, now_s=start_s, block=block)
        end_s = _last_end_s(medium)
        durations_s.append(end_s - start_s)
        change_s = link.steady_until_s(time_s=end_s)
        if math.isfinite(change_s):
            start_s = change_s
        elif retransmission_of(link) is not None:
            start_s = end_s
    return math.fsum(durations_s) / len(cohorts)


def _last_end_s(medium: Medium) -> float:
    """Let a medium carry all that it was offered; when the last of it arrives [s]."""
    end_s = 0.0
    while (event_s := medium.next_event_s()) < math.inf:
        for transfer in medium.advance(event_s):
            end_s = transfer.end_s
    return end_s
