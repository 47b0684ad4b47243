"""What must hold of channels and losses that Sionna draws: laws of the standard, its own answers, nothing disturbed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from claims.radio import frequency, needs_sionna, sent

from syft_fl.errors import ConfigError
from syft_fl.experiment.config import parse
from syft_fl.experiment.runs import run
from syft_fl.keys import Key
from syft_fl.radio import (
    Arq,
    Cell,
    Given,
    Harq,
    InF,
    InH,
    RandomWaypoint,
    RMa,
    Sionna,
    Tdma,
    UMa,
    UMi,
    Wireless,
)
from syft_fl.radio.multipath import Multipath
from syft_fl.radio.paths import Tr38901
from syft_fl.radio.sionna_link import SionnaLink
from syft_fl.radio.transport_blocks import TransportBlocks, transport_blocks

KEY = Key(38901)
CELL = Cell(radius_m=400.0)
HALL = Cell(radius_m=100.0, min_distance_m=10.0)
BITS = 8 * 1506

pytestmark = needs_sionna


def link_of(model: Sionna, *, cell: Cell = CELL, key: Key = KEY, direction: str = "uplink") -> SionnaLink:
    link = model.link(cell, key, direction)
    assert isinstance(link, SionnaLink)
    return link


def channel_of(path: Tr38901, *, cell: Cell = CELL, key: Key = KEY, direction: str = "uplink") -> Multipath:
    link_of(Sionna())  # imports Sionna
    return Multipath(path, cell=cell, key=key, direction=direction, tones=51, spacing_hz=360e3)


def gains_of(channel: Multipath, *, ues: int, blocks: int, los: bool) -> np.ndarray:
    """[ues, blocks, tones]"""
    return np.array(
        [[channel.gains(f"ue{k}", number=1 + block, los=los) for block in range(blocks)] for k in range(ues)]
    )


# What Sionna draws.


@pytest.mark.parametrize("los", [True, False])
@pytest.mark.parametrize(
    ("path", "cell"),
    [(UMi(), CELL), (UMa(), CELL), (RMa(), CELL), (InH(), HALL), (InF(hall="DH"), HALL)],
    ids=repr,
)
def test_gains_are_1_on_average(path: Tr38901, cell: Cell, los: bool) -> None:
    channel = channel_of(replace(path, los="always" if los else "never"), cell=cell)
    gains = gains_of(channel, ues=64, blocks=32, los=los)
    # Means over all blocks and tones of a UE are independent of other UEs'.
    means = gains.mean(axis=(1, 2))
    assert means.mean() == pytest.approx(1.0, abs=5 * means.std() / 8)


def test_without_a_line_of_sight_gains_are_nearly_exponential() -> None:
    gains = gains_of(channel_of(UMa(los="never")), ues=64, blocks=32, los=False)
    # Of a sum of n equal rays E[g^2] = 2 - 1/n; here some are far stronger than others.
    squares = (gains**2).mean(axis=(1, 2))
    assert 1.8 < squares.mean() < 2.0 + 5 * squares.std() / 8
    # A tenth of an exponential lies below 0.105.
    assert (gains < -np.log(0.9)).mean() == pytest.approx(0.1, abs=0.02)


def test_a_line_of_sight_steadies_gains_as_its_rice_factor_says() -> None:
    # Var[g] = (1 + 2K)/(1 + K)^2; a few rays instead of many take a little off.
    channel = channel_of(UMi(los="always"))
    factors = np.array([channel.rice_factor(f"ue{k}", los=True) for k in range(160)])
    variances = gains_of(channel, ues=160, blocks=32, los=True).var(axis=(1, 2))
    expected = (1 + 2 * factors) / (1 + factors) ** 2
    assert variances.mean() == pytest.approx(expected.mean(), rel=0.1)
    assert np.corrcoef(np.log(variances), np.log(expected))[0, 1] > 0.8


def test_rice_factors_and_delay_spreads_have_the_standards_law_beside_the_shadow() -> None:
    # TR 38.901 V19, table 7.5-6, UMi in line of sight: K 9 dB ± 5 dB, log DS ± 0.39; with the shadow they correlate.
    n, path = 800, UMi(los="always", correlated=False)
    channel = channel_of(path)
    ues = [f"ue{k}" for k in range(n)]
    shadow_db = np.array(
        [
            10 * np.log10(path.gain(ue, cell=CELL, key=KEY))
            + path.loss_db(CELL.distance_m(ue, KEY), los=True)
            for ue in ues
        ]
    )
    k_db = 10 * np.log10([channel.rice_factor(ue, los=True) for ue in ues])
    spread = np.log10([channel.delay_spread_s(ue, los=True) for ue in ues])
    assert k_db.mean() == pytest.approx(9.0, abs=5 * 5.0 / n**0.5)
    assert k_db.std() == pytest.approx(5.0, rel=5 / (2 * n) ** 0.5)
    assert spread.mean() == pytest.approx(-0.18 * np.log10(1 + 3.5) - 7.28, abs=5 * 0.39 / n**0.5)
    assert spread.std() == pytest.approx(0.39, rel=5 / (2 * n) ** 0.5)
    for values, correlation in ((k_db, 0.5), (spread, -0.4)):
        found = np.corrcoef(values, shadow_db)[0, 1]
        assert found == pytest.approx(correlation, abs=5 * (1 - correlation**2) / n**0.5)


def test_blocks_are_independent_and_so_are_directions() -> None:
    paths = UMa(los="never")
    up, down = (
        gains_of(channel_of(paths, direction=d), ues=96, blocks=33, los=False)[..., 0]
        for d in ("uplink", "downlink")
    )
    n = 96 * 32
    for one, other in ((up[:, :-1], up[:, 1:]), (up[:, :-1], down[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / n**0.5


def test_tones_are_alike_over_the_coherence_bandwidth() -> None:
    # Delays in offices spread over some 20 ns, in streets without a line of sight over more than ten times that.
    def alike(path: Tr38901, cell: Cell, apart: int) -> float:
        gains = gains_of(channel_of(path, cell=cell), ues=64, blocks=16, los=False)
        return float(np.corrcoef(gains[..., :-apart].ravel(), gains[..., apart:].ravel())[0, 1])

    office = [alike(InH(los="never"), HALL, apart) for apart in (1, 5, 20)]
    street = [alike(UMa(los="never"), CELL, apart) for apart in (1, 5, 20)]
    assert all(a > b for a, b in pairwise(office))
    assert office[0] > 0.95
    assert all(o > s + 0.2 for o, s in zip(office[1:], street[1:], strict=True))


# Paired with other links, whoever else is there, whatever was drawn before.


@pytest.mark.parametrize("path", [UMi(), UMa(correlated=False), RMa(shadowing=False)], ids=repr)
def test_places_lines_of_sight_and_shadows_are_those_of_a_wireless_link(path: Tr38901) -> None:
    sionna = link_of(Sionna(path=path))
    wireless = Wireless(path=path, bandwidth_hz=20e6).link(CELL, KEY, "downlink")
    for k in range(20):
        assert sionna.mean_gain(f"ue{k}", time_s=1.0) == wireless.mean_gain(f"ue{k}", time_s=9.0)


def test_snr_is_received_power_over_noise() -> None:
    link = link_of(Sionna(noise_figure_db=5.0, interference_dbm_per_hz=-170.0), direction="downlink")
    for share in (1.0, 0.25):
        asked = {"block": 3, "time_s": 0.0}
        received_w = link.transmit_power_w("ue1", share=share, **asked)
        received_w *= link.mean_gain("ue1", time_s=0.0) * link.fading_gain("ue1", **asked)
        noise_w = link.noise_w("ue1", share=share, **asked)
        assert link.snr("ue1", share=share, **asked) == pytest.approx(received_w / noise_w)


def test_a_ue_has_its_channel_whoever_else_there_is() -> None:
    places = ((50.0, 80.0), (-120.0, 3.0), (0.0, 200.0), (7.0, -90.0))
    few, many = (Cell(placement=Given(positions_m=places[:count])) for count in (2, 4))
    for ue in ("ue0", "ue1"):
        rates = [
            [link_of(Sionna(), cell=cell).rate_bps(ue, share=1.0, block=b, time_s=0.0) for b in range(40)]
            for cell in (few, many)
        ]
        assert rates[0] == rates[1]
    with pytest.raises(ConfigError, match="has 2 entries, none for 'ue2'"):
        link_of(Sionna(), cell=few).rate_bps("ue2", share=1.0, block=0, time_s=0.0)


@pytest.mark.parametrize("ue", ["ue07", "alice", "phone-3", "17", "ue99999999999999999999"])
def test_any_name_has_a_channel_of_its_own(ue: str) -> None:
    gains = channel_of(UMi(los="never")).gains(ue, number=5, los=False)
    assert gains.shape == (51,)
    assert not np.array_equal(gains, channel_of(UMi(los="never")).gains("ue7", number=5, los=False))


def test_a_ue_that_moves_keeps_its_fading_and_changes_its_loss_and_line_of_sight() -> None:
    cell = Cell(
        radius_m=400.0, placement=RandomWaypoint(step_s=2.0, speed_min_m_per_s=15.0, speed_max_m_per_s=20.0)
    )
    path = UMi()
    link, times_s = link_of(Sionna(path=path), cell=cell), np.arange(0.0, 120.0, 2.0)
    fading: dict[bool, set[float]] = {True: set(), False: set()}
    for time_s in times_s:
        seen = path.sees("ue0", cell=cell, key=KEY, time_s=time_s)
        fading[seen].add(link.fading_gain("ue0", block=1, time_s=time_s))
    assert len(fading[True]) == len(fading[False]) == 1
    assert fading[True] != fading[False]
    assert len({link.mean_gain("ue0", time_s=time_s) for time_s in times_s}) == len(times_s)
    assert link.steady_until_s(time_s=3.0) == 4.0


@contextmanager
def as_found() -> Iterator[None]:
    """All global generators are afterwards where they were."""
    import torch
    from sionna.phy import config

    def states() -> list[object]:
        legacy = np.random.get_state()
        return [
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            random.getstate(),
            (legacy[1].tolist(), *legacy[2:]),
            config.seed,
            config.torch_rng("cpu").get_state().tolist(),
            config.np_rng.bit_generator.state,
            config.py_rng.getstate(),
        ]

    before = states()
    yield
    assert states() == before


def test_global_generators_are_left_as_found_and_have_no_say() -> None:
    import torch
    from sionna.phy import config

    found = []
    for number in range(2):
        # Another key than any other test's, so that nothing is kept; in the second pass, another number of bits too.
        key, seed = KEY / "fresh", config.seed
        torch.manual_seed(number)
        config.torch_rng("cpu").manual_seed(number)
        for kept in _kept_functions():
            kept.cache_clear()
        with as_found():
            medium = Tdma().open(link_of(Sionna(), key=key), users=1)
            for k in range(3):
                medium.offer([f"ue{k}"], 500_000, now_s=0.0, block=k)
            found.append(medium.advance(1e6))
        assert config.seed == seed
    assert found[0] == found[1]


def test_a_run_over_sionna_is_the_same_to_the_byte_when_its_channels_are_drawn_again(tmp_path: Path) -> None:
    config = parse(
        {
            "data": {"kind": "synthetic", "train_samples": 120, "test_samples": 30},
            "population": {"ues": 5, "cohort": 3},
            "uplink": {"link": {"kind": "sionna", "path": {"kind": "uma"}, "power_dbm": 0.0}},
            "downlink": {"link": {"kind": "sionna", "block": "time"}},
            "stop": {"rounds": 3},
        }
    )
    for name in ("first", "second"):
        for kept in _kept_functions():
            kept.cache_clear()
        run(config, out=tmp_path / name)
    for name in ("config.json", "rounds.jsonl", "transfers.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def _kept_functions() -> list:
    from syft_fl.radio import multipath
    from syft_fl.radio import transport_blocks as blocks

    return [multipath._gains, multipath._clusters, blocks._physical, blocks.transport_blocks]


# What Sionna's tables say.


@pytest.fixture(scope="module", params=[("64qam", 1), ("256qam", 2)], ids=lambda table: table[0])
def table(request: pytest.FixtureRequest) -> tuple[TransportBlocks, int]:
    """Packets of 1500 bytes and a header, and the number of the standard's table."""
    link_of(Sionna())
    name, number = request.param
    return transport_blocks(name, BITS, target=0.1), number


def bands() -> np.ndarray:
    """[bands, tones] SNRs (linear): from flat to deeply notched, -10 … 30 dB on average."""
    generator = (KEY / "bands").numpy()
    fading = generator.gamma(np.repeat([0.5, 1.0, 3.0, 100.0], 25)[:, None], size=(100, 51))
    level_db = generator.uniform(-10, 30, size=(100, 1))
    return 10 ** (level_db / 10) * fading / fading.mean(axis=1, keepdims=True) + 1e-9


def test_effective_snrs_are_sionnas(table: tuple[TransportBlocks, int]) -> None:
    import torch
    from sionna.sys import EESM

    mapping, (packets, number) = EESM(precision="double", device="cpu"), table
    for snrs in bands():
        # One symbol, 51 tones, as many users as rows, one stream.
        tones = torch.from_numpy(snrs)[None, :, None, None].expand(1, -1, len(packets.rows), -1)
        theirs = mapping(tones, torch.from_numpy(packets.rows), mcs_table_index=number).numpy()
        inside = (theirs > 1.001e-3) & (theirs < 999.0)  # beyond -30 and 30 dB they are clipped
        assert packets.effective_snrs(snrs)[inside] == pytest.approx(theirs[inside], rel=1e-9)
        assert inside.any()


def test_rows_are_chosen_and_lost_as_sionnas_link_adaptation_does(table: tuple[TransportBlocks, int]) -> None:
    import torch
    from sionna.phy.nr.utils import TransportBlockNR
    from sionna.phy.utils import TransportBlock
    from sionna.sys import InnerLoopLinkAdaptation, PHYAbstraction

    class OnePacket(TransportBlock):
        """The code blocks of one packet, whatever is allocated."""

        def call(self, modulation_order, target_coderate, num_coded_bits, **kwargs):
            symbols = torch.ceil(BITS / (modulation_order * target_coderate))
            sizes = TransportBlockNR(precision="double", device="cpu").transport_block_size
            return sizes(modulation_order, target_coderate, modulation_order * symbols.int())[1:]

    coded = PHYAbstraction(transport_block_fun=OnePacket(), precision="double", device="cpu")
    adaptation = InnerLoopLinkAdaptation(coded, bler_target=0.1, precision="double", device="cpu")
    (packets, number), rows = table, set()
    for snrs in bands():
        tones = torch.from_numpy(snrs)[None, :, None, None]
        row = int(adaptation(sinr=tones, mcs_table_index=number, mcs_category=1))
        effective = packets.effective_snrs(snrs)
        at, repeats = packets.row(packets.efficiency(effective))
        rows.add(row)
        assert packets.rows[at] == row
        *_, error, _ = coded(torch.tensor([row]), sinr=tones, mcs_table_index=number, mcs_category=1)
        if repeats == 1.0:
            assert packets.error(at, effective[at]) == pytest.approx(float(error), abs=1e-12)
            assert error <= 0.1
        else:
            assert error > 0.1
            assert packets.error(at, repeats * effective[at]) <= 0.1
    assert len(rows) > 12


def test_every_efficiency_finds_its_row_again(table: tuple[TransportBlocks, int]) -> None:
    packets, _ = table
    for at, efficiency in enumerate(packets.efficiencies):
        # Multiplied with a band and divided by it again.
        assert packets.row(efficiency * 17_136_000.0 / 17_136_000.0) == (at, 1.0)
        assert packets.row(efficiency / 3 * 3) == (at, 1.0)
    least = packets.efficiencies[0]
    assert packets.row(least / 8) == (0, 8.0)
    assert packets.row(99.0)[0] == np.argmax(packets.efficiencies)


def test_rates_lie_between_three_quarters_of_capacity_and_capacity() -> None:
    # The codes need 0.5 … 2.4 dB more than capacity; rows are some 0.3 bit apart; up to 10 % are lost.
    link = link_of(Sionna(power_dbm=5.0), cell=Cell(radius_m=200.0))
    net, capacity = [], []
    for ue in (f"ue{k}" for k in range(48)):
        for block in range(1, 33):
            asked = {"share": 1.0, "block": block, "time_s": 0.0}
            efficiency, lost = chosen(link, ue, block=block)
            bound = float(np.log2(1 + link._snrs(ue, **asked)).mean())
            assert efficiency < bound
            net.append(efficiency * (1 - lost))
            capacity.append(min(bound, float(link._packets.efficiencies[-1])))
    assert 0.75 < np.mean(net) / np.mean(capacity) < 0.95


def chosen(link: SionnaLink, ue: str, *, block: int) -> tuple[float, float]:
    """Bits per symbol that a sender chooses in the whole band, and the probability of losing a packet then."""
    asked = {"share": 1.0, "block": block, "time_s": 0.0}
    efficiency = link.rate_bps(ue, **asked) / link._symbols_per_s
    at, repeats = link._packets.row(efficiency)
    effective = link._packets.effective_snrs(link._snrs(ue, **asked))[at]
    return efficiency, float(link._packets.error(at, repeats * effective))


def test_packets_are_lost_as_often_as_the_tables_say() -> None:
    link, n = link_of(Sionna(power_dbm=5.0)), 4000
    seen = 0
    for block in range(12):
        asked = {"share": 1.0, "block": block, "time_s": 0.0}
        rate_bps = link.rate_bps("ue3", **asked)
        tried = replace(sent(np.linspace(0, 1, n), np.full(n, rate_bps)), block=block)
        is_lost, snr = link.lost("ue3", tried)
        assert len(set(snr)) == 1
        at, _ = link._packets.row(rate_bps / link._symbols_per_s)
        expected = float(link._packets.error(at, snr[0]))
        assert expected <= 0.1
        assert is_lost.mean() == pytest.approx(expected, abs=frequency(expected, n))
        seen += expected > 0.01
    assert seen >= 3


def test_a_target_is_kept_and_a_careful_one_costs_rate() -> None:
    means = []
    for target in (0.3, 0.1, 0.001):
        link = link_of(Sionna(bler_target=target, power_dbm=8.0))
        choices = [chosen(link, f"ue{k}", block=1) for k in range(64)]
        assert 0 < max(lost for _, lost in choices) <= target
        means.append(np.mean([efficiency for efficiency, _ in choices]))
    assert all(careless > careful for careless, careful in pairwise(means))


def test_a_distant_ue_is_slow_in_proportion_not_silent() -> None:
    rates = []
    for power_dbm in (-60.0, -70.0, -100.0):
        link = link_of(Sionna(power_dbm=power_dbm))
        rates.append(link.rate_bps("ue0", share=1.0, block=1, time_s=0.0))
        tried = replace(sent(np.zeros(100), np.full(100, rates[-1])), block=1)
        is_lost, _ = link.lost("ue0", tried)
        assert is_lost.mean() < 0.3
    assert rates[0] / rates[1] == pytest.approx(10.0, rel=0.01)
    assert rates[1] / rates[2] == pytest.approx(1000.0, rel=0.01)


def test_tries_add_up_where_the_receiver_combines_them() -> None:
    n, means = 2000, []
    for scheme in (Harq(), Arq()):
        link = link_of(Sionna(retransmission=scheme, power_dbm=5.0))
        # Beyond what the channel allows: lost in nearly every try that stands alone.
        rate_bps = 1.3 * link.rate_bps("ue3", share=1.0, block=1, time_s=0.0)
        first = replace(sent(np.zeros(n), np.full(n, rate_bps)), block=1)
        is_lost, snr = link.lost("ue3", first)
        lost_again, combined = link.lost("ue3", replace(first, number=2, combined_snr=snr))
        assert combined == pytest.approx(2 * snr if scheme.combines else snr)
        means.append((is_lost.mean(), lost_again.mean()))
    (first_harq, second_harq), (first_arq, second_arq) = means
    assert first_harq == first_arq > 0.9
    assert second_arq > 0.9
    assert second_harq < 0.01


def test_packets_over_a_channel_that_changes_meet_each_of_its_states() -> None:
    link = link_of(Sionna(block="time", coherence_s=0.1, power_dbm=5.0))
    times_s = (np.arange(400) + 0.5) / 1000.0
    _, snr = link.lost("ue3", sent(times_s, np.full(400, 2e6)))
    assert [len(set(part)) for part in np.split(snr, 4)] == [1, 1, 1, 1]
    assert len(set(snr)) == 4
