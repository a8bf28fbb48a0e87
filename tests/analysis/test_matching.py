"""Level matching: validation images choose, test images report; and the figure of levels that marks the choice."""

from dataclasses import replace

import pandas as pd
import pytest

from analysis import matched, matching, report
from analysis.figures.levels import levels
from tests.analysis.test_figures import written
from tests.claim_cases import OFF, study, table

RATIOS, BITS = (0.0, 0.2, 0.5, 0.8), (16, 8, 4)
TUNED = {"finetune": ("adversarial",), "finetune_epochs": (3,)}
BOTH = {"adversarial_ratio": (0.0, 1.0)}
ASKED = study(
    ("none", BOTH), ("none_adversarial", {**BOTH, **TUNED}),
    ("pruned", {**BOTH, "prune_ratio": RATIOS}), ("pruned_adversarial", {**BOTH, "prune_ratio": RATIOS, **TUNED}),
    ("quantized", {**BOTH, "bits": BITS}), ("quantized_adversarial", {**BOTH, "bits": BITS, **TUNED}),
    settings={"judged_linf": 0.1, "eps_l2": ()}, figures=("levels",), claims=(), model="cnn8",
)  # fmt: skip
ASKED = replace(ASKED, arms=tuple(replace(arm, about=("adversarial_ratio",)) for arm in ASKED.arms))
PRUNED = {0.2: 0.95, 0.5: 0.9, 0.8: 0.7}  # clean accuracy of standard nets after adversarial fine-tuning
INT8 = 0.88


def accuracy(row, pruned, int8):
    """What a net has: the given numbers after adversarial fine-tuning of standard nets, numbers far from them else."""
    if row.finetune != "adversarial" or row.adversarial_ratio or not (row.prune_ratio or row.bits):
        return INT8 if row.prune_ratio == 0.2 else 0.5
    return pruned[row.prune_ratio] if row.prune_ratio else {16: 0.96, 8: int8, 4: 0.6}[row.bits]


def made(test=PRUNED, validation=PRUNED, test_int8=INT8, validation_int8=INT8, seeds=6):
    """A table with the given accuracies on test and on validation images; robust accuracy is half of the clean one."""
    base = table(lambda arm, axes: 0.0, ASKED, seeds=seeds, noise=0).drop_duplicates(["seed", *OFF])
    clean = base.assign(value=[accuracy(r, test, test_int8) for r in base.itertuples()])
    robust = clean.assign(
        measure="robust_accuracy", attack="native/apgd", norm="linf", eps=0.1, value=clean["value"] / 2
    )
    frames = [clean, robust]
    if validation:
        seen = [accuracy(r, validation, validation_int8) for r in base.itertuples()]
        frames.append(base.assign(split="validation", value=seen))
    return pd.concat(frames, ignore_index=True).astype({"eps": float})


def test_the_nearest_level_is_chosen_and_of_equally_near_ones_the_lower():
    assert matching.nearest({0.2: 0.95, 0.5: 0.9, 0.8: 0.7}, 0.88) == 0.5
    assert matching.nearest({0.2: 0.95, 0.8: 0.7}, 0.2) == 0.8
    assert matching.nearest({0.8: 0.7, 0.5: 0.9}, 0.8) == 0.5, "both .1 away, but for what rounding makes of it"
    assert matching.nearest({0.8: 0.9, 0.5: 0.9}, 0.9) == 0.5
    with pytest.raises(ValueError, match="no level"):
        matching.nearest({}, 0.9)


def test_the_answer_of_a_table_made_by_hand():
    (found,) = matching.matches(made(), ASKED)
    assert (found.level, found.target, found.seeds) == (0.5, pytest.approx(INT8), 6)
    assert found.levels == pytest.approx(PRUNED)
    clean, robust = matched.rows(made(), ASKED, found)
    assert list(clean.values()) == ["clean accuracy", "0.900 [0.900, 0.900]", "0.880 [0.880, 0.880]",
                                    "+0.020 [+0.020, +0.020]"]  # fmt: skip
    assert (robust["number"], robust["difference"]) == ("robust accuracy, l∞ 0.1", "+0.010 [+0.010, +0.010]")


def test_validation_images_choose_where_test_images_would_choose_otherwise():
    frame = made(test={0.2: 0.95, 0.5: 0.6, 0.8: 0.88}, validation={0.2: 0.95, 0.5: 0.87, 0.8: 0.7})
    (found,) = matching.matches(frame, ASKED)
    assert found.level == 0.5
    clean, _ = matched.rows(frame, ASKED, found)
    assert clean["pruned"].startswith("0.600"), "what it is worth is said by the test images"
    assert clean["difference"].startswith("-0.280")


def test_one_choice_is_made_for_all_seeds_by_their_mean():
    frame = made()
    one = (frame["split"] == "validation") & (frame["seed"] == 0) & (frame["prune_ratio"] == 0.5)
    frame.loc[one, "value"] = 0.0  # alone this seed would take .2; the mean of .5 is .75, of .8 .7, of .2 .95
    (found,) = matching.matches(frame, ASKED)
    assert found.level == 0.2
    assert found.levels[0.5] == pytest.approx(0.75)


def test_a_level_that_lacks_a_seed_is_left_out_and_named():
    frame = made()
    lost = (frame["seed"] == 3) & (frame["prune_ratio"] == 0.5)
    (found,) = matching.matches(frame[~lost], ASKED)
    assert (found.level, found.left_out) == (0.2, (0.5,))
    assert "Left out, for they lack a seed: 50 %." in matched.sentences(found)


def test_without_validation_rows_nothing_is_chosen_and_the_report_says_so(tmp_path):
    folder = written(tmp_path / "out", ASKED, made(validation=None))
    (found,) = report.write(folder).matched
    assert found["level"] is None
    assert found["rows"] == []
    assert "there are no validation rows (--set validation=0.1 --set validation_rows=1)" in found["sentences"][0]
    assert found["sentences"][0] in (folder / "report.html").read_text()


@pytest.mark.parametrize("left", ["pruned", "quantized", "adversarial"])
def test_a_study_without_both_kinds_of_net_says_nothing(left):
    arms = tuple(arm for arm in ASKED.arms if left not in arm.name)
    assert matching.matches(made(), replace(ASKED, arms=arms)) == []


def test_one_share_alone_is_no_choice():
    arms = tuple(replace(a, axes={**a.axes, "prune_ratio": (0.8,)}) if "prune_ratio" in a.axes else a
                 for a in ASKED.arms)  # fmt: skip
    assert matching.matches(made(), replace(ASKED, arms=arms)) == []


def test_the_choice_stands_in_the_summary_and_the_report(tmp_path):
    folder = written(tmp_path / "out", ASKED, made())
    text, page = report.write(folder).text(), (folder / "report.html").read_text()
    assert "Level matching: 50 % of rows removed match 8 bit: the sparsity whose validation accuracy" in text
    assert "(0.880; 20 % 0.950, 50 % 0.900, 80 % 0.700)" in text
    assert "test clean accuracy: 0.900 [0.900, 0.900] against 0.880 [0.880, 0.880], +0.020 [+0.020, +0.020]" in text
    assert "<h2>Which levels may be compared</h2>" in page
    assert "<td>clean accuracy</td><td>0.900 [0.900, 0.900]</td><td>0.880 [0.880, 0.880]</td>" in page


def curves(ax):
    """{label: values} of an axes."""
    return {c.get_label(): [round(float(y), 3) for y in c.lines[0].get_ydata()] for c in ax.containers}


def test_the_figure_has_both_compressions_both_trainings_and_the_choice():
    figure = levels(made(), ASKED, [])
    clean_pruned, clean_bits, robust_pruned, _ = figure.axes
    tuned = "standard net, fine-tuned adversarially"
    assert set(curves(clean_pruned)) == {tuned, "standard net, not fine-tuned", "robust net, fine-tuned adversarially",
                                         "robust net, not fine-tuned"}  # fmt: skip
    assert curves(clean_pruned)[tuned] == [0.5, 0.95, 0.9, 0.7], "from the net that nothing compressed"
    assert curves(clean_bits)[tuned] == [0.5, 0.96, 0.88, 0.6]
    assert curves(robust_pruned)[tuned] == [0.25, 0.475, 0.45, 0.35]
    assert [t.get_text() for t in clean_pruned.get_xticklabels()] == ["none", "20 %", "50 %", "80 %"]
    assert [t.get_text() for t in clean_bits.get_xticklabels()] == ["none", "16 bit", "8 bit", "4 bit"]
    bands = [(band.get_x(), band.get_width()) for ax in figure.axes for band in ax.patches]
    assert bands == [(1.7, pytest.approx(0.6))] * 4, "50 % and 8 bit"
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[:2] == [tuned, "standard net, not fine-tuned"]
    assert words[4:] == ["levels matched on validation images"]


def test_the_figure_without_a_choice_or_without_a_compression():
    assert [len(ax.patches) for ax in levels(made(validation=None), ASKED, []).axes] == [0] * 4
    alone = replace(ASKED, arms=tuple(a for a in ASKED.arms if "quantized" not in a.name))
    assert len(levels(made(), alone, []).axes) == 2


def test_a_folder_of_the_study_that_was_before_is_still_reported(here, tmp_path):
    """compression_levels named no claims, and its first folders no figures; it had no validation images."""
    frame = made(validation=None)
    size = frame[frame["measure"] == "clean_accuracy"].assign(measure="stored_bytes", split=None, value=1000.0)
    before = replace(ASKED, name="compression_levels", figures=None, claims=None)
    folder = written(tmp_path / "out", before, pd.concat([frame, size], ignore_index=True))
    done = here("report", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "compression_levels is no study of this project" in done.stderr
    assert "no share of filters is matched to 8 bit: there are no validation rows" in done.stdout
    assert (folder / "figures/bytes.png").exists()
