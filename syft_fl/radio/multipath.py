r"""The many paths of a channel in the 3GPP's scenarios, drawn by Sionna: its gain at every frequency of a band.

TR 38.901 makes a channel in steps: what a place is like (line of sight, delay spread, angles, Rice factor), the
clusters and rays that it gives rise to, their phases. A place's clusters and rays are drawn once; from block to block
their phases turn, as those of a UE that is carried on by a hundred wavelengths in a straight line. So the gains of two
blocks are independent for every practical purpose, while the delay spread and the Rice factor of a UE are its own.

Line of sight and shadow are those of the path model (:mod:`~syft_fl.radio.paths`), which other links have too. Delay
spread and Rice factor go with the shadow as the standard's correlations say: given a shadow :math:`s` in standard
deviations in place of :math:`\tilde s`, with which they were drawn,

.. math:: x = \tilde x + \rho\,(s - \tilde s)

has the joint law of both, since all are normal.

Several UEs and blocks are drawn at once, in groups that their names and numbers alone decide: it takes far less time,
and who is asked for first doesn't matter.

Left out: several antennas, their patterns and polarisation (one vertical, isotropic antenna at either end), the
correlation of neighbours' delay spreads, blockage. Where UEs move, delays stay those of the first place, and so does
what the shadow there has to do with them; the line of sight, loss and shadow change.

Source: 3GPP TR 38.901 V19.2.0, 7.5, in Sionna's implementation.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.radio.cell import Cell
from syft_fl.radio.paths import InF, InH, RMa, Tr38901, UMa, UMi
from syft_fl.radio.sionna_library import DEVICE, drawing
from syft_fl.units import linear_to_db

__all__ = ["Multipath"]

_UES_AT_ONCE = 16
_BLOCKS_AT_ONCE = 32
_WAVELENGTHS_PER_BLOCK = 100.0
_PRECISION = "single"
_RELEASE = "19.2"

# A UE's name up to its number, and the number.
_NUMBERED = re.compile(r"(.*?)(0|[1-9]\d*)")


@dataclass(frozen=True, slots=True)
class _Drop:
    """What decides on clusters and rays."""

    path: Tr38901
    cell: Cell
    key: Key


class Multipath:
    """The channel of one direction.

    Args:
        path: scenario, line of sight and shadow.
        cell: where the UEs are.
        key: the stream of the cell.
        direction: ``"uplink"`` or ``"downlink"``: they have their clusters in common, not their phases.
        tones: frequencies in the band, at least 1.
        spacing_hz: from one to the next [Hz].
    """

    def __init__(
        self, path: Tr38901, *, cell: Cell, key: Key, direction: str, tones: int, spacing_hz: float
    ) -> None:
        self._drop = _Drop(path, cell, key)
        self._direction = direction
        self._tones = tones
        self._spacing_hz = spacing_hz
        # Of each group and line of sight: the chunk of blocks that was asked for last, and its gains.
        self._kept: dict[tuple[str, bool | None], tuple[int, NDArray[np.float32]]] = {}

    def gains(self, ue: str, *, number: int, los: bool) -> NDArray[np.float64]:
        """[tones] power gain, 1 on average, of a UE in a block.

        Args:
            ue: its name.
            number: of the block, at least 0.
            los: whether it sees the base station (:meth:`~syft_fl.radio.paths.Tr38901.sees`).
        """
        ues, at = _group(ue)
        # From 1 on, as rounds are: what a balance asks about, the first 32, is one chunk.
        chunk, block = divmod(number - 1, _BLOCKS_AT_ONCE)
        # Who stays has one line of sight for good; for who moves, both kinds are kept ready.
        seen = los if self._drop.cell.moves else None
        kept = self._kept.get((ues[0], seen))
        if kept is None or kept[0] != chunk:
            drawn = _gains(self._drop, self._direction, self._tones, self._spacing_hz, ues, chunk, seen)
            kept = self._kept[ues[0], seen] = (chunk, drawn)
        return np.asarray(kept[1][at, block], np.float64)

    def rice_factor(self, ue: str, *, los: bool) -> float:
        """Power of the line of sight over that of all other paths together (linear); 0 without one."""
        ues, at = _group(ue)
        large = _clusters(self._drop, ues, los if self._drop.cell.moves else None)[1]
        return float(large.k_factor[at]) if los else 0.0

    def delay_spread_s(self, ue: str, *, los: bool) -> float:
        """Delay spread of a UE's paths [s]: the one that clusters are drawn with."""
        ues, at = _group(ue)
        return float(_clusters(self._drop, ues, los if self._drop.cell.moves else None)[1].ds[at])


@lru_cache(maxsize=4096)
def _group(ue: str) -> tuple[tuple[str, ...], int]:
    """The UEs that are drawn together with one, those whose numbers are near, and which of them it is."""
    found = _NUMBERED.fullmatch(ue)
    if found is None:
        return (ue,), 0
    name, number = found.groups()
    first, at = divmod(int(number), _UES_AT_ONCE)
    return tuple(f"{name}{first * _UES_AT_ONCE + k}" for k in range(_UES_AT_ONCE)), at


@lru_cache(maxsize=256)
def _gains(
    drop: _Drop,
    direction: str,
    tones: int,
    spacing_hz: float,
    ues: tuple[str, ...],
    chunk: int,
    los: bool | None,
) -> NDArray[np.float32]:
    """[ues, blocks, tones] power gains."""
    import torch

    place, large, rays, sample = _clusters(drop, ues, los)
    with drawing(drop.key / direction / "multipath" / ues[0] / chunk):
        coefficients, delays_s = sample(_BLOCKS_AT_ONCE, 1.0, large.k_factor, rays, *place)
        turns = delays_s.flatten(1)[..., None] * (torch.arange(tones) * spacing_hz)
        turned = torch.polar(torch.ones_like(turns), -2.0 * math.pi * turns)
        response = torch.einsum("upb,upt->ubt", coefficients.flatten(1, -2), turned)
        found: NDArray[np.float32] = response.abs().square().numpy()
    return found


@lru_cache(maxsize=256)
def _clusters(drop: _Drop, ues: tuple[str, ...], los: bool | None) -> tuple[Any, Any, Any, Any]:
    """What stays from block to block: topology and cluster delay spread, large-scale parameters, rays, the sampler."""
    import torch
    from sionna.phy.channel import tr38901
    from sionna.phy.channel.utils import deg_2_rad

    places = [_place(drop, ue, los) for ue in ues]
    key = drop.key / "multipath" / ues[0]
    scenario = _scenario(drop.path)
    h_bs_m, h_ut_m = drop.path.heights_m
    # One UE in each example of a batch: Sionna would have the UEs of one example correlate, but not those of two.
    none = torch.zeros(len(ues), 1, 3)
    ues_m = torch.tensor([[[x_m, y_m, h_ut_m]] for x_m, y_m, _, _ in places])
    headings = 2.0 * math.pi * torch.from_numpy((key / "headings").numpy().random(len(ues)))
    speed = _WAVELENGTHS_PER_BLOCK * float(scenario.lambda_0)
    velocities = speed * torch.stack([headings.cos(), headings.sin(), 0.0 * headings], dim=-1)[:, None]
    outdoors = torch.zeros(len(ues), 1, dtype=torch.bool)
    with drawing(key / "clusters"):
        scenario.set_topology(
            ut_loc=ues_m,
            bs_loc=none + torch.tensor([0.0, 0.0, h_bs_m]),
            ut_orientations=none,
            bs_orientations=none,
            ut_velocities=velocities.to(none),
            in_state=~outdoors if isinstance(drop.path, InH | InF) else outdoors,
            los=torch.tensor([[[seen]] for _, _, seen, _ in places]),
            **({"in_car": outdoors} if isinstance(drop.path, RMa) else {}),
        )
        sample_large, sample_rays = tr38901.LSPGenerator(scenario), tr38901.RaysGenerator(scenario)
        sample_large.topology_updated_callback()
        sample_rays.topology_updated_callback()
        large = sample_large()
        _shadow(large, scenario, [shadow for _, _, _, shadow in places])
        rays = sample_rays(large)
    topology = tr38901.Topology(
        velocities=scenario.ut_velocities,
        moving_end="rx",
        los_aoa=deg_2_rad(scenario.los_aoa),
        los_aod=deg_2_rad(scenario.los_aod),
        los_zoa=deg_2_rad(scenario.los_zoa),
        los_zod=deg_2_rad(scenario.los_zod),
        los=scenario.los,
        distance_3d=scenario.distance_3d,
        tx_orientations=scenario.bs_orientations,
        rx_orientations=scenario.ut_orientations,
    )
    sample = tr38901.ChannelCoefficientsGenerator(
        scenario.carrier_frequency,
        scenario.bs_array,
        scenario.ut_array,
        subclustering=True,
        precision=_PRECISION,
        device=DEVICE,
    )
    return (topology, scenario.get_param("cDS") * 1e-9), large, rays, sample


def _place(drop: _Drop, ue: str, los: bool | None) -> tuple[float, float, bool, float]:
    """Coordinates [m] of a UE, whether it sees the base station, and its shadow [dB]; not a number: of none."""
    path, cell, key = drop.path, drop.cell, drop.key
    try:
        distance_m, (x_m, y_m) = cell.distance_m(ue, key), cell.position_m(ue, key)
    except ConfigError:
        # There is no such UE, but its neighbours must not depend on that.
        return cell.min_distance_m, 0.0, False, math.nan
    bearing = math.atan2(y_m, x_m)
    placed_m = distance_m * math.cos(bearing), distance_m * math.sin(bearing)
    if los is not None:
        return *placed_m, los, math.nan
    seen = path.sees(ue, cell=cell, key=key)
    if not path.shadowing:
        return *placed_m, seen, math.nan
    level_db = linear_to_db(path.gain(ue, cell=cell, key=key))
    return *placed_m, seen, level_db + float(path.loss_db(distance_m, los=seen))


def _shadow(large: Any, scenario: Any, shadows_db: list[float]) -> None:
    """Give delay spreads and Rice factors the law that they have beside given shadows [dB]."""
    import torch

    # Logarithms to base 10 of delay spread, angles of departure and arrival, shadow, Rice factor, …
    deviations = scenario.lsp_log_std
    change = torch.tensor(shadows_db)[:, None, None] / 10.0 - torch.log10(large.sf)
    change = torch.nan_to_num(change / deviations[..., 3])
    large.ds = large.ds * 10.0 ** (deviations[..., 0] * scenario.get_param("corrDSvsSF") * change)
    large.k_factor = large.k_factor * 10.0 ** (deviations[..., 4] * scenario.get_param("corrSFvsK") * change)


def _scenario(path: Tr38901) -> Any:
    """Sionna's scenario of a path model, for its clusters alone: loss and shadow are the path model's."""
    from sionna.phy.channel import tr38901

    array = tr38901.PanelArray(
        num_rows_per_panel=1,
        num_cols_per_panel=1,
        polarization="single",
        polarization_type="V",
        antenna_pattern="omni",
        carrier_frequency=path.frequency_hz,
        precision=_PRECISION,
        device=DEVICE,
    )
    common: dict[str, Any] = {
        "carrier_frequency": path.frequency_hz,
        "ut_array": array,
        "bs_array": array,
        # Without several antennas a direction is like the other.
        "direction": "downlink",
        "enable_pathloss": False,
        "precision": _PRECISION,
        "device": DEVICE,
        "spec_version": _RELEASE,
    }
    match path:
        case UMi():
            return tr38901.UMiScenario(o2i_model="low", **common)
        case UMa():
            return tr38901.UMaScenario(o2i_model="low", **common)
        case RMa():
            return tr38901.RMaScenario(
                average_street_width=path.street_m, average_building_height=path.building_m, **common
            )
        case InH():
            return tr38901.InHScenario(indoor_scenario=path.office, **common)
        case InF():
            size_m, density, height_m = path.clutter
            return tr38901.InFScenario(
                factory_scenario=path.hall,
                clutter_size=size_m,
                clutter_density=density,
                clutter_height=height_m,
                **common,
            )
    raise ConfigError(f"path = {path!r} must be one of TR 38.901's: {_KINDS}")


_KINDS = ", ".join(kind.kind for kind in (UMi, UMa, RMa, InH, InF))
