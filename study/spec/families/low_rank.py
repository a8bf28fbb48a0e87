"""The low_rank family: hidden layers trained as products of inner dimension `rank`, held at a fixed Frobenius norm."""

from collections.abc import Mapping
from typing import Any

from study.spec.config import Factorize, Trial
from study.spec.families.common import load_and_build, measures, train


def trial(point: Mapping[str, Any]) -> Trial:
    """Paper A, Figure 5: the spectral arm; rank 0 is a dense net."""
    factorize = (Factorize(rank=point["rank"]),) if point["rank"] else ()
    stages = (*load_and_build(point), *factorize, train(point))
    return Trial(seed=point["seed"], stages=stages, measures=measures(point))
