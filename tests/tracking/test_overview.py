"""The run of a whole sweep: what it carries, where its trials hang when it is extended, stores of earlier versions."""

import json
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from study.store import layout
from study.store.manifest import ArmRecord
from study.tracking import content, overview
from study.tracking.runs import Runs
from tests.folders import make_folder


@pytest.fixture
def place(tmp_path):
    """A folder of two trials, its manifest, their names, and the address of an empty store."""
    manifest, names = make_folder(tmp_path / "out", 2)
    return tmp_path / "out", manifest, names, f"sqlite:///{tmp_path / 'mlflow.db'}"


def write_summary(folder, **found):
    (folder / layout.SUMMARY).write_text(json.dumps({"metrics": {}, "words": {}} | found))


def runs_of(client, level):
    (experiment,) = [e for e in client.search_experiments() if e.name == "compressibility_sweep"]
    return client.search_runs([experiment.experiment_id], f"tags.`study.level` = '{level}'")


def test_a_front_that_moves_an_extended_sweep_and_a_store_of_an_earlier_version(place):
    folder, manifest, names, uri = place
    write_summary(folder, metrics={"hypervolume": 0.5}, words={"front": names[0]})
    opened = Runs(uri, folder, manifest)
    for name in names:
        opened.deliver(name)
    opened.close("FINISHED", folder)
    client = MlflowClient(tracking_uri=uri)
    (sweep,) = runs_of(client, "sweep")
    assert (sweep.data.params["alpha"], sweep.data.metrics) == ("0", {"hypervolume": 0.5})
    assert (sweep.data.tags["study.sweep"], sweep.data.tags["study.id"]) == ("out", manifest.sweep)

    def on_the_front():
        return {r.data.tags["study.fingerprint"] for r in runs_of(client, "trial") if "study.front" in r.data.tags}

    assert on_the_front() == {names[0]}
    for run in [sweep, *runs_of(client, "trial")]:  # as earlier versions wrote them
        client.delete_tag(run.info.run_id, "study.id")
        client.set_tag(run.info.run_id, "study.sweep", manifest.sweep)
    before = {r.info.run_id for r in runs_of(client, "trial")}
    write_summary(folder, words={"front": names[1]})
    axes = {"alpha": (0.0, 0.1)}
    extended = replace(manifest, arms=(ArmRecord(name="neuron", family="regularization", axes=axes),), seeds=(0, 1))
    again = Runs(uri, folder, extended)
    assert all(again.stands(name) for name in names)
    again.close("FINISHED", folder)
    (new,) = runs_of(client, "sweep")
    assert {k: new.data.params[k] for k in ("alpha", "seeds")} == {"alpha": "0, 0.1", "seeds": "0, 1"}
    assert {r.info.run_id for r in runs_of(client, "trial")} == before, "no trial is written twice"
    assert {r.data.tags["mlflow.parentRunId"] for r in runs_of(client, "trial")} == {new.info.run_id}
    assert {r.data.tags["study.sweep"] for r in runs_of(client, "trial")} == {"out"}
    assert on_the_front() == {names[1]}


def test_what_is_not_at_its_default_is_told_and_in_order(place):
    _, manifest, _, _ = place
    found = replace(manifest, settings={**manifest.settings, "eps_linf": [4 / 255, 8 / 255], "optimizer": "sgd"})
    assert {k: overview.params(found)[k] for k in ("width", "eps_linf", "optimizer")} == {
        "width": "8", "eps_linf": "0.0156863, 0.0313725", "optimizer": "sgd"
    }  # fmt: skip
    assert "momentum" not in overview.params(found)
    assert "learning_rate" not in content.changed(replace(manifest, settings={"learning_rate": 1e-3}))


def test_a_damaged_summary_is_named_and_no_reason_to_stop(place, caplog):
    folder = place[0]
    for text in ("{", "[]", '{"metrics": {"a": "b"}, "words": {}}'):
        (folder / layout.SUMMARY).write_text(text)
        assert overview.summary(folder) == ({}, {})
    assert "is damaged and not used" in caplog.text
    (folder / layout.SUMMARY).unlink()
    assert overview.summary(folder) == ({}, {})


def test_the_view_keeps_the_columns_of_other_sweeps(place):
    manifest = place[1]
    first = overview.view(manifest, ["baseline/clean_accuracy"], "", 1)
    wider = replace(manifest, settings={**manifest.settings, "optimizer": "sgd"})
    second = overview.view(wider, [], first, 2)
    columns = json.loads(json.loads(second)["state"])["selectedColumns"]
    assert {"metrics.`baseline/clean_accuracy`", "params.`optimizer`", "params.`width`"} <= set(columns)
    assert overview.view(wider, [], second, 3) == second
    assert overview.view(manifest, [], "not ours", 4)
