"""The papers' tables as data: verbatim, and ours beside them only where the two may be compared."""

import hashlib
import html
import json
import re
from dataclasses import replace
from importlib import resources

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import published, report
from analysis.published import beside, cells
from study.spec.attack_names import REVISIONS
from study.spec.knobs import KNOBS
from study.spec.names import reproduced, source_name
from study.store import results
from tests.claim_cases import OFF, study
from tests.helpers import ROOT

DIGESTS = {
    "paper_a.csv": "1da083b0385aea3fdc87fa6373acc5da22f79513b3df49c6f6ab030d49cc3789",
    "paper_c.csv": "a42f440543906882ffeb03dc4206d4040c43e63feda08bb0a43a46c4a52c5c8f",
}
A = ("A.tab1", "A.tab2", "A.tab3", "A.tab4")
EPS = 2 / 255
ALPHAS = (0.0, 0.001, 0.005, 0.01, 0.05, 0.1)

# A second reading of the paper, typed by hand.
SWIN_RA, SWIN_SA = "384 360 357 326 155 083", "889 877 887 880 881 875"
TYPED = {
    ("A.tab1", "robust_accuracy"): "111 333 479 519 510 002 061 263 371 390 000 002 032 113 179 000 000 000 005 019",
    ("A.tab2", "robust_accuracy"): "383 362 369 219 123 111",
    ("A.tab2", "clean_accuracy"): "920 926 921 893 873 829",
    ("A.tab2", "relative_robust_accuracy"): "416 401 391 245 141 134",
    ("A.tab3", "robust_accuracy"): SWIN_RA,
    ("A.tab3", "clean_accuracy"): SWIN_SA,
    ("A.tab3", "relative_robust_accuracy"): "432 410 402 370 176 095",
    ("A.tab4", "robust_accuracy"): SWIN_RA,
    ("A.tab4", "clean_accuracy"): SWIN_SA,
    ("A.tab4", "loss_gap"): "505 517 530 554 726 792",
}


# Paper C likewise, row by row: what is printed, and its deviation.
TYPED_C = {
    "C.tab2": "90.49 .22 4.26 2.36 87.87 .33 82.51 .16 85.37 .44 77.53 1.17 88.74 .00 0.05 .00 85.72 .27 57.22 .91",
    "C.tab3": "33.21 3.96 88.94 1.03 83.91 1.53 00.33 .64 00.28 .64 76.74 2.33 90.40 .16 90.07 .56 84.93 .71 "
    "11.72 2.71 7.00 1.44 79.43 .59 16.68 4.57 87.71 .40 84.53 1.21 14.40 5.47 16.26 5.45 78.84 2.04 "
    "87.90 .34 89.54 .47 87.51 .04 82.80 .14 25.66 10.61 82.65 .11",
    "C.tab4": "86.68 .01 89.74 .33 81.98 .71 00.00 .00 00.00 .00 56.99 .11 88.23 .00 90.75 .16 84.21 .93 0.09 "
    ".00 0.01 .00 60.03 .67 74.95 .67 89.31 1.33 83.18 .88 35.31 .77 03.26 .32 57.13 .42 85.64 .32 "
    "90.75 .72 84.31 .22 58.08 .92 03.98 .59 57.23 .63",
    "C.tab7": "24.73 86.07 81.20 3.05 3.60 75.40 30.75 85.30 81.83 24.11 12.02 76.21",
    "C.tab8": "90.49 .22 4.26 2.36 83.91 1.53 76.74 2.23 84.93 .71 79.43 .59 87.87 .33 82.51 .16 84.53 1.21 "
    "78.84 2.04 87.51 .04 82.65 .11 88.27 .42 81.18 1.08",
    "C.tab9": "88.74 .00 0.00 .00 82.62 .17 56.56 .77 84.21 .93 60.03 .67 85.77 .95 57.93 .27 83.55 .86 57.27 "
    ".47 84.31 .22 57.23 .63 83.19 .69 55.38 .52",
}


def of_a():
    return [c for table in A for c in cells(table)]


@pytest.mark.parametrize("name", published.FILES)
def test_no_digit_has_changed(name):
    content = resources.files("analysis.published").joinpath(name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == DIGESTS[name]
    assert '"analysis.published" = ["*.csv"]' in (ROOT / "pyproject.toml").read_text(), "installed with the package"


def test_two_readings_of_the_paper_agree():
    found = {}
    for c in of_a():
        found.setdefault((c.table, c.measure), []).append(c.printed)
    assert found == {key: [f"0.{n}" for n in text.split()] for key, text in TYPED.items()}


def test_rows_and_columns_stand_where_they_do_in_print():
    ratios, budgets = (0.0, 0.05, 0.1, 0.25, 0.5), (2, 4, 8, 16)
    assert [(c.eps, c.at["adversarial_ratio"]) for c in cells("A.tab1")] == [
        (pytest.approx(e / 255), r) for e in budgets for r in ratios
    ]
    for table in ("A.tab2", "A.tab3", "A.tab4"):
        assert [c.at["alpha"] for c in cells(table)] == [*ALPHAS] * 3
    at = {(c.table, c.data, c.model, c.weights) for c in of_a()}
    swin = ("svhn", "swin_t", "pretrained")
    assert at == {
        ("A.tab1", "cifar10", "vit_b8", "none"), ("A.tab2", "cifar10", "vit_b8", "pretrained"),
        ("A.tab3", *swin), ("A.tab4", *swin),
    }  # fmt: skip
    assert {c.norm for c in of_a() if c.measure != "clean_accuracy"} == {"linf"}
    assert all((c.norm is None) == (c.eps is None) == (c.measure == "clean_accuracy") for c in of_a())


def test_every_cell_is_one_of_ours():
    for c in cells():
        assert source_name(c.table)
        assert c.measure in beside.WORDS
        assert set(c.at) <= set(KNOBS)
        assert (c.norm, c.attack) == (None, "") if c.measure == "clean_accuracy" else c.attack in REVISIONS
        assert c.measure == "loss_gap" or 0 <= c.value <= 1
    keys = [(c.table, c.data, c.model, c.measure, c.eps, *sorted(c.at.items())) for c in cells()]
    assert len(set(keys)) == len(keys)
    assert {c.table for c in cells()} == set(published.OPEN)
    assert cells("A.tab9") == []


def test_ra_over_sa_is_what_is_printed_but_for_two_cells_that_say_so():
    by = {(c.table, c.measure, c.at.get("alpha")): c for c in of_a()}
    noted = []
    for c in of_a():
        if c.measure != "relative_robust_accuracy":
            continue
        ra, sa = (by[c.table, m, c.at["alpha"]].value for m in ("robust_accuracy", "clean_accuracy"))
        # RA, SA and the ratio are rounded to three digits each
        agrees = (ra - 0.0005) / (sa + 0.0005) - 0.0005 <= c.value <= (ra + 0.0005) / (sa - 0.0005) + 0.0005
        assert agrees == (not c.note), c
        noted += [(c.table, c.at["alpha"], c.printed, c.note[-5:])] if c.note else []
    assert noted == [("A.tab2", 0.001, "0.401", "0.391"), ("A.tab2", 0.005, "0.391", "0.401")]
    assert [c.table for c in of_a() if c.note] == ["A.tab2", "A.tab2"]


def test_two_readings_of_paper_c_agree():
    for table, text in TYPED_C.items():
        wanted = [float(n) for n in text.split()]
        found = [float(n) for c in cells(table) for n in (c.printed, c.deviation) if n]
        assert found == wanted, table
        assert all(c.value == pytest.approx(float(c.printed) / 100) for c in cells(table))


def levels(table, **at):
    """The printed numbers of a wide table of paper C at some knobs."""
    return {
        (c.data, c.model, c.measure, c.at["adversarial_ratio"], c.at["finetune"]): (c.printed, c.deviation)
        for c in cells(table)
        if {k: c.at.get(k) for k in ("bits", "prune_ratio")} == {"bits": None, "prune_ratio": None} | at
    }


def test_the_wide_tables_of_paper_c_repeat_each_other():
    """Tables 5 and 6 are parts of 10 and 11, and all four begin with the same nets: two readings of each number."""
    assert levels("C.tab5", bits=8) == levels("C.tab10", bits=8)
    assert levels("C.tab6", prune_ratio=0.8) == levels("C.tab11", prune_ratio=0.8)
    nets = levels("C.tab10")
    assert all(levels(t) == nets for t in ("C.tab5", "C.tab6", "C.tab11"))
    assert (len(nets), len(levels("C.tab5", bits=8))) == (6 * 2 * 2 * 2, 6 * 2 * 2 * 2)
    assert {c.at["bits"] for c in cells("C.tab10") if "bits" in c.at} == {16, 8, 4}
    assert {c.at["prune_ratio"] for c in cells("C.tab11") if "prune_ratio" in c.at} == {0.2, 0.5, 0.8}


def test_tables_of_paper_c_that_disagree_say_so_and_no_others_do():
    """Tables 2 and 3 and 8, and 2 and 4 and 9: the same nets, printed twice."""
    told = set()
    for pair in (("C.tab3", "C.tab8"), ("C.tab4", "C.tab9"), ("C.tab2", "C.tab8"), ("C.tab2", "C.tab9")):
        one, other = ({(c.data, c.measure, *sorted(c.at.items())): c for c in cells(t)} for t in pair)
        assert set(one) & set(other)
        for key in set(one) & set(other):
            a, b = one[key], other[key]
            same = (float(a.printed), a.deviation) == (float(b.printed), b.deviation)
            assert same == (not a.note) == (not b.note), (a, b)
            if not same:
                told |= {(a.table, key), (b.table, key)}
                for x, y in ((a, b), (b, a)):
                    assert x.note == f"Table {y.table[-1]} prints {y.printed} ± {y.deviation}"
    assert len(told) == 2 * (1 + 4 + 3)
    others = {(c.table, c.note) for c in cells() if c.note and c.table in ("C.tab5", "C.tab6", "C.tab7", "C.tab11")}
    assert others == {
        ("C.tab5", "unreadable in our copy of the text: taken from Table 10"),
        ("C.tab6", "the header prints f^q for f^p"),
    }


def fine_tuning(alphas=ALPHAS, ratios=(0.5,), **more):
    """A study of one's own that makes Tables 2 to 4 again: its manifest."""
    axes = {"alpha": alphas, "penalty": ("group_lasso",), "frobenius": (0.0,), "adversarial_ratio": ratios}
    settings = {"weights": "timm", "attack_backend": "art", "eps_linf": [EPS], "judged_linf": EPS, "eps_l2": [0.125],
                "judged_l2": 0.125} | more.pop("settings", {})  # fmt: skip
    given = {"data": "cifar10", "model": "vit_b8", "preset": "paper", "revisions": {"revision": 2, "gap_revision": 3}}
    tables = more.pop("reproduces", ("A.tab2",))
    return study(("tuned", axes), **(given | more), settings=settings, figure=reproduced(tables), claims=())


def made(folder, asked, seeds=5, off=0.01):
    """A folder in which every number is the published one plus `off` and a thousandth per seed from -2 to 2."""
    axes = asked.arms[0].axes
    attack = {"attack": beside.attack_of(asked, "configured"), "norm": "linf", "eps": EPS}
    gap = attack | {"attack": beside.attack_of(asked, "gap")}
    trials = []
    for alpha in axes["alpha"]:
        for ratio in axes["adversarial_ratio"]:
            for seed in range(seeds):
                trial = f"{len(trials):016x}"
                trials.append(trial)
                more = off + (seed - 2) / 1000
                net = OFF | {"study": "mine", "family": "regularization", "trial": trial, "seed": seed, "status": "ok",
                             "alpha": alpha, "frobenius": 0.0, "adversarial_ratio": ratio, "split": "test",
                             "deterministic": True}  # fmt: skip
                where = {"robust_accuracy": attack, "relative_robust_accuracy": attack, "clean_accuracy": {},
                         "loss_gap": attack if asked.settings["attack_backend"] == "art" else gap}  # fmt: skip
                values = {c.measure: c.value for c in [*cells("A.tab4"), *cells("A.tab2")] if c.at["alpha"] == alpha}
                rows = [net | where[m] | {"measure": m, "value": v + more} for m, v in values.items()]
                results.publish_trial(folder, trial, rows, {})
    (folder / "study.json").write_text(json.dumps(replace(asked, trials=tuple(trials)).record()))
    summary = report.write(folder, figures=(("none", "No figure", lambda *_: Figure(figsize=(1, 1))),))
    return summary, (folder / "report.html").read_text()


def section(page):
    """The section of the report as a list of its tables' lines, each a list of cells, and all of its words."""
    part = html.unescape(page).partition("<h2>Beside the published numbers</h2>")[2].partition("<h2>")[0]
    lines = re.findall(r"<tr>(.*?)</tr>", part)
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", line) for line in lines], re.sub(r"<[^>]+>", "", part)


def test_ours_stand_beside_the_published_ones_with_their_difference(tmp_path):
    summary, page = made(tmp_path, fine_tuning())
    rows, words = section(page)
    heads = ["number", "budget", "level", "published", "ours, mean over seeds", "seeds", "ours minus published", "note"]
    assert rows[0] == heads
    assert len(rows) == 1 + 18
    # half a t interval of five values .001 apart: 2.776 * .00158 / sqrt(5) = .00196
    assert rows[2] == ["RA", "l∞ 2/255", "alpha 0.001", "0.362", "0.372 [0.370, 0.374]", "5",
                       "+0.010 [+0.008, +0.012]", ""]  # fmt: skip
    assert rows[7][:5] == ["SA", "", "alpha 0", "0.920", "0.930 [0.928, 0.932]"]
    notes = {row[3]: row[-1] for row in rows[13:]}
    assert notes["0.401"] == "swapped with the cell of alpha 0.005 in print: 0.362/0.926 = 0.391"
    assert notes["0.391"].endswith("0.369/0.921 = 0.401")
    assert [n for n, note in notes.items() if note] == ["0.401", "0.391"]
    assert "Table 2" in words
    assert "Table 3" not in words
    assert "The attack here is art/apgd@2; every net: frobenius 0, adversarial" in words
    assert published.OPEN["A.tab2"] in words
    assert "no difference is shown" not in words
    assert "Beside paper A, Table 2: 18 numbers of ours, at most 0.010 away" in summary.text()


def test_what_the_paper_leaves_open_and_the_study_moves_stands_apart(tmp_path):
    _, page = made(tmp_path, fine_tuning(alphas=(0.0, 0.1), ratios=(0.0, 0.5)), seeds=2)
    rows, _ = section(page)
    assert rows[0][3] == "not printed, here"
    assert [row[3] for row in rows[1:3]] == ["adversarial ratio 0", "adversarial ratio 0.5"]
    assert rows[1][4:8] == ["0.383", "0.392", "2", "+0.009"]
    assert rows[3][4:8] == ["0.362", "not measured", "", ""], "an alpha that was not swept"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "cifar10-jpeg"}, "the data here are cifar10-jpeg, the published ones cifar10"),
        ({"preset": "laptop"}, "the preset here is laptop"),
        (
            {"settings": {"weights": "none"}},
            "the nets here begin at random weights, the published ones were pretrained",
        ),
        ({"settings": {"train_size": 4000, "test_size": 500}}, "here train_size 4000, test_size 500"),
        ({"settings": {"width_multiplier": 0.25}}, "here width_multiplier 0.25"),
        ({"settings": {"attack": "pgd"}}, "the attack here is pgd, the published one apgd"),
        ({"command": "study mine --preset paper --set epochs=1"}, "the command sets epochs otherwise than the preset"),
    ],
)
def test_no_difference_is_shown_where_the_protocol_is_another(tmp_path, change, said):
    summary, page = made(tmp_path, fine_tuning(alphas=(0.0, 0.1), **change), seeds=5)
    rows, words = section(page)
    assert "ours minus published" not in rows[0]
    assert rows[1][3:6] == ["0.383", "0.393 [0.391, 0.395]", "5"]
    assert f"no difference is shown: {said}." in words
    assert "6 numbers of ours, not comparable" in summary.text()


def test_the_attacks_that_are_named_on_the_command_line_are_no_other_protocol(tmp_path):
    command = "study mine --preset paper --set attack_backend=art --set weights=file:/w.safetensors"
    _, page = made(tmp_path, fine_tuning(alphas=(0.0,), command=command), seeds=2)
    assert "ours minus published" in section(page)[0][0]


def test_other_models_are_not_put_beside(tmp_path):
    summary, page = made(tmp_path, fine_tuning(alphas=(0.0, 0.1), model="vit"), seeds=2)
    rows, words = section(page)
    assert rows == []
    assert "nets are vit_b8 on cifar10, those here vit on cifar10: its numbers do not stand" in words
    assert "Beside" not in summary.text()


@pytest.mark.parametrize("data", ["digits", "svhn", "imagefolder:cifar10"])
def test_other_data_stand_beside_without_a_difference_at_the_budget_that_is_judged(tmp_path, data):
    asked = fine_tuning(alphas=(0.0, 0.1), data=data)
    made(tmp_path, asked, seeds=2)
    frame = results.read(tmp_path)
    frame.loc[frame["eps"] == EPS, "eps"] = 0.1
    judged = replace(asked, settings={**asked.settings, "eps_linf": [0.1], "judged_linf": 0.1})
    found = beside.tables(frame, judged)[0]
    assert f"the data here are {data}, the published ones cifar10; the budget here is l∞ 0.1, " in found["differs"]
    first = found["rows"][0]
    assert (first["budget"], first["published"], first["ours"], first["difference"], first["away"]) == (
        "l∞ 2/255", "0.383", "0.392", "", None)  # fmt: skip


def test_of_a_table_that_has_a_model_on_several_data_sets_none_is_put_beside_another(tmp_path):
    asked = study(
        ("full", {"bits": (0,)}), data="digits", model="wrn50_2", figure=reproduced(["C.tab5"]), settings={}, claims=()
    )
    found = beside.tables(pd.DataFrame(columns=results.COLUMNS), asked)[0]
    assert found["rows"] == []
    assert "on mnist, fashion_mnist, svhn, cifar10, cifar100 and tiny_imagenet, those here wrn50_2" in found["differs"]


def test_a_gap_at_the_worst_points_is_not_compared_with_one_where_the_toolbox_ended(tmp_path):
    swin = {"data": "svhn", "model": "swin_t", "reproduces": ("A.tab3", "A.tab4"), "alphas": (0.0, 0.1)}
    for backend, compared in (("native", False), ("art", True)):
        folder = tmp_path / backend
        folder.mkdir()
        _, page = made(folder, fine_tuning(**swin, settings={"attack_backend": backend}))
        rows, words = section(page)
        assert "Table 3" in words
        assert "Table 4" in words
        gaps = [row for row in rows if row[0] == "adversarial minus clean loss" and row[2] == "alpha 0.1"]
        assert [row[3:6] for row in gaps] == [["0.792", "0.802 [0.800, 0.804]", "5"]]
        assert gaps[0][6:] == (["+0.010 [+0.008, +0.012]"] if compared else ["", gaps[0][7]])
        assert ("not comparable" in gaps[0][-1]) != compared


def test_another_penalty_and_planted_controls_are_not_the_published_nets(tmp_path):
    asked = fine_tuning(alphas=(0.0, 0.1))
    made(tmp_path, asked, seeds=2)
    frame = results.read(tmp_path)
    other = frame.assign(penalty="nuclear_norm")
    rows = beside.tables(other, asked)[0]["rows"]
    assert [r["n"] for r in rows if r["measure"] == "RA"] == [2, 0, 0, 0, 0, 0], "at alpha 0 there is no penalty"
    planted = frame.assign(plant_rows=0.5)
    arms = (*asked.arms, replace(asked.arms[0], name="control", axes={"plant_rows": (0.5,)}))
    assert beside.tables(planted, replace(asked, arms=arms))[0]["differs"] == "None of its numbers was measured here."


def test_percent_stand_beside_percent_and_of_a_table_of_many_nets_those_of_the_folder(tmp_path):
    axes = {"prune_ratio": (0.0, 0.8), "finetune": ("none", "adversarial"), "adversarial_ratio": (0.0,)}
    asked = study(
        ("levels", axes), data="fashion_mnist", model="cnn8", preset="paper",
        figure=reproduced(["C.tab2", "C.tab8", "C.tab4"]), settings={"attack": "pgd"}, claims=(),
        revisions={"revision": 2},
    )  # fmt: skip
    attack = {"attack": "native/pgd@2", "norm": "linf", "eps": 0.1}
    rows = []
    for i, (ratio, tuned) in enumerate([(0.0, "none"), (0.0, "adversarial"), (0.8, "none"), (0.8, "adversarial")]):
        net = OFF | {
            "trial": str(i),
            "seed": 0,
            "status": "ok",
            "split": "test",
            "prune_ratio": ratio,
            "finetune": tuned,
        }
        rows += [net | {"measure": "clean_accuracy", "value": 0.9 + i / 100}]
        rows += [net | attack | {"measure": "robust_accuracy", "value": 0.7 + i / 100}]
    found = beside.tables(pd.DataFrame(rows).reindex(columns=results.COLUMNS), asked)
    assert [t["title"][-1] for t in found] == ["2", "4", "8"]
    assert found[1]["differs"].startswith("Its nets are resnet18 on cifar10, those here cnn8 on fashion_mnist")
    assert [(r["level"], r["published"], r["ours"], r["difference"]) for r in found[0]["rows"] if r["n"]] == [
        ("adversarial ratio 0", "90.49 ± 0.22", "90.00", "-0.49"),
        ("adversarial ratio 0", "4.26 ± 2.36", "70.00", "+65.74"),
        ("adversarial ratio 0, fine-tuned adversarially", "85.37 ± 0.44", "91.00", "+5.63"),
        ("adversarial ratio 0, fine-tuned adversarially", "77.53 ± 1.17", "71.00", "-6.53"),
    ]
    pruned = next(r for r in found[2]["rows"] if r["published"] == "76.74 ± 2.23")
    assert (pruned["measure"], pruned["ours"], pruned["note"]) == ("RA, %", "73.00", "Table 3 prints 76.74 ± 2.33")
    assert "at most 0.657 away" in beside.lines(found)[0]


def test_a_study_that_reproduces_no_table_has_no_such_section(tmp_path):
    summary, page = made(tmp_path, fine_tuning(alphas=(0.0,), reproduces=("A.fig6", "A.tab1.left")), seeds=2)
    assert [t["title"] for t in summary.published] == ["paper A, Table 1"], "a part of a table is the table"
    folder = tmp_path / "none"
    folder.mkdir()
    summary, page = made(folder, fine_tuning(alphas=(0.0,), reproduces=("A.fig6",)), seeds=2)
    assert summary.published == []
    assert "published numbers" not in page
