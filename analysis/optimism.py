"""What selection flattered a search's numbers by: measured on what had no say in it, and said in sentences."""

import numpy as np
import pandas as pd

from analysis import finalists, pareto
from analysis.claims.needs import many
from analysis.finalists import CLEAN, ROBUST
from analysis.intervals import Interval, mean_t
from study.store.manifest import Manifest


def change(frame: pd.DataFrame, study: Manifest, name: str) -> Interval:
    """Mean change of a finalist's number from validation images at the search's seed to test images at a fresh one, by
    the study's own attack; n counts the fresh seeds, one mean over the finalists each.

    The finalists and what they showed when they were chosen are given; what varies is the seed that they are trained
    and tested at. In mean_t's sense: no interval below five seeds.
    """
    axes = list(study.axes_off)
    before = finalists.evaluations(frame, study).set_index(axes)[name]
    after = finalists.finals(frame, study)
    column = finalists.by_attack(finalists.attacks(study)[0]) if name == ROBUST else name
    moved = after[column].to_numpy() - before.reindex(pd.MultiIndex.from_frame(after[axes])).to_numpy()
    return mean_t(pd.Series(moved, index=after.index).groupby(after["seed"]).mean().dropna().to_numpy())


def left_out(frame: pd.DataFrame, study: Manifest) -> Interval:
    """How the front's first objective changes at a seed that had no say: for each seed the front is taken over the
    other seeds' means, and its models' numbers at that seed are compared with those means; n counts the seeds."""
    table, wanted = finalists.finals(frame, study), [o["name"] for o in finalists.objectives(study)]
    axes, changes = list(study.axes_off), []
    for seed, here in table.groupby("seed"):
        others = table[table["seed"] != seed].groupby(axes)[finalists.names(study)].mean()
        others = others[others[CLEAN] >= study.search["floor"]]
        chosen = others[pareto.front(others[wanted].to_numpy(), finalists.directions(study))]
        change = here.set_index(axes)[wanted[0]].reindex(chosen.index) - chosen[wanted[0]]
        changes.append(change.mean())
    return mean_t(np.array(changes)[~np.isnan(changes)])


def sentences(frame: pd.DataFrame, study: Manifest) -> list[str]:
    """How a search chose and what its numbers are worth, a sentence each."""
    table = finalists.points(frame, study)
    if not finalists.is_apart(study):
        return ["This search selected by the test images and a seed that it reports: its front is flattered by that."]
    names = ", ".join([finalists.attacks(study)[0], *(_set(name, study) for name in finalists.attacks(study)[1:])])
    lowest = " (the lowest number of a net counts)" if len(finalists.attacks(study)) > 1 else ""
    out = [
        f"{_were(len(finalists.evaluations(frame, study)), 'point')} tried at seed {finalists.own_seed(study)} and "
        f"chosen by validation images; {_were(len(table), 'finalist')} trained anew at "
        f"{many(len(study.seeds), 'fresh seed')} and "
        f"attacked on test images by {names}{lowest}."
    ]
    if not len(table) or not table["n"].any():
        return out
    return [*out, *_changes(frame, study, table), *_marks(table, study)]


def _set(name: str, study: Manifest) -> str:
    """One of the final attacks, AutoAttack with its settings: they are not the published 100 and 5000."""
    if name.partition("@")[0].rpartition("/")[2] != "autoattack" or "final_iterations" not in study.search:
        return name
    return f"{name} ({study.search['final_iterations']} iterations, {study.search['final_queries'] or 5000} queries)"


def _changes(frame: pd.DataFrame, study: Manifest, table: pd.DataFrame) -> list[str]:
    own = finalists.attacks(study)[0]
    shown = {ROBUST: f"robust accuracy ({own})", CLEAN: "clean accuracy"}
    parts = [f"{shown[n]} {_text(change(frame, study, n))}" for n in finalists.names(study) if n in shown]
    out = [f"From the images and the seed that chose them to fresh ones the finalists changed by: {', '.join(parts)}."]
    if ROBUST in table and len(finalists.attacks(study)) > 1:
        gained = (table[finalists.by_attack(own)] - table[ROBUST]).dropna()
        most = f"{gained.max():.3f} at most"
        out.append(f"The other attacks take {gained.mean():.3f} more than {own} in the mean over finalists, {most}.")
    if finalists.objectives(study)[0]["name"] in shown and (found := left_out(frame, study)).n > 2:
        out.append(
            f"Which finalists stand on the front is read from the means that it shows: at a seed that had no say its "
            f"{shown[finalists.objectives(study)[0]['name']].partition(' (')[0]} changes by {_text(found)}."
        )
    return out


def _text(found: Interval) -> str:
    """A change with its sign, and its interval over seeds."""
    if np.isnan(found.low):
        return f"{found.value:+.3f} (n = {many(found.n, 'seed')}, too few for an interval)"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] (n = {many(found.n, 'seed')})"


def _were(count: int, what: str) -> str:
    return f"{many(count, what)} {'was' if count == 1 else 'were'}"


def _marks(table: pd.DataFrame, study: Manifest) -> list[str]:
    """Models of the front that are not shown to keep the floor, and finalists without all their seeds."""
    out = []
    unsure = table[table["front"] & (table["floor"] == "not shown")]
    if len(unsure):
        verb, models = "is" if len(unsure) == 1 else "are", many(int(table["front"].sum()), "model")
        out.append(
            f"{len(unsure)} of the front's {models} {verb} not shown to keep the floor of "
            f"{study.search['floor']:g}: the lower end of the clean accuracy's interval is below, or there are too "
            f"few seeds for one."
        )
    for name, row in table[table["missing"] != ""].iterrows():
        count = row["n"] + len(row["missing"].split(", "))
        out.append(f"Finalist {name} counts with {row['n']} of {many(count, 'seed')}: {row['missing']}.")
    return out
