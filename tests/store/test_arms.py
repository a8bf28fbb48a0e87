"""A table says which arms a trial belongs to, so that a mean over an axis is one arm's: as the docs' example has it."""

import json
import re

import pytest

from study import results
from study.spec.attack_names import current
from study.spec.errors import UsageError
from study.spec.knobs import AXES
from study.store import results as store
from study.store.arms import Arms
from study.store.manifest import Manifest
from tests.helpers import ROOT

HELD = {"frobenius": [1.0]}
ARMS = [
    {"name": "neuron", "family": "regularization", "axes": {"alpha": [0.0, 0.1], "penalty": ["nuclear_norm"], **HELD}},
    {"name": "spectral", "family": "low_rank", "axes": {"rank": [0, 8], **HELD}},
    {"name": "control", "family": "regularization", "axes": {"plant_rows": [0.0, 0.5], **HELD}},
]
# Every point of the three arms with its robust accuracy; the first is in all of them.
POINTS = [({}, 0.9), ({"alpha": 0.1, "penalty": "nuclear_norm"}, 0.7), ({"rank": 8}, 0.3), ({"plant_rows": 0.5}, 0.0)]
AT = {"measure": "robust_accuracy", "attack": current("native", "apgd"), "norm": "linf", "eps": 16 / 255}


def study_of(arms):
    settings = {"width": 8, "batch_size": 50}
    return {"configuration": {"study": "s", "settings": settings}, "arms": arms, "seeds": [0], "trials": []}


@pytest.fixture
def folder(tmp_path):
    """A sweep of three arms with known numbers, where the docs' example looks for it."""
    place = tmp_path / "results" / "compressibility_sweep-laptop"
    axes = {name: knob.default for name, knob in AXES.items()}
    for i, (moved, value) in enumerate(POINTS):
        identity = {"study": "s", "family": "f", "trial": f"t{i}", "seed": 0, "status": "ok"} | axes | moved
        store.publish_trial(place, f"t{i}", [identity | AT | {"value": value, "deterministic": True}], {})
    (place / "study.json").write_text(json.dumps(study_of(ARMS)))
    return place


def test_the_docs_example_averages_one_arm(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "operations.md").read_text()
    (example,) = [code for code in re.findall(r"```python\n(.+?)```", page, re.DOTALL) if "results.read" in code]
    *lines, last = example.strip().splitlines()
    names = {}
    exec("\n".join(lines), names)
    means = eval(last, names)
    assert means.to_dict() == {(0.0, 16 / 255): 0.9, (0.1, 16 / 255): 0.7}
    everything = names["frame"].groupby("alpha").value.mean()
    assert everything[0.0] == pytest.approx(0.4), "what a mean over all arms says of alpha 0"


def test_the_net_that_arms_begin_from_belongs_to_each_of_them(folder):
    frame = results.read(folder)
    assert frame.set_index("trial")["arm"].to_dict() == {
        "t0": "neuron, spectral, control", "t1": "neuron", "t2": "spectral", "t3": "control"
    }  # fmt: skip
    assert [sorted(results.arm(frame, name).trial) for name in ("neuron", "spectral", "control")] == [
        ["t0", "t1"], ["t0", "t2"], ["t0", "t3"]
    ]  # fmt: skip
    with pytest.raises(UsageError, match="did you mean neuron"):
        results.arm(frame, "neurons")


def test_a_table_in_csv_has_its_arms(folder, tmp_path):
    import pandas as pd

    results.to_csv(results.read(folder), tmp_path / "all.csv")
    again = pd.read_csv(tmp_path / "all.csv")
    assert sorted(results.arm(again, "spectral").trial) == ["t0", "t2"]


def test_a_moved_setting_stands_at_the_studys_own_value_in_the_arms_that_do_not_move_it():
    moves = {"name": "moves", "family": "regularization", "axes": {"batch_size": [50, 100]}}
    holds = {"name": "holds", "family": "regularization", "axes": {"alpha": [0.0, 0.1]}}
    arms = Arms(Manifest.of(study_of([moves, holds])))
    assert arms.of({"batch_size": 50}) == ["moves", "holds"]
    assert arms.of({"batch_size": 100}) == ["moves"]
    assert arms.of({"batch_size": 100, "alpha": 0.1}) == []
    assert arms.text({"alpha": 0.2}) is None


def test_a_folder_whose_study_says_no_arms_is_read_all_the_same(folder):
    (folder / "study.json").write_text("{}")
    frame = results.read(folder)
    assert len(frame) == len(POINTS)
    assert frame["arm"].isna().all()
    with pytest.raises(UsageError, match="It has: none"):
        results.arm(frame, "neuron")


def test_an_axis_that_is_none_leaves_the_arms_unknown_and_is_said(folder, caplog):
    """A flipped bit in study.json, say: the tables are as sound as before."""
    rows = results.read(folder).drop(columns="arm")
    path = folder / "study.json"
    path.write_text(path.read_text().replace('"rank"', '"rang"'))
    frame = results.read(folder)
    assert frame["arm"].isna().all()
    assert frame.drop(columns="arm").equals(rows)
    assert "rang is no axis that this version has" in caplog.text
