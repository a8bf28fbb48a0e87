"""What the report says of the attacks behind its numbers."""

import pandas as pd
import pytest

from analysis.intervals import over_images
from analysis.trust import checks, unconverged
from study.store import results


def net(trial, half, end, attack="native/apgd@2", unconfirmed=0.0, flag=None, eps=0.1, split="test"):
    """The rows of one net at one budget."""
    where = {"trial": trial, "attack": attack, "norm": "linf", "eps": eps, "split": split}
    rows = [where | {"measure": "robust_accuracy", "value": end}]
    rows += [] if half is None else [where | {"measure": "robust_accuracy_half", "value": half}]
    rows += [where | {"measure": "unconfirmed_share", "value": unconfirmed}]
    square = where | {"attack": "native/square", "measure": "robust_accuracy", "value": end + 0.2}
    rows += [] if flag is None else [square, square | {"measure": "audit_flag", "value": flag}]
    return rows


def frame(*nets):
    rows = [{"status": "ok", "deterministic": True} | r for rows in nets for r in rows]
    return pd.DataFrame(rows).reindex(columns=results.COLUMNS)


def said(table, **settings):
    return " ".join(checks(table, settings))


def test_converged_attacks_are_told_so():
    words = said(frame(net("a", 0.502, 0.5), net("b", 0.41, 0.40)))
    assert "fell by 0.6 points in the mean and by at most 1.0; by more than a point, and not to 0, in 0 of 2" in words
    assert "--set attack" not in words
    assert "at most 0.0 % of a net's images have one that does not hold." in words


def test_nets_that_still_move_are_named_with_the_setting_that_goes_on():
    moved = [net("b", 0.45, 0.40), net("b", 0.45, 0.42, split="validation"), net("c", 0.3, 0.1)]
    table = frame(net("a", 0.505, 0.5), *moved)
    assert list(unconverged(table)["trial"]) == ["c", "b", "b", "a"]
    words = said(table, attack_iterations=20)
    assert "not to 0, in 3 of 4 nets and budgets (most: c at l∞ 0.1, 20.0; b at l∞ 0.1, 5.0; b" in words
    assert "--set attack_iterations=40 searches longer" in words
    assert "--set attack_restarts=6 searches longer" in said(table, attack_iterations=20, attack_restarts=3)


def test_a_net_without_any_robust_image_has_no_more_to_lose():
    assert "not to 0, in 0 of 1 nets and budgets." in said(frame(net("a", 0.2, 0.0)))


def test_an_attack_that_does_not_say_where_it_stood_is_not_judged():
    words = said(frame(net("a", None, 0.5), net("b", None, 0.4)))
    assert "half of the attack" not in words
    assert said(frame(net("a", 0.9, 0.5, attack="x"), net("a", None, 0.4, attack="y"))).count("1 of 1 nets") == 1


def test_points_that_do_not_hold_are_flagged_above_a_tolerance():
    assert "do no" not in said(frame(net("a", 0.5, 0.5, unconfirmed=0.004)))
    words = said(frame(net("a", 0.5, 0.5, unconfirmed=0.004), net("b", 0.5, 0.5, unconfirmed=0.02)))
    assert "at most 2.0 % of a net's images" in words
    assert "more than 0.5 % in 1 of 2 nets and budgets (b): their outputs are ties" in words
    assert "raise --set eot=32" in said(frame(net("b", 0.5, 0.5, unconfirmed=0.02)), eot=8)


def test_the_attack_without_gradients_is_summed_up():
    assert "than one in a hundred and chance explain: in 1 of 2." in said(
        frame(net("a", 0.5, 0.5, flag=0.0), net("b", 0.5, 0.5, flag=1.0))
    )


def test_tables_of_before_have_fewer_sentences_and_no_error():
    rows = [{"trial": "a", "status": "ok", "measure": "zero_gradient_share", "norm": "linf", "value": 0.25}]
    table = pd.DataFrame(rows).reindex(columns=results.COLUMNS)
    assert checks(table, {}) == [
        "Images without any gradient at the clean point: at most 25.0 % in a net.",
        "No attack without gradients was asked for (--set audit_queries=1000 asks for one).",
    ]
    assert checks(table.assign(status="failed"), {}) == []


@pytest.mark.parametrize(
    ("share", "images", "low", "high"),
    [(0.0, 10, 0.0, 0.2775), (0.5, 100, 0.4038, 0.5962), (0.9, 50, 0.7864, 0.9565), (1.0, 1000, 0.9962, 1.0)],
)
def test_an_interval_over_images_is_wilsons(share, images, low, high):
    """Against tables of Wilson's interval (Brown, Cai and DasGupta 2001 and R's prop.test without correction)."""
    found = over_images(share, images)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))


def test_an_interval_over_images_covers_the_truth():
    from scipy import stats

    for p, n in ((0.5, 100), (0.1, 360), (0.95, 200)):
        inside = [k for k in range(n + 1) if over_images(k / n, n).low <= p <= over_images(k / n, n).high]
        assert 0.93 < stats.binom.pmf(inside, n, p).sum() < 0.98
