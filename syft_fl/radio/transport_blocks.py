r"""Which modulation and code carries a packet, and with which probability it is lost: Sionna's tables.

Over a band whose tones have different signal-to-noise ratios :math:`\gamma_n`, a row of the MCS table (modulation and
coding scheme) fares as it would at

.. math:: \gamma = -\beta \ln \frac{1}{N} \sum_n e^{-\gamma_n / \beta}

everywhere (exponential effective SNR mapping, with one :math:`\beta` a row). A packet goes as one transport block. The
standard cuts it into code blocks, each lost with a probability that was simulated with the standard's codes over a
grid of SNRs 1.8 dB apart and interpolated; the packet is lost with any of them. The sender takes the highest row that
loses at most the target.

Below what the lowest row needs, :math:`\gamma_1`, it is repeated until its energy adds up to that: efficiency
:math:`\eta_1 \gamma / \gamma_1`, as in :class:`~syft_fl.radio.rates.CqiTable`. Sionna has no tables for the very
lowest rows (MCS 0 … 2), whose part this has.

Source: TS 38.214, tables 5.1.3.1-1 and 5.1.3.1-2 (rows), 5.1.3.2 (block sizes); TS 38.212, 5.2.2 (code blocks);
Sionna's ``PHYAbstraction`` and ``EESM`` (tables). Both directions have the downlink's rows, which NR's uplink has too
unless transform precoding is asked for. Differs from it in: repetition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from syft_fl.keys import Key
from syft_fl.radio.sionna_library import DEVICE, drawing

__all__ = ["McsTable", "TransportBlocks", "transport_blocks"]

McsTable = Literal["64qam", "256qam"]
Floats = NDArray[np.float64]

_NUMBERS: dict[McsTable, int] = {"64qam": 1, "256qam": 2}
_PDSCH = 1
_A_HAIR_MORE = 1.0 + 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class TransportBlocks:
    """Packets of one size, and the rows of one table; made by :func:`transport_blocks`.

    Attributes:
        rows: [rows] their numbers in the standard's table.
        efficiencies: [rows] bits per symbol.
        betas: [rows] of the effective SNR mapping.
        errors: [rows, snrs] probability of losing a packet.
        first_db, step_db: SNRs of that grid [dB].
        target: probability of loss that a sender accepts.
        needed_snr: SNR (linear) at which the lowest row loses no more than that.
    """

    rows: NDArray[np.int64]
    efficiencies: Floats
    betas: Floats
    errors: Floats
    first_db: float
    step_db: float
    target: float
    needed_snr: float

    def effective_snrs(self, snrs: Floats) -> Floats:
        """[rows] effective SNR (linear) of [tones] SNRs (linear)."""
        least = float(snrs.min())
        above = np.exp((least - snrs) / self.betas[:, None]).mean(axis=1)
        return np.asarray(least - self.betas * np.log(above))

    def efficiency(self, effective: Floats) -> float:
        """Bits per symbol that a sender chooses at [rows] effective SNRs (linear), repetition included."""
        good = np.flatnonzero(self.errors[np.arange(len(effective)), self._column(effective)] <= self.target)
        if len(good):
            return float(self.efficiencies[good[-1]])
        return float(self.efficiencies[0] * min(effective[0] / self.needed_snr, 1.0))

    def row(self, efficiency: float) -> tuple[int, float]:
        """Which entry of :attr:`rows` is sent with an efficiency, and how many times each symbol is.

        Between two: the more efficient one; above the last: that.
        """
        order = np.argsort(self.efficiencies, kind="stable")
        at = np.searchsorted(self.efficiencies[order] * _A_HAIR_MORE, efficiency)
        row = int(order[min(int(at), len(order) - 1)])
        return row, max(float(self.efficiencies[row]) / efficiency, 1.0) if at == 0 else 1.0

    def error(self, row: int, snrs: Floats) -> Floats:
        """[packets] probability of losing each, sent with an entry of :attr:`rows` at an effective SNR (linear)."""
        return np.asarray(self.errors[row, self._column(snrs)])

    def _column(self, snrs: Floats) -> NDArray[np.int64]:
        """Where effective SNRs (linear) are in the grid; Sionna takes the nearest point as well."""
        steps = np.rint((10.0 * np.log10(snrs) - self.first_db) / self.step_db)
        return np.clip(steps, 0, self.errors.shape[1] - 1).astype(np.int64)


@lru_cache(maxsize=64)
def transport_blocks(table: McsTable, packet_bits: int, *, target: float) -> TransportBlocks:
    """What Sionna says of packets of so many bits.

    Args:
        table: ``"64qam"`` or ``"256qam"``: the highest modulation.
        packet_bits: of a packet, its header included.
        target: probability of loss that a sender accepts.
    """
    import torch
    from sionna.phy.nr.utils import MCSDecoderNR

    number = _NUMBERS[table]
    physical, betas = _physical(number)
    rows = torch.tensor(sorted(physical.bler_table["category"][_PDSCH]["index"][number]["MCS"]))
    orders, codes = MCSDecoderNR(precision="double", device=DEVICE)(rows, number, _PDSCH)
    efficiencies = orders * codes
    first_db, last_db, step_db = physical.snr_db_interp_min_max_delta
    grid_db = torch.arange(first_db, last_db, step_db, dtype=torch.float64)
    shape = (len(grid_db), len(rows))
    # PHYAbstraction also draws what is decoded; nobody asks for that.
    with drawing(Key(0)):
        *_, errors, _ = physical(
            rows.expand(shape),
            sinr_eff=(10.0 ** (grid_db / 10.0))[:, None].expand(shape),
            num_allocated_re=torch.ceil(packet_bits / efficiencies).expand(shape),
            mcs_table_index=number,
            mcs_category=_PDSCH,
        )
    lost = errors.T.contiguous().numpy()
    # The last point at which the lowest row still loses more than the target, and the one after it.
    last_bad = int(np.flatnonzero(lost[0] > target)[-1])
    return TransportBlocks(
        rows=rows.numpy(),
        efficiencies=efficiencies.numpy().astype(np.float64),
        betas=betas[rows].numpy(),
        errors=lost,
        first_db=first_db,
        step_db=step_db,
        target=target,
        needed_snr=float(10.0 ** (grid_db[min(last_bad + 1, len(grid_db) - 1)] / 10.0)),
    )


@lru_cache(maxsize=2)
def _physical(number: int) -> tuple[Any, Any]:
    """Sionna's tables of one MCS table, and the mapping's betas of its rows."""
    from sionna.sys import EESM, PHYAbstraction

    mapping = EESM(precision="double", device=DEVICE)
    table = files("sionna.sys") / "bler_tables" / f"PDSCH_table{number}.json"
    physical = PHYAbstraction(
        sinr_effective_fun=mapping, load_bler_tables_from=str(table), precision="double", device=DEVICE
    )
    return physical, mapping.beta_tensor[number - 1]
