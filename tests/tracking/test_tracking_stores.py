"""SQLite stores that cannot be used, and the command that rebuilds: what is named, before a sweep and after it."""

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest

from study.spec.errors import UsageError
from study.tracking import stores, tracker
from study.tracking.__main__ import main
from tests.folders import make_folder

KILLED = """
import os, sqlite3
store = sqlite3.connect("mlflow.db", isolation_level=None)
store.execute("CREATE TABLE runs (x)")
store.execute("PRAGMA cache_size = 2")  # what does not fit is written before the transaction ends
store.execute("BEGIN")
for _ in range(200):
    store.execute("INSERT INTO runs VALUES (zeroblob(4000))")
os.kill(os.getpid(), 9)
"""


def test_a_store_whose_writer_was_killed_is_used_again(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    path = tmp_path / "mlflow.db"
    assert (tmp_path / "mlflow.db-journal").stat().st_size > 0, "half a transaction is on the disk"
    stores.check_uri(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (0,), "and is taken back"


@contextlib.contextmanager
def somebody():
    """Without the rights of root, where the tests have them."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A working folder that everybody can enter."""
    folder = tmp_path
    while folder.stat().st_uid == os.geteuid() and folder.parent != folder:
        folder.chmod(0o755) if folder.stat().st_mode & 0o777 == 0o700 else None
        folder = folder.parent
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_store_that_cannot_be_written_is_refused_before_the_sweep(what, shared):
    path = shared / "deep" / "mlflow.db"
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.execute("CREATE TABLE t (x)")
    path.parent.chmod(0o777 if what == "file" else 0o555)
    path.chmod(0o444 if what == "file" else 0o666)
    named = path if what == "file" else path.parent
    with pytest.raises(UsageError, match=f"{named} cannot be written; give another store"), somebody():
        stores.check_uri(f"sqlite:///{path}")


def test_a_store_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is not a file"):
        stores.check_uri(f"sqlite:///{tmp_path / 'pipe'}")


def half(path):
    """What a full disk leaves of a store: tables and a version, no experiment, and the next step's table half made."""
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        store.execute("CREATE TABLE logged_models (model_id TEXT)")
        store.execute("CREATE TABLE alembic_version (version_num TEXT)")
        store.execute("INSERT INTO alembic_version VALUES ('0584bdc529eb')")
        store.commit()


def test_a_store_that_was_not_made_to_its_end_is_to_be_moved_away(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tracker, "AWAY_SECONDS", 0.5)
    make_folder(tmp_path / "out", 1)
    half(tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert main(["rebuild", str(tmp_path / "out"), "--tracking-uri", uri]) == 1
    told = capsys.readouterr().out
    assert f"{tmp_path / 'mlflow.db'} was not made to its end and holds nothing: move it away" in told
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        store.execute("INSERT INTO experiments VALUES (0)")
        store.commit()
    assert stores.half_made(uri) == ""
    for other in ("http://127.0.0.1:1", f"sqlite:///{tmp_path}/none.db", f"sqlite:///{tmp_path}/out/study.json"):
        assert stores.half_made(other) == ""


def test_the_command_that_rebuilds_names_its_store(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = "python -m study.tracking rebuild"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert stores.rebuild_command("out", stores.default_uri()) == f"{command} out"
    assert stores.rebuild_command("a b", "http://me:secret@h:5") == (
        f"{command} 'a b' --tracking-uri 'http://me:***@h:5'"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5")
    assert stores.rebuild_command("out", "http://h:5") == f"{command} out"
    assert stores.rebuild_command("out", "sqlite:///x.db") == f"{command} out --tracking-uri sqlite:///x.db"
