"""What a search trades: numbers of a trial by name, where they stand in the tidy table, and which way is better."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.spec.attack_names import configured, revisions


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A measure of the net as a whole; `images`: it is taken on a split; `judged`: at the judged l_inf budget."""

    maximise: bool
    measure: str = ""
    images: bool = False
    judged: bool = False


SELECTING = "validation"  # the split that a search reads; its front is reported on test
NONE = ("layer", "kept", "pruning", "k", "draw", "on", "step")  # coordinates that the row of an objective does not have

# Seconds are not the same from run to run: a front over them is one machine's.
OBJECTIVES: dict[str, Objective] = {
    "robust_accuracy": Objective(maximise=True, images=True, judged=True),
    "clean_accuracy": Objective(maximise=True, images=True),
    "parameters": Objective(maximise=False),
    "macs": Objective(maximise=False),
    "stored_bytes": Objective(maximise=False),
    "inference_bytes": Objective(maximise=False),
    "training_passes": Objective(maximise=False),
    "latency_seconds": Objective(maximise=False),
    "training_seconds": Objective(maximise=False),
}


def selector(name: str, settings: Mapping[str, Any], held: Mapping[str, int] | None = None) -> dict[str, Any]:
    """An objective as study.json keeps it: its direction and the coordinates of its row, on the images that select;
    attacks are of revisions that are at most those `held`."""
    wanted = OBJECTIVES[name]
    split = SELECTING if wanted.images else None
    at = {"norm": "linf", "eps": settings["judged_linf"]} if wanted.judged else {"norm": None, "eps": None}
    at |= {"attack": configured(settings, revisions(settings, held)) if wanted.judged else None}
    return {"name": name, "maximise": wanted.maximise, "measure": wanted.measure or name, "split": split} | at


def value(rows: Iterable[Mapping[str, Any]], wanted: Mapping[str, Any]) -> float:
    """The number a selector points at in a trial's rows; NaN where there is none."""
    for r in rows:
        if r["measure"] == wanted["measure"] and all(r.get(c) is None for c in NONE):
            near = r["eps"] == wanted["eps"] or (
                None not in (r["eps"], wanted["eps"]) and abs(r["eps"] - wanted["eps"]) < 1e-9
            )
            if near and all(r.get(c) == wanted[c] for c in ("norm", "split", "attack")):
                return float(r["value"])
    return math.nan


def dominates(a: Sequence[float], b: Sequence[float], maximise: Sequence[bool]) -> bool:
    """Whether a is at least as good as b in every objective and better in one."""
    signed = [(x, y) if up else (-x, -y) for x, y, up in zip(a, b, maximise, strict=True)]
    return all(x >= y for x, y in signed) and any(x > y for x, y in signed)


def layers(points: Mapping[str, Sequence[float]], maximise: Sequence[bool]) -> list[list[str]]:
    """The names of the points layer by layer: the non-dominated ones, those once the first are gone, and so on."""
    left, out = dict(points), []
    while left:
        front = [n for n, a in left.items() if not any(dominates(b, a, maximise) for b in left.values())]
        out.append(front)
        left = {n: v for n, v in left.items() if n not in front}
    return out
