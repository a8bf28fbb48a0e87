"""What paper A's claims are made of: the numbers that they name, their controls, the smallest effects of note.

The smallest effects were set on the day that a claim's `dated` names, before the runs that are judged by them: five
points of RA/SA between the least and the most compressible judged net, and a rank correlation of a half; for what
follows what, a half alone; a tenth for a norm that grows.
"""

import math
from typing import Any

from analysis.claims.model import Beside, Claim, Control, Regime, Rows, Term

NU, SIGMA = "compress_eps_nu", "compress_eps_sigma"
DATED = "2026-11-26"
HALF, FIVE_POINTS = 0.5, 0.05
A_TENTH = round(math.log(1.1), 3)  # of a logarithm
PLANTED = "trained baselines whose weights were concentrated by hand at the same Frobenius norm"
PLANTED_ROWS = Control(name="planted control", arm="control_neuron", axis="plant_rows", words=PLANTED)
PLANTED_SPECTRUM = Control(name="planted control", arm="control_spectral", axis="plant_spectrum", words=PLANTED)
FOLLOWS: dict[str, Any] = {"statistic": "spearman", "threshold": HALF, "dated": DATED}
NEURON: dict[str, Any] = FOLLOWS | {"control": PLANTED_ROWS}
SPECTRAL: dict[str, Any] = FOLLOWS | {"control": PLANTED_SPECTRUM}


def residual(structure: str) -> Term:
    """How compressible the hidden layers are: 1 - eps of nu or sigma, their mean."""
    return Term(measure=structure, layer="mean", scale="compressibility")


def attacked(measure: str, norm: str, attack: str = "gap") -> Term:
    """A number of an attack on the test images at the judged budget."""
    return Term(measure=measure, attack=attack, norm=norm, split="test", judged=True)


def kept(norm: str) -> Term:
    """RA/SA under the study's own attack."""
    return attacked("relative_robust_accuracy", norm, "configured")


def robust(norm: str) -> Term:
    """Robust accuracy under the study's own attack."""
    return attacked("robust_accuracy", norm, "configured")


def neuron(x: Term, y: Term, arm: str = "neuron") -> Rows:
    """y against x over the strengths alpha of an arm."""
    return Rows(arm=arm, axis="alpha", x=x, y=y)


def spectral(x: Term, y: Term, arm: str = "spectral") -> Rows:
    """y against x over the ranks of an arm."""
    return Rows(arm=arm, axis="rank", x=x, y=y)


def norms(norm: str) -> Beside:
    """The plain product of the hidden layers' operator norms."""
    return Beside(
        name="the product of the hidden layers' norms",
        x=Term(measure="operator_norm", layer="product", norm=norm, scale="log"),
    )


CLEAN = Beside(name="clean accuracy", x=Term(measure="clean_accuracy", split="test"), either=True)
ALPHA, RANK = Beside(name="the strength alpha itself"), Beside(name="the rank itself")


def lowers(name: str, source: str, quote: str, rows: Rows, **more: Any) -> Claim:
    """The claim that RA/SA falls as the nets of an arm become more compressible (rows: x their residual, y RA/SA).

    Its control is planted into what the arm makes compressible, rows or spectrum.
    """
    assert rows.x is not None
    structure, knob = rows.x.measure, {"alpha": ALPHA, "rank": RANK}[rows.axis]
    base = NEURON if structure == NU else SPECTRAL
    regime = Regime(robust=rows.y.norm or "", structure=structure)
    return Claim(
        id=name, source=source, quote=quote, rows=rows, expected=-1, change=FIVE_POINTS, regime=regime,
        **(base | {"beside": (knob, CLEAN)} | more),
    )  # fmt: skip
