"""The registry of claims: what each paper says, over which trials, and the sign that it expects. Declarative."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Term:
    """One number of a net: a measure at its coordinates, at the judged budget of `norm` where `judged`."""

    measure: str
    layer: str | None = None
    norm: str | None = None
    kept: float | None = None
    split: str | None = None
    judged: bool = False
    scale: str = ""


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A claim that two terms are rank-correlated over the trials of an arm, with the sign that the paper expects.

    `structure` is the compressibility that the arm is to move (none: the claim is not about compressibility), `norm`
    that of the baseline's robust accuracy; the protocol's conditions look at both. `published` is the paper's own
    coefficient; where there is one, Pearson's r of the terms is shown too.
    """

    id: str
    source: str
    statement: str
    studies: tuple[str, ...]
    arm: str
    control: str
    axis: str
    x: Term
    y: Term
    structure: str = ""
    norm: str = ""
    expected: int = -1
    published: float | None = None
    statistic: str = "Spearman's rho"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A claim that a term of an arm's trials is above 1: its mean logarithm over seeds is above 0.

    The control is a term that the experiment itself raises, so that an analysis that sees no growth at all is found.
    """

    id: str
    source: str
    statement: str
    studies: tuple[str, ...]
    arm: str
    y: Term
    control: Term
    expected: int = 1
    statistic: str = "mean log growth"


Claim = Correlation | Growth


def _residual(structure: str) -> Term:
    return Term(measure=structure, layer="mean", scale="compressibility")


def _attacked(measure: str, norm: str) -> Term:
    return Term(measure=measure, norm=norm, split="test", judged=True)


NU, SIGMA = "compress_eps_nu", "compress_eps_sigma"
NEURON: dict[str, Any] = {"arm": "neuron", "control": "control_neuron", "axis": "alpha", "structure": NU}
SPECTRAL: dict[str, Any] = {"arm": "spectral", "control": "control_spectral", "axis": "rank", "structure": SIGMA}
RANKS: dict[str, Any] = {"arm": "spectral", "control": "control_spectral", "axis": "rank", "expected": 1}
SWEEP, BOUNDS, ASCENT = ("compressibility_sweep",), ("bound_validation",), ("operator_norm_study",)


def _grown(norm: str) -> Term:
    return Term(measure="operator_norm_growth", norm=norm, scale="log")


CLAIMS: tuple[Claim, ...] = (
    Correlation(
        id="A-i-neuron", source="A, section 4 (i), Figure 5 top left", studies=SWEEP, **NEURON, norm="linf",
        x=_residual(NU), y=_attacked("relative_robust_accuracy", "linf"),
        statement="Neuron compressibility lowers robustness to l_inf attacks (RA/SA).",
    ),
    Correlation(
        id="A-i-spectral", source="A, section 4 (i), Figure 5 top right", studies=SWEEP, **SPECTRAL, norm="l2",
        x=_residual(SIGMA), y=_attacked("relative_robust_accuracy", "l2"),
        statement="Spectral compressibility lowers robustness to l_2 attacks (RA/SA).",
    ),
    Correlation(
        id="A-cross-neuron", source="A, section 3 and Figure 15", studies=SWEEP, **NEURON, norm="l2",
        x=_residual(NU), y=_attacked("relative_robust_accuracy", "l2"),
        statement="Neuron compressibility lowers robustness to l_2 attacks as well (RA/SA).",
    ),
    Correlation(
        id="A-cross-spectral", source="A, section 3 and Figure 15", studies=SWEEP, **SPECTRAL, norm="linf",
        x=_residual(SIGMA), y=_attacked("relative_robust_accuracy", "linf"),
        statement="Spectral compressibility lowers robustness to l_inf attacks as well (RA/SA).",
    ),
    Correlation(
        id="A-prunability", source="A, section 4, Figure 4 center left", studies=SWEEP, **NEURON, expected=1,
        x=_residual(NU), y=Term(measure="pruned_accuracy", kept=0.2, split="test"),
        statement="Compressible nets keep more accuracy when few rows are kept (20 %).",
    ),
    Correlation(
        id="A-bound-neuron", source="A, Theorem 3.1 and Figure 3", studies=SWEEP, **NEURON, norm="linf", expected=1,
        x=Term(measure="operator_norm_bound", layer="product", norm="linf", scale="log"),
        y=_attacked("loss_gap", "linf"),
        statement="A larger product of Theorem 3.1's l_inf bounds goes with a larger l_inf loss gap.",
    ),
    Correlation(
        id="A-bound-spectral", source="A, Theorem 3.1 and Figure 3", studies=SWEEP, **SPECTRAL, norm="l2", expected=1,
        x=Term(measure="operator_norm_bound", layer="product", norm="l2", scale="log"), y=_attacked("loss_gap", "l2"),
        statement="A larger product of Theorem 3.1's l_2 bounds goes with a larger l_2 loss gap.",
    ),
    Correlation(
        id="A-gap-l2", source="A, section 3 and Figures 3, 10 left", studies=BOUNDS, **RANKS, norm="l2",
        published=0.947,
        x=Term(measure="gap_bound", norm="l2", judged=True), y=_attacked("loss_gap", "l2"),
        statement="Corollary 3.3's l_2 bound follows the l_2 robustness gap (worst point seen).",
    ),
    Correlation(
        id="A-gap-l2-art", source="A, section 3 and Figures 3, 10 left", studies=BOUNDS, **RANKS, norm="l2",
        published=0.947,
        x=Term(measure="gap_bound", norm="l2", judged=True), y=_attacked("loss_gap_art", "l2"),
        statement="Corollary 3.3's l_2 bound follows the l_2 robustness gap (as the toolbox returns it).",
    ),
    Correlation(
        id="A-gap-linf", source="A, section 3 and Corollary 3.3", studies=BOUNDS, **RANKS, norm="linf",
        x=Term(measure="gap_bound", norm="linf", judged=True), y=_attacked("loss_gap", "linf"),
        statement="Corollary 3.3's l_inf bound follows the l_inf robustness gap (worst point seen).",
    ),
    Correlation(
        id="A-sensitivity", source="A, B.4 and Figure 10 center", studies=BOUNDS, **RANKS, norm="l2",
        x=_attacked("local_sensitivity_max", "l2"), y=_attacked("local_sensitivity_mean", "l2"),
        statement="Nets of larger maximal local sensitivity have a larger mean one (l_2).",
    ),
    Correlation(
        id="A-norms-rise", source="A, B.4 and Figure 10 right", studies=BOUNDS, **RANKS, norm="l2",
        x=_residual(SIGMA), y=Term(measure="operator_norm", layer="product", norm="l2", scale="log"),
        statement="The product of spectral norms rises with spectral compressibility.",
    ),
    Growth(
        id="A-ascent-linf", source="A, B.3 and Figure 9 top", studies=ASCENT, arm="ascend_linf",
        y=_grown("l2"), control=_grown("linf"),
        statement="Raising the l_inf operator norm at a fixed Frobenius norm raises the l_2 operator norm.",
    ),
    Growth(
        id="A-ascent-l2", source="A, B.3 and Figure 9 bottom", studies=ASCENT, arm="ascend_l2",
        y=_grown("linf"), control=_grown("l2"),
        statement="Raising the l_2 operator norm at a fixed Frobenius norm raises the l_inf operator norm.",
    ),
)  # fmt: skip
