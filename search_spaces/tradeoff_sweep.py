"""Which way of choosing what each layer keeps gives the better pairs of clean and attacked accuracy?

Paper B, sections 5.3 and 6.5 and Figures 5 and 6, rows B4 and B5 of the protocol: for a trade-off lam between risk
gamma (lam = 1) and fidelity zeta (lam = 0) of a trained MLP a share to keep is chosen, one for both layers or one for
each; then the net is really masked by size, and attacked. Three rules choose: `chebyshev`, a point of the exact front
of (gamma, zeta); `exact`, the exact minimum of the paper's objective lam gamma + (1 - lam) zeta with a floor under
every share; `printed`, the paper's Algorithm 1, which sets the derivative of a concave function to zero and so climbs
to its maximum. Expected by the paper of its algorithm: larger lam, fewer weights and more attacked accuracy; the second
layer is pruned more than the first.

    python -m study.launch tradeoff_sweep

What `printed` says before the floor stands in rows said_keep_prob. The start of Algorithm 1 is not in the paper: .5.

laptop: scikit-learn's digits, two layers, five seeds; ten minutes on two cores. paper: MNIST, 400 units, 30 epochs.
smoke: seconds; it judges nothing.
"""

from search_spaces._paper_b import FREE, laptop, masked, paper, smoke
from study.spec.studies import Arm, Study

LAMS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
RULES, LAYERS = ("chebyshev", "exact", "printed"), ("layerwise", "uniform")
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)  # down to the floor of what lam may choose


def _arms(lams: tuple[float, ...], shares: tuple[float, ...]) -> tuple[Arm, ...]:
    """One arm for each rule and kind of choice, and the plain scale of shares beside them."""
    chosen = tuple(
        Arm(
            name=f"{rule}_{layers}",
            family="compressed",
            axes={**FREE, "lam": lams, "lam_rule": (rule,), "lam_layers": (layers,)},
            about=("lam",),
        )
        for rule in RULES
        for layers in LAYERS
    )
    return (*chosen, masked("scale", shares))


STUDY = Study(
    name="tradeoff_sweep",
    question="Which way of choosing what each layer keeps gives the better pairs of clean and attacked accuracy?",
    reproduces=("B.fig5", "B.fig6", "B.alg1"),
    covers=("B4", "B5"),
    figures=("pairs", "risk_fidelity", "chosen"),
    claims=("B-lam-printed", "B-lam-chebyshev", "B-second-layer", "B-second-layer-front"),
    presets={
        "smoke": smoke(_arms((0.2, 0.8), (1.0, 0.5))),
        "laptop": laptop(_arms(LAMS, SHARES)),
        "paper": paper(_arms(LAMS, SHARES), width=400, depth=1),
    },
)
