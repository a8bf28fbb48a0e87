"""Experiment families: each maps a point of its space to a trial. `base` wraps them for Ray Tune."""

from collections.abc import Callable, Mapping
from typing import Any

from study.spec.config import Trial
from study.spec.families import compressed as pareto
from study.spec.families import low_rank, operator_norm, regularization

Family = Callable[[Mapping[str, Any]], Trial]

FAMILIES: dict[str, Family] = {
    "regularization": regularization.trial,
    "low_rank": low_rank.trial,
    "operator_norm": operator_norm.trial,
    "pareto": pareto.trial,
}
# The axes that each family takes; any other must stay at its default.
TAKES: dict[str, tuple[str, ...]] = {
    "regularization": regularization.AXES,
    "low_rank": low_rank.AXES,
    "operator_norm": operator_norm.AXES,
    "pareto": pareto.AXES,
}
