"""Devices by name, what is refused where there is none, and what is decided by a card's memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from syft_fl import devices
from syft_fl.data import OwnData, Synthetic, as_dataset
from syft_fl.devices import CPU, describe, device_of, is_device_name, loads_onto, ready
from syft_fl.errors import ConfigError, RunError
from syft_fl.experiment import load, parse, run
from syft_fl.federation import Population, Scenario, Simulation, Stop, check_fits
from syft_fl.keys import Key
from syft_fl.learn import (
    MLP,
    Auto,
    Batched,
    DocumentCNN,
    Job,
    Loop,
    PerSample,
    Processes,
    Softmax,
    Threads,
    Training,
)
from syft_fl.learn.engines import BatchedEngine, batched
from syft_fl.learn.generators import serving
from syft_fl.schema import plain
from syft_fl.vectors import Layout


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards as far as torch says so: nothing can be computed on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card X")


@dataclass(frozen=True)
class Labelled:
    x: Tensor
    y: Tensor


def scenario(**changes: Any) -> Scenario:
    tiny = Scenario(
        data=Synthetic(train_samples=40, test_samples=20),
        model=Softmax(),
        population=Population(ues=2),
        compute=PerSample(seconds_per_sample=1e-4),
        stop=Stop(rounds=1),
    )
    return replace(tiny, **changes)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices_have_torchs_names(name: str) -> None:
    assert is_device_name(name)
    assert torch.device(name).type == name.split(":")[0]


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "mps", "cuda:1 ", "", "CUDA"])
def test_other_names_are_refused_when_a_scenario_is_made(name: str) -> None:
    with pytest.raises(ConfigError, match=r"device = .* must be 'cpu', 'cuda' or 'cuda:N'"):
        scenario(device=name)


def test_the_cpu_is_the_cpu_whether_it_is_named_or_not() -> None:
    assert ready(None) == ready("cpu") == CPU
    assert scenario(device="cpu") == scenario()
    assert "device" not in plain(scenario(device="cpu"))
    assert plain(scenario(device="cuda:1"))["device"] == "cuda:1"


def test_a_card_has_its_number(two_cards: None) -> None:
    assert ready("cuda") == torch.device("cuda:1")  # the one that torch takes
    assert ready("cuda:0") == torch.device("cuda:0")
    assert describe(torch.device("cuda:0")) == "cuda:0 (Card X)"
    with pytest.raises(ConfigError, match=r"'cuda:2' must be a card here; there are cuda:0 … cuda:1"):
        ready("cuda:2")


def test_a_run_on_a_card_that_is_not_there_is_one_clear_error_before_training(
    no_card: None, tmp_path: Path
) -> None:
    asked = scenario(device="cuda")
    wrong = r"^device = 'cuda' must be a card that torch finds, and it finds none .*leave device out"
    with pytest.raises(ConfigError, match=wrong):
        check_fits(asked, asked.data.load())
    with pytest.raises(ConfigError, match=wrong):
        Simulation(asked, asked.data.load())
    with pytest.raises(ConfigError, match=wrong):
        run(asked, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


EACH_COMMAND = """
import sys
from syft_fl.cli import main
for command in ("run", "compare", "sweep", "check"):
    try:
        main([command, "tiny.toml", "--device", "cuda"])
    except SystemExit as ended:
        print(command, ended.code, file=sys.stderr)
"""


def test_every_command_takes_a_device_and_says_that_it_is_not_there(tmp_path: Path) -> None:
    text = 'name = "tiny"\nmodel = "softmax"\n[data]\nkind = "synthetic"\n[population]\nues = 2\n'
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    root = str(Path(devices.__file__).parents[1])
    hidden = os.environ | {"PYTHONPATH": root, "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-c", EACH_COMMAND]
    done = subprocess.run(line, cwd=tmp_path, env=hidden, capture_output=True, text=True, timeout=120)
    said = done.stderr.splitlines()
    assert said[1::2] == ["run 2", "compare 2", "sweep 2", "check 2"]
    assert all("device = 'cuda' must be a card" in line for line in said[::2])
    assert len(said) == 8


def test_a_device_is_overridden_like_any_setting(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('device = "cuda:1"\n', encoding="utf-8")
    assert load(tmp_path / "card.toml").base.device == "cuda:1"
    assert load(tmp_path / "card.toml", ["device=cuda"]).base.device == "cuda"
    assert load(tmp_path / "card.toml", ["device=cpu"]).base.device is None
    assert parse({"variants": [{"name": "there", "device": "cuda"}]}).variant("there").device == "cuda"


@pytest.mark.parametrize("engine", [Threads(), Processes(workers=1)], ids=["threads", "processes"])
def test_engines_of_cores_are_refused_on_a_card(engine: Any) -> None:
    assert scenario(engine=engine).engine == engine
    with pytest.raises(ConfigError, match=rf"engine.kind = '{engine.kind}' must be 'loop', 'batched' or"):
        scenario(engine=engine, device="cuda")


def test_own_data_come_from_the_cpu() -> None:
    x, y = torch.zeros(6, 4, device="meta"), torch.zeros(6, dtype=torch.int64, device="meta")
    with pytest.raises(ConfigError, match=r"train\.x is on meta .*hand them over on the CPU"):
        as_dataset(((x, y), (x, y)))
    assert OwnData.kind == "own"


def test_what_was_on_a_card_is_loaded_onto_the_device_and_the_rest_stays() -> None:
    class Storage:
        def to(self, *, device: torch.device) -> str:
            return f"on {device}"

    there, storage = torch.device("cuda:1"), Storage()
    assert loads_onto(there)(storage, "cpu") is storage
    assert loads_onto(there)(storage, "cuda:3") == "on cuda:1"
    assert loads_onto(CPU)(storage, "cuda:0") == "on cpu"


def test_a_card_s_generator_is_served_from_the_key_and_left_as_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    monkeypatch.setattr(torch.cuda, "default_generators", cards)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: cards[device.index].get_state())
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: cards[device.index].set_state(state)
    )
    before = [*(card.get_state() for card in cards), torch.get_rng_state()]

    def drawn(key: Key) -> tuple[Tensor, Tensor, Tensor]:
        with serving(torch.device("cuda:1"))(key):
            return torch.rand(3, generator=cards[1]), torch.rand(3, generator=cards[0]), torch.rand(3)

    first, other, host = drawn(Key(5))
    second, more_of_other, same_host = drawn(Key(5))
    assert torch.equal(first, second)
    assert torch.equal(host, same_host)
    assert not torch.equal(other, more_of_other)  # not the card that trains
    assert not torch.equal(first, drawn(Key(6))[0])
    after = [*(card.get_state() for card in cards), torch.get_rng_state()]
    assert all(torch.equal(before[which], after[which]) for which in (1, 2))


def elsewhere(module: nn.Module) -> nn.Module:
    return module.to("meta")


def test_on_a_card_auto_stacks_convolutions_too_and_never_takes_threads() -> None:
    cnn, mlp = DocumentCNN().build((1, 28, 28), 10), MLP().build((784,), 10)
    dropping = nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.Dropout(), nn.Linear(200, 10))
    layouts = {module: Layout.of(module) for module in (cnn, mlp, dropping)}
    assert Auto().choose(cnn, layouts[cnn], cohort=10) == Threads()
    for module in layouts:
        elsewhere(module)
    assert Auto().choose(cnn, layouts[cnn], cohort=10) == Batched()
    assert Auto().choose(mlp, layouts[mlp], cohort=2) == Batched()
    assert Auto().choose(mlp, layouts[mlp], cohort=1) == Loop()
    assert Auto().choose(dropping, layouts[dropping], cohort=10) == Loop()
    assert device_of(cnn) == torch.device("meta")


def jobs_for(module: nn.Module, count: int, *, samples: int = 12, **training: Any) -> list[Job]:
    layout = Layout.of(module)
    how = Training(batch_size=4, **training)
    generator = Key(3).torch()
    return [
        Job(
            f"ue{ue}",
            layout.read(module),
            Labelled(
                torch.randn(samples - ue % 3, 6, generator=generator),
                torch.randint(3, (samples - ue % 3,), generator=generator),
            ),
            how,
            Key(0) / f"ue{ue}",
            round=1,
        )
        for ue in range(count)
    ]


def test_samples_laid_together_are_what_each_ue_s_own_are() -> None:
    module = nn.Linear(6, 3)
    jobs = tuple(sorted(jobs_for(module, 7, epochs=2), key=lambda job: -len(job.samples.y)))
    steps = [job.training.steps_for(len(job.samples.y)) for job in jobs]
    apart, together = batched._Batches(jobs, steps), batched._BatchesTogether(jobs, steps)
    assert apart.processed() == together.processed()
    for step in range(steps[0]):
        active = sum(count > step for count in steps)
        for one, other in zip(apart.of(step, active), together.of(step, active), strict=True):
            assert torch.equal(one, other)


def test_what_a_ue_takes_counts_models_samples_and_what_a_batch_leaves_for_the_backward_pass() -> None:
    module = nn.Sequential(nn.Linear(6, 50), nn.ReLU(), nn.Linear(50, 3))
    job = jobs_for(module, 1)[0]
    vector = 4 * Layout.of(module).length
    needed = batched.needed_bytes(module, vector, job)
    # Kept of a sample: the input (6), the hidden layer (50), the scores' logarithms (3), a label and a weight's sum.
    kept = (needed - batched._VECTORS * vector - 12 * (6 * 4 + 8)) / (batched._PASSES * 4)
    assert 4 * (6 + 50 + 3) <= kept <= 4 * (6 + 50 + 3) + 16
    larger = replace(job, training=Training(batch_size=8))
    assert batched.needed_bytes(module, vector, larger) - needed == pytest.approx(batched._PASSES * 4 * kept)
    assert all(parameter.grad is None for parameter in module.parameters())


def outcomes(engine: BatchedEngine, jobs: list[Job]) -> list[Tensor]:
    handles = [engine.submit(job) for job in jobs]
    return [engine.result(handle).state.vector for handle in handles]


def test_a_stack_that_the_card_has_no_room_for_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Linear(6, 3)
    layout, jobs, tried = Layout.of(module), jobs_for(module, 7), []
    expected = outcomes(BatchedEngine(module, layout, chunk=7), jobs)
    plain_train = batched._Stacks.train

    def train(self: Any) -> Any:
        tried.append(len(self._jobs))
        if len(self._jobs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return plain_train(self)

    monkeypatch.setattr(batched._Stacks, "train", train)
    engine = BatchedEngine(module, layout, chunk=7)
    for found, wanted in zip(outcomes(engine, jobs), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert tried == [7, 3, 4, 2, 2]
    tried.clear()
    outcomes(engine, jobs)
    assert tried == [2, 2, 2, 1]  # what is known not to fit is not tried again


def test_no_room_for_a_single_ue_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Linear(6, 3)

    def train(self: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    monkeypatch.setattr(batched._Stacks, "train", train)
    engine = BatchedEngine(module, Layout.of(module), chunk=4)
    with pytest.raises(RunError, match=r"no room to train one UE \(CUDA out of memory\.\); give training"):
        outcomes(engine, jobs_for(module, 4))
