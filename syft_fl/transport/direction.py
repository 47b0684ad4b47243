"""The settings of one direction: how models are written, over which radio they go, who shares the air."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from syft_fl.codecs import CODECS, Codec, Float32, erasable_kinds, needs_loss, why_not_erasable
from syft_fl.radio import ACCESS, LINKS, Access, Constant, LinkModel, OverTheAir, Tdma
from syft_fl.schema import require, schema

__all__ = ["Direction", "Downlink", "Uplink"]


@schema
class Uplink:
    """UEs to base station.

    Attributes:
        codec: how the floating-point parameters of a model are written.
        delta: send what was learnt since the last model both ends know, instead of the model. A lossless codec
            has nothing to gain from it (it would only add rounding) and sends the model.
        error_feedback: add what earlier messages lost to the next one (Seide 2014; Karimireddy 2019). Needs
            ``delta``.
        erasure: decode what came of a model of which the link lost packets, instead of losing it (see below). Needs
            ``delta``, which float32 then takes too, and a codec that can.
        link: the radio.
        access: how UEs share it.
        analog: let the channel add up the UEs' differences instead of sending frames
            (:class:`~syft_fl.radio.OverTheAir`); what UEs tell each other about their entries before still goes in
            frames, by ``access``. None: digital. Of a :class:`~syft_fl.federation.Simulation` only.

    **Erasure.** Where packets are lost for good (after all ``tries`` of the link's ``retransmission``), the base
    station decodes the others: what is missing of the update counts as 0. Without error feedback the rest is divided by
    the share that came, so that on average over losses nothing is missing; with it the UE, which learns of the gaps
    from the acknowledgement, keeps what is missing in its residual. The frame's header and the tensors beside the
    vector must have come, and what else the codec can't do without; otherwise the message is lost as it would be. The
    frame's CRC32 can't be checked where a part of it is missing: that what came is intact follows from a CRC of each
    packet. ``retransmission = {kind = "arq", tries = 1}`` charges that and the packets' numbers
    (``header_bytes``); ``"none"`` does not. Whole models (the first one of a UE that holds none), tensors and values
    are lost as they would be.
    """

    codec: Annotated[Codec, CODECS] = Float32()
    delta: bool = True
    error_feedback: bool = False
    erasure: bool = False
    link: Annotated[LinkModel, LINKS] = Constant()
    access: Annotated[Access, ACCESS] = Tdma()
    analog: OverTheAir | None = None

    def __post_init__(self) -> None:
        if self.analog is not None:
            self._check_analog(self.analog)
        require(
            self.delta or not self.error_feedback,
            "error_feedback",
            self.error_feedback,
            "false where delta = false",
            "what a whole model lost is not owed to the next one; set delta = true",
        )
        require(
            self.delta or not self.erasure,
            "erasure",
            self.erasure,
            "false where delta = false",
            "what is missing of a whole model would be 0; set delta = true",
        )
        if self.erasure:
            unfit = why_not_erasable(self.codec)
            kinds = ", ".join(erasable_kinds())
            require(
                not unfit,
                "erasure",
                True,
                f"false with {unfit}, of which a part can't be decoded",
                f"with coder = 'fixed' these can: {kinds}",
            )

    def _check_analog(self, analog: OverTheAir) -> None:
        analog.check(self.link)
        require(
            isinstance(self.codec, Float32),
            "codec",
            getattr(self.codec, "kind", type(self.codec).__name__),
            "'float32' with analog",
            "amplitudes take the place of a codec: leave either out",
        )
        require(
            self.delta and not self.erasure,
            "analog",
            "over the air",
            "with delta = true and erasure = false",
            "only differences add up, and no packet is lost",
        )


@schema
class Downlink:
    """Base station to UEs.

    There is no error feedback: a delta against what the UE holds already contains all that earlier messages lost.
    Codecs that follow the training loss are the uplink's alone: here nothing is remembered of it. So is ``erasure``:
    UEs of a multicast would hold different models under one version, and no two could be sent the same difference.

    Attributes:
        codec, delta, link, access: as in :class:`Uplink`.
        cast: ``multicast`` sends one frame to all UEs of a round that hold the same reference, at the slowest one's
            rate; ``unicast`` sends each its own. ``broadcast`` is a multicast to all UEs of the cell, whoever takes
            part in the round: all then hold the model, so one frame of differences does for all (see
            :meth:`~syft_fl.transport.Transport.audience`). At the slowest one's rate, too, unless the link says
            otherwise: with ``rate = {kind = "fixed"}`` and ``loss = {kind = "bler"}``, who hears too badly loses it.
        receive_power_w: power of a UE's receiver while it listens [W]. Every UE that a frame is for listens for
            as long as the frame is on the air, whether it gets it or not; what it spends is its own, while the energy
            of sending down is the base station's.
    """

    codec: Annotated[Codec, CODECS] = Float32()
    delta: bool = True
    link: Annotated[LinkModel, LINKS] = Constant()
    access: Annotated[Access, ACCESS] = Tdma()
    cast: Literal["multicast", "unicast", "broadcast"] = "multicast"
    receive_power_w: float = 0.0

    def __post_init__(self) -> None:
        require(
            0 <= self.receive_power_w < math.inf,
            "receive_power_w",
            self.receive_power_w,
            "at least 0 and finite",
            "it is in W: 100 mW is 0.1",
        )
        require(
            not getattr(self.access, "uplink_only", False),
            "access",
            getattr(self.access, "kind", type(self.access).__name__),
            "one for a single sender",
            "a base station needs not find out who else sends: use 'tdma', 'ofdma', 'ofdma-fair' or 'scheduler'",
        )
        require(
            not needs_loss(self.codec),
            "codec",
            getattr(self.codec, "kind", type(self.codec).__name__),
            "one that does not follow the training loss",
            "the downlink remembers no earlier loss; use it on the uplink, or kind = 'scheduled'",
        )


Direction = Uplink | Downlink
