"""What every registered carrier must do, and what holds for genuine PySyft peers; no socket can be opened here."""

from __future__ import annotations

import ast
import gc
import json
import socket
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import syft_fl
from syft_fl.codecs import QSGD, Uniform
from syft_fl.data import Synthetic
from syft_fl.errors import FrameError, TransportError
from syft_fl.experiment import RunFolder, parse, preview, run
from syft_fl.federation import BS, Population, Scenario, Simulation, Stop
from syft_fl.keys import Key
from syft_fl.learn import MLP, PerSample, Training
from syft_fl.radio import Shannon
from syft_fl.schema import plain
from syft_fl.transport import CARRIERS, Carrier, Downlink, Local, Message, SyftCarrier, Transport, Uplink
from syft_fl.workers import TorchHook, VirtualWorker

SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {"syft": ({}, {"encrypted": True})}
EVERY = [
    CARRIERS.build({"kind": cls.kind} | fields)
    for cls in CARRIERS
    if cls.__module__.startswith("syft_fl.")
    for fields in SETTINGS.get(cls.kind, ({},))
]
OTHERS = [model for model in EVERY if model != Local()]


def name_of(value: Any) -> str:
    return ",".join(str(field) for field in plain(value).values())


every_carrier = pytest.mark.parametrize("model", EVERY, ids=name_of)
every_other = pytest.mark.parametrize("model", OTHERS, ids=name_of)
sealed_or_not = pytest.mark.parametrize("encrypted", [False, True])


class NoSocket(socket.socket):
    """A class, since libraries derive their own from it when they are imported."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", NoSocket)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, and nothing else."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Carrier]]:
    carriers: list[Carrier] = []

    def open_one(model: Any) -> Carrier:
        carriers.append(model.open("bs"))
        return carriers[-1]

    yield open_one
    for carrier in carriers:
        carrier.close()


def noise(length: int, *path: object) -> bytes:
    key = Key(3) / str(path)
    return key.numpy().integers(0, 256, length, dtype="uint8").tobytes()


def inside(module: str) -> Any:
    """A module of PySyft, imported as the carrier does it: its warnings are not ours."""
    SyftCarrier().open("bs").close()
    return import_module(f"syft.sync.{module}")


def on_drives() -> int:
    """Files and folders on all of PySyft's drives that are still alive."""
    gc.collect()
    return sum(type(found).__name__ == "MockDriveFile" for found in gc.get_objects())


# Every carrier.


@every_carrier
@pytest.mark.parametrize("length", [0, 1, 777, 4_800_000, 11_000_001])
def test_bytes_come_out_as_they_went_in_both_ways(
    model: Any, length: int, opened: Callable[[Any], Carrier]
) -> None:
    carrier, frame = opened(model), noise(length)
    assert carrier.hand_over(frame, sender="bs", receiver="ue0") == frame
    assert carrier.hand_over(frame, sender="ue0", receiver="bs") == frame


@every_carrier
def test_each_of_many_ues_gets_its_own_bytes_in_any_order(
    model: Any, opened: Callable[[Any], Carrier]
) -> None:
    carrier = opened(model)
    ues = [f"ue{i}" for i in range(12)] + ["bs2", 'a ue\'s "name" and #signs/ü']
    for turn in range(3):
        for ue in ues[turn:] + ues[:turn]:
            up, down = noise(50, ue, turn, "up"), noise(60, ue, turn, "down")
            assert carrier.hand_over(up, sender=ue, receiver="bs") == up
            assert carrier.hand_over(down, sender="bs", receiver=ue) == down


@every_carrier
def test_closing_twice_changes_nothing_and_the_report_stays(model: Any) -> None:
    carrier = model.open("bs")
    carrier.hand_over(b"frame", sender="bs", receiver="ue0")
    before = dict(carrier.report())
    carrier.close()
    carrier.close()
    assert dict(carrier.report()) == before
    assert json.loads(json.dumps(before)) == before


@every_carrier
def test_nothing_is_printed_and_global_generators_are_left_as_found(
    model: Any, opened: Callable[[Any], Carrier], capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.random.get_rng_state()
    opened(model).hand_over(b"frame", sender="bs", receiver="ue0")
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.random.get_rng_state(), before)


# The same weights and the same simulated times.

SCENARIO = Scenario(
    seed=2,
    data=Synthetic(train_samples=90, test_samples=20),
    model=MLP(hidden=(8,)),
    population=Population(ues=4, cohort=3),
    training=Training(batch_size=10),
    compute=PerSample(seconds_per_sample=1e-3),
    uplink=Uplink(
        codec=Uniform(bits=4, rounding="stochastic"), error_feedback=True, link=Shannon(fading_block="time")
    ),
    downlink=Downlink(codec=QSGD(block=32), link=Shannon()),
    stop=Stop(rounds=4),
)


def stepped(scenario: Scenario) -> tuple[list[Any], torch.Tensor]:
    simulation = Simulation(scenario, scenario.data.load())
    records = []
    while simulation.stopped_by is None:
        records.append(simulation.step())
    simulation.close()
    return records, simulation.model.vector


@every_other
@pytest.mark.parametrize("cast", ["multicast", "unicast", "broadcast"])
def test_a_federation_has_the_same_weights_times_and_bits_as_without(model: Any, cast: Any) -> None:
    scenario = replace(SCENARIO, downlink=replace(SCENARIO.downlink, cast=cast))
    records, weights = stepped(replace(scenario, carrier=model))
    expected_records, expected = stepped(scenario)
    assert records == expected_records
    assert torch.equal(weights, expected)


DIGITS: dict[str, Any] = {
    "model": {"kind": "mlp", "hidden": [16]},
    "population": {"ues": 3, "standalone": True},
    "uplink": {"codec": {"kind": "uniform", "bits": 4}, "link": {"kind": "shannon"}},
    "stop": {"rounds": 3},
}


def files_of(folder: Path) -> tuple[bytes, bytes, dict[str, Any]]:
    config = json.loads((folder / "config.json").read_bytes())
    del config["carrier"]
    return (folder / "rounds.jsonl").read_bytes(), (folder / "transfers.jsonl").read_bytes(), config


@every_other
def test_result_files_differ_in_the_name_of_the_carrier_alone(model: Any, tmp_path: Path) -> None:
    run(parse(DIGITS), out=tmp_path / "local")
    run(parse(DIGITS | {"carrier": plain(model)}), out=tmp_path / "other")
    assert files_of(tmp_path / "other") == files_of(tmp_path / "local")
    assert RunFolder(tmp_path / "other").config["carrier"] == plain(model)


def test_a_run_interrupted_between_peers_goes_on_to_the_same_files(tmp_path: Path) -> None:
    def interrupt(_: Any, record: Any) -> None:
        if record.row["round"] == 2:
            raise KeyboardInterrupt

    experiment = parse(DIGITS | {"carrier": "syft"})
    with pytest.raises(KeyboardInterrupt):
        run(experiment, out=tmp_path / "resumed", progress=interrupt)
    assert on_drives() == 0
    run(experiment, out=tmp_path / "resumed", resume=True)
    run(parse(DIGITS), out=tmp_path / "local")
    assert files_of(tmp_path / "resumed") == files_of(tmp_path / "local")


def test_host_time_goes_to_the_provenance_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(parse(DIGITS | {"carrier": "syft"}), out=tmp_path / "fast")
    hours = count(step=3600)
    monkeypatch.setattr("syft_fl.transport.pysyft_peers.perf_counter", lambda: float(next(hours)))
    run(parse(DIGITS | {"carrier": "syft"}), out=tmp_path / "slow")
    assert files_of(tmp_path / "slow") == files_of(tmp_path / "fast")
    report = RunFolder(tmp_path / "slow").provenance["carrier"]
    # 3 rounds of 3 UEs, a frame each way: an hour between the two looks at the clock of each.
    assert report["frames"] == 18
    assert report["host_s"] == 18 * 3600
    assert report["setup_s"] == (1 + 3) * 3600


@every_other
def test_a_script_on_pointers_has_the_same_weights_times_and_ledger(model: Any) -> None:
    def script(transport: Transport) -> tuple[list[torch.Tensor], float, Any]:
        hook = TorchHook(torch, transport=transport)
        ues = [VirtualWorker(hook=hook, id=name) for name in ("ue1", "ue2")]
        generator = Key(1).torch()
        net = torch.nn.Linear(6, 3)
        net.load_state_dict(
            {k: torch.randn(v.shape, generator=generator) for k, v in net.state_dict().items()}
        )
        x, y = torch.randn(20, 6, generator=generator), torch.arange(20) % 3
        for ue in ues:
            net.send(ue)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            there_x, there_y = x.send(ue), y.send(ue)
            for _ in range(3):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(there_x), there_y)
                loss.backward()
                optimizer.step()
            assert loss.item() > 0
            net.get()
        ledger, now_s = transport.ledger.frame(), transport.clock.now_s
        transport.carrier.close()
        return [p.detach().clone() for p in net.parameters()], now_s, ledger

    settings: dict[str, Any] = {"uplink": Uplink(codec=Uniform(bits=6))}
    weights, now_s, ledger = script(Transport(carrier=model, **settings))
    expected, expected_s, expected_ledger = script(Transport(**settings))
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert now_s == expected_s
    assert ledger.equals(expected_ledger)


# Genuine PySyft peers.


@sealed_or_not
def test_a_hundred_rounds_leave_no_file_and_no_thread_behind(encrypted: bool, temporary: Path) -> None:
    scenario = replace(
        SCENARIO,
        population=Population(ues=2, eval_every=1000),
        training=Training(batch_size=90),
        carrier=SyftCarrier(encrypted=encrypted),
        stop=Stop(rounds=100),
    )
    simulation = Simulation(scenario, scenario.data.load())
    threads = threading.active_count()
    for _ in range(3):
        simulation.step()
    files = on_drives()
    while simulation.stopped_by is None:
        simulation.step()
    assert simulation.transport.carrier.report()["frames"] == 100 * 2 * 2
    assert on_drives() == files > 0
    assert threading.active_count() == threads
    assert list(temporary.iterdir()) == []
    simulation.close()
    assert on_drives() == 0


@sealed_or_not
def test_a_hundred_rounds_keep_no_frame_in_memory(encrypted: bool, opened: Callable[[Any], Carrier]) -> None:
    carrier, frame = opened(SyftCarrier(encrypted=encrypted)), noise(20_000)

    def held_after(rounds: int) -> int:
        for _ in range(rounds):
            for ue in ("ue0", "ue1"):
                carrier.hand_over(frame, sender="bs", receiver=ue)
                carrier.hand_over(frame, sender=ue, receiver="bs")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    held_after(5)
    tracemalloc.start()
    try:
        before, after = held_after(5), held_after(100)
    finally:
        tracemalloc.stop()
    assert after - before < len(frame)  # of 400 frames


@sealed_or_not
def test_the_report_counts_what_lay_on_the_drives_and_envelopes_hide_it(
    encrypted: bool, opened: Callable[[Any], Carrier], monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = opened(SyftCarrier(encrypted=encrypted))
    frames = [noise(length, length) for length in (36, 1000, 100_000)]
    carrier.hand_over(b"", sender="bs", receiver="ue0")  # pairing writes files too
    empty = carrier.report()["envelope_bytes"]
    seen: list[bytes] = []
    drive = inside("connections.drive.mock_drive_service").MockDriveBackingStore
    add = drive.add_file
    monkeypatch.setattr(drive, "add_file", lambda self, file: (seen.append(file.content), add(self, file))[1])
    for frame in frames:
        carrier.hand_over(frame, sender="ue0", receiver="bs")
    report = carrier.report()
    assert report["syft"].startswith("0.10.")
    assert report["frames"] == 1 + len(frames)
    assert report["frame_bytes"] == sum(map(len, frames))
    assert report["envelope_bytes"] - empty == sum(map(len, seen)) - sum(map(len, frames))
    for frame, lay in zip(frames, seen, strict=True):
        assert (frame in lay) is not encrypted
    assert (empty > 0) is encrypted


def damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the byte in the middle of each file has a bit flipped when it is read."""
    connection = inside("connections.drive.gdrive_transport").GDriveConnection
    download = connection.download_file

    def damage(self: Any, file_id: str) -> bytes:
        data = bytearray(download(self, file_id))
        data[len(data) // 2] ^= 1
        return bytes(data)

    monkeypatch.setattr(connection, "download_file", damage)


@sealed_or_not
@pytest.mark.parametrize("ends", [("me", "ue1"), ("ue1", "me")])
def test_a_bit_flipped_on_the_way_is_refused_and_the_next_frame_arrives(
    encrypted: bool, ends: tuple[str, str]
) -> None:
    transport = Transport(carrier=SyftCarrier(encrypted=encrypted))
    message = Message("data", *ends, "x", (torch.arange(1000.0),))
    transport.carry(message, now_s=0.0)
    files = on_drives()
    with pytest.MonkeyPatch.context() as patch:
        damaged(patch)
        by_crc, by_signature = "CRC32 does not match|other bytes", "refused an envelope"
        with pytest.raises(TransportError, match=by_signature if encrypted else by_crc) as caught:
            transport.carry(message, now_s=1.0)
    assert isinstance(caught.value, FrameError) or (not encrypted and ends[0] == "me")
    assert on_drives() == files
    (x,) = transport.carry(message, now_s=2.0).content
    assert torch.equal(x, torch.arange(1000.0))
    transport.carrier.close()


def test_a_failure_of_pysyft_is_one_clear_error_and_the_next_frame_arrives(
    opened: Callable[[Any], Carrier],
) -> None:
    connection = inside("connections.drive.gdrive_transport").GDriveConnection
    carrier = opened(SyftCarrier())
    carrier.hand_over(b"before", sender="ue0", receiver="bs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "download_file", lambda *_: 1 / 0)
        with pytest.raises(
            TransportError, match=r"PySyft 0\.10.* 'ue0' and 'bs' \(ZeroDivisionError.*'local'"
        ):
            carrier.hand_over(b"lost", sender="ue0", receiver="bs")
    assert carrier.hand_over(b"after", sender="ue0", receiver="bs") == b"after"
    assert carrier.report()["frames"] == 2


def test_a_closed_carrier_says_so() -> None:
    carrier = SyftCarrier().open("bs")
    carrier.close()
    with pytest.raises(TransportError, match="closed"):
        carrier.hand_over(b"frame", sender="bs", receiver="ue0")


def test_peers_are_freed_with_the_transport_that_nobody_closed() -> None:
    transport = Transport(carrier=SyftCarrier(encrypted=True))
    transport.carry(Message("data", "me", "ue1", "x", (torch.zeros(3),)), now_s=0.0)
    assert on_drives() > 0
    del transport
    assert on_drives() == 0


# What does not fit is said before anything runs.


@pytest.mark.parametrize("found", ["0.2.5", "0.9.5", "0.11.0", "1.10.0", "0.100.0", "0.10rc1"])
def test_another_release_is_refused_with_the_way_out(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syft_fl.transport.pysyft_peers.version", lambda _: found)
    with pytest.raises(TransportError) as caught:
        SyftCarrier().open("bs")
    for part in (f"but {found} is installed", ">=0.10,<0.11", "carrier = 'local'"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_later_patch_release_is_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syft_fl.transport.pysyft_peers.version", lambda _: "0.10.7")
    carrier = SyftCarrier().open("bs")
    assert carrier.report()["syft"] == "0.10.7"
    carrier.close()


def test_without_pysyft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(TransportError, match=r"none is installed; pip install 'syft>=0\.10,<0\.11'.*'local'"):
        SyftCarrier().open("bs")


@pytest.mark.parametrize(
    "path",
    [
        "syftbox_manager:SyftboxManager",
        "syftbox_manager:SyftboxManager.pair_with_mock_drive_service_connection",
        "version.peer_manager:PeerManager.peer_store",
        "events.file_change_event:FileChangeEventsMessageFileName",
        "messages.proposed_filechange:MessageFileName.as_string",
        "connections.drive.gdrive_transport:GDriveConnection.watcher_send_raw_bytes_to_inbox",
        "connections.drive.gdrive_transport:GDriveConnection.owner_download_next_raw_proposed_message_from_inbox",
        "connections.drive.gdrive_transport:GDriveConnection.owner_write_raw_bytes_to_outbox",
        "connections.drive.gdrive_transport:GDriveConnection.watcher_get_outbox_file_metadatas",
        "connections.drive.gdrive_transport:GDriveConnection.watcher_download_raw_events_from_outbox",
        "connections.drive.gdrive_transport:GDriveConnection.delete_file_by_id",
        "peers.peer_store:PeerStore.encrypt_if_needed",
        "peers.peer_store:PeerStore.decrypt_and_verify_if_needed",
    ],
)
def test_a_missing_name_inside_pysyft_is_one_clear_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, name = path.partition(":")
    *owners, last = name.split(".")
    owner: Any = inside(module)
    for part in owners:
        owner = getattr(owner, part)
    if last == "peer_store":  # a field: renamed in what a manager has
        monkeypatch.setattr(owner, "__getattribute__", _without(last))
    else:
        monkeypatch.delattr(owner, last)
    with pytest.raises(TransportError) as caught:
        SyftCarrier(encrypted=True).open("bs")
    assert str(caught.value).startswith("PySyft 0.10.")
    assert str(caught.value).count("carrier = 'local'") == 1


def _without(name: str) -> Callable[[Any, str], Any]:
    def look_up(self: Any, asked: str) -> Any:
        if asked == name:
            raise AttributeError(name)
        return object.__getattribute__(self, asked)

    return look_up


@pytest.mark.parametrize(
    ("owner", "name", "instead", "why"),
    [
        ("peers.peer_store:PeerStore", "peer_uses_encryption", lambda *_: False, "256 bytes became 256"),
        (
            "connections.drive.gdrive_transport:GDriveConnection",
            "watcher_download_raw_events_from_outbox",
            lambda *_: [b"text"],
            "other bytes came out",
        ),
    ],
)
def test_a_pysyft_that_behaves_otherwise_fails_the_self_test(
    owner: str, name: str, instead: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, cls = owner.partition(":")
    monkeypatch.setattr(getattr(inside(module), cls), name, instead)
    with pytest.raises(TransportError, match=rf"does not carry frames as 0\.10\.0 does \({why}.*'local'"):
        SyftCarrier(encrypted="uses" in name).open("bs")


def test_check_and_run_refuse_a_carrier_that_does_not_work_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syft_fl.transport.pysyft_peers.version", lambda _: "0.11.0")
    experiment = parse(DIGITS | {"carrier": "syft"})
    with pytest.raises(TransportError, match=r"0\.11\.0 is installed"):
        preview(experiment)
    with pytest.raises(TransportError, match=r"0\.11\.0 is installed"):
        run(experiment, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Configs.


def test_a_carrier_is_named_in_a_config_and_in_a_variant() -> None:
    sealed = {"kind": "syft", "encrypted": True}
    experiment = parse(
        {"carrier": "syft", "variants": [{"name": "a"}, {"name": "b", "carrier": sealed}, {"name": "c"}]}
    )
    assert experiment.base.carrier == SyftCarrier()
    assert [v.scenario.carrier for v in experiment.variants] == [
        SyftCarrier(),
        SyftCarrier(encrypted=True),
        SyftCarrier(),
    ]
    assert plain(experiment.variant("b"))["carrier"] == sealed
    assert Scenario().carrier == Local()


def test_check_shows_the_carrier() -> None:
    assert '[carrier]\nkind = "syft"\nencrypted = true\n' in preview(
        parse(DIGITS | {"carrier": {"kind": "syft", "encrypted": True}})
    )


def test_only_one_module_knows_pysyft_and_a_config_is_read_without_it() -> None:
    package = Path(syft_fl.__file__).parent
    knowing = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            elif isinstance(node, ast.Call):  # import_module("syft…")
                names = [str(a.value) for a in node.args if isinstance(a, ast.Constant)]
            if any(_is_pysyft(name) for name in names):
                knowing.add(path.relative_to(package).as_posix())
    assert knowing == {"transport/pysyft_peers.py"}
    code = "import sys; from syft_fl.experiment import parse; parse({'carrier': 'syft'}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not any(_is_pysyft(name) for name in done.stdout.split())


def _is_pysyft(name: str) -> bool:
    top = name.split(".")[0]
    return top == "syft" or (top.startswith("syft_") and top != "syft_fl" and top.isidentifier())


def test_the_name_of_the_base_station_is_free(opened: Callable[[Any], Carrier]) -> None:
    carrier = SyftCarrier().open("the base/station's #1")
    assert carrier.hand_over(b"up", sender=BS, receiver="the base/station's #1") == b"up"
    carrier.close()
