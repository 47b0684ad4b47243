"""The radio of one cell: bits at a time in, transfers out. It knows neither tensors nor messages.

- :mod:`~syft_fl.radio.medium`: what a link and a medium are, and the registries ``LINKS`` and ``ACCESS``
- :mod:`~syft_fl.radio.cell`: where the UEs are
- links: :mod:`~syft_fl.radio.constant`, and :mod:`~syft_fl.radio.shannon` over :mod:`~syft_fl.radio.pathloss`,
  :mod:`~syft_fl.radio.fading` and :mod:`~syft_fl.radio.power`
- :mod:`~syft_fl.radio.links`: links of their own for some UEs
- :mod:`~syft_fl.radio.access`: TDMA and OFDMA, on the event machine of :mod:`~syft_fl.radio.split`
- :mod:`~syft_fl.radio.phase`: how long a cohort's transmission takes on average
"""

from syft_fl.radio.access import Ofdma, Tdma
from syft_fl.radio.cell import Cell
from syft_fl.radio.constant import Constant
from syft_fl.radio.links import Links
from syft_fl.radio.medium import ACCESS, LINKS, Access, Link, LinkModel, Medium, Ticket, Transfer
from syft_fl.radio.phase import expected_phase_s
from syft_fl.radio.shannon import Shannon

__all__ = [
    "ACCESS",
    "LINKS",
    "Access",
    "Cell",
    "Constant",
    "Link",
    "LinkModel",
    "Links",
    "Medium",
    "Ofdma",
    "Shannon",
    "Tdma",
    "Ticket",
    "Transfer",
    "expected_phase_s",
]
