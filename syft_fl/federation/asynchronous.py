r"""Rounds that don't wait: the base station makes a model whenever enough has come, while others compute.

============  ===========================================================================================
``kind``      the next model
============  ===========================================================================================
``fedasync``  with each update: :math:`w \leftarrow (1 - \alpha_\tau)\, w + \alpha_\tau\, w_k`
``fedbuff``   with each K-th update: a step along the mean of K weighted differences
``tiers``     with each round of a tier of equally fast UEs: the tiers' models, the slow ones weighted up
============  ===========================================================================================

At all times ``population.cohort`` UEs are at work (of ``tiers``: that many in each). When one of them has sent, has
skipped or is gone, the selection names another of those that are not at work, and it is sent the newest model. A
*round* of the results is then one model of the base station. A run in which 300 calls for each UE (of ten at least)
bring no update ends with a warning: a trigger that silences all, or failures without exception, would have no end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

from syft_fl.federation.staleness import STALENESS, Polynomial, Staleness
from syft_fl.learn import FedAvg
from syft_fl.schema import Registry, require, schema
from syft_fl.vectors import ModelState

__all__ = ["ASYNCHRONOUS", "Asynchronous", "Cell", "FedAsync", "FedBuff", "Tiers", "Update", "rebased"]

ASYNCHRONOUS = Registry("asynchronous mode", "calls", "takes", "merge")
"""Asynchronous modes by kind; ``ASYNCHRONOUS(MyMode)`` adds one."""

Memory = Mapping[str, Any]
"""What a mode remembers: plain data and tensors, by name; empty at first. Part of a run's checkpoint."""


@dataclass(frozen=True, slots=True)
class Update:
    """An update that has arrived.

    Attributes:
        ue: whose.
        state: the model as it was decoded.
        base: the model that it was computed from.
        samples: of the UE.
        staleness: models made since ``base``.
    """

    ue: str
    state: ModelState
    base: ModelState
    samples: int
    staleness: int


@dataclass(frozen=True, slots=True)
class Cell:
    """What the base station sees when it may call UEs.

    Attributes:
        ues: all, in their fixed order.
        free: gives those that are in reach and not at work, in the same order; it looks at every UE.
        waiting: those that are at work for it.
        arrived: whose updates wait to be used, in the order of arrival; a UE may have several.
        cohort: how many are to be at work.
        choose: names so many of some UEs, as the selection does.
        duration_s: how long a UE takes about for a round [s].
    """

    ues: tuple[str, ...]
    free: Callable[[], tuple[str, ...]]
    waiting: frozenset[str]
    arrived: tuple[str, ...]
    cohort: int
    choose: Callable[[tuple[str, ...], int], tuple[str, ...]]
    duration_s: Callable[[str], float]


@runtime_checkable
class Asynchronous(Protocol):
    """The settings of a mode: a frozen dataclass with a ``kind``.

    One may have a method ``require_ues(ues)`` that raises a ConfigError where it can't work with so many UEs in
    the cell.
    """

    kind: ClassVar[str]

    def calls(self, cell: Cell, memory: Memory) -> tuple[list[tuple[str, ...]], Memory]:
        """Groups of UEs to send the newest model to, now; and what to remember."""
        ...

    def takes(self, cell: Cell, memory: Memory) -> frozenset[str]:
        """Those whose updates are to make the next model, now; empty: not yet. The others' stay."""
        ...

    def merge(
        self, current: ModelState, updates: Sequence[Update], memory: Memory
    ) -> tuple[list[tuple[ModelState, float]], Memory]:
        """What the aggregation rule is given: models and weights; and what to remember."""
        ...


def rebased(current: ModelState, update: Update, *, weight: float = 1.0) -> ModelState:
    """A model that differs from the current one by the update's own difference, times a weight."""
    vector = current.vector + weight * (update.state.vector - update.base.vector)
    return replace(update.state, vector=vector)


def _vacancies(cell: Cell) -> list[tuple[str, ...]]:
    """Call as many as there are places, one by one: each gets its own frame, and answers when it is done."""
    missing = cell.cohort - len(cell.waiting)
    free = cell.free() if missing > 0 else ()
    return [(ue,) for ue in cell.choose(free, min(missing, len(free)))] if free else []


@ASYNCHRONOUS
@schema
class FedAsync:
    r"""Each update is mixed in at once, :math:`w \leftarrow (1 - \alpha s(\tau))\, w + \alpha s(\tau)\, w_k`.

    Attributes:
        mixing: :math:`\alpha`.
        staleness: :math:`s`.

    Source: C. Xie, S. Koyejo, I. Gupta, *Asynchronous Federated Optimization*, 2019, algorithm 1. Its UEs' proximal
    term is ``training.proximal_mu``.
    """

    kind: ClassVar[str] = "fedasync"
    needs_fedavg: ClassVar[bool] = True
    mixing: float = 0.6
    staleness: Annotated[Staleness, STALENESS] = Polynomial()

    def __post_init__(self) -> None:
        require(0 < self.mixing <= 1, "mixing", self.mixing, "above 0 and at most 1")

    def calls(self, cell: Cell, memory: Memory) -> tuple[list[tuple[str, ...]], Memory]:
        return _vacancies(cell), memory

    def takes(self, cell: Cell, memory: Memory) -> frozenset[str]:
        return frozenset(cell.arrived)

    def merge(
        self, current: ModelState, updates: Sequence[Update], memory: Memory
    ) -> tuple[list[tuple[ModelState, float]], Memory]:
        mixed = current
        for update in updates:  # one, unless two arrived at the same instant
            share = self.mixing * self.staleness.weight(update.staleness)
            mixed = FedAvg().aggregate(mixed, [(mixed, 1 - share), (update.state, share)])
        return [(mixed, 1.0)], memory


@ASYNCHRONOUS
@schema
class FedBuff:
    r"""The base station waits for K updates and takes a step along their mean,

    .. math:: w \leftarrow w + \frac{1}{K} \sum_k s(\tau_k)\, \Delta_k .

    The step is the aggregation rule's: ``fedavg`` takes it as it is, ``fedavgm`` and others make a pseudo-gradient of
    it (a learning rate of the base station is ``fedavgm`` with ``momentum = 0``). Updates weigh the same whatever their
    samples, as in the paper.

    Attributes:
        buffer: K.
        staleness: :math:`s`.

    Source: J. Nguyen et al., *Federated Learning with Buffered Asynchronous Aggregation*, 2022, algorithm 1.
    """

    kind: ClassVar[str] = "fedbuff"
    buffer: int = 10
    staleness: Annotated[Staleness, STALENESS] = Polynomial()

    def __post_init__(self) -> None:
        require(self.buffer >= 1, "buffer", self.buffer, "at least 1")

    def calls(self, cell: Cell, memory: Memory) -> tuple[list[tuple[str, ...]], Memory]:
        return _vacancies(cell), memory

    def takes(self, cell: Cell, memory: Memory) -> frozenset[str]:
        return frozenset(cell.arrived if len(cell.arrived) >= self.buffer else ())

    def merge(
        self, current: ModelState, updates: Sequence[Update], memory: Memory
    ) -> tuple[list[tuple[ModelState, float]], Memory]:
        return [
            (rebased(current, update, weight=self.staleness.weight(update.staleness)), 1.0)
            for update in updates
        ], memory


@ASYNCHRONOUS
@schema
class Tiers:
    r"""Semi-asynchronous: UEs in tiers by speed; in a tier rounds wait for all, the tiers don't wait for each other.

    Each tier has the mean of its last round's models, :math:`w_m`. With :math:`T_m` rounds of tier m so far,
    :math:`T` in all, and tiers from the fastest to the slowest,

    .. math:: w \leftarrow \sum_{m=1}^{M} \frac{T_{M+1-m}}{T}\, w_m ,

    so that tiers with few rounds weigh as the fast ones would. Of a tier that has not finished a round yet,
    :math:`w_m` is the first model.

    Attributes:
        tiers: M, at most as many as there are UEs. They are put into tiers of equal size, as far as that goes, by the
            time that they take, as expected when the run begins.

    Source: Z. Chai et al., *FedAT: A High-Performance and Communication-Efficient Federated Learning System with
    Asynchronous Tiers*, 2021, section 4.
    """

    kind: ClassVar[str] = "tiers"
    needs_fedavg: ClassVar[bool] = True
    tiers: int = 3

    def __post_init__(self) -> None:
        require(self.tiers >= 1, "tiers", self.tiers, "at least 1")

    def require_ues(self, ues: int) -> None:
        """Refuse more tiers than so many UEs can fill.

        Raises:
            ConfigError: there are more.
        """
        require(self.tiers <= ues, "tiers", self.tiers, f"at most ues = {ues}", "each tier needs a UE")

    def calls(self, cell: Cell, memory: Memory) -> tuple[list[tuple[str, ...]], Memory]:
        if "tier" not in memory:
            ranked = sorted(cell.ues, key=cell.duration_s)  # a stable order: equals stay in the UEs' own
            # None may be empty: the first model would stand for it for ever, with the weight of its mirror image.
            tiers = {ue: number * self.tiers // len(ranked) for number, ue in enumerate(ranked)}
            memory = {**memory, "tier": tiers}
        groups, free_ues = [], cell.free()
        for tier in range(self.tiers):
            inside = {ue for ue, its in memory["tier"].items() if its == tier}
            free = tuple(ue for ue in free_ues if ue in inside)
            if free and not inside & cell.waiting and not inside.intersection(cell.arrived):
                groups.append(cell.choose(free, min(cell.cohort, len(free))))
        return groups, memory

    def takes(self, cell: Cell, memory: Memory) -> frozenset[str]:
        tier = memory.get("tier", {})
        busy = {tier[ue] for ue in cell.waiting}
        complete = min((tier[ue] for ue in cell.arrived if tier[ue] not in busy), default=None)
        return frozenset(ue for ue in cell.arrived if tier[ue] == complete)

    def merge(
        self, current: ModelState, updates: Sequence[Update], memory: Memory
    ) -> tuple[list[tuple[ModelState, float]], Memory]:
        rounds = list(memory.get("rounds", [0] * self.tiers))
        models = dict(memory.get("models", {}))
        first: list[Any] = memory.get("first", _plain(current))
        tier = memory["tier"][updates[0].ue]
        own = [(update.state, float(update.samples)) for update in updates]
        models[str(tier)] = _plain(FedAvg().aggregate(current, own))
        rounds[tier] += 1
        weighted = [
            (ModelState(*models.get(str(tier), first)), float(rounds[self.tiers - 1 - tier]))
            for tier in range(self.tiers)
        ]
        return weighted, {**memory, "rounds": rounds, "models": models, "first": first}


def _plain(model: ModelState) -> list[Any]:
    return [model.vector, dict(model.buffers)]
