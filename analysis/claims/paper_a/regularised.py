"""Paper A's claims about fully connected nets under other penalties, norms and rates (rows A1, A8, A12, A15, A18)."""

from typing import Any

from analysis.claims.model import Beside, Claim, Control, Regime, Rows, Term
from analysis.claims.paper_a.terms import (
    ALPHA,
    CLEAN,
    DATED,
    FIVE_POINTS,
    FOLLOWS,
    HALF,
    NEURON,
    NU,
    PLANTED,
    PLANTED_ROWS,
    SIGMA,
    SPECTRAL,
    attacked,
    kept,
    lowers,
    neuron,
    residual,
    robust,
)

FEW_POINTS = 0.03  # of robust accuracy, for a rise before a fall


def _nuclear(y: Term) -> Rows:
    return Rows(arm="spectral", axis="alpha", x=residual(SIGMA), y=y)


def _pruned(pruning: str, share: float) -> Term:
    """Accuracy after pruning over that before it."""
    return Term(measure="relative_pruned_accuracy", pruning=pruning, kept=share, split="test")


PRUNES: dict[str, Any] = FOLLOWS | {
    "change": FIVE_POINTS, "beside": (ALPHA, CLEAN), "regime": Regime(robust="l2", structure=SIGMA),
}  # fmt: skip


def _fooled(norm: str = "linf") -> Term:
    """The share of test images whose class a universal perturbation changes, less that of random ones."""
    return attacked("fooling_excess", norm, "native/universal_fgsm")


def _peak(arm: str) -> Claim:
    """Robust accuracy rises and then falls along the learning rate."""
    return Claim(
        id=f"A-D4-{arm}", source="A, D.4 and Figure 11 right", statistic="peak", threshold=FEW_POINTS, dated=DATED,
        rows=Rows(arm=arm, axis="learning_rate", y=robust("linf")), regime=Regime(robust="linf"),
        control=Control(
            arm="held", y=Term(measure="clean_accuracy", split="train"),
            words="accuracy on the training images at a held norm, which a rate can miss on either side",
        ),
        quote=f"With a larger learning rate robust accuracy first rises and then falls (Frobenius norm {arm}).",
    )  # fmt: skip


def _rows_with_rate(arm: str) -> Claim:
    return Claim(
        id=f"A-D4-rows-{arm}", source="A, D.4 and Figure 11 right", statistic="order", threshold=HALF, dated=DATED,
        rows=Rows(arm=arm, axis="learning_rate", y=residual(NU)), regime=Regime(robust="linf"), control=PLANTED_ROWS,
        quote=f"A larger learning rate makes rows more compressible (Frobenius norm {arm}).",
    )  # fmt: skip


UNPENALISED: dict[str, Any] = {
    "arm": "control_neuron", "axis": "plant_rows", "at": {"plant_rows": 0.0},
    "words": "the unpenalised net itself, in place of the one that l1 is to mend",
}  # fmt: skip
STRONGEST, NUCLEAR = 0.02, 0.02  # the strengths alpha at which l1 is asked to make up for the structured penalty
SCALED = 5.0  # the Frobenius constant whose RA is about that of the strongest alpha


def _at(arm: str, alpha: float, norm: str) -> Rows:
    return Rows(arm=arm, axis="alpha", y=kept(norm), at={"alpha": alpha})


CLAIMS: tuple[Claim, ...] = (
    lowers(
        "A-i-nuclear", "A, section 4.1 and Figure 4 center right",
        "Spectral compressibility under a nuclear norm lowers robustness to l_2 attacks (RA/SA).",
        _nuclear(kept("l2")),
    ),
    Claim(
        id="A-nuclear-prunes", source="A, section 4.1 and Figure 4 center left", **PRUNES,
        rows=_nuclear(_pruned("rows", 0.2)),
        control=Control(
            arm="control_rows", axis="alpha", words="nets under group lasso, whose smallest rows hold next to nothing"
        ),
        quote="Spectrally compressible nets keep more of their accuracy where a fifth of the rows is left.",
    ),
    Claim(
        id="A-nuclear-truncates", source="A, section 4.1 (rank truncation is ours)", **PRUNES,
        rows=_nuclear(_pruned("low_rank", 0.1)),
        control=Control(
            arm="control_rank", axis="rank", words="nets trained at falling ranks, of which less and less is cut off"
        ),
        quote="Spectrally compressible nets keep more of their accuracy where a tenth of each spectrum is left.",
    ),
    Claim(
        id="A-growth", source="A, section 4.1 and Figure 4 right", **SPECTRAL,
        beside=(ALPHA, CLEAN), rows=_nuclear(attacked("representation_growth", "l2")),
        regime=Regime(robust="l2", structure=SIGMA),
        quote="The representation moves farther under an l_2 attack, relative to its length, in compressible nets.",
    ),
    Claim(
        id="A-directions", source="A, section 4.1 and Figure 4 right", **SPECTRAL,
        beside=(ALPHA, Beside(name="the ratio of random perturbations", x=attacked("direction_ratio", "l2", "random"))),
        rows=_nuclear(attacked("direction_ratio", "l2")),
        regime=Regime(robust="l2", structure=SIGMA),
        quote="l_2 attacks on compressible nets align more with the dominant singular directions than with the others.",
    ),
    Claim(
        id="A-iv-neuron", source="A, section 4 (iv) and Figure 7 center left", **NEURON, change=FIVE_POINTS,
        beside=(ALPHA, CLEAN), rows=neuron(residual(NU), _fooled()), regime=Regime(robust="linf", structure=NU),
        quote="Row-compressible nets are fooled more often by one universal perturbation (l_inf).",
    ),
    Claim(
        id="A-iv-scale", source="A, section 4 (iv) and Figure 7 center right", statistic="order", expected=-1,
        threshold=HALF, change=FIVE_POINTS, dated=DATED, control=PLANTED_ROWS, regime=Regime(robust="linf"),
        rows=Rows(arm="scale", axis="frobenius", y=kept("linf")), baseline=1.0,
        quote="A larger Frobenius norm of the layers lowers robustness to l_inf attacks (RA/SA).",
    ),
    Claim(
        id="A-iv-interaction", source="A, section 4 (iv) and Figure 7", statistic="interaction",
        threshold=FIVE_POINTS, dated=DATED, regime=Regime(robust="linf"), baseline=0.0,
        rows=Rows(arm="neuron", axis="alpha", y=_fooled(), at={"alpha": 0.03}),
        against=(
            Rows(arm="neuron", axis="alpha", y=_fooled(), at={"alpha": 0.0}),
            Rows(arm="scale", axis="frobenius", y=_fooled(), at={"frobenius": SCALED}),
            Rows(arm="scale", axis="frobenius", y=_fooled(), at={"frobenius": 1.0}),
        ),
        control=Control(
            name="planted control", arm="control_neuron", axis="plant_rows", at={"plant_rows": 0.5}, words=PLANTED
        ),
        quote="Row compressibility opens nets to universal perturbations more than the Frobenius norm does.",
    ),
    _peak("free"),
    _peak("held"),
    _rows_with_rate("free"),
    _rows_with_rate("held"),
    Claim(
        id="A-D5-neuron", source="A, D.5 and Figure 14 top", statistic="difference", threshold=FIVE_POINTS,
        dated=DATED, regime=Regime(robust="linf"), rows=_at("both", STRONGEST, "linf"),
        against=(_at("structured", STRONGEST, "linf"),), control=Control(**UNPENALISED),
        quote="l1 makes up for what group lasso costs under l_inf attacks (RA/SA).",
    ),
    Claim(
        id="A-D5-interaction", source="A, D.5 and Figure 14", statistic="interaction", threshold=FIVE_POINTS,
        dated=DATED, regime=Regime(robust="linf"), rows=_at("both", STRONGEST, "linf"),
        against=(
            _at("structured", STRONGEST, "linf"),
            _at("spectral_both", NUCLEAR, "l2"),
            _at("spectral_structured", NUCLEAR, "l2"),
        ),
        control=Control(**UNPENALISED),
        quote="l1 makes up for group lasso under l_inf attacks more than for the nuclear norm under l_2 attacks.",
    ),
    Claim(
        id="A-notes-alignment", source="reading notes on A (not in the paper)", statistic="order", threshold=HALF,
        change=FIVE_POINTS, dated=DATED, regime=Regime(robust="l2"),
        rows=Rows(arm="aligned", axis="alignment_penalty", y=kept("l2")),
        control=Control(
            name="planted control", arm="control_spectral", axis="plant_spectrum", y=attacked("loss_gap", "l2"),
            words="the loss gap of trained nets whose spectra were concentrated by hand, which must grow",
        ),
        quote="A penalty on the alignment of consecutive layers raises robustness to l_2 attacks (RA/SA).",
    ),
    Claim(
        id="A-notes-aligned", source="reading notes on A (not in the paper)", statistic="order", expected=-1,
        threshold=HALF, dated=DATED, regime=Regime(robust="l2"),
        rows=Rows(
            arm="aligned", axis="alignment_penalty", y=Term(measure="alignment_greedy", layer="mean", norm="l2")
        ),
        control=Control(
            name="planted control", arm="control_spectral", axis="plant_spectrum", y=kept("l2"), words=PLANTED
        ),
        quote="A penalty on the alignment of consecutive layers lowers it (l_2, as a search finds it).",
    ),
)  # fmt: skip
