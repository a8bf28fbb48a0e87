"""The smoke preset of every study, through the builders and the code of its paper preset, to its report."""

import pytest

from study.store import results
from study.sweep.plan.catalogue import find_study, study_names
from tests.helpers import launch

UNDER_RAY = ("regularization", "low_rank", "transfer", "compressed", "operator_norm")  # a study of each, the fewest
SWEEPS = [s for s in study_names() if not find_study(s).presets["smoke"].search]  # tests/sweep/test_search.py has those


def families(study):
    return {arm.family for arm in find_study(study).presets["smoke"].arms}


def first(family):
    """The study whose smoke preset has this family and the fewest others, the first by name of equal ones."""
    return min((s for s in SWEEPS if family in families(s)), key=lambda s: len(families(s)))


def to_its_report(study, run, cwd, *words):
    """Every trial ends well, every family of the preset has its rows, every picture of the study is drawn."""
    done = run(study, "--preset", "smoke", *words, "--output", "out", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "MLflow did not take everything" not in done.stderr
    table = results.read(cwd / "out")
    assert set(table["status"]) == {"ok"}
    assert set(table["family"]) == families(study)
    pictures = {p.name for p in (cwd / "out/figures").iterdir()}
    assert pictures == {f"{name}.{end}" for name in find_study(study).figures for end in ("png", "pdf", "svg")}


@pytest.mark.parametrize("study", SWEEPS)
def test_every_study_runs_to_its_report(study, here, tmp_path):
    to_its_report(study, here, tmp_path, "--in-process")


@pytest.mark.slow
@pytest.mark.parametrize("family", UNDER_RAY)
def test_every_family_runs_to_its_report_under_ray(family, tmp_path):
    to_its_report(first(family), launch, tmp_path)
