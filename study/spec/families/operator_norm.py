"""The operator_norm family: gradient ascent on an operator norm of a Gaussian matrix; no data, no network."""

from collections.abc import Mapping
from typing import Any

from study.spec.config import Ascend, Gaussian, Structure, Trial


def trial(point: Mapping[str, Any]) -> Trial:
    """Paper A, appendix B.3, Figure 9."""
    ascent = Ascend(norm=point["ascended_norm"], steps=point["ascent_steps"], step_size=point["ascent_step_size"])
    stages = (Gaussian(rows=point["rows"], columns=point["columns"]), ascent)
    return Trial(seed=point["seed"], stages=stages, measures=(Structure(),))
