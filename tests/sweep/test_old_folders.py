"""Folders of 0.1.0 read and report for ever, and repeat what they hold; what this version's attacks would measure
otherwise is refused, not mixed with it; a table of a newer version is left alone."""

import io
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.store import results
from tests.folders import READ
from tests.helpers import ROOT

OLD = ROOT / "tests/data" / "written_by_0.1.0"
COMMANDS = {
    "grid": ["compressibility_sweep", "--preset", "smoke", "--set", "attack_backend=art", "--set", "audit_queries=20",
             "--set", "width=16", "--set", "epochs=2", "--set", "test_size=40"],
    "search": ["pareto_search", "--preset", "smoke", "--set", "width=16", "--set", "test_size=40", "--set",
               "finalists=2"],
}  # fmt: skip
SAME = {"grid": ["--seeds", "2"], "search": ["--seeds", "2", "--set", "evaluations=4"]}
MORE = {"grid": ["--seeds", "3"], "search": ["--seeds", "2", "--set", "evaluations=6"]}
BASELINE, MASKED = "e9c6a353e8be79e1", "9c43cf22960ebccc"  # of the grid, of the search
SHARE = 2 / 40  # two of the forty test images


def command(kind, extent):
    return [*COMMANDS[kind], *extent[kind], "--in-process", "--output", kind]


def content(folder):
    """Every file of a folder by its relative name."""
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def old(tmp_path):
    """Copies of the old folders, tmp_path/grid and tmp_path/search."""
    for kind in COMMANDS:
        shutil.copytree(OLD / kind, tmp_path / kind)
    return tmp_path


def numbers(frame, trial, norm="linf"):
    """(measure, attack) -> value of a trial's rows about attacks in a norm."""
    own = frame[(frame["trial"] == trial) & (frame["norm"] == norm) & frame["layer"].isna() & (frame["n"] > 0)]
    return {(r.measure, None if r.attack != r.attack else r.attack): r.value for r in own.itertuples()}


def test_rows_are_read_with_their_attacks():
    grid, search = results.read(OLD / "grid"), results.read(OLD / "search")
    assert numbers(grid, BASELINE) == {
        ("robust_accuracy", "art/apgd"): 0.15,
        ("relative_robust_accuracy", "art/apgd"): 0.3,
        ("loss_gap", "art/apgd"): 0.03627904951572436,
        ("loss_gap", "native/pgd"): 0.09366268515586862,
        ("robust_accuracy", "native/square"): 0.425,
        ("audit_flag", "native/square"): 0.0,
        ("zero_gradient_share", None): 0.0,
        ("loss_monotone", "native/pgd"): 1.0,
        ("zero_eps_agrees", "art/apgd"): 1.0,
    }
    assert numbers(search, MASKED) == {
        ("robust_accuracy", "native/apgd"): 0.125,
        ("relative_robust_accuracy", "native/apgd"): 0.5,
        ("loss_gap", "native/pgd"): 0.037505346536636175,
        ("zero_gradient_share", None): 0.0,
        ("loss_monotone", "native/pgd"): 1.0,
        ("zero_eps_agrees", "native/apgd"): 1.0,
    }
    for frame in (grid, search):
        assert list(frame.columns) == READ
        assert frame[["k", "draw", "on"]].isna().all(axis=None)
        assert not frame.duplicated(["trial", *results.AT]).any()
        assert not {"robust_accuracy_square", "loss_gap_art"} & set(frame["measure"])
    arms = grid.drop_duplicates("trial").set_index(["alpha", "rank"])["arm"]
    assert set(arms[0.0, 0]) == {"neuron, spectral"}
    assert (set(arms[0.03, 0]), set(arms[0.0, 8])) == ({"neuron"}, {"spectral"})
    assert search["arm"].isna().all()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("grid", ["REGIME NOT REACHED Neuron", "2 seeds are too few", "2 levels can be judged (5 are needed)"]),
        ("search", ["This search selected by the test images", "2 non-dominated models",
                    f"{MASKED}  robust_accuracy 0.11 (n = 2", "stored_bytes 4524; lam 0.749",
                    "a2288fdaa74faf13  robust_accuracy 0.06 (n = 2", "stored_bytes 286; alpha 0.00449"]),
    ],
)  # fmt: skip
def test_they_report_what_they_reported(kind, told, old, here):
    before = content(old / kind)
    done = here("report", kind, cwd=old)
    assert done.returncode == 0, done.stderr
    assert [words for words in told if words not in done.stdout] == []
    html = (old / kind / "report.html").read_text()
    assert html.count("data:image/png;base64,") == {"grid": 4, "search": 3}[kind]
    assert {name: content(old / kind)[name] for name in before} == before
    status = here("status", kind, cwd=old)
    assert "6 of 6 trials done, 0 failed, 0 left; nothing is running" in status.stdout


def test_the_same_command_finds_nothing_left_to_run(old, here):
    before = content(old / "grid" / "trials")
    done = here(*command("grid", SAME), cwd=old)
    assert done.returncode == 0, done.stderr
    assert "Nothing left to run." in done.stderr
    assert content(old / "grid" / "trials") == before
    assert not (old / "grid" / "damaged").exists()


WROTE = {
    "grid": "art/apgd, here art/apgd@2; native/pgd, here native/pgd@2; native/pgd for the loss gap, here native/apgd@3",
    "search": "native/apgd, here native/apgd@3; native/pgd, here native/pgd@2; native/pgd for the loss gap, here",
}


@pytest.mark.parametrize("missing", [False, True], ids=["more is asked for", "one is missing"])
def test_a_grid_is_not_gone_on_with_by_other_attacks(missing, old, here):
    """Its attacks are of an earlier revision: new rows beside the old ones would be numbers of two kinds. The message
    says so and what to do; every byte stays, and the folder still reports."""
    kind = "grid"
    if missing:
        (old / kind / "trials" / f"{BASELINE}.parquet").unlink()
    before = content(old / kind)
    for resume in ([], ["--resume"], ["--retry-failed"]):
        refused = here(*command(kind, SAME if missing else MORE), *resume, cwd=old)
        assert refused.returncode == 2, refused.stderr
        assert f"holds numbers of other revisions of the attacks ({WROTE[kind]}" in refused.stderr
        assert "For more choose another --output" in refused.stderr
    assert content(old / kind) == before
    assert here("report", kind, cwd=old).returncode == 0


@pytest.mark.parametrize("extent", [SAME, MORE])
def test_an_old_search_is_not_gone_on_with_for_it_selected_by_test_images(extent, old, here):
    before = content(old / "search")
    for more in ([], ["--resume"]):
        done = here(*command("search", extent), *more, cwd=old)
        assert done.returncode == 2
        assert "holds a search that selected by test images" in done.stderr
    assert content(old / "search") == before
    assert here("report", "search", cwd=old).returncode == 0


@pytest.mark.parametrize(("kind", "trial"), [("grid", BASELINE), ("search", MASKED)])
def test_an_old_trial_is_not_measured_again_by_other_attacks(kind, trial, old, here):
    done = here("evaluate", kind, trial, cwd=old)
    assert done.returncode == 2
    assert f"trial {trial} was attacked by {WROTE[kind]}" in done.stderr
    assert "use the version that wrote it" in done.stderr


def test_mlflow_is_rebuilt_with_the_attacks_in_the_names(old):
    import os

    from mlflow import MlflowClient

    from study.tracking.__main__ import main

    assert main(["rebuild", str(old / "grid"), str(old / "search")]) == 0
    client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    found = {}
    for study, trial in (("compressibility_sweep", BASELINE), ("pareto_search", MASKED)):
        experiment = client.get_experiment_by_name(study)
        (run,) = client.search_runs([experiment.experiment_id], f"tags.`study.fingerprint` = '{trial}'")
        found[trial] = run.data.metrics
    assert found[BASELINE]["robust_accuracy/linf_16_255_art-apgd"] == 0.15
    assert found[BASELINE]["robust_accuracy/linf_16_255_native-square"] == 0.425
    assert found[BASELINE]["loss_gap/linf_16_255_native-pgd"] == 0.09366268515586862
    assert found[BASELINE]["loss_gap/linf_16_255_art-apgd"] == 0.03627904951572436
    assert found[MASKED]["robust_accuracy/linf_16_255_native-apgd"] == 0.125, "not this version's, which has no suffix"


@pytest.fixture
def newer(old):
    """The grid with one table that has a column of a later version."""
    path = old / "grid" / "trials" / f"{BASELINE}.parquet"
    table = pq.read_table(path)
    metadata = table.schema.metadata
    table = table.append_column("of_tomorrow", pa.array([0.5] * len(table)))
    digest = results.rows_digest(table.to_pylist(), columns=table.schema.names)
    stream = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata | {b"rows_sha256": digest.encode()}), stream)
    path.write_bytes(stream.getvalue())
    return old


@pytest.mark.parametrize(
    "words",
    [
        command("grid", SAME),
        [*command("grid", MORE), "--resume"],
        [*command("grid", SAME), "--retry-failed"],
        ["report", "search", "grid"],
        ["status", "grid"],
        ["evaluate", "grid", BASELINE],
        [*command("search", SAME), "--warm-start", "grid"],
    ],
    ids=["again", "resume", "retry", "report", "status", "evaluate", "warm start"],
)
def test_a_table_of_a_newer_version_is_refused_and_nothing_is_touched(words, newer, here):
    before = content(newer)
    done = here(*words, cwd=newer)
    assert done.returncode == 2, done.stderr
    assert f"{BASELINE}.parquet was written by a newer version" in done.stderr
    assert "of_tomorrow (double); use that version" in done.stderr
    assert content(newer) == before


def test_the_tracking_view_of_a_newer_version_is_not_made(newer, capsys):
    from study.tracking.__main__ import main

    before = content(newer)
    assert main(["rebuild", str(newer / "grid")]) == 2
    assert "of_tomorrow (double); use that version" in capsys.readouterr().err
    assert content(newer) == before
