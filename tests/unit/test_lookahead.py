"""Uploads that are coded side by side: the same bytes, models and times as one by one, and fewer calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from syft_fl.codecs import batch
from syft_fl.experiment import parse
from syft_fl.federation import Simulation
from syft_fl.transport import lookahead
from syft_fl.transport.outgoing import Outgoing

LOSSY = {
    "kind": "wireless",
    "loss": {"kind": "packet", "probability": 0.3},
    "retransmission": {"kind": "arq", "mtu_bytes": 50, "tries": 2, "feedback_s": 0.001},
}
FIELDS: list[dict[str, Any]] = [
    {"error_feedback": True, "codec": {"kind": "uniform", "bits": 3, "rounding": "stochastic"}},
    {"codec": {"kind": "qsgd", "block": 32}, "access": {"kind": "ofdma"}},
    {"codec": {"kind": "qsgd", "block": 32}, "delta": False},
    {"codec": {"kind": "qsgd", "block": 32}, "link": LOSSY, "access": {"kind": "ofdma"}},
    {"codec": {"kind": "uniform", "bits": 4}, "link": LOSSY, "erasure": True, "error_feedback": True},
    {"codec": {"kind": "uniform", "bits": 4, "coder": {"kind": "range"}}},
    {"codec": {"kind": "adaquantfl"}},
    {"codec": {"kind": "top-k", "fraction": 0.1}, "error_feedback": True},
]


def simulation(population: dict[str, Any] | None = None, /, **uplink: Any) -> Simulation:
    experiment = parse(
        {
            "seed": 3,
            "data": {"kind": "synthetic", "train_samples": 150, "test_samples": 30},
            "partition": {"kind": "dirichlet", "alpha": 1.0},
            "model": {"kind": "mlp", "hidden": [8]},
            "population": {"ues": 9, "cohort": 7} | (population or {}),
            "training": {"batch_size": 8},
            "compute": {"kind": "per_sample", "seconds_per_sample": 1e-3},
            "uplink": {"link": {"kind": "constant", "rate_bps": 5e4}}
            | uplink,  # slow: several at once on the air
            "stop": {"rounds": 6},
        }
    )
    return Simulation(experiment.base, experiment.base.data.load())


def went(one: Simulation, *, ahead: bool) -> list[Any]:
    one.transport.looks_ahead = ahead
    seen: list[Any] = []
    offer = one.transport.offer

    def watched(outgoing: Outgoing, *, now_s: float) -> None:
        seen.append((outgoing.ues, outgoing.frame, now_s))
        offer(outgoing, now_s=now_s)

    one.transport.offer = watched  # type: ignore[method-assign]
    while one.stopped_by is None:
        record = one.step()
        residuals = [one.transport.residual(ue, "model") for ue in one.ues]
        seen.append((record, one.model.vector.tolist(), [r if r is None else r.tolist() for r in residuals]))
    return seen


@pytest.mark.parametrize("uplink", FIELDS)
def test_looking_ahead_changes_nothing(uplink: dict[str, Any]) -> None:
    assert went(simulation(**uplink), ahead=True) == went(simulation(**uplink), ahead=False)


@pytest.mark.parametrize(("uplink", "most"), [(FIELDS[1], 12), (FIELDS[3], 24)])
def test_a_cohort_is_coded_in_few_calls(
    uplink: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: dict[str, list[int]] = {"encode_batch": [], "decode_batch": []}
    for name, found in rows.items():
        plain = getattr(lookahead, name)

        def counted(
            codec: Any, vectors: Any, *rest: Any, found: Any = found, plain: Any = plain, **named: Any
        ) -> Any:
            found.append(len(vectors))
            return plain(codec, vectors, *rest, **named)

        monkeypatch.setattr(lookahead, name, counted)
    one = simulation(**uplink)
    went(one, ahead=True)
    # Six rounds of seven, but the first for those who lost the model: whole, and by themselves.
    assert sum(rows["encode_batch"]) >= 30
    assert len(rows["encode_batch"]) <= 6
    assert sum(rows["decode_batch"]) >= 20
    assert len(rows["decode_batch"]) <= most


def test_nobody_is_looked_ahead_to_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few fit side by side, and UEs finish in another order than they began in."""
    monkeypatch.setattr(batch, "_ENTRIES", 1000)  # three models
    one = simulation({"equal_compute": False, "slowdown": {"kind": "lognormal", "sigma": 1.0}}, **FIELDS[1])
    asked: list[tuple[str, int]] = []
    look = one.transport.look_ahead

    def counted(messages: Any) -> None:
        asked.extend((message.sender, message.round) for message in messages)
        look(messages)

    one.transport.look_ahead = counted  # type: ignore[method-assign]
    went(one, ahead=True)
    assert len(asked) == len(set(asked)) == 6 * 7


def test_what_changes_in_between_is_coded_anew() -> None:
    one = simulation(**FIELDS[0])
    one.step()
    messages = []

    def keep(ahead: Any) -> None:
        look(ahead)
        messages.extend(ahead)
        for message in ahead:  # something is owed all at once
            one.transport.hold_back(message)

    look, one.transport.look_ahead = one.transport.look_ahead, keep  # type: ignore[method-assign]
    one.step()
    other = simulation(**FIELDS[0])
    other.step()
    other.transport.looks_ahead = False
    other.step()
    assert messages
    assert not torch.equal(one.model.vector, other.model.vector)
