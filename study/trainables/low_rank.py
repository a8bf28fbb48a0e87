"""The low_rank family: hidden layers trained as products of inner dimension `rank`, held at a fixed Frobenius norm."""

from collections.abc import Mapping
from typing import Any

from study.config import Factorize, Trial
from study.trainables.common import load_and_build, measures, train


def trial(point: Mapping[str, Any]) -> Trial:
    """Axes: rank (0 = full, a dense net), frobenius (paper A, Figure 5)."""
    factorize = (Factorize(rank=point["rank"]),) if point["rank"] else ()
    stages = (*load_and_build(point), *factorize, train(point))
    return Trial(seed=point["seed"], stages=stages, measures=measures(point))
