"""The ledger: who sent what to whom, as a table and at a glance."""

import pandas as pd
import pytest
import torch

from syft_fl.transport import Entry, Message, Transport
from syft_fl.workers import TorchHook, VirtualWorker


@pytest.fixture
def hook() -> TorchHook:
    made = TorchHook(torch)
    ue = VirtualWorker(hook=made, id="ue1")
    net = torch.nn.Linear(3, 2).send(ue)
    there = torch.ones(2, 3).send(ue)
    net(there).get()
    net.get()
    return made


def test_the_table_tells_who_sent_what_to_whom(hook: TorchHook) -> None:
    table = hook.transport.ledger.frame()
    sent, asked = table.loc[1, "object"], table.loc[3, "object"]
    rows = list(zip(table["kind"], table["sender"], table["receiver"], table["object"], strict=True))
    assert rows == [
        ("model", "me", "ue1", "model-1"),
        ("data", "me", "ue1", sent),
        ("control", "me", "ue1", asked),
        ("value", "ue1", "me", asked),
        ("control", "me", "ue1", "model-1"),
        ("model", "ue1", "me", "model-1"),
    ]
    assert all(len(name) == 10 and name.isdigit() for name in (sent, asked)), (
        "the ids of what was sent and fetched"
    )
    assert sent != asked
    assert list(table["raw_bits"]) == [32 * 8, 32 * 6, *list(table["raw_bits"])[2:]]
    assert (table["bits"] > table["raw_bits"]).all()
    assert (table["start_s"] < table["end_s"]).all()


def test_the_table_has_every_field_of_an_entry_with_its_meaning(hook: TorchHook) -> None:
    ledger = hook.transport.ledger
    table = ledger.frame()
    assert set(table.columns) == {*Entry.__dataclass_fields__, "sender", "receiver", "object"}
    for name in Entry.__dataclass_fields__:
        assert list(table[name]) == [getattr(entry, name) for entry in ledger.entries]


def test_a_multicast_names_all_its_receivers() -> None:
    transport = Transport(hub="bs")
    (frame,) = transport.prepare(Message("control", "bs", ("ue0", "ue1"), "note", {"round": 1}))
    transport.offer(frame, now_s=0.0)
    while transport.next_event_s() < float("inf"):
        transport.advance(transport.next_event_s())
    (row,) = transport.ledger.frame().to_dict("records")
    assert (row["sender"], row["receiver"], row["object"]) == ("bs", "ue0, ue1", "note")


def test_what_was_drained_is_gone_and_totals_stay(hook: TorchHook) -> None:
    ledger = hook.transport.ledger
    bits = ledger.downlink_bits
    assert len(ledger.drain()) == 6
    assert ledger.frame().empty
    assert isinstance(ledger.frame(), pd.DataFrame)
    assert ledger.downlink_bits == bits > 0
    pointer = torch.ones(2).send("ue1")
    assert list(ledger.frame()["object"]) == [str(pointer.id_at_location)]


def test_a_ledger_shows_itself(hook: TorchHook) -> None:
    ledger = hook.transport.ledger
    assert "6 transmissions" in repr(ledger)
    assert f"{ledger.uplink_bits} bits up" in repr(ledger)
    shown = ledger._repr_html_()
    assert "6 transmissions" in shown
    assert shown.count("<tr>") + shown.count("<tr ") == 1 + 6
    for _ in range(60):
        torch.ones(2).send("ue1")
    assert ledger._repr_html_().count("<tr") == 1 + 20
    assert "<th>65</th>" in ledger._repr_html_(), "the last rows are shown, by their numbers"
    assert "1 transmission;" in _once(hook)


def _once(hook: TorchHook) -> str:
    hook.transport.ledger.drain()
    torch.ones(2).send("ue1")
    return repr(hook.transport.ledger)
