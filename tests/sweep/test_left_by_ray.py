"""A sweep on Ray that is told to end: its status, its folder, and no secret in any file that it leaves."""

import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.folders import digests
from tests.processes import read_until, start

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--set", "epochs=30", "--seeds", "3"]
SECRET = "canary-3f9b27d1"
SECRETS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "HF_TOKEN",
           "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD", "STUDY_CANARY"]  # fmt: skip


@pytest.fixture
def ray_files(monkeypatch):
    """Ray's session folder of this test alone; the paths of its sockets must be short."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def told(folders):
    """The plain files under folders that hold a canary."""
    plain = [p for f in folders for p in f.rglob("*") if p.is_file() and not p.is_symlink()]
    assert any("runtime_env_agent" in p.name for p in plain), "Ray's logs are not where this test looks"
    return [str(p) for p in plain if SECRET.encode() in p.read_bytes()]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow)]
)
def test_a_sweep_on_ray_that_is_told_to_end_keeps_its_folder_sound_and_tells_no_secret(
    number, status, ray_files, tmp_path, monkeypatch
):
    (home := tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in SECRETS:
        monkeypatch.setenv(name, f"{SECRET}-{name}")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    (work := tmp_path / "work").mkdir()
    before = os.umask(0o022)
    try:
        process = start(*SMOKE, "--output", "out", cwd=work, group=True)
        read_until(process, "[1/9]")
        tree = psutil.Process(process.pid).children(recursive=True)
        commands = [" ".join(p.cmdline()) for p in tree if p.is_running()]
        os.killpg(process.pid, number)  # as `timeout` and a shell that is closed send it
        said = process.communicate(timeout=120)[0]
    finally:
        os.umask(before)
    assert process.returncode == status, said
    assert "Traceback" not in said
    assert "of 9 trials are finished and kept. Go on with:" in said
    assert said.rstrip().endswith("--resume")
    assert 1 <= len(digests(work / "out")) < 9
    assert len(commands) > 3
    assert not [c for c in commands if SECRET in c]
    assert told([work, home, ray_files]) == []
    assert SECRET not in said
    token = home / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    _, left = psutil.wait_procs(tree, timeout=60)
    assert left == []
