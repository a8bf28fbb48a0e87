"""Which way of choosing what nets keep gives the better pairs: the tables under the figures of such pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import choices
from analysis.choices import PLAIN, Space, Way
from analysis.claims.needs import many
from analysis.intervals import mean_t, p_of_mean
from analysis.tables import per_trial
from study.store.manifest import Manifest


def tables(frame: pd.DataFrame, study: Manifest, figures: Sequence[str]) -> dict[str, Any]:
    """What stands under those of a report's figures that show ways of choosing, by the figure."""
    under = {"pairs": of_accuracies, "risk_fidelity": of_risk}
    return {name: table(frame, study) | {"of": "ways of choosing"} for name, table in under.items() if name in figures}


def of_accuracies(frame: pd.DataFrame, study: Manifest) -> dict[str, Any]:
    """What stands under the figure `pairs`: a sentence and a row for each way of choosing; nothing without two ways."""
    found = choices.ways(frame, study)
    if len(found) < 2:
        return {"said": [], "rows": []}
    space, weights = choices.accuracies(frame, study), per_trial(frame, "parameters")
    other = next((way for way in found if way.label == PLAIN), found[0])
    apart = {way.label: _apart(way, other, space, weights) for way in found if way is not other}
    shares, rows = _shares(found, space), []
    for way in found:
        clean, robust, count = apart.get(way.label, (np.zeros(0), np.zeros(0), 0))
        rows.append(
            {"way of choosing": way.label}
            | shares[way.label]
            | {
                "area": mean_t(choices.areas(way, space).to_list()).numbers(3),
                "clean, at equal weights": _number(clean),
                "attacked, at equal weights": _number(robust),
                "nets compared": f"{count} in {many(len(way.levels()), 'level')}" if count else "",
                "knee": knee_words(way, space),
            }
        )
    return {"said": [answer(apart, other.label)], "rows": rows}


def of_risk(frame: pd.DataFrame, study: Manifest) -> dict[str, Any]:
    """What stands under the figure `risk_fidelity`: a row for each way of choosing, measured and by the bounds."""
    found = choices.ways(frame, study)
    rows = [{"way of choosing": way.label} for way in found]
    for words in ("measured", "bounds"):
        space = choices.risk_and_fidelity(frame, study, bounds=words == "bounds")
        shares = _shares(found, space)
        for way, row in zip(found, rows, strict=True):
            told = shares[way.label] | {"knee": knee_words(way, space)}
            row |= {f"{words}: {name}": text for name, text in told.items()}
    return {"said": [], "rows": rows}


Apart = tuple[np.ndarray, np.ndarray, int]


def _apart(way: Way, other: Way, space: Space, weights: pd.Series) -> Apart:
    """By seed, clean and attacked accuracy less those of the other way at as many weights; and of how many levels."""
    (clean, count), (robust, _) = (choices.at_equal_weights(way, other, weights, c) for c in (space.x, space.y))
    return clean.to_numpy(), robust.to_numpy(), count


def answer(apart: Mapping[str, Apart], other: str) -> str:
    """Which ways are shown to give better or worse pairs than another, in a sentence: where one accuracy's differences
    by seed pass the paired t test at 5 % after Bonferroni's correction, and the other's do not go the other way."""
    signs = {label: [_sign(values, 2 * len(apart)) for values in pair[:2]] for label, pair in apart.items()}
    better = [label for label, pair in signs.items() if max(pair) > 0 and min(pair) >= 0]
    worse = [label for label, pair in signs.items() if min(pair) < 0 and max(pair) <= 0]
    if not better and not worse:
        return f"At equal numbers of weights no way is shown to give better or worse pairs than {other}."
    parts = [f"{word} pairs than {other}: {'; '.join(names)}" for word, names in (("better", better), ("worse", worse))
             if names]  # fmt: skip
    return f"Shown at equal numbers of weights: {', and '.join(parts)}."


def _sign(values: np.ndarray, family: int) -> int:
    p = p_of_mean(values)
    return int(np.sign(values.mean())) if p * family <= choices.LEVEL else 0


def _shares(found: Sequence[Way], space: Space) -> dict[str, dict[str, str]]:
    """Of each way, how many of its points are on the front of all means, and how many no other is shown to beat."""
    at = choices.points(found, space)
    out = {}
    for i, way in enumerate(found):
        mine = at.way == i
        count = int(mine.sum())
        out[way.label] = {
            "on the front": f"{int(at.on[mine].sum())} of {count}",
            "not beaten": f"{int(at.unbeaten[mine].sum())} of {count}",
        }
    return out


def _number(values: np.ndarray) -> str:
    return mean_t(values).numbers(3) if len(values) else ""


def knee_words(way: Way, space: Space) -> str:
    """Where the knees of a way's seeds lie: the level with its interval over seeds, and x and y there; `none`."""
    found, seeds = choices.knees(way, space), way.table["seed"].nunique()
    if not found:
        return "none"
    level, x, y = (mean_t([k[i] for k in found], least=max(5, seeds)) for i in range(3))
    few = "" if len(found) == seeds else f", {len(found)} of {many(seeds, 'seed')}"
    return f"{way.axis} {level.numbers()}, at ({x.value:.3g}, {y.value:.3g}){few}"
