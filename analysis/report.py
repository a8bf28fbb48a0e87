"""The report of a results folder: figures, verdicts and tables in one self-contained HTML file."""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from analysis import figures
from analysis.claims import Judgement, against_baseline, judge_all
from analysis.intervals import Interval
from analysis.tables import slices
from study import results

TITLES = {
    "robustness": "Accuracy, RA/SA and compressibility along each arm",
    "compressibility": "Robustness against measured compressibility",
    "bounds": "Theorem 3.1's bound against the measured loss gap",
    "prunability": "Accuracy after row pruning",
}


@dataclass(frozen=True)
class Summary:
    """What the report says, for the terminal and for --json."""

    title: str
    claims: list[dict[str, Any]]

    def text(self) -> str:
        """The verdicts as lines."""
        lines = [self.title]
        for c in self.claims:
            at = f"at {c['at']}: " if c["at"] else ""
            lines.append(f"  {c['verdict'].upper():18} {at}{c['statement']}")
            lines.append(f"  {'':18} {c['number']}{'; ' + c['reasons'][0] if c['reasons'] else ''}")
        return "\n".join(lines)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _claim(judgement: Judgement) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    rho = judgement.rho
    return {
        "id": judgement.claim.id,
        "source": judgement.claim.source,
        "at": judgement.at,
        "verdict": judgement.verdict,
        "rho": number(rho.value),
        "low": number(rho.low),
        "high": number(rho.high),
        "seeds": rho.n,
        "nets": judgement.points,
        "control_detected": judgement.control_detected,
        "control_rho": number(judgement.control.value),
        "statement": judgement.claim.statement,
        "number": judgement.number(),
        "reasons": list(judgement.reasons),
        "sentence": judgement.sentence(),
    }


def _direction(difference: Interval) -> str:
    if math.isnan(difference.low):
        return "too few seeds"
    return "lower" if difference.high < 0 else "higher" if difference.low > 0 else "no difference shown"


def _where(frame: pd.DataFrame, study: dict[str, Any], judgements: list[Judgement]) -> list[dict[str, Any]]:
    """Where compressibility lowers RA/SA and where it does not: paired differences to the baseline."""
    tables = []
    parts = dict(slices(study))
    for judgement in judgements:
        claim = judgement.claim
        if claim.y.measure != "relative_robust_accuracy":
            continue
        rows = [
            {
                "level": figures.level(claim.axis, value),
                "eps": f"{eps:.2f}",
                "difference": d.text(),
                "word": _direction(d),
            }
            for value, eps, d in against_baseline(frame, parts[judgement.at], claim)
            if value != 0
        ]
        budget = figures.budget(study["configuration"]["settings"][f"judged_{claim.norm}"], claim.norm)
        tables.append(
            {
                "arm": claim.arm,
                "at": judgement.at,
                "axis": claim.axis,
                "norm": f"{figures.NORM[claim.norm]} {budget}",
                "rows": rows,
            }
        )
    return tables


def _failed(frame: pd.DataFrame, folder: Path) -> list[dict[str, Any]]:
    notes = results.failures(folder)
    names = frame.loc[frame["status"] == "failed", "trial"].unique()
    return [{"trial": n, "cause": notes[n]["cause"], "attempts": notes[n]["attempts"]} for n in names if n in notes]


def _pictures(frame: pd.DataFrame, study: dict[str, Any], judgements: list[Judgement]) -> list[tuple[str, str, bytes]]:
    """File name, title and PNG of every figure, once per value of the axes that no arm is about."""
    out: list[tuple[str, str, bytes]] = []
    if not (frame["status"] == "ok").any() or not any(a["name"] in figures.ARMS for a in study["arms"]):
        return out
    for at, part in slices(study):
        judged = [j for j in judgements if j.at == at]
        drawn = {"robustness": figures.robustness(frame, part)}
        if judged:
            drawn["compressibility"] = figures.compressibility(frame, part, judged)
            drawn["bounds"] = figures.bounds(frame, part, judged)
        drawn["prunability"] = figures.prunability(frame, part)
        suffix = f"-{at.replace(', ', '-').replace(' ', '-')}" if at else ""
        for name, figure in drawn.items():
            out.append((name + suffix, TITLES[name] + (f" ({at})" if at else ""), _png(figure)))
    return out


def write(folder: str | Path) -> Summary:
    """Write report.html and figures/*.png of a results folder from its table; the summary for the terminal.

    Needs no more than one finished trial per arm; what cannot be judged says why.
    """
    folder = Path(folder)
    study = results.read_study(folder)
    frame = results.read(folder)
    frame = frame[frame["step"].isna()]  # curves and samples are for MLflow
    judgements = judge_all(frame, study)
    pictures = _pictures(frame, study, judgements)
    for name, _, content in pictures:
        results.replace(folder / "figures" / f"{name}.png", content)
    configuration = study["configuration"]
    seeds = len(study["seeds"])
    finished = frame.loc[frame["status"] != "failed", "trial"].nunique()
    many = "seed" if seeds == 1 else "seeds"
    title = f"{configuration['study']}: data {configuration['data']}, model {configuration['model']}, {seeds} {many}"
    summary = Summary(title, [_claim(j) for j in judgements])
    environment = jinja2.Environment(loader=jinja2.PackageLoader("analysis", ""), autoescape=True)
    html = environment.get_template("report.html.j2").render(
        title=title,
        study=study,
        summary=summary,
        finished=finished,
        total=len(study["trials"]),
        diverged=frame.loc[frame["status"] == "diverged", "trial"].nunique(),
        failed=_failed(frame, folder),
        pictures=[(name, title, base64.b64encode(content).decode()) for name, title, content in pictures],
        where=_where(frame, study, judgements),
        settings=configuration["settings"],
    )
    results.replace(folder / "report.html", html.encode())
    return summary
