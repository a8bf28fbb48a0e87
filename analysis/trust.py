"""Can the attacks behind a report be trusted? What the checks beside them found, a sentence each."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.figures import drawing

MOVING = 0.01  # of robust accuracy, still falling over the second half of an attack: not converged
DOUBTFUL = 0.005  # of the images, whose points do not hold: more than ties that a rounding decides
WHERE = ["trial", "attack", "norm", "eps", "on", "split"]
SHOWN = 3  # nets named


def checks(frame: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """What the checks found over the finished nets; nothing where no net was attacked."""
    table = frame[(frame["status"] == "ok") & frame["layer"].isna()]

    def values(measure: str) -> pd.Series:
        return table.loc[table["measure"] == measure, "value"]

    out = []
    if len(zero := values("zero_gradient_share")):
        out.append(f"Images without any gradient at the clean point: at most {100 * zero.max():.1f} % in a net.")
    if len(monotone := values("loss_monotone")):
        out.append(f"Worst loss grows with eps: in {int(monotone.sum())} of {len(monotone)} nets and norms.")
    if len(agrees := values("zero_eps_agrees")):
        out.append(f"At eps = 0 the attack gives clean accuracy: in {int(agrees.sum())} of {len(agrees)}.")
    out += _convergence(table, settings) + _second_look(table, settings)
    if len(flags := values("audit_flag")):
        out.append(
            "The attack without gradients (Square) fooled more images that the one with them had left than one in a "
            f"hundred and chance explain: in {int(flags.sum())} of {len(flags)}."
        )
    elif len(zero):
        out.append("No attack without gradients was asked for (--set audit_queries=1000 asks for one).")
    return out


def unconverged(table: pd.DataFrame) -> pd.DataFrame:
    """Every number that says how it stood at half of its attack: WHERE, robust_accuracy, robust_accuracy_half and
    `moved`, what it still lost, the most first."""
    end, half = (
        table.loc[table["measure"] == measure, [*WHERE, "value"]].rename(columns={"value": measure})
        for measure in ("robust_accuracy", "robust_accuracy_half")
    )
    wide = end.merge(half, on=WHERE)
    wide["moved"] = wide["robust_accuracy_half"] - wide["robust_accuracy"]
    return wide.sort_values("moved", ascending=False, kind="stable", ignore_index=True)


def _convergence(table: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    found = unconverged(table)
    if not len(found):
        return []
    moving = found[(found["moved"] > MOVING + 1e-9) & (found["robust_accuracy"] > 0)]  # at 0 there is no more to lose
    mean, most = 100 * found["moved"].mean(), 100 * found["moved"].max()
    said = (
        f"Over the second half of the attack's passes robust accuracy fell by {mean:.1f} points in the mean and by at "
        f"most {most:.1f}; by more than a point, and not to 0, in {len(moving)} of {len(found)} nets and budgets"
    )
    if not len(moving):
        return [f"{said}."]
    worst = "; ".join(
        f"{r.trial} at {drawing.NORM[r.norm]} {drawing.budget(r.eps, r.norm)}, {100 * r.moved:.1f}"
        for r in moving.head(SHOWN).itertuples()
    )
    name = "attack_restarts" if settings.get("attack_restarts", 1) > 1 else "attack_iterations"
    more = 2 * settings.get(name, 20)
    return [f"{said} (most: {worst}). Those numbers may still be too high: --set {name}={more} searches longer."]


def _second_look(table: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    found = table[table["measure"] == "unconfirmed_share"]
    if not len(found):
        return []
    bad = found[found["value"] > DOUBTFUL]
    said = (
        "Adversarial points looked at again at another batch size: at most "
        f"{100 * found['value'].max():.1f} % of a net's images have one that does not hold"
    )
    if not len(bad):
        return [f"{said}."]
    nets = ", ".join(dict.fromkeys(bad.sort_values("value", ascending=False)["trial"]).keys())
    eot = settings.get("eot", 0)
    what = f"raise --set eot={4 * eot}" if eot else "their outputs are ties that a rounding decides, or no net's own"
    return [f"{said}; more than {100 * DOUBTFUL:g} % in {len(bad)} of {len(found)} nets and budgets ({nets}): {what}."]
