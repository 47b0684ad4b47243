"""Claims of all codecs by kind: a new codec joins the contract suite by a claim here."""

from claims.claim import Claim
from claims.scalar import SCALAR

__all__ = ["CLAIMS", "Claim"]

CLAIMS: dict[str, Claim] = {**SCALAR}
