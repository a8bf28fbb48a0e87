"""How often claims are judged wrongly where nothing is there, and rightly where something is.

    python -m benchmarks.verdicts            # 400 tables of each null, 200 of each effect, ten minutes on one core
    python -m benchmarks.verdicts --quick    # 40 and 20, a minute

Tables are made with a known truth and go through the real pipeline (analysis.claims.judge), with a control that is
always detected and without a smallest effect, so that p alone decides. Five seeds, six levels (a peak: eight). A net's
number is an effect of its level + one of its seed (1 standard deviation) + noise (1; .3 where effects are relabelled or
swapped). The nulls:

within seeds   the numbers of each seed's nets are shuffled, seed by seed
levels         the levels of the knob are relabelled, alike for all seeds
arms swapped   in each seed a coin decides which side of the comparison is which (where levels are compared: it turns
               their effects upside down). Five coins fall alike once in 16 times, so that no test of five seeds that
               ever speaks is below 6.25 %: it is held to 5 % at six seeds
noise          seeds differ, levels do not

and the first two again on kept tables of docs/results, for claims of paper A. A comparison of two levels that are named
beforehand has no null of relabelled levels: that these two differ is what it says. An equivalence is judged wrongly
where it is said of a difference as large as its margin.

Power is that of a single claim, and of the first of six (Holm), at effects of 1, 2 and 4 standard deviations of the
noise from the first level to the last (levels scatter by .3 about a straight line, or about a tent of that height); for
an equivalence at differences of 0, .25 and .5 of the margin, with noise of .3. Coverage is of the mean over seeds at
those levels; a peak's interval is two one-sided ones, and covers more.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import pandas as pd
from cyclopts import Parameter

from analysis.claims import CLAIMS, Claim, Control, Regime, Rows, Term
from analysis.claims.evidence import STATISTICS
from analysis.claims.judge import OPPOSITE, SUPPORTED, Judgement, judge, settled
from analysis.claims.pairs import coordinates
from analysis.claims.sides import sides
from analysis.intervals import over_images
from analysis.tables import select
from benchmarks import made_tables as tables
from study.store import results
from study.store.manifest import load

KEPT = Path(__file__).parents[1] / "docs" / "results"
SIZES = (1.0, 2.0, 4.0)
OF_A_MARGIN = (0.0, 0.25, 0.5)
SEEDS = 5
FAMILY = 6
Y, X = Term(measure="outcome"), Term(measure="explanation")
CONTROL = Control(words="planted", arm="control", axis="plant_rows")
AT_END = replace(CONTROL, at={"plant_rows": tables.PLANTED[-1]})
OF_KEPT = (("digits", "A-i-neuron"), ("digits", "A-bound-spectral"), ("bound_validation-digits", "A-gap-l2"))
ONE_SIDED = ("equivalence",)  # at its margin only "equivalent" is wrong


def _claim(statistic: str, levels: int) -> Claim:
    """A claim about the made tables: along the levels, or of the last level against the first."""
    last, first = {"alpha": levels - 1.0}, {"alpha": 0.0}
    along = statistic in tables.ALONG
    rows = Rows(arm="levels", y=Y, axis="alpha", x=X if statistic in ("spearman", "pearson") else None)
    against = {
        "interaction": (
            replace(rows, at=first),
            Rows(arm="other", y=Y, axis="rank", at={"rank": 2}),
            Rows(arm="other", y=Y, axis="rank", at={"rank": 1}),
        ),
    }
    return Claim(
        id=statistic, source="made", quote="It is so.", statistic=statistic, regime=Regime(clean=False),
        rows=rows if along else replace(rows, at=last), against=against.get(statistic, ()),
        control=CONTROL if along else AT_END, threshold=1.0 if statistic == "equivalence" else None,
    )  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A share of tables, with what is asked of it: at most, or between."""

    statistic: str
    what: str
    share: float
    tables: int
    goal: tuple[float, float] | None = None

    @property
    def met(self) -> bool:
        """The goal lies within the Monte Carlo error of the share: 99.9 %, for there are some sixty goals."""
        reach = over_images(self.share, self.tables, 0.999)
        return self.goal is None or (reach.low <= self.goal[1] and reach.high >= self.goal[0])

    def text(self) -> str:
        """The share with its Monte Carlo interval."""
        reach = over_images(self.share, self.tables)
        said = "" if self.goal is None else f"{100 * self.goal[0]:g} to {100 * self.goal[1]:g}"
        word = "" if self.goal is None else "met" if self.met else "MISSED"
        spread = f"[{100 * reach.low:.1f}, {100 * reach.high:.1f}]"
        return f"{self.statistic:14} {self.what:44} {100 * self.share:5.1f} % {spread:>14}  {said:>12}  {word}"


def _said(judgement: Judgement) -> bool:
    if judgement.claim.statistic in ONE_SIDED:
        return judgement.verdict == SUPPORTED
    return judgement.verdict in (SUPPORTED, OPPOSITE)


def nulls(statistic: str, count: int, random: np.random.Generator) -> Iterator[Line]:
    """False verdicts of a statistic."""
    levels = tables.LEVELS.get(statistic, tables.TWO)
    claim = _claim(statistic, levels)
    for name in tables.NULLS_OF[statistic]:
        for seeds in (SEEDS, 6) if name == tables.SWAPPED else (SEEDS,):
            made = tables.Made(statistic, seeds, levels)
            drawn = (tables.NULLS[name](statistic, seeds, levels, random) for _ in range(count))
            share = float(np.mean([_said(judge(made.frame(d), made.study, claim)) for d in drawn]))
            most = 1 / 16 if name == tables.SWAPPED and seeds == SEEDS else 0.05
            yield Line(statistic, f"{name}{', six seeds' if seeds > SEEDS else ''}", share, count, (0, most))


def power(statistic: str, count: int, random: np.random.Generator) -> Iterator[Line]:
    """Verdicts and coverage where an effect was planted."""
    levels = tables.LEVELS.get(statistic, tables.TWO)
    made, claim = tables.Made(statistic, SEEDS, levels), _claim(statistic, levels)
    near = statistic == "equivalence"
    noise = 0.3 if near else 1.0
    for size in OF_A_MARGIN if near else SIZES:
        effects = tables.effects(statistic, size, levels, random)
        many = tables.Made(statistic, 2000, levels)
        whole = many.frame(tables.values(statistic, 2000, levels, effects, random, noise))
        truth = STATISTICS[statistic].take(sides(whole, many.study, claim).tables, "alpha", 2).value
        found = []
        for _ in range(count):
            drawn = tables.values(statistic, SEEDS, levels, effects, random, noise)
            found.append(judge(made.frame(drawn), made.study, claim))
        yield Line(statistic, f"power at {size:g}", float(np.mean([_said(j) for j in found])), count)
        first = [_said(settled(j, min(1.0, FAMILY * j.p), FAMILY)) for j in found]
        yield Line(statistic, f"power at {size:g}, first of {FAMILY} claims", float(np.mean(first)), count)
        inside = [j.statistic.low <= truth <= j.statistic.high for j in found]
        goal = (0.88, 0.92) if near else (0.93, 1.0 if statistic == "peak" else 0.97)
        yield Line(statistic, f"coverage at {size:g} (true {truth:.2f})", float(np.mean(inside)), count, goal)


def kept(folder: str, name: str, count: int, random: np.random.Generator) -> Iterator[Line]:
    """False verdicts on a kept table whose outcome has been shuffled within seeds, or by level alike for all seeds."""
    if not (KEPT / folder / "rows.parquet").exists():
        return
    frame, study = pd.read_parquet(KEPT / folder / "rows.parquet"), load(KEPT / folder)
    frame = frame.reindex(columns=[*frame.columns, *(c for c in results.COLUMNS if c not in frame)])
    claim = replace(CLAIMS[name], threshold=None, change=None)
    nets, wanted = sides(frame, study, claim).judged, claim.rows.y
    mine = select(frame, wanted.measure, **coordinates(study, wanted))
    mine = mine[mine["trial"].isin(nets.index)]
    at = nets.loc[mine["trial"]].assign(row=mine.index).pivot(index="seed", columns=claim.rows.axis, values="row")
    numbers = frame["value"].to_numpy()[frame.index.get_indexer(at.to_numpy().ravel())].reshape(at.shape)
    for way in (tables.WITHIN, tables.RELABELLED):
        said = []
        for _ in range(count):
            asked = frame.copy()
            asked.loc[at.to_numpy().ravel(), "value"] = tables.shuffled(numbers, way, random).ravel()
            said.append(_said(judge(asked, study, claim)))
        yield Line(name, f"{way}, {folder}", float(np.mean(said)), count, (0, 0.05))


def main(
    *,
    quick: Annotated[bool, Parameter(negative="", help="40 tables of each null, 20 of each effect.")] = False,
    tables_: Annotated[int, Parameter(name="--tables", help="Tables of each null; half as many of each effect.")] = 400,
    seed: Annotated[int, Parameter(help="Of the tables.")] = 0,
    only: Annotated[
        str, Parameter(help="One statistic, or some with commas between; the kept tables are left out.")
    ] = "",
) -> None:
    """Count wrong and right verdicts on tables whose truth is known."""
    random, count, lines = np.random.default_rng(seed), 40 if quick else tables_, []
    print(f"{'statistic':14} {'null, power or coverage':44} {'share':>7} {'Monte Carlo':>14}  {'goal, %':>12}")
    for statistic in only.split(",") if only else STATISTICS:
        for line in chain(nulls(statistic, count, random), power(statistic, count // 2, random)):
            lines.append(line)
            print(line.text(), flush=True)
    for folder, name in () if only else OF_KEPT:
        for line in kept(folder, name, count // 2, random):
            lines.append(line)
            print(line.text(), flush=True)
    missed = [f"{line.statistic}: {line.what}" for line in lines if not line.met]
    print(f"{count} tables of each null; goals missed: {'; '.join(missed) or 'none'}")


if __name__ == "__main__":
    cyclopts.run(main)
