"""Paper C's claims about large nets: what Tables 5 and 6 say of compressed standard nets, by the text of section 5.

"Simply applying standard or adversarial fine-tuning to compressed standard networks yields standard and robust
accuracies comparable to those of full standard and robust models." Comparable is taken as not below by the five points
of its sections 5 and 7 (on Tiny ImageNet its pruned nets are far above). The tables have no compressed robust nets, so
nothing is claimed of them.
"""

from collections.abc import Mapping

from analysis.claims.model import Claim, Control, Regime, Rows
from analysis.claims.paper_c.terms import CLEAN, DATED, FIVE_POINTS, REFERENCE, ROBUST, ROBUST_ACCURACY, STANDARD, nets
from study.spec.domains import Value

SAME = "the whole net on 65536 levels, which must be found to have what the whole net has"
TAKEN = {  # kind of fine-tuning: what of the net is compared with what of which whole net, and in which words
    "standard": (CLEAN, STANDARD, "on clean images", "the clean accuracy of the whole standard net"),
    "adversarial": (ROBUST_ACCURACY, ROBUST, "on adversarial images", "the robust accuracy of the whole robust net"),
}


def _comparable(name: str, table: str, arm: str, level: Mapping[str, Value], what: str, kind: str) -> Claim:
    y, base, images, words = TAKEN[kind]
    return Claim(
        id=name, source=f"C, section 5 and Table {table}", statistic="noninferiority", threshold=FIVE_POINTS,
        dated=DATED, rows=Rows(arm=f"{arm}_{kind}", y=y, at=level), against=(nets("full", base, y),),
        regime=REFERENCE if base == ROBUST else Regime(),
        control=Control(arm="control_same", at={"adversarial_ratio": base}, words=SAME),
        quote=f"Standard nets {what} and then fine-tuned {images} come within five points of {words}, or pass it.",
    )  # fmt: skip


EIGHT_BITS, EIGHTY = {"bits": 8}, {"prune_ratio": 0.8}
CLAIMS: tuple[Claim, ...] = (
    _comparable("C-tab5-standard", "5", "quantized", EIGHT_BITS, "quantized to 8 bits", "standard"),
    _comparable("C-tab5-robust", "5", "quantized", EIGHT_BITS, "quantized to 8 bits", "adversarial"),
    _comparable("C-tab6-standard", "6", "pruned", EIGHTY, "pruned by 80 %", "standard"),
    _comparable("C-tab6-robust", "6", "pruned", EIGHTY, "pruned by 80 %", "adversarial"),
)
