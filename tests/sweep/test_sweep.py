"""Whole sweeps as a user runs them: both back ends, kills, resumption, failures. A real Ray throughout."""

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from study.spec.attack_names import current
from study.store import results
from study.sweep.plan.catalogue import find_study, study_names
from tests.folders import digests
from tests.helpers import TINY, launch
from tests.processes import read_until, start, workers_of

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--set", "epochs=30", "--seeds", "3"]
TRIALS = 9


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """An undisturbed sweep in one process: what every other way of running must give."""
    folder = tmp_path_factory.mktemp("control")
    done = launch(*SMOKE, "--in-process", "--output", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = digests(folder / "out")
    assert len(found) == TRIALS
    return folder / "out", found, done


def test_a_newcomer_sees_plan_progress_summary_and_what_to_do_next(control):
    folder, _, done = control
    assert done.stderr.startswith("In this process")
    assert "9 trials" in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(lines) == TRIALS
    assert lines[0].startswith("[1/9] baseline seed 0: ok, clean 0.")
    assert lines[-1].endswith("0 running, 0 failed, 0 s left")
    assert "REGIME NOT REACHED" in done.stdout
    assert "9 of 9 trials finished" in done.stdout
    assert "mlflow ui --backend-store-uri sqlite:///" in done.stdout
    left = {".lock", "figures", "report.html", "study.json", "summary.json", "trials"}
    assert {p.name for p in folder.iterdir()} == left


@pytest.mark.parametrize("backend", ["in-process", pytest.param("ray", marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_is_finished_and_names_the_way_on(backend, control, here, tmp_path):
    run = here if backend == "in-process" else launch
    words = [*SMOKE, "--output", "out", *(["--in-process"] if backend == "in-process" else [])]
    process = start(*words, cwd=tmp_path, group=True)
    read_until(process, "[2/9]")
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "of 9 trials are finished and kept. Go on with:" in said
    assert said.rstrip().endswith("--resume")
    kept = digests(tmp_path / "out")
    assert 2 <= len(kept) < TRIALS
    assert all(control[1][name] == digest for name, digest in kept.items())
    refused = run(*words, cwd=tmp_path)
    assert refused.returncode == 2
    assert "add --resume" in refused.stderr
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/trials").iterdir()}
    done = run(*words, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == control[1]
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items()), "a finished trial ran again"


def test_sigterm_ends_with_its_own_status(tmp_path):
    process = start(*SMOKE, "--in-process", "--output", "out", cwd=tmp_path)
    read_until(process, "[1/9]")
    process.terminate()
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 143, said
    assert "--resume" in said


def listeners(process):
    """(address, port) of every listening TCP socket of a process and all that it started."""
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    ours = {p.pid for p in tree}
    found = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return {tuple(c.laddr) for c in found if c.pid in ours}


def test_ray_gives_the_rows_of_one_process_on_loopback_alone_whatever_is_killed(control, tmp_path):
    process = start(*SMOKE, "--output", "out", cwd=tmp_path)
    assert read_until(process, "[1/9]")[0].startswith("Ray: a local one")
    opened = listeners(process)
    assert len(opened) > 3
    assert {address for address, _ in opened} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    workers = workers_of(process.pid)
    assert workers
    workers[0].kill()
    read_until(process, "[4/9]")
    tree, working = psutil.Process(process.pid).children(recursive=True), workers_of(process.pid)
    assert working
    process.kill()
    process.communicate(timeout=30)
    _, alive = psutil.wait_procs(working, timeout=40)
    assert alive == [], "a worker outlived its driver"
    assert 4 <= len(digests(tmp_path / "out")) < TRIALS
    done = launch(*SMOKE, "--output", "out", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == control[1]
    # Ray's agents outlive a killed driver until the next start ends them; a worker that had just been started gives up.
    _, left = psutil.wait_procs(tree, timeout=60)
    assert left == [], "something of a killed driver is left for good"


def test_a_finished_folder_answers_at_once_and_can_be_extended(control, here, tmp_path):
    words = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--output", "out", "--set", "test_size=50"]
    assert here(*words, "--seeds", "1", cwd=tmp_path).returncode == 0
    first = digests(tmp_path / "out")
    again = here(*words, "--seeds", "1", cwd=tmp_path)
    assert again.returncode == 0
    assert "Nothing left to run" in again.stderr
    assert "3 of 3 trials finished" in again.stdout
    more = here(*words, "--seeds", "2", cwd=tmp_path)
    assert more.returncode == 2
    assert "3 more are asked for; add --resume" in more.stderr
    assert here(*words, "--seeds", "2", "--set", "rank=full,4", "--resume", cwd=tmp_path).returncode == 0
    extended = digests(tmp_path / "out")
    assert len(extended) == 8
    assert first.items() <= extended.items()
    other = here(*words, "--set", "epochs=9", "--set", "eps_linf=4/255", "--resume", cwd=tmp_path)
    assert other.returncode == 2
    assert "settings.epochs: there 2, asked 9" in other.stderr
    assert "settings.eps_linf" in other.stderr
    assert digests(tmp_path / "out") == extended


MODEL = """
from pathlib import Path
from torch import nn
class Net(nn.Sequential):
    def forward(self, x):
        if self.training and len(x) > 2 and Path({flag!r}).exists():
            raise ArithmeticError("the flag is up")
        return super().forward(x)
def build(shape, classes):
    return Net(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
"""


@pytest.mark.parametrize("backend", ["in-process", pytest.param("ray", marks=pytest.mark.slow)])
def test_failed_trials_are_kept_told_and_retried(backend, here, tmp_path):
    run = here if backend == "in-process" else launch
    flag = tmp_path / "up"
    flag.touch()
    (tmp_path / "up.py").write_text(MODEL.format(flag=str(flag)))
    words = ["compressibility_sweep", "--preset", "smoke", "--seeds", "1", "--output", "out", "--model", "up:build"]
    words += ["--in-process"] if backend == "in-process" else []
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "ArithmeticError: the flag is up" in done.stdout
    assert "--retry-failed" in done.stdout
    told = here("status", "out", cwd=tmp_path)
    assert "0 of 3 trials done, 3 failed" in told.stdout
    assert set(results.read(tmp_path / "out")["status"]) == {"failed"}
    note = next(iter(results.failures(tmp_path / "out").values()))
    assert "Traceback" in note["log"]
    flag.unlink()
    again = run(*words, "--retry-failed", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert set(results.read(tmp_path / "out")["status"]) == {"ok"}
    assert "3 of 3 trials done, 0 failed" in here("status", "out", cwd=tmp_path).stdout


def test_a_divergence_is_a_result_and_the_sweep_goes_on(here, tmp_path):
    words = [
        "compressibility_sweep",
        "--preset",
        "smoke",
        "--in-process",
        "--seeds",
        "1",
        "--set",
        "learning_rate=1e30",
    ]
    done = here(*words, "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(3 diverged)" in done.stdout
    assert set(results.read(tmp_path / "out")["status"]) == {"diverged"}


def test_a_time_budget_ends_cleanly(here, tmp_path):
    words = [*SMOKE, "--in-process", "--output", "out", "--time-budget", "1s"]
    done = here(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "time budget is used up; go on with" in done.stdout
    assert len(digests(tmp_path / "out")) < TRIALS


@pytest.mark.parametrize("study", ["tightness_study", "tradeoff_sweep", "compression_level_sweep"])
def test_a_time_budget_that_no_trial_meets_ends_cleanly_too(study, here, tmp_path):
    words = [study, "--preset", "smoke", "--seeds", "1", "--set", "epochs=4000", "--in-process", "--time-budget", "1s"]
    done = here(*words, "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 of " in done.stdout
    assert "time budget is used up; go on with" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root to mount a small disk")
@pytest.mark.parametrize("backend", ["in-process", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_full_disk_stops_with_one_message_and_loses_nothing(backend, control, tmp_path):
    (tmp_path / "small").mkdir()
    words = [*SMOKE, *(["--in-process"] if backend == "in-process" else []), "--output", "small/out"]
    study = shlex.join([sys.executable, "-m", "study.launch", *words])
    script = f"""mount -t tmpfs -o size=100k tmpfs small || exit 77
        {study}; echo "status $?"; ls small/out/trials | grep -c parquet
        mount -o remount,size=30m small && {study} --resume; echo "status $?"; ls small/out/trials | grep -c parquet"""
    script += "; cp -r small/out kept"  # the small disk is gone with its namespace
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("a small disk cannot be mounted here")
    first, kept, second, whole = [
        line for line in done.stdout.splitlines() if line.startswith("status") or line.isdigit()
    ]
    assert (first, second, int(whole)) == ("status 1", "status 0", TRIALS), done.stderr
    assert 1 <= int(kept) < TRIALS
    assert "the disk of" in done.stderr
    assert done.stderr.count("is full; free some space and go on with") == 1
    assert digests(tmp_path / "kept") == control[1]
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("[")]) == TRIALS, "none was run twice"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, "out/report.html: Read-only file system; what is finished stays. Go on with:"),
        (errno.ENOSPC, "the disk of out/report.html is full; free some space and go on with:"),
    ],
)
def test_a_report_that_cannot_be_written_is_one_message(number, message, here, tmp_path, monkeypatch):
    def fails(*words):
        raise OSError(number, os.strerror(number), "out/report.html")

    monkeypatch.setattr("analysis.report.write", fails)
    words = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--seeds", "1", "--output", "out"]
    done = here(*words, *TINY, cwd=tmp_path)
    assert done.returncode == 1
    assert f"study: {message} python -m study.launch {' '.join([*words, *TINY])} --resume" in done.stderr
    monkeypatch.undo()
    assert here(*words, *TINY, "--resume", cwd=tmp_path).returncode == 0


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_write_that_fails_stops_with_its_cause_and_is_no_trials_failure(control, here, tmp_path):
    if subprocess.run(["strace", "-e", "inject=link:error=EIO", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace cannot trace here")
    words = [*SMOKE, "--in-process", "--output", "out"]
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "calls", "-e", "trace=link", "-e",
              "inject=link:error=EIO:when=3"]  # fmt: skip
    done = subprocess.run(
        [*strace, sys.executable, "-m", "study.launch", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Input/output error; what is finished stays. Go on with:") == 1
    assert "Traceback" not in done.stderr
    assert 1 <= len(digests(tmp_path / "out")) < TRIALS
    assert results.failures(tmp_path / "out") == {}
    assert here(*words, "--resume", cwd=tmp_path).returncode == 0
    assert digests(tmp_path / "out") == control[1]


ONE_OF_A_KIND = {
    "compressibility_sweep", "bound_validation", "compression_level_sweep", "pareto_search", "transfer_sweep"
}  # fmt: skip
WITH_IMAGES = [s for s in study_names() if find_study(s).presets["smoke"].data]


@pytest.mark.parametrize(
    "study", [s if s in ONE_OF_A_KIND else pytest.param(s, marks=pytest.mark.slow) for s in WITH_IMAGES]
)
def test_every_study_can_be_attacked_through_the_toolbox(study, here, tmp_path):
    done = here(study, "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "attack_backend=art",
                "--set", "attack_iterations=3", "--output", "out", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    table, preset = results.read(tmp_path / "out"), find_study(study).presets["smoke"]
    own = current("art", preset.settings.get("attack", "apgd"))
    gaps = table[(table.measure == "loss_gap") & (table.attack == own)]
    assert set(gaps.trial) == set(table.trial)
    robust = table[table.measure == "robust_accuracy"]
    seconds = [
        preset.settings.get("second_attack", "none"),
        *(a for r in preset.arms for a in r.axes.get("second_attack", ())),
    ]
    beside = {
        current("native", name) for name in (*preset.settings.get("more_attacks", ()), *seconds) if name != "none"
    }
    beside |= {"native/square"} if preset.settings.get("audit_queries", 0) > 0 else set()
    beside |= {"native/autoattack@3", "native/square"} if study == "pareto_search" else set()
    assert set(robust.attack) == {own, *beside}
    assert len(robust) >= len(gaps) > 0


def test_a_folder_that_holds_a_lock_alone_can_be_used(here, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.lock").touch()
    words = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "epochs=1"]
    assert here(*words, "--output", "out", cwd=tmp_path).returncode == 0


def test_a_second_driver_is_refused(here, tmp_path):
    process = start(*SMOKE, "--in-process", "--output", "out", cwd=tmp_path)
    try:
        read_until(process, "[1/9]")
        process.send_signal(signal.SIGSTOP)  # a holder that is paused holds
        second = here(*SMOKE, "--in-process", "--output", "out", "--resume", cwd=tmp_path)
        assert second.returncode == 2
        assert f"in use by another sweep (process {process.pid}" in second.stderr
        assert f"being run by process {process.pid}" in here("status", "out", cwd=tmp_path).stdout
    finally:
        process.kill()
        process.communicate()


def test_a_damaged_result_is_redone(control, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(control[0], out)
    path = next((out / "trials").iterdir())
    path.write_bytes(path.read_bytes()[:-30])
    done = launch(*SMOKE, "--in-process", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0
    assert f"{path.name} is damaged" in done.stderr
    assert digests(out) == control[1]
    assert (out / "damaged" / path.name).exists()


def test_json_goes_to_stdout_alone(control, here, tmp_path):
    shutil.copytree(control[0], tmp_path / "out")
    done = here(*SMOKE, "--in-process", "--output", "out", "--json", cwd=tmp_path)
    record = json.loads(done.stdout)
    assert (record["trials"], record["finished"], record["failed"]) == (9, 9, {})
    assert Path(record["folder"]) == tmp_path / "out"
    assert {c["verdict"] for c in record["claims"]} == {"regime not reached"}


def test_results_read_in_a_notebook(control):
    frame = results.read(control[0])
    chosen = frame[(frame["measure"] == "robust_accuracy") & (frame["norm"] == "linf")]
    assert len(chosen) == TRIALS
    assert chosen["value"].between(0, 1).all()
