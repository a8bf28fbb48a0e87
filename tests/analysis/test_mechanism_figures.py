"""Fooling rates beside robust accuracy and their floor, along what each arm moves."""

import pandas as pd

from analysis.figures import universal
from tests.claim_cases import study, table

ASKED = study(("rows", {"alpha": (0.0, 0.1)}), settings={"judged_linf": 0.1, "judged_l2": 0.5})


def rows(measure, attack, value):
    made = table(lambda arm, axes: value + axes["alpha"], ASKED, noise=0)
    return made.assign(measure=measure, attack=attack, norm="l2", eps=0.5)


def test_each_number_is_a_curve_and_norms_that_were_not_measured_have_no_row():
    frame = pd.concat(
        [
            rows("robust_accuracy", "native/apgd", 0.5),
            rows("fooling_rate", "native/universal_fgsm", 0.3),
            rows("fooling_rate", "random", 0.1),
        ],
        ignore_index=True,
    )
    (ax,) = universal.universal(frame, ASKED, []).axes
    drawn = {c.get_label(): [round(float(v), 2) for v in c.lines[0].get_ydata()] for c in ax.containers}
    assert drawn == {
        "robust accuracy": [0.5, 0.6],
        "fooling rate, FGSM steps": [0.3, 0.4],
        "fooling rate, random": [0.1, 0.2],
    }
