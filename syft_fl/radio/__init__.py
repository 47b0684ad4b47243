"""The radio of one cell: bits at a time in, transfers out. It knows neither tensors nor messages.

- :mod:`~syft_fl.radio.medium`: what a link and a medium are, and the registries ``LINKS`` and ``ACCESS``
- :mod:`~syft_fl.radio.cell`: where the UEs are, by :mod:`~syft_fl.radio.placement` and
  :mod:`~syft_fl.radio.movement` (registry ``PLACEMENTS``)
- :mod:`~syft_fl.radio.paths`: how much power arrives on average (registry ``PATHS``)
- :mod:`~syft_fl.radio.fading` and :mod:`~syft_fl.radio.doppler`: what echoes do to it (registry ``FADINGS``)
- :mod:`~syft_fl.radio.rates` and :mod:`~syft_fl.radio.nr`: how fast is sent at which SNR (registry ``RATES``)
- :mod:`~syft_fl.radio.losses`: what gets lost (registry ``LOSSES``); :mod:`~syft_fl.radio.retransmission`: what then
  (registry ``RETRANSMISSIONS``), in passes of :mod:`~syft_fl.radio.sending`
- :mod:`~syft_fl.radio.power_control`: how much of its power a UE sends (registry ``POWER_CONTROLS``);
  :mod:`~syft_fl.radio.interference`: what other cells add to the noise (registry ``INTERFERENCES``)
- links: :mod:`~syft_fl.radio.constant`, :mod:`~syft_fl.radio.trace`, :mod:`~syft_fl.radio.wireless` of all these parts,
  and in short :mod:`~syft_fl.radio.shannon`; with Sionna's channels and codes :mod:`~syft_fl.radio.sionna_link`, of
  :mod:`~syft_fl.radio.multipath` and :mod:`~syft_fl.radio.transport_blocks`
- :mod:`~syft_fl.radio.links`: links of their own for some UEs
- :mod:`~syft_fl.radio.access`: who has the band when (registry ``ACCESS``), on three event machines: parts for good
  (:mod:`~syft_fl.radio.split`), shares that change with who is on the air (:mod:`~syft_fl.radio.fluid`), and turns
  (:mod:`~syft_fl.radio.turns`) of a :mod:`~syft_fl.radio.scheduler` or of :mod:`~syft_fl.radio.contention`
- :mod:`~syft_fl.radio.over_the_air`: models that the channel adds up, without any bits
- :mod:`~syft_fl.radio.phase`: how long a cohort's transmission takes on average
"""

from syft_fl.radio.access import Aloha, Csma, FairOfdma, Noma, Ofdma, Scheduler, Tdma
from syft_fl.radio.cell import Cell
from syft_fl.radio.constant import Constant
from syft_fl.radio.doppler import GaussMarkov, Jakes
from syft_fl.radio.fading import FADINGS, Fading, FadingModel, Nakagami, NoFading, Rayleigh, Rician
from syft_fl.radio.interference import (
    INTERFERENCES,
    Interference,
    InterferenceLevel,
    InterferenceModel,
    Neighbours,
    NoInterference,
    Victim,
)
from syft_fl.radio.links import Links
from syft_fl.radio.losses import LOSSES, Bler, GilbertElliott, Loss, NoLoss, Packet, Waterfall
from syft_fl.radio.medium import (
    ACCESS,
    LINKS,
    Access,
    ChannelLink,
    FlatLink,
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
from syft_fl.radio.over_the_air import OverTheAir, Superposition
from syft_fl.radio.paths import PATHS, FreeSpace, InF, InH, LogDistance, Path, RMa, UMa, UMi
from syft_fl.radio.phase import Phases, expected_phase_s
from syft_fl.radio.placement import PLACEMENTS, Disc, Given, Hexagon, Placement, Ring
from syft_fl.radio.power_control import (
    POWER_CONTROLS,
    Fractional,
    FullPower,
    KnownChannel,
    PowerControl,
    TargetSnr,
)
from syft_fl.radio.rates import RATES, CqiRate, CqiTable, FixedRate, Rate, ShannonRate
from syft_fl.radio.retransmission import RETRANSMISSIONS, Arq, Harq, NoRetransmission, Retransmission
from syft_fl.radio.shannon import Shannon
from syft_fl.radio.sionna_link import Sionna
from syft_fl.radio.trace import RateTrace
from syft_fl.radio.wireless import Wireless

__all__ = [
    "ACCESS",
    "FADINGS",
    "INTERFERENCES",
    "LINKS",
    "LOSSES",
    "PATHS",
    "PLACEMENTS",
    "POWER_CONTROLS",
    "RATES",
    "RETRANSMISSIONS",
    "Access",
    "Aloha",
    "Arq",
    "Bler",
    "Cell",
    "ChannelLink",
    "Constant",
    "CqiRate",
    "CqiTable",
    "Csma",
    "Disc",
    "Fading",
    "FadingModel",
    "FairOfdma",
    "FixedRate",
    "FlatLink",
    "Fractional",
    "FreeSpace",
    "FullPower",
    "GaussMarkov",
    "GilbertElliott",
    "Given",
    "Harq",
    "Hexagon",
    "InF",
    "InH",
    "Interference",
    "InterferenceLevel",
    "InterferenceModel",
    "Jakes",
    "KnownChannel",
    "Link",
    "LinkModel",
    "Links",
    "LogDistance",
    "Loss",
    "LossyLink",
    "Medium",
    "Nakagami",
    "Neighbours",
    "NoFading",
    "NoInterference",
    "NoLoss",
    "NoRetransmission",
    "Noma",
    "NrRate",
    "Ofdma",
    "OverTheAir",
    "Packet",
    "Path",
    "Phases",
    "Placement",
    "PowerControl",
    "RMa",
    "RandomWaypoint",
    "Rate",
    "RateTrace",
    "Rayleigh",
    "Retransmission",
    "Rician",
    "Ring",
    "Scheduler",
    "Shannon",
    "ShannonRate",
    "Sionna",
    "Superposition",
    "TargetSnr",
    "Tdma",
    "Ticket",
    "Trace",
    "Transfer",
    "Try",
    "UMa",
    "UMi",
    "Victim",
    "Waterfall",
    "Wireless",
    "expected_phase_s",
]
