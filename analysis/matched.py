"""What a matched level is worth on test images, beside 8 bits, in words and cells."""

from typing import Any

import pandas as pd

from analysis.arms import slices
from analysis.figures.labels import said, short
from analysis.figures.plain import measures
from analysis.intervals import mean_t
from analysis.levels import signed
from analysis.matching import BITS, EQUAL, PRUNED, QUANTIZED, Match, by_seed, matches, sides
from study.store.manifest import Manifest

RULE = (
    "the sparsity whose validation accuracy (mean over seeds; standard nets, adversarially fine-tuned) is nearest to "
    "that of 8 bits, of two equally near the lower one"
)


def of(frame: pd.DataFrame, study: Manifest) -> list[dict[str, Any]]:
    """The matches of a study as plain data: at, level, seeds, the validation accuracies that chose it, sentences, and
    rows with the numbers on test images (number, pruned, quantized, difference)."""
    parts = dict(slices(study))
    return [
        {
            "at": match.at,
            "level": match.level,
            "seeds": match.seeds,
            "validation": {short(PRUNED, ratio): value for ratio, value in match.levels.items()},
            "validation_quantized": None if match.level is None else match.target,
            "sentences": sentences(match),
            "rows": rows(frame, parts[match.at], match),
        }
        for match in matches(frame, study)
    ]


def sentences(match: Match) -> list[str]:
    """A match in words: what was chosen, and by which numbers."""
    where = f"at {match.at}: " if match.at else ""
    if match.level is None:
        return [f"{where}no share of filters is matched to {short(QUANTIZED, BITS)}: {match.why}."]
    chosen = f"{where}{said(PRUNED, match.level)} match {short(QUANTIZED, BITS)}"
    tried = ", ".join(f"{short(PRUNED, ratio)} {value:.3f}" for ratio, value in match.levels.items())
    out = [f"{chosen}: {RULE} ({match.target:.3f}; {tried})."]
    if match.left_out:
        out.append(f"Left out, for they lack a seed: {', '.join(short(PRUNED, r) for r in match.left_out)}.")
    return out


def rows(frame: pd.DataFrame, study: Manifest, match: Match) -> list[dict[str, str]]:
    """A row per number on test images: means over seeds at the level and on 8 bits, their mean difference within seeds
    (pruned minus quantized), each with its 95 % t interval over five seeds or more."""
    if match.level is None:
        return []
    pruned, quantized = sides(frame, study)
    chosen, out = pruned[(pruned[PRUNED] - match.level).abs() < EQUAL], []
    for number, values in measures(frame, study).items():
        ours, theirs = by_seed(values, chosen), by_seed(values, quantized)
        out.append(
            {
                "number": number,
                "pruned": mean_t(ours.to_numpy()).numbers(3),
                "quantized": mean_t(theirs.to_numpy()).numbers(3),
                "difference": signed(mean_t((ours - theirs).dropna().to_numpy()), 3),
            }
        )
    return out


def lines(found: list[dict[str, Any]]) -> list[str]:
    """The matches (as `of` has them) for a terminal: the choice, then a line per number."""
    out = []
    for match in found:
        out.append(f"Level matching: {match['sentences'][0]}")
        out += [
            f"  test {r['number']}: {r['pruned']} against {r['quantized']}, {r['difference']}" for r in match["rows"]
        ]
    return out
