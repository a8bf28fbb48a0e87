"""Paper A's claims about fully connected nets of two and four layers, and about the ascent on a matrix. Declarative."""

from typing import Any

from analysis.claims.model import Beside, Claim, Control, Regime, Rows, Term
from analysis.claims.paper_a.terms import (
    A_TENTH,
    ALPHA,
    CLEAN,
    DATED,
    FIVE_POINTS,
    NEURON,
    NU,
    RANK,
    SIGMA,
    SPECTRAL,
    attacked,
    kept,
    neuron,
    norms,
    residual,
    spectral,
)


def _bound(norm: str) -> Term:
    return Term(measure="operator_norm_bound", layer="product", norm=norm, scale="log")


def _corollary(norm: str) -> Beside:
    """The corollary with the plain product of the hidden layers' and the head's norms in place of the paper's bound."""
    return Beside(name="the corollary with plain norms", x=Term(measure="gap_bound_product", norm=norm, judged=True))


def _grown(norm: str) -> Term:
    return Term(measure="operator_norm_growth", norm=norm)


def _ascent(pushed: str, other: str) -> dict[str, Any]:
    """The statistic, rows and control of an ascent on one norm: how much the other has grown at its end."""
    return {
        "statistic": "growth",
        "threshold": A_TENTH,
        "dated": DATED,
        "regime": Regime(clean=False),
        "rows": Rows(arm=f"ascend_{pushed}", y=_grown(other)),
        "control": Control(words="the growth of the norm that the ascent itself pushes", y=_grown(pushed)),
    }


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="A-i-neuron", change=FIVE_POINTS, beside=(ALPHA, CLEAN),
        source="A, section 4 (i), Figure 5 top left", **NEURON, expected=-1,
        rows=neuron(residual(NU), kept("linf")), regime=Regime(robust="linf", structure=NU),
        quote="Neuron compressibility lowers robustness to l_inf attacks (RA/SA).",
    ),
    Claim(
        id="A-i-spectral", change=FIVE_POINTS, beside=(RANK, CLEAN),
        source="A, section 4 (i), Figure 5 top right", **SPECTRAL, expected=-1,
        rows=spectral(residual(SIGMA), kept("l2")), regime=Regime(robust="l2", structure=SIGMA),
        quote="Spectral compressibility lowers robustness to l_2 attacks (RA/SA).",
    ),
    Claim(
        id="A-cross-neuron", change=FIVE_POINTS, beside=(ALPHA, CLEAN),
        source="A, section 3 and Figure 15", **NEURON, expected=-1,
        rows=neuron(residual(NU), kept("l2")), regime=Regime(robust="l2", structure=NU),
        quote="Neuron compressibility lowers robustness to l_2 attacks as well (RA/SA).",
    ),
    Claim(
        id="A-cross-spectral", change=FIVE_POINTS, beside=(RANK, CLEAN),
        source="A, section 3 and Figure 15", **SPECTRAL, expected=-1,
        rows=spectral(residual(SIGMA), kept("linf")), regime=Regime(robust="linf", structure=SIGMA),
        quote="Spectral compressibility lowers robustness to l_inf attacks as well (RA/SA).",
    ),
    Claim(
        id="A-bound-neuron", beside=(norms("linf"), ALPHA),
        source="A, Theorem 3.1 and Figure 3", **NEURON,
        rows=neuron(_bound("linf"), attacked("loss_gap", "linf")), regime=Regime(robust="linf", structure=NU),
        quote="A larger product of Theorem 3.1's l_inf bounds goes with a larger l_inf loss gap.",
    ),
    Claim(
        id="A-bound-spectral", beside=(norms("l2"), RANK),
        source="A, Theorem 3.1 and Figure 3", **SPECTRAL,
        rows=spectral(_bound("l2"), attacked("loss_gap", "l2")), regime=Regime(robust="l2", structure=SIGMA),
        quote="A larger product of Theorem 3.1's l_2 bounds goes with a larger l_2 loss gap.",
    ),
    Claim(
        id="A-gap-l2", beside=(_corollary("l2"), norms("l2"), RANK),
        source="A, section 3 and Figures 3, 10 left", **SPECTRAL, published=0.947,
        rows=spectral(Term(measure="gap_bound", norm="l2", judged=True), attacked("loss_gap", "l2")),
        regime=Regime(robust="l2"),
        quote="Corollary 3.3's l_2 bound follows the l_2 robustness gap (worst point seen).",
    ),
    Claim(
        id="A-gap-l2-art", beside=(_corollary("l2"), norms("l2"), RANK),
        source="A, section 3 and Figures 3, 10 left", **SPECTRAL, published=0.947,
        rows=spectral(
            Term(measure="gap_bound", norm="l2", judged=True), attacked("loss_gap", "l2", "configured")
        ),
        regime=Regime(robust="l2"),
        quote="Corollary 3.3's l_2 bound follows the l_2 robustness gap (as the toolbox returns it).",
    ),
    Claim(
        id="A-gap-linf", beside=(_corollary("linf"), norms("linf"), RANK),
        source="A, section 3 and Corollary 3.3", **SPECTRAL,
        rows=spectral(Term(measure="gap_bound", norm="linf", judged=True), attacked("loss_gap", "linf")),
        regime=Regime(robust="linf"),
        quote="Corollary 3.3's l_inf bound follows the l_inf robustness gap (worst point seen).",
    ),
    Claim(
        id="A-sensitivity", source="A, B.4 and Figure 10 center", **SPECTRAL,
        rows=spectral(attacked("local_sensitivity_max", "l2"), attacked("local_sensitivity_mean", "l2")),
        regime=Regime(robust="l2"),
        quote="Nets of larger maximal local sensitivity have a larger mean one (l_2).",
    ),
    Claim(
        id="A-norms-rise", change=A_TENTH, beside=(RANK,),
        source="A, B.4 and Figure 10 right", **SPECTRAL,
        rows=spectral(residual(SIGMA), Term(measure="operator_norm", layer="product", norm="l2", scale="log")),
        regime=Regime(robust="l2", structure=SIGMA),
        quote="The product of spectral norms rises with spectral compressibility.",
    ),
    Claim(
        id="A-ascent-linf", source="A, B.3 and Figure 9 top", **_ascent("linf", "l2"),
        quote="Raising the l_inf operator norm at a fixed Frobenius norm raises the l_2 operator norm.",
    ),
    Claim(
        id="A-ascent-l2", source="A, B.3 and Figure 9 bottom", **_ascent("l2", "linf"),
        quote="Raising the l_2 operator norm at a fixed Frobenius norm raises the l_inf operator norm.",
    ),
)  # fmt: skip
