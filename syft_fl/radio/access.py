"""Who may use the band when: the access schemes.

==============  ==================================================================================
``kind``        the band
==============  ==================================================================================
``tdma``        is one transmission's at a time, first come first served
``ofdma``       is split for good, and each part is one transmission's at a time
``ofdma-fair``  is split anew among those who are on the air, equally (processor sharing)
``noma``        is everybody's at once; the receiver cancels one after the other
==============  ==================================================================================

Left out: guard times and bands, scheduling grants (the protocol sends and is charged for those).
"""

from __future__ import annotations

from typing import ClassVar

from syft_fl.radio.fluid import FairShares, FluidMedium, Superposed
from syft_fl.radio.medium import ACCESS, Link, Medium
from syft_fl.radio.split import SplitMedium
from syft_fl.schema import require, schema

__all__ = ["FairOfdma", "Noma", "Ofdma", "Tdma"]


@ACCESS
@schema
class Tdma:
    """One transmission at a time, with the whole band, first come first served."""

    kind: ClassVar[str] = "tdma"

    def open(self, link: Link, *, users: int) -> Medium:
        """A medium over a link; ``users`` doesn't matter to it."""
        return SplitMedium(link, subchannels=1)


@ACCESS
@schema
class Ofdma:
    """The band in equal subchannels for good, one transmission at a time in each.

    Attributes:
        subchannels: how many; None: one for each user.
    """

    kind: ClassVar[str] = "ofdma"

    subchannels: int | None = None

    def __post_init__(self) -> None:
        require(
            self.subchannels is None or self.subchannels >= 1,
            "subchannels",
            self.subchannels,
            "at least 1",
            "for one per user leave it out",
        )

    def open(self, link: Link, *, users: int) -> Medium:
        """A medium over a link.

        Raises:
            ConfigError: the split is by users and there is none.
        """
        require(
            self.subchannels is not None or users >= 1,
            "users",
            users,
            "at least 1",
            "or set subchannels",
        )
        return SplitMedium(link, subchannels=self.subchannels or users)


@ACCESS
@schema
class FairOfdma:
    """The band in as many equal parts as there are transmissions, anew whenever one starts or stops.

    Nobody waits, and no part of the band is idle while somebody has something to send. A UE that is left alone has the
    whole band: with its power in it at a higher rate, though not in proportion.
    """

    kind: ClassVar[str] = "ofdma-fair"

    def open(self, link: Link, *, users: int) -> Medium:
        """A medium over a link; ``users`` doesn't matter to it."""
        return FluidMedium(link, division=FairShares())


@ACCESS
@schema
class Noma:
    """All at once in the whole band, with successive interference cancellation at the receiver.

    An uplink's scheme: UEs are told apart by the strength with which they arrive, and decoded strongest first
    (:class:`~syft_fl.radio.fluid.Superposed`).

    Source: Z. Ding et al., *A Survey on Non-Orthogonal Multiple Access for 5G Networks*, 2017. Left out: errors
    that one decoding leaves to the next, limits to how many may be superposed.
    """

    kind: ClassVar[str] = "noma"

    def open(self, link: Link, *, users: int) -> Medium:
        """A medium over a link; ``users`` doesn't matter to it.

        Raises:
            ConfigError: the link says nothing of signal and noise, or its reports are outdated.
        """
        return FluidMedium(link, division=Superposed())
