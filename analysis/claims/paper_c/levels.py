"""Paper C's claims about levels of compression: Figures 1 and 3, pruning matched with quantization (section 4).

The text orders nothing by the bits of post-training quantization (what it says of INT4 is about quantization-aware
training), so no claim does. The smallest effects: five points of accuracy, a rank order of a half.
"""

from typing import Any

from analysis.claims.model import Claim, Control, Regime, Rows, Term
from analysis.claims.paper_c.terms import CLEAN, DATED, FIVE_POINTS, ROBUST, ROBUST_ACCURACY, STANDARD

HALF = 0.5
FALLS: dict[str, Any] = {
    "statistic": "order", "expected": -1, "threshold": HALF, "change": FIVE_POINTS, "dated": DATED,
}  # fmt: skip
INT8: dict[str, Any] = {"bits": 8}


def _at(arm: str, base: float, y: Term, axis: str = "", **level: Any) -> Rows:
    """The nets of an arm that were compressed from standard or from robust ones, at one level or along an axis."""
    return Rows(arm=arm, y=y, axis=axis, at={"adversarial_ratio": base, **level})


def _by_training(name: str, arm: str, level: dict[str, Any], words: str, regime: Regime) -> Claim:
    """A claim that of nets compressed alike, and not fine-tuned, those of adversarial training are more robust."""
    return Claim(
        id=name, source="C, B.1 and Figure 3", statistic="difference", threshold=FIVE_POINTS, dated=DATED,
        quote=f"Without fine-tuning it is adversarial training that makes compressed nets robust: {words}.",
        rows=_at(arm, ROBUST, ROBUST_ACCURACY, **level), against=(_at(arm, STANDARD, ROBUST_ACCURACY, **level),),
        regime=regime,
        control=Control(
            words="robust nets that nothing compressed, against the compressed standard ones", arm="none",
            at={"adversarial_ratio": ROBUST},
        ),
    )  # fmt: skip


def _matched(name: str, ratio: float, data: str) -> Claim:
    """A claim that pruning at the paper's ratio and 8 bits leave equal accuracies (standard nets, fine-tuned)."""
    return Claim(
        id=name, source=f"C, section 4 and Figure 1 ({data})", statistic="equivalence", threshold=FIVE_POINTS,
        dated=DATED,
        quote=f"After adversarial fine-tuning a standard net without {100 * ratio:g} % of its filters is as accurate "
        f"as on 8 bits (the levels that the paper matches on {data}).",
        rows=_at("pruned_adversarial", STANDARD, CLEAN, prune_ratio=ratio),
        against=(_at("quantized_adversarial", STANDARD, CLEAN, **INT8),),
        control=Control(
            words="65536 levels in place of pruning, fine-tuned alike: within 5 points of 8 bits",
            arm="quantized_adversarial", at={"adversarial_ratio": STANDARD, "bits": 16},
        ),
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="C-fig1-pruned", source="C, Figure 1", **FALLS, regime=Regime(robust="linf"),
        rows=_at("pruned_adversarial", STANDARD, ROBUST_ACCURACY, "prune_ratio"),
        control=Control(
            name="planted control", arm="control_neuron", axis="plant_rows", at={},
            words="robust nets whose weights were concentrated by hand at the same Frobenius norm",
        ),
        quote="The more filters go, the less robust is a standard net after adversarial fine-tuning.",
    ),
    Claim(
        id="C-fig3-pruned", source="C, section 5 and Figure 3", **FALLS, regime=Regime(every_level=True),
        rows=_at("pruned", STANDARD, CLEAN, "prune_ratio"),
        control=Control(
            arm="quantized", axis="bits", at={"adversarial_ratio": STANDARD},
            words="clean accuracy of the same nets from 65536 levels down to two, which leave little of a net",
        ),
        quote="Without fine-tuning clean accuracy falls as filters go.",
    ),
    # what is left of a standard net without half of its filters may be no classifier: no reason not to ask
    _by_training("C-B1-pruned", "pruned", {"prune_ratio": 0.5}, "half of the filters gone", Regime(clean=False)),
    _by_training("C-B1-quantized", "quantized", INT8, "8 bits", Regime()),
    _matched("C-4-fashion", 0.8, "Fashion-MNIST"),
    _matched("C-4-cifar", 0.5, "CIFAR-10"),
)  # fmt: skip
