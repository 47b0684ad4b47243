"""How much of the sent power arrives on average, from the classics to the 3GPP's models.

================  =============================================================  ======================
``kind``          what it knows                                                  shadowing
================  =============================================================  ======================
``log-distance``  a fixed loss for ten times the distance; 128.1 + 37.6 log10 d  8 dB
``free-space``    distance and frequency                                         none
``uma``           TR 38.901, urban macro cell                                    4 or 6 dB
``umi``           TR 38.901, street canyon                                       4 or 7.82 dB
``rma``           TR 38.901, rural macro cell                                    4, 6 or 8 dB
``inh``           TR 38.901, office, mixed or open                               3 or 8.03 dB
``inf``           TR 38.901, factory hall: SL, DL, SH, DH                        4 … 7.2 dB
================  =============================================================  ======================

A path model is a frozen dataclass with a ``kind`` (:mod:`~syft_fl.radio.paths.path`); what it yields for a UE is a
function of key, UE and time. ``PATHS(MyPath)`` adds one; the contract suite then tests it.

Example:
    >>> from syft_fl.keys import Key
    >>> from syft_fl.radio.cell import Cell
    >>> from syft_fl.units import linear_to_db
    >>> street = PATHS.build({"kind": "umi", "los": "always", "shadowing": False})
    >>> cell = Cell(distances_m=(100.0,))
    >>> round(-linear_to_db(street.gain("ue0", cell=cell, key=Key(0))), 2)
    85.31
"""

from __future__ import annotations

from syft_fl.radio.paths.distance import FreeSpace, LogDistance
from syft_fl.radio.paths.indoor import InF, InH
from syft_fl.radio.paths.path import PATHS, Path
from syft_fl.radio.paths.rural import RMa
from syft_fl.radio.paths.tr38901 import Tr38901
from syft_fl.radio.paths.urban import UMa, UMi

__all__ = ["PATHS", "FreeSpace", "InF", "InH", "LogDistance", "Path", "RMa", "Tr38901", "UMa", "UMi"]
