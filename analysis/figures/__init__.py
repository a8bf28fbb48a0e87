"""Which figures each study's report shows: {study: (file name, title, drawing)}; drawings take the tidy table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import ascent_figures, bound_figures, cost_figures, figures, pareto_figures
from analysis.claims import Judgement

Drawing = Callable[[pd.DataFrame, Mapping[str, Any], Sequence[Judgement]], Figure]

PICTURES: dict[str, tuple[tuple[str, str, Drawing], ...]] = {
    "compressibility_sweep": (
        ("robustness", "Accuracy, RA/SA and compressibility along each arm", figures.robustness),
        ("compressibility", "Robustness against measured compressibility", figures.compressibility),
        ("bounds", "Theorem 3.1's bound against the measured loss gap", figures.bounds),
        ("prunability", "Accuracy after row pruning", figures.prunability),
    ),
    "bound_validation": (
        ("gap", "Corollary 3.3's bound against the measured gap", bound_figures.gap),
        ("anatomy", "Looseness, local sensitivity, alignment", bound_figures.anatomy),
        ("robustness", "Accuracy, RA/SA and compressibility along the ranks", figures.robustness),
    ),
    "pareto_search": (
        ("fronts", "The front: robustness against cost", pareto_figures.fronts),
        ("progress", "Hypervolume against evaluations, attainment over seeds", pareto_figures.progress),
        ("parallel", "What the front is made of", pareto_figures.parallel),
    ),
    "compression_levels": (("bytes", "Accuracy against stored bytes", cost_figures.stored_bytes),),
    "operator_norm_study": (("ascent", "Both norms while one of them is pushed", ascent_figures.ascent),),
}
