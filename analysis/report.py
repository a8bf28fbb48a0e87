"""The report of a results folder: figures, verdicts and tables in one self-contained HTML file."""

import base64
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from analysis import figures as pictures
from analysis import pareto
from analysis.claims import CLAIMS, Claim, find
from analysis.claims.evidence import STATISTICS
from analysis.claims.judge import Judgement, against_baseline, correlations, judge_all, start, statistic_of
from analysis.figures import drawing
from analysis.intervals import Interval
from analysis.tables import slices
from study.store import layout, results

# What folders from before study.json named them show: {study: (claims, figures)}.
BEFORE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "compressibility_sweep": (
        ("A-i-neuron", "A-i-spectral", "A-cross-neuron", "A-cross-spectral", "A-prunability", "A-bound-neuron",
         "A-bound-spectral"),
        ("robustness", "compressibility", "bounds", "prunability"),
    ),
    "bound_validation": (
        ("A-gap-l2", "A-gap-l2-art", "A-gap-linf", "A-sensitivity", "A-norms-rise"),
        ("gap", "anatomy", "robustness"),
    ),
    "operator_norm_study": (("A-ascent-linf", "A-ascent-l2"), ("ascent",)),
    "compression_levels": ((), ("bytes",)),
    "pareto_search": ((), ("fronts", "progress", "parallel")),
}  # fmt: skip
PLAIN = ("plain",)


@dataclass(frozen=True)
class Summary:
    """What the report says, for the terminal and for --json."""

    title: str
    claims: list[dict[str, Any]]
    front: list[dict[str, Any]] = field(default_factory=list)

    def text(self) -> str:
        """The verdicts as lines."""
        lines = [self.title]
        for c in self.claims:
            at = f"at {c['at']}: " if c["at"] else ""
            lines.append(f"  {c['verdict'].upper():18} {at}{c['statement']}")
            lines.append(f"  {'':18} {c['number']}{'; ' + c['reasons'][0] if c['reasons'] else ''}")
        if self.front:
            lines.append(f"  {len(self.front)} non-dominated models (front.csv):")
            lines += [f"    {p['trial']}  {p['text']}; {p['knobs']}" for p in self.front]
        return "\n".join(lines)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _claim(judgement: Judgement) -> dict[str, Any]:
    found = judgement.statistic
    return {
        "id": judgement.claim.id,
        "source": judgement.claim.source,
        "at": judgement.at,
        "verdict": judgement.verdict,
        "statistic": STATISTICS[judgement.claim.statistic].words,
        "value": _finite(found.value),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "seeds": found.n,
        "points": judgement.points,
        "control_detected": judgement.control_detected,
        "control_value": _finite(judgement.control.value),
        "statement": judgement.claim.quote,
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
        budget = drawing.budget(study["configuration"]["settings"][f"judged_{norm}"], norm)
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


def _checks(frame: pd.DataFrame) -> list[str]:
    """What the checks for gradient masking found over the finished nets, a sentence each."""
    table = frame[frame["status"] == "ok"]

    def values(measure: str) -> pd.Series:
        return table.loc[table["measure"] == measure, "value"]

    out = []
    if len(zero := values("zero_gradient_share")):
        out.append(f"Images without any gradient at the clean point: at most {100 * zero.max():.1f} % in a net.")
    if len(monotone := values("loss_monotone")):
        out.append(f"Worst loss grows with eps: in {int(monotone.sum())} of {len(monotone)} nets and norms.")
    if len(agrees := values("zero_eps_agrees")):
        out.append(f"At eps = 0 the attack gives clean accuracy: in {int(agrees.sum())} of {len(agrees)}.")
    if len(flags := values("audit_flag")):
        out.append(
            f"The attack without gradients (Square) beat the one with them in {int(flags.sum())} of {len(flags)}."
        )
    elif len(zero):
        out.append("No attack without gradients was asked for (--set audit_queries=1000 does).")
    return out


def _front(
    folder: Path, frame: pd.DataFrame, study: dict[str, Any], address: str, data_dir: str
) -> list[dict[str, Any]]:
    """The models of a search's front, which is written to front.csv; nothing for a sweep of a grid."""
    if "search" not in study:
        return []
    table = pareto.models(folder, frame, study, address, data_dir)
    results.replace(folder / layout.FRONT, table.to_csv(index=False).encode())
    return [_model(row, study) for _, row in table.iterrows()]


def _model(row: pd.Series, study: dict[str, Any]) -> dict[str, Any]:
    """One model of the front, in words and in numbers."""
    off = study["axes_off"]
    moved = [f"{a} {v if isinstance(v, str) else f'{v:.3g}'}" for a, v in row.items() if a in off and v != off[a]]
    numbers = {
        o["name"]: Interval(row[o["name"]], row[f"{o['name']}_low"], row[f"{o['name']}_high"], int(row["n"]))
        for o in pareto.objectives(study)
    }
    return {
        "trial": row["trial"],
        "knobs": ", ".join(moved) or "everything off",
        "weights": row["weights"],
        "text": ", ".join(f"{name} {_number(name, found)}" for name, found in numbers.items()),
        "objectives": {
            name: {"value": i.value, "low": _finite(i.low), "high": _finite(i.high), "n": i.n}
            for name, i in numbers.items()
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(name: str, found: Interval) -> str:
    """A share with its interval, a cost that is the same at every seed without."""
    if name.endswith("accuracy"):
        return found.text()
    spread = f" [{found.low:.4g}, {found.high:.4g}]" if found.high > found.low else ""
    return f"{found.value:.6g}{spread}"


def _failed(frame: pd.DataFrame, folder: Path) -> list[dict[str, Any]]:
    notes = results.failures(folder)
    names = frame.loc[frame["status"] == "failed", "trial"].unique()
    return [{"trial": n, "cause": notes[n]["cause"], "attempts": notes[n]["attempts"]} for n in names if n in notes]


def _pictures(
    frame: pd.DataFrame, study: dict[str, Any], judgements: list[Judgement], chosen: list[pictures.Own]
) -> list[dict[str, Any]]:
    """File name, title, caption and PNG of every figure, once per value of the axes that the arms only hold."""
    out: list[dict[str, Any]] = []
    if not (frame["status"] == "ok").any():
        return out
    for at, part in slices(study):
        judged = [j for j in judgements if j.at == at]
        suffix = f"-{re.sub(r'[^A-Za-z0-9_.=-]+', '-', at)}" if at else ""
        for name, title, draw in chosen:
            out.append(
                {
                    "name": name + suffix,
                    "title": title + (f" ({at})" if at else ""),
                    "caption": pictures.CAPTIONS.get(name, ""),
                    "png": _png(draw(frame, part, judged)),
                }
            )
    return out


def _how(study: dict[str, Any], judgements: list[Judgement]) -> list[str]:
    """How the verdicts came about, a sentence each: the statistics that were taken, and the controls that there are."""
    if not judgements:
        return []
    out = list(dict.fromkeys(STATISTICS[j.claim.statistic].explained for j in judgements))
    rule = "A claim is supported, or opposite, where the interval lies on one side of zero"
    arms = {arm["name"] for arm in study["arms"]}
    there = [j.claim for j in judgements if j.claim.control_rows and j.claim.control_rows.arm in arms]
    controls = dict.fromkeys((c.control.name, c.control.words) for c in there if c.control)
    if not controls:
        return [*out, f"{rule}; “not supported” is never said, for the study has no control."]
    said = "; or ".join(f"the {name}, {words}, is detected by the same pipeline" for name, words in controls)
    return [*out, f"{rule}; “not supported” is said only where {said}."]


def _named(study: dict[str, Any]) -> tuple[Iterable[str], Iterable[str]]:
    """The ids of the claims and figures that a folder's study.json names, or that its study had before it did; those of
    a user's own, which only their study brings along, are left out."""
    claims, drawn = BEFORE.get(study["configuration"]["study"], ((), PLAIN))
    asked, shown = study.get("claims", claims), study.get("figures", drawn)
    return [c for c in asked if c in CLAIMS], [f for f in shown if f in pictures.FIGURES]


def check(claims: Iterable[str | Claim], figures: Iterable[str | pictures.Own]) -> None:
    """UsageError for an id that is not known, or a claim or figure that is none: before anything is trained."""
    for claim in find(claims):
        statistic_of(claim)
    pictures.find(figures)


def write(
    folder: str | Path,
    address: str = "",
    data_dir: str = "",
    claims: Iterable[str | Claim] | None = None,
    figures: Iterable[str | pictures.Own] | None = None,
) -> Summary:
    """Write report.html and figures/*.png of a results folder from its table; the summary for the terminal.

    `claims` are judged and `figures` drawn: ids, a Claim of one's own, or a figure of one's own as (id, title,
    function). None: those that study.json names; no figures: the plain one. UsageError for an id that is not known,
    before anything is written.

    Needs no more than one finished trial per arm; what cannot be judged says why. A search's front.csv holds commands:
    they name the results by `address` (default: the folder), and the data's folder where one is given.
    """
    folder = Path(folder)
    study = results.read_study(folder)
    asked, drawn = _named(study)
    chosen = find(asked if claims is None else claims)
    drawings = pictures.find((drawn if figures is None else figures) or PLAIN)
    whole = results.read(folder)
    frame = whole[whole["deterministic"] | (whole["status"] == "failed")]
    judgements = judge_all(frame, study, chosen)
    shown = _pictures(whole if "search" in study else frame, study, judgements, drawings)
    for picture in shown:
        results.replace(folder / layout.FIGURES / f"{picture['name']}.png", picture["png"])
    configuration = study["configuration"]
    seeds = len(study["seeds"])
    finished = frame.loc[frame["status"] != "failed", "trial"].nunique()
    many = "seed" if seeds == 1 else "seeds"
    on = f"data {configuration['data']}, model {configuration['model']}, " if configuration["data"] else ""
    title = f"{configuration['study']}: {on}{seeds} {many}"
    summary = Summary(title, [_claim(j) for j in judgements], _front(folder, whole, study, address, data_dir))
    environment = jinja2.Environment(loader=jinja2.PackageLoader("analysis", ""), autoescape=True)
    html = environment.get_template("report.html.j2").render(
        title=title,
        study=study,
        summary=summary,
        finished=finished,
        total=len(study["trials"]),
        diverged=frame.loc[frame["status"] == "diverged", "trial"].nunique(),
        failed=_failed(frame, folder),
        asked=bool(chosen),
        how=_how(study, judgements),
        pictures=[p | {"png": base64.b64encode(p["png"]).decode()} for p in shown],
        checks=_checks(frame),
        where=_where(frame, study, judgements),
        settings=configuration["settings"],
    )
    results.replace(folder / layout.REPORT, html.encode())
    return summary
