"""--cluster against a real job server: a Ray head with its dashboard, in PID and network namespaces of its own."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from study.sweep.plan.request import Request, make_plan
from study.sweep.ray import cluster

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--set", "epochs=1", "--seeds", "1"]


def test_the_job_is_found_by_the_command_that_made_it():
    words = cluster.remote_words([*SMOKE, "--cluster", "cluster.yaml", "--resume"])
    assert words == [*SMOKE, "--resume"] == cluster.remote_words([*SMOKE, "--cluster=cluster.yaml", "--resume"])
    name = cluster.submission_id(words)
    assert name.startswith("compressibility-sweep-")
    assert name == cluster.submission_id(SMOKE) == cluster.submission_id([*SMOKE, "--retry-failed"])
    assert name != cluster.submission_id([*SMOKE, "--set", "alpha=0.1"])
    assert cluster.entrypoint(["x", "--set", "a=1; rm -rf /"]).endswith(
        "python -u -m study.launch x --set 'a=1; rm -rf /'"
    )


def test_the_working_folder_goes_along_only_where_a_function_of_the_user_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text("def build(shape, classes): ...")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert cluster.runtime_env(make_plan(Request(study="compressibility_sweep"))) == {}
    sent = cluster.runtime_env(make_plan(Request(study="compressibility_sweep", model="own:build")))
    assert sent["working_dir"] == "."
    assert "/results" in sent["excludes"]


BAD = [
    (["--cluster", "nowhere.yaml"], "there is no such file"),
    (["--cluster", "http://127.0.0.1:1", "--output", "out"], "give s3://BUCKET/PREFIX or a full path on the cluster"),
    (["--cluster", "http://127.0.0.1:1", "--output=out"], "give s3://BUCKET/PREFIX or a full path on the cluster"),
    (["--cluster", "http://127.0.0.1:1"], "no Ray job server answers at http://127.0.0.1:1"),
    (["--cluster", "http://127.0.0.1:1", "--set", "alpha=x"], "--set alpha: 'x' is not accepted"),
    *(
        (["--cluster", "http://127.0.0.1:1", *words], "export MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        for words in (
            ["--tracking-uri", "http://me:hunter2@127.0.0.1:5000"],
            ["--tracking-uri=postgresql://127.0.0.1/x?user=me&password=hunter2"],
        )
    ),
]
SEARCH = ["pareto_search", "--preset", "smoke", "--cluster", "http://127.0.0.1:1"]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_what_cannot_be_submitted_is_refused(words, message, here, tmp_path):
    done = here(*SMOKE, *words, cwd=tmp_path)
    assert done.returncode == 2
    *foreseen, refusal = done.stderr.splitlines()
    assert message in refusal
    assert refusal.startswith("study: ")
    assert not any(line.startswith("study: ") for line in foreseen), "before it, at most what cannot be judged"
    assert "hunter2" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_search_on_a_cluster_names_no_folder_of_the_laptop_and_no_password(here, tmp_path):
    said = [
        here(*SEARCH, *words, cwd=tmp_path).stderr
        for words in (
            ["--warm-start", "/mnt/study/a,results/b"],
            ["--search-storage", "postgresql://me:hunter2@127.0.0.1/x"],
            ["--warm-start", "/mnt/study/a,s3://studies/b"],
        )
    ]
    assert "--warm-start results/b: with --cluster give s3://BUCKET/PREFIX or a full path" in said[0]
    assert "MLFLOW_TRACKING_PASSWORD (for PostgreSQL PGPASSWORD) in ~/study.secrets on its head" in said[1]
    assert "no Ray job server answers" in said[2], "whether these folders hold results is seen on the cluster"
    assert "hunter2" not in "".join(said)


def test_a_job_has_the_secrets_that_its_head_keeps(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text('#!/bin/sh\necho "$MLFLOW_TRACKING_PASSWORD $STUDY_OUTPUT $*"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}

    def job():
        words = ["sh", "-c", cluster.entrypoint(["x"])]  # as Ray's job supervisor runs it
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout

    assert job() == f" {tmp_path}/results -u -m study.launch x\n"
    (tmp_path / "study.secrets").write_text("export MLFLOW_TRACKING_PASSWORD=hunter2 STUDY_OUTPUT=s3://b/p\n")
    assert job() == "hunter2 s3://b/p -u -m study.launch x\n"


def test_without_the_extra_it_is_named(here, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    done = here(*SMOKE, "--cluster", "http://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 2
    assert 'pip install -c constraints.txt -e ".[cluster]"' in done.stderr


HEAD = """
ip link set lo up 2>/dev/null || python -c "
import fcntl, socket, struct
s = socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x49))"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 HOME=$PWD STUDY_OUTPUT=$PWD/outputs
ray get-auth-token --generate > /dev/null
ray start --head --num-cpus 2 --node-ip-address 127.0.0.1 --dashboard-host 127.0.0.1 --dashboard-port 8265 \\
    --temp-dir $1 > start.log 2>&1 || exit 77
"""
ASK = """
import pathlib, urllib.error, urllib.request

def status(method, path, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = urllib.request.Request(f"http://127.0.0.1:8265{path}", b"{}" if method == "POST" else None, headers)
    asked.method = method
    try:
        return urllib.request.urlopen(asked, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code

token = pathlib.Path(".ray/auth_token").read_text().strip()
for method, path in (("GET", "jobs/"), ("POST", "jobs/"), ("DELETE", "jobs/x"), ("GET", "jobs/x/logs"),
                     ("POST", "jobs/x/stop"), ("GET", "v0/logs"), ("PUT", "packages/gcs/x.zip")):
    print(method, path, *(status(method, f"/api/{path}", t) for t in ("", "0" * 32, token)))
"""
SESSION = """
study="python -m study.launch %s --cluster http://127.0.0.1:8265"
python -c "
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored, and inherited so, where the tests run in the background
with open('first.log', 'w') as log:
    job = subprocess.Popen(sys.argv[1].split(), stdout=log, stderr=log)
    while 'Submitted' not in open('first.log').read() and job.poll() is None: time.sleep(0.2)
    job.send_signal(signal.SIGINT)
    print('first:', job.wait())" "$study"
$study > second.log 2>&1; echo "second: $?"
own="--output $PWD/outputs/mine"  # the other holds another model
$study $own --model mine:broken > third.log 2>&1; echo "third: $?"
$study $own --model mine:build > fourth.log 2>&1; echo "fourth: $?"
RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef $study > fifth.log 2>&1; echo "fifth: $?"
grep -rl "$(cat .ray/auth_token)" first.log second.log third.log $1/session_latest/logs outputs | sed "s/^/token in /"
cat /proc/[0-9]*/cmdline > ps.txt; echo "token in ps: $(grep -c "$(cat .ray/auth_token)" ps.txt)"
"""
MINE = """
from torch import nn
def build(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
def broken(shape, classes): raise RuntimeError("not today")
"""


needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root for namespaces of its own"
)


def beside_a_head(script, folder):
    """Run a shell script beside a Ray head with a dashboard; all of it ends with the script."""
    short = tempfile.mkdtemp(prefix="r")  # the path of a Unix socket holds 107 characters
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    done = subprocess.run(
        ["unshare", "-pnf", "--mount-proc", "--kill-child", "bash", "-c", HEAD + script, "bash", short],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=540, check=False,
    )  # fmt: skip
    shutil.rmtree(short)
    return done


@needs_namespaces
def test_the_job_server_does_nothing_without_the_token(tmp_path):
    (tmp_path / "ask.py").write_text(ASK)
    done = beside_a_head(f"{sys.executable} ask.py", tmp_path)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 7, done
    assert {(without, wrong) for *_, without, wrong, _ in lines} == {("401", "403")}, done.stdout
    assert not {"401", "403", "405"} & {right for *_, right in lines}, "the requests are none that it would carry out"


@needs_namespaces
@pytest.mark.slow
def test_a_job_outlives_the_laptop_and_is_found_again(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    script = SESSION % " ".join([*SMOKE[:-4], "--set", "epochs=100", "--seeds", "1"])
    done = beside_a_head(script, tmp_path)
    said = {name: (tmp_path / f"{name}.log").read_text() for name in ("first", "second", "third", "fourth", "fifth")
            if (tmp_path / f"{name}.log").exists()}  # fmt: skip
    assert done.stdout.splitlines() == [
        "first: 130", "second: 0", "third: 2", "fourth: 0", "fifth: 2", "token in ps: 0",
    ], (done, said)  # fmt: skip
    assert "Submitted the job compressibility-sweep-" in said["first"]
    assert "goes on without this terminal" in said["first"]
    assert "Found the job compressibility-sweep-" in said["second"]
    assert "3 of 3 trials finished" in said["second"]
    assert f"Results: {tmp_path}/outputs/compressibility_sweep-smoke on the cluster" in said["second"]
    assert "not today" in said["third"]
    assert "3 of 3 trials finished" in said["fourth"]
    assert "wants another token" in said["fifth"]
