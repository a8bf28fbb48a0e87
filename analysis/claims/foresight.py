"""Which claims a sweep can never judge, whatever its numbers, and what would change that. No pandas: asked before it.

What the numbers decide (clean accuracy, compressibility that does not move, the turning point) is left to the judge.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.arms import baseline, slices
from analysis.claims.model import Claim, Term
from analysis.claims.needs import CONTROL_LEVELS, NEEDS, POINTS_BETWEEN, K, levels_for
from study.spec import datasets
from study.spec.attack_names import REVISIONS
from study.spec.domains import Value
from study.spec.errors import UsageError
from study.spec.knobs import AXES, KNOBS, named
from study.store.manifest import ArmRecord, Manifest

SPECTRAL = "compress_eps_sigma"
BY_ATTACK = ("robust_accuracy", "relative_robust_accuracy")
ASKING = ("attack_backend", "attack", "more_attacks", "second_attack", "audit_queries")  # which attacks a trial has


def unjudged(
    study: Manifest, claims: Iterable[Claim], elsewhere: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Why claims cannot be judged by the trials of a study, every reason with what would change it in brackets: {id:
    reasons}; none where it can. UsageError for a statistic that is not known.

    `elsewhere` says of arms that may be missing which preset has them. A study is judged at each value of the axes that
    its arms only hold: a reason that holds at some only says where.
    """
    asked, parts = list(claims), slices(study)
    for claim in asked:
        if claim.statistic not in NEEDS:
            raise UsageError(f"claim {claim.id}: statistic must be one of {', '.join(NEEDS)}, got {claim.statistic!r}")
    cases = [(claim, at, part) for claim in asked for at, part in parts]
    able = sum(not _reasons(part, claim, 1, {}) for claim, _, part in cases)  # the family that Holm will count
    out: dict[str, dict[str, list[str]]] = {}
    for claim, at, part in cases:
        if _reasons(part, claim, max(1, able), {}):
            for why in _reasons(part, claim, len(cases), elsewhere or {}):
                out.setdefault(claim.id, {}).setdefault(why, []).append(at)
    return {name: [_at(why, ats, len(parts)) for why, ats in found.items()] for name, found in out.items()}


def _at(why: str, places: list[str], of: int) -> str:
    return why if len(places) == of else f"at {' and '.join(places)}: {why}"


def lines(found: dict[str, list[str]]) -> list[str]:
    """The same for people: the claims that share their reasons under one heading, a reason a line."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, reasons in found.items():
        groups.setdefault(tuple(reasons), []).append(name)
    out: list[str] = []
    for shared, names in groups.items():
        out.append(f"{', '.join(names)} cannot be judged, whatever the numbers:")
        out += [f"  - {why}" for why in shared]
    return out


def _reasons(study: Manifest, claim: Claim, family: int, elsewhere: Mapping[str, str]) -> list[str]:
    """All that keeps one of `family` claims from being judged."""
    needs, seeds, out = NEEDS[claim.statistic], len(set(study.seeds)), []
    if seeds < needs.seeds:
        out.append(f"{seeds} seed{'s' * (seeds > 1)}, {needs.seeds} are needed (--seeds {needs.seeds})")
    arms = {arm.name: arm for arm in study.arms}
    lost = dict.fromkeys(rows.arm for rows in (claim.rows, *claim.against) if rows.arm not in arms)
    out += [f"there is no arm {name}{_has(name, elsewhere)}" for name in lost]
    if claim.rows.arm in arms:
        out += _attack(study, arms[claim.rows.arm], claim.rows.y)
    if claim.rows.arm in arms and claim.rows.axis:
        out += _levels(study, arms[claim.rows.arm], claim, family)
    if not claim.controls:
        return [*out, "the claim names no control (give it one: a Control of its own)"]
    return out + [lack for one in claim.controls for lack in _control(arms, one, elsewhere)]


def _attack(study: Manifest, arm: ArmRecord, y: Term) -> list[str]:
    """That no trial of an arm is attacked as its numbers ask, where they name an attack that is no gap's."""
    backend, _, name = y.attack.partition("@")[0].partition("/")
    if not name or y.measure not in BY_ATTACK:
        return []
    given: dict[str, tuple[Any, ...]] = {
        knob: arm.axes.get(knob) or (study.settings.get(knob, KNOBS[knob].default),) for knob in ASKING
    }
    own = backend in given["attack_backend"] and name in given["attack"]
    beside = [*given["second_attack"], *(n for names in given["more_attacks"] for n in names)]
    if own or (backend == "native" and (name in beside or (name == "square" and any(given["audit_queries"])))):
        return []
    asking = f"second_attack={name}" if backend == "native" else f"attack_backend={backend} --set attack={name}"
    return [f"no trial of arm {arm.name} is attacked by {backend}/{name}" + f" (--set {asking})" * (name in REVISIONS)]


def _levels(study: Manifest, arm: ArmRecord, claim: Claim, family: int) -> list[str]:
    """What the levels of a claim's axis lack: those that it names, their number."""
    axis, out = claim.rows.axis, []
    values = arm.axes.get(axis, ())
    first = claim.baseline if claim.baseline is not None else baseline(study, axis)
    asked = [
        v for rows in (claim.rows, *claim.against) for a, v in rows.at.items() if a == axis and rows.arm == arm.name
    ]
    wanted = [*asked, *([first] if claim.regime.clean and first is not None else [])]
    if lacking := [v for v in dict.fromkeys(wanted) if v not in values]:
        text = ", ".join(named(axis, v) for v in lacking)
        what = "its baseline" if lacking == [first] else "which it compares"
        out.append(f"arm {arm.name} lacks {axis} {text}, {what} (--set {axis}={text.replace(', ', ',')},...)")
    least = levels_for(claim.statistic, family)
    if claim.regime.structure:
        least = max(least, POINTS_BETWEEN + 2)
    among = f" by one of {family} claims" if family > 1 and NEEDS[claim.statistic].least else ""
    k = _k(study, arm) if axis == "rank" and claim.regime.structure == SPECTRAL else 0
    above = [v for v in values if not isinstance(v, str) and (v > k or v == AXES["rank"].default)]
    if k and (count := len(above) + (len(above) < len(values))) < least:
        also = " and one at or below it counts too" if count > len(above) else ""
        out.append(
            f"{len(above)} of {len(values)} ranks of arm {arm.name} lie above k = {k} (10 % of the width){also}, "
            f"{least} levels are needed{among} (--set rank={_ranks(k, least)})"
        )
    elif not k and len(values) < least:
        have = f"{len(values)} level{'s' * (len(values) > 1)}"
        out.append(
            f"arm {arm.name} has {have} of {axis}, {least} are needed{among} (--set {axis}= with {least} or more)"
        )
    return out


def _control(arms: Mapping[str, ArmRecord], claim: Claim, elsewhere: Mapping[str, str]) -> list[str]:
    """What the claim's one control lacks; nothing where it is planted in the claim's own numbers."""
    rows = claim.control_rows
    if rows is None or (claim.control and claim.control.planted):
        return []
    if rows.arm not in arms:
        return [f"there is no control arm {rows.arm}{_has(rows.arm, elsewhere)}"]
    have = len(arms[rows.arm].axes.get(rows.axis, ()))
    if rows.axis and NEEDS[claim.statistic].least and have < CONTROL_LEVELS:
        return [
            f"its control, arm {rows.arm}, has {have} level{'s' * (have > 1)} of {rows.axis}, {CONTROL_LEVELS} are "
            f"needed (--set {rows.axis}= with {CONTROL_LEVELS} or more)"
        ]
    return []


def _has(arm: str, elsewhere: Mapping[str, str]) -> str:
    return f" (--preset {elsewhere[arm]} has it)" if arm in elsewhere else ""


def _k(study: Manifest, arm: ArmRecord) -> int:
    """The number of entries that compressibility keeps, at and below which a rank leaves no residual in the hidden
    layers of a fully connected net; 0 for other models, whose layers have many sizes. The least k of its widths."""
    if study.model != "fcn":
        return 0

    def values(name: str) -> tuple[Value, ...]:
        return arm.axes.get(name) or (study.settings.get(name, KNOBS[name].default),)

    width = min(int(w) for w in values("width"))
    if max(int(d) for d in values("depth")) == 1 and (image := datasets.shape(study.data)):
        width = min(width, math.prod(image))
    return max(1, round(K * width))


def _ranks(k: int, count: int) -> str:
    """Ranks above k to ask for, `full` among them: evenly in the logarithm from 6.5 k to 1.2 k, two digits each."""
    steps = [6.5 * k * (1.2 / 6.5) ** (i / max(1, count - 2)) for i in range(count - 1)]
    found = [round(float(f"{r:.2g}")) for r in steps]
    if len(set(found)) < len(found) or found[-1] <= k:
        found = list(range(k + count - 1, k, -1))
    return ",".join(["full", *map(str, found)])
