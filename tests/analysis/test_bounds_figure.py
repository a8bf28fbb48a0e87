"""Alignment over the rank in bound_validation's figure: both terms where both were measured."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.figures import bounds
from tests.claim_cases import study, table

RANKS = (0, 8, 2)
ASKED = study(("spectral", {"rank": RANKS}))


def rows(measure, layer, value):
    """A structure row per trial, `value` of its rank."""
    made = table(lambda arm, axes: value(axes["rank"]), ASKED, noise=0)
    return made.assign(measure=measure, layer=layer, norm="l2", split=None)


@pytest.mark.parametrize("searched", [True, False])
def test_the_searched_term_is_drawn_where_it_was_measured(searched):
    frame = [rows("alignment", "mean", lambda rank: 1.0), rows("operator_norm", "product", lambda rank: 2.0 + rank)]
    if searched:
        frame.append(rows("alignment_greedy", "mean", lambda rank: 0.5 + rank / 100))
    whole = pd.concat(frame, ignore_index=True)
    ax = Figure().subplots()
    bounds._alignment(ax, whole, whole.drop_duplicates("trial").set_index("trial"))
    drawn = {c.get_label(): [float(v) for v in c.lines[0].get_ydata()] for c in ax.containers}
    expected = {"alignment, certified bound": [1.0] * 3}
    if searched:
        expected["alignment, search (B.5)"] = [0.5, 0.58, 0.52]
    assert {name: pytest.approx(values) for name, values in expected.items()} == drawn
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts == [*expected, "product of spectral norms"]
