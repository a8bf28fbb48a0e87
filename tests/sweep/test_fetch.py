"""Results fetched from a head's disk: Ray's own rsync and the real rsync, with an ssh that stays on this machine."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from study.sweep.ray import fetch
from tests.folders import make_folder
from tests.helpers import ROOT

HEAD = "192.0.2.10"
SSH = """#!/bin/sh
# rsync's remote half, run here: whatever stands before it are ssh's options and the host
while [ "$1" != rsync ]; do shift; done
exec sh -c "$*"
"""
pytestmark = pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")


@pytest.fixture
def head(tmp_path, monkeypatch):
    """The disk of a running head, whose cluster file lies in the working folder and excludes what a fetch needs."""
    state = tmp_path / "ray" / "cluster-fetched.state"
    state.parent.mkdir()
    tags = {"ray-node-type": "head", "ray-node-status": "up-to-date"}
    state.write_text(json.dumps({HEAD: {"tags": tags, "state": "running"}}))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH)
    (tmp_path / "bin" / "ssh").chmod(0o755)
    config = yaml.safe_load((ROOT / "cluster-local.yaml").read_text())
    config |= {"cluster_name": "fetched", "rsync_exclude": ["data", "*.parquet"], "rsync_filter": [".gitignore"]}
    config["provider"] |= {"head_ip": HEAD, "worker_ips": []}
    config["file_mounts"] = {}
    laptop, disk = tmp_path / "laptop", tmp_path / "head"
    laptop.mkdir()
    disk.mkdir()
    (laptop / "own.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.chdir(laptop)
    return disk


def fetched(where):
    out, err = (Console(file=io.StringIO(), soft_wrap=True) for _ in range(2))
    fetch.fetch("own.yaml", str(where), out, err)
    return out.file.getvalue(), err.file.getvalue()


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_file_arrives_and_another_sweep_is_left_alone(head):
    make_folder(head / "mine", 2)
    model = head / "mine" / "models" / "t" / "data" / "model.pt2"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"a program")
    (head / "mine" / ".gitignore").write_text("models\n")
    here = Path("results/mine")
    assert fetched(head / "mine") == (f"Results: {here} (copied from {head / 'mine'} on the cluster)\n", "")
    assert files(here) == files(head / "mine")
    (head / "mine" / "report.html").write_text("the same sweep has gone on")
    assert fetched(head / "mine")[1] == ""
    assert files(here) == files(head / "mine")
    shutil.rmtree(here)
    make_folder(here, 1)
    before = files(here)
    said, refused = fetched(head / "mine")
    assert said == ""
    assert f"The results are in {head / 'mine'} on the head of own.yaml and were not copied" in refused
    assert f"{here} holds another sweep" in refused
    assert files(here) == before


def test_what_is_no_sweep_is_not_written_into_and_a_missing_one_is_said(head):
    make_folder(head / "mine", 1)
    Path("results/mine").mkdir(parents=True)
    Path("results/mine/notes.txt").write_text("own")
    assert "results/mine holds another sweep" in fetched(head / "mine")[1]
    assert files(Path("results/mine")) == {"notes.txt": b"own"}
    assert "rsync failed" in fetched(head / "nowhere")[1]
    assert not Path("results/nowhere").exists()


@pytest.mark.parametrize("name", ["cluster.yaml", "cluster-local.yaml"])
def test_the_checkout_is_sent_whole_but_for_what_lies_at_its_top(name, tmp_path):
    kept = ["benchmarks/data/grid.csv", "study/x.py", "results/NAME/models/t/data/model.pt2"]
    for path in (*kept, "data/MNIST/raw", "venv/bin/python", ".git/HEAD", "mlflow.db"):
        (tmp_path / "from" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / path).write_text(path)
    from ray.autoscaler._private.command_runner import SSHCommandRunner

    options = {"rsync_exclude": yaml.safe_load((ROOT / name).read_text())["rsync_exclude"]}
    words = SSHCommandRunner._create_rsync_filter_args(None, options)
    subprocess.run(["rsync", "-a", *words, f"{tmp_path}/from/", f"{tmp_path}/to/"], check=True)
    assert set(files(tmp_path / "to")) == set(kept[:2])
    subprocess.run(["rsync", "-a", *words, f"{tmp_path}/from/results/NAME/", f"{tmp_path}/home/"], check=True)
    assert set(files(tmp_path / "home")) == {"models/t/data/model.pt2"}, "also where a user fetches by ray rsync-down"


def test_a_package_with_a_folder_called_data_travels_with_a_job(tmp_path):
    from ray._private.runtime_env.packaging import _get_excludes

    from study.sweep.ray.cluster import LEFT_HERE

    left = _get_excludes(tmp_path, LEFT_HERE)
    assert not left(tmp_path / "mine" / "data" / "loader.py")
    assert all(left(tmp_path / name) for name in ("data", "data/MNIST", "results", ".git", "mlflow.db"))
