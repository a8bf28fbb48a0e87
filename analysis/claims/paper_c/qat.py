"""Paper C's claims about quantization-aware training beside quantization after training (Tables 8 and 9, Figure 4)."""

from analysis.claims.model import Claim, Control, Rows, Term
from analysis.claims.paper_c.terms import CLEAN, DATED, FIVE_POINTS, REFERENCE, ROBUST_ACCURACY

TWO_POINTS = 0.02  # in Tables 8 and 9 the two differ by 1.5 and 1.9 points
BASE = Rows(arm="robust", y=ROBUST_ACCURACY)  # stands last, where the regime looks: the robust net without levels


def _at(arm: str, bits: int, y: Term = ROBUST_ACCURACY) -> Rows:
    return Rows(arm=arm, y=y, at={"bits": bits})


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="C-B3-ptq", source="C, B.3 and Tables 8 and 9", statistic="noninferiority", threshold=TWO_POINTS,
        dated=DATED, rows=_at("ptq_adversarial", 8), against=(_at("qat_adversarial", 8), BASE), regime=REFERENCE,
        control=Control(
            words="quantization-aware nets on clean images, which must be found not below themselves under attack",
            arm="qat_adversarial", y=CLEAN,
            also=Control(
                words="nets on two levels without fine-tuning, which must be found less robust", arm="ptq",
                at={"bits": 1}, expected=-1,
            ),
        ),
        quote="At 8 bits, adversarially fine-tuned, robust nets quantized after training are at least as robust, but "
        "for two points, as those of quantization-aware training (claimed of the 8-layer CNN and of ResNet18).",
    ),
    Claim(
        id="C-B3-int4", source="C, B.3 and Figure 4", statistic="difference", threshold=TWO_POINTS, dated=DATED,
        rows=_at("qat", 4), against=(_at("ptq", 4), BASE), regime=REFERENCE,
        control=Control(words="nets of 8 bits on clean images, against these under attack", y=CLEAN, at={"bits": 8}),
        quote="At 4 bits and without fine-tuning, quantization-aware training keeps more robust accuracy than "
        "quantization after training (claimed of ResNet18; of the 8-layer CNN the paper says that it does not work).",
    ),
    Claim(
        id="C-B2-test", source="C, B.2 and Figure 4", statistic="equivalence", threshold=FIVE_POINTS, dated=DATED,
        rows=_at("qat", 8, CLEAN), against=(_at("ptq", 8, CLEAN), BASE), regime=REFERENCE,
        control=Control(
            arm="ptq", at={"bits": 16}, words="nets on 65536 levels beside the same ones on 256, which must be told "
            "to be within the margin",
        ),
        quote="At 8 bits and without fine-tuning, robust nets of quantization-aware training and of quantization after "
        "training differ by less than five points of clean accuracy.",
    ),
)  # fmt: skip
