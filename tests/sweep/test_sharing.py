"""What a plan says of bases that its trials share, and of attacks beside the study's own."""

import json

import pytest

from study.launch import main
from study.sweep.plan import costs
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.sharing import sharing


def plan(study, **asked):
    return make_plan(Request(study=study, **asked), need_data=False)


def test_nets_of_one_training_share_it_by_seed():
    asked = plan("tradeoff_sweep", preset="smoke")
    found = sharing(asked)
    assert (found.bases, found.trials, found.spared) == (2, 28, 26)
    settings = dict(asked.settings) | {"frobenius": 0.0}
    whole = costs.trial_seconds("digits", "fcn", {**asked.axes_off, **settings}, gpu=False)
    tested = costs.trial_seconds("digits", "fcn", {**asked.axes_off, **settings, "epochs": 0}, gpu=False)
    assert found.share == pytest.approx(26 * (whole - tested) / (28 * whole))


@pytest.mark.parametrize("study", ["operator_norm_study", "nuclear_norm_study", "pareto_search"])
def test_where_every_trial_trains_its_own_net_nothing_is_spared(study):
    assert sharing(plan(study, preset="smoke")).spared == 0


def test_a_pretraining_is_what_transfers_share():
    found = sharing(plan("transfer_sweep"))
    assert 0 < found.bases < found.trials
    assert 0 < found.share < 1


def test_a_dry_run_shows_the_saving(capsys, tmp_path):
    at = ["tradeoff_sweep", "--preset", "smoke", "--dry-run", "--output", str(tmp_path / "new")]
    assert main(at) == 0
    assert "2 nets are trained once and shared: 26 trainings, about" in " ".join(capsys.readouterr().out.split())
    assert main([*at, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["shared_bases"], told["spared_trainings"]) == (2, 26)
    assert told["spared_seconds"] > 0
    assert main(["nuclear_norm_study", "--preset", "smoke", "--dry-run", "--output", str(tmp_path / "other")]) == 0
    assert "trained once" not in capsys.readouterr().out


def test_further_attacks_and_risk_cost_time():
    asked = plan("pruning_probability_sweep", preset="smoke")
    values = {**asked.axes_off, **asked.settings}

    def seconds(**changed):
        return costs.trial_seconds("digits", "fcn", values | changed, gpu=False)

    bare = seconds(more_attacks=(), risk_eps=(), second_attack="none")
    assert bare < seconds(more_attacks=("fgsm",), risk_eps=(), second_attack="none")
    assert bare < seconds(more_attacks=(), risk_eps=(0.5,), second_attack="none")
    few, all_of_them = (seconds(second_attack="autoattack", second_images=n, test_size=5000) for n in (50, 0))
    assert seconds(second_attack="none", test_size=5000) < few < all_of_them
