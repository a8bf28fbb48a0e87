"""Paper A's claims about convolutional nets and transformers, adversarial training, transfer and pruning curves."""

from typing import Any

from analysis.claims.model import Claim, Control, Regime, Rows, Term
from analysis.claims.paper_a.terms import (
    ALPHA,
    CLEAN,
    DATED,
    FIVE_POINTS,
    HALF,
    NEURON,
    NU,
    PLANTED_ROWS,
    SIGMA,
    attacked,
    kept,
    lowers,
    neuron,
    residual,
    robust,
    spectral,
)

TWO_POINTS = 0.02  # of robust accuracy: the paper calls the rise slight
NEURON_WORDS = "Neuron compressibility lowers robustness to {} attacks (RA/SA)"
SPECTRAL_WORDS = "Spectral compressibility lowers robustness to {} attacks (RA/SA)"


def _rows_lower(name: str, source: str, where: str, arm: str = "neuron", norm: str = "linf") -> Claim:
    words = f"{NEURON_WORDS.format('l_inf' if norm == 'linf' else 'l_2')}: {where}."
    return lowers(name, source, words, neuron(residual(NU), kept(norm), arm))


def _spectra_lower(name: str, source: str, where: str, arm: str = "spectral", norm: str = "l2") -> Claim:
    words = f"{SPECTRAL_WORDS.format('l_inf' if norm == 'linf' else 'l_2')}: {where}."
    return lowers(name, source, words, spectral(residual(SIGMA), kept(norm), arm))


SPARSE, SPREAD = 0.1, 0.1  # the strengths of the pruning curves
FEW = 0.7  # the share of filters that is left where curves are compared: where they bend, on other seeds


def _after(share: float, pruning: str = "rows") -> Term:
    return Term(
        measure="pruned_robust_accuracy", attack="configured", norm="linf", judged=True, split="test", kept=share,
        pruning=pruning,
    )  # fmt: skip


def _curve(y: Term, alpha: float, spread: float = 0.0) -> Rows:
    return Rows(arm="curves", axis="alpha", y=y, at={"alpha": alpha, "spread_control": spread})


def _compared(name: str, quote: str, rows: Rows, against: Rows, control: Term, words: str, **more: Any) -> Claim:
    """A difference of robust accuracies between two points of pruning curves."""
    return Claim(
        id=name, source="A, section 4 (v) and Figure 8", statistic="difference", dated=DATED, quote=quote, rows=rows,
        against=(against,), regime=Regime(robust="linf"), control=Control(words=words, y=control),
        **({"threshold": FIVE_POINTS} | more),
    )  # fmt: skip


MANY_LEFT = "the same nets with nine tenths of their filters left"

CLAIMS: tuple[Claim, ...] = (
    _rows_lower("A-i-resnet-neuron", "A, section 4.1 and Figure 5 bottom left", "ResNet18"),
    _spectra_lower("A-i-resnet-spectral", "A, section 4.1 and Figure 5 bottom right", "ResNet18"),
    _rows_lower("A-D6-resnet-neuron", "A, D.6 and Figure 15 bottom", "ResNet18", norm="l2"),
    _spectra_lower("A-D6-resnet-spectral", "A, D.6 and Figure 15 bottom", "ResNet18", norm="linf"),
    Claim(
        id="A-D2-tug", source="A, D.2 and Figure 12", statistic="peak", threshold=TWO_POINTS, dated=DATED,
        rows=Rows(arm="plain", axis="alpha", y=robust("linf")), regime=Regime(robust="linf"),
        control=Control(
            arm="control_rate", axis="learning_rate", y=Term(measure="clean_accuracy", split="test"),
            words="clean accuracy along the learning rate, which a rate can miss on either side",
        ),
        quote="Plain group lasso without a held norm raises robust accuracy a little, and then lowers it.",
    ),
    _rows_lower("A-D2-falls", "A, D.2 and Figure 12", "plain group lasso, no norm held", arm="plain"),
    _rows_lower("A-D1-neuron", "A, D.1 and Figure 13", "other nets and data"),
    _spectra_lower("A-D1-spectral", "A, D.1 and Figure 13", "other nets and data"),
    _rows_lower("A-ii-trained-neuron", "A, section 4 (ii) and Figure 7 left", "adversarial training"),
    _spectra_lower("A-ii-trained-spectral", "A, D.3 and Figure 11", "adversarial training"),
    _rows_lower("A-ii-tuned-neuron", "A, section 4 (ii), C.3", "adversarial fine-tuning", arm="tuned"),
    _rows_lower("A-iii-transfer", "A, section 4 (iii) and Figure 7 right", "a frozen encoder on other classes"),
    _rows_lower("A-i-vit", "A, section 4.1 and Figure 6 left", "a vision transformer"),
    _rows_lower("A-D7-finetuned", "A, D.7 and Tables 2, 3", "a pretrained transformer, fine-tuned"),
    Claim(
        id="A-D7-loss", source="A, D.7 and Table 4", **NEURON, beside=(ALPHA, CLEAN),
        rows=neuron(residual(NU), attacked("loss_gap", "linf")), regime=Regime(robust="linf", structure=NU),
        quote="Adversarial minus clean loss grows as a fine-tuned transformer becomes more compressible.",
    ),
    Claim(
        id="A-D6-ratio", source="A, D.6 and Table 1", statistic="order", threshold=HALF, change=FIVE_POINTS,
        dated=DATED, rows=Rows(arm="trained", axis="adversarial_ratio", y=robust("linf")),
        regime=Regime(clean=True),
        control=Control(
            name="planted control", arm="control_neuron", axis="plant_rows", y=attacked("loss_gap", "linf"),
            words="the loss gap of trained nets whose rows were concentrated by hand, which must grow",
        ),
        quote="Robust accuracy rises with the share of adversarial examples in training.",
    ),
    Claim(
        id="A-D8", source="A, D.8 and Figure 16", statistic="order", expected=-1, threshold=HALF, change=FIVE_POINTS,
        dated=DATED, rows=Rows(arm="pruned", axis="prune_ratio", y=kept("linf")), regime=Regime(robust="linf"),
        control=PLANTED_ROWS,
        quote="Pruned and adversarially fine-tuned nets are less robust the more was pruned (RA/SA).",
    ),
    _compared(
        "A-v-inherit", "Pruned compressible nets are less robust than the baseline that is not pruned.",
        _curve(_after(0.9), SPARSE), _curve(robust("linf"), 0.0), _after(0.1),
        "the same nets with a tenth of their filters left", expected=-1, threshold=TWO_POINTS,
    ),
    _compared(
        "A-v-retain", "With seven tenths of the filters left, nets regularised for it keep more robust accuracy.",
        _curve(_after(FEW), SPARSE), _curve(_after(FEW), 0.0), _after(0.9), MANY_LEFT,
    ),
    _compared(
        "A-v-eps", "Pruning every layer to the same eps keeps more robust accuracy than the same ratio everywhere.",
        _curve(_after(FEW, "eps"), SPARSE), _curve(_after(FEW), SPARSE), _after(0.9), MANY_LEFT,
    ),
    _compared(
        "A-v-spread", "Control of the spread in training adds to what eps-pruning keeps of robust accuracy.",
        _curve(_after(FEW, "eps"), SPARSE, SPREAD), _curve(_after(FEW, "eps"), SPARSE), _after(0.9, "eps"), MANY_LEFT,
    ),
)  # fmt: skip
