"""What both ends of all links know, remember and count: what a message is written and read with.

A message changes none of it before its fate is known. Then the *sending* end commits it, or rolls it back; the
*receiving* end remembers what it decoded. Acknowledgements that may be lost make these two moments of their own; with
free ones they are one. A codec's memory is kept on the uplink only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from syft_fl.codecs import Context, Memory
from syft_fl.devices import CPU
from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.spill import Spill, kept
from syft_fl.transport.direction import Downlink, Uplink
from syft_fl.transport.layers import Decoded, LinkMemory, Pipeline
from syft_fl.transport.message import Message, ModelContent
from syft_fl.transport.outgoing import Outgoing
from syft_fl.transport.references import References
from syft_fl.transport.settings import Settings
from syft_fl.vectors import Layout, Vector

__all__ = ["Before", "Ends", "LinkName"]

LinkName = tuple[str, str]
"""A UE and a stream."""

_DOWNLOADS = "/downloads"
"""Name of the downloads' counter beside the UEs' own."""

_NOTHING = LinkMemory()


@dataclass(frozen=True, slots=True)
class Before:
    """What both ends of a link remembered of a stream before a message was handed on."""

    sender: LinkMemory | None
    receiver: LinkMemory | None
    version: int
    vector: Vector | None
    told: tuple[float, int] | None


class Ends:
    """The two ends of every link.

    Args:
        up, down: what is set for the directions.
        key: the random streams of codecs.
        hub: the base station's name.
        device: where models are.
        spill: how much of what is remembered is in memory; None: all.

    Attributes:
        references: the models that both hold.
        layouts: of each stream's models.
        sums: by stream, what the last sum of payloads left behind at the base station.
        keeps_references: whether models are remembered, for differences to them. Once they are, they always will be: a
            later codec may want differences again, to a model that is not an old one.
    """

    def __init__(
        self,
        up: Settings[Uplink],
        down: Settings[Downlink],
        *,
        key: Key,
        hub: str,
        device: torch.device = CPU,
        spill: Spill | None = None,
    ) -> None:
        self.up = up
        self.down = down
        self.key = key
        self.hub = hub
        self.device = device
        self.references = References(spill)
        self.keeps_references = up.need_reference or down.need_reference
        self.layouts: dict[str, Layout] = {}
        self.sums: dict[str, Memory] = {}
        self._sender: MutableMapping[LinkName, LinkMemory] = kept(spill)
        self._receiver: MutableMapping[LinkName, LinkMemory] = kept(spill)
        # The loss and the mean samples that came with the last model.
        self._told: dict[LinkName, tuple[float, int]] = {}
        self._serials: Counter[str] = Counter()

    def settings(self, direction: str) -> Settings[Uplink] | Settings[Downlink]:
        """What is set for a direction.

        Raises:
            ConfigError: it is neither ``"uplink"`` nor ``"downlink"``.
        """
        if direction not in ("uplink", "downlink"):
            raise ConfigError(f"direction {direction!r} must be 'uplink' or 'downlink'")
        return self.up if direction == "uplink" else self.down

    def pipeline(self, outgoing: Outgoing) -> Pipeline:
        """What a model is read and settled by: what it was written by."""
        return outgoing.pipeline or self.settings(outgoing.direction).pipeline(outgoing.ues[0])

    def reference(self, direction: str, message: Message, ue: str) -> int:
        """The version that a message will refer to; 0 where it is no difference."""
        is_delta = message.kind == "model" and self.settings(direction).pipeline(ue).needs_reference
        if is_delta and message.reference is not None:
            return message.reference
        return self.references.version(ue, message.stream) if is_delta else 0

    def context(
        self,
        direction: str,
        ues: Sequence[str],
        stream: str,
        serial: int,
        round_: int,
        *,
        received: bool = False,
    ) -> Context:
        """What both ends know of a message: the stream's layout and a key of its own.

        Args:
            received: with the codec's memory at the receiving end.
        """
        if direction == "uplink":
            key = self.key / ues[0] / f"upload{serial}"
            memory = (self._receiver if received else self._sender).get((ues[0], stream), _NOTHING)
            return Context(self.layouts[stream], key, serial, round_, memory=memory.codec)
        return Context(self.layouts[stream], self.key / self.hub / f"download{serial}", serial, round_)

    def informed(self, ctx: Context, ue: str, message: Message) -> Context:
        """The context of an upload, with what the UE was told of loss and weights when it got its last model."""
        loss, mean = self._told.get((ue, message.stream), (math.nan, 0))
        return replace(ctx, loss=loss, weight=message.samples / mean if mean and message.samples else 1.0)

    def tell(self, ue: str, stream: str, *, loss: float, samples: int) -> None:
        """A UE got a model with these."""
        self._told[ue, stream] = loss, samples

    # Numbers of messages. Uploads are counted per UE, downloads once for all: a multicast has one number.

    def next_upload(self, ue: str) -> int:
        """The number of a UE's next upload."""
        return self._serials[ue] + 1

    @property
    def next_download(self) -> int:
        """The number of the base station's next frame."""
        return self._serials[_DOWNLOADS] + 1

    def count(self, outgoing: Outgoing) -> None:
        """A frame with a number of its own goes on the air."""
        counter = outgoing.ues[0] if outgoing.direction == "uplink" else _DOWNLOADS
        self._serials[counter] = max(self._serials[counter], outgoing.serial)

    def count_upload(self, ue: str) -> int:
        """A UE sends something that is no frame; its number."""
        self._serials[ue] += 1
        return self._serials[ue]

    # What the sending UE remembers.

    def sender(self, ue: str, stream: str) -> LinkMemory:
        """What a UE remembers of what it sent."""
        return self._sender.get((ue, stream), _NOTHING)

    def commit(self, outgoing: Outgoing, decoded: Decoded) -> None:
        """Let the sending UE remember an upload that the base station is known to have decoded."""
        pipeline, encoded = self.pipeline(outgoing), outgoing.encoded
        assert encoded is not None
        self._settle(outgoing, lambda before: pipeline.committed(encoded, decoded, before))

    def roll_back(self, outgoing: Outgoing) -> None:
        """Settle a frame that does not arrive: lost, or prepared but held back. Its update returns to the residual."""
        pipeline, encoded = outgoing.pipeline, outgoing.encoded
        if outgoing.direction == "uplink" and pipeline and encoded:
            self._settle(outgoing, lambda before: pipeline.rolled_back(encoded, before))

    def lift(self, outgoing: Outgoing) -> Outgoing:
        """Take what a UE owes out of its residual, for it is in an upload whose fate may stay unknown for long.

        What the UE holds back meanwhile is then owed beside it; :meth:`commit` and :meth:`roll_back` add up both.
        """
        if outgoing.direction != "uplink" or outgoing.encoded is None or outgoing.lifted:
            return outgoing
        link = (outgoing.ues[0], outgoing.stream)
        _put(self._sender, link, replace(self.sender(*link), residual=None))
        return replace(outgoing, lifted=True)

    def hold_back(self, message: Message) -> None:
        """Settle a model that its UE keeps to itself: with error feedback it is owed, and paid by the next upload."""
        content, link = message.content, (message.sender, message.stream)
        pipeline = self.up.pipeline(message.sender)
        reference = self.references.vector(self.reference("uplink", message, message.sender))
        if not isinstance(content, ModelContent) or not pipeline.feeds_back or reference is None:
            return
        before = self.sender(*link)
        owed = pipeline.difference(content.state.vector, reference=reference, memory=before)
        self.remember(link, replace(before, residual=owed))

    def remember(self, link: LinkName, memory: LinkMemory) -> None:
        """Let a UE remember something of what it sent; nothing new is no news."""
        # Idle links cost nothing: without residual and codec memory there is no entry.
        if memory.residual is not None or memory.codec:
            self._sender[link] = memory

    def _settle(self, outgoing: Outgoing, settled: Callable[[LinkMemory], LinkMemory]) -> None:
        link = (outgoing.ues[0], outgoing.stream)
        before = self.sender(*link)
        after = settled(before)
        if outgoing.lifted and before.residual is not None and after.residual is not before.residual:
            owed = before.residual if after.residual is None else after.residual + before.residual
            after = replace(after, residual=owed)
        self.remember(link, after)

    # What the receiving end remembers.

    def receive(self, link: LinkName, codec: Memory) -> None:
        """Let the base station remember what the codec found in an upload."""
        if codec:
            self._receiver[link] = LinkMemory(codec=codec)

    def hold(
        self,
        ues: Sequence[str],
        stream: str,
        version: int,
        vector: Vector,
        *,
        since: int,
        keep: Mapping[str, int],
    ) -> None:
        """Let UEs hold a version of a model; see :meth:`References.hold`.

        Args:
            keep: of a UE, the version that it must not drop.
        """
        if self.keeps_references:
            for ue in ues:
                self.references.hold(ue, stream, version, vector, since=since, keep=keep.get(ue, 0))

    # Messages that are handed on before they are on the air.

    def before(self, link: LinkName) -> Before:
        """What both ends remember of a link now."""
        version = self.references.version(*link)
        vector = self.references.vector(version)
        return Before(self._sender.get(link), self._receiver.get(link), version, vector, self._told.get(link))

    def take_back(self, link: LinkName, before: Before) -> None:
        """Let both ends remember of a link what they did before."""
        _put(self._sender, link, before.sender)
        _put(self._receiver, link, before.receiver)
        if before.told is None:
            self._told.pop(link, None)
        else:
            self._told[link] = before.told
        if before.vector is None:
            self.references.forget(*link)
        else:
            self.references.acknowledge(*link, before.version, before.vector)

    # All of it.

    @property
    def links(self) -> list[LinkName]:
        """Of which an end remembers more than a version."""
        return list({**dict.fromkeys(self._sender), **dict.fromkeys(self._receiver)})

    def forget_codec(self, link: LinkName) -> None:
        """What a codec remembered of a link is of no use to another one; what is owed is owed."""
        for memories in (self._sender, self._receiver):
            memory = memories.get(link)
            if memory is not None:
                _put(memories, link, LinkMemory(memory.residual))

    def forget(self, stream: str) -> None:
        """Let go of all that is remembered of a stream: its model is no more."""
        self.references.forget_stream(stream)
        self.layouts.pop(stream, None)
        for memories in (self._sender, self._receiver, self._told):
            for link in [link for link in memories if link[1] == stream]:
                del memories[link]
        self.sums.pop(stream, None)

    def state(self) -> dict[str, Any]:
        """Plain data and tensors, for a checkpoint."""
        return {
            "references": self.references.state(),
            "sender": [[*link, _memory_state(m)] for link, m in self._sender.items()],
            "receiver": [[*link, _memory_state(m)] for link, m in self._receiver.items()],
            "sums": {stream: dict(memory) for stream, memory in self.sums.items()},
            "told": [[*link, *told] for link, told in self._told.items()],
            "serials": dict(self._serials),
            "layouts": list(self.layouts),
        }

    def load(self, state: Mapping[str, Any], *, layout: Layout | None) -> None:
        """Take over what :meth:`state` gave.

        Args:
            layout: of the streams that had one; None: each gets it with its next message.
        """
        if layout is not None:
            self.layouts = dict.fromkeys(state["layouts"], layout)
        self.references.load(state["references"])
        for memories, held in ((self._sender, "sender"), (self._receiver, "receiver")):
            memories.clear()
            memories.update(((u, s), LinkMemory(**m)) for u, s, m in state[held])
        self.sums = dict(state["sums"])
        self._told = {(u, s): (loss, samples) for u, s, loss, samples in state["told"]}
        self._serials = Counter(state["serials"])


def _put(memories: MutableMapping[LinkName, LinkMemory], link: LinkName, memory: LinkMemory | None) -> None:
    if memory is None or (memory.residual is None and not memory.codec):
        memories.pop(link, None)
    else:
        memories[link] = memory


def _memory_state(memory: LinkMemory) -> dict[str, Any]:
    return {"residual": memory.residual, "codec": dict(memory.codec)}
