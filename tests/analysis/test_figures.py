"""Figures by id, the plain one of any study, and a report with a claim and a figure of one's own."""

import html
import json
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import figures, report, sections
from analysis.claims.judge import judge_all
from analysis.figures import plain, sweep
from analysis.figures.drawing import budget, key, level
from study.spec.errors import UsageError
from study.spec.names import eps_text
from study.store import results
from tests.claim_cases import BITS, MINE, OFF, claim, falls, study, table

PLAIN = {"plain.png", "plain.pdf", "plain.svg"}


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def lines(ax):
    """The curves of an axes: {label: ordinates}."""
    return {c.get_label(): [round(float(v), 2) for v in c.lines[0].get_ydata()] for c in ax.containers}


def test_the_plain_figure_has_a_row_per_moved_axis_and_a_curve_per_arm():
    asked = study(("dense", {}), ("bits", {"bits": BITS}), ("ranks", {"rank": (0, 16, 4), "frobenius": (1.0,)}))
    figure = plain.plain(table(lambda arm, axes: 0.9 - 0.01 * axes.get("bits", 0), asked, noise=0), asked, [])
    bits, rank = figure.axes
    assert (bits.get_xlabel(), rank.get_xlabel()) == ("bits", "rank of the hidden layers")
    assert [t.get_text() for t in bits.get_xticklabels()] == ["0", "8", "4", "2", "1"]
    assert [t.get_text() for t in rank.get_xticklabels()] == ["full", "16", "4"]
    assert lines(bits) == {"dense": [0.9], "quantized": [0.9, 0.82, 0.86, 0.88, 0.89]}
    assert lines(rank) == {"dense": [0.9], "ranks": [0.9, 0.9, 0.9]}


def test_the_plain_figure_shows_what_is_measured_and_leaves_out_the_rest():
    frame = table(falls(0.1))
    assert titles(plain.plain(frame, MINE, [])) == ["clean accuracy"]
    robust = frame.assign(measure="robust_accuracy", norm="l2", eps=0.5)
    asked = replace(MINE, settings={"judged_l2": 0.5, "judged_linf": 0.1})
    if "attack" in frame:
        robust["attack"] = "native/apgd"
    both = plain.measures(pd.concat([frame, robust], ignore_index=True), asked)
    assert list(both) == ["clean accuracy", "robust accuracy, l2 0.5"]


def test_a_study_of_other_measures_shows_its_first_number_of_a_whole_net():
    frame = table(falls(0.1)).assign(measure="operator_norm", norm="l2", split=None, layer="product")
    inner = frame.assign(layer="layers.0", value=9.0)
    steps = frame.assign(measure="train_loss", layer=None, norm=None, step=1.0)
    assert titles(plain.plain(pd.concat([steps, inner, frame]), MINE, [])) == ["operator norm, product, l2"]
    assert plain.plain(pd.concat([steps, inner]), MINE, []).axes, "nothing to draw is no error"


@pytest.mark.parametrize(
    ("axes", "label"),
    [
        ({"finetune": ("none", "standard")}, "fine-tuning"),
        ({"adversarial_ratio": (0.0, 0.5)}, "adversarial share of a batch"),
        ({"bits": (4,)}, "arm"),
        ({}, "arm"),
    ],
)
def test_words_shares_and_a_single_point_can_be_drawn(axes, label):
    asked = study(("one", axes))
    figure = plain.plain(table(lambda arm, at: 0.5, asked), asked, [])
    assert [ax.get_xlabel() for ax in figure.axes] == [label]


def test_seeds_are_averaged_over_what_else_an_arm_moves():
    """Two levels of rows removed at each seed: the mean of both stands at each number of bits, n = seeds."""
    asked = study(("both", {"bits": (0, 4), "prune_ratio": (0.0, 0.5)}))
    figure = plain.plain(table(lambda arm, axes: 0.8 - 0.4 * axes["prune_ratio"], asked, noise=0), asked, [])
    assert [lines(ax) for ax in figure.axes] == [{"both": [0.7, 0.7]}, {"both": [0.8, 0.6]}]


def test_an_axis_shows_the_arms_that_move_it_and_legends_what_they_hold_differently():
    """The mean over alpha of the arm that has bits at one value is no net's number at those bits."""
    held = {"alpha": (0.0, 0.1), "penalty": ("group_lasso",)}
    asked = study(("alone", held | {"bits": (0,)}), ("both", held | {"bits": (4,)}), ("fewer", {"bits": (0, 4)}))
    alpha, bits = plain.plain(table(lambda arm, axes: 0.5, asked, noise=0), asked, []).axes
    assert lines(alpha) == {"alone (float32)": [0.5, 0.5], "both (4 bit)": [0.5, 0.5]}
    assert lines(bits) == {"fewer": [0.5, 0.5]}


def test_the_judged_budget_is_dark_also_where_it_is_the_only_one():
    frame = table(lambda arm, axes: 0.5, study(("neuron", {"alpha": (0.0, 0.1)})), noise=0)
    robust = frame.assign(measure="robust_accuracy", attack="native/apgd", norm="linf")
    both = pd.concat([frame, robust.assign(eps=0.05), robust.assign(eps=0.1)], ignore_index=True)
    colors = []
    for budgets in ([0.1], [0.05, 0.1]):
        settings = {"eps_linf": budgets, "eps_l2": [0.5], "judged_linf": 0.1, "judged_l2": 0.5}
        asked = study(("neuron", {"alpha": (0.0, 0.1)}), settings=settings)
        drawn = {c.get_label(): c.lines[0].get_color() for c in sweep.robustness(both, asked, []).axes[0].containers}
        colors.append(drawn["l∞ 0.1 (judged)"])
    assert tuple(colors[0]) == tuple(colors[1])


@pytest.mark.parametrize("heights", [(0.1, 0.3, 0.5, 0.7, 0.9), (0.9, 0.95)])
def test_no_curve_runs_through_a_legend(heights):
    ax = Figure(figsize=(3.4, 2.9)).subplots()
    for y in heights:
        ax.plot([0, 1], [y, y], marker="o", label=f"a curve at {y}")
    ax.set_ylim(0, 1.02)
    key(ax, fontsize=7.5)
    box = ax.get_legend().get_window_extent()
    for y in heights:
        assert not any(box.contains(*ax.transData.transform((x, y))) for x in (i / 50 for i in range(51)))
    assert max(t for t in ax.get_yticks() if t <= ax.get_ylim()[1]) <= 1.02, "there is no accuracy above 1"
    assert (ax.get_ylim()[1] > 1.02) == (len(heights) > 2), "the axis grows only where it must"


@pytest.mark.parametrize(
    ("eps", "norm", "text"),
    [(16 / 255, "linf", "16/255"), (0.5 / 255, "linf", "0.5/255"), (0.25 / 255, "linf", "0.25/255"),
     (0.1, "linf", "0.1"), (0.005, "linf", "0.005"), (1.5 / 255, "linf", "0.00588235"), (0.5, "l2", "0.5")],
)  # fmt: skip
def test_a_budget_is_written_as_people_give_it(eps, norm, text):
    assert budget(eps, norm) == text
    assert eps_text(eps, norm) == text.replace("/", "_")


def test_levels_have_the_words_of_their_knob():
    assert [level("rank", 0), level("rank", 8), level("alpha", 0.0), level("finetune", "none")] == [
        "full", "8", "0", "none",
    ]  # fmt: skip


def written(folder, asked, frame):
    """A results folder of a study and its table."""
    folder.mkdir()
    manifest = replace(asked, question="Why?", figure="f", version="0", data_digest="d")
    (folder / "study.json").write_text(json.dumps(manifest.record()))
    for i, (_, rows) in enumerate(frame.groupby("trial", sort=False)):
        records = rows.astype(object).where(rows.notna(), None).to_dict("records")
        for r in records:
            r |= {name: type(OFF[name])(r[name]) for name in OFF} | {"seed": int(r["seed"]), "trial": f"t{i}"}
        results.publish_trial(folder, f"t{i}", records, {})
    return folder


def test_a_study_without_figures_or_claims_gets_a_plain_report(tmp_path):
    folder = written(tmp_path / "out", MINE, table(falls(0.1)))
    summary = report.write(folder)
    assert summary.claims == []
    assert {p.name for p in (folder / "figures").iterdir()} == PLAIN
    page = (folder / "report.html").read_text()
    assert "planted" not in page
    assert "Claims and verdicts" not in page
    assert "95 % t intervals" in page


def test_a_claim_and_a_figure_of_ones_own(tmp_path):
    seen = []

    def mine(frame, study, judgements):
        seen.extend(j.claim.id for j in judgements)
        return Figure()

    folder = written(tmp_path / "out", MINE, table(falls(0.1)))
    own = claim("difference", at={"bits": 1}, expected=-1)
    summary = report.write(folder, claims=(own, "A-i-neuron"), figures=(("mine", "My own", mine), "plain"))
    first, second = summary.claims
    assert (first["id"], first["verdict"], first["statement"]) == ("mine", "supported", "It is so.")
    assert (second["verdict"], second["reasons"]) == ("regime not reached", ["the study has no arm neuron"])
    assert summary.claims[0]["value"] == pytest.approx(-0.4, abs=0.02)
    assert seen == ["mine"], "a figure gets what could be asked"
    assert {p.name for p in (folder / "figures").iterdir()} == PLAIN | {"mine.png", "mine.pdf", "mine.svg"}
    page = (folder / "report.html").read_text()
    assert "<h2>My own</h2>" in page
    assert "A difference is taken within each seed" in page
    assert "Spearman" not in page
    assert "the same pipeline detects its control" in page
    assert "here that is the control (w)." in page
    alone = judge_all(table(falls(0.1)), MINE, [replace(own, control=None)])
    assert sections.how(MINE, alone)[-1] == "No verdict is given, for the study has no control."


def test_study_json_names_the_claims_and_figures(tmp_path):
    """The names in it hold, also where there are none, over those that folders of this study had before."""
    old = replace(MINE, name="compression_levels")
    assert [list(names) for names in report.named(old)] == [[], ["bytes"]]
    folder = written(tmp_path / "out", replace(old, claims=("A-i-neuron",), figures=()), table(falls(0.1)))
    (listed,) = report.write(folder).claims
    assert (listed["verdict"], listed["value"]) == ("regime not reached", None)
    assert "Regime not reached because the study has no arm neuron." in (folder / "report.html").read_text()
    assert {p.name for p in (folder / "figures").iterdir()} == PLAIN


def test_before_a_trial_is_finished_no_claim_can_be_asked(tmp_path):
    folder = written(tmp_path / "out", MINE, table(falls(0.1)).iloc[:0])
    assert report.write(folder, claims=(claim("order"),)).claims == []
    assert "No claim can be asked about these trials yet" in (folder / "report.html").read_text()


def breaks(frame, study, judgements):
    return frame["no such\ncolumn"]


def test_a_figure_that_raises_costs_itself_alone(tmp_path, caplog):
    folder = written(tmp_path / "out", MINE, table(falls(0.1)))
    chosen = (("dead", "Dead units", breaks), ("none", "None", lambda *given: None), "plain")
    summary = report.write(folder, claims=(claim("order"),), figures=chosen)
    assert len(summary.claims) == 1
    said = "figure dead could not be drawn: KeyError: 'no such\\ncolumn'"
    assert summary.undrawn == [said, summary.undrawn[1]]
    assert summary.undrawn[1].startswith("figure none could not be drawn: AttributeError: ")
    assert f"  {said}" in summary.text().splitlines()
    assert {p.name for p in (folder / "figures").iterdir()} == PLAIN
    page = html.unescape((folder / "report.html").read_text())
    assert f"<h2>Dead units</h2>\n<p>This {said}.</p>" in page
    assert page.count("<img") == 1
    assert "Traceback" in caplog.text


def test_a_claim_that_raises_is_listed_without_a_number(tmp_path):
    folder = written(tmp_path / "out", MINE, table(falls(0.1)))
    wrong = claim("difference", axis="no_such_axis")
    broken, whole = report.write(folder, claims=(wrong, replace(claim("order"), id="whole"))).claims
    assert (broken["verdict"], broken["value"]) == ("regime not reached", None)
    assert broken["reasons"] == ["it could not be judged: KeyError: 'no_such_axis'"]
    assert whole["value"] == pytest.approx(-1.0)
    assert (folder / "figures/plain.png").exists()


def test_arms_without_a_trial_are_left_out_of_a_figure():
    """Settings that mean nothing where another axis is off stand at their off value: no trial is at the arm's own."""
    there, gone = {"alpha": (0.0, 0.1)}, {"rank": (0, 8), "adversarial_ratio": (0.3, 0.5)}
    frame = table(lambda arm, axes: 0.5, study(("neuron", there)), noise=0)
    settings = {"eps_linf": [0.1], "eps_l2": [0.5], "judged_linf": 0.1, "judged_l2": 0.5}
    both = study(("neuron", there), ("spectral", gone), settings=settings)
    assert [lines(ax) for ax in plain.plain(frame, both, []).axes] == [{"neuron": [0.5, 0.5]}]
    drawn = sweep.robustness(frame, both, [])
    assert [ax.get_ylabel() for ax in drawn.axes if ax.get_ylabel()] == ["neuron arm"]
    assert len(sweep.prunability(frame, both, []).axes) == 1
    alone = study(("spectral", gone), settings=settings)
    held = study(("spectral", {"rank": (8,)}), settings=settings)
    for asked in (alone, held):
        for draw in (plain.plain, sweep.robustness, sweep.prunability):
            assert not any(ax.containers for ax in draw(frame, asked, []).axes), "nothing to draw is no error"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"claims": ["A-i-neurons"]}, "did you mean A-i-neuron?"),
        ({"figures": ["byte"]}, "did you mean bytes?"),
        ({"figures": [("../x", "t", print)]}, "a file's name"),
        ({"figures": [("x", "t")]}, "(id, title, function)"),
        ({"figures": [("plain", "t", print), "plain"]}, "two different figures have the id 'plain'"),
        ({"claims": [claim("kendall")]}, "statistic must be one of"),
    ],
)
def test_what_is_not_known_is_refused_before_anything_is_written(tmp_path, given, message):
    folder = written(tmp_path / "out", MINE, table(falls(0.1)))
    with pytest.raises(UsageError) as refused:
        report.write(folder, **given)
    assert message in str(refused.value)
    assert sorted(p.name for p in folder.iterdir()) == ["study.json", "trials"]


def test_figures_are_found_by_id():
    (found,) = figures.find(["plain"])
    assert found == ("plain", *figures.FIGURES["plain"])
    assert figures.find(["plain", "plain"]) == [found]
    assert set(figures.CAPTIONS) <= set(figures.FIGURES)


def test_captions_say_how_many_seeds_and_whether_there_are_intervals():
    assert figures.caption("robustness", replace(MINE, seeds=[0, 1, 2, 3, 4])) == (
        "Means over 5 seeds; bars are 95 % t intervals."
    )
    assert figures.caption("robustness", replace(MINE, seeds=[0, 1])) == (
        "Means over 2 seeds, too few for intervals (they need 5)."
    )
    assert figures.caption("fronts", MINE) == ""
