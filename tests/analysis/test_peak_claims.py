"""A peak is planted in the numbers that a claim about a peak is judged by: what would not be found is not denied."""

import pandas as pd
import pytest

from analysis.claims import Control, find
from analysis.claims.foresight import unjudged
from analysis.claims.judge import judge
from analysis.claims.sides import HUMP, hump
from study.spec.domains import Value
from study.sweep.plan.catalogue import find_study
from tests.claim_cases import claim, study, table

SHARES: tuple[Value, ...] = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)
MASKED = study(("masked", {"keep_prob": SHARES}))


def judged(value, noise, planted=0.03):
    control = Control(words="planted", planted=planted)
    asked = claim("peak", arm="masked", axis="keep_prob", threshold=0.02, control=control)
    return judge(table(value, MASKED, noise=noise), MASKED, asked)


def flat_then_falling(arm, axes):
    return 0.8 - 0.6 * max(0.0, 0.8 - axes["keep_prob"])


def test_the_planted_hump_is_where_little_is_gone_and_nothing_else_moves():
    rows = pd.DataFrame({"keep_prob": [0.8, 1.0, 0.95, 0.7, 0.9, 0.85], "y": 0.5})
    added = hump(rows, "keep_prob", 0.04).set_index("keep_prob")["y"] - 0.5
    assert added.to_dict() == pytest.approx({1.0: 0, 0.95: 0.02, 0.9: 0.04, 0.85: 0.04, 0.8: 0.02, 0.7: 0})
    assert (rows["y"] == 0.5).all()
    assert len(HUMP) < len(SHARES) - 1, "something is left behind the hump"


def test_no_peak_is_said_where_a_planted_one_is_found():
    found = judged(flat_then_falling, noise=0.002)
    assert (found.verdict, found.control_detected) == ("not supported", True)
    assert found.control.value == pytest.approx(0.03, abs=0.005)
    assert judged(lambda arm, axes: 0.8 - abs(axes["keep_prob"] - 0.85), noise=0.002).verdict == "supported"


@pytest.mark.parametrize(("noise", "planted"), [(0.1, 0.03), (0.002, 0.01)])
def test_nothing_is_said_where_a_planted_peak_is_not_found(noise, planted):
    """For the noise of the seeds, or because it is smaller than what is worth speaking of."""
    found = judged(flat_then_falling, noise, planted)
    assert (found.verdict, found.control_detected) == ("regime not reached", False)
    assert "the control was not detected" in found.reasons


def test_a_plan_says_that_the_second_control_is_missing():
    laptop = find_study("pruning_probability_sweep").presets["laptop"]
    assert "control_rate" in {arm.name for arm in laptop.arms}
    with_none = study(("magnitude", {"keep_prob": SHARES, "mask": ("magnitude",)}), name="pruning_probability_sweep")
    lacks = unjudged(with_none, find(["B-peak-magnitude"]))["B-peak-magnitude"]
    assert lacks == ["there is no control arm control_rate"]
