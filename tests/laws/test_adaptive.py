"""Rules that choose levels: the papers' formulas, and federations whose bits rise and fall as the rules say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from syft_fl.codecs import (
    QSGD,
    Adaptive,
    AdaQuantFL,
    Clipped,
    Codec,
    Context,
    DAdaQuant,
    Float32,
    Layered,
    Memory,
    NaturalDithering,
    Payload,
    PowerSGD,
    Rotated,
    Scheduled,
    TopK,
    Uniform,
    needs_loss,
)
from syft_fl.data import Synthetic
from syft_fl.errors import CodecError, ConfigError
from syft_fl.federation import Population, Scenario, Simulation, Stop
from syft_fl.keys import Key
from syft_fl.learn import PerSample, Quantity, Softmax, Training
from syft_fl.transport import OVERHEAD_BYTES, Downlink, Uplink
from syft_fl.vectors import Layout

CONTEXT = Context(Layout.flat(40), Key(1))
UNKNOWN = float("nan")


def sent(codec: Adaptive, *, memory: Memory | None = None, **known: Any) -> tuple[int, Memory]:
    """The number in a payload, and what its sender remembers; the receiver knows the layout and nothing else."""
    x = torch.linspace(-1, 1, 40)
    payload, after = codec.encode(x, ctx=replace(CONTEXT, memory=memory or {}, **known))
    number = int.from_bytes(payload.body[:2], "little")
    told = codec.codec
    field = "levels" if hasattr(told, "levels") else "bits"
    behind = Payload(payload.body[2:], payload.bits - 16)
    plain = replace(told, **{field: number}).decode(behind, ctx=CONTEXT)[0]  # type: ignore[type-var]
    assert torch.equal(codec.decode(payload, ctx=CONTEXT)[0], plain)
    return number, after


def course(codec: Adaptive, losses: Iterable[float], **known: Any) -> list[int]:
    """The numbers of messages that all arrive."""
    memory: Memory = {}
    numbers = []
    for loss in losses:
        number, memory = sent(codec, memory=memory, loss=loss, **known)
        numbers.append(number)
    return numbers


# --- AdaQuantFL -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1, 2, 10])
@pytest.mark.parametrize("loss", [8.0, 4.0, 2.0, 0.5, 0.04, 0.01])
def test_adaquantfl_levels_are_in_proportion_to_the_root_of_the_first_loss_over_this_one(
    first: int, loss: float
) -> None:
    _, number = course(AdaQuantFL(first=first), [4.0, loss])
    assert abs(number - max(1.0, first * math.sqrt(4.0 / loss))) <= 0.5


def test_adaquantfl_quadruple_progress_doubles_the_levels() -> None:
    assert course(AdaQuantFL(first=3), [2.0, 0.5, 0.125, 0.5, 2.0]) == [3, 6, 12, 6, 3]


def test_adaquantfl_without_a_loss_is_at_its_first_levels_and_the_first_loss_is_the_first_known() -> None:
    losses = [UNKNOWN, UNKNOWN, 1.0, 0.25, UNKNOWN, float("inf"), 0.0625]
    assert course(AdaQuantFL(first=2), losses) == [2, 2, 2, 4, 2, 2, 8]


def test_levels_stay_within_what_the_quantiser_takes() -> None:
    assert course(AdaQuantFL(first=2), [1.0, 1e-30, 0.0, 1e30]) == [2, 32767, 32767, 1]
    assert course(AdaQuantFL(first=2, codec=NaturalDithering()), [1.0, 1e-30]) == [2, 127]
    assert course(AdaQuantFL(first=2, codec=Uniform()), [1.0, 1e-30]) == [2, 16]
    assert course(AdaQuantFL(first=2), [0.0, 0.0, 4.0, 1.0]) == [2, 2, 2, 4]


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 7, 8, 255, 256])
def test_bits_are_the_fewest_that_tell_the_levels_steps_apart(levels: int) -> None:
    number, _ = sent(AdaQuantFL(first=levels, codec=Uniform()))
    assert number == math.ceil(math.log2(levels + 1))


# --- DAdaQuant ------------------------------------------------------------------------------------


def test_dadaquant_doubles_exactly_when_the_loss_is_no_lower_than_so_many_rounds_before() -> None:
    codec = DAdaQuant(rounds=2, smoothing=0.0, most=16)
    losses = [3.0, 2.0, 1.0, 1.5, 1.0, 0.9, 1.0, 0.8, 0.7, 0.6, 0.7, 0.6, 0.6, 0.6]
    # The average of a message is compared with that of two messages before, at the same levels:
    # 3 2 1 fall; 1.5 < 2; 1 >= 1 doubles. Then 1 0.9 1: doubles. 1 0.8 0.7 and 0.8 0.7 0.6 fall; 0.7 >= 0.7 doubles.
    # Then 0.7 0.6 0.6 fall, and 0.6 >= 0.6 doubles.
    assert course(codec, losses) == [1, 1, 1, 1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 16]
    assert course(codec, [*losses, *[0.6] * 6])[-6:] == [16] * 6


def test_dadaquant_compares_running_averages() -> None:
    # Averages are 8, 4, 3, 2.5: a rise of the loss that they do not feel.
    losses = [8.0, 0.0, 2.0, 2.0]
    assert course(DAdaQuant(rounds=1, smoothing=0.5), losses) == [1, 1, 1, 1]
    assert course(DAdaQuant(rounds=1, smoothing=0.0), losses) == [1, 1, 2, 4]


def test_dadaquant_does_nothing_on_a_loss_that_is_not_known() -> None:
    losses = [UNKNOWN, 1.0, UNKNOWN, 1.0, UNKNOWN, UNKNOWN, 0.5]
    assert course(DAdaQuant(rounds=1, smoothing=0.0, first=3), losses) == [3, 3, 3, 6, 6, 6, 6]


@pytest.mark.parametrize("weight", [0.01, 0.125, 0.5, 1.0, 2.0, 8.0])
def test_dadaquant_levels_go_with_the_weight_to_two_thirds(weight: float) -> None:
    number, _ = sent(DAdaQuant(first=40), weight=weight)
    assert abs(number - max(1.0, 40 * weight ** (2 / 3))) <= 0.5
    assert sent(DAdaQuant(first=40, by_weight=False), weight=weight)[0] == 40


def test_dadaquant_needs_neither_more_levels_nor_more_variance_than_equal_levels() -> None:
    """And no other way to share out as many levels has less: the theorem behind the exponent."""
    generator = (Key(7) / "weights").numpy()
    samples = generator.lognormal(0.0, 1.0, 30)
    weights = samples / samples.mean()
    levels = np.array([sent(DAdaQuant(first=1000, most=1000), weight=float(w))[0] for w in weights], float)

    def variance(q: np.ndarray) -> float:
        return float(np.sum((weights / q) ** 2))

    assert levels.sum() < 1000 * 30
    assert variance(levels) < variance(np.full(30, 1000.0))
    assert variance(levels) < variance(np.full(30, levels.mean()))
    for _ in range(100):
        other = levels * generator.lognormal(0.0, 0.1, 30)
        assert variance(levels) <= variance(other * levels.sum() / other.sum()) * (1 + 1e-5)


# --- schedules ------------------------------------------------------------------------------------


def scheduled(codec: Adaptive, rounds: Iterable[int]) -> list[int]:
    return [sent(codec, round=k)[0] for k in rounds]


def test_a_schedule_begins_and_ends_where_it_says_and_stays_there() -> None:
    for first, last in ((2, 50), (50, 2), (5, 5)):
        for way in ("linear", "geometric"):
            codec = Scheduled(first=first, last=last, rounds=9, course=way)  # type: ignore[arg-type]
            numbers = scheduled(codec, range(12))
            assert numbers[:2] == [first, first]
            assert numbers[9:] == [last] * 3
            steps = np.diff(numbers)
            assert (steps * np.sign(last - first) >= 0).all()


def test_linear_adds_and_geometric_multiplies() -> None:
    assert scheduled(Scheduled(first=2, last=10, rounds=5), range(1, 6)) == [2, 4, 6, 8, 10]
    assert scheduled(Scheduled(first=64, last=4, rounds=5, course="geometric"), range(1, 6)) == [
        64,
        32,
        16,
        8,
        4,
    ]
    assert scheduled(Scheduled(first=8, last=2, rounds=4, codec=Uniform()), range(1, 5)) == [8, 6, 4, 2]


# --- codecs around codecs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codec", [Rotated(codec=Uniform()), Clipped(codec=QSGD()), TopK(codec=Uniform(bits=3))]
)
def test_the_quantiser_may_be_behind_another_codec(codec: Codec) -> None:
    x = torch.randn(500, generator=Key(3).torch())
    ctx = Context(Layout.flat(500), Key(1))
    bits = []
    for first in (3, 15):
        rule = AdaQuantFL(first=first, codec=codec)
        payload, _ = rule.encode(x, ctx=ctx)
        bits.append(payload.bits)
        assert rule.decode(payload, ctx=ctx)[0].shape == x.shape
    assert bits[0] < bits[1]


def test_a_rule_behind_rules_for_tensors_is_told_of_the_loss_and_remembers() -> None:
    codec = Layered(codec=Float32(), biases=AdaQuantFL(first=1))
    assert needs_loss(codec)
    assert not needs_loss(Layered(codec=Scheduled()))
    memory: Memory = {}
    bits = []
    for loss in (1.0, 1e-4):
        payload, memory = codec.encode(torch.ones(40), ctx=replace(CONTEXT, loss=loss, memory=memory))
        bits.append(payload.bits)
    assert bits[1] - bits[0] == 40 * (8 - 2)  # 201 symbols instead of 3


@pytest.mark.parametrize("codec", [Float32(), PowerSGD()])
def test_a_codec_without_levels_is_refused(codec: Codec) -> None:
    for rule in (AdaQuantFL, DAdaQuant, Scheduled):
        with pytest.raises(ConfigError, match=r"codec = .* must be a quantiser with levels or bits"):
            rule(codec=codec)


def test_numbers_that_the_quantiser_does_not_take_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"first = 17 must be in 1 … 16"):
        Scheduled(first=17, last=2, codec=Uniform())
    with pytest.raises(ConfigError, match=r"last = 0 must be in 1 … 32767"):
        Scheduled(first=17, last=0)
    with pytest.raises(ConfigError, match=r"most = 2 must be in 4 … "):
        DAdaQuant(first=4, most=2)
    payload, _ = AdaQuantFL().encode(torch.ones(40), ctx=CONTEXT)
    with pytest.raises(CodecError, match=r"levels = 65535 in the payload is not in 1 … 32767"):
        AdaQuantFL().decode(Payload(b"\xff\xff" + bytes(payload.body[2:]), payload.bits), ctx=CONTEXT)


def test_the_downlink_refuses_a_rule_that_follows_the_loss() -> None:
    with pytest.raises(
        ConfigError, match=r"codec = 'adaquantfl' must be one that does not follow the training loss"
    ):
        Downlink(codec=AdaQuantFL())
    with pytest.raises(ConfigError, match="kind = 'scheduled'"):
        Downlink(codec=Rotated(codec=DAdaQuant(codec=Uniform())))
    Downlink(codec=Scheduled())


# --- federations ----------------------------------------------------------------------------------

ROUNDS = 8
ENTRIES = 20 * 10 + 10
SCENARIO = Scenario(
    data=Synthetic(train_samples=200, test_samples=50),
    model=Softmax(),
    population=Population(ues=4),
    training=Training(batch_size=10, learning_rate=0.1),
    compute=PerSample(seconds_per_sample=0.01),
    stop=Stop(rounds=ROUNDS),
)


def with_codec(codec: Codec, **changes: Any) -> Scenario:
    return replace(SCENARIO, uplink=Uplink(codec=codec), **changes)


class Ran:
    """A finished run.

    Attributes:
        losses: [rounds] mean training loss of each.
        up, down: [rounds] frames, as pairs of payload bits and bits on the air.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.simulation = Simulation(scenario, scenario.data.load())
        self.losses: list[float] = []
        self.up: list[dict[str, tuple[int, int]]] = []
        self.down: list[list[tuple[int, int]]] = []
        self.simulation.step()
        while self.simulation.stopped_by is None:
            record = self.simulation.step()
            self.losses.append(record.row["train_loss"])
            frames = {
                way: [e for e in record.entries if e.direction == way] for way in ("uplink", "downlink")
            }
            self.up.append({e.ues[0]: (e.payload_bits, e.bits) for e in frames["uplink"]})
            self.down.append([(e.payload_bits, e.bits) for e in frames["downlink"]])


def qsgd_bits(levels: float) -> int:
    """A number of 16 bits, one norm of 32, words of whole bits."""
    return 16 + 32 + ENTRIES * math.ceil(math.log2(2 * math.floor(levels + 0.5) + 1))


def test_adaquantfl_takes_more_bits_as_the_loss_falls() -> None:
    ran = Ran(with_codec(AdaQuantFL(first=3)))
    assert ran.losses[-1] < ran.losses[0] / 2
    # A UE hears of a round's loss with the next round's model; of the first it knows nothing.
    known = [ran.losses[0], *ran.losses[:-1]]
    for loss, frames in zip(known, ran.up, strict=True):
        bits = qsgd_bits(3 * math.sqrt(ran.losses[0] / loss))
        assert [payload for payload, _ in frames.values()] == [bits] * 4
    totals = [sum(bits for _, bits in frames.values()) for frames in ran.up]
    assert sorted(totals) == totals
    assert totals[-1] > totals[0]


def test_the_loss_is_on_the_air_both_ways_where_a_rule_follows_it_and_only_there() -> None:
    for codec, loss_bits in ((AdaQuantFL(), 32), (DAdaQuant(), 32), (Scheduled(), 0), (QSGD(), 0)):
        ran = Ran(with_codec(codec, stop=Stop(rounds=2)))
        frames = [frame for up in ran.up for frame in up.values()] + [f for down in ran.down for f in down]
        extra = {bits - -(-payload // 8) * 8 - 8 * OVERHEAD_BYTES for payload, bits in frames}
        assert extra == {loss_bits}


@pytest.mark.parametrize(("first", "last"), [(31, 1), (1, 31)])
def test_a_schedule_moves_the_bits_of_each_round(first: int, last: int) -> None:
    ran = Ran(with_codec(Scheduled(first=first, last=last, rounds=ROUNDS)))
    for k, frames in enumerate(ran.up):
        bits = qsgd_bits(first + (last - first) * k / (ROUNDS - 1))
        assert {payload for payload, _ in frames.values()} == {bits}


def test_dadaquant_doubles_where_training_gets_no_further_and_gives_more_to_who_has_more() -> None:
    """Labels that are nearly noise, and steps that are too long: the loss goes up and down by more than a rounding."""
    scenario = replace(
        SCENARIO,
        seed=1,
        data=replace(SCENARIO.data, law="linear", noise=20.0),
        training=replace(SCENARIO.training, learning_rate=5.0),
        partition=Quantity(alpha=0.5),
        uplink=Uplink(codec=DAdaQuant(first=8, rounds=2, smoothing=0.0)),
        stop=Stop(rounds=12),
    )
    ran = Ran(scenario)
    samples = {name: len(ue.samples) for name, ue in ran.simulation.ues.items()}
    mean = round(sum(samples.values()) / 4)
    assert max(samples.values()) > 2 * min(samples.values())
    levels, since = 8, 0
    for k, frames in enumerate(ran.up):
        # Losses of the rounds before k are known, those of this level from ``since`` on.
        if k - 1 - since >= 2 and ran.losses[k - 1] >= ran.losses[k - 3]:
            levels, since = 2 * levels, k - 1
        for name, (payload, _) in frames.items():
            share = (samples[name] / mean) ** (2 / 3) if k else 1.0
            assert payload == qsgd_bits(max(1.0, levels * share))
    assert levels >= 32
    assert all(abs(a - b) > 1e-2 for a, b in zip(ran.losses, ran.losses[2:], strict=False))


@pytest.mark.parametrize("codec", [AdaQuantFL(first=1), DAdaQuant(rounds=1, smoothing=0.5)])
def test_a_run_that_goes_on_from_a_checkpoint_chooses_what_it_would_have_chosen(codec: Codec) -> None:
    population = replace(SCENARIO.population, ues=5, cohort=3)
    scenario = with_codec(
        codec, population=population, training=replace(SCENARIO.training, learning_rate=0.5)
    )
    whole, dataset = Ran(scenario), scenario.data.load()
    first = Simulation(scenario, dataset)
    for _ in range(5):
        first.step()
    again = Simulation(scenario, dataset)
    again.load(first.state())
    for k in range(4, ROUNDS):
        record = again.step()
        assert {
            e.ues[0]: (e.payload_bits, e.bits) for e in record.entries if e.direction == "uplink"
        } == whole.up[k]
        assert record.row["train_loss"] == whole.losses[k]
