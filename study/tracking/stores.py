"""Where a sweep is tracked: the store's address, whether it can be used, and how to look at it. Without MLflow."""

import base64
import contextlib
import importlib
import os
import shlex
import socket
import sqlite3
import urllib.parse
import urllib.request
from pathlib import Path

# MLflow reads these when it is imported. A call that fails is not repeated by MLflow: a repeated POST may make a run
# twice; the tracker looks first and tries again itself.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # a line per run, its address with the password
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from study.spec.errors import UsageError, without_secrets

VIEW = "sweeps"  # the key, in an address of MLflow's pages, of the view of an experiment's sweeps
SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql")


def default_uri(folder: Path | None = None) -> str:
    """The store shared by all sweeps of a working folder."""
    return f"sqlite:///{(folder or Path.cwd()) / 'mlflow.db'}"


def chosen_uri(given: str = "") -> str:
    """The store that was given, else that of MLFLOW_TRACKING_URI, else the working folder's."""
    return given or os.environ.get("MLFLOW_TRACKING_URI", "") or default_uri()


def sqlite_file(uri: str) -> Path:
    """The file of a sqlite:///PATH store, absolute; PATH is relative to the working folder unless it begins with /."""
    return Path(uri.removeprefix("sqlite:///")).resolve()


def check_uri(uri: str) -> None:
    """UsageError unless the store can be used: a server answers, a file is a database, a database lets us in."""
    try:
        _check_uri(uri)
    except UsageError as error:
        raise UsageError(without_secrets(str(error))) from None


def _check_uri(uri: str) -> None:
    scheme = urllib.parse.urlsplit(uri).scheme
    if uri.startswith("sqlite:///"):
        _check_sqlite(uri)
    elif scheme in SERVERS:
        _check_server(uri)
    elif scheme.partition("+")[0] in DATABASES:
        _check_database(uri)
    else:
        raise UsageError(
            f"--tracking-uri {uri!r} is not accepted; give sqlite:///PATH, http://HOST:PORT or a database URL"
        )


def _check_sqlite(uri: str) -> None:
    path = sqlite_file(uri)
    if not path.parent.is_dir():
        raise UsageError(f"--tracking-uri {uri}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"--tracking-uri {uri}: {path} is a folder; name a file in it")
    if not _writable(path.parent, os.W_OK | os.X_OK):  # the database's journal is made beside it
        raise UsageError(f"--tracking-uri {uri}: {path.parent} cannot be written; give another store")
    if path.exists() and not path.is_file():
        raise UsageError(f"--tracking-uri {uri}: {path} is not a file")
    if path.exists():
        if not _writable(path, os.W_OK):
            raise UsageError(f"--tracking-uri {uri}: {path} cannot be written; give another store")
        try:  # for writing: what a killed process had begun is then taken back, which a reader may not do
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as store:
                store.execute("PRAGMA schema_version")
        except sqlite3.Error as error:
            raise UsageError(f"--tracking-uri {uri}: {path} is not an SQLite database ({error})") from None


def _writable(path: Path, mode: int) -> bool:
    """Whether this process may, on a file system that lets itself be written."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def half_made(uri: str) -> str:
    """What to do about a SQLite store that MLflow began and did not bring to its end, on a disk that was full, say:
    it then has tables, and not even the experiment that each store begins with. Nothing for any other store."""
    path = sqlite_file(uri)
    if not uri.startswith("sqlite:///") or not path.is_file():
        return ""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
            tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            begun = "experiments" in tables and store.execute("SELECT 1 FROM experiments").fetchone()
    except sqlite3.Error:
        return ""
    return "" if begun or not tables else f"{path} was not made to its end and holds nothing: move it away"


def _check_server(uri: str) -> None:
    parts = urllib.parse.urlsplit(uri)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=3):
            pass
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        health = urllib.request.Request(bare.rstrip("/") + "/health")  # noqa: S310 - http(s) only, by check_uri
        if parts.password:
            login = f"{urllib.parse.unquote(parts.username or '')}:{urllib.parse.unquote(parts.password)}"
            health.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
        with urllib.request.urlopen(health, timeout=5) as answer:  # noqa: S310
            answer.read(1)
    except (OSError, ValueError) as error:
        raise UsageError(f"--tracking-uri {uri}: no MLflow server answers there ({error})") from None


def _check_database(uri: str) -> None:
    sqlalchemy = importlib.import_module("sqlalchemy")  # slow to import, and MLflow needs it for these stores anyway
    try:
        engine = sqlalchemy.create_engine(uri)
        with engine.connect():
            pass
        engine.dispose()
    except Exception as error:  # drivers raise their own kinds, a missing driver an ImportError
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--tracking-uri {uri}: the database cannot be used ({cause})") from None


def rebuild_command(folder: str, uri: str) -> str:
    """What to type to deliver a folder to a store, which is named where rebuild takes another; without a password."""
    option = "" if uri == chosen_uri() else f" --tracking-uri {shlex.quote(without_secrets(uri))}"
    return f"python -m study.tracking rebuild {shlex.quote(folder)}{option}"


def ui_command(uri: str, experiment: str = "") -> str:
    """What to type, and the page to open, to look at a store and at an experiment in it."""
    # Without the last word MLflow opens its interface for language models.
    query = f"workflowType=machine_learning&viewStateShareKey={VIEW}"
    page = f"/#/experiments/{experiment}/runs?{query}" if experiment else ""
    if uri.startswith("http"):
        return without_secrets(f"open {uri}{page}")
    if uri == default_uri():
        uri = "sqlite:///mlflow.db"
    command = f"mlflow ui --backend-store-uri {shlex.quote(without_secrets(uri))} --host 127.0.0.1"
    return command + (f"\n         then open http://127.0.0.1:5000{page}" if page else "")
