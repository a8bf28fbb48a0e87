"""Paper C's claims about quantization-aware training and large nets, on tables whose numbers are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.claims import find, judge
from analysis.tables import attack_of
from study.store import results
from study.sweep.plan.folder import manifest
from study.sweep.plan.request import Request, make_plan


def verdicts(name, clean, robust):
    """The verdicts of a study's claims where nets of an arm at its axes have these accuracies, and a little noise."""
    plan = make_plan(Request(study=name), need_data=False)
    asked, random, rows = manifest(plan), np.random.default_rng(0), []
    budget = asked.settings["judged_linf"]
    attacked = {"attack": attack_of(asked, "configured"), "norm": "linf", "eps": budget}
    for i, point in enumerate(plan.points):
        identity = {"trial": str(i), "seed": point.seed, "status": "ok", "family": point.family, "deterministic": True}
        for measure, value, more in (("clean_accuracy", clean, {}), ("robust_accuracy", robust, attacked)):
            number = value(point.arms[0], point.axes) + 0.002 * random.standard_normal()
            rows.append(identity | point.axes | more | {"measure": measure, "split": "test", "value": number})
    frame = pd.DataFrame(rows)
    frame = frame.reindex(columns=[*results.COLUMNS, *(c for c in frame if c not in results.COLUMNS)])
    found = judge.judge_all(frame, asked, find(plan.study.claims))
    return {j.claim.id: (j.verdict, *j.reasons) for j in found}


@pytest.mark.parametrize(
    ("ptq", "aware", "base", "wanted"),
    [
        (0.75, 0.75, 0.75, ("supported", "not supported")),
        (0.85, 0.75, 0.75, ("supported", "opposite")),
        (0.65, 0.75, 0.75, ("opposite", "supported")),
    ],
)
def test_quantization_after_training_is_found_no_worse_better_and_worse(ptq, aware, base, wanted):
    def robust(arm, axes):
        return aware if arm.startswith("qat") else ptq if arm.startswith("ptq") else base

    def fallen(arm, axes):
        return 0.05 if axes["bits"] == 1 else robust(arm, axes)

    found = verdicts("qat_study", lambda arm, axes: 0.95, fallen)
    assert (found["C-B3-ptq"][0], found["C-B3-int4"][0]) == wanted
    assert found["C-B2-test"] == ("supported",)
    blind = verdicts("qat_study", lambda arm, axes: 0.95, robust)  # an attack that leaves nets of one bit as robust
    assert blind["C-B3-ptq"] == ("regime not reached", "the control was not detected") or ptq < aware


def test_claims_of_levels_are_judged_beside_a_net_that_is_robust_itself():
    found = verdicts("qat_study", lambda arm, axes: 0.95, lambda arm, axes: 0.3)
    assert {v[0] for v in found.values()} == {"regime not reached"}
    assert "the baseline's robust accuracy is 0.30, outside 0.5 to 1" in found["C-B3-ptq"][1]
    found = verdicts("qat_study", lambda arm, axes: 0.6 if arm == "robust" else 0.95, lambda arm, axes: 0.75)
    assert "the baseline's clean accuracy is 0.60, below 0.9" in found["C-B3-int4"][1]


@pytest.mark.parametrize(("lost", "wanted"), [(0.02, "supported"), (-0.1, "supported"), (0.1, "opposite")])
def test_compressed_large_nets_come_within_five_points_of_whole_ones_or_pass_them(lost, wanted):
    def robust(arm, axes):
        return 0.75 - (0 if arm in ("full", "control_same") else lost)

    found = verdicts("large_models_sweep", lambda arm, axes: robust(arm, axes) + 0.2, robust)
    assert {v[0] for v in found.values()} == {wanted}
    assert len(found) == 4
