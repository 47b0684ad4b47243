"""The one seam that every send and get passes: layers, frames, link memory, ledger, media."""

from syft_fl.transport.carrier import CARRIERS, Carrier, CarrierModel, Local
from syft_fl.transport.direction import Direction, Downlink, Uplink
from syft_fl.transport.frame import OVERHEAD_BYTES, Frame
from syft_fl.transport.layers import LinkMemory, Pipeline
from syft_fl.transport.ledger import Entry, Ledger
from syft_fl.transport.message import Content, Delivery, Message, MessageKind, ModelContent, Signal
from syft_fl.transport.outgoing import Accepted, Arrival, Landed, Outgoing, outgoing_state
from syft_fl.transport.pysyft_peers import SyftCarrier
from syft_fl.transport.references import References
from syft_fl.transport.superposed import Statistics
from syft_fl.transport.transport import Transport

__all__ = [
    "CARRIERS",
    "OVERHEAD_BYTES",
    "Accepted",
    "Arrival",
    "Carrier",
    "CarrierModel",
    "Content",
    "Delivery",
    "Direction",
    "Downlink",
    "Entry",
    "Frame",
    "Landed",
    "Ledger",
    "LinkMemory",
    "Local",
    "Message",
    "MessageKind",
    "ModelContent",
    "Outgoing",
    "Pipeline",
    "References",
    "Signal",
    "Statistics",
    "SyftCarrier",
    "Transport",
    "Uplink",
    "outgoing_state",
]
