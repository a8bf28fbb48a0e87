"""Ways of choosing what nets keep: planted knees, who beats whom beyond noise, tables and figures of made nets."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import balance, choices
from analysis.figures import FIGURES, caption
from analysis.intervals import p_of_mean
from analysis.knees import knee
from study.store import results
from tests.claim_cases import OFF, study, table

BOTH, NEITHER = (True, True), (False, False)
LAMS, SHARES = (0.1, 0.4, 0.7, 0.9), (1.0, 0.8, 0.6, 0.4, 0.2)
SETTINGS = {"judged_linf": 0.1, "judged_l2": 0.5}


def corner(count=41, at=(0.7, 0.9)):
    """A front of two straight pieces that meet at a corner, towards better in both, the ends (0, 1) and (1, 0)."""
    x = np.unique(np.append(np.linspace(0, 1, count), at[0]))
    return np.column_stack([x, np.interp(x, [0, at[0], 1], [1, at[1], 0])])


@pytest.mark.parametrize("at", [(0.7, 0.9), (0.3, 0.8), (0.9, 0.95)])
def test_a_planted_knee_is_found_whatever_the_units_the_order_and_what_lies_behind(at):
    front = corner(at=at)
    assert tuple(front[knee(front, BOTH)]) == at
    random = np.random.default_rng(0)
    behind = front - random.uniform(0.01, 0.3, front.shape)
    cloud = random.permutation(np.concatenate([front, front, behind, [[np.nan, 2.0]]]))
    for scale, maximise in ((np.array([100.0, 0.01]), BOTH), (np.array([-3.0, -700.0]), NEITHER)):
        found = knee(cloud * scale + 5, maximise)
        assert (cloud[found] * scale + 5).tolist() == pytest.approx(list(np.array(at) * scale + 5))


@pytest.mark.parametrize(
    "points",
    [
        np.column_stack([np.linspace(0, 1, 30), np.linspace(1, 0, 30)]),  # straight
        corner(at=(0.45, 0.6)),  # bulges by .035
        1 - corner()[::-1],  # hollow
        [[0.0, 1.0], [1.0, 0.0]],
        [[1.0, 1.0], [0.5, 0.5], [0.2, 0.1]],  # one point is best in both
        np.zeros((0, 2)),
    ],
)
def test_what_bends_too_little_or_the_wrong_way_has_no_knee(points):
    assert knee(points, BOTH) is None


def test_the_exact_front_of_risk_and_fidelity_has_no_knee():
    """A quarter ellipse, concave to the origin (theory.tradeoff): no weighing of both ends inside it."""
    p = np.linspace(0, 1, 30)
    assert knee(np.column_stack([np.sqrt(p), np.sqrt(1 - p)]), NEITHER) is None


def test_a_front_shorter_than_noise_has_no_knee():
    front = corner() * 0.019 + 0.9
    assert knee(front, BOTH) is not None
    assert knee(front, BOTH, (0.02, 0.02)) is None


def test_who_is_beaten_by_hand():
    seeds = np.array([0.0, 0.01, -0.01, 0.02, -0.02])
    x = np.array([0.9 + seeds, 0.9 + seeds, 0.5 + seeds, 0.95 + seeds])
    y = np.array([0.8 + seeds, 0.7 + seeds, 0.9 + seeds, 0.79 + 5 * seeds[::-1]])
    # The second is as good as the first on clean images and worse under attack; the third and fourth each lead in one.
    assert choices.beaten(x, y).tolist() == [False, True, False, False]
    assert not choices.beaten(x[:, :4], y[:, :4]).any(), "four seeds say nothing"
    assert not choices.beaten(x[[0, 0]], y[[0, 0]]).any(), "a point does not beat its equal"


def test_who_is_beaten_is_what_a_loop_says():
    random = np.random.default_rng(1)
    x, y = (random.normal(np.linspace(0, 2, 8)[:, None], 0.3, (8, 6)) for _ in range(2))
    found = []
    for b in range(8):
        wins = []
        for a in range(8):
            apart = [v[a] - v[b] for v in (x, y)]
            ps = [p_of_mean(d) * 2 * 7 for d in apart]
            sure = [d.mean() > 0 and p <= 0.05 for d, p in zip(apart, ps, strict=True)]
            wins.append(min(d.mean() for d in apart) >= 0 and any(sure))
        found.append(any(wins))
    assert choices.beaten(x, y).tolist() == found
    assert 0 < sum(found) < 8


def test_points_that_differ_by_noise_alone_are_seldom_beaten():
    random = np.random.default_rng(2)
    made = [choices.beaten(*random.normal(size=(2, 10, 5))) for _ in range(300)]
    assert np.mean([m.mean() for m in made]) < 0.05


RULES = {"exact_uniform": ("exact", "uniform"), "printed_layerwise": ("printed", "layerwise")}


def made(rule=0.0, layers=0.0):
    """Nets of two ways of a trade-off and the plain scale at six seeds. Of the share s that they keep they have .9 s of
    clean and .5 s of attacked accuracy, and 100 s weights; exact choices lie `rule` above that in both, layer-wise ones
    `layers`."""
    moved = {name: {"lam": LAMS, "lam_rule": (r,), "lam_layers": (k,)} for name, (r, k) in RULES.items()}
    asked = study(*moved.items(), ("scale", {"keep_prob": SHARES}), settings=SETTINGS, name="made")
    asked = replace(asked, axes_off={**OFF, "lam_rule": "chebyshev", "lam_layers": "layerwise"})
    points = [{"lam": lam, "lam_rule": r, "lam_layers": k} for r, k in RULES.values() for lam in LAMS]
    points += [{"keep_prob": share} for share in SHARES]
    frame = []
    for seed, at in itertools.product(range(6), points):
        s = 1 - at["lam"] if "lam" in at else at["keep_prob"]
        more = rule * (at.get("lam_rule") == "exact") + layers * (at.get("lam_layers") == "layerwise")
        net = {"trial": f"{at}{seed}", "seed": seed, "status": "ok", "family": "compressed", **asked.axes_off, **at}
        numbers = [
            ("clean_accuracy", 0.9 * s + more + 0.001 * seed, {"split": "test"}),
            ("robust_accuracy", 0.5 * s + more, {"attack": "native/apgd", "norm": "linf", "eps": 0.1, "split": "test"}),
            ("parameters", 100 * s, {}),
            ("risk_worst", s, {"norm": "l2", "eps": 0.5, "split": "test"}),
            ("risk_bound_tight", 3 * s, {"norm": "l2", "eps": 0.5, "split": "test"}),
        ]
        if s < 1:
            numbers += [
                ("fidelity", 1 - s, {"norm": "l2", "split": "test"}),
                ("fidelity_bound", 4 * (1 - s), {"norm": "l2", "split": "test"}),
            ]
        frame += [net | {"measure": name, "value": value} | where for name, value, where in numbers]
    columns = [*results.COLUMNS, "lam_rule", "lam_layers"]
    return pd.DataFrame(frame).reindex(columns=columns), asked


def rows(found):
    return {row["way of choosing"]: row for row in found["rows"]}


def test_at_equal_weights_ways_that_are_alike_are_told_alike():
    frame, asked = made()
    found = balance.of_accuracies(frame, asked)
    assert found["said"] == [
        "At equal numbers of weights no way is shown to give better or worse pairs than one share for all."
    ]
    told = rows(found)
    assert [*told] == ["exact, uniform", "printed, layerwise", "one share for all"]
    assert told["exact, uniform"]["nets compared"] == "3 in 4 levels"  # .1 of the weights is below the scale
    assert told["one share for all"]["nets compared"] == ""
    assert told["one share for all"]["area"] == "0.451 [0.450, 0.452]", "of the whole net, .9025 x .5"
    assert {row["knee"] for row in told.values()} == {"none"}


def test_at_equal_weights_a_net_that_many_levels_choose_counts_once():
    frame, asked = made(rule=0.05)
    same = frame["lam_rule"].eq("exact") & frame["lam"].isin(LAMS[1:3])
    lower = frame["value"].where(~same, frame["value"] - 0.3)
    chosen = frame.assign(value=lower.where(~(same & frame["measure"].eq("parameters")), 50.0))
    told = rows(balance.of_accuracies(chosen, asked))["exact, uniform"]
    assert told["nets compared"] == "2 in 4 levels"


def test_at_equal_weights_better_and_worse_ways_are_named():
    frame, asked = made(rule=0.05, layers=-0.04)
    found = balance.of_accuracies(frame, asked)
    assert found["said"] == [
        "Shown at equal numbers of weights: better pairs than one share for all: exact, uniform, and worse pairs than "
        "one share for all: printed, layerwise."
    ]
    told = rows(found)
    assert told["exact, uniform"]["attacked, at equal weights"] == "0.050 [0.050, 0.050]"
    assert told["printed, layerwise"]["on the front"] == "0 of 4"
    assert told["printed, layerwise"]["not beaten"] == "0 of 4"


def test_a_way_that_gains_one_and_loses_the_other_is_neither():
    apart = {"a": (np.full(6, 0.1), np.full(6, -0.1), 3), "b": (np.full(6, 0.1), np.zeros(6), 3)}
    assert choices.LEVEL == 0.05
    assert balance.answer(apart, "c") == "Shown at equal numbers of weights: better pairs than c: b."


def test_risk_and_fidelity_know_the_whole_net_and_its_planted_knee():
    frame, asked = made()
    space = choices.risk_and_fidelity(frame, asked, bounds=False)
    (scale,) = [way for way in choices.ways(frame, asked) if way.label == choices.PLAIN]
    assert scale.by_seed(space.y).loc[1.0].tolist() == [0.0] * 6
    assert choices.knees(scale, space) == [], "a straight line"
    bent = frame["measure"].eq("fidelity") & frame["keep_prob"].eq(0.6) & frame["lam"].eq(0)
    frame.loc[bent, "value"] = 0.1
    told = rows(balance.of_risk(frame, asked))["one share for all"]
    assert told["measured: knee"] == "keep_prob 0.60 [0.60, 0.60], at (0.6, 0.1)"
    assert told["bounds: knee"] == "none"
    assert told["measured: not beaten"] == "4 of 5", "of .6 both are less than of .8"


def test_draws_of_a_seed_are_one_point_and_failed_nets_none():
    asked = study(("bernoulli", {"keep_prob": (1.0, 0.5), "mask": ("bernoulli",), "mask_draw": (0, 1)}))
    frame = table(lambda arm, axes: axes["keep_prob"] + 0.1 * axes["mask_draw"], asked, noise=0)
    (way,) = choices.ways(frame, asked)
    clean = frame.set_index("trial")["value"]
    assert way.by_seed(clean).loc[0.5].tolist() == pytest.approx([0.55] * 6)
    frame.loc[frame["seed"] == 0, "status"] = "failed"
    assert choices.ways(frame, asked)[0].by_seed(clean).shape == (2, 5)


@pytest.mark.parametrize("name", ["pairs", "risk_fidelity", "chosen"])
def test_no_line_joins_the_points_of_a_way(name):
    """Between two choices there is no net: the only lines of pairs are intervals and the stairs of the front."""
    frame, asked = made()
    kept = frame[frame["measure"] == "parameters"].assign(measure="kept_share", layer="layer1.weight")
    figure = FIGURES[name][1](pd.concat([frame, kept.assign(value=kept["value"] / 100)]), asked, [])
    figure.canvas.draw()
    labels = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    if name == "chosen":
        assert [ax.get_title() for ax in figure.axes] == ["exact, uniform", "printed, layerwise"]
        assert labels == {"layer1"}
        return
    beaten = {"another beats it beyond noise"} if name == "pairs" else set()
    assert labels == {"exact, uniform", "printed, layerwise", "one share for all", "front of the means"} | beaten
    for ax in figure.axes:
        drawn = {line.get_drawstyle() for line in ax.lines if len(line.get_xdata())}
        assert drawn == {"steps-pre" if name == "pairs" else "steps-post"}
    assert "Bonferroni" in caption(name, asked)
