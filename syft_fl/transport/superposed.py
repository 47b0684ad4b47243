"""Models that the channel adds up: the analog way through the one seam.

No frame, no codec and no bits: what passes is what :mod:`~syft_fl.radio.over_the_air` says of amplitudes. The layers
are the same as for frames: a UE sends its difference to the model that it holds, and with error feedback what it was
silent about stays in its residual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from syft_fl.errors import TransportError
from syft_fl.keys import Key
from syft_fl.radio import Links, Superposition, Transfer
from syft_fl.radio.over_the_air import bandwidth_hz, fading_kind
from syft_fl.transport.ends import Ends
from syft_fl.transport.layers import Decoded, Encoded
from syft_fl.transport.ledger import Entry
from syft_fl.transport.message import Message, ModelContent
from syft_fl.transport.outgoing import Arrival, Outgoing
from syft_fl.vectors import Layout, ModelState, Vector

__all__ = ["Statistics", "Sum", "Superposing", "statistics_of"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What entries are normalised with before they become amplitudes.

    Attributes:
        mean: of all entries.
        square: mean of their squares.
    """

    mean: float
    square: float

    @property
    def scale(self) -> float:
        """Their standard deviation; 1 where all are the same."""
        variance = self.square - self.mean**2
        return math.sqrt(variance) if variance > 0 else 1.0

    def square_under(self, common: Statistics) -> float:
        """Mean square of one's own entries after they are normalised with common statistics."""
        return (self.square - 2 * common.mean * self.mean + common.mean**2) / common.scale**2


def statistics_of(x: Vector) -> Statistics:
    """The statistics of a vector."""
    entries = x.double()
    return Statistics(float(entries.mean()), float(entries.square().mean()))


@dataclass(frozen=True, slots=True)
class Sum:
    """Vectors that are on the air together.

    Attributes:
        messages: of those who take part.
        vectors: [senders] of [entries] what each sends: its difference, and what it owes.
        references: [senders] of [entries] what each one's is a difference to.
        common: what all normalise with.
        found: what becomes of it.
        key: of the noise.
        start_s, end_s: first symbol, last symbol received [s].
        airtime_s, pilots_s: time on the air, and the part of it before the first symbol [s].
    """

    messages: Sequence[Message]
    vectors: Sequence[Vector]
    references: Sequence[Vector]
    common: Statistics
    found: Superposition
    key: Key
    start_s: float
    end_s: float
    airtime_s: float
    pilots_s: float

    def sent(self, number: int) -> Vector:
        """[entries] what a UE really sends: 0 where it is silent."""
        x = self.vectors[number]
        return x * torch.from_numpy(self.found.mask(number, len(x))).to(x.device)

    def received(self) -> Vector:
        """[entries] the mean of the models of those who sent, as the base station gets it.

        Where nobody sends an entry, it is the old model's.
        """
        entries, found = len(self.vectors[0]), self.found
        total = found.total(entries)
        added = np.zeros(entries)
        for number, x in enumerate(self.vectors):
            amplitudes = (x.cpu().double().numpy() - self.common.mean) / self.common.scale
            added += found.amplitudes[number] * np.where(found.mask(number, entries), amplitudes, 0.0)
        heard = total > 0
        noise = self.key.numpy().standard_normal(entries)
        std = np.repeat(found.noise_std(), found.group_entries)[:entries]
        mean: NDArray[np.float64] = np.zeros(entries)
        mean[heard] = added[heard] / total[heard] + std[heard] * noise[heard]
        difference = np.where(heard, self.common.mean + self.common.scale * mean, 0.0)
        base = self._base()
        return base + torch.from_numpy(difference.astype(np.float32)).to(base.device)

    def _base(self) -> Vector:
        """The mean of what the vectors are differences to."""
        first = base = self.references[0]
        whole = float(self.found.weights.sum())
        for weight, reference in zip(self.found.weights.tolist(), self.references, strict=True):
            if reference is not first:
                base = base + weight / whole * (reference - first)
        return base

    def entries(self, serials: Sequence[int]) -> list[Entry]:
        """A line of the ledger for each UE, with the number of its message. There are no bits."""
        energies_j = self._energies_j()
        return [
            Entry(
                round=message.round,
                direction="uplink",
                kind="analog",
                stream=message.stream,
                ues=(message.sender,),
                serial=serial,
                raw_bits=32 * len(x),
                payload_bits=0,
                bits=0,
                offered_s=self.start_s,
                start_s=self.start_s,
                end_s=self.end_s,
                airtime_s=self.airtime_s,
                attempts=1,
                energy_j=energy_j,
                receive_energy_j=0.0,
                lost=(message.sender,) if message.sender in self.silent else (),
            )
            for message, serial, x, energy_j in zip(
                self.messages, serials, self.vectors, energies_j, strict=True
            )
        ]

    def arrival(self, layout: Layout) -> Arrival:
        """The sum as it arrives: a model of all who sent, weighted."""
        first, ues = self.messages[0], tuple(message.sender for message in self.messages)
        outgoing = Outgoing(
            direction="uplink",
            kind="analog",
            stream=first.stream,
            about=first.about,
            ues=ues,
            serial=0,
            round=first.round,
            reference=0,
            frame=b"",
            bits=0,
            raw_bits=32 * layout.length * len(ues),
            payload_bits=0,
            pipeline=None,
            encoded=None,
        )
        transfer = Transfer(
            ticket=-1,
            ues=ues,
            bits=0,
            offered_s=self.start_s,
            start_s=self.start_s,
            end_s=self.end_s,
            airtime_s=self.airtime_s,
            attempts=1,
            energy_j=math.fsum(self._energies_j()),
            lost=self.silent,
        )
        content = ModelContent(ModelState(self.received(), {}), layout)
        return Arrival(outgoing, transfer, content, sum(message.samples for message in self.messages))

    @property
    def silent(self) -> tuple[str, ...]:
        """Those whose channel was too bad for any entry."""
        sends = self.found.sent.sum(axis=1).tolist()
        return tuple(message.sender for message, one in zip(self.messages, sends, strict=True) if not one)

    def _energies_j(self) -> list[float]:
        return self.found.energies_j(symbols_s=self.airtime_s - self.pilots_s, pilots_s=self.pilots_s)


class Superposing:
    """The analog uplink of a transport: at most one sum is on the air at a time.

    Args:
        ends: what both ends of the links remember.
        links: of the uplink.
        key: the random streams of the radio.
    """

    def __init__(self, ends: Ends, links: Links, key: Key) -> None:
        self._ends = ends
        self._links = links
        self._key = key / "uplink" / "over-the-air"
        self._sum: Sum | None = None

    @property
    def is_busy(self) -> bool:
        """Whether models are on the air."""
        return self._sum is not None

    @property
    def end_s(self) -> float:
        """When they have arrived [s]; infinity where there are none."""
        return math.inf if self._sum is None else self._sum.end_s

    def statistics(self, message: Message) -> Statistics:
        """Of what a UE would send of its model."""
        return statistics_of(self._difference(message)[0])

    def send(self, messages: Sequence[Message], common: Statistics, *, now_s: float) -> None:
        """Let UEs send their models at once; see :meth:`Transport.superpose`.

        Raises:
            TransportError: a UE holds no model that its own could differ from.
        """
        uplink = self._ends.up.common
        assert uplink.analog is not None
        ues, first = [message.sender for message in messages], messages[0]
        sent = [self._difference(message) for message in messages]
        heard = [message.samples for message in messages]
        entries = len(sent[0][0])
        found = uplink.analog.superpose(
            self._links,
            ues,
            weights=[samples * len(heard) / sum(heard) for samples in heard],
            squares=[statistics_of(x).square_under(common) for x, _ in sent],
            entries=entries,
            block=first.round,
            time_s=now_s,
            fading=fading_kind(uplink.link),
            key=self._key,
        )
        airtime_s = uplink.analog.duration_s(entries, bandwidth_hz=bandwidth_hz(uplink.link))
        self._sum = Sum(
            messages=messages,
            vectors=[x for x, _ in sent],
            references=[reference for _, reference in sent],
            common=common,
            found=found,
            key=self._key / "noise" / first.stream / first.round,
            start_s=now_s,
            end_s=now_s + airtime_s + max(link.latency_s for link in self._links.among(ues)),
            airtime_s=airtime_s,
            pilots_s=uplink.analog.sync_s,
        )

    def settle(self) -> tuple[Arrival, list[Entry]]:
        """End what is on the air: the sum as it arrived, and the ledger's lines. UEs remember what they still owe."""
        added, self._sum = self._sum, None
        assert added is not None
        arrival = added.arrival(self._ends.layouts[added.messages[0].stream])
        serials = []
        for number, message in enumerate(added.messages):
            link = (message.sender, message.stream)
            encoded = Encoded(added.vectors[number], {})
            decoded = Decoded(added.vectors[number], added.sent(number), {})
            pipeline = self._ends.up.pipeline(message.sender)
            self._ends.remember(link, pipeline.committed(encoded, decoded, self._ends.sender(*link)))
            serials.append(self._ends.count_upload(message.sender))
        return arrival, added.entries(serials)

    def _difference(self, message: Message) -> tuple[Vector, Vector]:
        """What a UE would send of its model, and what it is a difference to."""
        ends, content, link = self._ends, message.content, (message.sender, message.stream)
        reference = ends.references.vector(ends.references.version(*link))
        if not isinstance(content, ModelContent) or reference is None:
            raise TransportError(
                f"{message.sender!r} holds no model of {message.stream!r} that it could differ from"
            )
        ends.layouts.setdefault(message.stream, content.layout)
        difference = ends.up.pipeline(message.sender).difference(
            content.state.vector, reference=reference, memory=ends.sender(*link)
        )
        return difference, reference
