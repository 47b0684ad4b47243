"""What is told of a run, round by round: the figures of each, and all that happened in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from syft_fl.federation.computing import Computing
from syft_fl.federation.deciding import Deciding
from syft_fl.federation.round import Round, RoundRecord
from syft_fl.federation.standalone import Standalone
from syft_fl.transport import Transport
from syft_fl.vectors import ModelState

__all__ = ["Reporting"]


class Reporting:
    """The records of a run.

    Args:
        transport: has the time, and the ledger of what was sent.
        computing: knows what was computed.
        deciding: knows what was decided; None: nothing was.
        standalone: tested beside the federation; None: there is none.
        test: accuracy and loss of a model.
        event_triggered: whether the figures say who kept or lost an update, and how old updates are.
    """

    def __init__(
        self,
        transport: Transport,
        computing: Computing,
        *,
        deciding: Deciding | None,
        standalone: Standalone | None,
        test: Callable[[ModelState], tuple[float, float]],
        event_triggered: bool,
    ) -> None:
        self._transport = transport
        self._computing = computing
        self._deciding = deciding
        self._standalone = standalone
        self._test = test
        self._event_triggered = event_triggered

    def record(
        self,
        now: Round,
        *,
        model: ModelState | None,
        arrived: int = 0,
        train_loss: float | None = None,
        ages: Sequence[int] = (),
    ) -> RoundRecord:
        """What a round leaves behind, when it closes.

        Args:
            now: the round.
            model: to be tested; None: no test in this round.
            arrived: updates that made the model.
            train_loss: mean of the UEs' local losses; None: none is known.
            ages: of these updates, in models made since the one that they were computed from.
        """
        ledger = self._transport.ledger
        row: dict[str, Any] = {
            "round": now.number,
            "latency_s": self._transport.clock.now_s,
            "accuracy": None,
            "loss": None,
            "train_loss": train_loss,
            "uplink_bits": ledger.uplink_bits,
            "downlink_bits": ledger.downlink_bits,
            **self._energies(),
            "cohort": len(now.cohort),
            "arrived": arrived,
        }
        if self._event_triggered:
            row |= {
                "skipped": len(now.skipped),
                "gone": len(now.gone),
                "discarded": now.discarded,
                "staleness": sum(ages) / len(ages) if ages else None,
            }
        if model is not None:
            row["accuracy"], row["loss"] = self._test(model)
        if self._standalone is not None:
            row["standalone_accuracy"] = None if model is None else self._test(self._standalone.model)[0]
        decisions = [] if self._deciding is None else self._deciding.drain()
        return RoundRecord(row, ledger.drain(), self._computing.drain(), decisions)

    def _energies(self) -> dict[str, float]:
        """Spent since the start [J]: all of it, the UEs' share, and the parts."""
        ledger, compute_j = self._transport.ledger, self._computing.energy_j
        return {
            "energy_j": ledger.energy_j + compute_j + ledger.receive_energy_j,
            "ue_energy_j": ledger.uplink_transmit_energy_j + ledger.receive_energy_j + compute_j,
            "uplink_transmit_energy_j": ledger.uplink_transmit_energy_j,
            "downlink_transmit_energy_j": ledger.downlink_transmit_energy_j,
            "receive_energy_j": ledger.receive_energy_j,
            "compute_energy_j": compute_j,
        }
