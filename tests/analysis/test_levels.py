"""Paper C's claims about levels on tables whose truth is known, and what such tables need of the analysis."""

from dataclasses import replace

import pandas as pd
import pytest

from analysis.claims.judge import judge_all
from analysis.tables import arm_trials
from search_spaces.compression_level_sweep import STUDY
from study.spec.knobs import KNOBS
from study.store.manifest import ArmRecord
from tests.claim_cases import OFF, study, table

CLAIMS = STUDY.claims
LAPTOP = STUDY.presets["laptop"]
ASKED = study(*((arm.name, arm.axes) for arm in LAPTOP.arms), settings={"judged_linf": 24 / 255, "eps_l2": ()})
ASKED = replace(
    ASKED, seeds=LAPTOP.seeds, axes_off={**ASKED.axes_off, "finetune_recipe": "paper_c_finetune"},
    arms=tuple(replace(a, about=b.about, family=b.family) for a, b in zip(ASKED.arms, LAPTOP.arms, strict=True)),
)  # fmt: skip
ROUNDING = {0: 0.0, 16: 0.0, 8: 0.01, 4: 0.2, 2: 0.6, 1: 0.8}


def clean_of(net, cost):
    """Clean accuracy: less by the share removed and the bits, by a twentieth of that where it was fine-tuned."""
    lost = 0.8 * net.prune_ratio + ROUNDING[net.bits]
    return 0.95 - cost * lost * (0.05 if net.finetune == "adversarial" else 1.0)


def robust_of(net, cost):
    """Robust accuracy: .2 less than the clean one where anything was trained adversarially, else a tenth of it."""
    clean = clean_of(net, cost)
    if net.finetune == "adversarial" or net.adversarial_ratio:
        return max(0.0, clean - 0.2 - cost * 0.1 * net.prune_ratio - 0.6 * net.plant_rows)
    return 0.1 * clean


def verdicts(cost):
    """The verdict of each claim on a table in which compression costs that share of what it costs in earnest."""
    base = table(lambda arm, axes: 0.0, ASKED, seeds=5, noise=0.003).drop_duplicates(["seed", *OFF])
    base["finetune_recipe"] = "paper_c_finetune"
    tuned = (base["bits"] > 0) & (base["finetune"] == "adversarial")
    base.loc[tuned, "finetune_recipe"] = "paper_c_finetune_quantized"
    nets = list(base.itertuples())
    clean = base.assign(value=base["value"] + [clean_of(net, cost) for net in nets])
    robust = base.assign(
        measure="robust_accuracy", attack="native/apgd", norm="linf", eps=24 / 255,
        value=base["value"] + [robust_of(net, cost) for net in nets],
    )  # fmt: skip
    frame = pd.concat([clean, robust], ignore_index=True).astype({"eps": float})
    return {j.claim.id: (j.verdict, j.reasons) for j in judge_all(frame, ASKED, CLAIMS)}


def test_what_the_paper_says_is_supported_where_it_is_so():
    found = verdicts(1.0)
    assert {name: verdict for name, (verdict, _) in found.items()} == dict.fromkeys(CLAIMS, "supported"), found


def test_where_compression_costs_nothing_no_fall_is_seen():
    """The controls fall all the same in one case; where bits cost nothing either, the other control is missing."""
    found = verdicts(0.0)
    assert found["C-fig1-pruned"] == ("not supported", ())
    assert found["C-fig3-pruned"] == ("regime not reached", ("the control was not detected",))
    assert found["C-B1-quantized"][0] == "supported", "this does not go by what compression costs"


@pytest.mark.parametrize(("ratio", "epochs", "there"), [(0.0, 0, True), (1.0, 0, False), (0.0, 3, False)])
def test_a_net_without_an_adversary_belongs_to_an_arm_at_any_radius(ratio, epochs, there):
    """As a plan has it: a radius that does nothing is not kept, so such a net stands at the study's own."""
    axes = {"adversarial_ratio": (0.0, 1.0), "finetune": ("none", "adversarial"), "finetune_epochs": (0, 3)}
    arm = ArmRecord(name="pruned", family="compressed", axes=axes | {"train_eps": (0.05,)})
    net = {"trial": "t", "family": "compressed", "seed": 0, "status": "ok", "adversarial_ratio": ratio,
           "finetune": "adversarial" if epochs else "none", "finetune_epochs": epochs, "train_eps": 0.1}  # fmt: skip
    off = {name: KNOBS[name].default for name in ("adversarial_ratio", "finetune", "finetune_epochs")}
    assert list(arm_trials(pd.DataFrame([net]), arm, off | {"train_eps": 0.1}).index) == ["t"] * there


def test_a_radius_is_not_idle_where_a_training_that_is_no_column_may_need_it():
    arm = ArmRecord(name="encoder", family="transfer", axes={"train_eps": (0.05,)})
    net = {"trial": "t", "family": "transfer", "seed": 0, "status": "ok", "adversarial_ratio": 0.0, "finetune": "none",
           "train_eps": 0.1}  # fmt: skip
    found = arm_trials(pd.DataFrame([net]), arm, {"adversarial_ratio": 0.0, "finetune": "none", "train_eps": 0.1})
    assert found.empty, "its pretraining may have had an adversary"
