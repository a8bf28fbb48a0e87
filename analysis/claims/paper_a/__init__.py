"""Paper A's claims: what each says, of which trials, the sign that it expects, the smallest effect of note."""

from analysis.claims.model import Claim
from analysis.claims.paper_a import dense, larger, regularised

CLAIMS: tuple[Claim, ...] = (*dense.CLAIMS, *regularised.CLAIMS, *larger.CLAIMS)
