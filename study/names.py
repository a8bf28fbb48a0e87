"""Names where there are no columns (MLflow, Tune): the measure, then its coordinates after a slash."""

from collections.abc import Mapping
from typing import Any


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The net-level numbers of a trial under flat names, a coordinate after a slash: robust_accuracy/linf_16_255."""
    out = {}
    for r in rows:
        if r.get("step") is None and r["deterministic"] and r.get("layer") in (None, "mean", "product"):
            out[metric_name(r)] = r["value"]
    return out


def eps_text(eps: float, norm: str) -> str:
    """A budget as it stands in names: 16_255 for l_inf 16/255, else its digits (0.5)."""
    whole = eps * 255 if norm == "linf" else 0.0
    return f"{round(whole)}_255" if abs(whole - round(whole)) < 1e-9 and round(whole) else f"{eps:g}"


def metric_name(r: Mapping[str, Any]) -> str:
    """The name of a row where there are no columns (MLflow, Tune)."""
    parts = [r["layer"] if r.get("layer") not in (None, "mean", "product") else None]
    parts.append(r.get("norm"))
    parts.append(eps_text(r["eps"], r["norm"]) if r.get("eps") is not None else None)
    parts.append(f"kept_{r['kept']:g}" if r.get("kept") is not None else None)
    parts.append(r["split"] if r.get("split") not in (None, "test") else None)
    coordinate = "_".join(str(p) for p in parts if p)
    return f"{r['measure']}/{coordinate}" if coordinate else str(r["measure"])
