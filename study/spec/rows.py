"""A tidy row as measures make it; the identity columns are added when the trial is published."""

from typing import Any

Row = dict[str, Any]


def row(measure: str, value: float, **coordinates: Any) -> Row:
    """One tidy row; coordinates among attack, layer, norm, eps, kept, k, draw, on, split, step, n, deterministic."""
    return {"measure": measure, "value": float(value), "deterministic": True} | coordinates
