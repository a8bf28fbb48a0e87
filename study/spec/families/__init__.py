"""Experiment families: each maps a point of its space to a trial; what a family takes stands in the table of knobs."""

from collections.abc import Callable, Mapping
from typing import Any

from study.spec.config import Trial
from study.spec.families import compressed, low_rank, operator_norm, regularization, transfer

Family = Callable[[Mapping[str, Any]], Trial]

FAMILIES: dict[str, Family] = {
    "regularization": regularization.trial,
    "low_rank": low_rank.trial,
    "operator_norm": operator_norm.trial,
    "compressed": compressed.trial,
    "transfer": transfer.trial,
}
# Names that tables and study.json of earlier versions hold.
ONCE = {"pareto": "compressed"}
