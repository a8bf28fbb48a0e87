"""What a search measures where: validation images at its own seed, test images and the final attacks at the front's.

What selects never sees what reports: neither its images nor its trained nets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from study.spec.attack_names import REVISIONS, attack_name, configured, revisions
from study.spec.config import Accuracy, Measure, Robustness, Trial
from study.spec.errors import UsageError
from study.spec.objectives import SELECTING
from study.spec.studies import Search
from study.sweep.plan import refusals


def check(search: Search, model: str, settings: Mapping[str, Any], seeds: Sequence[int]) -> None:
    """UsageError for a search without validation images, at a seed of its front, or whose finalists cannot be attacked
    as they are to be."""
    if not settings["validation"]:
        raise UsageError(
            "--set validation: a search selects by validation images and reports on test images; give a share above 0"
        )
    if (own := search["search_seed"]) in seeds:
        raise UsageError(
            f"--seeds: {own} is the search's own seed, and what it selects is reported at others; "
            f"leave it out, or give another --set search_seed"
        )
    if search["final_attack"] != "none":
        try:
            refusals.check_attack(model, {**settings, **_asked(search)})
        except UsageError as error:
            raise UsageError(str(error).replace("--set attack:", "--set final_attack:")) from None


def _asked(search: Search) -> dict[str, Any]:
    """The settings of the second attack on finalists, the native one alone."""
    return {"attack_backend": "native", "attack": search["final_attack"], "audit_queries": 0, "certify": 0}


def measured(trial: Trial, search: Search, settings: Mapping[str, Any]) -> Trial:
    """A trial of the family with the measures of its part in a search, which its seed tells."""
    if trial.seed == search["search_seed"]:
        return replace(trial, measures=tuple(map(_selecting, trial.measures)))
    second = second_attack(search, settings)
    measures: list[Measure] = []
    for measure in trial.measures:
        if isinstance(measure, Robustness) and measure.norm == "linf" and not measure.on:
            measures.append(_audited(measure, search, settings))
            measures += [second] if second else []
        else:
            measures.append(measure)
    return replace(trial, measures=tuple(measures))


def attacks(search: Search, settings: Mapping[str, Any]) -> list[str]:
    """The attacks on a finalist at the judged l_inf budget as its rows name them, the study's own first."""
    names = [configured(settings, revisions(settings))]
    if second := second_attack(search, settings):
        names.append(attack_name(second.backend, second.attack, second.revision))
    if _has_audit(search, settings):
        names.append(attack_name("native", "square", REVISIONS["square"]))
    return names


def _selecting(measure: Measure) -> Measure:
    """A measure as the search needs it: attacks on validation images alone."""
    if isinstance(measure, Accuracy):
        return replace(measure, validation=True)
    return replace(measure, splits=(SELECTING,)) if isinstance(measure, Robustness) else measure


def _has_audit(search: Search, settings: Mapping[str, Any]) -> bool:
    own = (settings["attack_backend"], settings["attack"])
    return search["final_queries"] > 0 and own != ("native", "square")


def _audited(measure: Robustness, search: Search, settings: Mapping[str, Any]) -> Robustness:
    """The study's own attack on a finalist, with Square beside it."""
    if not _has_audit(search, settings):
        return measure
    queries = max(measure.audit_queries, search["final_queries"])
    return replace(measure, audit_queries=queries, audit_images=0, square_revision=REVISIONS["square"])


def second_attack(search: Search, settings: Mapping[str, Any]) -> Robustness | None:
    """The second attack on finalists, at the judged budget; None where there is none, or it is the study's own."""
    asked = _asked(search)
    backend, attack = asked["attack_backend"], asked["attack"]
    if attack == "none" or (backend, attack) == (settings["attack_backend"], settings["attack"]):
        return None
    return Robustness(
        norm="linf",
        eps=(settings["judged_linf"],),
        iterations=search["final_iterations"],
        backend=backend,
        attack=attack,
        checks=False,
        queries=search["final_queries"] if attack == "autoattack" else 0,
        **revisions({**settings, **asked}),
    )
