"""Claims of all codecs by kind: a new codec joins the contract suite by a claim here."""

from claims.adaptive import ADAPTIVE
from claims.claim import Claim
from claims.innovation import INNOVATION
from claims.lattice import LATTICE
from claims.levels import LEVELS
from claims.projections import PROJECTIONS
from claims.rotations import ROTATIONS
from claims.scalar import SCALAR
from claims.sparse import SPARSE

__all__ = ["CLAIMS", "Claim"]

CLAIMS: dict[str, Claim] = {
    **SCALAR,
    **LEVELS,
    **INNOVATION,
    **LATTICE,
    **PROJECTIONS,
    **ROTATIONS,
    **SPARSE,
    **ADAPTIVE,
}
