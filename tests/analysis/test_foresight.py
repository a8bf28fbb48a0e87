"""What a sweep can never judge is said before it runs: every reason, and what would change it."""

import math

import pytest

from analysis.claims import CLAIMS, Claim, Control, Regime, Rows, Term, find
from analysis.claims.foresight import lines, unjudged
from analysis.claims.needs import NEEDS, levels_for
from study.spec.errors import UsageError
from study.store.manifest import ArmRecord, Manifest

ALPHAS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
NEURON, SPECTRAL = "A-i-neuron", "A-i-spectral"


def arm(name, **axes):
    return ArmRecord(name=name, family="low_rank" if "rank" in axes else "regularization", axes=axes)


CONTROLS = (arm("control_neuron", plant_rows=(0.0, 0.25, 0.5)), arm("control_spectral", plant_spectrum=(0.0, 0.5, 1.0)))


def study(*arms, seeds=5, model="fcn", **settings):
    return Manifest(
        settings={"width": 200, "depth": 4} | settings, arms=(*arms, *CONTROLS), seeds=tuple(range(seeds)), trials=(),
        data="digits", model=model, axes_off={"alpha": 0.0, "rank": 0},
    )  # fmt: skip


def why(claim, *arms, **kind):
    return unjudged(study(*arms, **kind), find([claim])).get(claim, [])


def test_enough_is_enough():
    arms = (arm("neuron", alpha=ALPHAS), arm("spectral", rank=(0, 128, 64, 32, 24)))
    assert unjudged(study(*arms), find([NEURON])) == {}
    assert unjudged(study(*arms), find([SPECTRAL])) == {}


def test_every_reason_is_given_at_once_with_what_would_change_it():
    found = unjudged(study(arm("spectral", rank=(128, 64, 16, 8)), seeds=3), find([SPECTRAL]))
    assert found == {
        SPECTRAL: [
            "3 seeds, 5 are needed (--seeds 5)",
            "arm spectral lacks rank full, its baseline (--set rank=full,...)",
            "2 of 4 ranks of arm spectral lie above k = 20 (10 % of the width) and one at or below it counts too, "
            "5 levels are needed (--set rank=full,130,74,42,24)",
        ]
    }


def test_the_ranks_that_are_proposed_are_enough():
    for width in (1, 8, 16, 32, 100, 200, 300, 400, 2000, 100_000):
        few = why(SPECTRAL, arm("spectral", rank=(0, 1)), width=width)
        ranks = tuple(
            0 if r == "full" else int(r) for r in few[0].rpartition("--set rank=")[2].removesuffix(")").split(",")
        )
        assert len(set(ranks)) == 5
        assert why(SPECTRAL, arm("spectral", rank=ranks), width=width) == []


@pytest.mark.parametrize("width", [200, 400, 2000])
def test_a_rank_counts_from_k_on(width):
    k = width // 10
    above = (0, *(k + i for i in range(1, 4)))
    assert why(SPECTRAL, arm("spectral", rank=(*above, k + 4)), width=width) == []
    assert why(SPECTRAL, arm("spectral", rank=(*above, k)), width=width) == [], "the first without a residual is judged"
    (few,) = why(SPECTRAL, arm("spectral", rank=(*above[:-1], k, k - 1, k - 2, 1)), width=width)
    assert few.startswith(f"3 of 7 ranks of arm spectral lie above k = {k} ")


def test_k_is_that_of_the_layers():
    ranks = (0, 64, 16, 12, 8)
    assert why(SPECTRAL, arm("spectral", rank=ranks), width=200, depth=1) == [], "one layer of 200 x 64: k = 6"
    assert why(SPECTRAL, arm("spectral", rank=ranks), width=200) != []
    assert why(SPECTRAL, arm("spectral", rank=ranks), width=200, model="resnet18") == [], "layers of many sizes"
    (at_400,) = why(SPECTRAL, arm("spectral", rank=(0, 64, 48, 32, 24), width=(200, 400)))
    assert at_400.startswith("at width 400: 3 of 5 ranks of arm spectral lie above k = 40 ")


def test_more_claims_of_one_report_need_more_levels():
    neuron, spectral = arm("neuron", alpha=ALPHAS[:5]), arm("spectral", rank=(0, 128, 64, 32, 24))
    three = ["A-i-neuron", "A-cross-neuron", "A-bound-neuron"]
    four = [*three, "A-i-spectral"]
    assert unjudged(study(neuron), find(three)) == {}, "2 of 5! orders, three times: .05"
    found = unjudged(study(neuron, spectral), find(four))
    assert set(found) == set(four)
    assert found["A-i-neuron"] == [
        "arm neuron has 5 levels of alpha, 6 are needed by one of 4 claims (--set alpha= with 6 or more)"
    ]
    assert set(unjudged(study(neuron), find(four))) == {"A-i-spectral"}, "a claim that cannot be judged is no rival"
    assert levels_for("spearman", 4) == levels_for("spearman", 18) == 6


def test_every_value_of_a_held_axis_is_a_claim():
    three = find(["A-i-neuron", "A-cross-neuron", "A-bound-neuron"])
    assert unjudged(study(arm("neuron", alpha=ALPHAS[:5], frobenius=(1.0,))), three) == {}
    (why, *_) = unjudged(study(arm("neuron", alpha=ALPHAS[:5], frobenius=(0.0, 1.0))), three)["A-i-neuron"]
    assert "6 are needed by one of 6 claims" in why
    assert unjudged(study(arm("neuron", alpha=ALPHAS, frobenius=(0.0, 1.0))), three) == {}


def test_levels_are_enough_where_the_least_p_of_all_orders_is_small_enough():
    for family in (1, 2, 7, 14, 100):
        least = levels_for("spearman", family)
        assert 2 * family / math.factorial(least) <= 0.05
        assert least == NEEDS["spearman"].levels or 2 * family / math.factorial(least - 1) > 0.05


def test_arms_that_are_not_there_are_named_with_the_preset_that_has_them():
    bare = Manifest(settings={}, arms=(arm("neuron", alpha=ALPHAS),), seeds=(0, 1, 2, 3, 4), trials=(), model="fcn")
    assert unjudged(bare, find([NEURON])) == {NEURON: ["there is no control arm control_neuron"]}
    found = unjudged(bare, find([NEURON, SPECTRAL]), {"spectral": "paper", "control_neuron": "laptop"})
    assert found[NEURON] == ["there is no control arm control_neuron (--preset laptop has it)"]
    assert found[SPECTRAL][0] == "there is no arm spectral (--preset paper has it)"


def test_a_control_without_an_order_is_named():
    two = study(arm("neuron", alpha=ALPHAS))
    two = Manifest(**{**vars(two), "arms": (two.arms[0], arm("control_neuron", plant_rows=(0.0, 0.5)))})
    (few,) = unjudged(two, find([NEURON]))[NEURON]
    assert few.startswith(
        "its control, arm control_neuron, has 2 levels of plant_rows, 3 are needed (--set plant_rows="
    )


def test_what_a_comparison_names_must_be_there():
    y = Term(measure="clean_accuracy", split="test")
    rows = Rows(arm="neuron", axis="alpha", y=y, at={"alpha": 0.5})
    planted = Control(words="planted", arm="control_neuron", axis="plant_rows", at={})
    claim = Claim(
        id="own", source="us", quote="It falls.", statistic="difference", rows=rows, regime=Regime(clean=False),
        control=planted,
    )  # fmt: skip
    assert unjudged(study(arm("neuron", alpha=(0.0, 0.1))), [claim]) == {
        "own": ["arm neuron lacks alpha 0.5, which it compares (--set alpha=0.5,...)"]
    }
    assert unjudged(study(arm("neuron", alpha=(0.0, 0.5))), [claim]) == {}, "a difference needs no more levels"


def test_a_statistic_that_is_not_known_is_refused():
    y = Term(measure="clean_accuracy")
    claim = Claim(id="own", source="us", quote="It falls.", statistic="kendall", rows=Rows(arm="neuron", y=y))
    with pytest.raises(UsageError, match=r"claim own: statistic must be one of spearman, .*, got 'kendall'"):
        unjudged(study(), [claim])


def test_claims_of_equal_reasons_share_a_heading():
    assert lines({"a": ["x", "y"], "b": ["y"], "c": ["x", "y"]}) == [
        "a, c cannot be judged, whatever the numbers:", "  - x", "  - y",
        "b cannot be judged, whatever the numbers:", "  - y",
    ]  # fmt: skip
    assert lines({}) == []


def test_every_claim_of_the_registry_has_a_statistic_with_needs():
    assert {claim.statistic for claim in CLAIMS.values()} <= set(NEEDS)


def masks(attack, /, **more):
    rows = Rows(arm="masks", y=Term(measure="robust_accuracy", attack=attack, norm="linf", judged=True), axis="alpha")
    claim = Claim(id="C", source="s", quote="q", rows=rows, statistic="spearman", control=Control(words="w"))
    return unjudged(study(arm("masks", alpha=ALPHAS, **more.pop("axes", {})), **more), [claim]).get("C", [])


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        ("configured", {}),
        ("gap", {}),
        ("native/apgd@3", {}),
        ("native/cw@2", {"more_attacks": ("fgsm", "cw")}),
        ("native/autoattack@3", {"second_attack": "autoattack"}),
        ("native/autoattack@3", {"axes": {"second_attack": ("autoattack",)}}),
        ("native/square", {"audit_queries": 100}),
        ("art/pgd@2", {"attack_backend": "art", "attack": "pgd"}),
        ("native/cw@2", {"attack_backend": "art", "more_attacks": ("cw",)}),
        ("art/apgd@2", {"axes": {"attack_backend": ("art",)}}),
    ],
)
def test_an_attack_that_some_setting_asks_for_is_no_reason(attack, settings):
    assert masks(attack, **settings) == []


@pytest.mark.parametrize(
    ("attack", "settings", "way"),
    [
        ("native/autoattack@3", {}, "second_attack=autoattack"),
        ("native/cw@2", {"more_attacks": ("fgsm",), "second_attack": "autoattack"}, "second_attack=cw"),
        ("native/square", {"audit_queries": 0}, "second_attack=square"),
        ("native/apgd@3", {"attack_backend": "art"}, "second_attack=apgd"),
        ("art/apgd@2", {}, "attack_backend=art --set attack=apgd"),
        ("art/cw@2", {"more_attacks": ("cw",)}, "attack_backend=art --set attack=cw"),
    ],
)
def test_a_claim_about_an_attack_that_no_trial_makes_cannot_be_judged(attack, settings, way):
    name = attack.partition("@")[0]
    assert masks("native/unknown") == ["no trial of arm masks is attacked by native/unknown"]
    assert masks(attack, **settings) == [f"no trial of arm masks is attacked by {name} (--set {way})"]
