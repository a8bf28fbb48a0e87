"""What a reader of a report and its figures meets: words, levels, sources, files, what is said of an empty front."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import costs, finalists, levels, origin, report, sections
from analysis.figures import FIGURES, drawing, labels, pareto, plain
from analysis.figures.costs import stored_bytes
from analysis.intervals import Interval
from study.spec.errors import UsageError
from study.spec.names import gathered, reproduced
from tests.analysis.test_figures import written
from tests.analysis.test_fronts import table as search_table
from tests.claim_cases import MINE, falls, study, table
from tests.helpers import ROOT

TUNED = {"finetune": ("standard",), "finetune_epochs": (3,)}
LEVELS = study(
    ("uncompressed", {}), ("bits", {"bits": (8, 4)}), ("bits_standard", {"bits": (8, 4), **TUNED}),
    settings={"judged_linf": 16 / 255, "judged_l2": 0.5},
)  # fmt: skip


def measured():
    """LEVELS' table: clean accuracy .9, robust accuracy falling by .1 per step and two thirds regained, bytes."""
    lost = {0: 0.0, 8: 0.1, 4: 0.2}
    clean = table(lambda arm, axes: 0.9, LEVELS, noise=0)
    robust = clean.assign(
        measure="robust_accuracy", attack="native/apgd", norm="linf", eps=16 / 255,
        value=[0.6 - lost[b] / (2 if f == "standard" else 1) for b, f in zip(clean.bits, clean.finetune, strict=True)],
    )  # fmt: skip
    size = clean.assign(measure="stored_bytes", split=None, value=[1000.0 * (b or 32) for b in clean.bits])
    frame = pd.concat([clean, robust, size], ignore_index=True)
    frame["eps"] = frame["eps"].astype(float)
    return frame


def test_a_study_without_claims_ends_with_a_table_of_its_levels():
    found = levels.levels(measured(), LEVELS)
    robust = "robust accuracy, l∞ 16/255"
    assert [(row["level"], row["stored bytes"], row[robust], row[f"{robust}: change"]) for row in found] == [
        ("as trained", "32,000", "0.60 [0.60, 0.60]", ""),
        ("8 bit", "8,000", "0.50 [0.50, 0.50]", "-0.10 [-0.10, -0.10]"),
        ("4 bit", "4,000", "0.40 [0.40, 0.40]", "-0.20 [-0.20, -0.20]"),
        ("8 bit, fine-tuned, 3 epochs", "8,000", "0.55 [0.55, 0.55]", "-0.05 [-0.05, -0.05]"),
        ("4 bit, fine-tuned, 3 epochs", "4,000", "0.50 [0.50, 0.50]", "-0.10 [-0.10, -0.10]"),
    ]
    lines = levels.text(found)
    assert lines[0].split("  ")[0] == "level"
    assert len({line.index("0.") for line in lines[1:]}) == 1, "the columns stand below each other"
    assert levels.levels(measured(), study(("one", {}))) == []


def test_arms_of_one_axis_and_one_tuning_do_not_look_alike():
    both = study(("ptq", {"bits": (8, 4)}), ("qat", {"bits": (8, 4), "qat": (1,)}), settings=LEVELS.settings)
    clean = table(lambda arm, axes: 0.9, both, noise=0)
    size = clean.assign(measure="stored_bytes", split=None, value=[1000.0 * b for b in clean.bits])
    ax = stored_bytes(pd.concat([clean, size], ignore_index=True), both, []).axes[0]
    looks = {c.get_label(): (c.lines[0].get_color(), c.lines[0].get_markerfacecolor()) for c in ax.containers}
    assert len(looks) == len(set(looks.values())) == 2
    assert looks["qat"][1] == "white"


def test_what_nets_cost_stands_level_by_level_with_what_older_tables_lack_left_empty(tmp_path):
    frame = measured()
    size = frame[frame["measure"] == "stored_bytes"]
    timed = size.assign(measure="latency_seconds", value=[0.001 * (2 + s) for s in size.seed], deterministic=False)
    eight = timed[timed["bits"] == 8].assign(measure="integer_latency_seconds", value=0.0005)
    frame = pd.concat([frame, timed, eight], ignore_index=True)
    found = costs.costs(frame, LEVELS)
    middle = f"{2 + size.seed.drop_duplicates().median():.3g}"
    ms, whole = "ms per image", "ms per image, integer kernels"
    assert [(row["level"], row["stored bytes"], row[ms], row[whole]) for row in found] == [
        ("as trained", "32,000", middle, ""),
        ("8 bit", "8,000", middle, "0.5"),
        ("4 bit", "4,000", middle, ""),
        ("8 bit, fine-tuned, 3 epochs", "8,000", middle, "0.5"),
        ("4 bit, fine-tuned, 3 epochs", "4,000", middle, ""),
    ]
    assert costs.costs(frame[frame["measure"] != "stored_bytes"], LEVELS) == []
    report.write(written(tmp_path / "out", replace(LEVELS, figures=("bytes",)), frame), claims=("A-i-neuron",))
    page = (tmp_path / "out/report.html").read_text()
    assert "<h2>What the nets cost</h2>" in page
    assert f"<th>{whole}</th>" in page


def test_the_levels_stand_in_the_summary_and_the_report(tmp_path):
    folder = written(tmp_path / "out", replace(LEVELS, figures=("bytes",), command="python -m study.launch mine"),
                     measured())  # fmt: skip
    summary = report.write(folder)
    assert any(line.strip().startswith("4 bit, fine-tuned, 3 epochs") for line in summary.text().splitlines())
    page = (folder / "report.html").read_text()
    assert "<h2>Level by level</h2>" in page
    for word in ("SA, clean accuracy", "RA, robust accuracy", "RA/SA", "ν, σ", "ε of ν", "arm"):
        assert f"<dt>{word}" in page, word
    assert "Command: <code>python -m study.launch mine</code>" in page
    judged = report.write(folder, claims=("A-i-neuron",))
    assert judged.levels == [], "a study that judges claims has its verdicts"


def test_the_figure_of_bytes_names_its_levels_and_its_legend_reads_as_words():
    figure = FIGURES["bytes"][1](measured(), LEVELS, [])
    for ax in figure.axes:
        assert sorted(text.get_text() for text in ax.texts) == ["4 bit", "8 bit"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["uncompressed", "quantized", "quantized, fine-tuned"]


def test_the_report_says_when_where_and_how_long(tmp_path):
    from study.store import results
    from tests.folders import make_folder

    made, _ = make_folder(tmp_path / "out", 2)
    said = " ".join(origin.sentences(tmp_path / "out", replace(made, created=1.7e9 - 60)))
    assert said == (
        "Begun on 2023-11-14 22:12 UTC; the last trial finished on 2023-11-14 22:13 UTC. All trials together took "
        "0:00:20 of wall time and 0:01:12 of CPU time (h:mm:ss). Version 0, commit abc."
    )
    rows = results.scan(tmp_path / "out")[f"{0:016x}"].rows
    rows = [row | {"trial": "t9", "seed": 9} for row in rows]
    results.publish_trial(tmp_path / "out", "t9", rows, {"host": "node3", "device": "cpu", "finished": 1.7e9})
    assert "They ran on node3 (CPU)." in origin.sentences(tmp_path / "out", made)
    assert origin.sentences(tmp_path / "nowhere", replace(made, created=0.0, version="")) == []


def test_sources_and_norms_as_a_reader_has_them():
    assert gathered(reproduced(["A.fig7", "A.fig11.right", "A.tab1"])) == "paper A, Figures 7 and 11 right and Table 1"
    assert (
        gathered(reproduced(["A.tab2", "A.tab3", "A.tab4", "B.tab2"])) == "paper A, Tables 2, 3 and 4; paper B, Table 2"
    )
    assert [gathered(text) for text in ("", "none; f")] == ["", "none; f"]
    assert drawing.norms("under l_inf, l_2 .5 and l_1; xl_2") == "under l∞, l2 .5 and l1; xl_2"


def test_large_costs_are_whole_numbers_with_their_intervals():
    assert sections._number("stored_bytes", Interval(66753.2, 66250.4, 67256.0, 5)) == "66753 [66250, 67256]"
    assert sections._number("stored_bytes", Interval(1250.0, 1250.0, 1250.0, 5)) == "1250"
    assert sections._number("latency_seconds", Interval(0.00123, 0.0012, 0.00125, 5)) == "0.00123 [0.0012, 0.00125]"


def test_a_net_without_a_penalty_or_a_mask_stands_at_none():
    frame = pd.DataFrame(
        {"alpha": [0.0, 0.1, 0.1], "penalty": ["group_lasso", "group_lasso", "nuclear_norm"],
         "keep_prob": [1.0, 0.5, 1.0], "lam": [0.0, 0.0, 0.2], "mask": ["magnitude", "bernoulli", "magnitude"]}
    )  # fmt: skip
    found = labels.without_idle(frame)
    assert list(found["penalty"]) == ["none", "group_lasso", "nuclear_norm"]
    assert list(found["mask"]) == ["none", "bernoulli", "magnitude"]
    asked = study(("both", {"alpha": (0.0, 0.1), "penalty": ("group_lasso", "nuclear_norm")}))
    drawn = plain.plain(table(lambda arm, axes: 0.5, asked), replace(asked, arms=()), [])  # a search has no arms
    drawing.files(drawn)
    (penalty,) = (ax for ax in drawn.axes if ax.get_xlabel() == "penalty")
    assert {t.get_text() for t in penalty.get_xticklabels()} == {"none", "group_lasso", "nuclear_norm"}


def touching(figure):
    """Pairs of tick labels, drawn level, that overlap."""
    renderer = figure.canvas.get_renderer() if hasattr(figure.canvas, "get_renderer") else None
    figure.savefig("/dev/null", format="png")
    renderer = renderer or figure.canvas.get_renderer()
    found = []
    for ax in figure.axes:
        texts = [t for t in ax.get_xticklabels() if t.get_text() and t.get_visible() and not t.get_rotation()]
        boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
        found += [(a, b) for (a, one), (b, two) in itertools.combinations(boxes, 2) if one.overlaps(two)]
    return found


@pytest.mark.parametrize(
    "values", [(0.0, 0.0001, 0.00025, 0.0005, 0.00125, 0.0025), ("none", "standard", "adversarial")]
)
def test_tick_labels_do_not_touch(values):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    axis = "finetune" if isinstance(values[0], str) else "alpha"
    asked = study(("one", {axis: values}), settings={"judged_linf": 16 / 255, "judged_l2": 0.5})
    frame = table(lambda arm, axes: 0.5, asked)
    attacked = [
        frame.assign(measure="robust_accuracy", attack="native/apgd", norm=norm, eps=eps)
        for norm, eps in (("linf", 16 / 255), ("l2", 0.5))
    ]
    drawn = plain.plain(pd.concat([frame, *attacked], ignore_index=True), asked, [])
    FigureCanvasAgg(drawn)
    assert touching(drawn) == []
    ax = drawn.axes[0]
    ax.set_xticks(range(6), ["a long label"] * 6)
    for label in ax.get_xticklabels():
        label.set_rotation(0)
    assert touching(drawn), "the test sees what touches"


def test_values_at_one_axis_of_the_parallel_figure_stand_apart():
    column = pd.Series([0.2, 0.55, 0.56, 1.0])
    places = np.array([0.0, 0.5, 0.51, 1.0])
    assert [value for _, value in pareto._ticks(column, places)] == [0.2, 0.55, 1.0]


def test_figures_are_files_of_three_kinds_and_repeatable():
    def made():
        return drawing.files(plain.plain(table(falls(0.1)), MINE, []))

    first = made()
    assert list(first) == ["png", "pdf", "svg"]
    assert first == made()
    assert first["pdf"].startswith(b"%PDF")
    assert b"CreationDate" not in first["pdf"]
    assert b"<dc:date>" not in first["svg"]


ALL = {8: ([0.5, 0.6], 800, 0.9), 4: ([0.4, 0.4], 400, 0.9)}
BELOW = {8: ([0.5, 0.6], 800, 0.7), 4: ([0.4, 0.4], 400, 0.6)}


def test_a_search_without_a_model_says_so_and_keeps_its_columns(tmp_path):
    there = finalists.models(tmp_path, *search_table(ALL))
    frame, asked = search_table(BELOW)
    none = finalists.models(tmp_path, frame, asked)
    assert list(none.columns) == [c for c in there.columns if c != "bits"]
    assert len(none) == 0
    assert finalists.why_none(frame, asked) == (
        "No model meets the floor: clean accuracy from 0.8 was asked, the best that was reached is 0.700, trial b8s0"
    )
    assert finalists.why_none(*search_table(ALL)) == ""
    frame["status"] = "diverged"
    assert list(finalists.models(tmp_path, frame, asked).columns) == list(none.columns)
    assert finalists.why_none(frame, asked) == (
        "No model: no trial of this search has finished with its numbers (4 diverged); of 2 finalists 0 have their "
        "numbers"
    )


def test_the_report_of_a_search_without_a_model_says_so(tmp_path):
    frame, asked = search_table(BELOW)
    search = dict(asked.search) | {"evaluations": 2, "sampler_seed": 0}
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "study.json").write_text(json.dumps(replace(asked, search=search | {"family": "compressed"}).record()))
    from study.store import results

    for name, rows in frame.groupby("trial"):
        records = rows.astype(object).where(rows.notna(), None).to_dict("records")
        for row in records:
            row |= {"seed": int(row["seed"]), "study": "s", "family": "compressed"}
        results.publish_trial(folder, name, records, {})
    summary = report.write(folder, figures=("fronts",))
    said = (
        "No model meets the floor: clean accuracy from 0.8 was asked, the best that was reached is 0.700, trial b8s0."
    )
    assert f"  {said}" in summary.text().splitlines()
    assert f"<h2>No front</h2>\n<p>{said}</p>" in (folder / "report.html").read_text()
    assert (folder / "front.csv").read_text().startswith("trial,robust_accuracy,")


def test_the_notebook_of_the_docs_draws(tmp_path, monkeypatch):
    text = (ROOT / "docs/operations.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (block,) = (block for block in blocks if "analysis.notebook" in block)
    written(tmp_path / "finetuning_sweep-laptop", replace(LEVELS, figures=("bytes",)), measured())
    (tmp_path / "results").mkdir()
    (tmp_path / "finetuning_sweep-laptop").rename(tmp_path / "results/finetuning_sweep-laptop")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block.replace("%matplotlib inline\n", ""), names)
    assert (tmp_path / "levels.pdf").read_bytes().startswith(b"%PDF")
    assert [ax.get_xlabel() for ax in names["figure"].axes] == ["stored bytes", "stored bytes"]
    with pytest.raises(UsageError, match="did you mean bytes"):
        names["draw"]("results/finetuning_sweep-laptop", "byte")
    with pytest.raises(UsageError, match="has no figures at 'frobenius 2'"):
        names["draw"]("results/finetuning_sweep-laptop", "bytes", at="frobenius 2")
