"""Paper B's claims about nets whose weights are masked (Figures 1 to 4 and 7 to 15).

The smallest effects were set on the day that `dated` names, before the runs that are judged by them: two points of
robust accuracy for a peak, for the paper's own figures show a few; five points between two ways of masking; a rank
correlation of a half along the shares.
"""

from dataclasses import replace
from typing import Any

from analysis.claims.model import Claim, Control, Regime, Rows, Term
from study.spec.attack_names import current

DATED = "2026-11-27"
TWO_POINTS, THREE_POINTS, FIVE_POINTS, HALF = 0.02, 0.03, 0.05, 0.5
CLEAN = Term(measure="clean_accuracy", split="test")
FIDELITY = Term(measure="fidelity", norm="l2", split="test")
LATE = 0.3  # the share kept at which Taylor scores are to be ahead
DEEP, FLAT = 3, 1  # hidden layers of the nets of four and of two layers


def robust(attack: str = "configured") -> Term:
    """Robust accuracy on the test images at the judged l_inf budget."""
    return Term(measure="robust_accuracy", attack=attack, norm="linf", split="test", judged=True)


def moved(measure: str) -> Term:
    """A number of the judged l_2 ball."""
    return Term(measure=measure, norm="l2", split="test", judged=True, scale="log")


def _peak(
    name: str, arm: str, attack: str, how: str, *, axis: str = "keep_prob", control: Term | None = None, under: str = ""
) -> Claim:
    y = robust(attack)
    return Claim(
        id=f"B-peak-{name}", source="B, 6.3 and Figures 2, 3, 8 to 14", statistic="peak", threshold=TWO_POINTS,
        dated=DATED, rows=Rows(arm=arm, axis=axis, y=y), regime=Regime(robust="linf"),
        control=Control(
            planted=THREE_POINTS, words="the same numbers with a peak of three points planted where little is gone",
            also=Control(
                arm="control_rate", axis="learning_rate", at={"keep_prob": 1.0}, y=control,
                words=f"{under or 'the same accuracy'} along the learning rate, which a rate can miss on either side",
            ),
        ),
        quote=f"As {how}, attacked accuracy first rises and then falls.",
    )  # fmt: skip


def _falls(name: str, arm: str) -> Claim:
    return Claim(
        id=f"B-risk-{name}", source="B, 4.2, 6.2 and Figures 1, 7", statistic="order", expected=-1, threshold=HALF,
        dated=DATED, rows=Rows(arm=arm, axis="keep_prob", y=moved("risk_worst")), regime=Regime(),
        control=Control(
            y=FIDELITY, expected=1,
            words="the distance to the whole net's logits, which grows with every weight that goes",
        ),
        quote=f"The fewer weights are kept ({arm}), the less an attacker moves the logits: the risk of the masked net "
        "is at most that of the whole net.",
    )  # fmt: skip


def _depth(name: str, arm: str, kept: float, least: float, attack: str = "configured") -> Claim:
    def at(depth: int, share: float) -> Rows:
        return Rows(arm=arm, y=robust(attack), at={"depth": depth, "keep_prob": share})

    under = "" if attack == "configured" else f", {name.upper()}"
    return Claim(
        id=f"B-depth-{name}", source="B, 6.4 and Figure 4", statistic="interaction", threshold=TWO_POINTS, dated=DATED,
        rows=at(DEEP, kept), against=(at(DEEP, 1.0), at(FLAT, kept), at(FLAT, 1.0)), regime=Regime(robust="linf"),
        control=Control(
            at={"depth": DEEP, "keep_prob": least}, expected=-1,
            words=f"the deep nets with {least:g} of the weights kept, which must be found to lose more",
        ),
        quote=f"With {kept:g} of the weights kept ({arm}{under}), nets of four layers gain more attacked accuracy, or "
        "lose less, than nets of two.",
    )  # fmt: skip


def _follows(name: str, layer: str | None, moves: str, bound: str) -> Claim:
    def of(form: str) -> Term:
        return replace(moved(f"risk_blocks_bound{form}"), layer=layer or "product")

    return Claim(
        id=f"B-{name}-follow{'s' if layer else ''}", source="B, 4.2, H.6 and Figure 16", statistic="spearman",
        threshold=HALF, dated=DATED, regime=Regime(clean=False, every_level=True),
        rows=Rows(arm="bernoulli", axis="keep_prob", x=of("_printed"), y=replace(moved("risk_worst"), layer=layer)),
        control=Control(y=of(""), words="the corrected bound, which must follow the printed one"),
        quote=f"Under random masks {moves} are moved the less the lower {bound} is (printed; a heuristic).",
    )  # fmt: skip


SHARES: dict[str, Any] = {"statistic": "order", "threshold": HALF, "dated": DATED}
CLAIMS: tuple[Claim, ...] = (
    _peak("magnitude", "magnitude", "configured", "weights are masked by size"),
    _peak("taylor", "taylor", "configured", "weights are masked by Taylor scores"),
    _peak("fgsm", "magnitude", current("native", "fgsm"), "weights are masked by size (FGSM)"),
    _peak("pgd", "magnitude", current("native", "pgd"), "weights are masked by size (PGD of 5 steps)"),
    _peak("cw", "magnitude", current("native", "cw"), "weights are masked by size (Carlini and Wagner)"),
    _peak(
        "autoattack", "magnitude", current("native", "autoattack"), "weights are masked by size (AutoAttack)",
        control=robust(), under="accuracy under the study's own attack",
    ),
    _peak("removed", "removed", "configured", "whole neurons, filters or heads are removed", axis="prune_ratio"),
    Claim(
        id="B-taylor-later", source="B, 6.3 and Figure 3", statistic="difference", threshold=FIVE_POINTS, dated=DATED,
        rows=Rows(arm="taylor", y=robust(), at={"keep_prob": LATE}),
        against=(
            Rows(arm="magnitude", y=robust(), at={"keep_prob": LATE}),
            Rows(arm="magnitude", y=robust(), at={"keep_prob": 1.0}),
        ),
        regime=Regime(robust="linf"),
        control=Control(y=CLEAN, words="the same nets on clean images, which must be found above those under attack"),
        quote=f"With Taylor scores the trade-off comes later: at {LATE:g} of the weights these nets keep more attacked "
        "accuracy than those masked by size.",
    ),
    _falls("magnitude", "magnitude"),
    _falls("bernoulli", "bernoulli"),
    Claim(
        id="B-fidelity", source="B, 5.2, 6.2 and Figures 1, 7", **SHARES,
        rows=Rows(arm="bernoulli", axis="keep_prob", y=FIDELITY),
        baseline=0.9, regime=Regime(clean=False, every_level=True),
        control=Control(
            y=Term(measure="fidelity_bound", norm="l2", split="test"),
            words="its bound, which grows with every probability that falls",
        ),
        quote="The fewer weights are kept (at random), the farther the logits lie from those of the whole net.",
    ),
    Claim(
        id="B-bound-follows", source="B, H.6 and Figure 15", statistic="spearman", threshold=HALF, dated=DATED,
        rows=Rows(arm="bernoulli", axis="keep_prob", x=moved("risk_bound"), y=moved("risk_worst")),
        regime=Regime(clean=False, every_level=True),
        control=Control(y=moved("risk_bound_tight"), words="the bound by each weight, which must follow the other one"),
        quote="Theorem 2's bound falls as the risk of nets under random masks does.",
    ),
    Claim(
        id="B-block-follows", source="B, H.6 and Figure 16", statistic="spearman", threshold=HALF, dated=DATED,
        rows=Rows(arm="bernoulli", axis="keep_prob", x=moved("risk_block_bound_printed"), y=moved("risk_worst")),
        regime=Regime(clean=False, every_level=True),
        control=Control(y=moved("risk_block_bound"), words="the corrected bound, which must follow the printed one"),
        quote="Theorem 1's bound falls as the risk of a transformer block under random masks does.",
    ),
    _follows("first-block", "blocks.0", "the tokens behind a ViT's first block", "Theorem 1's bound of that block"),
    _follows("blocks", None, "a ViT's logits", "the product of Theorem 1's bounds of its blocks"),
    _depth("magnitude", "magnitude", 0.4, 0.1),
    _depth("fgsm", "magnitude", 0.4, 0.1, current("native", "fgsm")),
    _depth("bernoulli", "bernoulli", 0.8, 0.2),
)  # fmt: skip
