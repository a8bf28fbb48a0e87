"""docs/results says what its tables say: they are judged again, and each verdict is looked for in its README."""

import math
import re

import pandas as pd
import pytest

from analysis import finalists
from analysis.claims import judge
from scripts import tidy_results
from study.spec.knobs import AXES
from study.store import results
from study.store.manifest import load
from study.sweep.plan.catalogue import find_study
from tests.helpers import ROOT

FOLDER = ROOT / "docs" / "results"
README = (FOLDER / "README.md").read_text()
SWEEPS = {"digits": "### Digits", "mnist": "### MNIST"}
BOUNDS = {"bound_validation-mnist": "### Two classes of MNIST", "bound_validation-digits": "### Two classes of digits"}
ROWS = {
    "A-i-neuron": "neuron compressibility lowers RA/SA, l_inf {linf}",
    "A-i-spectral": "spectral compressibility lowers RA/SA, l_2 0.5",
    "A-cross-neuron": "neuron, across norms: l_2 0.5",
    "A-cross-spectral": "spectral, across norms: l_inf {linf}",
    "A-bound-neuron": "product of Theorem 3.1's bounds goes with the loss gap, l_inf",
    "A-bound-spectral": "the same, l_2",
}
GAPS = {
    "A-gap-l2": "Corollary 3.3's l_2 bound follows the l_2 gap (worst points)",
    "A-gap-l2-art": "the same, gap as the toolbox returns it",
    "A-gap-linf": "Corollary 3.3's l_inf bound follows the l_inf gap",
    "A-sensitivity": "larger maximal local sensitivity, larger mean one (l_2)",
    "A-norms-rise": "the product of spectral norms rises with compressibility",
}


def kept(name):
    """The frame and the manifest of a kept sweep; a column that is younger than its table is null, an axis at its
    default, as study.store.table reads them."""
    frame = pd.read_parquet(FOLDER / name / "rows.parquet")
    frame = frame.reindex(columns=[*frame.columns, *(c for c in results.COLUMNS if c not in frame)])
    frame = frame.fillna({name: knob.default for name, knob in AXES.items() if frame[name].isna().all()})
    return frame, load(FOLDER / name)


def judged(name):
    """The judgements of a kept sweep by claim: the one place that knows how claims are judged."""
    frame, study = kept(name)
    found = judge.judge_all(frame, study, find_study(study.name).claims)
    return {j.claim.id: j for j in found}


def here(*names):
    return pytest.mark.skipif(
        not all((FOLDER / n / "rows.parquet").exists() for n in names), reason=f"no table is kept of {', '.join(names)}"
    )


def number(value, digits=2):
    """Without a zero before the point: -.94."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def text(interval, digits=2):
    value, low, high = (number(v, digits) for v in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def chance(p):
    """A p value of two digits."""
    return number(float(f"{p:.2g}"), 4).rstrip("0") if p >= 1e-4 else "< .0001"


def cells(j):
    """A judgement as tables print it: verdict, coefficient, p after Holm where it is judged, levels and nets."""
    raised = "" if math.isnan(j.p_holm) else chance(j.p_holm)
    return [j.verdict, text(j.statistic), raised, f"{j.statistic.levels}, {j.points}"]


def section(heading):
    return re.split(r"^#{2,3} ", README.partition(f"\n{heading}")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text):
    """The rows of Markdown tables as lists of cells."""
    return [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("name", [pytest.param(n, marks=here(n)) for n in SWEEPS])
def test_the_sweeps_verdicts_are_those_of_their_tables(name):
    found, settings = judged(name), load(FOLDER / name).settings
    linf = f"{round(255 * settings['judged_linf'])}/255"
    assert set(found) == set(ROWS)
    for claim, label in ROWS.items():
        j = found[claim]
        change = text(j.statistic.ends) if j.claim.change is not None else ""
        control = "detected" if j.control_detected else "not detected"
        assert [label.format(linf=linf), *cells(j), change, control] in rows(section(SWEEPS[name]))


@pytest.mark.parametrize("name", [pytest.param(n, marks=here(n)) for n in BOUNDS])
def test_the_bounds_verdicts_are_those_of_their_tables(name):
    found = judged(name)
    for claim, label in GAPS.items():
        j = found[claim]
        plain = {e.name: text(e.found) for e in j.beside}
        printed = [label, *cells(j), plain.get("the corollary with plain norms", ""), plain.get("the rank itself", "")]
        assert printed in rows(section(BOUNDS[name]))


@here("bound_validation-mnist")
def test_the_front_page_has_the_rho_of_its_table():
    j = judged("bound_validation-mnist")["A-gap-l2"]
    said = f"(MNIST: rho {text(j.statistic)}, published {number(j.claim.published, 3)})"
    assert said in (ROOT / "README.md").read_text()


def test_the_operator_norms_growth_is_that_of_its_table():
    found = judged("operator_norm_study")
    for claim, pushed, other in (("A-ascent-linf", "l_inf", "l_2"), ("A-ascent-l2", "l_2", "l_inf")):
        grown = found[claim].statistic
        assert found[claim].verdict == "supported"
        assert [pushed, f"{other}: {text(grown)}", f"{math.exp(grown.value):.1f}"] in rows(README)


@pytest.mark.parametrize("name", [pytest.param(n, marks=here(n)) for n in SWEEPS])
def test_the_paired_differences_are_those_of_the_table(name):
    frame, study = kept(name)
    table = rows(section(SWEEPS[name]))
    for claim, first in (("A-i-neuron", 0), ("A-i-spectral", 4)):
        differences = judge.against_baseline(frame, study, judged(name)[claim].claim)
        found = {number(level, 4).rstrip("0").rstrip("."): (eps, d) for level, eps, d in differences}
        found.pop("", None)  # the baseline, 0 or full
        printed = [row[first : first + 3] for row in table if len(row) == 7 and row[first].split(" ")[0] in found]
        assert len(printed) == len(found)
        for level, eps, words in printed:
            residual, d = found[level.split(" ")[0]]
            word = "lower" if d.high < 0 else "higher" if d.low > 0 else "no difference shown"
            assert [eps, words] == [number(residual), f"{text(d, 3)} {word}"]


@here("pareto_search")
def test_the_front_is_that_of_its_table():
    frame, study = kept("pareto_search")
    front = finalists.models(FOLDER / "pareto_search", frame, study)
    printed = pd.read_csv(FOLDER / "pareto_search" / "front.csv", float_precision="round_trip")
    printed["missing"] = printed["missing"].fillna("")
    numbers = [c for c in printed.columns if c not in ("weights", "command")]  # these name files that are not kept
    pd.testing.assert_frame_equal(front[numbers].reset_index(drop=True), printed[numbers], check_dtype=False)
    for _, m in front.iterrows():
        robust = f"{m.robust_accuracy:.3f} [{m.robust_accuracy_low:.3f}, {m.robust_accuracy_high:.3f}]"
        clean = f"{m.clean_accuracy:.3f} [{m.clean_accuracy_low:.3f}, {m.clean_accuracy_high:.3f}]"
        assert f"| {m.stored_bytes:,.0f} | {robust} | {clean} |" in README


def test_what_is_kept_is_small_and_repeatable():
    for path in FOLDER.glob("*/rows.parquet"):
        assert path.stat().st_size < tidy_results.LARGEST
        table, asked = pd.read_parquet(path), tidy_results.asked(load(path.parent))
        assert set(table.loc[~table["deterministic"], "measure"]) <= asked, "times alone that a claim is about"


PAGES = sorted(page.parent.name for page in FOLDER.glob("*/README.md"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_claims_as_its_table_is_judged_today(name):
    frame, study = kept(name)
    page = (FOLDER / name / "README.md").read_text()
    assert tidy_results.claims(frame, study) in page
    for kind in ("published", "choices"):
        if f"<!-- {kind} -->" in page:
            assert tidy_results.rewritten(page, kind, tidy_results.TABLES[kind](frame, study)) == page
    assert f"({name}/README.md)" in README, "the page of all results does not lead there"
    for picture in re.findall(r"\]\((\S+\.png)\)", page):
        assert (FOLDER / name / picture).stat().st_size < 200_000
