"""Paper C's claims about feature maps (section 6, Figure 2): robust nets keep theirs, standard ones do not.

The paper shows pictures. The numbers are ours: how far an attack moves what the head is given, as a share of the mean
distance between two images of the class, and how far clean and attacked images mix there. The smallest effects were set
on the day that `dated` names, before any run: a quarter of that mean distance, a fifth of a random mixing.
"""

from typing import Any

from analysis.claims.model import Claim, Control, Regime, Rows, Term
from study.spec.attack_names import RANDOM

DATED = "2026-11-26"
A_QUARTER, A_FIFTH = 0.25, 0.2
STANDARD, ROBUST = {"adversarial_ratio": 0.0}, {"adversarial_ratio": 1.0}
HIDDEN, LOGITS, INPUT = "last-1", "last", "input"  # the last hidden layer, the head, the pixels
SHIFT, OVERLAP = "feature_shift", "feature_overlap"
NOISE = "the same standard nets under random noise of the same norm as the attack's"


def _term(measure: str, layer: str = HIDDEN, attack: str = "configured") -> Term:
    return Term(measure=measure, layer=layer, attack=attack, norm="linf", split="test", judged=True)


def _claim(name: str, quote: str, rows: Rows, against: Rows, control: Control, **more: Any) -> Claim:
    """A difference between two kinds of nets; the second kind must be accurate on clean images."""
    return Claim(
        id=name, source="C, section 6 and Figure 2", statistic="difference", dated=DATED, quote=quote, rows=rows,
        against=(against,), control=control, regime=Regime(clean=True), **({"threshold": A_QUARTER} | more),
    )  # fmt: skip


def _noise(arm: str, measure: str = SHIFT) -> Control:
    """Standard nets under noise, beside standard nets under attack: what the same pipeline must tell apart."""
    return Control(name="noise control", words=NOISE, arm=arm, at=STANDARD, y=_term(measure, attack=RANDOM))


def _tuned(name: str, kind: str) -> Claim:
    y, arms = _term(SHIFT), (f"{kind}_adversarial", f"{kind}_standard")
    return _claim(
        name, f"{kind.capitalize()} nets move their features less under attack after adversarial than after standard "
        "fine-tuning.",
        Rows(arm=arms[0], y=y, at=STANDARD), Rows(arm=arms[1], y=y, at=STANDARD), _noise(arms[1]), expected=-1,
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "C-features-robust", "Robust nets move their features less under attack than standard nets do.",
        Rows(arm="none", y=_term(SHIFT), at=ROBUST), Rows(arm="none", y=_term(SHIFT), at=STANDARD), _noise("none"),
        expected=-1,
    ),
    _tuned("C-features-quantized", "quantized"),
    _tuned("C-features-pruned", "pruned"),
    _claim(
        "C-features-mix", "Features of clean and attacked images mix more in robust nets than in standard ones.",
        Rows(arm="none", y=_term(OVERLAP), at=ROBUST), Rows(arm="none", y=_term(OVERLAP), at=STANDARD),
        _noise("none", OVERLAP), threshold=A_FIFTH,
    ),
    _claim(
        "C-features-depth", "Features of standard nets scatter in the later layers: they move farther than the images.",
        Rows(arm="none", y=_term(SHIFT), at=STANDARD), Rows(arm="none", y=_term(SHIFT, INPUT), at=STANDARD),
        Control(
            name="logits control", y=_term(SHIFT, LOGITS),
            words="the logits of the same nets, which the attack itself moves, beside the images",
        ),
    ),
)  # fmt: skip
