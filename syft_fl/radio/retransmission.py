"""What happens to packets that don't arrive.

=========  =====================================================================================
``kind``   a message is cut into packets, and
=========  =====================================================================================
``none``   each is sent once: one that is lost loses the message
``arq``    lost ones are sent again; every try stands alone
``harq``   lost ones are sent again; the receiver adds up the energy of all tries (chase combining)
=========  =====================================================================================

A message is sent in passes. In the first one all packets go, back to back; after the receiver's report has come
(``feedback_s`` after the pass), those that it lacks go again, back to back; and so on, until it has all or ``tries``
passes are over. What it then still lacks loses the message (:attr:`~syft_fl.radio.medium.Transfer.lost`). The sender
keeps its part of the band while it waits for a report, and is silent; nobody waits for the report on the last pass.

Where the link can't lose anything (``loss = {kind = "none"}``), nothing is cut, headed or repeated.

Left out: reports that are lost themselves or cost airtime, new packets beside repeated ones, redundancy in steps.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol, runtime_checkable

from syft_fl.schema import Registry, require, schema

__all__ = ["RETRANSMISSIONS", "Arq", "Harq", "NoRetransmission", "Retransmission"]

RETRANSMISSIONS = Registry(
    "retransmission scheme", "mtu_bytes", "header_bytes", "tries", "feedback_s", "combines"
)
"""Retransmission schemes by kind; ``RETRANSMISSIONS(MyScheme)`` adds one."""


@runtime_checkable
class Retransmission(Protocol):
    """How a message is cut and how often its packets are tried: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]
    combines: ClassVar[bool]
    """Whether the receiver adds up the energy of a packet's tries."""

    @property
    def mtu_bytes(self) -> int:
        """Bytes of the message in a packet; the last one has the rest."""
        ...

    @property
    def header_bytes(self) -> int:
        """Bytes that every packet carries besides, in every try."""
        ...

    @property
    def tries(self) -> int:
        """How often a packet is sent at most."""
        ...

    @property
    def feedback_s(self) -> float:
        """Time [s] from the end of a pass to the beginning of the next one."""
        ...


@RETRANSMISSIONS
@schema
class NoRetransmission:
    """Each packet is sent once. Of n packets, each lost with probability p, all arrive with (1 - p)^n.

    Attributes:
        mtu_bytes: bytes of a packet, at least 1; 1500 is Ethernet's.
    """

    kind: ClassVar[str] = "none"
    combines: ClassVar[bool] = False
    header_bytes: ClassVar[int] = 0
    tries: ClassVar[int] = 1
    feedback_s: ClassVar[float] = 0.0

    mtu_bytes: int = 1500

    def __post_init__(self) -> None:
        require(self.mtu_bytes >= 1, "mtu_bytes", self.mtu_bytes, "at least 1")


@RETRANSMISSIONS
@schema
class Arq:
    r"""Lost packets are sent again, at most :math:`M` tries in all.

    Where each try is lost with probability :math:`p`, a packet is sent

    .. math:: 1 + p + \dots + p^{M-1} = \frac{1 - p^M}{1 - p}

    times on average, and is lost for good with :math:`p^M`.

    Attributes:
        mtu_bytes: bytes of a packet, at least 1; 1500 is Ethernet's.
        header_bytes: bytes that each packet carries besides; 6 are a sequence number of 18 bits and a CRC of 24.
        tries: how often a packet is sent at most, :math:`M`, 1 … 1000.
        feedback_s: time from the end of a pass to the beginning of the next one [s]; 8 ms is LTE's round trip.

    Source: TS 38.322 (acknowledged mode). Differs from it in: one report after each pass, never lost.
    """

    kind: ClassVar[str] = "arq"
    combines: ClassVar[bool] = False

    mtu_bytes: int = 1500
    header_bytes: int = 6
    tries: int = 8
    feedback_s: float = 0.008

    def __post_init__(self) -> None:
        _check(self)


@RETRANSMISSIONS
@schema
class Harq:
    r"""Lost packets are sent again, and the receiver adds up what it got of all tries (chase combining).

    In the :math:`k`-th try the packet is decoded from the signal-to-noise ratio

    .. math:: S_k = \sum_{i \le k} \mathrm{SNR}_i

    so that with :math:`p` of the link's loss model it is then missing with :math:`p(S_1) \dots p(S_k)`, and lost for
    good with :math:`p(S_1) \dots p(S_M)`. Losses that are not noise (``packet``, ``gilbert-elliott``) leave
    nothing to add up: there it is plain ARQ.

    Attributes:
        mtu_bytes, header_bytes, feedback_s: as of :class:`Arq`.
        tries: how often a packet is sent at most, :math:`M`, 1 … 1000; LTE and NR usually have 4.

    Source: Chase 1985; independent draws at the combined ratio as in the usual system-level simulators. Differs from it
    in: noise that an earlier try has in common with the sum counts as new; where the rate changes between tries, the
    energy of the earlier ones counts as if it had been spent at the last one's.
    """

    kind: ClassVar[str] = "harq"
    combines: ClassVar[bool] = True

    mtu_bytes: int = 1500
    header_bytes: int = 6
    tries: int = 4
    feedback_s: float = 0.008

    def __post_init__(self) -> None:
        _check(self)


def _check(scheme: Arq | Harq) -> None:
    require(scheme.mtu_bytes >= 1, "mtu_bytes", scheme.mtu_bytes, "at least 1")
    require(scheme.header_bytes >= 0, "header_bytes", scheme.header_bytes, "at least 0")
    require(
        1 <= scheme.tries <= 1000,
        "tries",
        scheme.tries,
        "in 1 … 1000",
        "where nothing is to be lost use loss = {kind = 'none'}",
    )
    require(0 <= scheme.feedback_s < math.inf, "feedback_s", scheme.feedback_s, "at least 0 and finite")
