"""Our numbers beside the published ones: what may be compared, and what may not."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from analysis.arms import baseline, differing
from analysis.figures import drawing
from analysis.figures.labels import said
from analysis.intervals import Interval, mean_t
from analysis.levels import signed
from analysis.published import OPEN, UNITS, Cell, cells
from analysis.tables import attack_of, per_trial
from study.spec.domains import Value
from study.spec.knobs import KNOBS
from study.spec.names import source_name
from study.store.manifest import Manifest

COPIES = {"cifar10-jpeg": "cifar10"}  # the same images, made poorer: shown with that label, and never compared
WHOLE = {"train_size": 0, "test_size": 0, "width_multiplier": 1.0, "binary": 0}  # a smaller net, or fewer images
HARMLESS = {"attack", "attack_backend", "weights", "audit_queries", "certify"}  # checked by itself, or of no effect
WORDS = {
    "robust_accuracy": "RA",
    "clean_accuracy": "SA",
    "relative_robust_accuracy": "RA/SA",
    "loss_gap": "adversarial minus clean loss",
}


def tables(frame: pd.DataFrame, study: Manifest) -> list[dict[str, Any]]:
    """Each published table that the study reproduces: its title, what must be said of it, and its numbers beside ours.

    Of another model there are no rows, and a sentence says so; nor of other data, where the table has that model on
    several data sets. Where anything else differs from the published protocol (other data, and then at the budget
    that this study judges; an image made poorer, fewer images, a narrower net, random weights, another attack, a
    preset that is not `paper`) the rows stand without a difference, and `differs` says what.
    """
    named = study.figure.split("; ")
    ids = [t for t in dict.fromkeys(c.table for c in cells()) if any(_names(source_name(t), n) for n in named)]
    return [_table(frame, study, table) for table in ids]


def _names(table: str, source: str) -> bool:
    """Whether a source in words is a table, or a part of it."""
    return source == table or source.startswith(f"{table} ")


def lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for the terminal about each table whose numbers stand beside ours."""
    out = []
    for table in found:
        rows = [r for r in table["rows"] if r["n"]]
        if rows:
            far = max((abs(r["away"]) for r in rows if r["away"] is not None), default=None)
            more = f"at most {far:.3f} away" if far is not None else "not comparable with them"
            out.append(f"Beside {table['title']}: {len(rows)} numbers of ours, {more} (report.html).")
    return out


def _table(frame: pd.DataFrame, study: Manifest, table: str) -> dict[str, Any]:
    printed, title = cells(table), source_name(table)
    out: dict[str, Any] = {"table": table, "title": title, "differs": "", "open": "", "rows": []}
    alike = _alike(printed, study)
    if not alike:
        models, data = (_listed(dict.fromkeys(getattr(c, what) for c in printed)) for what in ("model", "data"))
        return out | {
            "differs": f"Its nets are {models} on {data}, those here {study.model} on {study.data}: its numbers do not "
            "stand beside ours.",
        }
    first = next((c for c in alike if c.attack), alike[0])
    differs = _differences(study, first)
    rows = [row for cell in alike for row in _rows(frame, study, cell, compared=not differs)]
    if not any(row["n"] for row in rows):
        return out | {"differs": "None of its numbers was measured here."}
    if differs:
        out["differs"] = f"Not the published protocol, so that no difference is shown: {'; '.join(differs)}."
    return out | {"rows": rows, "ours": _ours(study, first), "open": OPEN.get(table, "")}


def _alike(printed: Sequence[Cell], study: Manifest) -> list[Cell]:
    """The cells of the study's model on its data; on the only data that the table has of that model, else none."""
    of_model = [c for c in printed if c.model == study.model]
    same = [c for c in of_model if c.data == COPIES.get(study.data, study.data)]
    return same or (of_model if len({c.data for c in of_model}) == 1 else [])


def _listed(names: Iterable[str]) -> str:
    """Names in a sentence: `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _differences(study: Manifest, cell: Cell) -> list[str]:
    """What of the folder differs from the published protocol, in words; nothing where the two may be compared."""
    settings, out = study.settings, []
    if study.data != cell.data:
        out.append(f"the data here are {study.data}, the published ones {cell.data}")
        here = _budget(study, cell)
        if cell.norm and cell.eps and here != cell.eps:
            out.append(f"the budget here is {_at(cell.norm, here)}, the published one {_at(cell.norm, cell.eps)}")
    if study.preset != "paper":
        out.append(f"the preset here is {study.preset or 'not named'}")
    if cell.weights == "pretrained" and settings.get("weights", "none") == "none":
        out.append("the nets here begin at random weights, the published ones were pretrained")
    if cell.weights == "none" and settings.get("weights", "none") != "none":
        out.append(
            f"the nets here begin at {settings['weights']}, the published ones were trained on {cell.data} alone"
        )
    if (attack := settings.get("attack", "apgd")) != cell.attack:
        out.append(f"the attack here is {attack}, the published one {cell.attack}")
    small = [f"{name} {settings[name]:g}" for name, off in WHOLE.items() if settings.get(name, off) != off]
    if small:
        out.append(f"here {', '.join(small)}")
    if changed := sorted(set(re.findall(r"--set[= ]'?(\w+)=", study.command)) - HARMLESS):
        out.append(f"the command sets {', '.join(changed)} otherwise than the preset")
    return out


def _ours(study: Manifest, cell: Cell) -> str:
    """What this folder holds where the paper says nothing, and whose attack it is."""
    moved = {*differing(study), *cell.at}
    held = {a: v[0] for arm in study.arms for a, v in arm.axes.items() if a not in moved}
    at = ", ".join(said(a, v) for a, v in held.items() if not (a in KNOBS and KNOBS[a].compressed))
    attack = attack_of(study, "configured")
    return f"The attack here is {attack}{f'; every net: {at}' if at else ''}."


def _rows(frame: pd.DataFrame, study: Manifest, cell: Cell, compared: bool) -> Iterator[dict[str, Any]]:
    """A published number beside ours, once for each value of what the paper does not say and the study moves."""
    nets, free = _nets(frame, study, cell)
    values = _values(frame, study, cell).reindex(nets.index).dropna()
    groups = nets.loc[values.index].groupby(free, dropna=False, sort=False) if free and len(values) else [((), nets)]
    toolbox = study.settings.get("attack_backend", "native") == "art"
    fair = compared and (toolbox or cell.measure != "loss_gap")
    notes = [cell.note] if cell.note else []
    if cell.measure == "loss_gap" and not toolbox:
        notes.append("ours at the worst points found, the published one where the toolbox ended: not comparable")
    digits = len(cell.printed.partition(".")[2])
    for key, group in groups:
        of = values.reindex(group.index).dropna().groupby(group["seed"]).mean()
        ours = mean_t(of.to_numpy() / cell.unit)  # as printed: percent beside percent
        shift = cell.value / cell.unit
        away = Interval(ours.value - shift, ours.low - shift, ours.high - shift, ours.n)
        yield {
            "measure": WORDS.get(cell.measure, cell.measure) + (", %" if cell.unit == UNITS["percent"] else ""),
            "budget": _at(cell.norm, cell.eps) if cell.norm and cell.eps else "",
            "level": ", ".join(_level(cell)),
            "here": ", ".join(said(a, v) for a, v in zip(free, key, strict=True)) if free and len(values) else "",
            "published": f"{cell.printed} ± {cell.deviation}" if cell.deviation else cell.printed,
            "ours": ours.numbers(digits) if ours.n else "not measured",
            "n": ours.n,
            "difference": signed(away, digits) if fair and ours.n else "",
            "away": away.value * cell.unit if fair and ours.n else None,
            "note": "; ".join(notes),
        }


def _at(norm: str, eps: float) -> str:
    return f"{drawing.NORM[norm]} {drawing.budget(eps, norm)}"


def _budget(study: Manifest, cell: Cell) -> float:
    """The budget of ours that stands beside a cell's: the same; on other data the one that the study judges."""
    if study.data in (cell.data, *(copy for copy, of in COPIES.items() if of == cell.data)):
        return cell.eps or 0.0
    return float(study.settings[f"judged_{cell.norm}"]) if cell.norm else 0.0


def _level(cell: Cell) -> list[str]:
    """The knobs of a cell in words, but for what its table holds."""
    return [said(a, v) for a, v in cell.at.items() if a != "penalty" and v != "none"]


def _nets(frame: pd.DataFrame, study: Manifest, cell: Cell) -> tuple[pd.DataFrame, list[str]]:
    """The finished nets at a cell's knobs, compressed by nothing else, one row each; and the axes that the paper does
    not name and in which they differ."""
    nets = frame[frame["status"] == "ok"].drop_duplicates("trial").set_index("trial")
    penalised = cell.at.get("alpha", 0.0) != 0
    wanted: dict[str, Value | None] = {a: v for a, v in cell.at.items() if a != "penalty" or penalised}
    for axis in differing(study):
        if axis not in wanted and (KNOBS[axis].compressed or axis == "qat"):
            wanted[axis] = baseline(study, axis)
    for axis, value in wanted.items():
        here = nets[axis] if axis in nets else pd.Series(study.settings.get(axis, KNOBS[axis].default), nets.index)
        nets = nets[(here - value).abs() < 1e-9 if isinstance(value, float) else here == value]
    idle = {"penalty"} if not penalised else set()
    free = [a for a in differing(study) if a not in {*wanted, *idle} and a in nets and nets[a].nunique() > 1]
    return nets, free


def _values(frame: pd.DataFrame, study: Manifest, cell: Cell) -> pd.Series:
    """Our value of a cell's measure, by trial."""
    toolbox = study.settings.get("attack_backend", "native") == "art"
    by = "gap" if cell.measure == "loss_gap" and not toolbox else "configured"
    attacked = {"attack": attack_of(study, by), "norm": cell.norm, "eps": _budget(study, cell)} if cell.norm else {}
    return per_trial(frame, cell.measure, split="test", **attacked)
