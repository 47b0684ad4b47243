"""What a real card does: runs, engines and codecs beside the CPU's. Skipped where torch finds none.

``python -m pytest -q -m cuda -rs tests/integration/test_cuda.py``. Sums are taken in another order there, so models
agree to a tolerance; times and bits on the air follow from keys and lengths, and are the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from syft_fl.codecs import CODECS, Context, decode_batch, encode_batch
from syft_fl.data import Synthetic
from syft_fl.devices import CPU, memory_bytes, ready
from syft_fl.experiment import RunFolder, run
from syft_fl.federation import Population, Scenario, Simulation, Stop
from syft_fl.keys import Key
from syft_fl.learn import (
    ENGINES,
    MLP,
    CifarCNN,
    Job,
    Outcome,
    PerSample,
    ResNet18,
    Training,
    evaluate,
)
from syft_fl.learn.engines import batched
from syft_fl.schema import remember
from syft_fl.transport import Downlink, Uplink
from syft_fl.transport.layers import LinkMemory, Pipeline
from syft_fl.vectors import Layout, ModelState, Slot

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no card: torch.cuda.is_available() is False"),
]

CLOSE = 1e-4
"""Of an update's length; float32 sums in another order, some steps long."""


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """Convolutions in float32: by default cuDNN rounds their inputs to TF32's 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@dataclass(frozen=True)
class Labelled:
    x: Tensor
    y: Tensor


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(20, 30), nn.BatchNorm1d(30), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(30, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))  # type: ignore[no-any-return]


def scenario(**changes: Any) -> Scenario:
    small = Scenario(
        data=Synthetic(train_samples=400, test_samples=200),
        model=MLP(hidden=(32,)),
        population=Population(ues=5),
        training=Training(batch_size=16, learning_rate=0.05, epochs=2),
        compute=PerSample(seconds_per_sample=1e-4),
        stop=Stop(rounds=3),
    )
    return replace(small, **changes)


def finished(asked: Scenario) -> tuple[Simulation, list[dict[str, Any]]]:
    simulation, rows = Simulation(asked, asked.data.load()), []
    while simulation.stopped_by is None:
        rows.append(dict(simulation.step().row))
    return simulation, rows


def off(found: Tensor, expected: Tensor, start: Tensor) -> float:
    """How far two models are from each other, by how far the second one has come."""
    return float((found.cpu() - expected).norm() / (expected - start).norm())


CHANGES: dict[str, dict[str, Any]] = {
    "float32": {},
    "adam": {"training": Training(optimizer="adam", learning_rate=0.001, batch_size=16)},
    "batched": {"engine": {"kind": "batched"}},
    "scaffold": {"population": Population(ues=5, aggregator={"kind": "scaffold"})},
    "median": {"population": Population(ues=5, aggregator={"kind": "median"})},
    "halves": {"uplink": Uplink(codec={"kind": "float16"})},
    "lag": {"trigger": {"kind": "lag"}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_run_agrees_with_the_cpu_s(changes: dict[str, Any]) -> None:
    here, rows = finished(scenario(**changes))
    there, found = finished(scenario(**changes, device="cuda"))
    first = Simulation(scenario(), scenario().data.load()).model.vector
    assert there.model.vector.is_cuda
    assert off(there.model.vector, here.model.vector, first) < (5e-3 if "uplink" in changes else CLOSE)
    for one, other in zip(found, rows, strict=True):
        for name in ("latency_s", "uplink_bits", "downlink_bits", "arrived"):
            assert one[name] == other[name]
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert abs(one["accuracy"] - other["accuracy"]) <= 0.02


def test_a_run_repeats_itself() -> None:
    one, rows = finished(scenario(device="cuda"))
    other, again = finished(scenario(device="cuda"))
    assert rows == again
    assert torch.equal(one.model.vector, other.model.vector)


def test_dropout_and_buffers_repeat_themselves_and_leave_generators_as_found() -> None:
    model = {"kind": "own", "path": remember(Dropping)}
    before = torch.cuda.get_rng_state(), torch.get_rng_state()
    one, _ = finished(scenario(device="cuda", model=model))
    torch.cuda.manual_seed(99)
    torch.cuda.set_rng_state(before[0])
    other, _ = finished(scenario(device="cuda", model=model))
    assert torch.equal(one.model.vector, other.model.vector)
    assert all(buffer.is_cuda for buffer in one.model.buffers.values())
    assert torch.equal(torch.cuda.get_rng_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def trained(
    module: nn.Module, shape: tuple[int, ...], batch: int, engine: str, device: torch.device
) -> list[Outcome]:
    module = module.to(device)
    layout = Layout.of(module)
    state = layout.read(module)
    handles, made = [], ENGINES.build({"kind": engine}).open(module, layout, cohort=4)
    for ue in range(4):
        generator = (Key(1) / ue).torch()
        samples = Labelled(
            torch.randn(20 + ue, *shape, generator=generator).to(device),
            torch.randint(10, (20 + ue,), generator=generator).to(device),
        )
        how = Training(batch_size=batch, learning_rate=0.01)
        handles.append(made.submit(Job(f"ue{ue}", state, samples, how, Key(0) / ue, round=1)))
    return [made.result(handle) for handle in handles]


MODELS: dict[str, tuple[Any, tuple[int, ...], int, float]] = {
    "mlp": (MLP(hidden=(64,)), (784,), 8, 20 * CLOSE),
    "cnn": (CifarCNN(), (3, 32, 32), 8, 20 * CLOSE),
    # One step. A last digit can turn a ReLU round: its gradients in float32 and float64 differ by 2e-3 on a CPU.
    "resnet": (ResNet18(), (3, 32, 32), 24, 200 * CLOSE),
}


@pytest.mark.parametrize("engine", ["loop", "batched", "auto"])
@pytest.mark.parametrize("name", MODELS)
def test_engines_train_as_the_loop_on_the_cpu(name: str, engine: str) -> None:
    model, shape, batch, close = MODELS[name]
    torch.manual_seed(0)
    module = model.build(shape, 10)
    start = Layout.of(module).read(module).vector
    expected = trained(module, shape, batch, "loop", CPU)
    Layout.of(module).write(ModelState(start, {}), module)
    for found, wanted in zip(trained(module, shape, batch, engine, ready("cuda")), expected, strict=True):
        assert off(found.state.vector, wanted.state.vector, start) < close
        assert found.report.loss == pytest.approx(wanted.report.loss, rel=1e-3)
        assert (found.report.steps, found.report.samples) == (wanted.report.steps, wanted.report.samples)


def test_a_stack_takes_about_what_was_reckoned() -> None:
    device = ready("cuda")
    module, shape = CifarCNN().build((3, 32, 32), 10).to(device).train(), (3, 32, 32)
    layout = Layout.of(module)
    samples = Labelled(
        torch.randn(64, *shape, device=device), torch.zeros(64, dtype=torch.int64, device=device)
    )
    job = Job("ue", layout.read(module), samples, Training(batch_size=32), Key(0), round=1)
    reckoned = batched.needed_bytes(module, 4 * layout.length, job)
    engine = batched.BatchedEngine(module, layout, chunk=50)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    handles = [engine.submit(replace(job, key=Key(ue))) for ue in range(50)]
    engine.result(handles[0])
    taken = (torch.cuda.max_memory_allocated() - before) / 50
    assert taken < 2 * reckoned  # a stack is given half of the memory
    assert memory_bytes(device) > 2**30


THERE: dict[str, dict[str, Any]] = {
    "qsgd": {"kind": "qsgd"},
    "qsgd-64": {"kind": "qsgd", "block": 64},
    "qsgd-wide": {"kind": "qsgd", "levels": 5000, "block": "vector"},
    "uniform": {"kind": "uniform", "bits": 4, "rounding": "stochastic"},
    "uniform-nearest": {"kind": "uniform", "bits": 3, "block": 100},
    "uniform-symmetric": {"kind": "uniform", "bits": 6, "rounding": "stochastic", "ends": "symmetric"},
    "uniform-wide": {"kind": "uniform", "bits": 16, "rounding": "stochastic"},
    "terngrad": {"kind": "terngrad"},
    "dithered": {"kind": "dithered", "bits": 5},
    "dithered-wide": {"kind": "dithered", "bits": 12},
    "sign": {"kind": "sign"},
    "one-bit": {"kind": "one-bit", "block": 500},
}
"""Codecs that compute on a card."""
OTHERS: dict[str, dict[str, Any]] = {
    kind: {"kind": kind} for kind in ("float32", "float16", "uveqfed", "eden", "top-k")
}


class Crossing(TorchDispatchMode):
    """Counts the bytes that go from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source = args[1] if func is torch.ops.aten.copy_.default else args[0]
            if source.device.type != found.device.type:
                way = "to host" if found.device.type == "cpu" else "to card"
                self.bytes[way] += source.numel() * source.element_size()
        return found


SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda xs: xs,
    "huge": lambda xs: torch.cat([xs[:, 2:], torch.tensor([[3e38, -3e38]]).expand(len(xs), 2)], dim=1),
    "small": lambda xs: xs * 1e-35,
    "denormal": lambda xs: xs * 1e-41,
    "zeros of either sign": lambda xs: torch.where(xs > 0, 0.0, -0.0),
    "mixed": lambda xs: xs * torch.tensor([1.0, 1e35, 1e-40])[:, None],
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("codec", THERE)
def test_vectors_side_by_side_have_the_host_s_bytes_and_values(codec: str, scale: str) -> None:
    built, device = CODECS.build(THERE[codec]), ready("cuda")
    xs = SCALES[scale](torch.randn(3, 50_003, generator=Key(2).torch()))
    layout = Layout((Slot("a", (100, 400), 0), Slot("b", (10_003,), 40_000)))
    ctxs = [Context(layout, Key(4) / f"ue{i}") for i in range(3)]
    here = encode_batch(built, xs, ctxs)
    assert encode_batch(built, xs.to(device), ctxs) == here
    payloads = [payload for payload, _ in here]
    values, _ = decode_batch(built, payloads, ctxs, device=device)
    assert values.device == device
    expected, _ = decode_batch(built, payloads, ctxs)
    assert torch.equal(values.cpu().view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("codec", ["qsgd", "uniform"])
def test_packed_bytes_cross_and_vectors_do_not(codec: str) -> None:
    device, n = ready("cuda"), 100_000
    ctx = Context(Layout.flat(n), Key(4))
    pipeline = Pipeline.of(CODECS.build(THERE[codec]), delta=False, device=device)
    x = torch.randn(n, generator=Key(2).torch()).to(device)
    groups = -(-n // 512) if codec == "qsgd" else 1
    scales = 4 * groups if codec == "qsgd" else 8 * groups
    with Crossing() as crossed:
        payload, _ = pipeline.encode(x, reference=None, memory=LinkMemory(), ctx=ctx)
    # Where the order of a norm's sum might tell, its group comes, too.
    assert crossed.bytes["to host"] in (8 * groups + n // 2, 8 * groups + n // 2 + 4 * 512)
    assert crossed.bytes["to card"] == 2 * n + scales
    with Crossing() as crossed:
        pipeline.decode(payload, reference=None, ctx=ctx)
    assert crossed.bytes["to host"] == 0
    assert crossed.bytes["to card"] == n // 2 + scales + 4 * (codec == "qsgd")


@pytest.mark.parametrize("codec", {**THERE, **OTHERS})
def test_bytes_are_the_same_and_decode_to_the_same_on_both(codec: str) -> None:
    x = torch.randn(5000, generator=Key(2).torch())
    reference = torch.randn(5000, generator=Key(3).torch())
    ctx = Context(Layout.flat(5000), Key(4))
    found = []
    for device in (CPU, ready("cuda")):
        pipeline = Pipeline.of(
            CODECS.build({**THERE, **OTHERS}[codec]), delta=True, error_feedback=True, device=device
        )
        base = reference.to(device)
        # A difference that both devices compute to the bit.
        payload, encoded = pipeline.encode(x.to(device), reference=base, memory=LinkMemory(), ctx=ctx)
        decoded = pipeline.decode(payload, reference=base, ctx=ctx)
        memory = pipeline.committed(encoded, decoded, LinkMemory())
        assert decoded.vector.device.type == device.type
        residual = torch.zeros(1) if memory.residual is None else memory.residual
        found.append((bytes(payload.body), payload.bits, decoded.vector.cpu(), residual.cpu()))
    assert found[0][:2] == found[1][:2]
    assert torch.equal(found[0][2], found[1][2])
    assert torch.equal(found[0][3], found[1][3])


def test_a_test_agrees_with_the_cpu_s() -> None:
    torch.manual_seed(1)
    module = CifarCNN().build((3, 32, 32), 10)
    x, y = torch.randn(2500, 3, 32, 32), torch.randint(10, (2500,))
    here = evaluate(module, x, y)
    there = evaluate(module.to("cuda"), x.to("cuda"), y.to("cuda"))
    assert there.loss == pytest.approx(here.loss, rel=1e-5)
    assert abs(there.accuracy - here.accuracy) <= 2 / 2500


class Killed(Exception):
    """The end of a run from outside."""


def test_a_killed_run_goes_on_on_the_card(tmp_path: Path) -> None:
    asked = scenario(
        device="cuda",
        uplink=Uplink(codec={"kind": "qsgd"}, error_feedback=True),
        downlink=Downlink(codec={"kind": "dithered"}),
    )
    whole = run(asked, out=tmp_path / "whole", progress=lambda simulation, record: None)

    def kill(simulation: Simulation, record: Any) -> None:
        if simulation.round == 1:
            raise Killed

    with pytest.raises(Killed):
        run(asked, out=tmp_path / "killed", progress=kill)
    resumed = run(asked, out=tmp_path / "killed", resume=True, progress=lambda simulation, record: None)
    assert resumed.rounds.equals(whole.rounds)
    for name in ("config.json", "rounds.jsonl", "transfers.jsonl", "computations.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    provenance = RunFolder(tmp_path / "whole").provenance
    assert provenance is not None
    assert torch.cuda.get_device_name() in provenance["device"]
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["device"] == "cuda"
