"""Paper C's claims on the numbers that the paper prints, and on tables in which they do not hold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import published
from analysis.claims.judge import judge_all
from analysis.figures import FIGURES
from study.store import results
from study.store.manifest import ArmRecord
from study.sweep.plan.catalogue import find_study
from tests.claim_cases import OFF, study

STUDY = find_study("finetuning_sweep")
ARMS = [(arm.name, dict(arm.axes)) for arm in STUDY.presets["paper"].arms]
SETTINGS = {"attack": "pgd", "judged_linf": 0.1}
ASKED = study(*ARMS, data="fashion_mnist", model="cnn8", settings=SETTINGS, claims=STUDY.claims)
BASE = OFF | {"factorize_ratio": 0.0, "factorization": "svd", "finetune_recipe": "paper_c_finetune"}
ASKED = replace(
    ASKED, axes_off=BASE, arms=tuple(ArmRecord(**{**vars(a), "about": ("adversarial_ratio",)}) for a in ASKED.arms)
)
SECONDS = {"standard": 600.0, "robust": 118 * 60.0, "tuned": 14 * 60.0, "compressed": 10 * 60.0}  # section 6


def printed(arm, base, tuned, measure):
    """The number of Fashion-MNIST's tables 2, 3 and 7; where none is printed (an uncompressed net that is fine-tuned on
    clean images, or robust and fine-tuned) that of the uncompressed standard or robust net."""
    table = {"none": "C.tab2", "factorized": "C.tab7"}.get(arm, "C.tab3")
    wanted = {"adversarial_ratio": base, "finetune": tuned}
    wanted |= {"pruned": {"prune_ratio": 0.8}, "quantized": {"bits": 8}}.get(arm, {})
    if arm == "none" and (base or tuned == "standard"):
        wanted["adversarial_ratio"], wanted["finetune"] = (1.0 if tuned != "standard" else 0.0), "none"
    (cell,) = [
        c
        for c in published.cells(table)
        if c.data == "fashion_mnist" and c.measure == measure and all(c.at.get(k, 0) == v for k, v in wanted.items())
    ]
    return cell.value


def made(change=lambda arm, base, value: value, seeds=6):
    """A table of the published numbers with a little noise, each robust accuracy changed as asked."""
    random, rows = np.random.default_rng(0), []
    attack = {"attack": "native/pgd", "norm": "linf", "eps": 0.1}
    for name, axes in ARMS:
        kind, _, tuned = name.partition("_")
        tuned = tuned if tuned in ("standard", "adversarial") else "none"
        for base in axes["adversarial_ratio"]:
            point = {k: v[0] for k, v in axes.items()} | {"adversarial_ratio": base}
            arm = "none" if kind == "control" else kind
            for seed in range(seeds):
                net = BASE | point | {"trial": f"{name} {base} {seed}", "seed": seed, "status": "ok",
                                     "family": "compressed", "deterministic": True, "split": "test"}  # fmt: skip
                clean, robust = (printed(arm, base, tuned, m) for m in ("clean_accuracy", "robust_accuracy"))
                noise = 0.005 * random.standard_normal(2)
                rows.append(net | {"measure": "clean_accuracy", "value": clean + noise[0]})
                value = change(name, base, robust) + noise[1]
                rows.append(net | attack | {"measure": "robust_accuracy", "value": value})
                first = SECONDS["robust" if base else "standard"]
                second = SECONDS["tuned" if kind == "none" else "compressed"] * (1 if tuned == "adversarial" else 0.1)
                times = {"training_seconds": first + (second if tuned != "none" else 0)}
                times |= {"finetune_seconds": second} if tuned != "none" else {}
                for measure, seconds in times.items():
                    value = seconds * np.exp(0.05 * random.standard_normal())
                    rows.append(net | {"measure": measure, "split": None, "value": value, "deterministic": False})
    return pd.DataFrame(rows).reindex(columns=[*results.COLUMNS, *(a for a in BASE if a not in OFF)])


def verdicts(table):
    return {j.claim.id: j.verdict for j in judge_all(table, ASKED, STUDY.claims)}


def test_the_papers_own_numbers_pass_all_its_claims_but_the_five_points_of_two_cells():
    """Pruned nets end 5.77 points below the robust net (76.74 against 82.51), factorized ones 7.11 (75.40); at
    4.98 the uncompressed net is too close to five to be told. Uncompressed robust nets are printed without any
    fine-tuning on clean images: theirs is a standard net's here."""
    found = verdicts(made())
    others = {"C-within-pruned": "opposite", "C-within-factorized": "opposite", "C-within-none": "not supported"}
    assert found == {name: others.get(name, "supported") for name in STUDY.claims}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda arm, base, v: 0.0426 if arm == "quantized_adversarial" and not base else v, "C-within-quantized"),
        (lambda arm, base, v: 0.1172 if arm == "quantized_adversarial" and not base else v, "C-raises-quantized"),
        (lambda arm, base, v: 0.8265 if arm == "quantized_standard" and base else v, "C-destroys-quantized"),
    ],
)
def test_a_claim_that_does_not_hold_is_not_supported(change, wrong):
    assert verdicts(made(change))[wrong] in ("not supported", "opposite")


def test_without_a_net_as_robust_as_the_robust_one_nothing_is_said_of_five_points():
    """The control: the pipeline must find two nets equal that are."""
    worse = made(lambda arm, base, v: v - 0.1 if arm == "control_same" else v)
    assert verdicts(worse)["C-within-quantized"] == "regime not reached"
    assert verdicts(made(lambda arm, base, v: v - 0.4))["C-within-quantized"] == "regime not reached", "not robust"


def test_an_attack_that_finds_nothing_makes_no_net_as_robust_as_the_robust_one():
    """The other control: nets that were never trained to be robust must be found worse."""
    found = verdicts(made(lambda arm, base, v: 0.9))
    assert {found[f"C-within-{kind}"] for kind in ("none", "pruned", "quantized", "factorized")} == {
        "regime not reached"
    }


def test_the_figure_has_a_panel_per_base_and_the_line_of_the_robust_net():
    figure = FIGURES["tuned"][1](made(), ASKED, [])
    left, right = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["Nets trained on clean images", "Nets trained adversarially"]
    assert [label.get_text() for label in left.get_xticklabels()] == [
        "uncompressed", "pruned\n80 %", "quantized\n8 bit", "factorized\n50 %",
    ]  # fmt: skip
    lines = [line.get_ydata()[0] for ax in (left, right) for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert sum(abs(y - 0.8251) < 0.01 for y in lines) >= 2
