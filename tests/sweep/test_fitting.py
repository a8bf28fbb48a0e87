"""What a model, a width or the words typed take from a preset: left out while it is planned, said, and never met in the
middle of a run."""

import json
import random
import sys
from dataclasses import replace

import pytest
import torch

from search_spaces.pareto_search import STUDY
from study.results import read
from study.spec.domains import Choice, LogUniform, Uniform
from study.spec.errors import UsageError
from study.spec.expand import axes_of
from study.spec.studies import Point
from study.sweep.plan import fitting
from study.sweep.plan.folder import against_folder, manifest
from study.sweep.plan.plan import job_of, with_jobs
from study.sweep.plan.request import Request, make_plan
from study.sweep.search import view
from study.sweep.worker.attempt import Attempt
from tests.attempts import job
from tests.helpers import tiny_trial

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
MODEL = """
from torch import nn

def make(shape, classes):
    hidden = (nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU())
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(12, classes))
"""
COMMAND = ["pareto_search", "--preset", "smoke", "--model", "mine_searched:make", "--in-process", "--seeds", "1",
           "--set", "sampler=random", "--set", "finalists=1", "--set", "test_size=40", "--set", "epochs=1",
           "--set", "final_attack=none", "--set", "final_queries=0", "--output", "out"]  # fmt: skip


def plan(study="pareto_search", preset="smoke", **more):
    return make_plan(Request(study=study, preset=preset, **more), need_data=False)


def ranks(made):
    return {value for arm in made.preset.arms for value in arm.axes.get("rank", ())}


# Another model than fcn


def test_a_search_on_another_model_leaves_out_what_that_cannot_take_and_says_so():
    made = plan(model="resnet18")
    assert made.notes == (
        "resnet18 takes no lam: left out of the search, which asks compression none, low_rank, mask, removal",
    )
    knobs = made.preset.search.knobs
    assert set(STUDY.presets["smoke"].search.knobs) - set(knobs) == {"lam"}
    assert knobs["mask"].when == ({"compression": ("mask",)},)
    assert plan().notes == ()
    stream = random.Random(0)
    for _ in range(200):
        axes = axes_of(view.draw(knobs, stream), made.axes_off)
        job_of(made, Point(family="compressed", arms=(), seed=1000, axes=axes, settings=made.settings))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"prune_ratio": "0.5"},
            "--set prune_ratio: it goes with model fcn, cnn, cnn8, resnet18, wrn50_2, wrn101_2, vgg16, vit, vit_b8, ",
        ),
        ({"compression": "trade_off,removal"}, "--set compression: model swin_t takes none of what is asked for"),
    ],
)
def test_what_was_typed_is_refused_and_not_left_out(overrides, words):
    with pytest.raises(UsageError, match=words):
        plan(model="swin_t", overrides=overrides)


def test_knobs_that_wait_for_what_is_gone_go_too():
    knobs = {
        "kind": Choice(values=("none", "low", "both")),
        "rank": LogUniform(low=2, high=8, when=({"kind": ("low", "both")},)),
        "bits": Choice(values=(0, 4), when=({"rank": (4,)}, {"kind": ("none",)})),
        "finetune": Choice(values=("none", "standard"), when=({"rank": (4,)},)),
        "finetune_epochs": Choice(values=(1,), when=({"finetune": ("standard",)},)),
    }
    assert fitting.without(knobs, ["rank"]) == {
        "kind": Choice(values=("none",)),
        "bits": Choice(values=(0, 4), when=({"kind": ("none",)},)),
    }


def test_a_search_that_would_be_refused_in_its_middle_is_refused_before():
    with pytest.raises(UsageError, match=r"certify=1 does not go with bits.*; the search would ask for .*bits 8"):
        plan(overrides={"certify": "1"})
    assert plan(overrides={"certify": "1", "bits": "0"}).notes == ()


@pytest.mark.parametrize("preset", STUDY.presets)
def test_every_end_of_every_knob_is_tried(preset):
    knobs = STUDY.presets[preset].search.knobs
    tried = list(fitting.ends(knobs))
    for name, domain in knobs.items():
        ends = domain.values if isinstance(domain, Choice) else (domain.low, domain.high)
        assert {chosen.get(name) for chosen in tried} >= set(ends), name


def test_such_a_search_runs_goes_on_and_says_that_no_model_keeps_the_floor(tmp_path, here):
    (tmp_path / "mine_searched.py").write_text(MODEL)
    path = list(sys.path)
    try:
        first = here(*COMMAND, "--set", "evaluations=2", "--set", "floor=1", cwd=tmp_path)
        assert first.returncode == 4, first.stderr
        assert "mine_searched:make takes no lam: left out" in first.stderr
        assert (
            "No model meets the floor: clean accuracy from 1 was asked, the best that was reached is 0." in first.stdout
        )
        assert json.loads((tmp_path / "out/study.json").read_text())["complete"]
        more = here(*COMMAND, "--set", "evaluations=3", "--set", "floor=0", "--resume", cwd=tmp_path)
        assert more.returncode == 0, more.stderr
        assert "No model" not in more.stdout
    finally:
        sys.path[:] = path
    table = read(tmp_path / "out")
    assert table.loc[table["seed"] == 1000, "trial"].nunique() == 3
    assert set(table["lam"]) == {0}, "what was left out of the search"


# Ranks


@pytest.mark.parametrize(
    ("overrides", "left"),
    [({"rank": "full,300,500,8"}, {0, 32, 8}), ({"width": "4"}, {0, 4}), ({"rank": "full,32"}, {0, 32})],
)
def test_a_rank_above_what_the_layers_have_is_the_largest_one_and_is_said(overrides, left):
    made = plan("compressibility_sweep", overrides=overrides)
    assert ranks(made) == left
    above = {"300, 500": 32, "8": 4}
    notes = {f"rank {what}: the hidden layers have at most {most}, which is taken" for what, most in above.items()}
    assert len(notes & set(made.notes)) == (overrides != {"rank": "full,32"})


def test_a_folder_from_before_that_keeps_its_ranks_and_is_complete(tmp_path, here):
    """Rank 8 in layers of 4 units was a trial of its own: the same command finds it, and makes no net of rank 4."""
    words = ["compressibility_sweep", "--preset", "smoke", "--set", "width=4", "--output", "out"]
    made = plan("compressibility_sweep", overrides={"width": "4"}, output=str(tmp_path / "out"))
    arms = tuple(replace(a, axes={**a.axes, "rank": (0, 8)}) if "rank" in a.axes else a for a in made.preset.arms)
    old = with_jobs(replace(made, preset=replace(made.preset, arms=arms), jobs={}))
    assert set(old.jobs) != set(made.jobs)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/study.json").write_text(json.dumps(manifest(old).record()))
    found, _ = against_folder(made, resume=True)
    assert set(found.jobs) == set(old.jobs)
    refused = here(*words, cwd=tmp_path)
    assert f"{len(old.jobs)} of {len(old.jobs)} trials are not finished; add --resume" in refused.stderr


def test_of_a_single_layer_the_image_may_be_the_least():
    assert fitting.most_rank(200, 1, (1, 8, 8)) == 64
    assert fitting.most_rank(200, 2, (1, 8, 8)) == 200
    assert fitting.most_rank(200, 1, ()) == 200


def test_a_rank_that_fits_some_widths_alone_is_refused():
    with pytest.raises(UsageError, match=r"--set rank: 30 is more than 16.*give at most 16, or full"):
        plan("compressibility_sweep", overrides={"rank": "full,30", "width": "16,32"})


def test_a_search_asks_for_no_rank_above_the_width():
    made = plan(overrides={"width": "8"})
    assert made.preset.search.knobs["rank"].high == 8
    assert made.notes == ("rank 16: the hidden layers have at most 8, which is taken",)
    assert plan(overrides={"rank": "4,40,50"}).preset.search.knobs["rank"].values == (4, 32)
    assert isinstance(made.preset.search.knobs["keep_prob"], Uniform)


# Baselines, threads, sizes


def test_an_axis_that_lost_its_baseline_says_so_before_the_sweep_starts(here, tmp_path):
    assert plan("compressibility_sweep", overrides={"alpha": "0,0.1", "penalty": "nuclear_norm"}).notes == ()
    shown = here("compressibility_sweep", "--preset", "smoke", "--set", "alpha=0.01,0.1", "--set", "rank=8",
                 "--dry-run", cwd=tmp_path).stdout  # fmt: skip
    assert "Note: alpha 0, the baseline of arm neuron, is not among its levels" in shown
    assert "Note: rank full, the baseline of arm spectral" in shown
    assert "(--set rank=full,8)" in shown


def test_cpus_of_a_trial_are_its_threads(tmp_path):
    for cpus, threads in ((0.5, 1), (1.0, 1), (2.0, 2), (3.5, 3)):
        made = plan("compressibility_sweep", cpus_per_trial=cpus)
        assert {j.threads for j in made.jobs.values()} == {threads}
    before = torch.get_num_threads()
    try:
        attempt = Attempt(job(tmp_path, tiny_trial(measures=False), threads=2))
        assert torch.get_num_threads() == 2
        attempt.close()
    finally:
        torch.set_num_threads(before)


def test_more_cpus_than_there_are_are_refused_without_ray_too(here, tmp_path):
    done = here("compressibility_sweep", "--preset", "smoke", "--in-process", "--cpus-per-trial", "5000", cwd=tmp_path)
    assert done.returncode == 2
    assert "--cpus-per-trial 5000: there are" in done.stderr
    assert not (tmp_path / "results").exists()


def test_budgets_given_twice_are_one():
    made = plan("compressibility_sweep", overrides={"eps_linf": "8/255,8/255,0.03137254901960784,16/255"})
    assert made.settings["eps_linf"] == (8 / 255, 16 / 255)


def test_the_size_of_a_search_counts_its_weights(here, tmp_path):
    """laptop on digits: 80 evaluations and 16 finalists at 5 seeds, a table of 45 kB each, nets of 64 x 200 + 3 x 200^2
    weights of 4 bytes: the trained base of all 160, the weights and exported models of 80."""
    made = json.loads(here("pareto_search", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert made["megabytes"] == pytest.approx(160 * 0.045 + (160 + 2 * 80) * 4 * 132_800 / 1e6)
    shown = here("pareto_search", "--dry-run", cwd=tmp_path).stdout
    assert " 177 MB" in shown
    assert "trial  family" not in shown, "no table of no trials"
