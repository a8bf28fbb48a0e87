"""Paper B's claims about depth, on tables whose numbers are known."""

import pytest

from tests.analysis.test_paper_c_nets import verdicts

LEAST = {"magnitude": 0.1, "bernoulli": 0.2}


@pytest.mark.parametrize(("gained", "wanted"), [(0.1, "supported"), (-0.1, "opposite"), (0.0, "not supported")])
def test_deeper_nets_are_found_to_gain_to_lose_and_to_do_neither(gained, wanted):
    def robust(arm, axes):
        kept = axes["keep_prob"]
        if kept <= LEAST[arm]:
            return 0.2
        return 0.6 + (gained if kept < 1 and axes["depth"] == 3 else 0)

    found = verdicts("depth_sweep", lambda arm, axes: 0.95, robust)
    assert found["B-depth-magnitude"][0] == found["B-depth-bernoulli"][0] == wanted


def test_depth_is_not_judged_where_the_nets_that_keep_least_lose_nothing():
    found = verdicts("depth_sweep", lambda arm, axes: 0.95, lambda arm, axes: 0.6)
    assert found["B-depth-magnitude"] == ("regime not reached", "the control was not detected")
