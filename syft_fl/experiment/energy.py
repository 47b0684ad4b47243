"""What the UEs' batteries gave: Joule by UE, round and part, from a run's tables alone.

A UE spends energy on sending (its power times its airtime), on listening (its receiver's power times the airtime of
what is sent to it) and on computing. The base station sends too, but is fed by the mains: its Joules are in the
tables (``energy_j`` of downlink transfers) and not in a UE's energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syft_fl.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PARTS", "energy_of_ues"]

PARTS = ("transmit_j", "receive_j", "compute_j")
"""What a UE spends energy on."""


def energy_of_ues(
    rounds: pd.DataFrame, transfers: pd.DataFrame, *, computations: pd.DataFrame, ues: Sequence[str]
) -> pd.DataFrame:
    """Energy [J] of each UE in each round.

    The receivers of a frame share its ``receive_energy_j`` equally, for each listened as long as the others.

    Args:
        rounds: one row per finished round; what belongs to other rounds (of a run that was cut off) is left out.
        transfers: one row per transmission.
        computations: one row per training of a UE.
        ues: all UEs of the cell, in the order of the rows.

    Returns:
        Columns ``round`` (from 1 on), ``ue``, ``transmit_j``, ``receive_j``, ``compute_j`` and their sum ``total_j``;
        a row for every round and UE, zeros included.

    Raises:
        RunError: the tables do not tell energy by UE, as those that an earlier version wrote.
    """
    import pandas as pd

    finished = rounds.loc[rounds["round"] >= 1, "round"]
    index = pd.MultiIndex.from_product([finished, ues], names=["round", "ue"])
    spent = pd.DataFrame(0.0, index=index, columns=list(PARTS))
    if len(finished):
        if "receive_energy_j" not in transfers:
            raise RunError("this run was written before energy was told by UE and part; run it again")
        up = transfers["direction"] == "uplink"
        sent = transfers.assign(
            ue=transfers["ues"],
            transmit_j=transfers["energy_j"].where(up, 0.0),
            receive_j=transfers["receive_energy_j"] / transfers["ues"].map(len),
        )
        spent["transmit_j"] = _by_ue(sent, "transmit_j", index)
        spent["receive_j"] = _by_ue(sent, "receive_j", index)
        if len(computations):
            spent["compute_j"] = _by_ue(computations, "energy_j", index)
    spent["total_j"] = spent["transmit_j"] + spent["receive_j"] + spent["compute_j"]
    return spent.reset_index()


def _by_ue(table: pd.DataFrame, column: str, index: pd.MultiIndex) -> pd.Series:
    """Sums of a column by round and UE; a row of several UEs counts for each."""
    rows = table[["round", "ue", column]].explode("ue")
    return rows.groupby(["round", "ue"])[column].sum().reindex(index, fill_value=0.0)
