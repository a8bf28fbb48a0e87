"""Statistics with answers known on paper, and verdicts on tables whose truth was planted."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import CLAIMS, words
from analysis.claims import judge as claims
from analysis.figures import drawing
from analysis.intervals import mean_coefficient, mean_t, over_images, p_of_mean
from analysis.tables import arm_trials
from study.store import results
from study.store.manifest import ArmRecord, Manifest

STUDY = Manifest.of({
    "configuration": {
        "study": "compressibility_sweep", "data": "digits", "model": "fcn",
        "settings": {"judged_linf": 16 / 255, "judged_l2": 0.5, "eps_linf": [16 / 255], "eps_l2": [0.5]},
        "data_digest": "d",
    },
    "question": "q", "figure": "f", "trials": [], "seeds": [0, 1, 2, 3, 4], "version": "0", "commit": "",
    "axes_off": {"alpha": 0.0, "rank": 0, "frobenius": 1.0, "plant_rows": 0.0, "plant_spectrum": 0.0},
    "arms": [
        {"name": "neuron", "family": "regularization", "axes": {"alpha": [0.0, 0.01, 0.02, 0.03, 0.04]}},
        {"name": "control_neuron", "family": "regularization", "axes": {"plant_rows": [0.0, 0.25, 0.5]}},
    ],
})  # fmt: skip
NEURON = CLAIMS["A-i-neuron"]


def test_a_net_without_a_penalty_is_the_baseline_of_every_penalty():
    points = [
        ("a", 0.0, "group_lasso"),
        ("b", 0.1, "group_lasso"),
        ("c", 0.1, "nuclear_norm"),
        ("d", 0.2, "nuclear_norm"),
    ]
    frame = pd.DataFrame(points, columns=["trial", "alpha", "penalty"]).assign(family="f", seed=0, status="ok")
    arm = ArmRecord(name="neuron", family="f", axes={"alpha": (0.0, 0.1), "penalty": ("nuclear_norm",)})
    assert list(arm_trials(frame, arm, {"alpha": 0.0, "penalty": "group_lasso"}).index) == ["a", "c"]


def table(effect=-0.4, control=-0.4, seeds=5, clean=0.97, eps_drop=0.1, noise=0.02, base_ra=0.8, turn=None):
    """A synthetic sweep: RA/SA = base_ra + effect * (how far compressibility moved) + noise."""
    random = np.random.default_rng(0)
    rows = []

    def net(seed, axes, moved, slope):
        ratio = base_ra + slope * moved + noise * random.standard_normal()
        identity = {"study": "s", "family": "f", "trial": f"{seed}{axes}", "seed": seed, "status": "ok", "rank": 0,
                    "frobenius": 1.0, "alpha": 0.0, "plant_rows": 0.0, "plant_spectrum": 0.0} | axes  # fmt: skip
        where = {"attack": "native/apgd", "norm": "linf", "eps": 16 / 255, "split": "test"}
        eps = 0.9 - moved
        for measure, value, coordinates in (
            ("clean_accuracy", clean, {"split": "test"}),
            ("robust_accuracy", clean * ratio, where),
            ("relative_robust_accuracy", ratio, where),
            ("compress_eps_nu", eps, {"layer": "mean"}),
        ):
            rows.append(identity | {"measure": measure, "value": value, "deterministic": True} | coordinates)

    for seed in range(seeds):
        for i, alpha in enumerate(STUDY.arms[0].axes["alpha"]):
            moved = eps_drop * (i if turn is None or i <= turn else 2 * turn - i)
            net(seed, {"alpha": alpha}, moved, effect)
        for i, strength in enumerate((0.25, 0.5), start=1):
            net(seed, {"plant_rows": strength}, 0.15 * i, control)
    return pd.DataFrame(rows).reindex(columns=results.COLUMNS)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "supported"),
        ({"effect": 0.4}, "opposite"),
        ({"effect": 0.0}, "not supported"),
        ({"effect": 0.0, "control": 0.0}, "regime not reached"),
        ({"seeds": 3}, "regime not reached"),
        ({"clean": 0.5}, "regime not reached"),
        ({"base_ra": 0.99}, "regime not reached"),
        ({"eps_drop": 0.05}, "regime not reached"),
    ],
)
def test_verdicts_on_planted_truth(change, verdict):
    judged = claims.judge(table(**change), STUDY, NEURON)
    assert judged.verdict == verdict
    assert bool(judged.reasons) == (verdict == "regime not reached")
    assert verdict in words.sentence(judged).lower()


def test_the_planted_control_is_detected_where_it_is_there():
    assert claims.judge(table(effect=0.0), STUDY, NEURON).control_detected
    assert not claims.judge(table(control=0.0), STUDY, NEURON).control_detected


def test_points_past_the_turning_point_are_shown_and_not_judged():
    judged = claims.judge(table(turn=3, eps_drop=0.15), STUDY, NEURON)
    assert judged.unjudged == (0.04,)
    assert judged.points == 20
    assert "shown and not judged: alpha 0.04" in words.sentence(judged)


def test_residuals_at_round_off_are_ties():
    """Ranks below k leave nothing but float32 noise: their order says nothing, and only the first of them is judged."""
    frame = table(eps_drop=0.2, noise=0.0)
    eps = frame["measure"] == "compress_eps_nu"
    exhausted = eps & frame["alpha"].isin([0.02, 0.03, 0.04])
    frame.loc[exhausted, "value"] = 1e-8 * (1 - frame.loc[exhausted, "alpha"])
    judged = claims.judge(frame, STUDY, NEURON)
    assert judged.unjudged == (0.03, 0.04)
    assert any("1 point between" in r for r in judged.reasons)


def test_two_frobenius_norms_are_judged_apart():
    """Pooled, the second norm's higher level would hide the fall within each; and every seed would count twice."""
    low, high = table(noise=0.0), table(noise=0.0, base_ra=0.6)
    high["frobenius"], high["trial"] = 2.0, high["trial"] + "at 2"
    study = replace(STUDY, arms=tuple(replace(a, axes={**a.axes, "frobenius": (1.0, 2.0)}) for a in STUDY.arms))
    neuron = claims.judge_all(pd.concat([low, high], ignore_index=True), study, [NEURON.id])
    assert [j.at for j in neuron] == ["frobenius 1", "frobenius 2"]
    assert [j.points for j in neuron] == [25, 25]
    assert [j.statistic.value for j in neuron] == pytest.approx([-1.0, -1.0])
    assert words.sentence(neuron[1]).startswith("At frobenius 2: ")


def ascents(growth, control, seeds=10):
    random = np.random.default_rng(0)
    rows = [
        {"trial": f"t{seed}", "seed": seed, "status": "ok", "ascended_norm": "linf", "measure": "operator_norm_growth",
         "norm": norm, "value": math.exp(g + 0.01 * random.standard_normal()), "deterministic": True}
        for seed in range(seeds) for norm, g in (("l2", growth), ("linf", control))
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=results.COLUMNS)


@pytest.mark.parametrize(
    ("growth", "control", "seeds", "verdict"),
    [(0.5, 1, 10, "supported"), (-0.5, 1, 10, "opposite"), (0, 1, 10, "not supported"),
     (0, 0, 10, "regime not reached"), (0.5, 1, 3, "regime not reached")],
)  # fmt: skip
def test_growth_is_judged_over_seeds(growth, control, seeds, verdict):
    arm = ArmRecord(name="ascend_linf", family="operator_norm", axes={"ascended_norm": ("linf",)})
    study = Manifest(name="operator_norm_study", settings={}, axes_off={"ascended_norm": ""}, arms=(arm,), seeds=(),
                     trials=())  # fmt: skip
    judged = claims.judge(ascents(growth, control, seeds), study, CLAIMS["A-ascent-linf"])
    assert judged.verdict == verdict
    if seeds == 10:
        assert judged.statistic.value == pytest.approx(growth, abs=0.02)


def test_a_seed_that_stands_twice_is_refused():
    twice = table()
    twice["trial"] = twice["trial"] + "again"
    with pytest.raises(ValueError, match="would count twice"):
        claims.judge(pd.concat([table(), twice], ignore_index=True), STUDY, NEURON)


def test_a_study_without_the_arm_is_not_judged():
    found = claims.judge(table(), replace(STUDY, arms=()), NEURON)
    assert (found.verdict, found.reasons) == ("regime not reached", ("the study has no arm neuron",))


def test_differences_to_the_baseline_stand_where_an_arm_moves_another_axis_too():
    """Every net twice, at two values of another axis: a seed has one baseline, their mean."""
    grid = {"alpha": STUDY.arms[0].axes["alpha"], "rank": (0, 8)}
    asked = replace(STUDY, arms=(ArmRecord(name="neuron", family="regularization", axes=grid),))
    once = table()
    twice = once.assign(rank=8, trial=once["trial"] + "rank")
    found = claims.against_baseline(pd.concat([once, twice], ignore_index=True), asked, NEURON)
    plain = claims.against_baseline(once, STUDY, NEURON)
    assert [(value, d.value, d.n) for value, _, d in found] == [
        (value, pytest.approx(d.value), d.n) for value, _, d in plain
    ]


def test_differences_to_the_baseline_are_paired_by_seed():
    found = claims.against_baseline(table(noise=0.0), STUDY, NEURON)
    assert [value for value, _, _ in found] == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert [d.value for _, _, d in found] == pytest.approx([0, -0.04, -0.08, -0.12, -0.16])


def test_mean_t_on_paper():
    found = mean_t([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.value, found.n) == (3.0, 5)
    assert found.high - found.value == pytest.approx(2.776445 * math.sqrt(2.5) / math.sqrt(5), rel=1e-6)
    assert math.isnan(mean_t([1.0, 2.0]).low)
    assert "too small" in mean_t([1.0, 2.0]).text()


def test_a_mean_of_coefficients_on_paper():
    """Fisher's z at the mean, its slope there, and back; the far end no more than twice as far as Student's."""
    r = [0.5, 0.6, 0.7, 0.6, 0.6]
    half = 2.776445 * np.std(r, ddof=1) / math.sqrt(5)
    found = mean_coefficient(r)
    z, reach = math.atanh(0.6), half / (1 - 0.36)
    assert (found.value, found.low, found.high) == pytest.approx((0.6, math.tanh(z - reach), math.tanh(z + reach)))
    assert found.value - found.low > found.high - found.value
    spread = mean_coefficient([1, 1, 1, 1, 0.9])
    half = 2.776445 * np.std([1, 1, 1, 1, 0.9], ddof=1) / math.sqrt(5)
    assert (spread.low, spread.high <= 1) == (pytest.approx(0.98 - 2 * half), True)
    same = mean_coefficient([1.0] * 5, step=0.1)
    assert (same.low, same.high) == (pytest.approx(1 - 0.1 * (1 - 0.025**0.2)), 1.0)
    assert math.isnan(mean_coefficient([0.5] * 4).low)


def test_a_p_value_agrees_with_scipy_and_with_the_interval():
    random = np.random.default_rng(1)
    for _ in range(50):
        x = random.standard_normal(6) + 0.8
        found = mean_t(x)
        assert p_of_mean(x) == pytest.approx(stats.ttest_1samp(x, 0).pvalue)
        assert (p_of_mean(x) <= 0.05) == (found.low > 0 or found.high < 0)
    assert (p_of_mean([2.0] * 5), p_of_mean([0.0] * 5)) == (0.0, 1.0)
    assert math.isnan(p_of_mean([1.0, 2.0, 3.0, 4.0]))


def test_an_interval_over_images_agrees_with_scipy():
    for right, images in ((0, 10), (7, 10), (431, 500)):
        found = over_images(right / images, images)
        wilson = stats.binomtest(right, images).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high))
    assert math.isnan(over_images(0.5, 0).low)


EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}'


def test_the_report_is_one_self_contained_file_that_runs_nothing(tmp_path):
    from html.parser import HTMLParser

    from analysis import report

    study = replace(STUDY, data=EVIL, model=EVIL, question=EVIL)
    (tmp_path / "study.json").write_text(json.dumps(study.record()))
    frame = table()
    for name, rows in frame.groupby("trial"):
        records = rows.astype(object).where(rows.notna(), None).to_dict("records")
        for r in records:
            r["seed"], r["rank"], r["trial"] = int(r["seed"]), int(r["rank"]), f"t{abs(hash(name))}"
        results.publish_trial(tmp_path, records[0]["trial"], records, {})
    note = {"identity": {"trial": "x", "seed": 0}, "cause": EVIL, "log": EVIL}
    results.note_failure(tmp_path, "x", note)
    summary = report.write(tmp_path)
    html = (tmp_path / "report.html").read_text()
    seen = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append((tag, dict(attrs)))

    Parser().feed(html)
    assert not [tag for tag, _ in seen if tag in ("script", "iframe", "object", "link", "form")]
    images = [attrs for tag, attrs in seen if tag == "img"]
    assert images
    assert all(a["src"].startswith("data:image/png;base64,") and "onerror" not in a for a in images)
    assert "{{7*7}}" in html
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")
    assert [c["id"] for c in summary.claims][:1] == ["A-i-neuron"]
    shown = html.replace("&#39;", "'").replace("&gt;", ">")
    first = summary.claims[0]
    assert f"<b>{drawing.norms(first['statement'])}</b><br>{drawing.norms(first['finding'])}" in shown
    assert first["sentence"] == f"{first['statement']} {first['finding']}"
    assert "l_inf" not in shown.partition("Settings")[0]
    assert html.count("<h2>") >= 5
