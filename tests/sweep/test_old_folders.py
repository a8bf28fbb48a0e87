"""Folders of 0.1.0 read, report, resume and extend for ever; a table of a newer version is left alone."""

import io
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.store import results
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
        assert list(frame.columns) == results.COLUMNS
        assert frame[["k", "draw", "on"]].isna().all(axis=None)
        assert not frame.duplicated(["trial", *results.AT]).any()
        assert not {"robust_accuracy_square", "loss_gap_art"} & set(frame["measure"])


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("grid", ["REGIME NOT REACHED Neuron", "2 seeds are too few", "2 levels can be judged (5 are needed)"]),
        ("search", ["2 non-dominated models", f"{MASKED}  robust_accuracy 0.11 (n = 2", "stored_bytes 4524; lam 0.749",
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


@pytest.mark.parametrize("kind", ["grid", "search"])
def test_the_same_command_finds_nothing_left_to_run(kind, old, here):
    before = content(old / kind / "trials")
    done = here(*command(kind, SAME), cwd=old)
    assert done.returncode == 0, done.stderr
    assert "Nothing left to run." in done.stderr
    assert content(old / kind / "trials") == before
    assert not (old / kind / "damaged").exists()


@pytest.mark.parametrize(("kind", "lost", "least"), [("grid", BASELINE, 9), ("search", MASKED, 8)])
def test_they_are_gone_on_with_and_extended(kind, lost, least, old, here):
    """One table lacks, as after an interruption, and more is asked for: what is there stays, byte for byte."""
    (old / kind / "trials" / f"{lost}.parquet").unlink()
    before = content(old / kind)
    refused = here(*command(kind, MORE), cwd=old)
    assert refused.returncode == 2
    assert "1 of 6 trials are not finished" in refused.stderr
    done = here(*command(kind, MORE), "--resume", cwd=old)
    assert done.returncode == 0, done.stderr
    now = content(old / kind)
    assert {n: now[n] for n in before if n.parts[0] == "trials"} == {
        n: b for n, b in before.items() if n.parts[0] == "trials"
    }
    frame, first = results.read(old / kind), results.read(OLD / kind)
    assert frame["trial"].nunique() >= least
    assert set(first["trial"]) <= set(frame["trial"])
    again, once = numbers(frame, lost), numbers(first, lost)
    assert again.keys() == once.keys(), "old rows and new ones have the same names"
    assert all(abs(again[key] - once[key]) < 2 * SHARE for key in once if key[0] == "robust_accuracy"), "another CPU"
    if kind == "search":
        journal = Path("search.journal")
        assert now[journal].startswith(before[journal]), "Optuna's view goes on, it does not begin anew"


@pytest.mark.parametrize(("kind", "trial", "robust"), [("grid", BASELINE, "art-apgd"), ("search", MASKED, "")])
def test_an_old_trial_is_measured_again(kind, trial, robust, old, here):
    """Bit for bit on the CPU build that wrote it; elsewhere floats round differently, and an image or two may flip."""
    table = results.read(OLD / kind)
    table = table[(table["trial"] == trial) & table["deterministic"]]
    compared = table if kind == "grid" else table[table["step"].isna()]  # from saved weights there are no curves
    done = here("evaluate", kind, trial, cwd=old)
    assert done.returncode in (0, 1), done.stderr
    ((word, rows),) = re.findall(r"^(equal|different): (\d+) rows", done.stdout, re.MULTILINE)
    assert int(rows) == len(compared), "every row has its counterpart at the same coordinates"
    assert word == ("equal" if done.returncode == 0 else "different")
    shown = dict(re.findall(r"^  (\S+) (\S+)$", done.stdout, re.MULTILINE))
    for norm, at in (("linf", "linf_16_255"), ("l2", "l2_0.5")):
        there = table[(table["measure"] == "robust_accuracy") & (table["norm"] == norm)].set_index("attack")["value"]
        name = f"robust_accuracy/{at}{'_' if robust else ''}{robust}"
        assert float(shown[name]) == pytest.approx(there["art/apgd" if robust else "native/apgd"], abs=SHARE + 1e-9)


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
    assert found[BASELINE]["loss_gap/linf_16_255"] == 0.09366268515586862
    assert found[BASELINE]["loss_gap/linf_16_255_art-apgd"] == 0.03627904951572436
    assert found[MASKED]["robust_accuracy/linf_16_255"] == 0.125


@pytest.fixture
def newer(old):
    """The grid with one table that has a column of a later version."""
    path = old / "grid" / "trials" / f"{BASELINE}.parquet"
    table = pq.read_table(path)
    metadata = table.schema.metadata
    table = table.append_column("temperature", pa.array([0.5] * len(table)))
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
    assert "temperature (double); use that version" in done.stderr
    assert content(newer) == before


def test_the_tracking_view_of_a_newer_version_is_not_made(newer, capsys):
    from study.tracking.__main__ import main

    before = content(newer)
    assert main(["rebuild", str(newer / "grid")]) == 2
    assert "temperature (double); use that version" in capsys.readouterr().err
    assert content(newer) == before
