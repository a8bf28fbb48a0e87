"""The report of a results folder: figures, verdicts and tables in one self-contained HTML file."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis import balance, costs, finalists, ladder, layers, levels, matched, optimism, origin, sections, trust
from analysis import figures as pictures
from analysis import summary as numbers
from analysis.attempt import attempt
from analysis.claims import CLAIMS, WITHDRAWN, Claim, find, foresight
from analysis.claims.checks import check_arms, check_terms
from analysis.claims.evidence import statistic_of
from analysis.claims.judge import Judgement, judge_all
from analysis.claims.needs import many
from analysis.figures import drawing
from analysis.published import beside
from analysis.tables import slices
from study.spec.names import gathered
from study.spec.studies import Arm
from study.store import layout, manifest, results
from study.store.manifest import ArmRecord, Manifest

# What folders from before study.json named them show: {study: (claims, figures)}.
BEFORE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "compressibility_sweep": (
        ("A-i-neuron", "A-i-spectral", "A-cross-neuron", "A-cross-spectral", "A-bound-neuron", "A-bound-spectral"),
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
MOST_LINES, LONG = 50, "What {} levels cost stands in the report."


@dataclass(frozen=True)
class Summary:
    """What the report says, for the terminal and for --json."""

    title: str
    claims: list[dict[str, Any]]
    front: list[dict[str, Any]] = field(default_factory=list)
    undrawn: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    unjudged: dict[str, list[str]] = field(default_factory=dict)
    no_front: str = ""
    given: list[str] = field(default_factory=list)
    levels: list[dict[str, str]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)
    matched: list[dict[str, Any]] = field(default_factory=list)

    def text(self) -> str:
        """The verdicts as lines."""
        lines = [self.title, *(f"  {drawing.norms(sentence)}" for sentence in self.given)]
        for c in self.claims:
            at = f"at {c['at']}: " if c["at"] else ""
            lines.append(f"  {c['verdict'].upper():18} {at}{c['statement']}")
            said = (c["why"] and f"because {c['why']}", c["number"], c["beside"], c["doubts"])
            lines += [f"  {'':18} {line}" for line in said if line]
        lines += [f"  {sentence}" for sentence in [*self.withdrawn, *foresight.lines(self.unjudged), *self.undrawn]]
        if self.front:
            lines.append(f"  {many(len(self.front), 'non-dominated model')} (front.csv):")
            lines += ["; ".join([f"    {p['trial']}  {p['text']}", p["knobs"], *p["marks"]]) for p in self.front]
        few = len(self.levels) <= MOST_LINES
        lines += [f"  {line}" for line in levels.text(self.levels)] if few else [f"  {LONG.format(len(self.levels))}"]
        lines += [f"  {sentence}" for sentence in matched.lines(self.matched)]
        lines += [f"  {sentence}" for sentence in beside.lines(self.published)]
        lines += [f"  {sentence}" for sentence in [*filter(None, [self.no_front]), *self.chosen]]
        return "\n".join(lines)


def _drawn(draw: pictures.Drawing, frame: pd.DataFrame, study: Manifest, judged: list[Judgement]) -> dict[str, bytes]:
    """A figure as files, by their ending."""
    return drawing.files(draw(frame, study, judged))


def _pictures(
    frame: pd.DataFrame, study: Manifest, judgements: list[Judgement], chosen: list[pictures.Own]
) -> list[dict[str, Any]]:
    """Name, title, caption and files of every figure, once per value of the axes that the arms only hold; where drawing
    it raised, no files and what it raised."""
    out: list[dict[str, Any]] = []
    if not (frame["status"] == "ok").any():
        return out
    for at, part in slices(study):
        judged = [j for j in judgements if j.at == at]
        suffix = f"-{re.sub(r'[^A-Za-z0-9_.=-]+', '-', at)}" if at else ""
        for name, title, draw in chosen:
            what = f"figure {name + suffix} could not be drawn"
            files, raised = attempt(what, partial(_drawn, draw, frame, part, judged))
            out.append(
                {
                    "name": name + suffix,
                    "title": title + (f" ({at})" if at else ""),
                    "caption": pictures.caption(name, study),
                    "files": files or {},
                    "undrawn": f"{what}: {raised}" if raised else "",
                }
            )
    return out


def named(study: Manifest) -> tuple[Iterable[str], Iterable[str]]:
    """The ids of the claims and figures that a folder's study.json names, or that its study had before it did; those of
    a user's own, which only their study brings along, are left out."""
    claims, drawn = BEFORE.get(study.name, ((), PLAIN))
    asked = claims if study.claims is None else study.claims
    shown = drawn if study.figures is None else study.figures
    return [c for c in asked if c in CLAIMS], [f for f in shown if f in pictures.FIGURES]


def check(
    claims: Iterable[str | Claim], figures: Iterable[str | pictures.Own], arms: Iterable[Arm | ArmRecord] = ()
) -> None:
    """UsageError for an id that is not known, for what is no claim or no figure, and for a claim that can never be
    judged; with the `arms` of all the study's presets, where none of them can be asked: before anything is trained."""
    declared = list(arms)
    for claim in find(claims):
        statistic_of(claim)
        check_terms(claim)
        if declared:
            check_arms(claim, declared)
    pictures.find(figures)


def write(
    folder: str | Path,
    address: str = "",
    data_dir: str = "",
    claims: Iterable[str | Claim] | None = None,
    figures: Iterable[str | pictures.Own] | None = None,
) -> Summary:
    """Write report.html and figures/ (PNG, PDF, SVG) of a results folder from its table; the summary for the terminal.

    `claims` are judged and `figures` drawn: ids, a Claim of one's own, or a figure of one's own as (id, title,
    function). None: those that study.json names; no figures: the plain one. UsageError for an id that is not known,
    before anything is written.

    Needs no more than one finished trial per arm; what cannot be judged says why, and so does a figure that raises. A
    search's front.csv holds commands:
    they name the results by `address` (default: the folder), and the data's folder where one is given.
    """
    folder = Path(folder)
    study = manifest.load(folder)
    asked, drawn = named(study)
    chosen = find(asked if claims is None else claims)
    drawings = pictures.find((drawn if figures is None else figures) or PLAIN)
    whole = results.read(folder)
    frame = whole[whole["deterministic"] | (whole["status"] == "failed")]
    judgements = judge_all(whole, study, chosen)  # some are about times
    taken = [j for j in judgements if j.taken]
    shown = _pictures(whole if study.search else frame, study, taken, drawings)
    for picture in shown:
        for ending, content in picture["files"].items():
            results.replace(folder / layout.FIGURES / f"{picture['name']}.{ending}", content)
    finished = frame.loc[frame["status"] != "failed", "trial"].nunique()
    on = f"data {study.data}, model {study.model}, " if study.data else ""
    title = f"{study.name}: {on}{many(len(study.seeds), 'seed')}"
    if kept := sum(len(source["trials"]) for source in study.earlier):
        title += f"; {kept} of {finished} finished trials are of an earlier source of model, data or functions"
    front = sections.front(folder, whole, study, address, data_dir)
    summary = Summary(
        title,
        [sections.verdict(j) for j in judgements],
        front,
        [picture["undrawn"] for picture in shown if picture["undrawn"]],
        withdrawn=[f"{name}: {WITHDRAWN[name]}" for name in study.claims or () if name in WITHDRAWN],
        chosen=optimism.sentences(whole, study) if study.search else [],
        unjudged=foresight.unjudged(study, chosen) if judgements else {},
        no_front=f"{finalists.why_none(whole, study)}." if study.search and not front else "",
        given=ladder.sentences(frame, study, address or str(folder)),
        levels=levels.levels(frame, study) if not chosen and (frame["status"] == "ok").any() else [],
        published=[] if study.search else beside.tables(frame, study),
        matched=matched.of(frame, study),
    )
    there, rungs = layers.layers(frame, study), ladder.trusted(frame, study)
    environment = jinja2.Environment(loader=jinja2.PackageLoader("analysis", ""), autoescape=True)
    environment.filters |= {"norms": drawing.norms, "gathered": gathered}
    html = environment.get_template("report.html.j2").render(
        title=title,
        study=study,
        summary=summary,
        finished=finished,
        total=len(study.trials),
        diverged=frame.loc[frame["status"] == "diverged", "trial"].nunique(),
        failed=sections.failed(frame, folder),
        asked=bool(chosen),
        how=sections.how(study, taken),
        pictures=[p | {"png": base64.b64encode(p["files"].get("png", b"")).decode()} for p in shown],
        origin=origin.sentences(folder, study),
        checks=trust.checks(frame, study.settings),
        beside={
            "ladder": {"said": [ladder.checked(rungs, study)], "rows": rungs, "of": "nets"},
            "layers": {"said": layers.sentences(there), "rows": layers.table(there), "of": "layers"},
            **balance.tables(frame, study, [p["name"] for p in shown if not p["undrawn"]]),
        },
        costs=costs.costs(whole, study),
        where=sections.where(frame, study, taken),
        settings=study.settings,
    )
    of = partial(numbers.of, whole if study.search else frame, study, judgements)
    content, _ = attempt(f"{layout.SUMMARY} could not be written", of)
    if content:
        results.replace(folder / layout.SUMMARY, content)
    results.replace(folder / layout.REPORT, html.encode())
    return summary
