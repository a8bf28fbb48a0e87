"""How far above the measured risk of a masked net does paper B's bound lie, and does it follow it?

Paper B, appendix H.6 and Figures 15 and 16, row B6 of the protocol: Theorem 2's bound of the risk (times the budget,
which it leaves out) beside the mean and the largest move of the logits over random points of the l_2 ball (K = 200),
and the worst that an attack finds, for an MLP without biases whose weights are kept at random with one probability. The
bound is of the expectation over masks: five masks of each seed. Beside it the form that uses each weight's own
probability.

    python -m study.launch tightness_study
    python -m study.launch tightness_study --preset laptop_block

Figure 16: one transformer block without LayerNorm, its five matrices masked, beside Theorem 1, corrected and as
printed. Its proof has gaps, so that this bound is a heuristic; ViT-Tiny's LayerNorms have no Lipschitz constant at all,
and its blocks are not here. Expected by the paper: a gap, and a bound that falls as the risk does.

laptop, laptop_block: scikit-learn's digits, two layers of an MLP and a block of 64 features, five seeds; five minutes
on two cores each. paper, paper_block: MNIST, 400 units, 64 features, 30 epochs. smoke: seconds; it judges nothing.
"""

from typing import Any

from search_spaces._paper_b import laptop, masked, paper, smoke
from study.spec.studies import Arm, Study

SHARES, DRAWS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1), (0, 1, 2, 3, 4)
BLOCK: dict[str, Any] = {"width": 64, "mask_on": "hidden"}  # Theorem 1 is of the block alone
ALONE: dict[str, Any] = {"more_attacks": (), "risk_points": 200}


def _arms(shares: tuple[float, ...], draws: tuple[int, ...]) -> tuple[Arm, ...]:
    return (masked("bernoulli", shares, mask=("bernoulli",), mask_draw=draws),)


WHOLE = _arms(SHARES, DRAWS)
STUDY = Study(
    name="tightness_study",
    question="Does the bound of a masked net's risk follow it, and how far above it does it lie?",
    reproduces=("B.fig15", "B.fig16"),
    covers=("B6",),
    figures=("risk",),
    claims=("B-risk-bernoulli", "B-bound-follows", "B-block-follows"),
    presets={
        "smoke": smoke(_arms((1.0, 0.5), (0, 1))),
        "laptop": laptop(WHOLE, **ALONE),
        "laptop_block": laptop(WHOLE, "attention_block", **ALONE, **BLOCK, patch_size=2),
        "paper": paper(WHOLE, **ALONE, width=400, depth=1),
        "paper_block": paper(WHOLE, "attention_block", **ALONE, **BLOCK, patch_size=4),
    },
)
