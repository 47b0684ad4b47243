"""What every engine must do: give the outcomes of the loop, whatever is trained, and in whatever order it is asked."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import syft_fl
from syft_fl.data import Samples, Synthetic
from syft_fl.errors import ConfigError, DataError
from syft_fl.experiment import parse
from syft_fl.federation import Population, Scenario, Simulation, Stop
from syft_fl.keys import Key
from syft_fl.learn import (
    ENGINES,
    MLP,
    Auto,
    DocumentCNN,
    Engine,
    EngineModel,
    Job,
    LoopEngine,
    Outcome,
    PerSample,
    Softmax,
    Threads,
    Training,
)
from syft_fl.learn.engines import auto
from syft_fl.learn.engines.pool import PooledEngine
from syft_fl.learn.generators import ServedDraws, thread_generator
from syft_fl.schema import plain
from syft_fl.vectors import Layout

TWO: dict[str, Any] = {"workers": 2}
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "threads": (TWO, {"workers": 1}),
    "batched": ({}, {"chunk": 2}),
    "processes": (TWO,),
    # An extra; its tests take part where it is installed.
    "ray": (TWO,) if find_spec("ray") else (),
}
EVERY = [
    ENGINES.build({"kind": cls.kind} | fields)
    for cls in ENGINES
    if cls.__module__.startswith("syft_fl.")
    for fields in SETTINGS.get(cls.kind, ({},))
]
# These take seconds to start: few modules, and few workers.
SLOW = ("processes", "ray")
# Equal to a tolerance only; and refused to modules with buffers or draws, or not (auto).
ROUNDED = ("batched", "auto")
EXACT = [model for model in EVERY if model.kind not in ROUNDED]


def name_of(model: EngineModel) -> str:
    return ",".join(str(field) for field in plain(model).values())


every_engine = pytest.mark.parametrize("model", EVERY, ids=name_of)
every_exact_engine = pytest.mark.parametrize("model", EXACT, ids=name_of)


@dataclass(frozen=True)
class Labelled:
    x: Tensor
    y: Tensor


class OwnDropout(nn.Module):
    """A user's own module, which draws in ways that no list of layers knows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(36, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.dropout(self.first(x.flatten(1)), 0.4, self.training)
        return self.last(hidden + 0.1 * torch.randn_like(hidden) * torch.rand(1))  # type: ignore[no-any-return]


class SeldomDraws(nn.Module):
    """Draws for some UEs only: where the first of a batch's samples begins with a large number."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(36, 4)

    def forward(self, x: Tensor) -> Tensor:
        drawn = torch.rand(36) if x[0, 0, 0, 0] > 100 else torch.ones(36)
        return self.last(x.flatten(1).clamp(-1, 1) * drawn)  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """Dropout within a compiled layer, and a part that takes no part."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.last = nn.LSTM(6, 8, num_layers=2, dropout=0.5, batch_first=True), nn.Linear(8, 4)
        self.unused = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.lstm(x.squeeze(1))[0][:, -1])  # type: ignore[no-any-return]


class Tied(nn.Module):
    """One parameter in two places, one that is frozen, one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 4)
        self.second.weight = self.first.weight
        self.second.bias.requires_grad_(False)
        self.unused = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.second(F.relu(self.first(x.flatten(1))))))  # type: ignore[no-any-return]


PLAIN: dict[str, Any] = {
    "mlp": lambda: MLP(hidden=(12, 8)).build((1, 6, 6), 4),
    "softmax": lambda: Softmax().build((1, 6, 6), 4),
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 4), nn.LogSoftmax(dim=1)
    ),
    "group_norm": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)
    ),
    "tied": Tied,
}
DRAWING: dict[str, Any] = {
    "dropout": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Dropout2d(0.3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 4)
    ),
    "own": OwnDropout,
    "recurrent": Recurrent,
}
WITH_BUFFERS: dict[str, Any] = {
    "batch_norm": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)
    )
}
NETS = PLAIN | DRAWING | WITH_BUFFERS
TRAININGS = {
    "sgd": Training(batch_size=4, epochs=2),
    "momentum": Training(batch_size=4, momentum=0.9, weight_decay=1e-3, steps=5),
    "adam": Training(batch_size=4, optimizer="adam", learning_rate=0.01, weight_decay=1e-3),
    "adamw": Training(batch_size=4, optimizer="adamw", learning_rate=0.01),
    "fedprox": Training(batch_size=4, epochs=2, proximal_mu=0.5),
    "channels_last": Training(batch_size=4, epochs=2, momentum=0.5, layout="channels-last"),
}
# Ragged: a last short batch, a UE with a single sample, one whose samples are one batch.
SIZES = (9, 4, 14, 1, 8, 7)


def build(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return NETS[name]()  # type: ignore[no-any-return]


def samples(ue: int, size: int) -> Labelled:
    generator = (Key(0) / ue / "data").torch()
    return Labelled(
        torch.randn(size, 1, 6, 6, generator=generator), torch.randint(4, (size,), generator=generator)
    )


def jobs(
    module: nn.Module, training: Training, *, sizes: tuple[int, ...] = SIZES, corrected: bool = False
) -> list[Job]:
    """UEs with data of different sizes; the second half starts from another model than the first."""
    layout = Layout.of(module)
    start = layout.read(module)
    noise = torch.randn(layout.length, generator=Key(9).torch())
    other = type(start)(start.vector + 0.01 * noise, start.buffers)
    return [
        Job(
            ue=f"ue{ue}",
            state=start if ue < len(sizes) / 2 else other,
            samples=samples(ue, size),
            training=training,
            key=Key(1) / f"ue{ue}" / "training0",
            round=2,
            correction=0.1 * noise * (ue + 1) if corrected else None,
        )
        for ue, size in enumerate(sizes)
    ]


def outcomes(engine: Engine, work: list[Job]) -> list[Outcome]:
    handles = [engine.submit(job) for job in work]
    return [engine.result(handle) for handle in handles]


Opened = Callable[[EngineModel, str], Engine]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """Engines for the networks above, each opened once for all tests."""
    engines: dict[tuple[str, str], Engine] = {}

    def engine(model: EngineModel, name: str) -> Engine:
        key = name_of(model), name
        if key not in engines:
            settings = model if name == "mlp" else with_one_worker(model)
            engines[key] = settings.open(build(name), Layout.of(build(name)), cohort=len(SIZES))
        return engines[key]

    yield engine
    for engine_opened in engines.values():
        engine_opened.close()


def with_one_worker(model: EngineModel) -> EngineModel:
    """The same engine, but quick to start."""
    return replace(model, workers=1) if model.kind in SLOW else model  # type: ignore[type-var]


def names(model: EngineModel, nets: dict[str, Any]) -> list[str]:
    return list(nets)[: 1 if model.kind in SLOW else None]


def assert_as_loop(opened: Opened, model: EngineModel, name: str, work: list[Job]) -> None:
    expected = outcomes(LoopEngine(build(name), Layout.of(build(name))), work)
    found = outcomes(opened(model, name), work)
    for one, other, job in zip(found, expected, work, strict=True):
        assert (one.report.samples, one.report.steps, one.report.finite) == (
            other.report.samples,
            other.report.steps,
            other.report.finite,
        )
        if model.kind in ROUNDED:
            way = (other.state.vector - job.state.vector).norm()
            assert (one.state.vector - other.state.vector).norm() <= 1e-5 * way
            assert one.report.loss == pytest.approx(other.report.loss, rel=1e-5)
        else:
            assert torch.equal(one.state.vector, other.state.vector), job.ue
            assert one.report == other.report
            assert one.state.buffers.keys() == other.state.buffers.keys()
            assert all(torch.equal(one.state.buffers[key], b) for key, b in other.state.buffers.items())


@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS)
@every_engine
def test_an_engine_gives_the_outcomes_of_the_loop(
    opened: Opened, model: EngineModel, training: Training
) -> None:
    for name in names(model, PLAIN):
        assert_as_loop(opened, model, name, jobs(build(name), training))


@every_engine
def test_half_the_precision_is_the_same_half_everywhere(opened: Opened, model: EngineModel) -> None:
    training = Training(batch_size=4, precision="bf16", layout="channels-last")
    for name in names(model, {name: PLAIN[name] for name in ("mlp", "cnn", "tied")}):
        work = jobs(build(name), training)
        if model.kind not in ROUNDED:
            assert_as_loop(opened, model, name, work)
            continue
        # A sum in another order may be rounded to another of 2**8 steps.
        expected = outcomes(LoopEngine(build(name), Layout.of(build(name))), work)
        for one, other, job in zip(outcomes(opened(model, name), work), expected, work, strict=True):
            way = (other.state.vector - job.state.vector).norm()
            assert (one.state.vector - other.state.vector).norm() <= 0.05 * way


@every_engine
def test_a_layout_lasts_no_longer_than_its_training(opened: Opened, model: EngineModel) -> None:
    last, plain_layout = Training(batch_size=4, layout="channels-last"), Training(batch_size=4)
    for name in names(model, PLAIN):
        for training in (last, plain_layout):
            assert_as_loop(opened, model, name, jobs(build(name), training))


@every_engine
def test_a_correction_is_added_to_every_gradient(opened: Opened, model: EngineModel) -> None:
    for name in names(model, PLAIN):
        work = jobs(build(name), TRAININGS["sgd"], corrected=True)
        assert_as_loop(opened, model, name, work)


@every_engine
def test_a_share_of_a_whole_gives_the_bits_of_a_copy(opened: Opened, model: EngineModel) -> None:
    whole = Samples(*(getattr(samples(0, 60), name) for name in "xy"))
    shuffled = torch.randperm(60, generator=Key(2).torch())
    parts = torch.split(shuffled, [9, 4, 14, 1, 8, 24])
    copied = jobs(build("mlp"), TRAININGS["sgd"])
    shared = [replace(job, samples=whole.share(part)) for job, part in zip(copied, parts, strict=True)]
    copied = [replace(job, samples=whole[part]) for job, part in zip(copied, parts, strict=True)]
    engine = opened(model, "mlp")
    # Twice: what an engine keeps of samples must outlive them, and follow them.
    for _ in range(2):
        for one, other in zip(outcomes(engine, shared), outcomes(engine, copied), strict=True):
            assert torch.equal(one.state.vector, other.state.vector)
            assert one.report == other.report


@every_exact_engine
def test_what_a_module_draws_comes_from_its_ues_key(opened: Opened, model: EngineModel) -> None:
    before = torch.get_rng_state()
    for name in names(model, DRAWING):
        assert_as_loop(opened, model, name, jobs(build(name), TRAININGS["sgd"]))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_module_that_draws_for_some_ues_only_is_served_for_these(workers: int) -> None:
    module = SeldomDraws()
    engine = Threads(workers=workers).open(module, Layout.of(module), cohort=4)
    work = jobs(module, TRAININGS["sgd"], sizes=(8,) * 8)
    drawing = []
    for job in work[4:]:
        x = job.samples.x.clone()
        x[:, 0, 0, 0] = 1000
        drawing.append(replace(job, samples=Labelled(x, job.samples.y)))
    expected = outcomes(LoopEngine(module, Layout.of(module)), work + drawing)
    # First it is seen to draw nothing; then it does, among others that do not; then everybody knows.
    found = [*outcomes(engine, work[:4]), *outcomes(engine, work[4:] + drawing), *outcomes(engine, drawing)]
    engine.close()
    for one, other in zip(found, expected + expected[8:], strict=True):
        assert torch.equal(one.state.vector, other.state.vector)


def test_a_users_module_that_draws_nothing_is_watched_in_its_first_training_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[Key] = []

    def serve(key: Key) -> ServedDraws:
        served.append(key)
        return thread_generator(key)

    monkeypatch.setattr("syft_fl.learn.engines.threads.thread_generator", serve)
    module = Tied()
    engine = Threads(workers=2).open(module, Layout.of(module), cohort=4)
    work = jobs(module, TRAININGS["sgd"])
    for _ in range(3):
        outcomes(engine, work)
        assert 1 <= len(served) <= 2  # both threads may begin before either has finished
    engine.close()


@every_exact_engine
def test_buffers_are_trained_along(opened: Opened, model: EngineModel) -> None:
    work = jobs(build("batch_norm"), TRAININGS["sgd"], sizes=(8, 6, 4))
    assert_as_loop(opened, model, "batch_norm", work)


@every_engine
def test_outcomes_do_not_depend_on_who_asks_first_and_are_given_once(
    opened: Opened, model: EngineModel
) -> None:
    work = jobs(build("mlp"), TRAININGS["sgd"], sizes=(9, 4, 5))
    layout = Layout.of(build("mlp"))
    expected = outcomes(LoopEngine(build("mlp"), layout), work)
    engine = opened(model, "mlp")
    for asked in itertools.permutations(range(3)):
        handles = [engine.submit(job) for job in work]
        for ue in asked:
            torch.testing.assert_close(
                engine.result(handles[ue]).state.vector, expected[ue].state.vector, rtol=1e-5, atol=1e-6
            )
        with pytest.raises(ConfigError, match=f"job {handles[0]} .*not yet taken"):
            engine.result(handles[0])
    with pytest.raises(ConfigError, match="job 999"):
        engine.result(999)


@every_engine
def test_jobs_are_values_and_outcomes_stay_what_they_were(opened: Opened, model: EngineModel) -> None:
    work = jobs(build("mlp"), TRAININGS["sgd"], sizes=(9, 4))
    before = [job.state.vector.clone() for job in work]
    engine = opened(model, "mlp")
    first = outcomes(engine, work)
    kept = [outcome.state.vector.clone() for outcome in first]
    again = outcomes(engine, list(reversed(work)))
    for ue in range(2):
        assert torch.equal(work[ue].state.vector, before[ue])
        assert torch.equal(first[ue].state.vector, kept[ue])
        assert torch.equal(again[1 - ue].state.vector, kept[ue])
        # A checkpoint that holds one outcome must not hold all of them.
        storage = first[ue].state.vector.untyped_storage()
        assert storage.nbytes() == 4 * first[ue].state.vector.numel()


@every_engine
def test_an_error_comes_with_the_outcome_and_leaves_the_others_alone(
    opened: Opened, model: EngineModel
) -> None:
    work = jobs(build("mlp"), TRAININGS["sgd"], sizes=(9, 0, 5))
    engine = opened(model, "mlp")
    handles = [engine.submit(job) for job in work]
    with pytest.raises(DataError, match="a UE without samples can't train"):
        engine.result(handles[1])
    assert engine.result(handles[2]).report.samples == 10
    assert engine.result(handles[0]).report.samples == 18


@every_engine
def test_a_training_that_diverges_says_so(opened: Opened, model: EngineModel) -> None:
    work = jobs(build("mlp"), Training(batch_size=4, learning_rate=1e30, epochs=3), sizes=(9, 4))
    engine = opened(model, "mlp")
    assert not any(outcome.report.finite for outcome in outcomes(engine, work))


@every_engine
def test_closing_twice_changes_nothing_and_forgets_what_was_not_taken(model: EngineModel) -> None:
    work = jobs(build("mlp"), TRAININGS["sgd"], sizes=(9, 4))
    engine = with_one_worker(model).open(build("mlp"), Layout.of(build("mlp")), cohort=2)
    handles = [engine.submit(job) for job in work]
    engine.close()
    engine.close()
    with pytest.raises(ConfigError, match=f"job {handles[0]}"):
        engine.result(handles[0])


@every_engine
def test_a_run_is_the_same_with_any_engine(model: EngineModel) -> None:
    scenario = Scenario(
        data=Synthetic(features=4, classes=3, train_samples=120, test_samples=40),
        model=MLP(hidden=(6,)),
        population=Population(ues=5, cohort=3, standalone=True),
        compute=PerSample(seconds_per_sample=1e-3),
        stop=Stop(rounds=3),
    )
    dataset = scenario.data.load()
    rows = [
        [{name: value or 0 for name, value in simulation.step().row.items()} for _ in range(4)]
        for simulation in (
            Simulation(scenario, dataset),
            Simulation(replace(scenario, engine=with_one_worker(model)), dataset),
        )
    ]
    for one, other in zip(*rows, strict=True):
        assert one == (pytest.approx(other, rel=1e-4) if model.kind in ROUNDED else other)


def test_a_file_and_the_command_line_name_an_engine_and_without_one_nothing_is_written_down() -> None:
    file = 'name = "x"\nseeds = [0]\n'
    assert "engine" not in plain(parse(tomllib.loads(file)).base)
    for text in ('engine = "threads"', "[engine]\nkind = 'threads'"):
        scenario = parse(tomllib.loads(file + text)).base
        assert plain(scenario)["engine"] == {"kind": "threads"}
        assert scenario.engine == Threads()
    with pytest.raises(ConfigError, match="'thread' is no engine; did you mean 'threads'"):
        parse(tomllib.loads(file + 'engine = "thread"'))


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("syft_fl-engine")]


def test_an_engine_that_nobody_holds_ends_its_threads() -> None:
    gc.collect()
    before = len(engine_threads())
    engine = ENGINES.build({"kind": "threads", "workers": 2}).open(
        build("mlp"), Layout.of(build("mlp")), cohort=2
    )
    outcomes(engine, jobs(build("mlp"), TRAININGS["sgd"]))
    assert len(engine_threads()) > before
    del engine
    gc.collect()
    assert len(engine_threads()) == before


class Watched:
    """A worker that says who trains beside it."""

    def __init__(self, meeting: threading.Barrier) -> None:
        self._meeting = meeting

    def train(self, job: Job) -> Outcome:
        self._meeting.wait(timeout=20)
        return job  # type: ignore[return-value]

    def close(self) -> None:
        pass


def test_workers_train_side_by_side() -> None:
    meeting = threading.Barrier(3)
    engine = PooledEngine(lambda: Watched(meeting), 3)
    work = jobs(build("mlp"), TRAININGS["sgd"])
    assert outcomes(engine, work) == work
    engine.close()


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("it holds a lock")


def test_a_module_that_cant_be_copied_for_a_thread_says_so() -> None:
    module = nn.Sequential(nn.Flatten(), Uncopied(36, 4))
    engine = ENGINES.build("threads").open(module, Layout.of(module), cohort=2)
    with pytest.raises(
        ConfigError, match=r"Sequential can't be copied.*it holds a lock.*engine\.kind = 'loop'"
    ):
        engine.submit(jobs(module, TRAININGS["sgd"])[0])


@pytest.mark.parametrize("kind", sorted({model.kind for model in EVERY if hasattr(model, "workers")}))
def test_workers_must_be_at_least_one(kind: str) -> None:
    with pytest.raises(ConfigError, match="workers = 0 must be at least 1"):
        ENGINES.build({"kind": kind, "workers": 0})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("batch_norm", "it has '1.running_mean', which is no trained parameter"),
        ("dropout", "Dropout2d draws random numbers"),
        ("recurrent", "LSTM draws random numbers"),
    ],
)
def test_batched_refuses_modules_that_it_would_train_otherwise_than_the_loop(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"'batched' can't train.*{reason}.*engine\.kind = 'threads'"):
        ENGINES.build("batched").open(build(name), Layout.of(build(name)), cohort=3)


def test_batched_refuses_batch_statistics_even_where_nothing_is_remembered() -> None:
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36, track_running_stats=False), nn.Linear(36, 4))
    with pytest.raises(ConfigError, match="BatchNorm mixes the samples of a batch"):
        ENGINES.build("batched").open(module, Layout.of(module), cohort=3)


def test_batched_refuses_a_users_own_draws_when_it_meets_them() -> None:
    engine = ENGINES.build("batched").open(build("own"), Layout.of(build("own")), cohort=3)
    handle = engine.submit(jobs(build("own"), TRAININGS["sgd"])[0])
    with pytest.raises(
        ConfigError, match=r"can't train model OwnDropout: .*random.*engine\.kind = 'threads'"
    ):
        engine.result(handle)


def test_batched_trains_what_waits_together_when_the_first_outcome_is_asked_for() -> None:
    calls: list[torch.Size] = []

    class Counting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(x.shape)
            return super().forward(x.flatten(1))

    module = Counting(36, 4)
    work = jobs(module, Training(batch_size=4), sizes=(4,) * 6)
    engine = ENGINES.build("batched").open(module, Layout.of(module), cohort=6)
    handles = [engine.submit(job) for job in work]
    assert calls == []
    engine.result(handles[3])
    once = len(calls)
    for ue in (0, 1, 2, 4, 5):
        engine.result(handles[ue])
    assert len(calls) == once == 2  # one to see what is learnt, one step of all six


SCRIPT = """
import torch
from torch import nn
from syft_fl.keys import Key
from syft_fl.learn import ENGINES, Job, Loop, Training
from syft_fl.vectors import Layout
from dataclasses import dataclass


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        print("training")
        if len(x) == 3:
            raise Unfit("three")
        if len(x) == 2:
            os._exit(7)
        return self.last(x)


class Unfit(Exception):
    pass


@dataclass
class Labelled:
    x: torch.Tensor
    y: torch.Tensor


import os
net = Net()
layout = Layout.of(net)
def job(size):
    data = Labelled(torch.ones(size, 5), torch.zeros(size, dtype=torch.int64))
    return Job("ue0", state, data, Training(batch_size=8), Key(0), round=1)
state = layout.read(net)
engine = ENGINES.build({"kind": "processes", "workers": 1}).open(net, layout, cohort=2)
found = engine.result(engine.submit(job(4))).state.vector
expected = Loop().open(net, layout, cohort=2)
print(torch.equal(found, expected.result(expected.submit(job(4))).state.vector))
for size in (3, 2):
    if KILLED and size == 2:
        os.kill(os.getpid(), 9)
    try:
        engine.result(engine.submit(job(size)))
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.long)])
def test_processes_train_a_scripts_own_class_and_leave_nothing_behind(tmp_path: Path, killed: bool) -> None:
    script = tmp_path / "script.py"  # without if __name__ == "__main__"
    script.write_text(SCRIPT.replace("KILLED", str(killed)))
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(syft_fl.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-u", str(script)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == (-9 if killed else 0), done.stderr
    said = [line for line in done.stdout.splitlines() if line != "training"]
    assert said[:2] == ["True", "Unfit three"]
    if not killed:
        assert said[2].startswith("RunError a process of engine.kind = 'processes' ended (status 7)")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("syft_fl-*")) == []


def test_a_module_that_cant_be_sent_to_a_process_says_so() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    module.lock = threading.Lock()
    with pytest.raises(
        ConfigError, match=r"Sequential can't be sent to another process.*engine\.kind = 'threads'"
    ):
        ENGINES.build("processes").open(module, Layout.of(module), cohort=2)


@pytest.mark.parametrize(
    ("name", "cohort", "expected"),
    [
        ("mlp", 8, "batched"),
        ("mlp", 7, "loop"),
        ("cnn", 100, "loop"),
        ("tied", 100, "loop"),  # a class of somebody's own may do anything
        ("dropout", 100, "loop"),
        ("batch_norm", 100, "loop"),
    ],
)
def test_auto_goes_by_model_and_cohort(
    name: str, cohort: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout.of(build(name))
    assert Auto().choose(build(name), layout, cohort=cohort).kind == expected
    auto._say.cache_clear()
    for _ in range(2):
        Auto().open(build(name), layout, cohort=cohort).close()
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.startswith(
        f"engine: {expected}, for {cohort} UEs in a cohort and {layout.length:,} parameters"
    )


@pytest.mark.parametrize(
    ("net", "cohort", "expected"), [(DocumentCNN(), 2, "threads"), (DocumentCNN(), 1, "loop")]
)
def test_auto_spreads_large_models_over_threads(net: DocumentCNN, cohort: int, expected: str) -> None:
    module = net.build((1, 28, 28), 10)
    assert Auto().choose(module, Layout.of(module), cohort=cohort).kind == expected


@pytest.mark.skipif(find_spec("ray") is not None, reason="it is installed")
def test_ray_that_is_not_installed_says_how_to_get_it() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'syft_fl\[ray\]', or use engine\.kind = 'threads'"):
        ENGINES.build("ray").open(build("mlp"), Layout.of(build("mlp")), cohort=2)
