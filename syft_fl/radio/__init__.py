"""The radio of one cell: bits at a time in, transfers out. It knows neither tensors nor messages.

- :mod:`~syft_fl.radio.medium`: what a link and a medium are, and the registries ``LINKS`` and ``ACCESS``
- :mod:`~syft_fl.radio.cell`: where the UEs are, by :mod:`~syft_fl.radio.placement` and
  :mod:`~syft_fl.radio.movement` (registry ``PLACEMENTS``)
- :mod:`~syft_fl.radio.paths`: how much power arrives on average (registry ``PATHS``)
- :mod:`~syft_fl.radio.fading` and :mod:`~syft_fl.radio.doppler`: what echoes do to it (registry ``FADINGS``)
- :mod:`~syft_fl.radio.rates` and :mod:`~syft_fl.radio.nr`: how fast is sent at which SNR (registry ``RATES``)
- :mod:`~syft_fl.radio.losses`: what gets lost (registry ``LOSSES``); :mod:`~syft_fl.radio.retransmission`: what then
  (registry ``RETRANSMISSIONS``), in passes of :mod:`~syft_fl.radio.sending`
- links: :mod:`~syft_fl.radio.constant`, :mod:`~syft_fl.radio.trace`, :mod:`~syft_fl.radio.wireless` of all these parts,
  and in short :mod:`~syft_fl.radio.shannon`; with Sionna's channels and codes :mod:`~syft_fl.radio.sionna_link`, of
  :mod:`~syft_fl.radio.multipath` and :mod:`~syft_fl.radio.transport_blocks`
- :mod:`~syft_fl.radio.links`: links of their own for some UEs
- :mod:`~syft_fl.radio.access`: TDMA and OFDMA, on the event machine of :mod:`~syft_fl.radio.split`
- :mod:`~syft_fl.radio.phase`: how long a cohort's transmission takes on average
"""

from syft_fl.radio.access import Ofdma, Tdma
from syft_fl.radio.cell import Cell
from syft_fl.radio.constant import Constant
from syft_fl.radio.doppler import GaussMarkov, Jakes
from syft_fl.radio.fading import FADINGS, Fading, FadingModel, Nakagami, NoFading, Rayleigh, Rician
from syft_fl.radio.links import Links
from syft_fl.radio.losses import LOSSES, Bler, GilbertElliott, Loss, NoLoss, Packet, Waterfall
from syft_fl.radio.medium import (
    ACCESS,
    LINKS,
    Access,
    ChannelLink,
    Link,
    LinkModel,
    LossyLink,
    Medium,
    Ticket,
    Transfer,
    Try,
)
from syft_fl.radio.movement import RandomWaypoint, Trace
from syft_fl.radio.nr import NrRate
from syft_fl.radio.paths import PATHS, FreeSpace, InF, InH, LogDistance, Path, RMa, UMa, UMi
from syft_fl.radio.phase import expected_phase_s
from syft_fl.radio.placement import PLACEMENTS, Disc, Given, Hexagon, Placement, Ring
from syft_fl.radio.rates import RATES, CqiRate, CqiTable, FixedRate, Rate, ShannonRate
from syft_fl.radio.retransmission import RETRANSMISSIONS, Arq, Harq, NoRetransmission, Retransmission
from syft_fl.radio.shannon import Shannon
from syft_fl.radio.sionna_link import Sionna
from syft_fl.radio.trace import RateTrace
from syft_fl.radio.wireless import Wireless

__all__ = [
    "ACCESS",
    "FADINGS",
    "LINKS",
    "LOSSES",
    "PATHS",
    "PLACEMENTS",
    "RATES",
    "RETRANSMISSIONS",
    "Access",
    "Arq",
    "Bler",
    "Cell",
    "ChannelLink",
    "Constant",
    "CqiRate",
    "CqiTable",
    "Disc",
    "Fading",
    "FadingModel",
    "FixedRate",
    "FreeSpace",
    "GaussMarkov",
    "GilbertElliott",
    "Given",
    "Harq",
    "Hexagon",
    "InF",
    "InH",
    "Jakes",
    "Link",
    "LinkModel",
    "Links",
    "LogDistance",
    "Loss",
    "LossyLink",
    "Medium",
    "Nakagami",
    "NoFading",
    "NoLoss",
    "NoRetransmission",
    "NrRate",
    "Ofdma",
    "Packet",
    "Path",
    "Placement",
    "RMa",
    "RandomWaypoint",
    "Rate",
    "RateTrace",
    "Rayleigh",
    "Retransmission",
    "Rician",
    "Ring",
    "Shannon",
    "ShannonRate",
    "Sionna",
    "Tdma",
    "Ticket",
    "Trace",
    "Transfer",
    "Try",
    "UMa",
    "UMi",
    "Waterfall",
    "Wireless",
    "expected_phase_s",
]
