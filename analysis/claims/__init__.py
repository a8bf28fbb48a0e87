"""Claims by id, one module per paper. A study names those that it makes; a user's study may bring its own."""

from collections.abc import Iterable

from analysis.claims import paper_a, paper_b, paper_c
from analysis.claims.model import Beside as Beside
from analysis.claims.model import Claim as Claim
from analysis.claims.model import Control as Control
from analysis.claims.model import Regime as Regime
from analysis.claims.model import Rows as Rows
from analysis.claims.model import Term as Term
from study.spec.errors import UsageError, closest

CLAIMS: dict[str, Claim] = {claim.id: claim for claim in (*paper_a.CLAIMS, *paper_b.CLAIMS, *paper_c.CLAIMS)}
# Claims that folders of earlier versions name and that are no longer judged, with the reason.
WITHDRAWN = {
    "A-prunability": "that compressible nets keep more accuracy when few rows are kept is no longer judged: at 20 % of "
    "the rows most nets have lost theirs, the paper shows it for another net (row A1, no study yet), and nets whose "
    "rows were concentrated by hand prune worse, so that no control says what the analysis would see",
}


def find(entries: Iterable[str | Claim]) -> list[Claim]:
    """The claims behind ids; a Claim stands for itself. UsageError naming the nearest id for one that is not known, and
    for two different claims of one id."""
    found: dict[str, Claim] = {}
    for entry in entries:
        if isinstance(entry, str) and entry in WITHDRAWN:
            raise UsageError(f"claim {entry!r} is withdrawn: {WITHDRAWN[entry]}")
        if isinstance(entry, str) and entry not in CLAIMS:
            raise UsageError(
                f"claim {entry!r} is not known{closest(entry, CLAIMS)} Known: {', '.join(CLAIMS)}. A claim of a study "
                "of your own is given as a Claim."
            )
        if not isinstance(entry, str | Claim):
            raise UsageError(f"a claim is an id ({', '.join(CLAIMS)}) or a Claim, got {entry!r}")
        claim = CLAIMS[entry] if isinstance(entry, str) else entry
        if found.setdefault(claim.id, claim) != claim:
            raise UsageError(f"two different claims have the id {claim.id!r}; give one of them another id")
    return list(found.values())
