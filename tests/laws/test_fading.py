"""What must hold of fading whatever its code: laws of the gain, moments, autocorrelation, crossings.

Sample sizes are 20,000 (ensembles of blocks) or 3,000 (ensembles of channels); the keys are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import special, stats

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio import FADINGS, FadingModel, GaussMarkov, Jakes, Nakagami, Rayleigh, Rician
from syft_fl.radio.doppler import Echoes

KEY = Key(1974)
BLOCKS = 20_000
CHANNELS = 3000
Law = Callable[[np.ndarray], np.ndarray]


def gains_of_blocks(model: FadingModel, n: int = BLOCKS) -> np.ndarray:
    """One UE, block after block (of rounds or of time)."""
    fading = model.open(KEY)
    coherence_s = getattr(model, "coherence_s", 1.0)
    return np.array([fading.gain("ue0", block=b, time_s=(b + 0.5) * coherence_s) for b in range(n)])


def gains_of_channels(model: FadingModel, times_s: list[float], n: int = CHANNELS) -> np.ndarray:
    """[channels, times] gains: one UE each, of a fading that goes on in time."""
    fading = model.open(KEY)
    return np.array([[fading.gain(f"ue{k}", block=0, time_s=t) for t in times_s] for k in range(n)])


def rician_law(k: float) -> Law:
    """2 (K + 1) g is non-central chi-square with two degrees of freedom and non-centrality 2 K."""
    return lambda g: stats.ncx2.cdf(2 * (k + 1) * g, df=2, nc=2 * k)


def nakagami_law(m: float) -> Law:
    return lambda g: special.gammainc(m, m * g)


def exponential_law(g: np.ndarray) -> np.ndarray:
    return -np.expm1(-g)


LAWS: list[tuple[FadingModel, Law, float]] = [
    (Rayleigh(), exponential_law, 2.0),
    (Rayleigh(block="time", coherence_s=0.3), exponential_law, 2.0),
    (Rician(k_db=-100.0), exponential_law, 2.0),
    (Rician(k_db=0.0), rician_law(1.0), 1 + 3 / 4),
    (Rician(k_db=6.0, block="time"), rician_law(10**0.6), 1 + (1 + 2 * 10**0.6) / (1 + 10**0.6) ** 2),
    (Rician(k_db=15.0), rician_law(10**1.5), 1 + (1 + 2 * 10**1.5) / (1 + 10**1.5) ** 2),
    (Nakagami(m=0.5), nakagami_law(0.5), 3.0),
    (Nakagami(m=1.0), exponential_law, 2.0),
    (Nakagami(m=2.5, block="time"), nakagami_law(2.5), 1.4),
    (Nakagami(m=40.0), nakagami_law(40.0), 1 + 1 / 40),
]
every_law = pytest.mark.parametrize(
    ("model", "law", "mean_square"), LAWS, ids=lambda value: getattr(value, "__qualname__", repr(value))[:40]
)


@every_law
def test_gains_follow_the_law_of_their_name(model: FadingModel, law: Law, mean_square: float) -> None:
    gains = gains_of_blocks(model)
    assert stats.kstest(gains, law).pvalue > 1e-4
    assert gains.mean() == pytest.approx(1, abs=5 * gains.std() / math.sqrt(BLOCKS))
    squares = gains**2
    assert squares.mean() == pytest.approx(mean_square, abs=5 * squares.std() / math.sqrt(BLOCKS))
    # Blocks are independent: a correlation of independent samples has a standard error of 1 / sqrt(n).
    assert abs(np.corrcoef(gains[1:], gains[:-1])[0, 1]) < 5 / math.sqrt(BLOCKS)


@every_law
@pytest.mark.parametrize(("snr_db", "rate"), [(0.0, 0.5), (10.0, 1.0), (3.0, 2.5)])
def test_outage_is_the_law_at_the_threshold(
    model: FadingModel, law: Law, mean_square: float, snr_db: float, rate: float
) -> None:
    threshold = (2**rate - 1) / 10 ** (snr_db / 10)
    outage = float(law(np.array([threshold]))[0])
    below = gains_of_blocks(model, 4000) < threshold
    assert below.mean() == pytest.approx(outage, abs=5 * math.sqrt(outage * (1 - outage) / 4000) + 1e-12)


def test_nakagami_with_m_1_is_rayleigh_draw_by_draw_and_a_greater_m_is_milder() -> None:
    rayleigh, same, mild = (gains_of_blocks(m, 1000) for m in (Rayleigh(), Nakagami(m=1.0), Nakagami(m=9.0)))
    assert same == pytest.approx(rayleigh, rel=1e-9)
    assert (np.argsort(mild) == np.argsort(rayleigh)).all()
    assert mild.min() > rayleigh.min()
    assert mild.max() < rayleigh.max()


def ergodic_rate(snr: float) -> float:
    """Mean capacity under Rayleigh fading [bit/s/Hz]: e^(1/snr) E1(1/snr) / ln 2."""
    return math.exp(1 / snr) * float(special.exp1(1 / snr)) / math.log(2)


@pytest.mark.parametrize("model", [Nakagami(m=1.0), Rician(k_db=-100.0), Jakes(), GaussMarkov()], ids=repr)
@pytest.mark.parametrize(("snr", "rate"), [(1.0, 0.8603), (100.0, 5.8840)])
def test_all_that_is_rayleigh_has_the_published_ergodic_rate(
    model: FadingModel, snr: float, rate: float
) -> None:
    correlated = isinstance(model, Jakes | GaussMarkov)
    gains = gains_of_channels(model, [17.0])[:, 0] if correlated else gains_of_blocks(model)
    rates = np.log2(1 + snr * gains)
    assert ergodic_rate(snr) == pytest.approx(rate, abs=5e-5)
    assert rates.mean() == pytest.approx(rate, abs=5 * rates.std() / math.sqrt(len(rates)))


@pytest.mark.parametrize("model", [Jakes(), GaussMarkov(), Nakagami(m=1.0)], ids=repr)
@pytest.mark.parametrize(("k", "harmonic"), [(10, 2.928968), (4, 25 / 12)])
def test_best_of_k_rayleigh_channels_follows_the_straggler_law(
    model: FadingModel, k: int, harmonic: float
) -> None:
    best = gains_of_channels(model, [3.0]).reshape(-1)[: CHANNELS // k * k].reshape(-1, k).max(axis=1)
    assert best.mean() == pytest.approx(harmonic, abs=5 * best.std() / math.sqrt(len(best)))


CORRELATED = [
    (Jakes(doppler_hz=10.0, step_s=1e-5), lambda t: float(special.j0(2 * math.pi * 10.0 * t))),
    (Jakes(doppler_hz=300.0, step_s=1e-6), lambda t: float(special.j0(2 * math.pi * 300.0 * t))),
    (GaussMarkov(coherence_s=0.05, step_s=1e-5), lambda t: math.exp(-t / 0.05)),
]


@pytest.mark.parametrize(
    ("model", "autocorrelation"),
    CORRELATED,
    ids=lambda value: getattr(value, "__qualname__", repr(value))[:30],
)
def test_fading_in_time_has_the_autocorrelation_of_its_name(
    model: Jakes | GaussMarkov, autocorrelation: Callable[[float], float]
) -> None:
    scale_s = 1 / model.doppler_hz if isinstance(model, Jakes) else model.coherence_s
    # 0.383 periods is the first zero of J0, 0.610 its least value of -0.403.
    lags_s = [scale_s * lag for lag in (0.1, 0.2, 0.383, 0.610, 1.117, 3.0)]
    fading = model.open(KEY)
    assert isinstance(fading, Echoes)
    start_s = 1234.5
    h = np.array(
        [
            [fading.amplitude(f"ue{k}", time_s=start_s + lag) for lag in (0.0, *lags_s)]
            for k in range(CHANNELS)
        ]
    )
    expected = np.array([autocorrelation(lag) for lag in lags_s])
    products = h[:, :1].conj() * h[:, 1:]
    error = 5 * products.std(axis=0) / math.sqrt(CHANNELS)
    # Times are held to a step, far below the scale.
    assert (np.abs(products.real.mean(axis=0) - expected) < error + 2e-3).all()
    assert (np.abs(products.imag.mean(axis=0)) < error + 2e-3).all()
    gains = np.abs(h) ** 2
    powers = (gains[:, :1] - 1) * (gains[:, 1:] - 1)
    assert (
        np.abs(powers.mean(axis=0) - expected**2) < 5 * powers.std(axis=0) / math.sqrt(CHANNELS) + 1e-2
    ).all()


@pytest.mark.parametrize("model", [Jakes(), GaussMarkov()], ids=repr)
@pytest.mark.parametrize("time_s", [0.0, 7.0, 1e6])
def test_fading_in_time_is_rayleigh_at_any_instant(model: FadingModel, time_s: float) -> None:
    gains = gains_of_channels(model, [time_s])[:, 0]
    assert stats.kstest(gains, exponential_law).pvalue > 1e-4
    squares = gains**2
    assert gains.mean() == pytest.approx(1, abs=5 * gains.std() / math.sqrt(CHANNELS))
    # 128 echoes: 2 - 1/128.
    assert squares.mean() == pytest.approx(1.992, abs=5 * squares.std() / math.sqrt(CHANNELS))


@pytest.mark.parametrize("ue", ["ue0", "ue1", "ue2"])
def test_one_channel_has_a_mean_gain_of_1_over_time(ue: str) -> None:
    fading = Jakes(doppler_hz=1.0).open(KEY)
    # 2,000 instants half a period and more apart: correlated by at most 0.3 each.
    gains = np.array([fading.gain(ue, block=0, time_s=0.77 * i) for i in range(2000)])
    assert gains.mean() == pytest.approx(1, abs=5 * 1.3 / math.sqrt(2000))


@pytest.mark.parametrize("level", [0.3, 1.0])
def test_a_jakes_channel_crosses_levels_as_often_as_rice_says(level: float) -> None:
    # N = sqrt(2 pi) f_D rho e^(-rho^2) upward crossings a second, at an amplitude rho times the rms.
    periods, per_period = 400, 40
    fading = Jakes(doppler_hz=1.0, step_s=1 / per_period).open(KEY)
    below = np.array(
        [fading.gain("ue0", block=0, time_s=(i + 0.5) / per_period) for i in range(periods * per_period)]
    ) < (level**2)
    crossings = np.count_nonzero(below[:-1] & ~below[1:])
    expected = periods * math.sqrt(2 * math.pi) * level * math.exp(-(level**2))
    assert crossings == pytest.approx(expected, abs=5 * math.sqrt(expected))


def test_gauss_markov_at_equal_steps_is_an_autoregression_of_order_1() -> None:
    fading = GaussMarkov(coherence_s=1.0, step_s=0.25).open(KEY)
    assert isinstance(fading, Echoes)
    h = np.array([[fading.amplitude(f"ue{k}", time_s=0.25 * i) for i in range(3)] for k in range(CHANNELS)])
    # Given the sample before, the one before that says nothing more.
    innovation = h[:, 2] - math.exp(-0.25) * h[:, 1]
    assert abs((innovation * h[:, 0].conj()).mean()) < 5 * abs(innovation).std() / math.sqrt(CHANNELS) + 0.02
    assert (abs(innovation) ** 2).mean() == pytest.approx(
        1 - math.exp(-0.5), abs=5 * (abs(innovation) ** 2).std() / math.sqrt(CHANNELS)
    )


def test_gains_are_held_for_a_step_that_keeps_most_of_the_correlation() -> None:
    jakes, markov = Jakes(doppler_hz=8.0).open(KEY), GaussMarkov(coherence_s=0.4).open(KEY)
    assert jakes.steady_until_s(time_s=0.0) == pytest.approx(1 / 160)
    assert markov.steady_until_s(time_s=0.0) == pytest.approx(0.02)
    assert float(special.j0(2 * math.pi / 20)) == pytest.approx(0.975, abs=5e-4)


@pytest.mark.parametrize(
    ("kind", "fields", "name"),
    [
        ("rayleigh", {"coherence_s": 0.0}, "coherence_s"),
        ("rayleigh", {"block": "slot"}, "block"),
        ("rician", {"k_db": 101.0}, "k_db"),
        ("rician", {"coherence_s": math.inf}, "coherence_s"),
        ("nakagami", {"m": 0.4}, "m"),
        ("nakagami", {"m": math.nan}, "m"),
        ("nakagami", {"coherence_s": -1.0}, "coherence_s"),
        ("jakes", {"doppler_hz": 0.0}, "doppler_hz"),
        ("jakes", {"step_s": 0.0}, "step_s"),
        ("gauss-markov", {"coherence_s": 0.0}, "coherence_s"),
        ("gauss-markov", {"step_s": math.inf}, "step_s"),
    ],
)
def test_wrong_settings_are_refused_by_name(kind: str, fields: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} = "):
        FADINGS[kind](**fields)
