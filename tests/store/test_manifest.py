"""study.json as an object: every version is read, and what is written is what was there."""

import json
from dataclasses import fields, replace

import pytest

from study.spec.errors import UsageError
from study.store.manifest import ArmRecord, Manifest, load, read_manifest
from study.sweep.plan.catalogue import study_names
from study.sweep.plan.folder import against_folder, manifest
from study.sweep.plan.request import Request, make_plan
from study.sweep.runner import write_manifest
from tests.helpers import ROOT

OLD = ROOT / "tests/data" / "written_by_0.1.0"
LEAST = {"configuration": {"settings": {"width": 8}}, "arms": [], "seeds": [0], "trials": ["a"]}
MOVED = {"name": "neuron", "family": "regularization", "axes": {"alpha": [0.0, 0.1]}}


def asked(path):
    return json.loads((path / "study.json").read_text())


def renamed(found):
    """An old study.json with the family's name of today in its search and its points."""
    family = {"pareto": "compressed"}
    search = found["search"] | {"family": family[found["search"]["family"]]}
    return found | {"search": search, "points": [p | {"family": family[p["family"]]} for p in found["points"]]}


def test_an_old_grid_is_written_as_it_was_read():
    found = asked(OLD / "grid")
    text = json.dumps(Manifest.of(found).record(), indent=1)
    assert json.loads(text) == found
    assert text == (OLD / "grid/study.json").read_text(), "in the same order"


def test_an_old_search_is_written_as_it_was_read_but_for_the_name_of_its_family():
    found = asked(OLD / "search")
    record = Manifest.of(found).record()
    assert record == renamed(found)
    assert list(record) == list(found)
    assert Manifest.of(record) == Manifest.of(found)


def test_the_family_of_an_old_arm_has_its_name_of_today():
    arms = [{"name": name, "family": name, "axes": {}} for name in ("pareto", "low_rank")]
    assert [a.family for a in Manifest.of(LEAST | {"arms": arms}).arms] == ["compressed", "low_rank"]


def test_what_is_absent_stands_at_its_default_and_is_not_written():
    found = Manifest.of(LEAST)
    assert (found.name, found.data, found.preset, found.sweep, found.created) == ("", "", "", "", 0.0)
    assert (found.claims, found.figures, found.baseline) == (None, None, None), "not named, which is not none"
    assert not {"claims", "figures", "baseline", "module", "search", "points", "complete"} & set(found.record())
    assert Manifest.of(LEAST | {"claims": [], "figures": ["plain"]}).record()["claims"] == []


def test_what_a_newer_version_added_is_kept(tmp_path):
    """Also when the folder goes on, and study.json is written anew."""
    configuration = LEAST["configuration"] | {"precision": "bfloat16", "revisions": {"revision": 2}}
    newer = LEAST | {"configuration": configuration, "arms": [MOVED | {"about": ["alpha"]}], "remarks": {"a": [1, 2]}}
    record = Manifest.of(newer).record()
    assert {k: record[k] for k in ("arms", "remarks")} == {k: newer[k] for k in ("arms", "remarks")}
    assert {k: record["configuration"][k] for k in configuration} == configuration
    plan = make_plan(Request(study="compressibility_sweep", preset="smoke", output=str(tmp_path / "out")))
    plan.folder.mkdir()
    first = replace(write_manifest(plan, None), unknown={"remarks": "mine"})
    (plan.folder / "study.json").write_text(json.dumps(first.record()))
    extended, found = against_folder(plan, resume=True)
    write_manifest(extended, found)
    again = asked(plan.folder)
    assert again["remarks"] == "mine"
    assert (again["sweep"], again["created"]) == (first.sweep, first.created)
    (plan.folder / "study.json").write_text(json.dumps(replace(first, unknown_configuration={"x": 1}).record()))
    with pytest.raises(UsageError, match="x: there 1, asked None"):
        against_folder(plan, resume=True)


@pytest.mark.parametrize("name", study_names())
def test_the_manifest_of_a_plan_is_read_as_it_was_written(name, tmp_path):
    plan = make_plan(Request(study=name, preset="smoke", output=str(tmp_path / "out")))
    made = manifest(plan)
    assert made.configuration() == plan.configuration()
    record = made.record()
    found = json.loads(json.dumps(record))
    assert Manifest.of(found).record() == record == found
    assert ("search" in record) == (plan.preset.search is not None)
    assert not made.unknown


@pytest.mark.parametrize("field", [f.name for f in fields(Manifest)])
def test_every_field_is_written(field):
    """One that `record` forgot would be lost when a folder is gone on with."""
    more = {"arms": [MOVED], "baseline": {}, "claims": ["c"], "figures": ["f"], "module": "m", "notes": ["n"]}
    whole = Manifest.of(asked(OLD / "search") | more)
    others = {str: "other", float: 7.5, bool: False, tuple: (), dict: {"family": "other"}}
    earlier = ({"model_digest": "m", "data_digest": "d", "sources": {}, "trials": ["a"]},)
    others = {"revisions": {"native/pgd": 9}, "earlier": earlier, "axes_off": {"alpha": 0.5}}.get(
        field, others[type(getattr(whole, field))]
    )
    changed = replace(whole, **{field: others})
    assert changed != whole
    assert Manifest.of(json.loads(json.dumps(changed.record()))) == changed


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "configuration, arms, seeds, trials"),
        ({"configuration": {}, "arms": []}, "it lacks seeds, trials"),
        (LEAST | {"configuration": {}}, "it lacks settings"),
        (LEAST | {"configuration": None}, "it lacks settings"),
        (LEAST | {"arms": [{"name": "neuron", "axes": {}}]}, "another shape: family of an arm"),
        (LEAST | {"arms": [MOVED | {"axes": {"alpha": 1}}]}, "another shape: axes of an arm"),
        (LEAST | {"arms": [MOVED | {"axes": {"alphb": [1]}}]}, "alphb is no axis that this version has"),
        (LEAST | {"axes_off": {"adversarial_rauio": 0.0}}, "adversarial_rauio is no axis that this version has"),
        (LEAST | {"seeds": 5}, "another shape: seeds"),
        (LEAST | {"search": {}, "points": [{"trial": "a"}]}, "another shape: family, seed, axes of a point"),
    ],
)
def test_what_is_no_study_json_is_refused_and_says_why(found, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Manifest.of(found)
    (tmp_path / "study.json").write_text(json.dumps(found))
    with pytest.raises(UsageError, match="choose another --output"):
        read_manifest(tmp_path)


def test_a_folder_without_study_json_has_no_manifest(tmp_path):
    assert read_manifest(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        load(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(tmp_path)


def test_a_manifest_does_not_change():
    found = Manifest.of(LEAST | {"arms": [MOVED]})
    assert found.arms == (ArmRecord(name="neuron", family="regularization", axes={"alpha": (0.0, 0.1)}),)
    with pytest.raises(AttributeError):
        found.trials = ()
