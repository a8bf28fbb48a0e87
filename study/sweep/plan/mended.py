"""A user's function that was edited since its folder began: what is finished stays as it was made, and is marked."""

import dataclasses
from typing import Any

from study.spec import datasets
from study.store import layout, results
from study.store.manifest import Manifest
from study.sweep.plan.plan import Plan, with_jobs

HINT = (
    "What is your own was edited since. --resume --retry-failed makes all that is not finished with it as it is now; "
    "what is finished stays, marked as of the earlier source"
)


def edited(plan: Plan, found: Manifest) -> dict[str, Any]:
    """The digests of the plan's model, data and other functions where the folder has the same under other digests.

    Only what is a user's own can be mended: a function, or a folder of images.
    """
    if (plan.model, datasets.label(plan.data)) != (found.model, found.data) or set(plan.sources) != set(found.sources):
        return {}
    here: dict[str, Any] = {"model_digest": plan.model_digest}
    here |= {"data_digest": plan.data_digest} if plan.data not in datasets.DATASETS else {}
    here |= {"sources": dict(plan.sources)} if plan.sources else {}
    there = {name: found.configuration()[name] for name in here}
    return {} if here == there else here


def kept(plan: Plan, found: Manifest, anew: bool) -> Plan:
    """The plan with the finished trials that earlier sources made; with `anew` those of the folder's own are of an
    earlier one too."""
    earlier = list(found.earlier)
    if anew:
        marked = {name for source in earlier for name in source["trials"]}
        finished = set(layout.finished(plan.folder)) - marked
        own = [name for name in found.trials if name in finished]
        digests = {
            "model_digest": found.model_digest,
            "data_digest": found.data_digest,
            "sources": dict(found.sources),
        }
        earlier += [{**digests, "trials": own}] if own else []
    if tuple(earlier) == plan.earlier:
        return plan
    return with_jobs(dataclasses.replace(plan, earlier=tuple(earlier), jobs={}))


def sentence(found: Manifest) -> str:
    """How many finished trials are of earlier sources; nothing where none is."""
    count = sum(len(source["trials"]) for source in found.earlier)
    are = "finished trial is" if count == 1 else "finished trials are"
    return f"{count} {are} of an earlier source of your functions (study.json names them)" if count else ""


def forget_failures(plan: Plan, found: Manifest) -> None:
    """Remove the failure notes of trials that mended functions have replaced; once study.json names the new ones."""
    for name in set(found.trials) & set(results.failures(plan.folder)) - set(plan.jobs):
        for place in (plan.place, plan.folder):
            layout.join(place, layout.note_name(name)).unlink(missing_ok=True)
