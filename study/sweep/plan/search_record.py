"""A search as study.json keeps it."""

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

from study.spec.errors import UsageError
from study.spec.identity import plain
from study.spec.knobs import SEARCH
from study.spec.objectives import selector
from study.store.manifest import Manifest, PointRecord
from study.sweep.plan import selection

if TYPE_CHECKING:
    from study.sweep.plan.plan import Plan


def record(plan: "Plan") -> dict[str, Any]:
    """A search as study.json keeps it: knobs, every option, the objectives that it selects by, and the attacks on
    finalists by the names of their rows."""
    search = plan.preset.search
    assert search is not None
    knobs = {
        name: {"kind": type(domain).__name__} | {k: plain(v) for k, v in dataclasses.asdict(domain).items()}
        for name, domain in search.knobs.items()
    }
    out = {name: plain(search[name]) for name in SEARCH} | {"family": search.family, "knobs": knobs}
    out["objectives"] = [selector(name, plan.settings, plan.revisions) for name in search["objectives"]]
    out["final_attacks"] = selection.attacks(search, plan.settings)
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


def refuse_other(plan: "Plan", found: Manifest) -> None:
    """UsageError for a folder whose search selected otherwise than the plan's would: what it chose stands as it is."""
    if plan.preset.search is None or not found.search:
        return
    there, here = found.search.get("search_seed"), plan.preset.search["search_seed"]
    names = selection.attacks(plan.preset.search, plan.settings)
    before = found.search.get("final_attacks", [])
    if there is None:
        raise UsageError(
            f"{plan.place} holds a search that selected by test images, as versions did before this one; report reads "
            f"it as it is. Search anew in another --output; --warm-start {plan.place} asks for its points first"
        )
    if there != here:
        raise UsageError(
            f"{plan.place} was searched at seed {there}, asked for is {here}; give --set search_seed={there}"
        )
    if weaker := [name for name in before if name not in names]:
        raise UsageError(
            f"{plan.place} took its front on the lowest of {', '.join(before)}, and asked for is {', '.join(names)}: "
            f"without {', '.join(weaker)} its models would look more robust; leave --set final_attack and "
            f"final_queries as they were, or search in another --output"
        )


def complete(plan: "Plan", found: Manifest) -> bool:
    """Whether a folder holds this plan to its end; always so of a grid whose trials are all there."""
    if plan.preset.search is None:
        return True
    now, there = record(plan), json.loads(json.dumps(dict(found.search)))
    rank = now["knobs"].get("rank", {})
    if there.get("knobs", {}).get("rank", {}).get("high", 0) > rank.get("high", math.inf):
        there["knobs"]["rank"]["high"] = rank["high"]  # from before a rank above the width was taken for the width
    return found.complete and there == now
