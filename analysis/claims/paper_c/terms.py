"""What paper C's claims are made of: standard and robust nets, the numbers that are compared, smallest effects of note.

The smallest effects were set on the day that `dated` names, before the runs that are judged by them: five points where
the paper says five points, ten where it says that robustness is lost.
"""

from analysis.claims.model import Regime, Rows, Term

DATED = "2026-11-26"
FIVE_POINTS, TEN_POINTS = 0.05, 0.1
STANDARD, ROBUST = 0.0, 1.0  # adversarial_ratio of the training before any compression
CLEAN = Term(measure="clean_accuracy", split="test")
ROBUST_ACCURACY = Term(measure="robust_accuracy", attack="configured", norm="linf", split="test", judged=True)
# Against the robust net: accurate, and robust on half of the images at least.
REFERENCE = Regime(robust="linf", robust_within=(0.5, 1.0))


def nets(arm: str, base: float, y: Term = ROBUST_ACCURACY) -> Rows:
    """The nets of an arm that were compressed from standard or from robust ones."""
    return Rows(arm=arm, y=y, at={"adversarial_ratio": base})
