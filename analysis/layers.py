"""Where a given net's energy sits: its hidden layers one by one, what they are compressible to, and how much they
stretch their inputs."""

import math
from dataclasses import dataclass

import pandas as pd

from analysis import ladder
from study.store.manifest import Manifest

HALF = 0.5  # of the energy, which the layers named first hold


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A hidden layer of the net as it is. `energy`: its share of the squared weights of all hidden layers. `rows` and
    `spectrum`: the residuals of nu and sigma (0: wholly compressible). `linf` and `l2`: its operator norms, and above
    each the bound that its compressibility puts on it (Theorem 3.1 of paper A). nan where the table has no such row."""

    name: str
    energy: float
    rows: float
    spectrum: float
    linf: float
    linf_bound: float
    l2: float
    l2_bound: float


def layers(frame: pd.DataFrame, study: Manifest) -> list[Layer]:
    """The hidden layers in the net's order; nothing for a folder of another kind, or before the net is finished."""
    base = ladder.ladder(frame, study)[0] if ladder.is_given(study) else None
    if base is None:
        return []
    mine = frame[(frame["trial"] == base.trial) & frame["layer"].notna()]
    norms = mine[mine["measure"] == "frobenius_norm"]
    squares = {str(r.layer): float(r.value) ** 2 for r in norms.itertuples() if r.layer != "product"}
    whole = sum(squares.values())

    def value(layer: str, measure: str, norm: str = "") -> float:
        of = mine[(mine["layer"] == layer) & (mine["measure"] == measure)]
        of = of[of["norm"] == norm] if norm else of
        return float(of["value"].iloc[0]) if len(of) else math.nan

    return [
        Layer(
            name=name,
            energy=square / whole if whole else 0.0,
            rows=value(name, "compress_eps_nu"),
            spectrum=value(name, "compress_eps_sigma"),
            linf=value(name, "operator_norm", "linf"),
            linf_bound=value(name, "operator_norm_bound", "linf"),
            l2=value(name, "operator_norm", "l2"),
            l2_bound=value(name, "operator_norm_bound", "l2"),
        )
        for name, square in squares.items()
    ]


def sentences(found: list[Layer]) -> list[str]:
    """Which layers hold half of the energy, which one compresses best and which one stretches most; nothing of none."""
    if not found:
        return []
    held, names = 0.0, []
    for layer in sorted(found, key=lambda layer: -layer.energy):
        if held >= HALF:
            break
        held += layer.energy
        names.append(layer.name)
    few = ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
    best = min(found, key=lambda layer: layer.spectrum)
    most = max(found, key=lambda layer: layer.l2)
    return [
        f"{100 * held:.0f} % of the energy of the {len(found)} hidden layers (of their squared weights) sits in {few}.",
        f"The spectrum of {best.name} is the most compressible (residual {best.spectrum:.2f}); {most.name} stretches "
        f"its inputs most (l_2 norm {most.l2:.3g}, at most {most.l2_bound:.3g} by its compressibility).",
    ]


def table(found: list[Layer]) -> list[dict[str, str]]:
    """The layers as a report's table has them."""
    return [
        {
            "layer": layer.name,
            "energy": f"{100 * layer.energy:.1f} %",
            "ε of ν": f"{layer.rows:.2f}",
            "ε of σ": f"{layer.spectrum:.2f}",
            "l2 norm (bound)": f"{layer.l2:.3g} ({layer.l2_bound:.3g})",
            "l∞ norm (bound)": f"{layer.linf:.3g} ({layer.linf_bound:.3g})",
        }
        for layer in found
    ]
