"""Every model and optimiser learns the same on pointers as on plain tensors, digit for digit."""

import copy
from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from syft_fl.keys import Key
from syft_fl.learn import DocumentCNN, global_generators, intra_op_threads
from syft_fl.workers import TorchHook, VirtualWorker

KEY = Key(7)


class Normalised(nn.Module):
    """Batch normalisation (buffers, one of them an integer) and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(torch.relu(self.norm(self.conv(x))))
        return F.log_softmax(self.out(x.mean((2, 3))), dim=1)


class Recurrent(nn.Module):
    """An LSTM over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        rows, _ = self.lstm(x[:, 0, :5])
        return F.log_softmax(self.out(rows[:, -1]), dim=1)


class Attentive(nn.Module):
    """Embedded rows, self-attention and a GRU over them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 8)
        self.attend = nn.MultiheadAttention(8, num_heads=2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.out = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed((2 * x[:, 0, :6, 0]).long().clamp(-2, 2) + 2)
        tokens = self.norm(tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0])
        _, last = self.gru(tokens)
        return F.log_softmax(self.out(last[0]), dim=1)


class Tied(nn.Module):
    """One weight in two places, a branch that gets no gradient, and an output that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(28, 28)
        self.second = nn.Linear(28, 28)
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(28), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(torch.tanh(self.first(x[:, 0])) * self.frozen)
        top, _unused = x.unbind(1)[:2]
        return F.log_softmax(top[:, :10], dim=1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The thread count is part of a result, and small operations on loaded machines wait for other threads."""
    with intra_op_threads(1):
        yield


MODELS: dict[str, Callable[[], nn.Module]] = {
    "document_cnn": lambda: DocumentCNN().build((1, 28, 28), 10),
    "normalised": Normalised,
    "attentive": Attentive,
    "recurrent": Recurrent,
    "tied": Tied,
}

OPTIMISERS: dict[str, Callable[[Iterable[nn.Parameter]], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, lr=1e-3),
    "adamw_foreach": lambda p: optim.AdamW(p, lr=1e-3, foreach=True),
}


def made(name: str) -> nn.Module:
    with global_generators(KEY / name):
        return MODELS[name]()


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    rng = (KEY / "batches").torch()
    return [
        (torch.randn(4, 1, 28, 28, generator=rng), torch.randint(10, (4,), generator=rng))
        for _ in range(count)
    ]


def step(model: nn.Module, optimiser: optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    optimiser.zero_grad()
    loss = F.nll_loss(model(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimiser.step()
    return loss


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("model", MODELS)
def test_training_at_a_worker_is_digit_for_digit_plain_training(model: str, optimiser: str) -> None:
    plain, there = made(model), made(model)
    plain_opt, there_opt = (OPTIMISERS[optimiser](m.parameters()) for m in (plain, there))
    hook = TorchHook(torch)
    ue = VirtualWorker(hook=hook, id="ue1")
    data = batches(4)
    # Dropout at a worker draws from the worker's own stream, wherever torch's global generator stands.
    with global_generators(hook.transport.key / "ue1" / "operations"):
        expected = [step(plain, plain_opt, x, y).item() for x, y in data]
    found = []
    for half in (data[:2], data[2:]):
        # The optimiser was made before the first send and lives through a round trip.
        there.send(ue)
        found += [step(there, there_opt, x.send(ue), y.send(ue)).get().item() for x, y in half]
        there.get()
    assert found == expected
    after = there.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("model", MODELS)
def test_run_at_a_worker_is_digit_for_digit_plain_training(model: str) -> None:
    plain, there = made(model), made(model)
    ue = VirtualWorker(hook=TorchHook(torch), id="ue1")
    x, y = batches(1)[0]

    def train(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        optimiser = optim.SGD(module.parameters(), lr=0.05)
        return [step(module, optimiser, x, y) for _ in range(3)][-1].detach()

    with global_generators(KEY / "dropout"):
        expected = train(plain, x, y)
    there.send(ue)
    with global_generators(KEY / "dropout"):
        found = ue.run(train, there, x.send(ue), y.send(ue))
    assert torch.equal(found.get(), expected)
    after = there.get().state_dict()
    assert all(torch.equal(value, after[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("model", MODELS)
def test_evaluation_at_a_worker_gives_plain_outputs(model: str) -> None:
    plain = made(model).eval()
    ue = VirtualWorker(hook=TorchHook(torch), id="ue1")
    x, _ = batches(1)[0]
    there = copy.deepcopy(plain).send(ue)
    expected, found = plain(x), there(x.send(ue))
    assert torch.equal(found.get(), expected.detach())
