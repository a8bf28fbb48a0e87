"""A tidy row as measures make it, and its columns; identity columns are added when the trial is published."""

from typing import Any

Row = dict[str, Any]
COORDINATES: dict[str, type] = {
    "measure": str,
    "attack": str,
    "layer": str,
    "norm": str,
    "eps": float,
    "kept": float,
    "pruning": str,
    "k": int,
    "draw": int,
    "on": str,
    "split": str,
    "step": float,
    "n": int,
    "value": float,
    "deterministic": bool,
}


def row(measure: str, value: float, **coordinates: Any) -> Row:
    """One tidy row; the coordinates are among COORDINATES."""
    return {"measure": measure, "value": float(value), "deterministic": True} | coordinates
