"""Fact 33 and what else is known of sums on the air: what is cut off, what it costs, how wrong and how long it is."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import Cell, Links, OverTheAir, Shannon, Wireless, expected_phase_s
from syft_fl.radio.access import Ofdma, Tdma
from syft_fl.radio.over_the_air import Superposition, mean_inversion
from syft_fl.transport import Downlink, Message, ModelContent, Statistics, Transport, Uplink
from syft_fl.transport.superposed import statistics_of
from syft_fl.vectors import Layout, ModelState

KEY = Key(7)
RADIO = Shannon(shadowing_db=0.0)


def superposed(
    analog: OverTheAir,
    ues: int,
    *,
    block: int = 1,
    entries: int = 1000,
    radio: Shannon = RADIO,
    squares: list[float] | None = None,
    cell: Cell | None = None,
) -> Superposition:
    links = Links(radio.link(cell or Cell(distances_m=(250.0,) * ues), KEY, "uplink"))
    return analog.superpose(
        links,
        [f"ue{k}" for k in range(ues)],
        weights=[1.0] * ues,
        squares=squares or [1.0] * ues,
        entries=entries,
        block=block,
        time_s=0.0,
        fading="rayleigh",
        key=KEY,
    )


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.5, 1.5])
@pytest.mark.parametrize("groups", [False, True])
def test_truncated_inversion_drops_and_costs_what_rayleigh_fading_says(
    threshold: float, groups: bool
) -> None:
    analog = OverTheAir(threshold=threshold, coherence_entries=1 if groups else None)
    if groups:
        found = superposed(analog, 20, entries=20_000)
        sent, spent_w = found.sent.ravel(), found.transmit_w
        limit_w = found.received_w
    else:
        rounds = [superposed(analog, 20, block=block) for block in range(1, 1001)]
        sent = np.concatenate([one.sent.ravel() for one in rounds])
        spent_w = np.concatenate([one.transmit_w for one in rounds])
        limit_w = rounds[0].received_w
    n = len(sent)
    dropped = 1 - math.exp(-threshold)
    assert 1 - sent.mean() == pytest.approx(dropped, abs=5 * math.sqrt(dropped * (1 - dropped) / n))
    # All stand equally far, so each spends the power that it may spend on average: E1(g) times the received power.
    inversion, _ = quad(lambda h: math.exp(-h) / h, threshold, math.inf)
    assert mean_inversion("rayleigh", threshold) == pytest.approx(inversion)
    second, _ = quad(lambda h: math.exp(-h) / h**2, threshold, math.inf)
    per_unit = spent_w / (limit_w * 2 / path_gain(250.0))
    error = 5 * math.sqrt((second - inversion**2) / n)
    assert per_unit.mean() == pytest.approx(inversion, abs=error)
    assert spent_w.mean() == pytest.approx(0.01, rel=error / inversion)


def path_gain(distance_m: float) -> float:
    return 10 ** (-(128.1 + 37.6 * math.log10(distance_m / 1000)) / 10)


def test_the_numbers_of_the_facts() -> None:
    assert mean_inversion("rayleigh", 0.1) == pytest.approx(1.8229, abs=5e-5)
    assert 1 - math.exp(-0.1) == pytest.approx(0.0952, abs=5e-5)


def test_the_weakest_sets_the_received_power() -> None:
    near = superposed(OverTheAir(), 3, cell=Cell(distances_m=(50.0, 60.0, 70.0)))
    mixed = superposed(OverTheAir(), 3, cell=Cell(distances_m=(50.0, 400.0, 70.0)))
    assert near.received_w == pytest.approx(0.01 * path_gain(70.0) / (2 * mean_inversion("rayleigh", 0.1)))
    assert mixed.received_w / near.received_w == pytest.approx(path_gain(400.0) / path_gain(70.0))


@pytest.mark.parametrize("coherence", [None, 50])
def test_peak_power_is_kept_by_each_and_reached_by_one(coherence: int | None) -> None:
    analog = OverTheAir(power="peak", threshold=0.2, coherence_entries=coherence)
    for block in range(1, 30):
        found = superposed(analog, 6, block=block, entries=1010, squares=[0.5, 1.0, 2.0, 1.0, 1.0, 0.1])
        assert found.transmit_w.max() == pytest.approx(0.01)
        silent = ~found.sent.any(axis=1)
        assert not found.transmit_w[silent].any()


LAYOUT = Layout.flat(4000)


def transport_of(ues: int, uplink: Uplink, cell: Cell | None = None) -> Transport:
    transport = Transport(
        uplink=uplink, downlink=Downlink(), cell=cell or Cell(distances_m=(200.0,) * ues), key=3, hub="bs"
    )
    model = ModelContent(ModelState(torch.zeros(LAYOUT.length), {}), LAYOUT)
    down = Message("model", "bs", tuple(f"ue{k}" for k in range(ues)), "model", model)
    for outgoing in transport.prepare(down):
        transport.offer(outgoing, now_s=0.0)
    while transport.next_event_s() < math.inf:
        transport.advance(transport.next_event_s())
    return transport


def models(ues: int, round: int = 1, samples: tuple[int, ...] = ()) -> list[Message]:
    found = []
    for k in range(ues):
        draw = (KEY / f"model{k}" / round).torch()
        vector = 0.02 + 0.3 * torch.randn(LAYOUT.length, generator=draw)
        found.append(
            Message(
                "model",
                f"ue{k}",
                "bs",
                "model",
                ModelContent(ModelState(vector, {}), LAYOUT),
                round=round,
                samples=samples[k] if samples else 10,
            )
        )
    return found


def common_of(messages: list[Message]) -> Statistics:
    each = [statistics_of(message.content.state.vector) for message in messages]  # type: ignore[union-attr]
    return Statistics(sum(s.mean for s in each) / len(each), sum(s.square for s in each) / len(each))


def sum_of(transport: Transport, messages: list[Message]) -> Any:
    transport.superpose(messages, common_of(messages), now_s=1.0)
    (arrival,) = transport.advance(transport.next_event_s())
    return arrival


def mean_of(messages: list[Message], senders: tuple[str, ...]) -> torch.Tensor:
    here = [m for m in messages if m.sender in senders]
    total = sum(m.samples for m in here)
    return sum(m.samples / total * m.content.state.vector.double() for m in here)  # type: ignore[union-attr,return-value]


def test_without_noise_it_is_the_weighted_mean_of_who_sends() -> None:
    quiet = Shannon(noise_dbm_per_hz=-300.0, shadowing_db=0.0)
    messages = models(5, samples=(10, 20, 5, 40, 25))
    arrival = sum_of(transport_of(5, Uplink(link=quiet, analog=OverTheAir())), messages)
    expected = mean_of(messages, arrival.received)
    assert len(arrival.received) >= 3
    torch.testing.assert_close(arrival.content.state.vector.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ues", [2, 8])
@pytest.mark.parametrize("distance_m", [200.0, 450.0])
@pytest.mark.parametrize("per_symbol", [1, 2])
@pytest.mark.parametrize("power", ["mean", "peak"])
def test_the_error_of_the_mean_is_that_of_the_noise(
    ues: int, distance_m: float, per_symbol: int, power: str
) -> None:
    analog = OverTheAir(threshold=0.05, power=power, entries_per_symbol=per_symbol)  # type: ignore[arg-type]
    radio = Shannon(shadowing_db=0.0, bandwidth_hz=5e6)
    transport = transport_of(ues, Uplink(link=radio, analog=analog), Cell(distances_m=(distance_m,) * ues))
    messages = models(ues)
    common = common_of(messages)
    arrival = sum_of(transport, messages)
    senders = arrival.received
    fading = Links(radio.link(Cell(distances_m=(distance_m,) * ues), Key(3) / "radio", "uplink"))
    gains = {f"ue{k}": fading.of("x").fading_gain(f"ue{k}", block=1, time_s=0.0) for k in range(ues)}
    assert senders == tuple(ue for ue, gain in gains.items() if gain >= 0.05)
    # By hand: noise of one dimension over the received power of an entry, over the square of the number of senders.
    noise_w = 10 ** ((-174.0 - 30) / 10) * 5e6 / 2
    squares = {
        message.sender: statistics_of(message.content.state.vector).square_under(common)  # type: ignore[union-attr]
        for message in messages
    }
    if power == "mean":
        received_w = 0.01 * path_gain(distance_m) / (per_symbol * mean_inversion("rayleigh", 0.05))
    else:
        received_w = min(
            0.01 * path_gain(distance_m) * gains[ue] / (per_symbol * squares[ue]) for ue in senders
        )
    expected = common.scale**2 * noise_w / received_w / len(senders) ** 2
    errors = (arrival.content.state.vector.double() - mean_of(messages, senders)).numpy()
    assert np.mean(errors**2) == pytest.approx(expected, rel=5 * math.sqrt(2 / LAYOUT.length))
    assert abs(errors.mean()) < 5 * math.sqrt(expected / LAYOUT.length)


def test_misaligned_amplitudes_add_their_part_of_the_error() -> None:
    quiet = Shannon(noise_dbm_per_hz=-300.0, shadowing_db=0.0, fading="none")
    sigma, ues, rounds = 0.2, 4, 300
    transport = transport_of(ues, Uplink(link=quiet, analog=OverTheAir(alignment_error=sigma)))
    errors = []
    for round in range(1, rounds + 1):
        messages = models(ues, round)
        arrival = sum_of(transport, messages)
        error = arrival.content.state.vector.double() - mean_of(messages, arrival.received)
        errors.append(float(error.square().mean()) / common_of(messages).scale ** 2)
    # One draw for a UE and round: a chi-square with as many degrees of freedom as there are UEs in all rounds.
    expected = sigma**2 / ues
    assert np.mean(errors) == pytest.approx(expected, rel=5 * math.sqrt(2 / (ues * rounds)))


def test_who_is_silent_keeps_its_update_and_owes_it() -> None:
    messages = models(12)
    kept = transport_of(12, Uplink(link=RADIO, analog=OverTheAir(threshold=1.0), error_feedback=True))
    gone = transport_of(12, Uplink(link=RADIO, analog=OverTheAir(threshold=1.0)))
    for transport in (kept, gone):
        arrival = sum_of(transport, messages)
        assert 0 < len(arrival.received) < 12
        entries = {entry.ues[0]: entry for entry in transport.ledger.entries if entry.kind == "analog"}
        for message in messages:
            residual = transport.residual(message.sender, "model")
            silent = message.sender not in arrival.received
            assert entries[message.sender].lost == ((message.sender,) if silent else ())
            if transport is gone:
                assert residual is None
            else:
                owed = message.content.state.vector if silent else torch.zeros(LAYOUT.length)  # type: ignore[union-attr]
                torch.testing.assert_close(residual, owed)
    assert [e.bits for e in gone.ledger.entries if e.kind == "analog"] == [0] * 12


def test_the_ledger_has_each_ones_energy_on_average_its_power() -> None:
    analog = OverTheAir(sync_s=0.01)
    transport = transport_of(8, Uplink(link=RADIO, analog=analog))
    for number in range(1, 201):
        sum_of(transport, models(8, number))
    entries = [entry for entry in transport.ledger.entries if entry.kind == "analog"]
    airtime_s = 0.01 + LAYOUT.length / 2 / 1e6
    assert [entry.airtime_s for entry in entries] == pytest.approx([airtime_s] * len(entries))
    assert transport.ledger.uplink_transmit_energy_j == pytest.approx(
        sum(entry.energy_j for entry in entries)
    )
    second, _ = quad(lambda h: math.exp(-h) / h**2, 0.1, math.inf)
    inversion = mean_inversion("rayleigh", 0.1)
    spread = math.sqrt(second - inversion**2) / inversion / math.sqrt(len(entries))
    symbols_j = [entry.energy_j - 0.01 * 0.01 for entry in entries]
    assert np.mean(symbols_j) == pytest.approx(0.01 * (airtime_s - 0.01), rel=5 * spread + 0.01)


@pytest.mark.parametrize("access", [Tdma(), Ofdma()], ids=repr)
def test_digital_takes_longer_the_more_send_and_analog_does_not(access: Tdma | Ofdma) -> None:
    radio, entries = Shannon(shadowing_db=0.0, fading="none"), 100_000
    analog_s = OverTheAir(sync_s=0.0).duration_s(entries, bandwidth_hz=1e6)
    assert analog_s == entries / 2 / 1e6
    ratios = []
    for ues in (5, 10, 20, 40):
        cell = Cell(distances_m=(250.0,) * ues)
        cohort = [[f"ue{k}" for k in range(ues)]]
        link = radio.link(cell, KEY, "uplink")
        digital_s = expected_phase_s(access, link, cohort, 4 * entries, users=ues)
        # 4 bits an entry: K d 4 / (B log2(1 + SNR)) with all power in the band; OFDMA's SNR is K times that.
        snr = 10**1.854 * (ues if isinstance(access, Ofdma) else 1)
        assert digital_s == pytest.approx(ues * 4 * entries / (1e6 * math.log2(1 + snr)), rel=1e-3)
        ratios.append(digital_s / analog_s)
    growth = [b / a for a, b in pairwise(ratios)]
    if isinstance(access, Tdma):
        assert growth == pytest.approx([2.0] * 3)
    else:  # K / log K
        assert all(1.5 < g < 2.0 for g in growth)


def test_asking_twice_or_in_another_order_changes_nothing() -> None:
    analog = OverTheAir(coherence_entries=10)
    first = [superposed(analog, 4, block=block) for block in (1, 2, 3)]
    again = [superposed(analog, 4, block=block) for block in (3, 1, 2)]
    for one, other in zip(first, (again[1], again[2], again[0]), strict=True):
        assert (one.sent == other.sent).all()
        assert (one.amplitudes == other.amplitudes).all()


def test_what_does_not_add_up_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"link = 'constant' must be one with a band"):
        Uplink(analog=OverTheAir())
    with pytest.raises(ConfigError, match=r"codec = 'uniform' must be 'float32' with analog"):
        Uplink(link=RADIO, analog=OverTheAir(), codec={"kind": "uniform"})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"link.fading = 'rician' must be one of"):
        Uplink(link=Wireless(fading={"kind": "rician"}), analog=OverTheAir())  # type: ignore[arg-type]
    Uplink(link=Wireless(fading={"kind": "rician"}), analog=OverTheAir(power="peak"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"threshold = 0\.0 must be above 0 with power"):
        OverTheAir(threshold=0.0)
    with pytest.raises(ConfigError, match="delta = true"):
        replace(Uplink(link=RADIO, analog=OverTheAir()), delta=False)
