"""Outputs that are no place, that get lost on the way, whose neighbours are odd: one sentence, and no table lost."""

import json
import math
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.store import layout, lease, manifest, mirror, places, results
from study.sweep import runner
from study.sweep.plan import costs
from tests.folders import digests, rows

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "epochs=1"]
SEARCH = ["pareto_search", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "sampler=random",
          "--set", "floor=0", "--set", "width=16", "--set", "evaluations=2", "--set", "epochs=1"]  # fmt: skip


# Addresses


@pytest.mark.parametrize(
    ("address", "meant"),
    [("gs://b/x", ""), ("https://b/x", ""), ("file:///x", ""), ("hdfs:/x", ""), ("s3:", " (did you mean s3://?)"),
     ("S3://b/x", " (did you mean s3://b/x?)"), ("s3:/b/x", " (did you mean s3://b/x?)"),
     ("s3:b/x", " (did you mean s3://b/x?)"), ("s3:///x", "")],
)  # fmt: skip
def test_an_address_of_no_known_store_is_no_folder(address, meant, here, tmp_path):
    for words in ([*SMOKE, "--output", address], [*SMOKE, "--dry-run", "--output", address], ["status", address]):
        done = here(*words, cwd=tmp_path)
        assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
        assert f"--output {address!r} is not accepted; give s3://BUCKET/PREFIX or a folder{meant}" in done.stderr


@pytest.mark.parametrize("name", ["a:b", "a b:", "s3", "1:/x", "x/gs:/y", "./gs:/y", "s3x:y"])
def test_a_folder_may_have_a_colon_in_its_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places.at(name) == tmp_path / name


# Lost on the way


@pytest.fixture
def gone(monkeypatch):
    """Have something done to an output when its first trial has ended."""

    def arrange(do):
        finished, once = runner._Relay.finished, []

        def then(self, job, report):
            finished(self, job, report)
            if not once:
                once.append(do())

        monkeypatch.setattr(runner._Relay, "finished", then)

    return arrange


@pytest.fixture(scope="module")
def control(here, tmp_path_factory):
    """A finished sweep of three trials."""
    folder = tmp_path_factory.mktemp("control")
    assert here(*SMOKE, "--output", "out", cwd=folder).returncode == 0
    return folder / "out"


def test_an_output_deleted_in_mid_run_keeps_what_comes_after(control, gone, here, tmp_path):
    out = tmp_path / "out"
    gone(lambda: shutil.rmtree(out))
    done = here(*SMOKE, "--output", "out", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"{out} had lost its study.json (deleted, moved, unmounted?); it is written again." in done.stderr
    assert "1 ended without a result or a cause; go on with: python -m study.launch" in done.stdout
    assert len(digests(out)) == 2
    assert (out / "report.html").exists()
    again = here(*SMOKE, "--output", "out", "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert digests(out) == digests(control)


def refusals(out, words, count, here):
    """A folder without study.json says what can be done, whoever asks; nothing is changed until it is done."""
    before = sorted(p.relative_to(out) for p in out.rglob("*"))
    for command in (["status", "out"], ["report", "out"]):
        assert f"its {count} tables are there: the command that made them writes it again with --resume" in (
            here(*command, cwd=out.parent).stderr
        )
    done = here(*words, "--output", "out", cwd=out.parent)
    assert (done.returncode, f"{count} trials of this study stand there: add --resume" in done.stderr) == (2, True)
    done = here(*words, "--output", "out", "--set", "width=8", "--resume", cwd=out.parent)
    assert done.returncode == 2
    assert f"{count} of its {count} trials are none of this command" in done.stderr
    done = here("operator_norm_study", "--preset", "smoke", "--output", "out", "--resume", cwd=out.parent)
    assert (done.returncode, f"holds tables of {words[0]}" in done.stderr) == (2, True)
    (out / "study.json").write_text("{")
    done = here(*words, "--output", "out", "--resume", cwd=out.parent)
    assert done.returncode == 2
    assert "or move it away: its command writes it again from the tables, with --resume" in done.stderr
    (out / "study.json").unlink()
    assert sorted(p.relative_to(out) for p in out.rglob("*")) == before


def the_same(there, asked):
    own = {"created", "sweep", "trials", "points"}
    assert {k: v for k, v in there.items() if k not in own} == {k: v for k, v in asked.items() if k not in own}
    assert sorted(map(str, there.get("points", ()))) == sorted(map(str, asked.get("points", ())))
    assert abs(there["created"] - asked["created"]) < 600


def test_a_grid_that_lost_its_study_json_goes_on_from_its_tables(control, here, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(control, out)
    before, asked = digests(out), json.loads((out / "study.json").read_text())
    (out / "study.json").unlink()
    refusals(out, SMOKE, 3, here)
    layout.trial_path(out, min(before)).unlink()
    done = here(*SMOKE, "--output", "out", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(out) == before
    the_same(json.loads((out / "study.json").read_text()), asked)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_search_that_lost_its_study_json_has_its_points_from_its_tables(here, tmp_path):
    out = tmp_path / "out"
    assert here(*SEARCH, "--output", "out", cwd=tmp_path).returncode == 0
    before, asked = digests(out), json.loads((out / "study.json").read_text())
    (out / "study.json").unlink()
    refusals(out, SEARCH, len(before), here)
    done = here(*SEARCH, "--output", "out", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(out) == before, "no trial was run again"
    the_same(json.loads((out / "study.json").read_text()), asked)


def test_a_prefix_that_lost_its_study_json_goes_on(place, gone, here, tmp_path):
    """In mid-run and afterwards."""
    words = [*SMOKE, "--output", str(place)]
    gone(lambda: (place / "study.json").unlink())
    done = here(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "had lost its study.json" in done.stderr
    before = digests(mirror.local(place))
    assert (len(before), (place / "study.json").exists()) == (3, True)
    (place / "study.json").unlink()
    assert "its 3 tables are there" in here("report", str(place), cwd=tmp_path).stderr
    done = here(*words, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing left to run." in done.stderr
    assert (digests(mirror.local(place)), (place / "study.json").exists()) == (before, True)


def test_a_deleted_study_is_written_again_by_the_driver_that_holds_the_lock_alone(place, tmp_path, monkeypatch):
    with lease.Lease(place, tmp_path) as mine:
        assert mine.write_study(b"1")
        (place / "study.json").unlink()
        assert mine.write_study(b"2")
        assert (place / "study.json").read_bytes() == b"2"
        monkeypatch.setattr(lease, "STALE_SECONDS", -1.0)
        with lease.Lease(place, tmp_path / "other"):
            (place / "study.json").unlink()
            assert not mine.write_study(b"3")
    assert not (place / "study.json").exists()


# Odd neighbours


def test_what_cannot_be_read_beside_an_output_costs_no_plan(control, tmp_path):
    """Cost history is a convenience: links, pipes, torn tables and odd footers are passed over, sound ones are used."""
    asked = manifest.load(control)
    alike = {name: getattr(asked, name) for name in ("name", "preset", "data", "model")}
    sound, count = costs.past_ratio(control.parent, "cpu", alike)
    assert (count, sound > 0) == (3, True)
    shutil.copytree(control, tmp_path / "out")
    trials = tmp_path / "odd" / "trials"
    trials.mkdir(parents=True)
    (trials / "dangling.parquet").symlink_to(tmp_path / "nothing")
    (trials / "loop.parquet").symlink_to(trials / "loop.parquet")
    (trials / "environ.parquet").symlink_to("/proc/self/environ")
    (trials / "folder.parquet").mkdir()
    os.mkfifo(trials / "pipe.parquet")
    (trials / "empty.parquet").touch()
    (trials / "torn.parquet").write_bytes(next(control.glob("trials/*")).read_bytes()[:-40])
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    usual = {"wall_seconds": 1.0, "estimated_seconds": 1.0, "device": "cpu"}
    odd = [{"wall_seconds": "x"}, {"wall_seconds": math.nan}, {"estimated_seconds": 0}, {"estimated_seconds": 1e-320},
           {"estimated_seconds": None}, {"wall_seconds": -1.0}, {"wall_seconds": 10**400}]  # fmt: skip
    for i, wrong in enumerate(odd):
        places.publish(trials / f"{i}.parquet", results.encode(rows(), usual | wrong))
    for i, footer in enumerate((b"[]", b"1", b"{", b"\xff")):
        table = pa.table({"x": [1]}).replace_schema_metadata({b"provenance": footer})
        pq.write_table(table, trials / f"footer{i}.parquet")
    shutil.copy(control / "study.json", trials.parent)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "study.json").write_text("{")
    assert costs.past_ratio(tmp_path, "cpu", alike) == (sound, 3)
    for name in alike:  # another study's trials say nothing of this one's
        assert costs.past_ratio(tmp_path, "cpu", alike | {name: "other"}) == (1.0, 0)
