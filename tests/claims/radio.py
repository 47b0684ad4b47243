"""What the laws of rates and losses have in common: links of a given SNR, packets, bounds of frequencies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from syft_fl.keys import Key
from syft_fl.radio import Cell, LogDistance, NoFading, Transfer, Try, Wireless
from syft_fl.radio.access import Ofdma, Tdma
from syft_fl.radio.wireless import WirelessLink

KEY = Key(2025)

needs_sionna = pytest.mark.skipif(find_spec("sionna") is None, reason="needs pip install 'syft_fl[radio]'")


def skipping_sionna(models: Iterable[Any]) -> list[Any]:
    """Link models, or tuples with one, as parameters; those that need Sionna are skipped where it is absent."""
    found = []
    for model in models:
        parts = model if isinstance(model, tuple) else (model,)
        sionna = any(getattr(part, "kind", None) == "sionna" for part in parts)
        found.append(pytest.param(*parts, marks=needs_sionna) if sionna else model)
    return found


def at_snr(
    snr_db: float, *, bandwidth_hz: float = 1e6, direction: str = "uplink", **parts: Any
) -> WirelessLink:
    """A wireless link on which every UE has this mean SNR over the whole band."""
    power_dbm = snr_db + 128.1 + 37.6 * math.log10(0.25) - 174 + 10 * math.log10(bandwidth_hz)
    parts = {"path": LogDistance(shadowing_db=0.0), "fading": NoFading(), **parts}
    model = Wireless(power_dbm=power_dbm, bandwidth_hz=bandwidth_hz, **parts)
    link = model.link(Cell(radius_m=250.0, min_distance_m=250.0), KEY, direction)
    assert isinstance(link, WirelessLink)
    return link


def sent(times_s: np.ndarray, rates_bps: np.ndarray, *, number: int = 1, serial: int = 0) -> Try:
    """Packets that went in the whole band, each at its time and its rate."""
    ones = np.ones(len(times_s))
    return Try(
        block=0,
        serial=serial,
        number=number,
        packets=np.arange(len(times_s)),
        times_s=times_s,
        rates_bps=rates_bps,
        shares=ones,
        clear=ones,
        combined_snr=0.0 * ones,
    )


def carried(
    link: WirelessLink, bits: int, *, ues: tuple[str, ...] = ("ue0",), access: Tdma | Ofdma | None = None
) -> Transfer:
    """One message over a fresh medium."""
    medium = (access or Tdma()).open(link, users=1)
    medium.offer(ues, bits, now_s=0.0, block=1)
    while True:
        for transfer in medium.advance(medium.next_event_s()):
            return transfer


def frequency(probability: float, samples: int) -> float:
    """Five standard errors of how often something of this probability happens in so many samples."""
    return 5 * math.sqrt(probability * (1 - probability) / samples)
