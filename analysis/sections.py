"""What the report says beside its figures: verdicts, differences, checks, the front, failures, as plain data."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import finalists
from analysis.claims import words
from analysis.claims.evidence import STATISTICS
from analysis.claims.judge import Judgement, against_baseline, correlations
from analysis.claims.regime import start
from analysis.figures import drawing
from analysis.intervals import Interval
from analysis.tables import slices
from study.store import layout, results
from study.store.manifest import Manifest


def verdict(judgement: Judgement) -> dict[str, Any]:
    """A judgement as plain data; p is the claim's own, p_holm that of the report."""
    found, claim = judgement.statistic, judgement.claim
    ends = found.ends or Interval(math.nan, math.nan, math.nan, 0)
    return {
        "id": claim.id,
        "source": claim.source,
        "at": judgement.at,
        "verdict": judgement.verdict,
        "statistic": STATISTICS[claim.statistic].words,
        "value": _finite(found.value),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "p": _finite(judgement.p),
        "p_holm": _finite(judgement.p_holm),
        "family": judgement.family,
        "threshold": claim.threshold,
        "change": {"value": _finite(ends.value), "low": _finite(ends.low), "high": _finite(ends.high)},
        "smallest_change": claim.change,
        "dated": claim.dated,
        "seeds": found.n,
        "levels": found.levels,
        "points": judgement.points,
        "control_detected": judgement.control_detected,
        "control_value": _finite(judgement.control.value),
        "statement": claim.quote,
        "number": words.number(judgement),
        "beside": words.beside(judgement),
        "fragile": list(judgement.fragile),
        "doubts": words.doubts(judgement),
        "why": words.why(judgement),
        "reasons": list(judgement.reasons),
        "sentence": words.sentence(judgement),
        "finding": words.finding(judgement),
    }


def _direction(difference: Interval) -> str:
    if math.isnan(difference.low):
        return "too few seeds"
    return "lower" if difference.high < 0 else "higher" if difference.low > 0 else "no difference shown"


def where(frame: pd.DataFrame, study: Manifest, judgements: list[Judgement]) -> list[dict[str, Any]]:
    """Where compressibility lowers RA/SA and where it does not: paired differences to the baseline."""
    tables = []
    parts = dict(slices(study))
    for judgement in correlations(judgements, y="relative_robust_accuracy"):
        claim, asked, norm = judgement.claim, judgement.claim.rows, judgement.claim.rows.y.norm
        if not (claim.regime.structure and asked.axis and norm):
            continue
        rows = [
            {
                "level": drawing.level(asked.axis, value),
                "eps": f"{eps:.2f}",
                "difference": d.text(),
                "word": _direction(d),
            }
            for value, eps, d in against_baseline(frame, parts[judgement.at], claim)
            if value != start(study, claim)
        ]
        budget = drawing.budget(study.settings[f"judged_{norm}"], norm)
        tables.append(
            {
                "arm": asked.arm,
                "at": judgement.at,
                "axis": asked.axis,
                "norm": f"{drawing.NORM[norm]} {budget}",
                "rows": rows,
            }
        )
    return tables


def front(folder: Path, frame: pd.DataFrame, study: Manifest, address: str, data_dir: str) -> list[dict[str, Any]]:
    """The models of a search's front, which is written to front.csv; nothing for a sweep of a grid."""
    if not study.search:
        return []
    table = finalists.models(folder, frame, study, address, data_dir)
    results.replace(folder / layout.FRONT, table.to_csv(index=False).encode())
    return [_model(row, study) for _, row in table.iterrows()]


def _model(row: pd.Series, study: Manifest) -> dict[str, Any]:
    """One model of the front, in words and in numbers."""
    off = study.axes_off
    moved = [f"{a} {v if isinstance(v, str) else f'{v:.3g}'}" for a, v in row.items() if a in off and v != off[a]]
    numbers = {
        o["name"]: Interval(row[o["name"]], row[f"{o['name']}_low"], row[f"{o['name']}_high"], int(row["n"]))
        for o in finalists.objectives(study)
    }
    images = [a for a in row.index if isinstance(a, str) and "/" in a and not np.isnan(row[a])]
    marks = ([f"floor {row['floor']}"] if row["floor"] == "not shown" else []) + (
        [row["missing"]] if row["missing"] else []
    )
    return {
        "trial": row["trial"],
        "knobs": ", ".join(moved) or "everything off",
        "weights": row["weights"],
        "text": ", ".join(f"{name} {_number(name, found)}" for name, found in numbers.items()),
        "beside": {name: float(row[name]) for name in images},
        "marks": marks,
        "objectives": {
            name: {"value": i.value, "low": _finite(i.low), "high": _finite(i.high), "n": i.n}
            for name, i in numbers.items()
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(name: str, found: Interval) -> str:
    """A share with its interval, a cost that is the same at every seed without; large costs in whole numbers."""
    if name.endswith("accuracy"):
        return found.text()
    digits = ".0f" if abs(found.value) >= 1000 else ".4g"
    spread = f" [{found.low:{digits}}, {found.high:{digits}}]" if found.high > found.low else ""
    return f"{found.value:{digits}}{spread}"


def failed(frame: pd.DataFrame, folder: Path) -> list[dict[str, Any]]:
    notes = results.failures(folder)
    names = frame.loc[frame["status"] == "failed", "trial"].unique()
    return [{"trial": n, "cause": notes[n]["cause"], "attempts": notes[n]["attempts"]} for n in names if n in notes]


def how(study: Manifest, judgements: list[Judgement]) -> list[str]:
    """How the verdicts came about, a sentence each: the statistics that were taken, and the controls that there are."""
    if not judgements:
        return []
    said = [s for j in judgements for s in STATISTICS[j.claim.statistic].explained.split(". ")]
    out = list(dict.fromkeys(sentence.rstrip(".") for sentence in said))
    out.append(
        "A claim is supported, or opposite, where p is at most 0.05 after Holm's correction over the claims of this "
        "report and the effect is not smaller than the smallest worth speaking of"
    )
    if dates := sorted({j.claim.dated for j in judgements if j.claim.dated}):
        out[-1] += f" (set on {', '.join(dates)})"
    arms = {arm.name for arm in study.arms}
    there = [j.claim for j in judgements if j.claim.control_rows and j.claim.control_rows.arm in arms]
    given = [k for c in there if c.control for k in (c.control, c.control.also) if k]
    controls = dict.fromkeys(f"the {k.name} ({k.words})" for k in given)
    if not controls:
        return [f"{sentence}." for sentence in out] + ["No verdict is given, for the study has no control."]
    out.append(
        "A claim gets no verdict unless the same pipeline detects its control, over seeds and at levels that pass the "
        f"same filters; here that is {' or '.join(controls)}"
    )
    return [f"{sentence}." for sentence in out]
