"""How long a cohort's common transmission takes on average: the numerator of the balance rho."""

from __future__ import annotations

import math
from collections.abc import Sequence

from syft_fl.keys import Key
from syft_fl.radio.medium import Access, Link, Medium
from syft_fl.radio.sending import retransmission_of
from syft_fl.schema import require

__all__ = ["Phases", "expected_phase_s"]


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
    phases = Phases(access, link, bits, users=users, key=key)
    return math.fsum([phases.carry(ues) for ues in cohorts]) / len(cohorts)


class Phases:
    """Cohorts' common transmissions, one after another, as :func:`expected_phase_s` says.

    Attributes:
        block: fading block of the next one: 1, 2, …
        start_s: when it starts [s].
    """

    def __init__(self, access: Access, link: Link, bits: int, *, users: int, key: Key = Key(0)) -> None:
        self._access, self._link, self._bits, self._users = access, link, bits, users
        self._key = key
        self.block = 1
        self.start_s = 0.0

    def carry(self, ues: Sequence[str | Sequence[str]]) -> float:
        """Let a cohort transmit, on a fresh medium; how long it takes [s] until the last has arrived."""
        # All may start at time 0: without a name of its own each medium would draw the same.
        medium = self._access.open(self._link, users=self._users, key=self._key / f"phase{self.block}")
        for ue in ues:
            medium.offer(
                [ue] if isinstance(ue, str) else ue, self._bits, now_s=self.start_s, block=self.block
            )
        end_s = _last_end_s(medium)
        duration_s = end_s - self.start_s
        self.block += 1
        change_s = self._link.steady_until_s(time_s=end_s)
        if math.isfinite(change_s):
            self.start_s = change_s
        elif retransmission_of(self._link) is not None:
            self.start_s = end_s
        return duration_s


def _last_end_s(medium: Medium) -> float:
    """Let a medium carry all that it was offered; when the last of it arrives [s]."""
    end_s = 0.0
    while (event_s := medium.next_event_s()) < math.inf:
        for transfer in medium.advance(event_s):
            end_s = transfer.end_s
    return end_s
