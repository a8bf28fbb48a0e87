"""What the command line prints about studies, plans and folders, as text and as JSON."""

import json
import os
import textwrap
from typing import Any

from rich.console import Console

from analysis.claims import find, foresight
from study.spec.domains import Choice, Domain, LogUniform
from study.spec.expand import moving
from study.spec.names import gathered, reproduced
from study.spec.values import shown
from study.sweep.plan import costs, fitting, rehearsed, selection
from study.sweep.plan.catalogue import find_study, study_names
from study.sweep.plan.folder import manifest
from study.sweep.plan.plan import Plan, least_finals
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.sharing import sharing

BYTES_OF_WEIGHT = 4


def expected_workers(plan: Plan, max_concurrent: int = 0, in_process: bool = False, cluster: bool = False) -> int:
    """Trials at once: one in this process, what fits on this machine or on one GPU, 0 for a cluster not yet seen."""
    if in_process:
        return 1
    if cluster:
        return 0
    fits = 1 / plan.gpus_per_trial if plan.gpus_per_trial else (os.cpu_count() or 1) / plan.cpus_per_trial
    return max(1, min(int(fits + 1e-9), max_concurrent or int(fits + 1)))


def facts(plan: Plan, workers: int, pending: int | None = None) -> dict[str, Any]:
    """Trials, seconds, disk and cost of a plan's pending trials (all by default) on `workers` workers (0: unknown), and
    the work that trained bases spare by being shared, which the seconds leave out."""
    trials = plan.total if pending is None else pending
    start = costs.SECONDS["gpu" if plan.gpus_per_trial else "cpu"]["start"]
    rehearsed_seconds = rehearsed.trial_seconds(plan)
    known = rehearsed_seconds > 0 and not plan.past_trials and not plan.gpus_per_trial
    alone, shared = trials * (rehearsed_seconds if known else plan.estimated_trial_seconds), sharing(plan)
    spared = shared.share * alone
    work = alone if plan.past_trials else alone - spared  # past trials have shown what sharing leaves
    return {
        "trials": plan.total,
        "shared_bases": shared.bases,
        "spared_trainings": shared.spared,
        "spared_seconds": spared,
        "rehearsed_cpu_seconds": trials * rehearsed_seconds,
        "seconds": start + work / max(1, workers),
        "workers": workers,
        "megabytes": _bytes(plan, trials) / 1e6,
        "dollars": costs.dollars(work, plan.gpus_per_trial, plan.preset.instance),
        "past_trials": plan.past_trials,
    }


def _bytes(plan: Plan, trials: int) -> float:
    """What so many trials write: a table each; in a search the trained base of each too, as long as it runs, and of
    finalists the weights, which the front's models hold once more as they are exported. Weights that are kept of every
    trial are those of the net and of its training."""
    tables = trials * costs.BYTES_PER_TRIAL
    search = plan.preset.search
    if search is None and not plan.keep_weights:
        return tables
    weights = costs.parameters(plan.model, plan.data, plan.settings)
    bases, finals = (trials, min(trials, least_finals(search, plan.seeds))) if search else (0, 0)
    kept = trials if plan.keep_weights else finals
    return tables + BYTES_OF_WEIGHT * weights * (bases + finals + (2 * kept if plan.keep_weights else kept))


def cost_text(f: dict[str, Any], plan: Plan) -> str:
    """A plan's cost in a line."""
    where = "on 1 worker" if f["workers"] == 1 else f"on {f['workers']} workers"
    if f["workers"] == 0:
        where = "of one worker's time, spread over the cluster"
    elif plan.gpus_per_trial:
        where = f"on 1 GPU, {plan.gpus_per_trial:g} per trial"
    price = f", about ${_rounded(f['dollars']):,} on {plan.preset.instance}" if f["dollars"] else ""
    return f"about {costs.duration(f['seconds'])} {where}, {_size(f['megabytes'])}{price}"


def _size(megabytes: float) -> str:
    if megabytes >= 1000:
        return f"{megabytes / 1000:.0f} GB"
    return f"{megabytes:.0f} MB" if megabytes >= 0.5 else "under 1 MB"


def _rounded(dollars: float) -> int:
    """An estimate to three figures: no more of it is known."""
    return int(float(f"{dollars:.3g}")) if dollars >= 1000 else round(dollars)


def show(out: Console, as_json: bool) -> None:
    """Every study: what it asks, the rows it covers, trials and cost per preset."""
    records: list[dict[str, Any]] = []
    for name in study_names():
        study = find_study(name)
        presets = {}
        for preset in study.presets:
            plan = make_plan(Request(study=name, preset=preset), need_data=False)
            cost = facts(plan, expected_workers(plan))
            marks = rehearsed.marks(plan)
            presets[preset] = cost | {"text": cost_text(cost, plan), **marks, "known": rehearsed.mark_text(marks)}
        records.append(
            {
                "name": name,
                "question": study.question,
                "figure": reproduced(study.reproduces),
                "covers": list(study.covers),
                "presets": presets,
            }
        )
    if as_json:
        print(json.dumps(records, indent=1))
        return
    for record in records:
        covers = record["covers"]
        rows = f"row{'s' * (len(covers) > 1)} {', '.join(covers)}" if covers else ""
        of = "; ".join(part for part in (gathered(record["figure"]), rows) if part)
        out.print(f"[bold]{record['name']}[/bold]{f'  ({of})' if of else ''}", markup=True)
        out.print(f"  {record['question']}")
        lines = {preset: f"{f['trials']:4} trials, {f['text']}" for preset, f in record["presets"].items()}
        width, longest = max(map(len, lines.values())), max(7, *map(len, lines))
        for preset, line in lines.items():
            known = record["presets"][preset]["known"] if preset != "smoke" else "run by the tests"
            whole = f"  {preset.ljust(longest)} {line.ljust(width)}  {known}"
            indent = " " * (len("  ") + longest + len(" 1000 "))
            below = [f"  {preset.ljust(longest)} {line}", *_wrapped(known, out.width, indent)]
            for shown_line in [whole] if len(whole) <= out.width else below:
                out.print(shown_line, markup=False)
    out.print("\nRun one with: python -m study.launch NAME [--preset PRESET]; its points: add --dry-run", markup=False)


def _wrapped(text: str, width: int, indent: str, first: str | None = None) -> list[str]:
    """A text in lines of a console's width, at least 60 letters each."""
    return textwrap.wrap(
        text, max(width, 60), initial_indent=indent if first is None else first, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def show_plan(
    out: Console, plan: Plan, as_json: bool, *, workers: int, points: bool = False, pending: int | None = None
) -> None:
    """A plan: trials, time, disk, cost of the pending ones; with `points`, every trial; last, which claims it can never
    judge and what would change that."""
    f = facts(plan, workers, pending)
    if as_json:
        rows = [{"trial": n, "family": j.family, "seed": j.trial.seed, **j.axes} for n, j in plan.jobs.items()]
        record = {"configuration": plan.configuration(), **f, "notes": notes(plan), "unjudged": foreseen(plan)}
        print(json.dumps(record | {"points": rows}, indent=1))
        return
    configuration = plan.configuration()
    source = (
        f"scaled by {plan.past_trials} past trials of this preset"
        if plan.past_trials
        else "from the table of stage times"
    )
    if (cpu := f["rehearsed_cpu_seconds"]) and not plan.past_trials and not plan.gpus_per_trial:
        source = f"at most, {rehearsed.told()}"
    out.print(f"{plan.study.name} ({plan.preset_name}): {plan.study.question}", markup=False)
    on = f"data {configuration['data']}, model {plan.model}, " if plan.data else ""
    out.print(f"  {on}{len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)}", markup=False)
    if plan.data and not plan.data_digest:
        out.print(
            f"  Note: {plan.data} is not on this machine: a run needs --data-dir or --download, and gives the trials "
            "other names",
            markup=False,
        )
    longest = max([17, *(len(arm.name) for arm in plan.preset.arms)])
    for arm in plan.preset.arms:
        axes = "; ".join(f"{k} {', '.join(shown(v) or 'none' for v in vs)}" for k, vs in arm.axes.items())
        out.print(f"  {arm.name.ljust(longest)} {arm.family}: {axes}", markup=False)
    if search := plan.preset.search:
        knobs = "; ".join(f"{name} {_domain(domain)}" for name, domain in search.knobs.items())
        for line in _wrapped(f"search {search.family}: {knobs}", out.width, "    ", "  "):
            out.print(line, markup=False)
        out.print(
            f"  {' against '.join(search['objectives'])}, clean accuracy from {search['floor']:g}; "
            f"{search['evaluations']} evaluations by {search['sampler']} (seed {search['sampler_seed']}) at seed "
            f"{search['search_seed']} on validation images",
            markup=False,
        )
        attacks = ", ".join(selection.attacks(search, plan.settings))
        out.print(
            f"  then {min(search['finalists'], search['evaluations'])} finalists or some more, trained anew at every "
            f"seed and attacked on test images by {attacks}",
            markup=False,
        )
    for note in notes(plan):
        out.print(f"  Note: {note}", markup=False)
    left = "" if pending is None or pending == f["trials"] else f", {pending} of them left"
    least = "at least " if plan.preset.search else ""
    out.print(f"  {least}{f['trials']} trials{left}: {cost_text(f, plan)} ({source})", markup=False)
    if f["spared_trainings"]:
        out.print(
            f"  {f['shared_bases']} nets are trained once and shared: {f['spared_trainings']} trainings, about "
            f"{costs.duration(f['spared_seconds'])} of work, are spared (not in the time above)",
            markup=False,
        )
    if cpu and plan.gpus_per_trial:
        out.print(
            f"  the same without a GPU: at most {costs.duration(cpu)} of CPU time, {rehearsed.told()}", markup=False
        )
    out.print(f"  results in {plan.place}", markup=False)
    if points and plan.jobs:
        arms = {(p.seed, *p.axes.values()): p.arms for p in plan.points}
        moved = moving(plan.preset)
        lines = [["trial", "family", "arms", "seed", *moved]]
        for name, job in plan.jobs.items():
            where = arms[(job.trial.seed, *job.axes.values())]
            lines.append([name, job.family, "+".join(where), str(job.trial.seed)])
            lines[-1] += [shown(job.axes[a]) or "none" for a in moved]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        for at in range(0, len(table), 1000):  # each print costs as much as ten lines of a table
            out.print("\n".join(table[at : at + 1000]), markup=False)
    if points and plan.study.claims:
        out.print()
    show_unjudged(out, plan, none="All claims can be judged by these seeds, levels and controls." if points else "")


def notes(plan: Plan) -> list[str]:
    """What was asked for and left out, and which axes lack their baseline, once all levels of the folder are there."""
    return [*plan.notes, *fitting.lost_baselines(plan.study, plan.preset_name, plan.data, plan.preset)]


def show_unjudged(out: Console, plan: Plan, none: str = "") -> None:
    """Which claims the plan can never judge, and what would change that; `none` where it can judge all it has."""
    for sentence in foresight.lines(foreseen(plan)) or [none] * bool(none and plan.study.claims):
        out.print(sentence, markup=False)


def foreseen(plan: Plan) -> dict[str, list[str]]:
    """Why claims of the plan's study cannot be judged by its trials, whatever they find; by the claim's id."""
    judging = [(name, preset) for name, preset in plan.study.presets.items() if name != "smoke"]
    presets = {arm.name: name for name, preset in judging[::-1] for arm in preset.arms}
    return foresight.unjudged(manifest(plan), find(plan.study.claims), presets)


def _domain(domain: Domain) -> str:
    if isinstance(domain, Choice):
        return ", ".join(map(shown, domain.values))
    return f"{domain.low:g} to {domain.high:g}{' (log)' if isinstance(domain, LogUniform) else ''}"
