"""A search as study.json keeps it."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from study.spec.identity import plain
from study.spec.knobs import SEARCH
from study.spec.objectives import named, selector
from study.store.manifest import Manifest, PointRecord

if TYPE_CHECKING:
    from study.sweep.plan.plan import Plan


def record(plan: "Plan") -> dict[str, Any]:
    """A search as study.json keeps it: knobs, resolved objectives, and every option."""
    search = plan.preset.search
    assert search is not None
    knobs = {
        name: {"kind": type(domain).__name__} | {k: plain(v) for k, v in dataclasses.asdict(domain).items()}
        for name, domain in search.knobs.items()
    }
    out = {name: plain(search[name]) for name in SEARCH} | {"family": search.family, "knobs": knobs}
    out["objectives"] = [selector(name, plan.settings, plan.revisions) for name in search["objectives"]]
    return json.loads(json.dumps(out | {"warm_start": list(search.warm_start)}))


def part(plan: "Plan", complete: bool) -> dict[str, Any]:
    """What only a search's manifest holds: the search, its points so far, whether it is at its end."""
    if plan.preset.search is None:
        return {}
    points = tuple(
        PointRecord(
            trial=name,
            family=job.family,
            seed=job.trial.seed,
            axes={axis: value for axis, value in job.axes.items() if value != plan.axes_off[axis]},
        )
        for name, job in plan.jobs.items()
    )
    return {"search": record(plan), "points": points, "complete": complete}


def complete(plan: "Plan", found: Manifest) -> bool:
    """Whether a folder holds this plan to its end; always so of a grid whose trials are all there."""
    if plan.preset.search is None:
        return True
    there = {"objectives": [], **found.search}
    there["objectives"] = [named(o, plan.settings, plan.revisions) for o in there["objectives"]]
    return found.complete and there == record(plan)
