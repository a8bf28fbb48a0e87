"""The regularization family: a penalty of strength alpha, hidden layers held at a multiple of their initial norm."""

from collections.abc import Mapping
from typing import Any

from study.spec.config import Trial
from study.spec.families.common import load_and_build, measures, plants, train


def trial(point: Mapping[str, Any]) -> Trial:
    """Paper A, Figure 5: the neuron arm, and the controls planted into trained baselines."""
    stages = (*load_and_build(point), train(point, point["penalty"]), *plants(point))
    return Trial(seed=point["seed"], stages=stages, measures=measures(point))
