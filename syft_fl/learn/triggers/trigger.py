"""What a trigger is: a rule by which a UE that has computed decides whether to send.

A rule is a value. What it remembers of a UE is a value too, which :meth:`Trigger.decide` gets and gives back in two
versions: for the case that the update is sent and arrives, and for all others (it is held back, or lost). Deciding
changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from syft_fl.devices import CPU
from syft_fl.keys import Key
from syft_fl.schema import Registry
from syft_fl.vectors import Vector

__all__ = [
    "TRIGGERS",
    "Decision",
    "Memory",
    "Properties",
    "ServerSide",
    "Trigger",
    "TriggerView",
    "compared",
    "norm",
    "properties",
    "squared_norm",
]

TRIGGERS = Registry("trigger", "decide")
"""Triggers by kind; ``TRIGGERS(MyTrigger)`` adds one."""

Memory = Mapping[str, Any]
"""What a rule remembers of one UE: plain data and tensors, by name; empty at first. Part of a run's checkpoint."""


@dataclass(frozen=True, slots=True)
class TriggerView:
    """What a UE knows when it has computed, before it sends.

    Attributes:
        ue: its name.
        round: federated round: 1, 2, …
        key: of this decision; a rule draws from nothing else.
        update: [entries] the trained model minus the model received.
        owed: [entries] what earlier uploads failed to deliver (error feedback); None: nothing.
        received: [entries] the model received, as it was decoded.
        earlier: [entries] of each, the models received before it, newest first; at most the rule's ``history``.
        loss: mean training loss of this local training.
        silence: trainings since the last one whose update arrived; before its first: all of them so far.
        samples: of the UE.
        learning_rate: of this round.
        users: UEs in the cell, M.
        decoded: [entries] what the base station would decode, were ``outgoing`` sent now. It encodes: costly.
        rate_bps: rate [bit/s] of the uplink over the whole band, now.
        mean_rate_bps: the mean of that over the cell's UEs [bit/s], now.
        gain: fading gain of the uplink now, 1 on average; a ConfigError on a link without a channel.
    """

    ue: str
    round: int
    key: Key
    update: Vector
    owed: Vector | None
    received: Vector
    earlier: tuple[Vector, ...]
    loss: float
    silence: int
    samples: int
    learning_rate: float
    users: int
    decoded: Callable[[], Vector]
    rate_bps: Callable[[], float]
    mean_rate_bps: Callable[[], float]
    gain: Callable[[], float]

    @property
    def outgoing(self) -> Vector:
        """[entries] what would be encoded: the update, and what is owed."""
        return self.update if self.owed is None else self.update + self.owed


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to send, and what that came from.

    Attributes:
        send: whether to.
        quantity: what was compared. Infinity: there was nothing to compare with yet.
        threshold: with what; ``send`` is ``quantity >= threshold`` unless the rule says otherwise.
        sent: what to remember if the update is sent and arrives.
        kept: what to remember otherwise.
    """

    send: bool
    quantity: float
    threshold: float
    sent: Memory
    kept: Memory


@runtime_checkable
class Trigger(Protocol):
    """The settings of a rule: a frozen dataclass with a ``kind``.

    Three more things a rule may have, as class attributes or properties (:class:`Properties`): ``history``, ``reuses``
    and ``server_side``.
    """

    kind: ClassVar[str]

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        """Whether a UE sends.

        Args:
            view: what it knows. Not changed.
            memory: ``sent`` or ``kept`` of this UE's last decision, whichever came true; empty at first. Not changed.

        Returns:
            What follows from the arguments alone.
        """
        ...


@runtime_checkable
class ServerSide(Protocol):
    """A rule by which the base station decides whether to ask a UE at all, before it sends the model.

    A UE that is asked then decides by :meth:`Trigger.decide`; one that is not neither receives nor computes.
    """

    def wanted(
        self,
        *,
        ue: str,
        model: Vector,
        told: Vector | None,
        earlier: tuple[Vector, ...],
        learning_rate: float,
        users: int,
    ) -> Decision:
        """Whether a UE is asked; nothing is remembered.

        Args:
            ue: its name.
            model: [entries] the base station's model. Not changed.
            told: [entries] the model that the UE's last update was computed at; None: none arrived yet.
            earlier: [entries] of each, the base station's models before this one, newest first.
            learning_rate: of this round.
            users: UEs in the cell.
        """
        ...


@dataclass(frozen=True, slots=True)
class Properties:
    """What a rule asks of those that run it.

    Attributes:
        history: how many earlier models it wants to see.
        reuses: whether the base station takes the last update of a UE that holds one back in that one's place. Then
            nothing is owed of what is held back.
        server_side: whether it is also :class:`ServerSide`.
    """

    history: int = 0
    reuses: bool = False
    server_side: bool = False


def properties(trigger: Trigger) -> Properties:
    """What a rule asks for, where it says so; by default nothing."""
    return Properties(
        history=getattr(trigger, "history", 0),
        reuses=getattr(trigger, "reuses", False),
        server_side=getattr(trigger, "server_side", False),
    )


def compared(
    quantity: float,
    threshold: float,
    *,
    sent: Memory | None = None,
    kept: Memory | None = None,
    anyway: bool = False,
) -> Decision:
    """The decision of a rule that compares two numbers.

    A quantity that is no number is sent: an update that has diverged is then refused where every such update is, by
    the codec and with a reason, instead of keeping its UE silent for ever.

    Args:
        quantity: what is compared.
        threshold: with what.
        sent: what to remember if it is sent and arrives; None: nothing.
        kept: what to remember otherwise; None: nothing.
        anyway: send whatever the numbers are.
    """
    below = quantity < threshold
    return Decision(anyway or not below, quantity, threshold, sent or {}, kept or {})


def squared_norm(x: Vector) -> float:
    """The squared l2 norm, in double precision; no BLAS, whose sums depend on the number of threads."""
    if x.device != CPU:
        return float(x.detach().double().square().sum())
    entries = x.detach().numpy()
    return float(np.einsum("i,i->", entries, entries, dtype=np.float64))


def norm(x: Vector) -> float:
    """The l2 norm."""
    return math.sqrt(squared_norm(x))
