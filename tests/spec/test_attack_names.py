"""Attacks by name: in rows, in flat names, in identities; and rows of before they were named."""

import dataclasses

import pandas as pd
import pytest

from analysis.tables import attack_of, per_trial, select
from study.spec import names, objectives
from study.spec.attack_names import KEPT, REVISIONS, TOOLBOX, attack_name, current, differing, revisions
from study.spec.config import Robustness
from study.spec.errors import UsageError
from study.spec.identity import canonical
from study.store import results
from study.store.manifest import Manifest
from study.store.upgrade import name_attacks
from study.sweep.plan.request import Request, make_plan
from study.trial.measures.robustness import names_of

HERE = {name: current("native", name) for name in REVISIONS}
SMOKE = Request(study="compressibility_sweep", preset="smoke")


def test_an_attack_says_its_back_end_and_from_the_second_on_its_revision():
    assert attack_name("native", "apgd") == attack_name("native", "apgd", 1) == "native/apgd"
    assert attack_name("native", "apgd", 2) == "native/apgd@2"
    assert attack_name("art", "square") == "art/square"


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"measure": "robust_accuracy", "attack": HERE["apgd"]}, "robust_accuracy/linf_16_255"),
        ({"measure": "robust_accuracy", "attack": "native/square"}, "robust_accuracy/linf_16_255_native-square"),
        ({"measure": "robust_accuracy", "attack": "native/apgd"}, "robust_accuracy/linf_16_255_native-apgd"),
        ({"measure": "robust_accuracy", "attack": "native/pgd@9"}, "robust_accuracy/linf_16_255_native-pgd-r9"),
        ({"measure": "loss_gap", "attack": HERE["apgd"]}, "loss_gap/linf_16_255"),
        ({"measure": "loss_gap", "attack": "native/pgd"}, "loss_gap/linf_16_255_native-pgd"),
        ({"measure": "loss_gap", "attack": "art/apgd@2"}, "loss_gap/linf_16_255_art-apgd-r2"),
        ({"measure": "loss_monotone", "attack": HERE["pgd"]}, "loss_monotone/linf_16_255"),
        ({"measure": "audit_flag", "attack": HERE["square"]}, "audit_flag/linf_16_255"),
        ({"measure": "gap_bound"}, "gap_bound/linf_16_255"),
        ({"measure": "m", "k": 5, "draw": 0, "on": "cifar10c", "split": "train", "attack": "art/pgd"},
         "m/linf_16_255_k_5_draw_0_on_cifar10c_train_art-pgd"),
    ],
)  # fmt: skip
def test_flat_names_leave_the_usual_attack_out_as_this_version_has_it(row, name):
    assert names.metric_name({"norm": "linf", "eps": 16 / 255} | row) == name


def test_no_two_attacks_on_one_net_share_a_flat_name():
    every = [attack_name(b, a, r) for b in ("native", "art") for a in REVISIONS for r in (1, 2)]
    for measure in ("robust_accuracy", "loss_gap"):
        found = {names.metric_name({"measure": measure, "norm": "l2", "eps": 0.5, "attack": a}) for a in every}
        assert len(found) == len(every)


def test_revisions_at_first_are_left_out_of_an_identity():
    assert {f.name: f.default for f in dataclasses.fields(Robustness) if f.name in KEPT} == KEPT
    assert "revision" not in str(canonical(Robustness(norm="linf", eps=(0.1,), **KEPT)))


def test_a_raised_revision_is_another_trial_and_another_name(monkeypatch):
    plan = make_plan(SMOKE)
    before = plan.configuration()["revisions"]
    monkeypatch.setitem(REVISIONS, "apgd", 9)
    raised = make_plan(SMOKE)
    assert not set(plan.jobs) & set(raised.jobs)
    (one, *_) = [m for m in next(iter(raised.jobs.values())).trial.measures if isinstance(m, Robustness)]
    own = {"own": "native/apgd@9", "gap": "native/apgd@9", "pgd": HERE["pgd"], "square": HERE["square"]}
    assert names_of(one) == own
    kept = raised.configuration()["revisions"]
    assert kept == {"revision": 9, "gap_revision": 9, "pgd_revision": REVISIONS["pgd"]}
    assert kept != before, "a folder of before is not gone on with"
    assert objectives.selector("robust_accuracy", raised.settings)["attack"] == "native/apgd@9"


def test_the_toolbox_has_a_revision_of_our_own_room():
    art = make_plan(dataclasses.replace(SMOKE, overrides={"attack_backend": "art"}))
    (one, *_) = [m for m in next(iter(art.jobs.values())).trial.measures if isinstance(m, Robustness)]
    assert names_of(one)["own"] == f"art/apgd@{TOOLBOX}"
    assert art.configuration()["revisions"]["revision"] == TOOLBOX
    assert TOOLBOX > 1, "a folder through ART of before says art/apgd"


def test_a_plan_may_hold_attacks_where_a_folder_has_them():
    """So that the trials of an earlier version are known by their names; a later number is never made up."""
    settings = {"attack_backend": "native", "attack": "apgd", "audit_queries": 0}
    assert revisions(settings, KEPT) == KEPT
    assert revisions(settings, dict.fromkeys(KEPT, 99)) == revisions(settings)
    said = differing(settings, {})
    assert f"native/apgd, here {HERE['apgd']}; " in said
    assert f"native/pgd for the loss gap, here {HERE['apgd']} for the loss gap" in said
    assert differing(settings, revisions(settings)) == ""


def test_an_attack_beside_the_configured_one_counts_where_it_is_used(monkeypatch):
    before = {a: make_plan(dataclasses.replace(SMOKE, overrides={"audit_queries": a})) for a in ("0", "20")}
    monkeypatch.setitem(REVISIONS, "square", 9)
    after = {a: make_plan(dataclasses.replace(SMOKE, overrides={"audit_queries": a})) for a in ("0", "20")}
    assert set(before["0"].jobs) == set(after["0"].jobs)
    assert not set(before["20"].jobs) & set(after["20"].jobs)
    monkeypatch.setitem(REVISIONS, "pgd", 9)
    assert not set(before["0"].jobs) & set(make_plan(SMOKE).jobs), "a check is PGD's"


def test_a_trial_of_another_revision_cannot_be_measured_again(monkeypatch):
    from study.sweep.evaluate import _check_revisions

    config = Robustness(norm="linf", eps=(0.1,), backend="native", attack="fgsm")
    here = revisions({"attack_backend": "native", "attack": "fgsm", "audit_queries": 0})
    now = dataclasses.replace(config, **here)
    _check_revisions("t", now)
    with pytest.raises(UsageError, match=r"trial t was attacked by native/fgsm, here native/fgsm@2; native/pgd, here"):
        _check_revisions("t", config)
    monkeypatch.setitem(REVISIONS, "fgsm", 9)
    with pytest.raises(UsageError, match=r"by native/fgsm@2, here native/fgsm@9: it cannot be measured again here"):
        _check_revisions("t", now)
    _check_revisions("t", dataclasses.replace(now, revision=9))
    _check_revisions("t", dataclasses.replace(now, backend="art", revision=TOOLBOX))


def test_square_is_no_second_opinion_on_itself():
    with pytest.raises(UsageError, match="no second opinion on attack=square"):
        make_plan(dataclasses.replace(SMOKE, overrides={"attack": "square", "audit_queries": "20"}))


OLD = [
    {"measure": "robust_accuracy", "norm": "linf", "value": 0.3},
    {"measure": "robust_accuracy_square", "norm": "linf", "value": 0.4},
    {"measure": "loss_gap_art", "norm": "linf", "value": 0.5},
    {"measure": "loss_gap", "norm": "linf", "value": 0.6},
    {"measure": "gap_bound", "norm": "linf", "value": 0.7},
    {"measure": "train_loss", "value": 0.8},
]


def measures(*fields):
    return {"measures": [{"type": "Accuracy"}, *({"type": "Robustness", "norm": "linf"} | f for f in fields)]}


def named(configuration):
    return [(r["measure"], r.get("attack")) for r in name_attacks(OLD, configuration)]


def test_old_rows_get_their_attack_from_the_configuration():
    """A canonical form leaves out defaults, and the back end's default is art."""
    rest = [("loss_gap", "native/pgd"), ("gap_bound", None), ("train_loss", None)]
    assert named(measures({})) == [
        ("robust_accuracy", "art/apgd"), ("robust_accuracy", "native/square"), ("loss_gap", "art/apgd"), *rest
    ]  # fmt: skip
    assert named(measures({"backend": "native", "attack": "cw"}))[0] == ("robust_accuracy", "native/cw")
    assert [r["value"] for r in name_attacks(OLD, measures({}))] == [r["value"] for r in OLD]


def test_what_the_configuration_does_not_tell_stays():
    two = measures({"backend": "native"}, {"backend": "native", "attack": "cw"})
    for configuration in ({}, two):
        assert named(configuration)[0] == ("robust_accuracy", None)
        assert named(configuration)[2] == ("loss_gap_art", None)
    beside = named(measures({"backend": "native", "attack": "square"}))
    assert beside[:2] == [("robust_accuracy", "native/square"), ("robust_accuracy_square", "native/square")]


def test_a_budget_asked_for_twice_stands_once():
    assert name_attacks([*OLD, OLD[0], OLD[3] | {"value": 0.9}], measures({})) == [
        *name_attacks(OLD, measures({})), OLD[3] | {"value": 0.9, "attack": "native/pgd"}
    ]  # fmt: skip


def frame(*rows):
    base = {"status": "ok", "measure": "robust_accuracy", "norm": "linf", "eps": 0.1, "split": "test"}
    return pd.DataFrame([base | r for r in rows]).reindex(columns=results.COLUMNS)


def test_readers_choose_by_attack_and_refuse_to_choose_between_two():
    where = {"norm": "linf", "eps": 0.1, "split": "test"}
    table = frame(
        {"trial": "a", "attack": "native/apgd", "value": 0.5},
        {"trial": "a", "attack": "native/square", "value": 0.7},
        {"trial": "b", "attack": "native/apgd", "value": 0.4},
        {"trial": "b", "attack": "native/apgd@2", "value": 0.3},
        {"trial": "b", "attack": "native/apgd", "value": 0.2, "draw": 1},
    )
    assert per_trial(table, "robust_accuracy", attack="native/apgd", **where).to_dict() == {"a": 0.5, "b": 0.4}
    assert per_trial(table, "robust_accuracy", attack="native/square", **where).to_dict() == {"a": 0.7}
    assert select(table, "robust_accuracy", **where).empty, "no attack is an attack of its own"
    twice = pd.concat([table, table.iloc[[0]]])
    with pytest.raises(ValueError, match="trial a has two rows of robust_accuracy"):
        per_trial(twice, "robust_accuracy", attack="native/apgd", **where)


def test_a_folder_says_which_revisions_its_rows_are_of():
    study = Manifest(settings={"attack_backend": "native", "attack": "apgd"}, arms=(), seeds=(), trials=())
    assert [attack_of(study, w) for w in ("", "configured", "gap", "native/pgd", "art/pgd")] == [
        None, "native/apgd", "native/pgd", "native/pgd", "art/pgd"
    ]  # fmt: skip
    study = dataclasses.replace(study, revisions={"revision": 3, "pgd_revision": 2})
    assert [attack_of(study, w) for w in ("configured", "gap", "native/pgd", "native/square")] == [
        "native/apgd@3",
        "native/pgd@2",
        "native/pgd@2",
        "native/square",
    ]
    study = dataclasses.replace(study, revisions={"gap_revision": 4, "pgd_revision": 2})
    assert [attack_of(study, w) for w in ("configured", "gap", "native/pgd")] == [
        "native/apgd", "native/apgd@4", "native/pgd@2"
    ]  # fmt: skip
