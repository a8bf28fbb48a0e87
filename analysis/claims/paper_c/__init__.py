"""Paper C's claims: what each says, of which trials, the sign that it expects, the smallest effect of note."""

from analysis.claims.model import Claim
from analysis.claims.paper_c import features, large, levels, qat, tuned

CLAIMS: tuple[Claim, ...] = (
    *tuned.CLAIMS,
    *levels.CLAIMS,
    *qat.CLAIMS,
    *features.CLAIMS,
    *large.CLAIMS,
)
