"""Who may use the band when: the access schemes.

Left out: guard times and bands, scheduling grants (the protocol sends and is charged for those).
"""

from __future__ import annotations

from typing import ClassVar

from syft_fl.radio.medium import ACCESS, Link, Medium
from syft_fl.radio.split import SplitMedium
from syft_fl.schema import require, schema

__all__ = ["Ofdma", "Tdma"]


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
