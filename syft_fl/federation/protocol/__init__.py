"""The event-triggered protocol: two state machines, one at each end, and the frames between them (docs/protocol.md)."""

from syft_fl.federation.protocol.bs_side import BSSide
from syft_fl.federation.protocol.exchange import Exchange, Federation
from syft_fl.federation.protocol.settings import Protocol
from syft_fl.federation.protocol.signals import Reason
from syft_fl.federation.protocol.ue_side import UESide

__all__ = ["BSSide", "Exchange", "Federation", "Protocol", "Reason", "UESide"]
