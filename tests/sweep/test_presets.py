"""Every preset of every study can be judged, on the data that it is made for: seeds, levels above k, budgets."""

import importlib
import json

import pytest

from analysis.claims import find
from analysis.claims.needs import NEEDS
from study.spec.datasets import DATASETS
from study.spec.knobs import KNOBS, by_strength
from study.sweep import listing
from study.sweep.plan.catalogue import find_study, study_names
from study.sweep.plan.request import Request, make_plan

OTHERS = ("svhn", "cifar10", "fashion_mnist")  # what "*" stands for
PUBLISHED = {"linf": 2 / 255, "l2": 0.125}  # paper A, C.3: nets without adversarial training
ADVERSARIAL = {"linf": 8 / 255, "l2": 0.5}
SCALES = [(s, p) for s in study_names() for p in find_study(s).presets if p != "smoke"]


def data_of(study, preset):
    """The data sets that a preset is made for: its own, and those that by_data names, some for the rest."""
    made = find_study(study).presets[preset]
    named = [d for d in made.by_data if d in DATASETS]
    rest = [d for d in OTHERS if d not in named] if "*" in made.by_data else []
    return [made.data, *named, *rest]


CASES = [(s, p, d) for s, p in SCALES for d in data_of(s, p)]


def plan(study, preset, data="", **overrides):
    return make_plan(Request(study=study, preset=preset, data=data, overrides=overrides), need_data=False)


def of_paper(letter, study):
    recipes = (str(preset.settings.get("recipe", "")) for preset in find_study(study).presets.values())
    return any(recipe.startswith(f"paper_{letter}") for recipe in recipes)


def docstring(study):
    return importlib.import_module(f"search_spaces.{study}").__doc__


# What a smaller preset leaves to the others: paper B masks its CNN by size alone, and AutoAttack is slow on a ViT.
LEFT_OUT = {
    ("pruning_probability_sweep", "laptop_cnn"): {"B-peak-taylor", "B-peak-removed", "B-taylor-later"},
    ("pruning_probability_sweep", "laptop_vit"): {"B-peak-autoattack"},
}


def claims(asked):
    left_out = LEFT_OUT.get((asked.study.name, asked.preset_name), set())
    return [claim for claim in find(asked.study.claims) if claim.id not in left_out]


@pytest.mark.parametrize(("study", "preset", "data"), CASES)
def test_every_claim_of_a_preset_can_be_judged(study, preset, data):
    found = listing.foreseen(plan(study, preset, data))
    if find_study(study).presets[preset].seeds == (0, 1, 2):  # as published, and too few: nothing else may be amiss
        assert {why for reasons in found.values() for why in reasons} <= {"3 seeds, 5 are needed (--seeds 5)"}
        return
    assert set(found) == LEFT_OUT.get((study, preset), set())
    reasons = [why for reasons in found.values() for why in reasons]
    assert all(why.startswith(("there is no ", "no trial of arm ")) for why in reasons), "it lacks no more than that"


@pytest.mark.parametrize(("study", "preset", "data"), CASES)
def test_arms_that_claims_order_have_levels_to_spare(study, preset, data):
    """Of the levels of a claim's knob one may fall past the turning point, and six are needed of six claims."""
    asked = plan(study, preset, data)
    arms = {arm.name: arm.axes for arm in asked.preset.arms}
    k = asked.settings["width"] / 10 if asked.model == "fcn" else 0  # layers of other nets have many sizes
    for claim in claims(asked):
        if not NEEDS[claim.statistic].least:
            continue
        levels = arms[claim.rows.arm][claim.rows.axis]
        above = [v for v in levels if v == KNOBS["rank"].default or v > k] if claim.rows.axis == "rank" else levels
        assert len(above) >= (7 if claim.regime.structure else 6), f"{claim.id}: {above}"
        assert len(arms[claim.control_rows.arm][claim.control_rows.axis]) >= 5, f"the control of {claim.id}"


@pytest.mark.parametrize(("study", "preset", "data"), CASES)
def test_what_claims_compare_is_there_on_every_side(study, preset, data):
    """Comparisons name their levels beforehand: each side and the control has what it names, and one of the rest."""
    asked = plan(study, preset, data)
    arms = {arm.name: arm.axes for arm in asked.preset.arms}
    for claim in claims(asked):
        for rows in (claim.rows, *claim.against, claim.control_rows):
            for axis, value in rows.at.items():
                found = arms[rows.arm].get(axis, (asked.settings.get(axis, KNOBS[axis].default),))
                assert value in found, f"{claim.id}: {rows.arm} has {axis} {found}"


@pytest.mark.parametrize(("study", "preset", "data"), CASES)
def test_levels_stand_in_their_order_with_the_baseline_first(study, preset, data):
    for arm in plan(study, preset, data).preset.arms:
        for axis, values in arm.axes.items():
            if KNOBS[axis].compressed and axis != "bits" and len(values) > 1 and KNOBS[axis].default in values:
                assert by_strength(axis, values) == list(values), f"{arm.name} {axis}"


@pytest.mark.parametrize("study", [s for s in study_names() if find_study(s).claims])
def test_smoke_says_that_it_judges_nothing(study):
    found = listing.foreseen(plan(study, "smoke"))
    assert set(found) == {claim.id for claim in find(find_study(study).claims)}
    assert "judges nothing" in " ".join(docstring(study).split())


PAPER = [
    (s, p) for s, p in SCALES
    if p.startswith("paper") and find_study(s).presets[p].data and not of_paper("b", s) and not of_paper("c", s)
]  # fmt: skip


@pytest.mark.parametrize(("study", "preset"), [(s, p) for s, p in SCALES if p.startswith("paper") and of_paper("b", s)])
def test_paper_b_is_attacked_at_its_budgets_in_one_norm_by_its_attacks(study, preset):
    settings = plan(study, preset).settings
    assert (settings["eps_linf"], settings["judged_linf"], settings["eps_l2"]) == ((4 / 255, 8 / 255), 4 / 255, ())
    assert settings["risk_eps"]
    assert (settings["risk_points"], settings["judged_l2"] in settings["risk_eps"]) == (200, True)
    attacks = () if study == "tightness_study" else ("fgsm", "pgd", "cw", "autoattack")
    alone = study == "tightness_study" and preset in ("paper_block", "paper_vit")
    masked = "hidden" if alone else "all"  # Theorem 1 is of the blocks alone
    assert (settings["more_attacks"], settings["more_steps"], settings["mask_on"]) == (attacks, 5, masked)


@pytest.mark.parametrize("preset", ["laptop", "paper", "paper_cnn", "paper_vit"])
def test_rows_are_removed_at_the_shares_that_masks_keep_and_autoattack_is_asked_of_nets_masked_by_size(preset):
    arms = {arm.name: arm.axes for arm in plan("pruning_probability_sweep", preset).preset.arms}
    kept = [round(1 - ratio, 6) for ratio in arms["removed"]["prune_ratio"]]
    assert kept == list(arms["magnitude"]["keep_prob"]) == list(arms["taylor"]["keep_prob"])
    attacked = {name: ("autoattack",) == axes.get("second_attack") for name, axes in arms.items()}
    assert [name for name, yes in attacked.items() if yes] == (["magnitude"] if preset == "laptop" else [])


@pytest.mark.parametrize(("study", "preset"), [(s, p) for s, p in SCALES if p.startswith("paper") and of_paper("c", s)])
def test_paper_c_is_attacked_at_its_printed_budget_and_at_that_of_its_code(study, preset):
    settings = plan(study, preset).settings
    printed = 8 / 255 if settings["judged_linf"] == 8 / 255 else 0.1
    assert settings["eps_linf"] == (printed / 2, printed)
    assert (settings["judged_linf"], settings["train_eps"], settings["eps_l2"]) == (printed, printed, ())


def adversarial(preset):
    """Whether every net of a preset, or what its search may choose, is trained on adversarial examples."""
    if preset.search:
        return set(preset.search.knobs["adversarial_ratio"].values) != {0.0}
    return all(0.0 not in arm.axes.get("adversarial_ratio", (0.0,)) for arm in preset.arms)


@pytest.mark.parametrize(("study", "preset"), PAPER)
def test_budgets_of_the_published_protocol_are_as_published_or_said(study, preset):
    """Nets without adversarial training are judged at a quarter of the budgets of those with it (paper A)."""
    settings = plan(study, preset).settings
    published = ADVERSARIAL if adversarial(find_study(study).presets[preset]) else PUBLISHED
    for norm, budget in published.items():
        assert budget in settings[f"eps_{norm}"], "the published budget stands in the table"
        if settings[f"judged_{norm}"] != budget:
            ratio = {4: "four times", 8: "eight times"}[round(settings[f"judged_{norm}"] / budget)]
            assert f"{ratio} the published budgets" in " ".join(docstring(study).split())


def test_the_default_costs_no_more_than_it_may():
    assert plan("compressibility_sweep", "laptop").total <= 110


def test_a_dry_run_says_what_cannot_be_judged_last_and_json_has_it(here, tmp_path):
    words = ("compressibility_sweep", "--preset", "paper", "--seeds", "3", "--set", "rank=full,512,256,128,64,32,16")
    said = here(*words, "--dry-run", cwd=tmp_path)
    assert said.returncode == 0
    assert said.stdout.splitlines()[-6:] == [
        "",
        "A-i-neuron, A-cross-neuron, A-bound-neuron cannot be judged, whatever the numbers:",
        "  - 3 seeds, 5 are needed (--seeds 5)",
        "A-i-spectral, A-cross-spectral, A-bound-spectral cannot be judged, whatever the numbers:",
        "  - 3 seeds, 5 are needed (--seeds 5)",
        "  - 3 of 7 ranks of arm spectral lie above k = 200 (10 % of the width) and one at or below it counts too, "
        "6 levels are needed by one of 6 claims (--set rank=full,1300,850,560,370,240)",
    ]
    found = json.loads(here(*words, "--dry-run", "--json", cwd=tmp_path).stdout)["unjudged"]
    assert len(found) == 6
    assert found["A-i-neuron"] == ["3 seeds, 5 are needed (--seeds 5)"]
    fixed = (*words[:3], "--set", "rank=full,1300,850,560,370,240", "--dry-run", "--json")
    assert json.loads(here(*fixed, cwd=tmp_path).stdout)["unjudged"] == {}
    assert here(*fixed[:-1], cwd=tmp_path).stdout.endswith(
        "All claims can be judged by these seeds, levels and controls.\n"
    )
    assert "judged by" not in here("pareto_search", "--dry-run", cwd=tmp_path).stdout, "it has no claims"


def test_the_data_bring_their_own_levels_and_what_is_typed_goes_before(tmp_path):
    def ranks(data, **overrides):
        return next(a.axes["rank"] for a in plan("compressibility_sweep", "laptop", data, **overrides).preset.arms
                    if a.name == "spectral")  # fmt: skip

    assert min(r for r in ranks("digits") if r) > 20
    assert min(r for r in ranks("mnist") if r) > 40
    assert ranks("mnist") == ranks("svhn")
    assert ranks("mnist", rank="full,8") == (0, 8)
    assert "A-i-spectral" in listing.foreseen(plan("compressibility_sweep", "laptop", "mnist", rank="full,8"))
    assert "A-i-spectral" in listing.foreseen(plan("compressibility_sweep", "laptop", width="400")), "k is 40 there"
    assert "A-i-spectral" in listing.foreseen(plan("compressibility_sweep", "laptop", "svhn", width="2000"))


def test_a_run_says_at_its_end_what_could_not_be_judged_and_why(here, tmp_path):
    words = ("compressibility_sweep", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "alpha=0",
             "--set", "rank=full", "--set", "epochs=1", "--set", "width=16")  # fmt: skip
    done = here(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in (done.stderr, done.stdout):
        assert "A-i-neuron, A-cross-neuron, A-bound-neuron cannot be judged, whatever the num" in text
        assert "  - 1 seed, 5 are needed (--seeds 5)" in text
        assert "arm neuron has 1 level of alpha, 6 are needed by one of 6 claims" in text
    verdict = next(line for line in done.stdout.splitlines() if "1 seed is too few" in line)
    assert "compressibility moved by" in verdict, "all reasons, not the first"
    again = here(*words, "--json", cwd=tmp_path)
    assert set(json.loads(again.stdout)["unjudged"]) == {c.id for c in find(find_study(words[0]).claims)}
