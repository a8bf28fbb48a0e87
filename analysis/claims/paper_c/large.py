"""Paper C's claims about large nets: what Tables 5 and 6 say of compressed standard nets, by the text of section 5.

"Simply applying standard or adversarial fine-tuning to compressed standard networks yields standard and robust
accuracies comparable to those of full standard and robust models." Comparable is taken as the five points of its
sections 5 and 7. The tables have no compressed robust nets, so nothing is claimed of them.
"""

from analysis.claims.model import Claim, Control, Regime, Rows, Term

DATED = "2026-11-26"
FIVE_POINTS = 0.05
STANDARD, ROBUST = 0.0, 1.0  # the adversary's share of the first training
ACCURACY = Term(measure="clean_accuracy", split="test")
ROBUSTNESS = Term(measure="robust_accuracy", attack="configured", norm="linf", split="test", judged=True)
SAME = "the whole net on 65536 levels, which must be told to be within the margin of the whole net"
TAKEN = {  # kind of fine-tuning: what of the net is compared with what of which whole net, and in which words
    "standard": (ACCURACY, STANDARD, "on clean images", "the clean accuracy of the whole standard net"),
    "adversarial": (ROBUSTNESS, ROBUST, "on adversarial images", "the robust accuracy of the whole robust net"),
}


def _comparable(name: str, table: str, arm: str, level: dict[str, float], what: str, kind: str) -> Claim:
    y, base, images, words = TAKEN[kind]
    return Claim(
        id=name, source=f"C, section 5 and Table {table}", statistic="equivalence", threshold=FIVE_POINTS, dated=DATED,
        rows=Rows(arm=f"{arm}_{kind}", y=y, at=level),
        against=(Rows(arm="full", y=y, at={"adversarial_ratio": base}),),
        regime=Regime(robust="linf" if kind == "adversarial" else ""),
        control=Control(arm="control_same", at={"adversarial_ratio": base}, words=SAME),
        quote=f"Standard nets {what} and then fine-tuned {images} have within five points {words}.",
    )  # fmt: skip


EIGHT_BITS, EIGHTY = {"bits": 8}, {"prune_ratio": 0.8}
CLAIMS: tuple[Claim, ...] = (
    _comparable("C-tab5-standard", "5", "quantized", EIGHT_BITS, "quantized to 8 bits", "standard"),
    _comparable("C-tab5-robust", "5", "quantized", EIGHT_BITS, "quantized to 8 bits", "adversarial"),
    _comparable("C-tab6-standard", "6", "pruned", EIGHTY, "pruned by 80 %", "standard"),
    _comparable("C-tab6-robust", "6", "pruned", EIGHTY, "pruned by 80 %", "adversarial"),
)
