"""Local training against loops written by hand, schedules against their formulas, and evaluation."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from syft_fl.errors import ConfigError, DataError
from syft_fl.keys import Key
from syft_fl.learn import (
    MLP,
    SCHEDULES,
    Constant,
    Cosine,
    DocumentCNN,
    Exponential,
    LeNet5,
    Step,
    Training,
    build_seeded,
    evaluate,
    evaluation,
    intra_op_threads,
    train,
)
from syft_fl.vectors import Layout

KEY = Key(3) / "ue0" / "training0"


@dataclass
class Labelled:
    x: torch.Tensor
    y: torch.Tensor


def toy(n=50, features=12, classes=3, seed=0):
    generator = Key(seed).torch()
    x = torch.randn(n, features, generator=generator)
    return Labelled(x, torch.randint(classes, (n,), generator=generator))


def dropout_net():
    return nn.Sequential(nn.Linear(12, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 3))


def fresh(make=dropout_net):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make()


def same(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


# How it lies in memory, and how precisely it is multiplied.


def images(n=20):
    generator = Key(1).torch()
    return Labelled(
        torch.randn(n, 1, 28, 28, generator=generator), torch.randint(10, (n,), generator=generator)
    )


def by_hand(net, data, *, layout=None, dtype=None):
    """The loop with torch's own two lines for each."""
    if layout is not None:
        net.to(memory_format=layout)
        data = Labelled(data.x.contiguous(memory_format=layout), data.y)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for index in torch.split(torch.randperm(len(data.y), generator=(KEY / "batches").torch()), 16):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            scores = net(data.x[index])
        F.cross_entropy(scores.float(), data.y[index]).backward()
        optimizer.step()
    return net


@pytest.mark.parametrize(
    ("settings", "torchs"),
    [
        ({"layout": "channels-last"}, {"layout": torch.channels_last}),
        ({"precision": "bf16"}, {"dtype": torch.bfloat16}),
        (
            {"precision": "bf16", "layout": "channels-last"},
            {"dtype": torch.bfloat16, "layout": torch.channels_last},
        ),
    ],
)
def test_layout_and_precision_are_torchs_own(settings, torchs):
    data, nets = images(), [build_seeded(DocumentCNN(), (1, 28, 28), 10, Key(2)) for _ in range(3)]
    start = Layout.of(nets[0]).read(nets[0]).vector
    train(nets[0], data, training=Training(**settings), key=KEY, round=1)
    train(nets[1], data, training=Training(), key=KEY, round=1)
    by_hand(nets[2], data, **torchs)
    ours, plain, theirs = (Layout.of(n).read(n).vector for n in nets)
    # Of tensors with one channel both layouts are the same, and torch's two ways of asking differ in the last bits.
    assert (ours - theirs).norm() <= 1e-6 * (theirs - start).norm()
    assert ours.dtype == torch.float32
    assert all(p.is_contiguous() for p in nets[0].parameters())
    # The same function: a little off for sums in another order, more for 8 bits of mantissa.
    off = (ours - plain).norm() / (plain - start).norm()
    assert 0 < off < (0.15 if "precision" in settings else 1e-4)


# The loop, by hand.


@pytest.mark.parametrize(
    ("training", "optimizer"),
    [
        (
            Training(learning_rate=0.05, momentum=0.9, weight_decay=1e-3, epochs=2),
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
        ),
        (
            Training(optimizer="adam", learning_rate=0.01, weight_decay=0.1, epochs=2),
            lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        ),
        (
            Training(optimizer="adamw", learning_rate=0.01, weight_decay=0.1, epochs=2),
            lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        ),
    ],
)
def test_training_equals_a_hand_written_loop_to_the_bit(training, optimizer):
    samples = toy()
    mine, theirs = fresh(), fresh()
    report = train(mine, samples, training=training, key=KEY, round=1)

    opt = optimizer(theirs.parameters())
    order = (KEY / "batches").torch()
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((KEY / "dropout").integer(63))
        for _ in range(2):
            for batch in torch.randperm(50, generator=order).split(16):
                opt.zero_grad()
                loss = F.cross_entropy(theirs(samples.x[batch]), samples.y[batch])
                loss.backward()
                opt.step()
                losses.append((loss.item(), len(batch)))

    assert same(mine, theirs)
    assert [n for _, n in losses] == [16, 16, 16, 2] * 2
    assert report.loss == pytest.approx(sum(value * n for value, n in losses) / 100, rel=1e-12)
    assert (report.samples, report.steps, report.finite) == (100, 8, True)


def test_steps_go_on_over_epochs_in_the_same_order_as_epochs_do():
    samples = toy(48)
    by_epochs, by_steps = fresh(), fresh()
    train(by_epochs, samples, training=Training(epochs=2), key=KEY, round=1)
    report = train(by_steps, samples, training=Training(steps=6), key=KEY, round=1)
    assert same(by_epochs, by_steps)
    assert (report.steps, report.samples) == (6, 96)


@pytest.mark.parametrize(
    ("training", "steps", "processed"),
    [
        (Training(), 4, 50),
        (Training(epochs=3), 12, 150),
        (Training(epochs=0.5), 2, 32),
        (Training(epochs=0.3), 2, 32),
        (Training(epochs=1e-12), 1, 16),
        (Training(epochs=1.1, batch_size=5), 11, 55),
        (Training(epochs=1.5), 6, 82),
        (Training(epochs=0.01), 1, 16),
        (Training(steps=1), 1, 16),
        (Training(steps=4), 4, 50),
        (Training(steps=9), 9, 116),
        (Training(batch_size=100), 1, 50),
        (Training(batch_size=100, steps=3), 3, 150),
        (Training(batch_size="all"), 1, 50),
        (Training(batch_size="all", epochs=2.5), 3, 150),
        (Training(batch_size="all", steps=4), 4, 200),
    ],
)
def test_steps_and_samples_processed_are_known_beforehand(training, steps, processed):
    assert training.steps_for(50) == steps
    assert training.processed(50) == processed
    report = train(fresh(), toy(), training=training, key=KEY, round=1)
    assert (report.steps, report.samples) == (steps, processed)


def test_a_batch_of_all_samples_is_gradient_descent_by_hand_and_draws_nothing():
    samples = toy()
    mine, theirs, other = (nn.Linear(12, 3) for _ in range(3))
    for module in (theirs, other):
        module.load_state_dict(mine.state_dict())
    training = Training(batch_size="all", steps=2, learning_rate=0.3, weight_decay=0.01)
    train(mine, samples, training=training, key=KEY, round=1)
    for _ in range(2):
        # Weight decay is the gradient of half its square norm, of biases too.
        penalty = 0.01 / 2 * sum((p**2).sum() for p in theirs.parameters())
        loss = F.cross_entropy(theirs(samples.x), samples.y) + penalty
        gradients = torch.autograd.grad(loss, list(theirs.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
                parameter -= 0.3 * gradient
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    train(other, samples, training=training, key=KEY / "other", round=1)
    assert same(mine, other)


@pytest.mark.parametrize("size", [0, -1, "few"])
def test_a_batch_size_is_a_number_or_all(size):
    with pytest.raises(ConfigError, match=rf"^batch_size = {size!r}.*'all'$"):
        Training(batch_size=size)


def test_batches_and_dropout_depend_on_the_key_alone():
    samples = toy()
    one, again, other = fresh(), fresh(), fresh()
    train(one, samples, training=Training(), key=KEY, round=1)
    torch.rand(5)
    train(again, samples, training=Training(), key=KEY, round=1)
    train(other, samples, training=Training(), key=KEY / "other", round=1)
    assert same(one, again)
    assert not same(one, other)


def test_dropout_does_not_change_the_batch_order():
    seen = []

    class Watching(nn.Linear):
        def forward(self, x):
            seen.append(x[:, 0].tolist())
            return super().forward(x)

    for drop in (nn.Dropout(0.5), nn.Identity()):
        train(nn.Sequential(Watching(12, 3), drop), toy(), training=Training(), key=KEY, round=1)
    assert seen[:4] == seen[4:]


def test_the_global_generator_is_left_as_found():
    before = torch.get_rng_state()
    train(fresh(), toy(), training=Training(), key=KEY, round=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_is_in_training_mode():
    module = fresh().eval()
    train(module, toy(), training=Training(), key=KEY, round=1)
    assert all(part.training for part in module.modules())
    assert module[1].num_batches_tracked == 4


def test_an_optimiser_remembers_nothing_of_the_round_before():
    # With momentum, memory would show in the first step of the second call.
    samples = toy(16)
    training = Training(momentum=0.9, steps=1)
    module, expected = fresh(lambda: nn.Linear(12, 3)), fresh(lambda: nn.Linear(12, 3))
    for round in (1, 2):
        train(module, samples, training=training, key=KEY / round, round=round)
        order = (KEY / round / "batches").torch()
        index = torch.randperm(16, generator=order)
        expected.zero_grad()
        F.cross_entropy(expected(samples.x[index]), samples.y[index]).backward()
        with torch.no_grad():
            for parameter in expected.parameters():
                parameter -= 0.1 * parameter.grad
    assert torch.allclose(module.weight, expected.weight, atol=1e-6)


def test_frozen_parameters_stay_as_they_are():
    module = fresh()
    module[0].weight.requires_grad_(False)
    before = module[0].weight.clone()
    train(module, toy(), training=Training(), key=KEY, round=1)
    assert torch.equal(module[0].weight, before)


# Loss.


def test_cross_entropy_of_log_probabilities_is_nll_with_the_same_gradient():
    x = torch.randn(4, 1, 28, 28, generator=Key(1).torch())
    y = torch.tensor([3, 1, 9, 0])
    module = build_seeded(DocumentCNN(), (1, 28, 28), 10, Key(0))
    gradients = []
    for loss in (F.nll_loss, F.cross_entropy):
        module.zero_grad()
        value = loss(module(x), y)
        value.backward()
        gradients.append((value.item(), [p.grad.clone() for p in module.parameters()]))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-6)
    for mine, theirs in zip(gradients[0][1], gradients[1][1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)


def test_divergence_is_a_fact_in_the_report():
    far = Training(learning_rate=1e30)
    assert not train(fresh(), toy(), training=far, key=KEY, round=1).finite
    poisoned = toy()
    poisoned.x[3, 3] = math.nan
    assert not train(fresh(), poisoned, training=Training(), key=KEY, round=1).finite


def test_divergence_in_the_last_step_is_seen_though_its_loss_was_finite():
    samples = toy()
    samples.x *= 1e20
    report = train(
        fresh(lambda: nn.Linear(12, 3)),
        samples,
        training=Training(learning_rate=1e30, steps=1),
        key=KEY,
        round=1,
    )
    assert math.isfinite(report.loss)
    assert not report.finite


def test_an_infinite_loss_is_seen_though_the_parameters_stay_finite():
    class WithoutClassTwo(nn.Linear):
        def forward(self, x):
            return super().forward(x).masked_fill(torch.tensor([False, False, True]), -math.inf)

    module = fresh(lambda: WithoutClassTwo(12, 3))
    report = train(module, toy(), training=Training(), key=KEY, round=1)
    assert report.loss == math.inf
    assert all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())
    assert not report.finite


def test_training_learns():
    generator = Key(9).torch()
    y = torch.randint(3, (300,), generator=generator)
    x = 3 * F.one_hot(y, 12).float() + torch.randn(300, 12, generator=generator)
    module = build_seeded(MLP(hidden=(16,)), (12,), 3, Key(0))
    before = evaluate(module, x, y)
    train(module, Labelled(x, y), training=Training(epochs=5), key=KEY, round=1)
    after = evaluate(module, x, y)
    assert before.accuracy < 0.7
    # The best rule errs where one of two differences of noise exceeds 3: at most 2 Q(3 / sqrt 2) = 3.4 %.
    assert after.accuracy > 0.94
    assert after.loss < before.loss / 3


def test_no_samples_is_a_data_error():
    with pytest.raises(DataError, match="without samples can't train"):
        train(fresh(), toy(0), training=Training(), key=KEY, round=1)


# Settings.


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"momentum": 1.0},
        {"momentum": 0.5, "optimizer": "adam"},
        {"weight_decay": -1.0},
        {"batch_size": 0},
        {"epochs": 0.0},
        {"steps": 0},
        {"steps": 5, "epochs": 1},
        {"threads": 0},
        {"optimizer": "lbfgs"},
    ],
)
def test_impossible_settings_are_refused_by_name(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Training(**bad)


def test_threads_are_put_back_after_a_block():
    before = torch.get_num_threads()
    with intra_op_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), intra_op_threads(before + 1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


# Schedules: rounds are counted from 1.


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), {1: 1, 100: 1}),
        (Step(every=10, scale=0.5), {1: 1, 10: 1, 11: 0.5, 20: 0.5, 21: 0.25}),
        (Exponential(scale=0.9), {1: 1, 2: 0.9, 3: 0.81, 11: 0.9**10}),
        (Cosine(rounds=10), {1: 1, 6: 0.5, 11: 0, 50: 0}),
        (Cosine(rounds=3, floor=0.2), {1: 1, 2: 0.2 + 0.8 * 0.75, 3: 0.2 + 0.8 * 0.25, 4: 0.2, 9: 0.2}),
    ],
)
def test_schedules_follow_their_formula(schedule, factors):
    for round, factor in factors.items():
        assert schedule.factor(round) == pytest.approx(factor, abs=1e-12)
    assert schedule.factor(0) == 1


def test_every_registered_schedule_starts_at_the_full_rate_and_never_rises():
    for cls in SCHEDULES:
        schedule = {"step": Step(every=3), "cosine": Cosine(rounds=7)}.get(cls.kind) or cls()
        factors = [schedule.factor(round) for round in range(1, 20)]
        assert factors[0] == 1
        assert factors == sorted(factors, reverse=True)
        assert factors[-1] >= 0


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (Step, {"every": 0}),
        (Step, {"scale": 0.0, "every": 1}),
        (Exponential, {"scale": 1.1}),
        (Cosine, {"rounds": 0}),
        (Cosine, {"floor": 2.0, "rounds": 1}),
    ],
)
def test_impossible_schedules_are_refused_by_name(kind, bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        kind(**bad)


def test_the_schedule_scales_the_learning_rate_of_its_round():
    training = Training(learning_rate=0.4, schedule=Step(every=2, scale=0.5))
    rates = [training.new_optimizer(fresh(), round=r).param_groups[0]["lr"] for r in (1, 2, 3, 5)]
    assert rates == [0.4, 0.4, 0.2, 0.1]
    plain_rate = Training(learning_rate=0.2)
    scheduled, constant = fresh(), fresh()
    train(scheduled, toy(), training=training, key=KEY, round=3)
    train(constant, toy(), training=plain_rate, key=KEY, round=3)
    assert same(scheduled, constant)


# Evaluation.


def test_evaluation_is_accuracy_and_mean_cross_entropy():
    samples = toy(50)
    module = fresh().eval()
    scores = module(samples.x).double()
    picked = scores.log_softmax(dim=1)[torch.arange(50), samples.y]
    found = evaluate(module, samples.x, samples.y)
    assert found.accuracy == sum(scores.argmax(dim=1) == samples.y).item() / 50
    assert found.loss == pytest.approx(-picked.mean().item(), rel=1e-12)


def test_evaluation_hardly_depends_on_the_batch_size():
    samples = toy(50)
    module = fresh()
    whole = evaluate(module, samples.x, samples.y)
    for batch_size in (1, 7, 50):
        found = evaluate(module, samples.x, samples.y, batch_size=batch_size)
        assert found.accuracy == whole.accuracy
        assert found.loss == pytest.approx(whole.loss, rel=1e-6)


def test_evaluation_is_without_dropout_and_changes_nothing():
    samples = toy()
    module = fresh()
    module[3].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert evaluate(module, samples.x, samples.y) == evaluate(module, samples.x, samples.y)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert [part.training for part in module] == [True, True, True, False, True]
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize(
    ("samples", "batch_size", "fitting", "sizes"),
    [
        (300, 1000, 1000, [8, 300]),
        (300, 1000, 100, [8, 100, 100, 100]),
        (300, 200, 150, [8, 100, 100, 100]),  # equal pieces, of the batch of 200 that does not fit
        (300, 1000, 70, [8, 75, 75, 75, 75]),  # 64 at the least
        (127, 1000, 10, [127]),  # no two pieces of 64: nothing to find out
    ],
)
def test_pieces_of_a_batch_give_the_bits_of_a_whole_one(monkeypatch, samples, batch_size, fitting, sizes):
    x = torch.randn(samples, 1, 28, 28, generator=Key(4).torch())
    y = torch.arange(samples) % 10
    module = build_seeded(LeNet5(), (1, 28, 28), 10, KEY)
    with torch.no_grad():
        scores = [module(part).double() for part in x.split(batch_size)]
    losses = [
        F.cross_entropy(s, t, reduction="sum") for s, t in zip(scores, y.split(batch_size), strict=True)
    ]
    seen = []
    module.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    monkeypatch.setattr(evaluation, "_LARGEST_BYTES", fitting * 6 * 28 * 28 * 4)  # the first convolution's
    assert evaluate(module, x, y, batch_size=batch_size).loss == sum(loss.item() for loss in losses) / samples
    assert seen == sizes


def test_of_equal_scores_the_first_class_counts_and_no_number_beats_all():
    scores = torch.tensor([[1.0, 1.0, 0.0], [0.0, math.nan, 2.0], [0.0, math.inf, math.inf]])
    assert evaluate(nn.Identity(), scores, torch.tensor([0, 1, 1])).accuracy == 1.0


def test_evaluation_without_samples_is_a_data_error():
    with pytest.raises(DataError, match="at least one sample"):
        evaluate(fresh(), toy(0).x, toy(0).y)
