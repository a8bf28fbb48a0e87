"""Paper C's claims about quantization-aware training beside quantization after training (Tables 8 and 9, Figure 4)."""

from analysis.claims.model import Claim, Control, Regime, Rows, Term

DATED = "2026-11-26"
ONE_POINT, TWO_POINTS, FIVE_POINTS = 0.01, 0.02, 0.05  # the paper's differences of Tables 8 and 9 are 1.5 and 1.9
ACCURACY = Term(measure="clean_accuracy", split="test")
ROBUSTNESS = Term(measure="robust_accuracy", attack="configured", norm="linf", split="test", judged=True)
BASE = Rows(arm="robust", y=ROBUSTNESS)  # what the regime looks at: the robust net without levels
REGIME = Regime(robust="linf")
ON_CLEAN = "the accuracy on clean images of {}, which must lie above what the same side keeps under attack"


def _at(arm: str, bits: int, y: Term = ROBUSTNESS) -> Rows:
    return Rows(arm=arm, y=y, at={"bits": bits})


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="C-B3-ptq", source="C, B.3 and Tables 8 and 9", statistic="difference", threshold=ONE_POINT, dated=DATED,
        rows=_at("ptq_adversarial", 8), against=(_at("qat_adversarial", 8), BASE), regime=REGIME,
        control=Control(words=ON_CLEAN.format("the same nets"), y=ACCURACY),
        quote="At 8 bits, adversarially fine-tuned, robust nets quantized after training are more robust than those of "
        "quantization-aware training (claimed of the 8-layer CNN and of ResNet18).",
    ),
    Claim(
        id="C-B3-int4", source="C, B.3 and Figure 4", statistic="difference", threshold=TWO_POINTS, dated=DATED,
        rows=_at("qat", 4), against=(_at("ptq", 4), BASE), regime=REGIME,
        control=Control(words=ON_CLEAN.format("quantization-aware nets of 8 bits"), y=ACCURACY, at={"bits": 8}),
        quote="At 4 bits and without fine-tuning, quantization-aware training keeps more robust accuracy than "
        "quantization after training (claimed of ResNet18; of the 8-layer CNN the paper says that it does not work).",
    ),
    Claim(
        id="C-B2-test", source="C, B.2 and Figure 4", statistic="equivalence", threshold=FIVE_POINTS, dated=DATED,
        rows=_at("qat", 8, ACCURACY), against=(_at("ptq", 8, ACCURACY), BASE), regime=REGIME,
        control=Control(
            arm="ptq", at={"bits": 16}, words="nets on 65536 levels beside the same ones on 256, which must be told "
            "to be within the margin",
        ),
        quote="At 8 bits and without fine-tuning, robust nets of quantization-aware training and of quantization after "
        "training differ by less than five points of clean accuracy.",
    ),
)  # fmt: skip
