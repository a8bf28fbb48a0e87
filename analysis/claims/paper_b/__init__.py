"""Paper B's claims: what each says, of which trials, the sign that it expects, the smallest effect of note."""

from analysis.claims.model import Claim
from analysis.claims.paper_b import chosen, masked

CLAIMS: tuple[Claim, ...] = (*masked.CLAIMS, *chosen.CLAIMS)
