"""What stands in MLflow after a sweep: a real store, a real server, and a real browser on it."""

import ast
import os
import shutil
import time

import pytest
from mlflow import MlflowClient

from study.spec.names import meaning
from study.store import results
from study.store.arms import Arms, arm
from study.store.manifest import Manifest, load
from study.tracking import content, ui_command
from tests.helpers import ROOT, launch
from tests.mlflow_server import Server

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--set", "test_size=50"]


@pytest.fixture(scope="module")
def store(tmp_path_factory, here):
    """A working folder with two sweeps in its own store, the second one resumed with more seeds."""
    folder = tmp_path_factory.mktemp("work")
    for words in (["--seeds", "1", "--output", "first"], ["--seeds", "1", "--output", "second", "--set", "alpha=0,0.1"],
                  ["--output", "second", "--set", "alpha=0,0.1", "--seeds", "2", "--resume"]):  # fmt: skip
        done = here(*SMOKE, *words, cwd=folder, MLFLOW_TRACKING_URI="")
        assert done.returncode == 0, done.stderr
        assert "MLflow did not take everything" not in done.stderr
    return folder


def test_a_sweep_that_is_resumed_along_another_knob_is_delivered_whole(tmp_path):
    words = [*SMOKE, "--set", "alpha=0", "--set", "rank=full", "--seeds", "1", "--output", "out"]
    more = ["--set", "learning_rate=0.001,0.01", "--resume"]
    for typed, store in ((words, "sqlite:///before.db"), (words + more, "")):  # all of it is delivered anew
        done = launch(*typed, cwd=tmp_path, MLFLOW_TRACKING_URI=store)
        assert done.returncode == 0, done.stderr
        assert "MLflow did not take everything" not in done.stderr
    _, found, _ = runs(tmp_path)
    rates = sorted(r.data.params["learning_rate"] for r in found if "mlflow.parentRunId" in r.data.tags)
    assert rates == ["0.001", "0.01"]


def runs(store):
    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "compressibility_sweep"]
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = {r.info.run_name: r for r in found if "mlflow.parentRunId" not in r.data.tags}
    return client, found, parents


def test_one_store_holds_both_sweeps_one_level_deep(store):
    _, found, parents = runs(store)
    assert set(parents) == {"first", "second"}
    children = [r for r in found if "mlflow.parentRunId" in r.data.tags]
    count = {
        name: sum(c.data.tags["mlflow.parentRunId"] == p.info.run_id for c in children) for name, p in parents.items()
    }
    assert count == {"first": 3, "second": 6}, "a resumed sweep logs each trial once"
    assert {r.info.status for r in found} == {"FINISHED"}
    assert {r.data.tags["study.sweep"] for r in found} == {"first", "second"}, "it reads like the folder"
    fingerprints = [(c.data.tags["study.id"], c.data.tags["study.fingerprint"]) for c in children]
    assert len(set(fingerprints)) == len(fingerprints)


def test_a_trial_can_be_understood_by_somebody_who_did_not_run_it(store):
    client, found, parents = runs(store)
    (run,) = [r for r in found if r.info.run_name == "alpha 0.03 seed 0"]
    assert {k: float(run.data.params[k]) for k in ("alpha", "rank", "frobenius", "seed", "width", "epochs")} == {
        "alpha": 0.03, "rank": 0, "frobenius": 1.0, "seed": 0, "width": 32, "epochs": 2,
    }  # fmt: skip
    assert run.data.params["penalty"] == "group_lasso"
    numbers = {k: v for k, v in run.data.params.items() if k != "penalty"}
    assert all(float(v) is not None for v in numbers.values()), "parameters are numbers, but for words"
    assert len(run.data.params) < 20
    for tag in ("study.name", "study.family", "study.fingerprint", "study.seed", "study.commit", "study.data"):
        assert tag in run.data.tags
    for metric in ("clean_accuracy", "robust_accuracy/linf_16_255", "loss_gap/l2_0.5", "compress_eps_nu", "train_loss",
                   "system/process_cpu_percentage"):  # fmt: skip
        assert metric in run.data.metrics, metric
    assert [m.step for m in client.get_metric_history(run.info.run_id, "train_loss")] == [1, 2]
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "digits"
    frame = results.read(store / "first")
    chosen = frame[(frame.trial == run.data.tags["study.fingerprint"]) & (frame.measure == "compress_eps_nu")]
    assert run.data.metrics["compress_eps_nu"] == float(chosen[chosen.layer == "mean"].value.iloc[0])
    assert run.data.tags["study.setting.epochs"] == "2", "what the study sets can be searched for in its trials"
    artifacts = {a.path for a in client.list_artifacts(parents["first"].info.run_id)}
    assert artifacts == {"report.html", "figures"}


def test_descriptions_say_what_was_asked_and_what_each_metric_means(store):
    client, found, parents = runs(store)
    asked = load(store / "first").question
    experiment = client.get_experiment(parents["first"].info.experiment_id)
    assert asked in experiment.tags["mlflow.note.content"]
    sweep = parents["first"].data.tags["mlflow.note.content"]
    assert asked in sweep
    assert "**neuron** (regularization): alpha 0, 0.03" in sweep
    assert "- `alpha`: strength of the penalty" in sweep
    trials = [r for r in found if "mlflow.parentRunId" in r.data.tags]
    for run in trials:
        note = run.data.tags["mlflow.note.content"]
        assert "| `clean_accuracy` | share of images classified correctly | 0 to 1 |" in note
        for metric in run.data.metrics:
            measure = metric.partition("/")[0]
            assert f"| `{measure}` |" in note or measure == "system" or measure.endswith("_seconds"), metric


def test_every_measure_has_a_meaning_and_a_unit(store):
    made = set(results.read(store / "first").measure)
    for path in (ROOT / "study").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "row"
                and isinstance(node.args[0], ast.Constant)
            ):
                made.add(node.args[0].value)
    assert len(made) > 40
    assert [m for m in sorted(made) if not all(meaning(m))] == [], "name it in study.spec.names.MEANINGS"


def test_a_lost_store_is_made_again_and_half_written_runs_are_replaced(store, here, tmp_path):
    words = [*SMOKE, "--seeds", "1", "--output", str(store / "first")]
    uri = {"MLFLOW_TRACKING_URI": "sqlite:///other.db"}  # relative: to the working folder
    done = here(*words, cwd=tmp_path, **uri)
    assert "Nothing left to run" in done.stderr
    assert "MLflow did not take everything" not in done.stderr
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'other.db'}")

    def trials():
        (experiment,) = [e for e in client.search_experiments() if e.name == "compressibility_sweep"]
        found = client.search_runs([experiment.experiment_id])
        assert {r.info.status for r in found} == {"FINISHED"}
        ends = {level: max(r.info.end_time for r in found if r.data.tags["study.level"] == level)
                for level in ("sweep", "trial")}  # fmt: skip
        assert ends["sweep"] == ends["trial"], "a sweep ends with its last trial, whenever it is logged"
        return {r.data.tags["study.fingerprint"]: r for r in found if r.data.tags["study.level"] == "trial"}

    first = trials()
    assert len(first) == 3
    half, stale, kept = first.values()
    client.update_run(half.info.run_id, status="RUNNING")
    client.set_tag(stale.info.run_id, "study.status", "failed")
    assert here(*words, cwd=tmp_path, **uri).returncode == 0
    again = trials()
    assert set(again) == set(first)
    same = {name for name, run in again.items() if run.info.run_id == first[name].info.run_id}
    assert same == {kept.data.tags["study.fingerprint"]}


def test_more_runs_than_a_page(store, monkeypatch):
    from study import tracking
    from study.tracking import runs as view

    monkeypatch.setattr(view, "PAGE", 2)
    monkeypatch.chdir(store)
    assert len(view.Runs(tracking.default_uri(), store / "first", load(store / "first")).known) == 3


@pytest.fixture(scope="module")
def server(store):
    served = Server(store)
    yield served.uri
    served.kill()


def test_a_tracking_server_takes_a_sweep(server, store):
    done = launch(*SMOKE, "--seeds", "1", "--output", "served", cwd=store, MLFLOW_TRACKING_URI=server)
    assert done.returncode == 0, done.stderr
    assert f"open {server}" in done.stdout
    _, _, parents = runs(store)
    assert "served" in parents


CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update", "--window-size=1500,1000",
                 f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):  # fmt: skip
        options.add_argument(flag)
    options.binary_location = CHROMIUM
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def wait_for(browser, text, seconds=60):
    deadline = time.monotonic() + seconds
    while text not in browser.page_source:
        assert time.monotonic() < deadline, f"{text!r} never appeared"
        time.sleep(0.5)


def keep_picture(browser, name):
    """Screenshots for a person to look at, where STUDY_PICTURES names a folder."""
    if folder := os.environ.get("STUDY_PICTURES"):
        browser.save_screenshot(f"{folder}/{name}.png")


def test_the_ui_shows_names_nesting_and_comparison(browser, server, store):
    _, found, parents = runs(store)
    experiment = parents["first"].info.experiment_id
    browser.get(f"{server}/#/experiments/{experiment}/runs")
    wait_for(browser, "first")
    wait_for(browser, "second")
    time.sleep(3)
    keep_picture(browser, "runs")
    children = [r for r in found if r.data.tags.get("mlflow.parentRunId") == parents["second"].info.run_id]
    ids = ",".join(f'"{r.info.run_id}"' for r in children)
    browser.get(f'{server}/#/compare-runs?runs=[{ids}]&experiments=["{experiment}"]')
    wait_for(browser, "Parallel Coordinates Plot")
    wait_for(browser, "alpha")
    time.sleep(4)
    keep_picture(browser, "compare")
    browser.get(f"{server}/#/experiments/{experiment}/runs/{children[0].info.run_id}")
    wait_for(browser, "clean_accuracy")
    wait_for(browser, "frobenius")
    wait_for(browser, "share of images classified correctly")
    time.sleep(3)
    keep_picture(browser, "trial")
    browser.get(f"{server}/#/experiments/{experiment}/runs/{parents['second'].info.run_id}")
    wait_for(browser, "strength of the penalty")
    time.sleep(2)
    keep_picture(browser, "sweep")


def test_the_report_opens_without_a_network(browser, store):
    browser.get_log("browser")  # what earlier pages said
    browser.get((store / "first/report.html").as_uri())
    assert browser.title.startswith("compressibility_sweep: data digits")
    pictures = browser.find_elements("tag name", "img")
    assert len(pictures) == 4
    assert all(browser.execute_script("return arguments[0].naturalWidth", p) > 500 for p in pictures)
    for width in (1280, 390):  # a desk and a telephone
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, "it scrolls sideways"
        keep_picture(browser, f"report_{width}")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.get_log("browser") == []


def test_a_trial_of_a_moved_setting_shows_its_own_value_and_none_that_a_moved_recipe_replaced():
    moved = {"batch_size": (50, 100), "recipe": ("", "paper_b")}
    study = manifest_of(arms=[{"name": "a", "family": "regularization", "axes": moved}])
    assert "batch_size" not in content.settings(study)
    assert not {"epochs", "learning_rate"} & set(content.settings(study)), "a recipe sets them, trial by trial"
    assert content.settings(study)["width"] == 8
    held = manifest_of(arms=[{"name": "a", "family": "regularization", "axes": {"alpha": (0.0,)}}])
    assert content.settings(held) == {"width": 8, "epochs": 2, "batch_size": 100, "learning_rate": 0.1}


def manifest_of(arms):
    settings = {"width": 8, "epochs": 2, "batch_size": 100, "learning_rate": 0.1}
    return Manifest.of({"configuration": {"study": "s", "data": "digits", "settings": settings}, "arms": arms,
                        "seeds": [0], "trials": []})  # fmt: skip


def test_two_sweeps_compare_by_their_axes_their_settings_and_how_good_they_are(store):
    _, _, parents = runs(store)
    first, second = (parents[name].data for name in ("first", "second"))
    assert (first.params["alpha"], second.params["alpha"]) == ("0, 0.03", "0, 0.1")
    assert (first.params["seeds"], second.params["seeds"]) == ("0", "0, 1"), "extended since it began"
    assert {k: first.params[k] for k in ("rank", "preset", "test_size", "attack_iterations", "data", "model")} == {
        "rank": "full, 8", "preset": "smoke", "test_size": "50", "attack_iterations": "5", "data": "digits",
        "model": "fcn",
    }  # fmt: skip
    frame = arm(results.read(store / "second"), "neuron")
    clean = frame[(frame.measure == "clean_accuracy") & (frame.split == "test") & (frame.alpha == 0)].value.mean()
    assert second.metrics["baseline/clean_accuracy"] == pytest.approx(clean, rel=1e-5)
    assert second.metrics["best/robust_accuracy/linf_16_255"] >= second.metrics["baseline/robust_accuracy/linf_16_255"]
    assert second.tags["study.verdict.A-i-neuron"] == "regime not reached"
    assert "study.best" in second.tags
    assert "| `clean_accuracy` |" in second.tags["mlflow.note.content"]


def test_trials_say_their_arm_and_begin_with_what_people_look_for(store):
    client, found, parents = runs(store)
    trials = {
        r.info.run_name: r for r in found if r.data.tags.get("mlflow.parentRunId") == parents["first"].info.run_id
    }
    assert trials["baseline seed 0"].data.tags["study.arm"] == "neuron, spectral"
    assert trials["rank 8 seed 0"].data.tags["study.arm"] == "spectral"
    view = content.trial_view(store / "first", load(store / "first"), trials["rank 8 seed 0"].data.tags[
        "study.fingerprint"], "", Arms(load(store / "first")))  # fmt: skip
    assert view.metrics[0][0].startswith(("clean_accuracy", "robust_accuracy"))
    tags = client.get_experiment(parents["first"].info.experiment_id).tags
    assert tags["mlflow.experiment.primaryMetric.name"] == "robust_accuracy/linf_16_255"


def test_the_first_screen_says_which_sweep_which_settings_and_how_good(browser, server, store):
    """The page that the end of a sweep prints, opened by somebody who did not run it."""
    _, _, parents = runs(store)
    page = ui_command(server, parents["first"].info.experiment_id).removeprefix("open ")
    browser.set_window_size(1920, 1000)
    browser.get(page)
    for text in ("first", "second", "Does compressibility lower robust accuracy", "best/robust_accuracy/linf_16_255",
                 "baseline/robust_accuracy/linf_16_255", "0, 0.03", "0, 0.1"):  # fmt: skip
        wait_for(browser, text)
    best = parents["second"].data.metrics["best/robust_accuracy/linf_16_255"]
    wait_for(browser, f"{best:g}"[:6])
    keep_picture(browser, "first_screen")
    browser.set_window_size(1500, 1000)
