"""What selects never sees what reports: seeds, images, nets; what finalists are measured by; searches of before."""

import json
import re
import shutil

import pytest

from search_spaces.pareto_search import STUDY
from study.spec import objectives
from study.spec.config import Accuracy, Cost, Load, Robustness, Structure
from study.spec.errors import UsageError
from study.spec.studies import Point
from study.store import layout, results
from study.sweep.plan import selection
from study.sweep.plan.plan import job_of
from study.sweep.plan.request import Request, make_plan
from study.sweep.search.warm_start import points
from tests.helpers import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
OWN = 1000
TINY = ["pareto_search", "--preset", "smoke", "--in-process", "--set", "sampler=random", "--set", "evaluations=5",
        "--set", "finalists=2", "--set", "width=16", "--set", "floor=0"]  # fmt: skip


def plan(preset="smoke", **typed):
    overrides = {name: str(value) for name, value in typed.items()}
    return make_plan(Request(study="pareto_search", preset=preset, overrides=overrides, output="none"), need_data=False)


def trial(found, seed, **axes):
    point = Point(family="compressed", arms=(), seed=seed, axes=found.axes_off | axes, settings=found.settings)
    return job_of(found, point)


def unnumbered(names):
    """Names of attacks without their revisions."""
    return [re.sub(r"@\d+$", "", name) for name in names]


def asked(folder):
    """(seed, axes) of every point of a folder's search."""
    found = json.loads((folder / layout.STUDY).read_text())
    return {(p["seed"], json.dumps(p["axes"], sort_keys=True)) for p in found["points"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, here):
    """A small search, done."""
    folder = tmp_path_factory.mktemp("selection")
    done = here(*TINY, "--output", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_a_search_measures_validation_images_and_its_finalists_test_images_by_more_attacks():
    found = plan("laptop")
    own, final = trial(found, OWN), trial(found, 0)
    assert [type(m) for m in own.trial.measures] == [Accuracy, Robustness, Robustness, Structure, Cost]
    assert own.trial.measures[0] == Accuracy(validation=True)
    assert [m.splits for m in own.trial.measures[1:3]] == [("validation",)] * 2
    assert (own.weights, final.weights) == (False, True)
    first, second, other = final.trial.measures[1:4]
    assert (first.attack, first.splits, first.audit_queries, first.checks) == ("apgd", ("test",), 1000, True)
    assert (second.norm, second.eps, second.iterations, second.queries) == ("linf", (16 / 255,), 50, 1000)
    assert (second.backend, second.attack, second.checks, second.gap_eps) == ("native", "autoattack", False, ())
    assert (other.norm, other.splits, other.audit_queries) == ("l2", ("test",), 0)
    assert own.trial.stages == final.trial.stages, "the seed alone differs"
    assert final.estimated_seconds > 2 * own.estimated_seconds


def test_finalists_are_attacked_as_was_asked():
    for typed, names in (
        ({}, ["native/apgd", "native/autoattack", "native/square"]),
        ({"final_attack": "none"}, ["native/apgd", "native/square"]),
        ({"final_attack": "none", "final_queries": 0}, ["native/apgd"]),
        ({"final_queries": 0}, ["native/apgd", "native/autoattack"]),
        ({"attack": "autoattack"}, ["native/autoattack", "native/square"]),
        ({"attack": "square"}, ["native/square", "native/autoattack"]),
        ({"attack_backend": "art"}, ["art/apgd", "native/autoattack", "native/square"]),
    ):
        found = plan(**typed)
        assert unnumbered(selection.attacks(found.preset.search, found.settings)) == names
        measures = [m for m in trial(found, 0).trial.measures if isinstance(m, Robustness) and m.norm == "linf"]
        assert len(measures) + any(m.audit_queries > 0 for m in measures) == len(names)
        assert sum(m.checks for m in measures) == 1


def test_every_preset_selects_apart_from_what_it_reports():
    for name, preset in STUDY.presets.items():
        found = plan(name)
        assert preset.search["search_seed"] not in found.seeds
        assert found.settings["validation"] > 0
        assert found.settings["validation_seed"] is not None, "else an image that selects may be tested at another seed"
        loads = [trial(found, seed).trial.stages[0] for seed in (OWN, *found.seeds)]
        assert isinstance(loads[0], Load)
        assert len(set(loads)) == 1
        wanted = [objectives.selector(o, found.settings) for o in objectives.OBJECTIVES]
        assert {o["split"] for o in wanted} == {"validation", None}, "nothing that selects points at a test row"


def test_a_plan_counts_every_trial_of_its_finalists():
    assert plan("laptop").total == 80 + 16 * 5
    assert plan("laptop", evaluations=10).total == 10 + 10 * 5, "no more finalists than points"
    assert plan("smoke").total == 8 + 3 * 2


def test_a_search_without_images_or_a_seed_of_its_own_is_refused():
    for typed, words in (
        ({"validation": 0}, "a search selects by validation images"),
        ({"search_seed": 1}, "1 is the search's own seed"),
    ):
        with pytest.raises(UsageError, match=words):
            plan(**typed)


def test_tables_of_a_search_hold_no_attack_on_test_images_and_those_of_finalists_hold_each(finished):
    frame = results.read(finished)
    robust = frame[(frame["measure"] == "robust_accuracy") & (frame["norm"] == "linf")]
    assert set(robust.loc[robust["seed"] == OWN, "split"]) == {"validation"}
    final = robust[robust["seed"] != OWN]
    assert set(final["split"]) == {"test"}
    per_trial = final.groupby("trial")["attack"].agg(set)
    for found in per_trial:
        assert sorted(unnumbered(found)) == ["native/apgd", "native/autoattack", "native/square"]
    assert (frame[frame["measure"] == "zero_gradient_share"].groupby("trial").size() == 2).all(), "once a norm"


def test_wonderful_test_numbers_choose_nothing(finished, tmp_path, here):
    """Every table of the search is given test rows that turn its order round; the same finalists are trained."""
    folder = shutil.copytree(finished, tmp_path / "out")
    manifest = json.loads((folder / layout.STUDY).read_text())
    tried = [p for p in manifest["points"] if p["seed"] == OWN]
    for p in manifest["points"]:
        path = folder / "trials" / f"{p['trial']}.parquet"
        was = results.read_trial(path)
        path.unlink()
        if p not in tried:
            continue
        rows = []
        for r in was.rows:
            if r["measure"] == "robust_accuracy":
                rows.append(r | {"split": "test", "value": 1 - r["value"]})
            test = r["measure"] == "clean_accuracy" and r["split"] == "test"
            rows.append(r | {"value": 1 - r["value"]} if test else r)
        results.publish_trial(folder, p["trial"], rows, was.provenance)
    early = manifest | {"points": tried, "trials": [p["trial"] for p in tried], "complete": False}
    (folder / layout.STUDY).write_text(json.dumps(early))
    (folder / layout.JOURNAL).unlink()
    done = here(*TINY, "--output", "out", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert asked(folder) == asked(finished)


def test_more_final_attacks_are_run_on_the_same_finalists_and_fewer_are_refused(finished, tmp_path, here):
    one = [*TINY, "--output", "out", "--set", "final_attack=none", "--set", "final_queries=0"]
    done = here(*one, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"attacked on test images by native/apgd(@\d+)?\.", done.stdout)
    front = tmp_path / "out" / layout.FRONT
    assert "robust_accuracy/native-autoattack" not in front.read_text()
    assert "add --resume" in here(*TINY, "--output", "out", cwd=tmp_path).stderr
    more = here(*TINY, "--output", "out", "--resume", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert asked(tmp_path / "out") == asked(finished)
    kept = front.read_text()
    assert "robust_accuracy/native-autoattack" in kept
    fewer = here(*one, "--resume", cwd=tmp_path)
    assert fewer.returncode == 2
    assert re.search(r"without native/autoattack(@\d+)?, native/square its models would look more robust", fewer.stderr)
    assert front.read_text() == kept


def test_a_folder_is_gone_on_with_at_its_own_seed_and_one_of_before_is_not(finished, tmp_path, here):
    shutil.copytree(finished, tmp_path / "out")
    other = here(*TINY, "--output", "out", "--resume", "--set", "search_seed=7", cwd=tmp_path)
    assert (other.returncode, "was searched at seed 1000, asked for is 7" in other.stderr) == (2, True)
    shutil.copytree(ROOT / "tests/data/written_by_0.1.0/search", tmp_path / "old")
    before = here(*TINY, "--output", "old", "--resume", cwd=tmp_path)
    assert before.returncode == 2
    assert "holds a search that selected by test images" in before.stderr
    assert "--warm-start" in before.stderr


def test_earlier_numbers_are_believed_where_the_same_images_selected_and_points_alone_elsewhere(finished):
    found = plan(width=16, sampler_seed=3)
    same = points(str(finished), found)
    assert len(same) == 5
    assert all(numbers is not None for _, numbers in same.values())
    for typed in ({"validation": 0.3}, {"validation_seed": 5}, {"validation_seed": "own"}):
        others = points(str(finished), plan(width=16, **typed))
        assert [numbers for _, numbers in others.values()] == [None] * 5
    old = points(str(ROOT / "tests/data/written_by_0.1.0/search"), found)
    assert len(old) == 4
    assert {numbers for _, numbers in old.values()} == {None}, "measured on test images: points, and no numbers"


def test_proposals_are_asked_first_and_not_believed(tmp_path, here, caplog):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    shutil.copytree(ROOT / "tests/data/written_by_0.1.0/search", tmp_path / "old")
    done = here(*TINY, "--output", "out", "--warm-start", "old", "--set", "finalists=1", "--set",
                "sampler_seed=9", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "old has no numbers on the images that select here: its points are asked first" in caplog.text
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "out" / layout.JOURNAL)))
    trials = optuna.load_study(study_name=None, storage=storage).trials
    assert not any("warm_start" in t.user_attrs for t in trials)
    earlier = {
        json.dumps(p["axes"], sort_keys=True)
        for p in json.loads((tmp_path / "old" / layout.STUDY).read_text())["points"]
    }
    tried = [p for p in json.loads((tmp_path / "out" / layout.STUDY).read_text())["points"] if p["seed"] == OWN]
    assert json.dumps(tried[0]["axes"], sort_keys=True) in earlier, "a third of five evaluations"
    assert json.dumps(tried[1]["axes"], sort_keys=True) not in earlier
