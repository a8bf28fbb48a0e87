"""A judgement in words: one plain sentence with its numbers, what they count, and what to doubt."""

import math
from dataclasses import replace

from analysis.claims.evidence import STATISTICS, large
from analysis.claims.judge import NOT_SUPPORTED, Judgement
from analysis.claims.needs import ALPHA, many
from analysis.intervals import Interval
from study.spec.knobs import named


def number(judgement: Judgement) -> str:
    """Effect, interval, what n counts, p, and the smallest effect worth speaking of."""
    claim, found = judgement.claim, judgement.statistic
    asked = STATISTICS[claim.statistic]
    if not math.isfinite(found.value):
        return f"no {asked.kind} could be taken"
    parts = [f"{asked.words} {found.numbers()} over {counts(judgement)}{_p(judgement)}"]
    if judgement.pearson:
        parts.append(f"mean Pearson's r within seeds {judgement.pearson.numbers()}")
    if claim.published is not None:
        parts.append(f"published {claim.published:g}")
    if found.ends is not None and claim.change is not None:
        between = f"between the judged levels of the least and the largest {_x(judgement)}"
        parts.append(f"{measure(judgement)} changes by {found.ends.numbers()} {between}")
    least = [f"{v:.2g}{unit}" for v, unit in ((claim.threshold, ""), (claim.change, f" of {measure(judgement)}")) if v]
    if least:
        parts.append(f"smallest effect worth speaking of: {' and '.join(least)}")
    return "; ".join(parts)


def counts(judgement: Judgement) -> str:
    """What the numbers are of: 5 seeds, 6 levels, 30 nets."""
    found = judgement.statistic
    levels = [many(found.levels, "level")] if found.levels else []
    few = ["too few for an interval"] if math.isnan(found.low) else []
    return ", ".join([many(found.n, "seed"), *levels, many(found.nets or judgement.points, "net"), *few])


def _p(judgement: Judgement) -> str:
    if math.isnan(judgement.p):
        return ""
    raised = judgement.family > 1 and not math.isnan(judgement.p_holm)
    among = f" ({_least(judgement.p_holm)} after Holm over {judgement.family} claims)" if raised else ""
    return f", p = {_least(judgement.p)}{among}".replace("= <", "<")


def _least(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "<0.0001"


def measure(judgement: Judgement) -> str:
    """The outcome of a claim by its everyday name."""
    name = judgement.claim.rows.y.measure
    scale = "the logarithm of " if judgement.claim.rows.y.scale == "log" else ""
    return scale + {"relative_robust_accuracy": "RA/SA"}.get(name, name.replace("_", " "))


def _x(judgement: Judgement) -> str:
    x = judgement.claim.rows.x
    if x is None:
        return judgement.claim.rows.axis
    return "compressibility" if x.scale == "compressibility" else x.measure.replace("_", " ")


def beside(judgement: Judgement) -> str:
    """How closely plainer explanations follow the same outcome, and whether the claim's own adds to them; or nothing.

    It adds where the difference of the coefficients, paired by seed, lies above 0 with its whole interval.
    """
    if not judgement.beside:
        return ""
    own = _x(judgement)
    said = [f"{e.name} {e.found.numbers()} ({_compared(own, e.more)})" for e in judgement.beside]
    rest = [e.name for e in judgement.beside if not e.more.low > 0]
    found = f"Beside it, on the same nets: {'; '.join(said)}"
    if not math.isnan(judgement.within):
        found += f"; {own} among nets of one level {judgement.within:.2f}"
    verdict = f"is not shown to say more than {' or '.join(rest)}" if rest else "says more than each of them"
    return f"{found}. {own[0].upper()}{own[1:]} {verdict}."


def _compared(own: str, more: Interval) -> str:
    if max(abs(more.value), abs(more.low), abs(more.high)) < 1e-9:
        return f"just as strong as {own}"
    if more.value < 0:
        return f"{own} is weaker by {replace(more, value=-more.value, low=-more.high, high=-more.low).numbers()}"
    return f"{own} is stronger by {more.numbers()}"


def doubts(judgement: Judgement) -> str:
    """What turns the verdict, in words; or nothing."""
    if not judgement.fragile:
        return ""
    *rest, last = judgement.fragile
    one = f"any one of {', '.join(rest)} and {last}" if rest else last
    return f"Fragile: before Holm's correction the verdict would turn without {one}."


def why(judgement: Judgement) -> str:
    """Why there is no verdict, or why it is "not supported"; or nothing."""
    if judgement.reasons:
        return "; ".join(judgement.reasons)
    if judgement.verdict != NOT_SUPPORTED:
        return ""
    claim, found = judgement.claim, judgement.statistic
    if large(claim, found):
        return "chance does as much"
    return "the effect is too small to speak of" + ("" if judgement.p_holm <= ALPHA else ", and chance does as much")


def sentence(judgement: Judgement) -> str:
    """The claim and its verdict in one sentence."""
    at = f"At {judgement.at}: " if judgement.at else ""
    return f"{at}{judgement.claim.quote} {finding(judgement)}"


def finding(judgement: Judgement) -> str:
    """The verdict with its reason, numbers, control and what was not judged: the sentence without the claim."""
    claim, because = judgement.claim, why(judgement)
    said = f"{judgement.verdict.capitalize()}{f' because {because}' if because else ''}"
    if not judgement.taken:
        return f"{said}."
    found = "detected" if judgement.control_detected else "not detected"
    control = f"{claim.control.name} {found} ({judgement.control.value:.2f})" if claim.control else ""
    levels = ", ".join(named(claim.rows.axis, v) for v in judgement.unjudged)
    past = f"shown and not judged: {claim.rows.axis} {levels}" if levels else ""
    return f"{said}: {'; '.join(filter(None, [number(judgement), control, past]))}."
